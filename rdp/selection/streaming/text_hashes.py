"""64-bit hashes of names, a column at a time, to find names that come twice among millions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa

HashArray = npt.NDArray[np.uint64]
# Odd constants without pattern: the golden ratio, and the mixing of MurmurHash3's 64-bit finaliser (Appleby).
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST, SECOND = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
SHIFT = np.uint64(33)


def _mixed(values: HashArray) -> HashArray:
    values = (values ^ (values >> SHIFT)) * FIRST
    values = (values ^ (values >> SHIFT)) * SECOND
    return values ^ (values >> SHIFT)


def text_hashes(texts: pa.Array) -> HashArray:
    """Hashes (n,) of an array of strings without nulls: equal texts have equal hashes, on every machine."""
    count = len(texts)
    if not count:
        return np.zeros(0, np.uint64)
    _, offset_buffer, data_buffer = texts.buffers()
    offsets = np.frombuffer(offset_buffer, np.int32)[texts.offset : texts.offset + count + 1].astype(np.int64)
    first, last = int(offsets[0]), int(offsets[-1])
    data = np.zeros(last - first + 8, np.uint8)
    if last > first:
        data[:-8] = np.frombuffer(data_buffer, np.uint8)[first:last]
    # Eight bytes from any byte on: the view is not aligned, which NumPy's indexing allows.
    words = np.ndarray((len(data) - 7,), "<u8", buffer=data, strides=(1,))
    starts, lengths = offsets[:-1] - first, np.diff(offsets)
    hashes = _mixed(lengths.astype(np.uint64) * GOLDEN)
    which = np.arange(count)
    for done in range(0, int(lengths.max()), 8):
        which = which[lengths[which] > done]
        left = np.minimum(lengths[which] - done, 8).astype(np.uint64)
        mask = ~np.uint64(0) >> (np.uint64(64) - np.uint64(8) * left)
        hashes[which] = _mixed((hashes[which] + GOLDEN) ^ (words[starts[which] + done] & mask))
    return hashes


def pair_hashes(dataset: pa.Array, image: pa.Array) -> HashArray:
    """Hashes (n,) of the pairs of two arrays of strings without nulls."""
    return _mixed(text_hashes(image) ^ (text_hashes(dataset) * GOLDEN))


LOOKS = (1 << 12, 1 << 16, 1 << 20)
"""After so many hashes it is seen whether any came twice already: scattered rows are found out early."""


class Hashes:
    """Hashes that grow: 8 bytes each, and no second copy."""

    def __init__(self) -> None:
        self.count = 0
        self._values = np.empty(1 << 16, np.uint64)

    def add(self, more: HashArray) -> bool:
        """Append some; true where it is seen at once that some came twice. False says nothing."""
        needed = self.count + len(more)
        look = any(self.count < size <= needed for size in LOOKS)
        if needed > len(self._values):
            # In place: the memory is moved by the system, not copied beside the old one.
            self._values.resize(max(needed, len(self._values) * 5 // 4), refcheck=False)
        self._values[self.count : needed] = more
        self.count = needed
        return look and len(np.unique(self._values[:needed])) < needed

    def repeated(self) -> bool:
        """Whether any two are equal; nothing can be added afterwards."""
        values = self._values[: self.count]
        values.sort()
        step = 1 << 20
        return any(
            bool(
                (values[start + 1 : start + step + 1] == values[start : start + step][: len(values) - 1 - start]).any()
            )
            for start in range(0, max(len(values) - 1, 0), step)
        )
