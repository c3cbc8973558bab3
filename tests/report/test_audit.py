"""Audits of small runs, against distances scored by hand from the pictures, and of what they must refuse."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import rdp
from rdp.analysis.sets.frechet import frechet_distance
from rdp.analysis.sets.kernel import kernel_distance
from rdp.analysis.sets.sliced import sliced_distance
from rdp.errors import MetricError, SpecError, TableError, WeightsError
from rdp.evaluation.features import compute_projections
from rdp.evaluation.set_scores import set_scorers
from rdp.images import read_image, write_png
from rdp.metrics.patches import PatchGrid
from rdp.metrics.swd_features import SwdSettings
from rdp.report.audit import Audit, Comparison, audit
from rdp.report.audit_curves import interpolated, sampled
from rdp.report.audit_figure import make_figure
from rdp.report.audit_files import document_text, earlier_files, write_audit
from rdp.report.audit_intervals import kernel_of, sliced_of
from rdp.report.audit_mixtures import EQUAL, Mixture, random_mixtures
from rdp.report.audit_sentences import sentence
from rdp.selection import Selection
from rdp.selection.document import save_selection
from rdp.selection.setlevel.verb import solve_set_level

POINTS = ["webp:quality=20|50|80", "jpeg:quality=30|70"]
GRID = PatchGrid(16, (0, 8))
SIZES = {"a.png": (40, 56), "b.png": (33, 47), "more/c.png": (64, 48)}
METRICS = ["swd", "kd_colours", "fd_colours"]


class Colours(torch.nn.Module):
    """Six features: mean and spread of each channel."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x.mean(dim=(2, 3)), x.std(dim=(2, 3))], dim=1)


def colours(patches: np.ndarray) -> np.ndarray:
    """The same in NumPy."""
    values = patches.astype(np.float64) / 255
    return np.concatenate([values.mean(axis=(1, 2)), values.std(axis=(1, 2), ddof=1)], axis=1)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("set") / "photos"
    (folder / "more").mkdir(parents=True)
    rng = np.random.default_rng(5)
    for name, (height, width) in SIZES.items():
        y, x = np.mgrid[0:height, 0:width]
        planes = [128 + 80 * np.sin(x / (7 + 5 * c)) * np.cos(y / 11) + rng.normal(0, 9, y.shape) for c in range(3)]
        write_png(folder / name, np.clip(np.stack(planes, axis=-1), 0, 255).astype(np.uint8))
    return folder


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> rdp.Run:
    """Three pictures at five points, with reconstructions kept."""
    return rdp.evaluate(
        photos, POINTS, ["mse", "psnr"], tmp_path_factory.mktemp("run") / "run", jobs=1,
        keep=["files", "reconstructions"],
    )  # fmt: skip


@pytest.fixture(scope="module")
def names(run: rdp.Run) -> list[str]:
    return sorted(set(run.to_pandas().point))


@pytest.fixture(scope="module")
def solved(run: rdp.Run) -> Selection:
    """A mixture of several points, at a rate between those of single points."""
    rates = run.to_pandas().groupby("point").bpp.mean()
    webp = rates[rates.index.str.startswith("webp")].sort_values()
    found = rdp.solve(run, minimize="mse", at_most={"bpp": float(webp.iloc[1] + webp.iloc[2]) / 2})
    assert len(set(found.chosen.values())) > 1
    return found


@pytest.fixture(scope="module")
def found(run: rdp.Run, solved: Selection) -> Audit:
    return audit(run, {"rd": solved}, METRICS, network=Colours(), patches=GRID, draws=4)


def pictures(run: rdp.Run, chosen: dict[str, str], photos: Path, grid: PatchGrid) -> tuple[np.ndarray, np.ndarray]:
    """Features of originals and of a mixture, from the files."""
    frame = run.to_pandas()
    both: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for image, point in chosen.items():
        (sha256,) = frame[(frame.image == image) & (frame.point == point)].reconstruction_sha256
        both[0].append(colours(grid.cut(read_image(photos / image))))
        both[1].append(colours(grid.cut(read_image(run.object_path(sha256, ".png")))))
    return np.concatenate(both[0]), np.concatenate(both[1])


