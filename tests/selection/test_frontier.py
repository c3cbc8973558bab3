"""Frontiers against brute force: budgets, statuses, what beats what, the hull, and where points are placed."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rdp.errors import InfeasibleError, SpecError, TableError
from rdp.selection import Problem, Selection, load_selection, solve
from rdp.selection.frontiers.point import FrontierPoint, distinct
from rdp.selection.frontiers.problem import attainable
from rdp.selection.frontiers.shape import dominated_points, on_lower_hull
from rdp.selection.frontiers.verb import Frontier, frontier
from rdp.tables import CellTable

Exhaustive = Callable[[Problem], tuple[float | None, list[tuple[int, ...]]]]


def tiny(seed: int, **words: object) -> Problem:
    """Five images, three points: whole numbers, so that there are ties."""
    rng = np.random.default_rng([7, seed])
    columns = {name: rng.integers(0, 6, (5, 3)).astype(float) for name in ("mse", "bpp", "lpips_alex")}
    return Problem.from_arrays(columns, **({"minimize": "mse"} | words))  # type: ignore[arg-type]


def curved(images: int = 40, points: int = 8, seed: int = 0) -> Problem:
    """A table as of real codecs: the rate doubles, the error halves, and images differ."""
    rng = np.random.default_rng(seed)
    busy = np.exp(rng.normal(0, 0.7, images))[:, None]
    rate = np.geomspace(0.05, 1.6, points)[None] * busy**0.8 * np.exp(rng.normal(0, 0.05, (images, points)))
    mse = 60 * busy * (rate / busy**0.8 / 0.3) ** -rng.uniform(0.8, 1.4, (images, 1))
    return Problem.from_arrays({"mse": mse, "bpp": rate, "psnr": 10 * np.log10(65025 / mse)}, minimize="mse")


def with_budgets(problem: Problem, **budgets: float) -> Problem:
    """The problem with averages at most so much, made anew."""
    columns = {name: term.values for name, term in problem.terms.items()}
    words = {problem.goal: problem.objective.column}
    return Problem.from_arrays(columns, at_most=budgets, **words)  # type: ignore[arg-type]


# The points


@pytest.mark.parametrize("seed", range(12))
def test_every_point_of_a_sweep_is_what_exhaustive_search_finds(seed: int, exhaustive: Exhaustive) -> None:
    problem = tiny(seed)
    found = frontier(problem, sweep={"bpp": "0..4.8..0.4|5"})
    assert [point.budgets for point in found.points] == [(b,) for b in found.sweeps[0].values]
    for point in found.points:
        best, _ = exhaustive(with_budgets(problem, bpp=point.budgets[0]))
        assert point.found == (best is not None)
        assert point.objective == (None if best is None else pytest.approx(best))
        assert point.status == ("infeasible" if best is None else "optimal")


@pytest.mark.parametrize("seed", range(6))
def test_every_point_of_two_sweeps_is_what_exhaustive_search_finds(seed: int, exhaustive: Exhaustive) -> None:
    problem = tiny(seed)
    found = frontier(problem, sweep={"lpips_alex": "0.6..3..0.6", "bpp": [0.4, 1.6, 2.8]})
    assert [p.budgets for p in found.points] == list(itertools.product(*(s.values for s in found.sweeps)))
    assert [p.number for p in found.points] == list(range(1, 16))
    for point in found.points:
        best, _ = exhaustive(with_budgets(problem, lpips_alex=point.budgets[0], bpp=point.budgets[1]))
        assert point.objective == (None if best is None else pytest.approx(best))


def test_a_swept_budget_at_least_and_a_maximum_are_turned(exhaustive: Exhaustive) -> None:
    problem = tiny(3, minimize=None, maximize="mse")
    found = frontier(problem, sweep={"bpp": "1..4"}, senses={"bpp": "at_least"})
    for point in found.found:
        columns = {name: term.values for name, term in problem.terms.items()}
        same = Problem.from_arrays(columns, maximize="mse", at_least={"bpp": point.budgets[0]})
        assert point.objective == pytest.approx(exhaustive(same)[0])
    objectives = [point.objective for point in found.found]
    assert objectives == sorted(objectives, reverse=True)


def test_a_looser_budget_is_never_worse() -> None:
    found = frontier(curved(), sweep={"bpp": "0.1..1.5..0.1"}, gap=1e-9)
    objectives = [point.objective for point in found.found]
    assert len(objectives) == 15
    assert all(b <= a * (1 + 1e-9) for a, b in itertools.pairwise(objectives))  # type: ignore[operator]


def test_fixed_budgets_stay_and_the_other_side_of_a_swept_column_may_be_bounded(exhaustive: Exhaustive) -> None:
    problem = tiny(1)
    columns = {name: term.values for name, term in problem.terms.items()}
    given_ = Problem.from_arrays(columns, minimize="mse", at_least={"bpp": 1.0}, at_most={"lpips_alex": 3.0})
    found = frontier(given_, sweep={"bpp": "1..3..0.5"})
    assert [constraint.name for constraint in found.fixed] == ["bpp >= 1", "lpips_alex <= 3"]
    assert set(found.points[-1].prices) == {"bpp at_least", "bpp at_most", "lpips_alex"}
    for point in found.points:
        same = Problem.from_arrays(
            columns, minimize="mse", at_least={"bpp": 1.0}, at_most={"lpips_alex": 3.0, "bpp": point.budgets[0]}
        )
        best, _ = exhaustive(same)
        assert point.objective == (None if best is None else pytest.approx(best))


def test_points_that_cannot_be_met_stay_in_the_table() -> None:
    found = frontier(curved(), sweep={"bpp": "0.001|0.5"})
    assert [str(point.status) for point in found.points] == ["infeasible", "optimal"]
    assert [point.number for point in found.found] == [2]
    first = found.to_pandas().iloc[0]
    assert first["status"] == "infeasible"
    assert np.isnan(first["objective"])
    assert not first["on_hull"]


def test_a_sweep_without_any_selection_is_still_a_frontier() -> None:
    found = frontier(curved(), sweep={"bpp": [0.001, 0.002]})
    assert found.found == ()
    assert len(found.to_pandas()) == 2
    assert list(found.counts_frame().columns) == ["number", "point", "images"]
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["points"][0]["objective"] is None


def test_a_sweep_of_one_budget_is_that_selection() -> None:
    problem = curved()
    (point,) = frontier(problem, sweep={"bpp": 0.5}).points
    assert point.selection is not None
    assert point.objective == point.selection.objective
    assert not point.on_hull and not point.dominated
    assert sum(point.counts.values()) == 40


def test_selections_can_be_left_out() -> None:
    kept = frontier(curved(), sweep={"bpp": "0.2..0.6..0.2"})
    left = frontier(curved(), sweep={"bpp": "0.2..0.6..0.2"}, keep_selections=False)
    assert all(point.selection is None for point in left.points)
    pd.testing.assert_frame_equal(kept.to_pandas(), left.to_pandas())


# What is refused


def test_the_objective_is_not_swept() -> None:
    with pytest.raises(SpecError, match="'mse' is optimised, so its budget is not swept"):
        frontier(curved(), sweep={"mse": "10..20"})


def test_a_column_is_not_swept_and_bounded_on_the_same_side(table: CellTable) -> None:
    with pytest.raises(SpecError, match="'bpp' is swept and bounded on the same side .at_most 0.5."):
        frontier(table, minimize="mse", at_most={"bpp": 0.5}, sweep={"bpp": "0.1|0.2"})
    bounded = with_budgets(curved(), bpp=0.5)
    with pytest.raises(SpecError, match="swept and bounded on the same side"):
        frontier(bounded, sweep={"bpp": "0.1|0.2"})


def test_a_problem_brings_its_own_words() -> None:
    with pytest.raises(SpecError, match="leave out minimize, at_most"):
        frontier(curved(), minimize="mse", at_most={"psnr": 1.0}, sweep={"bpp": "0.1|0.2"})


def test_an_unknown_column_is_named_with_suggestions(table: CellTable) -> None:
    with pytest.raises(TableError, match="no column 'bbp' to sweep. Did you mean 'bpp'"):
        frontier(curved(), sweep={"bbp": "0.1|0.2"}, senses={"bbp": "at_most"})
    with pytest.raises(TableError, match="bbp"):
        frontier(table, minimize="mse", sweep={"bbp": "0.1|0.2"}, senses={"bbp": "at_most"})


def test_a_missing_value_of_a_swept_column_is_named() -> None:
    problem = curved(images=3, points=2)
    holed = problem.columns["psnr"].values.copy()
    holed[1, 0] = np.nan
    columns = dict(problem.columns) | {"psnr": replace(problem.columns["psnr"], values=holed)}
    with pytest.raises(TableError, match="psnr of 'image 1' at 'point 0' is nan"):
        frontier(replace(problem, columns=columns), sweep={"psnr": "30|31"})


@pytest.mark.parametrize("auto", [0, 1, -3, 2.0, True, 100_000])
def test_a_number_of_points_that_is_none_is_refused(auto: object) -> None:
    with pytest.raises(SpecError, match="auto is a number of points from 2"):
        frontier(curved(), sweep="bpp", auto=auto)  # type: ignore[arg-type]


# Tables and words


WORDS = {"minimize": "mse", "sweep": {"bpp": "0.15..0.6..0.15"}}


def test_a_table_and_its_problem_give_the_same_frontier(table: CellTable) -> None:
    from rdp.selection import build_problem

    one = frontier(table, **WORDS)  # type: ignore[arg-type]
    other = frontier(build_problem(table, minimize="mse"), sweep=WORDS["sweep"])  # type: ignore[arg-type]
    pd.testing.assert_frame_equal(one.to_pandas(), other.to_pandas())


def test_all_words_of_solve_reach_every_point(table: CellTable) -> None:
    words = {"points": ["webp:*"], "forbid": [("a.png", "webp:quality=5")], "weights": {"bpp": "pixels"}}
    found = frontier(table, **WORDS, **words)  # type: ignore[arg-type]
    for point in found.points:
        alone = solve(table, minimize="mse", at_most={"bpp": point.budgets[0]}, **words)  # type: ignore[arg-type]
        assert point.status == alone.status
        assert point.objective == (None if alone.objective is None else pytest.approx(alone.objective))
        assert point.averages == pytest.approx(dict(alone.averages))


def test_a_kept_selection_is_saved_and_loaded_with_its_own_budget(table: CellTable, tmp_path: Path) -> None:
    import pyarrow.csv as csv

    source = tmp_path / "study.csv"
    csv.write_csv(table.data, source)
    found = frontier(source, minimize="mse", sweep={"bpp": "0.3|0.4", "psnr": "30|32"})
    assert len(found.found) > 2
    for point in found.found:
        assert isinstance(point.selection, Selection)
        loaded = load_selection(point.selection.save(tmp_path / f"{point.number}.json"))
        assert dict(loaded.problem.statement.at_most) == {"bpp": point.budgets[0]}
        assert dict(loaded.problem.statement.at_least) == {"psnr": point.budgets[1]}
        assert loaded.objective == pytest.approx(point.objective)


def test_the_order_of_rows_does_not_matter(table: CellTable) -> None:
    order = np.random.default_rng(0).permutation(len(table))
    shuffled = CellTable(table.data.take(order), table.source)
    assert frontier(table, **WORDS).to_dict() == frontier(shuffled, **WORDS).to_dict()  # type: ignore[arg-type]


def test_the_table_has_a_row_a_point_and_all_averages(table: CellTable) -> None:
    found = frontier(table, **WORDS)  # type: ignore[arg-type]
    frame = found.to_pandas()
    assert frame["budget_bpp"].tolist() == [0.15, 0.3, 0.45, 0.6]
    assert {"average_mse", "average_bpp", "average_psnr", "price_bpp", "slack_bpp", "lp_bound"} <= set(frame.columns)
    good = frame[frame["status"] == "optimal"]
    assert (good["average_bpp"] <= good["budget_bpp"] + 1e-12).all()
    assert good["slack_bpp"].to_numpy() == pytest.approx((good["budget_bpp"] - good["average_bpp"]).to_numpy())
    counts = found.counts_frame()
    assert (counts.groupby("number")["images"].sum() == 3).all()
    assert good["points_used"].tolist() == counts.groupby("number")["point"].count().tolist()


def test_the_document_says_what_was_asked_and_has_no_number_that_json_lacks(table: CellTable) -> None:
    document = json.loads(json.dumps(frontier(table, **WORDS).to_dict(), allow_nan=False))  # type: ignore[arg-type]
    assert (document["version"], document["kind"], document["gap"]) == (1, "frontier", 1e-6)
    assert document["objective"] == {"column": "mse", "goal": "minimize", "weighting": "images"}
    assert document["sweeps"][0]["values"] == [0.15, 0.3, 0.45, 0.6]
    assert document["problem"]["statement"]["at_most"] == {"bpp": 0.6}
    assert document["points"][1]["budgets"] == {"bpp": 0.3}
    assert sum(document["points"][1]["counts"].values()) == 3


# Where they lie


def least_mixed(problem: Problem, point: FrontierPoint) -> float:
    """The relaxation's optimum, less is better, where every constraint's budget is what the point itself uses."""
    from scipy.optimize import linprog

    images, points = problem.shape
    sign = 1.0 if problem.goal == "minimize" else -1.0

    def row(values: Any, weights: Any) -> Any:
        return (values * (weights / weights.sum())[:, None]).ravel()

    rows, room = [], []
    for constraint, slack in zip(problem.constraints, point.slacks.values(), strict=True):
        side = 1.0 if constraint.sense == "at_most" else -1.0
        swept = dict(zip(("bpp", "lpips_alex"), point.budgets, strict=False))
        budget = constraint.budget if constraint.group else swept.get(constraint.term.column, constraint.budget)
        rows.append(side * row(constraint.term.values, constraint.term.weights))
        room.append(side * budget - float(slack or 0.0))
    term = problem.objective
    once = np.kron(np.eye(images), np.ones(points))
    best = linprog(
        sign * row(term.values, term.weights),
        A_ub=np.array(rows),
        b_ub=np.array(room) + 1e-12,
        A_eq=once,
        b_eq=np.ones(images),
        bounds=(0, None),
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    return float(best.fun)


def optimum_flags(problem: Problem, found: Frontier) -> list[bool]:
    """By linear programmes: not dominated, and no mixture that uses no more costs less."""
    sign = 1.0 if problem.goal == "minimize" else -1.0
    return [
        not point.dominated and sign * (point.objective or 0.0) <= least_mixed(problem, point) + 1e-7
        for point in found.found
    ]


def test_the_flags_of_a_frontier_are_those_of_its_averages() -> None:
    found = frontier(tiny(7), sweep={"bpp": "0..5..0.2"})
    rows = [(point.averages["bpp"], point.averages["mse"]) for point in found.found]
    assert [point.dominated for point in found.found] == dominated_points(np.array(rows)).tolist()
    assert [point.on_hull for point in found.found] == optimum_flags(found.problem, found)
    places = {(point.dominated, point.on_hull) for point in found.found}
    assert places == {(False, True), (False, False), (True, False)}


@pytest.mark.parametrize("goal", ["minimize", "maximize"])
@pytest.mark.parametrize("seed", range(8))
def test_the_hull_of_one_sweep_are_the_optima_of_the_relaxation(seed: int, goal: str) -> None:
    words: dict[str, Any] = {"minimize": None, goal: "mse"}
    found = frontier(tiny(seed, **words), sweep={"bpp": "0..5..0.2"})
    flags = [point.on_hull for point in found.found]
    assert flags == optimum_flags(found.problem, found)


@pytest.mark.parametrize("seed", range(8))
def test_the_hull_of_two_sweeps_are_the_optima_of_the_relaxation(seed: int) -> None:
    """Those, too, that are optimal at the prices of no budget of the sweep only."""
    found = frontier(tiny(seed), sweep={"bpp": "0.4..4.8..0.4", "lpips_alex": "0.4..4.8..0.4"})
    flags = [point.on_hull for point in found.found]
    assert flags == optimum_flags(found.problem, found)
    assert any(flags)
    at_prices = best_at_some_prices(found)
    assert all(flag or not best for flag, best in zip(flags, at_prices, strict=True))


def test_two_sweeps_of_real_numbers_are_told_apart() -> None:
    problem = curved(30, 6)
    look = np.abs(np.random.default_rng(1).normal(0.1, 0.03, (30, 6))) + 5e-4 * problem.terms["mse"].values
    columns = {"mse": problem.terms["mse"].values, "bpp": problem.terms["bpp"].values, "lpips_alex": look}
    sweep = {"bpp": "0.3..1..0.1", "lpips_alex": "0.08..0.2..0.02"}
    found = frontier(Problem.from_arrays(columns, minimize="mse"), sweep=sweep)
    flags = [point.on_hull for point in found.found]
    assert flags == optimum_flags(found.problem, found)
    assert any(flags) and not all(flags)


def test_a_groups_budget_counts_among_the_prices(table: CellTable) -> None:
    words: dict[str, Any] = {"group_at_least": {"psnr": 31.0}, "groups": {"a.png": "x", "b.png": "y", "c.png": "y"}}
    found = frontier(table, minimize="mse", sweep={"bpp": "0.15..1..0.01"}, weights={"bpp": "pixels"}, **words)
    assert sum(bool(constraint.group) for constraint in found.problem.constraints) == 2
    flags = [point.on_hull for point in found.found]
    assert flags == optimum_flags(found.problem, found)
    at_prices = best_at_some_prices(found)
    assert any(flags) and all(flag or not best for flag, best in zip(flags, at_prices, strict=True))


def best_at_some_prices(found: Frontier) -> list[bool]:
    """Not dominated, and at the prices of some point each image's chosen cell is the cheapest, by plain sums."""
    problem, flags = found.problem, []
    sign = 1.0 if problem.goal == "minimize" else -1.0
    objective, signs = problem.objective, [1.0 if c.sense == "at_most" else -1.0 for c in problem.constraints]
    tables = []
    for point in found.found:
        priced = sign * objective.values * (objective.weights / objective.weights.sum())[:, None]
        for one, side, price in zip(problem.constraints, signs, point.prices.values(), strict=True):
            priced = (
                priced + side * (price or 0.0) * one.term.values * (one.term.weights / one.term.weights.sum())[:, None]
            )
        tables.append(np.where(problem.allowed, priced, np.inf))
    for point in found.found:
        assert point.selection is not None and point.objective is not None
        choice = point.selection.required_choice
        beyond = [(table[np.arange(len(choice)), choice] - table.min(axis=1)).sum() for table in tables]
        flags.append(bool(min(beyond) <= 1e-9 * abs(point.objective)) and not point.dominated)
    return flags


