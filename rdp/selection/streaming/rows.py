"""Rows of Parquet files, read in batches of bounded size, as often as needed.

A table is a file of a user, or the parts of one table of a run folder one after another. Batches are decoded from
buffered streams, so that neither a row group nor a file need fit memory, and one ahead of what is worked on.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from rdp.columns import KEY_COLUMNS
from rdp.errors import RunFolderError, TableError, suggest
from rdp.selection.problem import BoolArray, FloatArray, IntArray
from rdp.tables import OK, Run
from rdp.tables.manifest import CELLS, MANIFEST, Part, read_manifest
from rdp.tables.reading import DEFAULT_DATASET
from rdp.tables.schema import cell_schema, score_schema

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

BATCH_ROWS = 1 << 16
"""Rows that are decoded at a time; more than fits the cache of a core is slower."""
BUFFER_BYTES = 1 << 20
TEXTS = (*KEY_COLUMNS, "status")
FEW_TEXTS = ("dataset", "point", "status")
"""Text columns with few different values, which are read as numbers into a list of them."""
DEFAULTS = {"dataset": DEFAULT_DATASET, "status": OK}
Item = TypeVar("Item")


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows `first` to `first + count` of a table: arrays by our names of the columns."""

    first: int
    count: int
    columns: Mapping[str, pa.Array]


class RowTable:
    """One table: its files in order, its columns under our names, and its rows as batches.

    `schema` maps our names to Arrow types. `run` says that of several rows with one key the last one counts.
    """

    def __init__(self, source: str, files: Sequence[Path], schema: pa.Schema, theirs: Mapping[str, str], run: bool):
        """`theirs` maps our names to those in the files, where they differ."""
        self.source = source
        self.files = tuple(files)
        self.schema = schema
        self.run = run
        self._theirs = dict(theirs)
        self._few: list[list[str]] = []
        self._counts = [self._row_counts(path) for path in self.files]
        ends = np.cumsum([0, *(rows for counts in self._counts for rows in counts)], dtype=np.int64)
        self.group_starts: IntArray = ends[:-1]
        self.rows = int(ends[-1])
        self.nbytes = 0
        """Bytes, as stored, of what was decoded so far."""

    def _row_counts(self, path: Path) -> list[int]:
        file = self._open(path, ())
        stored = file.schema_arrow.names
        self._few.append([theirs for name in FEW_TEXTS if (theirs := self._theirs.get(name, name)) in stored])
        return [int(file.metadata.row_group(group).num_rows) for group in range(file.metadata.num_row_groups)]

    def _open(self, path: Path, few: Sequence[str]) -> pq.ParquetFile:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return pq.ParquetFile(path, read_dictionary=list(few), buffer_size=BUFFER_BYTES, pre_buffer=False)
        except FileNotFoundError as error:
            folder = path.parent
            raise RunFolderError(
                f"{folder} lacks {path.name}, which {MANIFEST} names: restore it from a copy"
            ) from error
        except (pa.ArrowInvalid, OSError) as error:
            if self.run:
                raise RunFolderError(f"{path} is damaged ({error}): restore it from a copy of the run") from error
            raise TableError(f"cannot read {path}: {error}") from error

    @property
    def names(self) -> tuple[str, ...]:
        """Our names of the columns."""
        return tuple(self.schema.names)

    def batches(
        self, names: Sequence[str], start: int = 0, stop: int | None = None, rows: int = BATCH_ROWS
    ) -> Iterator[Rows]:
        """The rows `start` to `stop` of some columns, in batches of at most `rows`.

        Columns that a file does not have are filled: dataset and status with their defaults, others with nulls.
        """
        stop = self.rows if stop is None else min(stop, self.rows)
        group = 0
        for path, counts in zip(self.files, self._counts, strict=True):
            chosen = [
                number
                for number, count in enumerate(counts)
                if self.group_starts[group + number] < stop and self.group_starts[group + number] + count > start
            ]
            if chosen:
                yield from self._file_batches(
                    path, chosen, int(self.group_starts[group + chosen[0]]), names, start, stop, rows
                )
            group += len(counts)

    def _file_batches(
        self, path: Path, groups: Sequence[int], first: int, names: Sequence[str], start: int, stop: int, rows: int
    ) -> Iterator[Rows]:
        import pyarrow as pa

        file = self._open(path, self._few[self.files.index(path)])
        theirs = {name: self._theirs.get(name, name) for name in names}
        stored = [name for name in dict.fromkeys(theirs.values()) if name in file.schema_arrow.names]
        row_bytes = _row_bytes(file, groups, stored)
        # Without a column of its own, a batch would not even know how many rows it has.
        asked = stored or file.schema_arrow.names[:1]
        try:
            for batch in file.iter_batches(batch_size=rows, row_groups=list(groups), columns=asked):
                low, high = max(start - first, 0), min(stop - first, batch.num_rows)
                if low < high:
                    part = batch.slice(low, high - low)
                    columns = {name: self._column(name, theirs[name], part) for name in names}
                    yield Rows(first + low, part.num_rows, columns)
                first += batch.num_rows
                self.nbytes += round(row_bytes * batch.num_rows)
                if first >= stop:
                    return
        except (pa.ArrowInvalid, OSError) as error:
            kind = RunFolderError if self.run else TableError
            raise kind(f"cannot read {path}: {error}") from error

    def _column(self, name: str, theirs: str, batch: pa.RecordBatch) -> pa.Array:
        import pyarrow as pa

        if theirs in batch.schema.names:
            values = batch.column(batch.schema.get_field_index(theirs))
            return values if name in TEXTS else values.cast(self.schema.field(name).type)
        if name in DEFAULTS:
            return pa.DictionaryArray.from_arrays(np.zeros(batch.num_rows, np.int32), pa.array([DEFAULTS[name]]))
        return pa.nulls(batch.num_rows, self.schema.field(name).type)


