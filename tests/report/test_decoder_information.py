"""Reports and deliveries of selections that pay for the choice among the decoders of a file."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import rdp
from rdp.images import hash_bytes, write_png
from rdp.report import write_report
from rdp.report.curves import make_plot
from rdp.report.manifest import read_manifest
from rdp.report.pack import pack
from rdp.report.side_information import SideInformationError
from rdp.report.study import make_study
from rdp.report.unpack import unpack
from rdp.selection.decoder_cost import DecoderCost
from rdp.tables import CellTable, read_table

ENCODERS = {"jpeg": "0123456789ab", "webp": "ba9876543210"}
SIDES = ((40, 56), (48, 60), (56, 64), (64, 68))


def shared(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with one encoder a family: the four points of webp share a file, and the three of jpeg."""
    return frame.assign(encoder_id=frame["point"].str.split(":").str[0].map(ENCODERS), decoder_id=frame["point"])


# ---- reports


def test_reports_show_rates_with_and_without_the_bits(frame: pd.DataFrame, tmp_path: Path) -> None:
    """Of webp 2 bits an image, of jpeg log2 3; the best single point has none, the mixture those of its parts."""
    table = shared(frame)
    selection = rdp.solve(table, minimize="mse", at_most={"bpp": 0.36})
    report = write_report(table, selection, tmp_path)
    text = (tmp_path / "report.md").read_text()
    rows = report.tables["comparison"].set_index("average")
    pixels = (table.drop_duplicates("image")["width"] * table.drop_duplicates("image")["height"]).to_numpy()
    chosen = report.tables["chosen"].set_index("image")
    bits = np.array([2.0 if p.startswith("webp") else math.log2(3) for p in chosen["point"]])
    assert rows.loc["bpp", "value"] == pytest.approx(chosen["bpp"].mean(), rel=1e-12)
    assert rows.loc["bpp_with_decoder_info", "value"] == pytest.approx(selection.averages["bpp"], rel=1e-12)
    assert rows.loc["bpp_with_decoder_info", "value"] == pytest.approx(chosen["bpp"].mean() + (bits / pixels).mean())
    assert rows.loc["bpp_with_decoder_info", "single"] == rows.loc["bpp", "single"]
    assert rows.loc["bpp_with_decoder_info", "mixture"] > rows.loc["bpp", "mixture"]
    assert "the bits that name an image's decoder count in `bpp` and `nbytes`" in text
    assert "All images have its decoder, which takes no bits" in text
    assert "Rate, with choice of decoder" in text
    assert "bpp_with_decoder_info" not in report.tables["points"]
    plot = make_plot(make_study(read_table(table), selection, None, None))
    assert plot is not None and any("without the bits that name decoders" in note for note in plot.notes)
    assert plot.panels[0].x_budgets == pytest.approx((0.36 - (bits / pixels).mean(),))


def test_selections_with_and_without_the_bits_stand_side_by_side(frame: pd.DataFrame, tmp_path: Path) -> None:
    """What a selection would pay that was solved without, and one that pays for the whole number of its points."""
    table = shared(frame)
    words = {"minimize": "mse", "at_most": {"bpp": 0.36}}
    three = {
        "paid": rdp.solve(table, **words),
        "free": rdp.solve(table, decoder_info=False, **words).save(tmp_path / "free.json"),
        "index": rdp.solve(table, side_info=True, **words),
    }
    report = write_report(table, three, tmp_path / "three", figures=())
    text = (tmp_path / "three" / "report.md").read_text()
    rows = report.tables["comparison"].set_index(["selection", "average"])["value"]
    for name in three:
        assert rows[name, "bpp"] < rows[name, "bpp_with_decoder_info"] < rows[name, "bpp_with_side_info"]
    assert rows["paid", "bpp_with_decoder_info"] == pytest.approx(three["paid"].averages["bpp"])
    assert rows["index", "bpp_with_side_info"] == pytest.approx(three["index"].averages["bpp"])
    assert "points share files, and the bits that name an image's decoder are left out" in text
    plain = write_report(table, three["free"], tmp_path / "one", figures=()).tables["comparison"]["average"]
    assert not plain.str.contains("_with_").any()


