"""Whether points of a streamed table share files: then the bits that name decoders are due, and cannot be had."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rdp.errors import SpecError
from rdp.selection.decoder_cost import OPTION
from rdp.selection.naming import CHARGED
from rdp.selection.statement import Statement
from rdp.selection.streaming.rows import RowTable

if TYPE_CHECKING:
    import pyarrow as pa

_IDS = ("encoder_id", "decoder_id")
MOST_IDS = 100_000
"""Identities of encoders that are told apart: far more than a run has, and few enough to be held in memory."""


def refuse_shared_files(table: RowTable, statement: Statement, points: Sequence[str], rows: int) -> bool:
    """Raise `SpecError` where some of `points` share a file and a rate is to be charged; else whether some share it.

    Looks at `encoder_id` alone, over all images at once, in one pass over its rows, `rows` at a time: points share
    files where an encoder makes those of several and they differ in the decoder. Rows without an `encoder_id` count as
    files of their own, but where a table has `file_sha256` in its place nothing is known, and it is refused as well.
    """
    rates = set(CHARGED) & {*statement.used_columns, *statement.bounded_columns}
    if not rates or len(points) < 2:
        return False
    if "encoder_id" not in table.names:
        if "file_sha256" in table.names and statement.decoder_info is not False:
            raise SpecError(
                f"{table.source} has no column encoder_id, and whether points share files is not known from its "
                f"file_sha256 in a streamed solve: leave out --memory, or charge nothing for decoders with {OPTION}"
            )
        return False
    shared = _sharing(table, set(points), rows)
    if shared is None:
        return False
    if statement.decoder_info is False:
        return True
    raise SpecError(
        f"points of {table.source} share files, such as {shared[0]!r} and {shared[1]!r}, and a streamed solve cannot "
        f"charge the bits that name the decoder: leave out --memory, or leave these bits out with {OPTION}"
    )


def _sharing(table: RowTable, points: set[str], rows: int) -> tuple[str, str] | None:
    """Two points that have an encoder in common, and not the decoder."""
    names = ("point", *(name for name in _IDS if name in table.names))
    seen: set[tuple[str | None, ...]] = set()
    first: dict[str, tuple[str, str | None]] = {}
    for batch in table.batches(names, rows=rows):
        codes, texts = zip(*(_encoded(batch.columns[name]) for name in names), strict=True)
        together = np.zeros(batch.count, dtype=np.int64)
        for numbers, words in zip(codes, texts, strict=True):
            together = together * (len(words) + 1) + numbers
        _, at = np.unique(together, return_index=True)
        for row in at.tolist():
            values = tuple(words[numbers[row]] for numbers, words in zip(codes, texts, strict=True))
            point, encoder = values[0], values[1]
            if point not in points or not encoder or values in seen:
                continue
            seen.add(values)
            if len(first) > MOST_IDS:
                raise SpecError(
                    f"{table.source} has more than {MOST_IDS} different encoder_id, too many to find in a streamed "
                    f"solve which points share files: leave out --memory, or charge nothing for decoders with {OPTION}"
                )
            decoder = values[2] if len(values) > 2 else None
            other = first.setdefault(encoder, (point, decoder))
            if other[0] != point and (decoder is None or decoder != other[1]):
                return other[0], point
    return None


def _encoded(column: pa.Array) -> tuple[np.ndarray, list[str | None]]:
    """A number (rows,) for each text, and the texts; the last of these is None, for what is missing."""
    import pyarrow as pa
    import pyarrow.types as types

    if types.is_null(column.type):
        return np.zeros(len(column), dtype=np.int64), [None]
    encoded = column if types.is_dictionary(column.type) else column.cast(pa.string()).dictionary_encode()
    words = [*encoded.dictionary.to_pylist(), None]
    numbers = encoded.indices.fill_null(len(words) - 1).to_numpy(zero_copy_only=False)
    return numbers.astype(np.int64), words
