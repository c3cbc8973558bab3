"""The BPG container (specification 0.9.5): a header of some 10 bytes, then the HEVC data.

What is read: one picture, gray or colour, 8 to 14 bits as far as FFmpeg decodes them. Refused, by name: alpha and the
fourth plane of CMYK, animations, limited range. Extension data (EXIF, ICC, XMP, thumbnails) are skipped: the pixels are
returned as they are coded.
"""

from __future__ import annotations

from dataclasses import dataclass

from rdp.codecs.bpg.bits import BitReader, read_ue7, write_ue7
from rdp.errors import FormatError

MAGIC = b"BPG\xfb"

# What libx265 codes at most (level 7.2, 16384x8704), and the side up to which that was tried. The bound also limits
# memory: decoding takes 7 to 17 bytes a pixel, encoding 30 to 50.
MAX_SAMPLES = 142_606_336
MAX_SIDE = 65_536
LIMIT_TEXT = f"at most {MAX_SAMPLES:,} pixels (16384x8704) and sides of at most {MAX_SIDE:,}"

DEPTHS = (8, 9, 10, 12)
COLOURS = ("BT.601", "RGB", "YCgCo", "BT.709", "BT.2020")
# By pixel_format: chroma format and whether chroma samples lie on luma columns (MPEG-2) or between them (JPEG).
_FORMATS = (("gray", False), ("420", False), ("422", False), ("444", False), ("420", True), ("422", True))


@dataclass(frozen=True)
class BpgHeader:
    """What a picture is: its size, planes, bits and colour.

    `chroma` is gray, 420, 422 or 444; `cosited` says that chroma samples lie on luma columns (MPEG-2) and not between
    them (JPEG); `colour` is one of `COLOURS`.
    """

    width: int
    height: int
    chroma: str
    depth: int = 8
    colour: str = "BT.601"
    cosited: bool = False

    @property
    def chroma_size(self) -> tuple[int, int]:
        """(height, width) of the chroma planes; (0, 0) for gray."""
        if self.chroma == "gray":
            return 0, 0
        rows = (self.height + 1) // 2 if self.chroma == "420" else self.height
        return rows, self.width if self.chroma == "444" else (self.width + 1) // 2


@dataclass(frozen=True)
class BpgFile:
    """A file taken apart. `sized` says whether the header tells the length of the picture data."""

    header: BpgHeader
    hevc_header: bytes
    hevc_data: bytes
    sized: bool


def read_file(data: bytes) -> BpgFile:
    """Take a file apart. Raises `FormatError` that names what is wrong or not supported; nothing large is allocated."""
    if data[: len(MAGIC)] != MAGIC:
        raise FormatError("not a BPG file: it does not begin with the bytes 42 50 47 fb")
    bits = BitReader(data[len(MAGIC) : len(MAGIC) + 2])
    pixel_format, alpha1, depth = bits.u(3), bits.flag(), bits.u(4) + 8
    colour, extended, alpha2, limited, animated = bits.u(4), bits.flag(), bits.flag(), bits.flag(), bits.flag()
    _refuse(pixel_format, depth, colour, alpha1, alpha2, limited, animated)
    chroma, cosited = _FORMATS[pixel_format]
    offset = len(MAGIC) + 2
    width, offset = read_ue7(data, offset, "picture_width")
    height, offset = read_ue7(data, offset, "picture_height")
    _check_size(width, height)
    length, offset = read_ue7(data, offset, "picture_data_length")
    if extended:
        extension, offset = read_ue7(data, offset, "extension_data_length")
        offset += extension
    available = len(data) - offset
    if available <= 0 or length > available:
        wanted = f"{length} bytes" if length else "some bytes"
        raise FormatError(f"the BPG file is cut: {wanted} of picture data are missing in part or whole")
    picture = data[offset : offset + length] if length else data[offset:]
    hevc_length, start = read_ue7(picture, 0, "hevc_header_length")
    if start + hevc_length >= len(picture):
        raise FormatError("the BPG file is cut: its data ends inside the HEVC header")
    header = BpgHeader(width, height, chroma, depth, COLOURS[colour], cosited)
    return BpgFile(header, picture[start : start + hevc_length], picture[start + hevc_length :], length > 0)


def _refuse(
    pixel_format: int, depth: int, colour: int, alpha1: bool, alpha2: bool, limited: bool, animated: bool
) -> None:
    """Raise for what is not valid or not supported."""
    if pixel_format >= len(_FORMATS):
        raise FormatError(f"BPG pixel format {pixel_format} does not exist")
    if colour >= len(COLOURS):
        raise FormatError(f"BPG colour space {colour} does not exist")
    if alpha1:
        raise FormatError("BPG files with an alpha channel are not supported: decode it with bpgdec and flatten it")
    if alpha2:
        raise FormatError("BPG files with four colour planes (CMYK) are not supported: convert it to RGB first")
    if animated:
        raise FormatError("animated BPG files are not supported: extract one frame first")
    if limited:
        raise FormatError("BPG files of limited range (16..235) are not supported: decode it with bpgdec")
    if depth not in DEPTHS:
        raise FormatError(f"BPG files of {depth} bits a sample are not supported, only of 8, 9, 10 and 12")
    if colour and _FORMATS[pixel_format][0] == "gray":
        raise FormatError(f"a gray BPG file in colour space {COLOURS[colour]} is not valid")
    if COLOURS[colour] == "RGB" and _FORMATS[pixel_format][0] != "444":
        raise FormatError("a BPG file in RGB with subsampled planes is not supported")


def _check_size(width: int, height: int) -> None:
    if not width or not height:
        raise FormatError(f"a BPG file of {width}x{height} holds no picture")
    if max(width, height) > MAX_SIDE or width * height > MAX_SAMPLES:
        raise FormatError(f"the BPG file says {width}x{height}, more than can be decoded: {LIMIT_TEXT}")


def write_file(header: BpgHeader, hevc_header: bytes, hevc_data: bytes) -> bytes:
    """The file of a coded picture; `hevc_data` begins behind its first start code.

    `picture_data_length` is always written: it costs one to four bytes, and a file that was cut is known by it.
    """
    pixel_format = _FORMATS.index((header.chroma, header.cosited))
    picture = write_ue7(len(hevc_header)) + hevc_header + hevc_data
    flags = bytes([pixel_format << 5 | header.depth - 8, COLOURS.index(header.colour) << 4])
    sizes = write_ue7(header.width) + write_ue7(header.height) + write_ue7(len(picture))
    return MAGIC + flags + sizes + picture
