"""Enumeration of few images: the optimum of exhaustive search, where branching is slow too, or it gives up."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from rdp.errors import SolverError
from rdp.selection import Problem, Status, solve_problem
from rdp.selection.backends import RawAnswer
from rdp.selection.backends.enumerate import Enumerate
from rdp.selection.linear import linear_form


def narrow(images: int, points: int, width: float = 1e-4) -> Problem:
    """Minimise mse with a rate in a narrow window."""
    rng = np.random.default_rng(5)
    bpp = np.sort(rng.uniform(0.05, 1.5, (images, points)), axis=1)
    mse = 30 * np.exp(rng.normal(0, 0.5, (images, points))) / bpp
    return Problem.from_arrays(
        {"mse": mse, "bpp": bpp}, minimize="mse", at_most={"bpp": 0.5}, at_least={"bpp": 0.5 - width}
    )


def test_a_narrow_window_gives_the_exhaustive_optimum(exhaustive: Callable) -> None:
    for points in (5, 7):
        problem = narrow(5, points, 1e-2)
        best, _ = exhaustive(problem)
        selection = solve_problem(problem)
        assert selection.solver == "enumerate"
        assert selection.status is Status.OPTIMAL
        assert selection.objective == pytest.approx(best, rel=1e-12)
        assert selection.gap == 0


def test_a_window_too_narrow_for_any_selection_is_proven_infeasible_with_the_nearest(exhaustive: Callable) -> None:
    problem = narrow(4, 6, 1e-9)
    assert exhaustive(problem)[0] is None
    selection = solve_problem(problem)
    assert selection.status is Status.INFEASIBLE
    assert "the nearest feasible budget is --at-least bpp=0.49" in selection.explanation
    assert "perhaps" not in selection.explanation


def test_selections_that_were_cut_off_are_left_out() -> None:
    problem = Problem.from_arrays(
        {"mse": [[3.0, 1.0], [5.0, 2.0]], "bpp": [[0.1, 0.4], [0.1, 0.4]]}, minimize="mse", at_most={"bpp": 0.3}
    )
    form = linear_form(problem)
    first: RawAnswer = Enumerate().solve(form, 0.0, None)
    mask = np.zeros((2, 2), dtype=np.bool_)
    assert first.choice is not None
    mask[[0, 1], first.choice] = True
    second = Enumerate().solve(form.with_cut(mask), 0.0, None)
    assert first.choice.tolist() == [0, 1]
    assert second.choice is not None
    assert second.choice.tolist() == [1, 0]
    assert second.bound > first.bound


def test_many_images_are_left_to_a_solver() -> None:
    problem = narrow(30, 4)
    with pytest.raises(SolverError, match="enumerate is for up to 24 images; use another --solver"):
        solve_problem(problem, solver="enumerate")
    assert solve_problem(problem).solver == "highs"


def test_it_gives_up_beyond_its_work_limit_and_auto_asks_a_solver() -> None:
    """No price tells these apart: every image has points on a line, all of them equally good."""
    rng = np.random.default_rng(0)
    bpp = rng.uniform(0, 1, (20, 12))
    columns = {"mse": 2.0 - bpp, "bpp": bpp, "lpips": rng.uniform(0, 1, (20, 12))}
    problem = Problem.from_arrays(columns, minimize="mse", at_most={"bpp": 0.5, "lpips": 0.2})
    with pytest.raises(SolverError, match="enumerate gives up: too many selections are nearly as good"):
        solve_problem(problem, solver="enumerate")
    assert solve_problem(problem, gap=0.01).solver == "highs"
