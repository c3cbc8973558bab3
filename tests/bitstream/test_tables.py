"""Frequency tables: shares that are near the best, the same everywhere, and just what the range coder uses."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
import struct

import constriction
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdp.bitstream.tables import MAX_ENTRIES, MAX_OFFSET, TOTAL, FrequencyTables, quantise
from rdp.errors import FormatError

SCALE = (2**64 - 1) >> 24


def any_shares(rng: np.random.Generator, size: int, concentration: float) -> np.ndarray:
    """Shares of 2**24, many of them one where the concentration is low."""
    weights = rng.gamma(concentration, size=size) + 1e-300
    shares = 1 + np.floor(weights / weights.sum() * (TOTAL - size)).astype(np.int64)
    shares[rng.integers(size)] += TOTAL - shares.sum()
    return shares


def decoded_at(model, quantile: int) -> int:
    """The entry that a range decoder takes the quantile (0 to 2**24 - 1) for."""
    point = quantile * SCALE + SCALE // 2
    words = np.array([point >> 32, point & 0xFFFFFFFF], np.uint32)
    return constriction.stream.queue.RangeDecoder(words).decode(model)


def encoded_share(model, entry: int) -> int:
    """The share that a range encoder gives an entry: what is left of its range after one symbol."""
    encoder = constriction.stream.queue.RangeEncoder()
    encoder.encode(entry, model)
    _, (_, width) = encoder.pos()
    return width // SCALE


@pytest.mark.parametrize("size", [2, 3, 17, 300, 4097])
@pytest.mark.parametrize("concentration", [0.001, 0.1, 10])
def test_the_range_coder_uses_the_shares_to_the_last_one(rng, size: int, concentration: float) -> None:
    shares = any_shares(rng, size, concentration)
    model = FrequencyTables((shares,), np.array([0])).model(0)
    starts = np.cumsum(shares) - shares
    for entry in range(size):
        assert decoded_at(model, int(starts[entry])) == entry
        assert decoded_at(model, int(starts[entry] + shares[entry] - 1)) == entry
        assert encoded_share(model, entry) == shares[entry]


def test_the_largest_table_is_exact_too(rng) -> None:
    shares = any_shares(rng, MAX_ENTRIES, 0.1)
    model = FrequencyTables((shares,), np.array([0])).model(0)
    assert [encoded_share(model, entry) for entry in range(0, MAX_ENTRIES, 97)] == shares[::97].tolist()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_every_entry_gets_a_share_and_together_they_are_all(pmf: list[float]) -> None:
    shares = quantise(np.array(pmf))
    assert shares.size == len(pmf) + 1 and shares.min() >= 1 and shares.sum(dtype=np.int64) == TOTAL


@given(st.lists(st.integers(1, 2**20), min_size=1, max_size=30))
def test_whole_shares_are_kept(parts: list[int]) -> None:
    pmf = np.array(parts) / TOTAL
    missing = TOTAL - sum(parts)
    if missing >= 1:
        assert quantise(pmf).tolist() == [*parts, missing]


@pytest.mark.parametrize("concentration", [0.01, 0.1, 1.0, 100.0])
def test_shares_are_as_good_as_the_best(rng, concentration: float) -> None:
    """The reference: constriction's own search for the shares of the shortest code."""
    for size in (1, 5, 60, 500):
        pmf = rng.dirichlet(np.full(size, concentration)) * (1 - 2.0**-20)
        whole = np.append(pmf, 2.0**-20)
        best = constriction.stream.model.Categorical(whole, perfect=True)
        best_bits = -np.sum(whole * np.log2([encoded_share(best, entry) / TOTAL for entry in range(size + 1)]))
        bits = -np.sum(whole * np.log2(quantise(pmf) / TOTAL))
        assert bits - best_bits < 1e-7 * (1 + size / 10)


def test_what_probabilities_lack_is_the_share_of_the_escape() -> None:
    assert quantise(np.array([0.5, 0.25])).tolist() == [2**23, 2**22, 2**22]
    assert quantise(np.array([1.0])).tolist() == [TOTAL - 1, 1]
    assert quantise(np.array([0.0])).tolist() == [1, TOTAL - 1]
    assert quantise(np.array([1.0, 1.0, 1.0, 1.0])).tolist()[-1] == 1


def test_probabilities_too_small_for_a_share_get_one_at_the_cost_of_the_others() -> None:
    shares = quantise(np.array([0.5, 1e-30, 0.5, 0.0]))
    assert shares.tolist() == [2**23 - 1, 1, 2**23 - 2, 1, 1]


