"""KID of any mixture, from sums of the kernel over pairs of cells: nothing is computed from features again.

Let S_a be the sum of the mean map over the patches of cell a = (image, point), r that of the originals divided by
their number, and x the shares. A mixture of m patches has the V-statistic

    V(x) = |sum_a x_a (S_a - n_a r)|^2 / m^2 = x' G x,    G_ab = <S_a - n_a r, S_b - n_b r> / m^2,

since the x_a n_a have sum m: a convex quadratic without a linear term. The unbiased estimate differs from it by terms
that are **linear** in the shares at every choice (the kernel of a patch with itself is there or not, with its cell):

    U(x) = (m V(x) + 2 c(x) - d(x) - d_r) / (m - 1),

c: mean of the kernel between mixture and originals, d and d_r: mean of its diagonal within each. So it is a convex
quadratic too, equal to KID at every choice, and bounds from it are bounds of KID itself (`convex_form="unbiased"`).
Between choices it lies below the V-statistic, the more so the fewer the patches: d / m counts a patch's own share once
in U and squared in V, so for small sets its relaxation is a weak one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rdp.analysis.sets.base import Choice, Relaxed, Weights
from rdp.analysis.sets.cells import FeatureCells
from rdp.analysis.sets.kept import KeptExchange, KeptFacts
from rdp.analysis.sets.kernel import (
    KERNEL,
    ROWS,
    SEED,
    SUBSET_SIZE,
    Places,
    kernel_block,
    kernel_diagonal,
    kernel_sum,
    subset_draws,
)
from rdp.analysis.sets.shares import checked_choice, checked_shares, relaxed_at, shares_of
from rdp.errors import MetricError

Float64 = NDArray[np.float64]
MEMORY = 2 << 30
REFRESH = 1024
"""Exchanges after which the running sums are made anew, so that rounding does not add up."""


class KernelScorer(KeptFacts):
    """KID between the originals and a mixture; a `SetScorer`.

    `subsets=None`: of all patches. Otherwise the mean over that many random subsets of `subset_size` patches of the
    originals and, drawn apart from them, of the mixture; the same places in every cell, so `score` is what
    `kernel_distance(originals, mixture, subsets=...)` gives. (With the same places in originals and mixture, patches
    would meet their own reconstructions in every subset, and KID would come out too small.)

    Holds 8 bytes for each pair of cells, (8 (N P)^2), whatever the number of patches; `memory` bounds it. To make
    takes about D * (P * patches)^2 multiplications, or with subsets D * (P * subset_size)^2 for each.
    Raises `MetricError` for sets of fewer than 2 patches, subsets that cannot be drawn, and too little memory.
    """

    quadratic = True
    """The convex form is quadratic in the shares."""

    def __init__(
        self,
        cells: FeatureCells,
        *,
        name: str = "kid",
        subsets: int | None = None,
        subset_size: int = SUBSET_SIZE,
        seed: int = SEED,
        convex_form: Literal["biased", "unbiased"] = "biased",
        memory: int = MEMORY,
    ) -> None:
        if cells.patches < 2:
            raise MetricError(f"a set of {cells.patches} patches has no KID: 2 are needed at least")
        count = len(cells.images) * len(cells.points)
        if 8 * count**2 > memory:
            raise MetricError(
                f"KID of {len(cells.images)} images at {len(cells.points)} points needs {8 * count**2} bytes for the "
                f"pairs of cells, and {memory} are allowed: take fewer points, or allow more memory"
            )
        super().__init__(name, len(cells.images), len(cells.points))
        self._form = convex_form
        self._size = cells.patches if subsets is None else subset_size
        whole = np.arange(cells.patches)
        draws: Sequence[tuple[Places, Places]] = (
            [(whole, whole)]
            if subsets is None
            else list(subset_draws(cells.patches, cells.patches, subsets, subset_size, seed))
        )
        self._gram = np.zeros((count, count))
        self._linear = np.zeros(count)
        self._own = 0.0  # mean of the originals' diagonal
        originals = cells.originals()
        for first, second in draws:
            self._add(cells, originals[first], second, 1 / len(draws))
        self._facts = {
            "patches": cells.patches,
            "dimensions": cells.dimensions,
            "kernel": KERNEL,
            "convex_form": convex_form,
            "subsets": subsets,
            "subset_size": self._size,
            "seed": None if subsets is None else seed,
            "nbytes": 8 * count**2,
            "warnings": [],
        }

    def score(self, choice: Choice) -> float:
        """The unbiased estimate, which may be below zero."""
        return float(self._unbiased(*self._terms(choice)))

    def biased(self, choice: Choice) -> float:
        """The V-statistic."""
        return self._terms(choice)[0]

    def relaxed(self, shares: Weights) -> Relaxed:
        taken = checked_shares(shares, self._images, self._points)
        flat = taken.ravel()
        product = self._gram @ flat
        value, gradient = float(flat @ product), 2 * product
        if self._form == "unbiased":
            value = self._unbiased(value, float(self._linear @ flat))
            gradient = (self._size * gradient + self._linear) / (self._size - 1)
        return relaxed_at(shares, taken, value, gradient.reshape(taken.shape))

    def exchange(self, choice: Choice) -> KernelExchange:
        chosen = checked_choice(choice, self._images, self._points)
        return KernelExchange(self._gram, self._linear, self._convex, chosen, self._points)

    def _terms(self, choice: Choice) -> tuple[float, float]:
        """The V-statistic and the linear terms of a choice."""
        chosen = checked_choice(choice, self._images, self._points) + np.arange(self._images) * self._points
        return float(self._gram[np.ix_(chosen, chosen)].sum()), float(self._linear[chosen].sum())

    def _unbiased(self, biased: Any, linear: Any) -> Any:
        return (self._size * biased + linear - self._own) / (self._size - 1)

    def _convex(self, biased: Any, linear: Any) -> Any:
        return biased if self._form == "biased" else self._unbiased(biased, linear)

    def _add(self, cells: FeatureCells, originals: NDArray[np.float32], places: Places, share: float) -> None:
        """Add the sums of one subset: `originals` (m, D), and the same `places` (m,) of every mixture."""
        size, count = len(originals), len(self._linear)
        numbers, cross = np.zeros(count), np.zeros(count)
        groups = list(_groups(cells, places))
        for number, (at, starts, block) in enumerate(groups):
            features = block()
            numbers[at] = np.diff([*starts, len(features)])
            diagonal = np.add.reduceat(kernel_diagonal(features), starts)
            for top in range(0, size, ROWS):
                kernel = kernel_block(features, originals[top : top + ROWS].astype(np.float64))
                cross[at] += np.add.reduceat(kernel.sum(axis=1), starts) / size
            self._linear[at] += share * (2 * cross[at] - diagonal) / size
            for others, other_starts, other in groups[number:]:
                kernel = kernel_block(features, features if others is at else other())
                sums = np.add.reduceat(np.add.reduceat(kernel, starts, axis=0), other_starts, axis=1)
                sums *= share / size**2
                self._gram[np.ix_(at, others)] += sums
                if others is not at:
                    self._gram[np.ix_(others, at)] += sums.T
        within = kernel_sum(originals, originals) / size**2
        for row in range(count):  # row by row: the matrix may be what the memory is for
            self._gram[row] -= (share / size**2) * (numbers[row] * (cross - within * numbers) + cross[row] * numbers)
        self._own += share * float(kernel_diagonal(originals.astype(np.float64)).mean())


class KernelExchange(KeptExchange):
    """A choice with the sums over its cells kept; a new value takes P steps, a change N P."""

    def __init__(self, gram: Float64, linear: Float64, convex: Any, choice: Choice, points: int) -> None:
        super().__init__(choice, points)
        self._gram, self._linear, self._convex = gram, linear, convex
        self._offsets = np.arange(len(choice)) * points
        self._refresh()

    def _now(self) -> float:
        chosen = self._offsets + self._choice
        return float(self._convex(self._sums[chosen].sum(), self._linear[chosen].sum()))

    def _each(self, image: int) -> Float64:
        chosen = self._offsets + self._choice
        now, new = chosen[image], slice(image * self._points, (image + 1) * self._points)
        # |m + z|^2 of the others' sum m and a new cell z, both from products with the sum of all, m + c.
        rest = self._sums[chosen].sum() - 2 * self._sums[now] + self._gram[now, now]
        with_rest = self._sums[new] - self._gram[new, now]
        own = np.diagonal(self._gram)[new]
        linear = self._linear[chosen].sum() - self._linear[now] + self._linear[new]
        return np.asarray(self._convex(rest + 2 * with_rest + own, linear), np.float64)

    def _change(self, image: int, point: int) -> None:
        old, new = self._offsets[image] + self._choice[image], self._offsets[image] + point
        self._sums += self._gram[new] - self._gram[old]
        super()._change(image, point)
        self._changes += 1
        if self._changes >= REFRESH:
            self._refresh()

    def _refresh(self) -> None:
        self._sums = self._gram @ shares_of(self._choice, self._points).ravel()
        self._changes = 0


Group = tuple[NDArray[np.intp], NDArray[np.intp], Any]
"""Cells that stand together in a block: their numbers, where each begins, and what makes their features."""


def _groups(cells: FeatureCells, places: Places) -> Iterator[Group]:
    """Cells that have patches at `places`, in blocks of about `ROWS` patches."""
    ends = np.cumsum(cells.counts)
    owner = np.searchsorted(ends, places, side="right")
    numbers: list[int] = []
    parts: list[tuple[NDArray[np.float32], Places]] = []
    rows = 0
    for image in range(len(cells.images)):
        own = np.sort(places[owner == image]) - (ends[image] - cells.counts[image])
        for point in range(len(cells.points) if len(own) else 0):
            if rows and rows + len(own) > ROWS:
                yield _group(numbers, parts)
                numbers, parts, rows = [], [], 0
            numbers.append(image * len(cells.points) + point)
            parts.append((cells.cells[image][point], own))
            rows += len(own)
    yield _group(numbers, parts)


def _group(numbers: list[int], parts: list[tuple[NDArray[np.float32], Places]]) -> Group:
    starts = np.concatenate([[0], np.cumsum([len(own) for _, own in parts])[:-1]]).astype(np.intp)
    return (
        np.array(numbers, np.intp),
        starts,
        lambda: np.concatenate([cell[own] for cell, own in parts]).astype(np.float64),
    )
