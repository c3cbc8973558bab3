"""The canonical form: dominance, folding, budgets that every selection meets."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rdp.selection import Problem
from rdp.selection.check import excess
from rdp.selection.linear import dominated, linear_form
from rdp.selection.sweeping import with_budgets


@settings(deadline=None, max_examples=200)
@given(
    st.integers(1, 4).flatmap(
        lambda points: st.lists(
            st.lists(st.integers(0, 2), min_size=points, max_size=points), min_size=1, max_size=3
        ).map(np.array)
    )
)
def test_a_cell_is_dominated_exactly_when_another_beats_it_or_an_earlier_one_equals_it(values: np.ndarray) -> None:
    cells = values[:, None, :].astype(float)
    result = dominated(cells, np.ones((1, values.shape[1]), dtype=bool))[0]
    for j in range(values.shape[1]):
        column = values[:, j]
        expected = any(
            (values[:, k] <= column).all() and ((values[:, k] < column).any() or k < j)
            for k in range(values.shape[1])
            if k != j
        )
        assert result[j] == expected


def test_a_cell_that_is_not_allowed_dominates_nothing() -> None:
    values = np.array([[[1.0, 2.0]]])
    assert dominated(values, np.array([[False, True]])).tolist() == [[False, False]]


def test_dropping_dominated_cells_keeps_the_optimum_and_the_form_counts_as_the_problem_does(
    random_problem: Callable[[int], Problem],
    exhaustive: Callable[[Problem], tuple[float | None, list[tuple[int, ...]]]],
) -> None:
    for seed in range(300):
        problem = random_problem(seed)
        best, _ = exhaustive(problem)
        form = linear_form(problem)
        sign = 1.0 if problem.goal == "minimize" else -1.0
        found = []
        for choice in itertools.product(*[np.flatnonzero(row).tolist() for row in form.allowed]):
            picked = np.array(choice)
            cost = form.offset + form.cost_of(picked)
            assert abs(cost - sign * problem.objective.average(picked)) <= 1e-12, seed
            within = all(excess_k <= 0 for excess_k in excess(problem, picked))
            rows = range(len(picked))
            fits = all(row[rows, picked].sum() <= b for row, b in zip(form.coefficients, form.budgets, strict=True))
            assert fits or not within, seed  # no feasible selection is lost
            if within:
                found.append(cost)
        assert (best is None) == (not found), seed
        if best is not None:
            assert abs(min(found) - sign * best) <= 1e-12, seed


def test_a_budget_that_every_selection_meets_is_left_out() -> None:
    columns = {"mse": [[1.0, 2.0]], "bpp": [[0.3, 0.1]], "psnr": [[30.0, 28.0]]}
    problem = Problem.from_arrays(columns, minimize="mse", at_most={"bpp": 0.3}, at_least={"psnr": 28.0})
    assert linear_form(problem).rows == ()
    tighter = Problem.from_arrays(columns, minimize="mse", at_most={"bpp": 0.29}, at_least={"psnr": 28.0})
    assert linear_form(tighter).rows == (0,)


def test_a_form_for_other_budgets_is_the_form_of_the_problem_with_them(
    random_problem: Callable[[int], Problem],
) -> None:
    """Rows that every selection meets are kept for the budgets to come; otherwise nothing differs."""
    rng = np.random.default_rng(1)
    left_out = 0
    for seed in range(300):
        problem = random_problem(seed)
        every = linear_form(problem, every_row=True)
        budgets = [constraint.budget + float(rng.normal(0, 0.5)) for constraint in problem.constraints]
        form = linear_form(with_budgets(problem, budgets))
        signs = [1.0 if constraint.sense == "at_most" else -1.0 for constraint in problem.constraints]
        other = every.for_budgets([sign * budget for sign, budget in zip(signs, budgets, strict=True)])
        assert other.rows == tuple(range(len(budgets)))
        assert np.array_equal(other.cost, form.cost)
        assert other.offset == form.offset
        assert other.budgets[list(form.rows)].tolist() == form.budgets.tolist(), seed
        assert np.array_equal(other.coefficients[list(form.rows)], form.coefficients)
        for row in set(other.rows) - set(form.rows):
            assert other.coefficients[row].max(axis=1).sum() <= other.budgets[row]
            left_out += 1
    assert left_out > 50
