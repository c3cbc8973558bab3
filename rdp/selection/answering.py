"""Who answers a problem in canonical form, and the check of every answer against the table."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np

from rdp.selection.backends import AUTO, DUAL, RawAnswer
from rdp.selection.backends.isolated import certify_anywhere, relax_anywhere, solve_anywhere
from rdp.selection.backends.ortools import ortools_loads
from rdp.selection.check import CheckedAnswer, solve_checked
from rdp.selection.linear import LinearForm
from rdp.selection.problem import FloatArray, Problem
from rdp.selection.solver.certified import left_open
from rdp.selection.solver.dual import Dual, Relaxation
from rdp.selection.solver.whole import gap_of, solve_certified
from rdp.selection.status import Status

SEPARABLE = "separable"
"""What `Selection.solver` says when no budget binds and each image simply takes its best point."""
FALLBACK = "highs"
MOST_OPEN_CELLS = 60_000
FALLBACK_S = 60.0
"""HiGHS is asked when the exact search gives up, unless even that is hopeless, and not without end: on what is left by
then, such as a budget that is to be met exactly, it may not end. A time limit of the user's own counts instead."""


@dataclass(frozen=True)
class Deadline:
    """A time limit that several solves share."""

    limit_s: float | None
    started: float

    @classmethod
    def of(cls, time_limit: float | None) -> Deadline:
        """Starts now."""
        return cls(time_limit, time.perf_counter())

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.started

    @property
    def left_s(self) -> float | None:
        """Seconds left, never below 0; None without a limit."""
        return None if self.limit_s is None else max(self.limit_s - self.elapsed_s, 0.0)


@dataclass(eq=False)
class Known:
    """What a sweep over budgets knows from its earlier problems: all planes, and the prices of the last one."""

    dual: Dual
    prices: FloatArray | None = None

    def certify(self, form: LinearForm, gap: float, time_limit: float | None) -> tuple[Relaxation, RawAnswer]:
        """`solve_certified` from here on; needs OR-Tools in this process."""
        self.dual.with_budgets(form)
        relaxation, raw = solve_certified(form, gap, time_limit, self.dual, self.prices)
        self.prices = relaxation.best if relaxation.prices is not None else self.prices
        return relaxation, raw


@dataclass(frozen=True, eq=False)
class Answer:
    """A checked answer, who gave it, and the relaxation of the form."""

    solver: str
    relaxation: Relaxation
    checked: CheckedAnswer


def answer(
    problem: Problem, form: LinearForm, solver: str, gap: float, deadline: Deadline, known: Known | None = None
) -> Answer:
    """Solve a form of the problem with a backend or `auto`, and check what comes out."""
    if len(form.budgets) and solver in (AUTO, DUAL):
        return _certified(problem, form, gap, deadline, known, fallback=solver == AUTO)
    relaxation = relax_anywhere(form, deadline.left_s)
    name = SEPARABLE if solver in (AUTO, DUAL) else solver
    if relaxation.infeasible:
        return Answer(name, relaxation, CheckedAnswer(Status.INFEASIBLE, None, -math.inf))
    # Half of the gap is the solver's; the other half is room for its rounding.
    gap_abs = 0.5 * gap * abs(relaxation.bound + form.offset) if math.isfinite(relaxation.bound) else 0.0

    def run(current: LinearForm) -> RawAnswer:
        left = deadline.left_s
        if left is not None and left <= 0:
            return RawAnswer(Status.UNKNOWN, None)
        if name == SEPARABLE:
            return _separable(current)
        return solve_anywhere(name, current, gap_abs, left)

    return Answer(name, relaxation, solve_checked(problem, form, run, name))


def _separable(form: LinearForm) -> RawAnswer:
    choice = np.where(form.allowed, form.cost, np.inf).argmin(axis=1)
    return RawAnswer(Status.OPTIMAL, choice, form.cost_of(choice))


def _certified(
    problem: Problem, form: LinearForm, gap: float, deadline: Deadline, known: Known | None, *, fallback: bool
) -> Answer:
    """Our own solver; where the exact search is too much, and with `fallback`, HiGHS on what it leaves open."""
    relaxations: list[Relaxation] = []
    names = [DUAL]

    def run(current: LinearForm) -> RawAnswer:
        if known is not None and ortools_loads():
            relaxation, raw = known.certify(current, gap, deadline.left_s)
        else:
            relaxation, raw = certify_anywhere(current, gap, deadline.left_s)
        relaxations.append(relaxation)
        if raw.status in (Status.OPTIMAL, Status.INFEASIBLE) or not fallback:
            return raw
        other = _fall_back(current, relaxation, raw, gap, deadline.left_s)
        if other is None:
            return raw
        names.append(FALLBACK)
        return other

    checked = solve_checked(problem, form, run, DUAL)
    return Answer(" and ".join(dict.fromkeys(names)), relaxations[0], checked)


def _fall_back(
    form: LinearForm, relaxation: Relaxation, raw: RawAnswer, gap: float, left_s: float | None
) -> RawAnswer | None:
    """A general solver on the cells that may be in a better selection than `raw`; None where that is hopeless."""
    if relaxation.best is None or (left_s is not None and left_s <= 0):
        return None
    cost = math.inf if raw.choice is None else form.cost_of(raw.choice)
    open_ = left_open(form, relaxation.best, cost - relaxation.bound)
    if int(open_.allowed[open_.allowed.sum(axis=1) > 1].sum()) > MOST_OPEN_CELLS:
        return None
    other = solve_anywhere(FALLBACK, open_, gap_of(form, relaxation, gap), FALLBACK_S if left_s is None else left_s)
    if raw.choice is None and other.choice is None:
        return RawAnswer(other.status, None, raw.bound)
    if other.status is Status.INFEASIBLE:
        # What we have is within the budgets, and is not believed to be impossible.
        return raw
    bound = max(raw.bound, other.bound)
    if other.choice is not None and form.cost_of(other.choice) < cost:
        return RawAnswer(other.status, other.choice, bound)
    return RawAnswer(Status.FEASIBLE, raw.choice, min(bound, cost))
