"""A choice that is changed: its value, what it spends of every budget, and what it would with one image changed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rdp.analysis.sets.base import Exchange
from rdp.selection.check import excess, is_allowed
from rdp.selection.linear import allowance, signed
from rdp.selection.problem import BoolArray, FloatArray, IntArray, Problem
from rdp.selection.setlevel.terms import SetProblem
from rdp.selection.sums import accurate_sum


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

    `values` of a change are (what is minimised, by how much the set-level budgets are passed) for each point.
    """

    def __init__(self, asked: SetProblem, rows: Rows, choice: IntArray) -> None:
        self.asked, self.problem, self.rows = asked, asked.problem, rows
        self.choice = np.array(choice, dtype=np.int64)
        self.exchange = None if asked.scorer is None else asked.scorer.exchange(self.choice)
        self.others: list[Exchange] = [bound.scorer.exchange(self.choice) for bound in asked.bounds]
        self.costs = self._costs()
        self.usage = np.array([accurate_sum(row[np.arange(len(choice)), self.choice]) for row in rows.spends])
        self.looks = 0

    @property
    def found(self) -> Found:
        """The choice as it is now."""
        passed = sum(self._passed(number, np.array([one.value]))[0] for number, one in enumerate(self.others))
        return Found(self.choice.copy(), self._value(), float(passed))

    def values(self, image: int) -> tuple[FloatArray, FloatArray]:
        """For each point of an image: what would be minimised, infinite where not allowed, and the passed budgets."""
        self.looks += 1
        if self.exchange is not None and self.asked.scorer is not None:
            values = self.asked.scorer.values(self.exchange, image)
        else:
            row = self.costs[image]
            values = self._value() + row - row[self.choice[image]]
        passed = np.zeros(len(values))
        for number, (bound, other) in enumerate(zip(self.asked.bounds, self.others, strict=True)):
            passed += self._passed(number, bound.scorer.values(other, image))
        return values, passed

    def fits(self, image: int) -> BoolArray:
        """Which points (P,) of an image keep the averaged budgets, the other images as they are."""
        spends = self.rows.spends[:, image]
        after = self.usage[:, None] - spends[:, self.choice[image]][:, None] + spends
        return np.asarray((after <= self.rows.budgets[:, None]).all(axis=0) & self.problem.allowed[image])

    def move(self, image: int, point: int) -> None:
        """Change one image, whatever the budgets say."""
        spends = self.rows.spends[:, image]
        self.usage = self.usage - spends[:, self.choice[image]] + spends[:, point]
        self.choice[image] = point
        for exchange in ([] if self.exchange is None else [self.exchange]) + self.others:
            exchange.set(image, point)

    def within(self) -> bool:
        """Whether the averaged budgets are kept, exactly as every answer of a solver is held against them."""
        if not is_allowed(self.problem, self.choice):
            return False
        return max(excess(self.problem, self.choice), default=0.0) <= 0

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
        size = abs(bound.budget) or 1.0
        return np.asarray(np.maximum(values - bound.room, 0.0) / size)


def least_noticed(value: float) -> float:
    """A change by less is rounding."""
    return 1e-11 * max(abs(value), 1e-9) if math.isfinite(value) else 0.0
