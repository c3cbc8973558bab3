"""Prices of the budgets, and a bound that holds whatever a solver says.

Relaxing the budgets with prices lambda_k >= 0 separates the images:

    L(lambda) = sum_i min_j (cost_ij + sum_k lambda_k a^k_ij) - sum_k lambda_k b_k

is a lower bound of the optimum for any prices, concave and piecewise linear, and its maximum is the optimum of the
linear relaxation (Everett 1963; Geoffrion 1974). Cutting planes (Kelley 1960) find it: every evaluation of L gives a
plane above it, and a linear programme in the K prices alone, solved by GLOP, the next prices to try. One evaluation is
one pass over the table, so this takes milliseconds where the relaxation as one linear programme takes seconds (10,000
images at 10 points: 13 s). The bound is evaluated in float64 with its rounding taken off, so that it is one indeed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from rdp.columns import describe
from rdp.selection.backends.ortools import load_ortools
from rdp.selection.linear import LinearForm
from rdp.selection.problem import Constraint, FloatArray, Problem

PASSES = 300
"""Evaluations of L after which the best prices so far are taken; three budgets need about 40."""
CLOSE = 1e-9
"""The planes have met L when they are above it by no more than this part of the range of the cost."""
LARGEST_PRICE = 1e6
"""Prices beyond this, in units of the ranges of cost and constraint: the budgets exclude each other, or nearly so."""


@dataclass(frozen=True, eq=False)
class Relaxation:
    """`prices` (K,) of the form's rows, or None when they are not known; `bound` on the cost without offset.

    `note` says why there are no prices. `infeasible`: the bound is above the cost of every selection, so that none can
    be within the budgets.
    """

    prices: FloatArray | None
    bound: float
    note: str = ""
    infeasible: bool = False


def relax(form: LinearForm, time_limit: float | None) -> Relaxation:
    """Maximise L by cutting planes; what is found when the time is up is still a bound."""
    count = len(form.budgets)
    best = np.zeros(count)
    bound = lagrangian_bound(form, best)
    if not count:
        return Relaxation(best, bound)
    if float(form.budgets.min()) < 0:
        return Relaxation(
            None, bound, "there are no prices: a budget is below what any selection needs", infeasible=True
        )
    ends = math.inf if time_limit is None else perf_counter() + time_limit
    planes = _Planes(form)
    prices = best
    for _ in range(PASSES):
        planes.add(prices)
        prices, above = planes.highest()
        if not planes.solved:
            return Relaxation(None, bound, "the prices of the budgets are not known: GLOP failed on them")
        if above - bound <= CLOSE * planes.cost_range:
            if not planes.at_the_edge():
                break
            if not planes.widen():
                return Relaxation(None, bound, "the budgets have no prices: they are hardly met together, if at all")
            continue
        value = lagrangian_bound(form, prices)
        if value > bound:
            bound, best = value, prices
        if bound > planes.cost_range:
            return Relaxation(None, bound, "the budgets have no prices: they exclude each other", infeasible=True)
        if perf_counter() > ends:
            return Relaxation(None, bound, "the prices of the budgets were not found within the time limit")
    return Relaxation(best, bound)


class _Planes:
    """The planes above L so far, as a linear programme in the prices, with everything scaled to ranges of 1."""

    def __init__(self, form: LinearForm) -> None:
        load_ortools()
        from ortools.linear_solver import pywraplp

        self.form = form
        self.masked = np.where(form.allowed, form.cost, np.inf)
        # Above the cost of every selection, with room for the rounding of this sum.
        self.cost_range = float(form.cost.max(axis=1).sum()) * (1 + 1e-9) or 1.0
        self.ranges = form.coefficients.max(axis=2).sum(axis=1)
        self.solver: Any = pywraplp.Solver.CreateSolver("GLOP")
        # Its preprocessing ends one in fifty of these small programmes, whose planes nearly coincide, as abnormal.
        self.solver.SetSolverSpecificParametersAsString("use_preprocessing: false")
        self.box = 10.0
        self.solved = False
        self.prices = [self.solver.NumVar(0.0, self.box, "") for _ in form.budgets]
        self.height = self.solver.NumVar(-self.solver.infinity(), self.solver.infinity(), "")
        self.solver.Maximize(self.height)

    def add(self, prices: FloatArray) -> None:
        """The plane of L at these prices."""
        form = self.form
        choice = (self.masked + np.tensordot(prices, form.coefficients, axes=1)).argmin(axis=1)
        rows = np.arange(form.images)
        slopes = (form.coefficients[:, rows, choice].sum(axis=1) - form.budgets) / self.ranges
        plane = self.solver.Constraint(-self.solver.infinity(), form.cost_of(choice) / self.cost_range)
        plane.SetCoefficient(self.height, 1.0)
        for price, slope in zip(self.prices, slopes.tolist(), strict=True):
            plane.SetCoefficient(price, -slope)

    def highest(self) -> tuple[FloatArray, float]:
        """The prices (K,) at which the planes are highest, and how high."""
        self.solved = self.solver.Solve() == self.solver.OPTIMAL
        if not self.solved:
            return np.zeros(len(self.prices)), math.inf
        found = np.array([max(price.solution_value(), 0.0) for price in self.prices])
        return found * self.cost_range / self.ranges, self.height.solution_value() * self.cost_range

    def at_the_edge(self) -> bool:
        """Whether the highest place is where the prices are stopped."""
        return any(price.solution_value() >= self.box * (1 - 1e-9) for price in self.prices)

    def widen(self) -> bool:
        """Allow larger prices; false when they are large enough."""
        self.box *= 10.0
        for price in self.prices:
            price.SetUb(self.box)
        return self.box <= LARGEST_PRICE


def lagrangian_bound(form: LinearForm, prices: FloatArray) -> float:
    """L(prices) without the offset, less a bound of its rounding error: it is not above the optimum of the form."""
    reduced = form.cost + np.tensordot(prices, form.coefficients, axes=1)
    least = np.where(form.allowed, reduced, np.inf).min(axis=1)
    paid = prices * form.budgets
    # Each reduced cost is a sum of K + 1 rounded terms, all non-negative; the sums below are rounded once.
    error = 2 * (len(prices) + 4) * np.finfo(np.float64).eps * (float(least.sum()) + float(np.abs(paid).sum()))
    return math.fsum([*least.tolist(), *(-paid).tolist()]) - float(error)


def price_sentence(problem: Problem, constraint: Constraint, price: float | None) -> str:
    """What a price means, in words: `one more 0.01 bpp lowers the average mse by 1.9`."""
    bounded, objective = constraint.term.column, problem.objective.column
    if price is None:
        return f"the price of {bounded} is not known"
    if price == 0:
        return f"more room in {bounded} would change nothing: it does not bind"
    step = _step(constraint.budget)
    unit = f"{step:g} {describe(bounded).unit}".strip() if describe(bounded).unit != "bit/pixel" else f"{step:g}"
    amount = f"one more {unit} {bounded}" if constraint.sense == "at_most" else f"{unit} less {bounded} required"
    verb = "lowers" if problem.goal == "minimize" else "raises"
    return f"{amount} {verb} the average {objective} by {price * step:.2g}"


def _step(budget: float) -> float:
    """A step that is small beside the budget: a power of ten between 1 % and 10 % of it."""
    if budget == 0:
        return 1.0
    return float(10.0 ** (math.floor(math.log10(abs(budget))) - 1))
