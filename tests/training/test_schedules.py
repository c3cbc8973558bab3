"""The learning rate over a training: its ends, its corners, and numbers that are no schedule."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdp.training import Trapezoid


def test_the_rate_rises_stays_and_falls_on_straight_lines() -> None:
    schedule = Trapezoid(warmup=3, decay=0.4, last=0.1)
    factors = [schedule.factor(step, 20) for step in range(21)]
    assert factors[:4] == pytest.approx([0.25, 0.5, 0.75, 1])
    assert factors[4:13] == [1] * 9
    # 8 steps down, of which each takes an eighth of the way from 1 to 0.1.
    assert factors[12:] == pytest.approx([1 - 0.9 * k / 8 for k in range(9)])


@pytest.mark.parametrize("last", [0.0, 0.01, 0.5, 1.0])
def test_after_all_steps_the_rate_is_the_last_one_and_stays(last: float) -> None:
    schedule = Trapezoid(0, 0.5, last)
    assert [schedule.factor(step, 100) for step in (100, 101, 500)] == pytest.approx([last] * 3)
    assert schedule.factor(99, 100) == pytest.approx(last + (1 - last) / 50)
    assert schedule.factor(0, 100) == schedule.factor(50, 100) == 1


def test_without_a_way_down_the_rate_stays() -> None:
    assert [Trapezoid(0, 0.0, 0.1).factor(step, 10) for step in (0, 9, 10)] == [1, 1, 1]


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 20), st.integers(1, 400))
def test_no_step_of_the_way_down_is_larger_than_another(decay: float, last: float, warmup: int, steps: int) -> None:
    schedule = Trapezoid(warmup, decay, last)
    factors = [schedule.factor(step, steps) for step in range(warmup, max(steps, warmup) + 1)]
    falls = [before - after for before, after in pairwise(factors)]
    largest = (1 - last) / max(steps * decay, 1)
    assert all(-1e-12 <= fall <= largest + 1e-9 for fall in falls)
    assert all(last - 1e-12 <= factor <= 1 for factor in factors)


@pytest.mark.parametrize(
    "bad", [{"warmup": -1}, {"decay": 1.1}, {"last": -0.1}, {"last": 2.0}, {"decay": float("nan")}]
)
def test_numbers_that_are_no_schedule_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="a schedule has"):
        Trapezoid(**bad)  # type: ignore[arg-type]
