"""The bootstrap over images, against plain loops, scipy and known distributions; what the command line shows."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from rdp.cli.uncertainty import measure, read_options
from rdp.errors import InfeasibleError, SpecError
from rdp.selection import Problem, solve_problem
from rdp.selection.baselines import best_single_point, fair_mixture
from rdp.selection.sampling.bootstrap import bootstrap
from rdp.selection.sampling.intervals import Interval, bca_interval, percentile_interval
from rdp.selection.sampling.resampling import Kept, count_slopes, leave_one_out, resample


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


# --- what the command line shows ---


def test_what_was_asked_for_is_shown_in_columns_and_stands_in_the_document() -> None:
    problem = stated(draw(1, 24) | {"encode_s": np.ones((24, 4))})
    selection = solve_problem(problem)
    measured = measure(selection, bootstrap="30", holdout=True, seed="4")
    assert measured.bootstrap is not None and measured.holdout is not None
    text = measured.text()
    assert "bootstrap over 24 images, 30 resamples (seed 4)" in text
    assert "each resample solved again" in text and "the chosen points kept, only averaged again" in text
    assert "gain in mse over time-shared mixture" in text
    assert "prices chosen on 12 images, reported on 12 others; 40 random splits (seed 4)" in text
    assert "the price of not knowing these images: mse is worse by" in text
    assert "encode_s" not in text
    document = json.loads(measured.document())
    assert document["objective"]["average"] == selection.objective
    assert document["bootstrap"] == measured.bootstrap.to_dict()
    assert document["bootstrap"]["averages"]["encode_s"]["value"] == 1
    assert document["holdout"]["splits"] == 40
    assert any(note.startswith("bootstrap: 30 resamples place the ends only roughly") for note in measured.notes())


def test_nothing_is_measured_unless_it_is_asked_for_and_there_is_a_selection() -> None:
    assert measure(solve_problem(stated(draw(1, 5)))).to_dict() == {}
    nothing = measure(solve_problem(stated(draw(1, 5), at_most={"bpp": 0.001})), bootstrap="30", holdout=True)
    assert (nothing.text(), nothing.notes()) == ("", [])


@pytest.mark.parametrize(
    ("bootstrap_words", "seed", "message"),
    [("many", "0", "--bootstrap: 'many'"), ("1", "0", "--bootstrap: 1 is too few"), (None, "-1", "--seed: -1")],
)
def test_words_for_the_bootstrap_that_make_no_sense_are_refused(
    bootstrap_words: str | None, seed: str, message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        read_options(bootstrap_words, seed)
