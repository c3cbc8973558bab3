"""How far budgets are from being met together, in parts of themselves: a bound by prices.

With the usage u_k of a selection turned so that every budget says at most, phase one asks for

    min over selections of max_k (u_k - b_k) / s_k,

the least t for which the budgets b_k + t s_k can be met. s_k is |b_k|, so that t is a relative relaxation; for a budget
that is zero, or nearly so beside the values, it is the range of attainable averages. Weighting the rows with prices mu,
mu >= 0 and sum mu = 1, separates the images and gives a lower bound:

    D(mu) = sum_i min_j sum_k mu_k a^k_ij,   a^k_ij = w_i (v_ij - b_k) / (W s_k).

D is concave, piecewise linear and homogeneous; its maximum is t of the linear relaxation. Cutting planes (Kelley 1960)
find it, one plane for each set of images that is in the same constraints, so that the prices of groups are found side
by side. Bounds are evaluated in float64 with their rounding taken off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter
from typing import Any

import numpy as np

from rdp.selection.problem import BoolArray, Constraint, FloatArray, IntArray, Problem

NEARLY_ZERO = 1e-9
"""A budget below this part of the values that are averaged is no measure of a relaxation."""
PASSES = 200
CLOSE = 1e-10
"""The planes have met D when they are above it by no more than this."""
CORNERS = 16
"""Constraints whose own prices (1 for it, 0 for the others) are tried first."""
MOST_BLOCKS = 2000
_OPTIMAL = 0
"""Status of `scipy.optimize.linprog`."""


@dataclass(frozen=True, eq=False)
class Row:
    """One constraint. `share` (n,) is w_i / (W s_k) of the `images` (n,) that have a weight, negative for at least.

    `size` bounds the sum of |a| over any selection. `by_range`: the scale is the range of attainable averages.
    """

    constraint: Constraint
    column: int
    scale: float
    by_range: bool
    images: IntArray
    share: FloatArray
    size: float


@dataclass(frozen=True, eq=False)
class Part:
    """A choice (N,) that has the share `weight` in the relaxation's optimum, for the images of one block."""

    choice: IntArray
    weight: float
    block: int


@dataclass(frozen=True, eq=False)
class Prices:
    """`prices` (K,) with the bound D of them, the `parts` of the relaxation's optimum, and all choices met.

    D is nowhere more than `above`; infinite when that is not known.
    """

    prices: FloatArray
    bound: float
    above: float
    parts: tuple[Part, ...]
    choices: tuple[IntArray, ...]


@dataclass(frozen=True, eq=False)
class PhaseOne:
    """The rows, and the values (N, M) of every column that they use, 0 where a point is not `allowed`."""

    rows: tuple[Row, ...]
    columns: tuple[FloatArray, ...]
    allowed: BoolArray

    @classmethod
    def of(cls, problem: Problem) -> PhaseOne:
        """Phase one of a problem in which every image has an allowed point."""
        numbers: dict[int, int] = {}
        columns: list[FloatArray] = []
        rows = []
        for constraint in problem.constraints:
            values = constraint.term.values
            if id(values) not in numbers:
                numbers[id(values)] = len(columns)
                columns.append(np.where(problem.allowed, values, 0.0))
            number = numbers[id(values)]
            rows.append(_row(constraint, number, columns[number], problem.allowed))
        return cls(tuple(rows), tuple(columns), problem.allowed)

    @cached_property
    def blocks(self) -> IntArray:
        """The block number (N,) of every image: images of one block have a weight in the same rows."""
        inside = np.zeros((len(self.allowed), len(self.rows)), dtype=np.bool_)
        for k, row in enumerate(self.rows):
            inside[row.images, k] = True
        if inside.all():
            return np.zeros(len(inside), dtype=np.int64)
        _, block = np.unique(np.packbits(inside, axis=1), axis=0, return_inverse=True)
        number = block.reshape(-1).astype(np.int64)
        return number if number.max() < MOST_BLOCKS else np.zeros_like(number)

    def combined(self, prices: FloatArray) -> FloatArray:
        """sum_k mu_k a^k (N, M); infinite where a point is not allowed."""
        total = np.where(self.allowed, 0.0, np.inf)
        for number, values in enumerate(self.columns):
            weight, paid = np.zeros(len(values)), np.zeros(len(values))
            for price, row in zip(prices.tolist(), self.rows, strict=True):
                if row.column == number and price > 0:
                    weight[row.images] += price * row.share
                    paid[row.images] += price * row.share * row.constraint.budget
            if weight.any():
                total += weight[:, None] * values - paid[:, None]
        return np.asarray(total)

    def parts_of(self, choice: IntArray, k: int) -> FloatArray:
        """a^k (n,) of the images of row k at a choice."""
        row = self.rows[k]
        picked = self.columns[row.column][row.images, choice[row.images]]
        return np.asarray(row.share * (picked - row.constraint.budget))

    def excesses(self, choice: IntArray) -> FloatArray:
        """(u_k - b_k) / s_k (K,) of a choice, rounded as sums are."""
        return np.array([self.parts_of(choice, k).sum() for k in range(len(self.rows))])

    def exact_excesses(self, choice: IntArray) -> FloatArray:
        """(u_k - b_k) / s_k (K,) from averages that are rounded once."""
        signs = [1.0 if row.constraint.sense == "at_most" else -1.0 for row in self.rows]
        return np.array(
            [
                sign * (row.constraint.term.average(choice) - row.constraint.budget) / row.scale
                for sign, row in zip(signs, self.rows, strict=True)
            ]
        )

    def bound(self, prices: FloatArray, least: FloatArray) -> float:
        """D from the least combined value (N,) of every image, less a bound of its rounding error."""
        error = 8 * (len(prices) + 4) * np.finfo(np.float64).eps * float(prices @ [row.size for row in self.rows])
        return math.fsum(least.tolist()) - float(error)


