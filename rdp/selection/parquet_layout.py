"""How the rows of tables lie in their files: one pass over the keys, whole columns at a time.

The rows of an image normally stand together, and the tables of a run hold the same images in the same order. Then the
values can be read in that order again and again without the keys. Whether it is so is checked here exactly, but for an
image that comes back later: that is seen by 64-bit hashes, and where two agree, the names themselves are compared by
going the slow way (`rdp.selection.parquet_join`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rdp.errors import TableError
from rdp.selection.parquet_rows import Rows, RowTable, ahead, plain_text
from rdp.selection.problem import BoolArray, IntArray
from rdp.selection.text_hashes import Hashes, pair_hashes
from rdp.tables import FAILED, OK

if TYPE_CHECKING:
    import pyarrow as pa

MOST_POINTS = 65_535
KEYS = ("dataset", "image", "point")
Counts = npt.NDArray[np.unsignedinteger]


class PointNames:
    """Numbers of point names, in order of appearance; the tables of a run share them."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._number: dict[str, int] = {}

    def codes(self, rows: Rows, source: str) -> IntArray:
        """The number of each row's point. Raises `TableError` for an empty name and for too many."""
        encoded = _encoded(rows, "point", source)
        numbers = np.array([self._of(name) for name in encoded.dictionary.to_pylist()], dtype=np.int64)
        codes = encoded.indices.to_numpy(zero_copy_only=False)
        if "" in self._number:
            _refuse_empty("point", rows.first + int((numbers[codes] == self._number[""]).argmax()), source)
        if len(self.names) > MOST_POINTS:
            raise TableError(f"{source} has more than {MOST_POINTS} points: is `point` the right column?")
        return np.asarray(numbers[codes])

    def _of(self, name: str) -> int:
        number = self._number.setdefault(name, len(self.names))
        if number == len(self.names):
            self.names.append(name)
        return number


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the rows of image after image stand in a table.

    Either every image has the same points in the same order: `order` (L,) numbers them, and `counts` is None; or
    `counts` (N,) is how many rows each image has.
    """

    images: int
    order: IntArray
    counts: Counts | None

    def first_row(self, image: int) -> int:
        """The row at which an image begins (for N: the number of rows)."""
        return image * len(self.order) if self.counts is None else int(self.counts[:image].sum(dtype=np.int64))

    def image_at(self, row: int) -> int:
        """The first image that begins at that row or later."""
        if self.counts is None:
            return -(-row // len(self.order))
        step = 4096
        sums = np.add.reduceat(self.counts, np.arange(0, self.images, step), dtype=np.int64).cumsum()
        part = int(np.searchsorted(sums, row))
        before = int(sums[part - 1]) if part else 0
        inner = before + np.concatenate([[0], self.counts[part * step : (part + 1) * step].cumsum(dtype=np.int64)])
        return min(part * step + int(np.searchsorted(inner, row)), self.images)

    def rows_of(self, first: int, last: int) -> IntArray | int:
        """The number of rows (last - first,) of some images, or of each of them where all have as many."""
        return len(self.order) if self.counts is None else self.counts[first:last].astype(np.int64)


@dataclass(frozen=True, eq=False)
class Found:
    """An image that the statement names: its number and its names."""

    number: int
    dataset: str
    image: str


@dataclass
class Scan:
    """What the keys of the tables say. `layouts` is empty where the rows do not lie in order, and `scattered` says why.

    `failed`: some rows say so. `datasets` are the names that occur, `found` the images that were asked for.
    """

    points: PointNames
    own_points: list[str] = field(default_factory=list)
    layouts: list[Layout] = field(default_factory=list)
    scattered: str = ""
    failed: bool = False
    datasets: list[str] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)


def scan_tables(tables: Sequence[RowTable], wanted: Sequence[str], rows: int) -> Scan:
    """Read the keys of all tables once, side by side; `wanted` are names of images whose numbers are needed.

    Raises `TableError` for an empty key, for too many points, and for an unknown status. Stops early where the rows
    are found not to lie in order.
    """
    import pyarrow as pa

    scan = Scan(PointNames())
    hashes = Hashes()
    walks = [_Walk(table, scan, rows, main=number == 0) for number, table in enumerate(tables)]
    value_set = pa.array(list(wanted), pa.string())
    for dataset, image in _same(walks, scan):
        if len(value_set):
            _note(scan, hashes.count, dataset, image, value_set)
        hashes.add(pair_hashes(dataset, image))
    scan.own_points = [scan.points.names[k] for k in sorted(walks[0].seen)]
    if not scan.scattered and hashes.repeated():
        scan.scattered = "the rows of an image do not stand together"
    if not scan.scattered:
        scan.layouts = [walk.layout() for walk in walks]
    return scan


def _note(scan: Scan, first: int, dataset: pa.Array, image: pa.Array, wanted: pa.Array) -> None:
    import pyarrow.compute as pc

    for place in np.flatnonzero(pc.is_in(image, value_set=wanted).to_numpy(zero_copy_only=False)).tolist():
        scan.found.append(Found(first + place, dataset[place].as_py(), image[place].as_py()))


def _same(walks: Sequence[_Walk], scan: Scan) -> Iterator[tuple[pa.Array, pa.Array]]:
    """The names of the images, portion by portion, as long as all tables agree on them."""
    streams = [ahead(walk.images()) for walk in walks]
    parts: list[tuple[pa.Array, pa.Array] | None] = [None] * len(walks)
    while not scan.scattered:
        for k, stream in enumerate(streams):
            while (part := parts[k]) is None or not len(part[1]):
                parts[k] = following = next(stream, None)
                if following is None:
                    break
        there = [part for part in parts if part is not None]
        if scan.scattered or not there:
            break
        if len(there) < len(parts):
            scan.scattered = "a metric lacks images, or has images of its own"
            break
        count = min(len(image) for _, image in there)
        heads = [(dataset.slice(0, count), image.slice(0, count)) for dataset, image in there]
        if any(not (head[0].equals(heads[0][0]) and head[1].equals(heads[0][1])) for head in heads[1:]):
            scan.scattered = "the metrics hold the images in another order"
            break
        parts = [(dataset.slice(count), image.slice(count)) for dataset, image in there]
        yield heads[0]
    for stream in streams:
        stream.close()  # type: ignore[attr-defined]


class _Walk:
    """One table's keys, in order."""

    def __init__(self, table: RowTable, scan: Scan, rows: int, main: bool) -> None:
        self.table = table
        self.scan = scan
        self.main = main
        self.rows = rows
        self.seen: set[int] = set()
        self._pattern: IntArray | None = None
        self._regular = 0
        self._counts: list[Counts] = []
        self._open = np.zeros(0, dtype=np.int64)
        self._last: tuple[str, str] | None = None

    def images(self) -> Iterator[tuple[pa.Array, pa.Array]]:
        """Dataset and name of every image whose rows begin, portion by portion."""
        names = (*KEYS, "status") if self.main else KEYS
        for rows in self.table.batches(names, rows=self.rows):
            yield self._batch(rows)
            if self.scan.scattered:
                return
        if self._last is not None:
            self._ended(self._open, np.array([0, len(self._open)]))

    def _batch(self, rows: Rows) -> tuple[pa.Array, pa.Array]:
        source = self.table.source
        if self.main:
            self.scan.failed |= bool(failed_rows(rows, source).any())
        image = plain_text(rows.columns["image"])
        if image.null_count:
            _refuse_empty("image", rows.first + int(image.is_null().index(True).as_py()), source)
        dataset = _encoded(rows, "dataset", source)
        begins, heads = image_heads(image, dataset, self._last)
        names = image.take(heads)
        if len(names) and "" in (names[0].as_py(), names[-1].as_py()) or _has_empty(names):
            where = int(np.flatnonzero(begins)[int(names.index("").as_py())])
            _refuse_empty("image", rows.first + where, source)
        datasets = dataset.take(heads).cast("string")
        if _has_empty(datasets):
            where = int(np.flatnonzero(begins)[int(datasets.index("").as_py())])
            _refuse_empty("dataset", rows.first + where, source)
        if self.main:
            known = set(self.scan.datasets)
            self.scan.datasets += [name for name in datasets.unique().to_pylist() if name not in known]
        codes = self.scan.points.codes(rows, source)
        starts = np.flatnonzero(begins) + len(self._open)
        codes = np.concatenate([self._open, codes])
        if self._last is not None:
            starts = np.concatenate([[0], starts])
        self._ended(codes[: starts[-1]], starts)
        self._open = codes[starts[-1] :]
        if len(self._open) > len(self.scan.points.names):
            self.scan.scattered = "an image has a point more than once"
        self._last = (dataset[len(dataset) - 1].as_py(), image[len(image) - 1].as_py())
        return datasets, names

    def _ended(self, codes: IntArray, starts: IntArray) -> None:
        """Take the points of images whose rows are complete; they begin at `starts`, the last of which is the end."""
        lengths = np.diff(starts)
        if not len(lengths):
            return
        if self._pattern is None:
            self._pattern = codes[: int(lengths[0])].copy()
            self.seen.update(self._pattern.tolist())
            if len(set(self._pattern.tolist())) < len(self._pattern):
                self.scan.scattered = "an image has a point more than once"
                return
        size = len(self._pattern)
        if not self._counts:
            if bool((lengths == size).all()) and bool((codes.reshape(-1, size) == self._pattern).all()):
                self._regular += len(lengths)
                return
            self._counts.append(np.full(self._regular, size, np.min_scalar_type(size)))
        image = np.repeat(np.arange(len(lengths)), lengths)
        cells = np.sort(image * np.int64(MOST_POINTS + 1) + codes)
        if bool((cells[1:] == cells[:-1]).any()):
            self.scan.scattered = "an image has a point more than once"
        self.seen.update(np.unique(codes).tolist())
        self._counts.append(lengths.astype(np.min_scalar_type(int(lengths.max()))))

    def layout(self) -> Layout:
        """The layout of the table, after all keys were read."""
        pattern = np.zeros(0, np.int64) if self._pattern is None else self._pattern
        if not self._counts:
            return Layout(self._regular, pattern, None)
        counts = np.concatenate(self._counts)
        return Layout(len(counts), pattern, counts)


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
    encoded = rows.columns["status"]
    if encoded.null_count == 0 and encoded.type != "string":
        names = encoded.dictionary.to_pylist()
        if names == [OK]:
            return np.zeros(rows.count, dtype=np.bool_)
    import pyarrow.compute as pc

    texts = plain_text(encoded)
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


def _encoded(rows: Rows, name: str, source: str) -> pa.Array:
    """A text column as a dictionary array of strings; raises `TableError` where it is null."""
    import pyarrow.types as types

    values = rows.columns[name]
    if values.null_count:
        _refuse_empty(name, rows.first + int(values.is_null().index(True).as_py()), source)
    if not types.is_dictionary(values.type):
        values = plain_text(values).dictionary_encode()
    elif not types.is_string(values.type.value_type):
        values = plain_text(values).dictionary_encode()
    return values


def _has_empty(names: pa.Array) -> bool:
    import pyarrow.compute as pc

    return bool(len(names)) and pc.min(pc.binary_length(names)).as_py() == 0


def _refuse_empty(name: str, row: int, source: str) -> None:
    raise TableError(f"{source}, row {row + 1}: {name!r} is empty")
