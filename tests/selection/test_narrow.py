"""What a box of prices leaves open: no prices in it ever prefer a cell that fell."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rdp.selection.linear import LinearForm
from rdp.selection.solver.narrow import contested, narrowed, packed

SHAPE = (4, 5)
numbers = st.floats(0, 4) | st.integers(0, 3).map(float)
tables = arrays(np.float64, SHAPE, elements=numbers)
fractions = arrays(np.float64, (20, 2), elements=st.floats(0, 1) | st.sampled_from([0.0, 1.0]))
prices = arrays(np.float64, 2, elements=st.floats(0, 3) | st.just(0.0))
masks = arrays(np.bool_, SHAPE).map(lambda mask: mask | (np.arange(SHAPE[1]) == mask.sum(axis=1)[:, None] % SHAPE[1]))


@st.composite
def forms(draw: st.DrawFn) -> LinearForm:
    allowed = draw(masks)
    cost, first, second = (np.where(allowed, draw(tables), 0.0) for _ in range(3))
    return LinearForm(cost, 1.0, np.array([first, second]), np.array([5.0, 7.0]), allowed, (0, 1))


def priced(form: LinearForm, at: np.ndarray) -> np.ndarray:
    values = form.cost + at[0] * form.coefficients[0] + at[1] * form.coefficients[1]
    return np.where(form.allowed, values, np.inf)


@settings(deadline=None, max_examples=150)
@given(forms(), prices, prices, fractions)
def test_the_least_cell_at_any_prices_in_the_box_is_among_the_kept_ones(
    form: LinearForm, low: np.ndarray, size: np.ndarray, where: np.ndarray
) -> None:
    high = low + size
    centre, radius = (low + high) / 2, (high - low) / 2 * (1 + 1e-12)
    reduced = priced(form, centre)
    best = reduced.argmin(axis=1)
    keep = contested(reduced, best, form.coefficients, radius)
    assert keep[np.arange(SHAPE[0]), best].all()
    assert not (keep & ~form.allowed).any()
    for fraction in where:
        at = priced(form, low + fraction * (high - low))
        least = at.min(axis=1, keepdims=True)
        # A cell that costs the least is kept, or equals a kept one to the last digits.
        lowest_kept = np.where(keep, at, np.inf).min(axis=1, keepdims=True)
        assert (lowest_kept <= least + 1e-14 * (1 + np.abs(least))).all()


@settings(deadline=None, max_examples=150)
@given(forms(), prices, prices, fractions)
def test_in_the_box_the_narrowed_form_has_the_same_bound_and_choices_as_the_whole(
    form: LinearForm, low: np.ndarray, size: np.ndarray, where: np.ndarray
) -> None:
    inner = narrowed(form, low, low + size)
    rows = np.arange(form.images)
    assert (inner.form.allowed.sum(axis=1) > 1).all()
    for fraction in where[:5]:
        at = low + fraction * size
        whole = priced(form, at).min(axis=1).sum() - at @ form.budgets
        part = inner.form.offset - at @ inner.form.budgets
        if inner.form.images:
            cells = priced(inner.form, at)
            part += cells.min(axis=1).sum()
            choice = inner.expanded(cells.argmin(axis=1))
        else:
            choice = inner.base
        assert form.allowed[rows, choice].all()
        assert abs(whole - part) <= 1e-12
        assert abs(priced(form, at)[rows, choice].sum() - at @ form.budgets - whole) <= 1e-12


def test_a_point_of_a_box_settles_every_image_without_ties() -> None:
    rng = np.random.default_rng(0)
    allowed = np.ones((50, 4), dtype=bool)
    form = LinearForm(rng.random((50, 4)), 0.0, rng.random((2, 50, 4)), np.ones(2), allowed, (0, 1))
    at = np.array([0.3, 0.8])
    inner = narrowed(form, at, at)
    assert inner.form.images == 0
    assert inner.base.tolist() == priced(form, at).argmin(axis=1).tolist()
    wider = narrowed(form, at - 0.05, at + 0.05)
    assert 0 < wider.form.images < 50


def test_kept_cells_are_moved_to_the_left_in_their_order() -> None:
    keep = np.array([[False, True, False, True], [True, False, False, False]])
    points, allowed = packed(keep)
    assert points.shape == (2, 2)
    assert points[0].tolist() == [1, 3]
    assert points[1, 0] == 0
    assert allowed.tolist() == [[True, True], [True, False]]
    points, allowed = packed(np.zeros((0, 4), dtype=bool))
    assert points.shape[0] == allowed.shape[0] == 0
