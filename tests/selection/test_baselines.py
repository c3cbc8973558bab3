"""The best single point and the time-shared mixture, against brute force."""

from __future__ import annotations

import itertools
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdp.errors import SpecError
from rdp.selection import Problem, build_problem, solve_problem
from rdp.selection.baselines import best_single_point, fair_mixture, gain, time_shared_mixture
from rdp.tables import read_table


def random_arrays(seed: int, images: int = 6, points: int = 5) -> dict[str, np.ndarray]:
    """Rates that rise, and distortions that mostly fall, from point to point."""
    rng = np.random.default_rng(seed)
    rate = np.cumsum(rng.uniform(0.05, 0.4, (images, points)), axis=1)
    mse = rng.uniform(20, 60, (images, 1)) / (0.2 + rate) * rng.uniform(0.9, 1.1, (images, points))
    return {"bpp": rate, "mse": mse, "lpips": 0.6 - 0.05 * rate + rng.uniform(0, 0.1, (images, points))}


def best_pair(cost: np.ndarray, rate: np.ndarray, limit: float) -> float:
    """The least cost of a mixture of two points (one constraint needs no more), by trying all pairs."""
    best = np.inf
    for a, b in itertools.product(range(len(cost)), repeat=2):
        if rate[a] <= limit:
            best = min(best, cost[a])
            if rate[b] > limit:
                t = (limit - rate[a]) / (rate[b] - rate[a])
                best = min(best, (1 - t) * cost[a] + t * cost[b])
    return float(best)


@given(seed=st.integers(0, 10_000), place=st.floats(0.05, 0.95))
@settings(max_examples=60, deadline=None)
def test_with_one_budget_the_mixture_is_the_lower_convex_hull(seed: int, place: float) -> None:
    arrays = random_arrays(seed)
    rate, cost = arrays["bpp"].mean(axis=0), arrays["mse"].mean(axis=0)
    limit = float(rate.min() + place * (rate.max() - rate.min()))
    problem = Problem.from_arrays(arrays, minimize="mse", at_most={"bpp": 9.0})
    mixture = time_shared_mixture(problem, {"bpp": limit})
    assert mixture.averages["mse"] == pytest.approx(best_pair(cost, rate, limit), rel=1e-7)
    assert mixture.averages["bpp"] <= limit * (1 + 1e-6)
    assert sum(mixture.shares.values()) == pytest.approx(1, abs=1e-12)
    assert len(mixture.parts) <= 2


@pytest.mark.parametrize("seed", range(5))
def test_with_two_budgets_no_mixture_on_a_fine_grid_is_better(seed: int) -> None:
    arrays = random_arrays(seed, points=3)
    problem = Problem.from_arrays(arrays, minimize="mse", at_most={"bpp": 9.0, "lpips": 9.0})
    averages = {name: values.mean(axis=0) for name, values in arrays.items()}
    limits = {"bpp": float(averages["bpp"].mean()), "lpips": float(np.median(averages["lpips"])) + 0.003}
    mixture = time_shared_mixture(problem, limits)
    grid = np.array([(a, b, 200 - a - b) for a in range(201) for b in range(201 - a)]) / 200
    within = (grid @ averages["bpp"] <= limits["bpp"]) & (grid @ averages["lpips"] <= limits["lpips"])
    if not within.any():
        assert not mixture.found
        return
    least = float((grid @ averages["mse"])[within].min())
    assert least * 0.97 <= mixture.averages["mse"] <= least * (1 + 1e-7)
    assert all(mixture.averages[name] <= limit + 1e-6 for name, limit in limits.items())


@pytest.mark.parametrize("goal", ["minimize", "maximize"])
def test_the_best_single_point_is_the_best_of_those_within_the_budgets(goal: str) -> None:
    for seed in range(40):
        arrays = random_arrays(seed)
        arrays["quality"] = -arrays["mse"]
        budget = float(arrays["bpp"].mean())
        words = {"minimize": "mse"} if goal == "minimize" else {"maximize": "quality"}
        single = best_single_point(Problem.from_arrays(arrays, at_most={"bpp": budget}, **words))
        within = [k for k in range(5) if arrays["bpp"][:, k].mean() <= budget]
        best = min(within, key=lambda k: arrays["mse"][:, k].mean())
        assert single.shares == {f"point {best}": 1.0}
        assert single.averages["mse"] == pytest.approx(arrays["mse"][:, best].mean())


