"""Many budgets on one table: the form is made once, and each search for prices starts from all planes known so far."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from rdp.errors import SpecError
from rdp.selection.answering import Deadline, Known
from rdp.selection.backends import AUTO
from rdp.selection.linear import linear_form
from rdp.selection.problem import Problem
from rdp.selection.result import DEFAULT_GAP, Selection
from rdp.selection.solver.dual import Dual
from rdp.selection.solving import solve_prepared, solve_problem


def with_budgets(problem: Problem, budgets: Sequence[float]) -> Problem:
    """The same problem with other budgets, one for each of its constraints, in their order and units."""
    if len(budgets) != len(problem.constraints):
        raise SpecError(f"{len(problem.constraints)} budgets are needed, one for each constraint; got {len(budgets)}")
    constraints = tuple(replace(c, budget=float(b)) for c, b in zip(problem.constraints, budgets, strict=True))
    return replace(problem, constraints=constraints)


def solve_many(
    problem: Problem, budgets: Iterable[Sequence[float]], *, gap: float = DEFAULT_GAP, time_limit: float | None = None
) -> Iterator[Selection]:
    """A selection for every row of budgets, in order; `time_limit` in seconds is each one's.

    Budgets that follow each other should be near each other. An infeasible one comes without an explanation of its
    budgets, which would take longer than the sweep.
    """
    plain = problem.max_points is None and problem.constraints and bool(problem.allowed.any(axis=1).all())
    if not plain:
        for row in budgets:
            yield solve_problem(with_budgets(problem, row), gap=gap, time_limit=time_limit)
        return
    form = linear_form(problem, every_row=True)
    known = Known(Dual(form))
    signs = [1.0 if constraint.sense == "at_most" else -1.0 for constraint in problem.constraints]
    for row in budgets:
        stated = with_budgets(problem, row)
        current = form.for_budgets([sign * c.budget for sign, c in zip(signs, stated.constraints, strict=True)])
        yield solve_prepared(stated, current, AUTO, gap, Deadline.of(time_limit), known, explain=False)
