"""The choice of a decoder as a part of the rate: where points share a file, what naming the decoder costs.

The definition: points of one image share its file where their rows have the same `encoder_id` (in rows without one:
the same `file_sha256`). The file says nothing of which of its decoders is meant, and the choice was made with the
original at hand, so it is sent beside the file. Let D be the number of different decoders (`decoder_id`; in rows
without one every point is its own) among the points that share the file of a cell and that may be chosen for its image:
points that the patterns of `points` leave, with a cell that did not fail and lacks no needed value, and that neither
`fix` nor `forbid` rules out. Bounds on each image do not matter, as they are of the charged rates, and no more does a
limit on the distinct points. The cell is charged log2 D bits: sender and receiver share the statement and the list of
cells, the file says among which D decoders is chosen, and a code for many images takes the sum of their log2 D within
one bit. So the bits are no whole number, and D = 1 costs nothing.

The bits are added to `nbytes` as bits / 8 and to `bpp` as bits / pixels of the image, before anything is optimised or
bounded. Tables without `encoder_id` and `file_sha256` know of no shared file, and nothing is added. With `side_info`
the number of the point is charged in place of this (`rdp.selection.index_cost`), as it names the decoder too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.types as pat

from rdp.errors import SpecError
from rdp.selection.grid import Grid
from rdp.selection.naming import CHARGED, Kind, Naming
from rdp.selection.sizes import pixels_of
from rdp.selection.terms import BoolArray, FloatArray, IntArray
from rdp.tables import CellTable

OPTION = "--no-decoder-info (decoder_info=False)"
"""How the charge is left out, as messages name it."""


@dataclass(frozen=True, eq=False)
class DecoderCost(Naming):
    """Bits that name the decoder: `bits` (N, M) of every cell, 0 where it may not be chosen or its file has one.

    `sizes` are the different D of cells that may be chosen, ascending. `scale` maps the charged columns to what one bit
    adds to a value (N,), `plain` maps them to their values (N, M) without the bits.
    """

    kind: ClassVar[Kind] = "decoder"

    bits: FloatArray
    sizes: tuple[int, ...]
    scale: Mapping[str, FloatArray]
    plain: Mapping[str, FloatArray]

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.scale)

    def bits_at(self, choice: IntArray) -> FloatArray:
        """The bits (N,) at a choice (N,)."""
        return np.asarray(self.bits[np.arange(len(choice)), choice])

    def decoders_at(self, choice: IntArray) -> IntArray:
        """D (N,) at a choice (N,)."""
        return np.rint(np.exp2(self.bits_at(choice))).astype(np.int64)

    def at(self, column: str, choice: IntArray) -> FloatArray:
        return self.bits_at(choice) * self.scale[column] if column in self.scale else np.zeros(len(choice))

    def of_images(self, count: int, part: Callable[[FloatArray], FloatArray]) -> Self:
        return replace(
            self,
            bits=part(self.bits),
            scale={name: part(values) for name, values in self.scale.items()},
            plain={name: part(values) for name, values in self.plain.items()},
        )

    @property
    def rule(self) -> str:
        """`log2(8) = 3 bits an image for the choice among 8 decoders of a file`."""
        several = [size for size in self.sizes if size > 1]
        alone = "; nothing where a file has one decoder" if 1 in self.sizes else ""
        if len(several) == 1:
            bits = math.log2(several[0])
            unit = "bit" if bits == 1 else "bits"
            count = several[0]
            return f"log2({count}) = {bits:.4g} {unit} an image for the choice among {count} decoders of a file{alone}"
        few, many = several[0], several[-1]
        return (
            f"log2(D) bits an image for the choice among the D decoders of a file, D from {few} to {many} "
            f"({math.log2(few):.4g} to {math.log2(many):.4g} bits){alone}"
        )

    @property
    def sentence(self) -> str:
        """`bpp and nbytes include log2(8) = 3 bits an image for the choice among 8 decoders of a file`."""
        return f"{' and '.join(self.columns)} include{'s' if len(self.columns) == 1 else ''} {self.rule}"


def decoders_of_files(grid: Grid, cells: BoolArray) -> IntArray | None:
    """D (N, M) of every cell among `cells` (N, M), those that may be chosen; 1 elsewhere; None where all are 1."""
    files = _files(grid.table)
    known = files >= 0
    points = len(grid.points)
    image_of, point_of = np.divmod(grid.flat, points)
    if not _shared(files[known], point_of[known]):
        return None
    rows = np.flatnonzero(known & cells.ravel()[grid.flat])
    decoders = _codes(grid.table, "decoder_id")
    own = decoders.max(initial=-1) + 1 + point_of
    decoders = np.where(decoders < 0, own, decoders)[rows]
    _, file_of = np.unique(image_of[rows] * (files.max(initial=0) + 1) + files[rows], return_inverse=True)
    width = int(decoders.max(initial=0)) + 1
    # Each pair of a file and a decoder once.
    pairs = np.unique(file_of * width + decoders)
    count = np.bincount(pairs // width)[file_of]
    if not (count > 1).any():
        return None
    found = np.ones(grid.shape[0] * points, dtype=np.int64)
    found[grid.flat[rows]] = count
    return found.reshape(grid.shape)


def decoder_cost(
    grid: Grid, labels: Sequence[str], cells: BoolArray, values: Mapping[str, FloatArray]
) -> DecoderCost | None:
    """The bits of every cell of a grid whose columns have `values` (N, M); None where nothing is to be charged.

    `cells` (N, M) are those that may be chosen. Raises `SpecError` where `bpp` is to be charged and the sizes of the
    images are not known, and `TableError` for sizes that contradict each other.
    """
    charged = [name for name in CHARGED if name in values]
    decoders = decoders_of_files(grid, cells) if charged else None
    if decoders is None:
        return None
    scale = {name: np.full(grid.shape[0], 1 / 8) for name in charged}
    if "bpp" in charged:
        pixels = pixels_of(grid, labels, "the bits that name a decoder")
        if pixels is None:
            raise SpecError(
                f"points of {grid.table.source} share files, and the bits that name the decoder are a part of bpp, as "
                "bits / pixels; how many pixels the images have is not known: give the columns width and height, or "
                f"nbytes beside bpp, or leave these bits out with {OPTION}"
            )
        scale["bpp"] = 1 / pixels
    sizes = tuple(np.unique(decoders[cells]).tolist())
    return DecoderCost(np.log2(decoders), sizes, scale, {name: values[name] for name in charged})


def charge_decoders(values: Mapping[str, FloatArray], cost: DecoderCost) -> dict[str, FloatArray]:
    """The columns (N, M) with the bits added to those that are charged."""
    return {
        name: array + cost.bits * cost.scale[name][:, None] if name in cost.scale else array
        for name, array in values.items()
    }


def _files(table: CellTable) -> IntArray:
    """A number (rows,) for the file of each row, equal where rows of one image share it; -1 where it is not known."""
    encoders = _codes(table, "encoder_id")
    if (encoders >= 0).all():
        return encoders
    hashes = _codes(table, "file_sha256")
    by_hash = np.where(hashes < 0, -1, encoders.max(initial=-1) + 1 + hashes)
    return np.where(encoders < 0, by_hash, encoders)


def _codes(table: CellTable, column: str) -> IntArray:
    """The number (rows,) of each row's text in a column; -1 where it is missing or empty, or there is no column."""
    if column not in table.data.column_names:
        return np.full(len(table), -1, dtype=np.int64)
    data = table.data.column(column)
    if pat.is_dictionary(data.type):
        data = data.cast(data.type.value_type)
    if pat.is_null(data.type):
        return np.full(len(table), -1, dtype=np.int64)
    encoded = pa.chunked_array(data).combine_chunks().dictionary_encode()
    codes = np.asarray(encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int64)
    if not (pat.is_string(data.type) or pat.is_large_string(data.type)):
        return codes
    empty = encoded.dictionary.index(pa.scalar("", data.type)).as_py()
    return codes if empty < 0 else np.where(codes == empty, -1, codes)


def _shared(files: IntArray, points: IntArray) -> bool:
    """Whether some file number stands at several points; without it no image has a file that points share."""
    first = np.zeros(files.max(initial=-1) + 1, dtype=np.int64)
    first[files] = points
    return bool((first[files] != points).any())
