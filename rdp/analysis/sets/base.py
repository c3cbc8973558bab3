"""What a distance of sets is to those that score, compare and optimise a mixture: one chosen point for each image.

A set-level distance (FID, KID, sliced Wasserstein) is of all images together and no sum over them. A scorer holds what
it needs of every cell (image, point), once, and gives the value of any mixture without decoding anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Choice = NDArray[np.intp]
"""The number of the point of each image, (N,)."""
Weights = NDArray[np.float64]
"""Shares of the points, (N, P): 0 or more, each row with sum 1. A choice is the case of one 1 in each row."""


@dataclass(frozen=True)
class Relaxed:
    """A convex form of the distance at some shares: its value, and its gradient (or a subgradient), (N, P).

    `value + sum(gradient * (other - shares))` is at most the value at any `other` shares: from it come lower bounds.
    """

    value: float
    gradient: NDArray[np.float64]


class Exchange(Protocol):
    """A choice that is changed image by image, its value kept up to date."""

    @property
    def choice(self) -> Choice:
        """The choice as it is now; a copy."""
        ...

    @property
    def value(self) -> float:
        """The convex form at `choice`: `relaxed` of the same choice, to 1e-9 of it."""
        ...

    def values(self, image: int) -> NDArray[np.float64]:
        """The convex form if the point of one image were another one, for each of the points, (P,)."""
        ...

    def set(self, image: int, point: int) -> None:
        """Change the point of one image."""
        ...


class SetScorer(Protocol):
    """A distance between the originals and a mixture of reconstructions, for `images` images and `points` points.

    A scorer whose values take long may also have `below()`: another scorer of the same images and points whose convex
    form is nowhere above its own and far cheaper, or None. Bounds of that form are bounds of the distance, and what it
    rules out need not be scored.
    """

    @property
    def name(self) -> str:
        """As in tables, e.g. `kid_inception`."""
        ...

    @property
    def images(self) -> int: ...

    @property
    def points(self) -> int: ...

    def score(self, choice: Choice) -> float:
        """The distance as it is reported (KID: the unbiased estimate)."""
        ...

    def relaxed(self, shares: Weights) -> Relaxed:
        """The convex form, value and gradient: at a choice the distance itself (KID: the V-statistic, unless told).

        Between choices SWD is the distance of weighted sets. FID lies a little below: by its formula, with covariances
        of divisor M - 1, it would not be convex (see `rdp.analysis.sets.frechet_scorer`). Convex on shares whose rows
        have sum 1, and nowhere else.
        """
        ...

    def exchange(self, choice: Choice) -> Exchange:
        """Begin to change a choice."""
        ...

    def facts(self) -> dict[str, Any]:
        """What stands beside the number: patches, dimensions, kernel, subsets, seed, warnings (JSON)."""
        ...
