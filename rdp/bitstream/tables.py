"""Integer tables of frequencies: what the range coder codes with, the same on every machine.

Probabilities are quantised to shares of 2**24 once, in integer arithmetic; encoder and decoder see the shares only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import constriction
import numpy as np

from rdp.bitstream.escapes import escape_bits
from rdp.errors import FormatError

Integers = np.ndarray[Any, np.dtype[np.integer[Any]]]
Floats = np.ndarray[Any, np.dtype[np.float64]]

PRECISION = 24
TOTAL = 1 << PRECISION
MAX_ENTRIES = 1 << 16
# So that no symbol of 32 bits is 2**32 away from a table: differences that wrap round stay outside.
MAX_OFFSET = 1 << 30
# Weights of 38 bits: their products with shares of 2**24 stay under 2**62, sums over a table under 2**55.
_WEIGHT = 1 << 38


@dataclass(frozen=True, eq=False)
class FrequencyTables:
    """One table a law: shares of 2**24 for symbols in a row, and one for the escape.

    `counts`: a uint32 array a table, 2 to 65,536 entries >= 1 that sum to 2**24; entry k is the share of the symbol
    `offsets[table] + k`, the last entry that of the escape, which stands for every other symbol. `offsets`: int32,
    (tables,), within 2**30 of zero. Raises `ValueError` for anything else. The arrays are copied and
    cannot be written to.
    """

    counts: tuple[Integers, ...]
    offsets: Integers

    def __post_init__(self) -> None:
        counts = tuple(_frozen(table, np.uint32, f"counts of table {k}") for k, table in enumerate(self.counts))
        offsets = _frozen(self.offsets, np.int32, "offsets")
        if not counts or len(offsets) != len(counts):
            raise ValueError(f"{len(counts)} tables with {len(offsets)} offsets; there is one offset a table")
        for k, (table, offset) in enumerate(zip(counts, offsets.tolist(), strict=True)):
            if not 2 <= len(table) <= MAX_ENTRIES:
                raise ValueError(f"table {k} has {len(table)} entries, not 2 to {MAX_ENTRIES}")
            if table.min() < 1 or int(table.sum(dtype=np.int64)) != TOTAL:
                raise ValueError(f"the shares of table {k} are not positive numbers that sum to 2**{PRECISION}")
            if abs(offset) > MAX_OFFSET:
                raise ValueError(f"table {k} begins at the symbol {offset}, beyond {MAX_OFFSET} either way")
        object.__setattr__(self, "counts", counts)
        object.__setattr__(self, "offsets", offsets)

    def __reduce__(self) -> tuple[Callable[..., FrequencyTables], tuple[Any, ...]]:
        # The models of constriction do not travel to another process; they are built again there.
        return FrequencyTables, (self.counts, self.offsets)

    def __len__(self) -> int:
        return len(self.counts)

    @classmethod
    def from_pmfs(cls, pmfs: Sequence[Floats], offsets: Integers | Sequence[int]) -> FrequencyTables:
        """Tables of probabilities without the escape's: `pmfs[t][k]` is that of the symbol `offsets[t] + k`.

        What a pmf lacks to 1, at least 2**-24, is the escape's; one that sums to more is scaled down. Raises
        `ValueError` for probabilities that are no numbers of 0 to 1, or none at all.
        """
        return cls(tuple(quantise(pmf) for pmf in pmfs), np.asarray(offsets))

    @cached_property
    def sizes(self) -> Integers:
        """Symbols of every table without the escape, int32, (tables,): also the entry of the escape."""
        return np.array([len(table) - 1 for table in self.counts], np.int32)

    @cached_property
    def _models(self) -> dict[int, Any]:
        return {}

    def model(self, table: int) -> Any:
        """The model of a table for constriction, over its entries; built when first used."""
        if table not in self._models:
            # Without `perfect`, constriction gives every entry one share and deals out the others in proportion to
            # what it is given: the shares less one, whose sum is just what it has to deal out, so nothing is rounded.
            # A test holds this at every boundary. (With `perfect` it is as exact and up to 1000 times as slow.)
            others = self.counts[table].astype(np.float64) - 1
            self._models[table] = constriction.stream.model.Categorical(others, perfect=False)
        return self._models[table]

    def code_length(self, symbols: Integers, indices: Integers) -> float:
        """Ideal length in bits of symbols under the tables of those indices, escapes with what their distance costs."""
        symbols, indices = np.asarray(symbols, np.int64).ravel(), np.asarray(indices, np.int64).ravel()
        starts = np.cumsum([0, *(len(table) for table in self.counts[:-1])])
        bits = PRECISION - np.log2(np.concatenate(self.counts))
        entries, sizes = symbols - self.offsets[indices], self.sizes[indices]
        distances = np.maximum(-1 - entries, entries - sizes)
        outside = distances >= 0
        plain = float(bits[starts[indices] + np.where(outside, sizes, entries)].sum())
        return plain + (escape_bits(distances[outside]) if outside.any() else 0.0)

    def to_arrays(self) -> dict[str, Integers]:
        """The tables as three int32 arrays for a checkpoint: `counts` of all tables in a row, `lengths`, `offsets`."""
        return {
            "counts": np.concatenate(self.counts).astype(np.int32),
            "lengths": np.array([len(table) for table in self.counts], np.int32),
            "offsets": self.offsets.copy(),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Integers]) -> FrequencyTables:
        """The tables that `to_arrays` gave. Raises `FormatError` for arrays that are no tables."""
        missing = [name for name in ("counts", "lengths", "offsets") if name not in arrays]
        if missing:
            raise FormatError(f"frequency tables lack {' and '.join(missing)}")
        counts, lengths, offsets = (np.asarray(arrays[name]) for name in ("counts", "lengths", "offsets"))
        if any(array.ndim != 1 or array.dtype.kind not in "iu" for array in (counts, lengths, offsets)):
            raise FormatError("frequency tables are rows of integers")
        ends = np.cumsum(lengths, dtype=np.int64)
        if not lengths.size or lengths.min() < 2 or ends[-1] != counts.size:
            raise FormatError(f"the lengths of frequency tables do not add up to their {counts.size} entries")
        try:
            return cls(tuple(np.split(counts, ends[:-1])), offsets)
        except ValueError as error:
            raise FormatError(f"damaged frequency tables: {error}") from error

    def digest(self) -> bytes:
        """SHA-256 of the number of tables, their lengths, offsets and shares, as little-endian integers of 32 bits."""
        arrays = self.to_arrays()
        parts = [np.array([len(self)], "<i4"), arrays["lengths"], arrays["offsets"], arrays["counts"]]
        return hashlib.sha256(b"".join(part.astype("<i4").tobytes() for part in parts)).digest()


def quantise(pmf: Floats) -> Integers:
    """Shares of 2**24, uint32 (n + 1,), of n probabilities and of the escape, which comes last.

    Nothing is rounded after the probabilities became integers, and no floating-point number is added: the shares are
    the same on every machine. Every entry gets at least one share; the others get theirs in proportion, the largest
    remainders first and the lower entry first among equals. Raises `ValueError` as `FrequencyTables.from_pmfs` says.
    """
    pmf = np.asarray(pmf, np.float64)
    if pmf.ndim != 1 or not 1 <= pmf.size < MAX_ENTRIES:
        raise ValueError(f"probabilities are a row of 1 to {MAX_ENTRIES - 1} numbers, not {pmf.shape}")
    if not ((pmf >= 0) & (pmf <= 1)).all():
        raise ValueError("probabilities are numbers from 0 to 1")
    weights = np.floor(pmf * float(_WEIGHT)).astype(np.int64)
    escape = max(_WEIGHT - int(weights.sum()), _WEIGHT >> PRECISION)
    weights = np.append(weights, escape)
    shares = np.zeros(weights.size, np.int64)
    small = np.zeros(weights.size, bool)
    while True:
        # Entries of less than one share get one; what that costs the others may bring further ones under one.
        left, whole = TOTAL - int(small.sum()), int(weights[~small].sum())
        further = ~small & (weights * left < whole)
        if not further.any():
            break
        small |= further
    products = np.where(small, 0, weights) * left
    shares = np.where(small, 1, products // whole)
    remainders = np.where(small, -1, products % whole)
    largest_first = np.argsort(-remainders, kind="stable")
    shares[largest_first[: TOTAL - int(shares.sum())]] += 1
    return shares.astype(np.uint32)


def _frozen(array: Any, dtype: type[np.integer[Any]], what: str) -> Integers:
    """A read-only copy as a row of that type; `ValueError` where a number does not fit."""
    given = np.asarray(array)
    if given.ndim != 1 or given.dtype.kind not in "iu":
        raise ValueError(f"{what} are a row of integers, not {given.dtype} {given.shape}")
    kept = given.astype(dtype)
    if not np.array_equal(kept, given):
        raise ValueError(f"{what} do not fit {np.dtype(dtype).name}")
    kept.setflags(write=False)
    return kept
