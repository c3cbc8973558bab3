"""Arrow schemas of a run folder's tables, always given explicitly: readers must not guess from the first part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rdp.columns import CELL_COLUMNS, KEY_COLUMNS, Kind

if TYPE_CHECKING:
    import pyarrow as pa


def _arrow_type(kind: Kind) -> pa.DataType:
    import pyarrow as pa

    return {"text": pa.string(), "integer": pa.int64(), "real": pa.float64(), "flag": pa.bool_()}[kind]


def cell_schema() -> pa.Schema:
    """Columns of `cells/`: everything about a cell but its scores."""
    import pyarrow as pa

    return pa.schema([(column.name, _arrow_type(column.kind)) for column in CELL_COLUMNS])


def score_schema(columns: Sequence[str]) -> pa.Schema:
    """Columns of `scores/<metric>@<fingerprint>/`: the key, the metric's columns, and why it failed if it did."""
    import pyarrow as pa

    keys = [(name, pa.string()) for name in KEY_COLUMNS]
    return pa.schema([*keys, *((name, pa.float64()) for name in columns), ("message", pa.string())])


def image_schema() -> pa.Schema:
    """Columns of `images.parquet`: what the inspection of the image files found, and the stamps it holds for."""
    import pyarrow as pa

    text, whole = pa.string(), pa.int64()
    return pa.schema(
        [
            ("dataset", text),
            ("image", text),
            ("path", text),
            ("file_size", whole),
            ("mtime_ns", whole),
            ("width", whole),
            ("height", whole),
            ("pixels_sha256", text),
            ("notes", text),
        ]
    )
