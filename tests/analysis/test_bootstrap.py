"""The bootstrap over images against SciPy's, and the properties that make a comparison a paired one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from rdp.analysis.bootstrap import bootstrap_difference, bootstrap_images, resample
from rdp.errors import SpecError


def test_the_interval_of_a_mean_is_scipys_up_to_the_draws(rng) -> None:
    values = rng.gamma(2.0, 1.0, 60)
    ours = bootstrap_images(lambda drawn: values[drawn].mean(), 60, resamples=4000)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=1)
    assert ours.value == pytest.approx(values.mean())
    assert ours.deviation == pytest.approx(theirs.standard_error, rel=0.06)
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.25 * ours.deviation)


def test_what_both_models_share_cancels_in_a_paired_difference(rng) -> None:
    hard = rng.normal(0, 100, 30)
    first, second = hard + 1.0, hard
    found = bootstrap_difference(lambda d: first[d].mean(), lambda d: second[d].mean(), 30, resamples=200)
    assert (found.low, found.high) == pytest.approx((1.0, 1.0))
    assert found.excludes_zero


def test_the_same_seed_gives_the_same_interval_and_another_seed_another(rng) -> None:
    values = rng.normal(size=12)
    one, same, other = (bootstrap_images(lambda d: values[d].mean(), 12, resamples=50, seed=s) for s in (4, 4, 5))
    assert one == same
    assert one.low != other.low


def test_a_resample_does_not_depend_on_how_many_there_are() -> None:
    seen = []
    bootstrap_images(lambda drawn: seen.append(tuple(drawn)) or 0.0, 9, resamples=3, seed=2)
    assert seen[:3] == [tuple(resample(2, number, 9)) for number in range(3)]


def test_resamples_without_a_number_are_counted_and_make_the_interval_unreliable(rng) -> None:
    values = rng.normal(size=10)
    found = bootstrap_images(lambda d: math.nan if 0 in d else values[d].mean(), 10, resamples=100)
    without = sum(0 in resample(0, number, 10) for number in range(100))
    assert found.undefined == without > 0
    assert not found.reliable
    assert math.isfinite(found.low)


def test_an_interval_of_nothing_has_no_ends() -> None:
    found = bootstrap_images(lambda _: math.nan, 3, resamples=5)
    assert math.isnan(found.low)
    assert not found.excludes_zero


@pytest.mark.parametrize(
    "options", [{"images": 0}, {"resamples": 1}, {"seed": -1}, {"confidence": 1.0}, {"resamples": 10.5}]
)
def test_options_out_of_range_are_refused(options) -> None:
    with pytest.raises(SpecError, match="must be a"):
        bootstrap_images(lambda _: 0.0, **{"images": 3, **options})
