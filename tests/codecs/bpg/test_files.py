"""Whole files: the reference's decode to its pixels, ours come back and are the same each time, and bad ones fail."""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
import tempfile
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av", reason="needs PyAV: pip install 'av>=15'")

from rdp.codecs.bpg import headers, hevc, picture
from rdp.codecs.bpg.colour import to_rgb
from rdp.codecs.bpg.container import COLOURS, BpgHeader, read_file, write_file
from rdp.codecs.bpg.picture import decode_picture, encode_picture
from rdp.errors import CodecError, FormatError
from rdp.images import read_image, sample_images

DATA = Path(__file__).resolve().parents[2] / "data" / "bpg"
INDEX = json.loads((DATA / "index.json").read_text(encoding="utf-8"))


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    mse = float(np.mean((a.astype(float) - b.astype(float)) ** 2))
    return math.inf if mse == 0 else 10 * math.log10(255**2 / mse)


def check_reference(folder: Path, entry: dict) -> None:
    data = (folder / entry["file"]).read_bytes()
    assert hashlib.sha256(data).hexdigest() == entry["sha256"]
    decoded = decode_picture(data)
    assert decoded.shape == (entry["height"], entry["width"], 3)
    assert hashlib.sha256(decoded.tobytes()).hexdigest() == entry["decoded_rgb_sha256"]


@pytest.mark.parametrize("entry", INDEX, ids=lambda entry: entry["file"])
def test_files_of_the_reference_encoder_decode_to_the_pixels_of_the_reference_decoder(entry: dict) -> None:
    check_reference(DATA, entry)


def test_so_do_the_files_beside_the_checkout(shared: Path) -> None:
    folder = shared / "bpg" / "fixtures"
    entries = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    assert entries
    for entry in entries:
        check_reference(folder, entry)


@pytest.mark.parametrize("mode", ["x265", "hm"])
def test_our_files_are_about_as_large_and_as_good_as_those_of_the_reference(mode: str) -> None:
    word = {"x265": "x265", "hm": "jctvc"}[mode]
    compared = 0
    for entry in INDEX:
        arguments = entry["bpgenc_args"].split()
        options = dict(zip(arguments[::2], arguments[1::2], strict=True))
        if options["-e"] != word or "-c" in options or not (DATA / entry["source"]).is_file():
            continue
        image = read_image(DATA / entry["source"])
        depth = int(options.get("-b", 8))
        ours = encode_picture(image, int(options["-q"]), mode, "veryslow", options["-f"], depth)
        theirs = (DATA / entry["file"]).read_bytes()
        # Single small pictures scatter; a wrong lambda table, QP or depth is off by 8 % and more.
        assert len(ours) == pytest.approx(len(theirs), rel=0.06, abs=8), entry["file"]
        assert psnr(decode_picture(ours), image) == pytest.approx(psnr(decode_picture(theirs), image), abs=0.4)
        compared += 1
    assert compared >= 4


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (7, 8), (15, 15), (16, 16), (17, 15), (5, 300), (65, 63)])
@pytest.mark.parametrize("chroma", ["420", "422", "444"])
@pytest.mark.parametrize("depth", [8, 10])
def test_pictures_of_any_size_come_back(picture, size: tuple[int, int], chroma: str, depth: int) -> None:
    image = picture(*size)
    data = encode_picture(image, 8, "x265", "ultrafast", chroma, depth)
    header = read_file(data).header
    assert (header.height, header.width, header.chroma, header.depth) == (*size, chroma, depth)
    decoded = decode_picture(data)
    assert decoded.shape == image.shape and decoded.dtype == np.uint8
    if chroma == "444":
        assert psnr(decoded, image) > 43


@pytest.mark.parametrize("mode", ["x265", "hm"])
def test_a_finer_quantiser_is_more_bytes_and_less_error(mode: str) -> None:
    image = read_image(sample_images()[0])[:96, :128]
    files = [encode_picture(image, qp, mode, "medium", "444") for qp in (0, 10, 22, 34, 46, 51)]
    errors = [psnr(decode_picture(data), image) for data in files]
    assert sorted(map(len, files), reverse=True) == list(map(len, files))
    assert sorted(errors, reverse=True) == errors and errors[0] > 45


