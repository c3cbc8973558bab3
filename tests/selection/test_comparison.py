"""Two selections image by image: statistics against enumerations and scipy, refusals, words, and the command."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rdp.errors import SpecError, TableError
from rdp.selection import Problem, Selection, solve, solve_problem
from rdp.selection.sampling.comparison import compare, paired_test
from rdp.selection.sampling.paired_statistics import mean_interval, sign_flip, signed_rank
from rdp.selection.status import Status
from rdp.tables import CellTable


def chosen(problem: Problem, choice: list[int]) -> Selection:
    """A selection of that choice, whoever made it."""
    numbers = np.array(choice)
    averages = {name: term.average(numbers) for name, term in problem.terms.items()}
    objective = averages[problem.objective.column]
    return Selection(problem, Status.FEASIBLE, "hand", numbers, objective, None, averages=averages)


def two_columns(a: np.ndarray, b: np.ndarray, **words: Any) -> Problem:
    """Images at two points: the first has the values a, the second b."""
    return Problem.from_arrays({"mse": np.stack([a, b], axis=1)}, **({"minimize": "mse"} | words))


def test_the_sign_flip_test_of_eight_images_is_the_enumeration() -> None:
    rng = np.random.default_rng(1)
    for trial in range(20):
        differences = rng.normal(0.4, 1, 8) if trial % 2 else rng.integers(-3, 4, 8).astype(float)
        weights = rng.uniform(0.5, 2, 8)
        observed = abs(sum(weights * differences))
        flips = [
            abs(sum(s * w * d for s, w, d in zip(signs, weights, differences, strict=True)))
            for signs in itertools.product((-1, 1), repeat=8)
        ]
        expected = np.mean([flip >= observed - 1e-9 for flip in flips])
        assert sign_flip(differences, weights, 100, 0) == (pytest.approx(expected), True)


def test_the_sign_flip_test_is_that_of_scipy() -> None:
    differences = np.random.default_rng(2).normal(0.3, 1, 12)
    theirs = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=10_000, alternative="two-sided"
    )
    assert sign_flip(differences, np.ones(12), 10, 0)[0] == pytest.approx(theirs.pvalue)


def test_drawn_flips_agree_with_all_flips_and_are_never_nothing() -> None:
    rng = np.random.default_rng(3)
    differences, weights = rng.normal(0.25, 1, 18), rng.uniform(0.5, 2, 18)
    drawn, exact = sign_flip(differences, weights, 40_000, 5)
    assert not exact
    signs = 1.0 - 2.0 * ((np.arange(2**18)[:, None] >> np.arange(18)) & 1)
    sums = np.abs(signs @ (weights * differences))
    assert drawn == pytest.approx((sums >= abs(weights @ differences) - 1e-9).mean(), abs=0.01)
    assert sign_flip(np.ones(200), np.ones(200), 999, 0) == (1 / 1000, False)
    assert sign_flip(differences, weights, 500, 5) == sign_flip(differences, weights, 500, 5)


def test_under_no_difference_small_p_values_are_as_rare_as_they_say() -> None:
    """With both signs equally likely, p <= 0.1 comes in at most 10 % of the cases (here by 300 trials: 15 %)."""
    rng = np.random.default_rng(8)
    small = sum(sign_flip(rng.normal(0, 1, 30), np.ones(30), 199, k)[0] <= 0.1 for k in range(300))
    assert 0.04 <= small / 300 <= 0.16


def test_the_signed_rank_test_is_scipys_and_for_few_images_the_enumeration() -> None:
    differences = np.array([0.3, -1.2, 2.5, 0.9, -0.1, 1.7, 3.1, 0.0])
    assert signed_rank(differences) == pytest.approx(stats.wilcoxon(differences[:-1]).pvalue)
    ranks = stats.rankdata(np.abs(differences[:-1]))
    observed = abs(float(np.sign(differences[:-1]) @ ranks))
    flips = [abs(float(np.array(signs) @ ranks)) for signs in itertools.product((-1, 1), repeat=7)]
    assert signed_rank(differences) == pytest.approx(np.mean([flip >= observed for flip in flips]))
    assert signed_rank(np.zeros(5)) == 1.0


def test_the_interval_of_the_mean_difference_is_scipys_bca() -> None:
    differences = np.exp(np.random.default_rng(5).normal(0, 1, 50)) - 1
    ours, kind = mean_interval(differences, np.ones(50), 20_000, 0, 0.95)
    theirs = stats.bootstrap((differences,), np.mean, n_resamples=20_000, rng=np.random.default_rng(9))
    assert kind == "bca"
    low, high = theirs.confidence_interval
    assert (ours.low, ours.high) == pytest.approx((low, high), abs=0.03)


@given(st.integers(0, 1000), st.integers(2, 30))
@settings(max_examples=30, deadline=None)
def test_a_against_b_mirrors_b_against_a(seed: int, images: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 9, images).astype(float), rng.integers(0, 9, images).astype(float)
    problem = two_columns(a, b, weights={"mse": "pixels"}, pixels=rng.uniform(1, 9, images))
    one, other = chosen(problem, [0] * images), chosen(problem, [1] * images)
    there, back = paired_test(one, other, resamples=200), paired_test(other, one, resamples=200)
    assert there.difference == -back.difference == pytest.approx(one.averages["mse"] - other.averages["mse"])
    assert there.p_value == back.p_value
    assert there.wilcoxon == pytest.approx(back.wilcoxon)
    assert (there.better_images, there.worse_images) == (back.worse_images, back.better_images)
    assert there.better_images == int((a < b).sum())
    assert there.equal_images == int((a == b).sum())
    assert 0 < there.p_value <= 1
    json.dumps(there.to_dict(), allow_nan=False)


def test_a_clear_difference_is_told_and_a_doubtful_one_is_not() -> None:
    rng = np.random.default_rng(6)
    base = rng.uniform(20, 40, 30)
    clear = two_columns(base, base + rng.uniform(1, 3, 30))
    found = paired_test(chosen(clear, [0] * 30), chosen(clear, [1] * 30), names=("x.json", "y.json"))
    assert found.better == "a" and found.distinguishable and found.interval.excludes_zero
    assert found.sentence.startswith("x.json has the better average mse, ")
    assert "better on 30, worse on 0 and equal on 0 over 30 images; the difference is distinguishable" in found.sentence
    doubtful = two_columns(base, base + rng.normal(0.05, 5, 30))
    found = paired_test(chosen(doubtful, [0] * 30), chosen(doubtful, [1] * 30))
    assert not found.distinguishable and not found.interval.excludes_zero
    assert "is not distinguishable from chance" in found.sentence


def test_more_is_better_where_it_is_maximised_or_the_column_says_so() -> None:
    values = np.array([[30.0, 33.0], [31.0, 35.0], [32.0, 31.0]])
    arrays = {"psnr": values, "own": values, "mse": 1 / values}
    minimising = Problem.from_arrays(arrays, minimize="mse")
    a, b = chosen(minimising, [0, 0, 0]), chosen(minimising, [1, 1, 1])
    found = compare(a, b)
    assert list(found.tests) == ["mse", "psnr", "own"]
    assert found.tests["psnr"].better == "b" and found.tests["psnr"].better_images == 1
    assert found.tests["own"].better == "unknown"
    assert "has the lower average own" in found.tests["own"].sentence
    assert "dB" in found.tests["psnr"].sentence and "dB (" not in found.tests["psnr"].sentence
    maximising = Problem.from_arrays(arrays, maximize="own")
    assert paired_test(chosen(maximising, [0, 0, 0]), chosen(maximising, [1, 1, 1])).better == "b"


def test_the_same_choice_is_the_same_on_every_image() -> None:
    problem = two_columns(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    found = paired_test(chosen(problem, [0, 1]), chosen(problem, [0, 1]))
    assert (found.p_value, found.wilcoxon, found.better) == (1.0, 1.0, "neither")
    assert found.sentence == "a and b have the same mse on every image, 2.5 on average over 2 images"


def test_equal_averages_of_different_images_are_neither_better() -> None:
    problem = two_columns(np.array([1.0, 2.0]), np.array([2.0, 1.0]))
    found = paired_test(chosen(problem, [0, 0]), chosen(problem, [1, 1]))
    assert found.better == "neither" and found.p_value == 1.0
    assert found.sentence.startswith("a and b have the same average mse, 1.5")


def test_images_are_matched_by_name_and_not_by_place() -> None:
    values = np.array([[1.0, 5.0], [2.0, 7.0], [3.0, 9.0]])
    one = Problem.from_arrays({"mse": values}, minimize="mse", images=["x", "y", "z"])
    other = Problem.from_arrays({"mse": values[::-1]}, minimize="mse", images=["z", "y", "x"])
    found = paired_test(chosen(one, [0, 1, 0]), chosen(other, [0, 1, 1]))
    assert found.equal_images == 2 and found.difference == pytest.approx(-4 / 3)


def test_other_images_are_refused_by_name() -> None:
    one = Problem.from_arrays({"mse": np.ones((3, 1))}, minimize="mse", images=["x", "y", "z"])
    other = Problem.from_arrays({"mse": np.ones((2, 1))}, minimize="mse", images=["x", "w"])
    with pytest.raises(TableError, match="only p has 2 images: 'y', 'z'; only q has 1 image: 'w'"):
        paired_test(chosen(one, [0] * 3), chosen(other, [0] * 2), names=("p", "q"))
    renamed = replace(one, datasets=("d",) * 3)
    with pytest.raises(TableError, match="'d/x'"):
        compare(chosen(one, [0] * 3), chosen(renamed, [0] * 3))


def test_what_cannot_be_compared_is_refused_with_what_to_do() -> None:
    values = np.array([[1.0, 5.0], [2.0, 7.0]])
    arrays = {"mse": values, "bpp": values}
    one = chosen(Problem.from_arrays(arrays, minimize="mse"), [0, 0])
    pixels = {"weights": {"bpp": "pixels"}, "pixels": [3, 4]}
    other = chosen(Problem.from_arrays(arrays, minimize="bpp", **pixels), [1, 1])
    with pytest.raises(SpecError, match="a optimises mse and b bpp: name the column"):
        paired_test(one, other)
    with pytest.raises(SpecError, match="solve both with the same --weights bpp=images or bpp=pixels"):
        paired_test(one, other, "bpp")
    with pytest.raises(SpecError, match="no column 'msee'. Did you mean 'mse'"):
        compare(one, other, "msee")
    found = compare(one, other)
    assert list(found.tests) == ["mse"] and list(found.left_out) == ["bpp"] and found.columns == ("mse",)
    larger = chosen(Problem.from_arrays(arrays, minimize="bpp", weights={"bpp": "pixels"}, pixels=[3, 5]), [1, 1])
    with pytest.raises(SpecError, match="other sizes"):
        paired_test(other, larger)
    infinite = Problem.from_arrays({"mse": values, "psnr": np.array([[1.0, np.inf], [1.0, 1.0]])}, minimize="mse")
    with pytest.raises(SpecError, match="psnr of 'image 0' is inf at the point that b chooses"):
        paired_test(chosen(infinite, [0, 0]), chosen(infinite, [1, 1]), "psnr")
    with pytest.raises(SpecError, match="cannot be compared"):
        compare(one, chosen(Problem.from_arrays({"lpips": values}, minimize="lpips"), [0, 0]))


def test_a_selection_that_there_is_not_cannot_be_compared() -> None:
    values = np.array([[1.0, 5.0], [2.0, 7.0]])
    problem = Problem.from_arrays({"mse": values, "bpp": values}, minimize="mse", at_most={"bpp": 0.5})
    nothing = solve_problem(problem)
    with pytest.raises(TableError, match=r"second\.json holds no selection to compare: it is infeasible"):
        paired_test(chosen(problem, [0, 0]), nothing, names=("first.json", "second.json"))


@pytest.mark.parametrize("options", [{"resamples": 1}, {"resamples": "many"}, {"seed": -2}, {"confidence": 95}])
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    problem = two_columns(np.array([1.0, 2.0]), np.array([2.0, 1.0]))
    with pytest.raises(SpecError):
        compare(chosen(problem, [0, 0]), chosen(problem, [1, 1]), **options)


# --- the command ---

MAIN = """
from rdp.cli.app import app, main
from rdp.cli.compare import compare_command
if not any(command.name == "compare" for command in app.registered_commands):
    app.command("compare")(compare_command)
