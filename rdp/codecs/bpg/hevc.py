"""HEVC through PyAV: libx265 codes planes, FFmpeg decodes them. One thread, the same bytes on every call.

libx265 keeps its rate-distortion tables (`lambda-file`) in variables of the process. They are therefore given on every
call, and calls are made one at a time (`_LOCK`): encodes with different tables may alternate in one process. Whoever
else uses PyAV's copy of libx265 in the process, outside this module, meets the tables of our last call.

Logging: libx265 is told to be silent on each call. FFmpeg's messages go where PyAV's process-wide log level sends
them, which is nowhere unless somebody called `av.logging.set_level`; it is left as it is.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from rdp.errors import CodecError, DependencyError, FormatError

Plane = np.ndarray[Any, Any]

INSTALL = "pip install 'av>=15'"
# Asking for a version that is there already changes nothing: what lacks a codec was not the binary wheel.
REINSTALL = "reinstall the binary wheel, which has it: pip install --force-reinstall --only-binary av 'av>=15'"
MIN_SIDE = 16  # the smallest side that FFmpeg gives to libx265

_LOCK = threading.Lock()
_QP_COUNT = 70
_PIXEL_FORMATS = {"gray": "gray", "420": "yuv420p", "422": "yuv422p", "444": "yuv444p"}
_DAMAGE = "explode+crccheck+bitstream+buffer"

# One intra picture without anything around it; the partitions that the reference encoder allows. What the level says
# (narrow pictures exceed it) does not matter: a BPG file holds no level.
_FIXED = (
    "keyint=1:info=0:hash=0:repeat-headers=1:annexb=1:aud=0:hrd=0:amp=1:rect=1:frame-threads=1:lookahead-slices=0"
    ":allow-non-conformance=1:log-level=none"
)
_TUNE = "ssim"


@dataclass(frozen=True)
class Mode:
    """How libx265 stands in for one of the reference encoders.

    `lambda2_factor` is f in lambda2 = f * lambda^2, with lambda = 2^(qp/6 - 2) * 2^(depth - 8); `params` are
    x265-params. Without `wpp` written out, its value would follow the number of threads, and the bytes with it.
    """

    lambda2_factor: float
    params: str

    def tables(self, depth: int) -> str:
        """The two tables of a lambda file, lambda and then lambda2, one value a line."""
        lambdas = [2 ** (qp / 6 - 2 + depth - 8) for qp in range(_QP_COUNT)]
        values = [*lambdas, *(self.lambda2_factor * value * value for value in lambdas)]
        return "".join(f"{value:.6f}\n" for value in values)


MODES = {
    "x265": Mode(0.85, "wpp=1"),
    "hm": Mode(0.57, "ipratio=1:wpp=0"),
}


@dataclass(frozen=True)
class Coding:
    """Everything that libx265 is told beside the samples."""

    qp: int
    mode: str
    preset: str
    chroma: str
    depth: int
    min_block: int

    def params(self, threads: int) -> str:
        """x265-params, without the lambda file."""
        mode = MODES[self.mode]
        return f"{_FIXED}:qp={self.qp}:min-cu-size={self.min_block}:pools={threads}:{mode.params}"


def fixed_settings(mode: str) -> dict[str, Any]:
    """What libx265 is told at every operating point of a mode: it belongs to the identity of the encoder."""
    return {"tune": _TUNE, "x265-params": f"{_FIXED}:{MODES[mode].params}", "lambda2": MODES[mode].lambda2_factor}


def require_decoder() -> None:
    """Raise `DependencyError`, saying what to install, unless PyAV is there with an HEVC decoder."""
    try:
        import av
    except ImportError as error:
        raise DependencyError(f"bpg needs PyAV: {INSTALL}") from error
    if "hevc" not in av.codecs_available:
        raise DependencyError(f"bpg: this PyAV {av.__version__} has no HEVC decoder: {REINSTALL}")


def require_encoder() -> None:
    """Raise `DependencyError`, saying what to install, unless the PyAV that is there has libx265."""
    import av

    if "libx265" not in av.codecs_available:
        raise DependencyError(
            f"bpg: this PyAV {av.__version__} was built without libx265, which encodes (decoding works): {REINSTALL}"
        )


def _pixel_format(chroma: str, depth: int) -> str:
    return _PIXEL_FORMATS[chroma] + (f"{depth}le" if depth > 8 else "")


def _samples(plane: Any, depth: int) -> Plane:
    """The memory of a plane of PyAV as an array (rows, samples with padding)."""
    dtype = np.dtype(np.uint8 if depth == 8 else "<u2")
    values = np.frombuffer(plane, dtype)
    return values.reshape(-1, plane.line_size // dtype.itemsize)


def encode_planes(planes: Sequence[Plane], coding: Coding, threads: int = 1) -> bytes:
    """The byte stream (annex B: VPS, SPS, PPS, one IDR picture) of planes.

    Luma has sides that are a multiple of `coding.min_block` and at least `MIN_SIDE`. The bytes do not depend on
    `threads`. Raises `CodecError` with libx265's refusal.
    """
    height, width = planes[0].shape
    frame = _new_frame(planes, coding, width, height)
    with _LOCK, tempfile.TemporaryDirectory(prefix="rdp-bpg-") as folder:
        tables = Path(folder, "lambda.txt")
        tables.write_text(MODES[coding.mode].tables(coding.depth), encoding="ascii")
        params = f"{coding.params(threads)}:lambda-file={_escape(str(tables))}"
        return _run_encoder(frame, width, height, coding.preset, params)


def _escape(path: str) -> str:
    """A path as FFmpeg's option lists take it."""
    return "".join("\\" + character if character in "\\:='" else character for character in path)