@pytest.mark.slow
@pytest.mark.parametrize(("size", "chroma", "depth"), [((3072, 4096), "420", 8), ((3001, 4001), "444", 10)])
def test_large_pictures_come_back(picture, size: tuple[int, int], chroma: str, depth: int) -> None:
    image = picture(*size)
    decoded = decode_picture(encode_picture(image, 20, "hm", "ultrafast", chroma, depth))
    assert decoded.shape == image.shape and psnr(decoded, image) > 33


def test_a_long_and_narrow_picture_comes_back(picture) -> None:
    image = picture(9000, 3)
    assert decode_picture(encode_picture(image, 20, "x265", "ultrafast")).shape == image.shape


def test_the_bytes_do_not_depend_on_threads_calls_or_the_mode_before() -> None:
    image = read_image(sample_images()[0])[:200, :330]
    settings = [(mode, chroma, depth) for mode in ("x265", "hm") for chroma in ("420", "444") for depth in (8, 10)]

    def encode(setting: tuple[str, str, int], threads: int = 1) -> bytes:
        mode, chroma, depth = setting
        return encode_picture(image, 37, mode, "medium", chroma, depth, threads=threads)

    first = [encode(setting) for setting in settings]
    assert len(set(first)) == len(settings)
    assert [encode(setting, threads=4) for setting in reversed(settings)] == first[::-1]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(encode, settings * 2)) == first * 2
    for data in first:
        assert np.array_equal(decode_picture(data, threads=4), decode_picture(data))


def test_a_folder_for_temporary_files_may_have_any_name(tmp_path: Path, monkeypatch, picture) -> None:
    image = picture(24, 24)
    plain = encode_picture(image, 30, "hm", "ultrafast")
    folder = tmp_path / "a b:c='d' %s"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    assert encode_picture(image, 30, "hm", "ultrafast") == plain
    assert not list(folder.iterdir())


def test_another_process_writes_the_same_bytes(picture) -> None:
    image = picture(40, 72)
    code = (
        "import sys, hashlib, numpy as np; from rdp.codecs.bpg.picture import encode_picture\n"
        "image = np.frombuffer(sys.stdin.buffer.read(), np.uint8).reshape(40, 72, 3)\n"
        "print(hashlib.sha256(encode_picture(image, 30, 'hm', 'medium')).hexdigest())"
    )
    done = subprocess.run([sys.executable, "-c", code], input=image.tobytes(), capture_output=True, check=True)
    # The modes alternate here and not there.
    encode_picture(image, 30, "x265", "medium")
    here = encode_picture(image, 30, "hm", "medium")
    assert done.stdout.decode().strip() == hashlib.sha256(here).hexdigest()


def test_nothing_is_printed_by_the_libraries(capfd, picture) -> None:
    data = encode_picture(picture(20, 20), 30, "x265", "ultrafast")
    with pytest.raises(FormatError):
        decode_picture(data[:12] + b"\xff" * (len(data) - 12))
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_a_picture_larger_than_libx265_codes_is_refused_with_the_limit() -> None:
    wide = np.broadcast_to(np.uint8(0), (1, 65537, 3))
    large = np.broadcast_to(np.uint8(0), (8705, 16384, 3))
    for image in (wide, large):
        with pytest.raises(CodecError, match=r"at most 142,606,336 pixels \(16384x8704\) and sides of at most 65,536"):
            encode_picture(image, 30, "x265", "ultrafast")


def test_a_refusal_of_libx265_is_told(picture) -> None:
    with pytest.raises(CodecError, match="libx265 refuses a picture of 24x24"):
        encode_picture(picture(20, 20), 30, "x265", "no-such-preset")


@pytest.mark.parametrize("entry", INDEX[:9], ids=lambda entry: entry["file"])
def test_a_file_of_the_reference_that_is_cut_is_refused_unless_its_picture_is_whole(entry: dict) -> None:
    """These files do not say their length. What is missing at the very end may be bits that no sample depends on."""
    data = (DATA / entry["file"]).read_bytes()
    whole = decode_picture(data)
    accepted = 0
    for length in {*range(0, 60), *range(60, len(data) - 40, 13), *range(len(data) - 40, len(data))}:
        try:
            assert np.array_equal(decode_picture(data[:length]), whole)
        except FormatError:
            continue
        accepted += 1
        assert len(data) - length <= 2
    assert accepted <= 2


