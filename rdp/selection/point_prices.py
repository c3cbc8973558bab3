"""Bounds for selections that may use only a few of the points: prices of the budgets, and of serving an image.

With all averages turned into sums (costs c_ij, coefficients a^k_ij, budgets b_k) and prices lambda >= 0, every cell has
the priced cost r_ij = c_ij + sum_k lambda_k a^k_ij. Two lower bounds follow:

    L(lambda, S) = sum_i min_{j in S} r_ij - lambda . b                     of the selections that use only points of S,
    L(lambda, u) = sum_i u_i - lambda . b + (the K least of sum_i min(0, r_ij - u_i), summed)    of all with K points.

The second relaxes "image i takes point j only if j is among the K" as in the p-median problem (Cornuejols, Fisher and
Nemhauser 1977): u_i is what serving image i is worth. Both are concave; they are raised by subgradient steps towards a
target (Polyak 1969). Any prices give a valid bound, so how well they are found decides only how much work is left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np

from rdp.selection.linear import MEAN_TOLERANCE, signed
from rdp.selection.problem import FloatArray, IntArray, Problem

EPS = float(np.finfo(np.float64).eps)
SUM_ERRORS = 64
"""Rounding of a pairwise sum, in units of `EPS`, with much room."""
BATCH = 2_000_000
"""Numbers that are priced at once."""
SHRINK = 0.7
PATIENCE = 5
"""Steps become shorter by this factor when one (of a set of points), or this many (of all), did not raise the bound."""


@dataclass(frozen=True, eq=False)
class Cells:
    """The problem in sums, points first, everything scaled to ranges of 1.

    `cost` (M, N) is infinite where a cell is not allowed; `values` (V, M, N) are the bounded columns, `source` (K,)
    says which of them a budget looks at and `shares` (K, N) with what weights, so that hundreds of groups share one
    array. The signed objective's average is `offset` + `scale` * sum of cost. `steps` (N,) scales the steps of u.
    `coarse` (1 + K,) bounds the rounding of cost and coefficients.
    """

    cost: FloatArray
    values: FloatArray
    source: IntArray
    shares: FloatArray
    budgets: FloatArray
    offset: float
    scale: float
    steps: FloatArray
    coarse: FloatArray

    @property
    def rows(self) -> int:
        """K, the budgets that can bind."""
        return len(self.budgets)

    def objective(self, bound: float) -> float:
        """A scaled bound as an average of the signed objective."""
        return self.offset + self.scale * bound if math.isfinite(bound) else bound

    def scaled(self, objective: float) -> float:
        """The reverse of `objective`."""
        return (objective - self.offset) / self.scale

    def without_cost(self) -> Cells:
        """The same budgets with nothing to minimise: a bound above 0 proves that they cannot be met."""
        return replace(self, cost=np.where(np.isfinite(self.cost), 0.0, np.inf))

    def error(self, prices: FloatArray, worth: float = 0.0) -> float | FloatArray:
        """Bound of the rounding error of a bound at prices (..., K); `worth` is the sum of |u|."""
        size = 1.0 + 3 * worth + prices @ (1.0 + np.abs(self.budgets))
        error: float | FloatArray = EPS * (SUM_ERRORS + self.rows) * size + self.coarse[0] + prices @ self.coarse[1:]
        return error

    def _weights(self, prices: FloatArray, value: int) -> FloatArray:
        """What a column weighs in the priced costs of each image: (..., N) at prices (..., K)."""
        rows = self.source == value
        return np.asarray(prices[..., rows] @ self.shares[rows])

    def priced(self, prices: FloatArray) -> FloatArray:
        """The priced costs r (M, N) at prices (K,)."""
        out = self.cost.copy()
        for value in range(len(self.values)):
            out += self._weights(prices, value) * self.values[value]
        return out

    def _slopes(self, picked: FloatArray) -> FloatArray:
        """Budget by budget, the use (..., K) of the `picked` values (V, ..., N), less the budget."""
        out = np.zeros((*picked.shape[1:-1], self.rows))
        for value in range(len(self.values)):
            rows = self.source == value
            out[..., rows] = picked[value] @ self.shares[rows].T
        return out - self.budgets

    def bounds(self, prices: FloatArray, sets: IntArray) -> tuple[FloatArray, FloatArray]:
        """L (B,), its rounding taken off, and its slopes (B, K), at prices (B, K) for sets of points (B, P)."""
        totals, slopes = np.empty(len(sets)), np.empty((len(sets), self.rows))
        step = max(1, BATCH // (sets.shape[1] * self.cost.shape[1]))
        for start in range(0, len(sets), step):
            part = slice(start, start + step)
            members, at = sets[part], prices[part]
            reduced = self.cost[members]
            for value in range(len(self.values)):
                reduced += self._weights(at, value)[:, None, :] * self.values[value][members]
            best = reduced.argmin(axis=1)[:, None, :]
            totals[part] = np.take_along_axis(reduced, best, axis=1)[:, 0].sum(axis=1) - at @ self.budgets
            picked = [np.take_along_axis(one[members], best, axis=1)[:, 0] for one in self.values]
            if picked:
                slopes[part] = self._slopes(np.stack(picked))
        return totals - self.error(prices), slopes

    def raised(
        self, prices: FloatArray, sets: IntArray, target: float, steps: int, ends: float = math.inf
    ) -> tuple[FloatArray, FloatArray]:
        """L (B,) raised from the prices (K,) or (B, K) until it reaches the target, and the best prices (B, K)."""
        at = np.broadcast_to(prices, (len(sets), self.rows)).copy()
        best, best_at, size = np.full(len(sets), -np.inf), at.copy(), np.ones(len(sets))
        active = np.arange(len(sets))
        for _ in range(steps):
            bound, slope = self.bounds(at[active], sets[active])
            better = bound > best[active]
            best[active] = np.maximum(best[active], bound)
            best_at[active[better]] = at[active[better]]
            size[active[~better]] *= SHRINK
            slope = np.where((at[active] <= 0) & (slope < 0), 0.0, slope)
            length = (slope * slope).sum(axis=1)
            going = (best[active] < target) & (length > 1e-24)
            active, bound, slope, length = active[going], bound[going], slope[going], length[going]
            if not len(active) or perf_counter() > ends:
                break
            move = (size[active] * (target - bound) / length)[:, None] * slope
            at[active] = np.maximum(at[active] + move, 0.0)
        return best, best_at


@dataclass(frozen=True, eq=False)
class Worth:
    """A bound of all selections with a few points: `prices` (K,), u as `worth` (N,), and `gains` (M,) of the points."""

    bound: float
    prices: FloatArray
    worth: FloatArray
    gains: FloatArray


def worth_of(cells: Cells, prices: FloatArray, chosen: IntArray) -> FloatArray:
    """A first u (N,): between the best and the second best of the chosen points (P,)."""
    reduced = np.sort(cells.priced(prices)[chosen], axis=0)
    best, second = reduced[0], reduced[min(1, len(chosen) - 1)]
    middle = np.where(np.isfinite(second), 0.5 * (best + second), best)
    return np.where(np.isfinite(middle), middle, 1.0)


def raise_worth(
    cells: Cells, start: Worth, inside: IntArray, free: IntArray, count: int, target: float, steps: int, ends: float
) -> Worth:
    """Raise the bound of the selections that use the points `inside` and `count` of the `free` ones."""
    best, at, size, idle = start, start, 1.0, 0
    best = replace(best, bound=-math.inf)
    for _ in range(steps):
        found, slope, worth_slope = _evaluate(cells, at, inside, free, count)
        if found.bound > best.bound + 1e-12:
            best, idle = found, 0
        else:
            idle += 1
        if best.bound >= target or perf_counter() > ends:
            break
        if idle >= PATIENCE:
            size, idle = size * SHRINK, 0
            found, slope, worth_slope = _evaluate(cells, best, inside, free, count)
        slope = np.where((found.prices <= 0) & (slope < 0), 0.0, slope)
        length = float((cells.steps * worth_slope * worth_slope).sum() + (slope * slope).sum())
        if length <= 1e-24:
            break
        step = size * (target - found.bound) / length
        at = replace(
            found,
            prices=np.maximum(found.prices + step * slope, 0.0),
            worth=found.worth + step * cells.steps * worth_slope,
        )
    return best


def _evaluate(
    cells: Cells, at: Worth, inside: IntArray, free: IntArray, count: int
) -> tuple[Worth, FloatArray, FloatArray]:
    """The bound at these prices, and its slopes in the prices (K,) and in u (N,)."""
    below = np.minimum(cells.priced(at.prices) - at.worth, 0.0)
    gains = below.sum(axis=1)
    taken = np.concatenate([inside, free[np.argsort(gains[free], kind="stable")[:count]]])
    served = below[taken] < 0
    total = float(at.worth.sum() + gains[taken].sum() - at.prices @ cells.budgets)
    bound = total - float(cells.error(at.prices, float(np.abs(at.worth).sum())))
    picked = np.stack([(served * one[taken]).sum(axis=0) for one in cells.values]) if cells.rows else None
    slope = np.zeros(0) if picked is None else cells._slopes(picked)
    return Worth(bound, at.prices, at.worth, gains), slope, 1.0 - served.sum(axis=0)


def make_cells(problem: Problem, points: IntArray) -> Cells:
    """The cells of these points; every image needs one that is allowed.

    Nothing is left out as dominated: what beats a cell may be a point that is not among the few.
    """
    allowed = problem.allowed[:, points]
    objective = problem.objective.values if problem.goal == "minimize" else -problem.objective.values
    share = problem.objective.weights / math.fsum(problem.objective.weights.tolist())
    cost, least, size = _lowered(objective[:, points], allowed)
    cost = cost * share[:, None]
    scale = float(cost.max(axis=1).sum()) or 1.0
    sources: dict[tuple[int, str], int] = {}
    values: list[FloatArray] = []
    source, shares, budgets, coarse = [], [], [], [8 * EPS * float(share @ size) / scale]
    for constraint in problem.constraints:
        key = (id(constraint.term.values), constraint.sense)
        given, budget = signed(constraint)
        lowered, low, size = _lowered(given[:, points], allowed)
        part = constraint.term.weights / math.fsum(constraint.term.weights.tolist())
        spread = float(part @ lowered.max(axis=1))
        room = budget - math.fsum((part * low).tolist())
        room += 1.01 * MEAN_TOLERANCE * (abs(budget) + float(part @ size)) + 8 * EPS * float(part @ size)
        if room >= spread * (1 + SUM_ERRORS * EPS):
            continue  # every selection meets it
        if key not in sources:
            sources[key] = len(values)
            values.append(np.ascontiguousarray(lowered.T))
        unit = spread or 1.0
        source.append(sources[key])
        shares.append(part / unit)
        budgets.append(room / unit)
        coarse.append(8 * EPS * float(part @ size) / unit)
    count = len(problem.images)
    steps = (cost.max(axis=1) / scale + sum(shares, np.zeros(count)) / max(len(shares), 1)) / 2
    stacked = np.stack(shares) if shares else np.zeros((0, count))
    if len(values):
        ranges = np.stack([one.max(axis=0) for one in values])[np.array(source)]
        steps = (cost.max(axis=1) / scale + (stacked * ranges).mean(axis=0)) / 2
    return Cells(
        cost=np.ascontiguousarray(np.where(allowed, cost / scale, np.inf).T),
        values=np.stack(values) if values else np.zeros((0, len(points), count)),
        source=np.array(source, dtype=np.int64),
        shares=stacked,
        budgets=np.array(budgets),
        offset=math.fsum((share * least).tolist()),
        scale=scale,
        steps=np.maximum(steps, 1e-3 / count),
        coarse=np.array(coarse),
    )


def _lowered(values: FloatArray, allowed: np.ndarray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Values (N, M) less each image's least, 0 where not allowed; the least (N,) and the largest size (N,)."""
    least = np.where(allowed, values, np.inf).min(axis=1)
    size = np.where(allowed, np.abs(values), 0.0).max(axis=1)
    return np.where(allowed, values - least[:, None], 0.0), least, size
