"""Scorers of a run: their values are those of the features themselves, in the order asked for, and they say of what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rdp
from rdp.analysis.sets.frechet import frechet_distance
from rdp.analysis.sets.kernel import kernel_distance
from rdp.analysis.sets.sliced import sliced_distance
from rdp.columns import COLUMNS, is_set_level
from rdp.errors import MetricError, RunFolderError, SpecError
from rdp.evaluation import set_scores
from rdp.evaluation.features import compute_features, compute_projections
from rdp.evaluation.set_scores import SET_METRICS, is_set_metric, set_scorers
from rdp.images import write_png
from rdp.metrics.patches import PatchGrid

POINTS = ["webp:quality=30|80", "jpeg:quality=40"]
GRID = PatchGrid(16, (0, 8))


class Colours(torch.nn.Module):
    """Six features: mean and spread of each channel."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x.mean(dim=(2, 3)), x.std(dim=(2, 3))], dim=1)


@pytest.fixture
def run(photos: Path, tmp_path: Path) -> rdp.Run:
    return rdp.evaluate(photos, POINTS, ["mse"], tmp_path / "run", jobs=1)


def scorers(run: rdp.Run, *names: str, **options: Any) -> dict[str, set_scores.RunScorer]:
    return set_scorers(run, names, network=Colours(), patches=GRID, **options)


def test_the_names_of_distances_are_no_columns_of_tables() -> None:
    assert {"fid", "kid", "fid_inception", "kid_inception", "fd_squeeze", "kd_squeeze", "swd"} <= set(SET_METRICS)
    assert all(is_set_level(name) and is_set_metric(name) for name in (*SET_METRICS, "fd_mine", "kd_my_net"))
    names = [*COLUMNS, "fid_mine", "kd_", "kd_Mine", "swd2", "kidney"]
    assert not any(is_set_level(name) or is_set_metric(name) for name in names)


def test_values_are_the_distances_of_the_features_of_the_chosen_cells(run: rdp.Run) -> None:
    made = scorers(run, "fd_mine", "kd_mine", "swd")
    assert list(made) == ["fd_mine", "kd_mine", "swd"]
    found = compute_features(run, Colours(), name="mine", patches=GRID)
    sorted_rows = compute_projections(run)
    choice = np.array([2, 0, 1])
    originals = np.concatenate([found.reference(i) for i in range(3)])
    mixture = np.concatenate([found.cell(i, p) for i, p in enumerate(choice)])
    assert made["fd_mine"].score(choice) == pytest.approx(frechet_distance(originals, mixture).value, rel=1e-9)
    kernel = kernel_distance(originals, mixture)
    assert made["kd_mine"].score(choice) == pytest.approx(kernel.value, rel=1e-9)
    shares = np.eye(3)[choice]
    assert made["kd_mine"].relaxed(shares).value == pytest.approx(kernel.biased, rel=1e-9)
    unbiased = scorers(run, "kd_mine", convex_form="unbiased")["kd_mine"]
    assert unbiased.relaxed(shares).value == pytest.approx(kernel.value, rel=1e-9)
    parts = [sorted_rows.reference(i) for i in range(3)], [sorted_rows.cell(i, p) for i, p in enumerate(choice)]
    assert made["swd"].score(choice) == pytest.approx(sliced_distance(*parts).value, rel=1e-9)


def test_images_and_points_are_in_the_order_asked_for(run: rdp.Run) -> None:
    points = list(compute_features(run, Colours(), name="mine", patches=GRID).points)
    plain = scorers(run, "kd_mine")["kd_mine"]
    assert plain.image_names == ("a.png", "b.png", "more/c.png") and plain.point_names == tuple(points)
    turned = scorers(run, "kd_mine", images=["more/c.png", "photos/a.png", "b.png"], points=points[::-1])["kd_mine"]
    assert turned.score(np.array([0, 1, 2])) == pytest.approx(plain.score(np.array([1, 0, 2])), rel=1e-9)
    part = scorers(run, "kd_mine", images=["b.png", "a.png"], points=points[1:])["kd_mine"]
    assert (part.images, part.points) == (2, 2)


