"""The bound: a convex form is never below its tangent planes, and the least of a plane within the budgets is certified.

With shares x_k, value f_k and gradient g_k of a convex form, every selection s within the budgets has

    f(s)  >=  f_k + <g_k, s - x_k>  >=  f_k - <g_k, x_k> + min { <g_k, s> : s within the budgets }

and the last minimum is bounded by prices of the budgets, as everywhere in selection (`rdp.selection.solver.dual`):
what counts is the bound of that linear problem, not the value that a solver reports. Sums of planes with weights of 0
or more are planes as well, and so set-level budgets enter with prices of their own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from rdp.selection.answering import Deadline
from rdp.selection.backends.isolated import relax_anywhere
from rdp.selection.linear import linear_form
from rdp.selection.problem import Constraint, FloatArray, Problem, Term

ROUNDING = 64 * float(np.finfo(np.float64).eps)
"""Of the sums in a plane: bound of the rounding error of its value and of the certified minimum, with room."""


@dataclass(frozen=True, eq=False)
class Plane:
    """What is at least `constant` + <slope, s> at any shares s: `slope` (N, P)."""

    constant: float
    slope: FloatArray

    @classmethod
    def tangent(cls, value: float, gradient: FloatArray, shares: FloatArray) -> Plane:
        """The tangent at shares (N, P), lowered by the rounding of its constant."""
        at = float((gradient * shares).sum())
        size = abs(value) + float((np.abs(gradient) * shares).sum())
        return cls(value - at - ROUNDING * size, gradient)

    def plus(self, other: Plane, weight: float) -> Plane:
        """The sum with `weight` times the other."""
        return Plane(self.constant + weight * other.constant, self.slope + weight * other.slope)

    def at(self, shares: FloatArray) -> float:
        """Its value."""
        return self.constant + float((self.slope * shares).sum())

    def term(self, name: str) -> Term:
        """The plane as a column whose plain mean over images is its value."""
        count = len(self.slope)
        return Term(name, count * self.slope + self.constant, np.ones(count), "images")

    def constraint(self, name: str, budget: float) -> Constraint:
        """That the plane is at most the budget, as an average: every choice that keeps the convex form does."""
        count = len(self.slope)
        return Constraint(Term(name, count * self.slope, np.ones(count), "images"), "at_most", budget - self.constant)


@dataclass(frozen=True, eq=False)
class Least:
    """The certified minimum of a plane: `bound`, and the prices (one a constraint of the problem, None if not known).

    `split` is the number of images that the linear optimum leaves between points.
    """

    bound: float
    prices: tuple[float, ...] | None
    split: int | None


@dataclass(frozen=True, eq=False)
class Oracle:
    """Minimises planes over the mixtures within the averaged budgets of a problem."""

    problem: Problem
    deadline: Deadline

    def least(self, plane: Plane) -> Least:
        """A lower bound of the plane over all mixtures within the budgets, and so over all selections."""
        form = linear_form(planar(self.problem, plane, "plane"))
        left = self.deadline.left_s
        # Even at the last moment a rough bound is worth the few milliseconds.
        relaxation = relax_anywhere(form, None if left is None else max(left, 0.05))
        size = abs(plane.constant) + float(np.abs(plane.slope).max(axis=1).sum())
        bound = form.offset + relaxation.bound - ROUNDING * size
        prices = None
        if relaxation.prices is not None:
            known = dict(zip(form.rows, relaxation.prices.tolist(), strict=True))
            prices = tuple(known.get(k, 0.0) for k in range(len(self.problem.constraints)))
        return Least(bound if math.isfinite(bound) else -math.inf, prices, relaxation.split)


def planar(problem: Problem, plane: Plane, name: str) -> Problem:
    """The problem with a plane to minimise."""
    return replace(problem, objective=plane.term(name), goal="minimize")
