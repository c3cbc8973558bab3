"""Averages of operating points over the images of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rdp.tables.table import CellTable

if TYPE_CHECKING:
    import pandas as pd

_NOT_AVERAGED = {"width", "height", "session"}


def point_averages(table: CellTable, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """One row an operating point: number of images, failed cells, and the mean over images of every numeric column.

    A mean over fewer images than another point has is not comparable with it; `images` tells.
    """
    if columns is not None:
        table.require([name for name in columns if name != "point"])
    names = [n for n in (columns or table.numeric_columns) if n not in _NOT_AVERAGED and n != "point"]
    frame = table.to_pandas()
    good = frame[frame["status"] == "ok"]
    means = good.groupby("point", sort=False)[names].mean()
    means.insert(0, "images", good.groupby("point", sort=False).size())
    means.insert(1, "failed", (frame["status"] != "ok").groupby(frame["point"], sort=False).sum())
    by = "bpp" if "bpp" in means else "images"
    return means.dropna(axis="columns", how="all").sort_values(by).reset_index()
