"""Solvers are not believed: selections that pass a budget are cut off, bounds that cannot be are not used."""

from __future__ import annotations

import numpy as np
import pytest

from rdp.errors import SolverError
from rdp.selection import Problem, Status
from rdp.selection.backends import RawAnswer, load_backend
from rdp.selection.check import excess, solve_checked
from rdp.selection.linear import LinearForm, linear_form


def many_near_a_budget(images: int = 6) -> Problem:
    """Every image gains by its second point, and a budget that any two of them pass by 1e-9 of it."""
    bpp = np.tile([0.0, 0.5 * (1 + 1e-9)], (images, 1)) + np.arange(images)[:, None] * [[0, 1e-13]]
    mse = np.tile([2.0, 1.0], (images, 1))
    return Problem.from_arrays({"mse": mse, "bpp": bpp}, minimize="mse", at_most={"bpp": 1.0 / images})


class Careless:
    """A solver with a tolerance: it solves the form with budgets that are wider by 1e-6 of them."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, form: LinearForm) -> RawAnswer:
        self.calls += 1
        wider = form.with_budgets(form.budgets * (1 + 1e-6))
        return load_backend("highs").solve(wider, 0.0, None)


def test_selections_that_pass_a_budget_are_cut_off_until_one_does_not() -> None:
    problem = many_near_a_budget()
    careless = Careless()
    answer = solve_checked(problem, linear_form(problem), careless, "careless")
    assert careless.calls > 1
    assert answer.choice is not None
    assert max(excess(problem, answer.choice)) <= 0
    assert answer.choice.sum() == 1  # two images at the second point pass the budget by 1e-9
    assert "careless passed the budget of bpp <= 0.166667 within its tolerance" in answer.notes[0]


def test_the_bound_of_a_mended_answer_is_still_a_bound() -> None:
    problem = many_near_a_budget(4)
    form = linear_form(problem)
    answer = solve_checked(problem, form, Careless(), "careless")
    best = 2.0 - 1 / 4
    assert form.offset + answer.bound <= best + 1e-12
    assert problem.objective.average(np.asarray(answer.choice)) == best


def test_a_solver_that_never_keeps_a_budget_is_given_up() -> None:
    problem = many_near_a_budget()

    def stubborn(form: LinearForm) -> RawAnswer:
        return RawAnswer(Status.OPTIMAL, np.ones(form.images, dtype=np.int64), 0.0)

    with pytest.raises(
        SolverError, match="stubborn keeps returning selections that pass the budget of bpp <= 0.166667"
    ):
        solve_checked(problem, linear_form(problem), stubborn, "stubborn")


def test_a_point_that_is_not_allowed_is_refused() -> None:
    problem = Problem.from_arrays({"mse": [[1.0, 2.0]]}, minimize="mse", allowed=[[False, True]])

    def wrong(form: LinearForm) -> RawAnswer:
        return RawAnswer(Status.OPTIMAL, np.zeros(form.images, dtype=np.int64), 0.0)

    with pytest.raises(SolverError, match="a point that is not allowed"):
        solve_checked(problem, linear_form(problem), wrong, "wrong")


def test_a_bound_above_the_checked_objective_is_not_used_and_said() -> None:
    problem = Problem.from_arrays({"mse": [[1.0, 2.0], [1.0, 5.0]]}, minimize="mse")

    def boastful(form: LinearForm) -> RawAnswer:
        return RawAnswer(Status.OPTIMAL, np.array([1, 1]), 9.0)

    answer = solve_checked(problem, linear_form(problem), boastful, "boastful")
    assert answer.bound == -np.inf
    assert "bound was above the checked objective" in answer.notes[0]


def test_a_budget_met_with_equality_is_feasible() -> None:
    columns = {"mse": [[3.0, 1.0]] * 3, "bpp": [[0.1, 0.2]] * 3}
    budget = float(np.mean([0.1, 0.2, 0.2]))
    problem = Problem.from_arrays(columns, minimize="mse", at_most={"bpp": budget})
    assert max(excess(problem, np.array([0, 1, 1]))) <= 0
    assert max(excess(problem, np.array([1, 1, 1]))) > 0


def test_the_tolerance_is_the_rounding_of_a_mean_and_no_more() -> None:
    problem = Problem.from_arrays(
        {"mse": [[1.0]], "bpp": [[0.25]]}, minimize="mse", at_most={"bpp": 0.25 * (1 - 1e-11)}
    )
    assert max(excess(problem, np.array([0]))) > 0
    problem = Problem.from_arrays(
        {"mse": [[1.0]], "bpp": [[0.25]]}, minimize="mse", at_most={"bpp": 0.25 * (1 - 1e-13)}
    )
    assert max(excess(problem, np.array([0]))) <= 0
