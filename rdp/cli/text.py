"""Numbers and tables as the commands print them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any


def number_text(value: float | None, digits: int = 6) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}g}"


def aligned(rows: Sequence[Sequence[Any]], left: Sequence[int]) -> list[str]:
    """Columns of equal width, numbers to the right."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if k in left else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
