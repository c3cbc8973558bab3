"""The parts of a delivery's manifest; `rdp.report.manifest` describes the document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rdp.selection.statement import Sense, Weighting


@dataclass(frozen=True)
class PackedFile:
    """One delivered file: of which image, at which point, and what it must hold and decode to.

    `group` is that of the image where there are budgets of groups, and else empty. `decoders`: among how many decoders
    of the file its own was chosen; 1 where no bits are charged for that.
    """

    dataset: str
    image: str
    point: str
    file: str
    nbytes: int
    file_sha256: str
    reconstruction_sha256: str
    pixels_sha256: str
    width: int
    height: int
    group: str = ""
    decoders: int = 1


@dataclass(frozen=True)
class PackedAverage:
    """The average of a column over the chosen cells, of the files alone, without bits beside them."""

    column: str
    weighting: Weighting
    average: float


@dataclass(frozen=True)
class PackedBudget:
    """A budget of the selection, and the average that it bounds: of all images, or of a group of them.

    Where the selection was solved with bits beside the files, so is the average.
    """

    column: str
    sense: Sense
    budget: float
    weighting: Weighting
    average: float
    group: str = ""


@dataclass(frozen=True)
class PackedBound:
    """A bound on each image, and the value (capped as in the statement) of the image that is nearest to it.

    The value is of the file alone, without bits beside it.
    """

    column: str
    sense: Sense
    bound: float
    worst: float


@dataclass(frozen=True)
class PackedPoint:
    """A point in use: how many images took it, and what made and decoded their files."""

    point: str
    images: int
    encoder_ids: tuple[str, ...]
    decoder_ids: tuple[str, ...]
    codec_versions: tuple[str, ...]


@dataclass(frozen=True)
class PackedMetric:
    """A metric of the run: its columns, fingerprint, and what the fingerprint stands for."""

    name: str
    columns: tuple[str, ...]
    fingerprint: str
    identity: Mapping[str, Any]
