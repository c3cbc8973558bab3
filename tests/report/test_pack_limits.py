"""Deliveries of selections with budgets of groups, few points, and side information in the rate."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rdp
from rdp.images import hash_bytes, write_png
from rdp.report.manifest import read_manifest
from rdp.report.pack import pack
from rdp.report.side_information import SideInformationError
from rdp.report.unpack import unpack

CODECS = ["jpeg:quality=20|50|80", "webp:quality=20|50|80"]
SCENES = {"a.png": "day", "b.png": "night", "c.png": "day", "d.png": "night", "e.png": "day"}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures in near/ and two in far/, and run/ of them at six points."""
    folder = tmp_path_factory.mktemp("limits")
    rng = np.random.default_rng(6)
    for k, name in enumerate(SCENES):
        y, x = np.mgrid[0 : 40 + 8 * k, 0 : 56 + 4 * k]
        planes = [128 + 70 * np.sin(x / (4 + k + c)) * np.cos(y / 6) + rng.normal(0, 4, x.shape) for c in range(3)]
        place = folder / ("near" if k < 3 else "far")
        place.mkdir(exist_ok=True)
        write_png(place / name, np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8))
    rdp.evaluate([folder / "near", folder / "far"], CODECS, ["mse", "psnr"], folder / "run", jobs=1)
    return folder


@pytest.fixture(scope="module")
def run(study: Path) -> rdp.Run:
    return rdp.open_run(study / "run")


LABELLED = {f"{'near' if k < 3 else 'far'}/{name}": scene for k, (name, scene) in enumerate(SCENES.items())}
WORDS: dict[str, dict[str, Any]] = {
    "groups by dataset": {"group_at_most": {"bpp": 2.2}, "group_at_least": {"psnr": 22.0}},
    "groups by a map": {"group_at_most": {"bpp": 2.0}, "groups": LABELLED, "weights": {"bpp": "pixels"}},
    "few points": {"at_most": {"bpp": 2.2}, "max_points": 2},
    "side information": {"at_most": {"bpp": 2.2}, "each_at_most": {"bpp": 4.0}, "side_info": True},
    "side information of few points": {"at_most": {"bpp": 2.2, "nbytes": 1e4}, "max_points": 3, "side_info": True},
    "all together": {
        "at_most": {"bpp": 2.2},
        "group_at_most": {"bpp": 2.4},
        "group_at_least": {"psnr": 20.0},
        "weights": {"bpp": "pixels"},
        "groups": LABELLED,
        "max_points": 3,
        "side_info": True,
    },
}


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize("goal", ["mse", "rate"])
@pytest.mark.parametrize("kind", WORDS)
def test_a_delivery_unpacks_with_originals_and_the_senders_own_copy(
    kind: str, goal: str, run: rdp.Run, study: Path, tmp_path: Path
) -> None:
    """The objective is once a metric and once the rate, which may include side information."""
    words = WORDS[kind] | {"minimize": "mse"}
    if goal == "rate":
        words |= {"minimize": "bpp", "at_most": {"mse": 150.0}}
    selection = rdp.solve(run, **words)
    own = selection.save(tmp_path / "own.json")
    done = pack(study / "run", own, tmp_path / "d")
    found = unpack(done.out, tmp_path / "out", original=[study / "near", study / "far"], selection=own)
    assert found.mismatches == ()
    assert found.decoded == 5
    manifest = read_manifest(done.out)
    bits = sum(8 * one.nbytes for one in manifest.files)
    stated = {one.column: one.average for one in manifest.averages}
    pixels = [one.width * one.height for one in manifest.files]
    by_pixels = words.get("weights", {}).get("bpp") == "pixels"
    plain = [8 * one.nbytes / area for one, area in zip(manifest.files, pixels, strict=True)]
    assert stated["bpp"] == pytest.approx(bits / sum(pixels) if by_pixels else sum(plain) / 5, rel=1e-12)
    assert manifest.side_information.charged is words.get("side_info", False)
    assert {(b.column, b.group, b.average) for b in manifest.budgets} == {
        (b.column, b.group, b.average) for b in selection.budgets
    }
    named = math.ceil(math.log2(words.get("max_points", 6)))
    shared = math.ceil(math.log2(math.comb(6, words.get("max_points", 6))))
    assert manifest.side_information.total_bits == 5 * named + shared
    if words.get("side_info"):
        assert selection.total_bits == bits + 5 * named + shared


