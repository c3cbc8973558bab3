"""Sliced Wasserstein distance between two sets of images, on patches of their Laplacian pyramids; no weights.

Source: Karras et al., "Progressive growing of GANs", ICLR 2018, section 5. What is done here, exactly:

1. Each image (8-bit RGB, as numbers 0..255) becomes a Laplacian pyramid: level 0 is the image less the blurred image,
   and so on; the last level is what is left, blurred and small. The filter is (1, 4, 6, 4, 1) / 16 in both directions,
   borders mirrored about the last pixel; the pyramid goes down as long as the shorter side has 16 pixels or more.
2. From each level of each image 128 patches of 7x7 pixels and three channels are taken, at positions drawn uniformly
   and with replacement; they follow from (seed, key of the image, level), so that an image and its reconstruction
   have them at the same places, and an image can be done alone.
3. Patches are normalised by channel: less the mean, divided by the standard deviation, over all patches of a level.
   **Both sets by the statistics of the first**, the originals. (The source normalises each set by its own. A set that
   has lost contrast would then have it given back, which is the very loss that a codec is blamed for; and values of
   one image would depend on which others it stands with. `normalise="each"` is the source's way.)
4. Patches are projected on 512 random directions (normal vectors of length 1, the same on all levels); for each
   direction the projections of both sets are sorted, and the distance is the mean absolute difference: the exact
   1-Wasserstein distance in one dimension. A level's value is the mean over the directions, and the distance of the
   sets the mean over the levels. The source prints values times 1000; here they are as they are.

Normalised by one set of statistics, the projections of an image are the same whatever mixture it stands in:
`image_projections` makes them, sorted, `merged` puts those of many images together, `sorted_distance` compares, and
`PairedProjections` reweights images without sorting again (a bootstrap over images). A finite set has a distance above
zero from another one of the same law: compare values of equal numbers of patches only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rdp.errors import MetricError

Array = NDArray[Any]
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

PATCHES, SIDE, PROJECTIONS, SMALLEST = 128, 7, 512, 16
CHANNELS = 3
_TAPS = np.array([1, 4, 6, 4, 1], np.float32) / 16
_ROWS = 8
_POSITIONS, _DIRECTIONS = 0, 1
"""What random numbers are for: a stream each, so that one does not move the other."""


@dataclass(frozen=True, eq=False)
class ChannelStatistics:
    """Mean and standard deviation of each channel over all patches of a level, (3,) each.

    The deviation of a channel that is constant counts as 1.
    """

    mean: Float64
    std: Float64


@dataclass(frozen=True)
class SlicedWasserstein:
    """The distance on each level, finest first, and their mean; in standard deviations of the normalising set."""

    levels: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The distance of the two sets."""
        return float(np.mean(self.levels))


def level_count(height: int, width: int, smallest: int = SMALLEST) -> int:
    """Levels of an image's pyramid whose shorter side has at least `smallest` pixels; 6 for 512 x 768 and 16.

    Raises `MetricError` for an image that is smaller itself.
    """
    side, count = min(height, width), 0
    while side >= smallest:
        side, count = (side + 1) // 2, count + 1
    if not count:
        raise MetricError(f"an image of {width}x{height} has no level with {smallest} pixels along its shorter side")
    return count


def laplacian_pyramid(image: Array, levels: int) -> list[Float32]:
    """Band-pass levels of an image (H, W, C), finest first, (h, w, C) each; the last one is the low-pass rest.

    Sides are halved and rounded up from level to level. Raises `MetricError` for an image too small for that many.
    """
    if levels < 1 or min(image.shape[:2]) < 3 << (levels - 1):
        raise MetricError(f"an image of {image.shape[1]}x{image.shape[0]} has no pyramid of {levels} levels")
    rest = np.asarray(image, np.float32)
    bands = []
    for _ in range(levels - 1):
        small = _blurred(_blurred(rest, 0)[::2], 1)[:, ::2]
        bands.append(rest - expanded(small, rest.shape[0], rest.shape[1]))
        rest = small
    return [*bands, rest]


