"""`rdp solve`: choose one operating point for every image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rdp.cli.options import number, numbers, pairs, require_writable, whole
from rdp.cli.table import read_column_map
from rdp.errors import EXIT_INFEASIBLE, EXIT_NO_SELECTION

if TYPE_CHECKING:
    from rdp.selection import Selection

_BUDGETS = "Averages and bounds"
_GROUPS = "Averages of groups of images"
_CHOICES = "What may be chosen"
_SOLVING = "Solving"
_UNCERTAINTY = "Uncertainty"


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
        str, typer.Option(help="auto, cbc, cp-sat, dual, highs or scip.", rich_help_panel=_SOLVING)
    ] = "auto",
    gap: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER",
            help="Relative distance from the best that is enough: 1e-9, and 1e-6 with --memory.",
            rich_help_panel=_SOLVING,
        ),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Read the run folder or Parquet file in passes, within so much memory, such as 2GB; "
            "--out names a .parquet file.",
            rich_help_panel=_SOLVING,
        ),
    ] = None,
    scratch: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="With --memory: where temporary files go, if any.", rich_help_panel=_SOLVING
        ),
    ] = None,
    time_limit: Annotated[
        str | None, typer.Option(metavar="SECONDS", help="Stop after this long.", rich_help_panel=_SOLVING)
    ] = None,
    bootstrap: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="Resample the images N times, solve each again, and give intervals; 1000 is usual.",
            rich_help_panel=_UNCERTAINTY,
        ),
    ] = None,
    holdout: Annotated[
        bool,
        typer.Option(
            "--holdout",
            help="Choose prices on one half of the images and report on the other.",
            rich_help_panel=_UNCERTAINTY,
        ),
    ] = False,
    seed: Annotated[str, typer.Option(metavar="N", help="Seed of both.", rich_help_panel=_UNCERTAINTY)] = "0",
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
    from rdp.cli.uncertainty import read_options
    from rdp.selection import solve
    from rdp.selection.result import DEFAULT_GAP

    read_options(bootstrap, seed)
    if out is not None:
        require_writable(out)
    words: dict[str, Any] = {
        "minimize": minimize,
        "maximize": maximize,
        "at_most": numbers("--at-most", at_most),
        "at_least": numbers("--at-least", at_least),
        "weights": pairs("--weights", weights),
        "each_at_most": numbers("--each-at-most", each_at_most),
        "each_at_least": numbers("--each-at-least", each_at_least),
        "points": points,
        "fix": fix,
        "forbid": forbid,
        "cap": numbers("--cap", cap),
        "group_at_most": numbers("--group-at-most", group_at_most),
        "group_at_least": numbers("--group-at-least", group_at_least),
        "groups": groups,
        "max_points": None if max_points is None else whole("--max-points", max_points),
        "side_info": side_info,
    }
    how: dict[str, Any] = {
        "time_limit": None if time_limit is None else number("--time-limit", time_limit),
        "columns": read_column_map(column),
    }
    enough = None if gap is None else number("--gap", gap)
    if memory is not None:
        from rdp.cli.streamed import run_streamed

        refused = {"--bootstrap": bootstrap is not None, "--holdout": holdout, "--solver": solver != "auto"}
        run_streamed(
            source, words, memory=memory, gap=enough, out=out, scratch=scratch, json=json, refused=refused, **how
        )
        return
    selection = solve(source, solver=solver, gap=DEFAULT_GAP if enough is None else enough, **words, **how)
    _show(selection, json=json and not ((bootstrap is not None or holdout) and selection.found), quiet=json)
    if selection.found and (bootstrap is not None or holdout):
        _show_uncertainty(selection, bootstrap, holdout, seed, json)
    if out is not None:
        # Last: a disk that is full by now does not take the result with it.
        selection.save(out)
        if selection.found and not json:
            typer.echo(f"\nwritten to {out}")
    _exit(selection)


def _show(selection: Selection, *, json: bool, quiet: bool) -> None:
    """Print a selection; `quiet`: only as a document, if at all."""
    for warning in selection.warnings:
        typer.echo(f"warning: {warning}", err=True)
    if json:
        from rdp.selection.document import document_text

        typer.echo(document_text(selection), nl=False)
    elif selection.found and not quiet:
        from rdp.cli.solve_text import describe

        typer.echo(describe(selection))
    if not selection.found:
        typer.echo(selection.explanation, err=True)


def _show_uncertainty(selection: Selection, bootstrap: str | None, holdout: bool, seed: str, json: bool) -> None:
    from rdp.cli.progress import Terminal
    from rdp.cli.uncertainty import measure

    measured = measure(selection, bootstrap=bootstrap, holdout=holdout, seed=seed, progress=Terminal(quiet=json))
    typer.echo(measured.document() if json else f"\n{measured.text()}", nl=not json)
    for note in measured.notes():
        typer.echo(f"note: {note}", err=True)


def _exit(selection: Selection) -> None:
    from rdp.selection import Status

    if selection.status is Status.INFEASIBLE:
        raise typer.Exit(EXIT_INFEASIBLE)
    if selection.status is Status.UNKNOWN:
        raise typer.Exit(EXIT_NO_SELECTION)
    if selection.status is Status.FEASIBLE:
        gap = "unknown" if selection.gap is None else f"at most {selection.gap:.3g} of the objective"
        typer.echo(f"not proven best: the distance from the best selection is {gap}", err=True)