def short_of(selection: Selection) -> dict[str, str]:
    return dict(zip(selection.problem.images, [selection.chosen[i] for i in selection.problem.labels], strict=True))


def single(run: rdp.Run, point: str) -> Selection:
    """The selection that takes one point for every image."""
    return rdp.solve(run, minimize="mse", points=[point])


def test_every_row_is_the_distance_of_its_set_and_the_mean_of_its_images(
    found: Audit, run: rdp.Run, solved: Selection, photos: Path, names: list[str]
) -> None:
    frame = run.to_pandas()
    sets = {name: dict.fromkeys(SIZES, name) for name in names} | {"rd": short_of(solved)}
    assert {row.name for row in found.rows if row.kind == "point"} == set(names)
    swd = compute_projections(run)
    for name, chosen in sets.items():
        row = found.row(name)
        cells = pd.concat([frame[(frame.image == i) & (frame.point == p)] for i, p in chosen.items()])
        assert row.rate == pytest.approx(cells.bpp.mean())
        assert row.values["mse"] == pytest.approx(cells.mse.mean())
        assert row.values["psnr"] == pytest.approx(cells.psnr.mean())
        a, b = pictures(run, chosen, photos, GRID)
        assert row.values["kd_colours"] == pytest.approx(kernel_distance(a, b).value, abs=1e-6)
        assert row.values["fd_colours"] == pytest.approx(frechet_distance(a, b).value, abs=1e-5)
        parts = [swd.cell(k, swd.points.index(chosen[image])) for k, (_, image) in enumerate(swd.images)]
        expected = sliced_distance([swd.reference(k) for k in range(3)], parts).value
        assert row.values["swd"] == pytest.approx(expected, rel=1e-6)
        assert row.points == len(set(chosen.values()))


def test_held_out_values_are_those_of_the_shifted_grid_and_of_another_seed(
    found: Audit, run: rdp.Run, solved: Selection, photos: Path
) -> None:
    a, b = pictures(run, short_of(solved), photos, PatchGrid(16, (4, 12)))
    values = found.row("rd").values
    assert values["kd_colours@held_out"] == pytest.approx(kernel_distance(a, b).value, abs=1e-6)
    assert values["kd_colours@held_out"] != pytest.approx(values["kd_colours"], rel=1e-3)
    other = audit(run, {"rd": solved}, ["swd"], held_out=False, seed=1, draws=0)
    assert values["swd@held_out"] == other.row("rd").values["swd"]
    assert [measure.key for measure in other.measures if measure.of_set] == ["swd"]
    parts = {measure.key: measure.part for measure in found.measures}
    assert parts["mse"] == "average" and parts["fd_colours"] == "set" and parts["fd_colours@held_out"] == "held out"


def test_facts_say_how_many_patches_and_what_is_too_few(found: Audit) -> None:
    facts = {measure.key: measure.facts for measure in found.measures}
    assert facts["kd_colours"]["patches"] == (6 + 6) + (4 + 2) + (12 + 6)
    assert facts["kd_colours"]["dimensions"] == 6
    assert facts["kd_colours@held_out"]["patches"] == sum(
        PatchGrid(16, (4, 12)).count(width, height) for height, width in SIZES.values()
    )
    assert facts["swd"]["patches"] == 3 * SwdSettings().patches
    few = audit_of_few(found)
    assert any("fd_few" in warning and "3 images" in warning for warning in few)


def audit_of_few(found: Audit) -> Sequence[str]:
    """Warnings as of a network with more dimensions than there are patches."""
    from rdp.analysis.sets.frechet import too_few
    from rdp.report.audit_measures import warnings_of

    (measure,) = (one for one in found.measures if one.key == "fd_colours")
    facts = {**measure.facts, "warnings": list(too_few((36, 36), 2048))}
    return warnings_of([replace(measure, title="fd_few", facts=facts)], 3)


