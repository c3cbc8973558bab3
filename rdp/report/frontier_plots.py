"""What the figures of a frontier show, as numbers: its curve, planes at fixed values, and the surface."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from rdp.report.averages import Average
from rdp.report.curves import MOST_LINES, Line, Panel, lower_hull
from rdp.report.frontier_curves import MainCurve, SingleCurve, axis_of, not_beaten, rate_of
from rdp.selection.frontiers.grid import Sweep
from rdp.selection.frontiers.point import FrontierPoint
from rdp.selection.frontiers.verb import Frontier

MOST_VALUES = 8
"""Lines of fixed values in one plane."""
_LEVELS = 6
_WIDE = 8.0
"""Averages whose largest is so many times the smallest are drawn on a logarithmic scale."""
_MARGIN = 0.35
"""Single points are drawn so far beyond the frontier's own range of rates, in parts of it."""
_DISTORTIONS = ("mse", "psnr", "ssim", "ms_ssim")


@dataclass(frozen=True)
class CurvePlot:
    """The frontier's curve: `panel` has the axes, the single points' lines and their mixtures' hull.

    `xs`, `ys` and `hull` (n,) are the frontier's points by x, each place once, and which of them are optima of the
    relaxation; `envelope` are the corners of the steps that the best single point within a budget makes, or None.
    `held` says in words at what another sweep is held.
    """

    panel: Panel
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    hull: tuple[bool, ...]
    envelope: tuple[tuple[float, ...], tuple[float, ...]] | None
    held: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class PlaneLine:
    """The points of a plane at one fixed value, in the order of x."""

    value: float
    label: str
    xs: tuple[float, ...]
    ys: tuple[float, ...]


