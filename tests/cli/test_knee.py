"""`rdp knee` on small tables whose knees are known by hand, and on tables that it must refuse or mend its ways for."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

import rdp
from rdp.analysis import KneeError
from rdp.cli.app import app
from rdp.errors import RunFolderError, SpecError

# PSNR and LPIPS less those of the network's own decoder. By hand: the knee is g5e-4, and g0 is dominated.
DECODERS = {
    "mse": (0.0, 0.0),
    "g1e-2": (-0.05, -0.04),
    "g1e-3": (-0.2, -0.10),
    "g5e-4": (-0.4, -0.12),
    "g1e-4": (-1.1, -0.135),
    "g5e-5": (-1.6, -0.138),
    "g0": (-5.0, -0.05),
}
RATES = {1: (0.125, 27.0, 0.40), 2: (0.25, 30.0, 0.30)}


def name(quality: int, decoder: str) -> str:
    written = "" if decoder == "mse" else f",decoder={decoder}"
    return f"hyperprior:weights=rdp,quality={quality},step=1{written}"


def make_table(images: int = 4, identity: bool = True) -> pd.DataFrame:
    rows = []
    for image in range(images):
        for quality, (bpp, psnr, lpips) in RATES.items():
            for decoder, (dx, dy) in DECODERS.items():
                row: dict[str, Any] = {"image": f"{image}.png", "point": name(quality, decoder), "bpp": bpp}
                row |= {"psnr": psnr + dx + image, "lpips_squeeze": lpips + dy - image / 64, "status": "ok"}
                rows.append(row | ({"encoder_id": f"{quality:012x}"} if identity else {}))
    return pd.DataFrame(rows)


Command = Callable[..., Result]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Runs `rdp knee` on a table, which becomes a CSV file."""

    def run(frame: pd.DataFrame, *options: object) -> Result:
        frame.to_csv(tmp_path / "table.csv", index=False)
        return CliRunner().invoke(app, ["knee", str(tmp_path / "table.csv"), *map(str, options)])

    return run


@pytest.mark.parametrize("identity", [True, False])
def test_every_rate_has_its_curve_and_its_knee(identity: bool) -> None:
    found = rdp.knee(make_table(identity=identity))
    assert [curve.name for curve in found.curves] == [f"hyperprior:weights=rdp,quality={q},step=1" for q in (1, 2)]
    assert found.notes == ()
    for curve, (quality, (bpp, psnr, lpips)) in zip(found.curves, RATES.items(), strict=True):
        assert curve.encoder_id == (f"{quality:012x}" if identity else None)
        assert curve.rates == (bpp, bpp) and (curve.images, curve.left_out) == (4, 0)
        assert [point.label for point in curve.points] == list(DECODERS)
        assert [point.x for point in curve.points] == pytest.approx([psnr + 1.5 + d for d, _ in DECODERS.values()])
        assert [point.y for point in curve.points] == pytest.approx(
            [lpips - 1.5 / 64 + d for _, d in DECODERS.values()]
        )
        assert curve.label(curve.knee) == curve.label(curve.kneedle) == "g5e-4"
        u, v = 0.4 / 1.6, 0.018 / 0.138
        assert curve.points[3].distance == pytest.approx((1 - u - v) / math.sqrt(2))
        zero = curve.points[6]
        assert not zero.on_front and zero.distance is None
        assert zero.dominated_by == ("g1e-3", "g5e-4", "g1e-4", "g5e-5")
        gain = curve.gain
        assert gain is not None and gain.reference == "mse"
        assert (gain.x, gain.y) == pytest.approx((-0.4, -0.12))
        assert gain.y_relative == pytest.approx(-0.12 / (lpips - 1.5 / 64))


def test_the_command_prints_a_row_a_point_and_says_what_the_knee_gives(command: Command) -> None:
    done = command(make_table())
    assert done.exit_code == 0, done.output
    first = done.stdout.split("\n\n")[0].splitlines()
    assert first[0] == "hyperprior:weights=rdp,quality=1,step=1: 0.125 bit/pixel, 4 images"
    assert first[1].split() == ["decoder", "PSNR", "(dB)", "LPIPS", "(Squeeze)", "distance", "front", "knee"]
    assert first[5].split() == ["g5e-4", "28.1", "0.256563", "0.438", "yes", "chord", "and", "Kneedle"]
    assert first[2].split()[-1] == "end"
    assert first[8].endswith("dominated by g1e-3, g5e-4, g1e-4 and 1 more")
    assert "knee: g5e-4: PSNR -0.4 dB, LPIPS (Squeeze) -0.12 (-31.9 %) against mse" in first[9]
    assert first[10].startswith("ends (chord): of 7 curves without some end points, 4 still have it between their ends")


