"""JPEG XL through imagecodecs: real codestreams, the same on every call and for any number of threads."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdp.codecs import create_codec, parse_point, parse_points, registry
from rdp.errors import CodecError, FormatError, SpecError
from rdp.images import read_image, sample_images

imagecodecs = pytest.importorskip("imagecodecs", reason="imagecodecs is not installed")
if not imagecodecs.JPEGXL.available:
    pytest.skip("this imagecodecs has no JPEG XL", allow_module_level=True)

IMPLEMENTATION = "rdp.codecs.jxl:Jxl"
POINTS = ["jxl:distance=4", "jxl:distance=0.5,effort=3", "jxl:distance=25,effort=9", "jxl:distance=0,effort=4"]

# What a fresh interpreter does before it uses the codec.
START = f"""
import hashlib, os, sys
import numpy as np
from rdp.codecs import create_codec, parse_point, registry
registry.FAMILIES["jxl"] = {IMPLEMENTATION!r}
y, x = np.mgrid[0:600, 0:700]
image = np.stack([(x * y) % 251, (x + y) % 256, (3 * x - y) % 256], -1).astype(np.uint8)
def digest():
    return hashlib.sha256(create_codec(parse_point("jxl:distance=3")).encode(image)).hexdigest()
"""


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.FAMILIES, "jxl", IMPLEMENTATION)


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", START + code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    mse = float(np.mean((a.astype(float) - b.astype(float)) ** 2))
    return math.inf if mse == 0 else 10 * math.log10(255**2 / mse)


@pytest.mark.parametrize("spec", POINTS)
@pytest.mark.parametrize("size", [(64, 64), (37, 61), (1, 1), (2, 3), (17, 300)])
def test_a_file_decodes_to_an_image_of_the_same_size(spec: str, size: tuple[int, int], picture: Callable) -> None:
    image = picture(*size)
    codec = create_codec(parse_point(spec))
    data = codec.encode(image)
    decoded = codec.decode(data)
    assert data[:2] == b"\xff\x0a"
    assert decoded.shape == image.shape and decoded.dtype == np.uint8
    if min(size) > 30:
        assert psnr(image, decoded) > 20


def test_distance_0_is_lossless_and_smaller_than_png() -> None:
    image = read_image(sample_images()[1])
    codec = create_codec(parse_point("jxl:distance=0,effort=5"))
    data = codec.encode(image)
    assert np.array_equal(codec.decode(data), image)
    assert len(data) < len(create_codec(parse_point("png")).encode(image))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_distance_0_is_lossless_for_noise_of_any_size(height: int, width: int, seed: int) -> None:
    from rdp.codecs.base import OperatingPoint

    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    codec = create_codec(OperatingPoint("jxl", (("distance", 0), ("effort", 3)), IMPLEMENTATION))
    assert np.array_equal(codec.decode(codec.encode(image)), image)


def test_another_program_reads_the_same_picture(tmp_path) -> None:
    """FFmpeg with its own libjxl: the size, and the same colours up to how each rounds to 8 bits."""
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="imageio-ffmpeg is not installed")
    image = read_image(sample_images()[1])
    codec = create_codec(parse_point("jxl:distance=1"))
    path = tmp_path / "x.jxl"
    path.write_bytes(codec.encode(image))
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", str(path)]
    command += ["-pix_fmt", "rgb24", "-f", "rawvideo", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    seen = np.frombuffer(raw, np.uint8).reshape(image.shape)
    assert psnr(seen, codec.decode(path.read_bytes())) > 50
    assert np.abs((seen.astype(float) - image).mean((0, 1))).max() < 1


def test_pillow_reads_the_same_picture_with_a_plugin() -> None:
    """In a process of its own: importing the plugin registers it."""
    pytest.importorskip("PIL", reason="Pillow is not installed")
    import importlib.util

    if importlib.util.find_spec("pillow_jxl") is None:
        pytest.skip("pillow-jxl-plugin is not installed")
    code = """
import io, pillow_jxl
from PIL import Image
codec = create_codec(parse_point("jxl:distance=0,effort=3"))
print(np.array_equal(np.asarray(Image.open(io.BytesIO(codec.encode(image)))), image))
"""
    assert run(code) == "True"


@pytest.mark.parametrize("spec", POINTS)
def test_encoding_twice_gives_the_same_bytes(spec: str, picture: Callable) -> None:
    image = picture(48, 80)
    first, second = create_codec(parse_point(spec)), create_codec(parse_point(spec))
    assert first.encode(image) == first.encode(image) == second.encode(image)
    assert first.encoder_id == second.encoder_id


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be taken away here")
def test_the_file_is_the_same_on_one_core() -> None:
    assert run("os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); print(digest())") == run("print(digest())")


def test_the_file_would_be_the_same_with_more_threads() -> None:
    image = read_image(sample_images()[0])
    data = create_codec(parse_point("jxl:distance=2,effort=5")).encode(image)
    for threads in (2, 4):
        other = imagecodecs.jpegxl_encode(image, distance=2.0, effort=5, lossless=False, numthreads=threads)
        assert bytes(other) == data


def test_nothing_is_registered_with_pillow() -> None:
    assert run("digest(); from PIL import Image; Image.init(); print('.jxl' in Image.EXTENSION)") == "False"


def test_without_imagecodecs_it_says_what_to_install() -> None:
    code = """
