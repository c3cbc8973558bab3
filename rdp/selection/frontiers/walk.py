"""Solving along a sweep: the budgets that are given, or an automatic sweep's, one round after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from rdp.errors import InfeasibleError
from rdp.selection.frontiers.auto import Sample, next_rooms
from rdp.selection.frontiers.grid import Sweep
from rdp.selection.frontiers.point import FrontierPoint, is_of, make_point, swept_places
from rdp.selection.problem import Goal, Problem
from rdp.selection.result import Selection
from rdp.selection.solving import solve_problem
from rdp.selection.sweeping import solve_many
from rdp.selection.words import counted

_DIGITS = 3
"""Placed budgets are rounded to a thousandth of their range, or a little finer: they are to be read and typed."""


class Walk:
    """The budgets that were solved so far, and the points that they gave."""

    def __init__(
        self, problem: Problem, sweeps: tuple[Sweep, ...], gap: float, time_limit: float | None, keep: bool
    ) -> None:
        self.problem = problem
        self.sweeps = sweeps
        self.gap = gap
        self.time_limit = time_limit
        self.keep = keep
        self.points: dict[tuple[float, ...], FrontierPoint] = {}

    def solve(self, budgets: Sequence[tuple[float, ...]]) -> None:
        """Solve for these swept budgets, in this order: neighbours next to each other."""
        places = swept_places(self.problem, self.sweeps)
        rows = []
        for swept in budgets:
            row = [constraint.budget for constraint in self.problem.constraints]
            for place, value in zip(places, swept, strict=True):
                row[place] = value
            rows.append(row)
        solved = solve_many(self.problem, rows, gap=self.gap, time_limit=self.time_limit)
        for swept, selection in zip(budgets, solved, strict=True):
            self.points[swept] = make_point(selection, self.sweeps, swept, self.keep)


def walk_automatically(walk: Walk, count: int) -> tuple[str, ...]:
    """Solve at most `count` budgets of the walk's one sweep: both ends, then where the curve bends; with warnings.

    Raises `InfeasibleError` when no budget is given and none is attainable.
    """
    sweep = walk.sweeps[0]
    ends, warnings = _ends(walk, sweep)
    walk.solve([(end,) for end in ends])
    while len(walk.points) < count:
        rooms = next_rooms(_samples(walk, sweep), count - len(walk.points))
        budgets = [(budget,) for budget in _tidied(walk, sweep, rooms)]
        if not budgets:
            placed = counted(len(walk.points), "point")
            return (*warnings, f"{placed} placed of {count}: between them there is nothing to find")
        walk.solve(budgets)
    return tuple(warnings)


def _ends(walk: Walk, sweep: Sweep) -> tuple[list[float], list[str]]:
    """The budgets between which points are placed: those given, as far as they are attainable, or all that is."""
    tight = _tightest(walk, sweep)
    if not sweep.values:
        if not tight.found:
            raise InfeasibleError(tight.explanation)
        # Where the budget no longer binds, the curve ends.
        free = solve_problem(_without(walk.problem, sweep), gap=walk.gap, time_limit=walk.time_limit)
        least = tight.averages[sweep.column]
        most = free.averages.get(sweep.column, least)
        return _readable(sweep, least, most), []
    ends = list(sweep.values)
    at = 0 if sweep.sense == "at_most" else 1
    if not tight.found:
        return ends, []
    least = tight.averages[sweep.column]
    if _room(sweep, ends[at]) >= _room(sweep, least) or _room(sweep, least) >= _room(sweep, ends[1 - at]):
        return ends, []
    warning = f"{sweep.column} {sweep.symbol} {ends[at]:g} is not attainable: the sweep begins at {least:.6g}"
    ends[at] = least
    return ends, [warning]


def _readable(sweep: Sweep, least: float, most: float) -> list[float]:
    """Both ends of the attainable range with few digits, a little looser; one where the budget never binds."""
    if _room(sweep, most) <= _room(sweep, least):
        return [least]
    digits, sign = _digits(abs(most - least)), 1.0 if sweep.sense == "at_most" else -1.0
    rounded = [sign * math.ceil(sign * value * 10.0**digits) / 10.0**digits for value in (least, most)]
    return [r if _room(sweep, r) >= _room(sweep, v) else v for r, v in zip(rounded, (least, most), strict=True)]


def _digits(width: float) -> int:
    return _DIGITS - math.floor(math.log10(width))


def _tightest(walk: Walk, sweep: Sweep) -> Selection:
    """The selection with the least attainable average of the swept column (the largest, for at least)."""
    term = walk.problem.terms[sweep.column]
    goal: Goal = "minimize" if sweep.sense == "at_most" else "maximize"
    alone = replace(_without(walk.problem, sweep), objective=term, goal=goal, columns={})
    return solve_problem(alone, gap=walk.gap, time_limit=walk.time_limit)


def _without(problem: Problem, sweep: Sweep) -> Problem:
    """The problem without the swept budget; the column is still reported."""
    left = tuple(c for c in problem.constraints if not is_of(c, sweep))
    return replace(problem, constraints=left, columns={**problem.columns, sweep.column: problem.terms[sweep.column]})


def _room(sweep: Sweep, budget: float) -> float:
    """How much a budget allows: itself for at most, its negative for at least."""
    return budget if sweep.sense == "at_most" else -budget


def _samples(walk: Walk, sweep: Sweep) -> list[Sample]:
    """What was found so far, of the relaxation where all points tell it, else of the selections."""
    sign = 1.0 if walk.problem.goal == "minimize" else -1.0
    found = [point for point in walk.points.values() if point.found]
    relaxed = all(point.lp_bound is not None for point in found)
    samples = []
    for point in found:
        cost, price = point.lp_bound if relaxed else point.objective, point.swept_prices[0]
        if cost is not None:
            slope = None if price is None else -price
            samples.append(Sample(_room(sweep, point.budgets[0]), sign * cost, slope))
    return samples


def _tidied(walk: Walk, sweep: Sweep, rooms: list[float]) -> list[float]:
    """Budgets of few digits for these rooms, none of them solved already; the rooms themselves where that fails."""
    solved = {budgets[0] for budgets in walk.points}
    width = max(solved) - min(solved)
    digits = _digits(width) if width > 0 else 0
    out: list[float] = []
    for room in rooms:
        budget = _room(sweep, room)
        choices = [value for value in (round(budget, digits), budget) if value not in solved and value not in out]
        inside = [value for value in choices if min(solved) < value < max(solved)]
        out += inside[:1]
    return out
