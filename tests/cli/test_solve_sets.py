"""`rdp solve` for distances of sets on a tiny run: the best of all choices, saved and read back, or refused by name."""

from __future__ import annotations

import csv
import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import rdp
from rdp.analysis.sets.kernel import kernel_distance
from rdp.cli.app import app
from rdp.cli.set_options import patch_grid
from rdp.errors import EXIT_INFEASIBLE, SpecError, TableError
from rdp.evaluation.features import compute_features
from rdp.images import write_png
from rdp.metrics.patches import PatchGrid
from rdp.selection.setlevel.result import SetSelection

NETWORK = '''
import torch

class Colours(torch.nn.Module):
    """Six features: mean and spread of each channel."""

    def forward(self, x):
        return torch.cat([x.mean(dim=(2, 3)), x.std(dim=(2, 3))], dim=1)
'''
OWN = ["--network", "colours_of_tests:Colours", "--patches", "16@0,8"]
BUDGETS = ["--at-most", "bpp=1.6", "--at-least", "psnr=20"]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A user's network, in a module that Python finds."""
    folder = tmp_path_factory.mktemp("modules")
    (folder / "colours_of_tests.py").write_text(NETWORK)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield "colours_of_tests:Colours"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, network: str) -> rdp.Run:
    """Three pictures at three points, with features of the user's network once they were asked for."""
    folder = tmp_path_factory.mktemp("sets")
    rng = np.random.default_rng(5)
    (folder / "photos").mkdir()
    for k, (height, width) in enumerate([(40, 56), (33, 47), (64, 48)]):
        y, x = np.mgrid[:height, :width]
        planes = [128 + 80 * np.sin(x / (5 + k + c)) + 30 * np.cos(y / 7) for c in range(3)]
        image = np.stack(planes, axis=-1) + rng.normal(0, 10, (height, width, 3))
        write_png(folder / "photos" / f"{k}.png", image.clip(0, 255).astype(np.uint8))
    points = ["webp:quality=30|80", "jpeg:quality=40"]
    return rdp.evaluate(folder / "photos", points, ["mse", "psnr"], folder / "run", jobs=1)


Solve = Callable[..., Result]


@pytest.fixture
def solve(run: rdp.Run) -> Solve:
    """Runs `rdp solve` on the run."""
    return lambda *options: CliRunner().invoke(app, ["solve", str(run.path), *map(str, options)])


@pytest.fixture
def saved(solve: Solve, tmp_path: Path) -> Path:
    """A selection that minimises the kernel distance, as a file."""
    done = solve("--minimize", "kd_mine", *OWN, *BUDGETS, "--out", tmp_path / "sel.json")
    assert done.exit_code == 0, done.output
    return tmp_path / "sel.json"


def every_choice(run: rdp.Run) -> Iterator[tuple[float, float, float, float]]:
    """V-statistic, unbiased estimate, bpp and psnr of every choice, from features and rows alone."""
    found = compute_features(run, "colours_of_tests:Colours", name="mine", patches=PatchGrid(16, (0, 8)))
    frame = run.to_pandas().set_index(["image", "point"])
    originals = np.concatenate([found.reference(i) for i in range(3)])
    for choice in itertools.product(range(3), repeat=3):
        mixture = np.concatenate([found.cell(i, p) for i, p in enumerate(choice)])
        rows = [frame.loc[(found.names[i], found.points[p])] for i, p in enumerate(choice)]
        distance = kernel_distance(originals, mixture)
        yield (
            distance.biased,
            distance.value,
            float(np.mean([row.bpp for row in rows])),
            float(np.mean([row.psnr for row in rows])),
        )