def expanded(small: Array, height: int, width: int) -> Float32:
    """A level (h, w, C) at twice its size, `height` x `width`: zeros put in between, and the same filter, times 4."""
    zeros = np.zeros((height, width, small.shape[2]), np.float32)
    zeros[::2, ::2] = small
    return 4 * _blurred(_blurred(zeros, 0), 1)


def image_descriptors(
    image: Array, levels: int, *, patches: int = PATCHES, side: int = SIDE, seed: int = 0, key: int = 0
) -> list[Float32]:
    """Patches of each level of one image (H, W, 3), (patches, 3 * side * side) each, channel by channel.

    `key` is a number of the image, 0 or more: with the seed it decides the positions. Raises `MetricError` for an
    image whose smallest level has no patch.
    """
    if image.ndim != 3 or image.shape[2] != CHANNELS:
        raise MetricError(f"patches are of images (H, W, 3), not of shape {image.shape}")
    taken = []
    for number, level in enumerate(laplacian_pyramid(image, levels)):
        rows, columns = level.shape[0] - side + 1, level.shape[1] - side + 1
        if min(rows, columns) < 1:
            raise MetricError(
                f"level {number} of the image is {level.shape[1]}x{level.shape[0]}: no {side}x{side} patch"
            )
        rng = np.random.default_rng([_POSITIONS, seed, key, number])
        top, left = rng.integers(0, rows, patches), rng.integers(0, columns, patches)
        windows = np.lib.stride_tricks.sliding_window_view(level, (side, side), axis=(0, 1))
        taken.append(np.ascontiguousarray(windows[top, left]).reshape(patches, -1))
    return taken


def descriptors(
    images: Sequence[Array],
    *,
    levels: int | None = None,
    patches: int = PATCHES,
    side: int = SIDE,
    seed: int = 0,
    keys: Sequence[int] | None = None,
) -> list[Float32]:
    """Patches of a set of N images (H, W, 3), which may differ in size: for each level (N, patches, 3 * side * side).

    `levels`: as many as the smallest image has, unless given. `keys`: 0 to N - 1, unless given; see
    `image_descriptors`. Raises `MetricError` for an empty set, and for images that are too small.
    """
    if not images:
        raise MetricError("a set of images is empty: there are no patches")
    count = min(level_count(*image.shape[:2]) for image in images) if levels is None else levels
    numbers = range(len(images)) if keys is None else keys
    parts = [
        image_descriptors(image, count, patches=patches, side=side, seed=seed, key=key)
        for image, key in zip(images, numbers, strict=True)
    ]
    return [np.stack([part[level] for part in parts]) for level in range(count)]


