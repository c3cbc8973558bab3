"""Tables whose rows do not lie in order, put in order on the disk: the slow way, exact for any order of rows.

The rows of all tables are parted by a hash of their image's name into files of which one fits in memory. Each is then
joined there as `rdp.tables.run` joins a whole run, and written as arrays (images, points), which passes read.
"""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rdp.errors import TableError
from rdp.selection.problem import IntArray
from rdp.selection.streaming.cells import FLAG
from rdp.selection.streaming.images import PartImages
from rdp.selection.streaming.keys import PointNames, encoded, failed_rows, image_heads
from rdp.selection.streaming.layout import KEYS, Found, Scan
from rdp.selection.streaming.memory import Plan, size_text
from rdp.selection.streaming.rows import Rows, RowTable, ahead, plain_text
from rdp.selection.streaming.text_hashes import pair_hashes
from rdp.selection.streaming.wide import WideFile, WideWriter
from rdp.tables.keys import first_duplicate, last_of_each
from rdp.tables.table import natural_key

if TYPE_CHECKING:
    import pyarrow as pa

MOST_PARTS = 400
"""Files that are open at once; systems allow 1024."""
NAME_BYTES = 48
"""What the names of a row may take in memory."""


class Spill:
    """A folder of its own for what does not fit in memory; it is removed at the end, also after errors."""

    def __init__(self, beside: Path, given: Path | None) -> None:
        """In the folder `given`, or beside a file or run folder where that can be written, or for temporary files."""
        self._given = given
        self._beside = beside.resolve().parent
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def folder(self, needed: int) -> Path:
        """The folder, made now; raises `TableError` where the disk has not so many bytes free."""
        if self._folder is None:
            places = [self._given] if self._given is not None else [self._beside, Path(tempfile.gettempdir())]
            failures = []
            for place in places:
                try:
                    self._folder = tempfile.TemporaryDirectory(prefix=".rdp-", dir=place)
                    break
                except OSError as error:
                    failures.append(f"{place}: {error.strerror}")
            else:
                raise TableError(f"no folder for temporary files ({'; '.join(failures)}): name one with --scratch")
        path = Path(self._folder.name)
        free = shutil.disk_usage(path).free
        if free < needed:
            raise TableError(_full(needed, path.parent, f"; {size_text(free)} are free"))
        return path

    def close(self) -> None:
        """Remove the folder."""
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


def _full(needed: int, folder: Path, more: str = "") -> str:
    return (
        f"the rows do not lie in order, and putting them in order takes about {size_text(needed)} of disk in "
        f"{folder}{more}: make room, or name another folder with --scratch"
    )


