"""A table of cells in memory: one row for every (dataset, image, point), with numeric columns.

Run folders, a user's CSV or Parquet files and DataFrames all become a `CellTable`; the solver and the reports see
nothing else. The rows live in a pyarrow table, whose columns turn into NumPy arrays without a copy, and pandas is
loaded only when a DataFrame is asked for or given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rdp.columns import KEY_COLUMNS, METRIC_COLUMNS, SET_LEVEL, Column, describe, is_set_level
from rdp.errors import TableError, suggest

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

_NUMBER = re.compile(r"(\d+(?:\.\d+)?)")

OK = "ok"
FAILED = "failed"


def natural_key(name: str) -> tuple[tuple[str | float, ...], str]:
    """Sort key with numbers compared as numbers: `quality=5` comes before `quality=10`."""
    parts: list[str | float] = list(_NUMBER.split(name))
    parts[1::2] = [float(number) for number in parts[1::2]]
    return tuple(parts), name


@dataclass(frozen=True)
class CellTable:
    """Rows of a study.

    `data` has the text columns `dataset`, `image`, `point`, `status` and `message` and any number of others, no key
    twice. `source` is how messages name it: the run folder or the file. `described` says what those columns are, by
    name, that `rdp.columns` does not list and a run describes.
    """

    data: pa.Table
    source: str
    described: Mapping[str, Column] = field(default_factory=dict)

    def __len__(self) -> int:
        return int(self.data.num_rows)

    @property
    def numeric_columns(self) -> tuple[str, ...]:
        """Names of the columns that can be minimised, bounded and averaged, in table order."""
        import pyarrow.types as types

        fields = self.data.schema
        return tuple(f.name for f in fields if types.is_floating(f.type) or types.is_integer(f.type))

    def describe(self, name: str) -> Column:
        """What a column is; one of the user's own has no unit and no direction."""
        return describe(name, self.described)

    def with_rows(self, data: pa.Table) -> CellTable:
        """The same table with other rows."""
        return replace(self, data=data)

    def require(self, names: Sequence[str]) -> None:
        """Raise `TableError` for the first of `names` that is not a numeric column."""
        known = self.numeric_columns
        for name in names:
            if name in known:
                continue
            if name in self.data.column_names:
                if self.data.column(name).null_count == len(self):
                    raise TableError(f"column {name!r} of {self.source} is empty")
                raise TableError(f"column {name!r} of {self.source} holds text, not numbers{self._first_text(name)}")
            if is_set_level(name):
                raise TableError(
                    f"{self.source} has no column {name!r}: it is a distance of sets, of all images together. "
                    "rdp.solve_set (rdp solve) minimises it or holds it to at most a value, from features of the "
                    "pictures of a run folder"
                )
            if name in {column.name for column in METRIC_COLUMNS}:
                metric = name.removesuffix("_db").removesuffix("_reverse")
                raise TableError(
                    f"{self.source} has no column {name!r}.{suggest(name, known)} A metric measures it: `rdp evaluate "
                    f"IMAGES --out RUN --metric {metric}` adds it to a run folder. Its numeric columns: "
                    f"{', '.join(known)}"
                )
            raise TableError(
                f"{self.source} has no column {name!r}.{suggest(name, [*known, *SET_LEVEL])} Its numeric columns: "
                f"{', '.join(known)}"
            )

    def _first_text(self, name: str) -> str:
        """`: 'NA' in row 7`, where a column that is not of numbers holds something else first."""
        for row, value in enumerate(self.data.column(name).to_pylist()):
            try:
                float(value or 0)
            except (TypeError, ValueError):
                return f": {value!r} in row {row + 1}"
        return ""

    def numpy(self, name: str) -> np.ndarray[Any, Any]:
        """One column as a NumPy array: float64 for numbers (missing values are NaN), object for text."""
        import numpy as np
        import pyarrow.types as types

        column = self.data.column(name)
        if types.is_floating(column.type) or types.is_integer(column.type):
            values: np.ndarray[Any, Any] = column.to_numpy().astype(np.float64, copy=False)
            return values
        text: np.ndarray[Any, Any] = column.to_numpy()
        return text

    def ok(self) -> CellTable:
        """The rows whose cell did not fail."""
        import pyarrow.compute as pc

        return self.with_rows(self.data.filter(pc.equal(self.data.column("status"), OK)))

    def to_pandas(self) -> pd.DataFrame:
        """The rows as a DataFrame, sorted by dataset, image and point, numbers in point names by size.

        Whole numbers stay whole where some are missing (pandas' Int64).
        """
        import pandas as pd
        import pyarrow.types as types

        frame: pd.DataFrame = self.data.to_pandas()
        for column in self.data.schema:
            values = self.data.column(column.name)
            if types.is_integer(column.type) and values.null_count:
                frame[column.name] = values.to_pandas(types_mapper={column.type: pd.Int64Dtype()}.get)
        ranks = {point: rank for rank, point in enumerate(sorted(set(frame["point"]), key=natural_key))}
        order = frame.assign(point=frame["point"].map(ranks)).sort_values(list(KEY_COLUMNS), kind="stable").index
        return frame.loc[order].reset_index(drop=True)
