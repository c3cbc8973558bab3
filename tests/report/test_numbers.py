"""The numbers of a report, computed a second time with pandas."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import rdp
from rdp.errors import RdpError, SpecError, TableError
from rdp.report import write_report


def psnr_of(mse: float) -> float:
    return float(10 * np.log10(255**2 / mse))


@pytest.fixture
def selection(frame: pd.DataFrame) -> rdp.Selection:
    return rdp.solve(frame, minimize="mse", at_most={"bpp": 0.3})


def test_averages_of_points_are_those_of_pandas(frame: pd.DataFrame, selection: rdp.Selection, tmp_path: Path) -> None:
    points = write_report(frame, selection, tmp_path, figures=()).tables["points"].set_index("point")
    groups = frame.groupby("point")
    for column in ("bpp", "mse", "psnr", "ms_ssim", "ms_ssim_db", "lpips_alex"):
        assert points[column].to_dict() == pytest.approx(groups[column].mean().to_dict())
    area = frame["width"] * frame["height"]
    rate = 8 * groups["nbytes"].sum() / area.groupby(frame["point"]).sum()
    assert points["bpp_by_pixels"].to_dict() == pytest.approx(rate.to_dict())
    assert points["psnr_of_mean_mse"].to_dict() == pytest.approx(groups["mse"].mean().map(psnr_of).to_dict())
    of_mean = -10 * np.log10(1 - groups["ms_ssim"].mean())
    assert points["ms_ssim_db_of_mean"].to_dict() == pytest.approx(of_mean.to_dict())
    counts = pd.Series(selection.chosen).value_counts()
    assert points["chosen"].sum() == len(selection.chosen)
    assert {p: c for p, c in points["chosen"].items() if c} == counts.to_dict()


def test_the_selection_row_and_the_gains_are_those_of_pandas(
    frame: pd.DataFrame, selection: rdp.Selection, tmp_path: Path
) -> None:
    table = write_report(frame, selection, tmp_path, figures=()).tables["comparison"].set_index("average")
    cells = frame.set_index(["image", "point"])
    chosen = cells.loc[list(selection.chosen.items())]
    means = frame.groupby("point")[["bpp", "mse", "psnr"]].mean()
    best = means[means["bpp"] <= 0.3].sort_values("mse").iloc[0]
    for column in ("bpp", "mse", "psnr", "lpips_alex"):
        assert table.loc[column, "value"] == pytest.approx(chosen[column].mean())
    assert table.loc["mse", "single"] == pytest.approx(best["mse"])
    assert table.loc["mse", "gain_single"] == pytest.approx(best["mse"] - chosen["mse"].mean())
    assert table.loc["mse", "gain_single_percent"] == pytest.approx(100 * (1 - chosen["mse"].mean() / best["mse"]))
    assert table.loc["psnr", "gain_single"] == pytest.approx(chosen["psnr"].mean() - best["psnr"])
    assert np.isnan(table.loc["psnr", "gain_single_percent"])
    assert table.loc["psnr_of_mean_mse", "value"] == pytest.approx(psnr_of(chosen["mse"].mean()))
    assert table.loc["bpp", "mixture"] == pytest.approx(chosen["bpp"].mean())


def test_the_mixture_averages_are_its_shares_times_the_points(
    frame: pd.DataFrame, selection: rdp.Selection, tmp_path: Path
) -> None:
    report = write_report(frame, selection, tmp_path, figures=())
    parts = report.tables["baselines"].query("baseline == 'mixture'").set_index("point")["share"]
    table = report.tables["comparison"].set_index("average")["mixture"]
    means = frame.groupby("point")[["mse", "psnr"]].mean()
    assert parts.sum() == pytest.approx(1)
    assert table["mse"] == pytest.approx((means.loc[parts.index, "mse"] * parts).sum())
    assert table["psnr"] == pytest.approx((means.loc[parts.index, "psnr"] * parts).sum())
    assert table["psnr_of_mean_mse"] == pytest.approx(psnr_of(table["mse"]))


def test_rates_by_pixels_are_compared_by_pixels(frame: pd.DataFrame, tmp_path: Path) -> None:
    selection = rdp.solve(frame, minimize="mse", at_most={"bpp": 0.3}, weights={"bpp": "pixels"})
    table = write_report(frame, selection, tmp_path, figures=()).tables["comparison"].set_index("average")
    chosen = frame.set_index(["image", "point"]).loc[list(selection.chosen.items())]
    total = 8 * chosen["nbytes"].sum() / (chosen["width"] * chosen["height"]).sum()
    assert table.loc["bpp_by_pixels", "value"] == pytest.approx(total)
    assert table.loc["bpp_by_pixels", "mixture"] == pytest.approx(total)
    assert "weighted by pixels" in (tmp_path / "report.md").read_text()


def test_csv_files_read_back_as_the_tables(frame: pd.DataFrame, selection: rdp.Selection, tmp_path: Path) -> None:
    report = write_report(frame, selection, tmp_path, figures=())
    for name in ("points", "comparison", "chosen"):
        back = pd.read_csv(tmp_path / f"{name}.csv")
        pd.testing.assert_frame_equal(back, report.tables[name], check_dtype=False)
    chosen = report.tables["chosen"].set_index("image")
    assert chosen["point"].to_dict() == dict(selection.chosen)
    cells = frame.set_index(["image", "point"])
    assert chosen.loc["im_03.png", "mse"] == cells.loc[("im_03.png", chosen.loc["im_03.png", "point"]), "mse"]


def test_a_lossless_point_has_an_infinite_average_and_no_place_in_the_figure(
    lossless: pd.DataFrame, tmp_path: Path
) -> None:
    selection = rdp.solve(lossless, minimize="mse", at_most={"bpp": 0.3})
    report = write_report(lossless, selection, tmp_path)
    points = report.tables["points"].set_index("point")
    assert points.loc["png:level=9", "psnr"] == np.inf
    assert points.loc["png:level=9", "psnr_of_mean_mse"] == np.inf
    assert len(report.notes) == 1
    assert "png" in report.notes[0]
    row = next(line for line in (tmp_path / "points.md").read_text().splitlines() if "`png`" in line)
    assert " inf " in row
    document = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    written = next(r for r in document["tables"]["points"] if r["point"] == "png:level=9")
    assert written["psnr"] is None
    assert written["psnr_is"] == "inf"


def test_under_a_cap_the_capped_average_stands_beside_the_infinite_one(lossless: pd.DataFrame, tmp_path: Path) -> None:
    selection = rdp.solve(lossless, maximize="psnr", at_most={"bpp": 5}, cap={"psnr": 60})
    table = write_report(lossless, selection, tmp_path).tables["comparison"].set_index("average")
    assert table.loc["psnr_capped_60", "value"] == pytest.approx(selection.averages["psnr"])
    assert table.loc["psnr", "value"] == np.inf


def test_points_that_not_every_image_has_are_marked_and_not_compared(frame: pd.DataFrame, tmp_path: Path) -> None:
    point = "webp:quality=50,method=4"
    holes = frame[~((frame["point"] == point) & frame["image"].isin(["im_00.png", "im_01.png"]))]
    selection = rdp.solve(holes, minimize="mse", at_most={"bpp": 0.6})
    report = write_report(holes, selection, tmp_path)
    points = report.tables["points"].set_index("point")
    assert points.loc[point, "images"] == 6
    assert points.loc[point, "mse"] == pytest.approx(holes[holes["point"] == point]["mse"].mean())
    assert "6 of 8" in (tmp_path / "points.md").read_text()
    assert point not in set(report.tables["baselines"]["point"])
    assert any("not every image has" in note for note in report.notes)


def test_failed_cells_are_counted_and_not_averaged(frame: pd.DataFrame, tmp_path: Path) -> None:
    point = "webp:quality=50,method=4"
    failed = frame.assign(status="ok")
    failed.loc[(failed["point"] == point) & (failed["image"] == "im_00.png"), ["status", "mse"]] = ["failed", 1e9]
    selection = rdp.solve(failed, minimize="mse", at_most={"bpp": 0.3})
    points = write_report(failed, selection, tmp_path, figures=()).tables["points"].set_index("point")
    assert points.loc[point, ["images", "failed"]].tolist() == [7, 1]
    assert points.loc[point, "mse"] < 1e6


def test_a_missing_value_leaves_a_dash_and_not_another_average(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.loc[(frame["point"] == "webp:quality=5,method=4") & (frame["image"] == "im_00.png"), "lpips_alex"] = np.nan
    selection = rdp.solve(frame, minimize="mse", at_most={"bpp": 0.3})
    points = write_report(frame, selection, tmp_path).tables["points"].set_index("point")
    assert np.isnan(points.loc["webp:quality=5,method=4", "lpips_alex"])
    row = next(line for line in (tmp_path / "points.md").read_text().splitlines() if "`webp:quality=5`" in line)
    assert "–" in row


def test_an_infeasible_selection_is_reported_with_its_explanation(frame: pd.DataFrame, tmp_path: Path) -> None:
    selection = rdp.solve(frame, minimize="mse", at_most={"bpp": 0.001})
    report = write_report(frame, selection, tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "**INFEASIBLE**" in text
    assert selection.explanation.splitlines()[-1].strip() in text
    assert len(report.tables["points"]) == 7
    assert report.tables["chosen"].empty
    assert (tmp_path / "figure.png").exists()


def test_one_point_and_one_image_make_a_report(tmp_path: Path, frame: pd.DataFrame) -> None:
    single = frame[(frame["point"] == "webp:quality=5,method=4") & (frame["image"] == "im_00.png")]
    selection = rdp.solve(single, minimize="mse", at_most={"bpp": 9})
    report = write_report(single, selection, tmp_path)
    assert report.tables["points"]["chosen"].tolist() == [1]
    assert report.tables["comparison"].set_index("average").loc["mse", "gain_single"] == 0


def test_several_selections_stand_side_by_side_under_their_files_names(frame: pd.DataFrame, tmp_path: Path) -> None:
    table = tmp_path / "cells.csv"
    frame.to_csv(table, index=False)
    rd = rdp.solve(table, minimize="mse", at_most={"bpp": 0.3})
    rdp_ = rdp.solve(table, minimize="lpips_alex", at_most={"bpp": 0.3}, at_least={"psnr": 28})
    paths = [rd.save(tmp_path / "rd.json"), rdp_.save(tmp_path / "rdp.json")]
    report = write_report(table, paths, tmp_path / "out")
    points = report.tables["points"].set_index("point")
    for name, selection in (("rd", rd), ("rdp", rdp_)):
        assert {k: int(v) for k, v in points[f"chosen_{name}"].items()} == selection.counts()
    assert report.selections == ("rd", "rdp")
    header = (tmp_path / "out" / "points.md").read_text().splitlines()[2]
    assert "Chosen, rd " in header
    assert "Chosen, rdp " in header


def test_selections_of_files_with_one_name_are_told_apart_by_their_folders(frame: pd.DataFrame, tmp_path: Path) -> None:
    table = tmp_path / "cells.csv"
    frame.to_csv(table, index=False)
    selection = rdp.solve(table, minimize="mse", at_most={"bpp": 0.3})
    for folder in ("x/a", "y/a", "b"):
        (tmp_path / folder).mkdir(parents=True)
        selection.save(tmp_path / folder / "rd.json")
    other = selection.save(tmp_path / "b" / "rdp.json")
    paths = [tmp_path / folder / "rd.json" for folder in ("x/a", "y/a", "b")]
    report = write_report(table, [*paths, other], tmp_path / "out", figures=())
    assert report.selections == ("x/a/rd", "y/a/rd", "b/rd", "rdp")
    assert {f"chosen_{name}" for name in report.selections} <= set(report.tables["points"].columns)
    text = (tmp_path / "out" / "report.md").read_text()
    assert all(f"## Selection {name}\n" in text for name in report.selections)


def test_one_file_given_twice_and_selections_without_files_are_numbered(
    frame: pd.DataFrame, selection: rdp.Selection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    selection.save(tmp_path / "rd.json")
    selection.save(tmp_path / "selection 1.json")
    monkeypatch.chdir(tmp_path)
    given = ["rd.json", tmp_path / "rd.json", selection, selection, "selection 1.json"]
    names = write_report(frame, given, tmp_path / "out", formats=["csv"], figures=()).selections
    assert len(set(names)) == 5
    assert names[0].endswith("rd 1")
    assert names[1].endswith("rd 2")
    assert names[2:] == ("selection 2", "selection 3", "selection 1")


def test_the_report_says_for_each_budget_what_the_mixture_was_held_to(frame: pd.DataFrame, tmp_path: Path) -> None:
    """A budget that does not bind must not keep the mixture from being found."""
    selection = rdp.solve(frame, minimize="mse", at_most={"bpp": 0.3}, at_least={"psnr": 20})
    report = write_report(frame, selection, tmp_path, figures=())
    budgets = report.tables["budgets"].set_index("column")
    assert budgets["mixture_held_to"].to_dict() == {"bpp": "average", "psnr": "budget"}
    assert budgets["mixture_limit"].to_dict() == {"bpp": selection.averages["bpp"], "psnr": 20.0}
    text = (tmp_path / "report.md").read_text()
    assert f"held to the selection's own average of `bpp` ({selection.averages['bpp']:.6g})" in text
    assert "and to the budget `psnr` at least 20, which does not bind the selection: this gain is not unspent" in text
    assert report.tables["comparison"].set_index("average")["mixture"].notna().all()


def test_points_that_a_selection_was_not_allowed_have_no_count(lossless: pd.DataFrame, tmp_path: Path) -> None:
    selection = rdp.solve(lossless, minimize="mse", at_most={"bpp": 0.3}, points=["webp:*"])
    points = write_report(lossless, selection, tmp_path, figures=()).tables["points"].set_index("point")
    assert points["chosen"].isna().sum() == 4
    assert points.loc["webp:quality=5,method=4", "chosen"] >= 0


def test_columns_may_be_chosen_averages_too(frame: pd.DataFrame, selection: rdp.Selection, tmp_path: Path) -> None:
    report = write_report(frame, selection, tmp_path, columns=["bpp", "psnr_of_mean_mse"], figures=())
    assert list(report.tables["comparison"]["average"]) == ["bpp", "psnr_of_mean_mse"]


def test_an_unknown_column_is_refused_with_a_suggestion(
    frame: pd.DataFrame, selection: rdp.Selection, tmp_path: Path
) -> None:
    with pytest.raises(TableError, match="'psnrr'.*'psnr'"):
        write_report(frame, selection, tmp_path, columns=["psnrr"])
    with pytest.raises(TableError, match="'lpips_alx'"):
        write_report(frame, selection, tmp_path, quality="lpips_alx")
    with pytest.raises(SpecError, match="'markdwon'"):
        write_report(frame, selection, tmp_path, formats=["markdwon"])  # type: ignore[list-item]


def test_a_selection_of_another_table_is_refused(frame: pd.DataFrame, selection: rdp.Selection, tmp_path: Path) -> None:
    other = frame.assign(mse=frame["mse"] * 1.01)
    with pytest.raises(TableError, match="solve again"):
        write_report(other, selection, tmp_path)
    with pytest.raises(TableError, match="solve again"):
        write_report(frame[frame["image"] != "im_00.png"], selection, tmp_path)


def test_a_users_own_columns_are_reported_and_have_the_direction_that_was_asked_for(tmp_path: Path) -> None:
    rows = [("a", "lo", 1.0, 5.0), ("a", "hi", 2.0, 9.0), ("b", "lo", 1.0, 4.0), ("b", "hi", 3.0, 6.0)]
    own = pd.DataFrame(rows, columns=["image", "point", "cost", "score"])
    selection = rdp.solve(own, maximize="score", at_most={"cost": 2.0})
    report = write_report(own, selection, tmp_path)
    table = report.tables["comparison"].set_index("average")
    assert table.loc["score", "gain_single"] == pytest.approx(selection.averages["score"] - 4.5)
    assert report.notes == ("There is no figure: the table has no rate (bpp) and quality to draw.",)
    assert not (tmp_path / "figure.png").exists()


def test_a_folder_that_cannot_be_written_is_a_clear_error(
    frame: pd.DataFrame, selection: rdp.Selection, tmp_path: Path
) -> None:
    file = tmp_path / "taken"
    file.write_text("a file")
    with pytest.raises(RdpError, match="taken"):
        write_report(frame, selection, file, figures=())
    (tmp_path / "out" / "points.csv").mkdir(parents=True)
    with pytest.raises(RdpError, match=r"points\.csv"):
        write_report(frame, selection, tmp_path / "out", figures=())
    assert not (tmp_path / "out" / "report.md").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_leaves_no_half_of_a_file(
    frame: pd.DataFrame, selection: rdp.Selection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.open

    def to_full(self: Path, *args: object, **kwargs: object) -> io.IOBase:
        if self.suffix == ".tmp":
            real(self, "wb").close()  # type: ignore[call-overload]
            return real(Path("/dev/full"), "wb")
        return real(self, *args, **kwargs)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(Path, "open", to_full)
    with pytest.raises(RdpError, match="no space left"):
        write_report(frame, selection, tmp_path / "out", figures=())
    assert list((tmp_path / "out").iterdir()) == []
