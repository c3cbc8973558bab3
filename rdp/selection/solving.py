"""`solve`: from a table and the user's words to a checked selection."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rdp.errors import SpecError
from rdp.selection.assemble import found, nothing
from rdp.selection.backends import AUTO, DUAL, RawAnswer, require_solver
from rdp.selection.backends.isolated import certify_anywhere, relax_anywhere, solve_anywhere
from rdp.selection.builder import state_problem
from rdp.selection.certified import gap_of, left_open
from rdp.selection.check import CheckedAnswer, solve_checked
from rdp.selection.dual import Relaxation
from rdp.selection.explain import explain_budgets, explain_images, images_without_point
from rdp.selection.linear import LinearForm, linear_form
from rdp.selection.problem import Problem
from rdp.selection.result import DEFAULT_GAP, Selection
from rdp.selection.statement import Statement, Weighting
from rdp.selection.status import Status
from rdp.tables import read_table

EXPLANATION_GAP = 1e-6
EXPLANATION_S = 10.0
"""An explanation shows six digits, and does not take longer than this for each budget."""
FALLBACK = "highs"
MOST_OPEN_CELLS = 20_000
"""What HiGHS is asked when the exact search gives up, unless even that is hopeless."""
SEPARABLE = "separable"
"""What `Selection.solver` says when no budget binds and each image simply takes its best point."""


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


def solve(
    source: Any,
    *,
    minimize: str | None = None,
    maximize: str | None = None,
    at_most: Mapping[str, float] | None = None,
    at_least: Mapping[str, float] | None = None,
    weights: Mapping[str, Weighting] | None = None,
    each_at_most: Mapping[str, float] | None = None,
    each_at_least: Mapping[str, float] | None = None,
    points: Sequence[str] | None = None,
    fix: Mapping[str, str] | Sequence[str] | None = None,
    forbid: Sequence[tuple[str, str] | str] | None = None,
    cap: Mapping[str, float] | None = None,
    solver: str = AUTO,
    gap: float = DEFAULT_GAP,
    time_limit: float | None = None,
    columns: Mapping[str, str] | None = None,
) -> Selection:
    """Choose one operating point for every image, provably well.

    `source` is a run, a table, the path of a run folder or of a CSV, Parquet or JSON file, or a DataFrame; `columns`
    maps our column names to the source's. Optimise the average of one column (`minimize` or `maximize`) subject to
    averages (`at_most`, `at_least`: column -> budget) and to bounds that every image keeps (`each_at_most`,
    `each_at_least`). `weights` maps a column to "images" (mean over images, the default) or "pixels" (weighted by
    width * height). `points` are patterns such as `webp:*` and `!png`, in order; `fix` maps an image to its point;
    `forbid` holds (image pattern, point pattern) pairs; `cap` says what larger and infinite values of a column count
    as. `solver` is `auto` or a name of `rdp.selection.BACKENDS`, `gap` the relative distance from the best that is good
    enough, `time_limit` in seconds.

    Returns also when there is no selection: read `status`, `explanation`; reading `chosen` then raises.
    Raises `TableError` and `SpecError` for what cannot be solved as stated, and `SolverError` when the solver fails.
    """
    _check_options(solver, gap, time_limit)
    statement = Statement.of(
        minimize=minimize,
        maximize=maximize,
        at_most=at_most,
        at_least=at_least,
        weights=weights,
        each_at_most=each_at_most,
        each_at_least=each_at_least,
        points=points,
        fix=fix,
        forbid=forbid,
        cap=cap,
        columns=columns,
    )
    problem = state_problem(read_table(source, columns), statement)
    return solve_problem(problem, solver=solver, gap=gap, time_limit=time_limit)


def _check_options(solver: str, gap: float, time_limit: float | None) -> None:
    require_solver(solver)
    if not (isinstance(gap, (int, float)) and math.isfinite(gap) and gap >= 0):
        raise SpecError(f"gap must be a finite number, 0 or more, not {gap!r}")
    if time_limit is not None and not (
        isinstance(time_limit, (int, float)) and math.isfinite(time_limit) and time_limit > 0
    ):
        raise SpecError(f"the time limit must be a finite number of seconds above 0, not {time_limit!r}")


def solve_problem(
    problem: Problem, *, solver: str = AUTO, gap: float = DEFAULT_GAP, time_limit: float | None = None
) -> Selection:
    """Solve a `Problem`; see `solve` for the options and for what is raised."""
    _check_options(solver, gap, time_limit)
    deadline = Deadline.of(time_limit)
    empty = images_without_point(problem)
    if empty:
        return nothing(problem, Status.INFEASIBLE, solver, explain_images(problem, empty), deadline.elapsed_s)
    form = linear_form(problem)
    relaxation, name, answer = _answer(problem, form, solver, gap, deadline)
    if answer.choice is None and answer.status is Status.INFEASIBLE:
        text = explain_budgets(problem, lambda other: _solve_other(other, solver, gap, deadline))
        return nothing(problem, Status.INFEASIBLE, name, text.text, deadline.elapsed_s, answer.notes)
    if answer.choice is None:
        within = "" if time_limit is None else f" within {time_limit:g} s"
        text = f"{name} found no selection{within}, and no proof that there is none; allow more time"
        return nothing(problem, Status.UNKNOWN, name, text, deadline.elapsed_s, answer.notes, relaxation, form)
    return found(problem, form, relaxation, answer, name, gap, deadline.elapsed_s)


def _answer(
    problem: Problem, form: LinearForm, solver: str, gap: float, deadline: Deadline
) -> tuple[Relaxation, str, CheckedAnswer]:
    """The relaxation, who answered, and what."""
    if not len(form.budgets):
        relaxation = relax_anywhere(form, deadline.left_s)
        name = SEPARABLE if solver == AUTO else solver
        return relaxation, name, _answer_of(name, problem, form, relaxation, gap, deadline)
    if solver in (AUTO, DUAL):
        return _certified(problem, form, gap, deadline, fallback=solver == AUTO)
    relaxation = relax_anywhere(form, deadline.left_s)
    return relaxation, solver, _answer_of(solver, problem, form, relaxation, gap, deadline)


def _certified(
    problem: Problem, form: LinearForm, gap: float, deadline: Deadline, *, fallback: bool
) -> tuple[Relaxation, str, CheckedAnswer]:
    """Our own solver; where the exact search is too much, and with `fallback`, HiGHS on what it leaves open."""
    relaxations: list[Relaxation] = []
    names = [DUAL]

    def run(current: LinearForm) -> RawAnswer:
        relaxation, raw = certify_anywhere(current, gap, deadline.left_s)
        relaxations.append(relaxation)
        left = deadline.left_s
        proven = raw.status in (Status.OPTIMAL, Status.INFEASIBLE)
        if proven or not fallback or relaxation.best is None or (left is not None and left <= 0):
            return raw
        cost = math.inf if raw.choice is None else current.cost_of(raw.choice)
        open_ = left_open(current, relaxation.best, cost - relaxation.bound)
        cells = int(open_.allowed[open_.allowed.sum(axis=1) > 1].sum())
        if cells > MOST_OPEN_CELLS:
            return raw
        names.append(FALLBACK)
        other = solve_anywhere(FALLBACK, open_, gap_of(current, relaxation, gap), left)
        bound = max(raw.bound, other.bound)
        if other.choice is not None and current.cost_of(other.choice) < cost:
            return RawAnswer(other.status, other.choice, bound)
        if raw.choice is None:
            return RawAnswer(other.status, None, raw.bound)
        # Nothing better is left open: then what we have is the best.
        settled = other.status is Status.INFEASIBLE
        return RawAnswer(Status.OPTIMAL if settled else Status.FEASIBLE, raw.choice, cost if settled else bound)

    answer = solve_checked(problem, form, run, DUAL)
    return relaxations[0], " and ".join(dict.fromkeys(names)), answer


def _answer_of(
    name: str, problem: Problem, form: LinearForm, relaxation: Relaxation, gap: float, deadline: Deadline
) -> CheckedAnswer:
    if relaxation.infeasible:
        return CheckedAnswer(Status.INFEASIBLE, None, -math.inf)
    # Half of the gap is the solver's; the other half is room for its rounding.
    known = abs(relaxation.bound + form.offset) if math.isfinite(relaxation.bound) else 0.0

    def run(current: LinearForm) -> RawAnswer:
        left = deadline.left_s
        if left is not None and left <= 0:
            return RawAnswer(Status.UNKNOWN, None)
        if name == SEPARABLE:
            return _separable(current)
        return solve_anywhere(name, current, 0.5 * gap * known, left)

    return solve_checked(problem, form, run, name)


def _separable(form: LinearForm) -> RawAnswer:
    choice = np.where(form.allowed, form.cost, np.inf).argmin(axis=1)
    return RawAnswer(Status.OPTIMAL, choice, form.cost_of(choice))


def _solve_other(problem: Problem, solver: str, gap: float, deadline: Deadline) -> CheckedAnswer:
    """One of the problems that an explanation asks for, to the digits that it shows and in bounded time."""
    left = deadline.left_s
    own = Deadline.of(EXPLANATION_S if left is None else min(left, EXPLANATION_S))
    return _answer(problem, linear_form(problem), solver, max(gap, EXPLANATION_GAP), own)[2]
