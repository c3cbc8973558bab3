"""What a figure shows, as numbers: panels, curves, hulls, selections; nothing about drawing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rdp.report.averages import Average, all_averages, average_of, find_average
from rdp.report.names import curves
from rdp.report.study import Reported, Share, Study
from rdp.selection import Selection
from rdp.selection.decoder_cost import DecoderCost
from rdp.selection.problem import FloatArray, weighted_mean

MOST_PANELS = 3
MOST_LINES = 12
_RATES = ("bpp", "bpp_estimated", "bpp_fixed_law", "nbytes")
_QUALITIES = ("psnr", "mse", "ms_ssim_db", "ms_ssim", "ssim")
_WIDE = 8.0
"""Averages whose largest is so many times the smallest are drawn on a logarithmic scale."""


@dataclass(frozen=True)
class Spot:
    """A marked place of a panel."""

    kind: str
    """`selection`, `single` or `mixture`."""
    index: int
    """Which selection it belongs to."""
    x: float
    y: float


@dataclass(frozen=True)
class Line:
    """Operating points of one curve; `family` is None for the points that are too many for lines of their own."""

    label: str
    family: str | None
    xs: tuple[float, ...]
    ys: tuple[float, ...]


@dataclass(frozen=True)
class Panel:
    """One pair of axes: average rate against another average.

    `hull` are the (xs, ys) of the best mixtures of single points, or None.
    """

    x: Average
    y: Average
    lines: tuple[Line, ...]
    hull: tuple[tuple[float, ...], tuple[float, ...]] | None
    spots: tuple[Spot, ...]
    x_budgets: tuple[float, ...]
    y_budgets: tuple[float, ...]
    x_log: bool
    y_log: bool


@dataclass(frozen=True)
class Plot:
    """The panels of a figure from top to bottom; `notes` say what is not in it."""

    panels: tuple[Panel, ...]
    names: tuple[str, ...]
    notes: tuple[str, ...]


def make_plot(study: Study, quality: str | None = None) -> Plot | None:
    """The figure of a study, or None when the table has no rate, or no quality to draw against it.

    `quality` names the average of the first panel. Raises `TableError` when there is none of that name.
    """
    found = all_averages(study.cells, [one.selection for one in study.selections])
    first = None if quality is None else find_average(found, quality, study.source)
    averages = tuple(found.values())
    x = _rate(study, averages)
    if x is None:
        return None
    shown = _panel_averages(study, averages, x, first)
    if not shown:
        return None
    lossless = _lossless(study, averages)
    # Under a cap, a lossless point has a place: the one that the selection was made with.
    if any(average.cap is not None for average in shown):
        lossless = set()
    drawn = [c and k not in lossless for k, c in enumerate(study.complete)]
    panels = tuple(_panel(study, averages, x, y, drawn) for y in shown[:MOST_PANELS])
    names = tuple(one.name for one in study.selections)
    return Plot(panels, names, tuple(_left_out(study, x, lossless, panels, shown)))


def lower_hull(xs: FloatArray, ys: FloatArray) -> list[int]:
    """Numbers of the points on the lower convex hull, from the least x on while y still falls (Andrew's chain)."""
    order = np.lexsort((ys, xs))
    hull: list[int] = []
    for k in order.tolist():
        if hull and ys[k] >= ys[hull[-1]]:
            continue
        while len(hull) > 1 and _turns_right(xs, ys, hull[-2], hull[-1], k):
            hull.pop()
        hull.append(k)
    return hull


def _turns_right(xs: FloatArray, ys: FloatArray, a: int, b: int, c: int) -> bool:
    return bool((xs[b] - xs[a]) * (ys[c] - ys[a]) - (ys[b] - ys[a]) * (xs[c] - xs[a]) <= 0)


def _rate(study: Study, averages: Sequence[Average]) -> Average | None:
    """The rate axis: with the weights that the first selection gives it."""
    for column in _RATES:
        found = _by_column(study, averages, column)
        if found is not None and any(math.isfinite(v) for v in study.cells.point_averages(found)):
            return found
    return None


def _by_column(study: Study, averages: Sequence[Average], column: str) -> Average | None:
    """The average of a column as the first selection that knows it means it, else the plain mean; of files alone."""
    for one in study.selections:
        if column in one.selection.problem.terms:
            return average_of(averages, one.selection.problem, column, of_files=True)
    return next((average for average in averages if average.key == column), None)


def _panel_averages(study: Study, averages: Sequence[Average], x: Average, first: Average | None) -> list[Average]:
    """`first`, else the objective; then what else is optimised or bounded.

    Where the rate is minimised, PSNR comes first if it is bounded, and where nothing but the rate is asked for, a
    quality that the table has.
    """
    problems = [one.selection.problem for one in study.selections]
    columns = [p.objective.column for p in problems] + [c for p in problems for c in p.statement.used_columns]
    wanted = [_by_column(study, averages, column) for column in columns if column != x.column]
    if first is None and not wanted:
        first = next((a for name in _QUALITIES for a in averages if a.key == name), None)
    elif first is None and columns[0] == x.column:
        first = next((a for a in wanted if a is not None and a.column.startswith("psnr")), None)
    return list(dict.fromkeys(a for a in (first, *wanted) if a is not None and a.column != x.column))


def _lossless(study: Study, averages: Sequence[Average]) -> set[int]:
    """Points whose average PSNR is infinite or whose MSE is zero: off every scale."""
    out: set[int] = set()
    for average in averages:
        if average.column in ("psnr", "psnr_y", "mse") and average.cap is None and not average.transform:
            values = study.cells.point_averages(average)
            out |= {k for k, v in enumerate(values) if v == math.inf or (average.column == "mse" and v == 0)}
    return out


def _panel(study: Study, averages: Sequence[Average], x: Average, y: Average, drawn: Sequence[bool]) -> Panel:
    xs, ys = study.cells.point_averages(x), study.cells.point_averages(y)
    shown = {k for k, good in enumerate(drawn) if good and math.isfinite(xs[k]) and math.isfinite(ys[k])}
    lines = _lines(study, shown, xs, ys)
    spots = [spot for k, one in enumerate(study.selections) for spot in _spots(study, one, k, x, y)]
    all_x = [v for line in lines for v in line.xs] + [spot.x for spot in spots]
    all_y = [v for line in lines for v in line.ys] + [spot.y for spot in spots]
    return Panel(
        x,
        y,
        tuple(lines),
        _hull(study, sorted(shown), xs, ys, y),
        tuple(spots),
        _budgets(study, averages, x),
        _budgets(study, averages, y),
        _is_wide(all_x),
        y.direction == "lower" and _is_wide(all_y),
    )


def _lines(study: Study, shown: set[int], xs: Sequence[float], ys: Sequence[float]) -> list[Line]:
    """The curves of the points that are shown, the last ones as loose points where they are too many to tell apart."""
    number = {point: k for k, point in enumerate(study.points)}
    every = curves(study.points)
    own, rest = (every, ()) if len(every) <= MOST_LINES else (every[: MOST_LINES - 1], every[MOST_LINES - 1 :])
    lines = []
    for curve in own:
        on = [number[point] for point in curve.points if number[point] in shown]
        if not curve.ordered:
            on.sort(key=lambda k: xs[k])
        if on:
            lines.append(Line(curve.label, curve.family, tuple(xs[k] for k in on), tuple(ys[k] for k in on)))
    loose = [number[point] for curve in rest for point in curve.points if number[point] in shown]
    if loose:
        lines.append(Line("other points", None, tuple(xs[k] for k in loose), tuple(ys[k] for k in loose)))
    return lines


def _spots(study: Study, one: Reported, index: int, x: Average, y: Average) -> list[Spot]:
    kinds: list[tuple[str, tuple[Share, ...]]] = [("selection", one.own)]
    kinds += [("single", one.shares(one.single)), ("mixture", one.shares(one.mixture))]
    spots = [Spot(kind, index, study.value(x, shares), study.value(y, shares)) for kind, shares in kinds if shares]
    return [spot for spot in spots if math.isfinite(spot.x) and math.isfinite(spot.y)]


def _hull(
    study: Study, shown: Sequence[int], xs: Sequence[float], ys: Sequence[float], y: Average
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Of the points that the first selection may use for every image: what their mixtures reach."""
    one = study.selections[0]
    usable = set(one.numbers.tolist()) - {
        one.numbers[k] for k, p in enumerate(one.selection.problem.points) if p in one.single.left_out
    }
    on = [k for k in shown if k in usable]
    if len(on) < 2 or y.direction is None or y.transform:
        return None
    sign = 1.0 if y.direction == "lower" else -1.0
    corners = [on[k] for k in lower_hull(np.array([xs[k] for k in on]), sign * np.array([ys[k] for k in on]))]
    if len(corners) < 2:
        return None
    return tuple(xs[k] for k in corners), tuple(ys[k] for k in corners)


def _budgets(study: Study, averages: Sequence[Average], axis: Average) -> tuple[float, ...]:
    """Budgets on the average that an axis shows; of those with bits beside the files, what they leave for the files."""
    found = []
    for selection in (one.selection for one in study.selections):
        problem = selection.problem
        for column, _, budget in problem.statement.budgets:
            if average_of(averages, problem, column, of_files=True) == axis:
                found.append(budget - _beside(selection, column))
    return tuple(sorted(set(found)))


def _beside(selection: Selection, column: str) -> float:
    """What bits beside the files add to an average; those of decoders at the selection's choice, 0 without one."""
    problem, choice = selection.problem, selection.choice
    if problem.naming is None or column not in problem.naming.columns:
        return 0.0
    if choice is None:
        if problem.index_cost is None:
            return 0.0
        choice = np.zeros(len(problem.images), dtype=np.int64)
    return weighted_mean(problem.naming.at(column, choice), problem.terms[column].weights)


def _is_wide(values: Sequence[float]) -> bool:
    return bool(values) and min(values) > 0 and max(values) > _WIDE * min(values)


def _left_out(
    study: Study, x: Average, lossless: set[int], panels: Sequence[Panel], shown: Sequence[Average]
) -> list[str]:
    notes = []
    if lossless:
        xs = study.cells.point_averages(x)
        listed = ", ".join(f"{study.names[study.points[k]]} at {xs[k]:.4g} {x.unit}" for k in sorted(lossless))
        notes.append(f"Not drawn, being lossless for some image (infinite PSNR): {listed}.")
    partial = sum(not complete for complete in study.complete)
    if partial:
        notes.append(f"Not drawn: {partial} points that not every image has.")
    if len(shown) > MOST_PANELS:
        notes.append(f"Not drawn, for want of room: {', '.join(average.heading for average in shown[MOST_PANELS:])}.")
    problems = [one.selection.problem for one in study.selections]
    if any(problem.statement.group_budgets for problem in problems):
        notes.append("Budgets of groups are not drawn: the axes show averages over all images.")
    if any(problem.index_cost is not None for problem in problems):
        notes.append("Rates are drawn without side information, and so are the budgets that include it.")
    if any(isinstance(problem.naming, DecoderCost) for problem in problems):
        notes.append("Rates are drawn without the bits that name decoders, and so are the budgets that include them.")
    for one, index in ((one, k) for k, one in enumerate(study.selections) if one.selection.found):
        if not any(spot.kind == "selection" and spot.index == index for panel in panels for spot in panel.spots):
            notes.append(f"Selection {one.name} is not drawn: its averages are not finite.")
    return notes
