"""Writing tables for other programs: wide (a row a cell) or long (a row a number), CSV, Parquet or JSON."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rdp.columns import KEY_COLUMNS
from rdp.errors import TableError
from rdp.tables.manifest import write_atomically, write_error
from rdp.tables.table import CellTable

if TYPE_CHECKING:
    import pandas as pd

EXPORT_SUFFIXES = (".csv", ".parquet", ".json")
Layout = Literal["wide", "long"]


def wide_frame(table: CellTable, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """One row a cell, sorted by key; `columns` picks some beside the key. Raises `TableError` for an unknown one."""
    frame = table.to_pandas()
    if columns is None:
        return frame
    table.require([name for name in columns if name not in frame.columns])
    return frame[[*KEY_COLUMNS, *(name for name in columns if name not in KEY_COLUMNS)]]


def long_frame(table: CellTable, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """One row a number: dataset, image, point, column, value. Missing values have no row."""
    wide = wide_frame(table, columns)
    numbers = [name for name in wide.columns if name in table.numeric_columns]
    long = wide.melt(list(KEY_COLUMNS), numbers, var_name="column", value_name="value").dropna(subset="value")
    return long.sort_values([*KEY_COLUMNS, "column"], ignore_index=True)


def export_table(
    table: CellTable, path: str | Path, layout: Layout = "wide", columns: Sequence[str] | None = None
) -> None:
    """Write a table as .csv, .parquet or .json (by the suffix of `path`), completely or not at all.

    JSON is a list of row objects, where a missing number is null and an infinite one the text "inf". Raises
    `TableError` for another suffix, and `RunFolderError` where the file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in EXPORT_SUFFIXES:
        raise TableError(f"cannot export to {path.name!r}: the suffix must be one of {', '.join(EXPORT_SUFFIXES)}")
    frame = wide_frame(table, columns) if layout == "wide" else long_frame(table, columns)
    if suffix == ".csv":
        data = frame.to_csv(index=False).encode()
    elif suffix == ".json":
        data = json.dumps(records(frame), indent=1, allow_nan=False).encode()
    else:
        stream = io.BytesIO()
        frame.to_parquet(stream, index=False)
        data = stream.getvalue()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(path, error) from error
    write_atomically(path, data)


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON-able objects: missing is None, infinite is "inf" or "-inf"."""
    return [{str(k): _plain(v) for k, v in row.items()} for row in frame.to_dict("records")]


def _plain(value: Any) -> Any:
    import pandas as pd

    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return value.item() if hasattr(value, "item") else value
