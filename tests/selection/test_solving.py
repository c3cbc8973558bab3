"""`solve` from end to end: statuses, limits, options, explanations, and the same answer every time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa
import pytest

from rdp.errors import InfeasibleError, NoSelectionError, SpecError, TableError
from rdp.selection import AUTO, BACKENDS, Problem, Selection, Status, solve, solve_problem
from rdp.selection.backends import register
from rdp.selection.explaining.explain import safe
from rdp.tables import CellTable

Make = Callable[..., CellTable]


def synthetic(images: int, points: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Rate, distortion and perception that trade off, with noise."""
    rng = np.random.default_rng(seed)
    scale = np.exp(rng.normal(0, 0.7, (images, 1)))
    level = np.geomspace(0.05, 1.2, points)[None]
    noise = np.exp(rng.normal(0, 0.05, (3, images, points)))
    return {
        "bpp": level * scale**0.8 * noise[0],
        "mse": 60 * scale * (level / 0.3) ** -rng.uniform(0.8, 1.4, (images, 1)) * noise[1],
        "lpips_alex": 0.12 * (level / 0.3) ** -rng.uniform(0.3, 0.8, (images, 1)) * noise[2],
    }


def hard(images: int = 1000, points: int = 10) -> Problem:
    columns = synthetic(images, points)
    at_most = {name: float(columns[name].mean(0)[points // 2]) * 0.98 for name in ("bpp", "lpips_alex")}
    return Problem.from_arrays(columns, minimize="mse", at_most=at_most)


def test_a_selection_of_a_table(table: CellTable) -> None:
    """By hand: 0.2 + 0.4 + 0.1 bpp are within 0.27 on average, and nothing with less mse is."""
    selection = solve(table, minimize="mse", at_most={"bpp": 0.27})
    assert selection.status is Status.OPTIMAL
    assert dict(selection.chosen) == {"a.png": "webp:quality=10", "b.png": "webp:quality=10", "c.png": "webp:quality=5"}
    assert selection.objective == pytest.approx((40 + 60 + 50) / 3)
    assert selection.gap == 0
    assert selection.averages["bpp"] == pytest.approx(0.7 / 3)
    assert selection.averages["psnr"] == pytest.approx((32.1 + 30.3 + 31.1) / 3)
    assert selection.total_bits == 8 * (9830 + 19661 + 125)
    assert selection.counts() == {"avif:quality=50": 0, "webp:quality=5": 1, "webp:quality=10": 2}


def test_weights_by_pixels_change_the_answer(table: CellTable) -> None:
    by_images = solve(table, minimize="mse", at_most={"bpp": 0.31}, solver="highs")
    by_pixels = solve(table, minimize="mse", at_most={"bpp": 0.31}, weights={"bpp": "pixels"})
    assert by_images.averages["bpp"] <= 0.31
    assert by_images.chosen["c.png"] == "webp:quality=10"
    # Two selections are equally good; which is taken depends on the solver, how good it is does not.
    automatic = solve(table, minimize="mse", at_most={"bpp": 0.31})
    assert automatic.objective == by_images.objective and automatic.chosen["c.png"] != "avif:quality=50"
    # The small image hardly counts: it may take 0.6 bpp, as all bits over all pixels are still within the budget.
    assert by_pixels.chosen["c.png"] == "avif:quality=50"
    assert by_pixels.total_bits is not None
    assert by_pixels.total_bits / (2 * 768 * 512 + 100 * 100) <= 0.31


def test_a_summary_has_a_row_for_every_column(table: CellTable) -> None:
    frame = solve(table, minimize="mse", at_most={"bpp": 0.27}, at_least={"psnr": 20}).summary()
    assert frame.index.tolist() == ["mse", "bpp", "psnr", "nbytes"]
    assert frame["role"].tolist() == ["minimize", "at_most", "at_least", "reported"]
    assert frame.loc["bpp", "slack"] == pytest.approx(0.27 - 0.7 / 3)
    assert frame.loc["psnr", "price"] == 0
    assert math.isnan(frame.loc["mse", "budget"])


def test_prices_of_a_column_bounded_on_both_sides_are_told_apart(table: CellTable) -> None:
    selection = solve(table, minimize="mse", at_most={"bpp": 0.5}, at_least={"bpp": 0.1})
    assert set(selection.prices) == {"bpp at_most", "bpp at_least"}


def test_shuffled_rows_give_the_same_selection(table_of: Make) -> None:
    columns = synthetic(12, 5)
    columns = {name: np.round(values, 1) for name, values in columns.items()}  # ties
    table = table_of(columns, [f"{i}.png" for i in range(12)], [f"q={j}" for j in range(5)])
    rng = np.random.default_rng(0)
    shuffled = CellTable(table.data.take(pa.array(rng.permutation(len(table)))), table.source)
    words: Mapping = {"minimize": "mse", "at_most": {"bpp": 0.4, "lpips_alex": 0.15}}
    for solver in BACKENDS:
        assert solve(table, **words, solver=solver).chosen == solve(shuffled, **words, solver=solver).chosen


def test_of_equal_points_the_first_is_taken() -> None:
    columns = {"mse": np.ones((5, 3)), "bpp": np.full((5, 3), 0.5)}
    problem = Problem.from_arrays(columns, minimize="mse", at_most={"bpp": 0.5})
    for solver in (AUTO, *BACKENDS):
        assert solve_problem(problem, solver=solver).choice.tolist() == [0] * 5


def test_all_backends_agree_on_a_problem_of_a_study_size() -> None:
    problem = hard(100, 6)
    answers = {solver: solve_problem(problem, solver=solver) for solver in BACKENDS}
    assert {answer.status for answer in answers.values()} == {Status.OPTIMAL}
    objectives = [answer.objective for answer in answers.values()]
    assert max(objectives) == pytest.approx(min(objectives), rel=1e-9)


@pytest.mark.parametrize("solver", BACKENDS)
def test_a_wide_gap_is_kept_and_stated(solver: str) -> None:
    selection = solve_problem(hard(200, 8), solver=solver, gap=0.01)
    assert selection.status is Status.OPTIMAL
    assert selection.gap is not None
    assert selection.gap <= 0.01
    assert selection.bound <= selection.objective


@pytest.mark.parametrize("limit", [1e-6, 0.05, 0.6])
@pytest.mark.parametrize("solver", BACKENDS)
def test_statuses_under_tiny_time_limits_are_honest(solver: str, limit: float) -> None:
    selection = solve_problem(hard(), solver=solver, time_limit=limit)
    assert selection.status is not Status.INFEASIBLE
    if selection.status is Status.UNKNOWN:
        assert selection.choice is None
        assert "no selection within" in selection.explanation
        with pytest.raises(NoSelectionError, match="set a longer time limit"):
            _ = selection.chosen
        return
    assert all(budget.slack >= -1e-12 for budget in selection.budgets)
    if selection.bound is not None:
        assert selection.bound <= selection.objective
    if selection.status is Status.FEASIBLE:
        assert selection.gap is None or selection.gap > 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("solver", BACKENDS)
def test_a_solver_that_is_stopped_with_a_selection_says_feasible_and_a_true_bound(solver: str) -> None:
    best = solve_problem(hard(400), solver="highs", time_limit=60)
    stopped = solve_problem(hard(400), solver=solver, time_limit=0.4)
    assert best.status is Status.OPTIMAL
    if stopped.bound is not None:
        assert stopped.bound <= best.objective * (1 + 1e-9)
    if stopped.found:
        assert stopped.objective >= best.objective * (1 - 1e-9)
    assert stopped.status is not Status.INFEASIBLE


def test_one_budget_out_of_reach_is_explained_with_the_least_attainable(table: CellTable) -> None:
    selection = solve(table, minimize="mse", at_most={"bpp": 0.1})
    assert selection.status is Status.INFEASIBLE
    assert "bpp <= 0.1 cannot be met by any" in selection.explanation
    assert "the least attainable average is 0.133334 alone" in selection.explanation
    assert "--at-most bpp=0.133334" in selection.explanation
    with pytest.raises(InfeasibleError, match=r"bpp=0\.133334"):
        _ = selection.chosen
    with pytest.raises(InfeasibleError):
        selection.counts()


@pytest.mark.parametrize("solver", BACKENDS)
def test_budgets_that_exclude_each_other_are_explained_by_the_nearest_feasible_ones(
    table: CellTable, solver: str
) -> None:
    words: Mapping = {"minimize": "mse", "at_most": {"bpp": 0.2}, "at_least": {"psnr": 33}}
    selection = solve(table, **words, solver=solver)
    assert selection.status is Status.INFEASIBLE
    assert selection.explanation.startswith("no selection meets all budgets together\n")
    assert (
        "  --at-most bpp=0.2 --at-least psnr=30.3333\nor one of them alone: --at-most bpp=0.3\n"
        in selection.explanation
    )
    assert selection.details is not None
    assert selection.details.text == selection.explanation
    for wider in ({"at_least": {"psnr": 30.3333}}, {"at_most": {"bpp": 0.3}}):
        assert solve(table, **{**words, **wider}, solver=solver).status is Status.OPTIMAL
    for nearer in ({"at_least": {"psnr": 30.3335}}, {"at_most": {"bpp": 0.29999}}):
        assert solve(table, **{**words, **nearer}, solver=solver).status is Status.INFEASIBLE


def test_images_that_bounds_leave_without_a_point_are_named(table: CellTable) -> None:
    selection = solve(table, minimize="mse", each_at_most={"bpp": 0.15})
    assert selection.status is Status.INFEASIBLE
    assert "1 of 3 images have no point left" in selection.explanation
    assert "b.png: its least bpp is 0.2, and at most 0.15 is asked for" in selection.explanation
    assert "--each-at-most bpp=0.2 would be met by some point of every image" in selection.explanation


def test_bounds_on_each_image_that_exclude_each_other_are_named(table: CellTable) -> None:
    selection = solve(table, minimize="mse", each_at_most={"bpp": 0.25}, each_at_least={"psnr": 30})
    assert "b.png: no point meets all of its bounds together" in selection.explanation


def test_a_fixed_choice_that_is_forbidden_or_out_of_bounds_is_named(table: CellTable) -> None:
    fix = {"a.png": "avif:quality=50"}
    selection = solve(table, minimize="mse", fix=fix, forbid=[("a.png", "avif")])
    assert selection.status is Status.INFEASIBLE
    assert "a.png: it is fixed to 'avif:quality=50', which is forbidden" in selection.explanation


@pytest.mark.parametrize(
    ("value", "text"), [(0.1333333333, "0.133334"), (0.25, "0.25"), (123456.7, "123457"), (0, "0")]
)
def test_attainable_values_are_rounded_to_the_feasible_side(value: float, text: str) -> None:
    assert safe(value, "at_most") == text
    assert float(safe(value, "at_least")) <= value


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"solver": "higs"}, "no solver 'higs'. Did you mean 'highs'"),
        ({"gap": -1.0}, "gap must be"),
        ({"gap": math.nan}, "gap must be"),
        ({"time_limit": 0}, "time limit must be"),
        ({"time_limit": math.inf}, "time limit must be"),
    ],
)
def test_options_that_make_no_sense_are_refused(table: CellTable, options: Mapping, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        solve(table, minimize="mse", **options)


def test_a_table_with_other_names_is_read_through_a_column_map(table: CellTable) -> None:
    theirs = table.data.rename_columns([{"bpp": "rate", "image": "file"}.get(n, n) for n in table.data.column_names])
    selection = solve(theirs, minimize="mse", at_most={"bpp": 0.27}, columns={"bpp": "rate", "image": "file"})
    assert selection.chosen == solve(table, minimize="mse", at_most={"bpp": 0.27}).chosen
    with pytest.raises(TableError, match="no column 'bpp'"):
        solve(theirs, minimize="mse", at_most={"bpp": 0.27}, columns={"image": "file"})


def test_without_a_binding_budget_every_image_takes_its_best_point(table: CellTable) -> None:
    selection = solve(table, minimize="mse")
    assert set(selection.chosen.values()) == {"avif:quality=50"}
    assert selection.solver == "separable"
    assert selection.gap == 0


def test_an_objective_at_zero_has_no_gap() -> None:
    columns = {"mse": [[0.0, 1.0], [2.0, 0.0]], "bpp": [[0.5, 0.1], [0.1, 0.5]]}
    problem = Problem.from_arrays(columns, minimize="mse", at_most={"bpp": 0.5})
    for solver in (AUTO, *BACKENDS):
        selection = solve_problem(problem, solver=solver)
        assert (selection.status, selection.objective, selection.gap) == (Status.OPTIMAL, 0.0, 0.0)


def test_weights_over_nine_orders_of_magnitude_are_solved(exhaustive: Callable) -> None:
    for seed in range(30):
        rng = np.random.default_rng(seed)
        columns = {"mse": rng.exponential(1, (5, 4)), "bpp": rng.exponential(1, (5, 4))}
        pixels = 10.0 ** rng.uniform(0, 9, 5)
        budget = float((pixels * np.median(columns["bpp"], axis=1)).sum() / pixels.sum())
        problem = Problem.from_arrays(
            columns, minimize="mse", at_most={"bpp": budget}, weights={"mse": "pixels", "bpp": "pixels"}, pixels=pixels
        )
        best, _ = exhaustive(problem)
        for solver in ("dual", "highs", "cp-sat", "scip"):
            selection: Selection = solve_problem(problem, solver=solver)
            assert selection.objective == pytest.approx(best, rel=1e-9), (seed, solver)


def test_a_solver_name_is_registered_once() -> None:
    with pytest.raises(SpecError, match="already a solver 'highs'"):
        register("highs", "some.module:Class")


def test_a_bound_on_each_image_is_said_where_it_limits_an_average(table: CellTable) -> None:
    """Within 0.3 bpp for each, the best are 32.1, 27.3 and 35.1 dB; without, 38.1, 35.1 and 41.1."""
    selection = solve(table, minimize="mse", each_at_most={"bpp": 0.3}, at_least={"psnr": 33})
    assert selection.status is Status.INFEASIBLE
    first, second, third, *_ = selection.explanation.splitlines()
    assert first == "no selection: psnr >= 33 cannot be met by any within the bounds on each image"
    assert "within the bounds on each image the largest attainable average is 31.5 alone (38.1 without them)" in second
    assert third == "the nearest feasible budget is --at-least psnr=31.5"


def test_a_bound_on_each_image_that_takes_nothing_away_is_not_blamed(table: CellTable) -> None:
    text = solve(table, minimize="mse", each_at_most={"bpp": 9}, at_least={"psnr": 50}).explanation
    assert text.splitlines()[0] == "no selection: psnr >= 50 cannot be met by any"
    assert "without them" not in text


def test_forbidding_everything_is_explained_without_bounds(table: CellTable) -> None:
    text = solve(table, minimize="mse", forbid=["*=*"]).explanation
    assert "3 of 3 images have no point left beside the forbidden points" in text
    assert "a.png: all of its points are forbidden" in text
    assert "bound" not in text


def test_a_budget_that_is_met_exactly_has_no_slack() -> None:
    """0.1 + 0.2 is not 0.3: the rounding of a mean is no room, and none that is lacking."""
    columns = {"mse": [[1.0, 2.0]] * 3, "bpp": [[0.1, 0.2], [0.2, 0.1], [0.3, 0.2]]}
    for budget in (0.2, float(np.nextafter(0.2, 0)), float(np.nextafter(0.2, 1))):
        (found,) = solve_problem(Problem.from_arrays(columns, minimize="mse", at_most={"bpp": budget})).budgets
        assert found.slack == 0


def test_a_suggestion_names_an_image_once(table: CellTable) -> None:
    with pytest.raises(SpecError, match=r"Did you mean 'a.png' or 'c.png' or 'b.png'\?|Did you mean 'a.png'") as caught:
        solve(table, minimize="mse", fix={"aa.png": "avif:quality=50"})
    assert str(caught.value).count("'a.png'") == 2  # once suggested, once as an example of what there is
