"""Single files: an image into a file of a codec, and back, the decoder found by the file's own first bytes."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdp.codecs.base import DEFAULT_RESOURCES, Codec, OperatingPoint, Resources
from rdp.codecs.formats import FORMATS, sniff, suffixes_of
from rdp.codecs.registry import FAMILIES, create_codec, load_family
from rdp.codecs.spec import parse_point
from rdp.codecs.tools import ExternalTool
from rdp.errors import FormatError, RdpError, SpecError
from rdp.images import hash_bytes, hash_pixels, load_image
from rdp.images.read import Exif
from rdp.storage import replace_file

if TYPE_CHECKING:
    import numpy as np

    Pixels = np.ndarray[Any, Any]

Tools = Mapping[str, ExternalTool]

LOSSLESS = {".png": "PNG", ".ppm": "PPM", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF"}
"""What a decoded picture may be written as, by suffix: formats that keep every 8-bit RGB sample as it is."""


class FileError(RdpError):
    """A file that cannot be read or written, or that stands where another is to be written."""


@dataclass(frozen=True)
class EncodedFile:
    """What `encode_file` wrote: `out`, of `nbytes` bytes, at the operating point named `point`; `bpp` over the
    original's pixels. `notes` say what reading the image ignored or expanded, and of an unusual suffix."""

    image: Path
    out: Path
    point: str
    codec_version: str
    width: int
    height: int
    nbytes: int
    bpp: float
    file_sha256: str
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return _plain(self)


@dataclass(frozen=True)
class DecodedFile:
    """What `decode_file` wrote: `out`, a picture of `width` x `height` pixels, from the file `file` of `nbytes` bytes.

    `family` is the codec family that decoded. `reconstruction_sha256` is the hash of the pixels, as in tables.
    """

    file: Path
    out: Path
    family: str
    codec_version: str
    width: int
    height: int
    nbytes: int
    bpp: float
    file_sha256: str
    reconstruction_sha256: str
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return _plain(self)


def encode_file(
    image: str | Path,
    out: str | Path,
    codec: str | OperatingPoint,
    *,
    tools: Tools | None = None,
    force: bool = False,
    exif: Exif = "ignore",
    resources: Resources = DEFAULT_RESOURCES,
) -> EncodedFile:
    """Encode an image file with the one operating point that `codec` names, into the file `out`.

    `tools` are external tools (`rdp.codecs.load_tools`); `resources` are device and dtype of the networks of a learned
    codec. The file is there whole or not at all. Raises `SpecError` for a spec that is none or names several points
    and for a device that is not there, `ImageError` for an image that the protocol refuses, `CodecError` if the codec
    cannot code it, and `FileError` if `out` exists and not `force`, or cannot be written.
    """
    source, target = Path(image), Path(out)
    point = parse_point(codec, tools) if isinstance(codec, str) else codec
    _check_target(target, force, source)
    resources.require()
    coder = create_codec(point, resources)
    loaded = load_image(source, exif)
    data = coder.encode(loaded.pixels)
    write_file(target, data)
    height, width = loaded.pixels.shape[:2]
    bpp = 8 * len(data) / (width * height)
    notes = (*loaded.notes, *_suffix_note(target, point))
    return EncodedFile(
        source, target, point.name, coder.version, width, height, len(data), bpp, hash_bytes(data), notes
    )  # fmt: skip


def decode_file(
    file: str | Path,
    out: str | Path,
    codec: str | OperatingPoint | None = None,
    *,
    tools: Tools | None = None,
    force: bool = False,
    resources: Resources = DEFAULT_RESOURCES,
) -> DecodedFile:
    """Decode a file into a picture, written losslessly as its suffix says (.png, .ppm, .bmp, .tif).

    Without `codec` the file's first bytes say which family decodes it. `codec` is a spec, or the name of a family,
    for files that do not say and for another decoder. `resources` are device and dtype of the networks of a learned
    codec. Raises `FormatError` for a file that no family knows or that is
    damaged, `ImageError` for what the protocol refuses (alpha, animation, more than 8 bits), `SpecError` for a codec
    or a suffix that is none and for a device that is not there, and `FileError` if `out` exists and not `force`, or
    cannot be written.
    """
    source, target = Path(file), Path(out)
    picture_format = _lossless_format(target)
    _check_target(target, force, source)
    resources.require()
    data = _read(source)
    point = decoding_point(codec, tools) if codec is not None else _point_of(source, data)
    coder = create_codec(point, resources)
    notes = _protocol_notes(coder, source, data)
    try:
        pixels = decode_data(coder, data)
    except FormatError as error:
        raise FormatError(f"{source}: {error}{_other_family(coder.family, data)}") from error
    write_file(target, picture_bytes(pixels, picture_format))
    height, width = pixels.shape[:2]
    return DecodedFile(
        source, target, coder.family, coder.version, width, height, len(data), 8 * len(data) / (width * height),
        hash_bytes(data), hash_pixels(pixels), notes,
    )  # fmt: skip


# ---- which family


