"""HEIC through pillow-heif: real files that other programs read, the same on every call and on any number of cores."""

from __future__ import annotations

import io
import math
import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from rdp.codecs import create_codec, parse_point, parse_points, registry
from rdp.errors import CodecError, DependencyError, FormatError, SpecError
from rdp.images import read_image, sample_images

pillow_heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")

IMPLEMENTATION = "rdp.codecs.heic:Heic"
POINTS = [
    "heic:quality=40",
    "heic:quality=40,chroma=422,preset=fast",
    "heic:quality=60,chroma=444,preset=ultrafast,tune=psnr",
]

# What a fresh interpreter does before it uses the codec.
START = f"""
import hashlib, os, sys
import numpy as np
from rdp.codecs import create_codec, parse_point, registry
registry.FAMILIES["heic"] = {IMPLEMENTATION!r}
y, x = np.mgrid[0:200, 0:300]
image = np.stack([(x * y) % 251, (x + y) % 256, (3 * x - y) % 256], -1).astype(np.uint8)
def digest():
    return hashlib.sha256(create_codec(parse_point("heic:quality=40")).encode(image)).hexdigest()
"""


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.FAMILIES, "heic", IMPLEMENTATION)


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", START + code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    mse = float(np.mean((a.astype(float) - b.astype(float)) ** 2))
    return math.inf if mse == 0 else 10 * math.log10(255**2 / mse)


@pytest.mark.parametrize("spec", POINTS)
@pytest.mark.parametrize("size", [(64, 64), (37, 61), (1, 1), (2, 3), (15, 64), (17, 200)])
def test_a_file_decodes_to_an_image_of_the_same_size(spec: str, size: tuple[int, int], picture: Callable) -> None:
    image = picture(*size)
    codec = create_codec(parse_point(spec))
    decoded = codec.decode(codec.encode(image))
    assert decoded.shape == image.shape and decoded.dtype == np.uint8
    if min(size) > 30:
        assert psnr(image, decoded) > 22


@pytest.mark.parametrize("chroma", ["420", "422", "444"])
def test_the_file_says_what_it_is(chroma: str, picture: Callable) -> None:
    """The brand, the sampling asked for, and sRGB with the BT.601 matrix in full range, for whoever shows it."""
    data = create_codec(parse_point(f"heic:chroma={chroma}")).encode(picture(48, 80))
    assert data[4:8] == b"ftyp" and (data[8:12] == b"heic") == (chroma == "420")
    info = pillow_heif.open_heif(io.BytesIO(data)).info
    assert str(info["chroma"]) == chroma and info["bit_depth"] == 8
    colours = info["nclx_profile"]
    assert (colours["color_primaries"], colours["transfer_characteristics"]) == (1, 13)
    assert (colours["matrix_coefficients"], colours["full_range_flag"]) == (6, 1)


