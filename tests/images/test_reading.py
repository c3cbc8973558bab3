"""Reading images: 8-bit RGB as it is, and a message for everything else."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rdp.errors import ImageError
from rdp.images import hash_pixels, load_image, read_image, sample_images


def png_bytes(depth: int, colour: int, width: int = 5, height: int = 4) -> bytes:
    """A PNG written by hand, for what Pillow does not write: 16-bit colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    channels = {0: 1, 2: 3, 6: 4}[colour]
    rows = b"".join(b"\0" + bytes(width * channels * depth // 8) for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def save(folder: Path, name: str, image: Image.Image, **options: object) -> Path:
    path = folder / name
    image.save(path, **options)  # type: ignore[arg-type]
    return path


def test_an_rgb_file_is_read_as_it_is(tmp_path: Path, picture) -> None:
    pixels = picture(13, 17)
    path = save(tmp_path, "a.png", Image.fromarray(pixels))
    loaded = load_image(path)
    assert np.array_equal(loaded.pixels, pixels)
    assert loaded.pixels.dtype == np.uint8 and loaded.pixels.flags.c_contiguous
    assert loaded.notes == ()


def test_gray_is_expanded_and_noted(tmp_path: Path, picture) -> None:
    gray = picture(9, 8)[..., 0]
    loaded = load_image(save(tmp_path, "a.png", Image.fromarray(gray)))
    assert np.array_equal(loaded.pixels, np.repeat(gray[..., None], 3, axis=2))
    assert loaded.notes == ("gray expanded to RGB",)


def test_an_opaque_palette_is_expanded_and_noted(tmp_path: Path) -> None:
    image = Image.new("P", (4, 3), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    loaded = load_image(save(tmp_path, "a.png", image))
    assert (loaded.pixels == (10, 20, 30)).all()
    assert loaded.notes == ("palette expanded to RGB",)


def test_orientation_is_ignored_and_noted_unless_asked_for(tmp_path: Path, picture) -> None:
    pixels = picture(6, 10)
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
    path = save(tmp_path, "a.png", Image.fromarray(pixels), exif=exif)
    assert load_image(path).notes == ("EXIF orientation ignored",)
    assert np.array_equal(read_image(path), pixels)
    assert np.array_equal(read_image(path, exif="apply"), np.rot90(pixels, -1))


def test_a_colour_profile_is_ignored_and_noted(tmp_path: Path, picture) -> None:
    path = save(tmp_path, "a.png", Image.fromarray(picture(6, 6)), icc_profile=b"not a real profile")
    assert load_image(path).notes == ("ICC profile ignored",)


REFUSED = {
    "alpha": (lambda p: Image.new("RGBA", (4, 4)).save(p), "a.png", "alpha"),
    "gray with alpha": (lambda p: Image.new("LA", (4, 4)).save(p), "a.png", "alpha"),
    "transparent palette": (lambda p: Image.new("P", (4, 4)).save(p, transparency=0), "a.png", "alpha"),
    "16-bit gray": (lambda p: Image.fromarray(np.zeros((4, 4), np.uint16)).save(p), "a.png", "more than 8 bits"),
    "16-bit colour": (lambda p: p.write_bytes(png_bytes(16, 2)), "a.png", "more than 8 bits"),
    "16-bit PNM": (lambda p: p.write_bytes(b"P6 2 2 65535\n" + bytes(24)), "a.ppm", "more than 8 bits"),
    "16-bit TIFF": (lambda p: Image.fromarray(np.zeros((4, 4), np.uint16)).save(p), "a.tif", "more than 8 bits"),
    "floating point": (lambda p: Image.fromarray(np.zeros((4, 4), np.float32)).save(p), "a.tif", "more than 8 bits"),
    "CMYK": (lambda p: Image.new("CMYK", (4, 4)).save(p), "a.jpg", "CMYK"),
    "animation": (
        lambda p: Image.new("RGB", (4, 4)).save(p, save_all=True, append_images=[Image.new("RGB", (4, 4), "red")]),
        "a.gif",
        "animated",
    ),
    "text": (lambda p: p.write_text("hello"), "a.png", "not an image"),
    "nothing": (lambda p: p.write_bytes(b""), "a.png", "not an image"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_protocol_refuses_is_named_with_what_to_do(case: str, tmp_path: Path) -> None:
    write, name, words = REFUSED[case]
    path = tmp_path / name
    write(path)
    with pytest.raises(ImageError, match=words) as caught:
        read_image(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("suffix", ["PNG", "JPEG", "WEBP", "AVIF", "BMP"])
def test_a_truncated_file_is_refused(suffix: str, tmp_path: Path, picture) -> None:
    stream = io.BytesIO()
    Image.fromarray(picture(64, 64)).save(stream, format=suffix)
    path = tmp_path / f"a.{suffix.lower()}"
    path.write_bytes(stream.getvalue()[: len(stream.getvalue()) * 2 // 3])
    with pytest.raises(ImageError, match=r"damaged or truncated|not an image"):
        read_image(path)


def test_a_damaged_byte_in_a_png_is_found(tmp_path: Path, picture) -> None:
    path = save(tmp_path, "a.png", Image.fromarray(picture(64, 64)))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x55
    path.write_bytes(data)
    with pytest.raises(ImageError, match="damaged"):
        read_image(path)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="does not exist"):
        read_image(tmp_path / "none.png")


def test_the_hash_is_of_the_pixels_and_not_of_the_file(tmp_path: Path, picture) -> None:
    pixels = picture(10, 12)
    one = save(tmp_path, "a.png", Image.fromarray(pixels), compress_level=1)
    two = save(tmp_path, "b.bmp", Image.fromarray(pixels))
    assert hash_pixels(read_image(one)) == hash_pixels(read_image(two))
    assert hash_pixels(pixels) != hash_pixels(pixels.reshape(12, 10, 3))


def test_the_samples_are_six_colour_photographs() -> None:
    paths = sample_images()
    assert len(paths) == 6
    for path in paths:
        pixels = read_image(path)
        assert min(pixels.shape[:2]) > 160
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 10_000
        assert not (pixels[..., 0] == pixels[..., 1]).all()