@pytest.mark.parametrize("seed", range(3))
def test_fine_steps_find_selections_on_the_hull_and_above_it(seed: int) -> None:
    """The hull of the points alone would hold nearly all of them."""
    found = frontier(curved(100, 8, seed), sweep={"bpp": "0.2..0.8..0.01"})
    flags = [point.on_hull for point in found.found]
    assert flags == optimum_flags(found.problem, found)
    rows = np.array([(point.averages["bpp"], point.averages["mse"]) for point in found.found])
    assert 3 <= sum(flags) < 0.5 * on_lower_hull(rows).sum()


def test_where_the_relaxation_is_not_known_the_hull_is_that_of_the_points() -> None:
    columns = {name: term.values for name, term in curved().terms.items()}
    problem = Problem.from_arrays(columns, minimize="mse", max_points=3)
    found = frontier(problem, sweep={"bpp": "0.2..0.8..0.1"})
    assert all(point.lp_bound is None for point in found.found)
    rows = np.array([(point.averages["bpp"], point.averages["mse"]) for point in found.found])
    assert [point.on_hull for point in found.found] == on_lower_hull(rows).tolist()
    assert any(point.on_hull for point in found.found)


def test_the_least_attainable_average_is_found_without_solving(exhaustive: Exhaustive) -> None:
    problem = tiny(2)
    for sense, goal in (("at_most", "minimize"), ("at_least", "maximize")):
        found = frontier(problem, sweep={"bpp": "1|2"}, senses={"bpp": sense})  # type: ignore[dict-item]
        alone = Problem.from_arrays({"bpp": problem.terms["bpp"].values}, **{goal: "bpp"})  # type: ignore[arg-type]
        assert attainable(found.problem, found.sweeps[0]) == pytest.approx(exhaustive(alone)[0])


