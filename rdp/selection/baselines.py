"""What a selection is measured against: the best single operating point, and the best mixture of single points.

The single point is what a study without selection would use: one setting for all images, within the budgets. Part of
a selection's gain over it is only budget that the single point leaves unspent. The time-shared mixture removes that:
images are assigned to a few single points at random, with the probabilities that are best while it spends no more of
any budget than the selection itself. A budget that does not bind the selection is no matter of spending, so there the
mixture keeps the budget alone (`fair_mixture`). What a selection gains over it comes from looking at the images.

Groups: a mixture is one for all images, and keeps the budget of every group as it is; held to what the selection spends
in each group, there would rarely be one. Where groups differ, it leaves some of their budgets unspent.
A limit on the distinct points holds for both baselines, points of fixed images included. Side information that is part
of the rate: the images of a mixture need it like those of the selection, while one point for all images is named once.
So it is with the bits that name decoders: those of a mixture are charged, and one point for all images has none.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from rdp.errors import SpecError
from rdp.selection.check import excess
from rdp.selection.group_words import limits_in_words
from rdp.selection.index_cost import index_cost
from rdp.selection.mixture_shares import best_shares
from rdp.selection.named_once import named_once
from rdp.selection.problem import FloatArray, IntArray, Problem, Term
from rdp.selection.result import Budget, Selection
from rdp.selection.single_points import eligible_points, points_left
from rdp.selection.statement import Sense

BINDING_SLACK = 1e-3
"""A budget whose price is not known binds when it is spent up to this part of it."""


@dataclass(frozen=True, eq=False)
class Part:
    """One operating point of a baseline: its name, its probability, and the choice (N,) that it means.

    `choice` is the point's number for every image but the fixed ones, which keep theirs.
    """

    point: str
    share: float
    choice: IntArray


@dataclass(frozen=True)
class Held:
    """What a mixture is held to in place of one budget: the selection's own average of the column, or the budget."""

    column: str
    sense: Sense
    limit: float
    to: Literal["average", "budget"]
    group: str = ""

    @property
    def name(self) -> str:
        """`bpp <= 0.4948 (the selection's average)`, or `bpp <= 0.5 in 'faces'`, as messages show it."""
        return f"{self.words} in {self.group!r}" if self.group else self.words

    @property
    def words(self) -> str:
        """The same without the group."""
        whose = " (the selection's average)" if self.to == "average" else ""
        return f"{self.column} {'<=' if self.sense == 'at_most' else '>='} {self.limit:.6g}{whose}"


@dataclass(frozen=True, eq=False)
class Baseline:
    """A single point, or a mixture of some; or none, and then `reason` says why.

    `averages` maps every column of `problem.terms` to its weighted average, for a mixture the expected one. `left_out`
    maps points that could not take part to the reason. `held` has, for a mixture, one entry a constraint, in their
    order: what it keeps, or what none keeps. `index_bits` is what naming its points takes, in bits an image; where the
    problem has side information in its rates, the averages include them. `bounded` are the averages of the problem's
    constraints, in their order. `once`: it is one point for all images, told once, so that its averages have no bits
    that name a decoder.
    """

    parts: tuple[Part, ...]
    averages: Mapping[str, float] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    held: tuple[Held, ...] = ()
    index_bits: float = 0.0
    bounded: tuple[float, ...] = ()
    once: bool = False

    @property
    def found(self) -> bool:
        """Whether there is one."""
        return bool(self.parts)

    @property
    def shares(self) -> dict[str, float]:
        """Point -> probability, in the points' order."""
        return {part.point: part.share for part in self.parts}


@dataclass(frozen=True)
class Gain:
    """By how much a value is better than another; negative where it is worse.

    `relative` is `absolute` as a part of the other value's size, None where that says nothing: for decibels, and for
    values that are zero, infinite or negative. Two infinite values give NaN.
    """

    absolute: float
    relative: float | None


def best_single_point(problem: Problem) -> Baseline:
    """The operating point that, used for every image, meets all budgets and bounds with the best objective.

    Fixed images keep their point. Of equally good points the first in the points' order is taken. The result is
    without parts, and says why, when no point is allowed for every image, or none meets the budgets.
    """
    once = named_once(problem)
    numbers, choices, left_out = eligible_points(problem, once)
    if not numbers:
        return Baseline((), left_out=left_out, reason="no point may be used for every image")
    sign = 1.0 if problem.goal == "minimize" else -1.0
    judged = [once if (choice == number).all() else problem for number, choice in zip(numbers, choices, strict=True)]
    within = [k for k, choice in enumerate(choices) if max(excess(judged[k], choice), default=0.0) <= 0]
    if not within:
        signs = {"at_most": "<=", "at_least": ">="}
        budgets = limits_in_words(
            (f"{c.term.column} {signs[c.sense]} {c.budget:g}", c.group) for c in problem.constraints
        )
        some = "none of the points that may be used for every image" if left_out else "no single point"
        return Baseline((), left_out=left_out, reason=f"{some} meets {budgets}")
    best = min(within, key=lambda k: sign * judged[k].objective.average(choices[k]))
    part = Part(problem.points[numbers[best]], 1.0, choices[best])
    alone = bool((choices[best] == numbers[best]).all())
    named = 1 if alone else problem.max_points
    return replace(_baseline(judged[best], (part,), left_out, named=named), once=alone)


