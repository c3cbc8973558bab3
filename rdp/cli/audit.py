"""`rdp audit`: set-level metrics of the selected mixtures beside every single point."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rdp.cli.compare import whole_number
from rdp.cli.options import require_folder
from rdp.cli.telling import tell_result
from rdp.cli.text import aligned, number_text

if TYPE_CHECKING:
    from rdp.report.audit_measures import Measure
    from rdp.report.audit_result import Audit, AuditRow, Comparison

_KINDS = {
    "point": "point",
    "selection": "selection",
    "against": "against",
    "curve": "interpolated",
    "random": "random",
}


def audit_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, as rdp evaluate makes it.")],
    selection: Annotated[list[Path], typer.Option(metavar="FILE", help="selection.json of rdp solve. Repeatable.")],
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME,NAME",
            help="Set-level metrics: swd, kid, fid, kd_squeeze, fd_squeeze; all whose weights are here, by default.",
        ),
    ] = None,
    against: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Further selections to compare with. Repeatable.")
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(metavar="NETWORK", help="One more network that judges: inception, or package.module:attribute."),
    ] = None,
    held_out: Annotated[bool, typer.Option(help="Also on patches that no metric was optimised on.")] = True,
    patches: Annotated[
        str, typer.Option(metavar="SIDE[@OFFSET,…]", help="Patches of the features, in pixels.")
    ] = "256",
    points: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Only these single points. Repeatable.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option(help="Only these averages, comma-separated: psnr,lpips_squeeze.")
    ] = None,
    draws: Annotated[str, typer.Option(metavar="N", help="Random mixtures of equal rate.")] = "20",
    resamples: Annotated[
        str, typer.Option(metavar="N", help="Draw the images anew so often, for intervals (not of Fréchet distances).")
    ] = "0",
    seed: Annotated[str, typer.Option(metavar="N", help="Seed of everything that is drawn.")] = "0",
    device: Annotated[str, typer.Option(help="Where networks run: cpu, cuda, cuda:1.")] = "cpu",
    originals: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where the original images lie now, if they were moved.")
    ] = None,
    codec_file: Annotated[
        list[Path] | None, typer.Option("--codec-file", help="TOML file that describes external tools. Repeatable.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write tables, text and figures into this folder.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the audit as one JSON document.")] = False,
) -> None:
    """Judge selected mixtures as sets: distances of all images together, beside every single point and equal rates.

    Beside each selection stand the best single point at or below its rate, the curves of single points at its rate
    (interpolated, never extrapolated), and random mixtures of its points. Features are computed once and kept in the
    run folder; reconstructions that it has not kept are decoded again.
    """
    from rdp.cli.progress import Terminal
    from rdp.metrics.patches import PatchGrid
    from rdp.report.audit import audit
    from rdp.report.audit_files import document_text, write_audit

    if out is not None:
        require_folder(out)
    found = audit(
        run,
        selection,
        None if metric is None else _listed(metric),
        against=against or (),
        network=network,
        held_out=held_out,
        patches=PatchGrid.parse(patches),
        points=points,
        columns=None if columns is None else _listed([columns]),
        draws=whole_number("--draws", draws),
        resamples=whole_number("--resamples", resamples),
        seed=whole_number("--seed", seed),
        device=device,
        originals=originals,
        codec_files=codec_file or (),
        progress=Terminal(quiet),
    )
    written = write_audit(found, out) if out is not None else ()
    for warning in found.warnings:
        typer.echo(f"warning: {warning}", err=True)
    tell_result(
        lambda: describe_audit(found),
        lambda: document_text(found),
        json=json,
        notes=found.notes,
        out=out,
        written=written,
    )


def _listed(given: Sequence[str]) -> list[str]:
    return [name.strip() for text in given for name in text.split(",") if name.strip()]


def describe_audit(found: Audit) -> str:
    """The audit for people: a row a line, and a sentence for each selection and set-level measure."""
    head = ["", "kind", "points", found.rate.heading, *(measure.heading for measure in found.measures)]
    rows = [_row(found, row) for row in found.rows]
    lines = [
        f"{found.source}: {found.facts['images']} images, {found.facts['points']} points, patches "
        f"{found.facts['patches']}; of set-level distances less is better",
        "",
        *aligned([head, *rows], left=(0, 1)),
    ]
    for row in found.rows:
        if row.kind == "selection":
            lines += ["", f"{row.name} at {row.rate:.6g} {found.rate.unit}:"]
            lines += [f"  {_sentence(found, one)}" for one in found.comparisons if _is_told(found, one, row.name)]
    if found.intervals:
        lines += ["", *_interval_lines(found)]
    return "\n".join(lines)


def _row(found: Audit, row: AuditRow) -> list[str]:
    name = found.short.get(row.name, row.name) if row.kind == "point" else row.name
    if row.kind == "curve" and len([one for one in found.rows if one.kind == "selection"]) > 1:
        name += f", as {row.of}"
    cells = [name, _KINDS[row.kind], str(row.points), number_text(row.rate)]
    return [*cells, *(_value(row, measure) for measure in found.measures)]


def _value(row: AuditRow, measure: Measure) -> str:
    text = number_text(row.values.get(measure.key), 5)
    spread = row.deviations.get(measure.key)
    return text if spread is None else f"{text} ± {number_text(spread, 2)}"


def _is_told(found: Audit, one: Comparison, selection: str) -> bool:
    return one.selection == selection and _measure(found, one.measure).of_set


def _measure(found: Audit, key: str) -> Measure:
    return next(measure for measure in found.measures if measure.key == key)


def _sentence(found: Audit, one: Comparison) -> str:
    parts = []
    if one.single is not None:
        short = found.short.get(one.single, one.single)
        parts.append(
            f"{_more(one.value, one.single_value)} the best single point at or below its rate, {short} at "
            f"{one.single_rate:.4g} ({number_text(one.single_value, 4)})"
        )
    if one.curve is not None:
        parts.append(
            f"{_more(one.value, one.curve_value)} the best curve at its rate, {one.curve} "
            f"({number_text(one.curve_value, 4)})"
        )
    if one.random is not None:
        parts.append(
            f"{_more(one.value, one.random)} random mixtures ({number_text(one.random, 4)} ± "
            f"{number_text(one.random_deviation, 2)})"
        )
    said = "; ".join(parts) or "there is nothing at its rate to compare it with"
    return f"{_measure(found, one.measure).title} {number_text(one.value, 4)}: {said}"


def _more(value: float, other: float | None) -> str:
    """`12.3 % below`, or `0.001 above` where a ratio says nothing."""
    difference = value - (other or 0.0)
    if math.isclose(value, other or 0.0, rel_tol=1e-9):
        return "the same as"
    side = "below" if difference < 0 else "above"
    if value > 0 and other is not None and other > 0:
        return f"{100 * abs(difference) / other:.3g} % {side}"
    return f"{abs(difference):.3g} {side}"


def _interval_lines(found: Audit) -> list[str]:
    level = found.intervals[0].interval
    rows: list[Sequence[Any]] = [("measure", "of", "value", f"{100 * level.confidence:g} % interval")]
    for one in found.intervals:
        name = found.short.get(one.row, one.row)
        ends = f"{number_text(one.interval.low, 4)} to {number_text(one.interval.high, 4)}"
        of = f"{name} less {one.less}" if one.less else name
        rows.append((_measure(found, one.measure).title, of, number_text(one.interval.value, 4), ends))
    return [f"{level.resamples} resamples of the images, seed {level.seed}:", *aligned(rows, left=(0, 1))]
