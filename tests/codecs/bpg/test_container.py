"""The container: files of the reference are read, and what is not supported is refused by its name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdp.codecs.bpg.container import COLOURS, DEPTHS, BpgHeader, read_file, write_file
from rdp.errors import FormatError

_TOOLS = bytes.fromhex("924740")


@given(
    width=st.integers(1, 65536),
    height=st.integers(1, 2000),
    chroma=st.sampled_from([("420", False), ("422", True), ("444", False)]),
    depth=st.sampled_from(DEPTHS),
    colour=st.sampled_from([name for name in COLOURS if name != "RGB"]),
    data=st.binary(min_size=1, max_size=300),
)
def test_what_is_written_is_read_back(width, height, chroma, depth, colour, data) -> None:
    header = BpgHeader(width, height, chroma[0], depth, colour, chroma[1])
    file = read_file(write_file(header, _TOOLS, data))
    assert (file.header, file.hevc_header, file.hevc_data, file.sized) == (header, _TOOLS, data, True)


@pytest.mark.parametrize(("chroma", "size"), [("420", (3, 4)), ("422", (5, 4)), ("444", (5, 7)), ("gray", (0, 0))])
def test_odd_sides_have_their_chroma_rounded_up(chroma: str, size: tuple[int, int]) -> None:
    assert BpgHeader(7, 5, chroma).chroma_size == size


def change(data: bytes, place: int, bits: int) -> bytes:
    return data[:place] + bytes([data[place] | bits]) + data[place + 1 :]


@pytest.mark.parametrize(
    ("place", "bits", "message"),
    [
        (4, 0x10, "alpha"),
        (5, 0x04, "four colour planes"),
        (5, 0x01, "animated"),
        (5, 0x02, "limited range"),
        (4, 0x03, "of 11 bits a sample"),
        (4, 0x06, "of 14 bits a sample"),
        (4, 0xC0, "pixel format 7 does not exist"),
        (5, 0x50, "colour space 5 does not exist"),
        (5, 0x10, "RGB with subsampled planes"),
    ],
)
def test_what_is_not_supported_is_named(one_file: bytes, place: int, bits: int, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read_file(change(one_file, place, bits))


def test_a_gray_file_has_no_colour_space() -> None:
    with pytest.raises(FormatError, match=r"gray BPG file in colour space BT\.709"):
        read_file(bytes.fromhex("425047fb0030") + b"\x08\x08\x00" + bytes(20))


@pytest.mark.parametrize("data", [b"", b"BPG", b"\x89PNG\r\n\x1a\n" + bytes(50), b"RIFF....WEBP"])
def test_what_is_no_bpg_file_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError, match="not a BPG file"):
        read_file(data)


@pytest.mark.parametrize("size", ["0005", "0500", "848001" + "01", "81ff00" + "81ff00"])
def test_sizes_without_a_picture_or_beyond_the_bound_are_refused_before_anything_is_allocated(size: str) -> None:
    message = "holds no picture" if "00" in (size[:2], size[2:]) else r"at most 142,606,336 pixels \(16384x8704\)"
    with pytest.raises(FormatError, match=message):
        read_file(bytes.fromhex("425047fb2000" + size + "00") + bytes(100))


def test_extensions_are_skipped(one_file: bytes) -> None:
    plain = read_file(one_file)
    extension = bytes.fromhex("0105") + b"Exif!"
    data = change(one_file, 5, 0x08)
    # Magic and flags, a byte for each side, a byte for the length: 9 bytes stand before the extension's length.
    file = read_file(data[:9] + bytes([len(extension)]) + extension + data[9:])
    assert (file.header, file.hevc_header, file.hevc_data) == (plain.header, plain.hevc_header, plain.hevc_data)


def test_an_extension_longer_than_the_file_is_refused(one_file: bytes) -> None:
    with pytest.raises(FormatError, match="is cut"):
        read_file(change(one_file, 5, 0x08)[:9] + b"\xff\xff\x7f" + one_file[9:])


def test_what_stands_behind_the_picture_data_is_left_out() -> None:
    data = write_file(BpgHeader(8, 8, "420"), _TOOLS, b"picture")
    assert read_file(data + b"more").hevc_data == b"picture"
