"""Deliveries: what is packed is what was chosen, and what is unpacked is what was packed, or it is said."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import rdp
from rdp.codecs import create_codec, parse_point, registry
from rdp.codecs import files as files_module
from rdp.codecs.files import FileError
from rdp.errors import DependencyError, ImageError, InfeasibleError, SpecError, TableError
from rdp.images import hash_bytes, read_image, write_png
from rdp.report import pack as pack_module
from rdp.report.delivery_names import (
    PackError,
    check_names,
    delivery_names,
    is_safe,
    picture_name,
    read_inside,
    safe_component,
)
from rdp.report.manifest import read_manifest
from rdp.report.pack import pack
from rdp.report.side_information import SideInformationError, entropy, fixed_length
from rdp.report.unpack import unpack
from rdp.selection import Selection

CODECS = [
    "jpeg:quality=20|80",
    "webp:quality=20|80",
    "jpeg2000:rate=0.8",
    "avif:quality=30,speed=10",
    "png",
]
FIXED = {
    "a.png": "jpeg:quality=80,subsampling=420,optimise=false,progressive=false",
    "b.png": "webp:quality=20,method=4",
    "c.png": "png:level=9",
    "more/a.png": "jpeg2000:rate=0.8,irreversible=true",
    "more/d.png": "avif:quality=30,speed=10,subsampling=420",
}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with photos/ (five pictures, one name twice), and run/ of them at seven points of five families."""
    folder = tmp_path_factory.mktemp("study")
    rng = np.random.default_rng(4)
    (folder / "photos" / "more").mkdir(parents=True)
    for k, name in enumerate(FIXED):
        y, x = np.mgrid[0 : 32 + 5 * k, 0 : 48 + 3 * k]
        planes = [128 + 80 * np.sin(x / (5 + k + c)) * np.cos(y / 7) + rng.normal(0, 5, x.shape) for c in range(3)]
        write_png(folder / "photos" / name, np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8))
    rdp.evaluate(folder / "photos", CODECS, ["mse", "psnr", "haarpsi"], folder / "run", jobs=1)
    yield folder


@pytest.fixture
def run(study: Path) -> rdp.Run:
    return rdp.open_run(study / "run")


@pytest.fixture
def of_all(run: rdp.Run) -> Selection:
    """Every image at another family."""
    return rdp.solve(run, minimize="mse", at_most={"bpp": 24.0}, fix=FIXED)


@pytest.fixture
def packed(run: rdp.Run, of_all: Selection, tmp_path: Path) -> Path:
    """A delivery of that selection."""
    return pack(run, of_all, tmp_path / "delivery").out


