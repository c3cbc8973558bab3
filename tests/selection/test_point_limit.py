"""At most K distinct points: against every set of points and every selection, and against an integer programme."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdp.errors import SpecError
from rdp.selection import Problem, Status, point_search
from rdp.selection.check import excess, is_allowed
from rdp.selection.point_limit import (
    LimitedAnswer,
    answer_of,
    points_in_use,
    solve_with_point_limit,
    useful_points,
)
from rdp.selection.point_prices import Worth, make_cells, raise_worth, worth_of
from rdp.selection.point_search import exchange
from rdp.selection.solving import solve_problem

Exhaustive = Callable[[Problem], tuple[float | None, list[tuple[int, ...]]]]
GAP = 1e-9


def by_solver(problem: Problem, time_limit: float | None) -> LimitedAnswer:
    return answer_of(solve_problem(problem, gap=GAP, time_limit=time_limit))


def by_exhaustion(exhaustive: Exhaustive) -> Callable[[Problem, float | None], LimitedAnswer]:
    def solve(problem: Problem, time_limit: float | None) -> LimitedAnswer:
        if not problem.allowed.any(axis=1).all():
            return LimitedAnswer(Status.INFEASIBLE, None, math.inf)
        best, winners = exhaustive(problem)
        if best is None:
            return LimitedAnswer(Status.INFEASIBLE, None, math.inf)
        signed = best if problem.goal == "minimize" else -best
        return LimitedAnswer(Status.OPTIMAL, np.array(winners[0], dtype=np.int64), signed)

    return solve


def best_by_points(problem: Problem, within: Callable[[Any, Sequence[int]], bool]) -> dict[int, float]:
    """The best signed objective of the selections that use exactly so many points, by plain loops."""
    sign = 1.0 if problem.goal == "minimize" else -1.0
    weights = problem.objective.weights.tolist()
    best: dict[int, float] = {}
    for choice in itertools.product(*[np.flatnonzero(row).tolist() for row in problem.allowed]):
        if all(within(constraint, choice) for constraint in problem.constraints):
            values = [
                w * float(problem.objective.values[i, j]) for i, (w, j) in enumerate(zip(weights, choice, strict=True))
            ]
            value = sign * math.fsum(values) / math.fsum(weights)
            used = len(set(choice))
            best[used] = min(best.get(used, math.inf), value)
    return best


def within(constraint: Any, choice: Sequence[int]) -> bool:
    term = constraint.term
    total = math.fsum(term.weights.tolist())
    values = [float(w) * float(term.values[i, j]) for i, (w, j) in enumerate(zip(term.weights, choice, strict=True))]
    room = 1e-12 * max(abs(constraint.budget), math.fsum(map(abs, values)) / total)
    mean = math.fsum(values) / total
    return mean <= constraint.budget + room if constraint.sense == "at_most" else mean >= constraint.budget - room


@pytest.mark.parametrize("most_sets", [1, point_search.MOST_SETS])
@pytest.mark.parametrize("batch", range(16))
def test_small_problems_agree_with_every_set_of_points_and_every_selection(
    batch: int,
    most_sets: int,
    random_problem: Callable[[int], Problem],
    exhaustive: Exhaustive,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With all sets of points listed at once, and with branching down to the last one."""
    monkeypatch.setattr(point_search, "MOST_SETS", most_sets)
    for seed in range(25 * batch, 25 * batch + 25):
        problem = random_problem(seed)
        if np.prod(problem.allowed.sum(axis=1).astype(float)) > 1500:
            continue
        best = best_by_points(problem, within)
        for limit in range(1, problem.shape[1] + 1):
            expected = min((value for used, value in best.items() if used <= limit), default=None)
            answer = solve_with_point_limit(replace(problem, max_points=limit), by_exhaustion(exhaustive), gap=GAP)
            if expected is None:
                assert answer.status is Status.INFEASIBLE, (seed, limit)
                fewest = min(best, default=None)
                assert ("no selection" in answer.explanation) is (fewest is not None), (seed, limit)
                if fewest is not None:
                    points = "point" if fewest == 1 else "points"
                    assert f"with {fewest} {points} (--max-points {fewest}) there is a selection" in answer.explanation
                continue
            assert answer.status is Status.OPTIMAL, (seed, limit)
            assert answer.choice is not None
            assert points_in_use(answer.choice) <= limit
            assert is_allowed(problem, answer.choice)
            assert max(excess(problem, answer.choice), default=0.0) <= 0
            sign = 1.0 if problem.goal == "minimize" else -1.0
            value = sign * problem.objective.average(answer.choice)
            assert value == pytest.approx(expected, rel=2 * GAP, abs=1e-12), (seed, limit)
            assert answer.bound <= expected + 1e-12 * max(1.0, abs(expected)), (seed, limit)


