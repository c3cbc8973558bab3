"""What a single-threaded worker does with an image: encode, decode from the file, compare, keep."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rdp.codecs import Codec
from rdp.errors import RunFolderError
from rdp.evaluation.cells import (
    CodecShelf,
    Encoded,
    check_reconstruction,
    estimates_of,
    fill_row,
    kept_bytes,
    kept_file,
)
from rdp.evaluation.scoring import Original, Pending, Scorer, describe_error
from rdp.evaluation.tasks import CellResult, CellWork, ImageTask, Seconds, TaskResult, WorkerSettings
from rdp.execution.allocator import keep_freed_memory
from rdp.images import hash_bytes, hash_pixels, read_image
from rdp.tables import FAILED

if TYPE_CHECKING:
    import numpy as np

    Pixels = np.ndarray[Any, Any]

TASK_S = 2.0
"""A task ends after the cell in which so much time has passed: a killed run loses no more, and progress shows."""

WAITING_PIXELS = 1 << 24
"""Reconstructions are scored when they have so many pixels together: what bounds a worker's memory."""


@dataclass
class WorkerState:
    """What a worker keeps between tasks: its codecs and metrics, and the image and the file that it saw last."""

    settings: WorkerSettings
    shelf: CodecShelf
    scorer: Scorer | None = None
    original: Original | None = None
    encoded: tuple[str, Encoded] | None = None


_STATE: list[WorkerState] = []  # the one state of this worker process, set by its initializer


def start_worker(settings: WorkerSettings) -> None:
    """Initializer of a worker process. One thread a worker: the parallelism is over images."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    keep_freed_memory()
    _STATE[:] = [WorkerState(settings, CodecShelf(settings))]


def worker_state() -> WorkerState:
    """The state of this worker process."""
    return _STATE[0]


def work_on(task: ImageTask) -> TaskResult:
    """Do the cells of a task, in order, until `TASK_S` have passed; the others are left for another task.

    A codec or metric that fails makes a failed row; a run folder that cannot be written, or an image that has changed
    since it was inspected, ends the task with an `RdpError`.
    """
    state = worker_state()
    seconds = Seconds()
    begin = time.perf_counter()
    scorer = ready_scorer(state, seconds)
    original = _load(state, task, seconds)
    results: dict[str, CellResult] = {}
    pending: list[Pending] = []
    for place, work in enumerate(task.cells):
        if _time_is_up(task, place, begin + seconds.start):
            break
        outcome = _decode_cell(state, original, task, work, seconds)
        if isinstance(outcome, CellResult):
            results[work.point.name] = outcome
            continue
        pending.append(outcome)
        if sum(p.reconstruction.size for p in pending) >= 3 * WAITING_PIXELS:
            results |= scorer.score(original, task, pending, seconds)
            pending = []
    results |= scorer.score(original, task, pending, seconds)
    seconds.total = time.perf_counter() - begin
    return TaskResult(tuple(results[work.point.name] for work in task.cells if work.point.name in results), seconds)


def _time_is_up(task: ImageTask, place: int, begin: float) -> bool:
    """Whether to stop before a cell: not before the first, and not between cells that share a file."""
    if place == 0 or task.cells[place].encoder_id == task.cells[place - 1].encoder_id:
        return False
    return time.perf_counter() - begin > TASK_S


def ready_scorer(state: WorkerState, seconds: Seconds) -> Scorer:
    """The metrics, made once a worker."""
    begin = time.perf_counter()
    if state.scorer is None:
        state.scorer = Scorer.of(state.settings)
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(1)
    seconds.start += time.perf_counter() - begin
    return state.scorer


def read_original(task: ImageTask, settings: WorkerSettings) -> Original:
    """The image of a task. Raises `RunFolderError` if it is not the one that was inspected."""
    pixels = read_image(task.image.path, settings.exif)
    if hash_pixels(pixels) != task.pixels_sha256:
        raise RunFolderError(f"{task.image.path} changed while it was being evaluated: run the command again")
    return Original(task.pixels_sha256, pixels)


def _load(state: WorkerState, task: ImageTask, seconds: Seconds) -> Original:
    """The task's image; it is kept for the tasks that follow."""
    begin = time.perf_counter()
    state.shelf.turn_to(task.group)
    if state.original is None or state.original.sha256 != task.pixels_sha256:
        state.original = None  # not two images at a time
        state.original = read_original(task, state.settings)
    state.encoded = None
    seconds.read += time.perf_counter() - begin
    return state.original


# ---- one cell


def _decode_cell(
    state: WorkerState, original: Original, task: ImageTask, work: CellWork, seconds: Seconds
) -> CellResult | Pending:
    row = task.blank_row(work, state.settings)
    try:
        codec = state.shelf.take(work.point, seconds)
        if work.known is not None:
            again = _decode_known(state, original, codec, work, seconds)
            if again is not None:
                return Pending(work, None, again, work.metrics, replaces=True)
        file = _encode(state, original, codec, work, seconds)
        begin = time.perf_counter()
        reconstruction = codec.decode(file.data)
        decode_s = time.perf_counter() - begin
        seconds.decode += decode_s
        check_reconstruction(reconstruction, original.pixels)
        row.update(estimates_of(codec, file.data))
        fill_row(row, state.settings, codec, file, reconstruction, decode_s)
    except RunFolderError:
        raise
    except Exception as error:  # noqa: BLE001 - any failure of a codec is a failed row, whatever library it came from
        return failed_cell(task, work, state.settings, error)
    metrics = work.metrics if work.known is None else tuple(state.settings.columns)
    return Pending(work, row, reconstruction, metrics, work.replaces or work.known is not None)


def failed_cell(task: ImageTask, work: CellWork, settings: WorkerSettings, error: BaseException) -> CellResult:
    """A row that says why there is no other."""
    row = {**task.blank_row(work, settings), "status": FAILED, "message": describe_error(error)}
    return CellResult(work, row, {}, work.replaces)


def _encode(state: WorkerState, original: Original, codec: Codec, work: CellWork, seconds: Seconds) -> Encoded:
    """The file and the time it took; points that share an encoder share both, and it is encoded once."""
    if state.encoded is not None and state.encoded[0] == codec.encoder_id:
        return state.encoded[1]
    file = kept_file(state.settings, work)
    if file is None:
        begin = time.perf_counter()
        data = codec.encode(original.pixels)
        encode_s = time.perf_counter() - begin
        seconds.encode += encode_s
        file = Encoded(data, encode_s, codec.device, codec.version, state.settings.contended)
    state.encoded = (codec.encoder_id, file)
    return file


def _decode_known(
    state: WorkerState, original: Original, codec: Codec, work: CellWork, seconds: Seconds
) -> Pixels | None:
    """The reconstruction of a row that stands: from its kept file, else encoded again.

    None if file or reconstruction are not those of the row any more, so that the whole row must be redone.
    """
    known = work.known
    if known is None:
        return None
    data = kept_bytes(state.settings, known.file_sha256)
    if data is None:
        data = _encode(state, original, codec, work, seconds).data
        if hash_bytes(data) != known.file_sha256:
            return None
    begin = time.perf_counter()
    reconstruction = codec.decode(data)
    seconds.decode += time.perf_counter() - begin
    return reconstruction if hash_pixels(reconstruction) == known.reconstruction_sha256 else None
