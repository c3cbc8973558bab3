"""Problems too large to copy: the verb takes the passes for them, and what comes out is checked as everything is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rdp.selection import Problem, Selection, Status, solve_problem
from rdp.selection.answering import Deadline
from rdp.selection.check import excess
from rdp.selection.large import LARGE, NAME, is_large, solve_large
from rdp.selection.linear import linear_form
from rdp.selection.solving import solve_prepared


def study(images: int, points: int = 8, seed: int = 0, **words: object) -> Problem:
    rng = np.random.default_rng([51, seed])
    scale = np.exp(rng.normal(0, 0.7, (images, 1)))
    level = np.geomspace(0.05, 1.2, points)[None]
    noise = np.exp(rng.normal(0, 0.05, (3, images, points)))
    columns = {
        "bpp": level * scale**0.8 * noise[0],
        "mse": 60 * scale * (level / 0.3) ** -rng.uniform(0.8, 1.4, (images, 1)) * noise[1],
        "lpips": 0.12 * (level / 0.3) ** -rng.uniform(0.3, 0.8, (images, 1)) * noise[2],
    }
    return Problem.from_arrays(columns, **{"minimize": "mse", "at_most": {"bpp": 0.3, "lpips": 0.13}, **words})


def whole(problem: Problem, gap: float) -> Selection:
    """By the form in memory."""
    return solve_prepared(problem, linear_form(problem), "auto", gap, Deadline.of(60))


def compare(problem: Problem, gap: float) -> Selection:
    """The same as the form says, with true budgets, averages and bounds."""
    selection, expected = solve_large(problem, gap, Deadline.of(None)), whole(problem, gap)
    assert selection is not None
    assert selection.choice is not None
    assert max(excess(problem, selection.choice), default=0.0) <= 0
    assert selection.objective == problem.objective.average(selection.choice)
    sign = 1.0 if problem.goal == "minimize" else -1.0
    assert sign * selection.bound <= sign * expected.objective + 1e-14 * abs(expected.objective)
    assert sign * expected.bound <= sign * selection.objective + 1e-14 * abs(expected.objective)
    assert (selection.status is Status.OPTIMAL) == (selection.gap <= gap * (1 + 1e-6))
    for budget, constraint in zip(selection.budgets, problem.constraints, strict=True):
        assert budget.average == constraint.term.average(selection.choice)
        assert budget.slack >= 0
    return selection


@pytest.mark.parametrize("seed", range(4))
def test_large_problems_are_solved_as_by_the_whole_form(seed: int) -> None:
    selection = compare(study(20_000, seed=seed), 1e-5)
    assert selection.status is Status.OPTIMAL
    assert selection.solver == NAME
    assert selection.split_images is not None
    assert all(price is not None and price > 0 for price in selection.prices.values())


def test_the_verb_takes_the_passes_for_a_large_problem_and_only_for_those() -> None:
    images = LARGE // 24 + 1
    large, small = study(images, 8), study(images - 2, 8)
    assert is_large(large)
    assert not is_large(small)
    assert not is_large(study(images, 8, group_at_most={"bpp": 0.5}, groups=["a"] * images))
    selection = solve_problem(large, gap=1e-6)
    assert (selection.solver, selection.status) == (NAME, Status.OPTIMAL)
    other = solve_problem(small, gap=1e-6)
    assert (other.solver, other.status) == ("dual", Status.OPTIMAL)
    assert selection.objective == pytest.approx(other.objective, rel=1e-3)


@pytest.mark.parametrize("goal", ["minimize", "maximize"])
def test_without_budgets_every_image_takes_its_best_point(goal: str) -> None:
    rng = np.random.default_rng(1)
    allowed = rng.random((50_000, 5)) < 0.8
    allowed[:, 2] = True
    values = rng.normal(0, 1, allowed.shape)
    problem = Problem.from_arrays({"mse": values}, **{goal: "mse"}, allowed=allowed)
    selection = compare(problem, 1e-9)
    sign = 1.0 if goal == "minimize" else -1.0
    assert selection.choice.tolist() == np.where(allowed, sign * values, np.inf).argmin(axis=1).tolist()
    assert (selection.gap, selection.split_images, selection.solver) == (0.0, 0, "separable")
    assert selection.bound == selection.lp_bound == selection.objective


def test_a_maximum_with_lower_bounds_and_pixel_weights() -> None:
    problem = study(20_000)
    columns = {term.column: term.values for term in problem.terms.values()}
    columns["psnr"] = 10 * np.log10(255**2 / columns["mse"])
    rng = np.random.default_rng(2)
    allowed = rng.random(columns["bpp"].shape) < 0.8
    allowed[:, 3] = True
    problem = Problem.from_arrays(
        columns,
        maximize="psnr",
        at_most={"bpp": 0.3},
        at_least={"lpips": 0.05},
        weights={"bpp": "pixels"},
        pixels=np.exp(rng.normal(12, 1, 20_000)),
        allowed=allowed,
    )
    assert compare(problem, 1e-5).status is Status.OPTIMAL


def test_budgets_out_of_reach_are_left_to_the_whole_form_which_says_why() -> None:
    problem = study(20_000, at_most={"bpp": 0.01})
    assert solve_large(problem, 1e-6, Deadline.of(None)) is None
    assert solve_problem(problem).status is Status.INFEASIBLE


def test_budgets_met_to_the_digit_are_kept_and_used() -> None:
    """All images at the middle point meet the budgets exactly; so does what is chosen, in the last digits too."""
    problem = study(10_000)
    choice = np.full(10_000, 4)
    exact = tuple(replace(c, budget=c.term.average(choice)) for c in problem.constraints)
    selection = compare(replace(problem, constraints=exact), 1e-6)
    assert selection.objective <= problem.objective.average(choice)


def test_with_little_time_the_answer_is_a_true_one() -> None:
    problem = study(50_000)
    best = whole(problem, 1e-6)
    for limit in (1e-6, 0.01, 0.05):
        selection = solve_large(problem, 1e-9, Deadline.of(limit))
        if selection is not None:
            assert selection.status in (Status.OPTIMAL, Status.FEASIBLE)
            assert selection.bound <= best.objective
            assert selection.objective >= best.bound
            assert max(excess(problem, selection.required_choice)) <= 0


def test_the_answer_is_the_same_on_every_run() -> None:
    first, again = (solve_large(study(30_000, seed=3), 1e-6, Deadline.of(None)) for _ in range(2))
    assert first is not None
    assert again is not None
    assert first.choice.tolist() == again.choice.tolist()
    assert (first.bound, first.prices) == (again.bound, again.prices)