def test_a_text_column_is_told_not_to_be_numeric(table: CellTable) -> None:
    with pytest.raises(TableError, match="column 'point' of .* holds text, not numbers"):
        frontier(table, minimize="mse", sweep={"point": "1..2"})
    with pytest.raises(TableError, match="has no column 'bbp'. Did you mean 'bpp'"):
        frontier(table, minimize="mse", sweep={"bbp": "1..2"})


def test_each_selection_is_once_among_the_distinct_ones() -> None:
    found = frontier(tiny(4), sweep={"bpp": "0..6..0.1"})
    numbers: dict[tuple[int, ...], int] = {}
    for point in found.found:
        assert point.selection is not None
        numbers.setdefault(tuple(point.selection.required_choice.tolist()), point.number)
    kept = [point.number for point in distinct(found.points)]
    assert set(kept) <= set(numbers.values())
    assert kept == sorted(kept) and 2 < len(kept) < len(found.found)
    assert len({tuple(point.averages.values()) for point in found.found}) == len(kept)


def test_the_same_selection_under_two_budgets_beats_nothing() -> None:
    found = frontier(curved(), sweep={"bpp": [10.0, 20.0]})
    assert found.points[0].averages == found.points[1].averages
    assert all(point.on_hull and not point.dominated for point in found.points)


