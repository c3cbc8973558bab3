"""The container of learned codecs' files: what wrote the file, the size of the picture, the payload, a checksum.

    magic       3 bytes   d2 44 50 ("RDP", the first letter with its high bit set)
    version     1 byte
    identity    6 bytes   which coder and entropy model wrote the file; never which decoder
    width       1 to 3 bytes, groups of 7 bits, the low ones first, the high bit set on all but the last
    height      likewise
    parameters  a length byte (0 to 16) and so many bytes: what the encoder chose for this file
    payload     the rest
    checksum    4 bytes   CRC-32 of everything before it, big-endian

A picture of 768 x 512 with one byte of parameters costs 20 bytes beyond its payload.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from rdp.errors import FormatError

MAGIC = b"\xd2DP"
VERSION = 1
IDENTITY_BYTES = 6
MAX_PARAMETERS = 16
MAX_SIDE = 65535

_CHECKSUM_BYTES = 4
_MAX_VARINT_BYTES = 3
_DAMAGED = "the file is damaged or cut short"


@dataclass(frozen=True)
class Container:
    """A file. `identity`: 6 bytes; `width`, `height`: 1 to 65535 pixels; `parameters`: at most 16 bytes.

    Raises `ValueError` for anything else.
    """

    identity: bytes
    width: int
    height: int
    parameters: bytes
    payload: bytes

    def __post_init__(self) -> None:
        if len(self.identity) != IDENTITY_BYTES:
            raise ValueError(f"an identity of {len(self.identity)} bytes, not {IDENTITY_BYTES}")
        if not (1 <= self.width <= MAX_SIDE and 1 <= self.height <= MAX_SIDE):
            raise ValueError(f"a picture of {self.width} x {self.height}; sides are 1 to {MAX_SIDE} pixels")
        if len(self.parameters) > MAX_PARAMETERS:
            raise ValueError(f"{len(self.parameters)} bytes of parameters, more than {MAX_PARAMETERS}")


def pack(container: Container) -> bytes:
    """The bytes of the file."""
    body = b"".join(
        (
            MAGIC,
            bytes([VERSION]),
            container.identity,
            _varint(container.width),
            _varint(container.height),
            bytes([len(container.parameters)]),
            container.parameters,
            container.payload,
        )
    )
    return body + zlib.crc32(body).to_bytes(_CHECKSUM_BYTES, "big")


def unpack(data: bytes) -> Container:
    """What a file holds. Raises `FormatError` for bytes that are not a whole, undamaged file of this version.

    The sizes are those of the header: take memory for them when the codec has said what it needs, not before.
    """
    if not data:
        raise FormatError("the file is empty")
    if data[: len(MAGIC)] != MAGIC[: len(data)]:
        raise FormatError("not a file of rdp's learned codecs: it begins otherwise")
    if len(data) <= len(MAGIC):
        raise FormatError(f"{_DAMAGED}: it ends within its header")
    version = data[len(MAGIC)]
    if version > VERSION:
        raise FormatError(f"the file is of version {version} of the format; this rdp reads {VERSION}: use a later rdp")
    if version < VERSION:
        raise FormatError(f"{_DAMAGED}: it says that it is of version {version}, which never was")
    body = data[:-_CHECKSUM_BYTES]
    start = len(MAGIC) + 1
    if len(body) < start + IDENTITY_BYTES + 3:
        raise FormatError(f"{_DAMAGED}: it ends within its header")
    if zlib.crc32(body) != int.from_bytes(data[-_CHECKSUM_BYTES:], "big"):
        raise FormatError(f"{_DAMAGED}: its checksum does not match")
    identity = body[start : start + IDENTITY_BYTES]
    width, position = _read_side(body, start + IDENTITY_BYTES, "width")
    height, position = _read_side(body, position, "height")
    if position >= len(body):
        raise FormatError(f"{_DAMAGED}: it ends within its header")
    length, position = body[position], position + 1
    if length > MAX_PARAMETERS:
        raise FormatError(f"{_DAMAGED}: it announces {length} bytes of parameters, more than {MAX_PARAMETERS}")
    parameters = body[position : position + length]
    if len(parameters) < length:
        raise FormatError(f"{_DAMAGED}: it ends within its header")
    return Container(identity, width, height, parameters, body[position + length :])


def _varint(value: int) -> bytes:
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def _read_side(body: bytes, position: int, what: str) -> tuple[int, int]:
    """(pixels, position behind). Refuses numbers out of range, and those spelt with more bytes than they need."""
    value = 0
    for count, group in enumerate(body[position : position + _MAX_VARINT_BYTES]):
        value |= (group & 0x7F) << 7 * count
        if group < 0x80:
            if group == 0 and count > 0:
                raise FormatError(f"{_DAMAGED}: its {what} is spelt with too many bytes")
            if not 1 <= value <= MAX_SIDE:
                raise FormatError(f"{_DAMAGED}: its {what} is {value} pixels, not 1 to {MAX_SIDE}")
            return value, position + count + 1
    if len(body) - position < _MAX_VARINT_BYTES:
        raise FormatError(f"{_DAMAGED}: it ends within its header")
    raise FormatError(f"{_DAMAGED}: its {what} is over {MAX_SIDE} pixels")
