"""Prices chosen on some images and applied to others: what a selection is worth for images that nobody has solved for.

A selection is a list of choices, one for each image, and says nothing about an image that is not in it. Its prices do.
At prices lambda_k every image, by itself, takes the point with the least priced cost

    w_i / mean(w) * d_ij + sum_k lambda_k * w^k_i / mean(w^k) * a^k_ij

which is the rule that the linear relaxation follows (Everett 1963); a basic optimum of that differs from the rule in at
most as many images as there are budgets. The rule has one number for each budget, so with N images its prices settle
as means do, with an error of order 1 / sqrt(N), however many points there are. Carrying over choices has no such
argument: a new image would need to know which old image it is like. What the rule does not do is keep a budget exactly:
new images are harder or easier, and the averages move with them. So violations are reported beside the objective.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from rdp.selection.baselines import best_single_point
from rdp.selection.linear import allowance, signed
from rdp.selection.problem import BoolArray, FloatArray, IntArray, Problem
from rdp.selection.result import Selection
from rdp.selection.sampling.resampling import solve_part
from rdp.selection.sampling.subset import fixed_images, kept_constraints, take


@dataclass(frozen=True, eq=False)
class Rule:
    """Chooses for any image of a problem by prices. `points` are the only ones it may take, or None for all.

    `prices` and `weights` (K,) are of the constraints of the whole problem: the price, and the mean weight over the
    images that the price was found with (0 and 1 for a constraint without any of them). `weight` is that of the
    objective.
    """

    prices: FloatArray
    weights: FloatArray
    weight: float
    points: frozenset[int] | None = None

    def choose(self, problem: Problem) -> IntArray:
        """The point (N,) that each image takes by itself: of least priced cost, of equal ones the first.

        Every image needs an allowed point. Where none of the rule's `points` is allowed, all of the image's points are.
        """
        allowed = problem.allowed
        if self.points is not None:
            among: BoolArray = np.zeros_like(allowed)
            among[:, sorted(self.points)] = True
            within: BoolArray = allowed & among
            allowed = np.where(within.any(axis=1, keepdims=True), within, allowed)
        sign = 1.0 if problem.goal == "minimize" else -1.0
        objective = problem.objective
        cost = sign * objective.values * (objective.weights / self.weight)[:, None]
        for constraint, price, weight in zip(problem.constraints, self.prices, self.weights, strict=True):
            if price > 0:
                cost = cost + signed(constraint)[0] * (price * constraint.term.weights / weight)[:, None]
        return np.asarray(np.where(allowed, cost, np.inf).argmin(axis=1), dtype=np.int64)


def rule_of(selection: Selection, problem: Problem, images: IntArray) -> Rule | None:
    """The rule by the prices of a selection of `take(problem, images)`; None when a price is not known."""
    prices, weights = np.zeros(len(problem.constraints)), np.ones(len(problem.constraints))
    for k, budget in zip(kept_constraints(problem, images), selection.budgets, strict=True):
        if budget.price is None:
            return None
        prices[k], weights[k] = budget.price, problem.constraints[k].term.weights[images].mean()
    limited = problem.max_points is not None and selection.choice is not None
    points = frozenset(np.unique(selection.required_choice).tolist()) if limited else None
    return Rule(prices, weights, float(problem.objective.weights[images].mean()), points)


@dataclass(frozen=True)
class Outcome:
    """What choices come to on some images. `averages` by column; `excess` (K,) is by how much each budget is passed.

    An excess is negative where there is room, 0 where that is no more than rounding, and NaN for a constraint in which
    none of the images has weight.
    """

    averages: Mapping[str, float]
    excess: tuple[float, ...]

    @property
    def violates(self) -> bool:
        """Whether a budget is passed."""
        return any(over > 0 for over in self.excess)


@dataclass(frozen=True, eq=False)
class Split:
    """One split: prices from the images `chosen_on`, reported on the images `reported_on`.

    `prices` (K,) are None where not known, and then `reason` says why. `there` is the rule on the images that its
    prices are from; on the other images, `priced` is the rule, `solved` what solving them directly gives, and `single`
    the best single point of the images `chosen_on`. Each is None where it does not exist. `regret` is by how much
    `priced` is worse than `solved` in units of the objective, with what it passes or leaves of the budgets charged at
    the prices of `solved`. By duality it is not below 0 by more than `solved` is above its linear relaxation. It is NaN
    where not known.
    """

    chosen_on: IntArray
    reported_on: IntArray
    prices: tuple[float, ...] | None
    there: Outcome | None
    priced: Outcome | None
    solved: Outcome | None
    single: Outcome | None
    regret: float
    reason: str = ""


Solve = Callable[[IntArray], Selection]
"""Solves the problem of some images."""


def hold_out(problem: Problem, chosen_on: IntArray, reported_on: IntArray, *, gap: float = 1e-6) -> Split:
    """Choose prices on some images of a problem and report on others: one split of `holdout`."""
    return split_by(problem, chosen_on, reported_on, lambda images: solve_part(take(problem, images), gap))


def split_by(problem: Problem, chosen_on: IntArray, reported_on: IntArray, solve: Solve) -> Split:
    """`hold_out` with the solver given; every image of the problem needs an allowed point."""
    first, direct = solve(chosen_on), solve(reported_on)
    rule = rule_of(first, problem, chosen_on) if first.found else None
    reason = ""
    if rule is None:
        reason = "the prices are not known" if first.found else f"the images that choose are {first.status}"
    choice = None if rule is None else rule.choose(problem)
    priced = None if choice is None else outcome(problem, reported_on, choice[reported_on])
    solved = None if direct.choice is None else outcome(problem, reported_on, direct.choice)
    other = None if direct.choice is None else rule_of(direct, problem, reported_on)
    return Split(
        chosen_on=chosen_on,
        reported_on=reported_on,
        prices=None if rule is None else tuple(rule.prices.tolist()),
        there=None if choice is None else outcome(problem, chosen_on, choice[chosen_on]),
        priced=priced,
        solved=solved,
        single=_single(problem, chosen_on, reported_on),
        regret=_regret(problem, priced, solved, other),
        reason=reason,
    )


def outcome(problem: Problem, images: IntArray, choice: IntArray) -> Outcome:
    """What a choice (n,) comes to on the images (n,) of a problem."""
    part = take(problem, images)
    excess = [math.nan] * len(problem.constraints)
    for k, constraint in zip(kept_constraints(problem, images), part.constraints, strict=True):
        term = constraint.term
        over = term.average(choice) - constraint.budget
        over = over if constraint.sense == "at_most" else -over
        rounding = allowance(constraint.budget, term.picked(choice), term.weights)
        excess[k] = 0.0 if abs(over) <= rounding else over
    return Outcome({name: term.average(choice) for name, term in part.terms.items()}, tuple(excess))


def _single(problem: Problem, chosen_on: IntArray, reported_on: IntArray) -> Outcome | None:
    """The best single point of some images on others; None where there is none, or not for all of the others."""
    best = best_single_point(take(problem, chosen_on))
    if not best.found:
        return None
    point = problem.points.index(best.parts[0].point)
    fixed = fixed_images(problem)
    choice = np.where(fixed, problem.allowed.argmax(axis=1), point).astype(np.int64)[reported_on]
    if not problem.allowed[reported_on, choice].all():
        return None
    return outcome(problem, reported_on, choice)


def _regret(problem: Problem, priced: Outcome | None, solved: Outcome | None, rule: Rule | None) -> float:
    if priced is None or solved is None or rule is None:
        return math.nan
    sign = 1.0 if problem.goal == "minimize" else -1.0
    column = problem.objective.column
    lost = sign * (priced.averages[column] - solved.averages[column])
    # A price of 0 is of a budget that does not bind, or of a constraint without any of the images.
    charged = [float(price) * over for price, over in zip(rule.prices, priced.excess, strict=True) if price > 0]
    return math.fsum([lost, *charged])