def test_the_least_distance_within_the_budgets_is_found_and_proven(saved: Path, run: rdp.Run) -> None:
    document = json.loads(saved.read_text())
    within = [one for one in every_choice(run) if one[2] <= 1.6 and one[3] >= 20]
    assert 0 < len(within) < 27
    best = min(within)
    (value,) = document["set_level"]["values"]
    assert document["objective"]["average"] == pytest.approx(best[0], rel=1e-9)
    assert value["convex_form"] == pytest.approx(best[0], rel=1e-9)
    assert value["score"] == pytest.approx(best[1], rel=1e-9)
    assert document["objective"]["bound"] <= best[0] * (1 + 1e-9)
    assert value["facts"]["features"]["fingerprint"] in value["facts"]["features"].values()
    assert "not of the score" in document["set_level"]["covers"]


def test_a_distance_is_held_to_a_budget_while_a_column_is_optimised(solve: Solve, run: rdp.Run) -> None:
    choices = sorted(every_choice(run))
    limit = choices[6][0]
    done = solve("--minimize", "bpp", "--at-most", f"kd_mine={limit!r}", "--at-most", "swd=10", *OWN, "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    best = min(one[2] for one in choices if one[0] <= limit)
    assert document["objective"]["average"] == pytest.approx(best, rel=1e-3)
    assert {b["column"]: b["average"] <= b["budget"] for b in document["budgets"]} == {"kd_mine": True, "swd": True}
    assert [(one["name"], one["role"]) for one in document["set_level"]["values"]] == [
        ("kd_mine", "at_most"),
        ("swd", "at_most"),
    ]


def test_text_has_the_value_beside_the_reported_distance_and_what_the_bound_is_of(solve: Solve) -> None:
    done = solve("--minimize", "kd_mine", *OWN, *BUDGETS)
    assert "kd_mine (V-statistic) minimised:" in done.stdout and "relaxation:" in done.stdout
    row = next(line for line in done.stdout.splitlines() if line.startswith("kd_mine  "))
    assert " V-statistic " in row and " unbiased " in row and row.endswith("mine 16@0,8") and " 36 " in row
    assert "not of the score" in done.stdout and "of kd_mine the convex form is the V-statistic" in done.stdout


def test_what_is_computed_is_told_and_said_no_more_once_it_is_there(solve: Solve) -> None:
    words = ("--minimize", "kd_mine", *OWN[:2], "--patches", "16@0,4", *BUDGETS)
    first, second = solve(*words), solve(*words)
    assert "note: mine: 3 images x 3 points" in first.stderr and "12 of 12 pictures to compute" in first.stderr
    assert "pictures to compute" not in second.stderr
    assert first.stdout.splitlines()[1:3] == second.stdout.splitlines()[1:3]
    unbiased = solve("--minimize", "kd_mine", *OWN, *BUDGETS, "--unbiased")
    assert "kd_mine (unbiased estimate) minimised: -" in unbiased.stdout
    assert "the bound is of the distance as it is reported" in unbiased.stdout


def test_sets_that_are_too_small_are_warned_of(solve: Solve, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RDP_WEIGHTS", str(shared / "weights"))
    done = solve("--minimize", "fd_squeeze", "--patches", "17@0,8", "--at-most", "bpp=1.6")
    assert done.exit_code == 0, done.output
    assert "warning: fd_squeeze: 24 patches of 512 dimensions: the covariance has rank 23 at most" in done.stderr
    assert "fd_squeeze (the distance itself) minimised:" in done.stdout


def test_no_selection_is_an_answer_too(solve: Solve, tmp_path: Path) -> None:
    out = tmp_path / "none.json"
    done = solve("--minimize", "bpp", "--at-most", "kd_mine=1e-12", *OWN, "--out", out)
    assert done.exit_code == EXIT_INFEASIBLE
    assert "no selection meets the budgets: kd_mine (its convex form) is at least" in done.stderr
    loaded = rdp.load_selection(out)
    assert isinstance(loaded, SetSelection) and not loaded.found and loaded.score is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--minimize", "swd", "--bootstrap", "10"], "--bootstrap does not go with distances of sets"),
        (["--minimize", "swd", "--holdout"], "--holdout does not go"),
        (["--minimize", "swd", "--memory", "1GB"], "--memory does not go"),
        (["--minimize", "swd", "--scratch", "tmp"], "--scratch does not go"),
        (["--minimize", "swd", "--solver", "cbc"], "--solver does not go"),
        (["--minimize", "swd", "--max-points", "2"], "--max-points does not go"),
        (["--maximize", "swd"], "swd is a distance of sets: it can be minimised or held to at most a value"),
        (["--minimize", "swd", "--at-least", "kid=1"], "kid is a distance of sets: it can be minimised or held"),
        (["--minimize", "swd", "--weights", "swd=pixels"], "weights: swd is of all images together"),
        (["--minimize", "mse", "--each-at-most", "swd=1"], "each_at_most: swd is of all images together"),
        (["--minimize", "kd_mine"], "name it with --network package.module:attribute"),
        (["--minimize", "swd", "--patches", "a"], "patches 'a' are not written SIDE or SIDE@OFFSET"),
        (["--minimize", "mse", "--network", "a:b"], "--network is about distances of sets, and none is minimised"),
        (["--minimize", "mse", "--unbiased"], "--unbiased is about distances of sets"),
        (["--minimize", "swd", "--network", "colours_of_tests:Colours"], "none of swd is of it"),
        (["--minimize", "kidd"], "no column 'kidd'"),
    ],
)
def test_what_does_not_go_together_is_refused_by_name(options: list[str], message: str, solve: Solve) -> None:
    done = solve(*options)
    assert (done.exit_code, done.stdout) == (2, "") and message in done.stderr


