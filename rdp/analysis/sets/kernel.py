"""Kernel distance of two sets of features (KID): the squared maximum mean discrepancy, polynomial kernel.

Source: Binkowski et al., "Demystifying MMD GANs", ICLR 2018: k(x, y) = (x.y / D + 1)^3. Two estimates:

- biased (the V-statistic): |mean map of a - mean map of b|^2, all pairs, 0 or more, 0 for identical sets;
- unbiased (what is reported as KID): pairs of a patch with itself left out within each set. It may be below zero, and
  is so for two identical sets, by about the variance of the kernel's diagonal over the number of patches.

By random subsets, both are means over subsets that are drawn as `torch-fidelity` draws them (its rule of drawing, so
that equal seeds give equal numbers): for each subset, `size` of the first set without replacement, then `size` of the
second one, from one legacy NumPy generator.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rdp.errors import MetricError

Array = NDArray[Any]
Float64 = NDArray[np.float64]
Places = NDArray[np.intp]

KERNEL = "((x.y)/D + 1)^3"
SUBSETS, SUBSET_SIZE, SEED = 100, 1000, 2020
"""As in `torch-fidelity` unless told otherwise."""
ROWS = 2048
"""Patches of either side in a block of the kernel matrix: 32 MiB."""


@dataclass(frozen=True)
class KernelDistance:
    """`value`: the unbiased estimate (KID); `biased`: the V-statistic; means over subsets, if there are any.

    `deviation`: of the unbiased estimate over subsets, 0 without them. `subsets`, `seed`: None where all patches were
    taken at once. `patches`: of both sets; `subset_size`: patches taken at a time (the smaller set's, without subsets).
    """

    value: float
    biased: float
    deviation: float
    patches: tuple[int, int]
    dimensions: int
    subsets: int | None
    subset_size: int
    seed: int | None
    warnings: tuple[str, ...]


def kernel_distance(
    a: Array, b: Array, *, subsets: int | None = None, subset_size: int = SUBSET_SIZE, seed: int = SEED
) -> KernelDistance:
    """Between features a (n, D) and b (m, D); of all patches, or the mean over `subsets` random subsets of both.

    Raises `MetricError` for sets of fewer than 2 patches or of different dimensions, for numbers that are not finite,
    and for subsets that are larger than a set.
    """
    a, b = checked_sets(a, b)
    sizes = (len(a), len(b))
    warnings = identical_warning(a, b)
    if subsets is None:
        value, biased = _both(a, b)
        return KernelDistance(value, biased, 0.0, sizes, a.shape[1], None, min(sizes), None, warnings)
    draws = subset_draws(*sizes, subsets, subset_size, seed)
    found = np.array([_both(a[first], b[second]) for first, second in draws])
    value, biased = (float(mean) for mean in found.mean(axis=0))
    deviation = float(found[:, 0].std())
    return KernelDistance(value, biased, deviation, sizes, a.shape[1], subsets, subset_size, seed, warnings)


def checked_sets(a: Array, b: Array) -> tuple[Array, Array]:
    """Two sets of features of equal dimensions, each of 2 patches or more, all finite; else a `MetricError`."""
    a, b = np.asarray(a), np.asarray(b)
    for name, part in (("first", a), ("second", b)):
        if part.ndim != 2 or part.dtype.kind not in "fiu":
            raise MetricError(f"the {name} set has {part.dtype} of shape {part.shape}; features are (patches, D)")
        if len(part) < 2:
            raise MetricError(f"the {name} set has {len(part)} patches: a distance of sets needs 2 at least")
        if not np.isfinite(part).all():
            raise MetricError(f"the {name} set has features that are not finite")
    if a.shape[1] != b.shape[1] or not a.shape[1]:
        raise MetricError(f"features of {a.shape[1]} and {b.shape[1]} dimensions cannot be compared")
    return a, b


def identical_warning(a: Array, b: Array) -> tuple[str, ...]:
    """A warning where both sets are the same numbers in the same order, else none."""
    if a.shape == b.shape and np.array_equal(a, b):
        return (f"the two sets are identical ({len(a)} patches): is a set compared with itself?",)
    return ()


def subset_draws(n: int, m: int, subsets: int, size: int, seed: int) -> Iterator[tuple[Places, Places]]:
    """Places of each subset in a set of n and in one of m patches, (size,) each, without repetition within a set.

    Raises `MetricError` for fewer than one subset, subsets of fewer than 2 patches or more than a set has, and a seed
    that is not a whole number from 0 to 2^32 - 1.
    """
    if subsets < 1 or not 2 <= size <= min(n, m):
        raise MetricError(
            f"{subsets} subsets of {size} patches cannot be drawn from sets of {n} and {m}: take one subset or more, "
            f"of 2 to {min(n, m)} patches"
        )
    if not 0 <= seed < 2**32:
        raise MetricError(f"the seed of the subsets must be a whole number from 0 to 4294967295, not {seed}")
    # The legacy generator is what the published tool draws with: another one would draw other subsets.
    random = np.random.RandomState(seed)
    return ((random.choice(n, size, replace=False), random.choice(m, size, replace=False)) for _ in range(subsets))


def kernel_block(x: Float64, y: Float64) -> Float64:
    """The kernel between features (n, D) and (m, D), (n, m)."""
    products = x @ y.T
    products /= x.shape[1]
    products += 1
    cubes = products * products
    cubes *= products
    return cubes


def kernel_diagonal(x: Float64) -> Float64:
    """The kernel of each feature (n, D) with itself, (n,)."""
    return np.asarray((np.einsum("ij,ij->i", x, x) / x.shape[1] + 1) ** 3, np.float64)


def kernel_sum(a: Array, b: Array) -> float:
    """Sum of the kernel over all pairs of features (n, D) and (m, D), block by block."""
    total = 0.0
    for top in range(0, len(a), ROWS):
        x = a[top : top + ROWS].astype(np.float64)
        for left in range(0, len(b), ROWS):
            total += float(kernel_block(x, b[left : left + ROWS].astype(np.float64)).sum())
    return total


def _both(a: Array, b: Array) -> tuple[float, float]:
    """The unbiased and the biased estimate of two sets, all patches."""
    n, m = len(a), len(b)
    within = [(kernel_sum(part, part), _diagonal_sum(part), len(part)) for part in (a, b)]
    across = 2 * kernel_sum(a, b) / (n * m)
    unbiased = sum((total - diagonal) / (size * (size - 1)) for total, diagonal, size in within) - across
    biased = sum(total / size**2 for total, _, size in within) - across
    return unbiased, biased


def _diagonal_sum(a: Array) -> float:
    return sum(float(kernel_diagonal(a[top : top + ROWS].astype(np.float64)).sum()) for top in range(0, len(a), ROWS))
