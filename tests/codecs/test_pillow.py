"""The codecs that Pillow carries: real files, read back, the same on every call."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from PIL import Image

from rdp.codecs import create_codec, family_names, load_family, parse_point, parse_points, register_family
from rdp.errors import CodecError, FormatError, SpecError
from rdp.images import read_image, sample_images

POINTS = [
    "jpeg:quality=40",
    "jpeg:quality=40,subsampling=444,optimise=true,progressive=true",
    "jpeg2000:rate=1",
    "jpeg2000:psnr=32,irreversible=false",
    "webp:quality=40",
    "avif:quality=40,speed=8",
    "png",
]
FORMATS = {"jpeg": "JPEG", "jpeg2000": "JPEG2000", "webp": "WEBP", "avif": "AVIF", "png": "PNG"}


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    mse = float(np.mean((a.astype(float) - b.astype(float)) ** 2))
    return math.inf if mse == 0 else 10 * math.log10(255**2 / mse)


@pytest.mark.parametrize("spec", POINTS)
@pytest.mark.parametrize("size", [(64, 64), (37, 61), (1, 1), (2, 3), (17, 200)])
def test_a_file_decodes_to_an_image_of_the_same_size(spec: str, size: tuple[int, int], picture) -> None:
    image = picture(*size)
    codec = create_codec(parse_point(spec))
    decoded = codec.decode(codec.encode(image))
    assert decoded.shape == image.shape and decoded.dtype == np.uint8
    if min(size) > 30:
        assert psnr(image, decoded) > 22


@pytest.mark.parametrize("spec", POINTS)
def test_the_file_is_a_standard_one_and_decodes_the_same_elsewhere(spec: str, picture) -> None:
    image = picture(48, 80)
    codec = create_codec(parse_point(spec))
    data = codec.encode(image)
    with Image.open(io.BytesIO(data)) as opened:
        assert opened.format == FORMATS[codec.family]
        assert np.array_equal(np.asarray(opened.convert("RGB")), codec.decode(data))


@pytest.mark.parametrize("spec", POINTS)
def test_encoding_twice_gives_the_same_bytes(spec: str, picture) -> None:
    image = picture(48, 80)
    first, second = create_codec(parse_point(spec)), create_codec(parse_point(spec))
    assert first.encode(image) == first.encode(image) == second.encode(image)
    assert first.encoder_id == second.encoder_id


def test_png_is_lossless(picture) -> None:
    image = picture(33, 47)
    codec = create_codec(parse_point("png"))
    assert np.array_equal(codec.decode(codec.encode(image)), image)


def test_jpeg_says_what_was_asked_for(picture) -> None:
    codec = create_codec(parse_point("jpeg:quality=40,subsampling=422,progressive=true"))
    with Image.open(io.BytesIO(codec.encode(picture(48, 80)))) as opened:
        assert opened.info.get("progressive")
        assert opened.layer[0][1:3] == (2, 1)  # 4:2:2: luma twice as dense, horizontally only


@pytest.mark.parametrize("family", ["jpeg", "webp", "avif"])
def test_more_quality_is_more_bytes_and_less_error(family: str) -> None:
    image = read_image(sample_images()[1])
    sizes, errors = [], []
    for point in parse_points(f"{family}:quality=20|50|80"):
        codec = create_codec(point)
        data = codec.encode(image)
        sizes.append(len(data))
        errors.append(psnr(image, codec.decode(data)))
    assert sizes == sorted(sizes) and errors == sorted(errors)


def test_jpeg2000_comes_near_the_rate_or_the_error_asked_for() -> None:
    image = read_image(sample_images()[0])
    data = create_codec(parse_point("jpeg2000:rate=0.5")).encode(image)
    assert 8 * len(data) / (image.shape[0] * image.shape[1]) == pytest.approx(0.5, rel=0.02)
    codec = create_codec(parse_point("jpeg2000:psnr=35"))
    assert psnr(image, codec.decode(codec.encode(image))) == pytest.approx(35, abs=1)


@pytest.mark.parametrize(("irreversible", "kernel"), [("true", 0), ("false", 1)])
def test_jpeg2000_transforms_colours_and_uses_the_wavelet_asked_for(irreversible: str, kernel: int, picture) -> None:
    """Read off the COD marker: without the colour transform JPEG 2000 loses dBs, silently."""
    data = create_codec(parse_point(f"jpeg2000:rate=2,irreversible={irreversible}")).encode(picture(64, 64))
    cod = data[data.index(b"\xff\x52") + 4 :]
    colour_transform, wavelet = cod[4], cod[9]
    assert colour_transform == 1 and wavelet == kernel


@pytest.mark.parametrize("spec", POINTS)
@pytest.mark.parametrize("damage", ["empty", "text", "cut"])
def test_what_is_no_file_of_the_format_is_refused(spec: str, damage: str, picture) -> None:
    codec = create_codec(parse_point(spec))
    data = codec.encode(picture(64, 64))
    bad = {"empty": b"", "text": b"hello" * 30, "cut": data[: len(data) // 3]}[damage]
    with pytest.raises(FormatError):
        codec.decode(bad)


def test_a_file_of_another_format_is_refused(picture) -> None:
    data = create_codec(parse_point("png")).encode(picture(8, 8))
    with pytest.raises(FormatError, match="webp"):
        create_codec(parse_point("webp")).decode(data)


def test_an_image_that_a_format_cannot_hold_is_a_codec_error() -> None:
    wide = np.zeros((1, 16384, 3), np.uint8)
    with pytest.raises(CodecError, match="16384x1"):
        create_codec(parse_point("webp")).encode(wide)


def test_the_identity_of_an_encoder_changes_with_every_key() -> None:
    points = parse_points(["webp:quality=1|2,method=3|4", "jpeg:quality=1|2", "avif:quality=1|2"])
    assert len({create_codec(point).encoder_id for point in points}) == len(points)


@pytest.mark.parametrize("spec", POINTS)
def test_the_version_names_the_library(spec: str) -> None:
    version = create_codec(parse_point(spec)).version
    assert version.startswith("Pillow ") and "None" not in version and any(c.isdigit() for c in version.split(",")[1])


def test_every_registered_family_has_a_summary_and_documented_keys() -> None:
    for name in family_names():
        family = load_family(name)
        assert family.family == name and family.summary
        assert all(key.meaning for key in family.keys)


def test_a_family_is_registered_once() -> None:
    with pytest.raises(SpecError, match="registered already"):
        register_family("webp", "rdp.codecs.webp:WebP")
    with pytest.raises(SpecError, match="cannot name"):
        register_family("Web-P", "rdp.codecs.webp:WebP")
