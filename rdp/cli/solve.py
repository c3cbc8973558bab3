"""`rdp solve`: choose one operating point for every image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rdp.cli import problem_options as options
from rdp.cli import set_options as sets
from rdp.cli.options import number, require_writable
from rdp.cli.solve_sets import names_sets, require_unused, solve_sets
from rdp.cli.table import read_column_map
from rdp.errors import EXIT_INFEASIBLE, EXIT_INTERRUPTED, EXIT_NO_SELECTION

if TYPE_CHECKING:
    from rdp.selection import Selection

_UNCERTAINTY = "Uncertainty"


def solve_command(
    source: options.Source,
    minimize: options.Minimize = None,
    maximize: options.Maximize = None,
    at_most: options.AtMost = None,
    at_least: options.AtLeast = None,
    weights: options.Weights = None,
    each_at_most: options.EachAtMost = None,
    each_at_least: options.EachAtLeast = None,
    cap: options.Cap = None,
    group_at_most: options.GroupAtMost = None,
    group_at_least: options.GroupAtLeast = None,
    groups: options.Groups = "dataset",
    points: options.Points = None,
    fix: options.Fix = None,
    forbid: options.Forbid = None,
    max_points: options.MaxPoints = None,
    side_info: options.SideInfo = False,
    no_decoder_info: options.NoDecoderInfo = False,
    solver: Annotated[
        str, typer.Option(help="auto, cbc, cp-sat, dual, highs or scip.", rich_help_panel=options.SOLVING)
    ] = "auto",
    gap: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER",
            help="Relative distance from the best that is enough: 1e-9, and 1e-6 with --memory.",
            rich_help_panel=options.SOLVING,
        ),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Read the run folder or Parquet file in passes, within so much memory, such as 2GB; "
            "--out names a .parquet file.",
            rich_help_panel=options.SOLVING,
        ),
    ] = None,
    scratch: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="With --memory: where temporary files go, if any.", rich_help_panel=options.SOLVING
        ),
    ] = None,
    time_limit: Annotated[
        str | None, typer.Option(metavar="SECONDS", help="Stop after this long.", rich_help_panel=options.SOLVING)
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
    seed: Annotated[
        str,
        typer.Option(
            metavar="N", help="Seed of both, and of the search for distances of sets.", rich_help_panel=_UNCERTAINTY
        ),
    ] = "0",
    network: sets.Network = None,
    patches: sets.Patches = None,
    small: sets.Small = None,
    device: sets.Device = None,
    images: sets.Images = None,
    codec_file: sets.CodecFiles = None,
    unbiased: sets.Unbiased = False,
    column: options.Column = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the selection to this file (selection.json).")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the selection as one JSON document.")] = False,
) -> None:
    """Choose one operating point for every image, so that averages keep to what you ask for, provably.

    A distance of sets can be minimised (--minimize) or held to at most a value (--at-most) too: fid, kid, fd_squeeze,
    kd_squeeze, swd, and fd_NAME and kd_NAME of a --network. Its features are computed from the pictures of the run
    folder and kept there; fid and kid need the weights of an Inception network (rdp weights list). Without --time-limit
    their search ends after about two minutes. Ctrl-C gives the best selection so far.

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
    words = options.statement_words(
        minimize=minimize,
        maximize=maximize,
        at_most=at_most,
        at_least=at_least,
        weights=weights,
        each_at_most=each_at_most,
        each_at_least=each_at_least,
        points=points,
        fix=fix,
        forbid=forbid,
        cap=cap,
        group_at_most=group_at_most,
        group_at_least=group_at_least,
        groups=groups,
        max_points=max_points,
        side_info=side_info,
        no_decoder_info=no_decoder_info,
    )
    how: dict[str, Any] = {
        "time_limit": None if time_limit is None else number("--time-limit", time_limit),
        "columns": read_column_map(column),
    }
    enough = None if gap is None else number("--gap", gap)
    features = {
        "--network": network,
        "--patches": patches,
        "--small": small,
        "--device": device,
        "--images": images,
        "--codec-file": codec_file,
        "--unbiased": unbiased,
    }
    if names_sets(source, words, how["columns"]):
        refused = {
            "--bootstrap": bootstrap is not None,
            "--holdout": holdout,
            "--memory": memory is not None,
            "--scratch": scratch is not None,
            "--solver": solver != "auto",
            "--max-points": max_points is not None,
        }
        _answer_sets(
            lambda: solve_sets(
                source, words, gap=enough, seed=seed, refused=refused, options=features, quiet=json, **how
            ),
            json,
            out,
        )
        return
    require_unused(features)
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
    _save(selection, json, out)
    _exit(selection)


def _answer_sets(solved: Callable[[], Selection], json: bool, out: Path | None) -> None:
    """Print a selection, write it, and exit as it says; after Ctrl-C the best one so far."""
    from rdp.selection.setlevel.result import SolveInterrupted

    try:
        selection, stopped = solved(), False
    except SolveInterrupted as stop:
        selection, stopped = stop.selection, True
    _show(selection, json=json, quiet=json)
    _save(selection, json, out)
    if stopped:
        kept = f"is in {out}" if out is not None else "stands above; --out FILE writes it"
        typer.echo(f"interrupted: the best selection so far {kept}", err=True)
        raise typer.Exit(EXIT_INTERRUPTED)
    _exit(selection)


def _save(selection: Selection, json: bool, out: Path | None) -> None:
    if out is not None:
        # Last: a disk that is full by now does not take the result with it.
        selection.save(out)
        if selection.found and not json:
            typer.echo(f"\nwritten to {out}")


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
        from rdp.cli.solve_sets import stopped_words

        told = stopped_words(selection)
        typer.echo(
            f"not proven best: the distance from the best selection is {gap}{'; ' if told else ''}{told}", err=True
        )
