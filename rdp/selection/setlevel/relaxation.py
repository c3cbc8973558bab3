"""The relaxation: an image may mix its points. A convex programme, solved by its prices, with a certified bound.

Averaged and set-level budgets are moved into the objective (augmented Lagrangian: Hestenes 1969, Powell 1969,
Rockafellar 1973); what is left, a smooth function of each image's shares, is minimised by spectral projected gradients
(Birgin, Martinez and Raydan 2000). Where that ends, the tangent plane there, as in the step of Frank and Wolfe (1956),
goes to the certified linear solver: its bound holds whatever the shares are, and the nearer these are to the best
ones, the higher it is. Where a form has kinks, so that one plane does not do, all planes together do (`planes`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from rdp.analysis.sets.base import Relaxed
from rdp.selection.answering import Deadline
from rdp.selection.linear import signed
from rdp.selection.problem import FloatArray, Problem
from rdp.selection.setlevel.certificate import Least, Oracle, Plane
from rdp.selection.setlevel.descent import descend
from rdp.selection.setlevel.simplex import distance_from_least, projected
from rdp.selection.sums import accurate_sum

Function = Callable[[FloatArray], Relaxed]
"""Value and gradient of a convex function of shares (N, P)."""
TURNS = 30
FIRST_WEIGHT, LARGEST_WEIGHT, HEAVIER = 10.0, 1e4, 10.0
"""Of the squares of what passes a budget, and how it grows where that does not fall to `LESS` of itself in a turn."""
LESS = 0.3
FIRST_TOLERANCE, TIGHTER = 1e-2, 0.1
"""Each turn comes nearer to the optimum of its function by this."""
CLOSE = 1e-7
"""Budgets of the relaxation are kept to this part of the range of what they bound."""
KEPT = 40
"""The last evaluations, whose planes are kept."""
SMALLEST = 1e-100
"""A range below this is none."""
TINY = 1e-12
"""Of the range of the objective: near enough to an optimum of zero."""


@dataclass(eq=False)
class Clock:
    """Evaluations that are left, and the time: what ends a search early.

    `until` is when the present phase ends, in seconds since the start; None with the deadline. `tell` is called now and
    then, to say how far it is.
    """

    deadline: Deadline
    limit: int
    spent: int = 0
    until: float | None = None
    tell: Callable[[], None] | None = None

    def told(self) -> None:
        """A good moment to say how far it is."""
        if self.tell is not None:
            self.tell()

    @contextmanager
    def phase(self, share: float) -> Iterator[None]:
        """For a while it is `late` after this share of the time that is left (of an outer phase, or of all)."""
        before, left = self.until, self.left_s
        self.until = None if left is None else self.deadline.elapsed_s + share * left
        try:
            yield
        finally:
            self.until = before

    @property
    def left_s(self) -> float | None:
        """Seconds that are left of the phase; None without a limit."""
        ends = [one for one in (self.until, self.deadline.limit_s) if one is not None]
        return max(min(ends) - self.deadline.elapsed_s, 0.0) if ends else None

    @property
    def late(self) -> bool:
        """Whether the time of the phase is up."""
        return self.left_s == 0

    @property
    def over(self) -> bool:
        """Whether time or evaluations of the phase are used up."""
        return self.spent >= self.limit or self.late


@dataclass(frozen=True, eq=False)
class Bounded:
    """A convex function that is at most `budget`."""

    function: Function
    budget: float


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Everything at some shares (N, P)."""

    shares: FloatArray
    aim: Relaxed
    bounds: tuple[Relaxed, ...]

    def planes(self) -> tuple[Plane, tuple[Plane, ...]]:
        """The tangents of the objective and of each bounded function."""
        x = self.shares
        return (
            Plane.tangent(self.aim.value, self.aim.gradient, x),
            tuple(Plane.tangent(one.value, one.gradient, x) for one in self.bounds),
        )


