"""The nearest budgets that can be met together: the smallest relaxation that is enough, by the same part for all.

Prices give a lower bound of it, and a selection near the prices' choices an upper one (`phase_one`, `approach`). What
lies between is closed by solving: minimise the priced sum of the budgets' excesses, every budget relaxed by t. If there
is a selection, it needs no more than t; if there is none, every selection needs more. Then what need not be relaxed as
much is not: with those that need it relaxed, the excess of the others is made small.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np

from rdp.errors import SolverError
from rdp.selection.check import CheckedAnswer, excess_of
from rdp.selection.explaining.approach import approach
from rdp.selection.explaining.explanation import Nearest, NewBudget, exact, safe
from rdp.selection.explaining.phase_one import CLOSE, PhaseOne, find_prices
from rdp.selection.linear import allowance
from rdp.selection.problem import Constraint, FloatArray, IntArray, Problem, Term
from rdp.selection.status import Status

Solve = Callable[[Problem], CheckedAnswer]
SMALL_CELLS, SMALL_DIGITS = 400, 1e-8
"""Of so few cells the relaxation is known to this part of the budgets."""
FRACTION = 1e-3
"""Of more, to this part of itself. The selections found are nearly always the best; to prove more takes long."""
NARROWED_CELLS = 1_000_000
"""In larger tables budgets that need less of a relaxation are written as the selection found meets them."""
PROBES = 60
LESS = 0.99
"""A constraint that needs less than this part of the relaxation is relaxed by less."""


@dataclass(frozen=True, eq=False)
class Relaxed:
    """What is known of the smallest relaxation: `prices` (K,), the dual `bound`, and `nearest` if one was found.

    `mixtures`: with mixtures of points the budgets could be met. `notes` say what kept `nearest` from being proven.
    """

    phase: PhaseOne
    prices: FloatArray
    bound: float
    mixtures: bool
    nearest: Nearest | None
    notes: tuple[str, ...] = ()


def nearest_budgets(problem: Problem, solve: Solve, ends: float) -> Relaxed:
    """The nearest budgets of a problem that no selection meets, whose images all have an allowed point.

    `solve` solves the problems that this asks along the way. After `ends` (of `perf_counter`) none is begun; what is
    known by then is told. Raises `SolverError` when some selection meets the budgets after all.
    """
    phase = PhaseOne.of(problem)
    found = find_prices(phase, ends)
    mixtures = found.bound <= 0 and found.above <= 2 * CLOSE
    search = _Search(problem, phase, found.prices, solve, ends, max(found.bound, 0.0))
    if problem.max_points is None:
        search.take(approach(phase, found, enough=found.bound + SMALL_DIGITS, ends=ends))
    else:
        search.start()
    if search.choice is None:
        return Relaxed(phase, found.prices, found.bound, mixtures, None, tuple(search.notes))
    search.close()
    search.narrow()
    return Relaxed(phase, found.prices, found.bound, mixtures, search.nearest(), tuple(search.notes))


class _Search:
    """The selection that needs the smallest relaxation so far (`upper`), and what every selection needs (`lower`)."""

    def __init__(
        self, problem: Problem, phase: PhaseOne, prices: FloatArray, solve: Solve, ends: float, lower: float
    ) -> None:
        self.problem, self.phase, self.prices, self.solve, self.ends = problem, phase, prices, solve, ends
        self.lower, self.upper, self.step = lower, np.inf, 0.0
        self.choice: IntArray | None = None
        self.excesses = np.zeros(len(phase.rows))
        self.notes: list[str] = []

    def take(self, choice: IntArray) -> bool:
        """Keep a selection if it needs less than the last one."""
        excesses = self.phase.exact_excesses(choice)
        if all(excess_of(row.constraint, choice) <= 0 for row in self.phase.rows):
            raise SolverError(
                "the budgets were called impossible, but a selection meets them: a bug of the solver or of rdp; "
                "try another --solver"
            )
        if not excesses.max() < self.upper:
            return False
        self.choice, self.excesses, self.upper = choice, excesses, float(excesses.max())
        self.lower = min(self.lower, self.upper)
        return True

    def start(self) -> None:
        """A first selection where the choice of points is limited as a whole: the best at the prices."""
        answer = self._ask(self._priced(self.prices, ()))
        if answer is not None and answer.choice is not None:
            self.take(answer.choice)

    def close(self) -> None:
        """Bring the bounds together as far as is worth it: first just below the last selection, then half way."""
        edge = True
        for _ in range(PROBES):
            if self.upper - self.lower <= self.tolerance:
                return
            # A selection that is within the rounding of means of the last one is no better one.
            self.step = step = max(self.tolerance, 4 * self._rounding())
            middle = 0.5 * (self.lower + self.upper)
            target = max(self.upper - step, self.lower) if edge else min(middle, self.upper - step)
            answer = self._ask(self._priced(self.prices, self._relaxed(target)))
            if answer is None:
                return
            if answer.choice is not None:
                if not self.take(answer.choice):
                    return
                edge = False
            elif answer.status is Status.INFEASIBLE:
                self.lower = max(self.lower, target)
                if edge:
                    return
                edge = True
            else:
                return

    def narrow(self) -> None:
        """Relax by less what needs less, with the largest relaxation as it is."""
        needy = [k for k, excess in enumerate(self.excesses.tolist()) if 0 < excess < LESS * self.upper]
        if not needy or self.choice is None or self.problem.allowed.size > NARROWED_CELLS:
            return
        even = np.isin(np.arange(len(self.excesses)), needy) / len(needy)
        answer = self._ask(self._priced(even, self._relaxed(self.upper)))
        if answer is None or answer.choice is None:
            return
        excesses = self.phase.exact_excesses(answer.choice)
        spent = np.maximum(excesses, 0.0).sum() < np.maximum(self.excesses, 0.0).sum()
        if spent and excesses.max() <= self.upper + 4 * self._rounding():
            self.choice, self.excesses = answer.choice, excesses
            self.upper = max(self.upper, float(excesses.max()))

    @property
    def tolerance(self) -> float:
        """How near the bounds are to come."""
        return SMALL_DIGITS if self.problem.allowed.size <= SMALL_CELLS else FRACTION * self.upper

    def _ask(self, problem: Problem) -> CheckedAnswer | None:
        if perf_counter() >= self.ends:
            return None
        try:
            return self.solve(problem)
        except SolverError as error:
            # What is known so far is an answer; that it could not be improved is said with it.
            self.notes.append(f"the nearest budgets are not proven: {error}")
            return None

    def _rounding(self) -> float:
        """By how much a relaxation may be passed unnoticed."""
        if self.choice is None:
            return 0.0
        return max(
            allowance(row.constraint.budget, row.constraint.term.picked(self.choice), row.constraint.term.weights)
            / row.scale
            for row in self.phase.rows
        )

    def _relaxed(self, amount: float) -> tuple[Constraint, ...]:
        signs = [1.0 if row.constraint.sense == "at_most" else -1.0 for row in self.phase.rows]
        return tuple(
            replace(row.constraint, budget=row.constraint.budget + sign * amount * row.scale)
            for sign, row in zip(signs, self.phase.rows, strict=True)
        )

    def _priced(self, prices: FloatArray, constraints: tuple[Constraint, ...]) -> Problem:
        """Minimise the priced sum of excesses, subject to other constraints."""
        images = len(self.problem.allowed)
        values = np.where(self.problem.allowed, self.phase.combined(prices), np.nan) * images
        term = Term("relaxation", values, np.ones(images), "images")
        return replace(self.problem, objective=term, goal="minimize", constraints=constraints, columns={})

    def nearest(self) -> Nearest | None:
        """The budgets that the selection meets, written so that what is written is met."""
        if self.choice is None:
            return None
        budgets = tuple(_new_budget(row.constraint, self.choice) for row in self.phase.rows)
        by_range = tuple(dict.fromkeys(row.constraint.term.column for row in self.phase.rows if row.by_range))
        proven = self.upper - self.lower <= max(self.tolerance, 2 * self.step)
        return Nearest(self.upper, self.lower, proven, budgets, self.choice, by_range)


def _new_budget(constraint: Constraint, choice: IntArray) -> NewBudget:
    """The budget itself where the choice meets it, and else the choice's average."""
    text = exact(constraint.budget)
    if excess_of(constraint, choice) > 0:
        average = constraint.term.average(choice)
        text = safe(average, constraint.sense, beside=constraint.budget)
        if excess_of(replace(constraint, budget=float(text)), choice) > 0:
            text = repr(average)
    return NewBudget(constraint.term.column, constraint.sense, constraint.group, constraint.budget, text)