def _row(constraint: Constraint, column: int, values: FloatArray, allowed: BoolArray) -> Row:
    weights = constraint.term.weights
    images = np.flatnonzero(weights > 0)
    share = weights[images] / math.fsum(weights.tolist())
    inside = allowed[images]
    highest = np.where(inside, values[images], -np.inf).max(axis=1)
    lowest = np.where(inside, values[images], np.inf).min(axis=1)
    largest = np.maximum(np.abs(highest), np.abs(lowest))
    size = float(share @ largest)
    scale, by_range = abs(constraint.budget), False
    if scale <= NEARLY_ZERO * size or scale == 0:
        scale, by_range = float(share @ (highest - lowest)) or size or 1.0, True
    sign = 1.0 if constraint.sense == "at_most" else -1.0
    return Row(
        constraint, column, scale, by_range, images, sign * share / scale, (size + abs(constraint.budget)) / scale
    )


def find_prices(phase: PhaseOne, ends: float) -> Prices:
    """Maximise D; what is found when the time is up (`ends`, of `perf_counter`) is still a bound."""
    count = len(phase.rows)
    planes = _Planes(phase)
    bound, best = -math.inf, np.full(count, 1.0 / count)
    trials = _corners(phase) if count > 1 else []
    prices, above = best, math.inf
    for _ in range(PASSES):
        least = planes.add(prices)
        value = phase.bound(prices, least)
        if value > bound:
            bound, best = value, prices
        if count == 1:
            above = value + CLOSE
            break
        if perf_counter() > ends:
            break
        if trials:
            prices = trials.pop()
            continue
        found = planes.highest()
        if found is None:
            break
        prices, height = found
        above = min(above, height)
        if above - bound <= CLOSE:
            break
    if count > 1 and planes.weights is None:
        planes.highest()
    return Prices(best, bound, above, planes.parts(), tuple(planes.choices))


def _corners(phase: PhaseOne) -> list[FloatArray]:
    """Prices of one constraint alone, of those that are furthest from their budgets alone; the furthest last."""
    alone = []
    for k in range(len(phase.rows)):
        row = phase.rows[k]
        values = row.share[:, None] * (phase.columns[row.column][row.images] - row.constraint.budget)
        alone.append(float(np.where(phase.allowed[row.images], values, np.inf).min(axis=1).sum()))
    order = sorted(range(len(alone)), key=lambda k: (-alone[k], k))[:CORNERS]
    return [np.eye(1, len(alone), k)[0] for k in reversed(order)]


class _Planes:
    """The planes above D so far, and the linear programme that says where they are highest."""

    def __init__(self, phase: PhaseOne) -> None:
        self.phase = phase
        self.count = int(phase.blocks.max()) + 1
        self.choices: list[IntArray] = []
        self.slopes: list[FloatArray] = []
        self.weights: FloatArray | None = None

    def add(self, prices: FloatArray) -> FloatArray:
        """The planes at these prices, and the least combined value (N,) of every image there."""
        combined = self.phase.combined(prices)
        choice = combined.argmin(axis=1)
        slopes = [
            np.bincount(self.phase.blocks[row.images], weights=self.phase.parts_of(choice, k), minlength=self.count)
            for k, row in enumerate(self.phase.rows)
        ]
        self.choices.append(choice.astype(np.int32))
        self.slopes.append(np.stack(slopes, axis=1))
        return np.asarray(combined[np.arange(len(choice)), choice])

    def highest(self) -> tuple[FloatArray, float] | None:
        """The prices (K,) at which the planes are highest, and how high; None when the programme was not solved."""
        from scipy.optimize import linprog
        from scipy.sparse import csr_array, hstack

        passes, rows = len(self.slopes), len(self.phase.rows)
        slopes = np.concatenate(self.slopes)
        ones = (np.ones(len(slopes)), (np.arange(len(slopes)), np.tile(np.arange(self.count), passes)))
        found: Any = linprog(
            np.concatenate([np.zeros(rows), -np.ones(self.count)]),
            A_ub=hstack([csr_array(-slopes), csr_array(ones)], format="csr"),
            b_ub=np.zeros(len(slopes)),
            A_eq=np.concatenate([np.ones(rows), np.zeros(self.count)])[None],
            b_eq=np.ones(1),
            bounds=[(0.0, 1.0)] * rows + [(None, None)] * self.count,
            method="highs-ds",
            options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
        )
        if found.status != _OPTIMAL:
            return None
        self.weights = np.maximum(-np.asarray(found.ineqlin.marginals), 0.0)
        prices = np.maximum(found.x[:rows], 0.0)
        return prices / prices.sum(), float(-found.fun)

    def parts(self) -> tuple[Part, ...]:
        """The choices that the relaxation's optimum mixes, block by block; without a programme the last one."""
        if self.weights is None:
            return tuple(Part(self.choices[-1].astype(np.int64), 1.0, block) for block in range(self.count))
        active = np.flatnonzero(self.weights > NEARLY_ZERO).tolist()
        return tuple(
            Part(self.choices[plane // self.count].astype(np.int64), float(self.weights[plane]), plane % self.count)
            for plane in active
        )