def test_a_single_point_that_meets_its_budget_with_equality_counts() -> None:
    arrays = {"bpp": np.array([[0.1, 0.2], [0.2, 0.4]]), "mse": np.array([[9.0, 5.0], [9.0, 5.0]])}
    problem = Problem.from_arrays(arrays, minimize="mse", at_most={"bpp": 0.3})
    assert best_single_point(problem).shares == {"point 1": 1.0}


def test_there_is_no_single_point_where_none_meets_the_budgets_and_the_reason_names_them() -> None:
    problem = Problem.from_arrays(random_arrays(0), minimize="mse", at_most={"bpp": 0.001})
    single = best_single_point(problem)
    assert not single.found
    assert "bpp <= 0.001" in single.reason


def test_there_is_no_mixture_where_none_reaches_the_averages() -> None:
    problem = Problem.from_arrays(random_arrays(0), minimize="mse", at_most={"bpp": 1.0})
    mixture = time_shared_mixture(problem, {"bpp": 0.001})
    assert not mixture.found
    assert "bpp" in mixture.reason


def test_points_that_an_image_lacks_or_may_not_take_are_left_out_with_the_reason() -> None:
    rows = [
        {"image": i, "point": p, "bpp": b, "mse": m}
        for i, p, b, m in [
            ("a", "x", 0.1, 9.0),
            ("b", "x", 0.2, 8.0),
            ("a", "y", 0.3, 4.0),
            ("a", "z", 0.4, 3.0),
            ("b", "z", 0.9, 2.0),
            ("a", "f", 0.5, 1.0),
            ("b", "f", 0.5, 1.0),
        ]
    ]
    problem = build_problem(
        read_table(_frame(rows)), minimize="mse", each_at_most={"bpp": 0.8}, forbid=[("b", "f")], at_most={"bpp": 0.5}
    )
    single = best_single_point(problem)
    assert single.shares == {"x": 1.0}
    assert single.left_out["y"] == "1 of 2 images have it"
    assert single.left_out["z"].startswith("out of the bounds on each image in 1 of 2")
    assert single.left_out["f"].startswith("forbidden for 1 of 2")
    assert time_shared_mixture(problem, {"bpp": 0.5}).shares == {"x": 1.0}


def test_a_fixed_image_keeps_its_point_in_every_baseline() -> None:
    rows = [{"image": i, "point": p, "bpp": r, "mse": 1 / r} for i in "ab" for p, r in (("x", 0.1), ("y", 0.5))]
    problem = build_problem(read_table(_frame(rows)), minimize="mse", at_most={"bpp": 0.35}, fix={"b": "y"})
    single = best_single_point(problem)
    assert single.shares == {"x": 1.0}
    assert single.averages["bpp"] == pytest.approx((0.1 + 0.5) / 2)


def test_averages_are_weighted_as_each_term_says() -> None:
    arrays = {"bpp": np.array([[0.1, 0.4], [0.2, 0.6]]), "mse": np.array([[9.0, 5.0], [7.0, 3.0]])}
    problem = Problem.from_arrays(
        arrays, minimize="mse", at_most={"bpp": 0.57}, weights={"bpp": "pixels"}, pixels=[1000, 9000]
    )
    # Over images, point 1 has a rate of 0.5; over pixels it is 0.58, and out of the budget.
    assert best_single_point(problem).shares == {"point 0": 1.0}
    mixture = time_shared_mixture(problem, {"bpp": 0.385})
    assert mixture.shares == pytest.approx({"point 0": 0.5, "point 1": 0.5})
    assert mixture.averages["mse"] == pytest.approx(6.0)


