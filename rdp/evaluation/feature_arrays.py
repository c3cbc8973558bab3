"""What is computed of a run's pictures, and what it will take: the arrays by image and point, and the plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rdp.errors import MetricError
from rdp.evaluation.pictures import ImageKey

Float32 = NDArray[np.float32]

_LISTED = 3


@dataclass(frozen=True, eq=False)
class CellArrays:
    """The arrays of a run's pictures, by image and point; each is read, and checked, when it is asked for.

    `images` are (dataset, image), and `names` what they are called: the image, or dataset/image where the run has
    several data sets. `points` are in natural order; `available` (N, P) says which cells the run has, and `counts` (N,)
    how many patches an image gives; `without` are the images that give none. `devices` have computed. An array is
    float32, mapped from its file: for a network (patches, dimensions), for projections (levels, projections, patches).
    """

    name: str
    fingerprint: str
    identity: dict[str, Any]
    images: tuple[ImageKey, ...]
    names: tuple[str, ...]
    points: tuple[str, ...]
    available: NDArray[np.bool_]
    counts: NDArray[np.intp]
    without: tuple[str, ...]
    folder: Path
    devices: tuple[str, ...]
    _read: Callable[[int, int | None], Float32]

    def reference(self, image: int) -> Float32:
        """The array of an original. Raises `RunFolderError` for a file that is damaged or gone."""
        return self._read(image, None)

    def cell(self, image: int, point: int) -> Float32:
        """The array of a reconstruction. Raises `RunFolderError` also for a cell that the run does not have."""
        return self._read(image, point)

    def of_originals(self) -> dict[str, Float32]:
        """The arrays of all originals by the image's name, but for images without a patch: see `without`."""
        return {self.names[image]: self.reference(image) for image in self._with_patches()}

    def of_cells(self) -> dict[tuple[str, str], Float32]:
        """The arrays of all cells by (name of the image, point), but for images without a patch.

        With `of_originals` and `points` what `rdp.analysis.sets.cells.feature_cells` and `projection_cells` take.
        Raises `MetricError` for cells that the run does not have.
        """
        self.require_complete()
        return {
            (self.names[image], name): self.cell(image, point)
            for image in self._with_patches()
            for point, name in enumerate(self.points)
        }

    def _with_patches(self) -> list[int]:
        return [int(image) for image in np.flatnonzero(self.counts)]

    def require_complete(self) -> None:
        """Raise `MetricError` that names a cell that is missing, if there is one."""
        if not self.available.all():
            image, point = np.argwhere(~self.available)[0]
            raise MetricError(
                f"{int((~self.available).sum())} of {self.available.size} cells failed or are missing in the run, for "
                f"example {self.points[point]} of {self.names[image]!r}: evaluate them, or leave out the point"
            )


@dataclass(frozen=True)
class FeaturePlan:
    """What will be computed and kept: pictures are originals and reconstructions, each of different pixels once."""

    name: str
    folder: Path
    images: int
    points: int
    cells: int
    patches: int
    pictures: int
    missing: int
    nbytes: int
    missing_nbytes: int
    without: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """In one line."""
        text = (
            f"{self.name}: {self.images} images x {self.points} points, {self.patches} patches of the originals; "
            f"{self.missing} of {self.pictures} pictures to compute, {size_text(self.missing_nbytes)} of "
            f"{size_text(self.nbytes)} to write into {self.folder}"
        )
        if self.without:
            text += f"; {len(self.without)} images have no patch: {', '.join(self.without[:_LISTED])}"
        return text


def size_text(nbytes: int) -> str:
    """`3.2 MB`."""
    value = float(nbytes)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"
