"""Elementary functions in float64 that give the same bits on every machine with IEEE arithmetic.

What a frequency table rests on must not depend on the machine, and `exp` and its relatives do: NumPy, C libraries and
devices round them differently. Here are only single operations that IEEE 754 prescribes to the last bit (+, -, *, /,
comparisons, floor, all elementwise; NumPy does not contract them), integer views, and loops in a fixed order. Results
of about 2**-1000 or smaller are zero, so that nothing depends on whether a process flushes subnormal numbers.

Arguments: anything that makes a float64 array, not NaN; results: float64 arrays of the same shape. Errors are relative
and stand with each function, in units of 2**-53.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float64]]

_LN2_HIGH = float.fromhex("0x1.62e42fefa0000p-1")  # 17 zero bits at the end: products with exponents are exact
_LN2_LOW = float.fromhex("0x1.cf79abc9e3b3ap-40")
_INVERSE_LN2 = float.fromhex("0x1.71547652b82fep+0")
_INVERSE_SQRT_2PI = float.fromhex("0x1.9884533d43651p-2")
_TINY = 2.0**-1000
_EXP_LOWEST, _EXP_HIGHEST = -690.0, 709.0
_EXPM1_TERMS = 15
_ATANH_TERMS = 11
_NORMAL_SERIES_TERMS = 30
_NORMAL_SERIES_END = 2.0
_NORMAL_FRACTION_TERMS = 110
_NORMAL_END = 37.0


def _array(x: Any) -> Floats:
    """The argument, without what is so small that its multiples might be flushed."""
    x = np.asarray(x, np.float64)
    return np.where(np.abs(x) < _TINY, 0.0, x)


def _power_of_two(k: Floats) -> Floats:
    """2**k for whole k of -1022 to 1023."""
    return ((k.astype(np.int64) + 1023) << 52).view(np.float64)


def _reduced_expm1(x: Floats) -> tuple[Floats, Floats]:
    """(exp(r) - 1, 2**k) with x = k ln 2 + r and |r| <= 0.35, for x within the range of `exp`."""
    k = np.floor(x * _INVERSE_LN2 + 0.5)
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    total = np.ones_like(r)
    for n in range(_EXPM1_TERMS, 1, -1):
        total = 1.0 + r * total / n
    return r * total, _power_of_two(k)


def exp(x: Any) -> Floats:
    """e**x (error under 2); 0 below -690, infinity above 709."""
    x = _array(x)
    residue, scale = _reduced_expm1(np.minimum(np.maximum(x, _EXP_LOWEST), _EXP_HIGHEST))
    value = scale * (1.0 + residue)
    return np.where(x < _EXP_LOWEST, 0.0, np.where(x > _EXP_HIGHEST, np.inf, value))


def expm1(x: Any) -> Floats:
    """e**x - 1 without cancellation about 0 (error under 4); infinity above 709."""
    x = _array(x)
    residue, scale = _reduced_expm1(np.minimum(np.maximum(x, _EXP_LOWEST), _EXP_HIGHEST))
    return np.where(x > _EXP_HIGHEST, np.inf, scale * residue + (scale - 1.0))


def log(x: Any) -> Floats:
    """The natural logarithm (error under 2) of x >= 0; minus infinity at 0 and for subnormals, NaN below 0.

    With x = 2**k (1 + f) and s = f / (2 + f), log(1 + f) = 2 atanh(s), whose series is summed behind its leading terms
    f - f**2 / 2 so that they carry the rounding.
    """
    x = np.asarray(x, np.float64)
    regular = (x >= 2.0**-1022) & (x < np.inf)
    bits = np.where(regular, x, 1.0).view(np.int64)
    k = ((bits >> 52) - 1023).astype(np.float64)
    mantissa = ((bits & ((1 << 52) - 1)) | (1023 << 52)).view(np.float64)
    upper = mantissa > 1.4142135623730951
    k = np.where(upper, k + 1.0, k)
    value = k * _LN2_HIGH + (_log_near_one(np.where(upper, 0.5 * mantissa, mantissa) - 1.0) + k * _LN2_LOW)
    return np.where(regular, value, np.where(x >= 1.0, np.inf, np.where(x < 0.0, np.nan, -np.inf)))


def _log_near_one(f: Floats) -> Floats:
    """log(1 + f) for -0.3 < f < 0.42."""
    s = f / (2.0 + f)
    square = s * s
    total = np.zeros_like(s)
    for n in range(_ATANH_TERMS, 0, -1):
        total = square * (2.0 / (2 * n + 1) + total)
    half = 0.5 * f * f
    return f - (half - s * (half + total))


def log1p(x: Any) -> Floats:
    """log(1 + x) without cancellation about 0 (error under 4), for x >= -1."""
    x = _array(x)
    near = (x > -0.25) & (x < 0.4)
    whole = 1.0 + x
    # What the sum 1 + x rounded away, of which the logarithm's slope is 1 / (1 + x).
    usable = ~near & (whole > 0.0) & (whole < 2.0**60)
    finite = np.where(usable, x, 0.0)
    lost = np.where(x < 1.0, finite - ((1.0 + finite) - 1.0), 1.0 - ((1.0 + finite) - finite))
    far = log(np.where(near, 1.0, whole)) + lost / np.where(usable, whole, 1.0)
    return np.where(near, _log_near_one(np.where(near, x, 0.0)), far)


def tanh(x: Any) -> Floats:
    """The hyperbolic tangent (error under 6)."""
    x = _array(x)
    minus = expm1(-2.0 * np.minimum(np.abs(x), 40.0))  # from 20 on, the result is 1
    value = -minus / (2.0 + minus)
    return np.where(x < 0.0, -value, value)


def sigmoid(x: Any) -> Floats:
    """1 / (1 + e**-x) (error under 5), down to 0 at -690."""
    x = _array(x)
    small = exp(-np.abs(x))
    value: Floats = np.where(x < 0.0, small, 1.0) / (1.0 + small)
    return value


def softplus(x: Any) -> Floats:
    """log(1 + e**x) (error under 6), down to 0 at -690."""
    x = _array(x)
    value: Floats = np.maximum(x, 0.0) + log1p(exp(-np.abs(x)))
    return value


def normal_cdf(x: Any) -> Floats:
    """The standard normal law up to x; relative error below 1e-14 down to x = -37, under which it is 0.

    About the middle by the series of odd powers over double factorials (Abramowitz and Stegun 26.2.11), in the tails
    by the continued fraction of Mills' ratio (26.2.14), evaluated from its far end.
    """
    x = _array(x)
    t = np.abs(x)
    near, far = t < _NORMAL_SERIES_END, (t >= _NORMAL_SERIES_END) & (t <= _NORMAL_END)
    lower = np.zeros_like(t)
    lower[near] = _tail_by_series(t[near])
    lower[far] = _tail_by_fraction(t[far])
    upper: Floats = 1.0 - lower
    return np.where(x > 0.0, upper, lower)


def _normal_density(t: Floats) -> Floats:
    """Density at 0 <= t <= 37. The square is taken in two parts, one exact: exp would multiply its rounding by t**2."""
    coarse = np.floor(t * 1024.0) / 1024.0
    return _INVERSE_SQRT_2PI * exp(-0.5 * coarse * coarse) * exp(-0.5 * (t - coarse) * (t + coarse))


def _tail_by_series(t: Floats) -> Floats:
    square = t * t
    total = np.ones_like(t)
    for n in range(_NORMAL_SERIES_TERMS, 0, -1):
        total = 1.0 + square * total / (2 * n + 1)
    return 0.5 - _normal_density(t) * (t * total)


def _tail_by_fraction(t: Floats) -> Floats:
    total = t
    for n in range(_NORMAL_FRACTION_TERMS, 0, -1):
        total = t + n / total
    return _normal_density(t) / total
