"""What a price means, in words."""

from __future__ import annotations

import math

from rdp.selection.problem import Constraint, Problem


def price_sentence(problem: Problem, constraint: Constraint, price: float | None) -> str:
    """What a price means, in words: `one more 0.01 bpp lowers the average mse by 1.9`."""
    bounded, objective = constraint.term.column, problem.objective.column
    if price is None:
        return f"the price of {bounded} is not known"
    if price == 0:
        same = "" if problem.max_points is None else " with the same points"
        return f"more room in {bounded} would change nothing{same}: it does not bind"
    step = _step(constraint.budget)
    unit = problem.describe(bounded).unit
    unit = f"{step:g} {unit}".strip() if unit != "bit/pixel" else f"{step:g}"
    if unit == "1":
        unit = "unit of"
    amount = f"one more {unit} {bounded}" if constraint.sense == "at_most" else f"{unit} less {bounded} required"
    verb = "lowers" if problem.goal == "minimize" else "raises"
    told = f"{amount} {verb} the average {objective} by {price * step:.2g}"
    # Other points might then be the best ones: what that is worth, no price says.
    return told if problem.max_points is None else f"{told}, with the same points"


def _step(budget: float) -> float:
    """A step that is small beside the budget: a power of ten between 1 % and 10 % of it."""
    if budget == 0:
        return 1.0
    return float(10.0 ** (math.floor(math.log10(abs(budget))) - 1))
