"""What a frontier is drawn over and measured in, and the single operating points that it is held against.

The axes of a frontier's curve are its rate and what the rate is spent on. Where nothing of it is a rate, they are the
swept column and the objective. Of two sweeps, the curve is the part of the surface on which the other budget is at its
loosest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rdp.columns import Direction
from rdp.report.averages import BY_PIXELS, PSNR_OF_MEAN_MSE, Average
from rdp.report.names import curves
from rdp.selection.check import excess_of
from rdp.selection.decoder_cost import DecoderCost
from rdp.selection.frontiers.grid import Sweep
from rdp.selection.frontiers.point import FrontierPoint, is_of
from rdp.selection.frontiers.shape import dominated_points
from rdp.selection.frontiers.verb import Frontier
from rdp.selection.named_once import named_once
from rdp.selection.problem import BoolArray, Constraint
from rdp.selection.single_points import eligible_points

RATES = ("bpp", "bpp_estimated", "bpp_fixed_law", "nbytes")


@dataclass(frozen=True)
class SingleCurve:
    """Single operating points, each used for every image: a codec family, or one of its lines (`names.curves`).

    `points` are their names, `xs` and `ys` the averages on the frontier's axes.
    """

    label: str
    family: str
    points: tuple[str, ...]
    xs: tuple[float, ...]
    ys: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class MainCurve:
    """A frontier as one curve: its axes, the points that lie on it, and what other sweep is held where.

    `x_column` and `y_column` are columns of the problem; `held` is the sweep that the curve does not run along, and
    `kept` are all budgets that are the same along it. `is_rate` says whether `x` is a rate.
    """

    x: Average
    y: Average
    x_column: str
    y_column: str
    is_rate: bool
    points: tuple[FrontierPoint, ...]
    kept: tuple[Constraint, ...] = ()
    held: Sweep | None = None
    held_axis: Average | None = None


def main_curve(frontier: Frontier) -> MainCurve:
    """The curve of a frontier; only points that have a selection."""
    problem, sweeps = frontier.problem, frontier.sweeps
    objective = problem.objective.column
    rate = rate_of((*frontier.swept, objective))
    place = frontier.swept.index(rate) if rate in frontier.swept else 0
    x_column, y_column = frontier.swept[place], objective
    if rate == objective:
        x_column, y_column = objective, frontier.swept[0]
    held = next((sweep for sweep in sweeps if sweep is not sweeps[place]), None)
    points, kept = frontier.found, list(frontier.fixed)
    if held is not None:
        kept += [constraint for constraint in problem.constraints if is_of(constraint, held)]
        points = tuple(point for point in points if point.budgets[1 - place] == held.loosest)
    return MainCurve(
        axis_of(frontier, x_column),
        axis_of(frontier, y_column),
        x_column,
        y_column,
        rate is not None,
        points,
        tuple(kept),
        held,
        None if held is None else axis_of(frontier, held.column),
    )


def rate_of(columns: Sequence[str]) -> str | None:
    """The column that is a rate."""
    return next((name for name in RATES if name in columns), None)


def axis_of(frontier: Frontier, column: str) -> Average:
    """The weighted mean of a column as the problem takes it, with its title, unit and better side."""
    known, weighting = frontier.problem.describe(column), frontier.problem.terms[column].weighting
    title = known.label or column
    average = Average(
        column, column, title, known.unit, f"mean of {column} over images", direction_of(frontier, column)
    )
    if weighting == "images":
        return average
    suffix = "total bits / total pixels" if column == "bpp" else "mean over pixels"
    return replace(average, key=column + BY_PIXELS, title=f"{title}, {suffix}", weighting="pixels", meaning=suffix)


def quality_axis(axis: Average) -> Average:
    """The axis of a Bjontegaard delta: the PSNR of the mean MSE for an average MSE, any other average as it is."""
    if axis.column != "mse":
        return axis
    suffix = ", mean over pixels" if axis.weighting == "pixels" else ""
    return replace(
        axis,
        key=PSNR_OF_MEAN_MSE + (BY_PIXELS if suffix else ""),
        title=f"PSNR of mean MSE{suffix}",
        unit="dB",
        meaning="10 log10(255^2 / mean of mse): not the mean of the images' PSNR",
        direction="higher",
        transform="psnr",
    )


def direction_of(frontier: Frontier, column: str) -> Direction | None:
    """Which way is better: by the column, else by what the frontier asks for."""
    known = frontier.problem.describe(column).direction
    if known is not None:
        return known
    problem = frontier.problem
    if column == problem.objective.column:
        return "lower" if problem.goal == "minimize" else "higher"
    sense = next((constraint.sense for constraint in problem.constraints if constraint.term.column == column), None)
    return None if sense is None else "lower" if sense == "at_most" else "higher"


def single_curves(frontier: Frontier, main: MainCurve) -> tuple[list[SingleCurve], list[str]]:
    """The curves of the single points that every image may take, within the budgets that the curve keeps, and notes."""
    problem = frontier.problem
    # A point that all images are at needs no bits for its decoder.
    once = named_once(problem) if isinstance(problem.naming, DecoderCost) else problem
    numbers, choices, left_out = eligible_points(problem, once)
    judged = [once if (choice == number).all() else problem for number, choice in zip(numbers, choices, strict=True)]
    kept = [k for k, constraint in enumerate(problem.constraints) if any(constraint is one for one in main.kept)]
    within = [
        k
        for k, choice in enumerate(choices)
        if all(excess_of(judged[k].constraints[place], choice) <= 0 for place in kept)
    ]
    notes = []
    if left_out:
        notes.append(
            f"{len(left_out)} of {len(problem.points)} operating points may not be used for every image: they are not "
            "compared as single points."
        )
    if problem.index_cost is not None:
        notes.append("The rates of single points include the side information, too.")
    elif problem.naming is not None:
        notes.append("The rates of single points have no bits that name a decoder: all images have the same one.")
    if len(within) < len(numbers):
        budgets = " and ".join(constraint.name for constraint in main.kept)
        notes.append(f"{len(numbers) - len(within)} single points that do not keep {budgets} are not compared.")
    place = {problem.points[numbers[k]]: (judged[k].terms, choices[k]) for k in within}
    out = []
    for curve in curves(list(place)):
        on = [place[point] for point in curve.points]
        xs = [terms[main.x_column].average(choice) for terms, choice in on]
        ys = [terms[main.y_column].average(choice) for terms, choice in on]
        out.append(SingleCurve(curve.label, curve.family, curve.points, tuple(xs), tuple(ys)))
    return out, notes


def not_beaten(xs: Sequence[float], ys: Sequence[float], x: Average, y: Average) -> BoolArray:
    """Which points (n,) no other one beats on these axes, of equal ones the first, and none that is not finite."""
    signs = np.array([-1.0 if axis.direction == "higher" else 1.0 for axis in (x, y)])
    values = np.stack([np.asarray(xs, dtype=np.float64), np.asarray(ys, dtype=np.float64)], axis=1) * signs
    good = np.isfinite(values).all(axis=1)
    out = np.zeros(len(values), dtype=np.bool_)
    first = np.zeros(len(values), dtype=np.bool_)
    first[np.unique(np.where(np.isfinite(values), values, math.inf), axis=0, return_index=True)[1]] = True
    out[good] = ~dominated_points(values[good])
    return out & first