def test_a_file_of_ours_that_is_cut_anywhere_is_refused(picture) -> None:
    data = encode_picture(picture(33, 47), 30, "hm", "fast")
    for length in range(len(data)):
        with pytest.raises(FormatError):
            decode_picture(data[:length])


def rebuilt(data: bytes, **changes) -> bytes:
    """A file with another header around the same picture data."""
    file = read_file(data)
    return write_file(replace(file.header, **changes), file.hevc_header, file.hevc_data)


@pytest.mark.parametrize("size", [(16384, 8704), (4096, 4096), (65536, 2048)])
def test_a_small_file_that_announces_a_large_picture_is_refused(one_file: bytes, size: tuple[int, int]) -> None:
    with pytest.raises(FormatError, match="too little data|ends before the last block"):
        decode_picture(rebuilt(one_file, width=size[0], height=size[1]))


def test_a_picture_of_another_format_than_announced_is_refused(one_file: bytes) -> None:
    for changes in ({"width": 200}, {"chroma": "444"}, {"depth": 10}):
        try:
            decoded = decode_picture(rebuilt(one_file, **changes))
        except FormatError:
            continue
        assert decoded.shape == (95, changes.get("width", 37), 3)


def with_nals(data: bytes, nals: list[bytes]) -> bytes:
    file = read_file(data)
    return write_file(file.header, file.hevc_header, headers.join_nals(nals)[3:])


def test_units_that_bpg_does_not_have_are_refused_and_messages_are_left_out(one_file: bytes) -> None:
    pps, slice_ = headers.split_nals(read_file(one_file).hevc_data)
    sei = b"\x4e\x01\x05\x10" + bytes(range(16)) + b"\x80"
    whole = decode_picture(one_file)
    assert np.array_equal(decode_picture(with_nals(one_file, [pps, sei, slice_])), whole)
    sps = headers.build_parameter_sets(
        headers.read_hevc_header(read_file(one_file).hevc_header), BpgHeader(8, 8, "420")
    )
    for nals, message in (
        ([pps, *sps, slice_], "type 32, which BPG does not have"),
        ([pps, slice_, slice_], "not one whole picture"),
        ([pps], "no picture data"),
        ([slice_], "damaged"),
        ([pps, bytes([slice_[0], slice_[1], slice_[2] & 0x7F]) + slice_[3:]], "not one whole picture"),
    ):
        with pytest.raises(FormatError, match=message):
            decode_picture(with_nals(one_file, nals))


@pytest.mark.parametrize(
    ("count", "message"),
    [(1, "two parameter sets of number 0"), (2000, "NAL units"), (200_000, "bytes of picture data")],
)
def test_repeated_parameter_sets_are_refused_before_memory_is_spent_on_them(
    one_file: bytes, count: int, message: str
) -> None:
    pps, slice_ = headers.split_nals(read_file(one_file).hevc_data)
    data = with_nals(one_file, [pps] * (count + 1) + [slice_])
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=message):
            decode_picture(data)
        assert tracemalloc.get_traced_memory()[1] < 3 * len(data) + 200_000
    finally:
        tracemalloc.stop()


def test_more_slices_than_blocks_and_more_messages_than_any_file_has_are_refused(one_file: bytes) -> None:
    pps, slice_ = headers.split_nals(read_file(one_file).hevc_data)
    later = bytes([slice_[0], slice_[1], slice_[2] & 0x7F]) + slice_[3:9]
    blocks = headers.read_hevc_header(read_file(one_file).hevc_header).blocks(37, 95)
    with pytest.raises(FormatError, match=f"more slices than the {blocks} blocks"):
        decode_picture(with_nals(one_file, [pps, slice_] + [later] * blocks))
    sei = b"\x4e\x01\x05\x10" + bytes(range(1, 17)) + b"\x80"
    whole = decode_picture(one_file)
    assert np.array_equal(decode_picture(with_nals(one_file, [pps, *[sei] * 60, slice_])), whole)
    with pytest.raises(FormatError, match="NAL units"):
        decode_picture(with_nals(one_file, [pps, *[sei] * 2000, slice_]))


