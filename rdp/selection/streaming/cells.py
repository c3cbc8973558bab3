"""Cells of consecutive images, (B, M) a column, read from tables whose rows lie in order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rdp.errors import TableError
from rdp.selection.problem import BoolArray, FloatArray, IntArray
from rdp.selection.solver.blocks import BLOCK_CELLS
from rdp.selection.streaming.keys import failed_rows
from rdp.selection.streaming.layout import Layout, Scan
from rdp.selection.streaming.memory import MOST_ROWS
from rdp.selection.streaming.rows import Rows, RowTable, ahead, numbers, plain_text

if TYPE_CHECKING:
    import pyarrow as pa

FLAG = "contended"


@dataclass(frozen=True, eq=False)
class Cells:
    """Images `first` to `first + images`: `values` (B, M) by column, and where there are some (None: everywhere).

    `known` (B, M): cells that have a row; None where all have. `failed`: of these, the failed ones; None where none
    is. `flags`: rows measured while other workers ran; None unless asked for. `names` are the arrays of datasets and of
    images, when asked for.
    """

    first: int
    images: int
    values: Mapping[str, FloatArray]
    there: Mapping[str, BoolArray | None]
    known: BoolArray | None = None
    failed: BoolArray | None = None
    flags: BoolArray | None = None
    names: tuple[pa.Array, pa.Array] | None = None


class CellReader(ABC):
    """What hands out the cells of `images` images at some points."""

    source: str
    images: int

    @abstractmethod
    def cells(
        self, columns: Sequence[str], first: int = 0, last: int | None = None, names: bool = False
    ) -> Generator[Cells]:
        """The cells of images `first` to `last` in order, in portions of about `BLOCK_CELLS`."""

    @abstractmethod
    def cheap_starts(self) -> list[int]:
        """Images from which on it costs little to read a few."""

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes that were read so far, as stored."""

    def label(self, image: int) -> tuple[str, str]:
        """Dataset and name of an image."""
        for cells in self.cells((), image, image + 1, names=True):
            if cells.names is not None:
                return cells.names[0][0].as_py(), cells.names[1][0].as_py()
        raise TableError(f"{self.source} has no image number {image}")


