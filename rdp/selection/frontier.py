"""`frontier`: one problem solved along a sweep of one or two of its averaged budgets.

curve = frontier(run, minimize="mse", sweep={"bpp": "0.1..0.6..0.01"})
curve.to_pandas()                      # a row a point, the infeasible ones included
frontier(run, minimize="mse", sweep="bpp", auto=20)  # twenty points where the curve bends
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rdp.errors import SpecError, TableError, suggest
from rdp.selection.builder import state_problem
from rdp.selection.frontier_grid import MOST_BUDGETS, Sweep, Sweeps, read_sweeps, snake
from rdp.selection.frontier_shape import dominated_points, on_lower_hull
from rdp.selection.frontier_walk import Walk, restated, walk_automatically
from rdp.selection.problem import Constraint, FloatArray, Problem
from rdp.selection.result import Selection
from rdp.selection.statement import Sense, Statement, Weighting
from rdp.selection.status import Status
from rdp.tables import read_table

if TYPE_CHECKING:
    import pandas as pd

FRONTIER_GAP = 1e-6
"""Relative distance from the bound that is enough for a point of a frontier."""


@dataclass(frozen=True, eq=False)
class FrontierPoint:
    """One point: the swept budgets (K,), and what the selection within them is.

    `number` counts the rows of the table from 1. `objective`, `bound` and `gap` are those of the selection, `lp_bound`
    is the optimum of the linear relaxation, where known. `averages` maps every numeric column to its average, `prices`
    and `slacks` every budget (named as in `Selection.prices`), `counts` every point that some image takes to their
    number; all empty without a selection. `dominated`: another point of the frontier is no worse in the objective and
    in the swept averages, and better in one of them. `on_hull`: no mixture of points is better, either. `selection` is
    kept on request.
    """

    number: int
    budgets: tuple[float, ...]
    status: Status
    objective: float | None
    bound: float | None
    gap: float | None
    lp_bound: float | None
    averages: Mapping[str, float] = field(default_factory=dict)
    prices: Mapping[str, float | None] = field(default_factory=dict)
    slacks: Mapping[str, float | None] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    dominated: bool = False
    on_hull: bool = False
    selection: Selection | None = field(default=None, repr=False)

    @property
    def found(self) -> bool:
        """Whether there is a selection within these budgets, and it was found."""
        return self.objective is not None


@dataclass(frozen=True, eq=False)
class Frontier:
    """What `frontier` returns.

    `problem` is the one that was solved, the swept budgets at their loosest; `points` are in the order of the budgets,
    those of the first sweep changing slowest; with `auto`, `sweeps` holds the budgets that were placed.
    """

    problem: Problem
    sweeps: tuple[Sweep, ...]
    points: tuple[FrontierPoint, ...]
    gap: float
    auto: int | None = None
    warnings: tuple[str, ...] = ()
    elapsed_s: float = 0.0

    @property
    def found(self) -> tuple[FrontierPoint, ...]:
        """The points that have a selection."""
        return tuple(point for point in self.points if point.found)

    @property
    def swept(self) -> tuple[str, ...]:
        """Names of the swept columns."""
        return tuple(sweep.column for sweep in self.sweeps)

    @property
    def fixed(self) -> tuple[Constraint, ...]:
        """The budgets that are the same at every point."""
        mine = {(sweep.column, sweep.sense) for sweep in self.sweeps}
        return tuple(c for c in self.problem.constraints if (c.term.column, c.sense) not in mine)

    def to_pandas(self) -> pd.DataFrame:
        """A row a point; the columns are described in `rdp.selection.frontier_document`."""
        from rdp.selection.frontier_document import frontier_frame

        return frontier_frame(self)

    def counts_frame(self) -> pd.DataFrame:
        """A row for each frontier point and operating point that it uses: `number`, `point`, `images`."""
        from rdp.selection.frontier_document import counts_frame

        return counts_frame(self)

    def to_dict(self) -> dict[str, Any]:
        """The JSON document that `rdp.selection.frontier_document` describes."""
        from rdp.selection.frontier_document import frontier_document

        return frontier_document(self)


def frontier(
    source: Any,
    *,
    minimize: str | None = None,
    maximize: str | None = None,
    sweep: Sweeps | None = None,
    senses: Mapping[str, Sense] | None = None,
    auto: int | None = None,
    at_most: Mapping[str, float] | None = None,
    at_least: Mapping[str, float] | None = None,
    weights: Mapping[str, Weighting] | None = None,
    each_at_most: Mapping[str, float] | None = None,
    each_at_least: Mapping[str, float] | None = None,
    points: Sequence[str] | None = None,
    fix: Mapping[str, str] | Sequence[str] | None = None,
    forbid: Sequence[tuple[str, str] | str] | None = None,
    cap: Mapping[str, float] | None = None,
    columns: Mapping[str, str] | None = None,
    gap: float = FRONTIER_GAP,
    time_limit: float | None = None,
    keep_selections: bool = True,
) -> Frontier:
    """Solve for every budget of a sweep, or every pair of budgets of two.

    `sweep` maps one or two columns to budgets of their averages: `"0.1..0.6..0.01"` (the end included), `"0.1|0.2"`, or
    a list of numbers. They are at most where lower is better and at least where higher is, unless `senses` says
    otherwise. With `auto`, so many points of one sweep are placed where the curve bends, in a range such as
    `"0.1..0.6"`, or in all that is attainable (`sweep="bpp"`). `gap` and `time_limit` (seconds) are those of each
    point; `keep_selections=False` saves the memory of the selections themselves. Everything else is as in `rdp.solve`.
    A `Problem` as `source` brings its own objective, budgets and points.

    Points without a selection stay in the result with their status. Raises `SpecError` and `TableError` for what cannot
    be solved as stated, and `InfeasibleError` where `auto` finds nothing attainable at all.
    """
    started = time.perf_counter()
    if auto is not None and (isinstance(auto, bool) or not isinstance(auto, int) or not 2 <= auto <= MOST_BUDGETS):
        raise SpecError(f"auto is a number of points from 2 to {MOST_BUDGETS}, not {auto!r}")
    sweeps = read_sweeps(sweep, senses, auto is not None)
    words = {
        "minimize": minimize,
        "maximize": maximize,
        "at_most": at_most,
        "at_least": at_least,
        "weights": weights,
        "each_at_most": each_at_most,
        "each_at_least": each_at_least,
        "points": points,
        "fix": fix,
        "forbid": forbid,
        "cap": cap,
        "columns": columns,
    }
    problem = _problem_of(source, words, sweeps)
    walk = Walk(problem, sweeps, gap, time_limit)
    warnings: tuple[str, ...] = ()
    if auto is None:
        walk.solve([tuple(s.values[k] for s, k in zip(sweeps, at, strict=True)) for at in snake(_sizes(sweeps))])
    else:
        warnings = walk_automatically(walk, auto)
        placed = tuple(sorted(budgets[0] for budgets in walk.selections))
        sweeps = (replace(sweeps[0], values=placed),)
    template = restated(problem, sweeps, tuple(s.loosest for s in sweeps))
    made = _frontier_points(problem, sweeps, walk.selections, keep_selections)
    warnings = (*problem.warnings, *warnings)
    return Frontier(template, sweeps, made, gap, auto, warnings, time.perf_counter() - started)


def _problem_of(source: Any, words: Mapping[str, Any], sweeps: tuple[Sweep, ...]) -> Problem:
    """The problem with a constraint for every sweep, whose budget is still to be set."""
    if isinstance(source, Problem):
        given = [name for name, value in words.items() if value is not None]
        if given:
            raise SpecError(f"a Problem brings its own words; leave out {', '.join(given)}, or give the table instead")
        _check_swept(source.objective.column, source.statement.at_most, source.statement.at_least, sweeps)
        return _with_sweeps(source, sweeps)
    statement = Statement.of(**words)
    _check_swept(statement.objective, statement.at_most, statement.at_least, sweeps)
    bounds: dict[Sense, dict[str, float]] = {"at_most": dict(statement.at_most), "at_least": dict(statement.at_least)}
    for one in sweeps:
        bounds[one.sense][one.column] = one.loosest if one.values else 0.0
    swept = Statement.of(**{**words, "at_most": bounds["at_most"], "at_least": bounds["at_least"]})
    return state_problem(read_table(source, words["columns"]), swept)


def _check_swept(
    objective: str, at_most: Mapping[str, float], at_least: Mapping[str, float], sweeps: tuple[Sweep, ...]
) -> None:
    for sweep in sweeps:
        if sweep.column == objective:
            raise SpecError(f"{objective!r} is optimised, so its budget is not swept; sweep another column")
        fixed = at_most if sweep.sense == "at_most" else at_least
        if sweep.column in fixed:
            raise SpecError(
                f"{sweep.column!r} is swept and bounded on the same side ({sweep.sense} {fixed[sweep.column]:g}); "
                "leave the bound out, the sweep sets it"
            )


def _with_sweeps(problem: Problem, sweeps: tuple[Sweep, ...]) -> Problem:
    """A `Problem` of the user's with the constraints of the sweeps added, in canonical order."""
    constraints = list(problem.constraints)
    terms = problem.terms
    for sweep in sweeps:
        if sweep.column not in terms:
            known = tuple(terms)
            raise TableError(
                f"there is no column {sweep.column!r} to sweep.{suggest(sweep.column, known)} There are: "
                f"{', '.join(known)}"
            )
        term = terms[sweep.column]
        wrong = np.argwhere(problem.allowed & ~np.isfinite(term.values))
        if len(wrong):
            image, point = wrong[0]
            raise TableError(
                f"{sweep.column} of {problem.labels[image]!r} at {problem.points[point]!r} is "
                f"{term.values[image, point]}; mark the cell as not allowed"
            )
        constraints.append(Constraint(term, sweep.sense, 0.0))
    used = {problem.objective.column, *(constraint.term.column for constraint in constraints)}
    return replace(
        problem,
        constraints=tuple(sorted(constraints, key=lambda c: (c.term.column, c.sense, c.budget))),
        columns={name: term for name, term in problem.columns.items() if name not in used},
    )