@dataclass(frozen=True)
class Plane:
    """Two averages against each other, the third one fixed for each line."""

    name: str
    x: Average
    y: Average
    fixed: str
    lines: tuple[PlaneLine, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Surface:
    """The different points of the frontier in three averages (n, each), which of them are optima of the relaxation, and
    triangles between them."""

    axes: tuple[Average, Average, Average]
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    zs: tuple[float, ...]
    hull: tuple[bool, ...]
    triangles: tuple[tuple[int, int, int], ...]


def curve_plot(main: MainCurve, singles: Sequence[SingleCurve]) -> CurvePlot | None:
    """The curve with the single points around it; None without a point."""
    hull: dict[tuple[float, float], bool] = {}
    for point in main.points:
        pair = point.averages[main.x_column], point.averages[main.y_column]
        hull[pair] = point.on_hull or hull.get(pair, False)
    places = sorted(hull)
    xs, ys = [x for x, _ in places], [y for _, y in places]
    if not places:
        return None
    width = (max(xs) - min(xs)) or max(abs(xs[0]), 1e-12)
    low, high = min(xs) - _MARGIN * width, max(xs) + _MARGIN * width
    lines, hidden = _single_lines(singles, low, high)
    everything = [(x, y) for line in lines for x, y in zip(line.xs, line.ys, strict=True)]
    kept = not_beaten([x for x, _ in everything], [y for _, y in everything], main.x, main.y)
    best = sorted(pair for pair, good in zip(everything, kept.tolist(), strict=True) if good)
    all_x, all_y = [*xs, *(x for x, _ in everything)], [*ys, *(y for _, y in everything)]
    panel = Panel(
        main.x,
        main.y,
        tuple(lines),
        _mixtures(everything, main),
        (),
        (),
        (),
        _is_wide(all_x),
        main.y.direction == "lower" and _is_wide(all_y),
    )
    notes = (f"Not drawn: {hidden} single points far from the frontier's rates.",) if hidden else ()
    held = "" if main.held is None or main.held_axis is None else _at(main.held_axis, main.held)
    steps = _steps(best, main) if len(best) > 1 else None
    return CurvePlot(panel, tuple(xs), tuple(ys), tuple(hull[place] for place in places), steps, held, notes)


def _at(axis: Average, sweep: Sweep) -> str:
    """`LPIPS (Alex) ≤ 0.3`."""
    unit = f" {axis.unit}" if axis.unit else ""
    return f"{axis.title} {'≤' if sweep.sense == 'at_most' else '≥'} {sweep.loosest:g}{unit}"


def _single_lines(singles: Sequence[SingleCurve], low: float, high: float) -> tuple[list[Line], int]:
    """The single points between two values of x as lines, too many of them as loose points; how many are beyond."""
    lines, hidden = [], 0
    for one in singles:
        pairs = [(x, y) for x, y in zip(one.xs, one.ys, strict=True) if math.isfinite(y) and low <= x <= high]
        hidden += len(one.xs) - len(pairs)
        if pairs:
            lines.append(Line(one.label, one.family, tuple(x for x, _ in pairs), tuple(y for _, y in pairs)))
    if len(lines) <= MOST_LINES:
        return lines, hidden
    loose = lines[MOST_LINES - 1 :]
    rest = Line("other points", None, tuple(x for o in loose for x in o.xs), tuple(y for o in loose for y in o.ys))
    return [*lines[: MOST_LINES - 1], rest], hidden


def _mixtures(
    points: Sequence[tuple[float, float]], main: MainCurve
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """The lower hull of the single points: what time-shared mixtures of them reach.

    With further budgets there is none: points that do not keep them on their own may do so in a mixture.
    """
    if main.kept or len(points) < 2 or main.x.direction != "lower" or main.y.direction is None:
        return None
    xs, ys = (np.array(values) for values in zip(*points, strict=True))
    corners = lower_hull(xs, ys if main.y.direction == "lower" else -ys)
    return (tuple(xs[corners].tolist()), tuple(ys[corners].tolist())) if len(corners) > 1 else None


def _steps(best: Sequence[tuple[float, float]], main: MainCurve) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Corners of the steps through the best points by x: the one before holds until the next is affordable."""
    xs, ys = [best[0][0]], [best[0][1]]
    for (x0, y0), (x1, y1) in pairwise(best):
        corner = (x1, y0) if main.x.direction != "higher" else (x0, y1)
        xs += [corner[0], x1]
        ys += [corner[1], y1]
    return tuple(xs), tuple(ys)


def roles(frontier: Frontier) -> tuple[str, str, str]:
    """The columns of a frontier of two sweeps as (rate, distortion, perception).

    Without a rate the first sweep stands for it; of the other two the distortion is the one that is measured in pixels
    (MSE, PSNR, SSIM), and where that does not tell them apart the objective.
    """
    objective = frontier.problem.objective.column
    columns = (*frontier.swept, objective)
    rate = rate_of(columns) or columns[0]
    a, b = (column for column in columns if column != rate)
    if a.startswith(_DISTORTIONS) != b.startswith(_DISTORTIONS):
        return (rate, a, b) if a.startswith(_DISTORTIONS) else (rate, b, a)
    return (rate, b, a) if b == objective else (rate, a, b)


def planes(frontier: Frontier) -> tuple[Plane, ...]:
    """Perception against distortion at fixed rates, and perception against rate at fixed distortions; only of two
    sweeps (Figures 4.8 and 4.7 of the thesis)."""
    if len(frontier.sweeps) != 2 or not frontier.found:
        return ()
    rate, distortion, perception = roles(frontier)
    return (
        _plane(frontier, "perception_distortion", distortion, perception, rate),
        _plane(frontier, "rate_perception", rate, perception, distortion),
    )


def _plane(frontier: Frontier, name: str, x: str, y: str, fixed: str) -> Plane:
    axis = axis_of(frontier, fixed)
    if fixed in frontier.swept:
        symbol = frontier.sweeps[frontier.swept.index(fixed)].symbol
        lines, notes = _at_budgets(frontier, x, y, fixed)
        heading = f"{axis.title} {'≤' if symbol == '<=' else '≥'}"
    else:
        lines, notes = _at_levels(frontier, x, y, fixed)
        heading = f"{axis.title} ="
    unit = f" ({axis.unit})" if axis.unit else ""
    return Plane(name, axis_of(frontier, x), axis_of(frontier, y), heading + unit, tuple(lines), tuple(notes))


def _at_budgets(frontier: Frontier, x: str, y: str, fixed: str) -> tuple[list[PlaneLine], list[str]]:
    """A line for each budget of a swept column, of at most `MOST_VALUES` of them.

    Those at which there is one place only are left out where at least two others are lines.
    """
    place = frontier.swept.index(fixed)
    groups: dict[float, set[tuple[float, float]]] = {}
    for point in frontier.found:
        groups.setdefault(point.budgets[place], set()).add((point.averages[x], point.averages[y]))
    several = [value for value in sorted(groups) if len(groups[value]) > 1]
    values = several if len(several) > 1 else sorted(groups)
    shown = evenly(values, MOST_VALUES)
    lines = [_line(value, sorted(groups[value])) for value in shown]
    if len(shown) == len(groups):
        return lines, []
    how = ", evenly chosen" if len(shown) < len(values) else ""
    single = len(groups) - len(values)
    left_out = f"; at {single} others all selections are the same point" if single else ""
    return lines, [f"{len(shown)} of {len(groups)} values of {fixed} are drawn{how}{left_out}."]


def _at_levels(frontier: Frontier, x: str, y: str, fixed: str) -> tuple[list[PlaneLine], list[str]]:
    """Level lines of the objective over the two swept averages, interpolated between neighbouring selections."""
    levels = _levels([point.averages[fixed] for point in frontier.found])
    # Along the one sweep the objective may hardly change; the other one crosses the levels then.
    ways = [[_crossings(frontier, x, y, fixed, level, along) for level in levels] for along in (0, 1)]
    best = max(ways, key=lambda crossed: sum(len(pairs) for pairs in crossed if len(pairs) > 1))
    lines = [_line(level, pairs) for level, pairs in zip(levels, best, strict=True) if len(pairs) > 1]
    note = f"Lines of equal {fixed} are interpolated between neighbouring selections of the sweep."
    return lines, [note] if lines else [f"There are too few selections for lines of equal {fixed}."]


def _levels(values: Sequence[float]) -> list[float]:
    """Values of few digits spread over a range, in equal ratios where it is wide."""
    low, high = min(values), max(values)
    share = (np.arange(_LEVELS) + 1) / (_LEVELS + 1)
    wide = low > 0 and high > _WIDE * low
    spread = np.geomspace(low, high, 101) if wide else np.linspace(low, high, 101)
    levels = np.interp(share * 100, np.arange(101), spread)
    return sorted({float(f"{level:.2g}") if high > 1.1 * low > 0 else float(f"{level:.4g}") for level in levels})


def _crossings(frontier: Frontier, x: str, y: str, fixed: str, level: float, along: int) -> list[tuple[float, float]]:
    """Where the objective takes a value, along each row of the grid in the direction of a sweep: (x, y), once a row."""
    rows: dict[float, list[FrontierPoint]] = {}
    for point in frontier.found:
        rows.setdefault(point.budgets[1 - along], []).append(point)
    out: list[tuple[float, float]] = []
    for row in rows.values():
        for a, b in pairwise(row):
            start, end = a.averages[fixed], b.averages[fixed]
            if start != end and min(start, end) <= level <= max(start, end):
                share = (level - start) / (end - start)
                place = [a.averages[c] + share * (b.averages[c] - a.averages[c]) for c in (x, y)]
                out.append((place[0], place[1]))
                break
    return list(dict.fromkeys(out))


def _line(value: float, pairs: Sequence[tuple[float, float]]) -> PlaneLine:
    ordered = sorted(set(pairs))
    return PlaneLine(value, f"{value:g}", tuple(x for x, _ in ordered), tuple(y for _, y in ordered))


def evenly(values: Sequence[float], most: int) -> list[float]:
    """At most so many of the values: the first, and then every second, third, ... one."""
    return list(values[:: max(-(-(len(values) - 1) // (most - 1)), 1)])


def surface(frontier: Frontier) -> Surface | None:
    """Rate, distortion and perception of every different point of two sweeps; None with fewer than three of them."""
    if len(frontier.sweeps) != 2 or not frontier.found:
        return None
    columns = roles(frontier)
    hull: dict[tuple[float, ...], bool] = {}
    for point in frontier.found:
        place = tuple(point.averages[column] for column in columns)
        hull[place] = point.on_hull or hull.get(place, False)
    if len(hull) < 3:
        return None
    order = {place: k for k, place in enumerate(hull)}
    number = {point.budgets: order[tuple(point.averages[c] for c in columns)] for point in frontier.found}
    triangles: dict[tuple[int, ...], tuple[int, int, int]] = {}
    for a0, a1 in pairwise(frontier.sweeps[0].values):
        for b0, b1 in pairwise(frontier.sweeps[1].values):
            corners = [number.get(pair) for pair in ((a0, b0), (a1, b0), (a1, b1), (a0, b1))]
            for places in ((0, 1, 2), (0, 2, 3)) if None not in (corners[0], corners[2]) else ((0, 1, 3), (1, 2, 3)):
                triangle = [corner for corner in (corners[k] for k in places) if corner is not None]
                # Where two budgets give the same selection, the cell has no width.
                if len(set(triangle)) == 3:
                    triangles.setdefault(tuple(sorted(triangle)), (triangle[0], triangle[1], triangle[2]))
    first, second, third = (axis_of(frontier, column) for column in columns)
    xs, ys, zs = zip(*hull, strict=True)
    return Surface((first, second, third), xs, ys, zs, tuple(hull.values()), tuple(triangles.values()))


def _is_wide(values: Sequence[float]) -> bool:
    return bool(values) and min(values) > 0 and max(values) > _WIDE * min(values)
