"""Features of a set of images and of every cell (image, point), as the scorers of sets take them.

Two kinds: features of patches, (n, D) for an image of n patches, for FID and KID; and sorted projections of patches,
(levels, directions, n), for the sliced Wasserstein distance. They are stored as they are given where they are float32
(a memory map stays one), and computed with in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rdp.analysis.sets.base import Choice
from rdp.analysis.sets.shares import checked_choice
from rdp.errors import MetricError

Array = NDArray[Any]
Float32 = NDArray[np.float32]
Cells = tuple[tuple[Float32, ...], ...]
"""What belongs to each point of each image: first by image, then by point."""


@dataclass(frozen=True, eq=False)
class FeatureCells:
    """Features of the patches of N originals, (n_i, D) each, and of P reconstructions of each, as many patches.

    Made by `feature_cells`, which checks them.
    """

    images: tuple[str, ...]
    points: tuple[str, ...]
    reference: tuple[Float32, ...]
    cells: Cells

    @property
    def counts(self) -> NDArray[np.intp]:
        """Patches of each image, (N,)."""
        return np.array([len(part) for part in self.reference], np.intp)

    @property
    def patches(self) -> int:
        """Patches of all originals together, and of any mixture."""
        return sum(len(part) for part in self.reference)

    @property
    def dimensions(self) -> int:
        """Numbers in the feature of one patch."""
        return int(self.reference[0].shape[1])

    @property
    def nbytes(self) -> int:
        """Bytes of all features: 4 * D * patches * (P + 1)."""
        return 4 * self.dimensions * self.patches * (len(self.points) + 1)

    def originals(self) -> Float32:
        """Features of all originals, (patches, D), image by image."""
        return np.concatenate(self.reference)

    def mixture(self, choice: Choice) -> Float32:
        """Features of one chosen point of each image, (patches, D), in the order of `originals`."""
        chosen = checked_choice(choice, len(self.images), len(self.points))
        return np.concatenate([row[point] for row, point in zip(self.cells, chosen, strict=True)])


@dataclass(frozen=True, eq=False)
class ProjectionCells:
    """Sorted projections of N originals and of P reconstructions of each: (levels, directions, n), all the same shape.

    Made by `projection_cells`, which checks them.
    """

    images: tuple[str, ...]
    points: tuple[str, ...]
    reference: tuple[Float32, ...]
    cells: Cells

    @property
    def shape(self) -> tuple[int, int, int]:
        """Levels, directions, and patches of each image on each level."""
        levels, directions, patches = self.reference[0].shape
        return levels, directions, patches

    @property
    def nbytes(self) -> int:
        """Bytes of all projections: 4 * levels * directions * n * N * (P + 1)."""
        return self.reference[0].size * 4 * len(self.images) * (len(self.points) + 1)


def feature_cells(
    reference: Mapping[str, Array], cells: Mapping[tuple[str, str], Array], points: Sequence[str]
) -> FeatureCells:
    """Features (n, D) of each original by its name, and of each cell by (image, point); images in `reference`'s order.

    Only the cells of `points` are looked at. Raises `MetricError`, with the name of the image and the point, for
    missing cells, cells of an image without original, images without a patch, numbers that are not finite (in
    float32), and cells that differ in dimensions or, within an image, in patches.
    """

    def checked(values: Array, where: str, first: Float32 | None, original: Float32 | None) -> Float32:
        found = _numbers(values, where, 2, "features are (patches, dimensions)")
        if not len(found):
            raise MetricError(f"{where} has no patch (the image is smaller than one): leave the image out, and say so")
        if first is not None and found.shape[1] != first.shape[1]:
            raise MetricError(
                f"{where} has features of {found.shape[1]} dimensions where the first image has {first.shape[1]}: "
                "take all from one network and layer"
            )
        if original is not None and len(found) != len(original):
            raise MetricError(f"{where} has {len(found)} patches where its original has {len(original)}")
        return found

    return FeatureCells(*_gathered(reference, cells, points, "features", checked))


def projection_cells(
    reference: Mapping[str, Array], cells: Mapping[tuple[str, str], Array], points: Sequence[str]
) -> ProjectionCells:
    """Sorted projections (levels, directions, n) of each original by its name, and of each cell by (image, point).

    All have the same shape, and each row is sorted: on level l, the projections of the image's n patches on one
    direction. Raises `MetricError` as `feature_cells` does, and for rows that are not sorted.
    """

    def checked(values: Array, where: str, first: Float32 | None, original: Float32 | None) -> Float32:
        found = _numbers(values, where, 3, "projections are (levels, directions, patches)")
        if not found.size:
            raise MetricError(f"{where} has no patch (its shape is {found.shape}): leave the image out, and say so")
        if first is not None and found.shape != first.shape:
            raise MetricError(f"{where} has projections of shape {found.shape}, the first image of {first.shape}")
        if (found[..., 1:] < found[..., :-1]).any():
            raise MetricError(f"{where} has projections that are not sorted: sort each row")
        return found

    return ProjectionCells(*_gathered(reference, cells, points, "projections", checked))


Check = Callable[[Array, str, Float32 | None, Float32 | None], Float32]
"""Values, what they are of, those of the first original and of this cell's own."""


def _gathered(
    reference: Mapping[str, Array],
    cells: Mapping[tuple[str, str], Array],
    points: Sequence[str],
    what: str,
    checked: Check,
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[Float32, ...], Cells]:
    """Images, points, originals and cells, all there and all checked."""
    images = tuple(reference)
    if not images or not points:
        raise MetricError(f"{what} of {len(images)} images at {len(points)} points make no set: take at least one each")
    if len(set(points)) != len(points):
        raise MetricError(f"points stand twice in the list: {', '.join(sorted(set(points)))}")
    strangers = sorted({image for image, _ in cells} - set(images))
    if strangers:
        raise MetricError(f"image {strangers[0]!r} has {what} at points, but its original has none: compute them too")
    missing = [(image, point) for image in images for point in points if (image, point) not in cells]
    if missing:
        image, point = missing[0]
        raise MetricError(
            f"{len(missing)} of {len(images) * len(points)} cells have no {what}; the first is image {image!r} at "
            f"point {point!r}: compute them, or leave the image or the point out"
        )
    originals: list[Float32] = []
    rows: list[tuple[Float32, ...]] = []
    for image in images:
        first = originals[0] if originals else None
        originals.append(checked(reference[image], f"the original {image!r}", first, None))
        rows.append(
            tuple(
                checked(cells[image, point], f"image {image!r} at point {point!r}", originals[0], originals[-1])
                for point in points
            )
        )
    return images, tuple(points), tuple(originals), tuple(rows)


def _numbers(values: Array, where: str, axes: int, wanted: str) -> Float32:
    """As float32, all finite."""
    given = np.asarray(values)
    if given.ndim != axes or given.dtype.kind not in "fiu":
        raise MetricError(f"{where} has {given.dtype} of shape {given.shape}; {wanted}")
    with np.errstate(over="ignore"):
        found = given.astype(np.float32, copy=False)
    wrong = found.size - int(np.count_nonzero(np.isfinite(found)))
    if wrong:
        raise MetricError(f"{where} has {wrong} of {found.size} numbers that are not finite in float32")
    return found
