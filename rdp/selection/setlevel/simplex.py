"""Shares of points, row by row: projection, and the least of a linear function."""

from __future__ import annotations

import numpy as np

from rdp.selection.problem import BoolArray, FloatArray


def projected(values: FloatArray, allowed: BoolArray) -> FloatArray:
    """The nearest shares (N, P) to any values: each row 0 or more with sum 1, and 0 where not allowed.

    By sorting each row (Held, Wolfe and Crowder 1974).
    """
    inside = np.where(allowed, values, -np.inf)
    top = inside.max(axis=1, keepdims=True)
    inside = inside - top
    ordered = -np.sort(-inside, axis=1)
    counts = np.arange(1, values.shape[1] + 1)
    finite = np.isfinite(ordered)
    sums = np.cumsum(np.where(finite, ordered, 0.0), axis=1) - 1.0
    last = (finite & (ordered * counts > sums)).sum(axis=1)
    threshold = sums[np.arange(len(values)), last - 1] / last
    shares = np.maximum(inside - threshold[:, None], 0.0)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def distance_from_least(gradient: FloatArray, shares: FloatArray, allowed: BoolArray) -> float:
    """How much a linear function (N, P) can fall from these shares without any budget: 0 or more."""
    least = np.where(allowed, gradient, np.inf).min(axis=1)
    return float(((gradient - least[:, None]) * shares).sum())
