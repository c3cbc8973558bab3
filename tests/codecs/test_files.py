"""Single files: written whole or not at all, read by what their own first bytes say, never over another file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rdp.codecs import Codec, create_codec, family_names, load_tools, parse_point
from rdp.codecs import files as files_module
from rdp.codecs.files import FileError, decode_data, decode_file, decoding_point, encode_file
from rdp.codecs.formats import FORMATS, FileFormat, names_its_decoder, register_format, sniff, suffixes_of
from rdp.codecs.registry import INDEXED
from rdp.errors import CodecError, DependencyError, FormatError, ImageError, SpecError
from rdp.images import hash_bytes, hash_pixels, read_image, write_png

NEED_MORE = {*INDEXED, "checkpoint", "compressai", "neuralcompression", "external"}
"""Families that need weights, a package or a tool of the user's: no bare name of theirs is a point."""

FAMILIES = [name for name in family_names() if name not in NEED_MORE]

Picture = Callable[[int, int], np.ndarray[Any, Any]]


@pytest.fixture
def image(tmp_path: Path, picture: Picture) -> Path:
    path = tmp_path / "image.png"
    write_png(path, picture(48, 64))
    return path


def codec_of(family: str) -> Codec:
    """The family at its defaults; the test is skipped, and says so, where what it needs is not installed."""
    try:
        return create_codec(decoding_point(family))
    except DependencyError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_writes_a_file_that_is_recognised_and_decodes_to_what_the_codec_says(
    family: str, image: Path, tmp_path: Path
) -> None:
    codec = codec_of(family)
    out = tmp_path / f"file{suffixes_of(codec.point)[0]}"
    encoded = encode_file(image, out, codec.point.name)
    data = out.read_bytes()
    assert data == codec.encode(read_image(image))
    assert (encoded.nbytes, encoded.file_sha256) == (len(data), hash_bytes(data))
    assert encoded.bpp == 8 * len(data) / (48 * 64) and (encoded.width, encoded.height) == (64, 48)
    assert encoded.point == codec.point.name and encoded.notes == ()
    assert sniff(data) == family and names_its_decoder(codec.point, data)

    decoded = decode_file(out, tmp_path / "back.png")
    pixels = read_image(tmp_path / "back.png")
    np.testing.assert_array_equal(pixels, codec.decode(data))
    assert decoded.family == family and decoded.reconstruction_sha256 == hash_pixels(pixels)
    assert (decoded.width, decoded.height, decoded.nbytes) == (64, 48, len(data))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_damaged_file_of_any_family_is_a_format_error_and_writes_nothing(
    family: str, image: Path, tmp_path: Path
) -> None:
    codec = codec_of(family)
    data = codec.encode(read_image(image))
    (tmp_path / "cut").write_bytes(data[: len(data) // 3])
    with pytest.raises((FormatError, ImageError)):
        decode_file(tmp_path / "cut", tmp_path / "back.png")
    assert not (tmp_path / "back.png").exists()


def test_families_are_told_apart_by_their_bytes_alone() -> None:
    """Openings written from the formats' specifications, not from what the codecs here happen to write."""
    openings = {
        "jpeg": "ffd8ffe0 00104a464946",
        "jpeg2000": "0000000c 6a502020 0d0a870a",
        "webp": "52494646 24000000 57454250 56503820",
        "avif": "0000001c 66747970 6d696631 00000000 6d696631 61766966 6d696166",  # mif1 first, avif among the others
        "png": "89504e47 0d0a1a0a 0000000d 49484452",
        "bpg": "425047fb 20008000",
        "heic": "00000018 66747970 68656963 00000000 6d696631 68656963",
        "jxl": "ff0a fa1f",
    }
    for family, opening in openings.items():
        assert sniff(bytes.fromhex(opening.replace(" ", ""))) == family
    assert sniff(bytes.fromhex("ff4fff51002f")) == "jpeg2000"  # a bare codestream
    assert sniff(bytes.fromhex("0000000c4a584c200d0a870a")) == "jxl"  # in a container
    for nothing in (b"", b"\xff\xd8", b"RIFF\x24\x00\x00\x00WAVE", b"\x00\x00\x00\x10ftypisom\x00\x00\x00\x00"):
        assert sniff(nothing) is None


@given(st.binary(max_size=400))
def test_sniffing_takes_any_bytes(data: bytes) -> None:
    for opened in (data, b"\x00\x00\x01\x00ftyp" + data):
        assert sniff(opened) in {None, *FORMATS}


def test_every_family_of_the_registry_has_a_format_and_no_two_share_a_suffix() -> None:
    assert set(FAMILIES) <= set(FORMATS)
    suffixes = [suffix for row in FORMATS.values() for suffix in row.suffixes]
    assert len(suffixes) == len(set(suffixes))


def test_a_format_is_registered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rdp.codecs.formats.FORMATS", dict(FORMATS))
    register_format(FileFormat("mine", "Mine", (".mine",), rb"MINE"))
    assert sniff(b"MINE and more") == "mine"
    with pytest.raises(SpecError, match="has a file format already"):
        register_format(FileFormat("jpeg", "JPEG", (".jpg",)))


# ---- overwriting and writing


def test_nothing_is_overwritten_without_force(image: Path, tmp_path: Path) -> None:
    out, back = tmp_path / "a.webp", tmp_path / "a.ppm"
    out.write_text("precious")
    with pytest.raises(FileError, match="--force"):
        encode_file(image, out, "webp")
    assert out.read_text() == "precious"
    encode_file(image, out, "webp", force=True)
    back.write_text("precious")
    with pytest.raises(FileError, match="--force"):
        decode_file(out, back)
    assert back.read_text() == "precious"
    decode_file(out, back, force=True)
    np.testing.assert_array_equal(read_image(back), create_codec(parse_point("webp")).decode(out.read_bytes()))


def test_the_input_itself_is_never_overwritten(image: Path, tmp_path: Path) -> None:
    before = image.read_bytes()
    (tmp_path / "link.png").symlink_to(image)
    for name in ("image.png", "link.png"):
        with pytest.raises(FileError, match="input itself"):
            encode_file(image, tmp_path / name, "png", force=True)
        with pytest.raises(FileError, match="input itself"):
            decode_file(image, tmp_path / name, force=True)
    assert image.read_bytes() == before


def test_a_dangling_link_counts_as_a_file_that_is_there(image: Path, tmp_path: Path) -> None:
    (tmp_path / "a.webp").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileError, match="exists"):
        encode_file(image, tmp_path / "a.webp", "webp")


@pytest.mark.parametrize(("out", "words"), [("none/a.webp", "no folder"), ("folder", "it is a folder")])
def test_places_that_cannot_be_written_are_refused_before_encoding(
    out: str, words: str, image: Path, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileError, match=words):
        encode_file(image, tmp_path / out, "webp", force=True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_device_is_no_file_to_replace(image: Path) -> None:
    with pytest.raises(FileError, match="no ordinary file"):
        encode_file(image, "/dev/full", "webp", force=True)


def test_a_full_disk_leaves_the_old_file_and_no_other(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    out = tmp_path / "a.webp"
    out.write_text("old")
    monkeypatch.setattr(files_module.os, "fsync", full)
    with pytest.raises(FileError, match="No space left"):
        encode_file(image, out, "webp", force=True)
    assert out.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.webp", "image.png"]


@pytest.mark.parametrize("name", ["a.jpg", "a.webp", "a.avif", "a.jp2", "a", "a.txt"])
def test_a_picture_is_written_losslessly_or_not_at_all(name: str, image: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"\.png, \.ppm, \.bmp"):
        decode_file(image, tmp_path / name)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("suffix", [".png", ".ppm", ".bmp", ".tif", ".tiff", ".PNG"])
def test_every_format_of_pictures_keeps_every_sample(suffix: str, tmp_path: Path, picture: Picture) -> None:
    pixels = picture(7, 5)
    write_png(tmp_path / "in.png", pixels)
    decode_file(tmp_path / "in.png", tmp_path / f"out{suffix}")
    np.testing.assert_array_equal(read_image(tmp_path / f"out{suffix}"), pixels)


# ---- what is noted and refused


def test_an_unusual_suffix_is_noted_and_no_error(image: Path, tmp_path: Path) -> None:
    done = encode_file(image, tmp_path / "a.jpg", "webp")
    assert done.notes == ("a.jpg holds webp, whose files usually end in .webp",)
    assert decode_file(tmp_path / "a.jpg", tmp_path / "a.png").family == "webp"
    assert encode_file(image, tmp_path / "b.JPEG", "jpeg").notes == ()


def test_gray_is_expanded_and_said_so(tmp_path: Path) -> None:
    Image.new("L", (9, 8), 77).save(tmp_path / "gray.png")
    assert encode_file(tmp_path / "gray.png", tmp_path / "a.jpg", "jpeg").notes == ("gray expanded to RGB",)
    Image.new("L", (9, 8), 77).save(tmp_path / "gray.jpg")
    assert decode_file(tmp_path / "gray.jpg", tmp_path / "b.png").notes == ("gray expanded to RGB",)


def test_alpha_animation_and_depth_are_refused_in_both_directions(tmp_path: Path) -> None:
    Image.new("RGBA", (9, 8), (1, 2, 3, 4)).save(tmp_path / "alpha.webp", lossless=True)
    frames = [Image.new("RGB", (9, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "moving.webp", save_all=True, append_images=frames[1:])
    Image.fromarray(np.full((8, 9), 40_000, np.uint16)).save(tmp_path / "deep.png")
    for name, words in {"alpha.webp": "alpha", "moving.webp": "animated", "deep.png": "8 bits"}.items():
        with pytest.raises(ImageError, match=words):
            decode_file(tmp_path / name, tmp_path / "out.png")
        with pytest.raises(ImageError, match=words):
            encode_file(tmp_path / name, tmp_path / "out.jpg", "jpeg")


def test_orientation_is_ignored_unless_asked_for(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (9, 4), "red").save(tmp_path / "turned.jpg", exif=exif)
    plain = encode_file(tmp_path / "turned.jpg", tmp_path / "a.webp", "webp")
    turned = encode_file(tmp_path / "turned.jpg", tmp_path / "b.webp", "webp", exif="apply")
    assert (plain.width, plain.height) == (9, 4) and plain.notes == ("EXIF orientation ignored",)
    assert (turned.width, turned.height) == (4, 9) and turned.notes == ()


def test_several_points_are_refused_where_one_is_wanted(image: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="names 3 operating points"):
        encode_file(image, tmp_path / "a.webp", "webp:quality=1..3")
    assert not (tmp_path / "a.webp").exists()


def test_an_image_that_the_codec_cannot_code_is_an_error_that_names_the_size(tmp_path: Path) -> None:
    Image.new("RGB", (16_384, 1)).save(tmp_path / "wide.png")
    with pytest.raises(CodecError, match="16384x1"):
        encode_file(tmp_path / "wide.png", tmp_path / "a.webp", "webp")


@pytest.mark.parametrize(("data", "words"), [(b"", "is empty"), (b"hello, world", "does not begin as")])
def test_a_file_of_no_known_format_asks_for_the_codec(data: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "f.bin").write_bytes(data)
    with pytest.raises(FormatError, match=f"{words}.*--codec"):
        decode_file(tmp_path / "f.bin", tmp_path / "a.png")
    with pytest.raises(FileError, match="cannot read"):
        decode_file(tmp_path / "none.bin", tmp_path / "a.png")


def test_a_known_format_without_a_codec_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rdp.codecs.files.FAMILIES", {"jpeg": "rdp.codecs.jpeg:Jpeg"})
    (tmp_path / "f").write_bytes(b"BPG\xfb\x20\x00\x01\x01")
    with pytest.raises(FormatError, match="is a BPG file, and this rdp has no codec for it"):
        decode_file(tmp_path / "f", tmp_path / "a.png")


def test_another_decoder_can_be_named_and_the_wrong_one_hears_what_the_file_is(image: Path, tmp_path: Path) -> None:
    encode_file(image, tmp_path / "a.jp2", "jpeg2000:psnr=40")
    assert decode_file(tmp_path / "a.jp2", tmp_path / "a.png", "jpeg2000").family == "jpeg2000"
    decode_file(tmp_path / "a.jp2", tmp_path / "b.png", "jpeg2000:rate=3")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), read_image(tmp_path / "b.png"))
    with pytest.raises(FormatError, match="it begins as a JPEG 2000 file"):
        decode_file(tmp_path / "a.jp2", tmp_path / "c.png", "jpeg")


@pytest.mark.parametrize("codec", ["webp", "jpeg", "png"])
def test_a_file_of_another_format_is_called_that_and_not_a_bad_image(codec: str, tmp_path: Path) -> None:
    (tmp_path / "x.bpg").write_bytes(b"BPG\xfb\x20\x00\x01\x01" + b"0" * 50)
    with pytest.raises(FormatError, match=rf"x\.bpg: not a valid {codec} file.*it begins as a BPG file") as caught:
        decode_file(tmp_path / "x.bpg", tmp_path / "a.png", codec)
    assert "remove it from the folder" not in str(caught.value) and "BytesIO" not in str(caught.value)


@pytest.mark.parametrize("length", [40, 300, 900])
def test_a_file_that_is_cut_short_is_called_that(length: int, tmp_path: Path, picture: Picture) -> None:
    data = create_codec(parse_point("avif:quality=95,speed=10")).encode(picture(120, 160))
    assert len(data) > 1000
    (tmp_path / "a.avif").write_bytes(data[:length])
    with pytest.raises(FormatError, match=r"a\.avif: not a valid avif file") as caught:
        decode_file(tmp_path / "a.avif", tmp_path / "a.png")
    assert "remove it from the folder" not in str(caught.value) and "BytesIO" not in str(caught.value)


def test_a_picture_beyond_reason_is_refused(image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codec = create_codec(parse_point("png"))
    data = codec.encode(read_image(image))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(FormatError, match="too large"):
        decode_data(codec, data)
    with pytest.raises(ImageError, match="too large"):
        decode_file(image, tmp_path / "a.png")


def test_external_tools_work_with_their_description_only(image: Path, tmp_path: Path) -> None:
    body = '[tools.copy]\nencode = ["cp", "{input}", "{output}"]\ndecode = ["cp", "{input}", "{output}"]\n'
    (tmp_path / "t.toml").write_text(body + 'suffix = ".Copy"\n')
    tools = load_tools([tmp_path / "t.toml"])
    with pytest.raises(SpecError, match="--codec-file"):
        encode_file(image, tmp_path / "a.copy", "external:tool=copy")
    done = encode_file(image, tmp_path / "a.copy", "external:tool=copy", tools=tools)
    assert done.notes == ()
    decode_file(tmp_path / "a.copy", tmp_path / "a.png", "external:tool=copy", tools=tools)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), read_image(image))
    assert not names_its_decoder(parse_point("external:tool=copy", tools), (tmp_path / "a.copy").read_bytes())