def test_for_at_least_more_is_better() -> None:
    found = frontier(curved(), sweep={"psnr": "30..36"})
    rows = [(-point.averages["psnr"], point.averages["mse"]) for point in found.found]
    assert [point.dominated for point in found.found] == dominated_points(np.array(rows)).tolist()


# Where they are placed


def test_an_automatic_sweep_is_nearer_to_the_curve_than_an_even_one() -> None:
    problem = curved()
    dense = frontier(problem, sweep={"bpp": "0.1..1.5..0.01"}, keep_selections=False)
    xs, ys = zip(*[(point.budgets[0], point.objective) for point in dense.found], strict=True)

    def error(found: Frontier) -> float:
        budgets, costs = zip(*[(point.budgets[0], point.objective) for point in found.found], strict=True)
        return float(np.abs(np.interp(xs, budgets, costs) - np.array(ys)).mean())

    even = frontier(problem, sweep={"bpp": np.linspace(0.1, 1.5, 8).tolist()})
    auto = frontier(problem, sweep={"bpp": "0.1..1.5"}, auto=8)
    assert len(auto.points) == len(even.points) == 8
    assert auto.auto == 8
    assert auto.sweeps[0].values == tuple(point.budgets[0] for point in auto.points)
    assert error(auto) < 0.5 * error(even)


