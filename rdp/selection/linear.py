"""The canonical form that solvers get: always minimise, always at most, averages turned into sums.

With W = sum(w), a weighted average is the sum over images of w_i / W times the chosen value, so weights are folded
into the coefficients. Of every image's row the least value is taken off and kept aside, so that the numbers are
non-negative and as small as they can be, which is what solvers with absolute tolerances need. Cells that another cell
of the image beats or equals in every number that is used are dropped: the optimal value stays, the problem shrinks
(often by half), and of equal cells always the canonically first is left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from rdp.selection.problem import BoolArray, Constraint, FloatArray, IntArray, Problem, Term

MEAN_TOLERANCE = 1e-12
"""A budget is met when it is passed by no more than this part of it: the rounding of a mean in float64, no more."""

ROUNDING = 8 * float(np.finfo(np.float64).eps)
"""Bound of the relative error of taking off the least value, weighting and adding back, with room."""


@dataclass(frozen=True, eq=False)
class LinearForm:
    """minimise offset + sum of cost over the choice, subject to sum of coefficients[k] <= budgets[k].

    `cost` (N, M) and `coefficients` (K, N, M) are non-negative and 0 where `allowed` (N, M) is false; `budgets` (K,)
    already contain the tolerance of `allowance`, so that no feasible selection is lost. `rows` (K,) says which
    constraint of the problem each is: those that every selection meets are left out. `cuts` are masks (N, M) of
    which a selection must leave at least one image outside.
    """

    cost: FloatArray
    offset: float
    coefficients: FloatArray
    budgets: FloatArray
    allowed: BoolArray
    rows: tuple[int, ...]
    cuts: tuple[BoolArray, ...] = ()

    @property
    def images(self) -> int:
        """N."""
        return int(self.cost.shape[0])

    @property
    def cells(self) -> tuple[IntArray, IntArray]:
        """(image, point) of every allowed cell, in canonical order: the variables of a solver."""
        image, point = np.nonzero(self.allowed)
        return image.astype(np.int64), point.astype(np.int64)

    def cost_of(self, choice: IntArray) -> float:
        """Sum of cost over a choice, without the offset."""
        return math.fsum(self.cost[np.arange(self.images), choice].tolist())

    def with_cut(self, mask: BoolArray) -> LinearForm:
        """The same form with one more cut."""
        return replace(self, cuts=(*self.cuts, mask))

    def with_budgets(self, budgets: FloatArray) -> LinearForm:
        """The same form with other (tighter) budgets."""
        return replace(self, budgets=budgets)


def signed(constraint: Constraint) -> tuple[FloatArray, float]:
    """Values (N, M) and budget of a constraint, turned so that it says at most."""
    if constraint.sense == "at_most":
        return constraint.term.values, constraint.budget
    return -constraint.term.values, -constraint.budget


def allowance(budget: float, picked: FloatArray, weights: FloatArray) -> float:
    """How much a mean of the `picked` values may pass its budget: `MEAN_TOLERANCE` of the larger of both.

    The mean of the absolute values counts where values of both signs cancel; otherwise it is the budget itself that
    counts, as the mean is near it whenever this matters.
    """
    size = math.fsum((weights * np.abs(picked)).tolist()) / math.fsum(weights.tolist())
    return MEAN_TOLERANCE * max(abs(budget), size)


def linear_form(problem: Problem) -> LinearForm:
    """The canonical form; every image must have an allowed point."""
    allowed = problem.allowed
    objective = problem.objective.values if problem.goal == "minimize" else -problem.objective.values
    sides = [signed(constraint) for constraint in problem.constraints]
    kept = allowed & ~dominated(np.stack([objective, *(values for values, _ in sides)]), allowed)
    cost, offset = _folded(objective, problem.objective, kept)
    coefficients, budgets, rows = [], [], []
    for k, (constraint, (values, budget)) in enumerate(zip(problem.constraints, sides, strict=True)):
        folded, least = _folded(values, constraint.term, kept)
        room = budget + _largest_allowance(budget, values, constraint.term, allowed) - least
        if room < folded.max(axis=1).sum():
            coefficients.append(folded)
            budgets.append(room)
            rows.append(k)
    return LinearForm(
        cost=cost,
        offset=offset,
        coefficients=np.stack(coefficients) if coefficients else np.zeros((0, *cost.shape)),
        budgets=np.array(budgets),
        allowed=kept,
        rows=tuple(rows),
    )


def _folded(values: FloatArray, term: Term, kept: BoolArray) -> tuple[FloatArray, float]:
    """Values times weight over total weight, less each image's least, which is summed: (N, M) and the sum."""
    share = term.weights / math.fsum(term.weights.tolist())
    least = np.where(kept, values, np.inf).min(axis=1)
    folded = np.where(kept, (values - least[:, None]) * share[:, None], 0.0)
    return folded, math.fsum((least * share).tolist())


def _largest_allowance(budget: float, values: FloatArray, term: Term, allowed: BoolArray) -> float:
    """A tolerance not below that of `allowance` for any selection near the budget, with room for our own rounding."""
    inside = values[allowed]
    largest = np.where(allowed, np.abs(values), 0.0).max(axis=1)
    mean = float((term.weights * largest).sum() / term.weights.sum())
    mixed = bool((inside < 0).any() and (inside > 0).any())
    size = max(abs(budget), mean) if mixed else abs(budget)
    return 1.01 * MEAN_TOLERANCE * size + ROUNDING * mean


def dominated(values: FloatArray, allowed: BoolArray) -> BoolArray:
    """Which cells (N, M) another allowed cell of the image beats or equals in all of `values` (C, N, M), all minimised.

    Of cells that are equal in all, every one but the first is dominated.
    """
    points = allowed.shape[1]
    beaten = np.zeros_like(allowed)
    for rival in range(points):
        # Only a rival that still stands can beat: otherwise the one that beat it does the same.
        standing = allowed[:, rival] & ~beaten[:, rival]
        column = values[:, :, rival : rival + 1]
        no_worse = (column <= values).all(axis=0)
        better: BoolArray = np.asarray((column < values).any(axis=0))
        better[:, rival + 1 :] = True  # an equal cell that comes later falls as well
        better[:, rival] = False
        beaten |= standing[:, None] & allowed & no_worse & better
    return np.asarray(beaten)
