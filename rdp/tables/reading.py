"""Reading a table of cells from wherever it is: a run folder, a user's file, a DataFrame."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdp.columns import COLUMNS, KEY_COLUMNS, Column
from rdp.errors import RunFolderError, TableError, suggest
from rdp.tables.keys import KeyIndex, first_duplicate
from rdp.tables.run import Run, key_rows
from rdp.tables.table import FAILED, OK, CellTable

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

DEFAULT_DATASET = "table"
_TEXT = {name for name, column in COLUMNS.items() if column.kind == "text"}

Source = "Run | CellTable | str | os.PathLike[str] | pd.DataFrame | pa.Table"


def read_table(
    source: Run | CellTable | str | os.PathLike[str] | pd.DataFrame | pa.Table,
    columns: Mapping[str, str] | None = None,
) -> CellTable:
    """The rows of a run folder, a CSV, Parquet or JSON file, a DataFrame or a pyarrow table.

    `columns` maps names of rdp to names of the source: `{"image": "file", "point": "setting", "bpp": "rate"}`.
    The source needs `image` and `point`; `dataset` defaults to "table", `status` to "ok". Raises `TableError` for a
    file that cannot be read, a missing column, an empty or repeated key, and `RunFolderError` for a damaged run.
    """
    taken = columns or {}
    described: Mapping[str, Column] = {}
    if isinstance(source, CellTable):
        data, name, described = source.data, source.source, source.described
    elif isinstance(source, Run):
        table = source.table()
        data, name, described = table.data, table.source, table.described
    elif isinstance(source, (str, os.PathLike)):
        data, described = _read_path(Path(source))
        name = str(source)
    else:
        data, name = _from_memory(source), "the table given"
    # Another column that takes a name of the run's is the user's own.
    described = {known: column for known, column in described.items() if taken.get(known, known) == known}
    return replace(_validate(_rename(data, taken, name), name), described=described)


def _read_path(path: Path) -> tuple[pa.Table, Mapping[str, Column]]:
    """The rows, and the columns that a run describes."""
    if path.is_dir():
        table = Run(path).table()
        return table.data, table.described
    return _read_file(path), {}


def _read_file(path: Path) -> pa.Table:
    if not path.exists():
        raise RunFolderError(f"{path} does not exist: name a run folder, or a .csv, .parquet or .json table")
    readers = {".csv": _read_csv, ".parquet": _read_parquet, ".json": _read_json}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise TableError(f"{path} is no table that can be read: name a run folder, or a .csv, .parquet or .json file")
    import pyarrow as pa

    try:
        return reader(path)
    except UnicodeDecodeError as error:
        raise TableError(f"cannot read {path}: it is not UTF-8 text; save it as UTF-8") from error
    except (pa.ArrowInvalid, pa.ArrowKeyError, pa.ArrowTypeError, OSError, ValueError) as error:
        raise TableError(f"cannot read {path}: {error}") from error


def _read_csv(path: Path) -> pa.Table:
    """Empty fields are missing values; NaN and inf are themselves, so that they are refused and not left out."""
    import pyarrow as pa
    from pyarrow import csv

    with path.open("rb") as stream:
        if stream.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            raise TableError(f"cannot read {path}: it is UTF-16 text and not UTF-8; save it as UTF-8")
    text = {name: pa.string() for name in _TEXT}
    options = csv.ConvertOptions(
        column_types=text, null_values=[""], strings_can_be_null=False, quoted_strings_can_be_null=False
    )
    table = csv.read_csv(path, convert_options=options)
    if len(table.column_names) == 1 and any(mark in table.column_names[0] for mark in ";\t"):
        raise ValueError("its columns are not separated by commas")
    return table


def _read_parquet(path: Path) -> pa.Table:
    import pyarrow.parquet as pq

    return pq.ParquetFile(path).read()


def _read_json(path: Path) -> pa.Table:
    """A JSON array of row objects, as `rdp table export` writes it."""
    import json

    import pyarrow as pa

    rows = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise ValueError("a table in JSON is a non-empty list of objects, one a row")
    names = list(dict.fromkeys(name for row in rows for name in row))
    infinities = {"inf": float("inf"), "-inf": float("-inf")}
    columns = {}
    for name in names:
        values = [row.get(name) for row in rows]
        if name not in _TEXT and any(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values):
            values = [infinities.get(v, v) if isinstance(v, str) else v for v in values]
        columns[name] = values
    return pa.table(columns)


def _from_memory(source: Any) -> pa.Table:
    import pyarrow as pa

    if isinstance(source, pa.Table):
        return source
    if type(source).__module__.startswith("pandas"):
        # NaN in a DataFrame is pandas' way to say missing, for columns of numbers too.
        return pa.Table.from_pandas(source, preserve_index=False)
    raise TableError(
        f"cannot read a table from a {type(source).__name__}: give a run, a path, a DataFrame or a pyarrow table"
    )


def _rename(data: pa.Table, columns: Mapping[str, str], name: str) -> pa.Table:
    for ours, theirs in columns.items():
        if theirs not in data.column_names:
            raise TableError(f"{name} has no column {theirs!r}.{suggest(theirs, data.column_names)}")
        if ours in data.column_names and ours != theirs and ours not in columns.values():
            raise TableError(f"{name} has a column {ours!r} already, so {theirs!r} cannot take its name")
    theirs_to_ours = {theirs: ours for ours, theirs in columns.items()}
    names = [theirs_to_ours.get(column, column) for column in data.column_names]
    repeated = sorted({column for column in names if names.count(column) > 1})
    if repeated:
        raise TableError(f"{name} has two columns {repeated[0]!r}")
    return data.rename_columns(names)


def _validate(data: pa.Table, name: str) -> CellTable:
    import pyarrow as pa
    import pyarrow.compute as pc

    if data.num_rows == 0:
        raise TableError(f"{name} has no rows")
    given = ", ".join(data.column_names)
    for column, default in (("dataset", DEFAULT_DATASET), ("status", OK), ("message", "")):
        if column not in data.column_names:
            data = data.append_column(column, pa.repeat(default, data.num_rows))
    for column in KEY_COLUMNS:
        if column not in data.column_names:
            raise TableError(
                f"{name} has no column {column!r}: name the one that holds it, for example --column {column}=THEIRS. "
                f"Its columns: {given}"
            )
        data = _as_text(data, column)
        missing = pc.or_kleene(pc.is_null(data.column(column)), pc.equal(data.column(column), ""))
        if pc.any(missing).as_py():
            row = pc.index(missing, True).as_py()
            raise TableError(f"{name}, row {row + 1}: {column!r} is empty")
    data = _as_text(data, "status")
    _check_status(data, name)
    repeated = first_duplicate(KeyIndex.of([data]).codes(data))
    if repeated is not None:
        dataset, image, point = key_rows(data.slice(repeated, 1))[0]
        raise TableError(
            f"{name} holds image {image!r} with point {point!r} (dataset {dataset!r}) more than once, again in row "
            f"{repeated + 1}: remove the duplicates"
        )
    return CellTable(data, name)


def _check_status(data: pa.Table, name: str) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    known = pc.fill_null(pc.is_in(data.column("status"), value_set=pa.array([OK, FAILED])), False)
    if not pc.all(known).as_py():
        row = pc.index(known, False).as_py()
        value = data.column("status")[row].as_py()
        raise TableError(f"{name}, row {row + 1}: status {value!r} is neither {OK!r} nor {FAILED!r}")


def _as_text(data: pa.Table, column: str) -> pa.Table:
    import pyarrow as pa

    index = data.column_names.index(column)
    return data.set_column(index, column, data.column(column).cast(pa.string()))
