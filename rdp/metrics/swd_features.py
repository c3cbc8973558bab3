"""Sorted projections of each image's patches: what the sliced Wasserstein distance of any mixture is merged from.

The distance is that of `rdp.metrics.wasserstein`. Two things follow from the set of originals as a whole: the number of
levels (as many as the smallest image has) and the statistics that all patches are normalised by; both are found in one
pass, an image at a time. Positions of patches follow from the seed and the hash of the original's pixels, so that they
depend neither on the other images nor on their order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rdp.errors import MetricError, RunFolderError, SpecError
from rdp.metrics.wasserstein import (
    CHANNELS,
    PATCHES,
    PROJECTIONS,
    SIDE,
    ChannelStatistics,
    directions,
    image_descriptors,
    image_projections,
    level_count,
)

Pixels = NDArray[np.uint8]
Float32 = NDArray[np.float32]

VERSION = 1
_KEY_DIGITS = 16


@dataclass(frozen=True)
class SwdSettings:
    """Patches of each level of each image, side of a patch in pixels, directions, and the seed of both.

    Another seed gives other patches and directions: a distance to judge by when this one was optimised.
    """

    patches: int = PATCHES
    side: int = SIDE
    projections: int = PROJECTIONS
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.patches, self.side, self.projections) < 1 or self.seed < 0:
            raise SpecError(f"{self}: patches, side and projections are 1 or more, the seed 0 or more")


@dataclass(frozen=True, eq=False)
class SwdProjector:
    """Makes the projections of an image: settings, and the statistics of each level of the originals."""

    settings: SwdSettings
    statistics: tuple[ChannelStatistics, ...]

    def project(self, image: Pixels, key: int) -> Float32:
        """Projections of an image, uint8 (H, W, 3), each row sorted: float32 (levels, projections, patches).

        `key` is that of its original. Raises `MetricError` for an image that is too small.
        """
        own = self.settings
        levels = image_descriptors(
            image, len(self.statistics), patches=own.patches, side=own.side, seed=own.seed, key=key
        )
        along = directions(CHANNELS * own.side * own.side, own.projections, own.seed)
        parts = [image_projections(level, one, along) for level, one in zip(levels, self.statistics, strict=True)]
        return np.stack(parts)


def image_key(pixels_sha256: str) -> int:
    """The number of an original that decides where its patches are: the first 64 bits of its hash."""
    return int(pixels_sha256[:_KEY_DIGITS], 16)


def common_levels(sizes: Iterable[tuple[str, int, int]]) -> int:
    """Levels that all images, (name, width, height) each, have. Raises `MetricError` that names one too small."""
    least = None
    for name, width, height in sizes:
        try:
            count = level_count(height, width)
        except MetricError as error:
            raise MetricError(f"{name}: {error}. Score without swd, or evaluate a run without this image") from error
        least = count if least is None else min(least, count)
    if least is None:
        raise MetricError("a set of images is empty: there are no patches")
    return least


def originals_statistics(
    originals: Iterable[tuple[Pixels, int]], levels: int, settings: SwdSettings
) -> tuple[ChannelStatistics, ...]:
    """`channel_statistics` of each level over the patches of all originals, (image, key) each, one image at a time."""
    totals = [_Moments() for _ in range(levels)]
    for image, key in originals:
        parts = image_descriptors(
            image, levels, patches=settings.patches, side=settings.side, seed=settings.seed, key=key
        )
        for total, part in zip(totals, parts, strict=True):
            total.add(part)
    return tuple(total.statistics() for total in totals)


class _Moments:
    """Mean and sum of squared deviations of each channel, joined part by part (Chan, Golub, LeVeque 1983)."""

    def __init__(self) -> None:
        self._count = 0
        self._mean = np.zeros(CHANNELS)
        self._squares = np.zeros(CHANNELS)

    def add(self, patches: Float32) -> None:
        values = patches.reshape(-1, CHANNELS, patches.shape[-1] // CHANNELS)
        mean = values.mean(axis=(0, 2), dtype=np.float64)
        squares = np.square(values - mean[:, None], dtype=np.float64).sum(axis=(0, 2))
        count = values.shape[0] * values.shape[2]
        both = self._count + count
        apart = mean - self._mean
        self._squares += squares + apart**2 * (self._count * count / both)
        self._mean += apart * (count / both)
        self._count = both

    def statistics(self) -> ChannelStatistics:
        std = np.sqrt(self._squares / self._count)
        return ChannelStatistics(self._mean, np.where(std > 0, std, 1.0))


def swd_identity(settings: SwdSettings, levels: int, originals: Sequence[str]) -> dict[str, Any]:
    """What projections depend on, as JSON; `originals` are the hashes of the set's pixels, in any order."""
    return {
        "name": "swd",
        "version": VERSION,
        "dtype": "float32",
        "settings": {**asdict(settings), "levels": levels, "normalise": "first"},
        "originals": sorted(originals),
    }


def write_statistics(statistics: Sequence[ChannelStatistics]) -> list[dict[str, list[float]]]:
    """As JSON, exactly."""
    return [{"mean": one.mean.tolist(), "std": one.std.tolist()} for one in statistics]


def read_statistics(document: Sequence[Mapping[str, Any]], levels: int, where: str) -> tuple[ChannelStatistics, ...]:
    """What `write_statistics` wrote. Raises `RunFolderError` that names `where` for anything else."""
    try:
        found = tuple(
            ChannelStatistics(np.array(one["mean"], np.float64), np.array(one["std"], np.float64)) for one in document
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RunFolderError(f"{where} is damaged ({error!r}): delete the folder and compute it again") from error
    if len(found) != levels or any(one.mean.shape != (CHANNELS,) or one.std.shape != (CHANNELS,) for one in found):
        raise RunFolderError(f"{where} is damaged (statistics of {len(found)} levels): delete the folder")
    return found
