"""What files of the codec families look like: their first bytes and their suffixes. Recognising loads no family.

A family that writes a format of its own has a row in `FORMATS`, or calls `register_format`. Files of a family without
a row do not say what decodes them: its codec is named.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from rdp.codecs.base import OperatingPoint
from rdp.codecs.registry import INDEXED, load_family
from rdp.codecs.tools import ExternalTool
from rdp.errors import SpecError


@dataclass(frozen=True)
class FileFormat:
    """What files of a family look like.

    `magic` is a regular expression that their first bytes match. Files of the ISO base media kind (AVIF, HEIC) are
    told apart by `brands` instead: the first of a file's brands that some family knows decides. `suffixes` are usual
    names, the first is given to files that rdp names. `decoder` is a spec to decode with, where the bare family is
    none because a key without a default is only for the encoder.
    """

    family: str
    title: str
    suffixes: tuple[str, ...]
    magic: bytes = b""
    brands: tuple[bytes, ...] = ()
    decoder: str = ""


FORMATS: dict[str, FileFormat] = {}


def register_format(added: FileFormat) -> None:
    """Make files of a family recognised. Raises `SpecError` for a family that has a format already."""
    if added.family in FORMATS:
        raise SpecError(f"codec family {added.family!r} has a file format already, {FORMATS[added.family].title}")
    FORMATS[added.family] = added


for _format in (
    FileFormat("jpeg", "JPEG", (".jpg", ".jpeg"), rb"\xff\xd8\xff"),
    FileFormat(
        "jpeg2000",
        "JPEG 2000",
        (".jp2", ".j2k", ".jpf", ".jpx"),
        rb"\x00\x00\x00\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51",
        decoder="jpeg2000:rate=1",
    ),
    FileFormat("webp", "WebP", (".webp",), rb"RIFF....WEBP"),
    FileFormat("avif", "AVIF", (".avif",), brands=(b"avif", b"avis")),
    FileFormat("png", "PNG", (".png",), rb"\x89PNG\r\n\x1a\n"),
    FileFormat("bpg", "BPG", (".bpg",), rb"BPG\xfb"),
    FileFormat("heic", "HEIC", (".heic", ".heif"), brands=(b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")),
    FileFormat("jxl", "JPEG XL", (".jxl",), rb"\xff\x0a|\x00\x00\x00\x0cJXL \r\n\x87\n"),
    # All learned codecs write this one; which weights decode a file, its identity says.
    FileFormat("checkpoint", "rdp (learned codec)", (".bin", ".rdp"), rb"\xd2DP"),
    # Not any VVC stream: those that open with the unit in which `rdp.codecs.vvc` keeps the true size.
    FileFormat("vvc", "VVC", (".vvc", ".266"), rb"\x00\x00\x00\x01\x00\xe1"),
):
    register_format(_format)


def sniff(data: bytes) -> str | None:
    """The family whose format the first bytes of a file are of, or None. It need not be registered or installed."""
    brands = _brands(data)
    for brand in brands:
        for row in FORMATS.values():
            if brand in row.brands:
                return row.family
    for row in FORMATS.values():
        if row.magic and re.match(row.magic, data[:64], re.DOTALL):
            return row.family
    return None


def _brands(data: bytes) -> list[bytes]:
    """The brands of an ISO base media file, the major one first: a box of type `ftyp` opens it."""
    if data[4:8] != b"ftyp":
        return []
    end = min(int.from_bytes(data[:4], "big"), len(data), 256)
    return [data[8:12], *(data[k : k + 4] for k in range(16, end - 3, 4))]


def suffixes_of(point: OperatingPoint) -> tuple[str, ...]:
    """Suffixes that files of a point usually have, the first of which rdp gives; `.family` where nothing is known."""
    if isinstance(point.definition, ExternalTool):
        return (point.definition.suffix,)
    row = FORMATS.get("checkpoint" if point.family in INDEXED else point.family)
    return row.suffixes if row is not None else (f".{point.family}",)


def names_its_decoder(point: OperatingPoint, data: bytes) -> bool:
    """Whether a file of a point says itself all that its decoder needs.

    It does where its bytes name a format that is its family's alone and the family has one decoder for a file; it
    does not where keys of the point change the decoder only.
    """
    keys = load_family(point.family).schema(point.definition)
    return sniff(data) == point.family and all(key.changes_file for key in keys)
