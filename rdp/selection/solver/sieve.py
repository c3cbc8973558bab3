"""Tables too large to go over again and again: one pass leaves a small problem.

1. The prices of a sample, and of a larger one: a few thousand images give the prices to about a per cent, and what
   their budgets would be in other samples of that size says how far the prices of all may be from that.
2. One pass over all images with a box of prices around these (`narrow`). Images of which one cell is the
   best whatever the prices in the box are settled: of them only sums are kept. The others, a few in a hundred, are kept
   with the cells that are still open.
3. On these the prices are found exactly, and a selection (`certified`). As long as the prices are within
   the box, L of the open images plus the sums of the settled ones is L of all, in float64; so is the bound. Where the
   prices end at the border of the box, the pass is made again with a box that reaches further.

The priced cost of a cell is sum over the quantities of weight * sign * value, for one image with weights that are not
divided by their totals; so the prices `mu` in here are those of averages times the ratio of the total weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rdp.selection.problem import BoolArray, FloatArray, IntArray
from rdp.selection.solver.blocks import Block, BlockSource, Row, in_parallel

EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class Sums:
    """What some images with their choice come to: weighted sums of the objective and of each row (1 + K,), the same of
    absolute values, the total weights (1 + K,), and the number of images."""

    values: FloatArray
    sizes: FloatArray
    weights: FloatArray
    images: int

    @classmethod
    def of(cls, parts: Sequence[Sums]) -> Sums:
        """The sums of several, each rounded once."""

        def added(arrays: list[FloatArray]) -> FloatArray:
            return np.array([math.fsum(column) for column in np.array(arrays).T.tolist()])

        return cls(
            added([part.values for part in parts]),
            added([part.sizes for part in parts]),
            added([part.weights for part in parts]),
            sum(part.images for part in parts),
        )


@dataclass(frozen=True, eq=False)
class Sifted:
    """What a pass leaves: the choice of every image for the prices in the middle of the box (N,), the sums of the
    settled images, and the open ones: their numbers (n,), the points of their cells (n, m), and their values.

    `largest` (1 + K,): no value of a quantity is larger, where its sign is mixed, else 0.
    """

    base: IntArray
    settled: Sums
    images: IntArray
    points: IntArray
    block: Block
    largest: FloatArray


def sift(source: BlockSource, blocks: Iterator[Block], low: FloatArray, high: FloatArray, threads: int) -> Sifted:
    """One pass over blocks of the source with a box of prices `mu` (K,)."""
    quantities = (source.objective, *source.rows)
    centre = np.concatenate([[1.0], (low + high) / 2])
    radius = np.concatenate([[0.0], (high - low) / 2 * (1 + 1e-12)])
    dtype = np.min_scalar_type(source.points)

    def work(block: Block, scratch: list[FloatArray]) -> _Sieved:
        return _sieve(block, quantities, centre, radius, dtype, scratch)

    parts = list(in_parallel(work, blocks, threads))
    width = max(part.points.shape[1] for part in parts)
    columns = range(len(parts[0].block.columns))
    block = Block(
        first=0,
        columns=tuple(_stacked([part.block.columns[c] for part in parts], width) for c in columns),
        weights=tuple(np.concatenate(some) for some in zip(*(part.block.weights for part in parts), strict=True)),
        allowed=_stacked([part.keep for part in parts], width),
    )
    return Sifted(
        base=np.concatenate([part.base for part in parts]),
        settled=Sums.of([part.settled for part in parts]),
        images=np.concatenate([part.images for part in parts]),
        points=_stacked([part.points for part in parts], width),
        block=block,
        largest=np.max([part.largest for part in parts], axis=0),
    )


def _stacked(parts: Sequence[np.ndarray], width: int) -> np.ndarray:
    """Arrays (n, m) under each other, filled up with zeros to one width."""
    out = np.zeros((sum(len(part) for part in parts), width), dtype=parts[0].dtype)
    start = 0
    for part in parts:
        out[start : start + len(part), : part.shape[1]] = part
        start += len(part)
    return out


@dataclass(frozen=True, eq=False)
class _Sieved:
    """A block, sieved."""

    base: IntArray
    settled: Sums
    images: IntArray
    points: IntArray
    keep: BoolArray
    block: Block
    largest: FloatArray


def _sieve(
    block: Block,
    quantities: Sequence[Row],
    centre: FloatArray,
    radius: FloatArray,
    dtype: np.dtype[np.unsignedinteger],
    scratch: list[FloatArray],
) -> _Sieved:
    """Settle the images of one block that can be."""
    # A sample's blocks are views with gaps: copied here, where other threads go on.
    block = replace(block, columns=tuple(np.ascontiguousarray(values) for values in block.columns))
    shape = block.columns[0].shape
    if not scratch or scratch[0].shape[0] < shape[0] or scratch[0].shape[1] != shape[1]:
        scratch[:] = [np.empty(shape), np.empty(shape)]
    priced, spare = scratch[0][: shape[0]], scratch[1][: shape[0]]
    rows = np.arange(shape[0])
    with np.errstate(invalid="ignore", over="ignore"):
        _price(block, quantities, centre, priced, spare)
        base = priced.argmin(axis=1)
        least = priced[rows, base]
        picked = [values.ravel().take(rows * shape[1] + base) for values in block.columns]
        sizes = _sizes(block, quantities, picked, centre)
        largest = np.array([_mixed_size(block, quantity) for quantity in quantities])
        # Terms of one sign: what is rounded is no larger than the sum. Else every term may be as large as can be.
        mixed = bool(largest.any()) or len({quantity.sign for quantity in quantities}) > 1
        worst = _worst(block, quantities, centre) if mixed else 0.0
        priced -= (least + 16 * EPS * (sizes + worst))[:, None]
        for column, factor in _factors(block, quantities, radius, signed=False).items():
            np.subtract(block.columns[column], picked[column][:, None], out=spare)
            np.abs(spare, out=spare)
            spare *= factor * (1 + 16 * EPS)
            priced -= spare
        keep = priced <= 0
    open_, points, allowed = _left_over(keep)
    cells = open_[:, None] * shape[1] + points
    columns = tuple(values.ravel().take(cells) for values in block.columns)
    inner = Block(block.first, columns, tuple(weights[open_] for weights in block.weights))
    settled = np.ones(shape[0], dtype=np.bool_)
    settled[open_] = False
    sums = _sums(block, quantities, picked, settled)
    return _Sieved(base.astype(dtype), sums, open_ + block.first, points.astype(dtype), allowed, inner, largest)


def _left_over(keep: BoolArray) -> tuple[IntArray, IntArray, BoolArray]:
    """The images (n,) with several cells kept, those cells moved to the left (n, m), and which of them count.

    The first image is always one of them, so that there is something to solve whatever is settled.
    """
    images, width = keep.shape
    image, point = np.divmod(np.flatnonzero(keep), width)
    counts = np.bincount(image, minlength=images)
    several = counts > 1
    several[0] = True
    rank = np.arange(len(image)) - (np.cumsum(counts) - counts)[image]
    row = (np.cumsum(several) - 1)[image]
    own = several[image]
    shape = (int(several.sum()), int(counts[several].max()))
    points, allowed = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.bool_)
    points[row[own], rank[own]] = point[own]
    allowed[row[own], rank[own]] = True
    return np.flatnonzero(several), points, allowed


def _price(block: Block, quantities: Sequence[Row], prices: FloatArray, out: FloatArray, spare: FloatArray) -> None:
    """Write the priced cost of every cell, infinite where it is not allowed."""
    factors = _factors(block, quantities, prices)
    first = True
    for column, factor in factors.items():
        if first and isinstance(factor, float) and factor == 1.0:
            np.copyto(out, block.columns[column])
        else:
            np.multiply(block.columns[column], factor, out=out if first else spare)
            if not first:
                out += spare
        first = False
    if block.allowed is not None:
        np.copyto(out, np.inf, where=~block.allowed)


def priced_costs(block: Block, quantities: Sequence[Row], prices: FloatArray) -> FloatArray:
    """The priced cost (B, M) of every cell, infinite where it is not allowed."""
    out, spare = np.empty(block.columns[0].shape), np.empty(block.columns[0].shape)
    _price(block, quantities, prices, out, spare)
    return out


def _factors(
    block: Block, quantities: Sequence[Row], prices: FloatArray, *, signed: bool = True
) -> dict[int, float | FloatArray]:
    """What every column of the block is multiplied with: a number, or one an image (B, 1)."""
    factors: dict[int, float | FloatArray] = {}
    for quantity, price in zip(quantities, prices.tolist(), strict=True):
        amount = price * quantity.sign if signed else price
        if not amount:
            continue
        factor: float | FloatArray = (
            amount if quantity.weights is None else amount * block.weights[quantity.weights][:, None]
        )
        factors[quantity.column] = factor if quantity.column not in factors else factors[quantity.column] + factor
    return factors


def _sizes(block: Block, quantities: Sequence[Row], picked: list[FloatArray], prices: FloatArray) -> FloatArray:
    """The sum of the absolute terms (B,) of the least priced cost, which bounds its rounding."""
    total = np.zeros(len(picked[0]))
    for quantity, price in zip(quantities, prices.tolist(), strict=True):
        values = np.abs(picked[quantity.column]) * price
        total += values if quantity.weights is None else values * block.weights[quantity.weights]
    return total


def _worst(block: Block, quantities: Sequence[Row], prices: FloatArray) -> FloatArray | float:
    """No sum of the absolute terms of a priced cost in the block is larger: one number, or one an image (B,)."""
    total: FloatArray | float = 0.0
    for quantity, price in zip(quantities, prices.tolist(), strict=True):
        values = block.columns[quantity.column]
        if block.allowed is not None:
            values = np.where(block.allowed, values, 0.0)
        size = price * max(float(values.max()), -float(values.min()))
        total = total + (size if quantity.weights is None else size * block.weights[quantity.weights])
    return total


def _sums(block: Block, quantities: Sequence[Row], picked: list[FloatArray], which: BoolArray) -> Sums:
    values, sizes, weights = [], [], []
    for quantity in quantities:
        terms = picked[quantity.column]
        if quantity.weights is not None:
            terms = terms * block.weights[quantity.weights]
            weights.append(float(block.weights[quantity.weights].sum()))
        else:
            weights.append(float(len(terms)))
        kept = terms[which]
        values.append(quantity.sign * float(kept.sum()))
        sizes.append(float(np.abs(kept).sum()))
    return Sums(np.array(values), np.array(sizes), np.array(weights), len(which))


def _mixed_size(block: Block, quantity: Row) -> float:
    """The largest absolute value of a column with values of both signs, 0 for others."""
    values = block.columns[quantity.column]
    if block.allowed is not None:
        values = np.where(block.allowed, values, 0.0)
    least = float(values.min())
    if least >= 0:
        return 0.0
    largest = float(values.max())
    return max(-least, largest) if largest > 0 else 0.0
