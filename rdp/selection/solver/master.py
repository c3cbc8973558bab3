"""Cutting planes: the planes above L that are known, and the prices at which they are highest.

All is said relative to a corner `low` of a box of prices, and scaled by its size: GLOP compares with tolerances near
1e-9, which in a small box are small numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np

from rdp.selection.backends.ortools import load_ortools
from rdp.selection.linear import LinearForm
from rdp.selection.problem import FloatArray, IntArray
from rdp.selection.sums import largest_of_rows, least_of_rows

CLOSE = 1e-13
"""The planes have met L when they are above it by no more than this part of the sums in it."""
PASSES = 400
"""Evaluations of L after which the best prices so far are taken; two budgets need 20 to 45."""
CAUTION, FINE = 0.5, 1e-5
"""The next prices are so far on the way to where the planes are highest, until these are that near (a part of the range
of the cost): then it is the corners of L that count, and there they are exact."""
STALLED = 3
"""After so many evaluations without any progress GLOP's tolerance is reached."""
FIRST_HIGH, LARGEST_HIGH = 10.0, 1e6
"""Without a box the prices go up to this, in units of the ranges of cost and constraint, at first and at last."""
FEWEST_ROWS = 3
"""With fewer rows images are not told apart by the rows that concern them."""
MOST_PLANES = 600
"""Planes of one class that are kept along a sweep."""


@dataclass(frozen=True, eq=False)
class Climb:
    """How far a climb came: the best `prices` (K,), L there, how far the planes are `above` it at the most, and why it
    ended: "met", "stalled", "edge" (the prices want to grow without end), "infeasible", "failed" or "late"."""

    prices: FloatArray
    value: float
    above: float
    end: str


@dataclass(eq=False)
class _Plane:
    """A choice for one class of images: its cost and its usage (K,) of the rows."""

    class_number: int
    cost: float
    usage: FloatArray
    choice: IntArray
    row: Any = field(default=None)