def test_a_column_bounded_on_both_sides_keeps_its_budgets_in_the_mixture() -> None:
    arrays = random_arrays(3)
    rate = arrays["bpp"].mean(axis=0)
    low, high = float(rate[1]), float(rate[2])
    problem = Problem.from_arrays(arrays, minimize="mse", at_most={"bpp": high}, at_least={"bpp": low})
    mixture = time_shared_mixture(problem, {"bpp": low})
    assert low * (1 - 1e-6) <= mixture.averages["bpp"] <= high * (1 + 1e-6)


def test_a_missing_average_is_refused_by_name() -> None:
    problem = Problem.from_arrays(random_arrays(0), minimize="mse", at_most={"bpp": 1.0})
    with pytest.raises(SpecError, match="'bpp'"):
        time_shared_mixture(problem, {})


def test_without_a_budget_both_baselines_are_the_best_point() -> None:
    problem = Problem.from_arrays(random_arrays(1), minimize="mse")
    assert best_single_point(problem).shares == time_shared_mixture(problem, {}).shares


@pytest.mark.parametrize("seed", range(10))
def test_no_selection_of_one_image_is_better_than_the_relaxation_that_the_mixture_is(seed: int) -> None:
    """With one image a mixture may do what a selection may not, so it is never worse; the gain is then not positive."""
    problem = Problem.from_arrays(random_arrays(seed, images=1), minimize="mse", at_most={"bpp": 0.8})
    selection = solve_problem(problem)
    mixture = time_shared_mixture(problem, selection.averages)
    assert selection.objective is not None
    assert mixture.averages["mse"] <= selection.objective * (1 + 1e-9)


def two_points() -> dict[str, np.ndarray]:
    """Two images; the first point is poor and cheap, the second good and dear, and the images differ in `psnr`."""
    return {
        "bpp": np.array([[0.1, 0.5], [0.1, 0.9]]),
        "mse": np.array([[50.0, 10.0], [20.0, 15.0]]),
        "psnr": np.array([[30.0, 37.0], [33.0, 34.0]]),
    }


def test_a_budget_that_does_not_bind_is_kept_by_the_mixture_as_it_is() -> None:
    """Held to the selection's own average of what it happens to be good in, there would be no mixture."""
    problem = Problem.from_arrays(two_points(), minimize="mse", at_most={"bpp": 0.3}, at_least={"psnr": 20})
    selection = solve_problem(problem)
    assert selection.averages["psnr"] == pytest.approx(35)
    assert selection.prices["psnr"] == 0
    assert not time_shared_mixture(problem, selection.averages).found
    mixture = fair_mixture(selection)
    assert mixture.found
    assert [(one.column, one.to, one.limit) for one in mixture.held] == [
        ("bpp", "average", pytest.approx(0.3)),
        ("psnr", "budget", 20),
    ]
    assert mixture.averages["bpp"] == pytest.approx(0.3)
    assert mixture.averages["mse"] == pytest.approx(35 - 22.5 / 3)


def test_without_prices_a_budget_binds_where_next_to_nothing_is_left_of_it() -> None:
    selection = solve_problem(
        Problem.from_arrays(two_points(), minimize="mse", at_most={"bpp": 0.3}, at_least={"psnr": 20})
    )
    unpriced = replace(selection, budgets=tuple(replace(budget, price=None) for budget in selection.budgets))
    assert [one.to for one in fair_mixture(unpriced).held] == ["average", "budget"]


def test_where_no_mixture_reaches_the_binding_averages_it_is_held_to_the_budgets() -> None:
    arrays = {"bpp": np.array([[0.1, 0.5], [0.5, 0.1]]), "mse": np.array([[20.0, 90.0], [90.0, 10.0]])}
    problem = Problem.from_arrays(arrays, minimize="mse", at_most={"bpp": 0.4})
    selection = solve_problem(problem)
    priced = replace(selection, budgets=tuple(replace(budget, price=1.0) for budget in selection.budgets))
    assert selection.averages["bpp"] == pytest.approx(0.1)
    mixture = fair_mixture(priced)
    assert mixture.held[0].to == "budget"
    assert mixture.averages["bpp"] == pytest.approx(0.3)


