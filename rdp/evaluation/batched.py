"""A worker that codes in batches, its stages overlapping in threads: one such process serves a GPU.

Four stages run at the same time, each on steps: the images of one chunk at one operating point.

    read (two threads)   the images of the next chunk, hashed
    encode               a step, its images in batches as large as its codec likes
    decode               the step before, and what the codec estimates of its files
    finish               the step before that: hashes, kept files; scores when a chunk is through

Memory: the originals of five chunks at most (one read ahead, three in flight, one being scored), the reconstructions of
two steps, and those that wait to be scored, `WAITING_PIXELS` together. A chunk is as many images of one padded size as
the hungriest codec of the task wants at once, one image where none wants more.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rdp.errors import RunFolderError
from rdp.evaluation.cells import CodecShelf, Encoded, fill_row, kept_bytes, kept_file
from rdp.evaluation.coders import Cell, Coders
from rdp.evaluation.scoring import Original, Pending, Scorer
from rdp.evaluation.tasks import BatchResult, BatchTask, CellResult, ImageTask, Seconds, WorkerSettings
from rdp.evaluation.worker import WAITING_PIXELS, failed_cell, read_original, ready_scorer, worker_state
from rdp.images import hash_bytes, hash_pixels

if TYPE_CHECKING:
    import numpy as np

    Pixels = np.ndarray[Any, Any]

BATCH_TASK_S = 8.0
"""A task ends after the step in which so much time has passed. Longer than for a worker that does one thing at a time:
the stages run empty at the end of a task."""

_IN_FLIGHT = 3
_READERS = 2


@dataclass
class Chunk:
    """Images that go through together: their places in the task, and what is known of them so far.

    `files` holds the last file of each image with its encoder, since points that share an encoder follow each other.
    """

    places: tuple[int, ...]
    reading: dict[int, Future[Original]] = field(default_factory=dict)
    files: dict[int, tuple[str, Encoded]] = field(default_factory=dict)
    pending: dict[int, list[Pending]] = field(default_factory=dict)
    waiting: int = 0


def work_on_batch(task: BatchTask) -> BatchResult:
    """Do the cells of a task, chunk by chunk and point by point, until `BATCH_TASK_S` have passed.

    A batch in which something fails is done again one image at a time, so that a failed row is that of one image. A
    run folder that cannot be written, or an image that has changed since it was inspected, ends the task with an
    `RdpError`.
    """
    state = worker_state()
    seconds = Seconds()
    state.shelf.turn_to(task.images[0].group)
    with _steady(state.settings.device):
        return _BatchWork(task, state.settings, state.shelf, ready_scorer(state, seconds), seconds).run()


@contextmanager
def _steady(device: str) -> Iterator[None]:
    """On a GPU, true float32 and deterministic algorithms for all stages.

    Codecs and metrics ask for the same around their own calls, but these settings belong to the process, and what one
    thread restores another may be relying on.
    """
    if device == "cpu":
        yield
        return
    import torch

    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield


class _BatchWork:
    """One task on its way through the stages. Each stage runs in a thread of its own and hands cells on to the next."""

    def __init__(
        self, task: BatchTask, settings: WorkerSettings, shelf: CodecShelf, scorer: Scorer, seconds: Seconds
    ) -> None:
        self._images = task.images
        self._order = task.order
        self._settings = settings
        self._scorer = scorer
        self._seconds = seconds
        self._coders = Coders(shelf, [work.point for image in task.images for work in image.cells], settings, seconds)
        self._room = threading.Semaphore(_IN_FLIGHT)
        self._results: list[CellResult] = []
        self._done = [0] * len(task.images)

    def run(self) -> BatchResult:
        """All steps, or those that there is time for."""
        begin = time.perf_counter()
        started = False
        ends: deque[Future[None]] = deque()
        with (
            ThreadPoolExecutor(_READERS, "read") as reader,
            ThreadPoolExecutor(1, "decode") as decoder,
            ThreadPoolExecutor(1, "finish") as finisher,
        ):
            chunks = self._chunks()
            self._read(reader, chunks[0])
            for chunk, following in zip(chunks, [*chunks[1:], None], strict=True):
                if following is not None:
                    self._read(reader, following)
                for cells in self._steps(chunk):
                    if started and time.perf_counter() - begin > BATCH_TASK_S and not _shares_file(chunk, cells):
                        break
                    started = True
                    self._room.acquire()
                    _raise_failures(ends)
                    self._encode(chunk, cells)
                    decoding = decoder.submit(self._decode, cells)
                    ends.append(finisher.submit(self._finish, chunk, cells, decoding))
                ends.append(finisher.submit(self._close, chunk))
                if time.perf_counter() - begin > BATCH_TASK_S:
                    break
        _raise_failures(ends)
        self._seconds.total = self._seconds.start + time.perf_counter() - begin
        return BatchResult(tuple(self._results), tuple(self._done), self._seconds)

    # ---- what goes together

    def _chunks(self) -> list[Chunk]:
        """The images in their order, those together that every codec of theirs can take together."""
        groups: dict[Hashable, list[int]] = {}
        most: dict[Hashable, int] = {}
        for place, image in enumerate(self._images):
            names = [work.point.name for work in image.cells]
            key, count = self._coders.batch(names, image.height, image.width)
            key = key if count > 1 else place
            groups.setdefault(key, []).append(place)
            most[key] = max(most.get(key, 1), count)
        return [
            Chunk(tuple(places[first : first + most[key]]))
            for key, places in groups.items()
            for first in range(0, len(places), most[key])
        ]

    def _steps(self, chunk: Chunk) -> Iterator[list[Cell]]:
        """The cells of a chunk, point by point."""
        works = {place: {work.point.name: work for work in self._images[place].cells} for place in chunk.places}
        for name in self._order:
            cells = [
                Cell(place, self._images[place], works[place][name], chunk.reading[place].result())
                for place in chunk.places
                if name in works[place]
            ]
            if cells:
                yield cells

    # ---- the stages

    def _read(self, reader: ThreadPoolExecutor, chunk: Chunk) -> None:
        for place in chunk.places:
            chunk.reading[place] = reader.submit(self._read_one, self._images[place])

    def _read_one(self, image: ImageTask) -> Original:
        with self._coders.spans.span() as span:
            original = read_original(image, self._settings)
        self._coders.count("read", span)
        return original

    def _encode(self, chunk: Chunk, cells: Sequence[Cell]) -> None:
        for cell in cells:
            try:
                self._take_file(chunk, cell)
            except OSError as error:
                cell.error = error
        self._coders.encode([cell for cell in cells if cell.file is None and cell.error is None])
        for cell in cells:
            if cell.file is not None and cell.fresh:
                chunk.files[cell.place] = (cell.work.encoder_id, cell.file)

    def _take_file(self, chunk: Chunk, cell: Cell) -> None:
        """Give a cell its file where it is at hand: that of its known row, of the point before, or of another row."""
        work = cell.work
        if work.known is not None:
            data = kept_bytes(self._settings, work.known.file_sha256)
            if data is not None:
                cell.file, cell.fresh = Encoded(data, 0.0, "", "", False), False
                return
        encoder, file = chunk.files.get(cell.place, ("", None))
        cell.file = file if encoder == work.encoder_id else kept_file(self._settings, work)

    def _decode(self, cells: Sequence[Cell]) -> None:
        self._coders.decode([cell for cell in cells if cell.error is None])

    def _finish(self, chunk: Chunk, cells: Sequence[Cell], decoding: Future[None]) -> None:
        try:
            decoding.result()
            for cell in cells:
                self._finish_cell(chunk, cell)
                self._done[cell.place] += 1
            if chunk.waiting >= 3 * WAITING_PIXELS:
                self._score(chunk)
        finally:
            self._room.release()

    def _finish_cell(self, chunk: Chunk, cell: Cell) -> None:
        """From a decoded cell to one that waits to be scored, or a failed row."""
        work = cell.work
        if work.known is not None and cell.error is None:
            if self._is_known(cell):
                self._wait(chunk, cell, Pending(work, None, _picture(cell), work.metrics, replaces=True))
                return
            if not cell.fresh:
                # The file is the row's and the picture is not: everything is done again.
                cell.file, cell.reconstruction, cell.fresh = None, None, True
                self._coders.encode([cell])
                if cell.error is None:
                    self._coders.decode([cell])
        try:
            row = self._row(cell)
        except RunFolderError:
            raise
        except Exception as error:  # noqa: BLE001 - any failure of a codec is a failed row, whatever library it came from
            self._results.append(failed_cell(cell.task, work, self._settings, error))
            return
        metrics = work.metrics if work.known is None else tuple(self._settings.columns)
        replaces = work.replaces or work.known is not None
        self._wait(chunk, cell, Pending(work, row, _picture(cell), metrics, replaces))

    def _is_known(self, cell: Cell) -> bool:
        """Whether file and reconstruction are those of the row that stands."""
        known = cell.work.known
        if known is None or cell.file is None or hash_bytes(cell.file.data) != known.file_sha256:
            return False
        return hash_pixels(_picture(cell)) == known.reconstruction_sha256

    def _row(self, cell: Cell) -> dict[str, Any]:
        if cell.error is not None:
            raise cell.error
        if cell.file is None:
            raise RuntimeError("a cell was decoded without a file")
        row = cell.task.blank_row(cell.work, self._settings)
        row["contended"] = row["contended"] or cell.decoding.contended
        row.update(cell.estimates)
        codec = self._coders.codec(cell.point)
        with self._coders.spans.span():
            fill_row(row, self._settings, codec, cell.file, _picture(cell), cell.decoding.seconds)
        return row

    def _wait(self, chunk: Chunk, cell: Cell, pending: Pending) -> None:
        chunk.pending.setdefault(cell.place, []).append(pending)
        chunk.waiting += pending.reconstruction.size

    def _score(self, chunk: Chunk) -> None:
        for place, pending in chunk.pending.items():
            with self._coders.spans.span():
                original = chunk.reading[place].result()
                scored = self._scorer.score(original, self._images[place], pending, self._seconds)
            self._results.extend(scored.values())
        chunk.pending, chunk.waiting = {}, 0

    def _close(self, chunk: Chunk) -> None:
        """Score what waits, and let go of the images."""
        self._score(chunk)
        chunk.reading, chunk.files = {}, {}


def _shares_file(chunk: Chunk, cells: Sequence[Cell]) -> bool:
    """Whether a file of the step before serves this one too."""
    return any(chunk.files.get(cell.place, ("",))[0] == cell.work.encoder_id for cell in cells)


def _picture(cell: Cell) -> Pixels:
    if cell.reconstruction is None:
        raise RuntimeError("a cell was scored without a picture")
    return cell.reconstruction


def _raise_failures(ends: deque[Future[None]]) -> None:
    """Raise what a finished stage raised, the first first; forget those that are well."""
    while ends and ends[0].done():
        ends.popleft().result()
