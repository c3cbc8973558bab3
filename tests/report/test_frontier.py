"""The report of a frontier: its gain over single codecs, its files, what its figures show, and the command."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner, Result

from rdp.analysis import bd_metric, bd_rate
from rdp.cli.app import _Group
from rdp.cli.frontier import frontier_command
from rdp.errors import RunFolderError, SpecError
from rdp.report.frontier import gain_of, write_frontier
from rdp.report.frontier_curves import main_curve, single_curves
from rdp.report.frontier_plots import MOST_VALUES, CurvePlot, Plane, curve_plot, evenly, planes, roles, surface
from rdp.selection import load_selection
from rdp.selection.frontiers.verb import Frontier, frontier


def study(images: int = 30) -> pd.DataFrame:
    """Two codecs of six points each: the one keeps the error low, the other what one sees; png is lossless."""
    rng = np.random.default_rng(5)
    rows = []
    for image in range(images):
        busy = float(np.exp(rng.normal(0, 0.6)))
        for (family, error, look), level in itertools.product((("hyper", 1.0, 1.6), ("gan", 2.0, 0.6)), range(6)):
            bpp = 0.05 * 1.8**level * busy**0.8 * rng.uniform(0.95, 1.05)
            relative = bpp / busy**0.8 / 0.3
            mse = error * 60 * busy * relative**-1.1 * rng.uniform(0.9, 1.1)
            rows.append((f"{image:02}.png", f"{family}:quality={level}", bpp, mse, look * 0.12 * relative**-0.6))
        rows.append((f"{image:02}.png", "png:level=9", 12.0, 0.0, 0.0))
    frame = pd.DataFrame(rows, columns=["image", "point", "bpp", "mse", "lpips_alex"])
    return frame.assign(dataset="set_a", lpips_alex=frame["lpips_alex"].clip(0, 1))


@pytest.fixture(scope="module")
def lossy() -> pd.DataFrame:
    """The same without png."""
    frame = study()
    return frame[~frame["point"].str.startswith("png")]


@pytest.fixture(scope="module")
def curve(lossy: pd.DataFrame) -> Frontier:
    """One sweep of the rate."""
    return frontier(lossy, minimize="mse", sweep={"bpp": "0.1..0.8..0.05"})


@pytest.fixture(scope="module")
def solid(lossy: pd.DataFrame) -> Frontier:
    """A sweep of rate and perception, some of it out of reach."""
    return frontier(lossy, minimize="mse", sweep={"bpp": "0.1..0.6..0.05", "lpips_alex": "0.06..0.2..0.02"})


def averages_of(frame: pd.DataFrame, family: str) -> pd.DataFrame:
    own = frame[frame["point"].str.startswith(family)]
    return own.groupby("point")[["bpp", "mse", "lpips_alex"]].mean().sort_values("bpp")


def psnr(mse: Any) -> Any:
    return 10 * np.log10(255**2 / mse)


# Gains


def test_the_gain_is_the_bjontegaard_delta_of_the_averages(curve: Frontier, lossy: pd.DataFrame) -> None:
    """Over PSNR of the mean MSE, as a plain computation has it."""
    gain = gain_of(curve)
    assert (gain.quality.key, gain.quality.unit) == ("psnr_of_mean_mse", "dB")
    test = [(point.averages["bpp"], psnr(point.averages["mse"])) for point in curve.found if not point.dominated]
    rates, qualities = (np.array(values) for values in zip(*test, strict=True))
    for one in gain.curves:
        own = averages_of(lossy, one.label)
        anchor = (own["bpp"].to_numpy(), psnr(own["mse"].to_numpy()))
        assert one.rate is not None and one.metric is not None
        assert one.rate.value == pytest.approx(bd_rate(*anchor, rates, qualities).value, abs=1e-9)
        assert one.metric.value == pytest.approx(bd_metric(*anchor, rates, qualities).value, abs=1e-9)
        assert (one.points, one.rate.test_points) == (6, len(rates))
    assert [one.label for one in gain.curves] == ["gan", "hyper"]


def test_the_best_codec_is_the_one_over_which_least_rate_is_saved(curve: Frontier) -> None:
    gain = gain_of(curve)
    values = {one.label: one.rate.value for one in gain.curves if one.rate is not None}
    assert gain.best == max(values, key=values.__getitem__) == "hyper"
    assert f"BD-rate {values['hyper']:+.2f} %" in gain.sentence()
    assert "PSNR of mean MSE" in gain.sentence()


def test_a_codec_that_covers_little_is_not_the_best_one(lossy: pd.DataFrame) -> None:
    """`hyper` at its three largest rates and one far above them covers little of the frontier's qualities."""
    low = [f"hyper:quality={level}" for level in (0, 1, 2, 3)]
    frame = lossy[~lossy["point"].isin(low)]
    extra = [
        frame[frame["point"] == "hyper:quality=5"].assign(
            point=f"hyper:quality={level}", bpp=lambda f, k=level: f["bpp"] * k, mse=lambda f, k=level: f["mse"] / k
        )
        for level in (7, 8)
    ]
    found = frontier(pd.concat([frame, *extra]), minimize="mse", sweep={"bpp": "0.1..0.8..0.05"})
    gain = gain_of(found)
    covers = {one.label: one.covers for one in gain.curves}
    assert covers["hyper"] < 0.5 < covers["gan"]
    assert gain.best == "gan"


