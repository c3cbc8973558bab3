"""Intervals from resampling: percentile, and bias-corrected and accelerated (BCa).

The percentile interval cuts off equal parts of the resampled values on both sides (Efron 1979). BCa shifts the cuts
for a bias and for an error that changes with the value (Efron 1987, "Better bootstrap confidence intervals"); it needs
the acceleration, from what each image does to the value: left out (jackknife), or drawn more often (see
`rdp.selection.sampling.resampling`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rdp.errors import SpecError
from rdp.selection.document import number
from rdp.selection.problem import FloatArray


@dataclass(frozen=True)
class Interval:
    """From `low` to `high`, both included."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Spread:
    """One number and how far it spreads over resamples.

    `value` is that of all images; `count` of the resamples gave a finite number, with `mean` and standard `deviation`
    (the bootstrap's standard error). `percentile` and `bca` are the intervals, None where they are not known.
    `missing` is the part of all resamples that gave no number. `reliable` is false when that part is larger than what
    an end of the interval cuts off: had they given numbers, all at one side, the end would lie among them.
    """

    value: float | None
    count: int
    missing: float
    mean: float
    deviation: float
    percentile: Interval | None
    bca: Interval | None
    reliable: bool

    def to_dict(self) -> dict[str, Any]:
        """As JSON; intervals are pairs, or null."""
        return {
            **number("value", self.value),
            "count": self.count,
            **number("mean", self.mean),
            **number("standard_error", self.deviation),
            "percentile": _pair(self.percentile),
            "bca": _pair(self.bca),
            "reliable": self.reliable,
        }


def _pair(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]


def require_confidence(confidence: float) -> None:
    """Raise `SpecError` unless it is a number between 0 and 1, both left out."""
    if isinstance(confidence, bool) or not isinstance(confidence, (int, float)) or not 0 < confidence < 1:
        raise SpecError(f"the confidence must be a number between 0 and 1, such as 0.95, not {confidence!r}")


def require_count(name: str, count: int, least: int) -> None:
    """Raise `SpecError` unless it is a whole number, `least` or more."""
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < least:
        raise SpecError(f"{name} must be a whole number, {least} or more, not {count!r}")


def make_spread(value: float | None, resampled: FloatArray, slope: float | None, confidence: float) -> Spread:
    """The spread of `resampled` (B,), NaN or infinite where there is no number; `slope` is the acceleration."""
    kept = resampled[np.isfinite(resampled)]
    missing = 1.0 - len(kept) / len(resampled)
    known = value is not None and math.isfinite(value)
    return Spread(
        value=value,
        count=len(kept),
        missing=missing,
        mean=float(kept.mean()) if len(kept) else math.nan,
        deviation=float(kept.std(ddof=1)) if len(kept) > 1 else math.nan,
        percentile=percentile_interval(kept, confidence),
        bca=bca_interval(kept, float(value), slope, confidence) if known and value is not None else None,
        reliable=missing <= (1 - confidence) / 2 and len(kept) > 1,
    )


def percentile_interval(resampled: FloatArray, confidence: float) -> Interval | None:
    """The middle part of the resampled values (B,); None without any."""
    if not len(resampled):
        return None
    low, high = np.quantile(resampled, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))


def bca_interval(resampled: FloatArray, value: float, slope: float | None, confidence: float) -> Interval | None:
    """The bias-corrected and accelerated interval; None where it does not exist.

    That is: the acceleration `slope` is not known, or all resampled values lie on one side of the value.
    """
    from scipy.special import ndtr, ndtri

    if slope is None or not len(resampled):
        return None
    below = (np.count_nonzero(resampled < value) + 0.5 * np.count_nonzero(resampled == value)) / len(resampled)
    if not 0 < below < 1:
        return None
    bias = float(ndtri(below))
    shifted = bias + ndtri(np.array([(1 - confidence) / 2, (1 + confidence) / 2]))
    shrunk = 1 - slope * shifted
    if (shrunk <= 0).any():
        return None
    low, high = np.quantile(resampled, ndtr(bias + shifted / shrunk))
    return Interval(float(low), float(high))


def acceleration(influence: FloatArray, noise: float = 0.0) -> float | None:
    """The acceleration sum u^3 / (6 (sum u^2)^1.5) of the images' influences u (N,); 0 where none has any.

    `noise` is the part of sum u^2 that is noise of the resampling; None when that is most of it.
    """
    squares = float((influence**2).sum())
    if not math.isfinite(squares):
        return None
    if squares == 0:
        return 0.0
    if noise > 0.5 * squares:
        return None
    return float((influence**3).sum()) / float(6 * (squares - noise) ** 1.5)


def joined(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