def fair_mixture(selection: Selection) -> Baseline:
    """The time-shared mixture that a selection is measured against. `held` says what it keeps in each constraint.

    Of a budget that binds the selection the mixture may spend as much as the selection did, so that no gain is unspent
    budget; a budget that does not bind it is kept as it is. A budget binds when its price is positive, or, where there
    is no price, when its slack is at most `BINDING_SLACK` of it. Where no mixture is that good, all budgets are kept as
    they are: such a mixture may spend more than the selection, and its gain is still no unspent budget. The result is
    without parts when no mixture is within the budgets. Raises `NoSelectionError` or `InfeasibleError` without one.
    """
    problem, _ = selection.problem, selection.required_choice
    loose = [budget.column for budget in selection.budgets if not budget.group and not _binds(budget)]
    mixture = time_shared_mixture(problem, selection.averages, at_budget=loose)
    if mixture.found or all(held.to == "budget" for held in mixture.held):
        return mixture
    return time_shared_mixture(problem, selection.averages, at_budget=[budget.column for budget in selection.budgets])


def _binds(budget: Budget) -> bool:
    if budget.price is not None:
        return budget.price > 0
    return budget.slack is None or budget.slack <= BINDING_SLACK * abs(budget.budget)


def time_shared_mixture(
    problem: Problem, averages_at: Mapping[str, float], *, at_budget: Collection[str] = ()
) -> Baseline:
    """The mixture of single points with the best expected objective, none of the constrained averages being worse
    than in `averages_at` (column -> the selection's own average; a selection's `averages` will do).

    The mixture is a probability for each point, and each image draws its point at random. It is an optimum of a linear
    programme, so at most one more point has a share than there are budgets. The columns in `at_budget`, a column that
    is bounded on both sides, and the objective where it is bounded too, keep the budgets themselves, and so do all
    budgets of groups. With a limit on the points, no more have a share than it leaves beside the fixed images. The
    result is
    without parts, and says why, when there is no such mixture. Raises `SpecError` for an average that is missing.
    """
    numbers, choices, left_out = eligible_points(problem)
    if not numbers:
        return Baseline((), left_out=left_out, reason="no point may be used for every image")
    held = _held(problem, averages_at, at_budget)
    sign = 1.0 if problem.goal == "minimize" else -1.0
    costs = sign * _averages(problem.objective, choices)
    shares = best_shares(costs, *_rows(problem, choices, held), points_left(problem, numbers))
    if shares is None:
        limits = limits_in_words((one.words, one.group) for one in held)
        some = "single points" if problem.max_points is None else f"{problem.max_points} single points"
        reason = f"no mixture of {some} meets {limits}"
        return Baseline((), left_out=left_out, reason=reason, held=held)
    parts = [Part(problem.points[numbers[k]], float(shares[k]), choices[k]) for k in np.flatnonzero(shares)]
    return _baseline(problem, tuple(parts), left_out, held, problem.max_points)


def gain(value: float, over: float, *, lower_is_better: bool, unit: str = "") -> Gain:
    """By how much `value` is better than `over`. A relative gain is not given for decibels (`unit` "dB")."""
    absolute = over - value if lower_is_better else value - over
    sound = math.isfinite(absolute) and over > 0 and value >= 0
    return Gain(absolute, absolute / over if sound and unit != "dB" else None)


def _averages(term: Term, choices: list[IntArray]) -> FloatArray:
    return np.array([term.average(choice) for choice in choices])


def _held(problem: Problem, averages_at: Mapping[str, float], at_budget: Collection[str]) -> tuple[Held, ...]:
    """What the mixture keeps in place of each constraint."""
    columns = [constraint.term.column for constraint in problem.constraints if not constraint.group]
    held = []
    for constraint in problem.constraints:
        column = constraint.term.column
        if constraint.group:
            held.append(Held(column, constraint.sense, constraint.budget, "budget", constraint.group))
            continue
        if column not in averages_at:
            raise SpecError(f"the selection's average of {column!r} is needed to find the mixture at that average")
        if column in at_budget or columns.count(column) > 1 or column == problem.objective.column:
            held.append(Held(column, constraint.sense, constraint.budget, "budget"))
        else:
            held.append(Held(column, constraint.sense, averages_at[column], "average"))
    return tuple(held)


def _rows(problem: Problem, choices: list[IntArray], held: tuple[Held, ...]) -> tuple[FloatArray, FloatArray]:
    """`matrix` (K, M) and `limits` (K,) of what is held, as at most, each row scaled to 1."""
    matrix, limits = np.zeros((len(held), len(choices))), np.zeros(len(held))
    for k, (constraint, one) in enumerate(zip(problem.constraints, held, strict=True)):
        sign = 1.0 if one.sense == "at_most" else -1.0
        values = sign * _averages(constraint.term, choices)
        scale = max(float(np.abs(values).max()), abs(one.limit)) or 1.0
        matrix[k], limits[k] = values / scale, sign * one.limit / scale
    return matrix, limits


def _baseline(
    problem: Problem,
    parts: tuple[Part, ...],
    left_out: Mapping[str, str],
    held: tuple[Held, ...] = (),
    named: int | None = None,
) -> Baseline:
    """A baseline with its averages; images are told one of `named` points apart."""

    def average(term: Term) -> float:
        return math.fsum(part.share * term.average(part.choice) for part in parts)

    images, points = problem.shape
    return Baseline(
        parts,
        {name: average(term) for name, term in problem.terms.items()},
        left_out,
        held=held,
        index_bits=index_cost(points, images, named, None).bits,
        bounded=tuple(average(constraint.term) for constraint in problem.constraints),
    )