def _sizes(sweeps: Sequence[Sweep]) -> list[int]:
    return [len(sweep.values) for sweep in sweeps]


def _frontier_points(
    problem: Problem, sweeps: tuple[Sweep, ...], solved: Mapping[tuple[float, ...], Selection], keep: bool
) -> tuple[FrontierPoint, ...]:
    ordered = sorted(solved.items())
    found = [k for k, (_, selection) in enumerate(ordered) if selection.found]
    values = np.array([_costs(problem, sweeps, ordered[k][1]) for k in found]).reshape(len(found), len(sweeps) + 1)
    dominated, hull = np.zeros(len(ordered), np.bool_), np.zeros(len(ordered), np.bool_)
    if found:
        dominated[found], hull[found] = dominated_points(values), on_lower_hull(values)
    return tuple(
        _frontier_point(k + 1, budgets, selection, bool(dominated[k]), bool(hull[k]), keep)
        for k, (budgets, selection) in enumerate(ordered)
    )


def _costs(problem: Problem, sweeps: Sequence[Sweep], selection: Selection) -> FloatArray:
    """Swept averages and objective (K + 1,), turned so that less is better."""
    signs = [1.0 if sweep.sense == "at_most" else -1.0 for sweep in sweeps]
    signs.append(1.0 if problem.goal == "minimize" else -1.0)
    names = [*(sweep.column for sweep in sweeps), problem.objective.column]
    return np.array([sign * selection.averages[name] for sign, name in zip(signs, names, strict=True)])


def _frontier_point(
    number: int, budgets: tuple[float, ...], selection: Selection, dominated: bool, hull: bool, keep: bool
) -> FrontierPoint:
    slacks = dict(zip(selection.prices, (budget.slack for budget in selection.budgets), strict=True))
    return FrontierPoint(
        number=number,
        budgets=budgets,
        status=selection.status,
        objective=selection.objective,
        bound=selection.bound,
        gap=selection.gap,
        lp_bound=getattr(selection, "lp_bound", None),
        averages=dict(selection.averages),
        prices=dict(selection.prices),
        slacks=slacks,
        counts={point: count for point, count in selection.counts().items() if count} if selection.found else {},
        dominated=dominated,
        on_hull=hull,
        selection=selection if keep else None,
    )
