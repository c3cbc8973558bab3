"""Prices are what they say, the Lagrangian bound is a bound, and its maximum that of the linear relaxation."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.optimize import linprog

from rdp.selection import Problem, solve_problem
from rdp.selection.linear import LinearForm, linear_form
from rdp.selection.price_words import price_sentence
from rdp.selection.solver.dual import NOTES, Dual, Relaxation, lagrangian_bound, reduced_costs

Search = Callable[[Problem], tuple[float | None, list[tuple[int, ...]]]]


def relax(form: LinearForm) -> Relaxation:
    """The relaxation of a form."""
    return Dual(form).maximise()


def lp_optimum(form: LinearForm, low: np.ndarray | None = None, high: np.ndarray | None = None) -> float | None:
    """The linear relaxation by SciPy, as an independent reference.

    With prices from `low` to `high` a unit above a budget costs the one, and a unit below it pays the other.
    """
    image, point = form.cells
    choose = np.zeros((form.images, len(image)))
    choose[image, np.arange(len(image))] = 1
    cost, usage = form.cost[image, point], form.coefficients[:, image, point]
    if low is not None and high is not None:
        unit = np.eye(len(low))
        cost, usage = np.concatenate([cost, high, -low]), np.concatenate([usage, -unit, unit], axis=1)
        choose = np.concatenate([choose, np.zeros((form.images, 2 * len(low)))], axis=1)
    result = linprog(
        cost,
        A_ub=usage if len(form.budgets) else None,
        b_ub=form.budgets if len(form.budgets) else None,
        A_eq=choose,
        b_eq=np.ones(form.images),
        bounds=(0, None),
    )
    return float(result.fun) if result.success else None


def study(images: int, budgets: int, seed: int, groups: int = 1) -> LinearForm:
    """A form with budgets on both sides of what is in reach for some selection near the best."""
    rng = np.random.default_rng([11, images, budgets, seed])
    shape = images, int(rng.integers(2, 9))
    names = ["cost", *"abcde"[:budgets]]
    columns = {name: rng.exponential(1, shape) for name in names}
    if seed % 3 == 0:
        columns = {name: np.round(3 * values) for name, values in columns.items()}
    prices = rng.exponential(0.5, budgets)
    choice = (columns["cost"] + sum(p * columns[n] for p, n in zip(prices, names[1:], strict=True))).argmin(axis=1)
    at_most = {name: float(columns[name][np.arange(images), choice].mean()) for name in names[1:]}
    words = {"at_most": at_most}
    if groups > 1:
        own = {"a": at_most.pop("a") * 1.2}
        words |= {"group_at_most": own, "groups": [f"g{k % groups}" for k in range(images)]}
    return linear_form(Problem.from_arrays(columns, minimize="cost", **words))


def test_the_bound_equals_the_linear_relaxation_and_is_not_above_the_optimum(
    random_problem: Callable[[int], Problem], exhaustive: Search
) -> None:
    compared = 0
    for seed in range(200):
        problem = random_problem(seed)
        best, _ = exhaustive(problem)
        form = linear_form(problem)
        if best is None:
            continue
        relaxed = relax(form)
        reference = lp_optimum(form)
        assert reference is not None
        assert relaxed.bound == pytest.approx(reference, rel=1e-6, abs=1e-7), seed
        sign = 1.0 if problem.goal == "minimize" else -1.0
        assert form.offset + relaxed.bound <= sign * best + 1e-15 * max(1, abs(best)), seed
        compared += 1
    assert compared > 100


def test_prices_are_found_wherever_there_is_a_selection_and_proofs_of_infeasibility_are_true(
    random_problem: Callable[[int], Problem], exhaustive: Search
) -> None:
    proofs = 0
    for seed in range(300):
        problem = random_problem(seed)
        best, _ = exhaustive(problem)
        relaxed = relax(linear_form(problem))
        if best is None:
            proofs += relaxed.infeasible
        else:
            assert not relaxed.infeasible, seed
            assert relaxed.prices is not None, (seed, relaxed.note)
    assert proofs > 50


def test_any_prices_give_a_bound(random_problem: Callable[[int], Problem], exhaustive: Search) -> None:
    rng = np.random.default_rng(5)
    for seed in range(200):
        problem = random_problem(seed)
        best, _ = exhaustive(problem)
        if best is None:
            continue
        form = linear_form(problem)
        sign = 1.0 if problem.goal == "minimize" else -1.0
        prices = np.exp(rng.normal(0, 3, len(form.budgets)))
        assert form.offset + lagrangian_bound(form, prices) <= sign * best + 1e-14 * max(1, abs(best)), seed


@pytest.mark.parametrize("budgets", [1, 2, 3, 5])
def test_on_problems_of_a_study_size_prices_and_mixture_are_those_of_the_linear_relaxation(budgets: int) -> None:
    for seed in range(12):
        form = study(int(np.random.default_rng(seed).integers(30, 200)), budgets, seed, groups=1 + 3 * (seed % 4 == 1))
        relaxed, reference = relax(form), lp_optimum(form)
        assert reference is not None
        assert relaxed.bound == pytest.approx(reference, rel=1e-9, abs=1e-12), seed
        assert relaxed.prices is not None
        assert (relaxed.prices >= 0).all()
        assert lagrangian_bound(form, relaxed.prices) == relaxed.bound
        # The mixture, class by class, spends no more than the budgets, and costs what the relaxation does.
        classes = Dual(form).classes
        share = np.zeros_like(form.cost)
        for part in relaxed.parts:
            own = np.flatnonzero(classes == part.class_number)
            share[own, part.choice[own]] += part.weight
        assert share.sum(axis=1) == pytest.approx(np.ones(form.images), abs=1e-6)
        assert (share[~form.allowed] == 0).all()
        usage = (form.coefficients * share).sum(axis=(1, 2))
        assert (usage <= form.budgets * (1 + 1e-6) + 1e-9).all(), seed
        assert (form.cost * share).sum() == pytest.approx(reference, rel=1e-6), seed
        assert relaxed.split == int(((share > 1e-9).sum(axis=1) > 1).sum())


def test_prices_in_a_box_give_the_highest_bound_of_the_box() -> None:
    inside = 0
    for seed in range(60):
        rng = np.random.default_rng([12, seed])
        form = study(40, int(rng.integers(1, 4)), seed)
        best = relax(form).prices
        assert best is not None
        low = best * rng.choice([0.0, 0.5, 0.9, 1.1], len(best))
        high = low + rng.exponential(1, len(best)) * rng.choice([0.0, 0.1, 1.0], len(best))
        found = Dual(form, low, high).maximise()
        reference = lp_optimum(form, low, high)
        assert reference is not None
        assert found.bound == pytest.approx(reference, rel=1e-8, abs=1e-10), seed
        assert found.best is not None
        assert (found.best >= low).all(), seed
        assert (found.best <= high).all(), seed
        inside += bool(((best >= low) & (best <= high)).all())
    assert 5 < inside < 55


def test_a_dual_that_goes_from_budgets_to_budgets_finds_what_a_new_one_does() -> None:
    """Through budgets that exclude each other, and hardly so, and with prices to begin with that are far off."""
    for seed in range(6):
        form = study(60, 2, seed)
        attainable = form.coefficients[0].max(axis=1).sum()
        known = Dual(form)
        rng = np.random.default_rng([13, seed])
        edge = edge_of(form)
        rows = [form.budgets * rng.uniform(0.3, 2, 2) for _ in range(15)]
        rows += [np.array([form.budgets[0], edge * (1 + sign * 10.0**-k)]) for k in range(3, 13, 3) for sign in (-1, 1)]
        rows += [form.budgets * rng.uniform(0.3, 2, 2) for _ in range(15)]
        for number, row in enumerate(rows):
            other = form.with_budgets(row)
            known.with_budgets(other)
            start = None if number % 2 else rng.exponential(10, 2)
            one, new = known.maximise(start), relax(other)
            reference = lp_optimum(other)
            if abs(row[1] - edge) <= 1e-2 * edge:
                # So near the edge it is a matter of tolerances whether there are prices; what is said is true.
                assert reference is None or not one.infeasible, (seed, number)
                continue
            assert (one.prices is None) == (new.prices is None) == (reference is None), (seed, number)
            if reference is not None:
                assert one.bound == pytest.approx(reference, rel=1e-9, abs=1e-9 * attainable), (seed, number)


def edge_of(form: LinearForm) -> float:
    """The least that a mixture spends of the second row within the budget of the first."""
    other = LinearForm(
        form.coefficients[1], 0.0, form.coefficients[:1], form.budgets[:1], form.allowed, (0,)
    )  # fmt: skip
    least = lp_optimum(other)
    assert least is not None
    return least


def test_when_the_time_is_up_there_is_a_bound_and_no_price_and_that_is_said() -> None:
    form = study(100, 3, 1)
    late = Dual(form).maximise(ends=-math.inf)
    assert late.prices is None
    assert late.note == NOTES["late"]
    assert late.best is not None
    assert late.bound == lagrangian_bound(form, late.best)
    assert late.bound <= relax(form).bound
    assert not late.infeasible
    assert late.parts == ()


def test_it_is_enough_to_be_as_near_as_is_asked_for() -> None:
    form = study(150, 2, 2)
    best = relax(form).bound
    for within in (10.0, 0.1, 1e-3):
        rough = Dual(form).maximise(within=within * abs(best))
        assert best * (1 - within) - 1e-9 <= rough.bound <= best * (1 + 1e-12)


def test_budgets_below_what_any_selection_needs_are_infeasible_and_without_prices() -> None:
    form = study(20, 2, 3)
    below = relax(form.with_budgets(np.array([-0.1, 1.0])))
    assert (below.infeasible, below.prices, below.note) == (True, None, NOTES["below"])
    excluded = relax(form.with_budgets(np.zeros(2)))
    assert (excluded.infeasible, excluded.prices, excluded.note) == (True, None, NOTES["infeasible"])


def test_without_budgets_the_bound_is_the_optimum() -> None:
    form = linear_form(Problem.from_arrays({"mse": [[3.0, 1.0], [2.0, 5.0]]}, minimize="mse"))
    relaxed = relax(form)
    assert relaxed.prices is not None
    assert relaxed.prices.tolist() == []
    assert form.offset + relaxed.bound == pytest.approx(1.5)


def test_reduced_costs_are_never_negative_zero_at_the_least_and_infinite_where_not_allowed() -> None:
    rng = np.random.default_rng(14)
    for seed in range(20):
        form = study(10, 2, seed)
        prices = rng.exponential(1, 2)
        reduced = reduced_costs(form, prices)
        assert (reduced.min(axis=1) == 0).all()
        assert (np.isinf(reduced) == ~form.allowed).all()
        total = form.cost + prices[0] * form.coefficients[0] + prices[1] * form.coefficients[1]
        for i, j in np.argwhere(form.allowed)[:20]:
            least = total[i][form.allowed[i]].min()
            assert reduced[i, j] == pytest.approx(total[i, j] - least, abs=1e-12)


def test_a_price_is_the_gain_of_one_more_unit_of_budget() -> None:
    """Many equal images with one step of 10 mse for 0.5 bpp: 20 mse per bpp."""
    columns = {"mse": np.tile([30.0, 20.0], (50, 1)), "bpp": np.tile([0.5, 1.0], (50, 1))}
    selection = solve_problem(Problem.from_arrays(columns, minimize="mse", at_most={"bpp": 0.72}))
    assert selection.prices["bpp"] == pytest.approx(20.0)
    assert selection.budgets[0].sentence == "one more 0.01 bpp lowers the average mse by 0.2"


def test_the_price_of_a_lower_bound_and_of_a_maximum_is_said_in_the_right_words() -> None:
    columns = {
        "mse": np.tile([30.0, 20.0], (50, 1)),
        "bpp": np.tile([0.5, 1.0], (50, 1)),
        "psnr": np.tile([33.0, 35.0], (50, 1)),
    }
    low = solve_problem(Problem.from_arrays(columns, minimize="bpp", at_least={"psnr": 34.13}))
    assert low.prices["psnr"] == pytest.approx(0.25)
    assert low.budgets[0].sentence == "1 dB less psnr required lowers the average bpp by 0.25"
    high = solve_problem(Problem.from_arrays(columns, maximize="psnr", at_most={"bpp": 0.72}))
    assert high.prices["bpp"] == pytest.approx(4.0)
    assert high.budgets[0].sentence == "one more 0.01 bpp raises the average psnr by 0.04"


def test_a_budget_that_does_not_bind_is_worth_nothing() -> None:
    columns = {"mse": [[30.0, 20.0]], "bpp": [[0.5, 1.0]]}
    selection = solve_problem(Problem.from_arrays(columns, minimize="mse", at_most={"bpp": 3.0}))
    assert selection.prices == {"bpp": 0.0}
    assert selection.budgets[0].sentence == "more room in bpp would change nothing: it does not bind"


def test_a_price_that_is_not_known_is_said() -> None:
    problem = Problem.from_arrays({"mse": [[1.0]], "bpp": [[1.0]]}, minimize="mse", at_most={"bpp": 3.0})
    assert price_sentence(problem, problem.constraints[0], None) == "the price of bpp is not known"