def test_without_a_range_the_sweep_goes_over_all_that_is_attainable() -> None:
    problem = curved()
    found = frontier(problem, sweep="bpp", auto=6)
    least = problem.terms["bpp"].values.min(axis=1).mean()
    best = problem.terms["bpp"].values[np.arange(40), problem.terms["mse"].values.argmin(axis=1)].mean()
    first, last = found.points[0].budgets[0], found.points[-1].budgets[0]
    assert least <= first <= least + 0.01 * (best - least)
    assert best <= last <= best + 0.01 * (best - least)
    assert len(found.found) == 6
    assert found.points[-1].objective == pytest.approx(problem.terms["mse"].values.min(axis=1).mean())
    assert found.warnings == ()


def test_at_least_is_placed_from_the_other_side() -> None:
    problem = curved()
    columns = {name: term.values for name, term in problem.terms.items()}
    found = frontier(Problem.from_arrays(columns, minimize="bpp"), sweep="psnr", auto=5)
    most = columns["psnr"].max(axis=1).mean()
    assert len(found.found) == 5
    assert found.points[-1].budgets[0] <= most
    assert found.points[-1].averages["psnr"] == pytest.approx(most, abs=0.05)
    assert found.points[0].averages["bpp"] == pytest.approx(columns["bpp"].min(axis=1).mean(), abs=0.01)


