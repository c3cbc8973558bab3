"""Which points of a frontier are beaten, and which lie on its hull, against loops and linear programmes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdp.selection.frontiers.shape import dominated_points, on_lower_hull


def beaten_by_loops(rows: Sequence[Sequence[float]]) -> list[bool]:
    def beats(a: Sequence[float], b: Sequence[float]) -> bool:
        return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))

    return [any(beats(other, row) for other in rows) for row in rows]


def hull_by_loops(rows: Sequence[Sequence[float]]) -> list[bool]:
    """For one sweep: not beaten, and under no line between two others."""
    out = []
    for u, cost in rows:
        least = min(c for v, c in rows if v <= u)
        for (v, c), (w, d) in itertools.product(rows, rows):
            if v < u < w:
                least = min(least, c + (d - c) * (u - v) / (w - v))
        out.append(cost <= least + 1e-9)
    return [on and not beaten for on, beaten in zip(out, beaten_by_loops(rows), strict=True)]


def hull_by_mixtures(rows: Sequence[Sequence[float]]) -> list[bool]:
    """For any number of sweeps: the cheapest mixture that uses no more of anything costs no less (to 1e-5 of it, which
    is what the solver of linear programmes keeps to)."""
    from scipy.optimize import linprog

    values = np.array(rows, dtype=float)
    out = []
    for row, beaten in zip(values, beaten_by_loops(rows), strict=True):
        best = linprog(
            values[:, -1], A_ub=values[:, :-1].T, b_ub=row[:-1] + 1e-12, A_eq=np.ones((1, len(values))), b_eq=[1.0]
        )
        out.append(bool(row[-1] <= best.fun + 1e-5 * max(abs(row[-1]), 1e-4)) and not beaten)
    return out


GRID_POINTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=14)
GRID_POINTS_3 = st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=12)


@given(st.one_of(GRID_POINTS, GRID_POINTS_3))
def test_dominance_is_what_loops_say(rows: list[tuple[int, ...]]) -> None:
    assert dominated_points(np.array(rows, dtype=float)).tolist() == beaten_by_loops(rows)


@given(GRID_POINTS)
def test_the_hull_of_one_sweep_is_what_loops_say(rows: list[tuple[int, ...]]) -> None:
    assert on_lower_hull(np.array(rows, dtype=float)).tolist() == hull_by_loops(rows)


@settings(deadline=None)
@given(GRID_POINTS_3)
def test_the_hull_of_two_sweeps_is_what_mixtures_say(rows: list[tuple[int, ...]]) -> None:
    """Flat, straight and single ones among them."""
    assert on_lower_hull(np.array(rows, dtype=float)).tolist() == hull_by_mixtures(rows)


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_the_hull_of_real_numbers_is_what_mixtures_say(seed: int, dimensions: int) -> None:
    rng = np.random.default_rng(seed)
    use = rng.uniform(0.1, 2, (40, dimensions - 1))
    cost = 100 / use.sum(axis=1) * rng.choice([1.0, 1.02, 1.1], 40)
    values = np.column_stack([use, cost])
    assert on_lower_hull(values).tolist() == hull_by_mixtures(values.tolist())
    assert 0 < on_lower_hull(values).sum() < 40


@given(GRID_POINTS_3, st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
def test_the_hull_does_not_depend_on_units(rows: list[tuple[int, ...]], factor: float, shift: float) -> None:
    values = np.array(rows, dtype=float)
    assert on_lower_hull(values * factor + shift).tolist() == on_lower_hull(values).tolist()
