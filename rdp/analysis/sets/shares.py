"""Choices and shares as the scorers of sets take them: checked, and put right where only rounding is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rdp.analysis.sets.base import Choice, Relaxed, Weights
from rdp.errors import MetricError

ROUNDING = 1e-6
"""What a share may lie below 0, or the sum of a row away from 1: what linear solvers leave."""


def checked_choice(choice: NDArray[Any], images: int, points: int) -> Choice:
    """The same numbers, (images,), as a copy. Raises `MetricError` unless each is a whole number below `points`."""
    given = np.asarray(choice)
    if given.shape != (images,) or given.dtype.kind not in "iu":
        raise MetricError(
            f"a choice is one whole number for each of {images} images, not {given.dtype} of shape {given.shape}"
        )
    wrong = np.flatnonzero((given < 0) | (given >= points))
    if len(wrong):
        raise MetricError(f"image {wrong[0]} has point {given[wrong[0]]}: there are points 0 to {points - 1}")
    return given.astype(np.intp)


def checked_place(image: int, point: int, images: int, points: int) -> None:
    """Raise `MetricError` unless the image and the point exist."""
    if not 0 <= image < images or not 0 <= point < points:
        raise MetricError(f"there is no cell ({image}, {point}) among {images} images of {points} points")


def checked_shares(shares: NDArray[Any], images: int, points: int) -> Weights:
    """Shares (images, points) of 0 or more whose rows have sum 1; off by up to 1e-6, they are put right in a copy.

    Raises `MetricError` for another shape, for numbers that are not finite, and for rows further off.
    """
    given = np.asarray(shares, np.float64)
    if given.shape != (images, points):
        raise MetricError(f"shares are of {images} images and {points} points, not of shape {given.shape}")
    off = ~(np.isfinite(given).all(axis=1) & (given >= -ROUNDING).all(axis=1))
    off |= ~(np.abs(given.sum(axis=1) - 1) <= ROUNDING)
    if off.any():
        row = int(np.argmax(off))
        raise MetricError(
            f"the shares of image {row} have sum {given[row].sum():.9g} and least {given[row].min():.3g}: they must be "
            "0 or more and have sum 1"
        )
    clipped = np.maximum(given, 0)
    return np.asarray(clipped / clipped.sum(axis=1, keepdims=True), np.float64)


def shares_of(choice: Choice, points: int) -> Weights:
    """A choice as shares: 1 at the point of each image, (images, points)."""
    found = np.zeros((len(choice), points))
    found[np.arange(len(choice)), choice] = 1
    return found


def relaxed_at(given: NDArray[Any], taken: Weights, value: float, gradient: NDArray[np.float64]) -> Relaxed:
    """A value and gradient at the shares `taken`, said of the shares `given`, so that the bound from them holds."""
    return Relaxed(value + float(np.sum(gradient * (np.asarray(given, np.float64) - taken))), gradient)