main()
"""


def rdp(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", MAIN, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def pair(table: CellTable, tmp_path: Path) -> tuple[Path, Path, Path]:
    """A table, and two selections of it under different budgets."""
    study = tmp_path / "study.csv"
    csv.write_csv(table.data, study)
    paths = [
        solve(study, minimize="mse", at_most={"bpp": budget}).save(tmp_path / name)
        for name, budget in (("a.json", 0.3), ("b.json", 0.5))
    ]
    return study, paths[0], paths[1]


def test_the_command_shows_all_averages_side_by_side(pair: tuple[Path, Path, Path]) -> None:
    _, a, b = pair
    done = rdp("compare", a, b)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == [f"A: {a}", f"B: {b}"]
    assert [line.split()[0] for line in lines[4:8]] == ["mse", "bpp", "psnr", "nbytes"]
    assert f"{b} has the better average mse" in done.stdout
    assert done.stderr == ""


def test_the_document_of_the_command_has_the_test_of_every_column(pair: tuple[Path, Path, Path]) -> None:
    study, a, b = pair
    words = ("--json", "--column", "psnr", "--resamples", "500", "--seed", "3", "--table", study)
    first, again = (rdp("compare", a, b, *words) for _ in range(2))
    assert first.returncode == 0, first.stderr
    assert first.stdout == again.stdout
    document = json.loads(first.stdout)
    assert document["columns"] == ["psnr"]
    assert {test["column"] for test in document["tests"]} == {"mse", "bpp", "psnr", "nbytes"}
    assert all(test["exact"] and test["seed"] == 3 and test["resamples"] == 500 for test in document["tests"])
    assert "psnr" in document["sentences"][0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--column", "msee"], "has no column 'msee'. Did you mean 'mse'"),
        (["--resamples", "many"], "--resamples: 'many' is not a whole number"),
        (["--resamples", "1"], "resamples must be a whole number, 2 or more"),
        (["--seed", "-1"], "the seed must be a whole number, 0 or more"),
        (["--confidence", "2"], "the confidence must be a number between 0 and 1"),
        (["--table", "nowhere"], "nowhere"),
    ],
)
def test_words_that_the_command_cannot_use_end_with_2(
    pair: tuple[Path, Path, Path], words: list[str], message: str
) -> None:
    done = rdp("compare", *pair[1:], *words)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_selections_of_other_images_end_with_2_and_their_names(
    pair: tuple[Path, Path, Path], table: CellTable, tmp_path: Path
) -> None:
    fewer = tmp_path / "fewer.csv"
    csv.write_csv(table.data.filter(pa.array([image != "c.png" for image in table.data["image"].to_pylist()])), fewer)
    solve(fewer, minimize="mse", at_most={"bpp": 0.5}).save(tmp_path / "c.json")
    done = rdp("compare", pair[1], tmp_path / "c.json")
    assert done.returncode == 2
    assert "only" in done.stderr and "'photos/c.png'" in done.stderr