def codec_like(images: int, points: int, seed: int) -> dict[str, np.ndarray]:
    """Rate up, distortion and a perceptual distance down along the points, images of different complexity."""
    rng = np.random.default_rng([7, seed])
    hard = np.exp(rng.normal(0, 0.7, (images, 1)))
    rate = np.geomspace(0.1, 1.2, points) * hard**0.8 * np.exp(rng.normal(0, 0.1, (images, points)))
    mse = 20 * hard * rate ** -rng.uniform(0.7, 1.4, (images, 1)) * np.exp(rng.normal(0, 0.1, (images, points)))
    seen = rate ** -rng.uniform(0.3, 0.8, (images, 1)) * np.exp(rng.normal(0, 0.2, (images, points)))
    return {"bpp": rate, "mse": mse, "seen": seen}


def integer_programme(problem: Problem, limit: int) -> float | None:
    """The same problem with a binary variable for every point, solved by HiGHS through scipy."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    count, points = problem.shape
    cells = count * points
    cost = np.concatenate([(problem.objective.values / count).ravel(), np.zeros(points)])
    rows, low, high = [], [], []
    for i in range(count):
        row = np.zeros(cells + points)
        row[i * points : (i + 1) * points] = 1
        rows.append(row), low.append(1), high.append(1)
        for j in range(points):
            row = np.zeros(cells + points)
            row[i * points + j], row[cells + j] = 1, -1
            rows.append(row), low.append(-np.inf), high.append(0)
    rows.append(np.concatenate([np.zeros(cells), np.ones(points)])), low.append(0), high.append(limit)
    for constraint in problem.constraints:
        share = constraint.term.weights / constraint.term.weights.sum()
        rows.append(np.concatenate([(constraint.term.values * share[:, None]).ravel(), np.zeros(points)]))
        low.append(-np.inf if constraint.sense == "at_most" else constraint.budget)
        high.append(constraint.budget if constraint.sense == "at_most" else np.inf)
    result = milp(
        cost,
        constraints=LinearConstraint(np.array(rows), low, high),
        bounds=Bounds(0, 1),
        integrality=np.ones(cells + points),
        options={"mip_rel_gap": 1e-9},
    )
    return None if result.x is None else float(result.fun)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("limit", [1, 2, 3])
def test_codec_like_problems_agree_with_an_integer_programme(seed: int, limit: int) -> None:
    columns = codec_like(10, 7, seed)
    budget = float(np.median(columns["bpp"].mean(axis=0)))
    problem = Problem.from_arrays(
        columns,
        minimize="mse",
        at_most={"bpp": 1.1 * budget},
        group_at_most={"seen": 1.4 * float(np.median(columns["seen"]))},
        groups=["a", "b"] * 5,
        max_points=limit,
    )
    answer = solve_with_point_limit(problem, by_solver, gap=GAP)
    expected = integer_programme(problem, limit)
    if expected is None:
        assert answer.status is Status.INFEASIBLE
        return
    assert answer.status is Status.OPTIMAL
    assert answer.choice is not None
    assert problem.objective.average(answer.choice) == pytest.approx(expected, rel=1e-7)
    assert answer.bound <= problem.objective.average(answer.choice)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4))
def test_the_bound_of_any_prices_is_not_above_any_set_of_points(seed: int, limit: int) -> None:
    """Whatever prices and u the subgradient steps end at, no set of so many points has a lower priced cost."""
    columns = codec_like(9, 6, seed)
    budget = float(np.median(columns["bpp"].mean(axis=0)))
    problem = Problem.from_arrays(columns, minimize="mse", at_most={"bpp": budget}, max_points=limit)
    cells = make_cells(problem, np.arange(6))
    prices = np.random.default_rng(seed).uniform(0, 2, cells.rows)
    start_set = exchange(cells, prices, limit, np.zeros(0, dtype=np.int64))
    at = Worth(-math.inf, prices, worth_of(cells, prices, start_set), np.zeros(6))
    at = raise_worth(cells, at, np.zeros(0, dtype=np.int64), np.arange(6), limit, 1.0, 40, math.inf)
    sets = np.array(list(itertools.combinations(range(6), limit)))
    of_sets, _ = cells.bounds(np.broadcast_to(at.prices, (len(sets), cells.rows)), sets)
    assert at.bound <= of_sets.min() + 1e-9


def test_a_problem_of_many_points_is_proven_with_few_solves() -> None:
    columns = codec_like(60, 24, 3)
    budget = float(np.median(columns["bpp"].mean(axis=0)))
    problem = Problem.from_arrays(columns, minimize="mse", at_most={"bpp": budget}, max_points=3)
    solved = []

    def solve(other: Problem, left: float | None) -> LimitedAnswer:
        solved.append(int(other.allowed.any(axis=0).sum()))
        return by_solver(other, left)

    answer = solve_with_point_limit(problem, solve, gap=1e-6)
    assert answer.status is Status.OPTIMAL
    assert max(solved) <= 3
    # All 2,024 sets would be the alternative.
    assert len(solved) <= 60


def test_the_answer_is_the_same_on_every_run_and_for_every_order_of_images() -> None:
    columns = codec_like(20, 12, 5)
    budget = float(np.median(columns["bpp"].mean(axis=0)))

    def solved(order: np.ndarray) -> np.ndarray:
        rows = {name: values[order] for name, values in columns.items()}
        problem = Problem.from_arrays(rows, minimize="mse", at_most={"bpp": budget}, max_points=3)
        choice = solve_with_point_limit(problem, by_solver, gap=GAP).choice
        assert choice is not None
        return choice

    first = solved(np.arange(20))
    assert (first == solved(np.arange(20))).all()
    order = np.random.default_rng(1).permutation(20)
    assert (solved(order) == first[order]).all()


def test_a_limit_that_does_not_bind_is_the_problem_without_it(exhaustive: Exhaustive) -> None:
    columns = codec_like(5, 4, 1)
    problem = Problem.from_arrays(columns, minimize="mse", at_most={"bpp": 0.6}, max_points=4)
    answer = solve_with_point_limit(problem, by_solver, gap=GAP)
    assert answer.choice is not None
    assert problem.objective.average(answer.choice) == pytest.approx(exhaustive(problem)[0], rel=1e-9)


def test_a_cell_that_another_beats_is_taken_when_the_other_point_is_not_among_the_few() -> None:
    """For each image alone point 0 is beaten by some other, but no single other serves both images as well."""
    problem = Problem.from_arrays({"mse": [[2.0, 1.0, 90.0], [2.0, 90.0, 1.0]]}, minimize="mse", max_points=1)
    answer = solve_with_point_limit(problem, by_solver)
    assert answer.choice is not None
    assert answer.choice.tolist() == [0, 0]


def test_points_that_another_replaces_everywhere_are_left_out_and_of_equal_ones_the_first_stays() -> None:
    mse = [[5.0, 4.0, 4.0, 9.0], [5.0, 4.0, 4.0, 9.0]]
    bpp = [[1.0, 1.0, 1.0, 0.1], [1.0, 1.0, 1.0, 0.1]]
    problem = Problem.from_arrays({"mse": mse, "bpp": bpp}, minimize="mse", at_most={"bpp": 0.7}, max_points=2)
    assert useful_points(problem).tolist() == [1, 3]
    holes = np.array([[True, True, True, True], [True, False, True, True]])
    ragged = Problem.from_arrays(
        {"mse": mse, "bpp": bpp}, minimize="mse", at_most={"bpp": 0.7}, max_points=2, allowed=holes
    )
    assert useful_points(ragged).tolist() == [2, 3]


def test_points_that_images_cannot_do_without_are_counted_in_the_explanation() -> None:
    mask = np.eye(3, dtype=np.bool_)
    problem = Problem.from_arrays({"mse": np.ones((3, 3))}, minimize="mse", allowed=mask, max_points=2)
    answer = solve_with_point_limit(problem, by_solver)
    assert answer.status is Status.INFEASIBLE
    assert "no 2 points can serve every image (each of 3 points is the only one that some image may take)" in (
        answer.explanation
    )
    assert "with 3 points (--max-points 3) there is a selection" in answer.explanation


def test_budgets_that_no_selection_meets_are_not_blamed_on_the_limit() -> None:
    problem = Problem.from_arrays(codec_like(6, 5, 2), minimize="mse", at_most={"bpp": 0.001}, max_points=2)
    answer = solve_with_point_limit(problem, by_solver)
    assert answer.status is Status.INFEASIBLE
    assert answer.explanation == ""


def test_out_of_time_the_bound_is_honest() -> None:
    """With the set that is solved first as the only one, the bound still holds for the best of all sets."""
    columns = codec_like(16, 10, 4)
    budget = float(np.median(columns["bpp"].mean(axis=0)))
    problem = Problem.from_arrays(columns, minimize="mse", at_most={"bpp": budget}, max_points=2)
    proven = solve_with_point_limit(problem, by_solver, gap=GAP)
    assert proven.choice is not None
    best = problem.objective.average(proven.choice)
    for limit in (1e-6, 0.02, 0.05, 0.2):
        answer = solve_with_point_limit(problem, by_solver, gap=GAP, time_limit=limit)
        assert answer.bound <= best * (1 + 1e-9)
        assert answer.status is not Status.INFEASIBLE
        if answer.choice is not None:
            assert points_in_use(answer.choice) <= 2
            assert problem.objective.average(answer.choice) >= best * (1 - 1e-9)


def test_a_problem_without_a_limit_is_refused() -> None:
    with pytest.raises(SpecError, match="set max_points"):
        solve_with_point_limit(Problem.from_arrays({"mse": [[1.0]]}, minimize="mse"), by_solver)
