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

SHOWN = 5
"""Images that are named one by one."""


def images_without_point(problem: Problem) -> list[int]:
    """Numbers of the images that have no allowed point."""
    return np.flatnonzero(~problem.allowed.any(axis=1)).tolist()


def explain_images(problem: Problem, empty: list[int]) -> str:
    """For images whose bounds, fixed or forbidden points leave nothing: which, and what would."""
    lines = [
        f"no selection: {len(empty)} of {len(problem.images)} images have no point left within the bounds on each image"
        " and the fixed and forbidden points"
    ]
    lines += [f"  {problem.labels[image]}: {_image_reason(problem, image)}" for image in empty[:SHOWN]]
    if len(empty) > SHOWN:
        lines.append(f"  and {len(empty) - SHOWN} more")
    for bound in problem.image_bounds:
        values = np.where(problem.present, bound.values, np.inf if bound.sense == "at_most" else -np.inf)
        best = values.min(axis=1) if bound.sense == "at_most" else values.max(axis=1)
        needed = float(best.max() if bound.sense == "at_most" else best.min())
        if (needed > bound.bound) if bound.sense == "at_most" else (needed < bound.bound):
            option = f"--each-{bound.sense.replace('_', '-')}"
            lines.append(
                f"{option} {bound.column}={safe(needed, bound.sense)} would be met by some point of every image"
            )
    return "\n".join(lines)


def _image_reason(problem: Problem, image: int) -> str:
    reasons = []
    present = problem.present[image]
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
        reasons.append(
            f"it is fixed to {fixed[problem.labels[image]]!r}, which is left out, forbidden or out of bounds"
        )
    return "; ".join(reasons) or "no point meets all of its bounds together and is not forbidden"


def explain_budgets(problem: Problem, solve: Callable[[Problem], CheckedAnswer]) -> str:
    """For budgets that cannot be met: the least attainable average of each, alone and with the other budgets kept.

    `solve` solves the problems that this asks along the way: one constraint as the objective, the others kept.
    """
    lines = ["no selection meets all budgets together" if len(problem.constraints) > 1 else "no selection"]
    unreachable = [c for c in problem.constraints if not _reachable(problem, c)]
    if unreachable:
        lines = ["no selection: " + " and ".join(c.name for c in unreachable) + " cannot be met by any"]
    for constraint in problem.constraints:
        lines.append(f"  {constraint.name}: {_attainable(problem, constraint, solve, unreachable)}")
    return "\n".join(lines)


def best_alone(problem: Problem, constraint: Constraint) -> IntArray:
    """The choice (N,) that meets one constraint best, whatever the others say."""
    values, _ = signed(constraint)
    return np.asarray(np.where(problem.allowed, values, np.inf).argmin(axis=1))


def _reachable(problem: Problem, constraint: Constraint) -> bool:
    return excess_of(constraint, best_alone(problem, constraint)) <= 0


def _attainable(
    problem: Problem,
    constraint: Constraint,
    solve: Callable[[Problem], CheckedAnswer],
    unreachable: list[Constraint],
) -> str:
    word = "least" if constraint.sense == "at_most" else "largest"
    option = f"--{constraint.sense.replace('_', '-')} {constraint.term.column}="
    alone = constraint.term.average(best_alone(problem, constraint))
    text = f"the {word} attainable average is {safe(alone, constraint.sense)} alone"
    others = tuple(c for c in problem.constraints if c is not constraint)
    if not others:
        return f"{text}; the nearest feasible budget is {option}{safe(alone, constraint.sense)}"
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