def test_there_is_no_mixture_where_none_is_within_the_budgets_and_the_reason_names_them() -> None:
    arrays = {"bpp": np.array([[0.1, 0.5], [0.5, 0.1]]), "mse": np.array([[20.0, 90.0], [90.0, 10.0]])}
    selection = solve_problem(Problem.from_arrays(arrays, minimize="mse", at_most={"bpp": 0.2}))
    mixture = fair_mixture(selection)
    assert not mixture.found
    assert mixture.reason == "no mixture of single points meets bpp <= 0.2"


@pytest.mark.parametrize("seed", range(20))
def test_the_fair_mixture_is_within_the_budgets_and_spends_no_more_of_what_binds(seed: int) -> None:
    arrays = random_arrays(seed)
    budgets = {name: float(arrays[name].mean()) * factor for name, factor in (("bpp", 0.9), ("lpips", 1.05))}
    selection = solve_problem(Problem.from_arrays(arrays, minimize="mse", at_most=budgets))
    if not selection.found:
        pytest.skip("infeasible")
    mixture = fair_mixture(selection)
    assert mixture.found
    for budget, held in zip(selection.budgets, mixture.held, strict=True):
        assert mixture.averages[budget.column] <= held.limit * (1 + 1e-6)
        assert held.limit <= budget.budget * (1 + 1e-9)
        assert held.limit == (budget.average if held.to == "average" else budget.budget)


def test_gains_are_positive_where_the_selection_is_better() -> None:
    assert gain(8.0, 10.0, lower_is_better=True).absolute == 2.0
    assert gain(8.0, 10.0, lower_is_better=True).relative == pytest.approx(0.2)
    assert gain(31.0, 30.0, lower_is_better=False).absolute == 1.0
    assert gain(8.0, 10.0, lower_is_better=False).relative == pytest.approx(-0.2)


def test_decibels_and_infinite_values_have_no_relative_gain() -> None:
    assert gain(31.0, 30.0, lower_is_better=False, unit="dB").relative is None
    assert gain(np.inf, 30.0, lower_is_better=False).relative is None
    assert gain(1.0, 0.0, lower_is_better=True).relative is None
    assert np.isnan(gain(np.inf, np.inf, lower_is_better=False).absolute)