def test_a_mixture_that_is_a_single_point_has_that_point_s_values(run: rdp.Run, names: list[str]) -> None:
    for name in names[:2]:
        found = audit(run, {"one": single(run, name)}, METRICS, network=Colours(), patches=GRID, draws=3)
        row, point, random = found.row("one"), found.row(name, "point"), found.row("random, as one")
        assert row.values == point.values and row.rate == point.rate and row.points == 1
        assert random.values == pytest.approx(point.values)
        assert set(random.deviations) == set(point.values)
        assert all(value == pytest.approx(0, abs=1e-12) for value in random.deviations.values())
        for one in found.comparisons:
            assert one.value == point.values[one.measure]
            if one.single == name:
                assert one.single_value == one.value
        # On its own line a point is itself: nothing is interpolated.
        own = next(r for r in found.rows if r.kind == "curve" and r.name == name.partition(":")[0])
        assert {key: own.values[key] for key in point.values} == point.values


def test_comparisons_name_the_best_alternatives_of_no_more_rate(found: Audit) -> None:
    points = [row for row in found.rows if row.kind == "point"]
    curves = [row for row in found.rows if row.kind == "curve"]
    row = found.row("rd")
    assert {one.measure for one in found.comparisons} == {measure.key for measure in found.measures}
    for one in found.comparisons:
        higher = one.measure == "psnr"
        within = [p for p in points if p.rate <= row.rate]
        best = (max if higher else min)(within, key=lambda p: p.values[one.measure])
        assert (one.single, one.single_value, one.single_rate) == (best.name, best.values[one.measure], best.rate)
        assert one.random_rate == found.row("random, as rd").rate
        values = [curve.values[one.measure] for curve in curves if one.measure in curve.values]
        assert one.curve_value == (max if higher else min)(values)
        assert one.random == found.row("random, as rd").values[one.measure]


def test_curves_are_pchip_over_the_logarithm_of_the_rate_and_end_with_their_points(found: Audit) -> None:
    from scipy.interpolate import PchipInterpolator

    row = found.row("rd")
    for curve in (one for one in found.rows if one.kind == "curve"):
        on = [one for one in found.rows if one.kind == "point" and one.name.startswith(curve.name)]
        assert curve.rate == row.rate and curve.points == len(on) and curve.of == "rd"
        on.sort(key=lambda one: one.rate)
        assert on[0].rate <= row.rate <= on[-1].rate
        expected = PchipInterpolator([math.log(p.rate) for p in on], [p.values["swd"] for p in on])(math.log(row.rate))
        assert curve.values["swd"] == pytest.approx(float(expected))
    rates, values = [0.1, 0.4], [3.0, 1.0]
    assert interpolated(rates, values, 0.2) == pytest.approx(2.0)
    assert interpolated(rates, values, 0.4) == 1.0
    assert math.isnan(interpolated(rates, values, 0.09)) and math.isnan(interpolated(rates, values, 0.41))
    assert math.isnan(interpolated([0.2, 0.2], [1.0, 2.0], 0.2))
    # A lossless point is left out, so the curve ends before it.
    assert math.isnan(interpolated([*rates, 12.0], [*values, math.inf], 1.0))
    places, drawn = sampled([0.4, 0.1], [1.0, 3.0], 10)
    assert (places[0], places[-1], drawn[0], drawn[-1]) == (0.1, 0.4, 3.0, 1.0)
    assert drawn[5] == pytest.approx(2.0) and sampled([0.2, 0.2], [1.0, 2.0]) == ([0.2, 0.2], [1.0, 2.0])


def test_random_mixtures_have_equal_rate_and_do_not_follow_the_selection() -> None:
    rng = np.random.default_rng(0)
    rates = rng.uniform(0.5, 2, (60, 1)) * np.array([0.1, 0.2, 0.4, 0.8])
    choice = np.where(rates[:, 0] > np.median(rates[:, 0]), 3, 1)
    weights = np.ones(60)
    target = rates[np.arange(60), choice].mean()
    mixture = Mixture("m", choice)
    drawn = random_mixtures(mixture, rates, weights, 6, 0)
    for one in drawn:
        assert abs(rates[np.arange(60), one].mean() / target - 1) <= EQUAL
        assert set(one.tolist()) == {1, 3}
        # By chance half of the images have the point that they have in the selection.
        assert 0.25 < (one == choice).mean() < 0.75
    assert not np.array_equal(drawn[0], drawn[1])
    again = random_mixtures(mixture, rates, weights, 2, 0)
    assert all(np.array_equal(a, b) for a, b in zip(again, drawn, strict=False))
    assert not np.array_equal(random_mixtures(mixture, rates, weights, 1, 1)[0], drawn[0])
    # Weighted by pixels it is another average that is equal.
    weights = rng.uniform(1, 9, 60)
    share = weights / weights.sum()
    (one,) = random_mixtures(mixture, rates, weights, 1, 0)
    assert share @ rates[np.arange(60), one] == pytest.approx(share @ rates[np.arange(60), choice], rel=EQUAL)


