"""The probabilities of the best mixture of single points: a linear programme, and with few points an integer one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rdp.errors import SolverError
from rdp.selection.terms import BoolArray, FloatArray

SMALLEST_SHARE = 1e-9
"""A probability below this is the solver's rounding."""

_OPTIMAL, _INFEASIBLE = 0, 2
"""Statuses of `scipy.optimize.linprog` and `milp`."""


@dataclass(frozen=True, eq=False)
class FewPoints:
    """At most `most` points may have a share beside those that are `free` (M,), which are in use anyway."""

    most: int
    free: BoolArray


def best_shares(
    costs: FloatArray, matrix: FloatArray, limits: FloatArray, few: FewPoints | None = None
) -> FloatArray | None:
    """Probabilities (M,) of least cost with matrix @ shares <= limits, or None when there are none.

    Raises `SolverError` when the solver fails.
    """
    everything = np.ones(len(costs), dtype=np.bool_)
    shares = _linear(costs, matrix, limits, everything)
    if shares is None or few is None or int(((shares > 0) & ~few.free).sum()) <= few.most:
        return shares
    usable = few.free.copy()
    if few.most > 0:
        chosen = _points(costs, matrix, limits, few)
        if chosen is None:
            return None
        usable |= chosen
    # The same points again, without the tolerances of an integer programme.
    return _linear(costs, matrix, limits, usable) if usable.any() else None


def _linear(costs: FloatArray, matrix: FloatArray, limits: FloatArray, usable: BoolArray) -> FloatArray | None:
    from scipy.optimize import linprog

    scale = float(np.abs(costs).max()) or 1.0
    bounded = len(limits) > 0
    result = linprog(
        costs[usable] / scale,
        A_ub=matrix[:, usable] if bounded else None,
        b_ub=limits if bounded else None,
        A_eq=np.ones((1, int(usable.sum()))),
        b_eq=np.ones(1),
        bounds=(0, 1),
        method="highs-ds",
    )
    if result.status == _INFEASIBLE:
        return None
    if result.status != _OPTIMAL:
        raise SolverError(f"the time-shared mixture was not found: {result.message}")
    shares = np.zeros(len(costs))
    found = np.asarray(result.x, dtype=np.float64)
    shares[usable] = np.where(found < SMALLEST_SHARE, 0.0, found)
    return np.asarray(shares / shares.sum())


def _points(costs: FloatArray, matrix: FloatArray, limits: FloatArray, few: FewPoints) -> BoolArray | None:
    """The points (M,) that the best mixture of so few may use: a share is at most 1 where its point is taken."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    count = len(costs)
    scale = float(np.abs(costs).max()) or 1.0
    nothing, one = np.zeros((len(limits), count)), np.eye(count)
    counted = np.concatenate([np.zeros(count), (~few.free).astype(np.float64)])
    rows = [
        LinearConstraint(np.concatenate([np.ones(count), np.zeros(count)])[None], 1, 1),
        LinearConstraint(np.hstack([one, -one]), -np.inf, 0),
        LinearConstraint(counted[None], -np.inf, few.most),
    ]
    if len(limits):
        rows.append(LinearConstraint(np.hstack([matrix, nothing]), -np.inf, limits))
    result = milp(
        np.concatenate([costs / scale, np.zeros(count)]),
        integrality=np.concatenate([np.zeros(count), np.ones(count)]),
        bounds=Bounds(0, 1),
        constraints=rows,
        options={"mip_rel_gap": 1e-9},
    )
    if result.status == _INFEASIBLE:
        return None
    if result.status != _OPTIMAL:
        raise SolverError(f"the time-shared mixture of {few.most} points was not found: {result.message}")
    return np.asarray(result.x, dtype=np.float64)[count:] > 0.5
