"""The two kinds of arrays that set-level metrics need of a picture: features of its patches, sorted projections."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rdp.errors import MetricError
from rdp.evaluation.pictures import PictureRow
from rdp.metrics.base import fingerprint_of
from rdp.metrics.feature_networks import NetworkPlan
from rdp.metrics.patches import PatchGrid
from rdp.metrics.swd_features import (
    SwdProjector,
    SwdSettings,
    common_levels,
    image_key,
    originals_statistics,
    read_statistics,
    swd_identity,
    write_statistics,
)

if TYPE_CHECKING:
    from rdp.metrics.features import FeatureNetwork

Pixels = NDArray[np.uint8]
Float32 = NDArray[np.float32]

_KEY_DIGITS = 16


class Kind(Protocol):
    """What is computed of each picture. `prepare` comes first, `open` before `compute`."""

    name: str
    device: str
    """Where `compute` runs; known once it is open."""

    @property
    def identity(self) -> dict[str, Any]: ...

    @property
    def fingerprint(self) -> str: ...

    def prepare(self, originals: Sequence[tuple[str, PictureRow]]) -> None:
        """Look at the set of originals, each with its name. Raises `MetricError` for images that are too small."""
        ...

    def key(self, row: PictureRow, sha256: str) -> str:
        """The name of the array of a picture of that hash, the original or a reconstruction of the row's image."""
        ...

    def count(self, row: PictureRow) -> int:
        """Patches of a picture of the row's size."""
        ...

    def shape(self, row: PictureRow) -> tuple[int, ...]:
        """The shape of the array of a picture of the row's size."""
        ...

    def open(
        self, known: Mapping[str, Any], originals: Sequence[PictureRow], read: Callable[[PictureRow], Pixels]
    ) -> dict[str, Any]:
        """Make ready, from what the store's description says and from the originals; what is to be added to it."""
        ...

    def compute(self, row: PictureRow, pixels: Pixels) -> Float32:
        """The array of a picture of the row's image."""
        ...


class PatchFeatures:
    """Features of a network for each patch of a grid: float32 (patches, dimensions)."""

    device = ""

    def __init__(self, plan: NetworkPlan, grid: PatchGrid, device: str) -> None:
        self._plan, self._grid, self._device = plan, grid, device
        self.name = plan.name
        self._network: FeatureNetwork | None = None

    @property
    def identity(self) -> dict[str, Any]:
        return {**self._plan.identity, "patches": self._grid.identity}

    @property
    def fingerprint(self) -> str:
        return fingerprint_of(self.identity)

    def prepare(self, originals: Sequence[tuple[str, PictureRow]]) -> None:
        self._grid.check((name, row.width, row.height) for name, row in originals)

    def key(self, row: PictureRow, sha256: str) -> str:
        return sha256

    def count(self, row: PictureRow) -> int:
        return self._grid.count(row.width, row.height)

    def shape(self, row: PictureRow) -> tuple[int, ...]:
        return self.count(row), self._plan.dimensions

    def open(
        self, known: Mapping[str, Any], originals: Sequence[PictureRow], read: Callable[[PictureRow], Pixels]
    ) -> dict[str, Any]:
        self._network = self._plan.create(self._device)
        self.device = self._network.device
        return {"notes": {**known.get("notes", {}), **self._plan.notes}}

    def compute(self, row: PictureRow, pixels: Pixels) -> Float32:
        if self._network is None:
            raise MetricError(f"the network {self.name!r} is not open")
        return self._network.features(self._grid.cut(pixels))


class Projections:
    """Sorted projections of Laplacian-pyramid patches: float32 (levels, projections, patches)."""

    name = "swd"
    device = "cpu"

    def __init__(self, settings: SwdSettings) -> None:
        self._settings = settings
        self._levels = 0
        self._originals: tuple[str, ...] = ()
        self._projector: SwdProjector | None = None

    @property
    def identity(self) -> dict[str, Any]:
        return swd_identity(self._settings, self._levels, self._originals)

    @property
    def fingerprint(self) -> str:
        return fingerprint_of(self.identity)

    def prepare(self, originals: Sequence[tuple[str, PictureRow]]) -> None:
        self._levels = common_levels((name, row.width, row.height) for name, row in originals)
        self._originals = tuple(row.pixels_sha256 for _, row in originals)

    def key(self, row: PictureRow, sha256: str) -> str:
        # Where the patches are follows from the original.
        return f"{sha256}-{row.pixels_sha256[:_KEY_DIGITS]}"

    def count(self, row: PictureRow) -> int:
        return self._settings.patches

    def shape(self, row: PictureRow) -> tuple[int, ...]:
        return self._levels, self._settings.projections, self._settings.patches

    def open(
        self, known: Mapping[str, Any], originals: Sequence[PictureRow], read: Callable[[PictureRow], Pixels]
    ) -> dict[str, Any]:
        if "statistics" in known:
            statistics = read_statistics(known["statistics"], self._levels, f"the description of {self.name} features")
        else:
            pictures = ((read(row), image_key(row.pixels_sha256)) for row in originals)
            statistics = originals_statistics(pictures, self._levels, self._settings)
        self._projector = SwdProjector(self._settings, statistics)
        return {"statistics": write_statistics(statistics)}

    def compute(self, row: PictureRow, pixels: Pixels) -> Float32:
        if self._projector is None:
            raise MetricError("the projections are not open")
        return self._projector.project(pixels, image_key(row.pixels_sha256))