def test_a_range_that_begins_out_of_reach_is_cut_and_said() -> None:
    found = frontier(curved(), sweep={"bpp": "0.001..1"}, auto=4)
    assert len(found.found) == len(found.points) == 4
    assert "bpp <= 0.001 is not attainable: the sweep begins at" in found.warnings[0]


def test_a_range_that_is_out_of_reach_is_infeasible() -> None:
    found = frontier(curved(), sweep={"bpp": "0.001..0.002"}, auto=4)
    assert [str(point.status) for point in found.points] == ["infeasible", "infeasible"]


def test_where_nothing_is_attainable_the_reason_is_told() -> None:
    with pytest.raises(InfeasibleError, match="psnr"):
        frontier(with_psnr_at_least(90.0), sweep="bpp", auto=4)


def with_psnr_at_least(budget: float) -> Problem:
    problem = curved()
    columns = {name: term.values for name, term in problem.terms.items()}
    return Problem.from_arrays(columns, minimize="mse", at_least={"psnr": budget})


def test_a_fixed_budget_shortens_what_is_attainable() -> None:
    free, bound = (frontier(with_psnr_at_least(b), sweep="bpp", auto=3) for b in (1.0, 34.0))
    assert bound.points[0].budgets[0] > free.points[0].budgets[0] + 0.1
    assert all(point.averages["psnr"] >= 34 - 1e-9 for point in bound.found)
    assert len(bound.found) == 3


