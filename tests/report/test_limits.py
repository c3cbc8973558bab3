"""Reports of selections with budgets of groups, few points, and side information in the rate."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import rdp
from rdp.errors import TableError
from rdp.report import write_report
from rdp.report.curves import make_plot
from rdp.report.study import make_study

Frames = Callable[..., pd.DataFrame]


def with_scenes(frame: pd.DataFrame, scenes: int) -> pd.DataFrame:
    number = frame["image"].str.extract(r"(\d+)")[0].astype(int)
    return frame.assign(scene="scene " + (number % scenes).astype(str))


@pytest.fixture(scope="module")
def many(frame_of: Frames) -> pd.DataFrame:
    """Sixty images in thirty scenes."""
    return with_scenes(frame_of(images=60, seed=3), 30)


@pytest.fixture(scope="module")
def of_many(many: pd.DataFrame) -> rdp.Selection:
    return rdp.solve(
        many, minimize="mse", at_most={"bpp": 0.35}, group_at_least={"psnr": 24.0}, groups="scene", gap=1e-3
    )


def test_a_report_of_thirty_groups_stays_readable(many: pd.DataFrame, of_many: rdp.Selection, tmp_path: Path) -> None:
    write_report(many, of_many, tmp_path, figures=())
    text = (tmp_path / "report.md").read_text()
    asked = "with the average `bpp` at most 0.35 and the average `psnr` at least 24 in each of 30 groups by `scene`."
    assert asked in text
    table = [line for line in text.splitlines() if re.match(r"\| `(psnr|bpp)` at ", line)]
    assert len(table) == 6
    assert "| all images |" in table[0]
    shown = [re.findall(r"`(scene \d+)`", line)[0] for line in table[1:]]
    slack = {budget.group: budget.slack for budget in of_many.budgets if budget.group}
    assert shown == sorted(slack, key=lambda group: slack[group] or 0.0)[:5]
    assert re.search(r"25 more groups keep to `psnr` at least 24, with slacks of [\d.]+ to [\d.]+", text)
    assert max(map(len, text.splitlines())) < 1000
    assert all(text.count(f"`scene {k}`") <= 1 for k in range(30))


def test_the_table_of_budgets_has_a_row_for_every_group(
    many: pd.DataFrame, of_many: rdp.Selection, tmp_path: Path
) -> None:
    budgets = write_report(many, of_many, tmp_path, figures=()).tables["budgets"]
    assert budgets["group"].tolist()[0] == ""
    groups = budgets[budgets["group"] != ""].set_index("group")
    assert len(groups) == 30
    chosen = many.set_index(["image", "point"]).loc[list(of_many.chosen.items())]
    assert groups["average"].to_dict() == pytest.approx(chosen.groupby("scene")["psnr"].mean().to_dict())
    assert set(groups["mixture_held_to"]) == {"budget"}


def test_eight_groups_are_all_shown(frame_of: Frames, tmp_path: Path) -> None:
    frame = with_scenes(frame_of(images=16, seed=1), 8)
    selection = rdp.solve(frame, minimize="mse", group_at_most={"bpp": 0.4}, groups="scene")
    write_report(frame, selection, tmp_path, figures=())
    text = (tmp_path / "report.md").read_text()
    assert sum(line.startswith("| `bpp` at most") for line in text.splitlines()) == 8
    assert "more groups" not in text
    assert "in each of 8 groups by `scene`" in text


def test_what_baselines_leave_unspent_in_groups_is_told(frame_of: Frames, tmp_path: Path) -> None:
    frame = with_scenes(frame_of(images=12, seed=5), 3)
    selection = rdp.solve(frame, minimize="mse", group_at_most={"bpp": 0.45}, groups="scene")
    report = write_report(frame, selection, tmp_path, figures=())
    text = (tmp_path / "report.md").read_text()
    parts = report.tables["baselines"].query("baseline == 'mixture'").set_index("point")["share"]
    rates = frame.groupby(["scene", "point"])["bpp"].mean().unstack()[parts.index] @ parts
    assert rates.max() <= 0.45 * (1 + 1e-6)
    unspent = f"0 to {0.45 - rates.min():.3g} of `bpp` in the groups"
    assert f"held to the budget `bpp` at most 0.45 in each group, and leaves unspent {unspent}" in text
    assert "is not unspent budget" not in text
    table = report.tables["comparison"].set_index("average")
    assert table.loc["mse", "mixture"] >= table.loc["mse", "value"]
    assert ": at most 0.45 in each group" in (tmp_path / "comparison.md").read_text()


def test_budgets_of_groups_are_not_drawn_and_the_figure_says_so(many: pd.DataFrame, of_many: rdp.Selection) -> None:
    plot = make_plot(make_study(rdp.read_table(many), of_many, None, None))
    assert plot is not None
    assert [(panel.x_budgets, panel.y_budgets) for panel in plot.panels] == [((0.35,), ()), ((0.35,), ())]
    assert "Budgets of groups are not drawn: the axes show averages over all images." in plot.notes


def test_an_infeasible_selection_with_groups_is_reported(many: pd.DataFrame, tmp_path: Path) -> None:
    selection = rdp.solve(many, minimize="mse", group_at_most={"bpp": 0.02}, groups="scene")
    write_report(many, selection, tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "**INFEASIBLE**" in text
    assert "no single point meets bpp <= 0.02 in each of 30 groups." in text


def test_a_limit_on_the_points_is_said_and_holds_for_the_mixture(frame_of: Frames, tmp_path: Path) -> None:
    frame = frame_of(images=10, seed=2)
    selection = rdp.solve(frame, minimize="mse", at_most={"bpp": 0.3}, max_points=1)
    report = write_report(frame, selection, tmp_path, figures=())
    text = (tmp_path / "report.md").read_text()
    assert "Also: no more than 1 distinct point in all." in text
    assert len(report.tables["baselines"].query("baseline == 'mixture'")) == 1
    table = report.tables["comparison"].set_index("average")
    assert table.loc["mse", "gain_mixture"] == pytest.approx(0, abs=1e-9)


@pytest.fixture
def small(frame_of: Frames) -> pd.DataFrame:
    """Images of a few hundred pixels, in which the bits of an index weigh something."""
    frame = frame_of(images=8)
    frame["width"], frame["height"] = frame["width"] // 32, 12
    frame["nbytes"] = (frame["bpp"] * frame["width"] * frame["height"] / 8).round().astype(int).clip(lower=1)
    frame["bpp"] = 8 * frame["nbytes"] / (frame["width"] * frame["height"])
    return frame


@pytest.mark.parametrize("weighting", ["images", "pixels"])
def test_rates_with_side_information_stand_beside_those_of_the_files(
    weighting: str, small: pd.DataFrame, tmp_path: Path
) -> None:
    weights = {"bpp": weighting}
    selection = rdp.solve(small, minimize="mse", at_most={"bpp": 0.36}, weights=weights, side_info=True)
    report = write_report(small, selection, tmp_path, figures=())
    table = report.tables["comparison"].set_index("average")
    chosen = small.set_index(["image", "point"]).loc[list(selection.chosen.items())]
    area = chosen["width"] * chosen["height"]
    mean = area if weighting == "pixels" else pd.Series(1.0, area.index)
    own, key = (
        ("bpp_by_pixels", "bpp_by_pixels_with_side_info") if weighting == "pixels" else ("bpp", "bpp_with_side_info")
    )
    side = np.average(3 / area, weights=mean)  # one of 7 points takes 3 bits
    assert table.loc[own, "value"] == pytest.approx(np.average(chosen["bpp"], weights=mean))
    assert table.loc[key, "value"] == pytest.approx(table.loc[own, "value"] + side)
    assert table.loc[key, "value"] == pytest.approx(selection.averages["bpp"])
    # The mixture needs the bits for every image, the single point once for all eight.
    assert table.loc[key, "mixture"] == pytest.approx(table.loc[own, "mixture"] + side)
    assert table.loc[key, "single"] == pytest.approx(table.loc[own, "single"] + side / 8)
    points = report.tables["points"]
    assert key not in points.columns
    text = (tmp_path / "report.md").read_text()
    assert "Also: side information counts in `bpp` and `nbytes`." in text
    assert "Its side information is one number for all images." in text
    assert "3 bits an image (one of 7 points)" in text
    row = next(line for line in (tmp_path / "comparison.md").read_text().splitlines() if "at most 0.36" in line)
    assert "with side information" in row


def test_a_rate_that_is_minimised_includes_its_side_information_only_in_its_own_row(
    small: pd.DataFrame, tmp_path: Path
) -> None:
    selection = rdp.solve(small, minimize="bpp", at_most={"mse": 60}, side_info=True)
    table = write_report(small, selection, tmp_path).tables["comparison"].set_index("average")
    assert table.loc["bpp_with_side_info", "value"] == pytest.approx(selection.objective)
    assert table.loc["bpp", "value"] < table.loc["bpp_with_side_info", "value"]
    assert "| Rate, with side information (bit/pixel): minimised" in (tmp_path / "comparison.md").read_text()


def test_selections_with_and_without_side_information_stand_side_by_side(small: pd.DataFrame, tmp_path: Path) -> None:
    plain = rdp.solve(small, minimize="mse", at_most={"bpp": 0.36})
    charged = rdp.solve(small, minimize="mse", at_most={"bpp": 0.36}, side_info=True, max_points=2)
    report = write_report(small, {"plain": plain, "charged": charged}, tmp_path)
    rows = report.tables["comparison"].query("average == 'bpp_with_side_info'").set_index("selection")
    assert rows.loc["charged", "value"] == pytest.approx(charged.averages["bpp"])
    # The other needs 3 bits an image too, whether or not it was solved with them.
    area = small.drop_duplicates("image")["width"] * 12
    assert rows.loc["plain", "value"] == pytest.approx(plain.averages["bpp"] + (3 / area).mean())


def test_budgets_with_side_information_are_drawn_where_they_leave_the_files(small: pd.DataFrame) -> None:
    selection = rdp.solve(small, minimize="mse", at_most={"bpp": 0.36}, side_info=True)
    plot = make_plot(make_study(rdp.read_table(small), selection, None, None))
    assert plot is not None
    area = small.drop_duplicates("image")["width"] * 12
    (budget,) = plot.panels[0].x_budgets
    assert budget == pytest.approx(0.36 - (3 / area).mean())
    (spot,) = (spot for spot in plot.panels[0].spots if spot.kind == "selection")
    assert spot.x <= budget
    assert plot.panels[0].x.key == "bpp"
    assert "Rates are drawn without side information, and so are the budgets that include it." in plot.notes


def test_all_together_from_a_saved_selection(small: pd.DataFrame, tmp_path: Path) -> None:
    table = tmp_path / "cells.parquet"
    with_scenes(small, 2).to_parquet(table)
    words = {"at_most": {"bpp": 0.5}, "group_at_most": {"bpp": 0.6}, "group_at_least": {"psnr": 20}}
    selection = rdp.solve(table, minimize="mse", groups="scene", max_points=3, side_info=True, **words)
    path = selection.save(tmp_path / "all.json")
    report = write_report(table, path, tmp_path / "out")
    assert len(report.tables["budgets"]) == 5
    assert report.tables["budgets"]["average"].tolist() == [budget.average for budget in selection.budgets]
    other = small.assign(bpp=small["bpp"] * 1.001)
    with pytest.raises(TableError, match="solve again"):
        write_report(with_scenes(other, 2), selection, tmp_path / "other")


def test_the_single_point_alone_may_meet_a_budget_that_its_index_would_pass(
    small: pd.DataFrame, tmp_path: Path
) -> None:
    """Named once it is within the budget, named image by image it would not be."""
    area = small.drop_duplicates("image")["width"] * 12
    rates = small.groupby("point")["bpp"].mean()
    budget = float(rates["webp:quality=20,method=4"] + 0.5 * (3 / area).mean())
    selection = rdp.solve(small, minimize="mse", at_most={"bpp": budget}, side_info=True)
    report = write_report(small, selection, tmp_path, figures=())
    (single,) = report.tables["baselines"].query("baseline == 'single'")["point"]
    assert single == "webp:quality=20,method=4"
    unspent = re.search(r"It leaves unspent ([\d.]+) of `bpp`", (tmp_path / "report.md").read_text())
    assert unspent is not None
    assert float(unspent[1]) == pytest.approx((0.5 - 1 / 8) * (3 / area).mean(), rel=0.01)
