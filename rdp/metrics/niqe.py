"""NIQE: how far the statistics of a picture are from those of undistorted photographs. It needs no reference.

Source: Mittal, Soundararajan, Bovik, "Making a 'completely blind' image quality analyzer", IEEE Signal Processing
Letters 20(3), 2013, and the authors' MATLAB programme (niqe_release). What is done here, exactly:

1. The picture becomes gray as by MATLAB's `rgb2gray`, rounded to whole levels 0..255, and loses the rows and columns at
   the bottom and on the right that do not fill a block of 96x96 pixels.
2. On two scales, the picture itself and half of it (bicubic with antialiasing as by MATLAB's `imresize`, mirrored at
   the border), every pixel becomes (value - mean) / (deviation + 1) under a Gaussian window of 7x7 and sigma 7/6, its
   border replicated.
3. Each block, 96x96 and on the second scale 48x48, gives 18 features a scale: shape and scale of a generalised Gaussian
   fitted to its values, and shape, mean, left and right scale of asymmetric ones fitted to the products with its four
   neighbours (the block wraps around). Shapes are those of a table from 0.2 to 10 in steps of 0.001.
4. Over the blocks, mean m and covariance C of the 36 features are compared with those of pristine blocks, m0 and C0:
   sqrt((m0 - m) pinv((C0 + C) / 2) (m0 - m)'). 0 is the model itself; photographs have about 2 to 5.

In step 2 a difference below 1e-10 levels, which is rounding, counts as none: in a flat area the mean equals the value.
Other programmes leave there what their own summation leaves, and since step 3 counts values on either side of zero,
their numbers depend on it. On photographs without flat areas this one equals BasicSR's to 5e-6 and pyiqa's to 4e-5. Of
four photographs as JPEG of quality 50 and 10 it is away from theirs by 6 % and 9 % at most (a night sky, half of which
is flat), and they from one another by 0.4 % and 3.5 %. A block that is flat altogether has no features; it is left out,
as in the source, and a picture with fewer than two other blocks is an error and not a number.

The pristine model is the authors', in a file that is found through the index of weights; or one that `fit_pristine`
has fitted to photographs of your own, which gives another metric, `niqe_fitted`.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d
from scipy.special import gammaln

from rdp.errors import MetricError, WeightsError
from rdp.images import read_image
from rdp.metrics.base import Metric, MetricPlan
from rdp.storage import replace_file
from rdp.weights import reverify

if TYPE_CHECKING:
    from rdp.metrics.base import Image

Float64 = NDArray[np.float64]

BLOCK, FEATURES, LEAST_BLOCKS = 96, 36, 2
SHARPNESS = 0.75
"""Blocks of a pristine photograph count from this part of its sharpest block's sharpness on, as in the source."""

_MEAN_KEY, _COVARIANCE_KEY = "mu_pris_param", "cov_pris_param"
_GRAY = np.array([0.298936021293776, 0.587043074451121, 0.114020904255103])
_WINDOW = np.exp(-(np.arange(-3, 4) ** 2) / (2 * (7 / 6) ** 2))
_WINDOW /= _WINDOW.sum()
_HALVING = np.array([-3, -9, 29, 111, 111, 29, -9, -3]) / 256
"""Keys' cubic (a = -1/2), twice as wide, at 0.25, 0.75, 1.25 and 1.75 of its half support on either side."""
_ROUNDING = 1e-10
_SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))


@dataclass(frozen=True, eq=False)
class PristineModel:
    """Mean (36,) and covariance (36, 36) of the features of undistorted blocks."""

    mean: Float64
    covariance: Float64


@dataclass(frozen=True, eq=False)
class BlockFeatures:
    """Of the N blocks of a picture, row by row: features (N, 36), NaN where there are none, and sharpness (N,), the
    mean of the local deviation in levels."""

    features: Float64
    sharpness: Float64


class Niqe(Metric):
    """NIQE of each reconstruction: 0 or more, lower is better. The reference is not looked at."""

    def __init__(self, plan: MetricPlan, device: str = "cpu") -> None:
        super().__init__(plan, device)
        self._model = read_model(reverify(plan.weights[0]))

    def _features(self, reference: Image) -> None:
        return None

    def _score_chunk(self, features: None, reconstructions: Sequence[Image]) -> dict[str, list[float]]:
        return {self.columns[0]: [niqe(image, self._model) for image in reconstructions]}


