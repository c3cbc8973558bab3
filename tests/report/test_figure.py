"""The marks of a figure: told apart by shape, colour, size and, where they lie close, by a detail."""

from __future__ import annotations

import itertools
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rdp
from rdp.report import write_report
from rdp.report.curves import Plot, make_plot
from rdp.report.figure import WIDTH_IN, WIDTH_WITH_DETAILS_IN, size_in
from rdp.report.figure_styles import LONGEST_LABEL, legend_entries, shortened, spot_style
from rdp.report.study import make_study
from rdp.report.zoom import detail_windows


def plot_of(frame: pd.DataFrame, selections: dict[str, rdp.Selection]) -> Plot:
    plot = make_plot(make_study(rdp.read_table(frame), selections, None, None))
    assert plot is not None
    return plot


@pytest.fixture
def two(frame: pd.DataFrame) -> dict[str, rdp.Selection]:
    rd = rdp.solve(frame, minimize="mse", at_most={"bpp": 0.3})
    return {"RD": rd, "RDP": rdp.solve(frame, minimize="lpips_alex", at_most={"bpp": 0.3}, at_least={"psnr": 27})}


def test_marks_that_lie_close_are_drawn_again_far_apart(frame: pd.DataFrame, two: dict[str, rdp.Selection]) -> None:
    plot = plot_of(frame, two)
    windows = detail_windows(plot.panels)
    assert len(windows) == len(plot.panels)
    assert len({window.x for window in windows}) == 1
    assert size_in(plot)[0] == WIDTH_WITH_DETAILS_IN
    for panel, window in zip(plot.panels, windows, strict=True):
        shown = [spot for spot in panel.spots if spot.kind != "single"]
        assert shown
        assert all(window.x[0] < spot.x < window.x[1] and window.y[0] < spot.y < window.y[1] for spot in shown)
        xs = [x for line in panel.lines for x in line.xs]
        assert window.x[1] - window.x[0] < (max(xs) - min(xs)) / 2


def test_a_figure_whose_marks_are_apart_has_no_details(frame: pd.DataFrame) -> None:
    """An infeasible selection has none, nor has one that is the best single point and the mixture too."""
    plot = plot_of(frame, {"none": rdp.solve(frame, minimize="mse", at_most={"bpp": 0.001})})
    assert detail_windows(plot.panels) == ()
    assert size_in(plot)[0] == WIDTH_IN
    assert detail_windows(plot_of(frame, {"all": rdp.solve(frame, minimize="mse", points=["webp:*"])}).panels) == ()


def test_with_selections_far_apart_the_detail_is_around_those_that_cover_each_other(
    frame: pd.DataFrame, two: dict[str, rdp.Selection]
) -> None:
    far = rdp.solve(frame, minimize="mse", points=["webp:*"])
    assert far.averages["bpp"] > two["RD"].averages["bpp"] + 0.09
    (first, *_), alone = (detail_windows(plot_of(frame, s).panels) for s in ({"far": far, **two}, two))
    assert first.x[1] < far.averages["bpp"]
    assert first.x[0] < two["RD"].averages["bpp"] < first.x[1]
    assert alone


def test_the_legend_says_whose_single_point_and_mixture_a_mark_is(
    frame: pd.DataFrame, two: dict[str, rdp.Selection]
) -> None:
    labels = [label for _, label in legend_entries(plot_of(frame, two))]
    for name in ("RD", "RDP"):
        assert {f"selection {name}", f"best single point ({name})", f"mixture ({name})"} <= set(labels)
    alone = [label for _, label in legend_entries(plot_of(frame, {"RD": two["RD"]}))]
    assert {"selection", "best single point", "mixture"} <= set(alone)


def test_no_mark_looks_like_another_or_hides_it() -> None:
    styles = [spot_style(kind, index) for kind in ("selection", "single", "mixture") for index in range(3)]
    for a, b in itertools.combinations(styles, 2):
        assert (a["marker"], a["color"]) != (b["marker"], b["color"])
        assert (a["marker"], a["markersize"]) != (b["marker"], b["markersize"])
    for index in range(3):
        for kind in ("single", "mixture"):
            outline, filled = spot_style(kind, index), spot_style("selection", 0)
            assert outline["markerfacecolor"] == "none"
            assert outline["zorder"] > filled["zorder"]
            assert outline["color"] == spot_style("selection", index)["color"]


def test_names_with_signs_of_matplotlib_are_drawn_as_they_are(frame: pd.DataFrame, tmp_path: Path) -> None:
    named = ("$\\frac$", "_hidden")
    renamed = frame.assign(point=frame["point"].str.replace("webp:quality=", "_web$p^ "))
    again = {
        name: rdp.solve(renamed, minimize="mse", at_most={"bpp": budget})
        for name, budget in zip(named, (0.3, 0.4), strict=True)
    }
    report = write_report(renamed, again, tmp_path, formats=())
    assert (tmp_path / "figure.png").stat().st_size > 10_000
    assert report.selections == named
    assert not any(label.startswith("_") for _, label in legend_entries(plot_of(renamed, again)))


@given(st.text(max_size=120), st.sampled_from(["a", "bb"]), st.sampled_from(["c", "dd"]))
def test_a_label_that_is_too_long_keeps_both_of_its_ends(middle: str, first: str, last: str) -> None:
    label = shortened(f"{first}{middle}{last}")
    assert len(label) <= LONGEST_LABEL
    assert label.startswith(first)
    assert label.endswith(last)
    assert "\n" not in label
