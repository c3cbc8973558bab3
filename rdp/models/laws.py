"""Probabilities of quantised latents, bin by bin, for the tables of the range coder: the same bits on every machine.

Everything rests on `rdp.models.portable` and elementwise arithmetic in fixed order. A law gives (pmf, offset):
`pmf[k]`, float64, is the probability of the symbol `offset + k`; what it lacks to 1 belongs to the escape. Symbols are
`round((latent - mean) / step)`, so bin k covers `(k - 1/2) step` to `(k + 1/2) step` about the mean (or median).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from rdp.errors import WeightsError
from rdp.models import portable

Floats = np.ndarray[Any, np.dtype[np.float64]]
Integers = np.ndarray[Any, np.dtype[np.int64]]
Boolean = np.ndarray[Any, np.dtype[np.bool_]]

TAIL = 2.0**-20
MAX_BINS = 4096
_SQRT_2 = 1.4142135623730951
# Mass is looked for in bins up to this far from the centre.
_FARTHEST = 1 << 22


def scale_table(lowest: float = 0.11, highest: float = 256.0, levels: int = 64) -> Floats:
    """Standard deviations in equal logarithmic steps, float64 (levels,): the field's table of scales.

    Raises `ValueError` unless 0 < lowest < highest and there are two levels or more.
    """
    if not 0 < lowest < highest < math.inf or levels < 2:
        raise ValueError(f"{levels} scales from {lowest} to {highest} are no table")
    ends = portable.log([lowest, highest])
    return portable.exp(ends[0] + np.arange(levels) * ((ends[1] - ends[0]) / (levels - 1)))


def gaussian_pmf(scale: float, step: float = 1.0, tail: float = TAIL) -> tuple[Floats, int]:
    """The centred normal law of that standard deviation in bins of `step`.

    As many bins as leave at most `tail` outside them, both sides together, but at most 4095. Raises `ValueError`
    unless scale and step are positive and 2**-60 <= tail < 1.
    """
    _require_positive(scale=scale, step=step)
    ratio = step / scale
    # The normal law leaves at most exp(-t**2 / 2) outside -t to t.
    farthest = math.sqrt(2.0 * float(portable.log(1.0 / _checked_tail(tail))))
    count = int(min(farthest * scale / step, MAX_BINS // 2 - 2)) + 2
    beyond = portable.normal_cdf(-(np.arange(count) + 0.5) * ratio)
    return _symmetric(1.0 - 2.0 * beyond[0], beyond[:-1] - beyond[1:], 2.0 * beyond, tail)


def laplace_pmf(step: float, tail: float = TAIL) -> tuple[Floats, int]:
    """The centred Laplacian of unit variance (b = sqrt(1/2)) in bins of `step`: P(k) = F((k+1/2)s) - F((k-1/2)s).

    As many bins as leave at most `tail` outside them, but at most 4095. Raises `ValueError` like `gaussian_pmf`.
    """
    _require_positive(step=step)
    rate = step * _SQRT_2  # F(-x) = exp(-sqrt(2) x) / 2
    count = int(min(float(portable.log(1.0 / _checked_tail(tail))) / rate, MAX_BINS // 2 - 2)) + 2
    beyond = portable.exp(-(np.arange(count) + 0.5) * rate)
    one_bin = -float(portable.expm1(-rate))
    return _symmetric(-float(portable.expm1(-0.5 * rate)), 0.5 * beyond[:-1] * one_bin, beyond, tail)


def factorized_pmfs(
    matrices: Sequence[Floats],
    biases: Sequence[Floats],
    factors: Sequence[Floats],
    quantiles: Floats,
    centres: Floats | None = None,
    step: float = 1.0,
    tail: float = TAIL,
) -> tuple[list[Floats], Integers]:
    """The non-parametric factorised density (Ballé 2018, appendix 6.1) of C channels: (pmfs, offsets (C,)).

    `matrices` (C, out, in), `biases` (C, out, 1) of K layers, `factors` (C, out, 1) of the first K - 1, as CompressAI
    stores them; `quantiles` (C, 1, 3), of which only the median in the middle is used. Bins of `step` lie about
    `centres`, float64 (C,), by default the medians. They reach as far as there is more than half of `tail` beyond,
    wherever that is, but are at most 4096, about the bin that halves the mass. Raises `WeightsError` for shapes that
    do not go together and numbers that are not finite, `ValueError` for a step or tail as in `gaussian_pmf`.
    """
    _require_positive(step=step)
    half_tail = 0.5 * _checked_tail(tail)
    layers = _Layers(matrices, biases, factors, quantiles)
    middles = np.asarray(quantiles[:, 0, 1] if centres is None else centres, np.float64)
    if middles.shape != (layers.channels,) or not np.isfinite(middles).all():
        raise ValueError(f"the bins of {layers.channels} channels lie about one finite number each")
    every = np.arange(layers.channels)

    def edge(channels: Integers, bins: Integers, side: float) -> Floats:
        return layers.logits(channels, middles[channels] + (bins + side) * step)

    first = _first_true(lambda bins: portable.sigmoid(edge(every, bins, 0.5)) > half_tail, every.size)
    behind = _first_true(lambda bins: portable.sigmoid(-edge(every, bins, -0.5)) <= half_tail, every.size)
    middle = _first_true(lambda bins: edge(every, bins, 0.5) >= 0.0, every.size)
    first = np.maximum(first, middle - MAX_BINS // 2)
    behind = np.minimum(np.maximum(behind, first + 1), first + MAX_BINS)

    widths = behind - first
    ends = np.cumsum(widths)
    channels = np.repeat(every, widths)
    bins = np.arange(ends[-1]) - np.repeat(ends - widths - first, widths)
    lower, upper = edge(channels, bins, -0.5), edge(channels, bins, 0.5)
    # Both are taken on the side where the sigmoid is small, so that their difference keeps its precision.
    sign = np.where(lower + upper > 0.0, -1.0, 1.0)
    pmf = np.abs(portable.sigmoid(sign * upper) - portable.sigmoid(sign * lower))
    return np.split(pmf, ends[:-1]), first


class _Layers:
    """The layers of the cumulative logits, checked, with softplus and tanh of their parameters taken once."""

    def __init__(
        self, matrices: Sequence[Floats], biases: Sequence[Floats], factors: Sequence[Floats], quantiles: Floats
    ) -> None:
        groups = [[np.asarray(array, np.float64) for array in group] for group in (matrices, biases, factors)]
        channels, sizes = len(quantiles), [1, *(matrix.shape[1] for matrix in groups[0] if matrix.ndim == 3)]
        shapes = (
            [(channels, after, before) for before, after in pairwise(sizes)],
            [(channels, after, 1) for after in sizes[1:]],
            [(channels, after, 1) for after in sizes[1:-1]],
        )
        found = tuple([array.shape for array in group] for group in groups)
        if np.shape(quantiles) != (channels, 1, 3) or found != shapes or sizes[-1] != 1 or len(sizes) < 2:
            raise WeightsError(
                f"a factorised density of quantiles {np.shape(quantiles)} has matrices {found[0]}, biases {found[1]} "
                f"and factors {found[2]}, which do not go together"
            )
        if not all(np.isfinite(array).all() for group in (*groups, [quantiles]) for array in group):
            raise WeightsError(
                "a factorised density has parameters that are no finite numbers: the weights are damaged"
            )
        self.channels = channels
        self._matrices = [portable.softplus(matrix) for matrix in groups[0]]
        self._biases = groups[1]
        self._factors = [portable.tanh(factor) for factor in groups[2]]

    def logits(self, channels: Integers, values: Floats) -> Floats:
        """The logits of the cumulative distribution of channels (n,) at values (n,)."""
        units = [values]
        for k, (matrix, bias) in enumerate(zip(self._matrices, self._biases, strict=True)):
            summed = []
            for row in range(matrix.shape[1]):
                total = bias[channels, row, 0]
                for column, unit in enumerate(units):
                    total = total + matrix[channels, row, column] * unit
                summed.append(total)
            if k < len(self._factors):
                factor = self._factors[k]
                units = [x + factor[channels, row, 0] * portable.tanh(x) for row, x in enumerate(summed)]
            else:
                units = summed
        return units[0]


def _first_true(holds: Callable[[Integers], Boolean], count: int) -> Integers:
    """For each of `count` channels the first bin at which a condition holds that then holds on; by halving."""
    low, high = np.full(count, -_FARTHEST), np.full(count, _FARTHEST)
    while (low < high).any():
        middle = (low + high) >> 1
        true = holds(middle)
        low, high = np.where(true, low, np.minimum(middle + 1, high)), np.where(true, middle, high)
    return low


def _symmetric(centre: float, sides: Floats, outside: Floats, tail: float) -> tuple[Floats, int]:
    """A pmf about 0 from P(0) and P(1), P(2)…; `outside[k]`: the mass beyond bins -k to k. (pmf, offset)."""
    reach = min(int(np.count_nonzero(outside > tail)), len(sides))
    side = sides[:reach]
    return np.concatenate([side[::-1], [centre], side]), -reach


def _checked_tail(tail: float) -> float:
    if not 2.0**-60 <= tail < 1.0:
        raise ValueError(f"a tail of {tail}; it is at least 2**-60 and less than 1")
    return tail


def _require_positive(**values: float) -> None:
    for name, value in values.items():
        if not 0.0 < value < math.inf:
            raise ValueError(f"a {name} of {value}; it is positive")
