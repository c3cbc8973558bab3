"""`rdp solve --memory`: the answer of a streamed solve, printed; its points stand in the file of --out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from rdp.cli.text import aligned, number_text
from rdp.errors import EXIT_INFEASIBLE, EXIT_NO_SELECTION, SpecError

if TYPE_CHECKING:
    from rdp.selection.streaming.selection import StreamedSelection


def run_streamed(
    source: str,
    words: Mapping[str, Any],
    *,
    memory: str,
    gap: float | None,
    time_limit: float | None,
    columns: Mapping[str, str],
    out: Path | None,
    scratch: Path | None,
    json: bool,
    refused: Mapping[str, bool],
) -> None:
    """Solve in bounded memory, print, and exit as `rdp solve` does.

    `words` are those of `Statement.of`; without a `gap` it is 1e-6. `refused` maps options that a streamed solve does
    not have to whether they were given.
    """
    from rdp.selection.statement import Statement
    from rdp.selection.streaming.selection import DEFAULT_STREAMED_GAP
    from rdp.selection.streaming.verb import solve_streamed

    for option, given in refused.items():
        if given:
            raise SpecError(f"{option} cannot be had in a streamed solve: leave out --memory, or the option")
    selection = solve_streamed(
        source,
        Statement.of(**words, columns=columns),
        memory=memory,
        gap=DEFAULT_STREAMED_GAP if gap is None else gap,
        time_limit=time_limit,
        out=out,
        columns=columns,
        scratch=scratch,
    )
    _show(selection, json)
    _exit(selection)


def _show(selection: StreamedSelection, json: bool) -> None:
    for warning in selection.warnings:
        typer.echo(f"warning: {warning}", err=True)
    if json:
        from rdp.selection.streaming.chosen_file import streamed_text

        typer.echo(streamed_text(selection), nl=False)
    elif selection.found:
        typer.echo(describe(selection))
    if not selection.found:
        typer.echo(selection.explanation, err=True)


def _exit(selection: StreamedSelection) -> None:
    from rdp.selection.status import Status

    if selection.status is Status.INFEASIBLE:
        raise typer.Exit(EXIT_INFEASIBLE)
    if selection.status is Status.UNKNOWN:
        raise typer.Exit(EXIT_NO_SELECTION)
    if selection.status is Status.FEASIBLE:
        gap = "unknown" if selection.gap is None else f"at most {selection.gap:.3g} of the objective"
        typer.echo(f"not proven best: the distance from the best selection is {gap}", err=True)


def describe(selection: StreamedSelection) -> str:
    """The selection for people: status, objective, bound and gap, each budget, images per point, what it took."""
    from rdp.selection.streaming.memory import size_text
    from rdp.selection.words import counted

    word = "minimised" if selection.goal == "minimize" else "maximised"
    bound = "unknown" if selection.bound is None else f"{selection.bound:.9g}"
    gap = "unknown" if selection.gap is None else f"{selection.gap:.2g}"
    lines = [
        f"{selection.status} selection for {counted(selection.images, 'image')} among "
        f"{counted(len(selection.points), 'point')} ({selection.solver}, {selection.elapsed_s:.2f} s)",
        f"average {selection.statement.objective} {word}: {selection.objective:.9g}   bound {bound}   gap {gap}",
    ]
    if selection.budgets:
        head = ("budget", "", "limit", "average", "slack", "price", "")
        rows = [
            (
                b.column,
                b.symbol,
                f"{b.budget:g}",
                number_text(b.average),
                number_text(b.slack, 3),
                number_text(b.price, 4),
                b.sentence,
            )
            for b in selection.budgets
        ]
        lines += ["", *aligned([head, *rows], left=(0, 1, 6))]
    counts = sorted((selection.counts or {}).items(), key=lambda pair: -pair[1])
    lines += [
        "",
        *aligned([("images", "point"), *((str(count), point) for point, count in counts if count)], left=(1,)),
    ]
    lines += ["", f"peak memory {size_text(selection.peak_memory)}, {size_text(selection.nbytes_read)} read"]
    if not selection.in_order:
        lines.append("the rows did not lie in order, and were put in order in temporary files")
    if selection.chosen_file is not None:
        lines += [
            "",
            f"written to {selection.chosen_file}, and {selection.chosen_file.with_suffix('.json').name} beside it",
        ]
    return "\n".join(lines)
