"""Budgets of groups: classes solved on their own and put together, against exhaustive search and HiGHS."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from time import perf_counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdp.selection import Problem, solve_problem
from rdp.selection.backends import RawAnswer
from rdp.selection.linear import LinearForm, linear_form
from rdp.selection.solver.class_forms import split_form
from rdp.selection.solver.class_lists import Lister
from rdp.selection.solver.class_prices import prices_by_classes
from rdp.selection.solver.dual import Dual, Relaxation, lagrangian_bound
from rdp.selection.solver.grouped import solve_grouped
from rdp.selection.status import Status

GONE_THROUGH, LISTED = 120_000, 0
"""Classes with all their selections, and with lists of near ties only."""


def grouped_problem(seed: int, images: int, points: int, groups: int, shared: int, *, tight: bool = False) -> Problem:
    """A random problem with a budget for every group and `shared` budgets for all images, near attainable means.

    Half of the tables hold small whole numbers, so that there are ties and budgets that are met exactly. `tight`
    budgets of groups are often out of reach.
    """
    rng = np.random.default_rng([7, seed])
    names = ["cost", "a", "b", "c"]
    whole = rng.random() < 0.5
    columns = {
        name: rng.integers(0, 5, (images, points)).astype(float) if whole else rng.exponential(1.0, (images, points))
        for name in names
    }
    labels = [f"g{i % groups}" for i in range(images)]
    choice = rng.integers(0, points, images)
    picked = {name: values[np.arange(images), choice] for name, values in columns.items()}
    means = [float(picked["a"][k::groups].mean()) for k in range(groups)]
    limit = 0.7 * min(means) if tight else np.median(means)
    at_most = {name: float(picked[name].mean()) for name in ("b", "c")[:shared]}
    return Problem.from_arrays(
        columns, minimize="cost", group_at_most={"a": float(limit)}, groups=labels, at_most=at_most
    )


def grouped_problems(
    images: int, points: int, groups: int, shared: int, count: int, *, tight: bool = False
) -> Iterator[Problem]:
    """`count` such problems that fall into classes: those whose budgets of groups can bind."""
    problems = (grouped_problem(seed, images, points, groups, shared, tight=tight) for seed in range(1000))
    return itertools.islice((p for p in problems if split_form(linear_form(p)) is not None), count)


def grouped_forms(
    images: int, points: int, groups: int, shared: int, count: int, *, tight: bool = False
) -> Iterator[LinearForm]:
    """The forms of `grouped_problems`."""
    return map(linear_form, grouped_problems(images, points, groups, shared, count, tight=tight))


def solved(form: LinearForm, gap_abs: float = 0.0, at_once: int = GONE_THROUGH, seconds: float = 60.0) -> RawAnswer:
    """The answer by classes."""
    return solve_grouped(form, Dual(form).maximise(), gap_abs, perf_counter() + seconds, at_once=at_once)


def best_of(form: LinearForm) -> tuple[float, list[tuple[int, ...]]]:
    """The least cost of a form's selections that no cut forbids, and all within the budgets; infinite if there is none.

    Plain loops over all selections.
    """
    options = [np.flatnonzero(row).tolist() for row in form.allowed]
    best, feasible = math.inf, []
    for choice in itertools.product(*options):
        rows = range(form.images)
        if any(all(cut[i, j] for i, j in zip(rows, choice, strict=True)) for cut in form.cuts):
            continue
        if all(
            math.fsum(values[i, j] for i, j in zip(rows, choice, strict=True)) <= budget
            for values, budget in zip(form.coefficients, form.budgets, strict=True)
        ):
            feasible.append(choice)
            best = min(best, math.fsum(form.cost[i, j] for i, j in zip(rows, choice, strict=True)))
    return best, feasible


@pytest.mark.parametrize("at_once", [GONE_THROUGH, LISTED])
@pytest.mark.parametrize("shared", [0, 1, 2])
@pytest.mark.parametrize("tight", [False, True])
def test_what_is_found_by_classes_is_the_best_of_all_selections(shared: int, tight: bool, at_once: int) -> None:
    found = infeasible = 0
    forms = [*grouped_forms(6, 3, 2, shared, 25, tight=tight), *grouped_forms(6, 3, 3, shared, 25, tight=tight)]
    for seed, form in enumerate(forms):
        best, _ = best_of(form)
        raw = solved(form, at_once=at_once)
        if math.isinf(best):
            assert raw.status is Status.INFEASIBLE, seed
            infeasible += 1
            continue
        assert raw.status is Status.OPTIMAL, seed
        assert raw.choice is not None
        assert form.cost_of(raw.choice) == pytest.approx(best, abs=1e-12), seed
        assert raw.bound <= best * (1 + 1e-14), seed
        found += 1
    assert found > 10
    assert infeasible > 10 or not tight


@pytest.mark.parametrize("at_once", [GONE_THROUGH, LISTED])
@pytest.mark.parametrize("shared", [0, 1, 2])
def test_larger_ones_agree_with_highs(shared: int, at_once: int) -> None:
    for problem in grouped_problems(36, 5, 6, shared, 5):
        form = linear_form(problem)
        reference = solve_problem(problem, solver="highs", gap=1e-9)
        raw = solved(form, at_once=at_once)
        assert raw.status is Status.OPTIMAL
        assert raw.choice is not None
        assert form.offset + form.cost_of(raw.choice) == pytest.approx(reference.objective, rel=1e-8)


def test_classes_of_one_image_and_of_two_are_solved_however_far_the_relaxation_is_from_them() -> None:
    for images, groups in ((7, 7), (8, 4)):
        for seed, form in enumerate(grouped_forms(images, 3, groups, 1, 20)):
            best, _ = best_of(form)
            raw = solved(form)
            assert raw.status is (Status.INFEASIBLE if math.isinf(best) else Status.OPTIMAL), seed
            assert math.isinf(best) or form.cost_of(np.array(raw.choice)) == pytest.approx(best, abs=1e-12), seed


def test_a_class_that_has_no_selection_makes_the_whole_infeasible() -> None:
    """Image 0 alone must spend between 1.4 and 1.6, and its points spend 1 or 2: only a mixture of them could."""
    columns = {
        "cost": [[1.0, 0.0], [1.0, 2.0], [1.0, 2.0], [4.0, 1.0]],
        "a": [[1.0, 2.0], [1.0, 2.0], [2.0, 1.0], [1.5, 2.0]],
        "b": [[1.0, 0.0], [2.0, 1.0], [1.0, 2.0], [1.0, 2.0]],
    }
    problem = Problem.from_arrays(
        columns,
        minimize="cost",
        group_at_most={"a": 1.6},
        group_at_least={"a": 1.4},
        groups=["x", "y", "y", "z"],
        at_most={"b": 1.4},
    )
    form = linear_form(problem)
    for at_once in (GONE_THROUGH, LISTED):
        # The bound of the relaxation that is known does not say so here.
        start = np.zeros(len(form.budgets))
        unknown = Relaxation(None, lagrangian_bound(form, start), best=start)
        assert solve_grouped(form, unknown, 0.0, math.inf, at_once=at_once).status is Status.INFEASIBLE


@pytest.mark.parametrize("at_once", [GONE_THROUGH, LISTED])
def test_any_prices_to_start_with_lead_to_the_same_selection(at_once: int) -> None:
    rng = np.random.default_rng(3)
    for seed, form in enumerate([*grouped_forms(6, 3, 2, 1, 15), *grouped_forms(6, 3, 2, 2, 15)]):
        best, _ = best_of(form)
        start = np.exp(rng.normal(0, 3, len(form.budgets))) * rng.integers(0, 2, len(form.budgets))
        known = Relaxation(start, lagrangian_bound(form, start), best=start)
        raw = solve_grouped(form, known, 0.0, math.inf, at_once=at_once)
        assert raw.status is (Status.INFEASIBLE if math.isinf(best) else Status.OPTIMAL), seed
        assert math.isinf(best) or form.cost_of(np.array(raw.choice)) == pytest.approx(best, abs=1e-12), seed


@pytest.mark.parametrize("at_once", [GONE_THROUGH, LISTED])
@pytest.mark.parametrize("shared", [0, 1])
def test_selections_that_are_cut_off_are_passed_over(shared: int, at_once: int) -> None:
    for seed, form in enumerate(grouped_forms(6, 3, 2, shared, 15)):
        for _ in range(3):
            best, _ = best_of(form)
            raw = solved(form, at_once=at_once)
            if math.isinf(best):
                assert raw.choice is None
                assert raw.status in (Status.INFEASIBLE, Status.UNKNOWN)
                break
            assert raw.status is Status.OPTIMAL
            assert raw.choice is not None
            assert form.cost_of(raw.choice) == pytest.approx(best, abs=1e-12), seed
            mask = np.zeros_like(form.allowed)
            mask[np.arange(form.images), raw.choice] = True
            form = form.with_cut(mask)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 4), st.integers(0, 2), st.floats(0, 0.2))
def test_whatever_the_gap_the_bound_is_below_the_optimum_and_the_selection_within_the_budgets(
    seed: int, groups: int, shared: int, gap: float
) -> None:
    form = linear_form(grouped_problem(seed, 7, 3, groups, shared))
    best, feasible = best_of(form)
    raw = solved(form, gap_abs=gap * best, at_once=LISTED)
    assert raw.bound <= best * (1 + 1e-14)
    if raw.choice is not None:
        assert tuple(raw.choice.tolist()) in feasible
    if raw.status is Status.OPTIMAL:
        assert raw.choice is not None
        assert form.cost_of(raw.choice) <= best + gap * best + 1e-12


def test_rows_of_one_class_are_its_own_and_the_others_are_shared() -> None:
    form = next(f for f in grouped_forms(12, 4, 3, 2, 50) if len(f.budgets) == 5)
    split = split_form(form)
    assert split is not None
    assert [part.images.tolist() for part in split.classes] == [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]]
    assert len(split.shared) == 2
    assert not len(split.free)
    for part in split.classes:
        assert all(form.coefficients[k][part.images].any() for k in part.own)
        assert part.form.coefficients.shape == (1, 4, 4)


def test_images_without_a_budget_of_their_own_are_free_and_a_plain_problem_has_no_classes() -> None:
    rng = np.random.default_rng(1)
    columns = {name: rng.random((5, 3)) for name in ("cost", "a", "b")}
    form = linear_form(Problem.from_arrays(columns, minimize="cost", at_most={"a": 0.4, "b": 0.4}))
    assert split_form(form) is None
    own = form.coefficients.copy()
    own[1, :3] = 0.0
    partly = LinearForm(form.cost, 0.0, own, form.budgets * [1.0, 0.5], form.allowed, (0, 1))
    split = split_form(partly)
    assert split is not None
    assert split.free.tolist() == [0, 1, 2]
    assert split.shared.tolist() == [0]
    for at_once in (GONE_THROUGH, LISTED):
        raw = solved(partly, at_once=at_once)
        assert raw.status is Status.OPTIMAL
        assert partly.cost_of(np.array(raw.choice)) == pytest.approx(best_of(partly)[0], abs=1e-12)


@pytest.mark.parametrize("at_once", [GONE_THROUGH, LISTED])
def test_a_list_holds_every_selection_up_to_where_it_reaches(at_once: int) -> None:
    rng = np.random.default_rng(8)
    for form in grouped_forms(12, 3, 2, 1, 20):
        split = split_form(form)
        assert split is not None
        for part in split.classes:
            prices = rng.exponential(1.0, len(split.shared))
            listing = Lister(part, most=at_once, undominated=False).listed(prices, want=10, ends=math.inf)
            priced = part.priced(prices)
            known = {tuple(choice) for choice in listing.choices.tolist()}
            values = {c: math.fsum(priced.cost[i, j] for i, j in enumerate(c)) for c in best_of(part.form)[1]}
            assert min(values.values()) >= listing.floor - 1e-12
            assert known <= set(values)
            assert {c for c, value in values.items() if value < listing.reach - 1e-12} <= known
            values_of_it = listing.costs + prices @ listing.usages
            assert values_of_it.tolist() == pytest.approx([values[tuple(c)] for c in listing.choices.tolist()])


def test_when_the_time_is_up_the_bound_is_still_a_bound() -> None:
    problem = grouped_problem(5, 60, 6, 6, 1)
    form = linear_form(problem)
    relaxation = Dual(form).maximise()
    raw = solve_grouped(form, relaxation, 0.0, perf_counter() - 1.0)
    assert raw.status is Status.UNKNOWN
    assert raw.choice is None
    assert relaxation.bound <= raw.bound <= form.cost_of(np.array(solved(form).choice))


def test_the_answer_is_the_same_on_every_run() -> None:
    form = linear_form(grouped_problem(4, 60, 6, 6, 2))
    first, second = solved(form, at_once=LISTED), solved(form, at_once=LISTED)
    assert np.array(first.choice).tolist() == np.array(second.choice).tolist()
    assert first.bound == second.bound


@pytest.mark.parametrize("shared", [1, 2])
def test_prices_of_classes_give_a_bound_that_is_near_that_of_the_relaxation(shared: int) -> None:
    nearness = []
    for form in grouped_forms(40, 5, 4, shared, 10):
        split = split_form(form)
        assert split is not None
        relaxation, near = Dual(form).maximise(), prices_by_classes(form, split)
        assert not near.infeasible
        assert near.bound <= relaxation.bound * (1 + 1e-12)
        assert near.best is not None
        assert near.best.min() >= 0
        if relaxation.bound > 0.01:
            nearness.append(near.bound / relaxation.bound)
    assert np.median(nearness) > 0.8


def test_prices_of_classes_prove_infeasible_only_what_is() -> None:
    forms = [(form, split_form(form)) for form in grouped_forms(6, 3, 3, 1, 60, tight=True)]
    proven = [form for form, split in forms if split is not None and prices_by_classes(form, split).infeasible]
    assert len(proven) > 5
    assert all(math.isinf(best_of(form)[0]) for form in proven)


def test_the_bound_is_above_that_of_the_linear_relaxation() -> None:
    """Small classes: their own budgets cannot be spent in full, which the relaxation does not know."""
    form = linear_form(grouped_problem(1, 40, 4, 20, 1))
    relaxation = Dual(form).maximise()
    raw = solved(form)
    assert raw.bound > relaxation.bound + 0.5 * (form.cost_of(np.array(raw.choice)) - relaxation.bound)
