"""Bjontegaard deltas against another implementation, closed forms, and curves that are none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import PchipInterpolator

from rdp.analysis import Bjontegaard, BjontegaardError, bd_metric, bd_rate

RATE = np.array([0.1, 0.2, 0.4, 0.8, 1.6])
PSNR = np.array([28.0, 30.5, 33.1, 36.0, 39.2])


def rising(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """A curve of so many points: rate and metric rise together."""
    rate = 0.05 * np.cumprod(rng.uniform(1.2, 2.0, count))
    metric = 26 + 5 * np.log2(rate / 0.05) ** rng.uniform(0.8, 1.1) + np.cumsum(rng.uniform(0, 0.4, count))
    return rate, metric


@pytest.mark.parametrize("seed", range(40))
def test_both_deltas_are_those_of_the_bjontegaard_package(seed: int) -> None:
    package = pytest.importorskip("bjontegaard")
    rng = np.random.default_rng(seed)
    anchor, test = rising(rng, int(rng.integers(4, 12))), rising(rng, int(rng.integers(4, 12)))
    options = {"method": "pchip", "require_matching_points": False, "min_overlap": 0}
    expected_rate = package.bd_rate(*anchor, *test, **options)
    expected_metric = package.bd_psnr(*anchor, *test, **options)
    assert bd_rate(*anchor, *test).value == pytest.approx(expected_rate, rel=1e-9, abs=1e-9)
    assert bd_metric(*anchor, *test).value == pytest.approx(expected_metric, rel=1e-9, abs=1e-9)


def test_a_tenth_less_rate_at_every_quality_is_minus_ten_percent() -> None:
    assert bd_rate(RATE, PSNR, 0.9 * RATE, PSNR).value == pytest.approx(-10.0, abs=1e-9)


def test_one_decibel_more_at_every_rate_is_one_decibel() -> None:
    result = bd_metric(RATE, PSNR, RATE, PSNR + 1.0)
    assert result.value == pytest.approx(1.0, abs=1e-12)
    assert result.interval == pytest.approx((0.1, 1.6))
    assert (result.overlap, result.kind) == (1.0, "metric")


def test_a_curve_against_itself_is_zero() -> None:
    assert bd_rate(RATE, PSNR, RATE, PSNR).value == 0
    assert bd_metric(RATE, PSNR, RATE, PSNR).value == 0


@given(st.integers(0, 10_000))
def test_there_and_back_is_no_change(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rising(rng, 6), rising(rng, 5)
    there, back = bd_rate(*a, *b), bd_rate(*b, *a)
    assert (1 + there.value / 100) * (1 + back.value / 100) == pytest.approx(1.0, abs=1e-9)
    assert there.interval == back.interval
    assert bd_metric(*a, *b).value == pytest.approx(-bd_metric(*b, *a).value, abs=1e-9)


@given(st.permutations(range(5)), st.permutations(range(5)))
def test_the_order_of_the_points_does_not_matter(first: list[int], second: list[int]) -> None:
    test = (0.8 * RATE, PSNR - 0.3)
    shuffled = bd_rate(RATE[first], PSNR[first], test[0][second], test[1][second])
    assert shuffled == bd_rate(RATE, PSNR, *test)


def test_a_metric_where_lower_is_better_is_negated_first() -> None:
    lpips, better = 0.4 - 0.05 * np.log2(RATE / 0.1), 0.35 - 0.05 * np.log2(RATE / 0.1)
    result = bd_rate(RATE, lpips, RATE, better, lower_is_better=True)
    by_hand = bd_rate(RATE, -lpips, RATE, -better)
    assert result.value == by_hand.value < 0
    assert result.negated and not by_hand.negated
    assert result.interval == tuple(-end for end in reversed(by_hand.interval))
    assert bd_metric(RATE, lpips, RATE, better, lower_is_better=True).value == pytest.approx(0.05)


def test_points_and_overlap_are_reported() -> None:
    result = bd_rate(RATE, PSNR, RATE[:4] * 1.1, PSNR[:4] + 1.0)
    assert (result.anchor_points, result.test_points) == (5, 4)
    assert result.interval == (29.0, 37.0)
    assert result.overlap == pytest.approx((37.0 - 29.0) / (39.2 - 28.0))
    assert result.warnings == ()


def test_nothing_is_extrapolated() -> None:
    """The delta is the plain mean of the difference on a fine grid of what both cover."""
    test = (1.3 * RATE[1:], PSNR[1:] + np.array([0.2, 0.1, -0.3, 0.4]))
    result = bd_rate(RATE, PSNR, *test)
    grid = np.linspace(max(PSNR[0], test[1][0]), min(PSNR[-1], test[1][-1]), 200_001)
    middle = (grid[1:] + grid[:-1]) / 2
    difference = PchipInterpolator(test[1], np.log10(test[0]))(middle) - PchipInterpolator(PSNR, np.log10(RATE))(middle)
    assert result.value == pytest.approx(100 * (10 ** difference.mean() - 1), abs=1e-6)


def test_only_the_interval_asked_for_counts() -> None:
    # Half the rate above 36 dB, and the same below 33.1: PCHIP bends between the two only.
    test = RATE * np.where(PSNR >= 36.0, 0.5, 1.0)
    below = bd_rate(RATE, PSNR, test, PSNR, interval=(28.0, 30.5))
    assert below.value == pytest.approx(0, abs=1e-9)
    assert below.interval == (28.0, 30.5)
    assert below.overlap == pytest.approx(2.5 / 11.2)
    assert bd_rate(RATE, PSNR, test, PSNR).value < -10


@given(st.integers(0, 10_000), st.floats(0.1, 0.9))
def test_the_parts_of_an_interval_make_the_whole(seed: int, part: float) -> None:
    rng = np.random.default_rng(seed)
    a, b = rising(rng, 6), rising(rng, 5)
    whole = bd_rate(*a, *b)
    low, high = whole.interval
    middle = low + part * (high - low)
    parts = [bd_rate(*a, *b, interval=ends) for ends in ((-math.inf, middle), (middle, math.inf))]
    assert [one.interval for one in parts] == [(low, middle), (middle, high)]
    share = (middle - low) / (high - low)
    logs = [math.log1p(one.value / 100) for one in parts]
    assert share * logs[0] + (1 - share) * logs[1] == pytest.approx(math.log1p(whole.value / 100), abs=1e-9)
    assert sum(one.overlap for one in parts) == pytest.approx(whole.overlap)


def test_an_interval_is_cut_to_what_both_curves_cover() -> None:
    wide = bd_rate(RATE, PSNR, 0.9 * RATE, PSNR + 1, interval=(20.0, 33.0))
    assert wide.interval == (29.0, 33.0)
    assert bd_rate(RATE, PSNR, 0.9 * RATE, PSNR + 1, interval=(0.0, 99.0)) == bd_rate(RATE, PSNR, 0.9 * RATE, PSNR + 1)


def test_an_interval_of_a_metric_where_lower_is_better_is_in_its_own_numbers() -> None:
    lpips = 0.4 - 0.05 * np.log2(RATE / 0.1)
    found = bd_rate(RATE, lpips, 0.8 * RATE, lpips, lower_is_better=True, interval=(0.25, 0.9))
    assert found.interval == pytest.approx((0.25, 0.4))
    assert found.value == pytest.approx(-20)


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        ((40.0, 50.0), "from 28 to 39.2, and nothing of that lies in the interval from 40 to 50"),
        ((39.2, 50.0), "nothing is extrapolated"),
        ((33.0, 30.0), "lower end first"),
        ((math.nan, 30.0), "lower end first"),
    ],
)
def test_an_interval_that_holds_nothing_is_refused(interval: tuple[float, float], said: str) -> None:
    with pytest.raises(BjontegaardError, match=said):
        bd_rate(RATE, PSNR, 0.9 * RATE, PSNR, interval=interval)


def test_points_that_are_not_monotone_are_listed_and_kept() -> None:
    metric = np.array([28.0, 31.0, 30.5, 36.0, 35.0])
    result = bd_rate(RATE, metric, RATE, PSNR, names=("gan", "hyper"))
    assert result.anchor_not_monotone == (2, 4)
    assert result.anchor_points == 5
    assert "gan is not monotone: 2 of 5 points" in result.warnings[0]
    assert "30.5 at rate 0.4" in result.warnings[0]
    order = np.argsort(metric)
    low, high = 28.0, 36.0
    anchor = PchipInterpolator(metric[order], np.log10(RATE[order])).integrate(low, high)
    test = PchipInterpolator(PSNR, np.log10(RATE)).integrate(low, high)
    assert result.value == pytest.approx(100 * (10 ** ((test - anchor) / (high - low)) - 1), rel=1e-12)


def test_the_listed_positions_are_those_of_the_given_arrays() -> None:
    order = [4, 2, 0, 3, 1]
    metric = np.array([28.0, 31.0, 30.5, 36.0, 39.0])
    result = bd_metric(RATE, PSNR, RATE[order], metric[order])
    assert result.test_not_monotone == (1,)
    assert result.anchor_not_monotone == ()


def test_one_metric_at_two_rates_has_a_delta_over_the_rate_only() -> None:
    metric = np.array([28.0, 31.0, 31.0, 36.0, 39.0])
    assert math.isfinite(bd_metric(RATE, metric, RATE, PSNR).value)
    with pytest.raises(BjontegaardError, match="anchor has two points with the metric 31 and different rates"):
        bd_rate(RATE, metric, RATE, PSNR)


def test_one_rate_with_two_metrics_has_a_delta_over_the_metric_only() -> None:
    rate = np.array([0.1, 0.2, 0.2, 0.8, 1.6])
    assert math.isfinite(bd_rate(rate, PSNR, RATE, PSNR).value)
    with pytest.raises(BjontegaardError, match="test has two points with the rate 0.2 and different metrics"):
        bd_metric(RATE, PSNR, rate, PSNR)


def test_a_point_that_is_given_twice_counts_once() -> None:
    rate, metric = np.append(RATE, 0.4), np.append(PSNR, 33.1)
    result = bd_rate(rate, metric, RATE * 0.9, PSNR)
    assert result.anchor_points == 5
    assert result.anchor_not_monotone == ()
    assert result.value == pytest.approx(-10.0)
    with pytest.raises(BjontegaardError, match="anchor has 3 different points; .* at least 4"):
        bd_rate(rate[[0, 1, 2, 2]], metric[[0, 1, 2, 2]], RATE, PSNR)


@pytest.mark.parametrize(
    ("rate", "metric", "said"),
    [
        (RATE[:3], PSNR[:3], "test has 3 different points"),
        ([], [], "test has 0 different points"),
        (RATE, PSNR[:4], "5 rates and 4 metrics"),
        (np.append(RATE[:4], 0.0), PSNR, "the rate 0 has no logarithm"),
        (np.append(RATE[:4], -1.0), PSNR, "the rate -1 has no logarithm"),
        (RATE, np.append(PSNR[:4], np.inf), "the metric of point 4 is inf"),
        (RATE, np.append(PSNR[:4], np.nan), "the metric of point 4 is nan"),
        ([RATE], [PSNR], "must be one row of numbers"),
        (["a"] * 5, PSNR, "the rates are not numbers"),
    ],
)
def test_what_is_no_curve_is_refused(rate: object, metric: object, said: str) -> None:
    with pytest.raises(BjontegaardError, match=said):
        bd_rate(RATE, PSNR, rate, metric)  # type: ignore[arg-type]


def test_curves_without_overlap_are_refused() -> None:
    with pytest.raises(BjontegaardError, match="do not overlap in the metric"):
        bd_rate(RATE, PSNR, RATE, PSNR + 20)
    with pytest.raises(BjontegaardError, match="do not overlap in the rate"):
        bd_metric(RATE, PSNR, RATE * 100, PSNR)
    # Curves that touch in one point have nothing to integrate over.
    with pytest.raises(BjontegaardError, match="do not overlap"):
        bd_metric(RATE, PSNR, RATE * 16, PSNR)


def test_the_result_cannot_be_changed() -> None:
    result = bd_rate(RATE, PSNR, RATE, PSNR)
    assert isinstance(result, Bjontegaard)
    with pytest.raises(AttributeError):
        result.value = 1.0  # type: ignore[misc]
