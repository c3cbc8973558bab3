"""`rdp frontier`: one problem along a sweep of its budgets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rdp.cli import problem_options as options
from rdp.cli.options import number, pairs, require_folder, whole
from rdp.cli.table import read_column_map
from rdp.cli.text import aligned, number_text
from rdp.errors import EXIT_INFEASIBLE, EXIT_NO_SELECTION, SpecError

if TYPE_CHECKING:
    from rdp.report.frontier_gain import FrontierGain
    from rdp.selection.frontiers.verb import Frontier

MOST_ROWS = 40
"""Of two sweeps, a longer table is printed without the rows that repeat a selection."""


def frontier_command(
    source: options.Source,
    sweep: Annotated[
        list[str],
        typer.Option(
            metavar="COLUMN=RANGE",
            help="Budgets of an average: bpp=0.1..0.6..0.01, bpp=0.1|0.2; with --auto bpp=0.1..0.6 or bpp alone. "
            "Two sweeps give a surface.",
        ),
    ],
    minimize: options.Minimize = None,
    maximize: options.Maximize = None,
    auto: Annotated[
        str | None, typer.Option(metavar="N", help="Place so many points of one sweep where the curve bends.")
    ] = None,
    sense: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN=at_most|at_least",
            help="The side of a swept budget; by default the side on which more is worse.",
        ),
    ] = None,
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
    gap: Annotated[
        str,
        typer.Option(
            metavar="NUMBER", help="Relative distance from the best that is enough.", rich_help_panel=options.SOLVING
        ),
    ] = "1e-6",
    time_limit: Annotated[
        str | None,
        typer.Option(metavar="SECONDS", help="Stop each point after this long.", rich_help_panel=options.SOLVING),
    ] = None,
    column: options.Column = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write tables, text and figures into this folder.")
    ] = None,
    save_selections: Annotated[
        bool, typer.Option("--save-selections", help="Write every selection, too (FOLDER/selections/NNNN.json).")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the frontier as one JSON document.")] = False,
) -> None:
    """Solve along a sweep of one or two budgets: the rate-distortion curve, or the rate-distortion-perception surface.

    Exit codes: 0 there are selections (points that are not proven best are counted on stderr), 2 input that cannot be
    used, 3 no budget of the sweep can be met, 4 none was found within the time limit.
    """
    from rdp.selection.frontiers.verb import frontier

    if save_selections and out is None:
        raise SpecError("--save-selections needs a folder to write to: --out FOLDER")
    if out is not None:
        # Before solving: a folder that cannot be made does not take the result with it.
        require_folder(out)
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
    senses: dict[str, Any] = {**pairs("--sense", sense)}
    found = frontier(
        source,
        sweep=_sweeps(sweep),
        senses=senses,
        auto=None if auto is None else whole("--auto", auto),
        columns=read_column_map(column),
        gap=number("--gap", gap),
        time_limit=None if time_limit is None else number("--time-limit", time_limit),
        keep_selections=save_selections,
        **words,
    )
    _show(found, out, save_selections, json)
    _exit(found)


def _sweeps(given: Sequence[str]) -> dict[str, str | None]:
    """`COLUMN=RANGE` parted at the last `=`; a column alone has no range."""
    out: dict[str, str | None] = {}
    for text in given:
        name, equals, values = text.rpartition("=")
        column = name if equals else text
        if column in out:
            raise SpecError(f"--sweep {column} is given twice: write its values as one list, such as 0.1..0.3..0.1|0.5")
        out[column] = values if equals else None
    return out


def _show(found: Frontier, out: Path | None, save_selections: bool, json: bool) -> None:
    from rdp.report.frontier import gain_of, report_document, write_frontier
    from rdp.report.frontier_text import binding_notes
    from rdp.selection.document import json_text

    notes: tuple[str, ...] = ()
    written = 0
    if out is not None:
        report = write_frontier(found, out, save_selections=save_selections)
        gain, notes, written = report.gain, report.notes, len(report.paths)
    else:
        gain, notes = gain_of(found), tuple(binding_notes(found))
    for warning in (*found.warnings, *gain.warnings):
        typer.echo(f"warning: {warning}", err=True)
    if json:
        typer.echo(json_text(report_document(found, gain)), nl=False)
        return
    typer.echo(describe(found, gain))
    for note in notes:
        typer.echo(note, err=True)
    if out is not None:
        typer.echo(f"\nwritten to {out}: {written} files, the text is frontier.md")


def describe(found: Frontier, gain: FrontierGain) -> str:
    """The frontier for people: a row a point, and the gain over the best single codec.

    Of two sweeps with many rows, the first row of each different selection.
    """
    from rdp.report.frontier_text import place_sentence, place_words
    from rdp.selection.decoder_cost import DecoderCost
    from rdp.selection.frontiers.point import distinct
    from rdp.selection.words import counted

    problem = found.problem
    images, points = problem.shape
    word = "minimised" if problem.goal == "minimize" else "maximised"
    head = [f"{sweep.column} {sweep.symbol}" for sweep in found.sweeps]
    charged = problem.naming.columns if isinstance(problem.naming, DecoderCost) else ()
    # What a swept or optimised rate is without the bits that name decoders.
    alone = [column for column in charged if column in (problem.objective.column, *found.swept)]
    head += ["status", problem.objective.column, "gap", *(f"price of {column}" for column in found.swept)]
    head += [f"{column} of files" for column in alone]
    rows: list[Sequence[Any]] = [[*head, "points", "place"]]
    shown, repeats = found.points, ""
    if len(found.sweeps) == 2 and len(shown) > MOST_ROWS and found.found:
        shown = distinct(found.points)
        hidden, without = len(found.found) - len(shown), len(found.points) - len(found.found)
        repeats = (
            f"each selection once: {counted(hidden, 'row')} more {'repeats' if hidden == 1 else 'repeat'} one, "
            f"{counted(without, 'row')} {'has' if without == 1 else 'have'} none; --out and --json have all"
        )
    for point in shown:
        row: list[str] = [f"{budget:g}" for budget in point.budgets]
        row += [point.status.value, number_text(point.objective), "-" if point.gap is None else f"{point.gap:.1g}"]
        row += [number_text(price, 4) for price in point.swept_prices]
        row += [number_text(point.averages_of_files.get(column)) for column in alone]
        rows.append([*row, str(len(point.counts)) if point.found else "-", place_words(point)])
    left = (len(found.sweeps), len(rows[0]) - 1)
    lines = [
        f"{len(found.found)} of {counted(len(found.points), 'point')} found for {counted(images, 'image')} among "
        f"{counted(points, 'operating point')} ({found.elapsed_s:.2f} s)",
        f"average {problem.objective.column} {word}; gap {found.gap:g}",
        "",
        *aligned(rows, left=left),
        *([repeats] if repeats else []),
        "",
        *([place_sentence(found)] if found.found else []),
        gain.sentence(),
    ]
    return "\n".join(lines)


def _exit(found: Frontier) -> None:
    from rdp.report.frontier_text import reach_words
    from rdp.selection import Status

    statuses = [point.status for point in found.points]
    if not found.found:
        infeasible = all(status is Status.INFEASIBLE for status in statuses)
        what = "no budget of the sweep can be met" if infeasible else "no selection was found within the time limit"
        reach = reach_words(found) if infeasible else ""
        typer.echo(f"{what}{reach}; rdp solve with one of them explains it", err=True)
        raise typer.Exit(EXIT_INFEASIBLE if infeasible else EXIT_NO_SELECTION)
    unproven = statuses.count(Status.FEASIBLE)
    if unproven:
        typer.echo(f"not proven best within the gap: {unproven} of {len(statuses)} points", err=True)
