"""Range coding of symbols: exact for all of them, near the ideal length, and safe on damaged data."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdp.bitstream.coder import SymbolReader, SymbolWriter
from rdp.bitstream.tables import MAX_OFFSET, FrequencyTables
from rdp.errors import CodecError, FormatError

LAST = 2**31 - 1


def bell_tables(count: int = 64) -> FrequencyTables:
    """Tables of geometric laws, from narrow to wide."""
    pmfs, offsets = [], []
    for scale in np.geomspace(0.11, 100, count):
        reach = int(np.ceil(8 * scale))
        weights = np.exp(-np.abs(np.arange(-reach, reach + 1)) / scale)
        pmfs.append(weights / weights.sum() * (1 - 2.0**-16))
        offsets.append(-reach)
    return FrequencyTables.from_pmfs(pmfs, offsets)


def drawn(tables: FrequencyTables, indices: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Symbols drawn from their tables, the escape taken as a symbol far away."""
    symbols = np.empty(indices.size, np.int32)
    for table, counts in enumerate(tables.counts):
        places = np.flatnonzero(indices == table)
        entries = rng.choice(counts.size, places.size, p=counts / counts.sum())
        symbols[places] = tables.offsets[table] + np.where(entries == counts.size - 1, entries + 70, entries)
    return symbols


def written(symbols: np.ndarray, indices: np.ndarray, tables: FrequencyTables) -> bytes:
    writer = SymbolWriter()
    writer.write(symbols, indices, tables)
    return writer.finish()


def read_all(data: bytes, indices: np.ndarray, tables: FrequencyTables) -> np.ndarray:
    reader = SymbolReader(data)
    symbols = reader.read(indices, tables)
    reader.finish()
    return symbols


@st.composite
def streams(draw) -> tuple[list[tuple[FrequencyTables, np.ndarray, np.ndarray]]]:
    """Writes of any symbols of 32 bits under any tables."""
    writes = []
    for _ in range(draw(st.integers(0, 3))):
        rng = np.random.default_rng(draw(st.integers(0, 2**32)))
        count = draw(st.integers(1, 5))
        pmfs = [rng.dirichlet(np.full(rng.integers(1, 9), 0.3)) * rng.uniform(0.5, 1) for _ in range(count)]
        offsets = draw(st.lists(st.integers(-MAX_OFFSET, MAX_OFFSET), min_size=count, max_size=count))
        tables = FrequencyTables.from_pmfs(pmfs, offsets)
        pairs = draw(st.lists(st.tuples(st.integers(0, count - 1), st.integers(-12, 12)), max_size=40))
        indices = np.array([index for index, _ in pairs], np.int64)
        near = tables.offsets[indices].astype(np.int64) + np.array([distance for _, distance in pairs], np.int64)
        anywhere = np.array(draw(st.lists(st.integers(-LAST - 1, LAST), min_size=len(pairs), max_size=len(pairs))))
        symbols = np.where(rng.random(len(pairs)) < 0.8, near, anywhere).astype(np.int64)
        writes.append((tables, indices, symbols))
    return writes


@given(streams())
def test_what_is_written_is_read_back(writes) -> None:
    writer = SymbolWriter()
    for tables, indices, symbols in writes:
        writer.write(symbols, indices, tables)
    data = writer.finish()
    assert data[-1:] != b"\0"
    reader = SymbolReader(data)
    for tables, indices, symbols in writes:
        found = reader.read(indices, tables)
        assert found.dtype == np.int32 and np.array_equal(found, symbols)
    reader.finish()


@pytest.mark.parametrize("offset", [-MAX_OFFSET, -1, 0, MAX_OFFSET])
def test_the_farthest_symbols_are_exact(offset: int) -> None:
    tables = FrequencyTables.from_pmfs([np.full(3, 0.3)], [offset])
    edges = np.array([-LAST - 1, -LAST, -1, 0, 1, LAST - 1, LAST, *range(offset - 3, offset + 7)])
    assert np.array_equal(read_all(written(edges, np.zeros_like(edges), tables), np.zeros_like(edges), tables), edges)


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 3000))
def test_a_stream_is_at_most_five_bytes_longer_than_the_ideal_code(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    tables = bell_tables()
    indices = np.minimum(rng.exponential(8, count), 63).astype(np.uint8)
    symbols = drawn(tables, indices, rng)
    data = written(symbols, indices, tables)
    assert -8 < 8 * len(data) - tables.code_length(symbols, indices) <= 40
    assert np.array_equal(read_all(data, indices, tables), symbols)


def test_a_tenth_of_a_bit_per_pixel_costs_a_few_bytes_more_than_its_ideal_length(rng) -> None:
    """A Kodak picture's symbols: 192 channels of 48 x 32, nearly all of them zero."""
    tables = bell_tables()
    indices = np.minimum(rng.exponential(1.5, 192 * 48 * 32), 63).astype(np.uint8)
    symbols = drawn(tables, indices, rng)
    data = written(symbols, indices, tables)
    ideal = tables.code_length(symbols, indices)
    assert ideal < 0.2 * 768 * 512
    assert 8 * len(data) - ideal < 64


def test_escapes_cost_twice_the_logarithm_of_their_distance_and_no_more() -> None:
    tables = FrequencyTables.from_pmfs([np.array([0.5])], [0])
    for distance in (0, 1, 5, 300, 70_000, 2**30):
        bits = tables.code_length(np.array([1 + distance]), np.array([0])) - 1
        assert bits <= 2 * np.log2(distance + 1) + 2.01
        assert tables.code_length(np.array([-1 - distance]), np.array([0])) - 1 == bits


def test_the_length_of_escapes_is_as_they_are_coded(rng) -> None:
    tables = FrequencyTables.from_pmfs([np.array([0.5]), np.array([0.1, 0.1])], [0, -7])
    indices = rng.integers(0, 2, 4000)
    symbols = np.rint(rng.normal(0, 1, 4000) * 2.0 ** rng.integers(0, 29, 4000)).astype(np.int32)
    data = written(symbols, indices, tables)
    assert abs(8 * len(data) - tables.code_length(symbols, indices)) < 64


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int32, np.int64])
def test_the_type_of_the_indices_and_symbols_changes_nothing(rng, kind: type) -> None:
    tables = bell_tables(20)
    indices = rng.integers(0, 20, 500)
    symbols = drawn(tables, indices, rng)
    reference = written(symbols, indices, tables)
    assert written(symbols.astype(np.int64), indices.astype(kind), tables) == reference
    assert np.array_equal(read_all(reference, indices.astype(kind), tables), symbols)


