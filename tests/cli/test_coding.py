"""`rdp encode`, `decode`, `pack` and `unpack` as a user types them: real processes, their output, their exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rdp
from rdp.codecs import create_codec, parse_point
from rdp.images import read_image, write_png


def program(*arguments: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "rdp", *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def strict(text: str) -> Any:
    def refuse(name: str) -> Any:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """photos/, run/ and selection.json."""
    folder = tmp_path_factory.mktemp("coding")
    (folder / "photos").mkdir()
    for k, name in enumerate(("a.png", "b.png", "c.png")):
        y, x = np.mgrid[0:40, 0 : 48 + 8 * k]
        planes = [128 + 90 * np.sin(x / (4 + c + k)) * np.cos(y / 6) for c in range(3)]
        write_png(folder / "photos" / name, np.stack(planes, -1).astype(np.uint8))
    run = rdp.evaluate(folder / "photos", ["webp:quality=5..95..30"], ["mse", "psnr"], folder / "run", jobs=1)
    rdp.solve(run, minimize="mse", at_most={"bpp": 1.5}).save(folder / "selection.json")
    return folder


def test_an_image_is_encoded_and_decoded(study: Path, tmp_path: Path) -> None:
    image, out, back = study / "photos" / "a.png", tmp_path / "a.webp", tmp_path / "a.png"
    done = program("encode", image, out, "--codec", "webp:quality=50")
    assert done.returncode == 0, done.stderr
    size = out.stat().st_size
    assert done.stdout == f"{out}: {size} bytes, {8 * size / (40 * 48):.4f} bit/pixel, webp:quality=50,method=4\n"
    done = program("decode", out, back)
    assert done.returncode == 0 and done.stdout == f"{back}: 48x40 pixels from {size} bytes of webp\n"
    np.testing.assert_array_equal(read_image(back), create_codec(parse_point("webp")).decode(out.read_bytes()))


def test_files_are_overwritten_only_with_force(study: Path, tmp_path: Path) -> None:
    words = ["encode", study / "photos" / "a.png", tmp_path / "a.jpg", "-c", "jpeg"]
    assert program(*words).returncode == 0
    done = program(*words)
    assert done.returncode == 2 and "--force" in done.stderr
    assert program(*words, "--force").returncode == 0


def test_encode_and_decode_report_as_json(study: Path, tmp_path: Path) -> None:
    done = program("encode", study / "photos" / "b.png", tmp_path / "b.x", "-c", "webp", "--json")
    document = strict(done.stdout)
    assert document["nbytes"] == (tmp_path / "b.x").stat().st_size and document["point"] == "webp:quality=75,method=4"
    assert done.stderr == "note: b.x holds webp, whose files usually end in .webp\n"
    document = strict(program("decode", tmp_path / "b.x", tmp_path / "b.ppm", "--json").stdout)
    assert (document["family"], document["width"], document["height"]) == ("webp", 56, 40)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["encode", "a.png", "a.webp"], "--codec"),
        (["encode", "none.png", "a.webp", "-c", "webp"], "none.png"),
        (["encode", "a.png", "a.webp", "-c", "wepb"], "Did you mean 'webp'"),
        (["encode", "a.png", "a.webp", "-c", "webp:quality=1..3"], "3 operating points"),
        (["encode", "a.png", "a.webp", "-c", "jpeg", "-c", "webp"], "2 are named (jpeg, webp)"),
        (["decode", "a.png", "b.png", "-c", "jpeg", "-c", "png"], "2 are named (jpeg, png)"),
        (["decode", "a.png", "b.jpg"], ".png, .ppm"),
        (["decode", "bad.bin", "b.png"], "--codec"),
    ],
)
def test_bad_words_are_code_2_and_say_what_to_do(words: list[str], expected: str, study: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes((study / "photos" / "a.png").read_bytes())
    (tmp_path / "bad.bin").write_bytes(b"nothing known")
    paths = [str(tmp_path / word) if "." in word and "=" not in word else word for word in words]
    done = program(*paths)
    assert done.returncode == 2 and expected in done.stderr
    assert not (tmp_path / "a.webp").exists()


def test_a_selection_is_delivered_and_unpacked(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "delivery"
    done = program("pack", study / "run", study / "selection.json", "--out", out, "--side-info", "-q")
    assert done.returncode == 0, done.stderr
    assert "3 copied from the run" in done.stdout and "2 bits an image (one of 4 points)" in done.stdout
    assert done.stdout.rstrip().endswith(", charged")
    done = program("unpack", out, "--out", tmp_path / "pictures", "--original", study / "photos", "-q")
    assert done.returncode == 0, done.stderr
    assert "3 of 3 files decoded" in done.stdout and "all as the manifest says" in done.stdout
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["a.png", "b.png", "c.png"]


def test_pack_and_unpack_report_as_json_and_a_mismatch_is_code_1(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "delivery"
    document = strict(program("pack", study / "run", study / "selection.json", "-o", out, "--json", "-q").stdout)
    selection = rdp.load_selection(study / "selection.json")
    assert document["total_bits"] == selection.total_bits == 8 * document["nbytes"]
    assert document["side_information"]["charged"] is False
    document = strict(program("unpack", out, "--check-only", "--json", "-q").stdout)
    assert document["ok"] and document["out"] is None and document["mismatches"] == []
    words = ["unpack", out, "--check-only", "-q", "--selection"]
    assert program(*words, study / "selection.json").returncode == 0
    other = rdp.solve(rdp.open_run(study / "run"), minimize="bpp").save(tmp_path / "other.json")
    done = program(*words, other)
    assert done.returncode == 1 and "chooses other points" in done.stderr
    (out / "files" / "b.webp").write_bytes(b"changed")
    done = program("unpack", out, "--check-only", "--json", "-q")
    assert done.returncode == 1 and "differs: files/b.webp" in done.stderr
    assert [m["where"] for m in strict(done.stdout)["mismatches"]] == ["files/b.webp"]
    done = program("unpack", out, "--check-only", "-q")
    assert done.returncode == 1 and "NOT as the manifest says" in done.stdout


def test_side_information_over_the_budget_is_code_3_with_the_way_out(study: Path, tmp_path: Path) -> None:
    run = rdp.open_run(study / "run")
    average = rdp.load_selection(study / "selection.json").averages["bpp"]
    rdp.solve(run, minimize="mse", at_most={"bpp": average + 1e-7}).save(tmp_path / "s.json")
    done = program("pack", study / "run", tmp_path / "s.json", "-o", tmp_path / "d", "--side-info", "-q")
    assert done.returncode == 3 and "--at-most bpp=" in done.stderr
    assert not (tmp_path / "d").exists()


def test_what_cannot_be_packed_or_unpacked_is_code_2(study: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    done = program("pack", study / "run", study / "selection.json", "-o", tmp_path / "full")
    assert done.returncode == 2 and "not empty" in done.stderr
    done = program("pack", study / "run", tmp_path / "none.json", "-o", tmp_path / "d")
    assert done.returncode == 2 and "none.json" in done.stderr
    done = program("unpack", tmp_path / "full", "--check-only")
    assert done.returncode == 2 and "not complete" in done.stderr