def test_a_frontier_reports_both_rates(frame: pd.DataFrame, tmp_path: Path) -> None:
    from rdp.report.frontier import write_frontier

    curve = rdp.frontier(shared(frame), minimize="mse", sweep={"bpp": "0.25|0.36|0.5"})
    write_frontier(curve, tmp_path / "f", figures=())
    text = (tmp_path / "f" / "frontier.md").read_text()
    assert "Rate (bit/pixel), files alone" in text
    assert "The rates of single points have no bits that name a decoder" in text
    written = pd.read_csv(tmp_path / "f" / "frontier.csv")
    assert (written["average_bpp"] > written["average_bpp_of_files"]).all()


# ---- deliveries


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> rdp.Run:
    """Four pictures at three points of JPEG and of WebP."""
    folder = tmp_path_factory.mktemp("deliveries")
    rng = np.random.default_rng(9)
    (folder / "photos").mkdir()
    for k, (height, width) in enumerate(SIDES):
        y, x = np.mgrid[0:height, 0:width]
        planes = [128 + 70 * np.sin(x / (4 + k + c)) * np.cos(y / 6) + rng.normal(0, 4, x.shape) for c in range(3)]
        write_png(folder / "photos" / f"{k}.png", np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8))
    codecs = ["jpeg:quality=20|50|80", "webp:quality=20|50|80"]
    rdp.evaluate([folder / "photos"], codecs, ["mse"], folder / "run", jobs=1)
    return rdp.open_run(folder / "run")


def decoders_of(point: str) -> int:
    return 3 if point.startswith("jpeg") else 1 if "quality=80" in point else 2


@pytest.fixture
def table(run: rdp.Run) -> CellTable:
    """The run's table as if JPEG were one encoder with three decoders, and two points of WebP another one with two."""
    data = run.table().data
    names = data.column("encoder_id").to_pylist()
    points = data.column("point").to_pylist()
    ids = [
        name if decoders_of(point) == 1 else ENCODERS[point.split(":")[0]]
        for point, name in zip(points, names, strict=True)
    ]
    place = data.column_names.index("encoder_id")
    return CellTable(data.set_column(place, "encoder_id", pa.array(ids, pa.string())), str(run.path))


@pytest.mark.parametrize("weighting", ["images", "pixels"])
@pytest.mark.parametrize("goal", ["mse", "bpp"])
def test_a_delivery_with_charged_decoders_unpacks(
    goal: str, weighting: str, run: rdp.Run, table: CellTable, tmp_path: Path
) -> None:
    words: dict[str, Any] = {"weights": {"bpp": weighting}, "each_at_most": {"nbytes": 1e4}}
    words |= {"minimize": goal, "at_most": {"bpp": 2.2} if goal == "mse" else {"mse": 90}}
    selection = rdp.solve(table, **words)
    own = selection.save(tmp_path / "own.json")
    done = pack(run, selection, tmp_path / "d")
    found = unpack(done.out, tmp_path / "out", selection=own)
    assert found.mismatches == ()
    manifest = read_manifest(done.out)
    bits = [math.log2(decoders_of(one.point)) for one in manifest.files]
    assert sum(map(bool, bits)) > 0, "the test is of files that have several decoders"
    assert [one.decoders for one in manifest.files] == [decoders_of(one.point) for one in manifest.files]
    said = manifest.decoder_information
    assert said is not None and said.weighting == weighting
    assert said.total_bits == pytest.approx(sum(bits)) and said.images_that_need_it == sum(map(bool, bits))
    pixels = np.array([one.width * one.height for one in manifest.files])
    weights = pixels if weighting == "pixels" else np.ones(4)
    assert said.bpp == pytest.approx(np.average(np.array(bits) / pixels, weights=weights))
    stated = {one.column: one.average for one in manifest.averages}
    assert stated["bpp"] == pytest.approx(selection.averages["bpp"] - said.bpp, rel=1e-12)
    assert said.bpp_total == pytest.approx(selection.averages["bpp"], rel=1e-12)
    assert done.to_dict()["decoder_information"]["bpp"] == said.bpp
    assert manifest.total_bits == 8 * sum(one.nbytes for one in manifest.files)


