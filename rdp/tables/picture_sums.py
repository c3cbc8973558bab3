"""Which pictures a number is of that is no column: one hash over the hashes of originals and reconstructions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from rdp.tables.table import CellTable

COLUMNS = ("dataset", "image", "point", "pixels_sha256", "reconstruction_sha256")


def pictures_sum(table: CellTable, images: Iterable[tuple[str, str]], points: Iterable[str]) -> str | None:
    """SHA-256 (64 hex digits) over the pictures of (dataset, image) at points, of the cells that did not fail.

    It does not depend on the order of rows. None for a table that does not hold hashes of pictures.
    """
    if not set(COLUMNS) <= set(table.data.column_names):
        return None
    wanted, taken = set(images), set(points)
    rows = sorted(
        tuple(str(row[name]) for name in COLUMNS)
        for row in table.ok().data.select(list(COLUMNS)).to_pylist()
        if (row["dataset"], row["image"]) in wanted and row["point"] in taken
    )
    return hashlib.sha256("\n".join("\0".join(row) for row in rows).encode()).hexdigest()
