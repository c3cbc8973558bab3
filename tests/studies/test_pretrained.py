"""The numbers of the studies of the shipped weights, on curves and samples whose answer is known."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from rdp.analysis import bd_rate
from rdp.errors import TableError

RATES = np.array([0.1, 0.2, 0.4, 0.8, 1.6])
PSNR = np.array([26.0, 28.5, 31.0, 34.0, 36.5])


@pytest.fixture
def common(script):
    return script("common")


def frame_of(points: dict[str, dict[str, list[float]]]) -> pd.DataFrame:
    """Rows of a run: for each point columns of values, one an image."""
    rows = []
    for point, columns in points.items():
        for number in range(len(next(iter(columns.values())))):
            row = {"dataset": "d", "image": f"{number}.png", "point": point, "status": "ok"}
            rows.append(row | {name: values[number] for name, values in columns.items()})
    return pd.DataFrame(rows)


# ---- which networks


def test_the_study_lists_the_networks_that_ship(common) -> None:
    path = common.HERE / "models.toml"
    counts = {"hyperprior": 6, "hific": 6, "rate_targeted": 9, "shrinkage": 2, "factorized": 15}
    for role, count in counts.items():
        specs = [model.spec for model in common.read_models(path, role)]
        assert len(set(specs)) == len(specs) == count, role


def test_lists_of_labels_are_networks_in_all_combinations(common, tmp_path) -> None:
    path = tmp_path / "models.toml"
    path.write_text('[[a]]\nx = ["p", "q"]\ny = [1, 2]\nz = 3\npoint = "webp:quality={y}{z}"\n')
    models = common.read_models(path, "a")
    assert [(m["x"], m["y"], m.spec) for m in models] == [
        ("p", 1, "webp:quality=13"), ("p", 2, "webp:quality=23"),
        ("q", 1, "webp:quality=13"), ("q", 2, "webp:quality=23"),
    ]  # fmt: skip
    assert common.read_models(path, "nothing") == []


def test_networks_that_are_not_here_are_left_out_and_named(common, tmp_path, capsys) -> None:
    path = tmp_path / "models.toml"
    path.write_text('[[a]]\npoint = "checkpoint:path={folder}/gone.safetensors"\n')
    assert common.present_models(path, "a") == []
    assert "gone.safetensors" in capsys.readouterr().out


# ---- curves


def test_a_straight_line_over_the_logarithm_is_interpolated_exactly(common) -> None:
    curve = common.Curve.through(RATES[::-1], 30 + 2 * np.log(RATES[::-1]))
    assert curve.at(0.3) == pytest.approx(30 + 2 * math.log(0.3))


def test_nothing_is_extrapolated(common) -> None:
    curve = common.Curve.through(RATES, PSNR)
    assert math.isnan(curve.at(0.09))
    assert math.isnan(curve.at(1.7))


def test_a_rate_difference_over_everything_is_the_bjontegaard_rate(common, rng) -> None:
    other = RATES * rng.uniform(0.6, 1.1, 5), PSNR + rng.normal(0, 0.3, 5)
    ours = common.rate_difference(common.Curve.through(RATES, PSNR), common.Curve.through(*other))
    theirs = bd_rate(RATES, PSNR, *other)
    assert ours.percent == pytest.approx(theirs.value, rel=1e-9)
    assert (ours.low, ours.high) == pytest.approx(theirs.interval)


def test_half_the_rate_is_half_the_rate_over_any_interval(common) -> None:
    anchor, test = common.Curve.through(RATES, PSNR), common.Curve.through(RATES / 2, PSNR)
    found = common.rate_difference(anchor, test, 27.0, 35.0)
    assert found.percent == pytest.approx(-50)
    assert (found.low, found.high) == (27.0, 35.0)


def test_only_the_interval_asked_for_counts(common) -> None:
    # The test curve saves rate above 31 dB only.
    saved = np.where(PSNR > 31, 0.5, 1.0)
    anchor, test = common.Curve.through(RATES, PSNR), common.Curve.through(RATES * saved, PSNR)
    assert common.rate_difference(anchor, test, 26.0, 28.5).percent == pytest.approx(0, abs=1e-9)
    assert common.rate_difference(anchor, test, 34.0, 36.0).percent == pytest.approx(-50, abs=5)


@pytest.mark.parametrize(("count", "low"), [(3, 27.0), (5, 40.0)])
def test_too_few_points_or_no_overlap_give_no_number(common, count, low) -> None:
    anchor = common.Curve.through(RATES, PSNR)
    found = common.rate_difference(anchor, common.Curve.through(RATES[:count], PSNR[:count]), low, 45.0)
    assert math.isnan(found.percent)


def test_points_of_different_images_are_not_compared(common) -> None:
    frame = frame_of({"a": {"bpp": [1.0, 2.0]}, "b": {"bpp": [1.0]}})
    with pytest.raises(TableError, match="different images"):
        common.values_of(frame, ["a", "b"], "bpp")
    with pytest.raises(TableError, match="no rows of c"):
        common.mean_points(frame, ["c"], ["bpp"])


# ---- differences inside the spread


def test_the_interval_of_a_difference_is_welchs(common) -> None:
    a, b = [1.0, 1.2, 1.1], [1.3, 1.9, 1.6]
    found = common.welch(a, b)
    theirs = stats.ttest_ind(b, a, equal_var=False).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))
    assert found.value == pytest.approx(0.5)


def test_one_seed_decides_nothing(common) -> None:
    assert common.welch([1.0], [2.0, 2.1]).undecided


def test_seeds_that_all_agree_decide(common) -> None:
    assert not common.welch([1.0, 1.0], [2.0, 2.0]).undecided
    assert common.welch([1.0, 1.0], [1.0, 1.0]).undecided


@pytest.fixture
def seeds(common):
    """Curves of three seeds of an activation, whose rates are those of GDN times a factor."""
    return lambda factor, spread: [
        common.Curve.through(RATES * factor * math.exp(spread * k), PSNR) for k in (-1, 0, 1)
    ]


def test_activations_differ_by_their_bjontegaard_rate_where_seeds_agree(script, seeds) -> None:
    table = script("factorized").bd_table({"gdn": seeds(1.0, 0.01), "relu": seeds(1.2, 0.01), "1dn": seeds(0.9, 0.01)})
    assert list(table.bd_rate_percent) == pytest.approx([0, 20, -10], abs=1e-6)
    assert list(table.verdict) == ["reference", "worse", "better"]
    assert table.low[1] < 20 < table.high[1]


def test_the_bjontegaard_rate_of_seeds_is_the_mean_of_those_of_their_pairs(script, common, rng) -> None:
    curves = {
        name: [common.Curve.through(RATES * rng.uniform(0.8, 1.2), PSNR + rng.normal(0, 0.2, 5)) for _ in range(2)]
        for name in ("gdn", "relu")
    }
    table = script("factorized").bd_table(curves)
    low, high = table.from_db[0], table.to_db[0]
    pairs = [common.rate_difference(a, b, low, high) for a in curves["gdn"] for b in curves["relu"]]
    assert {(pair.low, pair.high) for pair in pairs} == {(low, high)}
    mean = sum(math.log1p(pair.percent / 100) for pair in pairs) / 4
    assert table.bd_rate_percent[1] == pytest.approx(100 * math.expm1(mean), rel=1e-9)


def test_a_difference_inside_the_spread_of_seeds_is_undecided(script, seeds) -> None:
    table = script("factorized").bd_table({"gdn": seeds(1.0, 0.1), "relu": seeds(1.05, 0.1)})
    assert table.verdict[1] == "undecided"
    assert table.least_of_seeds[1] < table.bd_rate_percent[1] < table.most_of_seeds[1]


def test_costs_are_compared_with_those_of_gdn(script) -> None:
    table = script("factorized").cost_table({"gdn": [1.0, 1.01, 0.99], "a": [1.2, 1.21, 1.19], "b": [1.0, 1.1, 0.9]})
    assert list(table.verdict) == ["reference", "worse", "undecided"]
    assert table.difference[1] == pytest.approx(0.2)


# ---- HiFiC


def test_lpips_of_half_the_curve_is_a_reduction_by_half(script, rng) -> None:
    hific = script("hific")
    rates = np.exp(rng.normal(0, 0.3, (6, 1))) * RATES
    lpips = 0.5 - 0.1 * np.log(RATES) + np.zeros((6, 5))
    own = rates[:, 2]
    half = np.full(6, (0.5 - 0.1 * math.log(float(own.mean()))) / 2)
    # The curve is a straight line over the logarithm of the mean rates, which are RATES times one factor.
    shift = -0.1 * math.log(float(rates.mean(0)[0] / RATES[0]))
    other = hific.Interpolated(rates, lpips + shift)
    assert hific.reduction(own, half, other)(np.arange(6)) == pytest.approx(50)


def test_the_distance_of_originals_to_themselves_is_zero_for_any_draw(script, picture) -> None:
    hific = script("hific")
    images = [picture(32, 40) for _ in range(3)]
    levels = hific.Distances(images, 8, 0).to(images)
    assert len(levels) == 2
    assert hific.distance(levels)(np.array([0, 0, 2])) == pytest.approx(0, abs=1e-12)


def test_networks_of_different_rates_have_no_verdict(script) -> None:
    from rdp.analysis.bootstrap import bootstrap_images

    hific = script("hific")
    sure = bootstrap_images(lambda _: -1.0, 3, resamples=5)
    unsure = bootstrap_images(lambda drawn: float(drawn[0]) - 0.5, 3, resamples=50)
    assert [hific.verdict(sure, percent) for percent in (0, -5.1, 5.1)] == ["better", *["not at equal rate"] * 2]
    assert hific.verdict(unsure, 0) == "undecided"


def test_what_the_rate_could_explain_is_undecided(script) -> None:
    from rdp.analysis.bootstrap import bootstrap_images

    hific = script("hific")
    smaller, larger = (bootstrap_images(lambda _, value=value: value, 3, resamples=5) for value in (-1.0, 1.0))
    twins = (-4.9, 0.0, 4.9)  # by how much the twin's rate is above the adversarial network's
    assert [hific.verdict(smaller, percent) for percent in twins] == ["undecided", "better", "better"]
    assert [hific.verdict(larger, percent) for percent in twins] == ["worse", "worse", "undecided"]


def test_the_tables_say_which_lpips_was_the_teacher(script) -> None:
    hific = script("hific")
    config = (script("common").HERE / "train" / "hific.yaml").read_text(encoding="utf-8")
    assert "backbone: squeeze" in config
    assert [hific.in_the_loss(name) for name in ("lpips_squeeze", "lpips_alex")] == ["yes: the teacher", "no"]
    frame = frame_of({
        "a": {"bpp": [0.1, 0.2], "lpips_squeeze": [0.5, 0.4], "psnr": [30.0, 31.0], "ms_ssim": [0.9, 0.9]},
        "b": {"bpp": [0.4, 0.5], "lpips_squeeze": [0.3, 0.2], "psnr": [33.0, 34.0], "ms_ssim": [0.9, 0.9]},
    })  # fmt: skip
    options = argparse.Namespace(resamples=5, seed=0)

    class Point:
        labels: Mapping[str, str] = {"rate": "lo"}

        def at(self) -> str:
            return "a"

    table = hific.lpips_table(frame, [Point()], ["a", "b"], "lpips_squeeze", options)
    assert list(table.in_the_loss) == ["yes: the teacher"]
    assert table.reduction_percent[0] == pytest.approx(0)


# ---- rate-targeted


def test_the_untargeted_network_has_the_wanted_mean_rate_and_lies_between_its_neighbours(script, rng) -> None:
    rates = np.sort(rng.uniform(0.05, 1.0, (24, 4)), axis=1)
    wanted = 0.7 * rates.mean(0)[1] + 0.3 * rates.mean(0)[2]
    found = script("rate_targeted").untargeted_rates(rates[:, [2, 0, 3, 1]], wanted)
    assert found.mean() == pytest.approx(wanted)
    assert (rates[:, 1] <= found).all()
    assert (found <= rates[:, 2]).all()


def test_the_untargeted_network_of_a_networks_own_rate_is_that_network(script, rng) -> None:
    rates = np.sort(rng.uniform(0.05, 1.0, (24, 3)), axis=1)
    for place in range(3):
        found = script("rate_targeted").untargeted_rates(rates, rates.mean(0)[place])
        np.testing.assert_allclose(found, rates[:, place], rtol=1e-9)


def test_a_rate_that_no_network_reaches_has_no_untargeted_one(script) -> None:
    untargeted = script("rate_targeted").untargeted_rates
    rates = np.array([[0.1, 0.2], [0.2, 0.4]])
    assert untargeted(rates, 0.31) is None
    assert untargeted(rates, 0.14) is None


def test_a_line_of_the_table_counts_images_within_the_tolerance(script, common) -> None:
    line = script("rate_targeted").line_of(
        0.2,
        "x",
        np.array([0.2, 0.231, 0.17, 0.1]),
        np.full(4, 30.0),
        np.full(4, 0.9),
        common.Curve.through(RATES, PSNR),
    )
    assert line["within_15_percent"] == 2
    assert line["psnr_difference_db"] == pytest.approx(30 - line["untargeted_psnr"])


# ---- shrinkage


def test_the_law_is_that_of_a_rounded_laplacian_variable(script) -> None:
    law = script("shrinkage").laplacian(6)
    edges = np.arange(-6, 6) + 0.5
    below = np.concatenate([[0], stats.laplace(scale=math.sqrt(0.5)).cdf(edges), [1]])
    np.testing.assert_allclose(law, np.diff(below), atol=1e-15)


def test_codes_of_that_law_have_no_divergence_and_empty_ones_that_of_a_zero(script, rng) -> None:
    divergence = script("shrinkage").divergence
    drawn = np.rint(rng.laplace(0, math.sqrt(0.5), 200_000)).astype(np.int64)
    assert divergence(drawn) == pytest.approx(0, abs=1e-3)
    assert divergence(np.zeros(50, np.int32)) == pytest.approx(-math.log(1 - math.exp(-math.sqrt(0.5))))
    assert divergence(np.array([10**6, -(10**6)])) < math.inf


def test_channels_that_are_never_used_count_in_one_histogram_and_not_in_the_other(script, rng) -> None:
    code = np.zeros((4, 100, 100), np.int64)
    code[0] = np.rint(rng.laplace(0, math.sqrt(0.5), (100, 100)))
    row = script("shrinkage").kl_row([code, code])
    assert (row["used_channels"], row["channels"]) == (1, 4)
    assert row["kl_used_channels"] < 0.01 < row["kl_pooled"]
    assert row["kl_channels"] == pytest.approx((3 * 0.6799 + row["kl_used_channels"]) / 4, abs=2e-3)


@pytest.mark.parametrize(("kind", "deviation"), [("laplace", 16), ("gaussian", 25), ("uniform", 73.9)])
def test_random_images_have_the_stated_deviation_and_follow_from_the_seed(script, kind, deviation) -> None:
    noise = script("shrinkage").noise
    image = noise(kind, 200, 0, 1)
    assert image.std() == pytest.approx(deviation, rel=0.01)
    assert image.mean() == pytest.approx(127.5, abs=0.7)
    assert (image == noise(kind, 200, 0, 1)).all()
    assert (image != noise(kind, 200, 0, 2)).any()


# ---- tables


def test_tables_round_by_column_and_leave_missing_numbers_empty(script) -> None:
    frame = pd.DataFrame({"name": ["a"], "count": [24], "bpp": [0.123456], "psnr": [math.nan], "good": [True]})
    assert script("output").markdown(frame, {"bpp": 4}).splitlines()[-1] == "| a | 24 | 0.1235 |  | True |"
