"""Bits of headers: u(n) and ue(v) of HEVC, and the 7-bit groups (ue7) of the BPG container."""

from __future__ import annotations

from rdp.errors import FormatError

_MAX_UE_ZEROS = 32
_MAX_UE7_BYTES = 5


class BitReader:
    """Reads bits, most significant first. Raises `FormatError` when the data runs out."""

    def __init__(self, data: bytes) -> None:
        self._bits = int.from_bytes(data, "big")
        self._length = 8 * len(data)
        self._position = 0

    @property
    def remaining(self) -> int:
        """Bits that were not read yet."""
        return self._length - self._position

    def u(self, count: int) -> int:
        """An unsigned number of `count` bits."""
        if count > self.remaining:
            raise FormatError("the data runs out inside a header")
        self._position += count
        return (self._bits >> self.remaining) & ((1 << count) - 1)

    def flag(self) -> bool:
        """One bit."""
        return self.u(1) == 1

    def ue(self) -> int:
        """An unsigned Exp-Golomb number (H.265, 9.2)."""
        zeros = 0
        while not self.flag():
            zeros += 1
            if zeros > _MAX_UE_ZEROS:
                raise FormatError("a header holds a number of more than 32 bits")
        return (1 << zeros) - 1 + self.u(zeros)

    def se(self) -> int:
        """A signed Exp-Golomb number (H.265, 9.2.2)."""
        code = self.ue()
        return (code + 1) // 2 if code % 2 else -(code // 2)


class BitWriter:
    """Writes bits, most significant first."""

    def __init__(self) -> None:
        self._bits = 0
        self._length = 0

    def u(self, value: int, count: int) -> None:
        """An unsigned number in `count` bits."""
        if not 0 <= value < 1 << count:
            raise ValueError(f"{value} does not fit in {count} bits")
        self._bits = self._bits << count | value
        self._length += count

    def flag(self, value: bool) -> None:
        """One bit."""
        self.u(int(value), 1)

    def ue(self, value: int) -> None:
        """An unsigned Exp-Golomb number."""
        self.u(value + 1, 2 * (value + 1).bit_length() - 1)

    def stop(self) -> None:
        """The bit that ends a raw byte sequence payload; `to_bytes` adds the zeros after it."""
        self.u(1, 1)

    def to_bytes(self) -> bytes:
        """What was written, zero bits added up to a whole byte."""
        padding = -self._length % 8
        return (self._bits << padding).to_bytes((self._length + padding) // 8, "big")


def read_ue7(data: bytes, offset: int, what: str) -> tuple[int, int]:
    """A number in 7-bit groups at an offset, and the offset behind it. `what` names the field in errors."""
    value = 0
    for index in range(_MAX_UE7_BYTES):
        if offset + index >= len(data):
            raise FormatError(f"the file ends inside its header, at {what}")
        byte = data[offset + index]
        if index == 0 and byte == 0x80:
            raise FormatError(f"{what} is not written in its shortest form")
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            if value >> 32:
                break
            return value, offset + index + 1
    raise FormatError(f"{what} is a number of more than 32 bits")


def write_ue7(value: int) -> bytes:
    """A number in 7-bit groups, in the shortest form."""
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F | 0x80)
    return bytes(reversed(groups))
