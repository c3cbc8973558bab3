"""Mean squared error and PSNR, of RGB and of luma, exact and without torch.

Everything is summed in integers, so that the numbers are the same on every machine and for every order of summation:
squares of 8-bit differences directly, and luma in thousandths, since the BT.601 weights 0.299, 0.587 and 0.114 are
integers there (full range, floating point in effect: nothing is rounded to 8 bits).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rdp.metrics.base import Metric

if TYPE_CHECKING:
    from rdp.metrics.base import Image

PEAK = 255
LUMA_THOUSANDTHS = (299, 587, 114)
"""Weights of R, G and B in BT.601 luma, times 1000."""

_BLOCK_PIXELS = 1 << 16
"""Pixels worked on at a time, so that temporary arrays stay in the processor's cache."""


def squared_error(reference: Image, reconstruction: Image) -> int:
    """Sum of squared differences over all pixels and channels of two uint8 (H, W, 3) images, exact."""
    return sum(int((d * d).sum(dtype=np.int64)) for d in _differences(reference, reconstruction))


def squared_luma_error(reference: Image, reconstruction: Image) -> int:
    """Sum of squared differences of BT.601 luma over all pixels, in units of (1/1000)^2, exact."""
    red, green, blue = LUMA_THOUSANDTHS
    total = 0
    for d in _differences(reference, reconstruction):
        luma = (red * d[..., 0] + green * d[..., 1] + blue * d[..., 2]).astype(np.int64)
        total += int((luma * luma).sum())
    return total


def psnr_of(mse: float) -> float:
    """10 log10(255^2 / mse) in dB; infinite at 0."""
    return math.inf if mse == 0 else 10.0 * math.log10(PEAK**2 / mse)


class Mse(Metric):
    """Mean squared error over all pixels and channels, on the 0..255 scale."""

    def _features(self, reference: Image) -> Image:
        return reference

    def _score_chunk(self, features: Image, reconstructions: Sequence[Image]) -> dict[str, list[float]]:
        return {self.columns[0]: [squared_error(features, r) / features.size for r in reconstructions]}


class Psnr(Metric):
    """10 log10(255^2 / mse) of each image in dB, infinite for identical images."""

    def _features(self, reference: Image) -> Image:
        return reference

    def _score_chunk(self, features: Image, reconstructions: Sequence[Image]) -> dict[str, list[float]]:
        return {self.columns[0]: [psnr_of(squared_error(features, r) / features.size) for r in reconstructions]}


class PsnrLuma(Metric):
    """PSNR of the BT.601 full-range luma in dB, infinite for luma that is identical."""

    def _features(self, reference: Image) -> Image:
        return reference

    def _score_chunk(self, features: Image, reconstructions: Sequence[Image]) -> dict[str, list[float]]:
        scale = 1000**2 * (features.size // 3)
        return {self.columns[0]: [psnr_of(squared_luma_error(features, r) / scale) for r in reconstructions]}


def _differences(reference: Image, reconstruction: Image) -> Iterator[np.ndarray[Any, np.dtype[np.int32]]]:
    """Differences of blocks of rows, int32 (rows, W, 3); a square is at most 65025, so sums of squares need int64."""
    rows = max(1, _BLOCK_PIXELS // reference.shape[1])
    for start in range(0, reference.shape[0], rows):
        block = reference[start : start + rows].astype(np.int32)
        block -= reconstruction[start : start + rows]
        yield block
