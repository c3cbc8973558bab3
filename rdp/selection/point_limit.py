"""At most K distinct points in the whole solution: which K, and then which of them for each image.

A receiver that must hold K models, or a sender that keeps K encoders. The set of points is searched by branch and bound
(`rdp.selection.point_search`) under bounds that hold for all selections (`rdp.selection.point_prices`); a set that may
hold a better selection is handed to a solver as a problem of its own. So the answer is proven like any other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from time import perf_counter

import numpy as np

from rdp.errors import SolverError, SpecError
from rdp.selection.linear import signed
from rdp.selection.point_prices import Cells, make_cells
from rdp.selection.point_search import PointSearch, exchange
from rdp.selection.problem import BoolArray, FloatArray, IntArray, Problem
from rdp.selection.result import DEFAULT_GAP, SMALLEST_OBJECTIVE, Selection, reaches
from rdp.selection.status import Status
from rdp.selection.words import counted

FIRST_TARGET = 0.5
"""Where bounds are raised to before there is a selection: this part of the range of all costs together."""
BEYOND_BUDGETS = 0.01
"""A bound this far above 0, of budgets alone and in units of their ranges, proves a set of points infeasible."""
FIRST_SHARE = 0.5
"""Of the time, for the first selection: what is left goes into proving that no other set of points is better."""
ROUNDS = 10
PRICE_STEPS = 80
EXPLANATION_S = 10.0


@dataclass(frozen=True, eq=False)
class LimitedAnswer:
    """What is known of a problem: `choice` (N,) or None, and a `bound` that no selection is below.

    `bound` is of the objective's average, with its sign turned where it is maximised; -inf where nothing is known.
    `explanation` says why there is no selection because of the limit; it is empty where there is none without it.
    """

    status: Status
    choice: IntArray | None
    bound: float = -math.inf
    notes: tuple[str, ...] = ()
    explanation: str = ""


Solve = Callable[[Problem, float | None], LimitedAnswer]
"""Solves a problem without a limit on the points, in so many seconds (None: as long as it takes)."""


def answer_of(selection: Selection) -> LimitedAnswer:
    """What a selection knows, as `Solve` returns it."""
    sign = 1.0 if selection.problem.goal == "minimize" else -1.0
    bound = -math.inf if selection.bound is None else sign * selection.bound
    if selection.status is Status.INFEASIBLE:
        bound = math.inf
    notes = tuple(note for note in selection.warnings if note not in selection.problem.warnings)
    return LimitedAnswer(selection.status, selection.choice, bound, notes)


def solve_with_point_limit(
    problem: Problem, solve: Solve, *, gap: float = DEFAULT_GAP, time_limit: float | None = None
) -> LimitedAnswer:
    """The best selection that uses at most `problem.max_points` distinct points.

    `solve` is given problems whose `allowed` has only some of the points and that have no limit; it should solve them
    to the relative `gap`. `time_limit` in seconds is for all of it. Every image needs an allowed point. Deterministic
    but for the time limit. Raises `SpecError` for a problem without a limit, and whatever `solve` raises.
    """
    limit = problem.max_points
    if limit is None:
        raise SpecError("the problem has no limit on its points: set max_points")
    ends = math.inf if time_limit is None else perf_counter() + time_limit
    points = useful_points(problem)
    if len(points) <= limit:
        return solve(restricted(problem, points), time_limit)
    answer = _Search(problem, solve, limit, points, gap, ends).best()
    if answer.status is not Status.INFEASIBLE:
        return answer
    return replace(answer, explanation=_explanation(problem, solve, limit, points, ends))


def useful_points(problem: Problem) -> IntArray:
    """Points that some image may take, without those that another point replaces everywhere at no loss.

    That other point is allowed wherever the one is, and no worse there in the objective and in every bounded column;
    of equal points the first is left.
    """
    allowed = problem.allowed
    sign = 1.0 if problem.goal == "minimize" else -1.0
    columns = {(id(c.term.values), c.sense): signed(c)[0] for c in problem.constraints}
    values = [sign * problem.objective.values, *columns.values()]
    left = np.flatnonzero(allowed.any(axis=0)).tolist()
    for point in list(left):
        rows = allowed[:, point]
        mine = [one[rows, point] for one in values]
        for rival in left:
            if rival == point or not allowed[rows, rival].all():
                continue
            theirs = [one[rows, rival] for one in values]
            if not all((a <= b).all() for a, b in zip(theirs, mine, strict=True)):
                continue
            same = rows.sum() == allowed[:, rival].sum() and all(
                (a == b).all() for a, b in zip(theirs, mine, strict=True)
            )
            if not same or rival < point:
                left.remove(point)
                break
    return np.array(left, dtype=np.int64)


def points_in_use(choice: IntArray) -> int:
    """How many distinct points a choice (N,) uses."""
    return len(np.unique(choice))


def restricted(problem: Problem, points: IntArray) -> Problem:
    """The problem with only these points (their numbers) to choose among, and no limit."""
    mask = np.zeros(problem.shape[1], dtype=np.bool_)
    mask[points] = True
    return replace(problem, allowed=problem.allowed & mask, max_points=None)


def _only_points(allowed: BoolArray) -> IntArray:
    """Points that are the only one of some image: every set needs them."""
    return np.asarray(np.unique(allowed[allowed.sum(axis=1) == 1].argmax(axis=1))).astype(np.int64)


@dataclass(eq=False)
class _Search:
    """One search: the best selection so far and what was said on the way. Numbers of points are those of `points`."""

    problem: Problem
    solve: Solve
    limit: int
    points: IntArray
    gap: float
    ends: float
    choice: IntArray | None = None
    value: float = math.inf
    unknown: bool = False
    notes: list[str] = field(default_factory=list)
    _seen: dict[tuple[int, ...], float] = field(default_factory=dict)

    def best(self) -> LimitedAnswer:
        """The best selection, or that there is none."""
        must = _only_points(self.problem.allowed[:, self.points])
        if len(must) > self.limit:
            return LimitedAnswer(Status.INFEASIBLE, None, math.inf)
        cells = make_cells(self.problem, self.points)
        least, prices = self._start(cells, must)
        if self.choice is None and not self._find(cells, must):
            return self._nothing(cells, least)
        search = PointSearch(cells, self.limit, must, self._target(cells), self.ends)
        search.start(prices, self._numbers())
        for bound, members in search.candidates(lambda: False):
            search.settle(max(bound, cells.scaled(self._look(members, cells.objective(bound)))))
            search.target = min(search.target, self._target(cells))
        # One evaluation of the bound over all points is not much, but never worse than nothing.
        bound = min(max(cells.objective(search.bound), cells.objective(least)), self.value)
        status = Status.OPTIMAL if reaches(self.value, bound, self.gap) else Status.FEASIBLE
        return LimitedAnswer(status, self.choice, bound, tuple(self.notes))

    def exists(self) -> Status:
        """Whether there is any selection: FEASIBLE, INFEASIBLE or UNKNOWN."""
        must = _only_points(self.problem.allowed[:, self.points])
        if len(must) > self.limit:
            return Status.INFEASIBLE
        cells = make_cells(self.problem, self.points)
        least, _ = self._start(cells, must)
        found = self.choice is not None or self._find(cells, must)
        return Status.FEASIBLE if found else self._nothing(cells, least).status

    def _start(self, cells: Cells, must: IntArray) -> tuple[float, FloatArray]:
        """A first selection, if it is found easily. Returns the bound over all points and prices to begin with.

        The set that is best at the prices of the last set, round and round: an infeasible set has ever higher prices,
        so that the next one keeps to the budgets better.
        """
        everything = np.arange(len(self.points))[None]
        bounds, at = cells.raised(np.zeros(cells.rows), everything, FIRST_TARGET, PRICE_STEPS, self.ends)
        least, prices = float(bounds[0]), at[0]
        tried: dict[tuple[int, ...], tuple[float, FloatArray]] = {}
        for _ in range(ROUNDS):
            chosen = exchange(cells, prices, self.limit, must)
            key = tuple(chosen.tolist())
            if key in tried or perf_counter() > self.ends:
                break
            bounds, at = cells.raised(prices, chosen[None], max(FIRST_TARGET, 1.0 + least), PRICE_STEPS, self.ends)
            tried[key], prices = (float(bounds[0]), at[0]), at[0]
        for key, (bound, own) in sorted(tried.items(), key=lambda item: (item[1][0], item[0])):
            if bound < 1.0:
                self._look(np.array(key), cells.objective(bound), FIRST_SHARE)
                if self.choice is not None:
                    return least, own
        return least, prices

    def _find(self, cells: Cells, must: IntArray) -> bool:
        """Look for any selection in the sets of points that may hold one by the budgets alone."""
        search = PointSearch(cells.without_cost(), self.limit, must, BEYOND_BUDGETS, self.ends)
        prices = np.ones(cells.rows)
        search.start(prices, exchange(search.cells, prices, self.limit, must))
        for _, members in search.candidates(lambda: True):
            self._look(members, -math.inf)
            if self.choice is not None:
                return True
        self.unknown = self.unknown or perf_counter() >= self.ends
        return False

    def _look(self, members: IntArray, bound: float, share: float = 1.0) -> float:
        """Solve the problem of these points alone, in a `share` of the time. Returns what no selection is below.

        What was not proven in its time is solved again when it is looked into again.
        """
        key = tuple(self.points[members].tolist())
        if key in self._seen:
            return self._seen[key]
        left = None if math.isinf(self.ends) else max(share * (self.ends - perf_counter()), 0.0)
        if left == 0.0:
            self.unknown = True
            return bound
        answer = self.solve(restricted(self.problem, self.points[members]), left)
        self.notes += [note for note in answer.notes if note not in self.notes]
        if answer.status is Status.INFEASIBLE:
            self._seen[key] = math.inf
            return math.inf
        bound = max(bound, answer.bound)
        if answer.choice is None:
            self.unknown = True
            return bound
        if points_in_use(answer.choice) > self.limit:
            raise SolverError("the solver took points that it was not given: a bug in rdp")
        sign = 1.0 if self.problem.goal == "minimize" else -1.0
        value = sign * self.problem.objective.average(answer.choice)
        if value < self.value:
            self.value, self.choice = value, answer.choice
        if answer.status is Status.OPTIMAL:
            self._seen[key] = min(bound, value)
        return min(bound, value)

    def _target(self, cells: Cells) -> float:
        """A set whose bound reaches this holds nothing that is better by more than half of the gap."""
        return cells.scaled(self.value - 0.5 * self.gap * max(abs(self.value), SMALLEST_OBJECTIVE))

    def _numbers(self) -> IntArray:
        """The points in use, as numbers among `points`."""
        if self.choice is None:
            raise SolverError("there is no selection yet")
        return np.searchsorted(self.points, np.unique(self.choice)).astype(np.int64)

    def _nothing(self, cells: Cells, least: float) -> LimitedAnswer:
        if self.unknown:
            return LimitedAnswer(Status.UNKNOWN, None, cells.objective(least), tuple(self.notes))
        return LimitedAnswer(Status.INFEASIBLE, None, math.inf, tuple(self.notes))


def _explanation(problem: Problem, solve: Solve, limit: int, points: IntArray, ends: float) -> str:
    """Why no selection keeps to the limit, and with how many points there is one; empty where there is none at all."""
    ends = min(ends, perf_counter() + EXPLANATION_S)
    whole = solve(restricted(problem, points), max(ends - perf_counter(), 1e-3))
    if whole.status is Status.INFEASIBLE:
        return ""
    budgets = " within the budgets" if problem.constraints else ""
    text = f"no selection: no {counted(limit, 'point')} can serve every image{budgets}"
    must = _only_points(problem.allowed[:, points])
    if len(must) > limit:
        text += f" (each of {len(must)} points is the only one that some image may take)"
    if whole.choice is None:
        return f"{text}; allow more with --max-points"
    enough, least = points_in_use(whole.choice), max(limit + 1, len(must))
    while least < enough and perf_counter() < ends:
        found = _Search(problem, solve, least, points, 1.0, ends).exists()
        if found is Status.FEASIBLE:
            enough = least
        elif found is Status.INFEASIBLE:
            least += 1
        else:
            break
    perhaps = "" if least >= enough else ", and perhaps with fewer"
    return f"{text}; with {counted(enough, 'point')} (--max-points {enough}) there is a selection{perhaps}"
