"""Sliced Wasserstein distance (SWD) of any mixture, from sorted projections of every cell.

On each level and direction (a row) the distance is the integral of |F_x - F_r|, the distribution functions of mixture
and originals: for a choice the mean absolute difference of the sorted projections of both sets, and for shares the
same integral with weighted steps, which is convex in the shares. The value is the mean over directions and levels.
What the projections are is said in `rdp.metrics.wasserstein`. Values depend on the number of patches: two sets of one
law are not at distance 0, so compare sets of equally many patches only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rdp.analysis.sets.base import Choice, Relaxed, Weights
from rdp.analysis.sets.cells import Float32, ProjectionCells
from rdp.analysis.sets.kept import KeptExchange, KeptFacts
from rdp.analysis.sets.shares import checked_choice, checked_shares, relaxed_at
from rdp.analysis.sets.sliced_coarse import MEMORY as COARSE_MEMORY
from rdp.analysis.sets.sliced_coarse import CoarseSliced, bins_within
from rdp.errors import MetricError

Array = NDArray[Any]
Float64 = NDArray[np.float64]

ROWS = 32
"""Rows at a time: 32 of 24 images with 128 patches are 400 kB, which stay in a core's cache."""
UNION_ROWS = 8
MEMORY = 1 << 30
_SIGN, _ALL = np.uint32(1 << 31), np.uint32(0xFFFFFFFF)


@dataclass(frozen=True)
class SlicedDistance:
    """The distance on each level, in the order given, and their mean, `value`; patches of each set on a level."""

    value: float
    levels: tuple[float, ...]
    patches: int
    directions: int
    warnings: tuple[str, ...]


def sliced_distance(a: Sequence[Array], b: Sequence[Array]) -> SlicedDistance:
    """Between two sets, each a list of its images' projections (levels, directions, n); n may differ within a set.

    Raises `MetricError` for empty sets, sets of different levels, directions or numbers of patches, and for numbers
    that are not finite.
    """
    if not a or not b:
        raise MetricError(f"sets of {len(a)} and {len(b)} images cannot be compared: one at least is empty")
    if any(part.ndim != 3 or part.shape[:2] != a[0].shape[:2] for part in (*a, *b)):
        raise MetricError("projections must be (levels, directions, patches), of one number of levels and directions")
    first, second = (np.sort(np.concatenate(part, axis=2), axis=2).astype(np.float64) for part in (a, b))
    if first.shape != second.shape or not first.size:
        raise MetricError(f"sets of {first.shape[2]} and {second.shape[2]} patches cannot be compared: take as many")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise MetricError("there are projections that are not finite")
    levels = np.abs(first - second).mean(axis=(1, 2))
    same = (f"the two sets are identical ({first.shape[2]} patches): is a set compared with itself?",)
    return SlicedDistance(
        float(levels.mean()),
        tuple(float(level) for level in levels),
        first.shape[2],
        first.shape[1],
        same if not levels.any() else (),
    )


