"""A cheap form that is nowhere above a sliced Wasserstein distance: the integral of |F_x - F_r| by whole bins.

On each row (a level and a direction) the line is cut into bins, and in each bin the absolute value is taken of the
integral instead of the integral of the absolute value. That is never more (by the triangle inequality), it is convex
in the shares, and it is a sum of absolute values of linear functions of the shares: a value takes two products with
one matrix, however many patches there are. What is lost is where F_x - F_r changes its sign within a bin.

So its tangent planes are below the distance at any shares too, and a mixture whose coarse value is above the distance
of another need not be looked at. Rounding is on the safe side: by Higham (2002, section 3.1) a sum of n products in
float32 is off by at most n units in the last place of the sum of their absolute values, and that much is taken off.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rdp.analysis.sets.base import Choice, Relaxed, Weights
from rdp.analysis.sets.kept import KeptExchange, KeptFacts
from rdp.analysis.sets.shares import checked_choice, checked_shares, relaxed_at

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Ordered = tuple[Float32, NDArray[Any]]
"""One row: all projections of cells and originals, sorted, and whose each is (cells first, the originals last)."""

MEMORY = 1 << 29
BINS, FEWEST = 256, 4
SUMMED = 64
"""Terms of a sum in float32."""
BLOCK = 16
"""So many such sums at a time: their part of the matrix stays in a core's cache for both products."""
SLACK = (SUMMED + 4) * 2.0**-24
"""Of the sum of absolute values: what rounding may change, storing included."""


def bins_within(rows: int, cells: int, memory: int) -> int:
    """As many bins a row as the memory holds, `BINS` at most; 0 where they would be too few to be of use."""
    bins = min(BINS, memory // (4 * rows * cells))
    return bins if bins >= FEWEST else 0


class CoarseSliced(KeptFacts):
    """The coarse form of a `SlicedScorer`; a `SetScorer` whose score is the form itself.

    `rows` yields every row in order, `total` is the number of patches of a set. Holds 4 bytes for each bin and cell.
    """

    def __init__(self, rows: Iterable[Ordered], count: int, *, images: int, points: int, total: int, bins: int) -> None:
        super().__init__("swd, coarse", images, points)
        cells = images * points
        wide = -(-count * bins // SUMMED) * SUMMED  # the rows that are left over are zeros
        self._matrix = np.zeros((wide, cells), np.float32)
        scale = 1.0 / (total * count)
        for number, (values, owners) in enumerate(rows):
            inside = _binned(values, owners, cells, bins)
            inside[:, :-1] -= inside[:, -1:] / images
            self._matrix[number * bins : (number + 1) * bins] = inside[:, :-1] * scale
        self._slack = np.zeros(cells)
        for start in range(0, wide, SUMMED * BLOCK):
            part = self._matrix[start : start + SUMMED * BLOCK]
            self._slack += SLACK * np.abs(part).sum(axis=0, dtype=np.float64)
        self._facts = {"bins": bins, "nbytes": self._matrix.nbytes, "warnings": []}

    def score(self, choice: Choice) -> float:
        return float(self.exchange(choice).value)

    def relaxed(self, shares: Weights) -> Relaxed:
        taken = checked_shares(shares, self.images, self.points)
        single = taken.ravel().astype(np.float32)
        gradient = np.zeros(len(single))
        # Whatever signs are taken, the sum of signed rows is nowhere above that of absolute values.
        for start in range(0, len(self._matrix), SUMMED * BLOCK):
            part = self._matrix[start : start + SUMMED * BLOCK]
            signs = np.sign(part @ single)
            sums = np.matmul(signs.reshape(-1, 1, SUMMED), part.reshape(-1, SUMMED, part.shape[1]))
            gradient += sums.sum(axis=(0, 1), dtype=np.float64)
        gradient -= self._slack
        return relaxed_at(shares, taken, float(gradient @ taken.ravel()), gradient.reshape(taken.shape))

    def exchange(self, choice: Choice) -> CoarseExchange:
        chosen = checked_choice(choice, self.images, self.points)
        return CoarseExchange(self._matrix, self._slack, chosen, self.points)


class CoarseExchange(KeptExchange):
    """A choice with its sums over each bin kept."""

    def __init__(self, matrix: Float32, slack: Float64, choice: Choice, points: int) -> None:
        super().__init__(choice, points)
        self._matrix, self._slack = matrix, slack
        self._offsets = np.arange(len(choice)) * points
        self._refresh()

    def _now(self) -> float:
        return float(np.abs(self._sums).sum() - self._slack[self._offsets + self._choice].sum())

    def _each(self, image: int) -> Float64:
        first = self._offsets[image]
        rest = self._sums - self._matrix[:, first + self._choice[image]]
        slack = self._slack[self._offsets + self._choice].sum() - self._slack[first + self._choice[image]]
        found = np.empty(self._points)
        for point in range(self._points):
            found[point] = np.abs(rest + self._matrix[:, first + point]).sum() - slack - self._slack[first + point]
        return found

    def _change(self, image: int, point: int) -> None:
        first = self._offsets[image]
        self._sums -= self._matrix[:, first + self._choice[image]]
        self._sums += self._matrix[:, first + point]
        super()._change(image, point)

    def _refresh(self) -> None:
        self._sums = self._matrix[:, self._offsets + self._choice].sum(axis=1, dtype=np.float64)


def _binned(values: Float32, owners: NDArray[Any], cells: int, bins: int) -> Float64:
    """For one row: the integral over each bin of each owner's number of values so far, (bins, cells + 1).

    Bins hold equally many of all values. A value adds what is left of its own bin, and the whole of every later one.
    """
    ends = np.linspace(0, len(values), bins + 1).astype(np.intp)
    edges = np.append(values, values[-1])[ends].astype(np.float64)
    number = np.repeat(np.arange(bins), np.diff(ends))
    keys = number * (cells + 1) + owners
    own = np.bincount(keys, edges[1:][number] - values, bins * (cells + 1)).reshape(bins, cells + 1)
    counts = np.bincount(keys, minlength=bins * (cells + 1)).reshape(bins, cells + 1)
    before = np.cumsum(counts, axis=0) - counts
    return np.asarray(own + before * np.diff(edges)[:, None], np.float64)
