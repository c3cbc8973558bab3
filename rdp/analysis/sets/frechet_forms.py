"""The trace of the root of two covariances, for any mixture: its value, and a linear bound from above for any shares.

With S(x) the covariance of the mixture and R' R = S_r that of the originals, T(x) = Tr (R S(x) R')^(1/2). For any
symmetric B > 0 and K >= 0, Tr K^(1/2) <= (Tr K B + Tr B^-1) / 2, with equality at B = K^(-1/2). S(x) is concave in x
(it is linear less the square of the mean), so Tr K(x) B is, and its tangent at any x lies above T everywhere: that is
the bound, and where K is regular it is the tangent of T itself.

Where K is singular, or nearly, B would be infinite: the roots of its eigenvalues are taken as `floor` at least. The
bound holds as before; at x itself it is above T by `floor` at most for each such direction. `floor` is 1e-13 of the
largest root where features are compared directly, and what rounding leaves (some 1e-7 of it) from moments.

Two ways, as in `rdp.analysis.sets.frechet`: `LowRankTrace` for sets of at most as many patches as dimensions, and
`MomentsTrace`. Features are less the originals' mean throughout.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas

from rdp.analysis.sets.base import Choice, Weights
from rdp.analysis.sets.cells import Array, FeatureCells
from rdp.analysis.sets.frechet import (
    ROWS,
    RootFactor,
    Way,
    nuclear_norm,
    roots_of,
    rounding_floor,
    singular,
    too_few,
)

Float64 = NDArray[np.float64]
FLOOR = 1e-13


@dataclass(frozen=True)
class TraceBound:
    """`value + sum(gradient * (other - shares))` is T or more at all `other` shares; at `shares` T itself, or above."""

    value: float
    gradient: Float64


class TraceState(Protocol):
    """A choice that is changed; offsets are the mean of the mixture less that of the originals, (D,)."""

    def trace(self, image: int, point: int, offset: Float64) -> float:
        """T if one image had another point, and the mixture `offset` with it."""
        ...

    def set(self, image: int, point: int) -> None: ...


class Trace(Protocol):
    """T of any mixture."""

    @property
    def way(self) -> Way: ...

    @property
    def nbytes(self) -> int: ...

    @property
    def warnings(self) -> tuple[str, ...]: ...

    def trace(self, choice: Choice, offset: Float64) -> float: ...

    def bound(self, shares: Weights, offset: Float64) -> TraceBound: ...

    def state(self, choice: Choice) -> TraceState: ...


class LowRankTrace:
    """From products of the patches' features with those of the originals: M numbers for each patch of each cell.

    They are kept, 8 P M^2 bytes, where `memory` bytes hold them, and made anew each time where not.
    """

    way: Way = "low-rank"

    def __init__(self, cells: FeatureCells, mean: Float64, memory: int) -> None:
        self._cells, self._mean = cells, mean
        self._size = cells.patches
        self._originals = cells.originals() - mean
        self._scale = float(np.einsum("ij,ij->", self._originals, self._originals)) / (self._size - 1) ** 2
        wanted = 8 * len(cells.points) * self._size**2
        self._kept: list[list[Float64]] | None = None
        if wanted <= memory:
            self._kept = [[self._made(cell) for cell in row] for row in cells.cells]
        self.nbytes = self._originals.nbytes + (wanted if self._kept else 0)
        self.warnings = too_few((self._size, self._size), cells.dimensions)

    def trace(self, choice: Choice, offset: Float64) -> float:
        products = np.concatenate([self._products(image, point) for image, point in enumerate(choice)])
        products -= products.mean(axis=0)
        return nuclear_norm(products) / (self._size - 1)

    def bound(self, shares: Weights, offset: Float64) -> TraceBound:
        images, points = shares.shape
        mean = offset @ self._originals.T
        parts = [
            np.sqrt(shares[image, point]) * (self._products(image, point) - mean)
            for image, point in zip(*np.nonzero(shares), strict=True)
        ]
        rows = np.concatenate(parts)
        if len(rows) > self._size:
            rows = np.asarray(np.linalg.qr(rows, mode="r"), np.float64)
        _, roots, directions = np.linalg.svd(rows, full_matrices=True)
        roots = np.concatenate([roots / (self._size - 1), np.zeros(len(directions) - len(roots))])
        lifted = np.maximum(roots, FLOOR * max(roots[0], self._scale))
        if not lifted[0]:  # the originals are all the same: T is 0 everywhere
            return TraceBound(0.0, np.zeros(shares.shape))
        # Through the rows, not through their products with each other: where B is huge, squares of what is nearly
        # nothing stay nearly nothing.
        along = (directions / np.sqrt(lifted)[:, None]).T / (self._size - 1)
        centre = float(np.sum((mean @ along) ** 2))
        gradient = np.array(
            [
                [_spread(self._products(image, point) - mean, along, centre) for point in range(points)]
                for image in range(images)
            ]
        )
        return TraceBound(float((roots**2 / lifted + lifted).sum()) / 2, gradient / 2)

    def state(self, choice: Choice) -> TraceState:
        return _LowRankState(self, choice)

    def _products(self, image: int, point: int) -> Float64:
        """Of the patches of a cell with the originals', (n_i, M)."""
        return self._kept[image][point] if self._kept is not None else self._made(self._cells.cells[image][point])

    def _made(self, cell: Array) -> Float64:
        return np.asarray((cell - self._mean) @ self._originals.T, np.float64)


