"""Statistics of paired differences: the sign-flip test, the signed-rank test, and an interval for the mean."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from rdp.selection.problem import FloatArray, weighted_mean
from rdp.selection.sampling.intervals import Interval, acceleration, bca_interval, percentile_interval
from rdp.selection.sampling.resampling import leave_one_out

EXACT_IMAGES = 16
"""Up to so many images with a difference all sign flips are tried: half of 65,536, as the other half mirrors them."""
ROUNDING = 1e-12
"""Part of the sum of absolute differences by which two sums of the same numbers may differ."""
BLOCK = 4_000_000
"""Random numbers that are drawn at a time."""

IntervalKind = Literal["bca", "percentile"]


def sign_flip(differences: FloatArray, weights: FloatArray, resamples: int, seed: int) -> tuple[float, bool]:
    """The two-sided p-value of the weighted mean of differences (N,), and whether all flips were tried.

    The part of all sign flips whose mean is at least as far from zero as the observed one. With more than
    `EXACT_IMAGES` differences that are not zero flips are drawn, and the observed one counts among them:
    (c + 1) / (resamples + 1).
    """
    moved = (weights * differences)[differences != 0]
    if not len(moved):
        return 1.0, True
    far = abs(math.fsum(moved.tolist())) - ROUNDING * float(np.abs(moved).sum())
    if len(moved) <= EXACT_IMAGES:
        free = len(moved) - 1
        signs = 1.0 - 2.0 * ((np.arange(2**free)[:, None] >> np.arange(free)) & 1)
        return float((np.abs(moved[0] + signs @ moved[1:]) >= far).mean()), True
    rng = np.random.default_rng([seed, 1])
    total, reached = float(moved.sum()), 0
    for count in _blocks(resamples, len(moved)):
        positive = rng.integers(0, 2, (count, len(moved)), dtype=np.int8).astype(np.float64)
        reached += int(np.count_nonzero(np.abs(2 * (positive @ moved) - total) >= far))
    return (reached + 1) / (resamples + 1), False


def signed_rank(differences: FloatArray) -> float:
    """The two-sided p-value of the Wilcoxon signed-rank test, zeros left out; 1 where all are zero."""
    from scipy.stats import wilcoxon

    moved = differences[differences != 0]
    return float(wilcoxon(moved).pvalue) if len(moved) else 1.0


def mean_interval(
    differences: FloatArray, weights: FloatArray, resamples: int, seed: int, confidence: float
) -> tuple[Interval, IntervalKind]:
    """The bootstrap interval of the weighted mean of differences (N,): BCa, or percentile where there is none."""
    rng = np.random.default_rng([seed, 0])
    count = len(differences)
    products = weights * differences
    means = np.concatenate(
        [
            products[drawn].sum(axis=1) / weights[drawn].sum(axis=1)
            for drawn in (rng.integers(0, count, (rows, count)) for rows in _blocks(resamples, count))
        ]
    )
    slope = acceleration(leave_one_out(differences, weights))
    bca = bca_interval(means, weighted_mean(differences, weights), slope, confidence)
    if bca is not None:
        return bca, "bca"
    percentile = percentile_interval(means, confidence)
    if percentile is None:
        raise ValueError("there are no resamples")
    return percentile, "percentile"


def _blocks(resamples: int, images: int) -> list[int]:
    """Resamples in parts that fit into memory."""
    rows = max(1, BLOCK // images)
    whole, rest = divmod(resamples, rows)
    return [rows] * whole + ([rest] if rest else [])