def test_the_files_hold_what_the_document_holds_and_are_the_same_every_time(command: Command, tmp_path: Path) -> None:
    frame = make_table()
    first, second = (
        command(rows, "--out", tmp_path / out, "--json", "--resamples", 20, "--seed", 3)
        for rows, out in ((frame, "a"), (frame.sample(frac=1, random_state=5), "b"))
    )
    assert first.exit_code == 0 and first.stdout == second.stdout
    names = {"knee_points.csv", "knees.csv", "knee_ends.csv", "knee.json", "knee.png", "knee.pdf"}
    assert {path.name for path in (tmp_path / "a").iterdir()} == names
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name
    document = json.loads((tmp_path / "a" / "knee.json").read_text())
    assert document == json.loads(first.stdout) == rdp.knee(tmp_path / "table.csv", resamples=20, seed=3).to_dict()
    rows = list(csv.DictReader((tmp_path / "a" / "knee_points.csv").open()))
    for curve, k in ((curve, k) for curve in document["curves"] for k in range(7)):
        row, point = rows.pop(0), curve["points"][k]
        assert (row["curve"], row["point"], row["decoder"]) == (curve["name"], point["point"], point["decoder"])
        assert float(row["psnr"]) == point["x"] and float(row["lpips_squeeze"]) == point["y"]
        assert (row["knee"] == "True") == (curve["knee"] == point["decoder"])
        assert float(row["share_of_resamples"]) == point["share"] == (1.0 if point["decoder"] == "g5e-4" else 0.0)
    knees = list(csv.DictReader((tmp_path / "a" / "knees.csv").open()))
    assert [row["knee"] for row in knees] == ["g5e-4", "g5e-4"]
    assert [float(row["lpips_squeeze_less_reference"]) for row in knees] == pytest.approx([-0.12, -0.12])
    ends = list(csv.DictReader((tmp_path / "a" / "knee_ends.csv").open()))
    assert len(ends) == 2 * 2 * 7
    chord = document["curves"][0]["ends"]["chord"]
    assert (chord["tried"], chord["possible"], chord["knee"]) == (7, 4, "g5e-4")
    assert chord["agreeing"] == sum(row["agrees"] == "True" for row in ends[:7])


def test_a_parquet_file_and_a_run_like_table_give_the_same_knees(tmp_path: Path) -> None:
    frame = make_table()
    frame.to_parquet(tmp_path / "t.parquet")
    renamed = frame.rename(columns={"psnr": "quality_db"})
    direct = rdp.knee(tmp_path / "t.parquet")
    assert direct.curves == rdp.knee(frame).curves
    assert direct.curves == rdp.knee(renamed, columns={"psnr": "quality_db"}).curves


def test_the_figure_has_every_curve_with_dominated_points_hollow_and_knees_marked() -> None:
    from rdp.report.knee_figure import KNEE, KNEEDLE, curve_labels, make_figure

    found = rdp.knee(make_table())
    assert curve_labels(found) == ("hyperprior:quality=1, 0.125 bit/pixel", "hyperprior:quality=2, 0.250 bit/pixel")
    figure = make_figure(found)
    (axis,) = figure.axes
    assert axis.get_xlabel().startswith("PSNR (dB)") and axis.get_ylabel().startswith("LPIPS (Squeeze)")
    for curve in found.curves:
        zero, knee = curve.points[6], curve.points[3]
        hollow = [line for line in axis.lines if list(line.get_xdata()) == [zero.x]]
        assert [line.get_markerfacecolor() for line in hollow] == ["white"]
        front = [line for line in axis.lines if list(line.get_xdata()) == [p.x for p in curve.points[:6]]]
        assert len(front) == 1 and list(front[0].get_ydata()) == [p.y for p in curve.points[:6]]
        marks = {line.get_marker() for line in axis.lines if list(line.get_xdata()) == [knee.x]}
        assert marks == {KNEE["marker"], KNEEDLE["marker"]}
    frame = axis.get_window_extent()
    boxes = [text.get_window_extent() for text in axis.texts]
    assert [text.get_text() for text in axis.texts] == ["g5e-4", "g5e-4"] and not boxes[0].overlaps(boxes[1])
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)


