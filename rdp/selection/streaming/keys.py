"""Keys of rows a column at a time: names of points as numbers, where images begin, what failed; and their refusals."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from rdp.errors import TableError
from rdp.selection.problem import BoolArray, IntArray
from rdp.selection.streaming.rows import Rows, plain_text
from rdp.tables import FAILED, OK

if TYPE_CHECKING:
    import pyarrow as pa

MOST_POINTS = 65_535


class PointNames:
    """Numbers of point names, in order of appearance; the tables of a run share them."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._number: dict[str, int] = {}
        self._lock = Lock()

    def codes(self, rows: Rows, source: str) -> IntArray:
        """The number of each row's point. Raises `TableError` for an empty name and for too many."""
        coded = encoded(rows, "point", source)
        with self._lock:  # tables are read side by side, each by a thread
            numbers = np.array([self._of(name) for name in coded.dictionary.to_pylist()], dtype=np.int64)
        codes = coded.indices.to_numpy(zero_copy_only=False)
        if "" in self._number:
            refuse_empty("point", rows.first + int((numbers[codes] == self._number[""]).argmax()), source)
        if len(self.names) > MOST_POINTS:
            raise TableError(f"{source} has more than {MOST_POINTS} points: is `point` the right column?")
        return np.asarray(numbers[codes])

    def _of(self, name: str) -> int:
        number = self._number.setdefault(name, len(self.names))
        if number == len(self.names):
            self.names.append(name)
        return number


def image_heads(image: pa.Array, dataset: pa.Array, last: tuple[str, str] | None) -> tuple[BoolArray, pa.Array]:
    """Which rows begin another image than the row before, as a mask and as an array of positions.

    `image` are plain strings, `dataset` is dictionary-encoded, `last` the (dataset, image) of the row before.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    begins = np.empty(len(image), dtype=np.bool_)
    begins[0] = last is None or last != (dataset[0].as_py(), image[0].as_py())
    begins[1:] = pc.not_equal(image[1:], image[:-1]).to_numpy(zero_copy_only=False)
    if len(dataset.dictionary) > 1:
        codes = dataset.indices.to_numpy(zero_copy_only=False)
        begins[1:] |= codes[1:] != codes[:-1]
    return begins, pa.array(np.flatnonzero(begins))


def failed_rows(rows: Rows, source: str) -> BoolArray:
    """Which rows (n,) say that they failed; raises `TableError` for a status that is neither ok nor failed."""
    import pyarrow.compute as pc
    import pyarrow.types as types

    statuses = rows.columns["status"]
    if statuses.null_count == 0 and types.is_dictionary(statuses.type):
        names = statuses.dictionary.to_pylist()
        if names == [OK]:
            return np.zeros(rows.count, dtype=np.bool_)
    texts = plain_text(statuses)
    known = pc.is_in(texts, value_set=_texts([OK, FAILED])).to_numpy(zero_copy_only=False)
    if not known.all():
        row = int(np.argmin(known))
        raise TableError(
            f"{source}, row {rows.first + row + 1}: status {texts[row].as_py()!r} is neither {OK!r} nor {FAILED!r}"
        )
    return np.asarray(pc.equal(texts, FAILED).to_numpy(zero_copy_only=False), dtype=np.bool_)


def _texts(names: Sequence[str]) -> pa.Array:
    import pyarrow as pa

    return pa.array(list(names), pa.string())


def encoded(rows: Rows, name: str, source: str) -> pa.Array:
    """A text column as a dictionary array of strings; raises `TableError` where it is null."""
    import pyarrow.types as types

    values = rows.columns[name]
    if values.null_count:
        refuse_empty(name, rows.first + int(values.is_null().index(True).as_py()), source)
    if not types.is_dictionary(values.type) or not types.is_string(values.type.value_type):
        values = plain_text(values).dictionary_encode()
    return values


def has_empty(names: pa.Array) -> bool:
    import pyarrow.compute as pc

    return bool(len(names)) and pc.min(pc.binary_length(names)).as_py() == 0


def refuse_empty(name: str, row: int, source: str) -> None:
    raise TableError(f"{source}, row {row + 1}: {name!r} is empty")