def listing(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def strict(path: Path) -> Any:
    def refuse(name: str) -> Any:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def edit(folder: Path, change: Callable[[Any], Any]) -> None:
    document = json.loads((folder / "manifest.json").read_text())
    change(document)
    (folder / "manifest.json").write_text(json.dumps(document))


# ---- round trips


def test_a_delivery_of_every_family_unpacks_to_what_was_evaluated(
    run: rdp.Run, of_all: Selection, study: Path, tmp_path: Path
) -> None:
    done = pack(run, of_all, tmp_path / "delivery")
    assert listing(done.out) == [
        "files/a.jpg",
        "files/b.webp",
        "files/c.png",
        "files/more/a.jp2",
        "files/more/d.avif",
        "manifest.json",
        "selection.json",
    ]
    assert (done.copied, done.encoded, done.nbytes) == (5, 0, of_all.total_bits // 8)
    found = unpack(done.out, tmp_path / "out", original=study / "photos")
    assert found.mismatches == () and found.decoded == 5
    assert listing(tmp_path / "out") == ["a.png", "b.png", "c.png", "more/a.png", "more/d.png"]
    for image, point in FIXED.items():
        file = next(one for one in done.manifest.files if one.image == image)
        data = done.out.joinpath(file.file).read_bytes()
        codec = create_codec(parse_point(point))
        assert file.point == point and hash_bytes(data) == file.file_sha256
        assert data == codec.encode(read_image(study / "photos" / image))
        np.testing.assert_array_equal(read_image(tmp_path / "out" / image), codec.decode(data))
    checked = {one.column: one for one in found.averages}
    for column in ("bpp", "nbytes", "mse", "psnr", "haarpsi"):
        assert checked[column].found == pytest.approx(of_all.averages[column], rel=1e-9)
    assert math.isinf(of_all.averages["psnr"])  # the lossless point: infinity travels through strict JSON


def test_the_manifest_says_what_was_asked_what_came_out_and_what_made_it(packed: Path, of_all: Selection) -> None:
    document = strict(packed / "manifest.json")
    assert (document["format"], document["version"], document["rdp_version"]) == ("rdp pack", 2, rdp.__version__)
    assert document["selection"]["statement"] == of_all.problem.statement.to_dict()
    assert document["selection"]["points"] == list(of_all.problem.points)
    assert document["total_bits"] == of_all.total_bits
    assert document["protocol"]["exif"] == "ignore"
    averages = {one["column"]: one for one in document["averages"]}
    assert averages["bpp"]["average"] == of_all.averages["bpp"]
    assert (averages["psnr"]["average"], averages["psnr"]["average_is"]) == (None, "inf")
    (budget,) = document["budgets"]
    assert (budget["column"], budget["budget"], budget["average"]) == ("bpp", 24.0, of_all.averages["bpp"])
    assert sum(point["images"] for point in document["points"]) == 5
    assert any("libwebp" in version for point in document["points"] for version in point["codec_versions"])
    assert {metric["name"] for metric in document["metrics"]} == {"mse", "psnr", "haarpsi"}
    assert json.loads(read_manifest(packed).to_bytes()) == document


def test_check_only_writes_nothing(packed: Path, tmp_path: Path) -> None:
    before = listing(tmp_path)
    assert unpack(packed, tmp_path / "out", check_only=True).ok
    assert listing(tmp_path) == before and not (tmp_path / "out").exists()
    with pytest.raises(FileError, match="--out"):
        unpack(packed)


def test_a_selection_from_its_file_is_checked_against_the_run(
    run: rdp.Run, of_all: Selection, study: Path, tmp_path: Path
) -> None:
    of_all.save(tmp_path / "s.json")
    assert pack(study / "run", tmp_path / "s.json", tmp_path / "d").manifest.total_bits == of_all.total_bits
    document = json.loads((tmp_path / "s.json").read_text())
    document["averages"] = [
        entry | ({"average": entry["average"] * 1.01} if entry["column"] == "bpp" else {})
        for entry in document["averages"]
    ]
    (tmp_path / "s.json").write_text(json.dumps(document))
    with pytest.raises(TableError, match="does not belong to"):
        pack(run, tmp_path / "s.json", tmp_path / "e")
    assert not (tmp_path / "e").exists()


def test_renamed_columns_of_a_selection_are_understood(run: rdp.Run, study: Path, tmp_path: Path) -> None:
    selection = rdp.solve(study / "run", maximize="quality", at_most={"bpp": 2}, columns={"quality": "haarpsi"})
    selection.save(tmp_path / "s.json")
    done = pack(run, tmp_path / "s.json", tmp_path / "d")
    assert done.manifest.averages[0].column == "quality" and unpack(done.out, check_only=True).ok


def test_averages_by_pixels_and_caps_are_checked_as_they_were_meant(run: rdp.Run, study: Path, tmp_path: Path) -> None:
    selection = rdp.solve(
        run, maximize="psnr", at_most={"bpp": 12}, weights={"bpp": "pixels", "psnr": "pixels"}, cap={"psnr": 50}
    )
    done = pack(run, selection, tmp_path / "d")
    assert done.side_information.weighting == "pixels"
    pixels = [file.width * file.height for file in done.manifest.files]
    assert done.side_information.bpp_files == pytest.approx(done.manifest.total_bits / sum(pixels), rel=1e-12)
    found = unpack(done.out, check_only=True, original=study / "photos")
    assert found.ok, found.mismatches
    assert next(one for one in found.averages if one.column == "psnr").found == pytest.approx(selection.objective)


def test_several_datasets_keep_apart(study: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        shutil.copy(study / "photos" / f"{'ab'[name == 'two']}.png", tmp_path / name / "same.png")
    run = rdp.evaluate([tmp_path / "one", tmp_path / "two"], ["webp"], ["mse"], tmp_path / "run", jobs=1)
    done = pack(run, rdp.solve(run, minimize="mse"), tmp_path / "d")
    assert listing(done.out) == ["files/one/same.webp", "files/two/same.webp", "manifest.json", "selection.json"]
    assert unpack(done.out, tmp_path / "out", original=[tmp_path / "one", tmp_path / "two"]).ok


# ---- files that were not kept


@pytest.fixture
def emptied(study: Path, tmp_path: Path) -> Path:
    """The run without its kept files."""
    shutil.copytree(study / "run", tmp_path / "emptied")
    shutil.rmtree(tmp_path / "emptied" / "objects")
    return tmp_path / "emptied"


def test_files_that_were_not_kept_are_encoded_again(emptied: Path, of_all: Selection, packed: Path) -> None:
    done = pack(emptied, of_all, packed.parent / "again")
    assert (done.copied, done.encoded) == (0, 5)
    for name in listing(packed / "files"):
        assert (packed / "files" / name).read_bytes() == (done.out / "files" / name).read_bytes()


def test_a_damaged_kept_file_is_noticed_and_encoded_again(study: Path, of_all: Selection, tmp_path: Path) -> None:
    shutil.copytree(study / "run", tmp_path / "run")
    run = rdp.open_run(tmp_path / "run")
    sha256 = pack(run, of_all, tmp_path / "d").manifest.files[0].file_sha256
    run.object_path(sha256).write_bytes(b"rot")
    done = pack(run, of_all, tmp_path / "e")
    assert (done.copied, done.encoded) == (4, 1) and "1 kept files" in done.notes[0]
    assert unpack(done.out, check_only=True).ok


def test_images_are_needed_only_then_and_must_be_the_same(
    emptied: Path, of_all: Selection, study: Path, tmp_path: Path
) -> None:
    (emptied / "images.parquet").unlink()
    with pytest.raises(PackError, match="--images"):
        pack(emptied, of_all, tmp_path / "d")
    shutil.copytree(study / "photos", tmp_path / "renamed")
    assert pack(emptied, of_all, tmp_path / "d", images=tmp_path / "renamed").encoded == 5
    shutil.copy(tmp_path / "renamed" / "b.png", tmp_path / "renamed" / "a.png")
    with pytest.raises(PackError, match="not the image that was evaluated"):
        pack(emptied, of_all, tmp_path / "e", images=tmp_path / "renamed")
    (tmp_path / "renamed" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(ImageError, match="cannot be encoded again"):
        pack(emptied, of_all, tmp_path / "e", images=tmp_path / "renamed")
    assert not (tmp_path / "e").exists()


VERSIONED = """
from rdp.codecs import Codec, Key
from rdp.codecs.png import Png
import os

class Versioned(Png):
    family = "versioned"
    keys = (*Png.keys, Key("decoder", "integer", "decoder of the same file", default=0, minimum=0, maximum=3,
            changes_file=False))
    @property
    def version(self):
        return "versioned " + os.environ.get("VERSIONED", "1")
    def encode(self, image):
        return super().encode(image) + os.environ.get("VERSIONED", "1").encode()
    def decode(self, data):
        pixels = super().decode(data)
        return pixels if os.environ.get("VERSIONED", "1") != "3" else 255 - pixels
"""


@pytest.fixture
def versioned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Registers a family whose version, and bytes with it, the variable VERSIONED sets; version 3 decodes wrongly."""
    folder = tmp_path / "module"
    folder.mkdir()
    (folder / "versioned_codec.py").write_text(VERSIONED)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setitem(registry.FAMILIES, "versioned", "versioned_codec:Versioned")
    return monkeypatch


def test_another_version_that_gives_other_bytes_is_refused_with_both_versions(
    versioned: pytest.MonkeyPatch, study: Path, tmp_path: Path
) -> None:
    run = rdp.evaluate(study / "photos", ["versioned"], ["mse"], tmp_path / "run", jobs=1, keep="none")
    selection = rdp.solve(run, minimize="mse")
    assert pack(run, selection, tmp_path / "same").encoded == 5
    versioned.setenv("VERSIONED", "2")
    with pytest.raises(PackError, match=r"other bytes.*versioned 1.*versioned 2.*--redo"):
        pack(run, selection, tmp_path / "other")
    assert not (tmp_path / "other").exists()
    versioned.setenv("VERSIONED", "3")
    found = unpack(tmp_path / "same", check_only=True)
    assert len(found.mismatches) == 5
    assert "another picture" in found.mismatches[0].message and "versioned 3" in found.mismatches[0].message


def test_files_that_do_not_say_their_decoder_are_counted(
    versioned: pytest.MonkeyPatch, study: Path, tmp_path: Path
) -> None:
    run = rdp.evaluate(study / "photos", ["versioned:decoder=0..3", "png"], ["mse"], tmp_path / "run", jobs=1)
    selection = rdp.solve(run, minimize="mse", fix={"a.png": "png:level=9", "b.png": "versioned:level=9,decoder=2"})
    side = pack(run, selection, tmp_path / "d").side_information
    assert side.images_that_need_it == 5 - list(selection.chosen.values()).count("png:level=9")
    assert "a receiver needs the number" in side.explanation
    assert unpack(tmp_path / "d", check_only=True).ok


# ---- side information


def test_side_information_is_what_its_definition_says(packed: Path) -> None:
    side = read_manifest(packed).side_information
    assert (side.points, side.points_used, side.images) == (7, 5, 5)
    assert (side.bits_per_image, side.bits_per_image_used_points, side.total_bits) == (3, 3, 15)
    assert side.log2_points == math.log2(7) and side.entropy_bits_per_image == pytest.approx(math.log2(5))
    files = read_manifest(packed).files
    assert side.bpp == pytest.approx(sum(3 / (file.width * file.height) for file in files) / 5)
    assert side.bpp_total == side.bpp_files + side.bpp
    assert side.images_that_need_it == 0 and not side.charged


@given(st.integers(1, 10_000))
def test_a_fixed_length_names_every_point_and_none_shorter_does(points: int) -> None:
    assert 2 ** fixed_length(points) >= points > 2 ** (fixed_length(points) - 1) - (points == 1)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=40).filter(any))
def test_entropy_is_at_least_nothing_and_at_most_the_fixed_length(counts: list[int]) -> None:
    bits = entropy(counts)
    assert bits == pytest.approx(stats.entropy(counts, base=2), abs=1e-9)
    assert 0 <= bits <= math.log2(len(counts)) + 1e-9


def test_charged_side_information_must_fit_the_budget_and_the_advice_works(run: rdp.Run, tmp_path: Path) -> None:
    loose = rdp.solve(run, minimize="mse", at_most={"bpp": 2.0})
    tight = loose.averages["bpp"] + 1e-6
    selection = rdp.solve(run, minimize="mse", at_most={"bpp": tight})
    assert not pack(run, selection, tmp_path / "stated").side_information.charged
    with pytest.raises(SideInformationError, match="passes the budget") as caught:
        pack(run, selection, tmp_path / "charged", side_info=True)
    assert caught.value.exit_code == 3 and not (tmp_path / "charged").exists()
    advised = float(str(caught.value).partition("--at-most bpp=")[2].split(",")[0])
    again = rdp.solve(run, minimize="mse", at_most={"bpp": advised})
    done = pack(run, again, tmp_path / "charged", side_info=True)
    assert done.side_information.charged and done.side_information.bpp_total <= tight
    assert unpack(done.out, check_only=True).ok


def test_bounds_on_each_image_are_charged_too(run: rdp.Run, tmp_path: Path) -> None:
    free = rdp.solve(run, minimize="mse", points=["webp:*"])
    worst = max(8 * one.nbytes / (one.width * one.height) for one in pack(run, free, tmp_path / "d").manifest.files)
    bound = rdp.solve(run, minimize="mse", each_at_most={"bpp": worst + 1e-6}, points=["webp:*"])
    with pytest.raises(SideInformationError, match=r"--each-at-most bpp="):
        pack(run, bound, tmp_path / "e", side_info=True)


def test_one_point_needs_no_bits(run: rdp.Run, tmp_path: Path) -> None:
    selection = rdp.solve(run, minimize="mse", points=["png:*"])
    side = pack(run, selection, tmp_path / "d", side_info=True).side_information
    assert (side.points, side.bits_per_image, side.total_bits, side.entropy_bits_per_image) == (1, 0, 0, 0)


def test_a_selection_without_choices_is_refused_as_that(run: rdp.Run, tmp_path: Path) -> None:
    with pytest.raises(InfeasibleError):
        pack(run, rdp.solve(run, minimize="mse", at_most={"bpp": 1e-4}), tmp_path / "d")
    assert not (tmp_path / "d").exists()


# ---- tampering


def one_mismatch(folder: Path, where: str, words: str) -> None:
    found = unpack(folder, check_only=True)
    assert not found.ok
    assert any(m.where == where and words in m.message for m in found.mismatches), found.mismatches


def test_a_changed_byte_is_found_and_the_file_not_decoded(packed: Path, tmp_path: Path) -> None:
    path = packed / "files" / "c.png"
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    found = unpack(packed, tmp_path / "out")
    assert [m.where for m in found.mismatches] == ["files/c.png"] and "not those delivered" in str(found.mismatches[0])
    assert found.decoded == 4 and not (tmp_path / "out" / "c.png").exists()


def test_missing_longer_and_swapped_files_are_found(packed: Path) -> None:
    files = packed / "files"
    (files / "c.png").unlink()
    one_mismatch(packed, "files/c.png", "is missing")
    with (files / "b.webp").open("ab") as stream:
        stream.write(b"x")
    one_mismatch(packed, "files/b.webp", "instead of")
    shutil.copy(files / "a.jpg", files / "more" / "d.avif")
    edit(packed, lambda d: d["files"][4].update(nbytes=(files / "a.jpg").stat().st_size))
    one_mismatch(packed, "files/more/d.avif", "not those delivered")


def test_a_file_that_the_manifest_does_not_name_is_noted(packed: Path) -> None:
    (packed / "files" / "new.webp").write_bytes(b"")
    found = unpack(packed, check_only=True)
    assert found.ok and any("new.webp" in note for note in found.notes)


def numbers_of(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of every number and truth value in a document."""
    if isinstance(document, dict):
        for name, value in document.items():
            yield from numbers_of(value, (*path, name))
    elif isinstance(document, list):
        for place, value in enumerate(document):
            yield from numbers_of(value, (*path, place))
    elif isinstance(document, (int, float)):
        yield path


def test_every_number_of_the_manifest_that_can_be_recomputed_is(run: rdp.Run, study: Path, tmp_path: Path) -> None:
    selection = rdp.solve(run, minimize="mse", at_most={"bpp": 2.0}, at_least={"haarpsi": 0.3})
    folder = pack(run, selection, tmp_path / "d", side_info=True).out
    text = (folder / "manifest.json").read_text()
    document = json.loads(text)
    free = ("encode_s", "decode_s")
    tried = 0
    for path in numbers_of(document):
        if path[0] in ("protocol", "metrics") or path[-1] == "elapsed_s":
            continue  # how it was made: nothing here to hold it against
        if path[0] == "averages" and document["averages"][path[1]]["column"] in free:
            continue
        if path[-1] == "charged":
            continue  # a claim that is weaker when it is false; that a true one holds is another test
        changed = json.loads(text)
        holder = changed
        for step in path[:-1]:
            holder = holder[step]
        value = holder[path[-1]]
        holder[path[-1]] = value + 1 if isinstance(value, int) else value * 1.01 + 1e-3
        (folder / "manifest.json").write_text(json.dumps(changed))
        # Scoring is for what states a metric; the rest is to be found without the originals.
        original = study / "photos" if path[0] in ("averages", "budgets", "selection") else None
        try:
            assert unpack(folder, check_only=True, original=original).mismatches, path
        except PackError:
            assert path == ("version",)
        tried += 1
    assert tried > 40


def test_a_claim_to_have_charged_side_information_is_checked(run: rdp.Run, tmp_path: Path) -> None:
    loose = rdp.solve(run, minimize="mse", at_most={"bpp": 2.0})
    selection = rdp.solve(run, minimize="mse", at_most={"bpp": loose.averages["bpp"] + 1e-6})
    folder = pack(run, selection, tmp_path / "d").out
    edit(folder, lambda d: d["side_information"].update(charged=True))
    one_mismatch(folder, "manifest.json", "above the budget")


def test_hashes_points_and_originals_are_held_against_what_is_there(packed: Path, study: Path, tmp_path: Path) -> None:
    text = (packed / "manifest.json").read_text()
    edit(packed, lambda d: d["files"][1].update(reconstruction_sha256="0" * 64))
    one_mismatch(packed, "files/b.webp", "another picture")
    (packed / "manifest.json").write_text(text)
    edit(packed, lambda d: d["files"][1].update(point="webp:quality=80,method=4"))
    one_mismatch(packed, "manifest.json", "different points")
    (packed / "manifest.json").write_text(text)
    shutil.copytree(study / "photos", tmp_path / "photos")
    shutil.copy(study / "photos" / "a.png", tmp_path / "photos" / "b.png")
    (tmp_path / "photos" / "c.png").unlink()
    found = unpack(packed, check_only=True, original=tmp_path / "photos")
    words = {m.where: m.message for m in found.mismatches}
    assert "another picture than the original" in words["files/b.webp"]
    assert "not among those given" in words["files/c.png"]
    assert next(one for one in found.averages if one.column == "mse").found is None


# ---- what is said of the selection


def forged(folder: Path, change: Callable[[Any], Any], **words: Any) -> list[str]:
    """What is found wrong with a manifest that was changed, and whose selection.json was made to fit its hash only."""
    before = (folder / "manifest.json").read_text()
    edit(folder, change)
    found = unpack(folder, check_only=True, **words)
    (folder / "manifest.json").write_text(before)
    return [m.message for m in found.mismatches if m.where == "manifest.json"]


@pytest.fixture
def bounded(run: rdp.Run, tmp_path: Path) -> Path:
    """A delivery with bounds on each image, one fixed image and a forbidden point."""
    words = {"fix": {"a.png": FIXED["a.png"]}, "forbid": [("b.png", "png")]}
    selection = rdp.solve(run, minimize="mse", each_at_most={"bpp": 30.0}, each_at_least={"haarpsi": 0.05}, **words)
    return pack(run, selection, tmp_path / "bounded").out


FORGERIES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "another status": (lambda s: s.update(status="feasible"), "proves the selection optimal"),
    "an unknown status": (lambda s: s.update(status="perfect"), "selection is damaged"),
    "a status without choices": (lambda s: s.update(status="infeasible"), "selection is damaged"),
    "another bound": (lambda s: s["objective"].update(bound=s["objective"]["average"] * 0.9), "the gap is"),
    "no bound": (lambda s: s["objective"].update(bound=None, gap=None), "status is optimal"),
    "a bound that is passed": (lambda s: s["objective"].update(bound=1e9, gap=None), "wrong side"),
    "another gap": (lambda s: s["objective"].update(gap=0.1), "the gap is"),
    "no solver": (lambda s: s.update(solver=None), "selection is damaged"),
    "another goal": (lambda s: s["objective"].update(goal="maximize"), "not that of the selection's statement"),
    "another weighting": (lambda s: s["objective"].update(weighting="pixels"), "weighting"),
    "a smaller bound on each": (lambda s: s["statement"]["each_at_most"].update(bpp=0.01), "bounds on each image"),
    "another fixed point": (lambda s: s["statement"]["fix"].update({"a.png": "png:level=9"}), "fixes 'a.png'"),
    "a fixed stranger": (lambda s: s["statement"]["fix"].update({"z.png": "png:level=9"}), "fixes 'z.png'"),
    "a forbidden choice": (lambda s: s["statement"].update(forbid=[["a.*", "jpeg"]]), "'a.png' is at jpeg"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_what_a_manifest_says_of_its_selection_is_checked(forgery: str, bounded: Path) -> None:
    assert unpack(bounded, check_only=True).ok
    change, words = FORGERIES[forgery]
    said = forged(bounded, lambda d: change(d["selection"]))
    assert any(words in message for message in said), said


def test_bounds_on_each_image_are_held_against_the_files(bounded: Path, study: Path) -> None:
    def smaller(document: Any) -> None:
        document["selection"]["statement"]["each_at_most"]["bpp"] = 0.01
        document["image_bounds"][0]["bound"] = 0.01

    def larger(document: Any) -> None:
        document["selection"]["statement"]["each_at_least"]["haarpsi"] = 1.5
        document["image_bounds"][1].update(bound=1.5, worst=2.0)

    assert any("above the bound 0.01 on each" in message for message in forged(bounded, smaller))
    assert not any("on each" in message for message in forged(bounded, larger))  # needs the originals
    assert any("below the bound 1.5 on each" in m for m in forged(bounded, larger, original=study / "photos"))
    worst = forged(bounded, lambda d: d["image_bounds"][0].update(worst=1.0))
    assert any("the worst bpp of an image" in message for message in worst)


def test_a_true_claim_of_charging_holds_for_bytes_and_each_image_and_a_false_one_does_not(
    run: rdp.Run, tmp_path: Path
) -> None:
    free = rdp.solve(run, minimize="mse", points=["webp:*"])
    files = pack(run, free, tmp_path / "free").manifest.files
    most = max(8 * one.nbytes / (one.width * one.height) for one in files)
    for name, words in {
        "bytes": {"at_most": {"nbytes": free.averages["nbytes"] + 0.01}},
        "each": {"each_at_most": {"bpp": most + 1e-6}},
    }.items():
        selection = rdp.solve(run, minimize="mse", points=["webp:*"], **words)
        folder = pack(run, selection, tmp_path / name).out
        said = forged(folder, lambda d: d["side_information"].update(charged=True))
        assert any("above the b" in message for message in said), name
        wide = {side: {c: v * 1.5 for c, v in limits.items()} for side, limits in words.items()}
        held = rdp.solve(run, minimize="mse", points=["webp:*"], **wide)
        assert unpack(pack(run, held, tmp_path / f"{name} held", side_info=True).out, check_only=True).ok


def test_identities_of_encoders_and_decoders_are_checked(packed: Path) -> None:
    document = strict(packed / "manifest.json")
    for point in document["points"]:
        codec = create_codec(parse_point(point["point"]))
        assert (point["encoder_ids"], point["decoder_ids"]) == ([codec.encoder_id], [codec.decoder_id])
    for name in ("encoder_ids", "decoder_ids"):
        (said,) = forged(packed, lambda d, name=name: d["points"][1].update({name: ["0123456789ab"]}))
        assert name in said and "0123456789ab" in said
        for bad in ("0123456789AB", "0123", "../../../../"):
            with pytest.raises(PackError, match="12 hex digits"):
                forged(packed, lambda d, name=name, bad=bad: d["points"][1].update({name: [bad]}))
            edit(packed, lambda d: d.update(document))
    # Another version of rdp may honestly have other settings: that is told, and is no mismatch.
    edit(packed, lambda d: (d.update(rdp_version="0"), d["points"][1].update(encoder_ids=["0123456789ab"])))
    found = unpack(packed, check_only=True)
    assert found.ok and any("0123456789ab" in note for note in found.notes)


# ---- selection.json


def test_the_selection_travels_byte_for_byte_and_is_checked(
    run: rdp.Run, of_all: Selection, study: Path, tmp_path: Path
) -> None:
    own = of_all.save(tmp_path / "s.json")
    folder = pack(study / "run", own, tmp_path / "d").out
    assert (folder / "selection.json").read_bytes() == own.read_bytes()
    assert strict(folder / "manifest.json")["selection_sha256"] == hash_bytes(own.read_bytes())
    assert unpack(folder, check_only=True, selection=own).ok
    with (folder / "selection.json").open("a") as stream:
        stream.write("\n")
    one_mismatch(folder, "selection.json", "SHA-256")
    (folder / "selection.json").unlink()
    one_mismatch(folder, "selection.json", "is missing")
    (folder / "selection.json").symlink_to(own)
    one_mismatch(folder, "selection.json", "symbolic link")


CONTRADICTIONS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a choice": (lambda s: s["chosen"][0].update(point="png:level=9"), "chooses other points"),
    "an image fewer": (lambda s: s["chosen"].pop(), "chooses other points"),
    "a budget": (lambda s: s["budgets"][0].update(budget=1.0), "its budgets"),
    "a budget's average": (lambda s: s["budgets"][0].update(average=1.0), "its budgets"),
    "an average": (lambda s: s["averages"][0].update(average=1.0), "its average"),
    "the bits": (lambda s: s.update(total_bits=8), "8 bits in all"),
    "the status": (lambda s: s.update(status="feasible"), "its status"),
    "the bound": (lambda s: s["objective"].update(bound=0.0), "the bound of its objective"),
    "the statement": (lambda s: s["problem"]["statement"]["at_most"].update(bpp=1.0), "problem statement"),
    "the points": (lambda s: s["problem"].update(points=["png:level=9"]), "offer"),
    "a part that is missing": (lambda s: s.pop("averages"), "damaged"),
    "a part of another kind": (lambda s: s.update(chosen=None), "damaged"),
}


@pytest.mark.parametrize("part", CONTRADICTIONS)
def test_a_selection_that_is_not_that_of_the_delivery_is_told(part: str, packed: Path, tmp_path: Path) -> None:
    change, words = CONTRADICTIONS[part]
    document = strict(packed / "selection.json")
    change(document)
    own = tmp_path / "own.json"
    own.write_text(json.dumps(document))
    found = unpack(packed, check_only=True, selection=own)
    assert {m.where for m in found.mismatches} == {str(own)} and words in str(found.mismatches[0])
    # The same inside the delivery, its hash made to fit.
    shutil.copy(own, packed / "selection.json")
    edit(packed, lambda d: d.update(selection_sha256=hash_bytes(own.read_bytes())))
    one_mismatch(packed, "selection.json", words)


def test_the_senders_own_copy_shows_a_delivery_that_was_forged_as_a_whole(
    run: rdp.Run, of_all: Selection, packed: Path, tmp_path: Path
) -> None:
    other = rdp.solve(run, minimize="mse", points=["webp:*"])
    forgery = pack(run, other, packed, force=True).out
    assert unpack(forgery, check_only=True).ok
    found = unpack(forgery, check_only=True, selection=of_all.save(tmp_path / "own.json"))
    assert any("chooses other points" in m.message for m in found.mismatches)
    with pytest.raises(PackError, match=r"cannot read .*none\.json"):
        unpack(forgery, check_only=True, selection=tmp_path / "none.json")
    document = strict(forgery / "selection.json")
    (tmp_path / "compact.json").write_text(json.dumps(document))
    found = unpack(forgery, check_only=True, selection=tmp_path / "compact.json")
    assert found.ok and any("in other bytes" in note for note in found.notes)


# ---- a decoder in the place of one that is not here


BACKEND = """
from rdp.codecs import Key
from rdp.codecs.png import Png
from rdp.errors import DependencyError
import os

class Png2(Png):
    keys = (*Png.keys, Key("backend", "choice", "program", default="own", choices=("own", "far")))
    def __init__(self, point):
        super().__init__(point)
        if point.get("backend") == "far" and os.environ.get("FAR") != "here":
            raise DependencyError("png: the far program is not here")
"""


@pytest.fixture
def far(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A delivery of PNG files by a backend that is no longer here."""
    (tmp_path / "module").mkdir()
    (tmp_path / "module" / "far_codec.py").write_text(BACKEND)
    monkeypatch.syspath_prepend(tmp_path / "module")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "module"))
    monkeypatch.setenv("FAR", "here")
    monkeypatch.setitem(registry.FAMILIES, "png", "far_codec:Png2")
    run = rdp.evaluate(study / "photos", ["png:backend=far"], ["mse"], tmp_path / "run", jobs=1)
    folder = pack(run, rdp.solve(run, minimize="mse"), tmp_path / "d").out
    monkeypatch.setenv("FAR", "gone")
    return folder


def test_standard_files_are_decoded_without_the_backend_that_made_them(far: Path, study: Path, tmp_path: Path) -> None:
    found = unpack(far, tmp_path / "out", original=study / "photos")
    assert found.ok and found.decoded == 5
    assert any("far program is not here" in note and "instead" in note for note in found.notes)
    np.testing.assert_array_equal(read_image(tmp_path / "out" / "a.png"), read_image(study / "photos" / "a.png"))
    edit(far, lambda d: d["files"][1].update(reconstruction_sha256="0" * 64))
    one_mismatch(far, d_file(far, 1), "another picture")


def d_file(folder: Path, number: int) -> str:
    return str(strict(folder / "manifest.json")["files"][number]["file"])


def test_bpg_files_of_the_reference_programs_are_decoded_without_them(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their files are BPG files like any other: here PyAV's stand for them under the name of the other backend."""
    pytest.importorskip("av")
    run = rdp.evaluate(study / "photos", ["bpg:qp=30,preset=superfast"], ["mse"], tmp_path / "run", jobs=1)
    folder = pack(run, rdp.solve(run, minimize="mse"), tmp_path / "d").out
    for name in ("selection.json", "manifest.json"):
        text = (folder / name).read_text().replace("backend=pyav", "backend=reference")
        (folder / name).write_text(text)
    edit(folder, lambda d: d.update(selection_sha256=hash_bytes((folder / "selection.json").read_bytes())))
    monkeypatch.setenv("PATH", str(tmp_path))
    found = unpack(folder, check_only=True)
    assert found.ok, found.mismatches
    assert any("backend=reference: decoded by" in note and "bpgenc" in note for note in found.notes)


def test_files_that_do_not_name_their_decoder_need_it(far: Path) -> None:
    path = far / d_file(far, 0)
    path.write_bytes(b"x" * path.stat().st_size)
    with pytest.raises(DependencyError, match="far program"):
        unpack(far, check_only=True)


# ---- what a stranger may write


ESCAPES = [
    "../outside.webp",
    "files/../../outside.webp",
    "/etc/passwd",
    "files//etc/passwd",
    "files/./b.webp",
    "files\\..\\b.webp",
    "files/..\\..\\b.webp",
    "C:/b.webp",
    "files/C:b.webp",
    "files/b.webp\u0000",
    "files/CON.webp",
    "files/b.webp ",
    "files",
    "files/",
    "manifest.json",
    "",
]


@pytest.mark.parametrize("name", ESCAPES)
def test_a_path_that_leads_outside_is_refused_before_anything_is_read(name: str, packed: Path, tmp_path: Path) -> None:
    edit(packed, lambda d: d["files"][1].update(file=name))
    with pytest.raises(PackError, match="no plain path below files/"):
        unpack(packed, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_two_files_of_one_picture_are_refused(packed: Path) -> None:
    edit(packed, lambda d: d["files"][1].update(file="files/A.webp"))
    with pytest.raises(PackError, match="one picture"):
        unpack(packed, check_only=True)


def test_links_out_of_a_delivery_are_not_followed(packed: Path, tmp_path: Path) -> None:
    (packed / "files" / "b.webp").rename(tmp_path / "b.webp")
    (packed / "files" / "b.webp").symlink_to(tmp_path / "b.webp")
    (packed / "files" / "more").rename(tmp_path / "more")
    (packed / "files" / "more").symlink_to(tmp_path / "more")
    found = unpack(packed, check_only=True)
    assert {m.where for m in found.mismatches if "symbolic link" in m.message} == {
        "files/b.webp",
        "files/more/a.jp2",
        "files/more/d.avif",
    }
    (packed / "manifest.json").rename(tmp_path / "m.json")
    (packed / "manifest.json").symlink_to(tmp_path / "m.json")
    with pytest.raises(PackError, match="symbolic link"):
        unpack(packed, check_only=True)


def test_links_out_of_the_folder_of_pictures_are_not_followed(packed: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "more").symlink_to(tmp_path / "elsewhere")
    found = unpack(packed, tmp_path / "out", force=True)
    assert any("symbolic link" in m.message for m in found.mismatches)
    assert listing(tmp_path / "elsewhere") == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_in_a_delivery_does_not_hang(packed: Path) -> None:
    (packed / "files" / "b.webp").unlink()
    os.mkfifo(packed / "files" / "b.webp")
    one_mismatch(packed, "files/b.webp", "no ordinary file")


DAMAGES: dict[str, Callable[[Any], Any]] = {
    "a missing part": lambda d: d.pop("averages"),
    "a negative length": lambda d: d["files"][0].update(nbytes=-1),
    "a length that is true": lambda d: d["files"][0].update(nbytes=True),
    "no width": lambda d: d["files"][0].update(width=0),
    "a huge width": lambda d: d["files"][0].update(width=10**400),
    "no hash": lambda d: d["files"][0].update(file_sha256="../../x"),
    "text for a number": lambda d: d["total_bits"].__class__ and d.update(total_bits="many"),
    "a list for an object": lambda d: d.update(side_information=[]),
    "an unknown weighting": lambda d: d["averages"][0].update(weighting="votes"),
    "no files": lambda d: d.update(files=[]),
    "an unknown infinity": lambda d: d["averages"][0].update(average_is="large"),
    "an image twice": lambda d: d["files"][1].update(image=d["files"][0]["image"]),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_manifest_is_refused_by_name(damage: str, packed: Path) -> None:
    edit(packed, DAMAGES[damage])
    with pytest.raises(PackError, match=r"manifest\.json is damaged"):
        unpack(packed, check_only=True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "damaged"),
        ("[]", "damaged"),
        ("[" * 100_000, "damaged"),
        ('{"format": NaN}', "damaged"),
        ('{"format": 1, "format": 2}', "damaged"),
        ('{"format": "rdp pack", "version": 3}', "version 3"),
        ('{"name": "something else"}', "format None"),
    ],
)
def test_what_is_no_manifest_is_refused(text: str, words: str, packed: Path) -> None:
    (packed / "manifest.json").write_text(text)
    with pytest.raises(PackError, match=words):
        unpack(packed, check_only=True)


def test_a_delivery_without_its_manifest_is_not_complete(packed: Path, tmp_path: Path) -> None:
    (packed / "manifest.json").unlink()
    with pytest.raises(PackError, match="not complete"):
        unpack(packed, check_only=True)
    with pytest.raises(PackError, match="does not exist"):
        unpack(tmp_path / "none", check_only=True)


TOOL = '[tools.{name}]\nencode = ["cp", "{{input}}", "{{output}}"]\ndecode = {decode}\nsuffix = ".raw"\n'


def test_no_command_of_a_manifest_is_ever_run(study: Path, tmp_path: Path) -> None:
    codec_file, other = tmp_path / "t.toml", tmp_path / "o.toml"
    codec_file.write_text(TOOL.format(name="copy", decode='["cp", "{input}", "{output}"]'))
    other.write_text(TOOL.format(name="other", decode='["cp", "{input}", "{output}"]'))
    run = rdp.evaluate(
        study / "photos", ["external:tool=copy"], ["mse"], tmp_path / "run", jobs=1, codec_files=[codec_file]
    )
    selection = rdp.solve(run, minimize="mse")
    with pytest.raises(SpecError, match="--codec-file"):
        pack(run, selection, tmp_path / "d")
    done = pack(run, selection, tmp_path / "d", codec_files=[codec_file])
    assert "files/more/a.raw" in listing(done.out) and done.side_information.images_that_need_it == 5
    assert list(done.manifest.tools[0]["decode"]) == ["cp", "{input}", "{output}"]
    assert str(tmp_path) not in (done.out / "manifest.json").read_text()

    mark = tmp_path / "ran"
    edit(done.out, lambda d: d["tools"][0].update(decode=["touch", str(mark), "{input}", "{output}"]))
    with pytest.raises(SpecError, match="No command is taken from the manifest"):
        unpack(done.out, tmp_path / "out")
    with pytest.raises(SpecError, match="no codec file describes tool 'copy'"):
        unpack(done.out, tmp_path / "out", codec_files=[other])
    assert unpack(done.out, tmp_path / "out", codec_files=[codec_file]).ok
    assert not mark.exists() and len(listing(tmp_path / "out")) == 5


def test_a_codec_that_is_not_installed_is_said_before_anything_is_written(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import features

    monkeypatch.setattr(features, "check", lambda feature: feature != "avif")
    with pytest.raises(DependencyError, match="avif"):
        unpack(packed, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ---- folders


def test_a_folder_with_anything_in_it_is_refused_and_only_a_delivery_is_replaced(
    run: rdp.Run, of_all: Selection, packed: Path, tmp_path: Path
) -> None:
    with pytest.raises(PackError, match="--force"):
        pack(run, of_all, packed)
    smaller = rdp.solve(run, minimize="mse", points=["webp:*"])
    assert pack(run, smaller, packed, force=True).out == packed
    assert unpack(packed, check_only=True).ok
    assert not any(name.endswith((".jpg", ".jp2")) for name in listing(packed))

    home = tmp_path / "home"
    (home / "files").mkdir(parents=True)
    (home / "files" / "thesis.tex").write_text("ten years")
    for name in ("manifest.json", "notes.txt"):
        (home / name).write_text('{"name": "my web page"}')
        with pytest.raises(PackError, match="no delivery"):
            pack(run, of_all, home, force=True)
    assert (home / "files" / "thesis.tex").read_text() == "ten years"
    (tmp_path / "file").write_text("")
    with pytest.raises(PackError, match="is no folder"):
        pack(run, of_all, tmp_path / "file")


def test_pictures_are_not_overwritten_and_not_written_into_the_delivery(packed: Path, tmp_path: Path) -> None:
    assert unpack(packed, tmp_path / "out").ok
    with pytest.raises(FileError, match="--force"):
        unpack(packed, tmp_path / "out")
    assert unpack(packed, tmp_path / "out", force=True).ok
    for inside in (packed, packed / "files" / "pictures"):
        with pytest.raises(FileError, match="in the delivery itself"):
            unpack(packed, inside, force=True)


def test_a_full_disk_leaves_the_earlier_delivery_and_nothing_else(
    run: rdp.Run, of_all: Selection, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {name: (packed / name).read_bytes() for name in listing(packed)}
    real, count = Path.write_bytes, [0]

    def full(self: Path, data: bytes) -> int:
        count[0] += 1
        if count[0] % 3 == 0:
            raise OSError(28, "No space left on device")
        return real(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    for target, force in ((packed, True), (tmp_path / "new", False)):
        with pytest.raises(FileError, match="No space left"):
            pack(run, of_all, target, force=force)
    assert {name: (packed / name).read_bytes() for name in listing(packed)} == before
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("moment", ["before the manifest", "while it is moved"])
def test_a_killed_call_leaves_nothing_that_looks_complete_and_the_next_one_mends_it(
    moment: str, run: rdp.Run, of_all: Selection, study: Path, tmp_path: Path
) -> None:
    """The process ends without any of Python's endings, as by a power cut."""
    of_all.save(tmp_path / "s.json")
    if moment == "before the manifest":
        stop = "pack_module.write_file = lambda *a: os._exit(9)"
    else:
        stop = (
            "real = Path.rename\n"
            "def rename(self, target):\n"
            "    if Path(target).name == 'manifest.json': os._exit(9)\n"
            "    return real(self, target)\n"
            "Path.rename = rename"
        )
    code = f"import os\nfrom pathlib import Path\nfrom rdp.report import pack as pack_module\n{stop}\n"
    code += f"pack_module.pack({str(study / 'run')!r}, {str(tmp_path / 's.json')!r}, {str(tmp_path / 'd')!r})"
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == 9 and listing(tmp_path / "d")
    with pytest.raises(PackError, match="not complete"):
        unpack(tmp_path / "d", check_only=True)
    pack(run, of_all, tmp_path / "d", force=moment == "while it is moved")
    assert unpack(tmp_path / "d", check_only=True).ok
    assert [path.name for path in sorted((tmp_path / "d").iterdir())] == ["files", "manifest.json", "selection.json"]


def test_the_verbs_are_where_the_documentation_says() -> None:
    assert pack_module.pack is pack and files_module.encode_file is not None


# ---- names


def test_names_keep_folders_and_clashes_are_settled() -> None:
    images = ["a.png", "A.jpg", "x/b.png", "x/c.tar.png", "caf\u00e9.png", "cafe\u0301.jpg"]
    assert delivery_names(images, [".webp"] * 6) == [
        "files/a.png.webp",
        "files/A.jpg.webp",
        "files/x/b.webp",
        "files/x/c.tar.webp",
        "files/caf\u00e9.png.webp",
        "files/caf\u00e9.jpg.webp",
    ]
    # A file where another image has a folder, and names that only the stem of the picture tells apart.
    assert delivery_names(["a.png", "a.webp/b.png"], [".webp", ".webp"])[0] == "files/a~2.webp"
    assert delivery_names(["a.png", "a.png/b.png"], [".webp", ".webp"])[0] == "files/a~2.webp"
    assert delivery_names(["a.png", "a.jpg", "a.png.bmp"], [".webp"] * 3) == [
        "files/a.png.webp",
        "files/a.jpg.webp",
        "files/a.png~2.webp",
    ]


def test_names_that_escape_or_that_systems_refuse_become_plain() -> None:
    images = ["../../etc/passwd", "/abs/x.png", "C:\\win.png", "con.png", "a:b?.png", "x./y .png", ".hidden.png"]
    names = delivery_names(images, [".webp"] * len(images))
    assert names == [
        "files/_/_/etc/passwd.webp",
        "files/abs/x.webp",
        "files/C__win.webp",
        "files/_con.webp",
        "files/a_b_.webp",
        "files/x/y.webp",
        "files/_hidden.webp",
    ]
    check_names(names)


@given(st.lists(st.text(min_size=1, max_size=300), min_size=1, max_size=12), st.sampled_from([".webp", ".jpg", ".x y"]))
def test_any_names_become_safe_and_different(images: list[str], suffix: str) -> None:
    names = delivery_names(images, [suffix] * len(images))
    check_names(names)
    pictures = [picture_name(name).casefold() for name in names]
    assert len(set(pictures)) == len(pictures)
    folders = {"/".join(name.casefold().split("/")[:k]) for name in names for k in range(1, name.count("/") + 1)}
    assert not folders & {name.casefold() for name in names}


@given(st.text(max_size=300))
def test_a_safe_name_is_left_as_it_is(text: str) -> None:
    name = safe_component(text)
    assert is_safe(name) and safe_component(name) == name


def test_reading_inside_stays_inside(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_bytes(b"12345")
    assert read_inside(tmp_path / "d", "f", 5) == b"12345"
    for name, words in {"f/g": "is missing", "g": "is missing", ".": "no ordinary file"}.items():
        with pytest.raises(PackError, match=words):
            read_inside(tmp_path / "d", name)
    with pytest.raises(PackError, match="5 bytes instead of 4"):
        read_inside(tmp_path / "d", "f", 4)
