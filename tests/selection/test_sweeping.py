"""A sweep gives what single solves give, whatever came before."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from rdp.errors import SpecError
from rdp.selection import AUTO, Problem, Selection, Status, solve_many, solve_problem
from rdp.selection.answering import Deadline
from rdp.selection.linear import linear_form
from rdp.selection.result import DEFAULT_GAP
from rdp.selection.solving import solve_prepared
from rdp.selection.sweeping import with_budgets

Make = Callable[[int], Problem]


def study(images: int, points: int = 6, seed: int = 0, **words: object) -> Problem:
    """Rate, distortion and perception that trade off."""
    rng = np.random.default_rng(seed)
    scale = np.exp(rng.normal(0, 0.7, (images, 1)))
    level = np.geomspace(0.05, 1.2, points)[None]
    noise = np.exp(rng.normal(0, 0.05, (3, images, points)))
    columns = {
        "bpp": level * scale**0.8 * noise[0],
        "mse": 60 * scale * (level / 0.3) ** -rng.uniform(0.8, 1.4, (images, 1)) * noise[1],
        "lpips": 0.12 * (level / 0.3) ** -rng.uniform(0.3, 0.8, (images, 1)) * noise[2],
    }
    return Problem.from_arrays(columns, **{"minimize": "mse", "at_most": {"bpp": 0.3, "lpips": 0.15}, **words})


def alone(problem: Problem, row: Sequence[float]) -> Selection:
    """A single solve, without an explanation where there is no selection."""
    stated = with_budgets(problem, row)
    if stated.max_points is not None:
        return solve_problem(stated)
    return solve_prepared(stated, linear_form(stated), AUTO, DEFAULT_GAP, Deadline.of(None), explain=False)


def same(one: Selection, other: Selection, row: object) -> None:
    """Both are proven and equally good; the bounds agree as the objectives do."""
    assert one.status is other.status, row
    if other.status is Status.INFEASIBLE:
        assert one.choice is None
        return
    assert one.status is Status.OPTIMAL, row
    assert one.objective is not None
    assert one.objective == pytest.approx(other.objective, rel=2e-9, abs=1e-12), row
    assert one.bound == pytest.approx(other.bound, rel=2e-9, abs=1e-12), row
    assert [budget.budget for budget in one.budgets] == list(row) == [budget.budget for budget in other.budgets]
    assert all(budget.slack is not None and budget.slack >= 0 for budget in one.budgets)


@pytest.mark.parametrize("order", ["up", "down", "at random"])
def test_a_sweep_equals_single_solves_in_any_order_of_budgets(order: str) -> None:
    """Among them budgets that are out of reach, and budgets that bind nothing."""
    problem = study(80)
    rows = list(itertools.product(np.linspace(0.03, 1.6, 12).tolist(), [0.1, 0.14, 0.5]))
    if order == "down":
        rows.reverse()
    if order == "at random":
        rows = [rows[k] for k in np.random.default_rng(1).permutation(len(rows))]
    found = list(solve_many(problem, rows))
    assert {selection.status for selection in found} == {Status.OPTIMAL, Status.INFEASIBLE}
    for row, selection in zip(rows, found, strict=True):
        same(selection, alone(problem, row), row)


def test_a_sweep_of_lower_bounds_and_of_both_sides_equals_single_solves() -> None:
    columns = {term.column: term.values for term in study(60).terms.values()}
    problem = Problem.from_arrays(
        columns, minimize="bpp", at_least={"mse": 10.0, "lpips": 0.1}, at_most={"mse": 60.0}, weights={"mse": "pixels"},
        pixels=np.exp(np.random.default_rng(2).normal(0, 1, 60)),
    )  # fmt: skip
    order = [(c.term.column, c.sense) for c in problem.constraints]
    rows = []
    for low, high, perception in itertools.product([5.0, 30.0], [31.0, 100.0], [0.1, 0.2]):
        values = {("mse", "at_least"): low, ("mse", "at_most"): high, ("lpips", "at_least"): perception}
        rows.append([values[key] for key in order])
    for row, selection in zip(rows, solve_many(problem, rows), strict=True):
        same(selection, alone(problem, row), row)


def test_a_sweep_of_groups_equals_single_solves() -> None:
    names = ["ab"[k % 2] for k in range(40)]
    problem = study(40, at_most=None, group_at_most={"bpp": 0.3}, groups=names)
    rows = list(itertools.product([0.1, 0.3, 0.8], [0.2, 0.4]))
    for row, selection in zip(rows, solve_many(problem, rows), strict=True):
        same(selection, alone(problem, row), row)


def test_random_problems_are_swept_as_they_are_solved(random_problem: Make) -> None:
    """Ties, zeros, negative values and ragged tables; the first budgets, then others, then the first again."""
    rng = np.random.default_rng(3)
    for seed in range(150):
        problem = random_problem(seed)
        own = [constraint.budget for constraint in problem.constraints]
        rows = [own, *(np.array(own) + rng.normal(0, 0.5, (3, len(own)))).tolist(), own]
        found = list(solve_many(problem, rows))
        for row, selection in zip(rows, found, strict=True):
            same(selection, alone(problem, row), row)
        assert found[0].objective == found[-1].objective, seed


def test_many_budgets_at_the_edge_of_what_is_attainable_do_not_spoil_the_later_ones() -> None:
    """Just below the least attainable average the prices grow without end, again and again."""
    problem = study(50, at_most={"bpp": 0.3})
    least = float(problem.constraints[0].term.values.min(axis=1).mean())
    rows = [[least * (1 + sign * 10.0**-digits)] for digits in range(6, 14) for sign in (-1, 1)] * 20
    after = [[0.2], [0.3], [0.5]]
    found = list(solve_many(problem, [*rows, *after]))
    for row, selection in zip(after, found[len(rows) :], strict=True):
        same(selection, alone(problem, row), row)
    for row, selection in zip(rows, found, strict=False):
        assert selection.status is alone(problem, row).status, row


def test_planes_of_long_sweeps_are_forgotten_without_harm() -> None:
    """More planes than are kept, several times over."""
    problem = study(30, 8)
    rng = np.random.default_rng(4)
    rows = np.column_stack([rng.uniform(0.1, 1.2, 400), rng.uniform(0.09, 0.25, 400)]).tolist()
    for number, (row, selection) in enumerate(zip(rows, solve_many(problem, rows), strict=True)):
        if number % 20 == 0 or number > 390:
            same(selection, alone(problem, row), row)


def test_problems_that_cannot_be_swept_are_solved_one_by_one() -> None:
    """A limit of points, and no budgets at all."""
    limited = study(12, 4, max_points=2)
    rows = [[0.3, 0.2], [0.6, 0.2]]
    for row, selection in zip(rows, solve_many(limited, rows), strict=True):
        assert len(set(selection.required_choice.tolist())) <= 2
        assert selection.objective == alone(limited, row).objective
    free = study(12, 4, at_most=None)
    assert [selection.solver for selection in solve_many(free, [[], []])] == ["separable", "separable"]


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(SpecError, match="2 budgets are needed, one for each constraint; got 1"):
        list(solve_many(study(5), [[0.3]]))
