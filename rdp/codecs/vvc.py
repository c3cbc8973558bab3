"""VVC (H.266) still pictures: libvvenc in imageio-ffmpeg's program encodes, FFmpeg's own decoder in PyAV decodes.

The file is an Annex B stream of one intra picture, Main 10 Still Picture profile, which any VVC decoder plays. Its
first NAL unit is of an unspecified type, which decoders skip (H.266, table 5: types 28..31 are for applications): it
holds the true width and height, for 4:2:0 has none but even ones, and the length of the rest, so that a cut file is
refused. These 12 to 18 bytes count.

Colours are converted here: sRGB to Y'CbCr with the BT.601 matrix, full range, rounded; chroma is the mean of 2x2 pixels
(sited at their centre) and is interpolated bilinearly. Matrix, range, siting and sRGB stand in the stream's VUI.
BT.601 is 0.1 to 0.2 dB (RGB PSNR) better than BT.709 on photographs; libvvenc codes 4:2:0 only.
"""

from __future__ import annotations

import re
import subprocess
from functools import cached_property
from typing import TYPE_CHECKING, Any

from rdp.codecs.base import Codec, OperatingPoint
from rdp.codecs.keys import Key
from rdp.errors import CodecError, DependencyError, FormatError

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_TIMEOUT_S = 3600.0
_START_TIMEOUT_S = 60.0
_MESSAGE_LENGTH = 500
_MIN_SIDE = 16  # libvvenc refuses 8x8; what it takes below 16 depends on both sides
_MAX_SIDE, _MAX_SAMPLES = 25328, 80_216_064  # level 6.3, the highest; libvvenc goes on beyond, decoders refuse
_MAGIC = b"\x00\x00\x00\x01\x00\xe1"  # a start code and the header of a NAL unit of type 28, UNSPEC_28

# One picture, intra; the slice has the QP asked for (libvvenc takes 3 off an intra picture's otherwise).
_PARAMETERS = (
    "profile=main_10_still_picture:intraperiod=1:gopsize=1:poc0idr=1:intraqpoffset=0:hrdparameterspresent=0"
    ":range=full:chromalocinfopresent=1:chromasampleloctype=1"
)
_COLOURS = ("-colorspace", "smpte170m", "-color_primaries", "bt709", "-color_trc", "iec61966-2-1")

_KR, _KB = 0.299, 0.114
_KG = 1 - _KR - _KB