def _row_bytes(file: pq.ParquetFile, groups: Sequence[int], stored: Sequence[str]) -> float:
    """What a row of some columns takes as stored, on average over some row groups."""
    nbytes = rows = 0
    for group in groups:
        metadata = file.metadata.row_group(group)
        rows += metadata.num_rows
        for number in range(metadata.num_columns):
            column = metadata.column(number)
            if column.path_in_schema.partition(".")[0] in stored:
                nbytes += column.total_compressed_size
    return nbytes / max(rows, 1)


def open_tables(path: Path, columns: Mapping[str, str] | None, needed: Sequence[str]) -> list[RowTable]:
    """The tables of a run folder that hold `needed` columns, the cells first, or the one of a Parquet file.

    `columns` maps our names to the file's. Raises `TableError` for another kind of file and for a column that is not
    there or not numeric, and `RunFolderError` for what is no run folder.
    """
    tables = _run_tables(path, needed) if path.is_dir() else [_file_table(path, columns or {})]
    if path.is_dir() and columns:
        raise TableError("--column renames the columns of a table of your own; a run folder has the names of rdp")
    if not tables[0].rows:
        raise TableError(f"{path} has no rows")
    _require(tables, needed, str(path))
    return [tables[0], *(table for table in tables[1:] if set(table.names) & set(needed))]


def _run_tables(path: Path, needed: Sequence[str]) -> list[RowTable]:
    run = Run(path)
    manifest = read_manifest(run.path)

    def files(parts: Sequence[Part]) -> list[Path]:
        return [run.path / part.file for part in parts]

    tables = [RowTable(str(path), files(manifest.parts(CELLS)), cell_schema(), {}, True)]
    for scores in run.score_sets():
        schema = score_schema(scores.columns)
        tables.append(RowTable(str(path), files(manifest.parts(scores.table)), schema, {}, True))
    return tables


def _file_table(path: Path, columns: Mapping[str, str]) -> RowTable:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.exists():
        raise RunFolderError(f"{path} does not exist: name a run folder or a .parquet table")
    if path.suffix.lower() != ".parquet":
        raise TableError(f"{path} cannot be streamed: --memory needs a run folder or a .parquet file")
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise TableError(f"cannot read {path}: {error}") from error
    names = schema.names
    for ours, theirs in columns.items():
        if theirs not in names:
            raise TableError(f"{path} has no column {theirs!r}.{suggest(theirs, names)}")
        if ours in names and ours != theirs and ours not in columns.values():
            raise TableError(f"{path} has a column {ours!r} already, so {theirs!r} cannot take its name")
    ours_of = {theirs: ours for ours, theirs in columns.items()}
    schema = pa.schema([field.with_name(ours_of.get(field.name, field.name)) for field in schema])
    repeated = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if repeated:
        raise TableError(f"{path} has two columns {repeated[0]!r}")
    for name in KEY_COLUMNS[1:]:
        if name not in schema.names:
            raise TableError(
                f"{path} has no column {name!r}: name the one that holds it, for example --column {name}=THEIRS. "
                f"Its columns: {', '.join(names)}"
            )
    return RowTable(str(path), [path], schema, columns, False)


def _require(tables: Sequence[RowTable], needed: Sequence[str], source: str) -> None:
    """Raise `TableError` for the first needed column that is not a numeric one."""
    import pyarrow.types as types

    fields = {field.name: field.type for table in tables for field in table.schema}
    known = tuple(name for name, kind in fields.items() if types.is_floating(kind) or types.is_integer(kind))
    for name in needed:
        if name not in fields:
            raise TableError(
                f"{source} has no column {name!r}.{suggest(name, known)} Its numeric columns: {', '.join(known)}"
            )
        if name not in known:
            what = "is empty" if types.is_null(fields[name]) else f"holds {fields[name]} values, not numbers"
            raise TableError(f"column {name!r} of {source} {what}")


def ahead(items: Iterator[Item]) -> Generator[Item]:
    """The items, the next one being made by another thread while one is worked on."""
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(next, items, None)
        while (item := following.result()) is not None:
            following = pool.submit(next, items, None)
            yield item


def numbers(values: pa.Array) -> tuple[FloatArray, BoolArray | None]:
    """A numeric array as float64, and which of its values are there (None: all); the others are NaN."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not values.null_count:
        return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.float64), None
    there = np.asarray(pc.is_valid(values).to_numpy(zero_copy_only=False), dtype=np.bool_)
    filled = values.cast(pa.float64(), safe=False).fill_null(np.nan)
    return np.asarray(filled.to_numpy(zero_copy_only=False), dtype=np.float64), there


def plain_text(values: pa.Array) -> pa.Array:
    """A column of names as plain strings, whatever it is stored as."""
    import pyarrow as pa
    import pyarrow.types as types

    return values if types.is_string(values.type) else values.cast(pa.string())
