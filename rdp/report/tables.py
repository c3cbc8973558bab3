"""The tables of a report as text, with the digits that a reader needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rdp.report.averages import Average, average_of
from rdp.report.frames import counts_of, gain_over
from rdp.report.study import Reported, Share, Study
from rdp.report.text import MISSING, Cell, Code, Number, Piece, Row, TextTable, decimals_for, fixed, percent
from rdp.selection.baselines import Gain
from rdp.selection.statement import Sense

if TYPE_CHECKING:
    import pandas as pd


def points_table(study: Study, frame: pd.DataFrame) -> TextTable:
    """The operating points, then the selections and what they are measured against (as Table 4.1 of the thesis)."""
    own = [average for average in study.averages if average.naming is None]
    shown = [average for average in own if not average.secondary] or own
    partial = not all(study.complete)
    places = {a.key: decimals_for(frame.loc[study.complete, a.key], a.unit) for a in shown}
    header = ["Operating point", *(["Images"] if partial else []), *(a.heading for a in shown)]
    found = [one for one in study.selections if one.selection.found]
    header += ["Chosen" if len(study.selections) == 1 else f"Chosen, {one.name}" for one in found]
    chosen = [counts_of(study, one) for one in found]
    rows: list[Row] = []
    for number, point in enumerate(study.points):
        cells: list[Cell] = [Code(study.names[point])]
        cells += [_of(int(study.images_of[number]), study.cells.grid.shape[0])] if partial else []
        cells += [fixed(frame[a.key][number], places[a.key]) for a in shown]
        cells += [Number(MISSING if counts[number] is None else str(counts[number])) for counts in chosen]
        rows.append(tuple(cells))
    groups = [tuple(rows)]
    for one in study.selections:
        chose = [f"{study.cells.grid.shape[0]}" if one is other else "" for other in found]
        groups.append(tuple(_summary_rows(study, one, chose, shown, places, partial)))
    align = "l" + "r" * (len(header) - 1)
    return TextTable(_caption(study), align, tuple(header), tuple(g for g in groups if g), _notes(study))


def _of(count: int, of: int) -> Number:
    return Number(f"{count}" if count == of else f"{count} of {of}")


def _summary_rows(
    study: Study, one: Reported, chose: list[str], shown: Sequence[Average], places: dict[str, int], partial: bool
) -> list[Row]:
    """The rows of one selection: itself, the best single point, the mixture; none for what was not found."""
    alone = len(study.selections) == 1
    single: tuple[Piece, ...] = ("Best single point",)
    if one.single.found:
        single = ("Best single: ", Code(study.names[one.single.parts[0].point]))
    entries: list[tuple[Cell, tuple[Share, ...], list[str]]] = [
        ("Selection" if alone else f"Selection {one.name}", one.own, chose),
        (single, one.shares(one.single), [""] * len(chose)),
        ("Time-shared mixture", one.shares(one.mixture), [""] * len(chose)),
    ]
    rows: list[Row] = []
    for title, shares, counts in entries:
        if shares:
            values = (fixed(study.value(a, shares), places[a.key]) for a in shown)
            images = [Number(str(study.cells.grid.shape[0]))] if partial else []
            rows.append((title, *images, *values, *map(Number, counts)))
    return rows


def _caption(study: Study) -> str:
    images = study.cells.grid.shape[0]
    text = f"Operating points: averages over {images} image{'s' if images != 1 else ''}"
    found = any(one.selection.found for one in study.selections)
    return text + (", and the number of images that chose each point." if found else ".")


def _notes(study: Study) -> tuple[tuple[Piece, ...], ...]:
    notes: list[tuple[Piece, ...]] = []
    if study.names.common:
        parts: list[Piece] = ["Left out of the names, being the same at every point: "]
        for k, (family, keys) in enumerate(study.names.common.items()):
            parts += ["; " if k else "", Code(family), " ", Code(keys)]
        notes.append((*(p for p in parts if p != ""), "."))
    if not all(study.complete):
        missing = sum(not complete for complete in study.complete)
        notes.append(
            (
                f"{missing} of {len(study.points)} points are not there for every image (column Images): their "
                "averages are over other images than those of the rest, and are not compared.",
            )
        )
    if _excluded(study):
        notes.append(("A dash under Chosen: the selection was not allowed that point.",))
    return tuple(notes)


def _excluded(study: Study) -> bool:
    return any(one.selection.found and len(one.numbers) < len(study.points) for one in study.selections)


def comparison_table(study: Study, one: Reported) -> TextTable:
    """Every average of a selection beside the best single point within the budgets and the mixture, with the gains."""
    baselines = [("Best single point", one.single), ("Mixture", one.mixture)]
    there = [(title, baseline, one.shares(baseline)) for title, baseline in baselines if baseline and baseline.found]
    header = ["Average", "Selection", *(text for title, _, _ in there for text in (title, "Gain"))]
    rows: list[Row] = []
    for average in study.averages:
        value = study.value(average, one.own)
        others = [study.value(average, shares) for _, _, shares in there]
        places = decimals_for([value, *others], average.unit)
        cells: list[Cell] = [_role(study, one, average), fixed(value, places)]
        for other in others:
            cells += [fixed(other, places), _gain_cell(gain_over(average, value, other), places)]
        rows.append(tuple(cells))
    rows.sort(key=lambda row: not isinstance(row[0], tuple))
    caption = f"Selection{'' if len(study.selections) == 1 else ' ' + one.name} against single operating points."
    note: tuple[Piece, ...] = ("A gain is positive where the selection is better.",) if there else ()
    return TextTable(caption, "l" + "r" * (len(header) - 1), tuple(header), (tuple(rows),), (note,) if note else ())


def _gain_cell(won: Gain, places: int) -> Cell:
    absolute = fixed(won.absolute, places, sign=True)
    return absolute if won.relative is None else (absolute, " (", Number(percent(won.relative)), ")")


def _role(study: Study, one: Reported, average: Average) -> Cell:
    """The average's name, and what the selection was asked to do with it."""
    problem, words = one.selection.problem, []
    if average_of(study.averages, problem, problem.objective.column) == average:
        words.append("minimised" if problem.goal == "minimize" else "maximised")
    for column, sense, budget in problem.statement.budgets:
        if average_of(study.averages, problem, column) == average:
            words.append(f"{sense_words(sense)} {budget:g}")
    for column, sense, budget in problem.statement.group_budgets:
        if average_of(study.averages, problem, column) == average:
            words.append(f"{sense_words(sense)} {budget:g} in each group")
    return (average.heading, ": " + ", ".join(words)) if words else average.heading


def sense_words(sense: Sense) -> str:
    """`at most` or `at least`."""
    return "at most" if sense == "at_most" else "at least"