@pytest.mark.parametrize(
    "pmf", [[], [-0.1, 0.5], [np.nan], [1.5], [np.inf], [[0.5]], np.zeros(MAX_ENTRIES)], ids=lambda pmf: str(pmf)[:20]
)
def test_what_is_no_law_is_refused(pmf) -> None:
    with pytest.raises(ValueError, match="probabilities are"):
        quantise(np.array(pmf))


@pytest.mark.parametrize(
    ("counts", "offsets", "words"),
    [
        ([[TOTAL]], [0], "1 entries"),
        ([[TOTAL - 2, 1]], [0], "sum to"),
        ([[TOTAL, 0]], [0], "positive"),
        ([[TOTAL - 1, 1]], [0, 1], "one offset a table"),
        ([], [], "one offset a table"),
        ([[TOTAL - 1, 1]], [MAX_OFFSET + 1], "beyond"),
        ([[TOTAL - 1, 1]], [2**40], "do not fit int32"),
        ([[TOTAL + 1, -1]], [0], "do not fit uint32"),
        ([[0.5, 0.5]], [0], "row of integers"),
    ],
)
def test_what_are_no_tables_is_refused(counts, offsets, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        FrequencyTables(tuple(np.array(table) for table in counts), np.array(offsets, np.int64))


def test_tables_cannot_be_changed() -> None:
    given_counts = np.array([TOTAL - 1, 1])
    tables = FrequencyTables((given_counts,), np.array([0]))
    given_counts[0] = 5
    assert tables.counts[0][0] == TOTAL - 1
    with pytest.raises(ValueError, match="read-only"):
        tables.counts[0][0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        tables.offsets = np.array([1])  # type: ignore[misc]


def some_tables() -> FrequencyTables:
    return FrequencyTables.from_pmfs([np.array([0.1, 0.2, 0.3]), np.array([0.9])], [-1, 7])


def test_the_digest_is_that_of_the_numbers_and_of_no_machine() -> None:
    """The reference: the numbers written out by hand."""
    numbers = [2, 4, 2, -1, 7, 1677722, 3355443, 5033165, 6710886, 15099494, 1677722]
    assert some_tables().digest() == hashlib.sha256(struct.pack("<11i", *numbers)).digest()


def test_tables_that_differ_in_anything_have_other_digests() -> None:
    tables = some_tables()
    others = [
        FrequencyTables(tables.counts, tables.offsets + 1),
        FrequencyTables(tables.counts[::-1], tables.offsets),
        FrequencyTables(tables.counts[:1], tables.offsets[:1]),
    ]
    assert len({other.digest() for other in (tables, *others)}) == 4


def test_tables_come_back_from_arrays_and_from_a_pickle() -> None:
    tables = some_tables()
    tables.model(0)
    arrays = tables.to_arrays()
    assert all(array.dtype == np.int32 for array in arrays.values())
    assert FrequencyTables.from_arrays(arrays).digest() == tables.digest()
    assert pickle.loads(pickle.dumps(tables)).digest() == tables.digest()  # noqa: S301 - our own, just made


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lengths": np.array([4, 3])}, "add up"),
        ({"lengths": np.array([], np.int32)}, "add up"),
        ({"lengths": np.array([-1, 7])}, "add up"),
        ({"lengths": np.array([2, 4])}, "damaged frequency tables"),
        ({"offsets": np.array([0])}, "damaged frequency tables"),
        ({"counts": np.zeros(6)}, "rows of integers"),
        ({"counts": np.ones((2, 3), int)}, "rows of integers"),
    ],
)
def test_damaged_arrays_are_refused(change: dict[str, np.ndarray], words: str) -> None:
    with pytest.raises(FormatError, match=words):
        FrequencyTables.from_arrays(some_tables().to_arrays() | change)


def test_a_missing_array_is_named() -> None:
    with pytest.raises(FormatError, match="lack lengths and offsets"):
        FrequencyTables.from_arrays({"counts": np.array([1])})


@settings(max_examples=30)
@given(st.integers(0, 2**32))
def test_the_code_length_is_the_sum_of_the_logarithms_of_the_shares(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tables = FrequencyTables.from_pmfs([rng.dirichlet(np.ones(5)) for _ in range(3)], [-2, 0, 100])
    indices = rng.integers(0, 3, 50)
    symbols = tables.offsets[indices] + rng.integers(0, 5, 50)
    expected = sum(
        -np.log2(tables.counts[table][symbol - tables.offsets[table]] / TOTAL)
        for symbol, table in zip(symbols.tolist(), indices.tolist(), strict=True)
    )
    assert tables.code_length(symbols, indices) == pytest.approx(expected)