def test_random_mixtures_that_are_the_selection_or_of_other_rates_are_told(
    found: Audit, run: rdp.Run, solved: Selection, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Three images allow no other mixture of this rate.
    assert any("random mixtures of rd have rates from" in note for note in found.notes)
    assert found.row("random, as rd").rate != found.row("rd").rate
    monkeypatch.setattr("rdp.report.audit_rows.random_mixtures", lambda mixture, *_: [mixture.choice] * 4)
    other = audit(run, {"rd": solved}, ["swd"], draws=4, held_out=False)
    assert any("4 of 4 random mixtures of rd are rd itself: 3 images" in note for note in other.notes)


def test_weighted_distances_are_those_of_repeated_images() -> None:
    rng = np.random.default_rng(3)
    counts = [3, 0, 5, 4]
    a = [rng.normal(size=(n, 7)).astype(np.float32) for n in counts]
    b = [(part + 0.2 * rng.normal(size=part.shape)).astype(np.float32) for part in a]
    kernel = kernel_of(a, b)
    assert kernel(np.ones(4)) == pytest.approx(kernel_distance(np.concatenate(a), np.concatenate(b)).value)
    weights = np.array([2, 1, 0, 3])

    def k(x: np.ndarray, y: np.ndarray) -> float:
        return (float(x.astype(float) @ y.astype(float)) / 7 + 1) ** 3

    rows = [(i, j) for i in range(4) for _ in range(weights[i]) for j in range(counts[i])]
    inside = sum(k(part[i][j], part[m][n]) for part in (a, b) for i, j in rows for m, n in rows if (i, j) != (m, n))
    pairs = sum(1 for place in rows for other in rows if place != other)
    across = np.mean([k(a[i][j], b[m][n]) for i, j in rows for m, n in rows])
    assert kernel(weights.astype(float)) == pytest.approx(inside / pairs - 2 * across)
    p = [np.sort(rng.normal(size=(2, 5, 6)).astype(np.float32)) for _ in range(4)]
    q = [np.sort(part + rng.normal(size=part.shape).astype(np.float32)) for part in p]
    sliced = sliced_of(p, q)
    repeated = [i for i in range(4) for _ in range(weights[i])]
    expected = sliced_distance([p[i] for i in repeated], [q[i] for i in repeated]).value
    assert sliced(weights.astype(float)) == pytest.approx(expected, rel=1e-5)


def test_intervals_are_of_the_same_draws_and_not_of_frechet_distances(run: rdp.Run, solved: Selection) -> None:
    found = audit(
        run, {"rd": solved}, METRICS, network=Colours(), patches=GRID, draws=0, resamples=8, held_out=False,
        against={"other": single(run, solved.problem.points[0])},
    )  # fmt: skip
    keys = {one.measure for one in found.intervals}
    assert keys == {"mse", "psnr", "swd", "kd_colours"}
    assert any("fd_colours has no intervals" in note for note in found.notes)
    for one in found.intervals:
        value = found.row(one.row).values[one.measure]
        less = found.row(one.less).values[one.measure] if one.less else 0.0
        assert one.interval.value == pytest.approx(value - less, rel=1e-5, abs=1e-9)
        assert one.interval.low <= one.interval.high and one.interval.resamples == 8
    frame = run.to_pandas()
    chosen = short_of(solved)
    mse = np.array([float(frame[(frame.image == i) & (frame.point == p)].mse.iloc[0]) for i, p in chosen.items()])
    from rdp.analysis.bootstrap import bootstrap_images

    expected = bootstrap_images(lambda drawn: float(mse[drawn].mean()), 3, resamples=8)
    (interval,) = (one.interval for one in found.intervals if (one.row, one.measure, one.less) == ("rd", "mse", ""))
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))


