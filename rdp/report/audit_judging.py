"""How far the values of an audit are to be trusted: intervals over images, deviations over random subsets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from rdp.report.audit_intervals import MOST_PATCHES, Weighted, interval_of, kernel_of, over_draws, sliced_of
from rdp.report.audit_measures import SetMeasure
from rdp.report.audit_result import AuditInterval, AuditRow, Comparison
from rdp.report.audit_table import Table
from rdp.report.averages import Average
from rdp.selection.problem import IntArray


def judged_rows(table: Table, chosen: Sequence[AuditRow], comparisons: Sequence[Comparison]) -> dict[str, IntArray]:
    """Choices of the rows that get intervals: mixtures, and the points that are best in some measure."""
    names = {one.name: one.choice for one in table.mixtures}
    number = {point: k for k, point in enumerate(table.cells.grid.points)}
    for one in comparisons:
        if one.single is not None:
            names.setdefault(one.single, table.single(number[one.single]))
    return names


def with_subsets(table: Table, row: AuditRow, judged: Mapping[str, IntArray]) -> AuditRow:
    """The row with the deviations of its kernel distances over their random subsets, where these have any."""
    if row.name not in judged:
        return row
    found = {}
    for one in table.scored:
        subsets = one.measure.facts.get("subsets")
        if one.metric.distance == "kernel" and subsets:
            from rdp.analysis.sets.kernel import kernel_distance

            reference, cells = _parts(table, one, judged[row.name])
            facts = one.measure.facts
            distance = kernel_distance(
                np.concatenate(reference), np.concatenate(cells), subsets=subsets, subset_size=facts["subset_size"],
                seed=facts["seed"],
            )  # fmt: skip
            found[one.measure.key] = distance.deviation
    return replace(row, deviations=found) if found else row


Parts = list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]


def _parts(table: Table, one: SetMeasure, choice: IntArray) -> tuple[Parts, Parts]:
    """The features of the originals and of a choice, image by image."""
    arrays = one.arrays()
    column = {point: k for k, point in enumerate(arrays.points)}
    names = table.cells.grid.points
    rows = range(table.images)
    return (
        [np.asarray(arrays.reference(image)) for image in rows],
        [np.asarray(arrays.cell(image, column[names[point]])) for image, point in zip(rows, choice, strict=True)],
    )


def all_intervals(
    table: Table, judged: Mapping[str, IntArray], comparisons: Sequence[Comparison], notes: list[str]
) -> list[AuditInterval]:
    """Of each measure for which they are cheap: of the judged rows, and of those less each selection."""
    makers: dict[str, Callable[[IntArray], Weighted]] = {
        one.key: partial(_average_of, table, one) for one in table.averages if one.direction is not None
    }
    for scored in table.scored:
        maker = _maker(table, scored, notes)
        if maker is not None:
            makers[scored.measure.key] = maker
    count = sum(len(_rows_of(table, key, comparisons)) for key in makers)
    table.progress.start("intervals", count, "row")
    found: list[AuditInterval] = []
    images, resamples, seed = table.images, table.resamples, table.seed
    for key, make in makers.items():
        values = {}
        for name in _rows_of(table, key, comparisons):
            values[name] = over_draws(make(judged[name]), images, resamples, seed)
            table.progress.advance()
            found.append(AuditInterval(name, key, "", interval_of(values[name], None, images, resamples, seed)))
        for selection in (one.name for one in table.mixtures if not one.against):
            for name in values:
                if name != selection:
                    interval = interval_of(values[name], values[selection], images, resamples, seed)
                    found.append(AuditInterval(name, key, selection, interval))
    table.progress.finish()
    return found


def _rows_of(table: Table, key: str, comparisons: Sequence[Comparison]) -> list[str]:
    """The mixtures, and the points that are best in the measure."""
    names = [one.name for one in table.mixtures]
    singles = [one.single for one in comparisons if one.measure == key and one.single is not None]
    return list(dict.fromkeys([*names, *singles]))


def _average_of(table: Table, average: Average, choice: IntArray) -> Weighted:
    values = table.cells.grid.values(average.column)[np.arange(table.images), choice]
    pixels = table.cells.pixels

    def value(weights: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
        drawn = np.repeat(np.arange(table.images), weights.astype(np.intp))
        return average.of(average.mean(values[drawn], None if pixels is None else pixels[drawn]))

    return value


def _maker(table: Table, scored: SetMeasure, notes: list[str]) -> Callable[[IntArray], Weighted] | None:
    """What makes a set-level measure of a choice a function of the images' weights; None, and a note, where dear."""
    if scored.metric.distance == "sliced":
        return lambda choice: sliced_of(*_parts(table, scored, choice))
    patches = int(scored.measure.facts["patches"])
    if scored.metric.distance == "kernel" and patches <= MOST_PATCHES:
        return lambda choice: kernel_of(*_parts(table, scored, choice))
    why = (
        "a Fréchet distance is made anew for every draw"
        if scored.metric.distance == "frechet"
        else (f"{patches} patches are more than {MOST_PATCHES}")
    )
    notes.append(f"{scored.measure.title} has no intervals: {why}")
    return None
