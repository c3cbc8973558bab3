"""Where the points of an automatic sweep go, on curves that are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from rdp.selection.frontiers.auto import Sample, next_rooms


def placed(
    cost: Callable[[float], float], slope: Callable[[float], float], low: float, high: float, n: int
) -> list[float]:
    """The rooms that are placed on a known curve."""
    rooms = [low, high]
    while len(rooms) < n:
        new = next_rooms([Sample(r, cost(r), slope(r)) for r in rooms], n - len(rooms))
        assert new
        rooms += new
    return sorted(rooms)


def mean_error(rooms: Sequence[float], cost: Callable[[float], float]) -> float:
    """How far straight lines between the points are from the curve, on average."""
    grid = np.linspace(min(rooms), max(rooms), 20_001)
    truth = np.array([cost(x) for x in grid])
    return float(np.abs(np.interp(grid, rooms, [cost(r) for r in rooms]) - truth).mean())


@pytest.mark.parametrize("n", [5, 9, 17])
def test_placed_points_follow_a_known_curve_better_than_even_ones(n: int) -> None:
    def cost(x: float) -> float:
        return 1 / x

    rooms = placed(cost, lambda x: -1 / x**2, 0.05, 2.0, n)
    assert len(rooms) == n == len(set(rooms))
    assert mean_error(rooms, cost) < 0.35 * mean_error(np.linspace(0.05, 2.0, n).tolist(), cost)


def test_a_kink_is_found_at_once() -> None:
    def cost(x: float) -> float:
        return max(10 - 20 * x, 4 - 2 * x)

    assert next_rooms([Sample(0, 10, -20), Sample(1, 2, -2)], 1) == [pytest.approx(1 / 3)]
    assert mean_error(placed(cost, lambda x: -20.0 if x < 1 / 3 else -2.0, 0, 1, 3), cost) < 1e-3


def test_a_straight_curve_is_halved() -> None:
    samples = [Sample(0, 1, -1), Sample(0.5, 0.5, -1), Sample(1, 0, -1)]
    assert next_rooms(samples, 5) == [0.25, 0.75]
    assert next_rooms(samples, 1) == [0.25]


def test_a_slope_that_is_not_known_counts_as_upright() -> None:
    (room,) = next_rooms([Sample(0, 1, None), Sample(1, 0, -0.1)], 1)
    assert 0 < room < 0.5


def test_there_is_no_place_without_two_different_samples() -> None:
    assert next_rooms([], 3) == []
    assert next_rooms([Sample(0, 1, -1)], 3) == []
    assert next_rooms([Sample(0, 1, -1), Sample(0, 1, -1)], 3) == []
    assert next_rooms([Sample(0, 1, -1), Sample(1, 0, 0)], 0) == []