class SlicedScorer(KeptFacts):
    """SWD between the originals and a mixture; a `SetScorer`.

    Keeps the cells (`ProjectionCells.nbytes`: 4 bytes a projection) and the originals' sorted rows (8 bytes for each
    of theirs). The convex form needs the order of all cells' projections together in each row: it is made when first
    asked for and kept, 6 bytes a projection (8 from 65535 cells on), for as many rows as `memory` bytes hold, and made
    anew each time for the others.
    """

    def __init__(self, cells: ProjectionCells, *, name: str = "swd", memory: int = MEMORY) -> None:
        super().__init__(name, len(cells.images), len(cells.points))
        self._cells = cells
        levels, directions, patches = cells.shape
        self._rows, self._total = levels * directions, patches * len(cells.images)
        merged = np.concatenate([_flat(part) for part in cells.reference], axis=1)
        merged.sort(axis=1)
        self._sorted = merged.astype(np.float64)
        self._owner_type = np.dtype(np.uint16 if len(cells.images) * len(cells.points) < 0xFFFF else np.uint32)
        width = self._total * (len(cells.points) + 1)
        self._keep = min(self._rows, memory // (width * (4 + self._owner_type.itemsize)))
        self._kept: dict[int, tuple[Float32, NDArray[Any]]] = {}
        self._coarse: CoarseSliced | None = None
        self._facts = {
            "patches": self._total,
            "levels": levels,
            "directions": directions,
            "nbytes": cells.nbytes + self._sorted.nbytes,
            "rows_kept_in_order": self._keep,
            "warnings": [],
        }

    def score(self, choice: Choice) -> float:
        return float(self.level_scores(choice).mean())

    def level_scores(self, choice: Choice) -> Float64:
        """The distance on each level, (levels,)."""
        chosen = checked_choice(choice, self.images, self.points)
        parts = [_flat(row[point]) for row, point in zip(self._cells.cells, chosen, strict=True)]
        found = np.empty(self._rows)
        for start in range(0, self._rows, ROWS):
            rows = slice(start, start + ROWS)
            mixture = np.concatenate([part[rows] for part in parts], axis=1)
            mixture.sort(axis=1)
            found[rows] = _distances(mixture, self._sorted[rows])
        return np.asarray(found.reshape(self._cells.shape[:2]).mean(axis=1), np.float64)

    def relaxed(self, shares: Weights) -> Relaxed:
        taken = checked_shares(shares, self.images, self.points)
        signed = np.append(taken.ravel(), -1.0)  # the originals are the last owner
        value, gradient = 0.0, np.zeros(len(signed))
        for start in range(0, self._rows, UNION_ROWS):
            for values, owners in self._ordered(start, min(start + UNION_ROWS, self._rows)):
                height = np.cumsum(np.take(signed, owners))
                gaps = np.diff(values.astype(np.float64))
                value += float(np.abs(height[:-1]) @ gaps)
                # Mass at a value raises the distribution function from there on.
                slopes = np.zeros(len(values))
                slopes[:-1] = np.cumsum((np.sign(height[:-1]) * gaps)[::-1])[::-1]
                gradient += np.bincount(owners, slopes, minlength=len(signed))
        scale = self._total * self._rows
        return relaxed_at(shares, taken, value / scale, gradient[:-1].reshape(taken.shape) / scale)

    def below(self) -> CoarseSliced | None:
        """A form that is nowhere above and costs a fraction: made when first asked for, and kept.

        It takes about as long to make as two values of `relaxed`. None where its `MEMORY` would hold too few bins.
        """
        bins = bins_within(self._rows, self.images * self.points, COARSE_MEMORY)
        if self._coarse is None and bins:
            starts = range(0, self._rows, UNION_ROWS)
            rows = (row for start in starts for row in self._ordered(start, min(start + UNION_ROWS, self._rows)))
            of = {"images": self.images, "points": self.points, "total": self._total}
            self._coarse = CoarseSliced(rows, self._rows, bins=bins, **of)
        return self._coarse

    def exchange(self, choice: Choice) -> SlicedExchange:
        return SlicedExchange(self, checked_choice(choice, self.images, self.points))

    def exchanged(self, choice: Choice, image: int) -> Float64:
        """The distances if one image had each of its points, the others as in `choice`, (points,).

        The others are sorted once, and each point's projections merged into them.
        """
        chosen = checked_choice(choice, self.images, self.points)
        others = [
            _flat(row[point])
            for number, (row, point) in enumerate(zip(self._cells.cells, chosen, strict=True))
            if number != image
        ]
        own = [_flat(cell) for cell in self._cells.cells[image]]
        total = np.zeros(self.points)
        for start in range(0, self._rows, ROWS):
            rows = slice(start, start + ROWS)
            mixture = np.empty((len(own[0][rows]), self._total), np.float32)
            width = self._total - own[0].shape[1]
            if others:
                np.concatenate([part[rows] for part in others], axis=1, out=mixture[:, :width])
            rest = np.sort(mixture[:, :width], axis=1)
            for point, cell in enumerate(own):
                mixture[:, :width], mixture[:, width:] = rest, cell[rows]
                mixture.sort(axis=1, kind="stable")  # two sorted runs, which it merges
                total[point] += _distances(mixture, self._sorted[rows]).sum()
        return total / self._rows

    def _ordered(self, start: int, stop: int) -> list[tuple[Float32, NDArray[Any]]]:
        """For some rows: all projections of cells and originals, sorted, and whose each is."""
        if stop - 1 in self._kept:
            return [self._kept[row] for row in range(start, stop)]
        cells = [_flat(cell)[start:stop] for row in self._cells.cells for cell in row]
        values = np.concatenate([*cells, *(_flat(part)[start:stop] for part in self._cells.reference)], axis=1)
        each = cells[0].shape[1]
        owners = np.minimum(np.arange(values.shape[1]) // each, len(cells)).astype(np.uint64)
        found = [_in_order(row, owners, self._owner_type) for row in values]
        if stop <= self._keep:
            self._kept.update(zip(range(start, stop), found, strict=True))
        return found


class SlicedExchange(KeptExchange):
    """A choice and its distance, made anew by merging when it is asked for."""

    def __init__(self, scorer: SlicedScorer, choice: Choice) -> None:
        super().__init__(choice, scorer.points)
        self._scorer = scorer

    def _now(self) -> float:
        return self._scorer.score(self._choice)

    def _each(self, image: int) -> Float64:
        return self._scorer.exchanged(self._choice, image)


def _flat(projections: Float32) -> Float32:
    """(levels, directions, n) as rows (levels * directions, n)."""
    return projections.reshape(-1, projections.shape[2])


def _distances(mixture: Float32, originals: Float64) -> Float64:
    """Mean absolute difference of sorted rows; in float64, where differences of float32 numbers are exact enough."""
    difference = mixture.astype(np.float64)
    difference -= originals
    return np.asarray(np.abs(difference, out=difference).mean(axis=1), np.float64)


def _in_order(values: Float32, owners: NDArray[np.uint64], kind: np.dtype[Any]) -> tuple[Float32, NDArray[Any]]:
    """Values (n,) sorted, and their owners: as one sort of whole numbers, several times as fast as an argsort."""
    bits = values.view(np.uint32)
    keys = bits ^ np.where(bits & _SIGN, _ALL, _SIGN)  # in the order of the numbers themselves
    packed = (keys.astype(np.uint64) << np.uint64(32)) | owners
    packed.sort()
    keys = (packed >> np.uint64(32)).astype(np.uint32)
    bits = keys ^ np.where(keys & _SIGN, _SIGN, _ALL)
    return bits.view(np.float32), (packed & np.uint64(_ALL)).astype(kind)
