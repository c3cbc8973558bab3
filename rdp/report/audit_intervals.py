"""Intervals of an audit: the images of both sets drawn again, with what is kept of each image.

Cheap are the averages; the sliced Wasserstein distance, whose projections are sorted once for each mixture and then
weighted (`rdp.metrics.wasserstein.PairedProjections`); and the kernel distance, a quadratic form in the weights of the
images. A Frechet distance would be computed anew from moments for every draw: it has no interval here.

An image that is drawn twice stands in both sets twice. Of a kernel distance, pairs of a patch with itself are left out
of the sums within a set also between such copies, else every repetition would count as likeness; at equal weights this
is the unbiased estimate itself. A set with repetitions has fewer different patches, so distances over draws lie above
the value on average, and the value may lie at the low end of its interval: what tells two mixtures apart is the
interval of their **difference** over the same draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from rdp.analysis.bootstrap import BootstrapInterval, Drawn, bootstrap_difference, bootstrap_images, resample
from rdp.analysis.sets.kernel import kernel_block, kernel_diagonal
from rdp.metrics.wasserstein import paired_projections

Float32 = NDArray[np.float32]
FloatArray = NDArray[np.float64]
Weighted = Callable[[FloatArray], float]
"""A number at weights (N,) of the images, as if image i were there so many times."""

MOST_PATCHES = 4096
"""A kernel matrix of more patches is not cheap: 4096 take 128 MB and, with 2048 features, 70 GFLOP a mixture."""


def sliced_of(reference: Sequence[Float32], cells: Sequence[Float32]) -> Weighted:
    """The sliced Wasserstein distance of originals and one mixture: projections (levels, directions, n) of N images."""
    levels = [
        paired_projections([part[level] for part in reference], [part[level] for part in cells])
        for level in range(reference[0].shape[0])
    ]
    return lambda weights: float(np.mean([level.distance(weights) for level in levels]))


def kernel_of(reference: Sequence[Float32], cells: Sequence[Float32]) -> Weighted:
    """The unbiased kernel distance of originals and one mixture: features (n_i, D) of N images; n_i may be 0."""
    counts = np.array([len(part) for part in reference], np.float64)
    owner = np.repeat(np.arange(len(counts)), counts.astype(np.intp))
    a, b = (np.concatenate(part).astype(np.float64) for part in (reference, cells))

    def by_image(pairs: FloatArray) -> FloatArray:
        half = np.zeros((len(counts), pairs.shape[1]))
        np.add.at(half, owner, pairs)
        whole = np.zeros((len(counts), len(counts)))
        np.add.at(whole, owner, half.T)
        return whole

    within = by_image(kernel_block(a, a)) + by_image(kernel_block(b, b))
    across = by_image(kernel_block(a, b))
    own = np.bincount(owner, kernel_diagonal(a) + kernel_diagonal(b), minlength=len(counts))

    def value(weights: FloatArray) -> float:
        total = float(weights @ counts)
        pairs = total**2 - float(weights**2 @ counts)
        if pairs <= 0:
            return float("nan")
        inside = float(weights @ within @ weights) - float(weights**2 @ own)
        return inside / pairs - 2 * float(weights @ across @ weights) / total**2

    return value


def draws_of(images: int, resamples: int, seed: int) -> Iterator[Drawn]:
    """All images, and then each resample of `rdp.analysis.bootstrap`."""
    yield np.arange(images)
    for number in range(resamples):
        yield resample(seed, number, images)


def over_draws(value: Weighted, images: int, resamples: int, seed: int) -> dict[bytes, float]:
    """The number for each draw, by the draw's bytes: so that what it is made from may be let go."""
    return {
        drawn.tobytes(): value(np.bincount(drawn, minlength=images).astype(np.float64))
        for drawn in draws_of(images, resamples, seed)
    }


def interval_of(
    found: dict[bytes, float], less: dict[bytes, float] | None, images: int, resamples: int, seed: int
) -> BootstrapInterval:
    """The interval of a number, or of it less another one on the same draws."""

    def looked_up(drawn: Drawn) -> float:
        return found[drawn.tobytes()]

    if less is None:
        return bootstrap_images(looked_up, images, resamples=resamples, seed=seed)
    other = less
    return bootstrap_difference(looked_up, lambda drawn: other[drawn.tobytes()], images, resamples=resamples, seed=seed)