class DirectReader(CellReader):
    """Cells from the files themselves.

    `points` are the names of the points wanted, in order; rows of others are passed over.
    """

    def __init__(self, tables: Sequence[RowTable], scan: Scan, points: Sequence[str], rows: int) -> None:
        self.source = tables[0].source
        self.images = scan.layouts[0].images
        self._tables = tables
        self._scan = scan
        self._points = len(points)
        place = {name: k for k, name in enumerate(points)}
        self._place: IntArray = np.array([place.get(name, -1) for name in scan.points.names], dtype=np.int64)
        longest = max(len(scan.own_points), 1)
        # The sums of a portion are rounded, so its size must not depend on how much memory there happens to be.
        self._portion = max(BLOCK_CELLS // longest, 1)
        # Batches that end where portions end need no copy.
        whole = self._portion * longest
        self._rows = whole if rows >= MOST_ROWS else rows

    def cheap_starts(self) -> list[int]:
        """See `CellReader`: where the row groups of the first table begin."""
        layout = self._scan.layouts[0]
        starts = {layout.image_at(row) for row in self._tables[0].group_starts.tolist()}
        return sorted(start for start in starts if start < self.images)

    @property
    def nbytes(self) -> int:
        """See `CellReader`."""
        return sum(table.nbytes for table in self._tables)

    def cells(
        self, columns: Sequence[str], first: int = 0, last: int | None = None, names: bool = False
    ) -> Generator[Cells]:
        """See `CellReader`."""
        last = self.images if last is None else min(last, self.images)
        feeds = self._feeds(columns, first, last, names)
        try:
            for start in range(first, last, self._portion):
                yield self._portion_of(feeds, start, min(start + self._portion, last), columns, names)
        finally:
            for feed in feeds:
                feed.close()

    def _feeds(self, columns: Sequence[str], first: int, last: int, names: bool) -> list[_Feed]:
        feeds = []
        left = set(columns)
        for number, (table, layout) in enumerate(zip(self._tables, self._scan.layouts, strict=True)):
            own = [name for name in table.names if name in left]
            left -= set(own)
            if number == 0:
                own += ["status"] if self._scan.failed else []
                own += ["dataset", "image"] if names else []
            if number and not own:
                continue
            own += ["point"] if layout.counts is not None else []
            feeds.append(_Feed(table, layout, self._scan, own, (first, last), self._rows))
        return feeds

    def _portion_of(self, feeds: Sequence[_Feed], first: int, last: int, columns: Sequence[str], names: bool) -> Cells:
        values: dict[str, FloatArray] = {}
        there: dict[str, BoolArray | None] = {}
        known = failed = flags = None
        labels = None
        for number, feed in enumerate(feeds):
            rows = feed.take(first, last)
            grid = _Grid.of(rows, feed.layout, first, last, self._place, self._points)
            if number == 0:
                known = grid.filled()
                failed = grid.placed(rows.columns["status"][0], False) if "status" in rows.columns else None
                if FLAG in rows.columns:
                    flags = grid.placed(rows.columns[FLAG][0] > 0, False)
                if names:
                    labels = (rows.texts["dataset"].take(grid.heads), rows.texts["image"].take(grid.heads))
            for name in columns:
                if name in rows.columns and name != FLAG and name not in values:
                    array, valid = rows.columns[name]
                    values[name] = grid.placed(array, np.nan)
                    there[name] = grid.filled() if valid is None else grid.placed(valid, False)
        return Cells(first, last - first, values, there, known, failed, flags, labels)


@dataclass(frozen=True, eq=False)
class _Portion:
    """Rows of one table: arrays with what is there of them, and texts."""

    columns: Mapping[str, tuple[Any, BoolArray | None]]
    texts: Mapping[str, pa.Array]


class _Feed:
    """Consecutive rows of one table, handed out image by image."""

    def __init__(
        self, table: RowTable, layout: Layout, scan: Scan, names: Sequence[str], images: tuple[int, int], rows: int
    ) -> None:
        self.layout = layout
        self._table = table
        self._scan = scan
        self._names = tuple(names)
        start, stop = layout.first_row(images[0]), layout.first_row(images[1])
        self._batches = ahead(table.batches(names, start, stop, rows))
        self._parts: list[tuple[_Portion, int, int]] = []

    def close(self) -> None:
        """Stop reading."""
        self._batches.close()

    def take(self, first: int, last: int) -> _Portion:
        """The rows of images `first` to `last`, which follow those of the last call."""
        sizes = self.layout.rows_of(first, last)
        needed = sizes * (last - first) if isinstance(sizes, int) else int(sizes.sum())
        pieces: list[_Portion] = []
        while needed:
            if not self._parts:
                rows = next(self._batches, None)
                if rows is None:
                    raise TableError(f"{self._table.source} has fewer rows than before: it was changed meanwhile")
                self._parts.append((self._converted(rows), 0, rows.count))
            portion, start, stop = self._parts.pop()
            end = min(start + needed, stop)
            pieces.append(_cut(portion, start, end))
            needed -= end - start
            if end < stop:
                self._parts.append((portion, end, stop))
        return pieces[0] if len(pieces) == 1 else _joined(pieces)

    def _converted(self, rows: Rows) -> _Portion:
        columns: dict[str, tuple[Any, BoolArray | None]] = {}
        texts: dict[str, pa.Array] = {}
        for name in self._names:
            if name == "point":
                columns[name] = self._scan.points.codes(rows, self._table.source), None
            elif name == "status":
                columns[name] = failed_rows(rows, self._table.source), None
            elif name in ("dataset", "image"):
                texts[name] = plain_text(rows.columns[name])
            elif name == FLAG:
                columns[name] = rows.columns[name].fill_null(False).to_numpy(zero_copy_only=False), None
            else:
                columns[name] = numbers(rows.columns[name])
        return _Portion(columns, texts)


def _cut(portion: _Portion, start: int, stop: int) -> _Portion:
    columns = {
        name: (array[start:stop], None if there is None else there[start:stop])
        for name, (array, there) in portion.columns.items()
    }
    return _Portion(columns, {name: text.slice(start, stop - start) for name, text in portion.texts.items()})


def _joined(pieces: Sequence[_Portion]) -> _Portion:
    import pyarrow as pa

    columns: dict[str, tuple[Any, BoolArray | None]] = {}
    for name in pieces[0].columns if pieces else ():
        parts = [piece.columns[name] for piece in pieces]
        there = None
        if any(mask is not None for _, mask in parts):
            there = np.concatenate([np.ones(len(a), np.bool_) if mask is None else mask for a, mask in parts])
        columns[name] = np.concatenate([array for array, _ in parts]), there
    texts = {n: pa.concat_arrays([piece.texts[n] for piece in pieces]) for n in (pieces[0].texts if pieces else ())}
    return _Portion(columns, texts)


class _Grid:
    """Where the rows of a portion belong among (B, M) cells."""

    def __init__(
        self, shape: tuple[int, int], columns: IntArray | None, flat: IntArray | None, heads: IntArray
    ) -> None:
        self.shape = shape
        self.heads = heads
        self._columns = columns
        self._flat = flat

    @classmethod
    def of(cls, rows: _Portion, layout: Layout, first: int, last: int, place: IntArray, points: int) -> _Grid:
        """`place` says which of the `points` each number of a point name is, -1 for none."""
        count = last - first
        sizes = layout.rows_of(first, last)
        if isinstance(sizes, int):
            return cls((count, points), place[layout.order], None, np.arange(count) * sizes)
        heads = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        image = np.repeat(np.arange(count), sizes)
        codes = place[rows.columns["point"][0]]
        return cls((count, points), None, np.where(codes < 0, -1, image * points + codes), heads)

    def filled(self) -> BoolArray | None:
        """Cells that have a row; None where all have."""
        if self._columns is not None:
            if len(set(self._columns[self._columns >= 0].tolist())) == self.shape[1]:
                return None
            mask = np.zeros(self.shape, np.bool_)
            mask[:, self._columns[self._columns >= 0]] = True
            return mask
        cells = np.zeros(self.shape[0] * self.shape[1], np.bool_)
        flat = self._flat if self._flat is not None else np.zeros(0, np.int64)
        cells[flat[flat >= 0]] = True
        return None if cells.all() else cells.reshape(self.shape)

    def placed(self, array: Any, nothing: float) -> Any:
        """The values of rows as (B, M), `nothing` where there is no row."""
        if self._columns is not None:
            table = array.reshape(self.shape[0], len(self._columns))
            if len(self._columns) == self.shape[1] and (self._columns == np.arange(self.shape[1])).all():
                return table
            kept = self._columns >= 0
            out = np.full(self.shape, nothing, dtype=array.dtype)
            out[:, self._columns[kept]] = table[:, kept]
            return out
        flat = self._flat if self._flat is not None else np.zeros(0, np.int64)
        kept = flat >= 0
        cells = np.full(self.shape[0] * self.shape[1], nothing, dtype=array.dtype)
        cells[flat[kept]] = array[kept]
        return cells.reshape(self.shape)