def test_group_averages_of_a_manifest_are_those_of_its_files(run: rdp.Run, tmp_path: Path) -> None:
    selection = rdp.solve(run, minimize="mse", **WORDS["groups by a map"])
    manifest = read_manifest(pack(run, selection, tmp_path / "d").out)
    assert {one.image: one.group for one in manifest.files} == SCENES
    for budget in manifest.budgets:
        files = [one for one in manifest.files if one.group == budget.group]
        total = sum(one.width * one.height for one in files)
        assert budget.average == pytest.approx(8 * sum(one.nbytes for one in files) / total, rel=1e-12)
        assert budget.average <= 2.0


FORGERIES: dict[str, tuple[str, Callable[[Any], Any], str]] = {
    "a group's budget that is not met": (
        "groups by dataset",
        lambda d: (
            d["selection"]["statement"]["group_at_most"].update(bpp=0.1),
            [b.update(budget=0.1) for b in d["budgets"] if b["column"] == "bpp"],
        ),
        "above the budget 0.1",
    ),
    "a group's average": ("groups by dataset", lambda d: d["budgets"][0].update(average=0.1), "in its budget"),
    "a group's average of a metric": (
        "groups by dataset",
        lambda d: d["budgets"][-1].update(average=40.0),
        "the averages psnr of the groups make",
    ),
    "a group's metric below its budget": (
        "groups by dataset",
        lambda d: (
            d["selection"]["statement"]["group_at_least"].update(psnr=60),
            [b.update(budget=60.0) for b in d["budgets"] if b["column"] == "psnr"],
        ),
        "below the budget 60",
    ),
    "a group fewer": ("groups by dataset", lambda d: d["budgets"].pop(), "its budgets are not those"),
    "a budget of another group": ("groups by dataset", lambda d: d["budgets"][0].update(group="sea"), "its budgets"),
    "another group": ("groups by a map", lambda d: d["files"][0].update(group="day"), "in the group 'day'"),
    "another dataset": ("groups by dataset", lambda d: d["files"][0].update(group="near"), "in the group"),
    "an image in no group": ("groups by dataset", lambda d: d["files"][0].update(group=""), "in the group ''"),
    "groups of nothing": ("few points", lambda d: d["files"][0].update(group="day"), "in the group 'day'"),
    "budgets of groups left out": (
        "groups by dataset",
        lambda d: (d["selection"]["statement"].pop("group_at_most"), d["selection"]["statement"].pop("group_at_least")),
        "its budgets are not those",
    ),
    "fewer points allowed": (
        "few points",
        lambda d: d["selection"]["statement"].update(max_points=1),
        "at 2 different points",
    ),
    "more points allowed": ("few points", lambda d: d["selection"]["statement"].update(max_points=3), "limit is 3"),
    "side information left off": (
        "side information",
        lambda d: d["selection"]["statement"].pop("side_info"),
        "contradict each other",
    ),
    "side information said not to be charged": (
        "side information",
        lambda d: d["side_information"].update(charged=False),
        "said not to be charged",
    ),
    "a budget's average without side information": (
        "side information",
        lambda d: d["budgets"][0].update(average=d["side_information"]["bpp_files"]),
        "contradict each other",
    ),
    "fewer bits": ("side information", lambda d: d["side_information"].update(bits_per_image=2), "bits_per_image is 3"),
    "fewer shared bits": (
        "side information of few points",
        lambda d: d["side_information"].update(shared_bits=0),
        "shared_bits is 5",
    ),
    "fewer points offered": (
        "side information",
        lambda d: d["selection"].update(points=sorted({one["point"] for one in d["files"]})),
        "side information: points is",
    ),
}  # fmt: skip


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_manifest_is_noticed(forgery: str, run: rdp.Run, tmp_path: Path) -> None:
    kind, change, words = FORGERIES[forgery]
    folder = pack(run, rdp.solve(run, minimize="mse", **WORDS[kind]), tmp_path / "d").out
    assert unpack(folder, check_only=True).ok
    edit(folder / "manifest.json", change)
    said = [m.message for m in unpack(folder, check_only=True).mismatches if m.where == "manifest.json"]
    assert any(words in message for message in said), said


def test_a_rate_without_its_side_information_is_above_its_budget(run: rdp.Run, tmp_path: Path) -> None:
    """Files that keep to the budget alone, forged as if the selection had been solved with side information."""
    loose = rdp.solve(run, minimize="mse", at_most={"bpp": 2.2})
    tight = loose.averages["bpp"] + 1e-6
    folder = pack(run, rdp.solve(run, minimize="mse", at_most={"bpp": tight}), tmp_path / "d").out

    def claim(document: Any) -> None:
        document["selection"]["statement"]["side_info"] = True
        document["side_information"]["charged"] = True
        side = document["side_information"]["bpp"]
        document["budgets"][0]["average"] += side

    edit(folder / "manifest.json", claim)
    said = [m.message for m in unpack(folder, check_only=True).mismatches]
    assert any("above the budget" in message for message in said), said


