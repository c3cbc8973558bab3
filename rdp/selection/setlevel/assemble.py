"""A `SetSelection` from a choice, or from the lack of one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rdp.errors import SolverError
from rdp.selection.answering import Deadline
from rdp.selection.check import excess, is_allowed
from rdp.selection.explaining.explanation import Explanation
from rdp.selection.price_words import price_sentence
from rdp.selection.problem import Constraint, IntArray, Problem, weighted_mean
from rdp.selection.result import Budget, make_budget, reaches
from rdp.selection.setlevel.relaxation import Relaxation
from rdp.selection.setlevel.result import SetSelection, SetValue, Stopped
from rdp.selection.setlevel.stating import missing_term, with_set_columns
from rdp.selection.setlevel.terms import SetProblem
from rdp.selection.status import Status

SOLVER = "relaxation and exchange"
"""What `Selection.solver` says."""


@dataclass(eq=False)
class Outcome:
    """What is known when a solve ends."""

    asked: SetProblem
    gap: float
    seed: int
    deadline: Deadline
    relaxation: Relaxation | None = None
    iterations: int = 0
    looks: int = 0


def assembled(out: Outcome, choice: IntArray, value: float, bound: float | None, stopped: Stopped) -> SetSelection:
    """The selection of a choice (N,), checked against every budget once more. `value` and `bound` are minimised."""
    asked = out.asked
    if not is_allowed(asked.problem, choice) or max(excess(asked.problem, choice), default=0.0) > 0:
        raise SolverError("the exchange ended with a selection that passes a budget: a bug in rdp")
    forms = [one.scorer.at(choice) for one in asked.bounds]
    if any(form > one.room for form, one in zip(forms, asked.bounds, strict=True)):
        raise SolverError(
            "the exchange of a scorer does not agree with its convex form: a set-level budget is passed by the latter"
        )
    status = Status.OPTIMAL if reaches(value, bound, out.gap) else Status.FEASIBLE
    made = _made(out, status, choice, forms)
    terms = {column: weighted_mean(term.picked(choice), term.weights) for column, term in asked.problem.terms.items()}
    terms |= {one.scorer.name: form for one, form in zip(asked.bounds, forms, strict=True)}
    if asked.scorer is not None:
        terms |= {asked.scorer.name: value}
    averages = {column: terms[column] for column in made.problem.terms}
    return replace(
        made,
        choice=choice,
        objective=asked.sign * value,
        # No more than rounding can be between the two.
        lp_bound=None if made.lp_bound is None else asked.sign * min(asked.sign * made.lp_bound, value),
        bound=None if bound is None else asked.sign * bound,
        averages=averages,
        stopped=stopped,
    )


def without(
    out: Outcome, status: Status, explanation: str, *, bound: float = -math.inf, details: Explanation | None = None
) -> SetSelection:
    """No selection, and why."""
    made = _made(out, status, None, [None] * len(out.asked.bounds))
    return replace(
        made,
        bound=out.asked.sign * bound if math.isfinite(bound) else None,
        explanation=explanation,
        details=details,
        stopped="time" if out.deadline.left_s == 0 else "iterations",
    )


def _made(out: Outcome, status: Status, choice: IntArray | None, forms: Sequence[float | None]) -> SetSelection:
    asked, known = out.asked, out.relaxation
    problem = shown(asked)
    prices: Sequence[float | None] = [None] * len(asked.problem.constraints)
    set_prices: Sequence[float | None] = [None] * len(asked.bounds)
    if known is not None:
        prices = prices if known.prices is None else known.prices
        set_prices = known.set_prices if len(known.set_prices) == len(asked.bounds) else set_prices
    finite = known is not None and math.isfinite(known.bound)
    return SetSelection(
        problem=problem,
        status=status,
        solver=SOLVER,
        choice=None,
        objective=None,
        bound=None,
        budgets=_budgets(asked, problem, choice, prices, set_prices, forms),
        warnings=asked.problem.warnings,
        elapsed_s=out.deadline.elapsed_s,
        allowed_gap=out.gap,
        lp_bound=asked.sign * known.bound if known is not None and finite else None,
        split_images=_split(known) if known is not None else None,
        values=_values(asked, choice, forms, set_prices),
        relaxed=None if known is None else asked.sign * known.value,
        passed=None if known is None else known.passed,
        iterations=out.iterations,
        looks=out.looks,
        seed=out.seed,
    )


def _split(known: Relaxation) -> int:
    """Images that the relaxation mixes, crumbs left aside."""
    return int(((known.best.shares > 1e-6).sum(axis=1) > 1).sum())


def shown(asked: SetProblem) -> Problem:
    """The problem with its set-level values as columns without values, and their budgets as constraints."""
    target = None if asked.scorer is None else asked.scorer.name
    return with_set_columns(asked.problem, target, [(one.scorer.name, one.budget) for one in asked.bounds])


def _budgets(
    asked: SetProblem,
    problem: Problem,
    choice: IntArray | None,
    prices: Sequence[float | None],
    set_prices: Sequence[float | None],
    forms: Sequence[float | None],
) -> tuple[Budget, ...]:
    linear = [
        make_budget(one, choice, price, price_sentence(problem, one, price))
        for one, price in zip(asked.problem.constraints, prices, strict=True)
    ]
    others = []
    for one, price, form in zip(asked.bounds, set_prices, forms, strict=True):
        constraint = Constraint(missing_term(one.scorer.name, problem), "at_most", one.budget)
        made = make_budget(constraint, None, price, price_sentence(problem, constraint, price))
        others.append(replace(made, average=form, slack=None if form is None else max(one.budget - form, 0.0)))
    grouped = [one for one in linear if one.group]
    return (*(one for one in linear if not one.group), *others, *grouped)


def _values(
    asked: SetProblem, choice: IntArray | None, forms: Sequence[float | None], prices: Sequence[float | None]
) -> tuple[SetValue, ...]:
    made = []
    if asked.scorer is not None:
        value = None if choice is None else asked.scorer.at(choice)
        score = None if choice is None else asked.scorer.score(choice)
        made.append(
            SetValue(asked.scorer.name, asked.scorer.scorer.name, "minimize", value, score, facts=asked.scorer.facts())
        )
    for one, form, price in zip(asked.bounds, forms, prices, strict=True):
        slack = None if form is None else max(one.budget - form, 0.0)
        score = None if choice is None else one.scorer.score(choice)
        made.append(
            SetValue(
                one.scorer.name,
                one.scorer.scorer.name,
                "at_most",
                form,
                score,
                one.budget,
                slack,
                price,
                facts=one.scorer.facts(),
            )
        )
    return tuple(made)
