"""Why there is no selection, in numbers that a user can act on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from rdp.selection.check import CheckedAnswer, excess_of
from rdp.selection.linear import signed
from rdp.selection.problem import Constraint, Goal, IntArray, Problem
from rdp.selection.status import Status
from rdp.selection.words import counted

SHOWN = 5
"""Images that are named one by one."""


def images_without_point(problem: Problem) -> list[int]:
    """Numbers of the images that have no allowed point."""
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


def explain_budgets(problem: Problem, solve: Callable[[Problem], CheckedAnswer]) -> str:
    """For budgets that cannot be met: the least attainable average of each, alone and with the other budgets kept.

    `solve` solves the problems that this asks along the way: one constraint as the objective, the others kept.
    """
    lines = ["no selection meets all budgets together" if len(problem.constraints) > 1 else "no selection"]
    unreachable = [c for c in problem.constraints if not _reachable(problem, c)]
    if unreachable:
        lines = ["no selection: " + " and ".join(c.name for c in unreachable) + " cannot be met by any"]
        if any(_reachable(problem, c, bounded=False) for c in unreachable):
            lines = [f"{lines[0]} within the bounds on each image"]
    for constraint in problem.constraints:
        lines.append(f"  {constraint.name}: {_attainable(problem, constraint, solve, unreachable)}")
    return "\n".join(lines)


def best_alone(problem: Problem, constraint: Constraint, *, bounded: bool = True) -> IntArray:
    """The choice (N,) that meets one constraint best, whatever the others say; `bounded`: within the image bounds."""
    values, _ = signed(constraint)
    cells = problem.allowed if bounded or problem.choosable is None else problem.choosable
    return np.asarray(np.where(cells, values, np.inf).argmin(axis=1))


def _reachable(problem: Problem, constraint: Constraint, *, bounded: bool = True) -> bool:
    return excess_of(constraint, best_alone(problem, constraint, bounded=bounded)) <= 0


def _alone(problem: Problem, constraint: Constraint) -> tuple[str, str]:
    """The attainable average of one constraint, and in words what is kept meanwhile."""
    alone = safe(constraint.term.average(best_alone(problem, constraint)), constraint.sense)
    word = "least" if constraint.sense == "at_most" else "largest"
    text = f"the {word} attainable average is {alone} alone"
    if problem.image_bounds:
        wider = safe(constraint.term.average(best_alone(problem, constraint, bounded=False)), constraint.sense)
        without = f" ({wider} without them)" if wider != alone else ""
        text = f"within the bounds on each image {text}{without}"
    return alone, text


def _attainable(
    problem: Problem,
    constraint: Constraint,
    solve: Callable[[Problem], CheckedAnswer],
    unreachable: list[Constraint],
) -> str:
    option = f"--{constraint.sense.replace('_', '-')} {constraint.term.column}="
    alone, text = _alone(problem, constraint)
    others = tuple(c for c in problem.constraints if c is not constraint)
    if not others:
        return f"{text}; the nearest feasible budget is {option}{alone}"
    if any(c is not constraint for c in unreachable):
        return f"{text}; with the other budgets kept there is no selection at all"
    goal: Goal = "minimize" if constraint.sense == "at_most" else "maximize"
    answer = solve(replace(problem, objective=constraint.term, goal=goal, constraints=others))
    if answer.choice is None:
        if answer.status is Status.INFEASIBLE:
            return f"{text}; with the other budgets kept there is no selection at all"
        return f"{text}; what it is with the other budgets kept was not found within the time limit"
    given = constraint.term.average(answer.choice)
    proven = "" if answer.status is Status.OPTIMAL else " (found within the time limit; perhaps not the nearest)"
    return (
        f"{text}, and {safe(given, constraint.sense)} with the other budgets kept: "
        f"the nearest feasible budget is {option}{safe(given, constraint.sense)}{proven}"
    )


def safe(value: float, sense: str) -> str:
    """Six significant digits, rounded to the side on which a budget copied from the text is feasible."""
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - 5)
    text = f"{value:.6g}"
    short = (float(text) < value) if sense == "at_most" else (float(text) > value)
    if short:
        text = f"{float(text) + (unit if sense == 'at_most' else -unit):.6g}"
    return text
