"""A table of cells in memory: one row for every (dataset, image, point), with numeric columns.

Run folders, a user's CSV or Parquet files and DataFrames all become a `CellTable`; the solver and the reports see
nothing else. The rows live in a pyarrow table, whose columns turn into NumPy arrays without a copy, and pandas is
loaded only when a DataFrame is asked for or given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rdp.columns import KEY_COLUMNS
from rdp.errors import TableError, suggest

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

OK = "ok"
FAILED = "failed"


@dataclass(frozen=True)
class CellTable:
    """Rows of a study.

    `data` has the text columns `dataset`, `image`, `point`, `status` and `message` and any number of others, no key
    twice. `source` is how messages name it: the run folder or the file.
    """

    data: pa.Table
    source: str

    def __len__(self) -> int:
        return int(self.data.num_rows)

    @property
    def numeric_columns(self) -> tuple[str, ...]:
        """Names of the columns that can be minimised, bounded and averaged, in table order."""
        import pyarrow.types as types

        fields = self.data.schema
        return tuple(f.name for f in fields if types.is_floating(f.type) or types.is_integer(f.type))

    def require(self, names: Sequence[str]) -> None:
        """Raise `TableError` for the first of `names` that is not a numeric column."""
        known = self.numeric_columns
        for name in names:
            if name in known:
                continue
            if name in self.data.column_names:
                if self.data.column(name).null_count == len(self):
                    raise TableError(f"column {name!r} of {self.source} is empty")
                raise TableError(f"column {name!r} of {self.source} holds text, not numbers")
            raise TableError(
                f"{self.source} has no column {name!r}.{suggest(name, known)} Its numeric columns: {', '.join(known)}"
            )

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

        return CellTable(self.data.filter(pc.equal(self.data.column("status"), OK)), self.source)

    def to_pandas(self) -> pd.DataFrame:
        """The rows as a DataFrame, sorted by key."""
        frame: pd.DataFrame = self.data.to_pandas()
        return frame.sort_values(list(KEY_COLUMNS), ignore_index=True)
