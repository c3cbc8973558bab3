"""Which points of a frontier are beaten, which are optima of the relaxation, and which lie on their own convex hull.

Points are rows (n, K + 1) in which less is better: what each of the K swept averages uses, and the objective's cost
last.
"""

from __future__ import annotations

import numpy as np

from rdp.selection.problem import BoolArray, FloatArray

ON_A_FACE = 1e-9
"""A point this near to a face of the hull, in parts of the axes' ranges, lies on it."""
OPTIMUM = 1e-9
"""Excess over the least priced cost, in parts of the objective, that is no more than rounding."""
SMALLEST_COST = 1e-12
_BLOCK = 1 << 22


def dominated_points(values: FloatArray) -> BoolArray:
    """Which rows (n,) another row beats: it is no worse in any number, and better in one. Equal rows stand together."""
    count = len(values)
    beaten = np.zeros(count, dtype=np.bool_)
    step = max(_BLOCK // max(count, 1), 1)
    for start in range(0, count, step):
        mine = values[start : start + step, None, :]
        no_worse = (values[None] <= mine).all(axis=2)
        better = np.any(values[None] < mine, axis=2)
        beaten[start : start + step] = (no_worse & better).any(axis=1)
    return beaten


def relaxation_optima(
    costs: FloatArray, bounds: FloatArray, prices: FloatArray, budgets: FloatArray, slacks: FloatArray
) -> BoolArray:
    """Which selections (n,) are optima of the linear relaxation, in which images mix their points.

    `costs` (n,) are objectives and `bounds` (n,) the relaxation's optima within each selection's own budgets, both of
    what is minimised; `prices`, `budgets` and `slacks` (n, M) are those of all M constraints, budgets turned so that
    the average is at most that. All must be finite.

    At prices p and budgets b the relaxation's optimum is the least priced cost of all selections, less p @ b. So
    cost - bound - p @ (b - used) is what the chosen cells cost in all beyond the least, priced, and it is 0 exactly
    where each of them is a best one: such a selection is optimal for what it uses (weak duality). Prices are those of
    each of the selections in turn, for a selection may be optimal at other prices than its own budgets have.
    """
    tolerance = OPTIMUM * np.maximum(np.abs(costs), SMALLEST_COST)
    out: BoolArray = (costs - bounds) - (prices * slacks).sum(axis=1) <= tolerance
    used = budgets - slacks
    least = bounds + (prices * budgets).sum(axis=1)
    left = np.flatnonzero(~out)
    step = max(_BLOCK // max(len(costs), 1), 1)
    for start in range(0, len(left), step):
        mine = left[start : start + step]
        excess = costs[mine, None] + used[mine] @ prices.T - least
        # Below 0 there is nothing: those would not be the prices of that bound.
        out[mine] = (np.abs(excess) <= tolerance[mine, None]).any(axis=1)
    return out


def on_lower_hull(values: FloatArray) -> BoolArray:
    """Which rows (n,) are non-dominated and lie on the lower convex hull: no mixture of rows beats them.

    Such a point is an optimum of the relaxation in which rows are mixed, for some prices, finite and not below zero.
    The hull is that of the rows together with all that is worse than one of them. To make that of finite size, and
    never flat, every row is repeated with each number made worse by the axis' range: a row is on the hull of those
    exactly if it is on the hull of all that is worse.
    """
    good = ~dominated_points(values)
    if not good.any():
        return good
    from scipy.spatial import ConvexHull

    found = values[good]
    low = found.min(axis=0)
    span = found.max(axis=0) - low
    scaled = (found - low) / np.where(span > 0, span, 1.0)
    # Rows that differ by rounding only are one corner.
    corners = np.unique(scaled.round(12), axis=0)
    worse = (corners[None] + np.eye(corners.shape[1])[:, None]).reshape(-1, corners.shape[1])
    faces = ConvexHull(np.concatenate([corners, worse])).equations
    # Outward normals of what lies below have no positive part, and a negative one in the cost, whose price is 1.
    normals, offsets = faces[:, :-1], faces[:, -1]
    below = (normals <= ON_A_FACE).all(axis=1) & (normals[:, -1] < -ON_A_FACE)
    out = np.zeros(len(values), dtype=np.bool_)
    out[good] = _on_any(scaled, normals[below], offsets[below])
    return out


def _on_any(points: FloatArray, normals: FloatArray, offsets: FloatArray) -> BoolArray:
    """Which points (n,) lie on one of the planes normals @ x + offsets = 0."""
    near = np.zeros(len(points), dtype=np.bool_)
    step = max(_BLOCK // max(len(normals), 1), 1)
    for start in range(0, len(points), step):
        distances = points[start : start + step] @ normals.T + offsets
        near[start : start + step] = (np.abs(distances) <= ON_A_FACE).any(axis=1)
    return near
