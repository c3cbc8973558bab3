"""FID of any mixture, its convex form, and its value while a choice is changed.

M patches, features less the originals' mean, d(x) the mean of the mixture and q(x) its mean square: with covariances
of divisor M - 1,

    FID(x) = (M q(x) - |d(x)|^2) / (M - 1) + Tr S_r - 2 T(x),

q linear in the shares, T concave (see `rdp.analysis.sets.frechet_forms`). All is convex but -|d(x)|^2 / (M - 1), which
the divisor M - 1 leaves over (with M it would not be there). To it is added sum_a c_a (x_a^2 - x_a), which is 0 at
every choice and below 0 between them, c_a large enough that the sum of both is convex on shares whose rows have
sum 1. So the convex form **is** the FID at every choice, and bounds from it are bounds of the FID itself; between
choices it lies below the formula by `convex_shortfall` (of the facts) at most, which falls as 1 / M.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rdp.analysis.sets.base import Choice, Relaxed, Weights
from rdp.analysis.sets.cells import FeatureCells
from rdp.analysis.sets.frechet_forms import LowRankTrace, MomentsTrace, Trace
from rdp.analysis.sets.kept import KeptExchange, KeptFacts
from rdp.analysis.sets.shares import checked_choice, checked_shares, relaxed_at
from rdp.errors import MetricError

Float64 = NDArray[np.float64]
MEMORY = 2 << 30


class FrechetScorer(KeptFacts):
    """FID between the originals and a mixture; a `SetScorer`.

    Keeps the sum of the features of each cell, 8 N P D bytes, beside the features themselves; and, with at most as many
    patches as dimensions, products with the originals where `memory` bytes hold them too (`LowRankTrace`).
    Raises `MetricError` for sets of fewer than 2 patches and for too little memory.
    """

    def __init__(self, cells: FeatureCells, *, name: str = "fid", memory: int = MEMORY) -> None:
        size, dimensions = cells.patches, cells.dimensions
        if size < 2:
            raise MetricError(f"a set of {size} patches has no FID: 2 are needed at least")
        wanted = 8 * len(cells.images) * len(cells.points) * dimensions
        if wanted > memory:
            raise MetricError(
                f"FID of {len(cells.images)} images at {len(cells.points)} points of {dimensions} dimensions needs "
                f"{wanted} bytes for sums of features, and {memory} are allowed: take fewer points or more memory"
            )
        super().__init__(name, len(cells.images), len(cells.points))
        self._size = size
        mean = sum((part.sum(axis=0, dtype=np.float64) for part in cells.reference), np.zeros(dimensions)) / size
        self._own = sum(float(np.sum((part - mean) ** 2)) for part in cells.reference) / (size - 1)
        self._sums = np.empty((self._images, self._points, dimensions))
        self._squares = np.empty((self._images, self._points))
        for image, row in enumerate(cells.cells):
            for point, cell in enumerate(row):
                features = cell - mean
                self._sums[image, point] = features.sum(axis=0)
                self._squares[image, point] = np.einsum("ij,ij->", features, features)
        self._trace: Trace = (
            LowRankTrace(cells, mean, memory - wanted) if size <= dimensions else MomentsTrace(cells, mean)
        )
        self._bend = _bends(self._sums) / (size**2 * (size - 1))
        self._facts = {
            "patches": size,
            "dimensions": dimensions,
            "way": self._trace.way,
            # How far the convex form can lie below the formula, anywhere: c_a has its largest weight at equal shares.
            "convex_shortfall": float(self._bend.max(axis=1).sum() * (1 - 1 / self._points)),
            "nbytes": self._sums.nbytes + self._squares.nbytes + self._trace.nbytes,
            "warnings": list(self._trace.warnings),
        }

    def score(self, choice: Choice) -> float:
        chosen = checked_choice(choice, self._images, self._points)
        every = np.arange(self._images)
        offset = self._sums[every, chosen].sum(axis=0) / self._size
        value = self.combined(self._squares[every, chosen].sum(), offset, self._trace.trace(chosen, offset))
        return max(value, 0.0)

    def relaxed(self, shares: Weights) -> Relaxed:
        taken = checked_shares(shares, self._images, self._points)
        offset = np.einsum("ip,ipd->d", taken, self._sums) / self._size
        bound = self._trace.bound(taken, offset)
        value = self.combined(float(np.sum(taken * self._squares)), offset, bound.value)
        value += float(np.sum(self._bend * (taken**2 - taken)))
        gradient = (self._squares - (2 / self._size) * (self._sums @ offset)) / (self._size - 1)
        gradient += self._bend * (2 * taken - 1) - 2 * bound.gradient
        return relaxed_at(shares, taken, value, gradient)

    def exchange(self, choice: Choice) -> FrechetExchange:
        chosen = checked_choice(choice, self._images, self._points)
        return FrechetExchange(self, self._trace, self._sums, self._squares, chosen)

    def combined(self, squares: float, offset: Float64, trace: float) -> float:
        """The distance from the sum of squares of the mixture, its mean less the originals' (D,), and the trace T."""
        return float((squares - offset @ offset) / (self._size - 1) + self._own - 2 * trace)

    @property
    def patches(self) -> int:
        """Patches of a mixture."""
        return self._size


class FrechetExchange(KeptExchange):
    """A choice whose sums are kept; each new value takes one trace."""

    def __init__(self, scorer: FrechetScorer, trace: Trace, sums: Float64, squares: Float64, choice: Choice) -> None:
        super().__init__(choice, squares.shape[1])
        self._scorer, self._sums, self._squares = scorer, sums, squares
        self._state = trace.state(choice)

    def _now(self) -> float:
        return self._with(0, int(self._choice[0]))

    def _each(self, image: int) -> Float64:
        return np.array([self._with(image, point) for point in range(self._points)])

    def _change(self, image: int, point: int) -> None:
        self._state.set(image, point)
        super()._change(image, point)

    def _with(self, image: int, point: int) -> float:
        chosen = self._choice.copy()
        chosen[image] = point
        every = np.arange(len(chosen))
        offset = self._sums[every, chosen].sum(axis=0) / self._scorer.patches
        squares = float(self._squares[every, chosen].sum())
        return self._scorer.combined(squares, offset, self._state.trace(image, point, offset))


def _bends(sums: Float64) -> Float64:
    """Numbers c (N, P) with |sum_a z_a s_a|^2 <= sum_a c_a z_a^2 for all z whose rows have sum 0; s_a as `sums`.

    For such z each s_a counts less the mean of its image's. With w_a = |s_a|, the left side is at most the largest
    eigenvalue of sum_a s_a s_a' / w_a times sum_a w_a z_a^2.
    """
    apart = sums - sums.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(apart, axis=2)
    rows = (apart / np.sqrt(np.where(lengths > 0, lengths, 1))[:, :, None]).reshape(-1, sums.shape[2])
    gram = rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows
    return np.asarray(lengths * (np.linalg.eigvalsh(gram)[-1] * (1 + 1e-9)), np.float64)
