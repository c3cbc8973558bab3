"""Symbols outside their table: how far beyond it they lie, as a sign and a number of the Exp-Golomb kind.

The number of bits of `distance + 1` is coded under halving probabilities, the bits below its leading one as they are.
A distance d costs about 2 log2(d + 1) + 2 bits with its sign.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import constriction
import numpy as np

Integers = np.ndarray[Any, np.dtype[np.signedinteger[Any]]]

# Two symbols of 32 bits are less than 2**32 apart, so `distance + 1` has 1 to 33 bits.
_MAX_BITS = 33
# One share in 2**24 at least; their sum is 2**24.
_LENGTH_COUNTS = np.array([2 ** (23 - k) for k in range(20)] + [4] + [1] * (_MAX_BITS - 21), np.int64)
_LOW_BITS = 16


@lru_cache(maxsize=1)
def _length_model() -> Any:
    # Like the models of `FrequencyTables`: shares less one are exact where constriction adds one to each.
    return constriction.stream.model.Categorical((_LENGTH_COUNTS - 1).astype(np.float64), perfect=False)


def _bit_lengths(values: Integers) -> Integers:
    """Bits of positive integers under 2**53: the exponent of the double is exact."""
    return np.frexp(values.astype(np.float64))[1].astype(np.int64)


def write_escapes(encoder: Any, below: Integers, distances: Integers) -> None:
    """Code n escapes, n > 0, behind what a `RangeEncoder` holds.

    `below`: 1 where the symbol lies under its table, 0 where above, (n,). `distances`: from the table's nearest
    symbol, less one, 0 to 2**32 - 1, int64 (n,).
    """
    numbers = distances + 1
    lengths = _bit_lengths(numbers)
    rest = numbers - (np.int64(1) << (lengths - 1))
    encoder.encode(below.astype(np.int32), constriction.stream.model.Uniform(2))
    encoder.encode((lengths - 1).astype(np.int32), _length_model())
    for chosen, sizes, shift in _chunks(lengths):
        values = (rest[chosen] >> shift) & (sizes - 1)
        encoder.encode(values.astype(np.int32), constriction.stream.model.Uniform(), sizes.astype(np.int32))


def read_escapes(decoder: Any, count: int) -> tuple[Integers, Integers]:
    """(below, distances) of `count` > 0 escapes as `write_escapes` takes them."""
    below = decoder.decode(constriction.stream.model.Uniform(2), count).astype(np.int64)
    lengths = decoder.decode(_length_model(), count).astype(np.int64) + 1
    numbers = np.int64(1) << (lengths - 1)
    for chosen, sizes, shift in _chunks(lengths):
        values = decoder.decode(constriction.stream.model.Uniform(), sizes.astype(np.int32))
        numbers[chosen] += values.astype(np.int64) << shift
    return below, numbers - 1


def escape_bits(distances: Integers) -> float:
    """What `write_escapes` spends on distances (int64), in bits."""
    lengths = _bit_lengths(distances + 1)
    classes = 24.0 - np.log2(_LENGTH_COUNTS[lengths - 1])
    return float(np.sum(1 + classes + (lengths - 1)))


def _chunks(lengths: Integers) -> list[tuple[Integers, Integers, int]]:
    """The bits below the leading ones as (which numbers, 2**bits of each, shift): the low 16, then what is above."""
    chunks = []
    for shift, most in ((0, _LOW_BITS), (_LOW_BITS, _MAX_BITS - 1 - _LOW_BITS)):
        bits = np.minimum(lengths - 1 - shift, most)
        chosen = np.flatnonzero(bits > 0)
        if chosen.size:
            chunks.append((chosen, np.int64(1) << bits[chosen], shift))
    return chunks
