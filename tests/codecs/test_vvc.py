"""VVC still pictures: standard streams that FFmpeg shows in the right colours, the size from the file alone."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdp.codecs import create_codec, parse_point, parse_points, registry
from rdp.codecs.vvc import _number, _pad, _padded, _read_size, _to_planes, _to_rgb
from rdp.errors import CodecError, DependencyError, FormatError, SpecError
from rdp.images import read_image, sample_images

IMPLEMENTATION = "rdp.codecs.vvc:Vvc"
POINTS = ["vvc:qp=30,preset=faster", "vvc:qp=30,preset=faster,depth=8", "vvc:qp=12,preset=fast"]
HEADER = b"\x00\x00\x00\x01\x00\xe1"

imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="imageio-ffmpeg is not installed")
pytest.importorskip("av", reason="PyAV is not installed")

# What a fresh interpreter does before it uses the codec.
START = f"""
import hashlib, os, sys
import numpy as np
from rdp.codecs import create_codec, parse_point, registry
registry.FAMILIES["vvc"] = {IMPLEMENTATION!r}
y, x = np.mgrid[0:130, 0:150]
image = np.stack([(x * y) % 251, (x + y) % 256, (3 * x - y) % 256], -1).astype(np.uint8)
def digest():
    return hashlib.sha256(create_codec(parse_point("vvc:qp=35,preset=faster")).encode(image)).hexdigest()
"""


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.FAMILIES, "vvc", IMPLEMENTATION)


@pytest.fixture(scope="module", autouse=True)
def _libvvenc() -> None:
    """Not every ffmpeg program has libvvenc: without it these tests are skipped."""
    done = subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-h", "encoder=libvvenc"], capture_output=True, check=False)
    if b"Encoder libvvenc" not in done.stdout:
        pytest.skip("this ffmpeg program has no libvvenc")


def run(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", START + code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )
    return done.stdout.strip()


def ffmpeg(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", *arguments], capture_output=True, check=True
    )


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    mse = float(np.mean((a.astype(float) - b.astype(float)) ** 2))
    return math.inf if mse == 0 else 10 * math.log10(255**2 / mse)


@pytest.mark.parametrize("spec", POINTS)
@pytest.mark.parametrize("size", [(64, 64), (37, 61), (1, 1), (2, 3), (8, 8), (15, 64), (17, 200), (128, 129)])
def test_a_file_decodes_to_an_image_of_the_same_size(spec: str, size: tuple[int, int], picture: Callable) -> None:
    image = picture(*size)
    codec = create_codec(parse_point(spec))
    decoded = codec.decode(codec.encode(image))
    assert decoded.shape == image.shape and decoded.dtype == np.uint8 and decoded.flags["C_CONTIGUOUS"]
    if min(size) > 30:
        assert psnr(image, decoded) > 24


@pytest.mark.parametrize("depth", [8, 10])
def test_a_standard_decoder_shows_the_right_size_and_colours(depth: int, tmp_path) -> None:
    """FFmpeg's program finds a VVC stream behind the unit that holds the size, and converts it by what its VUI says."""
    image = read_image(sample_images()[2])
    codec = create_codec(parse_point(f"vvc:qp=22,preset=faster,depth={depth}"))
    path = tmp_path / "x.vvc"
    path.write_bytes(codec.encode(image))
    flags = ("-sws_flags", "accurate_rnd+full_chroma_int+bilinear")
    raw = ffmpeg("-loglevel", "error", "-i", str(path), *flags, "-pix_fmt", "rgb24", "-f", "rawvideo", "-").stdout
    seen = np.frombuffer(raw, np.uint8).reshape(image.shape)
    assert psnr(seen, codec.decode(path.read_bytes())) > 48
    assert np.abs((seen.astype(float) - image).mean((0, 1))).max() < 1
    words = ffmpeg("-i", str(path), "-c", "copy", "-f", "null", "-").stderr.decode()
    assert "Video: vvc" in words and "(pc, smpte170m/bt709/iec61966-2-1)" in words and "600x400" in words


def test_the_stream_is_one_still_picture_that_says_where_its_chroma_lies(tmp_path, picture: Callable) -> None:
    path = tmp_path / "x.vvc"
    path.write_bytes(create_codec(parse_point("vvc:qp=40,preset=faster")).encode(picture(40, 48)))
    words = ffmpeg("-i", str(path), "-c", "copy", "-bsf:v", "trace_headers", "-f", "null", "-").stderr.decode()
    found = {line.split()[-4]: line.split()[-1] for line in words.splitlines() if line.count(" = ") == 1}
    assert found["general_profile_idc"] == "65"  # Main 10 Still Picture
    assert found["sps_chroma_format_idc"] == "1" and found["sps_bitdepth_minus8"] == "2"
    assert found["vui_full_range_flag"] == "1" and found["vui_chroma_sample_loc_type_frame"] == "1"


