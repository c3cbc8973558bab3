"""`rdp solve`: choose one operating point for every image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rdp.cli.table import read_column_map
from rdp.errors import EXIT_INFEASIBLE, EXIT_NO_SELECTION, SpecError

if TYPE_CHECKING:
    from rdp.selection import Selection

_BUDGETS = "Averages and bounds"
_GROUPS = "Averages of groups of images"
_CHOICES = "What may be chosen"
_SOLVING = "Solving"


def solve_command(
    source: Annotated[str, typer.Argument(help="Run folder, or a .csv, .parquet or .json table.")],
    minimize: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column whose average is made as small as can be.")
    ] = None,
    maximize: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column whose average is made as large as can be.")
    ] = None,
    at_most: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=NUMBER", help="The average is at most this.", rich_help_panel=_BUDGETS),
    ] = None,
    at_least: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=NUMBER", help="The average is at least this.", rich_help_panel=_BUDGETS),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN=images|pixels",
            help="How the column is averaged: over images (default) or by their pixels.",
            rich_help_panel=_BUDGETS,
        ),
    ] = None,
    each_at_most: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=NUMBER", help="Every image keeps to this.", rich_help_panel=_BUDGETS),
    ] = None,
    each_at_least: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=NUMBER", help="Every image reaches this.", rich_help_panel=_BUDGETS),
    ] = None,
    cap: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN=NUMBER",
            help="Larger values count as this: psnr=60 for the infinite PSNR of a lossless point.",
            rich_help_panel=_BUDGETS,
        ),
    ] = None,
    group_at_most: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN=NUMBER", help="The average of every group is at most this.", rich_help_panel=_GROUPS
        ),
    ] = None,
    group_at_least: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN=NUMBER", help="The average of every group is at least this.", rich_help_panel=_GROUPS
        ),
    ] = None,
    groups: Annotated[
        str,
        typer.Option(
            metavar="COLUMN",
            help="Column that says which group an image is in, the same in all of its rows.",
            rich_help_panel=_GROUPS,
        ),
    ] = "dataset",
    points: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GLOB",
            help="Points that may be chosen, such as 'webp:*'; '!png' takes away. Repeat; they apply in order.",
            rich_help_panel=_CHOICES,
        ),
    ] = None,
    fix: Annotated[
        list[str] | None,
        typer.Option(metavar="IMAGE=POINT", help="The image takes this point.", rich_help_panel=_CHOICES),
    ] = None,
    forbid: Annotated[
        list[str] | None,
        typer.Option(
            metavar="IMAGE=POINT", help="The images (a glob) do not take the points (a glob).", rich_help_panel=_CHOICES
        ),
    ] = None,
    max_points: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER",
            help="The whole selection uses at most so many different points.",
            rich_help_panel=_CHOICES,
        ),
    ] = None,
    side_info: Annotated[
        bool,
        typer.Option(
            "--side-info",
            help="Count in bpp and nbytes the bits that name each point: log2 of how many there are, rounded up.",
            rich_help_panel=_BUDGETS,
        ),
    ] = False,
    solver: Annotated[
        str, typer.Option(help="auto, cbc, cp-sat, enumerate, highs or scip.", rich_help_panel=_SOLVING)
    ] = "auto",
    gap: Annotated[
        str,
        typer.Option(
            metavar="NUMBER", help="Relative distance from the best that is enough.", rich_help_panel=_SOLVING
        ),
    ] = "1e-9",
    time_limit: Annotated[
        str | None, typer.Option(metavar="SECONDS", help="Stop after this long.", rich_help_panel=_SOLVING)
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="OURS=THEIRS", help="Column of your table that holds ours: bpp=rate. Repeat."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the selection to this file (selection.json).")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the selection as one JSON document.")] = False,
) -> None:
    """Choose one operating point for every image, so that averages keep to what you ask for, provably.

    IMAGE=POINT is parted where the table knows both halves, as names may hold '=' themselves; COLUMN=NUMBER and
    COLUMN=images|pixels are parted at their last '=', OURS=THEIRS at its first.

    Exit codes: 0 a selection (if it is not proven best, its gap stands on stderr), 2 input that cannot be used,
    3 there is no selection within the budgets, 4 none found within the time limit.
    """
    from rdp.selection import solve

    if out is not None:
        _require_writable(out)
    selection = solve(
        source,
        minimize=minimize,
        maximize=maximize,
        at_most=_numbers("--at-most", at_most),
        at_least=_numbers("--at-least", at_least),
        weights=_pairs("--weights", weights),  # type: ignore[arg-type]
        each_at_most=_numbers("--each-at-most", each_at_most),
        each_at_least=_numbers("--each-at-least", each_at_least),
        points=points,
        fix=fix,
        forbid=forbid,
        cap=_numbers("--cap", cap),
        solver=solver,
        gap=_number("--gap", gap),
        time_limit=None if time_limit is None else _number("--time-limit", time_limit),
        columns=read_column_map(column),
        group_at_most=_numbers("--group-at-most", group_at_most),
        group_at_least=_numbers("--group-at-least", group_at_least),
        groups=groups,
        max_points=None if max_points is None else _whole("--max-points", max_points),
        side_info=side_info,
    )
    _show(selection, json)
    if out is not None:
        # Last: a disk that is full by now does not take the result with it.
        selection.save(out)
        if selection.found and not json:
            typer.echo(f"\nwritten to {out}")
    _exit(selection)


def _pairs(option: str, given: Sequence[str] | None) -> dict[str, str]:
    """`NAME=VALUE` parted at the last `=`; raises `SpecError` for a text without one and for a name given twice."""
    out: dict[str, str] = {}
    for text in given or ():
        name, equals, value = text.rpartition("=")
        if not (name and equals and value):
            raise SpecError(f"{option} {text!r}: write it as NAME=VALUE")
        if name in out:
            raise SpecError(f"{option} {name} is given twice: {out[name]} and {value}")
        out[name] = value
    return out


def _numbers(option: str, given: Sequence[str] | None) -> dict[str, float]:
    return {name: _number(f"{option} {name}", value) for name, value in _pairs(option, given).items()}


def _number(option: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise SpecError(f"{option}: {text!r} is not a finite number, such as 0.25")
    return value


def _whole(option: str, text: str) -> int:
    value = _number(option, text)
    if value != int(value) or value < 1:
        raise SpecError(f"{option}: {text!r} is not a whole number, 1 or more")
    return int(value)


def _require_writable(out: Path) -> None:
    """Make the folder of the file where it is missing, and see before solving that a file can be made there."""
    import tempfile

    from rdp.tables.manifest import write_error

    if out.is_dir():
        raise SpecError(f"--out {out} is a folder; name a file in it, such as {out / 'selection.json'}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        raise write_error(out, error) from error


def _show(selection: Selection, json: bool) -> None:
    for warning in selection.warnings:
        typer.echo(f"warning: {warning}", err=True)
    if json:
        from rdp.selection.document import document_text

        typer.echo(document_text(selection), nl=False)
    elif selection.found:
        from rdp.cli.solve_text import describe

        typer.echo(describe(selection))
    if not selection.found:
        typer.echo(selection.explanation, err=True)


def _exit(selection: Selection) -> None:
    from rdp.selection import Status

    if selection.status is Status.INFEASIBLE:
        raise typer.Exit(EXIT_INFEASIBLE)
    if selection.status is Status.UNKNOWN:
        raise typer.Exit(EXIT_NO_SELECTION)
    if selection.status is Status.FEASIBLE:
        gap = "unknown" if selection.gap is None else f"at most {selection.gap:.3g} of the objective"
        typer.echo(f"not proven best: the distance from the best selection is {gap}", err=True)


def _worth_showing(selection: Selection, column: str) -> bool:
    used = {selection.problem.objective.column, *(budget.column for budget in selection.budgets)}
    return column not in used and column not in ("nbytes", "encode_s", "decode_s")


def _text(value: float | None, digits: int = 6) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}g}"


def _aligned(rows: Sequence[Sequence[Any]], left: Sequence[int]) -> list[str]:
    """Columns of equal width, numbers to the right."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if k in left else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
