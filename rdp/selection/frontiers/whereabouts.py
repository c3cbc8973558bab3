"""Where the points of a frontier lie: their numbers turned so that less is better, and which are on its convex hull."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rdp.selection.backends.isolated import relax_anywhere
from rdp.selection.frontiers.grid import Sweep
from rdp.selection.frontiers.point import FrontierPoint, budget_names, swept_places
from rdp.selection.frontiers.shape import OPTIMUM, SMALLEST_COST, dominated_points, on_lower_hull, relaxation_optima
from rdp.selection.large import is_large
from rdp.selection.linear import linear_form
from rdp.selection.problem import BoolArray, FloatArray, Problem


def costs_of(problem: Problem, sweeps: Sequence[Sweep], points: Sequence[FrontierPoint]) -> FloatArray:
    """Swept averages and objective (n, K + 1) of points that have a selection, turned so that less is better."""
    signs = [1.0 if sweep.sense == "at_most" else -1.0 for sweep in sweeps]
    signs.append(_sign(problem))
    names = [*(sweep.column for sweep in sweeps), problem.objective.column]
    rows = [[sign * point.averages[name] for sign, name in zip(signs, names, strict=True)] for point in points]
    return np.array(rows, dtype=np.float64).reshape(len(points), len(names))


def on_hull(
    problem: Problem,
    sweeps: Sequence[Sweep],
    points: Sequence[FrontierPoint],
    costs: FloatArray,
    time_limit: float | None = None,
) -> BoolArray:
    """Which points (n,), all with a selection, are optima of the relaxation, and not dominated.

    `costs` (n, K + 1) are those of `costs_of`. Points are optimal at the prices of one of them, or, where there are
    several budgets, by the relaxation within what they use: with one budget its own price decides, with several the
    prices that make a selection optimal may be those of no budget of the sweep. (A large problem is not asked again.)
    Points whose bound of the relaxation, prices or slacks are not known are held against the hull of `costs` instead.
    `time_limit` (seconds) is that of each relaxation.
    """
    senses = np.array([1.0 if one.sense == "at_most" else -1.0 for one in problem.constraints])
    places, names = swept_places(problem, sweeps), budget_names(problem)
    budgets = np.tile([constraint.budget for constraint in problem.constraints], (len(points), 1))
    budgets[:, places] = [point.budgets for point in points]
    budgets *= senses
    prices = _table([[point.prices.get(name) for name in names] for point in points])
    slacks = _table([[point.slacks.get(name) for name in names] for point in points])
    bounds = _sign(problem) * _table([[point.lp_bound] for point in points])[:, 0]
    known = np.isfinite(np.column_stack([costs[:, -1], bounds, prices, slacks])).all(axis=1)
    beaten = dominated_points(costs)
    out = np.zeros(len(points), dtype=np.bool_)
    out[known] = relaxation_optima(costs[known, -1], bounds[known], prices[known], budgets[known], slacks[known])
    open_ = np.flatnonzero(known & ~out & ~beaten)
    if len(names) > 1 and len(open_) and not is_large(problem):
        out[open_] = _within_own_use(problem, costs[open_, -1], (budgets - slacks)[open_], time_limit)
    if not known.all():
        out[~known] = on_lower_hull(costs)[~known]
    return out & ~beaten


def _within_own_use(problem: Problem, costs: FloatArray, used: FloatArray, time_limit: float | None) -> BoolArray:
    """Which selections (n,) no mixture undercuts that uses no more, `used` (n, M), of anything."""
    form = linear_form(problem, every_row=True)
    answers: dict[tuple[float, ...], float] = {}
    for row in map(tuple, used.tolist()):
        if row not in answers:
            relaxation = relax_anywhere(form.for_budgets(row), time_limit)
            # Budgets that are met exactly may fail by rounding: nothing is known then.
            answers[row] = -np.inf if relaxation.infeasible else form.offset + relaxation.bound
    bounds = np.array([answers[row] for row in map(tuple, used.tolist())])
    return np.asarray(costs - bounds <= OPTIMUM * np.maximum(np.abs(costs), SMALLEST_COST))


def _sign(problem: Problem) -> float:
    return 1.0 if problem.goal == "minimize" else -1.0


def _table(rows: Sequence[Sequence[float | None]]) -> FloatArray:
    """Numbers (n, M), NaN where there is none."""
    return np.array([[np.nan if value is None else value for value in row] for row in rows], dtype=np.float64)
