"""The bootstrap over images for any number that is made from a set of them: a mean, a distance of sets, a difference.

A statistic is a function of which images were drawn: `drawn` (N,), places of images, with repetition. Numbers of two
models are compared on the **same** draws, so that what makes an image hard counts on both sides alike.
`rdp.bootstrap` is another thing: there every resample is a selection problem that is solved anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rdp.errors import SpecError

Drawn = NDArray[np.int64]
Statistic = Callable[[Drawn], float]


@dataclass(frozen=True)
class BootstrapInterval:
    """A number of all images, and the percentile interval of the same number over resampled images (Efron 1979).

    `deviation` is the standard error. `undefined` resamples gave no finite number and are left out; `reliable` is
    false when they are more than what an end of the interval cuts off, or when fewer than two gave one.
    """

    value: float
    low: float
    high: float
    deviation: float
    resamples: int
    undefined: int
    seed: int
    confidence: float

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside."""
        return self.low > 0 or self.high < 0

    @property
    def reliable(self) -> bool:
        """Whether the resamples without a number cannot have moved an end of the interval out of sight."""
        tail = (1 - self.confidence) / 2
        return self.undefined <= tail * self.resamples and self.resamples - self.undefined > 1


def bootstrap_images(
    statistic: Statistic, images: int, *, resamples: int = 1000, seed: int = 0, confidence: float = 0.95
) -> BootstrapInterval:
    """The interval of `statistic` over resamples of as many images, drawn with replacement.

    Resample b of a seed is the same whatever the statistic and the number of resamples. Raises `SpecError` for options
    out of range. An interval without any number has NaN at its ends.
    """
    check_draws(images, resamples, seed)
    if not 0 < confidence < 1:
        raise SpecError(f"the confidence must be a number between 0 and 1, such as 0.95, not {confidence!r}")
    values = np.array([float(statistic(resample(seed, number, images))) for number in range(resamples)])
    kept = values[np.isfinite(values)]
    ends = np.quantile(kept, [(1 - confidence) / 2, (1 + confidence) / 2]) if len(kept) else (math.nan, math.nan)
    return BootstrapInterval(
        value=float(statistic(np.arange(images))),
        low=float(ends[0]),
        high=float(ends[1]),
        deviation=float(kept.std(ddof=1)) if len(kept) > 1 else math.nan,
        resamples=resamples,
        undefined=resamples - len(kept),
        seed=seed,
        confidence=confidence,
    )


def bootstrap_difference(
    first: Statistic,
    second: Statistic,
    images: int,
    *,
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> BootstrapInterval:
    """The interval of `first` less `second`, both of the same draw each time: a paired bootstrap."""
    return bootstrap_images(
        lambda drawn: first(drawn) - second(drawn), images, resamples=resamples, seed=seed, confidence=confidence
    )


def resample(seed: int, number: int, images: int) -> Drawn:
    """The images (N,) of one resample, sorted: N numbers below N, drawn with replacement."""
    return np.sort(np.random.default_rng([seed, number]).integers(0, images, images))


def check_draws(images: int, resamples: int, seed: int) -> None:
    """Raise `SpecError` for numbers of images, resamples and seed that no bootstrap can have."""
    for name, value, least in (("images", images, 1), ("resamples", resamples, 2), ("the seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise SpecError(f"{name} must be a whole number, {least} or more, not {value!r}")
