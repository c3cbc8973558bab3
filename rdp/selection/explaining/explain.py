"""Why there is no selection, in numbers that a user can act on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np

from rdp.selection.explaining.binding import binding_images, binding_rows
from rdp.selection.explaining.explanation import SHOWN, Attainable, Explanation, Known, constraint_name, safe
from rdp.selection.explaining.nearest import Relaxed, Solve, nearest_budgets
from rdp.selection.explaining.phase_one import Row
from rdp.selection.linear import allowance
from rdp.selection.problem import BoolArray, Constraint, Goal, Problem, weighted_mean
from rdp.selection.status import Status
from rdp.selection.words import counted

LONGEST_S = 10.0
"""Seconds after which no problem is begun where there is no limit. The nearest budgets get half of the time."""


def images_without_point(problem: Problem) -> list[int]:
    """Numbers of the images that have no allowed point."""
    if problem.allowed.all():
        return []
    return np.flatnonzero(~problem.allowed.any(axis=1)).tolist()


def explain_images(problem: Problem, empty: list[int]) -> str:
    """For images whose bounds, fixed or forbidden points leave nothing: which, and what would."""
    have = "has" if len(empty) == 1 and len(problem.images) == 1 else "have"
    lines = [
        f"no selection: {len(empty)} of {counted(len(problem.images), 'image')} {have} no point left"
        f" {_because_of(problem)}"
    ]
    lines += [f"  {problem.labels[image]}: {_image_reason(problem, image)}" for image in empty[:SHOWN]]
    if len(empty) > SHOWN:
        lines.append(f"  and {len(empty) - SHOWN} more")
    # What would help must also be free of what is forbidden; where everything is, no bound helps.
    free = problem.present if problem.choosable is None else problem.choosable
    for bound in problem.image_bounds if free.any(axis=1).all() else ():
        values = np.where(free, bound.values, np.inf if bound.sense == "at_most" else -np.inf)
        best = values.min(axis=1) if bound.sense == "at_most" else values.max(axis=1)
        needed = float(best.max() if bound.sense == "at_most" else best.min())
        if (needed > bound.bound) if bound.sense == "at_most" else (needed < bound.bound):
            option = f"--each-{bound.sense.replace('_', '-')}"
            lines.append(
                f"{option} {bound.column}={safe(needed, bound.sense)} would be met by some point of every image"
            )
    return "\n".join(lines)


def _because_of(problem: Problem) -> str:
    """`within the bounds on each image`, `beside the fixed and forbidden points`, or both: as far as there are some."""
    words = [word for word, said in (("fixed", problem.statement.fix), ("forbidden", problem.statement.forbid)) if said]
    beside = f"beside the {' and '.join(words)} points" if words else ""
    within = "within the bounds on each image" if problem.image_bounds else ""
    return " and ".join(part for part in (within, beside) if part) or "to choose"


def _image_reason(problem: Problem, image: int) -> str:
    reasons = []
    present = problem.present[image]
    free = problem.allowed[image] if problem.choosable is None else problem.choosable[image]
    for bound in problem.image_bounds:
        if (bound.met()[image] & present).any():
            continue
        word = "least" if bound.sense == "at_most" else "largest"
        reasons.append(
            f"its {word} {bound.column} is {safe(bound.least(image, present), bound.sense)}, and "
            f"{'at most' if bound.sense == 'at_most' else 'at least'} {bound.bound:g} is asked for"
        )
    fixed = problem.statement.fix
    if isinstance(fixed, dict) and problem.labels[image] in fixed:
        return "; ".join([*reasons, _fixed_reason(problem, image, fixed[problem.labels[image]], bool(free.any()))])
    if not free.any():
        return "all of its points are forbidden"
    forbidden = " and is not forbidden" if problem.statement.forbid else ""
    return "; ".join(reasons) or f"no point meets all of its bounds together{forbidden}"


def _fixed_reason(problem: Problem, image: int, point: str, free: bool) -> str:
    if free:
        return f"it is fixed to {point!r}, which is out of bounds"
    present = bool(problem.present[image, problem.points.index(point)])
    return f"it is fixed to {point!r}, which is {'forbidden' if present else 'left out: its row is not complete'}"


def explain_budgets(problem: Problem, solve: Solve, *, time_limit: float | None = None) -> Explanation:
    """For budgets that cannot be met: what can, how near, and which images bind.

    `solve` solves the problems that this asks along the way: one constraint as the objective, the others kept, and
    budgets relaxed. After `time_limit` seconds (`LONGEST_S` without one) none is begun. Every image must have an
    allowed point. Raises `SolverError` when a selection meets the budgets after all.
    """
    started = perf_counter()
    limit = LONGEST_S if time_limit is None else time_limit
    ends, soon = started + limit, started + 0.5 * limit
    relaxed = nearest_budgets(problem, solve, soon)
    constraints = _attainable(problem, relaxed, solve, ends)
    # Only where the prices forbid the budgets is there something to blame images for.
    blamed = relaxed.bound > 0
    whole = relaxed.mixtures and all(constraint.reachable for constraint in constraints)
    return Explanation(
        constraints=constraints,
        nearest=relaxed.nearest,
        images=binding_images(problem, relaxed.phase, relaxed.prices) if blamed else (),
        binding=tuple(binding_rows(relaxed.prices)) if blamed else (),
        within=_within(problem),
        notes=(*relaxed.notes, *((_whole(problem),) if whole else ())),
    )


def _within(problem: Problem) -> str:
    """What every selection keeps to beside the budgets, in words."""
    words = ["within the bounds on each image"] if problem.image_bounds else []
    most = problem.max_points
    return " and ".join([*words, *([f"with at most {counted(most, 'different point')}"] if most is not None else [])])


def _whole(problem: Problem) -> str:
    most = problem.max_points
    if most is not None:
        return f"with more than {counted(most, 'different point')}, mixtures of points would meet the budgets"
    return "mixtures of points would meet the budgets: it is only that every image takes one whole point"


@dataclass(frozen=True)
class _Alone:
    """The best average of one constraint whatever the others say; None when it is not known."""

    average: float | None
    status: Known
    reachable: bool
    without_bounds: float | None = None


def _attainable(problem: Problem, relaxed: Relaxed, solve: Solve, ends: float) -> tuple[Attainable, ...]:
    """Every constraint alone, and those that are furthest from their budgets also with the others kept."""
    alone = [_alone(problem, constraint, solve, ends) for constraint in problem.constraints]
    rows = relaxed.phase.rows
    over = [_relative(row, one.average) for row, one in zip(rows, alone, strict=True)]
    order = sorted(range(len(rows)), key=lambda k: (-max(over[k], 0.0), -float(relaxed.prices[k]), k))
    asked = set(order[:SHOWN])
    unreachable = {k for k, one in enumerate(alone) if not one.reachable}
    out = []
    for k, (row, one) in enumerate(zip(rows, alone, strict=True)):
        given, status = one.average, one.status
        if len(rows) > 1:
            given, status = None, Known.NOT_ASKED
            if unreachable - {k}:
                status = Known.IMPOSSIBLE
            elif k in asked:
                given, status = _given_others(problem, row.constraint, solve, ends)
        near = one.average if given is None else given
        out.append(
            Attainable(
                name=constraint_name(row.constraint, [one.average, given, *_same_column(problem, row.constraint)]),
                column=row.constraint.term.column,
                sense=row.constraint.sense,
                group=row.constraint.group,
                budget=row.constraint.budget,
                price=float(relaxed.prices[k]),
                alone=one.average,
                alone_status=one.status,
                given_others=given,
                status=status,
                reachable=one.reachable,
                without_bounds=one.without_bounds,
                relative=None if row.by_range or near is None else max(_relative(row, near), 0.0),
            )
        )
    return tuple(out)


def _same_column(problem: Problem, constraint: Constraint) -> list[float]:
    """The other budgets of the same column."""
    column = constraint.term.column
    return [c.budget for c in problem.constraints if c.term.column == column and c is not constraint]


def _relative(row: Row, average: float | None) -> float:
    """(average - budget) / scale, turned so that more is further; 0 for what is not known."""
    if average is None:
        return 0.0
    over = average - row.constraint.budget
    return (over if row.constraint.sense == "at_most" else -over) / row.scale


def _alone(problem: Problem, constraint: Constraint, solve: Solve, ends: float) -> _Alone:
    if problem.max_points is not None:
        average, status = _solved(problem, constraint, (), solve, ends)
        over = None if average is None else (average - constraint.budget) * (1 if constraint.sense == "at_most" else -1)
        room = allowance(constraint.budget, np.array([average or 0.0]), np.ones(1))
        return _Alone(average, status, over is None or over <= room or status is not Known.PROVEN)
    average, reachable = _best(constraint, problem.allowed)
    wider = None
    if problem.choosable is not None:
        free, _ = _best(constraint, problem.choosable)
        wider = free if safe(free, constraint.sense) != safe(average, constraint.sense) else None
    return _Alone(average, Known.PROVEN, reachable, wider)


def _best(constraint: Constraint, cells: BoolArray) -> tuple[float, bool]:
    """The best average of a constraint among the `cells` (N, M), and whether it is within the budget."""
    images = np.flatnonzero(constraint.term.weights > 0)
    values, weights = constraint.term.values[images], constraint.term.weights[images]
    if constraint.sense == "at_most":
        picked = np.where(cells[images], values, np.inf).min(axis=1)
    else:
        picked = np.where(cells[images], values, -np.inf).max(axis=1)
    average = weighted_mean(picked, weights)
    over = average - constraint.budget if constraint.sense == "at_most" else constraint.budget - average
    return average, over <= allowance(constraint.budget, picked, weights)


def _given_others(problem: Problem, constraint: Constraint, solve: Solve, ends: float) -> tuple[float | None, Known]:
    others = tuple(c for c in problem.constraints if c is not constraint)
    return _solved(problem, constraint, others, solve, ends)


def _solved(
    problem: Problem, constraint: Constraint, others: tuple[Constraint, ...], solve: Solve, ends: float
) -> tuple[float | None, Known]:
    """The best average of a constraint with others kept, and what is known of it."""
    if perf_counter() >= ends:
        return None, Known.UNKNOWN
    goal: Goal = "minimize" if constraint.sense == "at_most" else "maximize"
    answer = solve(replace(problem, objective=constraint.term, goal=goal, constraints=others))
    if answer.choice is None:
        return None, Known.IMPOSSIBLE if answer.status is Status.INFEASIBLE else Known.UNKNOWN
    return constraint.term.average(answer.choice), Known.PROVEN if answer.status is Status.OPTIMAL else Known.FOUND
