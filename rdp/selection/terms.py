"""What is averaged and what is bounded: one column with its weights, a budget on its average, a bound on each image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rdp.selection.statement import Sense, Weighting
from rdp.selection.sums import accurate_sum

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Term:
    """One column, and how its average over images is taken.

    `values` (N, M) is NaN where there is no cell. `weights` (N,) are positive: 1 for the mean over images, the number
    of pixels for a mean over pixels (of `bpp`: total bits / total pixels). The average of a group of images is a term
    whose weights are 0 outside of it; the terms of all groups share one array of values.
    """

    column: str
    values: FloatArray
    weights: FloatArray
    weighting: Weighting

    def picked(self, choice: IntArray) -> FloatArray:
        """The value (N,) of every image at its chosen point."""
        if not self.values.flags.c_contiguous:
            return np.asarray(self.values[np.arange(len(choice)), choice])
        # The same, twice as fast.
        return np.asarray(self.values.ravel().take(np.arange(len(choice)) * self.values.shape[1] + choice))

    def average(self, choice: IntArray) -> float:
        """Weighted mean at the chosen points, from sums that are rounded once."""
        return weighted_mean(self.picked(choice), self.weights)


def weighted_mean(values: FloatArray, weights: FloatArray) -> float:
    """sum(weights * values) / sum(weights) with sums that are rounded once; NaN or infinite where a value is."""
    if not np.isfinite(values).all():
        return float(np.sum(weights * values) / np.sum(weights))
    if (weights == 1.0).all():
        return accurate_sum(values) / len(values)
    return accurate_sum(weights * values) / accurate_sum(weights)


@dataclass(frozen=True, eq=False)
class Constraint:
    """The weighted average of `term` is at most, or at least, `budget`; equality is feasible.

    `group` names the group of images whose average it is, and is empty where it is that of all.
    """

    term: Term
    sense: Sense
    budget: float
    group: str = ""

    @property
    def name(self) -> str:
        """`bpp <= 0.25`, or `bpp <= 0.25 in 'kodak'`, as messages and tables show it."""
        where = f" in {self.group!r}" if self.group else ""
        return f"{self.term.column} {'<=' if self.sense == 'at_most' else '>='} {self.budget:g}{where}"


@dataclass(frozen=True, eq=False)
class ImageBound:
    """A bound that every image keeps on its own. `values` (N, M) is NaN where there is no cell."""

    column: str
    values: FloatArray
    sense: Sense
    bound: float

    def met(self) -> BoolArray:
        """Cells (N, M) within the bound."""
        with np.errstate(invalid="ignore"):
            return self.values <= self.bound if self.sense == "at_most" else self.values >= self.bound

    def least(self, image: int, among: BoolArray) -> float:
        """The least demanding bound that one of the cells `among` (M,) of that image would meet."""
        values = self.values[image][among]
        return float(values.min() if self.sense == "at_most" else values.max())