def test_symbols_of_many_tables_are_read_back(rng) -> None:
    """Over 256 tables, whose indices need two bytes; sorted as a latent of many channels has them, and not."""
    tables = FrequencyTables.from_pmfs([rng.dirichlet(np.ones(9)) for _ in range(700)], np.arange(700) - 350)
    in_order = np.repeat(np.arange(700, dtype=np.uint16), 6)
    for indices in (in_order, rng.permutation(in_order)):
        symbols = drawn(tables, indices, rng)
        assert np.array_equal(read_all(written(symbols, indices, tables), indices, tables), symbols)


def test_nothing_costs_no_bytes() -> None:
    nothing = np.array([], np.int32)
    assert SymbolWriter().finish() == b""
    assert written(nothing, nothing, bell_tables()) == b""
    assert read_all(b"", nothing, bell_tables()).size == 0


def test_the_bytes_of_a_stream_are_the_same_on_every_machine() -> None:
    """A stream of arithmetic's making: its digest was taken once."""
    tables = FrequencyTables.from_pmfs([np.array([1, 2, 3, 4, 5]) / 2**k for k in range(4, 9)], [-2, 0, 5, -9, 1])
    numbers = np.arange(5000)
    indices, symbols = numbers * 7 % 5, numbers * numbers % 23 - 11
    writer = SymbolWriter()
    for part in (slice(0, 4000), slice(4000, 4001), slice(4001, 5000)):
        writer.write(symbols[part], indices[part], tables)
    assert (
        hashlib.sha256(writer.finish()).hexdigest()
        == "6c4670216cc4a952c3d85454a31fa04be92aaf6db3325ff24b383f37ad8d4c0d"
    )


def test_threads_share_tables(rng) -> None:
    tables = bell_tables()
    indices = rng.integers(0, 64, 20_000).astype(np.uint8)
    symbols = drawn(tables, indices, rng)
    with ThreadPoolExecutor(4) as threads:
        files = list(threads.map(lambda _: written(symbols, indices, tables), range(8)))
        read = list(threads.map(lambda data: read_all(data, indices, tables), files))
    assert len(set(files)) == 1 and all(np.array_equal(found, symbols) for found in read)


def test_symbols_beyond_32_bits_are_refused() -> None:
    with pytest.raises(CodecError, match="beyond 32 bits"):
        written(np.array([2**31]), np.array([0]), bell_tables())


@pytest.mark.parametrize(
    ("symbols", "indices"),
    [([1, 2], [0]), ([1.5], [0]), ([[1]], [[0]]), ([1], [64]), ([1], [-1]), ([1], [0.0])],
)
def test_arrays_that_do_not_fit_are_refused(symbols, indices) -> None:
    with pytest.raises(ValueError, match="indices"):
        written(np.array(symbols), np.array(indices), bell_tables())
    if np.shape(symbols) != (2,) and symbols != [1.5]:
        with pytest.raises(ValueError, match="indices"):
            SymbolReader(b"abc").read(np.array(indices), bell_tables())


def test_data_left_over_are_refused(rng) -> None:
    tables, indices = bell_tables(), rng.integers(20, 64, 300).astype(np.uint8)
    data = written(drawn(tables, indices, rng), indices, tables)
    for words in range(3, 6):
        reader = SymbolReader(data + b"\1" * 4 * words)
        reader.read(indices, tables)
        with pytest.raises(FormatError, match="go on behind the last symbol"):
            reader.finish()
    reader = SymbolReader(data)
    reader.read(indices[:200], tables)
    with pytest.raises(FormatError, match="go on behind the last symbol"):
        reader.finish()


def test_data_that_end_in_a_zero_byte_are_refused() -> None:
    with pytest.raises(FormatError, match="zero byte"):
        SymbolReader(b"abc\0")


@settings(max_examples=300)
@given(st.binary(max_size=60), st.integers(0, 2**32))
def test_any_data_are_symbols_or_refused(data: bytes, seed: int) -> None:
    rng = np.random.default_rng(seed)
    tables = FrequencyTables.from_pmfs([rng.dirichlet(np.ones(4)) * rng.uniform(0, 1) for _ in range(3)], [-2, 0, 9])
    indices = rng.integers(0, 3, 80)
    try:
        symbols = SymbolReader(data).read(indices, tables)
    except FormatError:
        return
    assert symbols.shape == (80,) and symbols.dtype == np.int32


def test_a_state_that_no_encoder_leaves_is_refused() -> None:
    with pytest.raises(FormatError, match="code of no symbol"):
        SymbolReader(b"\xff" * 16).read(np.zeros(50, np.uint8), bell_tables())
