"""Prices are what they say, and the Lagrangian bound is a bound."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.optimize import linprog

from rdp.selection import Problem, solve_problem
from rdp.selection.dual import Dual, Relaxation, lagrangian_bound
from rdp.selection.linear import LinearForm, linear_form
from rdp.selection.price_words import price_sentence

Search = Callable[[Problem], tuple[float | None, list[tuple[int, ...]]]]


def relax(form: LinearForm) -> Relaxation:
    """The relaxation of a form."""
    return Dual(form).maximise()


def lp_optimum(form: LinearForm) -> float | None:
    """The linear relaxation by SciPy, as an independent reference."""
    image, point = form.cells
    choose = np.zeros((form.images, len(image)))
    choose[image, np.arange(len(image))] = 1
    result = linprog(
        form.cost[image, point],
        A_ub=form.coefficients[:, image, point] if len(form.budgets) else None,
        b_ub=form.budgets if len(form.budgets) else None,
        A_eq=choose,
        b_eq=np.ones(form.images),
        bounds=(0, 1),
    )
    return float(result.fun) if result.success else None


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
    for seed in range(600):
        problem = random_problem(seed)
        best, _ = exhaustive(problem)
        relaxed = relax(linear_form(problem))
        if best is None:
            proofs += relaxed.infeasible
        else:
            assert not relaxed.infeasible, seed
            assert relaxed.prices is not None, (seed, relaxed.note)
    assert proofs > 100


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