def test_features_are_computed_once_for_all_distances_of_them(run: rdp.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    original = compute_features
    monkeypatch.setattr(set_scores, "compute_features", lambda *a, **k: calls.append(1) or original(*a, **k))
    scorers(run, "fd_mine", "kd_mine")
    assert len(calls) == 1


def test_facts_say_which_features_of_which_pictures(run: rdp.Run, photos: Path) -> None:
    facts = scorers(run, "kd_mine")["kd_mine"].facts()
    found = compute_features(run, Colours(), name="mine", patches=GRID)
    assert facts["features"]["fingerprint"] == found.fingerprint
    assert facts["features"]["patches"] == GRID.identity
    assert facts["patches"] == 36
    fewer = scorers(run, "kd_mine", points=list(found.points[:2]))["kd_mine"].facts()
    assert fewer["features"]["fingerprint"] == found.fingerprint
    assert fewer["features"]["pictures"] != facts["features"]["pictures"]
    other = set_scorers(run, ["kd_mine"], network=Colours(), patches=GRID.held_out())["kd_mine"].facts()
    assert other["features"]["fingerprint"] != found.fingerprint


def test_kernel_scorers_say_that_they_are_quadratic_and_others_do_not(run: rdp.Run) -> None:
    made = scorers(run, "fd_mine", "kd_mine", "swd")
    assert {name: one.quadratic for name, one in made.items()} == {"fd_mine": False, "kd_mine": True, "swd": False}


def test_missing_cells_are_refused_or_count_as_the_original(run: rdp.Run, picture: Any, tmp_path: Path) -> None:
    more = tmp_path / "photos" / "d.png"
    write_png(more, picture(40, 40))
    rdp.evaluate(tmp_path / "photos", ["jpeg:quality=40"], ["mse"], run.path, jobs=1)
    again = rdp.open_run(run.path)
    with pytest.raises(MetricError, match=r"2 of 12 cells failed or are missing in the run, for example webp.* of 'd"):
        scorers(again, "kd_mine")
    made = scorers(again, "kd_mine", allow_missing=True)["kd_mine"]
    found = compute_features(again, Colours(), name="mine", patches=GRID)
    row = found.names.index("d.png")
    originals = np.concatenate([found.reference(i) for i in range(4)])
    cells = [found.reference(i) if i == row else found.cell(i, 1) for i in range(4)]
    expected = kernel_distance(originals, np.concatenate(cells)).value
    assert made.score(np.full(4, 1)) == pytest.approx(expected, rel=1e-9)


def test_a_large_set_is_scored_by_subsets(run: rdp.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(set_scores, "WHOLE", 100)
    monkeypatch.setattr(set_scores, "SUBSET", 12)
    facts = scorers(run, "kd_mine", seed=1)["kd_mine"].facts()
    assert (facts["subsets"], facts["subset_size"], facts["seed"]) == (100**2 // 36**2, 12, 2021)
    assert (
        scorers(run, "kd_mine", points=list(run.to_pandas().point.unique()[:2]))["kd_mine"].facts()["subsets"] is None
    )


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["kidd"], {}, "'kidd' is no set-level metric. Did you mean"),
        ([], {}, "no set-level metric is named"),
        (["fd_mine"], {}, "--network package.module:attribute"),
        (["swd"], {"network": Colours()}, "a network of yours is given, and none of swd is of it"),
        (["fd_one", "kd_two"], {"network": Colours()}, "fd_one and kd_two are of two networks"),
        (["swd"], {"points": ["webp:quality=31"]}, "has no point 'webp:quality=31'"),
        (["swd"], {"images": ["z.png"]}, "no image 'z.png' has features"),
    ],
)
def test_what_makes_no_sense_is_refused(names: list[str], options: dict[str, Any], message: str, run: rdp.Run) -> None:
    with pytest.raises(SpecError, match=message):
        set_scorers(run, names, **options)


def test_images_without_a_patch_are_named(run: rdp.Run) -> None:
    with pytest.raises(MetricError, match="3 of 3 images have no patch of 256@0,128"):
        set_scorers(run, ["fd_mine"], network=Colours())


def test_an_image_without_a_patch_that_is_not_asked_for_does_not_matter(run: rdp.Run) -> None:
    grid = PatchGrid.of(40, shifted=False)
    with pytest.raises(MetricError, match=r"1 of 3 images .*b.png"):
        set_scorers(run, ["kd_mine"], network=Colours(), patches=grid)
    asked = ["more/c.png", "a.png"]
    made = set_scorers(run, ["kd_mine"], images=asked, network=Colours(), patches=grid)["kd_mine"]
    found = compute_features(run, Colours(), name="mine", patches=PatchGrid.of(40, shifted=False, small="none"))
    expected = kernel_distance(
        np.concatenate([found.reference(2), found.reference(0)]), np.concatenate([found.cell(2, 0), found.cell(0, 2)])
    )
    assert made.image_names == tuple(asked)
    assert made.score(np.array([0, 2])) == pytest.approx(expected.value, rel=1e-9)


def test_sliced_distances_are_of_the_images_asked_for_alone(run: rdp.Run, picture: Any, tmp_path: Path) -> None:
    choice = np.array([2, 0, 1])
    before = set_scorers(run, ["swd"])["swd"].score(choice)
    names = ["a.png", "b.png", "more/c.png"]
    write_png(tmp_path / "photos" / "tiny.png", picture(12, 12))
    rdp.evaluate(tmp_path / "photos", POINTS, ["mse"], run.path, jobs=1)
    again = rdp.open_run(run.path)
    assert set_scorers(again, ["swd"], images=names)["swd"].score(choice) == before


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError):
        set_scorers(tmp_path / "nothing", ["swd"])