class Master:
    """L of one form in a box of prices (all prices of 0 or more, where there is none), and the planes above it.

    `classes` (N,) numbers the images that have planes of their own together; `count` is how many classes there are.
    """

    def __init__(
        self,
        form: LinearForm,
        classes: IntArray,
        low: FloatArray | None = None,
        high: FloatArray | None = None,
        count: int | None = None,
    ) -> None:
        self.form = form
        self.classes = classes
        self.count = int(classes.max()) + 1 if count is None else count
        rows = len(form.budgets)
        self.confined = low is not None
        self.low = np.zeros(rows) if low is None else low
        priced = np.where(form.allowed, form.cost + np.tensordot(self.low, form.coefficients, axes=1), np.inf)
        least = least_of_rows(priced)
        self.cost = priced - least[:, None]
        self.constant = float(least.sum())
        ranges = np.array([float(largest_of_rows(values).sum()) for values in form.coefficients])
        self.ranges = np.where(ranges > 0, ranges, 1.0)
        if high is None:
            # Above the cost of every selection, with room for the rounding of this sum.
            self.height = float(largest_of_rows(np.where(form.allowed, self.cost, 0.0)).sum()) * (1 + 1e-9) or 1.0
            self.size = self.height / self.ranges
            self.high = np.full(rows, FIRST_HIGH)
        else:
            self.size = np.where(high > self.low, high - self.low, 1.0)
            self.height = float(self.size @ ranges) or 1.0
            self.high = np.where(high > self.low, 1.0, 0.0)
        self.planes: list[_Plane] = []
        self._reduced, self._spare = np.empty_like(self.cost), np.empty_like(self.cost)
        self._starts = np.arange(form.images) * form.cost.shape[1]
        self._solver: Any = None
        self._ends = math.inf

    def climb(self, start: FloatArray, enough: float, ends: float) -> Climb:
        """Evaluate and solve in turn until the planes are above L by no more than `enough`, from prices `start` on."""
        self._open()
        self._ends = ends
        if not self.confined:
            # Earlier budgets may have driven the prices far: in so wide a range GLOP has few digits left.
            self._stop_at(np.full(len(self.high), FIRST_HIGH))
        prices, best, value, above = start, start, -math.inf, math.inf
        idle = 0
        for turn in range(PASSES):
            here = self._evaluate(prices)
            idle = 0 if here > value else idle + 1
            if here > value:
                value, best = here, prices
            if not self.confined and value > self.height + self.constant:
                return Climb(best, value, math.inf, "infeasible")
            found, highest = self._highest()
            if found is None:
                return Climb(best, value, math.inf, "late" if perf_counter() > ends else "failed")
            idle = 0 if highest < above else idle
            above = min(above, highest)
            near = above - value <= enough
            if near and self.confined and above - value > CLOSE * self.height and self._at_the_edge():
                # The mixture of the planes spends the budgets only where the box does not stop the prices.
                prices = found
                continue
            if near or idle >= STALLED:
                settled = above - value <= CLOSE * self.height and self._inside(best)
                if self.confined or settled or not self._at_the_edge():
                    return Climb(best, value, above, "met" if near else "stalled")
                if not self._widen():
                    return Climb(best, value, above, "edge")
                idle, above = 0, math.inf
                found, highest = self._highest()
                if found is None:
                    return Climb(best, value, math.inf, "failed")
            if turn and perf_counter() > ends:
                return Climb(best, value, above, "late")
            # Not all the way: far from the best prices the planes are a poor guide (Ben-Ameur and Neto 2007).
            prices = found if above - value <= FINE * self.height else best + CAUTION * (found - best)
        return Climb(best, value, above, "stalled")

    def box(self, value: float) -> tuple[FloatArray, FloatArray]:
        """The least box that holds all prices whose planes are not below `value`: every maximum of L is in there."""
        solver = self._solver
        total = solver.Sum(self._heights) + solver.Sum(
            [
                -b * price
                for price, b in zip(self._prices, (self.form.budgets * self.size / self.height).tolist(), strict=True)
            ]
        )
        # With room for the tolerance of GLOP.
        target = (value - self.constant + float(self.low @ self.form.budgets)) / self.height - 1e-8
        level = solver.Add(total >= target)
        found = []
        for price in self._prices:
            ends = []
            for sign in (1.0, -1.0):
                self._aim({price: -sign})
                if solver.Solve() != solver.OPTIMAL:
                    ends.append(price.lb() if sign > 0 else price.ub())
                else:
                    ends.append(price.solution_value() - sign * 1e-8)
            found.append((max(ends[0], price.lb()), min(ends[1], price.ub())))
        level.SetBounds(-solver.infinity(), solver.infinity())
        self._aim(None)
        low, high = np.array(found).T.reshape(2, -1)
        return self.low + low * self.size, self.low + high * self.size

    def shares(self) -> list[tuple[int, IntArray, float]]:
        """(class, choice, share) of the planes that carry the highest place: by duality, the relaxation's optimum."""
        if self._solver.Solve() != self._solver.OPTIMAL:
            return []
        return [(p.class_number, p.choice, abs(p.row.dual_value())) for p in self.planes]

    def _evaluate(self, prices: FloatArray) -> float:
        """L at these prices, rounded as sums are; its planes are added."""
        form = self.form
        # In place, and not as a product of matrices: that would wait for threads that other processes keep busy.
        reduced = self._reduced
        np.copyto(reduced, self.cost)
        for values, more in zip(form.coefficients, (prices - self.low).tolist(), strict=True):
            if more:
                np.multiply(values, more, out=self._spare)
                reduced += self._spare
        choice = reduced.argmin(axis=1)
        cells = self._starts + choice
        value = self.constant + float(reduced.ravel()[cells].sum()) - float(prices @ self.form.budgets)
        costs = self._by_class(self.cost.ravel()[cells])
        usages = np.array([self._by_class(values.ravel()[cells]) for values in form.coefficients])
        for number in range(self.count):
            self._add(_Plane(number, float(costs[number]), usages[:, number], choice))
        return value

    def _by_class(self, picked: FloatArray) -> FloatArray:
        if self.count == 1:
            return np.array([picked.sum()])
        return np.asarray(np.bincount(self.classes, weights=picked, minlength=self.count), dtype=np.float64)

    def _open(self) -> None:
        """The linear programme with all known planes, for the budgets of now."""
        load_ortools()
        from ortools.linear_solver import pywraplp

        if self._solver is None:
            solver: Any = pywraplp.Solver.CreateSolver("GLOP")
            # Its preprocessing ends one in fifty of these small programmes, whose planes nearly coincide, as abnormal.
            solver.SetSolverSpecificParametersAsString("use_preprocessing: false")
            self._solver = solver
            self._prices = [solver.NumVar(0.0, high, "") for high in self.high.tolist()]
            self._heights = [solver.NumVar(-solver.infinity(), solver.infinity(), "") for _ in range(self.count)]
        elif len(self.planes) > MOST_PLANES * self.count:
            # Begin anew with the latest third of them.
            kept = self.planes[-(MOST_PLANES // 3) * self.count :]
            self.planes, self._solver = [], None
            self._open()
            for plane in kept:
                self._add(plane)
            return
        self._aim(None)

    def _aim(self, coefficients: dict[Any, float] | None) -> None:
        """Set what is maximised: the height of the planes, or something else."""
        objective = self._solver.Objective()
        objective.Clear()
        if coefficients is None:
            coefficients = dict.fromkeys(self._heights, 1.0)
            paid = (self.form.budgets * self.size / self.height).tolist()
            coefficients |= {price: -amount for price, amount in zip(self._prices, paid, strict=True)}
        for variable, coefficient in coefficients.items():
            objective.SetCoefficient(variable, coefficient)
        objective.SetMaximization()

    def _add(self, plane: _Plane) -> None:
        solver = self._solver
        row = solver.Constraint(-solver.infinity(), plane.cost / self.height)
        row.SetCoefficient(self._heights[plane.class_number], 1.0)
        for price, slope in zip(self._prices, (plane.usage * self.size / self.height).tolist(), strict=True):
            if slope:
                row.SetCoefficient(price, -slope)
        plane.row = row
        self.planes.append(plane)

    def _highest(self) -> tuple[FloatArray | None, float]:
        """The prices (K,) at which the planes are highest, and how high; None where GLOP fails."""
        solver = self._solver
        limited = math.isfinite(self._ends)
        solver.SetTimeLimit(max(int(1000 * (self._ends - perf_counter())), 1) if limited else 0)
        if solver.Solve() != solver.OPTIMAL:
            return None, math.inf
        found = np.clip([price.solution_value() for price in self._prices], 0.0, self.high)
        above = solver.Objective().Value() * self.height + self.constant - float(self.low @ self.form.budgets)
        return self.low + found * self.size, above

    def _at_the_edge(self) -> bool:
        """Whether the highest place is where the prices are stopped, and not by 0."""
        scaled = np.array([price.solution_value() for price in self._prices])
        stopped = (scaled >= self.high * (1 - 1e-9)) & (self.high > 0)
        return bool((stopped | ((scaled <= 1e-9) & (self.low > 0))).any())

    def _inside(self, prices: FloatArray) -> bool:
        """Whether prices are well below where they are stopped: L is concave, and is no higher beyond."""
        return bool(((prices - self.low) <= 0.9 * self.high * self.size).all())

    def _widen(self) -> bool:
        """Allow larger prices; false when they are large enough."""
        self._stop_at(self.high * 10.0)
        return bool(self.high.max() <= LARGEST_HIGH)

    def _stop_at(self, high: FloatArray) -> None:
        self.high = high
        for price, most in zip(self._prices, high.tolist(), strict=True):
            price.SetUb(most)


def image_classes(form: LinearForm) -> IntArray:
    """For every image the number of its class: images that the same rows concern. Without groups all are one.

    An image that no row concerns fits any class. Where there are more classes than groups can make, it is only chance
    that coefficients are zero, and all are one.
    """
    one = np.zeros(form.images, dtype=np.int64)
    if len(form.budgets) < FEWEST_ROWS:
        return one
    concerned = np.array([largest_of_rows(values) > 0 for values in form.coefficients])
    some = concerned.any(axis=0)
    if concerned[:, some].all():
        return one
    patterns, classes = np.unique(concerned[:, some], axis=1, return_inverse=True)
    if patterns.shape[1] > len(form.budgets):
        return one
    one[some] = classes.reshape(-1)
    return one
