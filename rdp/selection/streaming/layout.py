"""How the rows of tables lie in their files: one pass over the keys, whole columns at a time.

The rows of an image normally stand together, and the tables of a run hold the same images in the same order. Then the
values can be read in that order again and again without the keys. Whether it is so is checked here exactly, but for an
image that comes back later: that is seen by 64-bit hashes, and where two agree, the names themselves are compared by
going the slow way (`rdp.selection.streaming.join`).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rdp.selection.problem import IntArray
from rdp.selection.streaming.keys import (
    MOST_POINTS,
    PointNames,
    encoded,
    failed_rows,
    has_empty,
    image_heads,
    refuse_empty,
)
from rdp.selection.streaming.rows import Rows, RowTable, ahead, plain_text
from rdp.selection.streaming.text_hashes import Hashes, pair_hashes

if TYPE_CHECKING:
    import pyarrow as pa

KEYS = ("dataset", "image", "point")
APART = "the rows of an image do not stand together"
Counts = npt.NDArray[np.unsignedinteger]


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
    with closing(_same(walks, scan)) as names:
        for dataset, image in names:
            if len(value_set):
                _note(scan, hashes.count, dataset, image, value_set)
            if hashes.add(pair_hashes(dataset, image)):
                scan.scattered = APART
                break
    scan.own_points = [scan.points.names[k] for k in sorted(walks[0].seen)]
    if not scan.scattered and hashes.repeated():
        scan.scattered = APART
    if not scan.scattered:
        scan.layouts = [walk.layout() for walk in walks]
    return scan


def _note(scan: Scan, first: int, dataset: pa.Array, image: pa.Array, wanted: pa.Array) -> None:
    import pyarrow.compute as pc

    for place in np.flatnonzero(pc.is_in(image, value_set=wanted).to_numpy(zero_copy_only=False)).tolist():
        scan.found.append(Found(first + place, dataset[place].as_py(), image[place].as_py()))


def _same(walks: Sequence[_Walk], scan: Scan) -> Generator[tuple[pa.Array, pa.Array]]:
    """The names of the images, portion by portion, as long as all tables agree on them."""
    with ExitStack() as stack:
        streams = [stack.enter_context(closing(ahead(walk.images()))) for walk in walks]
        yield from _agreed(streams, scan)


def _agreed(streams: Sequence[Iterator[tuple[pa.Array, pa.Array]]], scan: Scan) -> Iterator[tuple[pa.Array, pa.Array]]:
    parts: list[tuple[pa.Array, pa.Array] | None] = [None] * len(streams)
    while not scan.scattered:
        for k, stream in enumerate(streams):
            while (part := parts[k]) is None or not len(part[1]):
                parts[k] = following = next(stream, None)
                if following is None:
                    break
        there = [part for part in parts if part is not None]
        if scan.scattered or not there:
            return
        if len(there) < len(parts):
            scan.scattered = "a metric lacks images, or has images of its own"
            return
        count = min(len(image) for _, image in there)
        heads = [(dataset.slice(0, count), image.slice(0, count)) for dataset, image in there]
        if any(not (head[0].equals(heads[0][0]) and head[1].equals(heads[0][1])) for head in heads[1:]):
            scan.scattered = "the metrics hold the images in another order"
            return
        parts = [(dataset.slice(count), image.slice(count)) for dataset, image in there]
        yield heads[0]


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

    def images(self) -> Generator[tuple[pa.Array, pa.Array]]:
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
            refuse_empty("image", rows.first + int(image.is_null().index(True).as_py()), source)
        dataset = encoded(rows, "dataset", source)
        begins, heads = image_heads(image, dataset, self._last)
        names = image.take(heads)
        if has_empty(names):
            where = int(np.flatnonzero(begins)[int(names.index("").as_py())])
            refuse_empty("image", rows.first + where, source)
        datasets = dataset.take(heads).cast("string")
        if has_empty(datasets):
            where = int(np.flatnonzero(begins)[int(datasets.index("").as_py())])
            refuse_empty("dataset", rows.first + where, source)
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