def test_a_run_without_reconstructions_and_files_gives_the_same_audit(
    photos: Path, found: Audit, tmp_path: Path, solved: Selection
) -> None:
    other = rdp.evaluate(photos, POINTS, ["mse", "psnr"], tmp_path / "bare", jobs=1, keep="none")
    save_selection(solved, tmp_path / "rd.json")
    again = audit(other.path, tmp_path / "rd.json", METRICS, network=Colours(), patches=GRID, draws=4)
    assert [row.values for row in again.rows] == [row.values for row in found.rows]


def test_a_selection_by_a_set_level_value_is_read(run: rdp.Run, tmp_path: Path) -> None:
    scorers: dict[str, Any] = dict(set_scorers(run, ["kd_colours"], network=Colours(), patches=GRID))
    frame = run.to_pandas()
    rate = float(frame.groupby("point").bpp.mean().median())
    chosen = solve_set_level(run, scorers, minimize="kd_colours", at_most={"bpp": rate})
    save_selection(chosen, tmp_path / "kd.json")
    found = audit(run, tmp_path / "kd.json", ["kd_colours"], network=Colours(), patches=GRID, draws=0, held_out=False)
    assert chosen.score is not None
    assert found.row("kd").values["kd_colours"] == pytest.approx(chosen.score)


def test_points_can_be_fewer_and_those_of_the_selection_stay(run: rdp.Run, solved: Selection, names: list[str]) -> None:
    used = set(solved.chosen.values())
    found = audit(run, {"rd": solved}, ["swd"], points=["jpeg*"], held_out=False, draws=0)
    shown = {row.name for row in found.rows if row.kind == "point"}
    assert shown == used | {name for name in names if name.startswith("jpeg")}
    with pytest.raises(SpecError, match="no point 'bpg"):
        audit(run, solved, ["swd"], points=["bpg*"])


def test_a_further_network_judges_beside_the_metrics(run: rdp.Run, solved: Selection, found: Audit) -> None:
    judged = audit(run, {"rd": solved}, ["swd"], network=Colours(), patches=GRID, held_out=False, draws=0)
    parts = {measure.key: measure.part for measure in judged.measures if measure.of_set}
    assert parts == {"swd": "set", "kd_colours": "network", "fd_colours": "network"}
    assert judged.row("rd").values["kd_colours"] == found.row("rd").values["kd_colours"]


def changed(selection: Selection, path: Path, change: Any) -> Path:
    document = selection.to_dict()
    change(document)
    path.write_text(json.dumps(document))
    return path


def test_selections_of_other_images_points_and_values_are_refused(
    run: rdp.Run, solved: Selection, tmp_path: Path
) -> None:
    path = tmp_path / "other.json"

    def refused(change: Any, match: str) -> None:
        with pytest.raises(TableError, match=match):
            audit(run, changed(solved, path, change), ["swd"])

    refused(lambda d: d["chosen"].pop(), "not the same ones.*other.json has no")
    refused(lambda d: d["chosen"][0].update(image="z.png"), "not the same ones")
    refused(lambda d: d["chosen"][0].update(point="png:level=9"), "'png:level=9'.*does not have")
    refused(
        lambda d: d["averages"][0].update(average=1e3), "does not fit.*its average .* 1000, .*or was changed by hand"
    )
    refused(lambda d: d.update(version=99), "version 99")
    refused(lambda d: d["chosen"][0].pop("image"), "other.json is damaged")
    refused(lambda d: d.pop("chosen"), "not a selection")
    impossible = rdp.solve(run, minimize="mse", at_most={"bpp": 0.001})
    with pytest.raises(TableError, match="no selection to audit: its status is infeasible"):
        audit(run, impossible, ["swd"])
    with pytest.raises(TableError, match="cannot read"):
        audit(run, tmp_path / "nowhere.json", ["swd"])