class Vvc(Codec):
    """One thread, no perceptual QP adaptation (`qpa=0`): the file depends on the image and the keys alone."""

    family = "vvc"
    summary = "VVC still picture (libvvenc), 4:2:0, one thread"
    keys = (
        Key("qp", "integer", "quantisation parameter", default=32, minimum=0, maximum=63),
        Key(
            "preset",
            "choice",
            "libvvenc's effort, slower is slowest",
            default="medium",
            choices=("faster", "fast", "medium", "slow", "slower"),
        ),
        Key("depth", "choice", "bits a sample inside the codec", default="10", choices=("8", "10")),
    )

    def __init__(self, point: OperatingPoint) -> None:
        super().__init__(point)
        try:
            import av.codec
        except ImportError as error:
            raise DependencyError(
                f"vvc needs PyAV, and imageio-ffmpeg to encode: pip install 'av>=15' 'imageio-ffmpeg>=0.6' ({error})"
            ) from error
        if "vvc" not in av.codec.codecs_available:
            raise DependencyError(
                "vvc: this PyAV has no VVC decoder: reinstall the binary wheel, which has it: "
                "pip install --force-reinstall --only-binary av 'av>=15'"
            )
        self._depth = int(str(point.get("depth")))
        self._parameters = f"{_PARAMETERS}:internalbitdepth={self._depth}"
        self._version: str | None = None

    @cached_property
    def _program(self) -> str:
        """The ffmpeg program that encodes. Raises `DependencyError` if there is none with libvvenc."""
        try:
            import imageio_ffmpeg
        except ImportError as error:
            raise DependencyError(
                f"vvc needs imageio-ffmpeg to encode (decoding works): pip install 'imageio-ffmpeg>=0.6' ({error})"
            ) from error
        try:
            program: str = imageio_ffmpeg.get_ffmpeg_exe()
        except RuntimeError as error:
            raise DependencyError(f"vvc: imageio-ffmpeg finds no ffmpeg program: {error}") from error
        try:
            said = _run([program, "-hide_banner", "-h", "encoder=libvvenc"], b"", _START_TIMEOUT_S).stdout
        except CodecError as error:
            raise DependencyError(
                f"{error}; name an ffmpeg that has libvvenc in the variable IMAGEIO_FFMPEG_EXE"
            ) from error
        if b"Encoder libvvenc" not in said:
            raise DependencyError(
                f"vvc: {program} was built without libvvenc; pip install a newer imageio-ffmpeg, or name an "
                "ffmpeg that has it in the variable IMAGEIO_FFMPEG_EXE"
            )
        return program

    def require_encoder(self) -> None:
        _ = self._program

    def _identity(self) -> Any:
        return [self._parameters, *_COLOURS]

    @property
    def version(self) -> str:
        """What encodes; what decodes where there is no encoder."""
        if self._version is None:
            try:
                self.require_encoder()
            except DependencyError:  # `require_encoder` tells it to whoever means to encode
                import av

                return f"PyAV {av.__version__}, no libvvenc"
            # The program names its libvvenc only while it encodes.
            samples = bytes(2 * (_MIN_SIDE**2 + 2 * (_MIN_SIDE // 2) ** 2))
            words = _run(self._command(_MIN_SIDE, _MIN_SIDE, "info"), samples).stderr.decode(errors="replace")
            found = re.search(r"libvvenc version: (\S+)", words)
            program = _run([self._program, "-version"], b"").stdout.decode(errors="replace").split()
            self._version = f"ffmpeg {program[2]}, libvvenc {found[1] if found else 'unknown'}"
        return self._version

    def _command(self, width: int, height: int, log: str) -> list[str]:
        samples = ["-f", "rawvideo", "-pix_fmt", "yuv420p10le", "-s", f"{width}x{height}", "-r", "1"]
        encoder = ["-c:v", "libvvenc", "-preset", str(self.point.get("preset")), "-qp", str(self.point.integer("qp"))]
        settings = ["-qpa", "0", "-threads", "1", "-vvenc-params", self._parameters]
        start = [self._program, "-hide_banner", "-loglevel", log]
        source = [*samples, *_COLOURS, "-i", "pipe:0"]
        return [*start, *source, "-frames:v", "1", *encoder, *settings, "-f", "vvc", "pipe:1"]

    def encode(self, image: np.ndarray[Any, Any]) -> bytes:
        height, width = image.shape[:2]
        if not 0 < height * width <= _MAX_SAMPLES or max(height, width) > _MAX_SIDE:
            raise CodecError(
                f"{self.point.name} cannot encode an image of {width}x{height}: VVC takes sides of 1 to {_MAX_SIDE} "
                f"and at most {_MAX_SAMPLES} pixels"
            )
        planes = _to_planes(_pad(image), self._depth)
        # libvvenc takes 10-bit samples at any depth; to code 8 bits it shifts them back, exactly.
        samples = b"".join((plane << (10 - self._depth)).astype("<u2").tobytes() for plane in planes)
        done = _run(self._command(planes[0].shape[1], planes[0].shape[0], "error"), samples)
        if done.returncode or not done.stdout:
            words = " ".join(done.stderr.decode(errors="replace").split())[:_MESSAGE_LENGTH]
            raise CodecError(f"{self.point.name} cannot encode an image of {width}x{height}: {words or 'no output'}")
        size = b"".join(_number(value) for value in (width, height, len(done.stdout)))
        return _MAGIC + size + b"\x80" + done.stdout

    def decode(self, data: bytes) -> np.ndarray[Any, Any]:
        width, height, stream = _read_size(data)
        planes = _decode_stream(stream)
        if planes[0].shape != _padded(height, width):
            raise FormatError(f"not a valid vvc file: its size is {width}x{height}, but its picture has another")
        return _to_rgb(planes)[:height, :width].copy()


def _run(command: list[str], data: bytes, timeout_s: float = _TIMEOUT_S) -> subprocess.CompletedProcess[bytes]:
    """A finished command, fed with `data`; over its time it is killed."""
    try:
        return subprocess.run(command, input=data, capture_output=True, timeout=timeout_s, check=False)
    except OSError as error:
        raise CodecError(f"vvc: cannot start {command[0]}: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise CodecError(f"vvc: {command[0]} ran over its {timeout_s:g} s and was killed") from error


def _number(value: int) -> bytes:
    """A positive number in groups of 7 bits, most significant first, the top bit set on all but the last (no 00 00)."""
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(0x80 | value & 0x7F)
    return bytes(reversed(groups))


def _read_size(data: bytes) -> tuple[int, int, bytes]:
    """Width, height and the stream that follows the first NAL unit."""
    if not data.startswith(_MAGIC):
        raise FormatError("not a vvc file of this codec: it does not begin with the unit that holds its size")
    head, value, at = data[: len(_MAGIC) + 16], 0, len(_MAGIC)
    numbers: list[int] = []
    while at < len(head) and len(numbers) < 3:
        value = value << 7 | head[at] & 0x7F
        if head[at] < 0x80:
            numbers.append(value)
            value = 0
        at += 1
    if len(numbers) < 3 or 0 in numbers or head[at : at + 1] != b"\x80":
        raise FormatError("not a valid vvc file: the unit that holds its size is damaged")
    stream = data[at + 1 :]
    if len(stream) != numbers[2]:
        raise FormatError(f"not a valid vvc file: {len(stream)} bytes of picture data, not {numbers[2]}")
    return numbers[0], numbers[1], stream


def _decode_stream(stream: bytes) -> list[Array]:
    """The Y, Cb and Cr planes of the one picture in an Annex B stream."""
    import av
    import numpy as np

    decoder = av.CodecContext.create("vvc", "r")
    decoder.thread_count = 1
    frames: list[Any] = []
    try:
        for packet in [*decoder.parse(stream), *decoder.parse(b""), None]:
            frames += decoder.decode(packet)
    except (av.FFmpegError, ValueError) as error:
        raise FormatError(f"not a valid vvc file: {error}") from error
    if len(frames) != 1:
        raise FormatError(f"not a valid vvc file: it holds {len(frames)} pictures, not one")
    kinds: dict[str, np.dtype[Any]] = {"yuv420p": np.dtype("u1"), "yuv420p10le": np.dtype("<u2")}
    kind = kinds.get(frames[0].format.name)
    if kind is None:
        raise FormatError(f"not a vvc file of this codec: its samples are {frames[0].format.name}")
    planes: list[Array] = []
    for plane in frames[0].planes:
        rows: Array = np.frombuffer(plane, kind).reshape(plane.height, plane.line_size // kind.itemsize)
        planes.append(rows[:, : plane.width])
    return planes


def _padded(height: int, width: int) -> tuple[int, int]:
    """Sides that libvvenc takes: even, and not too small."""
    return max(_MIN_SIDE, height + height % 2), max(_MIN_SIDE, width + width % 2)


def _pad(image: Array) -> Array:
    """The image with its last row and column repeated up to such sides."""
    import numpy as np

    height, width = image.shape[:2]
    rows, columns = _padded(height, width)
    return np.pad(image, ((0, rows - height), (0, columns - width), (0, 0)), "edge")


def _to_planes(image: Array, depth: int) -> list[Array]:
    """Y, Cb, Cr of `depth` bits (uint16; H, W even; chroma (H/2, W/2)) of an RGB image, BT.601, full range."""
    import numpy as np

    top = 2**depth - 1
    red, green, blue = np.moveaxis(image.astype(np.float64) * (top / 255), -1, 0)
    luma = _KR * red + _KG * green + _KB * blue
    chroma = [(blue - luma) / (2 * (1 - _KB)), (red - luma) / (2 * (1 - _KR))]
    halves = [(c[0::2, 0::2] + c[0::2, 1::2] + c[1::2, 0::2] + c[1::2, 1::2]) / 4 for c in chroma]
    planes = [luma, *(half + 2 ** (depth - 1) for half in halves)]
    return [np.clip(np.rint(plane), 0, top).astype(np.uint16) for plane in planes]


def _to_rgb(planes: list[Array]) -> Array:
    """The RGB image (uint8) of Y, Cb, Cr planes; their type says whether they hold 8 or 10 bits."""
    import numpy as np

    depth = 8 if planes[0].dtype.itemsize == 1 else 10
    luma, cb, cr = (plane.astype(np.float64) for plane in planes)
    cb, cr = (_double(_double(c - 2 ** (depth - 1)).T).T for c in (cb, cr))
    red, blue = luma + 2 * (1 - _KR) * cr, luma + 2 * (1 - _KB) * cb
    green = (luma - _KR * red - _KB * blue) / _KG
    image = np.stack([red, green, blue], axis=-1) * (255 / (2**depth - 1))
    rounded: Array = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return rounded


def _double(plane: Array) -> Array:
    """Twice the rows, linear between the centres of the old ones."""
    import numpy as np

    above, below = np.vstack([plane[:1], plane[:-1]]), np.vstack([plane[1:], plane[-1:]])
    rows = np.stack([0.75 * plane + 0.25 * above, 0.75 * plane + 0.25 * below], axis=1)
    return np.reshape(rows, (2 * len(plane), -1))
