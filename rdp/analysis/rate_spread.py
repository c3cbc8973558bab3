"""How well a set of images keeps to a rate, and the simple way to make it: choosing a model for each image.

Source: Guerin et al., "Training heuristics for rate-constrained learning-based image compression"
(002_5041f81c7ba61cea), section III and Table I.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rdp.errors import TableError

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RateSummary:
    """Rates of images (bit/pixel): `mean`, `std` over these images, `lowest`, `highest`.

    `within`: share of the images whose rate is at most `tolerance * target` from the `target`; `count` images in all.
    """

    target: float
    tolerance: float
    count: int
    mean: float
    std: float
    lowest: float
    highest: float
    within: float


@dataclass(frozen=True)
class NearestModels:
    """A model for each image: `choice`, (images,), places of models; `bpp`, (images,), the rates that they give.

    `summary`: of these rates. `models`: how many different ones a decoder needs.
    """

    choice: npt.NDArray[np.intp]
    bpp: FloatArray
    summary: RateSummary
    models: int


def rate_summary(bpp: npt.ArrayLike, target: float, tolerance: float = 0.15) -> RateSummary:
    """The columns of Table I for the rates of some images.

    `bpp`: (images,), bit/pixel, above 0. `tolerance`: a share of the target, above 0. Raises `TableError` for rates
    that are none.
    """
    rates = _rates(bpp, 1)
    _check_target(target, tolerance)
    within = np.abs(rates - target) <= tolerance * target
    return RateSummary(
        target, tolerance, len(rates), float(rates.mean()), float(rates.std()), float(rates.min()), float(rates.max()),
        float(within.mean()),
    )  # fmt: skip


def nearest_models(rates: npt.ArrayLike, target: float, tolerance: float = 0.15) -> NearestModels:
    """For each image the model whose rate is nearest the target: the alternative that needs no other training.

    `rates`: (images, models), bit/pixel of real files, above 0. Of two models equally near the one of the lower rate is
    taken, and of equal rates the first. All models are looked at: no order among them is assumed (a binary search needs
    one). Raises `TableError` for rates that are none.
    """
    table = _rates(rates, 2)
    _check_target(target, tolerance)
    distance = np.abs(table - target)
    # Equally near rates lie on both sides of the target, where rounding of the difference would decide.
    nearest = np.isclose(distance, distance.min(axis=1, keepdims=True), rtol=1e-12, atol=0)
    choice = np.where(nearest, table, np.inf).argmin(axis=1)
    chosen = table[np.arange(len(table)), choice]
    return NearestModels(choice, chosen, rate_summary(chosen, target, tolerance), len(np.unique(choice)))


def _rates(given: npt.ArrayLike, dimensions: int) -> FloatArray:
    try:
        rates = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TableError(f"rates must be numbers in an array of {dimensions} dimensions: {error}") from error
    if rates.ndim != dimensions or rates.size == 0:
        shape = "(images,)" if dimensions == 1 else "(images, models)"
        raise TableError(f"rates of shape {rates.shape}: give an array {shape}, not empty")
    if not (np.isfinite(rates).all() and (rates > 0).all()):
        raise TableError("rates must be finite and above 0 bit/pixel: leave out images that were not coded")
    return rates


def _check_target(target: float, tolerance: float) -> None:
    if not (0 < target < np.inf and 0 < tolerance < np.inf):
        raise TableError(f"target {target} and tolerance {tolerance}: both must be finite and above 0")
