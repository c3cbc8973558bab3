"""Accurate sums against `math.fsum`."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rdp.selection.sums import FEW, accurate_sum

SIZES = (FEW + 1, 2 * FEW, 2 * FEW + 1, 10_001, 65_537)


@settings(deadline=None)
@given(arrays(np.float64, st.integers(0, 60), elements=st.floats(-1e100, 1e100)))
def test_few_numbers_are_summed_exactly(values: np.ndarray) -> None:
    assert accurate_sum(values) == math.fsum(values.tolist())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("spread", [0, 4, 12])
def test_many_numbers_of_one_sign_are_summed_to_the_last_digit(size: int, spread: int) -> None:
    rng = np.random.default_rng([size, spread])
    values = rng.random(size) * 10.0 ** rng.uniform(-spread, spread, size)
    exact = math.fsum(values.tolist())
    assert abs(accurate_sum(values) - exact) <= math.ulp(exact)


@pytest.mark.parametrize("size", SIZES)
def test_numbers_that_cancel_lose_no_more_than_twice_the_digits_would(size: int) -> None:
    rng = np.random.default_rng(size)
    half = rng.normal(0, 1, size) * 10.0 ** rng.uniform(0, 12, size)
    values = rng.permutation(np.concatenate([half, -half, [1e-3]]))
    total = float(np.abs(values).sum())
    assert abs(accurate_sum(values) - math.fsum(values.tolist())) <= 1e-3 * 2**-52 + size * total * 2.0**-104
    # A plain sum loses much more, so that this test can fail.
    assert abs(float(values.sum()) - 1e-3) > 1e-6


@pytest.mark.parametrize("seed", range(10))
def test_whole_numbers_are_summed_exactly(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(-(2**40), 2**40, int(rng.integers(3000, 9000)))
    assert accurate_sum(values.astype(np.float64)) == sum(values.tolist())


def test_any_shape_and_order_in_memory_will_do() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(-100, 100, (70, 90)).astype(float)
    expected = float(values.sum())
    for other in (values.T, values[::-1], np.asfortranarray(values), values[None, :, :]):
        assert accurate_sum(other) == expected
    assert accurate_sum(values[::2, ::3]) == float(values[::2, ::3].sum())
    assert accurate_sum(np.zeros(0)) == 0.0


def test_the_numbers_that_are_summed_stay_as_they_are() -> None:
    values = np.random.default_rng(1).random(10_000)
    before = values.copy()
    accurate_sum(values)
    assert np.array_equal(values, before)