def test_lower_is_better_is_negated_and_other_metrics_stay_as_they_are(lossy: pd.DataFrame) -> None:
    found = frontier(lossy, minimize="lpips_alex", sweep={"bpp": "0.1..0.8..0.1"})
    gain = gain_of(found)
    assert (gain.quality.key, gain.best) == ("lpips_alex", "gan")
    assert gain.against_best is not None and gain.against_best.rate is not None
    assert gain.against_best.rate.negated
    own = averages_of(lossy, "gan")
    test = [(point.averages["bpp"], point.averages["lpips_alex"]) for point in found.found]
    by_hand = bd_rate(own["bpp"], own["lpips_alex"], *zip(*test, strict=True), lower_is_better=True)
    assert gain.against_best.rate.value == pytest.approx(by_hand.value, abs=1e-9)


def test_the_rate_may_be_the_objective(lossy: pd.DataFrame) -> None:
    found = frontier(lossy, minimize="bpp", sweep={"mse": [30, 60, 90, 120, 200]})
    main = main_curve(found)
    assert (main.x_column, main.y_column, main.is_rate) == ("bpp", "mse", True)
    assert gain_of(found).best == "hyper"


def test_lossless_points_have_no_place_on_an_axis_of_decibels() -> None:
    gain = gain_of(frontier(study(), minimize="mse", sweep={"bpp": "0.1..0.8..0.1"}))
    png = next(one for one in gain.curves if one.label == "png")
    assert png.points == 0
    assert "png has 0 different points" in png.reason
    assert gain.best == "hyper"


def test_single_points_keep_the_budgets_that_the_curve_keeps(lossy: pd.DataFrame) -> None:
    found = frontier(lossy, minimize="mse", at_most={"lpips_alex": 0.15}, sweep={"bpp": "0.2..0.6..0.1"})
    singles, notes = single_curves(found, main_curve(found))
    points = {point for one in singles for point in one.points}
    within = lossy.groupby("point")["lpips_alex"].mean() <= 0.15
    assert points == set(within.index[within])
    assert f"{(~within).sum()} single points that do not keep lpips_alex <= 0.15" in notes[0]


def test_of_two_sweeps_the_other_budget_is_at_its_loosest(solid: Frontier, lossy: pd.DataFrame) -> None:
    main = main_curve(solid)
    assert main.held is not None and main.held.column == "lpips_alex"
    assert {point.budgets[1] for point in main.points} == {0.2}
    singles, _ = single_curves(solid, main)
    within = lossy.groupby("point")["lpips_alex"].mean() <= 0.2
    assert {point for one in singles for point in one.points} == set(within.index[within])