from rdp.errors import DependencyError
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "imagecodecs":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocker())
try:
    digest()
except DependencyError as error:
    print(error)
"""
    assert "pip install 'imagecodecs" in run(code)


def test_less_distance_is_more_bytes_and_less_error() -> None:
    image = read_image(sample_images()[1])
    sizes, errors = [], []
    for point in parse_points("jxl:distance=15|8|4|2|1|0.5|0.1|0.01"):
        codec = create_codec(point)
        data = codec.encode(image)
        sizes.append(len(data))
        errors.append(psnr(image, codec.decode(data)))
    assert sizes == sorted(sizes) and errors == sorted(errors)
    assert errors[0] > 24 and errors[-1] > 50


@pytest.mark.parametrize("spec", POINTS)
@pytest.mark.parametrize("damage", ["empty", "text", "cut", "last byte", "another format"])
def test_what_is_no_file_of_the_format_is_refused(spec: str, damage: str, picture: Callable) -> None:
    codec = create_codec(parse_point(spec))
    data = codec.encode(picture(64, 64))
    png = create_codec(parse_point("png")).encode(picture(8, 8))
    bad = {"empty": b"", "text": b"hello" * 30, "cut": data[: len(data) // 3], "last byte": data[:-1]}
    with pytest.raises(FormatError, match="jxl"):
        codec.decode(bad.get(damage, png))


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 4)])
def test_a_file_that_is_not_rgb_is_refused(shape: tuple[int, ...]) -> None:
    data = bytes(imagecodecs.jpegxl_encode(np.zeros(shape, np.uint8), lossless=True))
    with pytest.raises(FormatError, match="RGB"):
        create_codec(parse_point("jxl")).decode(data)


@pytest.mark.parametrize(
    ("shape", "dtype", "words"),
    [
        ((8, 8), np.uint8, "gray instead of RGB"),
        ((8, 8, 4), np.uint8, "an alpha channel"),
        ((8, 8, 3), np.uint16, "more than 8 bits a sample"),
        ((8, 8, 4), np.uint16, "an alpha channel, more than 8 bits a sample"),
        ((8, 8, 3), np.float32, "floating-point samples"),
        ((3, 8, 8, 3), np.uint8, "an animation of 3 frames"),
    ],
)
def test_what_a_refused_file_holds_is_named(shape: tuple[int, ...], dtype: type, words: str) -> None:
    image = np.zeros(shape, dtype)
    image[..., 0] = (np.arange(shape[0]) + 1).reshape(-1, *[1] * (len(shape) - 2)) if len(shape) == 4 else 0
    data = bytes(imagecodecs.jpegxl_encode(image, lossless=True))
    with pytest.raises(FormatError, match=f"it holds {words} "):
        create_codec(parse_point("jxl")).decode(data)


def test_a_damaged_file_is_refused_or_decodes_to_some_picture(picture: Callable, rng: np.random.Generator) -> None:
    codec = create_codec(parse_point("jxl:distance=4"))
    data = codec.encode(picture(32, 32))
    refused = 0
    for _ in range(150):
        bad = bytearray(data)
        bad[rng.integers(8, len(bad))] = rng.integers(256)
        try:
            assert codec.decode(bytes(bad)).dtype == np.uint8
        except FormatError:
            refused += 1
    assert refused > 10


def test_an_image_without_pixels_is_a_codec_error() -> None:
    with pytest.raises(CodecError, match="5x0"):
        create_codec(parse_point("jxl")).encode(np.zeros((0, 5, 3), np.uint8))


def test_every_key_changes_the_file_and_the_identity(picture: Callable) -> None:
    image = picture(96, 96)
    codecs = [create_codec(parse_point(spec)) for spec in ("jxl", "jxl:distance=1.1", "jxl:effort=3", "jxl:distance=0")]
    assert codecs[0].point.name == "jxl:distance=1,effort=7"
    assert len({codec.encoder_id for codec in codecs}) == len({codec.encode(image) for codec in codecs}) == len(codecs)


@pytest.mark.parametrize(
    "spec", ["jxl:distance=25.1", "jxl:distance=-1", "jxl:distance=0.001", "jxl:effort=0", "jxl:effort=11"]
)
def test_values_out_of_range_are_refused(spec: str) -> None:
    with pytest.raises(SpecError, match="not allowed"):
        parse_point(spec)


def test_the_version_names_the_libraries() -> None:
    version = create_codec(parse_point("jxl")).version
    assert version.startswith(f"imagecodecs {imagecodecs.__version__}, libjxl ")
