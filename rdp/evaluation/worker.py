"""What a worker does with an image: encode, decode from the file, compare, keep."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

from rdp.codecs import Codec, create_codec
from rdp.errors import CodecError, RunFolderError
from rdp.evaluation.scoring import Pending, WorkerState, describe_error, score
from rdp.evaluation.tasks import CellResult, CellWork, ImageTask, Seconds, TaskResult, WorkerSettings
from rdp.images import hash_bytes, hash_pixels, read_image
from rdp.tables import FAILED
from rdp.tables.objects import keep_file, keep_reconstruction, object_path

if TYPE_CHECKING:
    import numpy as np

    Pixels = np.ndarray[Any, Any]

TASK_S = 2.0
"""A task ends after the cell in which so much time has passed: a killed run loses no more, and progress shows."""

_BATCH_PIXELS = 1 << 24
"""Reconstructions are scored when they have so many pixels together: what bounds a worker's memory."""


_STATE: list[WorkerState] = []  # the one state of this worker process, set by its initializer


def start_worker(settings: WorkerSettings) -> None:
    """Initializer of a worker process. One thread a worker: the parallelism is over images."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    _STATE[:] = [WorkerState(settings)]


def work_on(task: ImageTask) -> TaskResult:
    """Do the cells of a task, in order, until `TASK_S` have passed; the others are left for another task.

    A codec or metric that fails makes a failed row; a run folder that cannot be written, or an image that has changed
    since it was inspected, ends the task with an `RdpError`.
    """
    state = _STATE[0]
    seconds = Seconds()
    begin = time.perf_counter()
    _make_ready(state, task, seconds)
    results: dict[str, CellResult] = {}
    pending: list[Pending] = []
    for place, work in enumerate(task.cells):
        if _time_is_up(task, place, begin + seconds.start):
            break
        outcome = _decode_cell(state, task, work, seconds)
        if isinstance(outcome, CellResult):
            results[work.point.name] = outcome
            continue
        pending.append(outcome)
        if sum(p.reconstruction.size for p in pending) >= 3 * _BATCH_PIXELS:
            results |= score(state, task, pending, seconds)
            pending = []
    results |= score(state, task, pending, seconds)
    seconds.total = time.perf_counter() - begin
    return TaskResult(tuple(results[work.point.name] for work in task.cells if work.point.name in results), seconds)


def _time_is_up(task: ImageTask, place: int, begin: float) -> bool:
    """Whether to stop before a cell: not before the first, and not between cells that share a file."""
    if place == 0 or task.cells[place].encoder_id == task.cells[place - 1].encoder_id:
        return False
    return time.perf_counter() - begin > TASK_S


def _make_ready(state: WorkerState, task: ImageTask, seconds: Seconds) -> None:
    """Metrics made, image read; both are kept for the tasks that follow."""
    begin = time.perf_counter()
    if not state.metrics:
        state.metrics = {plan.name: plan.create(state.settings.device) for plan in state.settings.metrics}
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(1)
    seconds.start += time.perf_counter() - begin
    begin = time.perf_counter()
    if state.image != task.pixels_sha256:
        pixels = read_image(task.image.path, state.settings.exif)
        if hash_pixels(pixels) != task.pixels_sha256:
            raise RunFolderError(f"{task.image.path} changed while it was being evaluated: run the command again")
        state.image, state.pixels, state.prepared = task.pixels_sha256, pixels, {}
    state.encoded = None
    seconds.read += time.perf_counter() - begin


# ---- one cell


def _decode_cell(state: WorkerState, task: ImageTask, work: CellWork, seconds: Seconds) -> CellResult | Pending:
    row = task.blank_row(work, state.settings)
    try:
        codec = _codec(state, work)
        if work.known is not None:
            again = _decode_known(state, codec, work, seconds)
            if again is not None:
                return Pending(work, None, again, work.metrics, replaces=True)
        reconstruction = _encode_and_decode(state, codec, row, seconds)
    except RunFolderError:
        raise
    except Exception as error:  # noqa: BLE001 - any failure of a codec is a failed row, whatever library it came from
        return CellResult(work, {**row, "status": FAILED, "message": describe_error(error)}, {}, work.replaces)
    metrics = work.metrics if work.known is None else tuple(state.settings.columns)
    return Pending(work, row, reconstruction, metrics, work.replaces or work.known is not None)


def _codec(state: WorkerState, work: CellWork) -> Codec:
    name = work.point.name
    if name not in state.codecs:
        state.codecs[name] = create_codec(work.point)
    return state.codecs[name]


def _encode_and_decode(state: WorkerState, codec: Codec, row: dict[str, Any], seconds: Seconds) -> Pixels:
    """Fill in the row of a cell and give its reconstruction."""
    encoder_id = codec.encoder_id
    data, encode_s = _encode(state, codec, encoder_id, seconds)
    begin = time.perf_counter()
    reconstruction = codec.decode(data)
    decode_s = time.perf_counter() - begin
    seconds.decode += decode_s
    pixels = state.original()
    if reconstruction.shape != pixels.shape or reconstruction.dtype != pixels.dtype:
        raise CodecError(
            f"the decoder gave {reconstruction.dtype} {reconstruction.shape} for an image of uint8 {pixels.shape}"
        )
    row.update(
        nbytes=len(data),
        bpp=8 * len(data) / (row["width"] * row["height"]),
        file_sha256=hash_bytes(data),
        reconstruction_sha256=hash_pixels(reconstruction),
        encoder_id=encoder_id,
        decoder_id=codec.decoder_id,
        codec_version=codec.version,
        encode_s=encode_s,
        decode_s=decode_s,
        encode_device=codec.device,
        decode_device=codec.device,
    )
    settings = state.settings
    if settings.keep_files:
        keep_file(settings.run, row["file_sha256"], data)
    if settings.keep_reconstructions:
        keep_reconstruction(settings.run, row["reconstruction_sha256"], reconstruction)
    return reconstruction


def _encode(state: WorkerState, codec: Codec, encoder_id: str, seconds: Seconds) -> tuple[bytes, float]:
    """The file and the time it took; points that share an encoder share both, and it is encoded once."""
    if state.encoded is not None and state.encoded[0] == encoder_id:
        return state.encoded[1], state.encoded[2]
    begin = time.perf_counter()
    data = codec.encode(state.original())
    encode_s = time.perf_counter() - begin
    seconds.encode += encode_s
    state.encoded = (encoder_id, data, encode_s)
    return data, encode_s


def _decode_known(state: WorkerState, codec: Codec, work: CellWork, seconds: Seconds) -> Pixels | None:
    """The reconstruction of a row that stands: from its kept file, else encoded again.

    None if file or reconstruction are not those of the row any more, so that the whole row must be redone.
    """
    known = work.known
    if known is None:
        return None
    path = object_path(state.settings.run, known.file_sha256)
    data = path.read_bytes() if path.exists() else b""
    if hash_bytes(data) != known.file_sha256:
        data, _ = _encode(state, codec, codec.encoder_id, seconds)
        if hash_bytes(data) != known.file_sha256:
            return None
    begin = time.perf_counter()
    reconstruction = codec.decode(data)
    seconds.decode += time.perf_counter() - begin
    return reconstruction if hash_pixels(reconstruction) == known.reconstruction_sha256 else None