@dataclass(frozen=True, eq=False)
class Relaxation:
    """The relaxation's optimum as far as it was found.

    `bound` is proven; `value` that at `best.shares`, which pass the budgets by no more than `passed` of their range.
    `set_prices` are those of the bounded functions, `prices` those of the averaged budgets, None where not known.
    `met`: the value is as near to the bound as was asked for.
    """

    best: Evaluation
    bound: float
    passed: float
    met: bool
    set_prices: tuple[float, ...]
    prices: tuple[float, ...] | None
    split: int | None
    recent: tuple[Evaluation, ...] = ()

    @property
    def value(self) -> float:
        """The objective at the shares."""
        return self.best.aim.value


@dataclass(eq=False)
class Augmented:
    """The objective with the budgets in it, in units of the range of each; and what was evaluated last."""

    problem: Problem
    aim: Function
    bounds: Sequence[Bounded]
    clock: Clock
    aim_scale: float = 1.0
    weight: float = FIRST_WEIGHT
    recent: list[Evaluation] = field(default_factory=list)

    def __post_init__(self) -> None:
        rows, budgets, scales = [], [], []
        for constraint in self.problem.constraints:
            values, budget = signed(constraint)
            share = constraint.term.weights / accurate_sum(constraint.term.weights)
            row = np.where(self.problem.allowed, values, 0.0) * share[:, None]
            inside = np.where(self.problem.allowed, row, np.nan)
            spread = float((np.nanmax(inside, axis=1) - np.nanmin(inside, axis=1)).sum())
            scale = spread or 1.0
            rows.append(row / scale)
            budgets.append(budget / scale)
            scales.append(scale)
        self.rows = np.stack(rows) if rows else np.zeros((0, *self.problem.shape))
        self.budgets = np.array(budgets)
        self.row_scales = np.array(scales)
        self.row_prices = np.zeros(len(rows))
        self.set_prices = np.zeros(len(self.bounds))
        self.set_scales = np.ones(len(self.bounds))

    def at(self, shares: FloatArray) -> Evaluation:
        """Evaluate everything, and remember it."""
        self.clock.spent += 1
        self.clock.told()
        made = Evaluation(shares, self.aim(shares), tuple(bound.function(shares) for bound in self.bounds))
        self.recent = [*self.recent[-KEPT + 1 :], made]
        return made

    def scale_at(self, here: Evaluation) -> None:
        """Take the range of what each function could fall by from here as its unit."""
        allowed = self.problem.allowed
        self.aim_scale = _unit(distance_from_least(here.aim.gradient, here.shares, allowed), abs(here.aim.value))
        self.set_scales = np.array(
            [
                _unit(max(distance_from_least(one.gradient, here.shares, allowed), abs(bound.budget) * 1e-3), 0.0)
                for one, bound in zip(here.bounds, self.bounds, strict=True)
            ]
        )

    def over(self, here: Evaluation) -> tuple[FloatArray, FloatArray]:
        """By how much the averaged budgets (K,) and the set-level ones (J,) are passed, in their units."""
        rows = np.tensordot(self.rows, here.shares, axes=2) - self.budgets
        sets = [one.value - bound.budget for one, bound in zip(here.bounds, self.bounds, strict=True)]
        return np.asarray(rows), np.array(sets) / self.set_scales

    def pressed(self, here: Evaluation) -> tuple[FloatArray, FloatArray]:
        """The prices of both that the function has at this place."""
        rows, sets = self.over(here)
        return (
            np.maximum(self.row_prices + self.weight * rows, 0.0),
            np.maximum(self.set_prices + self.weight * sets, 0.0),
        )

    def function(self, shares: FloatArray) -> Relaxed:
        """Value and gradient (N, P) of the augmented Lagrangian, in units of the objective's range."""
        here = self.at(shares)
        rows, sets = self.pressed(here)
        gradient = here.aim.gradient / self.aim_scale + np.tensordot(rows, self.rows, axes=1)
        for price, one, scale in zip(sets.tolist(), here.bounds, self.set_scales.tolist(), strict=True):
            gradient = gradient + price / scale * one.gradient
        value = here.aim.value / self.aim_scale
        value += float((rows**2 - self.row_prices**2).sum() + (sets**2 - self.set_prices**2).sum()) / (2 * self.weight)
        return Relaxed(value, gradient)

    def residual(self, here: Evaluation) -> float:
        """How far budgets and prices are from agreeing: 0 where none is passed, and priced ones are spent."""
        rows, sets = self.over(here)
        both = np.concatenate([rows, sets])
        prices = np.concatenate([self.row_prices, self.set_prices])
        return float(np.abs(np.maximum(both, -prices / self.weight)).max(initial=0.0))

    def learn(self, here: Evaluation) -> None:
        """Take the prices of this place."""
        self.row_prices, self.set_prices = self.pressed(here)

    def plane(self, here: Evaluation) -> tuple[Plane, tuple[float, ...]]:
        """A plane below the objective of every mixture within the set-level budgets, and the prices in it."""
        prices = (self.pressed(here)[1] * self.aim_scale / self.set_scales).tolist()
        plane, others = here.planes()
        for price, other, bound in zip(prices, others, self.bounds, strict=True):
            plane = plane.plus(Plane(other.constant - bound.budget, other.slope), price)
        return plane, tuple(prices)


