"""The cheapest pair of two lists against two loops."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rdp.selection.solver.join import Window, cheapest_pair
from rdp.selection.solver.states import Deviations, States, TooManyError


def states(rng: np.random.Generator, count: int, prices: np.ndarray, cuts: int, excess: float, whole: bool) -> States:
    """Sums of changes; the first is that of none. Costs go with usages and reduced costs as they do by the prices."""
    rows = len(prices)
    usage = rng.normal(0, 1, (rows, count)) * 10.0 ** rng.integers(-3, 3, (rows, 1))
    if whole:
        usage = np.round(usage)
    reduced = rng.exponential(1, count) - excess / 2
    usage[:, 0], reduced[0] = 0.0, 0.0
    nothing = Deviations(
        *(np.zeros(0, dtype=np.int64),) * 2, np.zeros(0), np.zeros((rows, 0)), np.zeros(0), np.zeros(0)
    )
    numbers = np.arange(count)
    outs = rng.integers(-1, 2, (cuts, count)).astype(float)
    return States(nothing, reduced, usage, reduced - prices @ usage, outs, numbers, numbers)


def by_loops(first: States, second: States, window: Window) -> float:
    """The cost of the cheapest pair, infinite when there is none."""
    best = math.inf
    for one in range(len(first)):
        for two in range(len(second)):
            cost = first.cost[one] + second.cost[two]
            if (
                cost <= window.cost
                and first.reduced[one] + second.reduced[two] <= window.reduced
                and (first.usage[:, one] + second.usage[:, two] <= window.rooms).all()
                and (first.outs[:, one] + second.outs[:, two] >= np.array(window.outs)).all()
            ):
                best = min(best, float(cost))
    return best


def case(seed: int) -> tuple[States, States, Window]:
    rng = np.random.default_rng([5, seed])
    rows, cuts = int(rng.integers(1, 6)), int(rng.integers(0, 3))
    prices = rng.exponential(1, rows) * 10.0 ** rng.integers(-3, 4, rows) * (rng.random(rows) < 0.8)
    excess = float(rng.choice([0.0, 1.0]))
    whole = bool(rng.random() < 0.3)
    first, second = (states(rng, int(rng.integers(1, 60)), prices, cuts, excess, whole) for _ in range(2))
    limit = float(rng.choice([0.1, 1.0, 3.0])) * float(rng.exponential(1)) - excess / 2
    pick = int(rng.integers(len(first))), int(rng.integers(len(second)))
    rooms = first.usage[:, pick[0]] + second.usage[:, pick[1]] + rng.exponential(0.1, rows) * (rng.random(rows) < 0.7)
    window = Window(
        prices=prices,
        rooms=rooms,
        reduced=limit,
        cost=limit - float(prices @ rooms),
        enough=-math.inf,
        outs=tuple(int(x) for x in rng.integers(-2, 1, cuts)),
        excess=excess,
    )
    return first, second, window


def test_the_cheapest_pair_is_that_of_two_loops() -> None:
    found = 0
    for seed in range(1500):
        first, second, window = case(seed)
        expected = by_loops(first, second, window)
        pair = cheapest_pair(first, second, window, math.inf)
        if pair is None:
            assert expected == math.inf, seed
            continue
        found += 1
        assert first.cost[pair[0]] + second.cost[pair[1]] == expected, seed
    assert 400 < found < 1400


def test_a_pair_that_is_enough_ends_the_search_and_is_within_the_window() -> None:
    for seed in range(100):
        first, second, window = case(seed)
        expected = by_loops(first, second, window)
        enough = Window(**{**vars(window), "enough": expected + 1.0})
        pair = cheapest_pair(first, second, enough, math.inf)
        assert (pair is None) == (expected == math.inf), seed
        if pair is not None:
            one, two = pair
            assert expected <= first.cost[one] + second.cost[two] <= window.cost
            assert (first.usage[:, one] + second.usage[:, two] <= window.rooms).all()


def test_more_pairs_than_allowed_are_refused() -> None:
    rng = np.random.default_rng(0)
    first, second = (states(rng, 50, np.zeros(1), 0, 0.0, False) for _ in range(2))
    window = Window(np.zeros(1), np.array([1e9]), 1e9, 1e9, -math.inf)
    assert cheapest_pair(first, second, window, math.inf, 2500) is not None
    with pytest.raises(TooManyError, match="too many selections are nearly as good"):
        cheapest_pair(first, second, window, math.inf, 2499)
    with pytest.raises(TooManyError, match="within the time limit"):
        cheapest_pair(first, second, window, -math.inf)


def test_equal_sets_leave_no_room_for_a_grid_and_are_still_searched() -> None:
    """All usages equal: nothing to sort by."""
    rng = np.random.default_rng(1)
    first, second = (states(rng, 8, np.ones(2), 0, 0.0, True) for _ in range(2))
    for some in (first, second):
        some.usage[:] = 1.0
    window = Window(np.ones(2), np.full(2, 2.0), 5.0, 100.0, -math.inf)
    pair = cheapest_pair(first, second, window, math.inf)
    assert pair is not None
    assert first.cost[pair[0]] + second.cost[pair[1]] == by_loops(first, second, window)
    assert cheapest_pair(first, second, Window(np.ones(2), np.full(2, 1.9), 5.0, 100.0, -math.inf), math.inf) is None
