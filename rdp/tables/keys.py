"""Row keys as integers: sorting, joining and de-duplicating hundreds of thousands of rows in milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rdp.columns import KEY_COLUMNS

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Codes = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class KeyIndex:
    """Numbers for keys: equal keys have equal numbers, and the numbers sort as the keys do (by text)."""

    vocabularies: tuple[pa.Array, ...]

    @staticmethod
    def of(tables: Sequence[pa.Table]) -> KeyIndex:
        """An index of all keys in some tables."""
        import pyarrow as pa
        import pyarrow.compute as pc

        vocabularies = []
        for name in KEY_COLUMNS:
            chunks = [pc.unique(table.column(name)).cast(pa.string()) for table in tables]
            merged = pc.unique(pa.chunked_array(chunks, type=pa.string()))
            vocabularies.append(merged.take(pc.sort_indices(merged)))
        return KeyIndex(tuple(vocabularies))

    def codes(self, table: pa.Table) -> Codes:
        """The number of each row's key; -1 for a key that the index does not know."""
        import numpy as np
        import pyarrow.compute as pc

        result = np.zeros(table.num_rows, dtype=np.int64)
        unknown = np.zeros(table.num_rows, dtype=bool)
        for name, vocabulary in zip(KEY_COLUMNS, self.vocabularies, strict=True):
            found = pc.index_in(table.column(name).cast(vocabulary.type), value_set=vocabulary)
            column = pc.fill_null(found, -1).to_numpy().astype(np.int64)
            unknown |= column < 0
            result = result * max(len(vocabulary), 1) + column
        result[unknown] = -1
        return result


def last_of_each(codes: Codes) -> Codes:
    """Positions of the last row of every distinct code, in order of code."""
    import numpy as np

    order = np.argsort(codes, kind="stable")
    ordered = codes[order]
    last = np.ones(len(ordered), dtype=bool)
    last[:-1] = ordered[1:] != ordered[:-1]
    result: Codes = order[last]
    return result


def first_duplicate(codes: Codes) -> int | None:
    """Position of a row whose code an earlier row has, or None."""
    import numpy as np

    order = np.argsort(codes, kind="stable")
    repeated = np.flatnonzero(codes[order][1:] == codes[order][:-1])
    return int(order[repeated[0] + 1]) if len(repeated) else None


def positions_of(wanted: Codes, codes: Codes) -> Codes:
    """For every wanted code, the position in `codes` (each at most once there), or -1."""
    import numpy as np

    if len(codes) == 0:
        return np.full(len(wanted), -1, dtype=np.int64)
    order = np.argsort(codes, kind="stable")
    place = np.searchsorted(codes[order], wanted)
    place[place == len(codes)] = 0
    candidates = order[place]
    return np.where((codes[candidates] == wanted) & (wanted >= 0), candidates, -1)
