"""Many budgets on one table: each problem starts where the last one ended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from rdp.selection.problem import Problem
from rdp.selection.result import DEFAULT_GAP, Selection
from rdp.selection.solving import solve_problem


def with_budgets(problem: Problem, budgets: Sequence[float]) -> Problem:
    """The same problem with other budgets, one for each of its constraints, in their order and units."""
    constraints = tuple(replace(c, budget=float(b)) for c, b in zip(problem.constraints, budgets, strict=True))
    return replace(problem, constraints=constraints)


def solve_many(
    problem: Problem, budgets: Iterable[Sequence[float]], *, gap: float = DEFAULT_GAP, time_limit: float | None = None
) -> Iterator[Selection]:
    """A selection for every row of budgets, in order; `time_limit` in seconds is each one's.

    An infeasible one comes without an explanation of its budgets (that would cost more than the sweep).
    """
    for row in budgets:
        yield solve_problem(with_budgets(problem, row), gap=gap, time_limit=time_limit)
