"""Problems in memory that are too large to copy: solved in passes over their arrays."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from rdp.errors import SolverError
from rdp.selection.answering import SEPARABLE, Deadline
from rdp.selection.assemble import assembled
from rdp.selection.check import is_allowed
from rdp.selection.linear import MEAN_TOLERANCE
from rdp.selection.problem import Problem
from rdp.selection.result import Selection
from rdp.selection.solver.blocks import ArraySource
from rdp.selection.solver.passes import BlockAnswer, solve_blocks

LARGE = 6_000_000
"""Numbers in the form beyond which passes over blocks are faster than it, and need much less memory."""
NAME = "dual in passes"
TIGHTENINGS = 3


def is_large(problem: Problem) -> bool:
    """Whether the problem is for `solve_large`."""
    images, points = problem.shape
    if any(constraint.group for constraint in problem.constraints):
        # Prices of many groups cannot be had from a sample; such a problem falls into parts instead.
        return False
    return images * points * (1 + len(problem.constraints)) > LARGE


def solve_large(problem: Problem, gap: float, deadline: Deadline) -> Selection | None:
    """The selection that passes find, checked against the table; None where they find none, or not its prices."""
    if not problem.constraints:
        return _separable(problem, gap, deadline)
    ends = math.inf if deadline.limit_s is None else deadline.started + deadline.limit_s
    bound = -math.inf
    stated = problem
    for _ in range(TIGHTENINGS):
        answer = solve_blocks(ArraySource(stated), gap=gap, ends=ends)
        if stated is problem:
            bound = answer.bound
        if answer.choice is None:
            return None
        if not is_allowed(problem, answer.choice):
            raise SolverError("a point that is not allowed was chosen: a bug in rdp")
        selection = _selection(problem, answer, bound, gap, deadline)
        slacks = [budget.slack or 0.0 for budget in selection.budgets]
        if min(slacks) >= 0:
            return selection
        stated = _tighter(problem, slacks)
    return None


def _separable(problem: Problem, gap: float, deadline: Deadline) -> Selection:
    """Without budgets every image takes its best point."""
    source = ArraySource(problem)
    sign = source.objective.sign
    parts = []
    for block in source.blocks():
        values = block.columns[0] * sign
        parts.append((values if block.allowed is None else np.where(block.allowed, values, np.inf)).argmin(axis=1))
    choice = np.concatenate(parts)
    bound = sign * problem.objective.average(choice)
    return assembled(
        problem,
        choice,
        bound=bound,
        lp_bound=bound,
        split=0,
        prices=[],
        solver=SEPARABLE,
        gap=gap,
        elapsed_s=deadline.elapsed_s,
    )


def _tighter(problem: Problem, slacks: list[float]) -> Problem:
    """Budgets that a selection passed in its last digits, a little narrower."""
    constraints = []
    for constraint, slack in zip(problem.constraints, slacks, strict=True):
        step = MEAN_TOLERANCE * abs(constraint.budget) - 2 * slack if slack < 0 else 0.0
        budget = constraint.budget - step if constraint.sense == "at_most" else constraint.budget + step
        constraints.append(replace(constraint, budget=budget))
    return replace(problem, constraints=tuple(constraints))


def _selection(problem: Problem, answer: BlockAnswer, bound: float, gap: float, deadline: Deadline) -> Selection:
    prices = [None] * len(problem.constraints) if answer.prices is None else answer.prices.tolist()
    if answer.choice is None:
        raise ValueError("there is no choice")
    return assembled(
        problem,
        answer.choice.astype(np.int64),
        bound=bound,
        lp_bound=answer.bound,
        split=answer.split,
        prices=prices,
        solver=NAME,
        gap=gap,
        elapsed_s=deadline.elapsed_s,
        notes=(answer.note,) if answer.note else (),
    )
