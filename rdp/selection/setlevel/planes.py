"""Cutting planes (Kelley 1960): the bound of a form with kinks, from the tangents at many shares together.

One tangent plane bounds a smooth form as well as its point is good. Of a form with kinks (sums of absolute values, as
of sliced Wasserstein distances) no single one may do, but a mixture of them does: the weights are the dual values of
the linear programme that minimises the highest of all planes within the budgets, and the mixture, a plane itself, goes
to the certified solver. So nothing rests on the linear programme being right. The next tangent is taken halfway
between its optimum and the best shares so far, which keeps the steps short.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rdp.selection.backends.ortools import load_ortools, ortools_loads
from rdp.selection.backends.streams import clean_stdout
from rdp.selection.linear import signed
from rdp.selection.problem import FloatArray
from rdp.selection.setlevel.certificate import Oracle, Plane
from rdp.selection.setlevel.relaxation import CLOSE, Augmented, Clock, Evaluation, Relaxation
from rdp.selection.setlevel.simplex import projected
from rdp.selection.sums import accurate_sum

ROUNDS = 120
MOST_CELLS = 6_000
"""With more cells the linear programmes would take longer than the bound is worth."""
STALLED = 25
"""Rounds that do not raise the bound."""
BETWEEN = 0.5
KEPT_ON_START = 12


@dataclass(frozen=True, eq=False)
class Mixed:
    """The linear programme's optimum: shares (N, P), and the mixture of planes that it stands for."""

    shares: FloatArray
    plane: Plane
    set_prices: tuple[float, ...]


class Highest:
    """min t within the budgets, t at least every plane: a linear programme in the shares that grows by its planes."""

    def __init__(self, augmented: Augmented) -> None:
        load_ortools()
        from ortools.linear_solver import pywraplp

        problem = augmented.problem
        self.scale, self.set_scales = augmented.aim_scale, augmented.set_scales.tolist()
        self.budgets = [bound.budget for bound in augmented.bounds]
        self.shape = problem.shape
        self.solver: Any = pywraplp.Solver.CreateSolver("GLOP")
        self.image, self.point = np.nonzero(problem.allowed)
        self.cells = [self.solver.NumVar(0.0, 1.0, "") for _ in range(len(self.image))]
        self.top = self.solver.NumVar(-self.solver.infinity(), self.solver.infinity(), "")
        self.solver.Objective().SetCoefficient(self.top, 1.0)
        self.solver.Objective().SetMinimization()
        rows = [self.solver.Constraint(1.0, 1.0) for _ in range(self.shape[0])]
        for cell, image in zip(self.cells, self.image.tolist(), strict=True):
            rows[image].SetCoefficient(cell, 1.0)
        for constraint, scale in zip(problem.constraints, augmented.row_scales.tolist(), strict=True):
            values, budget = signed(constraint)
            share = constraint.term.weights / accurate_sum(constraint.term.weights)
            inside = np.where(problem.allowed, values, 0.0) * share[:, None] / scale
            self._row(-self.solver.infinity(), budget / scale, inside)
        self.aims: list[tuple[Any, Plane]] = []
        self.others: list[tuple[int, Any, Plane]] = []

    def add(self, here: Evaluation) -> None:
        """The tangents at some shares."""
        plane, others = here.planes()
        row = self._row(plane.constant / self.scale, self.solver.infinity(), -plane.slope / self.scale)
        row.SetCoefficient(self.top, 1.0)
        self.aims.append((row, plane))
        for number, (other, budget, scale) in enumerate(zip(others, self.budgets, self.set_scales, strict=True)):
            limit = (budget - other.constant) / scale
            self.others.append((number, self._row(-self.solver.infinity(), limit, other.slope / scale), other))

    def least(self) -> Mixed | None:
        """The optimum; None where GLOP finds none."""
        if self.solver.Solve() != self.solver.OPTIMAL:
            return None
        weights = np.maximum([row.dual_value() for row, _ in self.aims], 0.0)
        if weights.sum() <= 0:
            return None
        mixed = Plane(0.0, np.zeros(self.shape))
        for weight, (_, plane) in zip((weights / weights.sum()).tolist(), self.aims, strict=True):
            mixed = mixed.plus(plane, weight) if weight else mixed
        prices = [0.0] * len(self.budgets)
        for number, row, plane in self.others:
            price = max(-row.dual_value(), 0.0) * self.scale / self.set_scales[number]
            if price:
                mixed = mixed.plus(Plane(plane.constant - self.budgets[number], plane.slope), price)
                prices[number] += price
        shares = np.zeros(self.shape)
        shares[self.image, self.point] = [cell.solution_value() for cell in self.cells]
        return Mixed(shares, mixed, tuple(prices))

    def _row(self, low: float, high: float, values: FloatArray) -> Any:
        row = self.solver.Constraint(low, high)
        for cell, value in zip(self.cells, values[self.image, self.point].tolist(), strict=True):
            if value:
                row.SetCoefficient(cell, value)
        return row


def sharpened(known: Relaxation, augmented: Augmented, oracle: Oracle, clock: Clock, tolerance: float) -> Relaxation:
    """The relaxation with the bound that planes at more shares give; the same where that is no higher."""
    if int(augmented.problem.allowed.sum()) > MOST_CELLS or not ortools_loads():
        return known
    with clean_stdout():
        return _sharpened(known, augmented, oracle, clock, tolerance)


def _sharpened(known: Relaxation, augmented: Augmented, oracle: Oracle, clock: Clock, tolerance: float) -> Relaxation:
    programme = Highest(augmented)
    for here in _spread(known.recent):
        programme.add(here)
    best, idle = known, 0
    for _ in range(ROUNDS):
        mixed = programme.least()
        if mixed is None or idle >= STALLED or clock.over:
            break
        least = oracle.least(mixed.plane)
        if least.bound > best.bound:
            idle = 0 if least.bound > best.bound + 0.1 * tolerance * abs(best.value) else idle + 1
            best = replace(best, bound=least.bound, set_prices=mixed.set_prices, prices=least.prices, split=least.split)
        else:
            idle += 1
        keeps = best.passed <= CLOSE
        if keeps and best.value - best.bound <= tolerance * abs(best.value):
            return replace(best, met=True)
        # Shares that pass the budgets are no centre: then the programme's own, which keep them, are taken.
        between = (1 - BETWEEN) * best.best.shares + BETWEEN * mixed.shares if keeps else mixed.shares
        here = augmented.at(projected(between, augmented.problem.allowed))
        programme.add(here)
        passed = max(float(np.concatenate(augmented.over(here)).max(initial=0.0)), 0.0)
        if passed <= CLOSE and (here.aim.value < best.value or not keeps):
            best = replace(best, best=here, passed=passed)
    return best


def _spread(recent: Sequence[Evaluation]) -> Sequence[Evaluation]:
    """The last evaluation, and a few before."""
    return [*recent[:-1][:: max(len(recent) // KEPT_ON_START, 1)], *recent[-1:]]
