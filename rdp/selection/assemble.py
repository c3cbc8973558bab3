"""A `Selection` from a checked answer: objective, bound, averages, budgets and prices, in the user's units."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from rdp.selection.check import CheckedAnswer
from rdp.selection.explaining.explanation import Explanation
from rdp.selection.linear import LinearForm
from rdp.selection.price_words import price_sentence
from rdp.selection.problem import FloatArray, IntArray, Problem, Term, weighted_mean
from rdp.selection.result import Budget, Selection, make_budget, reaches
from rdp.selection.solver.dual import Relaxation
from rdp.selection.status import Status


def _prices(problem: Problem, form: LinearForm, relaxation: Relaxation) -> list[float | None]:
    """One price a constraint of the problem; constraints that every selection meets are worth nothing."""
    if relaxation.prices is None:
        return [0.0 if k not in form.rows else None for k in range(len(problem.constraints))]
    prices: list[float | None] = [0.0] * len(problem.constraints)
    for row, price in zip(form.rows, relaxation.prices.tolist(), strict=True):
        prices[row] = price
    return prices


def _budgets(
    problem: Problem, choice: IntArray | None, prices: Sequence[float | None], picked: Picked | None = None
) -> tuple[Budget, ...]:
    return tuple(
        make_budget(
            constraint,
            choice,
            price,
            price_sentence(problem, constraint, price),
            None if picked is None else picked.of(constraint.term),
        )
        for constraint, price in zip(problem.constraints, prices, strict=True)
    )


class Picked:
    """The values of columns at a choice, each looked up once: terms share columns, and a million take milliseconds."""

    def __init__(self, choice: IntArray) -> None:
        self.choice = choice
        self._values: dict[int, FloatArray] = {}

    def of(self, term: Term) -> FloatArray:
        """The values (N,) of the term's column."""
        key = id(term.values)
        if key not in self._values:
            self._values[key] = term.picked(self.choice)
        return self._values[key]


def found(
    problem: Problem,
    form: LinearForm,
    relaxation: Relaxation,
    answer: CheckedAnswer,
    name: str,
    gap: float,
    elapsed_s: float,
) -> Selection:
    """The selection of an answer that has a choice; `gap` decides whether it counts as optimal."""
    choice = answer.choice
    if choice is None:
        raise ValueError("there is no choice")
    sign = 1.0 if problem.goal == "minimize" else -1.0
    objective = problem.objective.average(choice)
    bound = _settled_bound(sign * objective, form, max(answer.bound, relaxation.bound), answer.status, problem)
    lp_bound = form.offset + relaxation.bound
    return assembled(
        problem,
        choice,
        bound=bound,
        lp_bound=lp_bound if math.isfinite(lp_bound) else None,
        split=relaxation.split,
        prices=_prices(problem, form, relaxation),
        solver=name,
        gap=gap,
        elapsed_s=elapsed_s,
        notes=(*answer.notes, *([relaxation.note] if relaxation.note else [])),
    )


def assembled(
    problem: Problem,
    choice: IntArray,
    *,
    bound: float | None,
    lp_bound: float | None,
    split: int | None,
    prices: Sequence[float | None],
    solver: str,
    gap: float,
    elapsed_s: float,
    notes: tuple[str, ...] = (),
) -> Selection:
    """The selection of a choice (N,) that was checked. The bounds are of the minimised objective, sign included."""
    sign = 1.0 if problem.goal == "minimize" else -1.0
    picked = Picked(choice)
    averages = {column: weighted_mean(picked.of(term), term.weights) for column, term in problem.terms.items()}
    objective = averages[problem.objective.column]
    if bound is not None:
        # No bound is above the objective of a selection that exists.
        bound = sign * min(bound, sign * objective)
    proven = reaches(objective, bound, gap)
    return Selection(
        problem=problem,
        status=Status.OPTIMAL if proven else Status.FEASIBLE,
        solver=solver,
        choice=choice,
        objective=objective,
        bound=bound,
        lp_bound=None if lp_bound is None else sign * lp_bound,
        split_images=split,
        budgets=_budgets(problem, choice, prices, picked),
        averages=averages,
        warnings=(*problem.warnings, *notes),
        elapsed_s=elapsed_s,
        allowed_gap=gap,
    )


def _settled_bound(
    objective: float, form: LinearForm, cost_bound: float, status: Status, problem: Problem
) -> float | None:
    """The bound of the (minimised) objective from one of the cost; None when nothing is known.

    Adding the offset rounds. A solver's proof is not lost to that: a bound that misses the objective by no more than
    the rounding of the sums counts as met. And no bound is above the objective of a selection that exists.
    """
    if not math.isfinite(cost_bound):
        return None
    bound = form.offset + cost_bound
    size: FloatArray = np.where(problem.allowed, np.abs(problem.objective.values), 0.0).max(axis=1)
    weights = problem.objective.weights
    rounding = 1e-14 * float((weights * size).sum() / weights.sum())
    if bound > objective or (status is Status.OPTIMAL and objective - bound <= rounding):
        return objective
    return bound


def nothing(
    problem: Problem,
    status: Status,
    name: str,
    explanation: str,
    elapsed_s: float,
    notes: tuple[str, ...] = (),
    relaxation: Relaxation | None = None,
    form: LinearForm | None = None,
    details: Explanation | None = None,
) -> Selection:
    """What is returned where there is no selection: the bound and prices, where there is a relaxation, and why."""
    sign = 1.0 if problem.goal == "minimize" else -1.0
    prices: list[float | None] = [None] * len(problem.constraints)
    bound = None
    if relaxation is not None and form is not None:
        prices = _prices(problem, form, relaxation)
        bound = sign * (form.offset + relaxation.bound) if math.isfinite(relaxation.bound) else None
    return Selection(
        problem=problem,
        status=status,
        solver=name,
        choice=None,
        objective=None,
        bound=bound,
        budgets=_budgets(problem, None, prices),
        explanation=explanation,
        details=details,
        warnings=(*problem.warnings, *notes),
        elapsed_s=elapsed_s,
    )