def channel_statistics(level: Array) -> ChannelStatistics:
    """Of the patches of one level, (..., 3 * side * side), all taken together."""
    values = level.reshape(-1, CHANNELS, level.shape[-1] // CHANNELS)
    std = values.std(axis=(0, 2), dtype=np.float64)
    return ChannelStatistics(values.mean(axis=(0, 2), dtype=np.float64), np.where(std > 0, std, 1.0))


def directions(size: int, count: int = PROJECTIONS, seed: int = 0) -> Float64:
    """Random directions (count, size) of length 1, uniform on the sphere."""
    normal = np.random.default_rng([_DIRECTIONS, seed]).standard_normal((count, size))
    return np.asarray(normal / np.linalg.norm(normal, axis=1, keepdims=True), np.float64)


def image_projections(patches: Array, statistics: ChannelStatistics, along: Float64) -> Float32:
    """Normalised patches (n, D) of an image (or of several) on directions (P, D): (P, n), each row sorted."""
    each = patches.shape[-1] // CHANNELS
    mean, std = np.repeat(statistics.mean, each), np.repeat(statistics.std, each)
    return np.sort((along @ ((patches - mean) / std).T).astype(np.float32), axis=1)


def merged(projections: Sequence[Array]) -> Float32:
    """Sorted projections (P, n) of several images as those of one set, (P, sum of n), sorted."""
    return np.sort(np.concatenate(projections, axis=1), axis=1, kind="stable")


def sorted_distance(a: Array, b: Array) -> float:
    """Mean absolute difference of two sets' sorted projections (P, n): the mean distance over the directions.

    Raises `MetricError` for sets of different numbers of patches or directions.
    """
    if a.shape != b.shape:
        raise MetricError(
            f"sets of {a.shape[1]} and {b.shape[1]} patches on {a.shape[0]} and {b.shape[0]} directions cannot be "
            "compared: take as many of both"
        )
    return float(np.abs(a - b, dtype=np.float64).mean())


def sliced_wasserstein(
    a: Sequence[Array],
    b: Sequence[Array],
    *,
    projections: int = PROJECTIONS,
    seed: int = 0,
    normalise: Literal["first", "each"] = "first",
) -> SlicedWasserstein:
    """The distance between two sets of patches, level by level, as `descriptors` gives them.

    `normalise`: both sets by the statistics of the first, or each by its own. Raises `MetricError` for sets that
    differ in their number of levels or of patches.
    """
    if len(a) != len(b) or not a:
        raise MetricError(
            f"sets of {len(a)} and {len(b)} levels cannot be compared: take as many of both, at least one"
        )
    found = []
    for one, other in zip(a, b, strict=True):
        along = directions(one.shape[-1], projections, seed)
        first = channel_statistics(one)
        second = first if normalise == "first" else channel_statistics(other)
        rows = [
            image_projections(part.reshape(-1, part.shape[-1]), statistics, along)
            for part, statistics in ((one, first), (other, second))
        ]
        found.append(sorted_distance(*rows))
    return SlicedWasserstein(tuple(found))


@dataclass(frozen=True, eq=False)
class PairedProjections:
    """Projections of two sets over the same N images, sorted together, so that images can be weighted anew.

    `gaps` (P, 2 N n - 1): from each value to the next; `owners` (P, 2 N n): the image of each, plus N for those of the
    second set. `per_image`: n.
    """

    gaps: Float32
    owners: NDArray[np.int32]
    images: int
    per_image: int

    def distance(self, weights: Array) -> float:
        """The distance when image i counts `weights[i]` times in both sets, (N,), the same as if it were repeated.

        The integral of the difference of both distribution functions. Raises `MetricError` for weights of another
        number, below 0, or all 0.
        """
        share = np.asarray(weights, np.float64)
        if share.shape != (self.images,) or share.min() < 0 or not share.sum() > 0:
            raise MetricError(f"there must be a weight of 0 or more for each of {self.images} images, not all 0")
        share = share / (share.sum() * self.per_image)
        signed, total = np.concatenate([share, -share]), 0.0
        for start in range(0, len(self.owners), _ROWS):  # few directions at a time stay in the cache
            rows = slice(start, start + _ROWS)
            height = np.cumsum(np.take(signed, self.owners[rows, :-1]), axis=1)
            total += float(np.einsum("ij,ij->", np.abs(height, out=height), self.gaps[rows]))
        return total / len(self.owners)


def paired_projections(a: Sequence[Array], b: Sequence[Array]) -> PairedProjections:
    """Of two sets, each a list of the images' projections (P, n), the same images in the same order.

    Raises `MetricError` for lists of different lengths.
    """
    if len(a) != len(b) or not a:
        raise MetricError(f"{len(a)} and {len(b)} images cannot be paired: take the same images in both sets")
    values = np.concatenate([*a, *b], axis=1)
    order = np.argsort(values, axis=1, kind="stable")
    per_image = a[0].shape[1]
    return PairedProjections(
        np.diff(np.take_along_axis(values, order, axis=1), axis=1),
        (order // per_image).astype(np.int32),
        len(a),
        per_image,
    )


def _blurred(values: Float32, axis: int) -> Float32:
    """Along one axis, mirrored about the last pixel."""
    length = values.shape[axis]
    border = [(0, 0)] * values.ndim
    border[axis] = (2, 2)
    padded = np.moveaxis(np.pad(values, border, mode="reflect"), axis, 0)
    total = sum((float(tap) * padded[k : k + length] for k, tap in enumerate(_TAPS)), start=np.float32(0))
    return np.moveaxis(np.asarray(total, np.float32), 0, axis)
