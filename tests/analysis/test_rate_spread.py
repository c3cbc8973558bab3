"""Rates of images against a target: Table I's columns, and a model chosen for each image."""

from __future__ import annotations

import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdp.analysis.rate_spread import nearest_models, rate_summary
from rdp.errors import TableError

RATES = st.floats(0.01, 8.0)


@given(st.lists(RATES, min_size=1, max_size=40), RATES, st.floats(0.01, 0.9))
def test_a_summary_is_what_the_statistics_module_says(rates: list[float], target: float, tolerance: float) -> None:
    summary = rate_summary(rates, target, tolerance)
    assert summary.mean == pytest.approx(statistics.fmean(rates))
    assert summary.std == pytest.approx(statistics.pstdev(rates), abs=1e-9)
    assert (summary.lowest, summary.highest) == (min(rates), max(rates))
    assert summary.within * len(rates) == pytest.approx(sum(abs(r - target) <= tolerance * target for r in rates))


def test_the_edge_of_the_tolerance_is_within() -> None:
    summary = rate_summary([0.5, 1.5, 1.6, 1.0], target=1.0, tolerance=0.5)
    assert summary.within == 0.75
    assert summary.count == 4


@given(st.integers(1, 12), st.integers(1, 6), RATES, st.randoms(use_true_random=False))
def test_no_other_model_is_nearer_the_target(images: int, models: int, target: float, random: object) -> None:
    rates = np.array([[random.uniform(0.01, 8) for _ in range(models)] for _ in range(images)])  # type: ignore[attr-defined]
    nearest = nearest_models(rates, target)
    for row, place, rate in zip(rates, nearest.choice, nearest.bpp, strict=True):
        assert row[place] == rate
        assert abs(rate - target) == pytest.approx(min(abs(other - target) for other in row))
    assert nearest.summary == rate_summary(nearest.bpp, target)
    assert nearest.models == len(set(nearest.choice.tolist()))


def test_choosing_brings_more_images_near_the_target_than_any_one_model(rng: np.random.Generator) -> None:
    steps = np.geomspace(0.25, 4, 8)
    rates = 0.25 * rng.lognormal(0, 0.5, (24, 1)) * steps
    chosen = nearest_models(rates, 0.25).summary.within
    assert chosen > max(rate_summary(column, 0.25).within for column in rates.T)


def test_of_two_models_equally_near_the_cheaper_one_is_taken() -> None:
    nearest = nearest_models([[1.1, 0.9, 0.9], [0.9, 1.1, 2.0]], 1.0)
    assert nearest.choice.tolist() == [1, 0]


@pytest.mark.parametrize("rates", [[], [[0.1], [0.2, 0.3]], [0.1, float("nan")], [0.0], ["much"], [[0.1]]])
def test_rates_that_are_none_are_refused(rates: list[object]) -> None:
    with pytest.raises(TableError):
        rate_summary(rates, 0.25)


@pytest.mark.parametrize(("target", "tolerance"), [(0, 0.15), (float("inf"), 0.15), (0.25, 0)])
def test_a_target_that_is_none_is_refused(target: float, tolerance: float) -> None:
    with pytest.raises(TableError, match="above 0"):
        nearest_models([[0.1, 0.2]], target, tolerance)
