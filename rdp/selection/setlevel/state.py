"""A choice that is changed: its value, what it spends of every budget, and what it would with one image changed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rdp.analysis.sets.base import Exchange
from rdp.selection.check import excess, is_allowed
from rdp.selection.linear import allowance, signed
from rdp.selection.problem import BoolArray, FloatArray, IntArray, Problem
from rdp.selection.setlevel.terms import Guarded, SetProblem
from rdp.selection.sums import accurate_sum

SMALLEST = 1e-100
"""What passes a budget below this is counted as it is: a part of it might be no number."""
GUIDED = 2
"""Points of an image that are scored where a cheaper form says which are the best."""


@dataclass(frozen=True, eq=False)
class Rows:
    """The averaged budgets as sums over images: `spends` (K, N, P) and `budgets` (K,), all as at most."""

    spends: FloatArray
    budgets: FloatArray

    @classmethod
    def of(cls, problem: Problem) -> Rows:
        """Those of a problem; 0 where nothing may be chosen."""
        spends, budgets = [np.zeros((0, *problem.shape))], []
        for constraint in problem.constraints:
            values, budget = signed(constraint)
            share = constraint.term.weights / accurate_sum(constraint.term.weights)
            spends.append((np.where(problem.allowed, values, 0.0) * share[:, None])[None])
            # A guide to moves; what is taken in the end is held against the table.
            largest = np.where(problem.allowed, np.abs(values), 0.0).max(axis=1)
            budgets.append(budget + allowance(budget, largest, constraint.term.weights))
        return cls(np.concatenate(spends), np.array(budgets))


@dataclass(frozen=True, eq=False)
class Found:
    """A choice (N,), what is minimised at it, and by how much it passes the set-level budgets (0: it keeps them)."""

    choice: IntArray
    value: float
    passed: float = 0.0

    def better_than(self, other: Found | None) -> bool:
        """Nearer to the set-level budgets, or as near and of less value."""
        return other is None or (self.passed, self.value) < (other.passed, other.value)


class State:
    """One choice within the averaged budgets, and its exchanges.

    `values` of a change are (what is minimised, by how much the set-level budgets are passed) for each point. Where the
    scorer has a cheaper form below it, that says which points are scored at all, and the others count as no gain.
    """

    def __init__(self, asked: SetProblem, rows: Rows, choice: IntArray) -> None:
        self.asked, self.problem, self.rows = asked, asked.problem, rows
        self.choice = np.array(choice, dtype=np.int64)
        self.exchange = None if asked.scorer is None else asked.scorer.exchange(self.choice)
        self.others: list[Exchange] = [bound.scorer.exchange(self.choice) for bound in asked.bounds]
        self.costs = self._costs()
        self.usage = np.array([accurate_sum(row[np.arange(len(choice)), self.choice]) for row in rows.spends])
        self.looks = 0
        cheap = asked.scorer.below() if asked.scorer is not None and not asked.bounds else None
        self.guide = None if cheap is None else (cheap, cheap.exchange(self.choice))

    @property
    def found(self) -> Found:
        """The choice as it is now."""
        passed = sum(self._passed(number, np.array([one.value]))[0] for number, one in enumerate(self.others))
        return Found(self.choice.copy(), self._value(), float(passed))

    def values(self, image: int) -> tuple[FloatArray, FloatArray]:
        """For each point of an image: what would be minimised, infinite where not allowed, and the passed budgets."""
        self.looks += 1
        if self.guide is not None:
            return self._guided(image, self.asked.scorer, *self.guide), np.zeros(self.problem.shape[1])
        return self.looked(image)[:2]

    def looked(self, image: int) -> tuple[FloatArray, FloatArray, FloatArray]:
        """The same for every point, whatever it takes; and the forms of the set-level budgets (J, P)."""
        if self.exchange is not None and self.asked.scorer is not None:
            values = self.asked.scorer.values(self.exchange, image)
        else:
            row = self.costs[image]
            values = self._value() + row - row[self.choice[image]]
        passed = np.zeros(len(values))
        forms = np.zeros((len(self.others), len(values)))
        for number, (bound, other) in enumerate(zip(self.asked.bounds, self.others, strict=True)):
            forms[number] = bound.scorer.values(other, image)
            passed += self._passed(number, forms[number])
        return values, passed, forms

    def fits(self, image: int, loose: float = 0.0) -> BoolArray:
        """Which points (P,) of an image keep the averaged budgets, the other images as they are.

        `loose`: or pass them by no more than this part of what is summed.
        """
        spends = self.rows.spends[:, image]
        after = self.usage[:, None] - spends[:, self.choice[image]][:, None] + spends
        room = self.rows.budgets
        if loose:
            room = room + loose * (np.abs(room) + np.abs(self.rows.spends).max(axis=2).sum(axis=1))
        return np.asarray((after <= room[:, None]).all(axis=0) & self.problem.allowed[image])

    def move(self, image: int, point: int) -> None:
        """Change one image, whatever the budgets say."""
        spends = self.rows.spends[:, image]
        self.usage = self.usage - spends[:, self.choice[image]] + spends[:, point]
        self.choice[image] = point
        guide = [] if self.guide is None else [self.guide[1]]
        for exchange in ([] if self.exchange is None else [self.exchange]) + self.others + guide:
            exchange.set(image, point)

    def within(self) -> bool:
        """Whether the averaged budgets are kept, exactly as every answer of a solver is held against them."""
        if not is_allowed(self.problem, self.choice):
            return False
        return max(excess(self.problem, self.choice), default=0.0) <= 0

    def kept(self) -> bool:
        """Whether every budget is kept, the set-level ones in the forms themselves."""
        return self.within() and all(one.scorer.at(self.choice) <= one.room for one in self.asked.bounds)

    def slopes(self) -> FloatArray:
        """For each cell (N, P) what a change to it takes off at the most: convex forms lie above their tangents.

        0 at the choice; exact where it is a column that is optimised; infinite where not allowed.
        """
        if self.asked.scorer is None:
            gradient = self.costs
        else:
            shares = np.zeros(self.problem.shape)
            shares[np.arange(len(self.choice)), self.choice] = 1.0
            gradient = self.asked.scorer.relaxed(shares).gradient
        slopes = gradient - gradient[np.arange(len(self.choice)), self.choice][:, None]
        return np.asarray(np.where(self.problem.allowed, slopes, np.inf))

    def _guided(self, image: int, scorer: Guarded | None, cheap: Guarded, known: Exchange) -> FloatArray:
        """The values of the few points that the cheaper form finds best, infinite for the others."""
        values = np.full(self.problem.shape[1], np.inf)
        guesses = np.where(self.fits(image), cheap.values(known, image), np.inf)
        guesses[self.choice[image]] = np.inf
        other = self.choice.copy()
        for point in np.argsort(guesses, kind="stable")[:GUIDED].tolist():
            if scorer is not None and np.isfinite(guesses[point]):
                other[image] = point
                values[point] = scorer.exchange(other).value
        return values

    def _value(self) -> float:
        if self.exchange is not None:
            return float(self.exchange.value)
        return accurate_sum(self.costs[np.arange(len(self.choice)), self.choice])

    def _costs(self) -> FloatArray:
        """What each cell adds to the average that is minimised (N, P)."""
        if self.asked.scorer is not None:
            return np.zeros(self.problem.shape)
        term = self.problem.objective
        share = term.weights / accurate_sum(term.weights)
        return np.where(self.problem.allowed, self.asked.sign * term.values, 0.0) * share[:, None]

    def _passed(self, number: int, values: FloatArray) -> FloatArray:
        """By how much values of a set-level bound pass its budget, as a part of that."""
        bound = self.asked.bounds[number]
        size = abs(bound.budget) if abs(bound.budget) > SMALLEST else 1.0
        return np.asarray(np.maximum(values - bound.room, 0.0) / size)


def least_noticed(value: float) -> float:
    """A change by less is rounding."""
    return 1e-11 * max(abs(value), 1e-9) if math.isfinite(value) else 0.0