def test_a_parameter_set_of_a_number_that_does_not_exist_is_refused(one_file: bytes) -> None:
    _, slice_ = headers.split_nals(read_file(one_file).hevc_data)
    pps = b"\x44\x01" + int("0000001000001" + "1" * 11, 2).to_bytes(3, "big")  # ue(64), and the rest
    with pytest.raises(FormatError, match="number 64; the last one is 63"):
        decode_picture(with_nals(one_file, [pps, slice_]))


@pytest.mark.parametrize("chroma", ["420", "422", "444"])
@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("size", [(1, 1), (16, 16), (200, 150)])
def test_the_worst_noise_at_the_finest_quantiser_is_far_within_the_bound_of_data(
    rng: np.random.Generator, chroma: str, depth: int, size: tuple[int, int]
) -> None:
    image = (rng.integers(0, 2, (*size, 3)) * 255).astype(np.uint8)
    data = encode_picture(image, 0, "hm", "ultrafast", chroma, depth)
    assert decode_picture(data).shape == image.shape
    samples = size[0] * size[1] * {"420": 1.5, "422": 2, "444": 3}[chroma]
    assert len(data) < 1.6 * samples * depth / 8 + 400


def test_lossless_files_that_ffmpeg_would_decode_wrongly_are_refused(one_file: bytes) -> None:
    file = read_file(one_file)
    tools = replace(headers.read_hevc_header(file.hevc_header), range_flags=(False, False, True, *[False] * 6))
    bits = "11" + "0000000" + "111" + "000" + "11" + "000" + "1" + "000"
    pps = b"\x44\x01" + int(bits, 2).to_bytes(3, "big")
    nals = headers.join_nals([pps, headers.split_nals(file.hevc_data)[1]])[3:]
    with pytest.raises(FormatError, match="lossless BPG files with implicit RDPCM"):
        decode_picture(write_file(file.header, headers.write_hevc_header(tools), nals))


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("depth", [8, 10, 12])
def test_planes_of_all_depths_and_colour_spaces_are_decoded(colour: str, depth: int) -> None:
    rng = np.random.default_rng(depth)
    planes = [np.kron(rng.integers(0, 2**depth, (3, 4)), np.ones((16, 16), int)) for _ in range(3)]
    planes = [plane.astype(np.uint8 if depth == 8 else np.uint16) for plane in planes]
    coding = hevc.Coding(4, "hm", "ultrafast", "444", depth, 8)
    data = picture.wrap(hevc.encode_planes(planes, coding), BpgHeader(64, 48, "444", depth, colour), 8)
    decoded = decode_picture(data)
    assert psnr(decoded, to_rgb(planes, BpgHeader(64, 48, "444", depth, colour))) > 40


@pytest.mark.parametrize("chroma", ["420", "444"])
def test_nine_bits_are_decoded(chroma: str) -> None:
    """No encoder at hand writes 9 bits; but the middle of the range is the middle at any depth."""
    flat = encode_picture(np.full((40, 24, 3), 128, np.uint8), 30, "hm", "ultrafast", chroma)
    assert (decode_picture(rebuilt(flat, depth=9)) == 128).all()


def test_gray_files_are_decoded() -> None:
    plane = np.kron(np.arange(12).reshape(3, 4) * 20, np.ones((16, 16), int)).astype(np.uint8)
    coding = hevc.Coding(4, "hm", "ultrafast", "gray", 8, 8)
    decoded = decode_picture(picture.wrap(hevc.encode_planes([plane], coding), BpgHeader(64, 48, "gray"), 8))
    assert psnr(decoded, np.stack([plane] * 3, axis=-1)) > 40


def test_damaged_files_give_a_refusal_or_a_picture_and_never_bring_the_process_down(root: Path) -> None:
    """The short form of `python benchmarks/bpg_fuzz.py`."""
    if os.name != "posix":
        pytest.skip("the fuzzer reads memory as POSIX systems tell it")
    command = [
        sys.executable,
        root / "benchmarks" / "bpg_fuzz.py",
        "--count",
        "600",
        "--seed",
        "5000000",
        "--jobs",
        "1",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "600 files decoded" in done.stdout and "0 failures" in done.stdout
