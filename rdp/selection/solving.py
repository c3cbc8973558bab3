"""`solve`: from a table and the user's words to a checked selection."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rdp.errors import SpecError
from rdp.selection.answering import Deadline, Known, answer
from rdp.selection.assemble import found, nothing
from rdp.selection.backends import AUTO, DUAL, require_solver
from rdp.selection.backends.isolated import relax_anywhere
from rdp.selection.builder import state_problem
from rdp.selection.check import CheckedAnswer
from rdp.selection.explaining.explain import explain_budgets, explain_images, images_without_point
from rdp.selection.explaining.explanation import Explanation
from rdp.selection.large import NAME, is_large, solve_large
from rdp.selection.linear import LinearForm, linear_form
from rdp.selection.point_limit import LimitedAnswer, restricted, solve_with_point_limit
from rdp.selection.problem import Problem
from rdp.selection.result import DEFAULT_GAP, Selection
from rdp.selection.statement import Statement, Weighting
from rdp.selection.status import Status
from rdp.tables import read_table

EXPLANATION_GAP = 1e-6
EXPLANATION_S = 2.0
"""An explanation shows six digits, and each problem that it asks for does not take longer than this."""


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
    group_at_most: Mapping[str, float] | None = None,
    group_at_least: Mapping[str, float] | None = None,
    groups: str | Mapping[str, str] = "dataset",
    max_points: int | None = None,
    side_info: bool = False,
    decoder_info: bool = True,
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
    as. `group_at_most` and `group_at_least` bound the average of every group of images; `groups` is the column that
    names an image's group, or a map from images to groups. At most `max_points` distinct points are chosen in all, and
    with `side_info` the bits that name an image's point are part of its rate. Where points share a file and differ in
    the decoder, the bits that name the decoder are (`rdp.selection.decoder_cost`), unless `decoder_info` is False.
    Distances of sets (fid, kid, swd) are no columns: `rdp.solve_set` optimises them from the pictures of a run folder.
    `solver` is `auto` or a name of `rdp.selection.BACKENDS`, `gap` the relative distance from the best that is good
    enough, `time_limit` in seconds.

    Returns also when there is no selection: read `status`, `explanation`; reading `chosen` then raises.
    Raises `TableError` and `SpecError` for what cannot be solved as stated, and `SolverError` when the solver fails.
    """
    check_options(solver, gap, time_limit)
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
        group_at_most=group_at_most,
        group_at_least=group_at_least,
        groups=groups,
        max_points=max_points,
        side_info=side_info,
        decoder_info=decoder_info,
        columns=columns,
    )
    problem = state_problem(read_table(source, columns), statement)
    return solve_problem(problem, solver=solver, gap=gap, time_limit=time_limit)


def check_options(solver: str, gap: float, time_limit: float | None) -> None:
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
    check_options(solver, gap, time_limit)
    deadline = Deadline.of(time_limit)
    empty = images_without_point(problem)
    if empty:
        return nothing(problem, Status.INFEASIBLE, solver, explain_images(problem, empty), deadline.elapsed_s)
    if problem.max_points is not None and problem.max_points < int(problem.allowed.any(axis=0).sum()):
        return _limited(problem, solver, gap, deadline)
    if solver in (AUTO, DUAL) and is_large(problem):
        selection = solve_large(problem, gap, deadline)
        if selection is not None:
            return selection
        if deadline.left_s == 0:
            text = f"no selection was found within {deadline.limit_s:g} s, and no proof that there is none"
            return nothing(problem, Status.UNKNOWN, NAME, text, deadline.elapsed_s)
    return solve_prepared(problem, linear_form(problem), solver, gap, deadline)


def solve_prepared(
    problem: Problem,
    form: LinearForm,
    solver: str,
    gap: float,
    deadline: Deadline,
    known: Known | None = None,
    *,
    explain: bool = True,
) -> Selection:
    """Solve a problem whose form is made already; `explain`: say why, where there is no selection."""
    given = answer(problem, form, solver, gap, deadline, known)
    checked = given.checked
    if checked.choice is not None:
        return found(problem, form, given.relaxation, checked, given.solver, gap, deadline.elapsed_s)
    if checked.status is Status.INFEASIBLE:
        text, details = "no selection meets the budgets", None
        if explain:
            details = _explanation(problem, gap, deadline)
            text = details.text
        return nothing(
            problem, Status.INFEASIBLE, given.solver, text, deadline.elapsed_s, checked.notes, details=details
        )
    within = f" within {deadline.elapsed_s:.0f} s" if deadline.limit_s is None else f" within {deadline.limit_s:g} s"
    more = "widen the narrowest budget, try another solver, or set a longer time limit"
    text = f"{given.solver} found no selection{within}, and no proof that there is none; {more}"
    return nothing(
        problem, Status.UNKNOWN, given.solver, text, deadline.elapsed_s, checked.notes, given.relaxation, form
    )


def _limited(problem: Problem, solver: str, gap: float, deadline: Deadline) -> Selection:
    """At most `problem.max_points` points; the prices are those of the problem of the points that were chosen."""
    names: list[str] = []

    def inner(other: Problem, left: float | None) -> LimitedAnswer:
        if images_without_point(other):
            return LimitedAnswer(Status.INFEASIBLE, None, math.inf)
        form = linear_form(other)
        given = answer(other, form, solver, gap, Deadline.of(left))
        names.append(given.solver)
        checked = given.checked
        bound = form.offset + max(checked.bound, given.relaxation.bound)
        infeasible = checked.status is Status.INFEASIBLE
        return LimitedAnswer(checked.status, checked.choice, math.inf if infeasible else bound, checked.notes)

    limited = solve_with_point_limit(problem, inner, gap=gap, time_limit=deadline.left_s)
    name = names[0] if names else solver
    if limited.choice is not None:
        form = linear_form(restricted(problem, np.unique(limited.choice)))
        # Its prices are of interest, its bound is none for the whole.
        relaxation = replace(relax_anywhere(form, deadline.left_s), bound=-math.inf, split=None)
        checked = CheckedAnswer(limited.status, limited.choice, limited.bound - form.offset, limited.notes)
        return found(problem, form, relaxation, checked, name, gap, deadline.elapsed_s)
    text, details = limited.explanation, None
    if limited.status is Status.INFEASIBLE and not text:
        details = _explanation(replace(problem, max_points=None), gap, deadline)
        text = details.text
    text = text or "no selection was found within the time limit, and no proof that there is none; allow more time"
    return nothing(problem, limited.status, name, text, deadline.elapsed_s, limited.notes, details=details)


def _explanation(problem: Problem, gap: float, deadline: Deadline) -> Explanation:
    """Why budgets cannot be met; the problems that this asks are solved to the digits that it shows."""

    def solve_other(other: Problem) -> CheckedAnswer:
        left = deadline.left_s
        own = Deadline.of(EXPLANATION_S if left is None else min(left, EXPLANATION_S))
        return answer(other, linear_form(other), AUTO, max(gap, EXPLANATION_GAP), own).checked

    return explain_budgets(problem, solve_other, time_limit=deadline.left_s)
