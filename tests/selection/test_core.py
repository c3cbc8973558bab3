"""The search in two halves finds what going through all selections finds."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from rdp.selection.linear import LinearForm
from rdp.selection.solver.core import MOST_TIES, Near, search
from rdp.selection.solver.dual import lagrangian_bound, reduced_costs
from rdp.selection.solver.states import TooManyError

CLOSE = 1e-9


def folded(rng: np.random.Generator, allowed: np.ndarray) -> np.ndarray:
    """Values of 0 or more, the least of every image 0, as forms have them; some in whole numbers."""
    values = (
        rng.exponential(1, allowed.shape) if rng.random() < 0.6 else rng.integers(0, 4, allowed.shape).astype(float)
    )
    values = values - np.where(allowed, values, np.inf).min(axis=1)[:, None]
    return np.where(allowed, values, 0.0)


def selections(form: LinearForm) -> list[np.ndarray]:
    return [np.array(choice) for choice in itertools.product(*[np.flatnonzero(row) for row in form.allowed])]


def random_form(rng: np.random.Generator, images: int = 6, points: int = 4, rows: int = 3) -> LinearForm:
    """Up to so many images, points and budgets; budgets that some selection meets exactly, a little wider or passes."""
    shape = int(rng.integers(1, images + 1)), int(rng.integers(1, points + 1))
    allowed = rng.random(shape) < 0.85
    allowed[np.arange(shape[0]), rng.integers(0, shape[1], shape[0])] = True
    coefficients = np.array([folded(rng, allowed) for _ in range(int(rng.integers(1, rows + 1)))])
    choice = [int(rng.choice(np.flatnonzero(row))) for row in allowed]
    budgets = coefficients[:, np.arange(shape[0]), choice].sum(axis=1) * rng.choice([1, 1.1, 0.95])
    form = LinearForm(folded(rng, allowed), 0.0, coefficients, budgets, allowed, tuple(range(len(budgets))))
    return form.with_cut(allowed & (rng.random(shape) < 0.7)) if rng.random() < 0.3 else form


def random_prices(rng: np.random.Generator, form: LinearForm) -> np.ndarray:
    return rng.exponential(1, len(form.budgets)) * (rng.random(len(form.budgets)) < 0.8)


def near_of(form: LinearForm, prices: np.ndarray, base: np.ndarray | None = None) -> Near:
    return Near.of(form, prices, lagrangian_bound(form, prices), reduced_costs(form, prices), base)


def feasible(form: LinearForm, choice: np.ndarray) -> bool:
    rows = np.arange(form.images)
    within = (form.coefficients[:, rows, choice].sum(axis=1) <= form.budgets + 1e-12).all()
    return bool(within) and not any(cut[rows, choice].all() for cut in form.cuts)


def cost_of(form: LinearForm, choice: np.ndarray) -> float:
    return float(form.cost[np.arange(form.images), choice].sum())


def test_the_search_finds_the_cheapest_of_all_selections_within_the_width_around_any_base() -> None:
    """At any prices, those of the relaxation or not, with cuts or without."""
    found = 0
    for seed in range(1000):
        rng = np.random.default_rng([6, seed])
        form = random_form(rng)
        everything = selections(form)
        base = None if rng.random() < 0.5 else everything[int(rng.integers(len(everything)))]
        near = near_of(form, random_prices(rng, form), base)
        width = float(rng.exponential(2))
        costs = [cost_of(form, choice) for choice in everything if feasible(form, choice)]
        # The width is met up to rounding: what costs just as much may be found or not.
        sure = min((cost for cost in costs if cost <= near.bound + width - CLOSE), default=math.inf)
        perhaps = min((cost for cost in costs if cost <= near.bound + width + CLOSE), default=math.inf)
        choice = search(near, width, ties=np.arange(len(near.more)), most=10**6)
        found += choice is not None
        if choice is None:
            assert sure == math.inf, seed
        else:
            assert feasible(form, choice), seed
            assert perhaps - CLOSE <= cost_of(form, choice) <= sure + CLOSE, seed
    assert 300 < found < 900


def test_the_search_changes_nothing_but_the_ties_that_it_is_given() -> None:
    for seed in range(200):
        rng = np.random.default_rng([7, seed])
        form = random_form(rng)
        near = near_of(form, random_prices(rng, form))
        ties = np.flatnonzero(rng.random(len(near.more)) < 0.5)
        given = {(int(i), int(p)) for i, p in zip(near.image[ties], near.point[ties], strict=True)}
        choice = search(near, 1e3, ties=ties, most=10**6)
        expected = [
            cost_of(form, other)
            for other in selections(form)
            if feasible(form, other)
            and all(
                point == base or (i, point) in given
                for i, (point, base) in enumerate(zip(other, near.base, strict=True))
            )
        ]
        assert (choice is None) == (not expected), seed
        if choice is not None:
            assert cost_of(form, choice) == pytest.approx(min(expected), abs=CLOSE), seed


def test_a_selection_costs_the_bound_its_reduced_costs_and_what_it_leaves_of_the_budgets() -> None:
    """The identity on which the search rests."""
    for seed in range(100):
        rng = np.random.default_rng([8, seed])
        form = random_form(rng)
        prices = random_prices(rng, form)
        reduced, bound = reduced_costs(form, prices), lagrangian_bound(form, prices)
        rows = np.arange(form.images)
        for choice in selections(form)[:50]:
            left = form.budgets - form.coefficients[:, rows, choice].sum(axis=1)
            total = bound + reduced[rows, choice].sum() + prices @ left
            assert cost_of(form, choice) == pytest.approx(total, abs=1e-12)
            near = Near.of(form, prices, bound, reduced, choice)
            assert near.room == pytest.approx(left, abs=1e-12)
            assert near.excess == pytest.approx(reduced[rows, choice].sum(), abs=1e-12)
            assert near.cost == pytest.approx(cost_of(form, choice), abs=1e-12)


def test_near_ties_are_all_other_cells_by_what_they_cost_more() -> None:
    rng = np.random.default_rng(9)
    form = random_form(rng, 6, 4)
    near = near_of(form, random_prices(rng, form))
    assert len(near.more) == int(form.allowed.sum()) - form.images
    assert (np.diff(near.more) >= 0).all()
    assert near.beyond == math.inf
    assert (near.point != near.base[near.image]).all()
    assert near.within(float(near.more[2])).tolist() == list(range(int((near.more <= near.more[2]).sum())))


def test_only_so_many_ties_are_listed_and_a_width_beyond_them_is_refused() -> None:
    images = MOST_TIES + 10
    cost = np.zeros((images, 2))
    cost[:, 1] = np.arange(images)[::-1] // 3
    form = LinearForm(cost, 0.0, np.zeros((1, images, 2)), np.ones(1), np.ones((images, 2), dtype=bool), (0,))
    near = near_of(form, np.zeros(1))
    assert len(near.more) == MOST_TIES
    assert near.beyond == MOST_TIES // 3
    # Of equal ones the first images are listed.
    last = near.image[near.more == near.more[-1]]
    assert last.tolist() == sorted(last.tolist())
    assert len(near.within(near.beyond - 0.5)) == int((cost[:, 1] < near.beyond - 0.5).sum())
    with pytest.raises(TooManyError, match="too many selections are nearly as good"):
        near.within(near.beyond)


def test_a_neighbourhood_has_ties_that_spend_more_and_less_of_every_budget() -> None:
    rng = np.random.default_rng(10)
    shape = (40, 3)
    allowed = np.ones(shape, dtype=bool)
    coefficients = np.array([folded(rng, allowed), folded(rng, allowed)])
    form = LinearForm(rng.exponential(1, shape), 0.0, coefficients, np.full(2, 20.0), allowed, (0, 1))
    near = near_of(form, np.ones(2))
    ties = near.nearest(8)
    assert len(set(near.image[ties].tolist())) == 8
    change = (
        coefficients[:, near.image[ties], near.point[ties]]
        - coefficients[:, near.image[ties], near.base[near.image[ties]]]
    )
    assert ((change < 0).any(axis=1) & (change > 0).any(axis=1)).all()
    assert len(set(near.image[near.nearest(1000)].tolist())) == 40
