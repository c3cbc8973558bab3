"""Prices of some images applied to others, against plain loops and duality."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdp.errors import InfeasibleError, SpecError
from rdp.selection import Problem, build_problem, solve_problem
from rdp.selection.baselines import best_single_point
from rdp.selection.sampling.holdout import Moments, holdout
from rdp.selection.sampling.splits import hold_out
from rdp.selection.sampling.subset import take
from rdp.tables import CellTable


def draw(seed: Any, images: int) -> dict[str, np.ndarray]:
    """Images from a distribution that is known: four points, of rising rate and falling error."""
    rng = np.random.default_rng(seed)
    hard = np.exp(rng.normal(0, 0.5, (images, 1)))
    level = np.array([[0.1, 0.25, 0.5, 1.0]])
    bpp = level * hard**0.8 * np.exp(rng.normal(0, 0.05, (images, 4)))
    mse = 40 * hard * level ** -rng.uniform(0.6, 1.2, (images, 1)) * np.exp(rng.normal(0, 0.05, (images, 4)))
    return {"bpp": bpp, "mse": mse, "psnr": 10 * np.log10(255**2 / mse)}


def stated(arrays: dict[str, np.ndarray], **words: Any) -> Problem:
    given = {"minimize": "mse", "at_most": {"bpp": 0.4}} | words
    return Problem.from_arrays(arrays, **given)


def test_on_halves_that_are_the_same_the_rule_gives_the_same_averages() -> None:
    half = draw(1, 30)
    problem = stated({name: np.concatenate([values, values]) for name, values in half.items()})
    split = hold_out(problem, np.arange(30), np.arange(30, 60))
    assert split.there is not None and split.priced is not None and split.solved is not None
    assert split.priced.averages == pytest.approx(split.there.averages, rel=1e-12)
    assert split.solved.averages["mse"] == pytest.approx(solve_problem(stated(half)).averages["mse"], rel=1e-5)


@given(seed=st.integers(0, 500), budgets=st.sampled_from([{"bpp": 0.4}, {"bpp": 0.45, "mse": 130.0}]))
@settings(max_examples=25, deadline=None)
def test_the_rule_takes_each_images_point_of_least_priced_cost(seed: int, budgets: dict[str, float]) -> None:
    """By a loop over images, with pixels as weights and both senses; and the regret is not negative, by duality."""
    arrays = draw(seed, 24)
    pixels = np.random.default_rng(seed).uniform(1, 5, 24)
    words: dict[str, Any] = {"weights": {"bpp": "pixels"}, "pixels": pixels, "at_least": {"psnr": 25.0}}
    problem = stated(arrays, at_most=budgets | {"bpp": 0.5}, **words)
    first, second = np.arange(12), np.arange(12, 24)
    chosen = solve_problem(take(problem, first), gap=1e-6)
    split = hold_out(problem, first, second)
    if not chosen.found:
        assert split.priced is None and split.reason
        return
    if any(budget.price is None for budget in chosen.budgets):
        assert split.prices is None and "not known" in split.reason
        return
    assert split.priced is not None
    taken = []
    for i in second:
        costs = []
        for j in range(4):
            cost = arrays["mse"][i, j]
            for budget in chosen.budgets:
                sign = 1 if budget.sense == "at_most" else -1
                weight = pixels[i] / pixels[first].mean() if budget.column == "bpp" else 1.0
                cost += sign * (budget.price or 0.0) * weight * arrays[budget.column][i, j]
            costs.append(cost)
        taken.append(int(np.argmin(costs)))
    expected = float(np.mean([arrays["mse"][i, j] for i, j in zip(second, taken, strict=True)]))
    assert split.priced.averages["mse"] == pytest.approx(expected, rel=1e-9)
    bpp = float(np.average([arrays["bpp"][i, j] for i, j in zip(second, taken, strict=True)], weights=pixels[second]))
    assert split.priced.averages["bpp"] == pytest.approx(bpp, rel=1e-9)
    names = [constraint.name for constraint in problem.constraints]
    assert split.priced.excess[names.index("bpp <= 0.5")] == pytest.approx(bpp - 0.5, abs=1e-9)
    direct = solve_problem(take(problem, second), gap=1e-6)
    if direct.found and math.isfinite(split.regret) and direct.gap is not None:
        # A direct solution of few images is above its relaxation: by at most what two images can differ.
        room = 2 * float(np.ptp(arrays["mse"][second], axis=1).max()) / len(second) * len(problem.constraints)
        assert split.regret >= -room


def test_regret_of_a_separable_problem_is_nothing() -> None:
    found = holdout(Problem.from_arrays(draw(0, 11), minimize="mse"), repeats=3)
    assert found.regret.largest == found.regret.least == 0
    assert found.budgets == ()
    assert found.images == (5, 6)


def test_both_halves_choose_for_each_other() -> None:
    problem = stated(draw(2, 20))
    found = holdout(problem, repeats=4, seed=9)
    assert len(found.splits) == 8
    for there, back in zip(found.splits[::2], found.splits[1::2], strict=True):
        assert there.chosen_on.tolist() == back.reported_on.tolist()
        assert back.chosen_on.tolist() == there.reported_on.tolist()
        assert sorted([*there.chosen_on, *there.reported_on]) == list(range(20))
        assert there.solved is not None
        own = solve_problem(take(problem, back.chosen_on), gap=1e-6)
        assert there.solved.averages == pytest.approx(own.averages)
    assert found.to_dict() == holdout(problem, repeats=4, seed=9).to_dict()
    assert found.to_dict() != holdout(problem, repeats=4, seed=10).to_dict()
    json.dumps(found.to_dict(), allow_nan=False)


def test_moments_and_violations_are_those_of_the_splits() -> None:
    found = holdout(stated(draw(7, 30)), repeats=5)
    excess = [split.priced.averages["bpp"] - 0.4 for split in found.splits if split.priced is not None]
    assert found.budgets[0].excess.mean == pytest.approx(np.mean(excess))
    assert found.budgets[0].violated == sum(over > 1e-9 for over in excess)
    assert found.objective.priced.deviation == pytest.approx(
        np.std([split.priced.averages["mse"] for split in found.splits if split.priced is not None], ddof=1)
    )
    singles = [split.single.averages["bpp"] for split in found.splits if split.single is not None]
    assert found.averages["bpp"].single.largest == pytest.approx(max(singles))


def test_with_more_images_prices_of_others_cost_less() -> None:
    small, large = (holdout(stated(draw(3, count)), repeats=6).regret_part.mean for count in (20, 640))
    assert 0 <= large < 0.25 * small


def test_the_best_single_point_of_one_half_is_taken_by_the_other() -> None:
    problem = stated(draw(11, 16))
    split = hold_out(problem, np.arange(8), np.arange(8, 16))
    best = best_single_point(take(problem, np.arange(8)))
    point = problem.points.index(best.parts[0].point)
    assert split.single is not None
    assert split.single.averages["mse"] == pytest.approx(problem.objective.values[8:, point].mean())


def test_the_rule_keeps_to_the_points_of_a_limited_selection() -> None:
    problem = stated(draw(12, 20), max_points=2)
    first, second = np.arange(10), np.arange(10, 20)
    split = hold_out(problem, first, second)
    chosen = solve_problem(take(problem, first), gap=1e-6)
    if split.priced is None:
        assert "not known" in split.reason
        return
    points = np.unique(chosen.required_choice)
    values = problem.objective.values[second][:, points]
    assert values.min(axis=1).mean() - 1e-9 <= split.priced.averages["mse"] <= values.max(axis=1).mean() + 1e-9


def test_splits_without_a_rule_or_a_direct_solution_are_counted() -> None:
    arrays = draw(3, 10)
    budget = float(arrays["bpp"].min(axis=1).mean() * 1.01)
    found = holdout(stated(arrays, at_most={"bpp": budget}), repeats=5)
    without = sum(split.priced is None for split in found.splits)
    assert without > 0
    assert any(
        note.startswith(f"{without} of 10 splits: the images that choose are infeasible") for note in found.notes
    )
    assert any("the images reported on have no selection" in note for note in found.notes)


@pytest.mark.parametrize(
    "options", [{"fraction": 0}, {"fraction": 1.0}, {"fraction": "half"}, {"repeats": 0}, {"seed": -1}]
)
def test_options_of_a_holdout_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(SpecError):
        holdout(stated(draw(0, 5)), **options)


def test_one_image_cannot_be_split() -> None:
    with pytest.raises(SpecError, match="one image cannot be split"):
        holdout(stated(draw(0, 1), at_most={"bpp": 9.0}))


def test_an_image_without_a_point_is_named(table: CellTable) -> None:
    with pytest.raises(InfeasibleError, match="b.png"):
        holdout(build_problem(table, minimize="mse", each_at_most={"bpp": 0.15}))


def test_moments_of_nothing_are_nothing() -> None:
    assert Moments.of([math.nan]).to_dict() == Moments.of([]).to_dict()
    assert Moments.of([]).to_dict()["mean_is"] == "missing"
