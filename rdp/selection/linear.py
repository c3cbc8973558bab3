"""The canonical form that solvers get: always minimise, always at most, averages turned into sums.

With W = sum(w), a weighted average is the sum over images of w_i / W times the chosen value, so weights are folded
into the coefficients. Of every image's row the least value is taken off and kept aside, so that the numbers are
non-negative and as small as they can be, which is what solvers with absolute tolerances need. Cells that another cell
of the image beats or equals in every number that is used are dropped: the optimal value stays, the problem shrinks
(often by half), and of equal cells always the canonically first is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rdp.selection.problem import BoolArray, Constraint, FloatArray, IntArray, Problem, Term, weighted_mean
from rdp.selection.sums import accurate_sum

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
    which a selection must leave at least one image outside. `rooms` (K,) make budgets of the form.
    """

    cost: FloatArray
    offset: float
    coefficients: FloatArray
    budgets: FloatArray
    allowed: BoolArray
    rows: tuple[int, ...]
    cuts: tuple[BoolArray, ...] = ()
    rooms: tuple[Room, ...] = ()

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
        return accurate_sum(self.cost[np.arange(self.images), choice])

    def with_cut(self, mask: BoolArray) -> LinearForm:
        """The same form with one more cut."""
        return replace(self, cuts=(*self.cuts, mask))

    def for_budgets(self, budgets: Sequence[float]) -> LinearForm:
        """The same form for other budgets, one for each row, as at most."""
        return replace(self, budgets=np.array([r.of(b) for r, b in zip(self.rooms, budgets, strict=True)]), cuts=())

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
    return MEAN_TOLERANCE * max(abs(budget), weighted_mean(np.abs(picked), weights))


def linear_form(problem: Problem, *, every_row: bool = False) -> LinearForm:
    """The canonical form; every image must have an allowed point.

    Constraints that every selection meets are left out, unless `every_row` is set, for other budgets to come
    (`LinearForm.for_budgets`).
    """
    allowed = problem.allowed
    objective = problem.objective.values if problem.goal == "minimize" else -problem.objective.values
    sides = [signed(constraint) for constraint in problem.constraints]
    # The constraints of many groups share a column, which says the same about which cell is better.
    columns = {(id(c.term.values), c.sense): side[0] for c, side in zip(problem.constraints, sides, strict=True)}
    kept = allowed & ~dominated(np.stack([objective, *columns.values()]), allowed)
    cost, offset = _folded(objective, problem.objective, kept)
    coefficients, budgets, rows, rooms = [], [], [], []
    for k, (constraint, (values, budget)) in enumerate(zip(problem.constraints, sides, strict=True)):
        folded, least = _folded(values, constraint.term, kept)
        room = _room(constraint, values, allowed, least)
        if every_row or room.of(budget) < folded.max(axis=1).sum():
            coefficients.append(folded)
            budgets.append(room.of(budget))
            rows.append(k)
            rooms.append(room)
    return LinearForm(
        cost=cost,
        offset=offset,
        coefficients=np.stack(coefficients) if coefficients else np.zeros((0, *cost.shape)),
        budgets=np.array(budgets),
        allowed=kept,
        rows=tuple(rows),
        rooms=tuple(rooms),
    )


def _folded(values: FloatArray, term: Term, kept: BoolArray) -> tuple[FloatArray, float]:
    """Values times weight over total weight, less each image's least, which is summed: (N, M) and the sum."""
    share = term.weights / accurate_sum(term.weights)
    least = np.where(kept, values, np.inf).min(axis=1)
    folded = np.where(kept, (values - least[:, None]) * share[:, None], 0.0)
    return folded, accurate_sum(least * share)


@dataclass(frozen=True)
class Room:
    """What turns a budget (as at most) into that of the form: the sum of least values that was taken off, and what the
    tolerance depends on, the mean of the largest absolute values, and whether values have both signs."""

    least: float
    mean: float
    mixed: bool

    def of(self, budget: float) -> float:
        """The form's budget, with a tolerance not below that of `allowance` for any selection near the budget, and
        with room for our own rounding."""
        size = max(abs(budget), self.mean) if self.mixed else abs(budget)
        return budget + 1.01 * MEAN_TOLERANCE * size + ROUNDING * self.mean - self.least


def _room(constraint: Constraint, values: FloatArray, allowed: BoolArray, least: float) -> Room:
    inside, weights = values[allowed], constraint.term.weights
    largest = np.where(allowed, np.abs(values), 0.0).max(axis=1)
    mean = float((weights * largest).sum() / weights.sum())
    return Room(least, mean, bool((inside < 0).any() and (inside > 0).any()))


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