def put_in_order(
    tables: Sequence[RowTable], scan: Scan, columns: Sequence[str], wanted: Sequence[str], spill: Spill, plan: Plan
) -> WideFile:
    """All cells of the tables as one file of arrays; `scan` gets what its own pass left out.

    Raises `TableError` for a key that a file of the user holds twice, and for a disk without room.
    """
    rows = sum(table.rows for table in tables)
    row_bytes = NAME_BYTES + 8 * (len(columns) + 6)
    needed = rows * (16 + 8 * len(columns)) + tables[0].rows * (4 + 9 * len(columns))
    folder = spill.folder(needed)
    parts = max(-(-rows * row_bytes * 4 // plan.spare), 1)
    if parts > MOST_PARTS:
        least = plan.memory - plan.spare + rows * row_bytes * 4 // MOST_PARTS
        raise TableError(
            f"--memory {size_text(plan.memory)} is too little for the {rows} rows of {tables[0].source}, which do not "
            f"lie in order ({scan.scattered}); {size_text(least)} would do"
        )
    scan.points = PointNames()
    scan.datasets, scan.found = [], []
    try:
        owned = _owned(tables, columns)
        for number, table in enumerate(tables):
            _part(table, owned[number], number, scan, folder, parts, plan.rows)
        scan.own_points = sorted(scan.own_points, key=natural_key)
        with WideWriter(folder / "cells.arrow", len(scan.own_points), columns) as writer:
            for part in range(parts):
                _join(tables, owned, part, scan, folder, writer, wanted)
        return writer.file(tables[0].source)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise TableError(_full(needed, folder.parent)) from error
        raise TableError(f"cannot write temporary files in {folder.parent}: {error.strerror or error}") from error


def _owned(tables: Sequence[RowTable], columns: Sequence[str]) -> list[list[str]]:
    """Which of the columns come from which table."""
    left = list(columns)
    out = []
    for table in tables:
        own = [name for name in left if name in table.names]
        left = [name for name in left if name not in own]
        out.append(own)
    return out


def _path(folder: Path, table: int, part: int) -> Path:
    return folder / f"{table}-{part}.arrows"


def _part(table: RowTable, own: Sequence[str], number: int, scan: Scan, folder: Path, parts: int, rows: int) -> None:
    """Write every row of a table into the file of its part; the order within a part stays."""
    import pyarrow as pa

    names = (*KEYS, *own) if number else (*KEYS, "status", *own)
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with ExitStack() as stack:
        writers: list[Any] = []
        for batch in ahead(table.batches(names, rows=rows)):
            columns, part_of = _parted(batch, table, own, number == 0, scan, parts)
            order = np.argsort(part_of, kind="stable")
            whole = pa.record_batch(columns).take(pa.array(order))
            ends = np.searchsorted(part_of[order], np.arange(parts + 1)).tolist()
            if not writers:
                paths = [_path(folder, number, part) for part in range(parts)]
                writers = [
                    stack.enter_context(pa.ipc.new_stream(str(path), whole.schema, options=options)) for path in paths
                ]
            for part, writer in enumerate(writers):
                if ends[part + 1] > ends[part]:
                    writer.write_batch(whole.slice(ends[part], ends[part + 1] - ends[part]))


def _parted(
    batch: Rows, table: RowTable, own: Sequence[str], main: bool, scan: Scan, parts: int
) -> tuple[dict[str, pa.Array], IntArray]:
    """The columns to write of some rows, and the part (n,) of each."""
    import pyarrow as pa

    image = plain_text(encoded(batch, "image", table.source))
    dataset = encoded(batch, "dataset", table.source)
    begins, heads = image_heads(image, dataset, None)
    datasets = dataset.take(heads).cast(pa.string())
    # The upper half of a hash, scaled: parts are ranges of hashes.
    upper = pair_hashes(datasets, image.take(heads)) >> np.uint64(32)
    part_of = ((upper * np.uint64(parts)) >> np.uint64(32)).astype(np.int64)[np.cumsum(begins) - 1]
    codes = scan.points.codes(batch, table.source)
    columns = {"dataset": plain_text(dataset), "image": image, "point": pa.array(codes.astype(np.int32))}
    if main:
        known = set(scan.own_points)
        scan.own_points += [name for k in np.unique(codes).tolist() if (name := scan.points.names[k]) not in known]
        known = set(scan.datasets)
        scan.datasets += [name for name in datasets.unique().to_pylist() if name not in known]
        columns["failed"] = pa.array(failed_rows(batch, table.source))
        columns["row"] = pa.array(np.arange(batch.first, batch.first + batch.count))
    for name in own:
        kind = pa.bool_() if name == FLAG else pa.float64()
        columns[f"={name}"] = batch.columns[name].cast(kind, safe=False)
    return columns, part_of


def _join(
    tables: Sequence[RowTable],
    owned: Sequence[Sequence[str]],
    part: int,
    scan: Scan,
    folder: Path,
    writer: WideWriter,
    wanted: Sequence[str],
) -> None:
    """Write the cells of one part."""
    main = _read(_path(folder, 0, part))
    if main is None:
        return
    images = PartImages(main)
    place = _places(scan)
    first = writer.images
    names = images.names()
    for found in np.flatnonzero(np.isin(names[1].to_numpy(zero_copy_only=False), list(wanted))).tolist():
        scan.found.append(Found(first + found, names[0][found].as_py(), names[1][found].as_py()))
    shape = (images.count, len(scan.own_points))
    arrays: dict[str, tuple[Any, Any]] = {}
    for number, own in enumerate(owned):
        rows = main if number == 0 else _read(_path(folder, number, part))
        if rows is None:
            arrays |= {name: (np.full(shape, np.nan), np.zeros(shape, np.bool_)) for name in own}
            continue
        cell = images.cells(rows, place, shape[1])
        if not tables[0].run:
            _refuse_duplicates(rows, cell, scan, tables[0].source)
        last = last_of_each(cell)
        last = last[cell[last] >= 0]
        if number == 0:
            known, failed = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
            known.ravel()[cell[last]] = True
            failed.ravel()[cell[last]] = rows.column("failed").to_numpy()[last]
        for name in own:
            arrays[name] = _placed(rows.column(f"={name}"), cell, last, shape)
    writer.add(names, arrays, known, failed)
    for number in range(len(tables)):
        _path(folder, number, part).unlink(missing_ok=True)


def _places(scan: Scan) -> IntArray:
    """The canonical number of each point by the number it has in the rows; -1 for points that only scores have."""
    place = {name: k for k, name in enumerate(scan.own_points)}
    return np.array([place.get(name, -1) for name in scan.points.names], dtype=np.int64)


def _read(path: Path) -> pa.Table | None:
    import pyarrow as pa

    if not path.exists():
        return None
    with pa.OSFile(str(path)) as stream:
        table = pa.ipc.open_stream(stream).read_all()
    return table.combine_chunks() if table.num_rows else None


def _placed(column: pa.ChunkedArray, cell: IntArray, last: IntArray, shape: tuple[int, int]) -> tuple[Any, Any]:
    """The values of rows as (n, M), and where there are some."""
    import pyarrow.compute as pc
    import pyarrow.types as types

    flag = types.is_boolean(column.type)
    values, there = np.full(shape, False if flag else np.nan), np.zeros(shape, np.bool_)
    filled = column.fill_null(False) if flag else column.fill_null(np.nan)
    values.ravel()[cell[last]] = filled.to_numpy()[last]
    there.ravel()[cell[last]] = pc.is_valid(column).to_numpy()[last]
    return values, there


def _refuse_duplicates(rows: pa.Table, cell: IntArray, scan: Scan, source: str) -> None:
    repeated = first_duplicate(cell)
    if repeated is not None:
        dataset, image = rows.column("dataset")[repeated].as_py(), rows.column("image")[repeated].as_py()
        point = scan.points.names[rows.column("point")[repeated].as_py()]
        raise TableError(
            f"{source} holds image {image!r} with point {point!r} (dataset {dataset!r}) more than once, again in row "
            f"{rows.column('row')[repeated].as_py() + 1}: remove the duplicates"
        )
