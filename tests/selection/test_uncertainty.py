"""The bootstrap over images and the holdout of prices, against plain loops, known distributions and duality."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdp.errors import InfeasibleError, SpecError
from rdp.selection import Problem, build_problem, solve_problem
from rdp.selection.baselines import best_single_point, fair_mixture
from rdp.selection.holdout import Moments, holdout
from rdp.selection.intervals import Interval, bca_interval, percentile_interval
from rdp.selection.resampling import Kept, count_slopes, leave_one_out, resample
from rdp.selection.splits import hold_out
from rdp.selection.subset import fixed_images, kept_constraints, take
from rdp.selection.uncertainty import bootstrap
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


# --- parts of a problem ---


def test_every_field_of_a_problem_is_known_to_be_of_images_or_not() -> None:
    """A new field must be looked at: `take` cuts what has one entry an image."""
    of_images = {"datasets", "images", "present", "allowed", "objective", "constraints", "image_bounds", "columns"}
    of_images |= {"statement", "choosable", "index_cost"}
    of_all = {"points", "goal", "source", "warnings", "max_points"}
    assert {one.name for one in fields(Problem)} == of_images | of_all


def test_a_part_has_the_cells_weights_and_bounds_of_its_images(table: CellTable) -> None:
    whole = build_problem(
        table,
        minimize="mse",
        at_most={"bpp": 0.4},
        weights={"bpp": "pixels"},
        each_at_most={"mse": 100},
        fix={"a.png": "webp:quality=5"},
        forbid=[("c.png", "avif:quality=50")],
        group_at_most={"bpp": 0.9},
    )
    part = take(whole, np.array([2, 0, 2, 0, 2]))
    assert part.images == ("c.png", "a.png", "c.png (2)", "a.png (2)", "c.png (3)")
    assert part.datasets == ("photos",) * 5
    rows = [2, 0, 2, 0, 2]
    for name, term in whole.terms.items():
        assert np.array_equal(part.terms[name].values, term.values[rows], equal_nan=True)
        assert np.array_equal(part.terms[name].weights, term.weights[rows])
    assert np.array_equal(part.allowed, whole.allowed[rows])
    assert whole.choosable is not None and part.choosable is not None
    assert np.array_equal(part.choosable, whole.choosable[rows])
    assert np.array_equal(part.image_bounds[0].values, whole.image_bounds[0].values[rows])
    assert part.statement.fix == {"a.png": "webp:quality=5", "a.png (2)": "webp:quality=5"}
    assert fixed_images(part).tolist() == [False, True, False, True, False]
    assert solve_problem(part).chosen["a.png (2)"] == "webp:quality=5"


def test_the_problem_of_all_images_is_the_problem(table: CellTable) -> None:
    whole = build_problem(table, minimize="mse", at_most={"bpp": 0.3})
    part = take(whole, np.arange(3))
    assert part.images == whole.images
    assert (
        solve_problem(part).to_dict()["problem"]["fingerprint"]
        == solve_problem(whole).to_dict()["problem"]["fingerprint"]
    )


def test_a_copy_takes_a_name_that_no_image_has() -> None:
    arrays = {"mse": np.ones((3, 2))}
    whole = Problem.from_arrays(arrays, minimize="mse", images=["a", "a (2)", "b"])
    assert take(whole, np.array([0, 0, 1, 1, 0])).images == ("a", "a (3)", "a (2)", "a (2) (2)", "a (4)")


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12))
def test_names_of_a_part_are_different(rows: list[int]) -> None:
    whole = Problem.from_arrays({"mse": np.ones((5, 2))}, minimize="mse", images=["a", "a (2)", "a (3)", "b", "b (2)"])
    names = take(whole, np.array(rows)).images
    assert len(set(names)) == len(rows)
    assert all(name.startswith(whole.images[k]) for name, k in zip(names, rows, strict=True))


def test_labels_of_fixed_images_follow_when_a_part_has_one_dataset() -> None:
    whole = replace(
        Problem.from_arrays({"mse": np.array([[1.0, 2.0]] * 3)}, minimize="mse", images=["x", "y", "z"]),
        datasets=("d", "d", "e"),
    )
    whole = replace(whole, statement=replace(whole.statement, fix={"d/y": "point 1"}))
    assert take(whole, np.array([0, 1, 1])).statement.fix == {"y": "point 1", "y (2)": "point 1"}
    assert take(whole, np.array([0, 2])).statement.fix == {}


def test_a_group_without_images_bounds_nothing() -> None:
    whole = stated(draw(0, 4), group_at_most={"bpp": 0.5}, groups=["p", "p", "q", "q"])
    part = take(whole, np.array([0, 1, 1]))
    assert [constraint.name for constraint in part.constraints] == ["bpp <= 0.4", "bpp <= 0.5 in 'p'"]
    assert kept_constraints(whole, np.array([0, 1, 1])) == [0, 1]


@pytest.mark.parametrize("rows", [[], [3], [-1], [[0]], [0.5]])
def test_numbers_that_are_no_images_are_refused(rows: list[Any]) -> None:
    with pytest.raises(SpecError, match="images must be"):
        take(stated(draw(0, 3)), np.array(rows))


# --- intervals ---


def test_bca_and_percentile_are_those_of_scipy() -> None:
    from scipy.stats import bootstrap as scipy_bootstrap

    values = np.exp(np.random.default_rng(3).normal(0, 1, 40))
    for method in ("percentile", "BCa"):
        theirs = scipy_bootstrap((values,), np.mean, n_resamples=2000, method=method, rng=np.random.default_rng(1))
        means = theirs.bootstrap_distribution
        if method == "percentile":
            ours = percentile_interval(means, 0.95)
        else:
            influence = leave_one_out(values, np.ones(40))
            slope = float((influence**3).sum() / (6 * (influence**2).sum() ** 1.5))
            ours = bca_interval(means, float(values.mean()), slope, 0.95)
        assert ours is not None
        low, high = theirs.confidence_interval
        assert (ours.low, ours.high) == pytest.approx((low, high), rel=1e-9)


def test_leaving_one_out_is_leaving_one_out() -> None:
    rng = np.random.default_rng(1)
    values, weights = rng.normal(0, 1, 9), rng.uniform(0.1, 2, 9)
    means = [np.average(np.delete(values, k), weights=np.delete(weights, k)) for k in range(9)]
    assert leave_one_out(values, weights) == pytest.approx(np.mean(means) - np.array(means))


def test_the_acceleration_from_counts_is_near_that_of_the_jackknife() -> None:
    """For a mean both estimate the same: a sixth of the skewness over sqrt(N)."""
    values = np.exp(np.random.default_rng(2).normal(0, 1, 30))
    means = np.array([values[resample(7, b, 30)].mean() for b in range(6000)])
    slope = count_slopes({"mean": means}, 7, 30)["mean"]
    centred = values - values.mean()
    assert slope == pytest.approx((centred**3).sum() / (6 * (centred**2).sum() ** 1.5), abs=0.02)


def test_there_is_no_bca_where_all_resamples_are_on_one_side() -> None:
    assert bca_interval(np.array([1.0, 2.0, 3.0]), 0.5, 0.0, 0.9) is None
    assert bca_interval(np.array([1.0, 1.0]), 1.0, 0.0, 0.9) == Interval(1.0, 1.0)
    assert percentile_interval(np.zeros(0), 0.9) is None


# --- bootstrap ---


def plainly(problem: Problem, choice: np.ndarray, resamples: int, seed: int) -> dict[str, list[float]]:
    """Every number of the bootstrap by loops: arrays are cut by hand, problems made again from them."""
    out: dict[str, list[float]] = {"mse": [], "bpp": [], "kept": [], "single": [], "mixture": []}
    columns = {name: term.values for name, term in problem.terms.items()}
    for b in range(resamples):
        rows = np.sort(np.random.default_rng([seed, b]).integers(0, len(problem.images), len(problem.images)))
        again = solve_problem(stated({name: values[rows] for name, values in columns.items()}), gap=1e-6)
        out["kept"].append(float(np.mean([columns["mse"][i, choice[i]] for i in rows])))
        for name in ("mse", "bpp"):
            out[name].append(again.averages[name])
        single, mixture = best_single_point(again.problem), fair_mixture(again)
        out["single"].append(single.averages["mse"] - again.averages["mse"] if single.found else math.nan)
        out["mixture"].append(mixture.averages["mse"] - again.averages["mse"] if mixture.found else math.nan)
    return out


def test_every_number_is_what_plain_loops_say() -> None:
    problem = stated(draw(4, 12))
    selection = solve_problem(problem)
    found = bootstrap(selection, 40, seed=3, confidence=0.8)
    plain = plainly(problem, selection.required_choice, 40, 3)
    pairs = {
        "mse": found.objective,
        "bpp": found.averages["bpp"],
        "kept": found.kept["mse"],
        "single": found.gains[0].absolute,
        "mixture": found.gains[1].absolute,
    }
    for name, spread in pairs.items():
        values = np.array(plain[name])
        kept = values[np.isfinite(values)]
        assert spread.count == len(kept)
        assert spread.mean == pytest.approx(kept.mean(), rel=1e-9, abs=1e-9)
        assert spread.deviation == pytest.approx(kept.std(ddof=1), rel=1e-6, abs=1e-9)
        assert spread.percentile is not None
        ends = np.quantile(kept, [0.1, 0.9])
        assert (spread.percentile.low, spread.percentile.high) == pytest.approx(ends.tolist(), rel=1e-9, abs=1e-9)
    assert found.objective.value == selection.objective
    assert found.gains[1].absolute.value == pytest.approx(
        fair_mixture(selection).averages["mse"] - found.objective.value
    )


def test_the_answer_is_that_of_its_seed_and_a_longer_run_begins_as_a_shorter_one() -> None:
    selection = solve_problem(stated(draw(1, 8)))
    first, again, other = (bootstrap(selection, 20, seed=s).to_dict() for s in (5, 5, 6))
    assert first == again
    assert first != other
    assert [resample(5, b, 8).tolist() for b in range(3)] == [resample(5, b, 8).tolist() for b in range(3)]


def test_solving_again_keeps_budgets_and_averaging_again_does_not() -> None:
    found = bootstrap(solve_problem(stated(draw(2, 25))), 60)
    solved, kept = found.averages["bpp"].percentile, found.kept["bpp"].percentile
    assert solved is not None and kept is not None
    assert solved.high <= 0.4 * (1 + 1e-9)
    assert kept.high > 0.42
    assert found.kept["mse"].value == found.objective.value


def test_infeasible_resamples_are_counted_and_make_the_intervals_unreliable() -> None:
    arrays = draw(3, 10)
    least = arrays["bpp"].min(axis=1)
    budget = float(least.mean() * 1.02)
    selection = solve_problem(stated(arrays, at_most={"bpp": budget}))
    found = bootstrap(selection, 60)
    expected = sum(least[resample(0, b, 10)].mean() > budget * (1 + 1e-12) for b in range(60))
    assert 5 < found.infeasible == expected < 60
    assert found.objective.count == 60 - expected
    assert not found.objective.reliable
    assert found.kept["mse"].reliable and found.kept["mse"].count == 60
    assert any(f"{expected} cannot meet the budgets" in note and "not reliable" in note for note in found.notes)


def test_resamples_without_a_baseline_are_counted() -> None:
    """A single point needs its mean within the budget; a selection takes the cheaper of both for each image."""
    rng = np.random.default_rng(4)
    arrays = {"bpp": rng.uniform(0.2, 0.8, (15, 2)), "mse": rng.uniform(10, 20, (15, 2))}
    budget = float(arrays["bpp"].mean(axis=0).min() + 0.001)
    found = bootstrap(solve_problem(stated(arrays, at_most={"bpp": budget})), 50)
    means = np.array([arrays["bpp"][resample(0, b, 15)].mean(axis=0) for b in range(50)])
    least = np.array([arrays["bpp"][resample(0, b, 15)].min(axis=1).mean() for b in range(50)])
    expected = int(((means.min(axis=1) > budget) & (least <= budget)).sum())
    assert expected > 5
    single = found.gains[0]
    assert (single.without, single.absolute.count) == (expected, 50 - found.infeasible - expected)
    assert not single.absolute.reliable
    assert any(
        f"{expected} of {50 - found.infeasible} solved resamples have no best single point" in n for n in found.notes
    )


def test_a_group_that_no_resampled_image_is_in_is_dropped_and_counted() -> None:
    problem = stated(draw(5, 6), at_most={"bpp": 0.6}, group_at_most={"bpp": 0.5}, groups=["p"] * 5 + ["q"])
    found = bootstrap(solve_problem(problem), 40)
    expected = sum(5 not in resample(0, b, 6) for b in range(40))
    assert found.dropped == {"bpp <= 0.5 in 'q'": expected}
    assert any("hold no image that bpp <= 0.5 in 'q' is about" in note for note in found.notes)


def test_columns_that_are_not_finite_everywhere_have_no_reliable_interval() -> None:
    arrays = draw(1, 8)
    arrays["odd"] = np.full((8, 4), np.nan)
    arrays["odd"][1:] = 1.0
    found = bootstrap(solve_problem(stated(arrays)), 30)
    assert not found.averages["odd"].reliable
    assert found.averages["odd"].value is not None and math.isnan(found.averages["odd"].value)
    text = json.dumps(found.to_dict(), allow_nan=False)
    assert json.loads(text)["averages"]["odd"]["value_is"] == "missing"


def test_a_single_image_spreads_nothing_and_says_so() -> None:
    found = bootstrap(solve_problem(stated(draw(3, 1), at_most={"bpp": 5.0})), 5)
    assert found.objective.percentile == Interval(found.objective.mean, found.objective.mean)
    assert any("too narrow" in note for note in found.notes)
    json.dumps(found.to_dict(), allow_nan=False)


def test_without_a_selection_there_is_nothing_to_resample() -> None:
    with pytest.raises(InfeasibleError):
        bootstrap(solve_problem(stated(draw(0, 5), at_most={"bpp": 0.001})))


@pytest.mark.parametrize(
    "options",
    [{"resamples": 1}, {"resamples": 2.5}, {"seed": -1}, {"confidence": 1.0}, {"confidence": True}],
)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(SpecError):
        bootstrap(solve_problem(stated(draw(0, 5))), **options)


def test_limits_on_the_number_of_points_hold_in_every_resample() -> None:
    found = bootstrap(solve_problem(stated(draw(8, 8), max_points=1)), 15)
    for one in found.gains[:1]:
        assert one.absolute.mean == pytest.approx(0, abs=1e-9)


def test_kept_averages_hold_the_true_mean_about_as_often_as_they_say() -> None:
    """250 tables of 60 images from a known distribution; the choice is of one point, so that its mean is known."""
    truth = float(draw(999, 400_000)["mse"][:, 1].mean())
    hits = {"percentile": 0, "bca": 0}
    for table in range(250):
        problem = Problem.from_arrays({"mse": draw([1, table], 60)["mse"]}, minimize="mse")
        kept = Kept(problem, np.ones(60, dtype=np.int64))
        means = np.array([kept.averages(resample(table, b, 60))[0] for b in range(200)])
        value = float(problem.objective.average(np.ones(60, dtype=np.int64)))
        for name, interval in (
            ("percentile", percentile_interval(means, 0.9)),
            ("bca", bca_interval(means, value, kept.slope(0), 0.9)),
        ):
            assert interval is not None
            hits[name] += truth in interval
    # 90 % nominal; a little less is usual for means of few and skewed numbers. The standard deviation is 1.9 %.
    assert 0.82 <= hits["percentile"] / 250 <= 0.96
    assert 0.82 <= hits["bca"] / 250 <= 0.96


@pytest.mark.slow
def test_resamples_that_are_solved_again_hold_the_true_optimum_about_as_often_as_they_say() -> None:
    """60 tables of 80 images; the truth is the optimum for 300,000 images of the same distribution."""
    truth = solve_problem(stated(draw(999, 300_000)), gap=1e-5).objective
    assert truth is not None
    hits = 0
    for table in range(60):
        found = bootstrap(solve_problem(stated(draw([2, table], 80)), gap=1e-6), 80, seed=table, confidence=0.9)
        assert found.objective.percentile is not None
        hits += truth in found.objective.percentile
    assert 0.76 <= hits / 60 <= 0.99


# --- holdout ---


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
