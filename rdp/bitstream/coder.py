"""Symbols to bytes and back by range coding under frequency tables; one stream holds all writes of a file in order.

Big-endian words of 32 bits whose trailing zero bytes are dropped: the coder's last word says something in its leading
bits only, and its decoder takes zeros for what is not there.
"""

from __future__ import annotations

from typing import Any

import constriction
import numpy as np

from rdp.bitstream.escapes import read_escapes, write_escapes
from rdp.bitstream.tables import FrequencyTables
from rdp.errors import CodecError, FormatError

Integers = np.ndarray[Any, np.dtype[np.integer[Any]]]

_FIRST, _LAST = -(1 << 31), (1 << 31) - 1


class SymbolWriter:
    """Codes symbols; `finish` gives the bytes."""

    def __init__(self) -> None:
        self._encoder = constriction.stream.queue.RangeEncoder()

    def write(self, symbols: Integers, indices: Integers, tables: FrequencyTables) -> None:
        """Code n symbols (integers of 32 bits, (n,)), each under the table of its index (integers, (n,)).

        Symbols that their table does not hold cost more bits and are exact too. Raises `CodecError` for symbols beyond
        32 bits, `ValueError` for arrays that do not fit together or indices of no table.
        """
        symbols = np.asarray(symbols)
        if symbols.ndim != 1 or symbols.dtype.kind not in "iu" or symbols.shape != np.shape(indices):
            raise ValueError(f"symbols of shape {symbols.shape} {symbols.dtype}, indices of {np.shape(indices)}")
        if not symbols.size:
            return
        if symbols.dtype != np.int32 and (symbols.min() < _FIRST or symbols.max() > _LAST):
            raise CodecError("the network gives a latent beyond 32 bits for this image; its weights may be damaged")
        order, runs = _group(indices, tables)
        # Without a cast the subtraction below would widen; the check above is what makes it right.
        ordered = (symbols if order is None else symbols[order]).astype(np.int32, copy=False)
        below, distances = [], []
        for table, start, end in runs:
            size, offset = int(tables.sizes[table]), int(tables.offsets[table])
            # Wraps round where a symbol is far away, but never into the table, whose offset is at most 2**30.
            entries = ordered[start:end] - np.int32(offset)
            outside = np.flatnonzero(entries.view(np.uint32) >= size)
            if outside.size:
                far = ordered[start:end][outside].astype(np.int64) - offset
                below.append(far < 0)
                distances.append(np.maximum(-1 - far, far - size))
                entries[outside] = size
            self._encoder.encode(entries, tables.model(table))
        if distances:
            write_escapes(self._encoder, np.concatenate(below).astype(np.int64), np.concatenate(distances))

    def finish(self) -> bytes:
        """The bytes of everything written; none if nothing was, or nothing that carries information."""
        compressed: bytes = self._encoder.get_compressed().astype(">u4").tobytes()
        return compressed.rstrip(b"\0")


class SymbolReader:
    """Reads symbols in the order they were written.

    Damaged data give other symbols or a `FormatError`; memory and time depend on what is asked for, not on the data.
    """

    def __init__(self, data: bytes) -> None:
        """Raises `FormatError` for data that no writer makes."""
        if data[-1:] == b"\0":
            raise FormatError("the coded data end in a zero byte, which they never do: the file is damaged")
        words = np.frombuffer(data + b"\0" * (-len(data) % 4), ">u4").astype(np.uint32)
        self._decoder = constriction.stream.queue.RangeDecoder(words)

    def read(self, indices: Integers, tables: FrequencyTables) -> Integers:
        """The next n symbols, int32 (n,), given the table of each (indices: integers, (n,)).

        Raises `FormatError` where the data cannot be those of a writer, `ValueError` for indices of no table.
        """
        order, runs = _group(indices, tables)
        ordered = np.empty(np.size(indices), np.int32)
        escaped: list[tuple[int, Integers]] = []
        try:
            for table, start, end in runs:
                entries = self._decoder.decode(tables.model(table), end - start)
                outside = np.flatnonzero(entries == tables.sizes[table])
                if outside.size:
                    escaped.append((table, outside + start))
                np.add(entries, tables.offsets[table], out=ordered[start:end])
            if escaped:
                self._fill_in(ordered, escaped, tables)
        except (AssertionError, ValueError) as error:
            # What constriction raises for a state that no encoder leaves behind.
            raise FormatError("the coded data are damaged: they hold a code of no symbol") from error
        if order is None:
            return ordered
        symbols = np.empty_like(ordered)
        symbols[order] = ordered
        return symbols

    def _fill_in(self, ordered: Integers, escaped: list[tuple[int, Integers]], tables: FrequencyTables) -> None:
        """Put the symbols outside their tables where their escapes stand: (table, places in `ordered`)."""
        places = np.concatenate([part for _, part in escaped])
        below, distances = read_escapes(self._decoder, places.size)
        sizes = np.concatenate([np.full(part.size, tables.sizes[table], np.int64) for table, part in escaped])
        above = ordered[places].astype(np.int64)
        symbols = np.where(below == 1, above - sizes - 1 - distances, above + distances)
        if symbols.min() < _FIRST or symbols.max() > _LAST:
            raise FormatError("the coded data are damaged: they hold a symbol beyond 32 bits")
        ordered[places] = symbols

    def finish(self) -> None:
        """Raise `FormatError` if data are left over: a word (4 bytes) too many may go unnoticed, more do not."""
        if not self._decoder.maybe_exhausted():
            raise FormatError("the coded data go on behind the last symbol: the file is damaged")


def _group(indices: Integers, tables: FrequencyTables) -> tuple[Integers | None, list[tuple[int, int, int]]]:
    """Sort symbols by table, in their order within each: (order, runs).

    The order is None where they are sorted already; runs are (table, start, end) in the sorted symbols, of every table
    in use. Raises `ValueError` for indices of no table.
    """
    indices, count = np.asarray(indices), len(tables)
    if indices.ndim != 1 or indices.dtype.kind not in "iu":
        raise ValueError(f"indices are a row of integers, not {indices.dtype} {indices.shape}")
    if indices.size and (indices.min() < 0 or indices.max() >= count):
        raise ValueError(f"indices from {indices.min()} to {indices.max()} for {count} tables")
    # A stable sort of 8 or 16 bits is a radix sort, many times as fast as one of 64 bits.
    kind: type[np.integer[Any]] = np.uint8 if count <= 1 << 8 else np.uint16 if count <= 1 << 16 else np.int64
    narrow: Integers = indices.astype(kind, copy=False)
    lengths = np.bincount(narrow, minlength=count)
    ends = np.cumsum(lengths)
    runs = [(table, int(ends[table] - lengths[table]), int(ends[table])) for table in np.flatnonzero(lengths).tolist()]
    in_order = bool((narrow[1:] >= narrow[:-1]).all())
    return None if in_order else np.argsort(narrow, kind="stable"), runs
