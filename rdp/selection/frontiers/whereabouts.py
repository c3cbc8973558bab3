"""Where the points of a frontier lie: their numbers turned so that less is better, and which are on its convex hull."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rdp.selection.frontiers.grid import Sweep
from rdp.selection.frontiers.point import FrontierPoint, budget_names, swept_places
from rdp.selection.frontiers.shape import on_lower_hull, relaxation_optima
from rdp.selection.problem import BoolArray, FloatArray, Problem


def costs_of(problem: Problem, sweeps: Sequence[Sweep], points: Sequence[FrontierPoint]) -> FloatArray:
    """Swept averages and objective (n, K + 1) of points that have a selection, turned so that less is better."""
    signs = [1.0 if sweep.sense == "at_most" else -1.0 for sweep in sweeps]
    signs.append(_sign(problem))
    names = [*(sweep.column for sweep in sweeps), problem.objective.column]
    rows = [[sign * point.averages[name] for sign, name in zip(signs, names, strict=True)] for point in points]
    return np.array(rows, dtype=np.float64).reshape(len(points), len(names))


def on_hull(problem: Problem, sweeps: Sequence[Sweep], points: Sequence[FrontierPoint], costs: FloatArray) -> BoolArray:
    """Which points (n,), all with a selection, are optima of the relaxation.

    Those whose bound of the relaxation, prices or slacks are not known are held against the hull of the points'
    `costs` (n, K + 1) instead.
    """
    senses = np.array([1.0 if one.sense == "at_most" else -1.0 for one in problem.constraints])
    places, names = swept_places(problem, sweeps), budget_names(problem)
    budgets = np.tile([constraint.budget for constraint in problem.constraints], (len(points), 1))
    budgets[:, places] = [point.budgets for point in points]
    prices = _table([[point.prices.get(name) for name in names] for point in points])
    slacks = _table([[point.slacks.get(name) for name in names] for point in points])
    bounds = _sign(problem) * _table([[point.lp_bound] for point in points])[:, 0]
    known = np.isfinite(np.column_stack([costs[:, -1], bounds, prices, slacks])).all(axis=1)
    out = np.zeros(len(points), dtype=np.bool_)
    out[known] = relaxation_optima(
        costs[known, -1], bounds[known], prices[known], (senses * budgets)[known], slacks[known]
    )
    if not known.all():
        out[~known] = on_lower_hull(costs)[~known]
    return out


def _sign(problem: Problem) -> float:
    return 1.0 if problem.goal == "minimize" else -1.0


def _table(rows: Sequence[Sequence[float | None]]) -> FloatArray:
    """Numbers (n, M), NaN where there is none."""
    return np.array([[np.nan if value is None else value for value in row] for row in rows], dtype=np.float64)