def test_points_that_images_lack_are_left_out_and_refused_where_chosen(
    run: rdp.Run, photos: Path, tmp_path: Path
) -> None:
    part = tmp_path / "photos"
    part.mkdir()
    for name in ("a.png", "b.png"):
        (part / name).write_bytes((photos / name).read_bytes())
    some = rdp.evaluate(part, ["webp:quality=20|50"], ["mse"], tmp_path / "part", jobs=1)
    write_png(part / "c.png", read_image(photos / "more/c.png"))
    some = rdp.evaluate(part, ["webp:quality=20"], ["mse"], some.path, jobs=1)
    found = audit(some, rdp.solve(some, minimize="bpp"), ["swd"], draws=0, held_out=False)
    assert sum(row.kind == "point" for row in found.rows) == 1
    assert any("1 point that not every image has is left out" in note for note in found.notes)
    best = rdp.solve(some, minimize="mse")
    with pytest.raises(TableError, match="failed or is missing for other images"):
        audit(some, best, ["swd"])


def test_metrics_that_cannot_be_had_are_refused_where_named_and_else_left_out(
    run: rdp.Run, solved: Selection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match="'swdd' is no set-level metric"):
        audit(run, solved, ["swdd"])
    with pytest.raises(SpecError, match="network of yours"):
        audit(run, solved, ["kd_colours"])
    with pytest.raises(SpecError, match="one text"):
        audit(run, solved, "swd")
    with pytest.raises(SpecError, match="resamples"):
        audit(run, solved, ["swd"], resamples=1)
    with pytest.raises(MetricError, match="no patch of 256"):
        audit(run, solved, ["kd_colours"], network=Colours())
    # The default grid is too large for these pictures.
    found = audit(run, solved, draws=0, held_out=False)
    assert [measure.key for measure in found.measures if measure.of_set] == ["swd"]
    assert any("only swd is scored" in note for note in found.notes)
    # No weights: named, they are missed; not named, left out.
    from rdp.report import audit_measures

    def nothing(network: Any, **_: Any) -> None:
        raise WeightsError(f"no weights of {network}")

    monkeypatch.setattr(audit_measures, "plan_network", nothing)
    found = audit(run, solved, patches=GRID, draws=0, held_out=False)
    assert [measure.key for measure in found.measures if measure.of_set] == ["swd"]
    assert any("kd_squeeze are left out: no weights of squeeze" in note for note in found.notes)
    monkeypatch.undo()
    monkeypatch.setenv("RDP_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match="inception"):
        audit(run, solved, ["kid"], patches=GRID)


def test_the_files_say_what_was_found_and_the_figures_open(found: Audit, tmp_path: Path) -> None:
    paths = write_audit(found, tmp_path / "out")
    assert {path.name for path in paths} == {
        "audit.md", "audit.csv", "audit_comparisons.csv", "audit.json",
        *(f"audit_{key}{part}.{kind}" for key in METRICS for part in ("", "_held_out") for kind in ("png", "pdf")),
    }  # fmt: skip
    frame = pd.read_csv(tmp_path / "out" / "audit.csv")
    assert list(frame["name"]) == [row.name for row in found.rows]
    for row, (_, line) in zip(found.rows, frame.iterrows(), strict=True):
        for key, value in row.values.items():
            assert line[key] == pytest.approx(value)
    document = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert document["kind"] == "audit" and document["rows"][0]["values"]["swd"] == found.rows[0].values["swd"]
    assert document == json.loads(document_text(found))
    text = (tmp_path / "out" / "audit.md").read_text()
    assert "## Beside their alternatives" in text and "audit_swd.png" in text and "36" in text
    # Random mixtures of three images miss the rate, and the table says so in its heading and its caption.
    random, row = found.row("random, as rd"), found.row("rd")
    assert f"Random mixtures, at {random.rate:.4g}" in text and "they are not at equal rate" in text
    assert abs(random.rate / row.rate - 1) > EQUAL
    for key in METRICS:
        with Image.open(tmp_path / "out" / f"audit_{key}.png") as picture:
            picture.load()
            assert np.asarray(picture.convert("L")).std() > 5
        assert (tmp_path / "out" / f"audit_{key}.pdf").read_bytes().startswith(b"%PDF")


def test_an_audit_in_the_place_of_another_leaves_none_of_its_files_and_nothing_else_is_touched(
    found: Audit, run: rdp.Run, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    write_audit(found, out)
    (out / "audit_mine.png").write_bytes(b"mine")
    kept = tuple(one for one in found.measures if one.key in ("mse", "swd"))
    compared = tuple(one for one in found.comparisons if one.measure in ("mse", "swd"))
    fewer = replace(found, measures=kept, comparisons=compared)
    assert set(earlier_files(out)) == {path.name for path in out.iterdir()} - {"audit_mine.png"}
    paths = write_audit(fewer, out, figures=["png"])
    assert {path.name for path in out.iterdir()} == {path.name for path in paths} | {"audit_mine.png"}
    assert "audit_kd_colours.png" not in {path.name for path in paths}
    # A document that was changed names no file elsewhere.
    (tmp_path / "audit_x.png").write_bytes(b"x")
    document = json.loads((out / "audit.json").read_text())
    document["measures"][0]["key"] = "/../../audit_x"
    (out / "audit.json").write_text(json.dumps(document))
    write_audit(fewer, out)
    assert (tmp_path / "audit_x.png").exists()
    with pytest.raises(SpecError, match="is a run folder"):
        write_audit(found, run.path)
    assert earlier_files(tmp_path) == ()


def test_a_point_alone_is_no_curve(run: rdp.Run, names: list[str]) -> None:
    webp = [name for name in names if name.startswith("webp")]
    jpeg = next(name for name in names if name.startswith("jpeg"))
    found = audit(run, {"one": single(run, jpeg)}, ["swd"], points=webp, draws=0, held_out=False)
    assert found.row(jpeg, "point").rate == found.row("one").rate
    assert all(row.points > 1 for row in found.rows if row.kind == "curve")
    assert {one.curve for one in found.comparisons} <= {None, "webp"}


def test_sentences_have_one_form_for_each_measure_and_say_what_other_rate_it_is(found: Audit) -> None:
    row = found.row("rd")
    rate = row.rate

    def told(value: float, single: float, curve: float, random: float) -> str:
        one = Comparison("rd", "swd", value, names[0], single, 0.9 * rate, "webp", curve, random, 150.0, 1.02 * rate)
        other = replace(one, selection="rd", value=1.0, single_value=1.0, curve_value=1.0, random=1.0)
        return sentence(replace(found, comparisons=(one, other)), one)

    names = [row.name for row in found.rows if row.kind == "point"]
    ratios = told(0.04, 0.05, 0.032, 0.08)
    assert "20.0 % below the best single point at or below its rate" in ratios and "10.0 % less rate" in ratios
    assert "25.0 % above the best curve" in ratios
    assert "50.0 % below random mixtures of another rate" in ratios and "2.0 % more rate" in ratios
    # With one value below 0, a ratio says nothing of any.
    differences = told(0.04, -0.05, 0.032, 0.08)
    assert "0.0900 above the best single" in differences.replace("0.09000", "0.0900")
    assert "% above" not in differences and "% below" not in differences
    assert "150" in differences and "e+0" not in differences
    assert "the same as the best curve" in told(0.04, 0.05, 0.04, 0.08)
    near = Comparison("rd", "swd", 0.04, None, None, None, None, None, 0.05, 0.01, rate)
    assert "random mixtures of equal rate" in sentence(replace(found, comparisons=(near,)), near)


def test_equal_pictures_are_named_and_their_exchange_is_no_other_mixture(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(2)
    first, second = (rng.integers(0, 256, (40, 48, 3), np.uint8) for _ in range(2))
    for name, pixels in (("a.png", first), ("b.png", first), ("c.png", second)):
        write_png(folder / name, pixels)
    twins = rdp.evaluate(folder, ["jpeg:quality=20|80"], ["mse"], tmp_path / "run", jobs=1)
    found = audit(twins, rdp.solve(twins, minimize="mse"), ["swd"], draws=0, held_out=False)
    assert any("a.png, b.png are the same picture" in warning for warning in found.warnings)
    assert not any("c.png" in warning for warning in found.warnings)
    mixture = Mixture("m", np.array([0, 1, 1]), alike=np.array([0, 0, 1]))
    assert mixture.is_same(np.array([1, 0, 1])) and not mixture.is_same(np.array([1, 1, 0]))
    assert not replace(mixture, alike=None).is_same(np.array([1, 0, 1]))


def test_a_selection_given_twice_is_refused_and_an_equal_one_is_told(
    run: rdp.Run, solved: Selection, tmp_path: Path
) -> None:
    path = tmp_path / "rd.json"
    save_selection(solved, path)
    (tmp_path / "sub").mkdir()
    again = tmp_path / "sub" / ".." / "rd.json"
    with pytest.raises(SpecError, match="given twice"):
        audit(run, [path, again], ["swd"])
    with pytest.raises(SpecError, match="given twice"):
        audit(run, path, ["swd"], against=[again])
    save_selection(solved, tmp_path / "other.json")
    found = audit(run, [path, tmp_path / "other.json"], ["swd"], draws=0, held_out=False)
    assert any("other chooses the same points as rd" in note for note in found.notes)
    assert found.facts["selections"] == {"rd": str(path), "other": str(tmp_path / "other.json")}
    figure = labels_of(found, "swd")
    assert "selection rd" in figure and "selection other (on rd)" in figure


def labels_of(found: Audit, key: str) -> list[str]:
    """The texts of the legend of a figure."""
    figure = make_figure(found, next(one for one in found.measures if one.key == key))
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_selections_lie_on_top_of_a_figure_that_says_what_it_shows(found: Audit) -> None:
    figure = make_figure(found, next(one for one in found.measures if one.key == "kd_colours@held_out"))
    (axis,) = figure.axes
    row = found.row("rd")
    own = [line for line in axis.lines if list(line.get_xdata()) == [row.rate] and line.get_marker() == "*"]
    assert len(own) == 1
    others = [child.get_zorder() for child in (*axis.lines, *axis.collections) if child is not own[0]]
    assert own[0].get_zorder() > max(others)
    assert own[0].get_markeredgecolor() == "white"
    words = " ".join(axis.get_ylabel().split())
    assert words.startswith("Kernel distance of colours features kd_colours, held out, not KID")
    patches = next(one.facts["patches"] for one in found.measures if one.key == "kd_colours@held_out")
    assert axis.get_title() == f"3 images, {patches} patches"
    # Every point has its quality beside it, and the legend says that these are qualities.
    settings = sorted(text.get_text() for text in axis.texts)
    assert settings == sorted(["20", "50", "80", "30", "70"])
    labels = labels_of(found, "kd_colours@held_out")
    assert {"webp, by quality", "jpeg, by quality", "selection rd", "random mixtures"} <= set(labels)


def test_nothing_is_computed_where_a_named_metric_cannot_be_had(run: rdp.Run, solved: Selection) -> None:
    from rdp.evaluation import set_scores

    made: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        for name in ("compute_features", "compute_projections"):
            patch.setattr(set_scores, name, lambda *_, name=name, **__: made.append(name))
        with pytest.raises(MetricError, match="no patch of 256"):
            audit(run, solved, ["swd", "kd_colours"], network=Colours())
        with pytest.raises(MetricError, match="no patch of 256"):
            set_scorers(run, ["swd", "kd_colours"], network=Colours())
        with pytest.raises(MetricError, match="a.png, b.png: no patch of 48@0, and a distance"):
            set_scorers(run, ["swd", "kd_colours"], network=Colours(), patches=PatchGrid(48, (0,), "none"))
    assert made == []


def test_a_missing_network_s_message_names_the_distances_that_can_be_had(
    run: rdp.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rdp.evaluation import set_checks

    def nothing(*_: Any, **__: Any) -> None:
        raise WeightsError("no weights here")

    monkeypatch.setattr(set_checks, "plan_features", nothing)
    with pytest.raises(
        WeightsError, match="no weights here. Distances that can be computed here: .*swd, which needs no"
    ):
        set_scorers(run, ["fid"], patches=GRID)


def test_points_that_are_not_there_bring_the_list_of_those_that_are(
    run: rdp.Run, solved: Selection, names: list[str]
) -> None:
    with pytest.raises(SpecError) as caught:
        audit(run, solved, ["swd"], points=["avif:*"])
    assert all(name in str(caught.value) for name in names)
