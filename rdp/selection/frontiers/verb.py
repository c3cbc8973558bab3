"""`frontier`: one problem solved along a sweep of one or two of its averaged budgets.

    curve = frontier(run, minimize="mse", sweep={"bpp": "0.1..0.6..0.01"})
    curve.to_pandas()                                    # a row a point, the infeasible ones included
    frontier(run, minimize="mse", sweep="bpp", auto=20)  # twenty points where the curve bends

The selections themselves come from `rdp.selection.sweeping`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rdp.errors import SpecError
from rdp.selection.backends import AUTO
from rdp.selection.frontiers.grid import MOST_BUDGETS, Sweep, Sweeps, read_sweeps, snake
from rdp.selection.frontiers.point import FrontierPoint, is_of, restated
from rdp.selection.frontiers.problem import described_columns, swept_problem
from rdp.selection.frontiers.shape import dominated_points
from rdp.selection.frontiers.walk import Walk, walk_automatically
from rdp.selection.frontiers.whereabouts import costs_of, on_hull
from rdp.selection.problem import Constraint, Problem
from rdp.selection.solving import check_options
from rdp.selection.statement import Sense, Weighting

if TYPE_CHECKING:
    import pandas as pd

FRONTIER_GAP = 1e-6
"""Relative distance from the bound that is enough for a point of a frontier."""


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
        return tuple(c for c in self.problem.constraints if not any(is_of(c, sweep) for sweep in self.sweeps))

    def to_pandas(self) -> pd.DataFrame:
        """A row a point; the columns are described in `rdp.selection.frontiers.document`."""
        from rdp.selection.frontiers.document import frontier_frame

        return frontier_frame(self)

    def counts_frame(self) -> pd.DataFrame:
        """A row for each frontier point and operating point that it uses: `number`, `point`, `images`."""
        from rdp.selection.frontiers.document import counts_frame

        return counts_frame(self)

    def to_dict(self) -> dict[str, Any]:
        """The JSON document that `rdp.selection.frontiers.document` describes."""
        from rdp.selection.frontiers.document import frontier_document

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
    group_at_most: Mapping[str, float] | None = None,
    group_at_least: Mapping[str, float] | None = None,
    groups: str | Mapping[str, str] | None = None,
    max_points: int | None = None,
    side_info: bool = False,
    decoder_info: bool = True,
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
    check_options(AUTO, gap, time_limit)
    described = described_columns(source, sweep, senses, columns)
    sweeps = read_sweeps(sweep, senses, auto is not None, described)
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
        "group_at_most": group_at_most,
        "group_at_least": group_at_least,
        "groups": groups,
        "max_points": max_points,
        "side_info": side_info or None,
        "decoder_info": None if decoder_info is True else decoder_info,
    }
    said = {name: value for name, value in words.items() if value is not None}
    problem = swept_problem(source, said, sweeps)
    walk = Walk(problem, sweeps, gap, time_limit, keep_selections)
    warnings: tuple[str, ...] = ()
    if auto is None:
        walk.solve([tuple(s.values[k] for s, k in zip(sweeps, at, strict=True)) for at in snake(_sizes(sweeps))])
    else:
        warnings = walk_automatically(walk, auto)
        placed = tuple(sorted(budgets[0] for budgets in walk.points))
        sweeps = (replace(sweeps[0], values=placed),)
    template = restated(problem, sweeps, tuple(s.loosest for s in sweeps))
    made = _finished(problem, sweeps, list(walk.points.values()), time_limit)
    warnings = (*problem.warnings, *warnings)
    return Frontier(template, sweeps, made, gap, auto, warnings, time.perf_counter() - started)


def _sizes(sweeps: Sequence[Sweep]) -> list[int]:
    return [len(sweep.values) for sweep in sweeps]


def _finished(
    problem: Problem, sweeps: tuple[Sweep, ...], points: Sequence[FrontierPoint], time_limit: float | None
) -> tuple[FrontierPoint, ...]:
    """The points in the order of their budgets, with their numbers, and what beats which."""
    ordered = sorted(points, key=lambda point: point.budgets)
    found = [k for k, point in enumerate(ordered) if point.found]
    dominated, hull = np.zeros(len(ordered), np.bool_), np.zeros(len(ordered), np.bool_)
    if found:
        selected = [ordered[k] for k in found]
        values = costs_of(problem, sweeps, selected)
        dominated[found] = dominated_points(values)
        hull[found] = on_hull(problem, sweeps, selected, values, time_limit)
    return tuple(
        replace(point, number=k + 1, dominated=bool(dominated[k]), on_hull=bool(hull[k]))
        for k, point in enumerate(ordered)
    )
