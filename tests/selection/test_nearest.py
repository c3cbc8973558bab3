"""The nearest budgets against exhaustive search and scipy, and what is written against an actual selection."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linprog

from rdp.errors import SolverError
from rdp.selection import Problem
from rdp.selection.check import CheckedAnswer, excess
from rdp.selection.explaining.nearest import Relaxed, nearest_budgets
from rdp.selection.explaining.phase_one import PhaseOne, find_prices
from rdp.selection.status import Status

RELAXED = 2e-8
"""Relaxations agree to this part of the budgets; of 400 cells or fewer they are proven to 1e-8."""


def exactly(problem: Problem) -> CheckedAnswer:
    """The optimum of a small problem: all selections at once, budgets met up to 1e-12 of them or of their values."""
    options = [np.flatnonzero(row) for row in problem.allowed]
    choices = np.stack([grid.ravel() for grid in np.meshgrid(*options, indexing="ij")], axis=1)
    images = np.arange(len(options))

    def averages(term: Any, values: np.ndarray) -> np.ndarray:
        return values[images, choices] @ (term.weights / math.fsum(term.weights))

    cost = averages(problem.objective, problem.objective.values) * (1 if problem.goal == "minimize" else -1)
    for constraint in problem.constraints:
        sign = 1 if constraint.sense == "at_most" else -1
        over = sign * (averages(constraint.term, constraint.term.values) - constraint.budget)
        size = averages(constraint.term, np.abs(constraint.term.values))
        cost = np.where(over <= 1e-12 * np.maximum(size, abs(constraint.budget)), cost, np.inf)
    best = int(cost.argmin())
    if cost[best] == np.inf:
        return CheckedAnswer(Status.INFEASIBLE, None, math.inf)
    return CheckedAnswer(Status.OPTIMAL, choices[best].astype(np.int64), float(cost[best]))


def never(problem: Problem) -> CheckedAnswer:
    """A solver that has no time."""
    return CheckedAnswer(Status.UNKNOWN, None, -math.inf)


def nearest(problem: Problem, solve: Callable[[Problem], CheckedAnswer] = exactly, ends: float = math.inf) -> Relaxed:
    return nearest_budgets(problem, solve, ends)


def scale_of(problem: Problem, constraint: Any) -> float:
    """|budget|, or the range of attainable averages for a budget of zero: plain loops."""
    total = math.fsum(constraint.term.weights)
    low, high, size = [], [], []
    for weight, values, allowed in zip(constraint.term.weights, constraint.term.values, problem.allowed, strict=True):
        inside = [float(v) for v, ok in zip(values, allowed, strict=True) if ok]
        low.append(weight * min(inside))
        high.append(weight * max(inside))
        size.append(weight * max(map(abs, inside)))
    if abs(constraint.budget) > 1e-9 * math.fsum(size) / total:
        return abs(constraint.budget)
    return (math.fsum(high) - math.fsum(low)) / total or math.fsum(size) / total or 1.0


def smallest_relaxation(problem: Problem) -> float:
    """The least, over selections, of the largest excess: by going through all of them."""
    scales = [scale_of(problem, constraint) for constraint in problem.constraints]
    options = [np.flatnonzero(row).tolist() for row in problem.allowed]
    best = math.inf
    for choice in itertools.product(*options):
        worst = -math.inf
        for constraint, scale in zip(problem.constraints, scales, strict=True):
            term = constraint.term
            total = math.fsum(
                w * float(term.values[i, j]) for i, (w, j) in enumerate(zip(term.weights, choice, strict=True))
            )
            average = total / math.fsum(term.weights)
            over = average - constraint.budget if constraint.sense == "at_most" else constraint.budget - average
            worst = max(worst, over / scale)
        best = min(best, worst)
    return best


def is_met(problem: Problem, found: Relaxed) -> bool:
    """Whether the written budgets have a selection, found by going through all of them."""
    assert found.nearest is not None
    written = tuple(
        replace(constraint, budget=float(new.text))
        for constraint, new in zip(problem.constraints, found.nearest.budgets, strict=True)
    )
    wider = replace(problem, constraints=written)
    assert max(excess(wider, found.nearest.choice)) <= 0
    return exactly(wider).choice is not None


def tightened(problem: Problem, seed: int) -> Problem:
    """Budgets moved out of reach or nearly, so that most problems are infeasible."""
    rng = np.random.default_rng([5, seed])
    moved = []
    for constraint in problem.constraints:
        spread = float(np.ptp(constraint.term.values[problem.allowed])) or 1.0
        step = spread * float(rng.choice([0.0, 0.02, 0.2, 0.6]))
        moved.append(
            replace(
                constraint,
                budget=constraint.budget - step if constraint.sense == "at_most" else constraint.budget + step,
            )
        )
    return replace(problem, constraints=tuple(moved))


def check_against_exhaustive_search(problem: Problem) -> None:
    found = nearest(problem)
    assert found.nearest is not None
    best = smallest_relaxation(problem)
    assert found.bound <= best + 1e-12 * (1 + abs(best))
    assert found.nearest.relaxation == pytest.approx(best, rel=RELAXED, abs=RELAXED)
    assert found.nearest.proven
    assert found.nearest.lower_bound <= best + 1e-12 * (1 + abs(best))
    assert is_met(problem, found)
    for constraint, new in zip(problem.constraints, found.nearest.budgets, strict=True):
        sign = 1.0 if constraint.sense == "at_most" else -1.0
        moved = sign * (new.budget - constraint.budget)
        assert moved >= 0
        # Rounding to a tenth of the move, or to six digits, is all that is written beyond the relaxation.
        room = found.nearest.relaxation * scale_of(problem, constraint) + max(0.11 * moved, 2e-5 * abs(new.budget))
        assert moved <= room * (1 + 1e-9)


def infeasible(seeds: range, random_problem: Callable, exhaustive: Callable) -> list[Problem]:
    problems = [tightened(random_problem(seed), seed) for seed in seeds]
    small = [p for p in problems if math.prod(p.allowed.sum(axis=1).tolist()) <= 2000]
    return [problem for problem in small if exhaustive(problem)[0] is None]


def test_the_smallest_relaxation_is_that_of_exhaustive_search(random_problem: Callable, exhaustive: Callable) -> None:
    problems = infeasible(range(220), random_problem, exhaustive)
    assert len(problems) > 100
    for problem in problems:
        check_against_exhaustive_search(problem)


@pytest.mark.slow
def test_the_smallest_relaxation_of_many_more_is_that_of_exhaustive_search(
    random_problem: Callable, exhaustive: Callable
) -> None:
    for problem in infeasible(range(1000, 2500), random_problem, exhaustive):
        check_against_exhaustive_search(problem)


def window(width: float, budget: float = 0.5) -> Problem:
    """A column bounded on both sides so narrowly that no whole choice fits, though mixtures do."""
    rng = np.random.default_rng(3)
    columns = {"mse": rng.exponential(50, (4, 5)), "bpp": rng.uniform(0.1, 1.0, (4, 5))}
    limits: Mapping[str, Any] = {"at_most": {"bpp": budget + width}, "at_least": {"bpp": budget}}
    return Problem.from_arrays(columns, minimize="mse", **limits)


@pytest.mark.parametrize("width", [1e-5, 1e-7, 1e-9])
def test_budgets_that_only_whole_choices_miss_have_a_small_relaxation_and_other_numbers(
    width: float, exhaustive: Callable
) -> None:
    problem = window(width)
    assert exhaustive(problem)[0] is None
    found = nearest(problem)
    assert found.bound <= 0
    check_against_exhaustive_search(problem)
    assert found.nearest is not None
    assert 0 < found.nearest.relaxation < 0.05
    assert any(new.budget != new.was for new in found.nearest.budgets)


def test_a_relaxation_far_below_six_digits_is_written_with_as_many_as_it_takes() -> None:
    """0.3 is attainable, 0.29999999 is asked for: six digits would write the same number, and one not attainable."""
    problem = Problem.from_arrays(
        {"mse": [[1.0, 2.0]], "bpp": [[0.3, 0.4]]}, minimize="mse", at_most={"bpp": 0.29999999}
    )
    found = nearest(problem).nearest
    assert found is not None
    assert found.options == "--at-most bpp=0.3"
    other = nearest(replace(problem, constraints=(replace(problem.constraints[0], budget=0.3 - 1e-11),))).nearest
    assert other is not None
    assert other.relaxation == pytest.approx(1e-11 / 0.3, rel=1e-4)
    assert other.options == "--at-most bpp=0.3"
    term = replace(problem.constraints[0].term, values=np.array([[0.3000000004, 0.4]]))
    third = nearest(replace(problem, constraints=(replace(problem.constraints[0], term=term, budget=0.3),))).nearest
    assert third is not None
    assert third.options == "--at-most bpp=0.3000000004"


def test_a_budget_of_zero_is_relaxed_by_a_part_of_the_attainable_range() -> None:
    columns = {"mse": [[1.0, 2.0], [3.0, 4.0]], "bias": [[1.0, 5.0], [2.0, 4.0]]}
    found = nearest(Problem.from_arrays(columns, minimize="mse", at_most={"bias": 0.0})).nearest
    assert found is not None
    assert found.by_range == ("bias",)
    assert found.relaxation == pytest.approx(1.5 / 3.0)
    assert found.options == "--at-most bias=1.5"


@pytest.mark.parametrize(
    ("words", "options", "relaxation"),
    [
        ({"at_most": {"a": -3.0}}, "--at-most a=-2.5", 1 / 6),
        ({"at_least": {"a": -0.5}}, "--at-least a=-1", 1.0),
        ({"at_least": {"a": 1.0}}, "--at-least a=-1", 2.0),
    ],
)
def test_negative_budgets_are_relaxed_by_a_part_of_their_size(words: Any, options: str, relaxation: float) -> None:
    problem = Problem.from_arrays({"mse": [[1.0, 2.0]] * 2, "a": [[-2.0, -1.0], [-3.0, -1.0]]}, minimize="mse", **words)
    found = nearest(problem).nearest
    assert found is not None
    assert found.options == options
    assert found.relaxation == pytest.approx(relaxation)


def test_a_budget_that_needs_no_relaxation_is_kept_as_it_was() -> None:
    """The budget of bpp is out of reach by a third; psnr is had at no cost, though it might be relaxed by as much."""
    columns = {"mse": [[1.0, 2.0]], "bpp": [[0.4, 0.4]], "psnr": [[20.0, 32.0]]}
    problem = Problem.from_arrays(columns, minimize="mse", at_most={"bpp": 0.3}, at_least={"psnr": 30.125})
    found = nearest(problem).nearest
    assert found is not None
    assert found.options == "--at-most bpp=0.4 --at-least psnr=30.125"


def test_image_bounds_and_forbidden_cells_are_kept() -> None:
    allowed = np.array([[False, True, True], [True, True, False]])
    columns = {"mse": np.ones((2, 3)), "bpp": [[0.1, 0.5, 0.9], [0.3, 0.4, 0.1]]}
    problem = Problem.from_arrays(columns, minimize="mse", at_most={"bpp": 0.2}, allowed=allowed)
    found = nearest(problem).nearest
    assert found is not None
    assert found.options == "--at-most bpp=0.4"
    assert found.choice.tolist() == [1, 0]


def three_columns(images: int, points: int, seed: int) -> dict[str, np.ndarray]:
    """Rate up, distortion and perceptual distance down along the points, with noise."""
    rng = np.random.default_rng(seed)
    size = np.exp(rng.normal(0, 0.7, images))[:, None]
    rate = np.geomspace(0.05, 1.2, points)[None] * size * np.exp(rng.normal(0, 0.05, (images, points)))
    mse = 20 * size**2 / rate * np.exp(rng.normal(0, 0.05, (images, points)))
    lpips = 0.1 * np.sqrt(size / rate) * np.exp(rng.normal(0, 0.15, (images, points)))
    return {"bpp": rate, "mse": mse, "lpips": lpips}


def hard(images: int = 60, points: int = 6, seed: int = 0, **words: Any) -> Problem:
    columns = three_columns(images, points, seed)
    limits = {"bpp": float(columns["bpp"].mean(axis=0)[1]), "lpips": float(columns["lpips"].mean(axis=0)[-2])}
    return Problem.from_arrays(columns, minimize="mse", at_most=limits, **words)


def test_the_dual_is_the_linear_programme_of_scipy() -> None:
    """The least t with mixtures of points, every budget relaxed by t of itself."""
    for seed in range(4):
        problem = hard(40, 5, seed, at_least={"mse": 1e4} if seed % 2 else None)
        images, points = problem.shape
        count = images * points
        rows = []
        for constraint in problem.constraints:
            sign = 1.0 if constraint.sense == "at_most" else -1.0
            share = constraint.term.weights / constraint.term.weights.sum()
            rows.append([*(sign * share[:, None] * constraint.term.values).ravel(), -abs(constraint.budget)])
        budgets = [c.budget if c.sense == "at_most" else -c.budget for c in problem.constraints]
        one_each = np.kron(np.eye(images), np.ones(points))
        reference = linprog(
            [*np.zeros(count), 1.0],
            A_ub=np.array(rows),
            b_ub=budgets,
            A_eq=np.hstack([one_each, np.zeros((images, 1))]),
            b_eq=np.ones(images),
            bounds=[(0, None)] * count + [(None, None)],
        )
        found = find_prices(PhaseOne.of(problem), math.inf)
        assert found.bound == pytest.approx(reference.fun, rel=1e-7)
        assert found.bound <= reference.fun + 1e-9


def test_groups_that_are_apart_need_the_largest_of_their_relaxations() -> None:
    """Without a budget for all images, every group is a problem of its own."""
    columns = three_columns(9, 3, 7)
    names = [f"g{k % 3}" for k in range(9)]
    words: Any = {"group_at_most": {"bpp": 0.1, "lpips": 0.15}}
    whole = Problem.from_arrays(columns, minimize="mse", groups=names, **words)
    found = nearest(whole)
    parts = []
    for group in sorted(set(names)):
        rows = [k for k, name in enumerate(names) if name == group]
        part = {name: values[rows] for name, values in columns.items()}
        own = Problem.from_arrays(part, minimize="mse", at_most={"bpp": 0.1, "lpips": 0.15})
        parts.append(smallest_relaxation(own))
    assert found.nearest is not None
    assert found.nearest.relaxation == pytest.approx(max(parts), rel=RELAXED)
    assert found.nearest.proven
    assert len(found.nearest.budgets) == 6
    first, second = found.nearest.options.split(" --")
    assert first.startswith("--group-at-most bpp=")
    assert second.startswith("group-at-most lpips=")
    values = {"bpp": float(first.split("=")[1]), "lpips": float(second.split("=")[1])}
    again = Problem.from_arrays(columns, minimize="mse", groups=names, group_at_most=values)
    assert exactly(again).choice is not None


def test_many_groups_and_a_budget_for_all_have_a_bound_below_what_is_found() -> None:
    columns = three_columns(240, 4, 1)
    names = [f"g{k % 60}" for k in range(240)]
    problem = Problem.from_arrays(
        columns, minimize="mse", at_most={"bpp": 0.15}, group_at_most={"lpips": 0.2}, groups=names
    )
    found = nearest(problem, never)
    assert found.nearest is not None
    assert 0 < found.nearest.lower_bound <= found.nearest.relaxation
    written = tuple(
        replace(c, budget=new.budget) for c, new in zip(problem.constraints, found.nearest.budgets, strict=True)
    )
    assert max(excess(replace(problem, constraints=written), found.nearest.choice)) <= 0


def test_a_large_table_is_relaxed_to_a_ten_thousandth_without_any_solver() -> None:
    for seed in range(3):
        found = nearest(hard(20_000, 8, seed), never)
        assert found.nearest is not None
        assert found.nearest.relaxation - found.nearest.lower_bound <= 1e-4 * found.nearest.relaxation
        assert found.nearest.lower_bound == pytest.approx(found.bound)


def test_what_a_solver_that_has_no_time_leaves_open_is_not_called_proven() -> None:
    found = nearest(hard(), never)
    assert found.nearest is not None
    assert not found.nearest.proven
    assert 0 < found.nearest.lower_bound < found.nearest.relaxation


def test_after_the_deadline_no_problem_is_solved_and_what_is_known_is_told() -> None:
    asked: list[Problem] = []

    def count(problem: Problem) -> CheckedAnswer:
        asked.append(problem)
        return never(problem)

    problem = hard()
    found = nearest(problem, count, ends=perf_counter() - 1.0)
    assert not asked
    assert found.nearest is not None
    assert found.nearest.lower_bound <= nearest(problem, count).nearest.relaxation  # type: ignore[union-attr]
    written = tuple(
        replace(c, budget=new.budget) for c, new in zip(problem.constraints, found.nearest.budgets, strict=True)
    )
    assert max(excess(replace(problem, constraints=written), found.nearest.choice)) <= 0


def test_a_solver_that_fails_leaves_what_is_known_and_is_told_of() -> None:
    def fails(problem: Problem) -> CheckedAnswer:
        raise SolverError("out of memory")

    found = nearest(hard(), fails)
    assert found.nearest is not None
    assert not found.nearest.proven
    assert found.notes == ("the nearest budgets are not proven: out of memory",)


def test_budgets_that_a_selection_meets_are_not_explained_but_refused() -> None:
    problem = Problem.from_arrays({"mse": [[1.0, 2.0]], "bpp": [[0.1, 0.4]]}, minimize="mse", at_most={"bpp": 0.2})
    with pytest.raises(SolverError, match="a selection meets them"):
        nearest(problem)


def test_the_answer_does_not_depend_on_the_run() -> None:
    first, second = nearest(hard(), never), nearest(hard(), never)
    assert first.nearest is not None
    assert second.nearest is not None
    assert first.nearest.choice.tolist() == second.nearest.choice.tolist()
    assert first.nearest.options == second.nearest.options
    assert first.prices.tolist() == second.prices.tolist()


def limited(problem: Problem) -> CheckedAnswer:
    """The optimum with at most `max_points` points: over every set of that many."""
    most = problem.max_points
    if most is None:
        return exactly(problem)
    best: tuple[float, CheckedAnswer] | None = None
    for kept in itertools.combinations(range(problem.shape[1]), most):
        allowed = problem.allowed & np.isin(np.arange(problem.shape[1]), kept)
        if not allowed.any(axis=1).all():
            continue
        answer = exactly(replace(problem, allowed=allowed, max_points=None))
        if answer.choice is None:
            continue
        value = problem.objective.average(answer.choice) * (1 if problem.goal == "minimize" else -1)
        if best is None or value < best[0]:
            best = value, answer
    return CheckedAnswer(Status.INFEASIBLE, None, math.inf) if best is None else best[1]


def test_the_limit_of_points_is_kept_by_what_is_relaxed() -> None:
    for seed in range(5):
        problem = replace(hard(5, 4, seed), max_points=2)
        found = nearest(problem, limited)
        assert found.nearest is not None
        best = min(
            smallest_relaxation(replace(problem, allowed=np.isin(np.arange(4), kept)[None].repeat(5, axis=0)))
            for kept in itertools.combinations(range(4), 2)
        )
        assert found.nearest.relaxation == pytest.approx(best, rel=RELAXED)
        assert len(set(found.nearest.choice.tolist())) <= 2
