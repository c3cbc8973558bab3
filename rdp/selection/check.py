"""Nothing that a solver says is taken on trust: its selection is held against the table, and mended where it fails.

Solvers compare with tolerances, so now and then a selection passes a budget by 1e-9 of it. Such an answer is cut off
and the problem solved again; if that happens again and again, the budget is tightened. Bounds of earlier rounds stay
valid, as cuts take away only selections that are not feasible; bounds of tightened problems are not used.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rdp.errors import SolverError
from rdp.selection.backends import RawAnswer
from rdp.selection.linear import MEAN_TOLERANCE, LinearForm, allowance
from rdp.selection.problem import Constraint, IntArray, Problem
from rdp.selection.status import Status

CUTS = 5
"""Violating selections that are cut off one by one before budgets are tightened."""
TIGHTENINGS = 6


@dataclass(frozen=True, eq=False)
class CheckedAnswer:
    """A solver's answer after the check. `bound` is of the cost without the offset; `notes` say what was mended."""

    status: Status
    choice: IntArray | None
    bound: float
    notes: tuple[str, ...] = ()


def excess(problem: Problem, choice: IntArray) -> list[float]:
    """By how much the average of each constraint passes its budget beyond `allowance`, at most 0 where it is met."""
    return [excess_of(constraint, choice) for constraint in problem.constraints]


def excess_of(constraint: Constraint, choice: IntArray) -> float:
    """`excess` of one constraint."""
    average = constraint.term.average(choice)
    over = average - constraint.budget if constraint.sense == "at_most" else constraint.budget - average
    return over - allowance(constraint.budget, constraint.term.picked(choice), constraint.term.weights)


def is_allowed(problem: Problem, choice: IntArray) -> bool:
    """Whether every image has one of its allowed points."""
    count, points = problem.shape
    if choice.shape != (count,) or choice.min() < 0 or choice.max() >= points:
        return False
    return bool(problem.allowed[np.arange(count), choice].all())


def solve_checked(
    problem: Problem,
    form: LinearForm,
    solve: Callable[[LinearForm], RawAnswer],
    name: str,
) -> CheckedAnswer:
    """Solve until the selection stands the check; `solve` is told the form each time.

    Raises `SolverError` when the solver's selections keep failing the check.
    """
    bound = -math.inf
    notes: list[str] = []
    failure = ""
    for attempt in range(CUTS + TIGHTENINGS + 1):
        raw = solve(form)
        tightened = attempt > CUTS
        if not tightened:
            bound = max(bound, raw.bound)
        if raw.choice is None:
            # With tightened budgets, that there is nothing left says nothing about the problem itself.
            if tightened and raw.status is Status.INFEASIBLE:
                break
            return CheckedAnswer(raw.status, None, bound, tuple(notes))
        if not is_allowed(problem, raw.choice):
            raise SolverError(f"{name} returned a selection with a point that is not allowed; try another --solver")
        over = excess(problem, raw.choice)
        if max(over, default=0.0) <= 0:
            return _accepted(form, raw, bound, notes)
        worst = over.index(max(over))
        notes = [_note(problem, name, worst, attempt + 1)]
        failure = f"{problem.constraints[worst].name} by {over[worst]:.3g}"
        form = _mended(problem, form, raw.choice, over, attempt - CUTS)
    raise SolverError(
        f"{name} keeps returning selections that pass the budget of {failure} when recomputed from the table; "
        "try another --solver, or a budget a little wider"
    )


def _accepted(form: LinearForm, raw: RawAnswer, bound: float, notes: list[str]) -> CheckedAnswer:
    choice = raw.choice
    if choice is None:
        raise SolverError("there is no selection to accept")
    cost = form.cost_of(choice)
    if bound > cost:
        # Within rounding this is the solver's last digit; beyond it, its bound is no bound, and is not used at all.
        trusted = bound - cost <= 1e-9 * max(abs(cost), float(form.cost.max(axis=1).sum()))
        if not trusted:
            notes = [*notes, f"the solver's bound was above the checked objective by {bound - cost:.3g}: not used"]
        bound = cost if trusted else -math.inf
    return CheckedAnswer(raw.status, choice, bound, tuple(notes))


def _note(problem: Problem, name: str, worst: int, count: int) -> str:
    times = "once" if count == 1 else f"{count} times"
    return (
        f"{name} passed the budget of {problem.constraints[worst].name} within its tolerance {times}; "
        "those selections were cut off"
    )


def _mended(problem: Problem, form: LinearForm, choice: IntArray, over: list[float], round_: int) -> LinearForm:
    """The form without the violating selection: by a cut, and from round 0 on by tighter budgets.

    The first time budgets are tightened by twice what was passed, then by ten times more each round: the tolerance of
    the solver is not known, and what this loses is far below any gap.
    """
    violated = [k for k, excess_k in enumerate(over) if excess_k > 0]
    missing = [k for k in violated if k not in form.rows]
    if missing:
        raise SolverError(
            f"{problem.constraints[missing[0]].name} was left out as always met, but is not: a bug in rdp"
        )
    if round_ >= 0:
        budgets = form.budgets.copy()
        for k in violated:
            row = form.rows.index(k)
            budgets[row] -= 10.0**round_ * (2 * over[k] + abs(budgets[row]) * MEAN_TOLERANCE)
        return form.with_budgets(budgets)
    # Whoever takes at least as much as this selection in every image passes the budget as well.
    row = form.rows.index(max(violated, key=over.__getitem__))
    used = form.coefficients[row]
    at_least_as_much = form.allowed & (used >= used[np.arange(form.images), choice][:, None])
    return form.with_cut(at_least_as_much)
