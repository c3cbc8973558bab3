"""The rows, comparisons and intervals of an audit, from its cells, mixtures and scorers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from rdp.report.audit_curves import interpolated
from rdp.report.audit_judging import all_intervals, judged_rows, with_subsets
from rdp.report.audit_measures import Measure
from rdp.report.audit_mixtures import EQUAL, Mixture, random_mixtures
from rdp.report.audit_result import AuditInterval, AuditRow, Comparison
from rdp.report.audit_table import Table
from rdp.report.names import curves

SAME_RATE = 1e-9
"""A point at the mixture's rate may be above it by this part."""


Assembled = tuple[tuple[AuditRow, ...], tuple[Comparison, ...], tuple[AuditInterval, ...], tuple[str, ...]]


def assemble(table: Table) -> Assembled:
    """Rows, comparisons, intervals, and notes."""
    grid, told = table.cells.grid, table.progress
    own = [one for one in table.mixtures if not one.against]
    told.start("sets scored", len(table.places) + len(table.mixtures) + table.draws * len(own), "set")
    points: list[AuditRow] = []
    for place in table.places:
        choice = table.single(place)
        points.append(AuditRow("point", grid.points[place], table.rate_of(choice), 1, table.values(choice)))
        told.advance()
    chosen = []
    for one in table.mixtures:
        kind = "against" if one.against else "selection"
        used = len(np.unique(one.choice))
        chosen.append(AuditRow(kind, one.name, table.rate_of(one.choice), used, table.values(one.choice)))  # type: ignore[arg-type]
        told.advance()
    others: list[AuditRow] = []
    notes: list[str] = []
    for mixture, row in zip(table.mixtures, chosen, strict=True):
        if not mixture.against:
            others += _curve_rows(table, points, row)
            others += _random_rows(table, mixture, row, notes)
    told.finish()
    comparisons = [
        _compared(measure, row, points, others)
        for row in chosen
        if row.kind == "selection"
        for measure in table.measures
    ]
    judged = judged_rows(table, chosen, comparisons)
    rows = [with_subsets(table, row, judged) for row in (*points, *chosen)]
    notes += _below_zero(table, rows)
    intervals = all_intervals(table, judged, comparisons, notes) if table.resamples else []
    return (*rows, *others), tuple(comparisons), tuple(intervals), tuple(notes)


def _curve_rows(table: Table, points: Sequence[AuditRow], row: AuditRow) -> list[AuditRow]:
    """The lines of two or more single points at the rate of a mixture, where they reach it."""
    by_name = {point.name: point for point in points}
    found = []
    for curve in curves([point.name for point in points]):
        on = [by_name[name] for name in curve.points]
        if len(on) < 2:
            continue  # a point alone is no curve: it stands among the single points
        rates = [point.rate for point in on]
        values = {
            measure.key: interpolated(rates, [point.values[measure.key] for point in on], row.rate)
            for measure in table.measures
        }
        known = {key: value for key, value in values.items() if not math.isnan(value)}
        if known:
            found.append(AuditRow("curve", curve.label, row.rate, len(on), known, of=row.name))
    return found


def _random_rows(table: Table, mixture: Mixture, row: AuditRow, notes: list[str]) -> list[AuditRow]:
    """Mean and deviation over random mixtures of equal rate, as one row; none without draws."""
    if not table.draws:
        return []
    pixels = table.cells.pixels
    weights = np.ones(table.images) if table.rate.weighting == "images" or pixels is None else pixels
    rates = table.cells.grid.values(table.rate.column)
    found = []
    own = 0
    for choice in random_mixtures(mixture, rates, weights, table.draws, table.seed):
        own += int(mixture.is_same(choice))
        found.append((table.rate_of(choice), table.values(choice)))
        table.progress.advance()
    reached = np.array([rate for rate, _ in found])
    if np.abs(reached / row.rate - 1).max() > EQUAL:
        notes.append(
            f"the random mixtures of {row.name} have rates from {reached.min():.6g} to {reached.max():.6g}, where it "
            f"has {row.rate:.6g}, and {reached.mean():.6g} on average: no nearer ones were found with its points; "
            "what differs from them is in part a matter of the rate"
        )
    if own and row.points > 1:
        notes.append(
            f"{own} of {table.draws} random mixtures of {row.name} are {row.name} itself: {table.images} images"
            f"{'' if mixture.alike is None else ', some of them the same picture,'} leave few others of equal rate"
        )
    keys = [measure.key for measure in table.measures]
    every = {key: np.array([values[key] for _, values in found]) for key in keys}
    moments = {key: _moments(values) for key, values in every.items()}
    means, spread = ({key: pair[k] for key, pair in moments.items()} for k in (0, 1))
    name = f"random, as {row.name}"
    return [AuditRow("random", name, float(reached.mean()), row.points, means, of=row.name, deviations=spread)]


def _moments(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> tuple[float, float]:
    """Mean and standard deviation; of equal values, that value and 0. An infinite mean has no deviation (NaN)."""
    if (values == values[0]).all():
        return float(values[0]), 0.0
    with np.errstate(invalid="ignore"):  # lossless images have an infinite PSNR
        return float(values.mean()), float(values.std())


def _compared(measure: Measure, row: AuditRow, points: Sequence[AuditRow], others: Sequence[AuditRow]) -> Comparison:
    """A measure of a selection beside its alternatives."""
    key = measure.key
    within = [point for point in points if point.rate <= row.rate * (1 + SAME_RATE)]
    single = _best(within, measure)
    curve = _best([one for one in others if one.kind == "curve" and one.of == row.name], measure)
    drawn = next((one for one in others if one.kind == "random" and one.of == row.name), None)
    return Comparison(
        selection=row.name,
        measure=key,
        value=row.values[key],
        single=None if single is None else single.name,
        single_value=None if single is None else single.values[key],
        single_rate=None if single is None else single.rate,
        curve=None if curve is None else curve.name,
        curve_value=None if curve is None else curve.values[key],
        random=None if drawn is None else drawn.values[key],
        random_deviation=None if drawn is None else drawn.deviations[key],
        random_rate=None if drawn is None else drawn.rate,
    )


def _best(rows: Sequence[AuditRow], measure: Measure) -> AuditRow | None:
    """The best row in a measure, the first of equally good ones; None without rows or without a direction."""
    known = [row for row in rows if not math.isnan(row.values.get(measure.key, math.nan))]
    if not known or measure.direction is None:
        return None
    sign = 1.0 if measure.direction == "lower" else -1.0
    return min(known, key=lambda row: sign * row.values[measure.key])


def _below_zero(table: Table, rows: Sequence[AuditRow]) -> list[str]:
    """A note for each kernel distance that is below 0 in some rows: which it is for want of patches."""
    notes = []
    for one in (one for one in table.scored if one.metric.distance == "kernel"):
        count = sum(row.values[one.measure.key] < 0 for row in rows)
        if count:
            notes.append(
                f"{one.measure.title} is below 0 in {count} of {len(rows)} rows: with "
                f"{one.measure.facts.get('patches')} patches, each of which meets its own reconstruction, the unbiased "
                "estimate comes out too small; compare differences of equally many patches, not the sign"
            )
    return notes