def test_without_a_delta_the_reason_is_told(lossy: pd.DataFrame) -> None:
    short = frontier(lossy, minimize="mse", sweep={"bpp": [0.2, 0.3]})
    assert "the frontier has 2 different points" in gain_of(short).sentence()
    nothing = frontier(lossy, minimize="mse", sweep={"bpp": [0.001]})
    assert gain_of(nothing).sentence() == "no Bjontegaard delta: the frontier has no points"
    no_rate = frontier(lossy, minimize="mse", at_most={"bpp": 0.4}, sweep={"lpips_alex": "0.1..0.2..0.02"})
    assert "neither lpips_alex nor mse is a rate" in gain_of(no_rate).sentence()
    assert json.loads(json.dumps(gain_of(nothing).to_dict(), allow_nan=False))["curves"] == []


def test_codecs_that_are_not_monotone_are_warned_of(lossy: pd.DataFrame) -> None:
    odd = lossy.copy()
    worse = odd["point"] == "gan:quality=3"
    odd.loc[worse, "mse"] *= 3
    gain = gain_of(frontier(odd, minimize="mse", sweep={"bpp": "0.1..0.8..0.1"}))
    assert any("gan is not monotone: 1 of 6 points" in warning for warning in gain.warnings)
    gan = next(one for one in gain.curves if one.label == "gan")
    assert gan.rate is not None and gan.rate.anchor_points == 6


# What the figures show


def plot_of(found: Frontier) -> CurvePlot:
    main = main_curve(found)
    plot = curve_plot(main, single_curves(found, main)[0])
    assert plot is not None
    return plot


def test_the_curve_has_the_frontier_the_codecs_and_the_best_single_points(curve: Frontier, lossy: pd.DataFrame) -> None:
    plot = plot_of(curve)
    assert plot.xs == tuple(sorted(point.averages["bpp"] for point in curve.found))
    assert plot.hull == tuple(point.on_hull for point in curve.found)
    assert {line.label for line in plot.panel.lines} == {"hyper", "gan"}
    hyper = next(line for line in plot.panel.lines if line.label == "hyper")
    own = averages_of(lossy, "hyper")
    near = own[own["bpp"] <= max(plot.xs) + 0.35 * (max(plot.xs) - min(plot.xs))]
    assert hyper.xs == pytest.approx(near["bpp"].to_numpy())
    assert plot.envelope is not None
    every = lossy.groupby("point")[["bpp", "mse"]].mean()
    xs, ys = (np.array(values) for values in plot.envelope)
    for budget in np.linspace(xs.min() + 1e-6, xs.max() - 1e-6, 57):
        best = every[every["bpp"] <= budget]["mse"].min()
        assert ys[np.searchsorted(xs, budget) - 1] == pytest.approx(best)


def test_the_frontier_is_never_above_the_best_single_point(curve: Frontier, lossy: pd.DataFrame) -> None:
    every = lossy.groupby("point")[["bpp", "mse"]].mean()
    for point in curve.found:
        within = every[every["bpp"] <= point.budgets[0]]["mse"]
        assert within.empty or point.averages["mse"] <= within.min() * (1 + 1e-6)


def test_points_far_from_the_frontier_are_left_out_and_counted() -> None:
    found = frontier(study(), minimize="mse", sweep={"bpp": "0.2..0.4..0.05"})
    plot = plot_of(found)
    assert "png" not in {line.label for line in plot.panel.lines}
    shown = sum(len(line.xs) for line in plot.panel.lines)
    assert plot.notes == (f"Not drawn: {13 - shown} single points far from the frontier's rates.",)


def test_each_line_of_a_plane_is_the_frontier_at_one_value(solid: Frontier) -> None:
    perception_distortion, rate_perception = planes(solid)
    assert (perception_distortion.x.column, perception_distortion.y.column) == ("mse", "lpips_alex")
    assert perception_distortion.fixed == "Rate ≤ (bit/pixel)"
    for line in perception_distortion.lines:
        at = {(p.averages["mse"], p.averages["lpips_alex"]) for p in solid.found if p.budgets[0] == line.value}
        assert set(zip(line.xs, line.ys, strict=True)) == at
        assert list(line.xs) == sorted(line.xs)
        assert list(line.ys) == sorted(line.ys, reverse=True)
    assert (rate_perception.x.column, rate_perception.y.column) == ("bpp", "lpips_alex")
    assert rate_perception.fixed == "MSE ="
    assert any("interpolated" in note for note in rate_perception.notes)


