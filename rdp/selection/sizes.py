"""How many pixels each image has, by the columns of a table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rdp.errors import SpecError, TableError
from rdp.selection.grid import Grid
from rdp.selection.terms import FloatArray

SAME_SIZE = 0.01
"""Sizes that follow from `nbytes` and a rounded `bpp` may differ by this part between the points of an image."""


def pixels_by_size(grid: Grid, labels: Sequence[str]) -> FloatArray:
    """Number of pixels (N,) of every image, from the columns width and height.

    Raises `SpecError` where the columns are missing, and `TableError` for an image of no or of several sizes.
    """
    missing = [name for name in ("width", "height") if name not in grid.table.numeric_columns]
    if missing:
        raise SpecError(
            f"weights by pixels need the columns width and height; {grid.table.source} has no "
            f"{' and no '.join(missing)}"
        )
    area = grid.values("width") * grid.values("height")
    known = np.where(np.isnan(area), -np.inf, area)
    largest = known.max(axis=1)
    for image in np.flatnonzero(~((largest > 0) & np.isfinite(largest))).tolist():
        raise TableError(f"image {labels[image]!r} of {grid.table.source} has no usable width and height")
    differing = np.isfinite(known) & (known != largest[:, None])
    for image in np.flatnonzero(differing.any(axis=1)).tolist():
        raise TableError(f"image {labels[image]!r} of {grid.table.source} has different sizes in different rows")
    return np.asarray(largest)


def pixels_of(grid: Grid, labels: Sequence[str], wanted_for: str) -> FloatArray | None:
    """Number of pixels (N,): by width and height, or else as bits / bpp; None where the table has neither.

    `wanted_for` says in messages what needs them. Raises `TableError` for an image whose rows contradict each other.
    """
    columns = grid.table.numeric_columns
    if "width" in columns and "height" in columns:
        return pixels_by_size(grid, labels)
    if "bpp" not in columns or "nbytes" not in columns:
        return None
    bits, rate = 8 * grid.values("nbytes"), grid.values("bpp")
    known = np.isfinite(bits) & np.isfinite(rate) & (bits > 0) & (rate > 0)
    if not known.any(axis=1).all():
        image = labels[int(np.argmin(known.any(axis=1)))]
        raise TableError(
            f"{wanted_for} needs the size of image {image!r} of {grid.table.source}: it has no row with nbytes and bpp"
        )
    # Rounded rates are most exact where they are largest, and there they weigh most in these sums.
    pixels = np.where(known, bits, 0.0).sum(axis=1) / np.where(known, rate, 0.0).sum(axis=1)
    differing = known & (np.abs(bits - rate * pixels[:, None]) > SAME_SIZE * bits)
    for image_number in np.flatnonzero(differing.any(axis=1)).tolist():
        raise TableError(
            f"image {labels[image_number]!r} of {grid.table.source}: 8 * nbytes / bpp is not the same number of pixels "
            "in all rows; give the columns width and height"
        )
    return np.asarray(pixels)
