"""Ten thousand small problems of thirteen kinds against a search through all selections; a part of them in every run.

The search here shares nothing with rdp. Problems whose answer would depend on the last digits of a budget are told by
looking twice, with budgets half as wide and twice as wide as the tolerance of 1e-12: any answer between is right.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest

from rdp.selection import Problem, Selection, Status, Term, solve_problem
from rdp.selection.result import relative_gap

ALL, PART, BLOCKS = 10_400, 5_200, 4
EPS = 4e-15  # rounding of a mean, as a part of the largest value in it
Columns = dict[str, np.ndarray]


def everything(problem: Problem) -> tuple[float | None, float | None]:
    """The least objective, sign included, of all selections within budgets a little narrower, and a little wider."""
    options = [np.flatnonzero(row) for row in problem.allowed]
    grid = np.array(np.meshgrid(*options, indexing="ij")).reshape(len(options), -1)
    rows = np.arange(len(options))[:, None]
    narrow = np.ones(grid.shape[1], dtype=bool)
    wide = narrow.copy()
    for constraint in problem.constraints:
        share = (constraint.term.weights / constraint.term.weights.sum())[:, None]
        values = constraint.term.values[rows, grid]
        mean = (share * values).sum(axis=0)
        size = np.maximum((share * np.abs(values)).sum(axis=0), abs(constraint.budget))
        over = mean - constraint.budget if constraint.sense == "at_most" else constraint.budget - mean
        narrow &= over <= 0.5e-12 * size
        wide &= over <= 2e-12 * size
    weights = problem.objective.weights[:, None]
    mean = (weights * problem.objective.values[rows, grid]).sum(axis=0) / weights.sum()
    signed = mean if problem.goal == "minimize" else -mean
    first, second = (float(signed[some].min()) if some.any() else None for some in (narrow, wide))
    return first, second


def compare(selection: Selection, seed: object, gap: float = 1e-9) -> None:
    """The selection is what the search found, and its bounds are on the right side of that."""
    problem = selection.problem
    narrow, wide = everything(problem)
    if selection.status is Status.INFEASIBLE:
        assert (narrow, selection.choice) == (None, None), seed
        return
    assert selection.status is Status.OPTIMAL, (seed, selection.status, selection.explanation)
    assert wide is not None, seed
    sign = 1.0 if problem.goal == "minimize" else -1.0
    rounding = EPS * float(np.abs(problem.objective.values[problem.allowed]).max())
    highest = math.inf if narrow is None else narrow
    assert sign * selection.objective >= wide - rounding, seed
    assert sign * selection.objective <= highest + 1.01 * gap * max(abs(highest), 1e-12) + rounding, seed
    assert sign * selection.bound <= highest + rounding, seed
    assert sign * selection.bound <= sign * selection.objective, seed
    if selection.lp_bound is not None and narrow == wide:
        assert sign * selection.lp_bound <= wide + rounding, seed
    assert selection.gap == relative_gap(selection.objective, selection.bound), seed
    assert selection.gap <= gap * (1 + 1e-6), seed


def size(rng: np.random.Generator, points: int = 5) -> tuple[int, int]:
    return int(rng.integers(1, 7)), int(rng.integers(1, points + 1))


def exponential(rng: np.random.Generator, shape: tuple[int, int], names: list[str]) -> Columns:
    return {name: rng.exponential(1, shape) for name in names}


def attained(rng: np.random.Generator, values: np.ndarray, allowed: np.ndarray, weights: np.ndarray) -> float:
    """The average of some selection, to the digit."""
    choice = [int(rng.choice(np.flatnonzero(row))) for row in allowed]
    picked = values[np.arange(len(values)), choice]
    return math.fsum((weights * picked).tolist()) / math.fsum(weights.tolist())


def bounded(
    rng: np.random.Generator,
    columns: Columns,
    allowed: np.ndarray | None = None,
    pixels: np.ndarray | None = None,
    weights: Mapping[str, str] | None = None,
) -> Problem:
    """Budgets for all columns but `cost`, of either sense, most of them exactly attainable alone."""
    shape = columns["cost"].shape
    mask = np.ones(shape, dtype=bool) if allowed is None else allowed
    budgets: dict[str, dict[str, float]] = {"at_most": {}, "at_least": {}}
    for name, values in columns.items():
        if name != "cost":
            own = pixels if weights and pixels is not None and weights[name] == "pixels" else np.ones(shape[0])
            off = 0.0 if rng.random() < 0.7 else float(rng.normal(0, 0.3)) * float(np.abs(values[mask]).mean())
            budgets["at_most" if rng.random() < 0.7 else "at_least"][name] = attained(rng, values, mask, own) + off
    goal = "minimize" if rng.random() < 0.7 else "maximize"
    return Problem.from_arrays(columns, **{goal: "cost"}, **budgets, allowed=mask, pixels=pixels, weights=weights)


def whole_numbers(rng: np.random.Generator) -> Problem:
    shape, most = size(rng), int(rng.choice([2, 4, 10]))
    names = ["cost", "a", "b", "c"][: int(rng.integers(2, 5))]
    return bounded(rng, {name: rng.integers(0, most, shape).astype(float) for name in names})


def dominated_and_equal_points(rng: np.random.Generator) -> Problem:
    images, points = size(rng, 3)
    columns = exponential(rng, (images, points), ["cost ", "cost a", "cost a b"][int(rng.integers(0, 3))].split())
    copied = rng.integers(0, points, 2)
    worse = rng.random(2) * (rng.random(2) < 0.5)
    order = rng.permutation(points + 2)
    both = {name: np.concatenate([values, values[:, copied] + worse], axis=1) for name, values in columns.items()}
    return bounded(rng, {name: values[:, order] for name, values in both.items()})


def negative(rng: np.random.Generator) -> Problem:
    shape = size(rng)
    columns = {"cost": -rng.exponential(1, shape), "a": rng.normal(0, 1, shape)}
    if rng.random() < 0.5:
        columns["b"] = -rng.integers(0, 4, shape).astype(float)
    return bounded(rng, columns)


def objectives_at_zero(rng: np.random.Generator) -> Problem:
    shape = size(rng)
    cost = rng.integers(-1, 2, shape) * float(rng.choice([0, 1, 1e-6]))
    return bounded(rng, {"cost": cost, "a": rng.integers(0, 4, shape).astype(float), "b": np.zeros(shape)})


def weights_over_nine_orders(rng: np.random.Generator) -> Problem:
    shape = size(rng)
    columns = exponential(rng, shape, ["cost a", "cost a b"][int(rng.integers(0, 2))].split())
    weights = {name: str(rng.choice(["pixels", "images"], p=[0.8, 0.2])) for name in columns}
    return bounded(rng, columns, pixels=10.0 ** rng.uniform(0, 9, shape[0]), weights=weights)


def one_point_an_image(rng: np.random.Generator) -> Problem:
    """Or but one of them has a choice."""
    images, points = size(rng)
    allowed = np.zeros((images, points), dtype=bool)
    allowed[np.arange(images), rng.integers(0, points, images)] = True
    if rng.random() < 0.6:
        allowed[rng.integers(0, images)] = True
    names = ["cost", "a", "b"][: int(rng.integers(2, 4))]
    return bounded(rng, {name: rng.normal(0, 1, allowed.shape) for name in names}, allowed)


def ragged(rng: np.random.Generator) -> Problem:
    shape = size(rng)
    allowed = rng.random(shape) < 0.6
    allowed[np.arange(shape[0]), rng.integers(0, shape[1], shape[0])] = True
    columns = exponential(rng, shape, ["cost", "a", "b"])
    for values in columns.values():
        values[~allowed] = rng.choice([np.nan, np.inf, 1e30])
    return bounded(rng, columns, allowed)


def points_on_a_line(rng: np.random.Generator) -> Problem:
    shape = size(rng)
    rate = rng.integers(0, 6, shape) * float(rng.choice([1, 0.1, 1 / 3]))
    columns = {"cost": 5 - rate, "a": rate}
    if rng.random() < 0.5:
        columns["b"] = rng.random(shape)
    return bounded(rng, columns)


def equal_images(rng: np.random.Generator) -> Problem:
    images, points = size(rng)
    columns = exponential(rng, (1, points), ["cost a", "cost a b"][int(rng.integers(0, 2))].split())
    return bounded(rng, {name: np.tile(values, (images, 1)) for name, values in columns.items()})


def windows(rng: np.random.Generator) -> Problem:
    """A column bounded on both sides, some as narrow as a point."""
    shape = size(rng)
    rate = rng.integers(0, 5, shape).astype(float) if rng.random() < 0.5 else rng.random(shape)
    budget = attained(rng, rate, np.ones(shape, dtype=bool), np.ones(shape[0]))
    least = budget - float(rng.choice([0, 1e-6, 0.1]))
    columns = {"cost": rng.exponential(1, shape), "a": rate}
    return Problem.from_arrays(columns, minimize="cost", at_most={"a": budget}, at_least={"a": least})


def groups(rng: np.random.Generator) -> Problem:
    shape = size(rng)
    columns = exponential(rng, shape, ["cost", "a"])
    budget = attained(rng, columns["a"], np.ones(shape, dtype=bool), np.ones(shape[0]))
    over_all = {"a": budget * float(rng.uniform(0.8, 1.2))} if rng.random() < 0.5 else None
    names = [f"g{number}" for number in rng.integers(0, 3, shape[0])]
    return Problem.from_arrays(columns, minimize="cost", at_most=over_all, group_at_most={"a": budget}, groups=names)


def far_apart_units(rng: np.random.Generator) -> Problem:
    shape = size(rng)
    names = ["cost", "a", "b"][: int(rng.integers(2, 4))]
    shift = {name: (rng.random() < 0.3) * 10.0 ** rng.uniform(-3, 6) for name in names}
    columns = {name: rng.exponential(1, shape) * 10.0 ** rng.uniform(-6, 6) + shift[name] for name in names}
    return bounded(rng, columns)


def five_budgets(rng: np.random.Generator) -> Problem:
    """Exactly attainable together."""
    shape = size(rng)
    columns = exponential(rng, shape, ["cost", *"abcde"])
    choice = rng.integers(0, shape[1], shape[0])
    budgets: dict[str, dict[str, float]] = {"at_most": {}, "at_least": {}}
    for name in "abcde":
        mean = math.fsum(columns[name][np.arange(shape[0]), choice].tolist()) / shape[0]
        budgets["at_most" if rng.random() < 0.7 else "at_least"][name] = mean
    return Problem.from_arrays(columns, minimize="cost", **budgets)


KINDS: tuple[Callable[[np.random.Generator], Problem], ...] = (
    whole_numbers,
    dominated_and_equal_points,
    negative,
    objectives_at_zero,
    weights_over_nine_orders,
    one_point_an_image,
    ragged,
    points_on_a_line,
    equal_images,
    windows,
    groups,
    far_apart_units,
    five_budgets,
)


def problem_of(seed: int) -> Problem:
    return KINDS[seed % len(KINDS)](np.random.default_rng([3, seed]))


def reordered(problem: Problem, images: np.ndarray, points: np.ndarray) -> Problem:
    """The same problem with its images and points in another order."""

    def moved(term: Term) -> Term:
        return replace(term, values=term.values[images][:, points], weights=term.weights[images])

    return replace(
        problem,
        images=[problem.images[k] for k in images],
        points=[problem.points[k] for k in points],
        present=problem.present[images][:, points],
        allowed=problem.allowed[images][:, points],
        objective=moved(problem.objective),
        constraints=tuple(replace(c, term=moved(c.term)) for c in problem.constraints),
        columns={},
    )


@pytest.mark.parametrize("block", range(BLOCKS))
def test_the_optimum_of_thousands_of_problems_is_found_and_proven(block: int) -> None:
    for seed in range(block * PART // BLOCKS, (block + 1) * PART // BLOCKS):
        compare(solve_problem(problem_of(seed)), seed)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(BLOCKS))
def test_the_optimum_of_the_rest_of_ten_thousand_problems_is_found_and_proven(block: int) -> None:
    step = (ALL - PART) // BLOCKS
    for seed in range(PART + block * step, PART + (block + 1) * step):
        compare(solve_problem(problem_of(seed)), seed)


@pytest.mark.parametrize("gap", [0.0, 1e-4, 0.1])
def test_any_gap_is_kept(gap: float) -> None:
    for seed in range(20_000, 20_390):
        compare(solve_problem(problem_of(seed), gap=gap, solver="dual"), seed, gap)


def test_the_same_answer_on_every_run_and_as_good_a_one_for_every_order_of_images_and_points() -> None:
    rng = np.random.default_rng(4)
    for seed in range(20_400, 20_660):
        problem = problem_of(seed)
        first, again = solve_problem(problem), solve_problem(problem)
        assert (first.status, first.objective, first.bound) == (again.status, again.objective, again.bound), seed
        assert (first.choice is None and again.choice is None) or np.array_equal(first.choice, again.choice), seed
        order, turn = rng.permutation(problem.shape[0]), rng.permutation(problem.shape[1])
        compare(solve_problem(reordered(problem, order, turn)), seed)


def test_the_kinds_are_what_they_should_be() -> None:
    """The generator is no use unless budgets bind, are met to the digit, exclude each other."""
    found: Counter[str] = Counter()
    for seed in range(650):
        problem = problem_of(seed)
        selection = solve_problem(problem)
        found.update([selection.status, selection.solver])
        found["exact"] += any(budget.slack == 0 for budget in selection.budgets)
        found["zero"] += selection.objective == 0
        found["below zero"] += selection.objective is not None and selection.objective < 0
        found["several budgets"] += len(problem.constraints) > 1
        found["split"] += bool(selection.split_images)
    assert min(found.values()) >= 20, found
    assert set(found) >= {"optimal", "infeasible", "separable", "dual", "exact", "zero", "below zero", "split"}
