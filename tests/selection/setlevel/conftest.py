"""Small scorers written for plainness, instances at random, and the search over all choices."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from rdp.analysis.sets.base import Exchange, Relaxed, SetScorer
from rdp.selection import Problem

TOLERANCE = 1e-12


class PlainExchange:
    """Every value from scratch."""

    def __init__(self, scorer: Any, choice: np.ndarray) -> None:
        self.scorer, self._choice = scorer, np.array(choice)

    @property
    def choice(self) -> np.ndarray:
        return self._choice.copy()

    @property
    def value(self) -> float:
        return self.scorer.of(self._choice)

    def values(self, image: int) -> np.ndarray:
        out = np.empty(self.scorer.points)
        for point in range(self.scorer.points):
            other = self._choice.copy()
            other[image] = point
            out[point] = self.scorer.of(other)
        return out

    def set(self, image: int, point: int) -> None:
        self._choice[image] = point


@dataclass(eq=False)
class Means:
    """Distance of the mean of features (N, P, D) from a target (D,): squared, or the sum of absolute differences."""

    features: np.ndarray
    target: np.ndarray
    name: str = "kid_test"
    kinks: bool = False
    quadratic: bool = False
    spoiled: float | None = None

    @property
    def images(self) -> int:
        return len(self.features)

    @property
    def points(self) -> int:
        return self.features.shape[1]

    def _shape(self, difference: np.ndarray) -> tuple[float, np.ndarray]:
        if self.kinks:
            return float(np.abs(difference).sum()), np.sign(difference)
        return float(difference @ difference), 2 * difference

    def of(self, choice: np.ndarray) -> float:
        mean = self.features[np.arange(self.images), choice].mean(axis=0)
        return self._shape(mean - self.target)[0]

    def score(self, choice: np.ndarray) -> float:
        """Something else than the convex form, as the unbiased estimate of KID is."""
        chosen = self.features[np.arange(self.images), choice]
        return self.of(choice) - float((chosen**2).sum()) / self.images**2

    def relaxed(self, shares: np.ndarray) -> Relaxed:
        mean = np.tensordot(shares, self.features, axes=2) / self.images
        value, slope = self._shape(mean - self.target)
        gradient = self.features @ slope / self.images
        return Relaxed(value if self.spoiled is None else self.spoiled, gradient)

    def exchange(self, choice: np.ndarray) -> Exchange:
        return PlainExchange(self, choice)

    def facts(self) -> dict[str, Any]:
        return {"dimensions": self.features.shape[2], "convex_form": "biased"}


def _means(seed: int, images: int, points: int, dimensions: int = 3, **more: Any) -> Means:
    rng = np.random.default_rng([8, seed])
    features = rng.normal(size=(images, 1, dimensions)) + rng.normal(size=(images, points, dimensions))
    return Means(features, 0.1 * rng.normal(size=dimensions), **more)


def _all_choices(problem: Problem, *scored: tuple[SetScorer, float]) -> Iterator[np.ndarray]:
    """Every choice within the averaged budgets, and within set-level ones; loops and `math.fsum`, nothing of rdp."""
    options = [np.flatnonzero(row).tolist() for row in problem.allowed]
    for choice in itertools.product(*options):
        taken = np.array(choice)
        if not all(_within(constraint, choice) for constraint in problem.constraints):
            continue
        if all(scorer.of(taken) <= value * (1 + TOLERANCE) for scorer, value in scored):  # type: ignore[attr-defined]
            yield taken


def _within(constraint: Any, choice: tuple[int, ...]) -> bool:
    term = constraint.term
    total = math.fsum(term.weights)
    picked = [float(w) * float(term.values[i, j]) for i, (w, j) in enumerate(zip(term.weights, choice, strict=True))]
    mean, size = math.fsum(picked) / total, math.fsum(abs(one) for one in picked) / total
    room = TOLERANCE * max(abs(constraint.budget), size)
    return mean <= constraint.budget + room if constraint.sense == "at_most" else mean >= constraint.budget - room


def _rates(seed: int, images: int, points: int, at_most: float | None = 0.5, **more: Any) -> Problem:
    rng = np.random.default_rng([9, seed])
    bpp = np.sort(rng.random((images, points)), axis=1)
    budgets = {} if at_most is None else {"at_most": {"bpp": at_most}}
    pixels = rng.integers(1, 5, images).astype(float)
    return Problem.from_arrays(
        {"bpp": bpp, "psnr": 30 + 5 * bpp + 0.3 * rng.normal(size=bpp.shape)},
        minimize="bpp",
        weights={"bpp": "pixels"},
        pixels=pixels,
        **budgets,
        **more,
    )


@pytest.fixture(scope="session")
def means() -> Callable[..., Means]:
    """Makes the scorer of a seed."""
    return _means


@pytest.fixture(scope="session")
def scorer_of() -> type[Means]:
    """The scorer, to make from features."""
    return Means


@pytest.fixture(scope="session")
def rates() -> Callable[..., Problem]:
    """Makes the problem of a seed, with a budget for a rate that is weighted by pixels."""
    return _rates


@pytest.fixture(scope="session")
def all_choices() -> Callable[..., Iterator[np.ndarray]]:
    """Every choice within all budgets."""
    return _all_choices