@pytest.mark.parametrize("chroma", ["420", "444"])
def test_another_program_reads_the_same_picture(chroma: str, tmp_path) -> None:
    """FFmpeg, with its own HEVC decoder. In 4:2:0 it interpolates chroma, and libheif repeats it."""
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="imageio-ffmpeg is not installed")
    image = read_image(sample_images()[2])
    codec = create_codec(parse_point(f"heic:quality=60,chroma={chroma}"))
    path = tmp_path / "x.heic"
    path.write_bytes(codec.encode(image))
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", str(path), "-frames:v", "1"]
    command += ["-sws_flags", "accurate_rnd+full_chroma_int", "-pix_fmt", "rgb24", "-f", "rawvideo", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    seen = np.frombuffer(raw, np.uint8).reshape(image.shape)
    assert psnr(seen, codec.decode(path.read_bytes())) > (60 if chroma == "444" else 38)
    assert np.abs((seen.astype(float) - image).mean((0, 1))).max() < 1  # no shift of any colour


@pytest.mark.parametrize("spec", POINTS)
def test_encoding_twice_gives_the_same_bytes(spec: str, picture: Callable) -> None:
    image = picture(48, 80)
    first, second = create_codec(parse_point(spec)), create_codec(parse_point(spec))
    assert first.encode(image) == first.encode(image) == second.encode(image)
    assert first.encoder_id == second.encoder_id


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be taken away here")
def test_the_file_is_the_same_on_one_core() -> None:
    assert run("os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); print(digest())") == run("print(digest())")


def test_lambda_tables_given_to_pyav_do_not_reach_it(tmp_path) -> None:
    """The x265 in pillow-heif is another copy: `bpg` replaces lambda tables, which are global to a library."""
    av = pytest.importorskip("av", reason="PyAV is not installed")
    if "libx265" not in av.codecs_available:
        pytest.skip("this PyAV has no libx265")
    table = tmp_path / "lambda.txt"
    table.write_text("\n".join(["40"] * 140) + "\n")
    code = f"""
before = digest()
import av
from fractions import Fraction
def size(options):
    encoder = av.CodecContext.create("libx265", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 300, 200, "yuv420p"
    encoder.time_base = Fraction(1)
    encoder.options = {{"x265-params": "log-level=none:qp=30" + options}}
    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
    return sum(packet.size for packet in [*encoder.encode(frame), *encoder.encode(None)])
plain = size("")
changed = size(":lambda-file={table}")
print(plain != changed, before == digest())
"""
    assert run(code) == "True True"


def test_nothing_is_registered_with_pillow() -> None:
    code = "digest(); from PIL import Image; Image.init(); print('.heic' in Image.EXTENSION, 'HEIF' in Image.SAVE)"
    assert run(code) == "False False"


def test_without_pillow_heif_it_says_what_to_install() -> None:
    code = """
from rdp.errors import DependencyError
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "pillow_heif":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocker())
try:
    digest()
except DependencyError as error:
    print(error)
"""
    assert "pip install 'pillow-heif" in run(code)


@pytest.mark.parametrize("chroma", ["420", "444"])
def test_more_quality_is_more_bytes_and_less_error(chroma: str) -> None:
    image = read_image(sample_images()[1])
    sizes, errors = [], []
    for point in parse_points(f"heic:quality=10|30|50|70|90,chroma={chroma}"):
        codec = create_codec(point)
        data = codec.encode(image)
        sizes.append(len(data))
        errors.append(psnr(image, codec.decode(data)))
    assert sizes == sorted(sizes) and errors == sorted(errors) and errors[-1] > 38


def test_it_is_about_as_good_as_avif() -> None:
    """A wrong matrix, a wrong range or no colour transform would cost decibels."""
    image = read_image(sample_images()[2])
    heic, avif = create_codec(parse_point("heic:quality=45")), create_codec(parse_point("avif:quality=60"))
    files = [codec.encode(image) for codec in (heic, avif)]
    errors = [psnr(image, codec.decode(data)) for codec, data in zip((heic, avif), files, strict=True)]
    slope = 4.5 * math.log2(len(files[0]) / len(files[1]))  # dB a doubling of the rate, about
    assert errors[0] - slope == pytest.approx(errors[1], abs=1)


@pytest.mark.parametrize("spec", POINTS)
@pytest.mark.parametrize("damage", ["empty", "text", "cut", "last byte", "another format"])
def test_what_is_no_file_of_the_format_is_refused(spec: str, damage: str, picture: Callable) -> None:
    codec = create_codec(parse_point(spec))
    data = codec.encode(picture(64, 64))
    png = create_codec(parse_point("png")).encode(picture(8, 8))
    bad = {"empty": b"", "text": b"hello" * 30, "cut": data[: len(data) // 3], "last byte": data[:-1]}
    with pytest.raises(FormatError, match="heic"):
        codec.decode(bad.get(damage, png))


def test_a_file_with_alpha_is_refused() -> None:
    stream = io.BytesIO()
    pillow_heif.encode("RGBA", (16, 16), bytes(16 * 16 * 4), stream)
    with pytest.raises(FormatError, match=r"alpha \(RGBA\)"):
        create_codec(parse_point("heic")).decode(stream.getvalue())


def test_a_file_of_10_bits_is_refused_for_its_bits(rng: np.random.Generator) -> None:
    """Decoding would round them to 8, and not say so."""
    samples = rng.integers(0, 1024, (16, 16, 3)).astype("<u2")
    stream = io.BytesIO()
    pillow_heif.encode("RGB;16", (16, 16), (samples << 6).tobytes(), stream)
    with pytest.raises(FormatError, match="its samples have 1[02] bits"):
        create_codec(parse_point("heic")).decode(stream.getvalue())


def test_a_file_of_several_pictures_is_refused_for_their_number(picture: Callable) -> None:
    file = pillow_heif.HeifFile()
    for side in (32, 48):
        file.add_frombytes("RGB", (side, side), picture(side, side).tobytes())
    stream = io.BytesIO()
    file.save(stream)
    with pytest.raises(FormatError, match="it holds 2 pictures"):
        create_codec(parse_point("heic")).decode(stream.getvalue())


def test_without_x265_it_decodes_and_says_what_encoding_needs(
    picture: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = picture(32, 40)
    data = create_codec(parse_point("heic")).encode(image)
    info = pillow_heif.libheif_info()
    monkeypatch.setattr(pillow_heif, "libheif_info", lambda: {**info, "encoders": {}})
    codec = create_codec(parse_point("heic"))
    assert codec.decode(data).shape == image.shape and codec.version.endswith("no x265")
    for encode in (codec.require_encoder, lambda: codec.encode(image)):
        with pytest.raises(DependencyError, match="without x265.*--only-binary pillow-heif 'pillow-heif>=1.0'"):
            encode()


def test_a_damaged_file_is_refused_or_decodes_to_some_picture(picture: Callable, rng: np.random.Generator) -> None:
    codec = create_codec(parse_point("heic:quality=30"))
    data = codec.encode(picture(32, 32))
    refused = 0
    for _ in range(150):
        bad = bytearray(data)
        bad[rng.integers(len(bad))] = rng.integers(256)
        try:
            assert codec.decode(bytes(bad)).dtype == np.uint8
        except FormatError:
            refused += 1
    assert refused > 10


@pytest.mark.parametrize("shape", [(0, 5, 3), (1, 17000, 3), (65521, 32, 3)])
def test_an_image_that_hevc_cannot_hold_is_a_codec_error(shape: tuple[int, int, int]) -> None:
    with pytest.raises(CodecError, match=f"{shape[1]}x{shape[0]}"):
        create_codec(parse_point("heic")).encode(np.zeros(shape, np.uint8))


def test_every_key_changes_the_file_and_the_identity(picture: Callable) -> None:
    image = picture(96, 96)
    codecs = [
        create_codec(parse_point(spec))
        for spec in ("heic", "heic:quality=51", "heic:chroma=444", "heic:preset=ultrafast", "heic:tune=psnr")
    ]
    assert codecs[0].point.name == "heic:quality=50,chroma=420,preset=slow,tune=ssim"
    assert len({codec.encoder_id for codec in codecs}) == len({codec.encode(image) for codec in codecs}) == len(codecs)


@pytest.mark.parametrize("spec", ["heic:quality=101", "heic:quality=-1", "heic:chroma=411", "heic:preset=best"])
def test_values_out_of_range_are_refused(spec: str) -> None:
    with pytest.raises(SpecError):
        parse_point(spec)


def test_the_version_names_the_libraries() -> None:
    version = create_codec(parse_point("heic")).version
    assert version.startswith(f"pillow-heif {pillow_heif.__version__}, libheif ") and "x265" in version