def test_a_table_without_pictures_is_refused(run: rdp.Run, tmp_path: Path) -> None:
    run.to_pandas().to_csv(tmp_path / "table.csv", index=False)
    done = CliRunner().invoke(app, ["solve", str(tmp_path / "table.csv"), "--minimize", "swd"])
    assert done.exit_code == 2
    assert "table.csv is no run folder, and swd is of features of the pictures" in done.stderr


def test_a_column_of_the_table_comes_before_a_distance_of_that_name(tmp_path: Path) -> None:
    with (tmp_path / "table.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["image", "point", "kid"], ["a", "p", 2], ["a", "q", 1]])
    done = CliRunner().invoke(app, ["solve", str(tmp_path / "table.csv"), "--minimize", "kid"])
    assert "average kid minimised: 1 " in done.stdout


def test_other_verbs_say_where_distances_of_sets_are_optimised(run: rdp.Run) -> None:
    with pytest.raises(TableError, match=r"no column 'swd': it is a distance of sets.*rdp\.solve_set"):
        rdp.solve(run, minimize="swd")
    with pytest.raises(TableError, match=r"rdp\.solve_set"):
        rdp.frontier(run, minimize="kid", sweep={"bpp": [1.0, 2.0]})
    with pytest.raises(SpecError, match="use rdp.solve"):
        rdp.solve_set(run, minimize="mse")


def test_a_saved_selection_is_read_back_as_it_was(saved: Path, tmp_path: Path) -> None:
    loaded = rdp.load_selection(saved)
    assert isinstance(loaded, SetSelection)
    assert loaded.problem.objective.column == "kd_mine" and np.isnan(loaded.problem.objective.values).all()
    loaded.save(tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text()) == json.loads(saved.read_text())


def test_a_selection_with_a_distance_in_its_budgets_is_read_back(solve: Solve, tmp_path: Path) -> None:
    out = tmp_path / "sel.json"
    done = solve("--minimize", "mse", "--at-most", "bpp=2", "--at-most", "swd=10", "--out", out)
    assert done.exit_code == 0, done.output
    loaded = rdp.load_selection(out)
    assert isinstance(loaded, SetSelection) and [one.role for one in loaded.values] == ["at_most"]
    assert json.loads(out.read_text()) == loaded.to_dict()


def test_an_edited_selection_is_refused(saved: Path, tmp_path: Path) -> None:
    document = json.loads(saved.read_text())
    document["set_level"]["values"][0]["convex_form"] /= 2
    (tmp_path / "edited.json").write_text(json.dumps(document))
    with pytest.raises(TableError, match="the average kd_mine is"):
        rdp.load_selection(tmp_path / "edited.json")
    document = json.loads(saved.read_text())
    document["set_level"]["values"][0]["facts"]["features"]["fingerprint"] = "0" * 12
    (tmp_path / "edited.json").write_text(json.dumps(document))
    with pytest.raises(TableError, match="the pictures are not those that its set-level values are of"):
        rdp.load_selection(tmp_path / "edited.json")
    document = json.loads(saved.read_text())
    document["set_level"]["values"][0]["name"] = "kd_other"
    (tmp_path / "edited.json").write_text(json.dumps(document))
    with pytest.raises(TableError, match="kd_other does not stand in its statement"):
        rdp.load_selection(tmp_path / "edited.json")


def test_a_selection_of_other_pictures_is_refused(saved: Path, run: rdp.Run) -> None:
    frame = run.to_pandas()
    assert rdp.load_selection(saved, frame).found
    frame.loc[0, "reconstruction_sha256"] = "0" * 64
    with pytest.raises(TableError, match="the pictures are not those that its set-level values are of"):
        rdp.load_selection(saved, frame)
    # A table without hashes of pictures says nothing about them.
    assert rdp.load_selection(saved, frame.drop(columns="reconstruction_sha256")).found


def test_a_saved_selection_is_packed_and_unpacked(saved: Path, run: rdp.Run, tmp_path: Path) -> None:
    out = tmp_path / "delivery"
    assert CliRunner().invoke(app, ["pack", str(run.path), str(saved), "--out", str(out)]).exit_code == 0
    back = CliRunner().invoke(app, ["unpack", str(out), "--out", str(tmp_path / "back"), "--selection", str(saved)])
    assert back.exit_code == 0, back.output
    assert "3 of 3 files decoded" in back.stdout


def test_what_needs_a_value_for_each_image_is_refused(saved: Path, run: rdp.Run, tmp_path: Path) -> None:
    loaded = rdp.load_selection(saved)
    with pytest.raises(SpecError, match="a bootstrap cannot be had of a selection for kd_mine"):
        rdp.bootstrap(loaded, 10)
    with pytest.raises(SpecError, match="a holdout cannot be had of a selection for kd_mine"):
        rdp.holdout(loaded)
    with pytest.raises(SpecError, match="was solved for kd_mine, of all images together.*rdp audit"):
        rdp.write_report(run, saved, tmp_path / "report")


def test_selections_are_compared_in_the_columns_that_images_have(saved: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    shutil.copy(saved, other)
    done = CliRunner().invoke(app, ["compare", str(saved), str(other)])
    assert done.exit_code == 0, done.output
    assert "kd_mine is left out: no image has a value of kd_mine: it is of all images together" in done.stderr
    assert any(line.startswith("mse ") for line in done.stdout.splitlines())


def test_from_python_a_module_can_be_given(run: rdp.Run) -> None:
    from rdp.metrics.own_network import load_module

    module = load_module("colours_of_tests:Colours")
    made = rdp.solve_set(
        run, minimize="kd_mine", at_most={"bpp": 1.6}, network=module, patches=PatchGrid(16, (0, 8)), gap=0.01
    )
    assert made.status in ("optimal", "feasible") and made.averages["bpp"] <= 1.6
    assert made.values[0].facts["features"]["name"] == "mine"
    assert made.objective == pytest.approx(min(one[0] for one in every_choice(run) if one[2] <= 1.6), rel=0.01)


def test_small_images_are_mirrored_where_asked_and_other_words_refused(tmp_path: Path) -> None:
    assert patch_grid(None, None) is None
    mirrored = patch_grid(None, "mirror")
    assert mirrored is not None and (mirrored.side, mirrored.small) == (256, "mirror")
    plain = patch_grid("64@0", None)
    assert plain is not None and (plain.name, plain.small) == ("64@0", "refuse")
    with pytest.raises(SpecError, match="--small 'none' is not allowed: it takes refuse or mirror"):
        patch_grid("64", "none")