def niqe(image: Image, model: PristineModel) -> float:
    """NIQE of one picture, uint8 (H, W, 3), against a pristine model.

    Raises `MetricError` for a picture with fewer than two blocks of 96x96 that are not flat.
    """
    found = block_features(image).features
    whole = found[~np.isnan(found).any(axis=1)]
    if len(whole) < LEAST_BLOCKS:
        raise MetricError(
            f"niqe needs at least {LEAST_BLOCKS} blocks of {BLOCK}x{BLOCK} pixels that are not flat, and of the "
            f"{len(found)} blocks of this picture {len(whole)} are: it has no texture to judge"
        )
    # A block may have features on one scale only: it counts for their means, as in the source, not for covariances.
    away = model.mean - np.nanmean(found, axis=0)
    pooled = (model.covariance + np.cov(whole, rowvar=False)) / 2
    inverse = np.linalg.pinv(pooled, rcond=FEATURES * np.finfo(np.float64).eps, hermitian=True)
    return float(np.sqrt(max(away @ inverse @ away, 0.0)))


def block_features(image: Image) -> BlockFeatures:
    """Features of the whole blocks of 96x96 of a picture, uint8 (H, W, 3).

    Raises `MetricError` if there is none.
    """
    rows, columns = image.shape[0] // BLOCK, image.shape[1] // BLOCK
    if not rows or not columns:
        raise MetricError(f"niqe needs blocks of {BLOCK}x{BLOCK} pixels; a picture of {_size(image)} has none")
    gray = np.floor(image[: rows * BLOCK, : columns * BLOCK] @ _GRAY + 0.5)
    parts, sharpness = [], np.empty(0)
    for side in (BLOCK, BLOCK // 2):
        mean = _smoothed(gray)
        deviation = np.sqrt(np.abs(_smoothed(gray * gray) - mean * mean))
        difference = gray - mean
        difference[np.abs(difference) < _ROUNDING] = 0
        if side == BLOCK:
            sharpness = _blocks(deviation, side).mean(axis=(1, 2))
        parts.append(_statistics(_blocks(difference / (deviation + 1), side)))
        gray = _halved(_halved(gray, 0), 1)
    return BlockFeatures(np.concatenate(parts, axis=1), sharpness)


def fit_pristine(images: Iterable[Image | str | os.PathLike[str]], out: str | os.PathLike[str]) -> Path:
    """Fit a pristine model to undistorted photographs, for `niqe:model=FILE`, and write it to the file `out` (.npz).

    `images`: uint8 (H, W, 3) each, or image files. Of each, the blocks that are at least 0.75 as sharp as its sharpest
    one count, as in the source. More than 36 of them are needed, hundreds to make it a good model; the photographs
    should be no part of any test set. Returns the path. Raises `MetricError` for too few blocks or a photograph without
    one, `ImageError` for a file that cannot be used, and `WeightsError` if the model cannot be written.
    """
    kept = []
    for image in images:
        pixels = image if isinstance(image, np.ndarray) else read_image(os.fspath(image))
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
            raise MetricError(f"photographs must be uint8 (H, W, 3), not {pixels.dtype} {pixels.shape}")
        found = block_features(pixels)
        sharp = found.sharpness > SHARPNESS * found.sharpness.max()
        kept.append(found.features[sharp & ~np.isnan(found.features).any(axis=1)])
    features = np.concatenate(kept) if kept else np.empty((0, FEATURES))
    if len(features) <= FEATURES:
        raise MetricError(
            f"a pristine model needs more than {FEATURES} sharp blocks of {BLOCK}x{BLOCK} pixels, and the "
            f"{len(kept)} photographs have {len(features)}: give more or larger ones"
        )
    target, buffer = Path(out), io.BytesIO()
    arrays: dict[str, Any] = {_MEAN_KEY: features.mean(axis=0), _COVARIANCE_KEY: np.cov(features, rowvar=False)}
    np.savez(buffer, **arrays)
    try:
        replace_file(target, buffer.getvalue())
    except OSError as error:
        raise WeightsError(f"{target} cannot be written: {error.strerror}") from error
    return target


def read_model(path: Path) -> PristineModel:
    """A pristine model from a file (.npz). Raises `WeightsError` for a file that is none."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            mean, covariance = (np.asarray(arrays[key], np.float64) for key in (_MEAN_KEY, _COVARIANCE_KEY))
    except (OSError, EOFError, KeyError, TypeError, ValueError, BadZipFile) as error:
        if isinstance(error, FileNotFoundError):
            raise WeightsError(f"the pristine model {path} does not exist: name a file for niqe:model=FILE") from error
        raise WeightsError(
            f"{path} is no pristine model of NIQE: {error}. `rdp.metrics.niqe.fit_pristine` makes one"
        ) from error
    if mean.size != FEATURES or covariance.shape != (FEATURES, FEATURES):
        raise WeightsError(
            f"{path} is no pristine model of NIQE: {_MEAN_KEY} has the shape {mean.shape} and {_COVARIANCE_KEY} "
            f"{covariance.shape}, not ({FEATURES},) and ({FEATURES}, {FEATURES})"
        )
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise WeightsError(f"{path} is no pristine model of NIQE: it holds values that are not finite")
    return PristineModel(mean.reshape(FEATURES), covariance)


def _size(image: Image) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"


def _smoothed(plane: Float64) -> Float64:
    rows = correlate1d(plane, _WINDOW, axis=0, mode="nearest")
    return np.asarray(correlate1d(rows, _WINDOW, axis=1, mode="nearest"), np.float64)


def _halved(plane: Float64, axis: int) -> Float64:
    """Half as many samples along one axis, which has an even number."""
    padded = np.moveaxis(np.pad(plane, [(3, 3) if k == axis else (0, 0) for k in range(2)], mode="symmetric"), axis, 0)
    length = plane.shape[axis]
    total = sum((tap * padded[k : k + length : 2] for k, tap in enumerate(_HALVING)), start=np.float64(0))
    return np.moveaxis(np.asarray(total, np.float64), 0, axis)


def _blocks(plane: Float64, side: int) -> Float64:
    """The blocks (N, side, side) of a plane, row by row."""
    rows, columns = plane.shape[0] // side, plane.shape[1] // side
    return plane.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(-1, side, side)


def _statistics(blocks: Float64) -> Float64:
    """The 18 features (N, 18) of normalised blocks (N, side, side); NaN where a block has values on one side only."""
    shape, left, right = _asymmetric_gaussian(blocks)
    found = [shape, (left + right) / 2]
    for shift in _SHIFTS:
        shape, left, right = _asymmetric_gaussian(blocks * np.roll(blocks, shift, axis=(1, 2)))
        found += [shape, (right - left) * np.exp(gammaln(2 / shape) - gammaln(1 / shape)), left, right]
    return np.stack(found, axis=1)


def _asymmetric_gaussian(values: Float64) -> tuple[Float64, Float64, Float64]:
    """Shape, left and right scale (N,) of the asymmetric generalised Gaussian that has the moments of each of N blocks.

    NaN where a block has no value above or none below zero.
    """
    flat = values.reshape(len(values), -1)
    with np.errstate(invalid="ignore", divide="ignore"):
        squares = flat * flat
        left = np.sqrt((squares * (flat < 0)).sum(axis=1) / (flat < 0).sum(axis=1))
        right = np.sqrt((squares * (flat > 0)).sum(axis=1) / (flat > 0).sum(axis=1))
        ratio = left / right
        peak = np.abs(flat).mean(axis=1) ** 2 / squares.mean(axis=1)
        wanted = peak * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    shapes, ratios = _shape_table()
    # The table rises: the nearest entry is one of two neighbours, and the lower one where both are as near.
    above = np.clip(np.searchsorted(ratios, wanted), 1, len(ratios) - 1)
    nearest = np.where(wanted - ratios[above - 1] <= ratios[above] - wanted, above - 1, above)
    shape = np.where(np.isnan(wanted), np.nan, shapes[nearest])
    scale = np.exp((gammaln(1 / shape) - gammaln(3 / shape)) / 2)
    return shape, left * scale, right * scale


@cache
def _shape_table() -> tuple[Float64, Float64]:
    """Shapes 0.2, 0.201, ..., 10 and for each the squared mean magnitude over the mean square of its distribution."""
    shapes = np.arange(200, 10001) / 1000
    return shapes, np.exp(2 * gammaln(2 / shapes) - gammaln(1 / shapes) - gammaln(3 / shapes))
