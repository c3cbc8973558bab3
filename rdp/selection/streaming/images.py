"""The images of some rows, numbered exactly and a column at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rdp.selection.problem import IntArray
from rdp.selection.streaming.text_hashes import pair_hashes

if TYPE_CHECKING:
    import pyarrow as pa


class PartImages:
    """The images of one part, numbered in the order of the hashes of their names.

    Parts are ranges of hashes, so that the order of all images does not depend on how many parts there are.
    """

    def __init__(self, main: pa.Table) -> None:
        self._vocabularies = [self._sorted(main.column(name)) for name in ("dataset", "image")]
        self._pairs = np.unique(self._codes(main))
        self.count = len(self._pairs)
        datasets, images = self._named(np.arange(self.count))
        order = np.argsort(pair_hashes(datasets, images), kind="stable")
        self._order = order
        self._rank = np.empty_like(order)
        self._rank[order] = np.arange(self.count)

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
        return self._named(self._order)

    def _named(self, places: IntArray) -> tuple[pa.Array, pa.Array]:
        dataset, image = np.divmod(self._pairs[places], len(self._vocabularies[1]))
        return self._vocabularies[0].take(_indices(dataset)), self._vocabularies[1].take(_indices(image))

    def cells(self, rows: pa.Table, place: IntArray, points: int) -> IntArray:
        """The number of each row's cell; -1 for an image or point that the first table does not have."""
        pair = self._codes(rows)
        place_of = np.minimum(np.searchsorted(self._pairs, pair), self.count - 1)
        point = place[rows.column("point").to_numpy()]
        return np.where((self._pairs[place_of] == pair) & (point >= 0), self._rank[place_of] * points + point, -1)


def _indices(numbers: IntArray) -> pa.Array:
    import pyarrow as pa

    return pa.array(numbers)