def test_images_that_a_point_lacks_are_left_out_of_its_curve_and_counted(command: Command) -> None:
    """Of the first rate: a missing row, a failed one, and an empty cell, on three images."""
    frame = make_table(6)
    first = frame["point"] == name(1, "g1e-3")
    frame = frame[~(first & (frame["image"] == "0.png"))]
    frame.loc[first & (frame["image"] == "1.png"), ["status", "psnr", "lpips_squeeze"]] = ["failed", np.nan, np.nan]
    frame.loc[first & (frame["image"] == "2.png"), "lpips_squeeze"] = np.nan
    found = rdp.knee(frame)
    assert [(curve.images, curve.left_out) for curve in found.curves] == [(3, 3), (6, 0)]
    assert found.curves[0].points[0].x == pytest.approx(27 + 4)  # images 3, 4, 5
    done = command(frame)
    assert done.exit_code == 0
    assert "note: hyperprior:weights=rdp,quality=1,step=1: 3 of 6 images left out" in done.stderr


def test_the_values_of_failed_rows_do_not_count() -> None:
    frame = make_table()
    bad = frame["image"] == "3.png"
    frame.loc[bad, "status"] = "failed"
    frame.loc[bad, "psnr"] = 1e6
    assert rdp.knee(frame).curves == rdp.knee(make_table(3)).curves


def test_a_point_that_failed_everywhere_is_left_out_alone() -> None:
    frame = make_table()
    frame.loc[frame["point"] == name(1, "g1e-2"), ["status", "encoder_id"]] = ["failed", None]
    found = rdp.knee(frame)
    assert [len(curve.points) for curve in found.curves] == [6, 7]
    assert found.curves[0].images == 4 and found.curves[0].label(found.curves[0].knee) == "g5e-4"
    assert len(found.notes) == 1 and found.notes[0].startswith(f"{name(1, 'g1e-2')} left out")


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_value_that_is_not_finite_is_refused_with_its_place(value: str, command: Command) -> None:
    frame = make_table().astype({"psnr": object})
    frame.loc[(frame["point"] == name(2, "g1e-4")) & (frame["image"] == "2.png"), "psnr"] = value
    done = command(frame)
    assert done.exit_code == 2 and not done.stdout
    for words in ("table.csv", f"'psnr' is {value}", "'2.png'", repr(name(2, "g1e-4")), "--points"):
        assert words in done.stderr
    assert command(frame, "--points", "*quality=1,*").exit_code == 0


def test_missing_columns_and_wrong_options_are_refused(command: Command, tmp_path: Path) -> None:
    frame = make_table()
    (tmp_path / "file").touch()
    for options, words in (
        (["--y", "lpips_squeez"], "no column 'lpips_squeez'. Did you mean 'lpips_squeeze'"),
        (["--x", "status"], "holds text"),
        (["--x", "lpips_squeeze"], "x and y are both"),
        (["--points", "webp:*"], "means no point"),
        (["--sensitivity", "-1"], "sensitivity"),
        (["--sensitivity", "much"], "not a finite number"),
        (["--resamples", "1"], "resamples"),
        (["--resamples", "-4"], "resamples"),
        (["--seed", "x"], "--seed"),
        (["--resamples", "9", "--seed", "-1"], "seed"),
        (["--better", "psnr"], "NAME=VALUE"),
        (["--better", "psnr=lower"], "'psnr' is better where it is higher"),
        (["--better", "bpp=lower"], "neither x nor y"),
        (["--out", tmp_path / "file"], "is a file"),
    ):
        done = command(frame, *options)
        assert done.exit_code == 2 and words in done.stderr and "Traceback" not in done.stderr, (options, done.stderr)


def test_a_column_of_ones_own_needs_its_better_side(command: Command) -> None:
    frame = make_table().rename(columns={"lpips_squeeze": "nlpd"})
    done = command(frame, "--y", "nlpd")
    assert done.exit_code == 2 and "--better nlpd=lower or nlpd=higher" in done.stderr
    with pytest.raises(SpecError, match="not 'down'"):
        rdp.knee(frame, y="nlpd", better={"nlpd": "down"})  # type: ignore[dict-item]
    found = rdp.knee(frame, y="nlpd", better={"nlpd": "lower"})
    assert [curve.label(curve.knee) for curve in found.curves] == ["g5e-4"] * 2
    turned = rdp.knee(frame.assign(nlpd=-frame["nlpd"]), y="nlpd", better={"nlpd": "higher"})
    assert [curve.knee for curve in turned.curves] == [curve.knee for curve in found.curves]


