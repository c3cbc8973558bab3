"""Side information as a part of the rate: what naming each image's point costs.

The definition: sender and receiver share the list of the M points among which may be chosen, which are those that the
patterns of `points` leave. The number of an image's point in that list takes ceil(log2 M) bits, at a fixed length, and
so does `rdp pack` count. With a limit of K points they are named once, by the number of their set among the C(M, K)
sets, ceil(log2 C(M, K)) bits; an image's number then takes ceil(log2 K) bits. The bits of the set are spread evenly
over the images, so that an average by pixels is the total of bits over the total of pixels.

The bits are added to every cell: to `nbytes` as bits / 8, to `bpp` as bits / pixels of the image. So all budgets,
bounds on each image, the objective and the averages of these two columns include them. They name the decoder as well,
so those of `rdp.selection.decoder_cost` are not added to them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from rdp.errors import SpecError
from rdp.selection.naming import CHARGED, Kind, Naming
from rdp.selection.terms import FloatArray, IntArray
from rdp.selection.words import counted


@dataclass(frozen=True, eq=False)
class IndexCost(Naming):
    """Bits that name the points: `per_image` each, and `shared` once for the set of the `limit` points of `points`.

    `added` maps the charged columns to what each image's cells (N,) are raised by.
    """

    kind: ClassVar[Kind] = "index"

    points: int
    limit: int
    images: int
    per_image: int
    shared: int
    added: Mapping[str, FloatArray]

    @property
    def bits(self) -> float:
        """Bits of an image, its part of the shared ones included."""
        return self.per_image + self.shared / self.images

    @property
    def total_bits(self) -> int:
        """Bits of all images."""
        return self.per_image * self.images + self.shared

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.added)

    def at(self, column: str, choice: IntArray) -> FloatArray:
        return self.added[column] if column in self.added else np.zeros(len(choice))

    def of_images(self, count: int, part: Callable[[FloatArray], FloatArray]) -> Self:
        # What is sent once stays spread as it was over all images.
        return replace(self, images=count, added={name: part(added) for name, added in self.added.items()})

    @property
    def sentence(self) -> str:
        """`bpp and nbytes include side information: 4 bits an image (one of 10 points)`."""
        once = f", and {counted(self.shared, 'bit')} once to name them among {self.points}" if self.shared else ""
        return (
            f"{' and '.join(self.added)} include side information: {counted(self.per_image, 'bit')} an image "
            f"(one of {counted(self.limit, 'point')}){once}"
        )


def fixed_length(count: int) -> int:
    """ceil(log2 count): bits of the number of one of so many."""
    return (count - 1).bit_length()


def index_cost(points: int, images: int, max_points: int | None, pixels: FloatArray | None) -> IndexCost:
    """What naming one of `points` costs each of `images`, of so many `pixels` (N,) each, if these are known."""
    limit = points if max_points is None else min(max_points, points)
    per_image, shared = fixed_length(limit), fixed_length(math.comb(points, limit))
    bits = per_image + shared / images
    added = {"nbytes": np.full(images, bits / 8)}
    if pixels is not None:
        added["bpp"] = bits / pixels
    return IndexCost(points, limit, images, per_image, shared, {name: added[name] for name in CHARGED if name in added})


def charge(values: Mapping[str, FloatArray], cost: IndexCost, source: str) -> tuple[dict[str, FloatArray], IndexCost]:
    """The columns (N, M) with the bits added to `bpp` and `nbytes`, and the cost with what was added to which.

    Raises `SpecError` where there is neither, or `bpp` without the sizes of the images.
    """
    charged = [name for name in CHARGED if name in values]
    if not charged:
        raise SpecError(f"side_info adds bits to bpp and nbytes, and {source} has neither")
    for name in charged:
        if name not in cost.added:
            raise SpecError(
                f"side_info adds bits / pixels to {name}, and how many pixels the images have is not known from "
                f"{source}: the columns width and height say it, or nbytes beside bpp (of arrays, the argument pixels)"
            )
    raised = {name: array + cost.added[name][:, None] if name in charged else array for name, array in values.items()}
    return raised, replace(cost, added={name: cost.added[name] for name in charged})