@pytest.mark.slow
@pytest.mark.parametrize("order", ["selection first", "baselines first"])
def test_scipy_and_ortools_work_in_one_process_in_either_order(order: str) -> None:
    steps = [
        "s = solve_problem(p, solver='highs')",
        "time_shared_mixture(p, {'bpp': 0.4})",
    ]
    if order == "baselines first":
        steps.reverse()
    program = (
        "from rdp.selection import Problem, solve_problem\n"
        "from rdp.selection.baselines import time_shared_mixture\n"
        "p = Problem.from_arrays({'bpp': [[.1, .5], [.2, .9]], 'mse': [[9., 3.], [8., 2.]]}, minimize='mse',"
        " at_most={'bpp': 0.5})\n" + "\n".join(steps) + "\nassert s.found\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _frame(rows: list[dict[str, object]]):  # type: ignore[no-untyped-def]
    import pandas as pd

    return pd.DataFrame(rows)


def grouped_problem(seed: int, **words: object) -> Problem:
    """Six images in two groups, five points, a budget of bpp for all and one for each group."""
    arrays = random_arrays(seed)
    rate = float(arrays["bpp"].mean())
    words = {"at_most": {"bpp": rate}, "group_at_most": {"bpp": 1.15 * rate}, **words}
    return Problem.from_arrays(arrays, minimize="mse", groups=["x", "y", "x", "y", "y", "y"], **words)


@pytest.mark.parametrize("seed", range(10))
def test_baselines_keep_the_budgets_of_every_group(seed: int) -> None:
    problem = grouped_problem(seed)
    overall, *groups = problem.constraints
    selection = solve_problem(problem)
    single, mixture = best_single_point(problem), fair_mixture(selection)
    assert single.found
    assert mixture.found
    for baseline in (single, mixture):
        for k, constraint in enumerate(problem.constraints):
            rows = constraint.term.weights > 0
            mean = sum(p.share * constraint.term.picked(p.choice)[rows].mean() for p in baseline.parts)
            assert baseline.bounded[k] == pytest.approx(mean)
            assert mean <= constraint.budget * (1 + 1e-6)
    # The budget of all images is held to what the selection spends, those of the groups are as they are.
    assert [(one.group, one.to) for one in mixture.held[1:]] == [("x", "budget"), ("y", "budget")]
    assert mixture.averages["bpp"] <= max(selection.averages["bpp"], mixture.held[0].limit) * (1 + 1e-6)
    for number in range(5):
        choice = np.full(6, number)
        if all(c.term.average(choice) <= c.budget for c in (overall, *groups)):
            assert single.averages["mse"] <= problem.objective.average(choice) + 1e-9


def test_a_budget_of_one_group_is_not_taken_for_that_of_all_images() -> None:
    arrays = {"bpp": np.array([[0.1, 0.5], [0.3, 2.0]]), "mse": np.array([[9.0, 5.0], [9.0, 5.0]])}
    problem = Problem.from_arrays(arrays, minimize="mse", group_at_most={"bpp": 1.2}, groups=["a", "a"])
    selection = solve_problem(problem)
    (held,) = fair_mixture(selection).held
    assert (held.group, held.limit, held.to, held.name) == ("a", 1.2, "budget", "bpp <= 1.2 in 'a'")


def test_reasons_tell_many_groups_as_one() -> None:
    arrays = random_arrays(0, images=12)
    problem = Problem.from_arrays(
        arrays,
        minimize="mse",
        at_most={"lpips": 0.5},
        group_at_most={"bpp": 0.001},
        groups=[f"g{k}" for k in range(12)],
    )
    assert (
        best_single_point(problem).reason == "no single point meets lpips <= 0.5 and bpp <= 0.001 in each of 12 groups"
    )
    mixture = time_shared_mixture(problem, {"lpips": 0.4})
    assert mixture.reason.endswith("lpips <= 0.4 (the selection's average) and bpp <= 0.001 in each of 12 groups")


def best_of_sets(problem: Problem, most: int, must: frozenset[int] = frozenset()) -> float | None:
    """The least objective of a mixture of at most so many points, by trying every set of them."""
    best = None
    for chosen in itertools.combinations(range(problem.shape[1]), most):
        if not must <= set(chosen):
            continue
        mask = np.zeros(problem.shape[1], dtype=np.bool_)
        mask[list(chosen)] = True
        part = time_shared_mixture(
            replace(problem, allowed=problem.allowed & mask, max_points=None), {"bpp": 0.9, "lpips": 0.54}
        )
        if part.found:
            best = part.averages["mse"] if best is None else min(best, part.averages["mse"])
    return best


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("most", [1, 2, 3])
def test_a_mixture_of_few_points_is_the_best_of_every_set_of_so_many(seed: int, most: int) -> None:
    arrays = random_arrays(seed, points=6)
    problem = Problem.from_arrays(arrays, minimize="mse", at_most={"bpp": 9.0, "lpips": 9.0}, max_points=most)
    mixture = time_shared_mixture(problem, {"bpp": 0.9, "lpips": 0.54})
    expected = best_of_sets(problem, most)
    assert mixture.found is (expected is not None)
    if expected is not None:
        assert len(mixture.parts) <= most
        assert mixture.averages["mse"] == pytest.approx(expected, rel=1e-7)
    else:
        assert mixture.reason.startswith(f"no mixture of {most} single points meets bpp <= 0.9")


def test_points_of_fixed_images_count_among_the_few() -> None:
    rows = [
        {"image": i, "point": p, "bpp": r, "mse": 1 / r} for i in "abc" for p, r in (("x", 0.1), ("y", 0.5), ("z", 0.9))
    ]
    words = {"minimize": "mse", "at_most": {"bpp": 0.6}, "fix": {"c": "x"}}
    one = build_problem(read_table(_frame(rows)), max_points=1, **words)
    single = best_single_point(one)
    assert single.shares == {"x": 1.0}
    assert single.left_out["z"] == "2 points with those of the fixed images, and 1 are allowed"
    assert time_shared_mixture(one, {"bpp": 0.6}).shares == {"x": 1.0}
    two = build_problem(read_table(_frame(rows)), max_points=2, **words)
    assert best_single_point(two).shares == {"y": 1.0}
    mixture = time_shared_mixture(two, {"bpp": 0.6})
    assert mixture.averages["mse"] == pytest.approx(best_of_sets_at(two, 0.6))
    assert len(set(mixture.shares) | {"x"}) <= 2


def best_of_sets_at(problem: Problem, rate: float) -> float:
    """The best of the mixtures of the fixed point and one more."""
    best = np.inf
    for other in range(1, 3):
        mask = np.zeros(3, dtype=np.bool_)
        mask[[0, other]] = True
        part = replace(problem, allowed=problem.allowed & mask, max_points=None)
        best = min(best, time_shared_mixture(part, {"bpp": rate}).averages["mse"])
    return best


def test_one_point_for_all_images_is_named_once_and_a_mixture_image_by_image() -> None:
    """Four points: 2 bits an image, or 2 bits once. Images of 10 pixels: 0.2 bit/pixel, or 0.2 / 3."""
    rate = np.array([[0.1, 0.4, 0.7, 0.9]] * 3)
    arrays = {"bpp": rate, "mse": 1 / rate, "nbytes": 10 * rate}
    words = {"minimize": "mse", "pixels": [10, 10, 10], "side_info": True}
    problem = Problem.from_arrays(arrays, at_most={"bpp": 0.5}, **words)
    single = best_single_point(problem)
    assert single.shares == {"point 1": 1.0}
    assert single.averages["bpp"] == pytest.approx(0.4 + 0.2 / 3)
    assert single.averages["nbytes"] == pytest.approx(4 + 2 / 8 / 3)
    assert single.bounded == (pytest.approx(0.4 + 0.2 / 3),)
    assert single.index_bits == pytest.approx(2 / 3)
    # By the accounting of the selection, that point has 0.6 bit/pixel.
    assert problem.constraints[0].term.average(np.array([1, 1, 1])) == pytest.approx(0.6)
    mixture = time_shared_mixture(problem, {"bpp": 0.5})
    assert mixture.index_bits == 2
    assert mixture.averages["bpp"] == pytest.approx(0.5)
    assert mixture.shares == pytest.approx({"point 0": 1 / 3, "point 1": 2 / 3})


def test_bounds_on_each_image_are_of_the_point_that_is_named_once() -> None:
    rows = [
        {"image": i, "point": p, "bpp": r, "mse": 1 / r, "width": 5, "height": 2}
        for i in "abc"
        for p, r in (("w", 0.1), ("x", 0.4), ("y", 0.7), ("z", 0.9))
    ]
    words = {"minimize": "mse", "each_at_most": {"bpp": 0.5}}
    charged = build_problem(read_table(_frame(rows)), side_info=True, **words)
    assert charged.allowed.sum(axis=1).tolist() == [1, 1, 1]
    assert best_single_point(charged).shares == {"x": 1.0}
    assert best_single_point(charged).left_out["y"].startswith("out of the bounds on each image in 3 of 3")
    at_least = build_problem(read_table(_frame(rows)), side_info=True, maximize="mse", each_at_least={"bpp": 0.55})
    # With 0.2 of side information x would do; named once it has 0.4667, and y is the least that has 0.55.
    assert at_least.allowed.sum(axis=1).tolist() == [3, 3, 3]
    assert best_single_point(at_least).shares == {"y": 1.0}


def test_without_side_information_in_the_rate_baselines_say_what_naming_would_cost() -> None:
    problem = Problem.from_arrays(random_arrays(0), minimize="mse", at_most={"bpp": 0.9})
    assert best_single_point(problem).index_bits == pytest.approx(3 / 6)
    assert time_shared_mixture(problem, {"bpp": 0.9}).index_bits == 3