def test_one_point_only_is_refused_with_the_numbers(command: Command) -> None:
    done = command(make_table(), "--points", name(1, "g1e-3"))
    assert done.exit_code == 2 and "there is one point, so there is no curve" in done.stderr
    done = command(make_table(), "--points", name(1, "g1e-3"), "--one-curve")
    assert done.exit_code == 2 and "one point" in done.stderr


def test_points_that_are_all_equal_are_refused_with_the_numbers(command: Command) -> None:
    done = command(make_table().assign(psnr=30.0, lpips_squeeze=0.25))
    assert done.exit_code == 2
    assert done.stderr.count("7 points, of which 1 on the Pareto front (6 at the place of another)") == 2


def test_a_rate_without_a_knee_does_not_take_the_others_with_it(command: Command, tmp_path: Path) -> None:
    frame = make_table()
    frame = frame[~frame["point"].isin([name(2, d) for d in ("g1e-3", "g5e-4", "g1e-4", "g5e-5", "g0")])]
    done = command(frame, "--out", tmp_path / "out")
    assert done.exit_code == 0
    assert "no knee: 2 points, of which 2 on the Pareto front: a knee needs at least 3" in done.stdout
    document = json.loads((tmp_path / "out" / "knee.json").read_text())
    assert [curve["knee"] for curve in document["curves"]] == ["g5e-4", None]
    assert (tmp_path / "out" / "knee.png").stat().st_size > 0


def test_a_hollow_curve_has_no_knee_and_the_command_says_so(command: Command) -> None:
    frame = pd.DataFrame(
        [("a.png", name(1, d), x, y) for d, x, y in (("mse", 30, 0.4), ("g1e-3", 29, 0.39), ("g0", 27, 0.1))],
        columns=["image", "point", "psnr", "lpips_squeeze"],
    )
    done = command(frame)
    assert done.exit_code == 0 and "knee: none, no point is on the better side of the chord" in done.stdout
    assert "ends: with three points on the front none can be left out" in done.stdout


def test_points_of_other_codecs_are_left_out_and_counted() -> None:
    frame = make_table()
    others = [f"webp:quality={q},method=4" for q in (10, 20, 30)]
    rows = [{"image": "0.png", "point": p, "psnr": 30.0, "lpips_squeeze": 0.3, "encoder_id": p} for p in others]
    found = rdp.knee(pd.concat([frame, pd.DataFrame(rows).assign(bpp=0.5, status="ok")]))
    assert found.curves == rdp.knee(frame).curves
    assert found.notes == ("3 points left out: no other one shares their encoder",)
    with pytest.raises(KneeError, match="no two of 3 points share an encoder"):
        rdp.knee(pd.DataFrame(rows))


def test_names_outside_the_grammar_make_one_curve_on_request() -> None:
    frame = make_table(identity=False)
    frame = frame[frame["point"].str.contains("quality=1")]
    frame = frame.assign(point=frame["point"].map({name(1, d): f"decoder {d}" for d in DECODERS}))
    with pytest.raises(KneeError, match="--one-curve"):
        rdp.knee(frame)
    (curve,) = rdp.knee(frame, one_curve=True).curves
    assert curve.name == "all points" and curve.label(curve.knee) == "decoder g5e-4"
    assert curve.gain is not None and curve.gain.reference == "decoder mse"


def test_points_that_do_not_share_a_file_are_told(command: Command) -> None:
    frame = make_table(identity=False)
    frame.loc[frame["point"] == name(1, "g0"), "bpp"] = 0.126
    done = command(frame)
    assert done.exit_code == 0 and "do not share a file; mean rates are 0.125 to 0.126 bit/pixel" in done.stderr


def test_encoders_win_over_names() -> None:
    """Two encoders under names that differ in the decoder alone are two curves; the second has one point."""
    frame = make_table()
    frame = frame[frame["point"].str.contains("quality=1")]
    frame.loc[frame["point"] == name(1, "g0"), "encoder_id"] = "another"
    found = rdp.knee(frame)
    assert [len(curve.points) for curve in found.curves] == [6]
    mixed = make_table()
    mixed.loc[(mixed["point"] == name(1, "g0")) & (mixed["image"] == "0.png"), "encoder_id"] = "another"
    assert any("its rows name 2 different encoders" in note for note in rdp.knee(mixed).notes)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match="file"):
        rdp.write_knee(rdp.knee(make_table(2)), tmp_path / "file")
    with pytest.raises(SpecError, match="svg"):
        rdp.write_knee(rdp.knee(make_table(2)), tmp_path / "out", figures=("svg",))  # type: ignore[arg-type]