def test_lines_of_equal_distortion_lie_between_the_selections(solid: Frontier) -> None:
    _, plane = planes(solid)
    assert len(plane.lines) >= 3
    for line in plane.lines:
        for x, y in zip(line.xs, line.ys, strict=True):
            worse = [p for p in solid.found if p.averages["bpp"] <= x + 1e-9 and p.averages["lpips_alex"] <= y + 1e-9]
            # What uses no more of both cannot have a clearly lower error than the level.
            assert all(p.averages["mse"] >= 0.97 * line.value for p in worse)


def test_a_swept_distortion_gives_lines_at_its_budgets(lossy: pd.DataFrame) -> None:
    found = frontier(lossy, minimize="lpips_alex", sweep={"bpp": "0.2..0.6..0.1", "mse": "80..200..40"})
    assert roles(found) == ("bpp", "mse", "lpips_alex")
    plane = planes(found)[1]
    assert (plane.fixed, [line.label for line in plane.lines]) == ("MSE ≤", ["80", "120", "160", "200"])


def test_more_values_than_lines_are_chosen_evenly_and_said(solid: Frontier) -> None:
    plane = planes(solid)[0]
    values = [line.value for line in plane.lines]
    assert len(values) <= MOST_VALUES < len(solid.sweeps[0].values)
    assert np.diff(values) == pytest.approx(np.full(len(values) - 1, values[1] - values[0]))
    assert f"{len(values)} of {len(solid.sweeps[0].values)} values of bpp are drawn, evenly chosen." in plane.notes


@pytest.mark.parametrize("count", range(1, 40))
def test_evenly_chosen_values_are_at_most_so_many(count: int) -> None:
    chosen = evenly(list(range(count)), 8)
    assert len(chosen) <= 8
    assert chosen[0] == 0
    assert count > 8 or chosen == list(range(count))
    assert len(set(np.diff(chosen))) <= 1


def test_the_surface_has_two_triangles_a_cell(solid: Frontier) -> None:
    found = surface(solid)
    assert found is not None
    assert [axis.column for axis in found.axes] == ["bpp", "mse", "lpips_alex"]
    there = {point.budgets: tuple(point.averages.values()) for point in solid.found}
    triangles = set()
    for (a, b), (c, d) in itertools.product(*(itertools.pairwise(sweep.values) for sweep in solid.sweeps)):
        corners = [there[pair] for pair in ((a, c), (a, d), (b, d), (b, c)) if pair in there]
        if len(corners) == 4:
            triangles |= {frozenset(corners[:3]), frozenset((corners[0], corners[2], corners[3]))}
        elif len(corners) == 3:
            triangles.add(frozenset(corners))
    assert len(found.triangles) == sum(len(corners) == 3 for corners in triangles) > 20
    assert len(set(zip(found.xs, found.ys, found.zs, strict=True))) == len(found.xs) == len(set(there.values()))
    assert len(solid.found) < len(solid.points)
    assert all(len(set(triangle)) == 3 and max(triangle) < len(found.xs) for triangle in found.triangles)


def test_values_with_one_place_only_are_no_lines_where_there_are_others(lossy: pd.DataFrame) -> None:
    """Below a rate of 0.2 no error is met by more than one of these perceptions; many budgets give the same point."""
    found = frontier(lossy, minimize="mse", sweep={"bpp": "0.1..0.6..0.05", "lpips_alex": "0.05|0.15|0.9|0.95"})
    places: dict[float, set[tuple[float, float]]] = {}
    for point in found.found:
        places.setdefault(point.budgets[0], set()).add((point.averages["mse"], point.averages["lpips_alex"]))
    single = [value for value, own in places.items() if len(own) == 1]
    assert 0 < len(single) < len(places) - 2
    plane = planes(found)[0]
    assert all(len(line.xs) > 1 and line.value not in single for line in plane.lines)
    assert any(f"at {len(single)} others all selections are the same point" in note for note in plane.notes)