def test_a_budget_that_never_binds_has_one_point() -> None:
    columns = {"mse": [[1.0, 2.0], [1.0, 2.0]], "bpp": [[0.1, 0.2], [0.1, 0.2]]}
    found = frontier(Problem.from_arrays(columns, minimize="mse"), sweep="bpp", auto=5)
    assert [point.budgets for point in found.points] == [(0.1,)]
    assert "1 point placed of 5" in found.warnings[0]


@pytest.mark.parametrize(
    ("sweep", "said"),
    [
        ({"bpp": "0.1..0.6", "psnr": "30..36"}, "auto places the points of one sweep"),
        ({"bpp": "0.1..0.6..0.1"}, "must be a range without a step"),
        ({"bpp": "0.1|0.6"}, "must be a range without a step"),
        ({"bpp": "0.6..0.1"}, "from a lower to a higher budget"),
        ({"bpp": [0.1, 0.2, 0.3]}, "from a lower to a higher budget"),
        ({"bpp": 0.3}, "from a lower to a higher budget"),
    ],
)
def test_automatic_sweeps_that_make_no_sense_are_refused(sweep: object, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        frontier(curved(), sweep=sweep, auto=5)  # type: ignore[arg-type]


def test_the_relaxation_is_below_every_point_and_the_gap_within_what_was_asked() -> None:
    found = frontier(curved(), sweep={"bpp": "0.1..1.5..0.1"}, gap=1e-4)
    for point in found.found:
        assert point.lp_bound is not None and point.objective is not None and point.gap is not None
        assert point.lp_bound <= point.objective * (1 + 1e-9)
        assert point.gap <= 1e-4 * (1 + 1e-6)


@pytest.mark.parametrize(("option", "value"), [("gap", -1.0), ("gap", float("nan")), ("time_limit", 0.0)])
def test_options_that_make_no_sense_are_refused(option: str, value: float) -> None:
    with pytest.raises(SpecError, match=option.replace("_", " ")):
        frontier(curved(), sweep={"bpp": "0.1|0.2"}, **{option: value})  # type: ignore[arg-type]
