"""The images of some rows, numbered by their names, exactly and a column at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rdp.selection.problem import IntArray

if TYPE_CHECKING:
    import pyarrow as pa


class PartImages:
    """The images of one part, numbered in the order of their datasets and names."""

    def __init__(self, main: pa.Table) -> None:
        self._vocabularies = [self._sorted(main.column(name)) for name in ("dataset", "image")]
        self._pairs = np.unique(self._codes(main))
        self.count = len(self._pairs)

    @staticmethod
    def _sorted(column: pa.ChunkedArray) -> pa.Array:
        import pyarrow.compute as pc

        values = pc.unique(column)
        return values.take(pc.sort_indices(values))

    def _codes(self, rows: pa.Table) -> IntArray:
        """The number of each row's pair of names; -1 for one that the first table does not have."""
        import pyarrow.compute as pc

        codes = []
        for name, vocabulary in zip(("dataset", "image"), self._vocabularies, strict=True):
            found = pc.fill_null(pc.index_in(rows.column(name), value_set=vocabulary), -1)
            codes.append(found.to_numpy().astype(np.int64))
        pair = codes[0] * len(self._vocabularies[1]) + codes[1]
        return np.where((codes[0] < 0) | (codes[1] < 0), -1, pair)

    def names(self) -> tuple[pa.Array, pa.Array]:
        """Datasets and names in order."""
        dataset, image = np.divmod(self._pairs, len(self._vocabularies[1]))
        return self._vocabularies[0].take(_indices(dataset)), self._vocabularies[1].take(_indices(image))

    def cells(self, rows: pa.Table, place: IntArray, points: int) -> IntArray:
        """The number of each row's cell; -1 for an image or point that the first table does not have."""
        pair = self._codes(rows)
        image = np.minimum(np.searchsorted(self._pairs, pair), self.count - 1)
        point = place[rows.column("point").to_numpy()]
        return np.where((self._pairs[image] == pair) & (point >= 0), image * points + point, -1)


def _indices(numbers: IntArray) -> pa.Array:
    import pyarrow as pa

    return pa.array(numbers)