def test_a_budget_that_seldom_binds_is_noted(lossy: pd.DataFrame, tmp_path: Path) -> None:
    found = frontier(lossy, minimize="mse", sweep={"bpp": "0.2..0.6..0.1", "lpips_alex": "0.1|0.9|0.95|1"})
    binds = {c: sum((p.prices[c] or 0) > 0 for p in found.found) for c in ("bpp", "lpips_alex")}
    assert 0 < binds["lpips_alex"] < 0.5 * len(found.found) < binds["bpp"]
    notes = [note for note in write_frontier(found, tmp_path).notes if " binds in " in note]
    assert notes == [f"lpips_alex binds in {binds['lpips_alex']} of {len(found.found)} points."]


def test_the_report_tells_optima_of_the_relaxation_from_the_rest(curve: Frontier, tmp_path: Path) -> None:
    text = write_frontier(curve, tmp_path, figures=()).paths[0].read_text()
    places = [line.rstrip(" |").split("| ")[-1].strip() for line in text.splitlines() if line.startswith("| ")]
    on, above = sum(p.on_hull for p in curve.found), sum(not p.on_hull and not p.dominated for p in curve.found)
    assert (places.count("hull"), places.count("above")) == (on, above)
    assert f"{len(curve.found)} different selections: {on} on the convex hull" in text
    assert above > 0


def test_one_sweep_has_no_planes_and_no_surface(curve: Frontier) -> None:
    assert planes(curve) == ()
    assert surface(curve) is None


def test_the_drawn_lines_are_those_of_the_plot(curve: Frontier, solid: Frontier) -> None:
    from rdp.report.frontier_figures import _curve_figure, _plane_figure

    axis = _curve_figure(plot_of(curve)).axes[0]
    drawn = [tuple(line.get_xdata()) for line in axis.lines]
    assert plot_of(curve).xs in drawn
    assert {line.xs for line in plot_of(curve).panel.lines} <= set(drawn)
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("Rate (bit/pixel)  ← better", "MSE  ← better")
    plane: Plane = planes(solid)[0]
    figure = _plane_figure(plane)
    assert [tuple(line.get_xdata()) for line in figure.axes[0].lines] == [line.xs for line in plane.lines]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [line.label for line in plane.lines]
    assert figure.legends[0].get_title().get_text() == "Rate ≤ (bit/pixel)"


# Files


def test_a_report_of_two_sweeps_has_its_tables_and_four_figures(solid: Frontier, tmp_path: Path) -> None:
    report = write_frontier(solid, tmp_path / "out", save_selections=True)
    names = {path.name for path in report.paths}
    figures = ("frontier", "perception_distortion", "rate_perception", "surface")
    assert {f"{name}.{kind}" for name in figures for kind in ("png", "pdf")} <= names
    assert {"frontier.md", "frontier.csv", "frontier.json", "frontier_counts.csv"} <= names
    assert all(path.is_file() for path in report.paths)
    assert report.paths[0].name == "frontier.md"
    text = report.paths[0].read_text()
    assert text.count("\n| ") >= len(solid.points)
    assert report.gain.sentence() in text
    assert all(f"]({name}.png)" in text for name in figures)
    table = pd.read_csv(tmp_path / "out" / "frontier.csv")
    pd.testing.assert_frame_equal(table, solid.to_pandas(), check_dtype=False)
    document = json.loads((tmp_path / "out" / "frontier.json").read_text())
    assert document["bjontegaard"]["best"] == report.gain.best
    saved = sorted((tmp_path / "out" / "selections").iterdir())
    assert [path.stem for path in saved] == [f"{point.number:04}" for point in solid.found]


def test_saved_selections_can_be_reported_on(lossy: pd.DataFrame, tmp_path: Path) -> None:
    source = tmp_path / "study.csv"
    lossy.to_csv(source, index=False)
    found = frontier(source, minimize="mse", sweep={"bpp": "0.2|0.4"})
    write_frontier(found, tmp_path / "out", save_selections=True, figures=())
    loaded = load_selection(tmp_path / "out" / "selections" / "0002.json")
    assert loaded.objective == pytest.approx(found.points[1].objective)
    assert loaded.problem.statement.at_most == {"bpp": 0.4}