def _new_frame(planes: Sequence[Plane], coding: Coding, width: int, height: int) -> Any:
    import av

    frame = av.VideoFrame(width, height, _pixel_format(coding.chroma, coding.depth))
    for source, target in zip(planes, frame.planes, strict=True):
        _samples(target, coding.depth)[: source.shape[0], : source.shape[1]] = source
    return frame


def _run_encoder(frame: Any, width: int, height: int, preset: str, params: str) -> bytes:
    import av

    context = av.CodecContext.create("libx265", "w")
    context.width, context.height, context.pix_fmt = width, height, frame.format.name
    context.framerate = Fraction(25)
    context.thread_count = 1
    context.options = {"preset": preset, "tune": _TUNE, "x265-params": params}
    try:
        packets = [*context.encode(frame), *context.encode(None)]
    except av.FFmpegError as error:
        raise CodecError(f"libx265 refuses a picture of {width}x{height}: {error}") from error
    return b"".join(bytes(packet) for packet in packets)


def versions() -> str:
    """`PyAV 18.1.0, x265 4.2+1-e444744`: what determines the bytes; `no x265` where this PyAV only decodes."""
    import av

    x265 = f"x265 {_x265_version()}" if "libx265" in av.codecs_available else "no x265"
    return f"PyAV {av.__version__}, {x265}"


@cache
def _x265_version() -> str:
    """libx265 says its version in a file only: one is encoded."""
    import re

    import av

    frame = av.VideoFrame(MIN_SIDE, MIN_SIDE, "yuv420p")
    for plane in frame.planes:
        _samples(plane, 8)[...] = 128
    params = "info=1:keyint=1:log-level=none:pools=none:frame-threads=1:min-cu-size=16"
    with _LOCK:
        stream = _run_encoder(frame, MIN_SIDE, MIN_SIDE, "ultrafast", params)
    found = re.search(rb"x265 \(build \d+\) - ([^:]+):", stream)
    return found.group(1).decode("ascii", "replace") if found else "unknown"


def decode_stream(stream: bytes, chroma: str, depth: int, size: tuple[int, int], threads: int = 1) -> list[Plane]:
    """The planes (uint8, or uint16 above 8 bits) of a byte stream that holds one picture of (height, width) `size`.

    Raises `FormatError` for a stream that FFmpeg finds damaged, or that holds another picture than was announced.
    """
    import av

    context = av.CodecContext.create("hevc", "r")
    context.thread_count = threads
    context.options = {"err_detect": _DAMAGE}
    try:
        frames: list[Any] = [*context.decode(av.Packet(stream)), *context.decode(None)]
    except av.FFmpegError as error:
        raise FormatError(f"the picture data of the BPG file is damaged ({error.strerror})") from error
    if len(frames) != 1 or frames[0].is_corrupt:
        raise FormatError("the picture data of the BPG file is damaged: no whole picture comes out")
    frame = frames[0]
    if (frame.height, frame.width) != size or frame.format.name != _pixel_format(chroma, depth):
        raise FormatError(
            f"the BPG file announces {size[1]}x{size[0]} {_pixel_format(chroma, depth)} "
            f"and holds {frame.width}x{frame.height} {frame.format.name}"
        )
    return [_samples(plane, depth)[:, : plane.width] for plane in frame.planes]
