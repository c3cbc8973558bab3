"""`rdp audit`: set-level metrics of the selected mixtures beside every single point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
            help="Set-level metrics: swd, kid, fid, kd_squeeze, fd_squeeze; all whose weights are here, by default. "
            "rdp metrics lists them.",
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
    small: Annotated[
        str, typer.Option(metavar="refuse|mirror", help="Images smaller than a patch: refused, or mirrored up to one.")
    ] = "refuse",
    points: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Only these single points. Repeatable.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option(help="Only these averages, comma-separated: psnr,lpips_squeeze.")
    ] = None,
    draws: Annotated[str, typer.Option(metavar="N", help="Random mixtures of about equal rate.")] = "20",
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
    from rdp.cli.set_options import patch_grid
    from rdp.report.audit import audit
    from rdp.report.audit_files import check_out, document_text, earlier_files, write_audit

    earlier: tuple[str, ...] = ()
    if out is not None:
        require_folder(out)
        check_out(out)
        earlier = earlier_files(out)
    found = audit(
        run,
        selection,
        None if metric is None else _listed(metric),
        against=against or (),
        network=network,
        held_out=held_out,
        patches=patch_grid(patches, small),
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
        notes=(*found.notes, *_replaced(earlier, written, out)),
        out=out,
        written=written,
    )


def _replaced(earlier: Sequence[str], written: Sequence[Path], out: Path | None) -> list[str]:
    """A note where the folder had an audit before."""
    if not earlier:
        return []
    removed = sorted(set(earlier) - {path.name for path in written})
    words = f"; of that one are removed: {', '.join(removed)}" if removed else ""
    return [f"{out} had an audit before, which this one replaces{words}"]


def _listed(given: Sequence[str]) -> list[str]:
    return [name.strip() for text in given for name in text.split(",") if name.strip()]


def describe_audit(found: Audit) -> str:
    """The audit for people: a row a line, and a sentence for each selection and set-level measure."""
    from rdp.report.audit_sentences import sentence
    from rdp.report.audit_text import style_of

    head = ["", "kind", "points", found.rate.heading, *(measure.heading for measure in found.measures)]
    places = {measure.key: style_of(measure, found.rows) for measure in found.measures}
    rows = [_row(found, row, places) for row in found.rows]
    lines = [
        f"{found.source}: {found.facts['images']} images, {found.facts['points']} points, patches "
        f"{found.facts['patches']}; of set-level distances less is better",
        "",
        *aligned([head, *rows], left=(0, 1)),
    ]
    for row in found.rows:
        if row.kind == "selection":
            lines += ["", f"{row.name} at {row.rate:.6g} {found.rate.unit}:"]
            lines += [f"  {sentence(found, one)}" for one in found.comparisons if _is_told(found, one, row.name)]
    if found.intervals:
        lines += ["", *_interval_lines(found)]
    return "\n".join(lines)


def _row(found: Audit, row: AuditRow, places: Mapping[str, int | None]) -> list[str]:
    from rdp.report.audit_sentences import spread_text

    name = found.short.get(row.name, row.name) if row.kind == "point" else row.name
    if row.kind == "curve" and len([one for one in found.rows if one.kind == "selection"]) > 1:
        name += f", as {row.of}"
    cells = [name, _KINDS[row.kind], str(row.points), number_text(row.rate)]
    return [*cells, *(spread_text(row.values.get(key), row.deviations.get(key), places[key]) for key in places)]


def _is_told(found: Audit, one: Comparison, selection: str) -> bool:
    return one.selection == selection and _measure(found, one.measure).of_set


def _measure(found: Audit, key: str) -> Measure:
    return next(measure for measure in found.measures if measure.key == key)


def _interval_lines(found: Audit) -> list[str]:
    from rdp.report.audit_text import style_of, value_text

    level = found.intervals[0].interval
    rows: list[Sequence[Any]] = [("measure", "of", "value", f"{100 * level.confidence:g} % interval")]
    for one in found.intervals:
        name = found.short.get(one.row, one.row)
        places = style_of(_measure(found, one.measure), found.rows)
        ends = f"{value_text(one.interval.low, places)} to {value_text(one.interval.high, places)}"
        of = f"{name} less {one.less}" if one.less else name
        rows.append((_measure(found, one.measure).title, of, value_text(one.interval.value, places), ends))
    return [f"{level.resamples} resamples of the images, seed {level.seed}:", *aligned(rows, left=(0, 1))]
