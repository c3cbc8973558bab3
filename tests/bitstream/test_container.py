"""The container: what is packed is unpacked, and whatever is not a whole file of this version is refused in words."""

from __future__ import annotations

import re
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdp.bitstream.container import MAGIC, VERSION, Container, pack, unpack
from rdp.codecs.formats import FORMATS
from rdp.errors import FormatError


def sealed(body: bytes) -> bytes:
    """A file of a body, with the checksum that it ought to have."""
    return body + zlib.crc32(body).to_bytes(4, "big")


def headed(rest: bytes) -> bytes:
    """A file whose magic, version and identity are right."""
    return sealed(MAGIC + bytes([VERSION]) + b"abcdef" + rest)


EXAMPLE = Container(b"abcdef", 768, 512, b"\x05", b"some payload")


@given(
    identity=st.binary(min_size=6, max_size=6),
    width=st.integers(1, 65535),
    height=st.integers(1, 65535),
    parameters=st.binary(max_size=16),
    payload=st.binary(max_size=100),
)
def test_what_is_packed_is_unpacked(identity, width, height, parameters, payload) -> None:
    container = Container(identity, width, height, parameters, payload)
    assert unpack(pack(container)) == container


def test_a_kodak_picture_costs_twenty_bytes_beside_its_payload() -> None:
    assert len(pack(EXAMPLE)) - len(EXAMPLE.payload) == 20


def test_the_bytes_are_those_of_the_description() -> None:
    body = bytes.fromhex("d24450 01 616263646566 8006 8004 01 05") + b"some payload"
    assert pack(EXAMPLE) == sealed(body)


def test_no_other_format_begins_likewise() -> None:
    assert not any(
        re.match(row.magic, pack(EXAMPLE)) for row in FORMATS.values() if row.magic and ".bin" not in row.suffixes
    )


def test_every_flipped_bit_is_noticed() -> None:
    data = pack(EXAMPLE)
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError):
            unpack(bytes(damaged))


def test_every_file_that_is_cut_short_is_refused() -> None:
    data = pack(EXAMPLE)
    for length in range(len(data)):
        with pytest.raises(FormatError, match="cut short|empty"):
            unpack(data[:length])


def test_added_bytes_are_noticed() -> None:
    with pytest.raises(FormatError, match="checksum"):
        unpack(pack(EXAMPLE) + b"\0")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file is empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "not a file of rdp's learned codecs"),
        (b"RDP" + bytes(100), "not a file of rdp's learned codecs"),
        (
            sealed(MAGIC + bytes([VERSION + 1]) + bytes(50)),
            "version 2 of the format; this rdp reads 1: use a later rdp",
        ),
        (sealed(MAGIC + bytes(50)), "version 0, which never was"),
        (sealed(MAGIC + bytes([VERSION]) + b"abcdef"), "ends within its header"),
        (headed(b"\x80\x80\x80\x80\x80\x80"), "width is over 65535"),
        (headed(b"\xff\xff\x7f\x01\x00"), "width is 2097151 pixels"),
        (headed(b"\x00\x01\x00"), "width is 0 pixels"),
        (headed(b"\x01\x80\x00\x00"), "height is spelt with too many bytes"),
        (headed(b"\x01\x80\x80\x00\x00"), "height is spelt with too many bytes"),
        (headed(b"\x01\x80\x80"), "ends within its header"),
        (headed(b"\x01\x80\x01"), "ends within its header"),
        (headed(b"\x01\x01\x11" + bytes(17)), "17 bytes of parameters"),
        (headed(b"\x01\x01\x04abc"), "ends within its header"),
    ],
)
def test_what_is_no_file_of_ours_is_refused_and_says_why(data: bytes, words: str) -> None:
    with pytest.raises(FormatError, match=re.escape(words)):
        unpack(data)


@given(st.binary(max_size=60))
def test_any_bytes_behind_a_good_beginning_are_a_container_or_refused(rest: bytes) -> None:
    try:
        container = unpack(headed(rest))
    except FormatError:
        return
    assert pack(container) == headed(rest)


@pytest.mark.parametrize(
    "change",
    [{"identity": b"abc"}, {"width": 0}, {"height": 65536}, {"parameters": bytes(17)}],
    ids=lambda change: next(iter(change)),
)
def test_what_no_file_can_hold_is_refused(change: dict) -> None:
    fields = {"identity": b"abcdef", "width": 3, "height": 2, "parameters": b"", "payload": b""}
    with pytest.raises(ValueError, match="bytes|picture"):
        Container(**(fields | change))
