"""Resampled images: who is drawn, what averages of a choice do, and how much each image sways a number."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

import numpy as np

from rdp.selection.problem import FloatArray, IntArray, Problem
from rdp.selection.result import Selection
from rdp.selection.sampling.intervals import acceleration
from rdp.selection.sweeping import solve_many

Key = TypeVar("Key", bound=Hashable)


def resample(seed: int, number: int, images: int) -> IntArray:
    """The images (N,) of one resample, sorted: N numbers below N, drawn with replacement."""
    return np.sort(np.random.default_rng([seed, number]).integers(0, images, images))


def solve_part(problem: Problem, gap: float) -> Selection:
    """`solve_problem` without an explanation where there is no selection: that takes longer than solving."""
    return next(iter(solve_many(problem, [[constraint.budget for constraint in problem.constraints]], gap=gap)))


class Kept:
    """Averages of a choice that is kept, over resampled images: sums over how often each image was drawn."""

    def __init__(self, problem: Problem, choice: IntArray) -> None:
        terms = problem.terms
        self.columns = tuple(terms)
        self._weights = np.stack([term.weights for term in terms.values()])
        self._values = np.stack([term.picked(choice) for term in terms.values()])
        with np.errstate(invalid="ignore"):
            self._products = self._weights * self._values

    def averages(self, images: IntArray) -> FloatArray:
        """Weighted averages (columns,) over the images (N,); NaN where a value or all weight is missing."""
        with np.errstate(invalid="ignore", divide="ignore"):
            sums = self._products[:, images].sum(axis=1) / self._weights[:, images].sum(axis=1)
        return np.asarray(sums)

    def slope(self, number: int) -> float | None:
        """The acceleration of one column's average."""
        with np.errstate(invalid="ignore"):
            return acceleration(leave_one_out(self._values[number], self._weights[number]))


def count_slopes(drawn: Mapping[Key, FloatArray], seed: int, images: int) -> dict[Key, float | None]:
    """The acceleration of every number (resamples,) that was solved again; NaN where a resample has none.

    The influence of an image is the covariance of the number with how often the image was drawn (the infinitesimal
    jackknife of Efron 2014, Theorem 1). The images of the resamples are drawn again rather than kept.
    """
    values = np.stack(list(drawn.values()))
    finite = np.isfinite(values)
    counts = np.maximum(finite.sum(axis=1), 1)
    filled = np.where(finite, values, 0.0)
    centred = np.where(finite, values - (filled.sum(axis=1) / counts)[:, None], 0.0)
    influence = np.zeros((len(values), images))
    for b in np.flatnonzero(finite.any(axis=0)).tolist():
        often = np.bincount(resample(seed, b, images), minlength=images) - 1.0
        influence += np.outer(centred[:, b], often)
    slopes: dict[Key, float | None] = {}
    for k, key in enumerate(drawn):
        noise = count_noise(values[k][finite[k]], images) if finite[k].any() else 0.0
        slopes[key] = acceleration(influence[k] / counts[k], noise)
    return slopes


def leave_one_out(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Influences (N,) on sum(weights * values) / sum(weights) by the jackknife; NaN for a single image."""
    left = weights.sum() - weights
    with np.errstate(invalid="ignore", divide="ignore"):
        means = ((weights * values).sum() - weights * values) / left
    return np.asarray(means.mean() - means)


def count_noise(resampled: FloatArray, images: int) -> float:
    """What the finite number of resamples adds to sum u^2 of `count_slopes` (Wager, Hastie and Efron 2014)."""
    return images * float(resampled.var()) / len(resampled)