def only_codec(given: Sequence[str]) -> str:
    """The one codec that a user named. Raises `SpecError` where he named several, of which one would be dropped."""
    if len(given) != 1:
        raise SpecError(f"one codec codes one file, and {len(given)} are named ({', '.join(given)}): give one --codec")
    return given[0]


def decoding_point(codec: str | OperatingPoint, tools: Tools | None = None) -> OperatingPoint:
    """The point to decode with: a spec, or the bare name of a family. Raises `SpecError`."""
    if isinstance(codec, OperatingPoint):
        return codec
    row = FORMATS.get(codec.strip())
    return parse_point(row.decoder if row is not None and row.decoder else codec, tools)


def _point_of(source: Path, data: bytes) -> OperatingPoint:
    family = sniff(data)
    if family is None:
        known = ", ".join(row.title for name, row in FORMATS.items() if name in FAMILIES)
        what = "is empty" if not data else f"does not begin as a file of a format that is known ({known})"
        raise FormatError(f"{source} {what}: name what decodes it with --codec, or give another file")
    if family not in FAMILIES:
        raise FormatError(f"{source} is a {FORMATS[family].title} file, and this rdp has no codec for it")
    try:
        point = load_family(family).point_of(data, str(source))
    except FormatError as error:
        raise FormatError(f"{source}: {error}") from error
    return decoding_point(family) if point is None else parse_point(point)


def _other_family(family: str, data: bytes) -> str:
    found = sniff(data)
    return f"; it begins as a {FORMATS[found].title} file" if found is not None and found != family else ""


# ---- decoding and writing


def decode_data(codec: Codec, data: bytes) -> Pixels:
    """The picture in a file, uint8 (H, W, 3). Raises `FormatError` for damaged bytes, or a picture beyond reason."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            # Pillow warns of large pictures and refuses only twice as large ones, as in reading images.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            pixels = codec.decode(data)
    except Image.DecompressionBombError as error:
        raise FormatError(f"the picture is too large to decode ({error})") from error
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype.name != "uint8" or 0 in pixels.shape:
        raise FormatError(f"{codec.point.name} decoded to {pixels.dtype} {pixels.shape}, which is no 8-bit RGB picture")
    return pixels


def _protocol_notes(codec: Codec, source: Path, data: bytes) -> tuple[str, ...]:
    """What the protocol ignores or expands in a file that Pillow decodes; what it refuses is raised.

    The codec itself would take the colours of a file with alpha, or the upper 8 of 16 bits, and say nothing. A file
    that does not open as one of the codec's is left to the codec, which says so better.
    """
    from rdp.codecs.pillow import PillowCodec

    if not isinstance(codec, PillowCodec) or not _opens(data, codec.pillow_format):
        return ()
    return load_image(source).notes


def _opens(data: bytes, pillow_format: str) -> bool:
    import io

    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            Image.open(io.BytesIO(data), formats=[pillow_format]).close()
    except UnidentifiedImageError:
        return False
    except (Image.DecompressionBombError, OSError, ValueError, SyntaxError):
        return True  # it is one: what is wrong with it is said by whoever reads it
    return True


def picture_bytes(pixels: Pixels, picture_format: str = "PNG") -> bytes:
    """A picture (uint8, (H, W, 3)) as a file of a lossless format of `LOSSLESS`."""
    import io

    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format=picture_format)
    return stream.getvalue()


def _lossless_format(target: Path) -> str:
    suffix = target.suffix.lower()
    if suffix not in LOSSLESS:
        what = f"{suffix} is not a lossless format to write" if suffix else "its name has no suffix"
        raise SpecError(f"cannot write {target}: {what}; give it one of {', '.join(LOSSLESS)}")
    return LOSSLESS[suffix]


def _suffix_note(target: Path, point: OperatingPoint) -> tuple[str, ...]:
    usual = suffixes_of(point)
    if target.suffix.lower() in map(str.lower, usual):
        return ()
    return (f"{target.name} holds {point.family}, whose files usually end in {' or '.join(usual)}",)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}") from error


def _check_target(target: Path, force: bool, source: Path) -> None:
    """Refuse what is not to be overwritten, before any work is done."""
    if not target.parent.is_dir():
        raise FileError(f"cannot write {target}: there is no folder {target.parent}; make it first")
    if not os.path.lexists(target):
        return
    if target.exists() and not target.is_file():
        raise FileError(f"cannot write {target}: it is {'a folder' if target.is_dir() else 'no ordinary file'}")
    if target.exists() and source.exists() and target.samefile(source):
        raise FileError(f"{target} is the input itself: name another file to write")
    if not force:
        raise FileError(f"{target} exists: --force overwrites it, or name another file")


def write_file(target: Path, data: bytes) -> None:
    """Write a file beside its place and rename it into place. Raises `FileError` where the disk refuses."""
    try:
        replace_file(target, data)
    except OSError as error:
        raise FileError(f"cannot write {target}: {error.strerror or error}") from error


def _plain(record: EncodedFile | DecodedFile) -> dict[str, Any]:
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    return {
        name: str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
    }