class _LowRankState:
    def __init__(self, trace: LowRankTrace, choice: Choice) -> None:
        self._trace, self._choice = trace, choice.copy()

    def trace(self, image: int, point: int, offset: Float64) -> float:
        changed = self._choice.copy()
        changed[image] = point
        return self._trace.trace(changed, offset)

    def set(self, image: int, point: int) -> None:
        self._choice[image] = point


class MomentsTrace:
    """From second moments, made from features each time they are needed: those of every cell would not fit anywhere.

    Keeps three matrices (D, D). A value takes D^2 * M multiplications and the eigenvalues of one (D, D), a bound P
    times the former (all cells against one matrix).
    """

    way: Way = "moments"

    def __init__(self, cells: FeatureCells, mean: Float64) -> None:
        self._cells, self._mean, self._size = cells, mean, cells.patches
        covariance = self._second((part, 1.0) for part in cells.reference) / (self._size - 1)
        self._factor = RootFactor.of(covariance)
        self.nbytes = 3 * covariance.nbytes
        self.warnings: tuple[str, ...] = ()
        missing = len(mean) - self._factor.rank
        if missing:
            largest = self._factor.product(covariance)[-1:, -1]  # of the direction of most variance
            tolerance = 2 * missing * float(np.sqrt(rounding_floor(largest) * np.sqrt(len(mean))))
            self.warnings = (singular("originals", self._factor.rank, len(mean), tolerance),)

    def trace(self, choice: Choice, offset: Float64) -> float:
        return self.trace_of(self.second_of(choice), offset)

    def bound(self, shares: Weights, offset: Float64) -> TraceBound:
        chosen = zip(*np.nonzero(shares), strict=True)
        second = self._second((self._cells.cells[i][p], float(shares[i, p])) for i, p in chosen)
        values, vectors = np.linalg.eigh(self._factor.product(self._covariance(second, offset)), UPLO="U")
        roots, floor = roots_of(values), float(np.sqrt(rounding_floor(values)))
        if not floor:  # T is 0 here, and a tangent has no size to go by: that of the originals is taken
            floor = FLOOR * float(np.sum(self._factor.rows**2)) or 1.0
        lifted = np.maximum(roots, floor)
        along = self._factor.rows.T @ (vectors / np.sqrt(lifted) / np.sqrt(self._size - 1))
        centre = float(np.sum((offset @ along) ** 2))
        gradient = np.array(
            [[_spread(cell - self._mean - offset, along, centre) for cell in row] for row in self._cells.cells]
        )
        return TraceBound(float((roots**2 / lifted + lifted).sum()) / 2, gradient / 2)

    def state(self, choice: Choice) -> TraceState:
        return _MomentsState(self, choice)

    def trace_of(self, second: Float64, offset: Float64) -> float:
        """T of a mixture by its second moments (D, D): the sum of f f' over its patches."""
        product = self._factor.product(self._covariance(second, offset))
        return float(roots_of(np.linalg.eigvalsh(product, UPLO="U")).sum())

    def second_of(self, choice: Choice) -> Float64:
        """Second moments of a choice."""
        return self._second((row[point], 1.0) for row, point in zip(self._cells.cells, choice, strict=True))

    def second_cell(self, image: int, point: int) -> Float64:
        """Those of one cell."""
        return self._second([(self._cells.cells[image][point], 1.0)])

    def _covariance(self, second: Float64, offset: Float64) -> Float64:
        found = np.outer(offset, -self._size * offset)
        found += second
        found /= self._size - 1
        return found

    def _second(self, parts: Iterable[tuple[Array, float]]) -> Float64:
        """The sum of weight * f f' over the features f of all parts."""
        total = np.zeros((len(self._mean), len(self._mean)), order="F")
        for block in self._blocks(parts):
            total = blas.dsyrk(1.0, block.T, beta=1.0, c=total, overwrite_c=1)  # the upper triangle
        found = np.triu(total)
        found += np.triu(total, 1).T
        return np.asarray(found, np.float64)

    def _blocks(self, parts: Iterable[tuple[Array, float]]) -> Iterator[Float64]:
        """Features times the root of their weight, some thousand rows at a time."""
        held: list[tuple[Array, float]] = []
        rows = 0
        for part, weight in parts:
            held.append((part, weight))
            rows += len(part)
            if rows >= ROWS:
                yield self._block(held)
                held, rows = [], 0
        if held:
            yield self._block(held)

    def _block(self, held: list[tuple[Array, float]]) -> Float64:
        block = np.concatenate([part for part, _ in held], dtype=np.float64)
        block -= self._mean
        if any(weight != 1 for _, weight in held):
            block *= np.sqrt(np.repeat([weight for _, weight in held], [len(part) for part, _ in held]))[:, None]
        return block


class _MomentsState:
    """Keeps the second moments of the choice; another point of an image changes them by those of two cells."""

    def __init__(self, trace: MomentsTrace, choice: Choice) -> None:
        self._trace, self._choice = trace, choice.copy()
        self._second = trace.second_of(choice)

    def trace(self, image: int, point: int, offset: Float64) -> float:
        return self._trace.trace_of(self._changed(image, point), offset)

    def set(self, image: int, point: int) -> None:
        self._second = self._changed(image, point)
        self._choice[image] = point

    def _changed(self, image: int, point: int) -> Float64:
        now = int(self._choice[image])
        if now == point:
            return self._second
        return self._second - self._trace.second_cell(image, now) + self._trace.second_cell(image, point)


def _spread(rows: Float64, along: Float64, centre: float) -> float:
    """Sum of |row along|^2 over the rows, less their number times that of the mean."""
    projected = rows @ along
    return float(np.einsum("ij,ij->", projected, projected)) - len(rows) * centre