@pytest.mark.parametrize(
    ("part", "change", "words"),
    [
        ("groups by dataset", lambda s: s["budgets"][0].update(group="near by"), "its budgets"),
        ("groups by dataset", lambda s: s["budgets"][0].update(average=0.1), "its budgets"),
        ("side information", lambda s: s["problem"]["statement"].pop("side_info"), "problem statement"),
        ("side information", lambda s: s.update(total_bits=s["total_bits"] - 15), "bits in all"),
        ("few points", lambda s: s["problem"]["statement"].update(max_points=3), "problem statement"),
    ],
)
def test_a_selection_that_is_not_that_of_the_delivery_is_told(
    part: str, change: Callable[[Any], Any], words: str, run: rdp.Run, tmp_path: Path
) -> None:
    selection = rdp.solve(run, minimize="mse", **WORDS[part])
    own = selection.save(tmp_path / "own.json")
    folder = pack(run, selection, tmp_path / "d").out
    edit(own, change)
    found = unpack(folder, check_only=True, selection=own)
    assert {m.where for m in found.mismatches} == {str(own)}
    assert words in str(found.mismatches[0])


def test_side_information_is_charged_to_budgets_of_groups_and_the_advice_works(run: rdp.Run, tmp_path: Path) -> None:
    """One number is advised for all groups, with room for the smallest images."""
    free = rdp.solve(run, minimize="mse", group_at_most={"bpp": 2.0})
    tight = max(budget.average for budget in free.budgets) + 1e-6
    selection = rdp.solve(run, minimize="mse", group_at_most={"bpp": tight})
    with pytest.raises(
        SideInformationError, match=r"the average bpp in '(near|far)' is .* passes the budget"
    ) as caught:
        pack(run, selection, tmp_path / "d", side_info=True)
    advised = float(str(caught.value).partition("--group-at-most bpp=")[2].split(",")[0])
    done = pack(run, rdp.solve(run, minimize="mse", group_at_most={"bpp": advised}), tmp_path / "d", side_info=True)
    assert done.side_information.charged
    assert unpack(done.out, check_only=True).ok
    solved = rdp.solve(run, minimize="mse", group_at_most={"bpp": tight}, side_info=True)
    assert unpack(pack(run, solved, tmp_path / "e").out, check_only=True).ok


def test_side_information_of_few_points_names_their_set_once(run: rdp.Run, tmp_path: Path) -> None:
    selection = rdp.solve(run, minimize="mse", at_most={"bpp": 9.0}, max_points=3)
    side = pack(run, selection, tmp_path / "d", side_info=True).side_information
    # One of 3 points takes 2 bits, one of the C(6, 3) = 20 sets takes 5.
    assert (side.bits_per_image, side.shared_bits, side.total_bits, side.limit) == (2, 5, 15, 3)
    assert "one of 3 points, which 5 bits name among 6" in side.sentence
    assert "ceil(log2 C(6, 3)) = 5 bits" in side.explanation


def as_version_1(folder: Path) -> None:
    """A delivery as rdp wrote it before there were groups."""

    def selection(document: Any) -> None:
        document["version"] = 1
        del document["split_images"], document["explanation_details"], document["objective"]["lp_bound"]
        for entry in document["budgets"]:
            del entry["group"]

    def manifest(document: Any) -> None:
        document["version"] = 1
        document["selection_sha256"] = hash_bytes((folder / "selection.json").read_bytes())
        del document["side_information"]["limit"], document["side_information"]["shared_bits"]
        for entry in (*document["budgets"], *document["files"]):
            del entry["group"]

    edit(folder / "selection.json", selection)
    edit(folder / "manifest.json", manifest)


def test_an_old_delivery_still_unpacks(run: rdp.Run, study: Path, tmp_path: Path) -> None:
    selection = rdp.solve(run, minimize="mse", at_most={"bpp": 2.2}, at_least={"psnr": 20.0})
    folder = pack(run, selection, tmp_path / "d").out
    as_version_1(folder)
    own = tmp_path / "own.json"
    own.write_bytes((folder / "selection.json").read_bytes())
    found = unpack(folder, tmp_path / "out", original=[study / "near", study / "far"], selection=own)
    assert found.mismatches == ()
    assert pack(study / "run", own, tmp_path / "again").manifest.total_bits == selection.total_bits
    edit(folder / "manifest.json", lambda d: d["side_information"].update(bits_per_image=1))
    assert not unpack(folder, check_only=True).ok
