"""The codecs of a batch task, and the calls to them: batches cut to size, locked, timed, and retried one by one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rdp.codecs import Codec, OperatingPoint
from rdp.errors import CodecError
from rdp.evaluation.cells import CodecShelf, Encoded, check_reconstruction, estimates_of
from rdp.evaluation.scoring import Original
from rdp.evaluation.spans import Span, Spans
from rdp.evaluation.tasks import CellWork, ImageTask, Seconds, WorkerSettings

if TYPE_CHECKING:
    import numpy as np

    Pixels = np.ndarray[Any, Any]


@dataclass
class Cell:
    """A cell on its way through the stages of a worker that codes in batches.

    `place` is that of its image in the task. `fresh` says that its file was made or found for it, and is not the one
    that its known row names. An `error` makes it a failed row.
    """

    place: int
    task: ImageTask
    work: CellWork
    original: Original
    file: Encoded | None = None
    fresh: bool = True
    reconstruction: Pixels | None = None
    decoding: Span = field(default_factory=Span)
    estimates: dict[str, float] = field(default_factory=dict)
    error: Exception | None = None

    @property
    def point(self) -> str:
        return self.work.point.name


class Coders:
    """Codecs in threads: one encodes and one decodes at a time, and a codec does both at once only if it can."""

    def __init__(
        self, shelf: CodecShelf, points: Iterable[OperatingPoint], settings: WorkerSettings, seconds: Seconds
    ) -> None:
        """Make the codecs of some points; one that cannot be made fails when it is used."""
        self.spans = Spans()
        self._settings = settings
        self._seconds = seconds
        self._codecs: dict[str, Codec | Exception] = {}
        for point in points:
            if point.name not in self._codecs:
                self._codecs[point.name] = _made(shelf, point, seconds)
        # One encoder at a time also because libx265 has tables that are global to a process.
        self._encoding, self._decoding, self._counting = threading.Lock(), threading.Lock(), threading.Lock()
        self._using = {name: threading.Lock() for name in self._codecs}

    def codec(self, name: str) -> Codec:
        """The codec of a point. Raises what its construction raised."""
        found = self._codecs[name]
        if isinstance(found, Exception):
            raise found
        return found

    def batch(self, names: Iterable[str], height: int, width: int) -> tuple[Hashable, int]:
        """What images must have in common to go together at some points, and how many of them are wanted at most.

        (None, 1) where no codec wants more than one.
        """
        keys: list[Hashable] = []
        most = 1
        for name in names:
            codec = self._codecs[name]
            if isinstance(codec, Codec) and (wanted := codec.preferred_batch(height, width)) > 1:
                keys.append((name, codec.batch_key(height, width)))
                most = max(most, wanted)
        return (tuple(keys), most) if keys else (None, 1)

    def encode(self, cells: Sequence[Cell]) -> None:
        """Give cells of one point, whose images go together, their files or errors."""
        self._in_batches(cells, self._encode_part)

    def decode(self, cells: Sequence[Cell]) -> None:
        """Give cells of one point, whose images go together, their reconstructions or errors."""
        self._in_batches(cells, self._decode_part)

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        """Keep other threads from a codec, unless it bears them."""
        if self.codec(name).concurrent:
            yield
        else:
            with self._using[name]:
                yield

    def _in_batches(self, cells: Sequence[Cell], act: Callable[[Codec, Sequence[Cell]], None]) -> None:
        while cells:
            try:
                codec = self.codec(cells[0].point)
                size = max(1, codec.preferred_batch(cells[0].task.height, cells[0].task.width))
            except Exception as error:  # noqa: BLE001 - any failure of a codec is a failed row, as below
                for cell in cells:
                    cell.error = error
                return
            self._attempt(codec, cells[:size], act)
            cells = cells[size:]

    def _attempt(self, codec: Codec, cells: Sequence[Cell], act: Callable[[Codec, Sequence[Cell]], None]) -> None:
        """Act on cells together; where that fails, on each alone, so that one cannot spoil the others."""
        try:
            act(codec, cells)
        except Exception as error:  # noqa: BLE001 - any failure of a codec is a failed row, whatever library it came from
            if len(cells) == 1:
                cells[0].error = error
                return
            for cell in cells:
                self._attempt(codec, [cell], act)

    def _encode_part(self, codec: Codec, cells: Sequence[Cell]) -> None:
        with self._encoding, self._alone(cells[0].point), self.spans.span() as span:
            files = codec.encode_batch([cell.original.pixels for cell in cells])
        self.count("encode", span)
        _check_count(codec, len(files), len(cells))
        contended = self._settings.contended or span.contended
        for cell, data in zip(cells, files, strict=True):
            cell.file = Encoded(data, span.seconds / len(cells), codec.device, codec.version, contended)

    def _decode_part(self, codec: Codec, cells: Sequence[Cell]) -> None:
        files = [cell.file.data for cell in cells if cell.file is not None]
        with self._decoding, self._alone(cells[0].point):
            with self.spans.span() as span:
                pictures = codec.decode_batch(files)
            _check_count(codec, len(pictures), len(cells))
            # At once: a codec may remember of a file what it has just decoded.
            for cell, data in zip(cells, files, strict=True):
                if cell.work.known is None or cell.fresh:
                    cell.estimates = estimates_of(codec, data)
        self.count("decode", span)
        for cell, picture in zip(cells, pictures, strict=True):
            cell.reconstruction = picture
            cell.decoding = Span(span.seconds / len(cells), span.contended)
            try:
                check_reconstruction(picture, cell.original.pixels)
            except CodecError as error:
                cell.error = error

    def count(self, stage: str, span: Span) -> None:
        """Add to the seconds of a stage, from whichever thread."""
        with self._counting:
            setattr(self._seconds, stage, getattr(self._seconds, stage) + span.seconds)


def _made(shelf: CodecShelf, point: OperatingPoint, seconds: Seconds) -> Codec | Exception:
    try:
        return shelf.take(point, seconds)
    except Exception as error:  # noqa: BLE001 - any failure of a codec is a failed row, whatever library it came from
        return error


def _check_count(codec: Codec, found: int, wanted: int) -> None:
    if found != wanted:
        raise CodecError(f"{codec.family} gave {found} results for a batch of {wanted}")
