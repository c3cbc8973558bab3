"""What travels between the main process and its workers: small, picklable, frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rdp.codecs import OperatingPoint, Resources
from rdp.images import ImageFile
from rdp.images.read import Exif
from rdp.metrics import MetricPlan
from rdp.tables import OK


@dataclass(frozen=True)
class WorkerSettings:
    """What every worker of a run is started with.

    `metrics` are those asked for, and any others that the run holds already: when a row must be made anew, all its
    scores must be. `missing` names metrics of the run that cannot be computed here, and why. `device` and `dtype` are
    those of this worker; `contended` says that other workers run beside it.
    """

    metrics: tuple[MetricPlan, ...]
    missing: Mapping[str, str]
    columns: Mapping[str, tuple[str, ...]]
    run: Path
    keep_files: bool
    keep_reconstructions: bool
    exif: Exif
    device: str
    dtype: str
    contended: bool
    session: int

    @property
    def resources(self) -> Resources:
        """What codecs are made with."""
        return Resources(self.device, self.dtype)


@dataclass(frozen=True)
class KnownRow:
    """What a run already says of a cell that lacks scores."""

    file_sha256: str
    reconstruction_sha256: str


@dataclass(frozen=True)
class KeptFile:
    """The file of another row of the same image and encoder, which need not be encoded again if the run has kept it.

    The other fields are what that row says of how the file was made.
    """

    sha256: str
    encode_s: float
    encode_device: str
    codec_version: str
    contended: bool


@dataclass(frozen=True)
class CellWork:
    """One cell to work on: encode it, or, where `known` is given, only score it; `kept` may spare the encoding.

    `encoder_id` says whose file it is: cells of one image that share it are done in one task, so that the file is made
    once. `metrics` are the names of those to compute; `replaces` says that the run has a row of this key.
    """

    point: OperatingPoint
    encoder_id: str
    metrics: tuple[str, ...]
    known: KnownRow | None = None
    replaces: bool = False
    kept: KeptFile | None = None


@dataclass(frozen=True)
class ImageTask:
    """Some cells of one image, done by one worker in one go.

    `group` numbers a set of points whose codecs fit into a worker's memory together; a worker that gets a task of
    another group forgets the weights of the last.
    """

    image: ImageFile
    width: int
    height: int
    pixels_sha256: str
    cells: tuple[CellWork, ...]
    group: int = 0

    def key(self, work: CellWork) -> dict[str, str]:
        """The key of a cell's row."""
        return {"dataset": self.image.dataset, "image": self.image.name, "point": work.point.name}

    def blank_row(self, work: CellWork, settings: WorkerSettings) -> dict[str, Any]:
        """What is known of a cell's row before the codec is called."""
        return {
            **self.key(work),
            "width": self.width,
            "height": self.height,
            "pixels_sha256": self.pixels_sha256,
            "contended": settings.contended,
            "session": settings.session,
            "status": OK,
            "message": None,
        }


@dataclass(frozen=True)
class BatchTask:
    """Some cells of several images, all of one group, for a worker that codes in batches.

    `order` names the points of the group; the cells of every image stand in that order.
    """

    images: tuple[ImageTask, ...]
    order: tuple[str, ...]


@dataclass(frozen=True)
class CellResult:
    """What became of a cell: its new row if it has one, and its scores by metric."""

    work: CellWork
    row: Mapping[str, Any] | None
    scores: Mapping[str, Mapping[str, Any]]
    replaces: bool

    @property
    def failed(self) -> bool:
        return self.row is not None and self.row["status"] != "ok"

    @property
    def failed_scores(self) -> int:
        return sum(row["message"] is not None for row in self.scores.values())


@dataclass
class Seconds:
    """Where a worker's time went."""

    start: float = 0.0
    read: float = 0.0
    encode: float = 0.0
    decode: float = 0.0
    score: float = 0.0
    total: float = 0.0

    def add(self, other: Seconds) -> None:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


@dataclass(frozen=True)
class TaskResult:
    """The first cells of a task, as many as there was time for (one at least), and the time they took."""

    cells: tuple[CellResult, ...]
    seconds: Seconds = field(default_factory=Seconds)


@dataclass(frozen=True)
class BatchResult:
    """The cells of a batch task that there was time for; `done` counts them image by image, from the first on.

    The seconds of stages that overlap add up to more than `total`.
    """

    cells: tuple[CellResult, ...]
    done: tuple[int, ...]
    seconds: Seconds = field(default_factory=Seconds)