def test_all_bytes_count_and_the_size_costs_few_of_them(picture: Callable) -> None:
    data = create_codec(parse_point("vvc:qp=40,preset=faster")).encode(picture(37, 61))
    width, height, stream = _read_size(data)
    assert (width, height) == (61, 37) and data.endswith(stream)
    assert 0 < len(data) - len(stream) <= 18 and stream.startswith(b"\x00\x00\x00\x01")


@given(st.integers(1, 2**35 - 1), st.integers(1, 2**35 - 1), st.binary(min_size=1, max_size=300))
def test_the_size_survives_and_holds_no_start_code(width: int, height: int, stream: bytes) -> None:
    unit = HEADER[4:] + b"".join(_number(value) for value in (width, height, len(stream))) + b"\x80"
    assert b"\x00\x00" not in unit[1:]
    assert _read_size(HEADER[:4] + unit + stream) == (width, height, stream)


def test_the_colour_arithmetic_is_the_textbook_s() -> None:
    """Y'CbCr of BT.601 in full range, of plain colours: written out by hand."""
    colours = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    expected = [(0, 512, 512), (1023, 512, 512), (306, 339, 1023), (601, 173, 84), (117, 1023, 429)]
    for colour, values in zip(colours, expected, strict=True):
        planes = _to_planes(np.broadcast_to(colour, (4, 4, 3)), 10)
        assert [plane.shape for plane in planes] == [(4, 4), (2, 2), (2, 2)]
        assert tuple(int(plane[0, 0]) for plane in planes) == values


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
def test_a_plain_colour_survives_the_conversion_in_10_bit(red: int, green: int, blue: int) -> None:
    image = np.full((16, 16, 3), (red, green, blue), np.uint8)
    planes = [plane.astype("<u2") for plane in _to_planes(image, 10)]
    assert np.abs(_to_rgb(planes).astype(int) - image).max() <= 1


def test_chroma_is_interpolated_between_its_centres() -> None:
    """A ramp of chroma comes back as a ramp: chroma that is repeated, or sited elsewhere, would not."""
    ramp = np.zeros((16, 32, 3), np.uint8)
    ramp[..., 0], ramp[..., 1], ramp[..., 2] = 60 + 4 * np.arange(32), 128, 196 - 4 * np.arange(32)
    planes = [plane.astype("<u2") for plane in _to_planes(ramp, 10)]
    back = _to_rgb(planes).astype(int)
    assert np.abs(back - ramp)[:, 1:-1].max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (15, 16), (17, 33), (40, 40)])
def test_padding_repeats_the_edge_to_even_sides(size: tuple[int, int], picture: Callable) -> None:
    image = picture(*size)
    padded = _pad(image)
    assert padded.shape[:2] == _padded(*size) and all(side % 2 == 0 and side >= 16 for side in padded.shape[:2])
    assert np.array_equal(padded[: size[0], : size[1]], image) and np.array_equal(padded[-1, -1], image[-1, -1])


@pytest.mark.parametrize("spec", POINTS)
def test_encoding_twice_gives_the_same_bytes(spec: str, picture: Callable) -> None:
    image = picture(48, 80)
    first, second = create_codec(parse_point(spec)), create_codec(parse_point(spec))
    assert first.encode(image) == first.encode(image) == second.encode(image)
    assert first.encoder_id == second.encoder_id


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be taken away here")
def test_the_file_is_the_same_on_one_core() -> None:
    assert run("os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); print(digest())") == run("print(digest())")


@pytest.mark.parametrize(("hidden", "package"), [("imageio_ffmpeg", "imageio-ffmpeg"), ("av", "av")])
def test_without_a_package_it_says_what_to_install(hidden: str, package: str) -> None:
    code = f"""
from rdp.errors import DependencyError
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {hidden!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocker())
try:
    digest()
except DependencyError as error:
    print(error)
"""
    words = run(code)
    assert "pip install" in words and f"'{package}>=" in words


@pytest.mark.skipif(os.name == "nt", reason="stands in for ffmpeg with a shell script")
def test_an_ffmpeg_without_libvvenc_is_named(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\necho \"Codec 'libvvenc' is not recognized by FFmpeg.\"\n")
    program.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))
    codec = create_codec(parse_point("vvc"))
    for encode in (codec.require_encoder, lambda: codec.encode(np.zeros((16, 16, 3), np.uint8))):
        with pytest.raises(DependencyError, match="without libvvenc"):
            encode()


@pytest.mark.skipif(os.name == "nt", reason="stands in for ffmpeg with a file that is no program")
def test_an_ffmpeg_that_does_not_start_is_named(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "ffmpeg"
    program.write_bytes(b"\x7fELF, and no program")
    program.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))
    with pytest.raises(DependencyError, match=f"{program}.*IMAGEIO_FFMPEG_EXE"):
        create_codec(parse_point("vvc")).require_encoder()