def test_figures_are_the_same_every_time_and_carry_no_date(solid: Frontier, tmp_path: Path) -> None:
    first, second = (write_frontier(solid, tmp_path / name) for name in ("a", "b"))
    for one, other in zip(first.paths, second.paths, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name
    pdf = (tmp_path / "a" / "surface.pdf").read_bytes()
    assert b"CreationDate" not in pdf
    assert b"Matplotlib" not in pdf


def test_a_frontier_without_selections_is_reported_as_that(lossy: pd.DataFrame, tmp_path: Path) -> None:
    found = frontier(lossy, minimize="mse", sweep={"bpp": [0.001, 0.002]})
    report = write_frontier(found, tmp_path)
    assert {path.suffix for path in report.paths} == {".md", ".csv", ".json"}
    assert "2 without a selection" in report.paths[0].read_text()


def test_one_point_is_drawn_too(lossy: pd.DataFrame, tmp_path: Path) -> None:
    report = write_frontier(frontier(lossy, minimize="mse", sweep={"bpp": 0.3}), tmp_path)
    assert (tmp_path / "frontier.png").stat().st_size > 5_000
    assert "no Bjontegaard delta" in report.gain.sentence()


def test_what_cannot_be_written_is_refused(curve: Frontier, lossy: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="cannot make the folder"):
        write_frontier(curve, tmp_path / "file")
    with pytest.raises(SpecError, match="figures: 'svg' is not known"):
        write_frontier(curve, tmp_path, figures=("svg",))  # type: ignore[arg-type]
    bare = frontier(lossy, minimize="mse", sweep={"bpp": 0.3}, keep_selections=False)
    with pytest.raises(SpecError, match="keep_selections=True"):
        write_frontier(bare, tmp_path, save_selections=True)


def test_a_users_own_column_and_name_are_shown_as_they_are(lossy: pd.DataFrame, tmp_path: Path) -> None:
    frame = lossy.rename(columns={"lpips_alex": "odd|name $x$"}).assign(point=lossy["point"].str.replace(":", " "))
    words: Mapping[str, Any] = {"senses": {"odd|name $x$": "at_most"}}
    sweep = {"bpp": "0.3..0.5..0.1", "odd|name $x$": [0.1, 0.15, 0.2]}
    report = write_frontier(frontier(frame, minimize="mse", sweep=sweep, **words), tmp_path)
    assert r"odd\|name" in report.paths[0].read_text()
    assert (tmp_path / "surface.png").is_file()


# The command


@pytest.fixture
def source(lossy: pd.DataFrame, tmp_path: Path) -> str:
    path = tmp_path / "study.csv"
    lossy.to_csv(path, index=False)
    return str(path)


def rdp_frontier(*arguments: str) -> Result:
    app = typer.Typer(cls=_Group)
    app.command("frontier")(frontier_command)
    app.command("other")(lambda: None)
    return CliRunner().invoke(app, ["frontier", *arguments])


def test_the_command_prints_a_row_a_point_and_the_gain(source: str) -> None:
    done = rdp_frontier(source, "--minimize", "mse", "--sweep", "bpp=0.001|0.1..0.5..0.1")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert "5 of 6 points found for 30 images among 12 operating points" in lines[0]
    assert [line.split()[1] for line in lines if line.lstrip().startswith("0.")] == ["infeasible"] + ["optimal"] * 5
    assert "BD-rate" in lines[-1] and "against hyper, the best single codec" in lines[-1]


def test_the_command_writes_a_folder(source: str, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    words = ["--minimize", "mse", "--sweep", "bpp=0.2|0.4", "--sweep", "lpips_alex=0.1|0.2"]
    done = rdp_frontier(source, *words, "--out", str(out), "--save-selections")
    assert done.exit_code == 0, done.output
    assert (out / "surface.pdf").is_file()
    assert len(list((out / "selections").iterdir())) == len(
        pd.read_csv(out / "frontier.csv").dropna(subset="objective")
    )


def test_json_is_one_document_and_nothing_else(source: str) -> None:
    done = rdp_frontier(source, "--minimize", "mse", "--sweep", "bpp=0.1..0.5..0.1", "--json")
    document = json.loads(done.stdout)
    assert document["kind"] == "frontier"
    assert len(document["points"]) == 5
    assert math.isfinite(document["bjontegaard"]["curves"][0]["bd_rate_percent"])


def test_auto_takes_a_range_or_a_column_alone(source: str) -> None:
    for sweep in ("bpp=0.1..0.6", "bpp"):
        done = rdp_frontier(source, "--minimize", "mse", "--sweep", sweep, "--auto", "5", "--json")
        assert done.exit_code == 0, done.output
        assert len(json.loads(done.stdout)["points"]) == json.loads(done.stdout)["auto"] == 5


def test_all_words_reach_the_solver(source: str) -> None:
    words = ["--maximize", "bpp", "--sweep", "mse=50..100..50", "--sense", "mse=at_most", "--at-least", "bpp=0.01"]
    words += [
        "--at-most",
        "lpips_alex=0.9",
        "--each-at-most",
        "bpp=9",
        "--each-at-least",
        "mse=0.1",
        "--cap",
        "mse=900",
    ]
    words += ["--points", "hyper:*", "--fix", "00.png=hyper:quality=5", "--forbid", "01*=hyper:quality=0"]
    words += ["--group-at-most", "bpp=8", "--gap", "1e-4", "--time-limit", "60", "--json"]
    done = rdp_frontier(source, *words)
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    statement = document["problem"]["statement"]
    assert document["gap"] == 1e-4
    assert statement["at_most"] == {"lpips_alex": 0.9, "mse": 100.0}
    assert statement["fix"] == {"00.png": "hyper:quality=5"}
    assert {"each_at_most", "each_at_least", "forbid", "cap", "points", "group_at_most"} <= set(statement)


def test_a_long_table_of_two_sweeps_is_printed_without_its_repeats(source: str, tmp_path: Path) -> None:
    words = ["--minimize", "mse", "--sweep", "bpp=0.1..0.6..0.05", "--sweep", "lpips_alex=0.1|0.15|0.8|0.9|1"]
    done = rdp_frontier(source, *words, "--out", str(tmp_path / "out"))
    assert done.exit_code == 0, done.output
    table = pd.read_csv(tmp_path / "out" / "frontier.csv")
    good = table.dropna(subset="objective")
    different = len(good.drop_duplicates(["average_mse", "average_bpp", "average_lpips_alex"]))
    assert len(table) == 55
    assert sum(line.lstrip().startswith("0.") for line in done.stdout.splitlines()) == different < len(good)
    assert f"each selection once: {len(good) - different} rows more repeat one" in done.stdout
    assert "infeasible" not in done.stdout


def test_when_no_budget_can_be_met_the_exit_code_is_three(source: str) -> None:
    done = rdp_frontier(source, "--minimize", "mse", "--sweep", "bpp=0.001|0.002")
    assert done.exit_code == 3
    least = pd.read_csv(source).groupby("image")["bpp"].min().mean()
    said = f"no budget of the sweep can be met: the least attainable average of bpp is {least:.6g}"
    assert said in done.stderr
    done = rdp_frontier(source, "--minimize", "mse", "--sweep", "bpp", "--auto", "4", "--at-most", "mse=0.001")
    assert done.exit_code == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sweep", "bpp=0.1|0.2"], "say what to optimise"),
        (["--minimize", "mse", "--sweep", "mse=1|2"], "'mse' is optimised"),
        (["--minimize", "mse", "--sweep", "bpp"], "say which budgets of 'bpp'"),
        (["--minimize", "mse", "--sweep", "point=1..2"], "column 'point' of"),
        (["--minimize", "mse", "--sweep", "bpp=1", "--sweep", "bpp=2"], "--sweep bpp is given twice"),
        (["--minimize", "mse", "--sweep", "bpp=1|2", "--at-most", "bpp=1"], "swept and bounded on the same side"),
        (["--minimize", "mse", "--sweep", "bpp=1|2", "--auto", "x"], "--auto: 'x' is not a finite number"),
        (["--minimize", "mse", "--sweep", "bpp=1|2", "--save-selections"], "needs a folder to write to"),
        (["--minimize", "mse", "--sweep", "bpp=1|2", "--out", "study.csv/x"], "study.csv"),
        (["--minimize", "mse", "--sweep", "bpp=1|2", "--gap", "-1"], "gap must be"),
    ],
)
def test_input_that_cannot_be_used_is_exit_code_two(
    source: str, words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = rdp_frontier(source, *words)
    assert done.exit_code == 2, done.output
    assert said in done.stderr
