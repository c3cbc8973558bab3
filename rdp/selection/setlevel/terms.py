"""What is optimised and what is bounded where set-level values are among it, and the guard of what scorers say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rdp.analysis.sets.base import Choice, Exchange, Relaxed, SetScorer, Weights
from rdp.errors import MetricError, SpecError
from rdp.selection.problem import BoolArray, FloatArray, IntArray, Problem

MET = 1e-12
"""A set-level budget is met when the convex form passes it by no more than this part of the larger of both."""


class Guarded:
    """A scorer whose numbers are held to be finite, and whose shapes are those of the problem.

    `name` is what selections and messages call it: the scorer's own, unless another is given. Every method raises
    `MetricError`, which names the scorer, for what is not a finite number at an allowed cell.
    Gradients are 0 at cells that may not be chosen.
    """

    def __init__(self, scorer: SetScorer, allowed: BoolArray, name: str = "") -> None:
        if (scorer.images, scorer.points) != allowed.shape:
            raise SpecError(
                f"{scorer.name} scores {scorer.images} images at {scorer.points} points, but the selection is of "
                f"{allowed.shape[0]} images at {allowed.shape[1]} points; make it for the images and points of the "
                "problem, in its order"
            )
        self.scorer = scorer
        self.allowed = allowed
        self.name = name or scorer.name
        self.whole = bool(allowed.all())
        self.last: tuple[bytes, float] | None = None

    def facts(self) -> dict[str, Any]:
        """Of the scorer."""
        return self.scorer.facts()

    def score(self, choice: IntArray) -> float:
        """The distance as it is reported."""
        value = float(self.scorer.score(_as_choice(choice)))
        if not np.isfinite(value):
            raise MetricError(f"{self.name} of a selection is {value}; no selection can be judged by it")
        return value

    def relaxed(self, shares: Weights) -> Relaxed:
        """The convex form at shares (N, P), with a gradient that is finite, and 0 where nothing may be chosen."""
        relaxed = self.scorer.relaxed(shares)
        value, gradient = float(relaxed.value), np.asarray(relaxed.gradient, dtype=np.float64)
        if gradient.shape != self.allowed.shape:
            raise MetricError(f"the gradient of {self.name} has shape {gradient.shape}, not {self.allowed.shape}")
        if not np.isfinite(value):
            raise MetricError(f"{self.name} of a mixture is {value}; the features of some image may not be finite")
        if not self.whole:
            gradient = np.where(self.allowed, gradient, 0.0)
        if not np.isfinite(gradient).all():
            image, point = np.argwhere(~np.isfinite(gradient))[0].tolist()
            raise MetricError(
                f"the gradient of {self.name} is {gradient[image, point]} for image number {image} at point number "
                f"{point}; the features of that reconstruction may not be finite"
            )
        return Relaxed(value, gradient)

    def at(self, choice: IntArray) -> float:
        """The convex form at a choice (N,); that of the last choice is kept."""
        key = _as_choice(choice).tobytes()
        if self.last is None or self.last[0] != key:
            self.last = key, self.relaxed(one_hot(choice, self.allowed.shape[1])).value
        return self.last[1]

    def below(self) -> Guarded | None:
        """A form that is nowhere above and far cheaper, under the same name; None where the scorer has none."""
        made = getattr(self.scorer, "below", None)
        found = None if made is None else made()
        return None if found is None else Guarded(found, self.allowed, self.name)

    def exchange(self, choice: IntArray) -> Exchange:
        """Begin to change a choice."""
        return self.scorer.exchange(_as_choice(choice))

    def values(self, exchange: Exchange, image: int) -> FloatArray:
        """The convex form for each point of one image (P,), infinite where the point may not be chosen."""
        values = np.asarray(exchange.values(image), dtype=np.float64)
        allowed = self.allowed[image]
        if values.shape != allowed.shape:
            raise MetricError(f"{self.name} gives {values.shape} values for an image, not one for each of its points")
        if not np.isfinite(values[allowed]).all():
            point = int(np.flatnonzero(allowed & ~np.isfinite(values))[0])
            raise MetricError(
                f"{self.name} is {values[point]} with image number {image} at point number {point}; the features of "
                "that reconstruction may not be finite"
            )
        return np.where(allowed, values, np.inf)


@dataclass(frozen=True, eq=False)
class SetBound:
    """The convex form of a scorer is at most `budget`."""

    scorer: Guarded
    budget: float

    @property
    def room(self) -> float:
        """The largest value that counts as within the budget."""
        return self.budget + MET * abs(self.budget)


@dataclass(frozen=True, eq=False)
class SetProblem:
    """A selection problem with set-level values.

    `problem` holds the cells and the averaged budgets; its objective counts only where `scorer` is None: otherwise it
    is the scorer's convex form that is minimised. `bounds` are the set-level budgets.
    """

    problem: Problem
    scorer: Guarded | None
    bounds: tuple[SetBound, ...] = ()

    @classmethod
    def of(
        cls,
        problem: Problem,
        scorer: SetScorer | None,
        bounds: Sequence[tuple[SetScorer, float]] = (),
        names: Mapping[int, str] | None = None,
    ) -> SetProblem:
        """Checked; `names` maps the `id` of a scorer to another name.

        Raises `SpecError` for scorers of other images or points, and for budgets that are no numbers.
        """
        for bounded, budget in bounds:
            if not np.isfinite(budget):
                raise SpecError(f"the budget of {bounded.name} must be a finite number, not {budget}")
        if problem.max_points is not None and problem.max_points < int(problem.allowed.any(axis=0).sum()):
            raise SpecError(
                "a limit of the distinct points (max_points) does not go together with set-level values; name the "
                "points that may be used with --points instead"
            )

        def guarded(one: SetScorer) -> Guarded:
            return Guarded(one, problem.allowed, (names or {}).get(id(one), ""))

        limits = tuple(SetBound(guarded(one), float(budget)) for one, budget in bounds)
        return cls(problem, None if scorer is None else guarded(scorer), limits)

    def below(self) -> SetProblem | None:
        """The same with the cheaper forms of `Guarded.below` where there are some; None where there are none."""
        scorers = [*([] if self.scorer is None else [self.scorer]), *(one.scorer for one in self.bounds)]
        found = {id(one): one.below() for one in scorers}
        if not any(found.values()):
            return None
        target = None if self.scorer is None else found[id(self.scorer)] or self.scorer
        bounds = tuple(SetBound(found[id(one.scorer)] or one.scorer, one.budget) for one in self.bounds)
        return SetProblem(self.problem, target, bounds)

    @property
    def name(self) -> str:
        """What is optimised."""
        return self.problem.objective.column if self.scorer is None else self.scorer.name

    @property
    def sign(self) -> float:
        """1 where the objective is minimised, -1 where it is maximised."""
        return 1.0 if self.scorer is not None or self.problem.goal == "minimize" else -1.0

    def value(self, choice: IntArray) -> float:
        """What is minimised, at a choice (N,): the convex form, or the average with its sign."""
        if self.scorer is None:
            return self.sign * self.problem.objective.average(choice)
        return self.scorer.at(choice)


def one_hot(choice: IntArray, points: int) -> Weights:
    """A choice (N,) as shares (N, P)."""
    shares = np.zeros((len(choice), points))
    shares[np.arange(len(choice)), choice] = 1.0
    return shares


def _as_choice(choice: IntArray) -> Choice:
    return np.asarray(choice, dtype=np.intp)