def test_without_the_charge_a_manifest_says_nothing_of_decoders(run: rdp.Run, table: CellTable, tmp_path: Path) -> None:
    selections = {
        "free": rdp.solve(table, minimize="mse", at_most={"bpp": 2.2}, decoder_info=False),
        "apart": rdp.solve(run, minimize="mse", at_most={"bpp": 2.2}),
    }
    for name, selection in selections.items():
        own = selection.save(tmp_path / f"{name}.json")
        done = pack(run, selection, tmp_path / name)
        assert unpack(done.out, check_only=True, selection=own).mismatches == ()
        document = json.loads((done.out / "manifest.json").read_text())
        assert "decoder_information" not in document and "decoders" not in document["files"][0]


def test_side_information_is_held_against_a_delivery_in_place_of_the_decoders(
    run: rdp.Run, table: CellTable, tmp_path: Path
) -> None:
    """Six points take 3 bits an image, a decoder log2 3: the budget holds with the one and not with the other."""
    words = {"minimize": "mse", "points": ["jpeg:*"], "decoder_info": True}
    loose = rdp.solve(table, at_most={"bpp": 2.2}, **words)
    tight = {"bpp": loose.averages["bpp"]}
    selection = rdp.solve(table, at_most=tight, **words)
    with pytest.raises(SideInformationError, match="passes the budget"):
        pack(run, selection, tmp_path / "d", side_info=True)
    room = {"bpp": tight["bpp"] + float(np.mean([2 / (h * w) for h, w in SIDES])) - _decoders(loose) + 1e-9}
    wide = rdp.solve(table, at_most=room, fix=dict(selection.chosen), **words)
    # Every image is fixed, so that no decoder is chosen any more, and the number of one of three points has 2 bits.
    assert wide.problem.naming is None
    done = pack(run, wide, tmp_path / "d", side_info=True)
    assert unpack(done.out, check_only=True).mismatches == ()
    free = rdp.solve(table, at_most={"bpp": 3.0}, **words)
    both = pack(run, free, tmp_path / "both", side_info=True)
    assert both.manifest.side_information.charged and both.manifest.decoder_information is not None
    assert unpack(both.out, check_only=True).mismatches == ()


def _decoders(selection: rdp.Selection) -> float:
    naming = selection.problem.naming
    assert isinstance(naming, DecoderCost)
    return float(naming.at("bpp", selection.required_choice).mean())


FORGERIES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "fewer decoders": (lambda d: [f.update(decoders=1) for f in d["files"]], "decoder information"),
    "no decoders": (lambda d: [f.pop("decoders") for f in d["files"]], "decoder information"),
    "more than points": (lambda d: d["files"][0].update(decoders=7), "7 decoders to choose from, and 6 at most"),
    "other bits": (lambda d: d["decoder_information"].update(total_bits=1.0), "total_bits is"),
    "no information": (lambda d: d.pop("decoder_information"), "contradict each other"),
    "no word in the statement": (lambda d: d["selection"]["statement"].pop("decoder_info"), "contradict each other"),
    "a rate without its bits": (lambda d: d["budgets"][0].update(average=d["averages"][0]["average"]), "contradict"),
    "a budget in between": (
        lambda d: (
            d["selection"]["statement"]["at_most"].update(bpp=d["decoder_information"]["bpp_files"] + 1e-6),
            d["budgets"][0].update(budget=d["decoder_information"]["bpp_files"] + 1e-6),
        ),
        "above the budget",
    ),
}


@pytest.mark.parametrize("kind", FORGERIES)
def test_forged_decoders_are_found(kind: str, run: rdp.Run, table: CellTable, tmp_path: Path) -> None:
    change, message = FORGERIES[kind]
    done = pack(run, rdp.solve(table, minimize="mse", at_most={"bpp": 2.2}), tmp_path / "d")
    path = done.out / "manifest.json"
    document = json.loads(path.read_text())
    assert document["averages"][0]["column"] in ("mse", "bpp")
    document["averages"].sort(key=lambda one: one["column"])
    change(document)
    path.write_text(json.dumps(document))
    found = unpack(done.out, check_only=True)
    assert any(message in str(one) for one in found.mismatches), [str(one) for one in found.mismatches]
    assert hash_bytes(path.read_bytes())
