"""From mixtures to selections that spend about the same, and from those to selections within the budgets."""

from __future__ import annotations

import numpy as np
import pytest

from rdp.selection import Problem
from rdp.selection.linear import LinearForm, linear_form
from rdp.selection.solver.core import Near
from rdp.selection.solver.dual import Dual, Relaxation, reduced_costs
from rdp.selection.solver.rounding import CAREFULLY, REPAIRS, repaired, rounded, walked


def study(images: int, seed: int, groups: int = 1, orders: float = 0.0) -> LinearForm:
    """Two or three budgets that bind; weights over so many orders of magnitude."""
    rng = np.random.default_rng([31, seed])
    shape = images, int(rng.integers(3, 8))
    columns = {name: rng.exponential(1, shape) for name in ("cost", "a", "b", "c")[: 3 + seed % 2]}
    weights = dict.fromkeys(columns, "pixels") if orders else None
    pixels = 10.0 ** rng.uniform(0, orders, images) if orders else None
    prices = rng.exponential(0.5, len(columns))
    choice = sum(price * values for price, values in zip([1.0, *prices], columns.values(), strict=False)).argmin(axis=1)
    budgets = {n: float(np.average(v[np.arange(images), choice], weights=pixels)) for n, v in columns.items()}
    words: dict = {"minimize": "cost", "at_most": {name: budgets[name] for name in columns if name != "cost"}}
    if groups > 1:
        words |= {"group_at_most": {"a": budgets["a"] * 1.1}, "groups": [f"g{k % groups}" for k in range(images)]}
    return linear_form(Problem.from_arrays(columns, **words, weights=weights, pixels=pixels))


def mixture(dual: Dual, relaxation: Relaxation) -> np.ndarray:
    """The share (N, M) of every cell."""
    share = np.zeros_like(dual.form.cost)
    for part in relaxation.parts:
        own = np.flatnonzero(dual.classes == part.class_number)
        share[own, part.choice[own]] += part.weight
    return share / share.sum(axis=1, keepdims=True)


def usage(form: LinearForm, choice: np.ndarray) -> np.ndarray:
    return form.coefficients[:, np.arange(form.images), choice].sum(axis=1)


@pytest.mark.parametrize("groups", [1, 3])
def test_the_rounded_mixture_takes_cells_of_the_mixture_and_spends_about_the_same(groups: int) -> None:
    for seed in range(20):
        form = study(100 + 20 * seed, seed, groups)
        dual = Dual(form)
        relaxation = dual.maximise()
        share, choice = mixture(dual, relaxation), rounded(dual, relaxation.parts)
        assert choice is not None
        rows = np.arange(form.images)
        assert (share[rows, choice] > 0).all()
        assert form.allowed[rows, choice].all()
        # No more off than a few of the images that are open can be.
        open_ = share.max(axis=1) < 1 - 1e-12
        worth = (form.coefficients[:, open_].max(axis=2)).max(axis=1, initial=0.0)
        off = usage(form, choice) - (form.coefficients * share).sum(axis=(1, 2))
        assert (np.abs(off) <= 2 * len(form.budgets) * worth + 1e-9 * form.budgets).all(), seed


@pytest.mark.parametrize("images", [CAREFULLY // 2, 3 * CAREFULLY])
def test_many_equal_images_are_dealt_out_evenly(images: int) -> None:
    """All of them are open between two points, a third of them at the one."""
    columns = {"mse": np.tile([4.0, 1.0], (images, 1)), "bpp": np.tile([0.0, 3.0], (images, 1))}
    form = linear_form(Problem.from_arrays(columns, minimize="mse", at_most={"bpp": 1.0}))
    dual = Dual(form)
    choice = rounded(dual, dual.maximise().parts)
    assert choice is not None
    assert abs(int(choice.sum()) - images // 3) <= 2
    # And evenly along the table.
    halves = [int(half.sum()) for half in np.array_split(choice, 10)]
    assert max(halves) - min(halves) <= 0.02 * images


def test_without_a_mixture_there_is_nothing_to_round() -> None:
    form = study(50, 0, 3)
    dual = Dual(form)
    parts = dual.maximise().parts
    assert rounded(dual, ()) is None
    assert rounded(dual, tuple(part for part in parts if part.class_number)) is None
    assert rounded(dual, parts) is not None


@pytest.mark.parametrize("orders", [0.0, 9.0])
def test_a_choice_that_spends_too_much_is_repaired_in_few_images(orders: float) -> None:
    """From the rounded mixture with budgets a little narrower than what it spends."""
    repairs = 0
    for seed in range(30):
        form = study(300, seed, orders=orders)
        dual = Dual(form)
        relaxation = dual.maximise()
        choice = rounded(dual, relaxation.parts)
        assert choice is not None
        assert relaxation.best is not None
        tighter = form.with_budgets(usage(form, choice) * (1 - 10.0 ** -np.arange(2, 2 + len(form.budgets))))
        reduced = reduced_costs(tighter, relaxation.best)
        mended = repaired(tighter, reduced, choice)
        assert mended is not None, seed
        rows = np.arange(form.images)
        assert form.allowed[rows, mended].all()
        assert (usage(form, mended) <= tighter.budgets * (1 + 1e-14)).all(), seed
        assert 0 < (mended != choice).sum() <= REPAIRS
        repairs += int((mended != choice).sum())
        assert repaired(tighter, reduced, mended) is not mended
        assert np.array_equal(repaired(tighter, reduced, mended), mended)
    assert repairs < 30 * 25


def test_the_repair_changes_the_image_that_loses_least_for_what_it_saves() -> None:
    columns = {"mse": [[1.0, 3.0], [1.0, 2.0], [1.0, 9.0]], "bpp": [[3.0, 1.0], [3.0, 1.0], [3.0, 1.0]]}
    form = linear_form(Problem.from_arrays(columns, minimize="mse", at_most={"bpp": 7.5 / 3}))
    mended = repaired(form, reduced_costs(form, np.zeros(1)), np.zeros(3, dtype=np.int64))
    assert mended is not None
    assert mended.tolist() == [0, 1, 0]


def test_budgets_that_exclude_each_other_cannot_be_repaired() -> None:
    columns = {"mse": [[1.0, 2.0]] * 3, "a": [[0.0, 1.0]] * 3, "b": [[1.0, 0.0]] * 3}
    form = linear_form(Problem.from_arrays(columns, minimize="mse", at_most={"a": 0.3, "b": 0.3}))
    assert repaired(form, reduced_costs(form, np.zeros(2)), np.zeros(3, dtype=np.int64)) is None


def test_walking_leads_to_the_budgets_and_stays_where_they_are_kept() -> None:
    reached = 0
    for seed in range(30):
        form = study(200, seed)
        dual = Dual(form)
        relaxation = dual.maximise()
        assert relaxation.best is not None
        reduced = reduced_costs(form, relaxation.best)
        near = Near.of(form, relaxation.best, relaxation.bound, reduced, rounded(dual, relaxation.parts))
        there = walked(near, reduced)
        assert form.allowed[np.arange(form.images), there.base].all()
        assert there.room == pytest.approx(form.budgets - usage(form, there.base), abs=1e-12)
        assert (there.room < 0).any() or walked(there, reduced) is there
        if (near.room >= 0).all():
            assert there is near
        reached += bool((there.room >= 0).all())
    assert reached >= 20