def test_without_imageio_ffmpeg_a_file_decodes(monkeypatch: pytest.MonkeyPatch, picture: Callable) -> None:
    image = picture(40, 48)
    data = create_codec(parse_point("vvc:preset=faster")).encode(image)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    codec = create_codec(parse_point("vvc"))
    assert codec.decode(data).shape == image.shape and codec.version.endswith("no libvvenc")
    with pytest.raises(DependencyError, match="to encode .*pip install 'imageio-ffmpeg>=0.6'"):
        codec.require_encoder()


def test_more_qp_is_fewer_bytes_and_more_error() -> None:
    image = read_image(sample_images()[1])
    sizes, errors = [], []
    for point in parse_points("vvc:qp=45|35|25|15|5,preset=faster"):
        codec = create_codec(point)
        data = codec.encode(image)
        sizes.append(len(data))
        errors.append(psnr(image, codec.decode(data)))
    assert sizes == sorted(sizes) and errors == sorted(errors) and errors[0] > 27 and errors[-1] > 40


@pytest.mark.slow
def test_it_is_better_than_avif_at_the_same_rate() -> None:
    """A wrong matrix, a wrong range or no colour transform would cost decibels."""
    image = read_image(sample_images()[2])
    vvc, avif = create_codec(parse_point("vvc:qp=32,preset=medium")), create_codec(parse_point("avif:quality=50"))
    files = [codec.encode(image) for codec in (vvc, avif)]
    errors = [psnr(image, codec.decode(data)) for codec, data in zip((vvc, avif), files, strict=True)]
    slope = 4.5 * math.log2(len(files[0]) / len(files[1]))  # dB a doubling of the rate, about
    assert errors[0] - slope > errors[1]


@pytest.mark.parametrize("spec", POINTS)
@pytest.mark.parametrize("damage", ["empty", "text", "cut", "last byte", "more", "size only", "another size", "bare"])
def test_what_is_no_file_of_the_format_is_refused(spec: str, damage: str, picture: Callable) -> None:
    codec = create_codec(parse_point(spec))
    data = codec.encode(picture(64, 64))
    assert data[len(HEADER) : len(HEADER) + 2] == b"\x40\x40"
    bad = {
        "empty": b"",
        "text": b"hello" * 30,
        "cut": data[: len(data) // 3],
        "last byte": data[:-1],
        "more": data + b"\x00",
        "size only": data[:9],
        "another size": data[: len(HEADER)] + b"\x7f" + data[len(HEADER) + 1 :],
        "bare": _read_size(data)[2],
    }
    with pytest.raises(FormatError, match="vvc"):
        codec.decode(bad[damage])


def test_a_damaged_file_is_refused_or_decodes_to_the_size_it_says(picture: Callable, rng: np.random.Generator) -> None:
    codec = create_codec(parse_point("vvc:qp=30,preset=faster"))
    data = codec.encode(picture(40, 40))
    refused = 0
    for _ in range(150):
        bad = bytearray(data)
        bad[rng.integers(len(bad))] = rng.integers(256)
        try:
            decoded = codec.decode(bytes(bad))
            width, height, _ = _read_size(bytes(bad))
            assert decoded.shape == (height, width, 3)
        except FormatError:
            refused += 1
    assert refused > 10


@pytest.mark.parametrize("shape", [(0, 5, 3), (1, 25329, 3), (9000, 9000, 3)])
def test_an_image_that_vvc_cannot_hold_is_a_codec_error(shape: tuple[int, int, int]) -> None:
    image = np.broadcast_to(np.zeros(3, np.uint8), shape)
    with pytest.raises(CodecError, match=f"{shape[1]}x{shape[0]}"):
        create_codec(parse_point("vvc")).encode(image)


def test_the_longest_side_works() -> None:
    codec = create_codec(parse_point("vvc:qp=50,preset=faster"))
    image = np.zeros((1, 25328, 3), np.uint8)
    assert codec.decode(codec.encode(image)).shape == image.shape


def test_every_key_changes_the_file_and_the_identity(picture: Callable) -> None:
    image = picture(96, 96)
    specs = ("vvc:preset=faster", "vvc:preset=faster,qp=33", "vvc:preset=fast", "vvc:preset=faster,depth=8")
    codecs = [create_codec(parse_point(spec)) for spec in specs]
    assert codecs[0].point.name == "vvc:qp=32,preset=faster,depth=10"
    assert len({codec.encoder_id for codec in codecs}) == len({codec.encode(image) for codec in codecs}) == len(codecs)


@pytest.mark.parametrize("spec", ["vvc:qp=64", "vvc:qp=-1", "vvc:preset=placebo", "vvc:depth=12", "vvc:chroma=444"])
def test_values_out_of_range_are_refused(spec: str) -> None:
    with pytest.raises(SpecError):
        parse_point(spec)


def test_the_version_names_program_and_library() -> None:
    version = create_codec(parse_point("vvc")).version
    assert version.startswith("ffmpeg ") and "libvvenc 1" in version