def _unit(size: float, other: float) -> float:
    """The first that a number can be divided by."""
    return next((one for one in (size, other) if one > SMALLEST), 1.0)


def moved(known: Relaxation, cheap: Augmented, augmented: Augmented, oracle: Oracle) -> Relaxation:
    """The relaxation of forms nowhere above, as one of the forms themselves: evaluated at the same shares.

    Bounds and planes of the former hold for the latter; the tangent there is one more.
    """
    here = augmented.at(known.best.shares)
    augmented.aim_scale, augmented.set_scales, augmented.weight = cheap.aim_scale, cheap.set_scales, cheap.weight
    augmented.row_prices, augmented.set_prices = cheap.row_prices, cheap.set_prices
    plane, set_prices = augmented.plane(here)
    least = oracle.least(plane)
    passed = max(float(np.concatenate(augmented.over(here)).max(initial=0.0)), 0.0)
    made = replace(known, best=here, passed=passed, met=False, recent=(*known.recent, here))
    if least.bound <= known.bound:
        return made
    return replace(made, bound=least.bound, set_prices=set_prices, prices=least.prices, split=least.split)


def relax(augmented: Augmented, oracle: Oracle, tolerance: float) -> Relaxation:
    """Minimise over the mixtures within all budgets, until the value is within `tolerance` (relative) of the bound."""
    problem, bounds, clock = augmented.problem, augmented.bounds, augmented.clock
    allowed = problem.allowed
    here = augmented.at(projected(np.zeros(problem.shape), allowed))
    augmented.scale_at(here)
    coupled = bool(len(problem.constraints) or bounds)
    near, before = FIRST_TOLERANCE if coupled else 0.0, math.inf
    best: tuple[float, tuple[float, ...], Least] | None = None
    met = False
    for _ in range(TURNS):
        goal = 0.25 * tolerance * abs(here.aim.value) / augmented.aim_scale
        shares = descend(augmented.function, here.shares, allowed, max(near, goal, 1e-13), clock)
        here = augmented.at(shares)
        plane, set_prices = augmented.plane(here)
        least = oracle.least(plane)
        if best is None or least.bound > best[0]:
            best = (least.bound, set_prices, least)
        residual = augmented.residual(here)
        enough = max(tolerance * abs(here.aim.value), TINY * augmented.aim_scale)
        met = here.aim.value - best[0] <= enough and residual <= CLOSE
        if met or clock.over or (not coupled and near == 0.0):
            break
        augmented.learn(here)
        if residual > LESS * before:
            augmented.weight = min(augmented.weight * HEAVIER, LARGEST_WEIGHT)
        before, near = residual, near * TIGHTER
    rows, sets = augmented.over(here)
    passed = float(np.concatenate([rows, sets]).max(initial=0.0))
    bound, set_prices, least = best if best is not None else (-math.inf, (), Least(-math.inf, None, None))
    recent = tuple(augmented.recent)
    return Relaxation(here, bound, max(passed, 0.0), met, set_prices, least.prices, least.split, recent)
