"""One cell in a worker, whichever kind: the file that is at hand, and the row that a decoded file fills."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rdp.codecs import Codec, OperatingPoint, create_codec
from rdp.columns import ESTIMATE_COLUMNS
from rdp.errors import CodecError, suggest
from rdp.evaluation.tasks import CellWork, Seconds, WorkerSettings
from rdp.images import hash_bytes, hash_pixels
from rdp.tables.objects import keep_file, keep_reconstruction, object_path

if TYPE_CHECKING:
    import numpy as np

    Pixels = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Encoded:
    """A file in memory, and how it was made."""

    data: bytes
    encode_s: float
    device: str
    version: str
    contended: bool


class CodecShelf:
    """The codecs that a worker keeps: those without weights for good, those with weights while their group lasts."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._resources = settings.resources
        self._codecs: dict[str, Codec] = {}
        self._group = 0

    def turn_to(self, group: int) -> None:
        """Forget the weights of another group of points, before those of this one are loaded."""
        if group != self._group:
            self._codecs = {name: codec for name, codec in self._codecs.items() if not codec.weights_nbytes}
            self._group = group

    def take(self, point: OperatingPoint, seconds: Seconds) -> Codec:
        """The codec of a point. Raises whatever its construction raises."""
        if point.name not in self._codecs:
            begin = time.perf_counter()
            self._codecs[point.name] = create_codec(point, self._resources)
            seconds.start += time.perf_counter() - begin
        return self._codecs[point.name]


def kept_bytes(settings: WorkerSettings, sha256: str) -> bytes | None:
    """The file of that hash if the run has kept it whole."""
    path = object_path(settings.run, sha256)
    data = path.read_bytes() if path.exists() else b""
    return data if hash_bytes(data) == sha256 else None


def kept_file(settings: WorkerSettings, work: CellWork) -> Encoded | None:
    """The file of another row, where one is named and still there."""
    kept = work.kept
    data = None if kept is None else kept_bytes(settings, kept.sha256)
    if kept is None or data is None:
        return None
    return Encoded(data, kept.encode_s, kept.encode_device, kept.codec_version, kept.contended)


def check_reconstruction(reconstruction: Pixels, pixels: Pixels) -> None:
    """Raise `CodecError` for what is no picture of the original's size."""
    if reconstruction.shape != pixels.shape or reconstruction.dtype != pixels.dtype:
        raise CodecError(
            f"the decoder gave {reconstruction.dtype} {reconstruction.shape} for an image of uint8 {pixels.shape}"
        )


def fill_row(
    row: dict[str, Any], settings: WorkerSettings, codec: Codec, file: Encoded, reconstruction: Pixels, decode_s: float
) -> None:
    """Complete the row of a cell but for its estimates, and keep what is to be kept.

    Raises `RunFolderError` where that cannot be written.
    """
    row.update(
        nbytes=len(file.data),
        bpp=8 * len(file.data) / (row["width"] * row["height"]),
        file_sha256=hash_bytes(file.data),
        reconstruction_sha256=hash_pixels(reconstruction),
        encoder_id=codec.encoder_id,
        decoder_id=codec.decoder_id,
        codec_version=file.version,
        encode_s=file.encode_s,
        decode_s=decode_s,
        encode_device=file.device,
        decode_device=codec.device,
        contended=row["contended"] or file.contended,
    )
    if settings.keep_files:
        keep_file(settings.run, row["file_sha256"], file.data)
    if settings.keep_reconstructions:
        keep_reconstruction(settings.run, row["reconstruction_sha256"], reconstruction)


def estimates_of(codec: Codec, data: bytes) -> dict[str, float]:
    """What a codec estimates of its own file, checked. Raises `CodecError` for what a table cannot hold."""
    found: Mapping[str, float] = codec.estimates(data)
    values = {}
    for name, value in found.items():
        if name not in ESTIMATE_COLUMNS:
            known = ", ".join(ESTIMATE_COLUMNS)
            raise CodecError(
                f"{codec.family} estimates {name!r}, which is none of {known}.{suggest(name, ESTIMATE_COLUMNS)}"
            )
        values[name] = float(value)
        if not math.isfinite(values[name]):
            raise CodecError(f"{codec.family} estimates {name} as {value}, which is no number")
    return values
