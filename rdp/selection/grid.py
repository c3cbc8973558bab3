"""Rows of a table as arrays of shape (images, points), in canonical order.

The keys are dictionary-encoded once; every column is then scattered into place by one index array.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from rdp.errors import TableError
from rdp.selection.terms import BoolArray, FloatArray, IntArray
from rdp.selection.words import counted
from rdp.tables import CellTable
from rdp.tables.table import OK, natural_key


@dataclass(frozen=True, eq=False)
class Grid:
    """Where each row of a table belongs among N images and M points; `flat` (rows,) indexes the (N * M) cells."""

    table: CellTable
    datasets: tuple[str, ...]
    images: tuple[str, ...]
    points: tuple[str, ...]
    flat: IntArray

    @property
    def shape(self) -> tuple[int, int]:
        """(N, M)."""
        return len(self.images), len(self.points)

    def _scatter(self, rows: BoolArray) -> BoolArray:
        cells = np.zeros(len(self.images) * len(self.points), dtype=np.bool_)
        cells[self.flat[rows]] = True
        return cells.reshape(self.shape)

    @property
    def known(self) -> BoolArray:
        """Cells (N, M) that have a row."""
        return self._scatter(np.ones(len(self.flat), dtype=np.bool_))

    @property
    def failed(self) -> BoolArray:
        """Cells whose row says that the codec or a metric failed."""
        status = self.table.data.column("status")
        return self._scatter(~_to_numpy(pc.fill_null(pc.equal(status, OK), False)).astype(np.bool_))

    def valid(self, column: str) -> BoolArray:
        """Cells with a value in that column: a row, and not null (NaN is a value, and refused later)."""
        return self._scatter(_to_numpy(pc.is_valid(self.table.data.column(column))).astype(np.bool_))

    def true(self, column: str) -> BoolArray:
        """Cells in which a flag is set."""
        return self._scatter(_to_numpy(pc.fill_null(self.table.data.column(column), False)).astype(np.bool_))

    def values(self, column: str) -> FloatArray:
        """Values (N, M) of a numeric column as float64, NaN where there is none."""
        cells = np.full(len(self.images) * len(self.points), np.nan)
        cells[self.flat] = self.table.numpy(column)
        return cells.reshape(self.shape)


def _to_numpy(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    return np.asarray(column.to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column.to_numpy())


def _codes(table: CellTable, column: str) -> tuple[IntArray, list[str]]:
    """The number (rows,) of each row's text, and the texts in order of first appearance."""
    data = table.data.column(column)
    if pat.is_dictionary(data.type):
        data = data.cast(data.type.value_type)
    if data.null_count:
        raise TableError(f"column {column!r} of {table.source} has {data.null_count} missing values; it is a key")
    encoded = pa.chunked_array(data).combine_chunks().dictionary_encode() if data.num_chunks else None
    if encoded is None:
        return np.zeros(0, dtype=np.int64), []
    return encoded.indices.to_numpy().astype(np.int64), encoded.dictionary.to_pylist()


def make_grid(table: CellTable) -> Grid:
    """Place every row of the table; raises `TableError` when it is empty or a key stands in it twice."""
    if not len(table):
        raise TableError(f"{table.source} has no rows, so there is nothing to choose from")
    dataset_of, datasets = _codes(table, "dataset")
    image_of, images = _codes(table, "image")
    point_of, points = _codes(table, "point")
    # A name may stand in several datasets: an image is a (dataset, name) pair, numbered by what occurs.
    pair_of = dataset_of * len(images) + image_of
    pairs, first = np.unique(pair_of, return_inverse=True)
    keys = [(datasets[pair // len(images)], images[pair % len(images)]) for pair in pairs.tolist()]
    image_order = sorted(range(len(keys)), key=keys.__getitem__)
    point_order = sorted(range(len(points)), key=lambda k: natural_key(points[k]))
    flat = _rank(image_order)[first] * len(points) + _rank(point_order)[point_of]
    grid = Grid(
        table,
        tuple(keys[k][0] for k in image_order),
        tuple(keys[k][1] for k in image_order),
        tuple(points[k] for k in point_order),
        flat,
    )
    _refuse_duplicates(grid)
    return grid


def _rank(order: Sequence[int]) -> IntArray:
    """The inverse of a permutation."""
    rank = np.empty(len(order), dtype=np.int64)
    rank[np.asarray(order, dtype=np.int64)] = np.arange(len(order))
    return rank


def _refuse_duplicates(grid: Grid) -> None:
    count = np.bincount(grid.flat, minlength=len(grid.images) * len(grid.points))
    if count.max() > 1:
        image, point = divmod(int(count.argmax()), len(grid.points))
        raise TableError(
            f"{grid.table.source} has {counted(int((count > 1).sum()), 'key')} with more than one row, such as image "
            f"{grid.images[image]!r} at {grid.points[point]!r}; keep one row for each"
        )


def restrict(grid: Grid, keep: BoolArray) -> Grid:
    """The grid with only the points of the mask `keep` (M,)."""
    kept_rows = keep[grid.flat % len(grid.points)]
    points = tuple(point for point, kept in zip(grid.points, keep, strict=True) if kept)
    image_of, point_of = np.divmod(grid.flat[kept_rows], len(grid.points))
    column_of = np.cumsum(keep) - 1
    return Grid(
        grid.table.with_rows(grid.table.data.filter(pa.array(kept_rows))),
        grid.datasets,
        grid.images,
        points,
        image_of * len(points) + column_of[point_of],
    )
