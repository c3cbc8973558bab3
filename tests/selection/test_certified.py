"""Our own solver against HiGHS where all selections are too many to go through, and what it says when it is stopped."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from rdp.selection import Problem, Selection, Status, solve_problem
from rdp.selection.backends import load_backend
from rdp.selection.linear import LinearForm, linear_form
from rdp.selection.solver.certified import Incumbent, left_open, solve_form
from rdp.selection.solver.dual import Dual, lagrangian_bound
from rdp.selection.solver.whole import gap_of, solve_certified

Search = Callable[[Problem], tuple[float | None, list[tuple[int, ...]]]]


def trade_off(rng: np.random.Generator, images: int, points: int) -> dict[str, np.ndarray]:
    """Rate, distortion and perception of images of different difficulty, with noise."""
    scale = np.exp(rng.normal(0, 0.7, (images, 1)))
    level = np.geomspace(0.05, 1.2, points)[None]
    noise = np.exp(rng.normal(0, 0.05, (4, images, points)))
    mse = 60 * scale * (level / 0.3) ** -rng.uniform(0.8, 1.4, (images, 1)) * noise[1]
    return {
        "bpp": level * scale**0.8 * noise[0],
        "mse": mse,
        "psnr": 10 * np.log10(255**2 / mse),
        "lpips": 0.12 * (level / 0.3) ** -rng.uniform(0.3, 0.8, (images, 1)) * noise[2],
        "time": rng.exponential(1, (images, points)) * noise[3],
    }


def problem_of(kind: str, seed: int, most: int = 120) -> Problem:
    """A problem of a study size with budgets that bind."""
    rng = np.random.default_rng([21, seed, len(kind), ord(kind[0])])
    images, points = int(rng.integers(30, most)), int(rng.integers(3, 9))
    columns = trade_off(rng, images, points)
    middle = {name: float(values[:, points // 2].mean()) for name, values in columns.items()}
    words: dict = {"minimize": "mse", "at_most": {"bpp": middle["bpp"]}}
    if kind in ("two budgets", "rounded", "twins"):
        words["at_most"]["lpips"] = middle["lpips"] * 1.02
    if kind == "three budgets":
        words["at_most"] |= {"lpips": middle["lpips"] * 1.02, "time": float(columns["time"].mean())}
    if kind == "window":
        words["at_least"] = {"bpp": middle["bpp"] * (1 - 10.0 ** -float(rng.integers(2, 5)))}
    if kind == "maximise":
        words = {"maximize": "psnr", "at_most": {"bpp": middle["bpp"], "lpips": middle["lpips"] * 1.05}}
    if kind == "least rate":
        words = {"minimize": "bpp", "at_least": {"psnr": middle["psnr"]}, "at_most": {"lpips": middle["lpips"] * 1.1}}
    if kind == "pixels":
        words |= {"pixels": np.exp(rng.normal(12, 1.5, images)), "weights": {"bpp": "pixels"}}
    if kind == "groups":
        words |= {"group_at_most": {"lpips": middle["lpips"] * 1.1}, "groups": [f"g{k % 4}" for k in range(images)]}
    if kind == "rounded":
        columns = {name: np.round(values, 1) for name, values in columns.items()}
    if kind == "whole numbers":
        columns = {name: rng.integers(0, 20, (images, points)).astype(float) for name in ("mse", "bpp")}
        words["at_most"] = {"bpp": float(round(7 * images)) / images}
    if kind == "twins":
        pick = rng.integers(0, images // 3, images)
        columns = {name: values[pick] for name, values in columns.items()}
        words["at_most"] = {name: float(columns[name][:, points // 2].mean()) * 1.02 for name in words["at_most"]}
    if kind == "all equal":
        columns = {name: np.tile(values[:1], (images, 1)) for name, values in columns.items()}
        words["at_most"] = {"bpp": float(columns["bpp"][0, :2].mean()) * 1.05}
    if kind == "ragged":
        allowed = rng.random((images, points)) < 0.7
        allowed[:, points // 2] = True
        words["allowed"] = allowed
    used = {words.get("minimize", words.get("maximize")), *words["at_most"], *words.get("at_least", {})}
    used |= set(words.get("group_at_most", {}))
    return Problem.from_arrays({name: columns[name] for name in sorted(used)}, **words)


KINDS = (
    "one budget",
    "two budgets",
    "three budgets",
    "window",
    "maximise",
    "least rate",
    "pixels",
    "groups",
    "rounded",
    "whole numbers",
    "twins",
    "all equal",
    "ragged",
)


def agree(own: Selection, highs: Selection) -> None:
    """As good as HiGHS's selection, whose objective no bound of ours passes; and HiGHS is given up first."""
    sign = 1.0 if own.problem.goal == "minimize" else -1.0
    assert own.status is Status.OPTIMAL
    assert own.objective is not None
    assert own.bound is not None
    assert own.lp_bound is not None
    assert all(budget.slack is not None and budget.slack >= 0 for budget in own.budgets)
    if highs.objective is None:
        assert highs.status is Status.UNKNOWN
        return
    assert sign * own.objective <= sign * highs.objective + 1e-9 * abs(highs.objective)
    assert sign * own.bound <= sign * highs.objective + 1e-14 * abs(highs.objective)
    assert sign * own.lp_bound <= sign * own.bound + 1e-14 * abs(own.objective)
    if highs.status is Status.OPTIMAL:
        assert own.objective == pytest.approx(highs.objective, rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_problems_of_a_study_size_are_solved_as_well_as_by_highs(kind: str) -> None:
    problem = problem_of(kind, 0)
    agree(solve_problem(problem), solve_problem(problem, solver="highs", time_limit=20))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_more_problems_of_a_study_size_are_solved_as_well_as_by_highs(kind: str) -> None:
    for seed in range(1, 7):
        problem = problem_of(kind, seed, 300)
        agree(solve_problem(problem), solve_problem(problem, solver="highs", time_limit=20))


@pytest.mark.parametrize("kind", KINDS)
def test_a_wide_gap_is_kept_and_its_bound_is_not_above_the_optimum(kind: str) -> None:
    problem = problem_of(kind, 3, 80)
    best = solve_problem(problem)
    sign = 1.0 if problem.goal == "minimize" else -1.0
    for gap in (1e-2, 1e-4, 1e-6):
        selection = solve_problem(problem, gap=gap)
        assert selection.status is Status.OPTIMAL
        assert selection.gap <= gap * (1 + 1e-6)
        assert sign * selection.bound <= sign * best.objective + 1e-14 * abs(best.objective)
        assert sign * selection.objective >= sign * best.bound - 1e-14 * abs(best.objective)


def test_the_answer_is_the_same_on_every_run() -> None:
    for kind in KINDS:
        first, again = (solve_problem(problem_of(kind, 5, 60)) for _ in range(2))
        assert first.choice.tolist() == again.choice.tolist(), kind
        assert (first.bound, first.prices) == (again.bound, again.prices), kind


def narrow(images: int, points: int, width: float = 1e-4) -> Problem:
    """Minimise mse with a rate in a narrow window."""
    rng = np.random.default_rng(5)
    bpp = np.sort(rng.uniform(0.05, 1.5, (images, points)), axis=1)
    mse = 30 * np.exp(rng.normal(0, 0.5, (images, points))) / bpp
    return Problem.from_arrays(
        {"mse": mse, "bpp": bpp}, minimize="mse", at_most={"bpp": 0.5}, at_least={"bpp": 0.5 - width}
    )


def test_a_narrow_window_gives_the_exhaustive_optimum(exhaustive: Search) -> None:
    for points in (5, 7):
        problem = narrow(5, points, 1e-2)
        best, _ = exhaustive(problem)
        selection = solve_problem(problem)
        assert selection.solver == "dual"
        assert selection.status is Status.OPTIMAL
        assert selection.objective == pytest.approx(best, rel=1e-12)
        assert selection.gap == 0


def test_a_window_too_narrow_for_any_selection_is_proven_infeasible(exhaustive: Search) -> None:
    problem = narrow(4, 6, 1e-9)
    assert exhaustive(problem)[0] is None
    for solver in ("dual", "auto"):
        selection = solve_problem(problem, solver=solver)
        assert (selection.status, selection.choice, selection.solver) == (Status.INFEASIBLE, None, "dual")


def test_selections_that_were_cut_off_are_left_out() -> None:
    problem = Problem.from_arrays(
        {"mse": [[3.0, 1.0], [5.0, 2.0]], "bpp": [[0.1, 0.4], [0.1, 0.4]]}, minimize="mse", at_most={"bpp": 0.3}
    )
    form = linear_form(problem)
    for solve in (load_backend("dual").solve, lambda other, *_: solve_certified(other, 0.0, None)[1]):
        first = solve(form, 0.0, None)
        mask = np.zeros((2, 2), dtype=np.bool_)
        assert first.choice is not None
        mask[[0, 1], first.choice] = True
        second = solve(form.with_cut(mask), 0.0, None)
        assert first.choice.tolist() == [0, 1]
        assert second.choice is not None
        assert second.choice.tolist() == [1, 0]
        assert second.bound > first.bound


def test_where_the_search_gives_up_it_says_how_good_its_selection_is_and_auto_asks_highs() -> None:
    """No price tells these apart: every image has points on a line, all of them equally good."""
    rng = np.random.default_rng(0)
    bpp = rng.integers(1, 100_000, (60, 12)) / 1e5
    columns = {"mse": 2.0 - bpp, "bpp": bpp, "lpips": rng.uniform(0, 1, (60, 12))}
    problem = Problem.from_arrays(columns, minimize="mse", at_most={"bpp": 0.5, "lpips": 0.2})
    own = solve_problem(problem, solver="dual")
    assert own.status is Status.FEASIBLE
    assert own.solver == "dual"
    assert own.gap > 1e-9
    both = solve_problem(problem, time_limit=2)
    assert both.solver == "dual and highs"
    assert both.objective <= own.objective
    assert both.bound <= both.objective


def cases(random_problem: Callable[[int], Problem], count: int) -> list[tuple[Problem, LinearForm]]:
    """Random problems with budgets that matter."""
    problems = [random_problem(seed) for seed in range(count)]
    return [(problem, form) for problem in problems for form in [linear_form(problem)] if len(form.budgets)]


def test_the_cells_that_are_left_open_are_those_of_all_better_selections(
    random_problem: Callable[[int], Problem], exhaustive: Search
) -> None:
    rng = np.random.default_rng(6)
    fallen = 0
    for problem, form in cases(random_problem, 300):
        best, winners = exhaustive(problem)
        if best is None:
            continue
        relaxation = Dual(form).maximise()
        sign = 1.0 if problem.goal == "minimize" else -1.0
        prices = relaxation.best if rng.random() < 0.7 else rng.exponential(1, len(form.budgets))
        open_ = left_open(form, prices, sign * best - form.offset - lagrangian_bound(form, prices) + 1e-9)
        rows = np.arange(form.images)
        # Of equal cells the form has one; one of the best selections is in it, and stays.
        known = [np.array(choice) for choice in winners if form.allowed[rows, choice].all()]
        assert any(open_.allowed[rows, choice].all() for choice in known)
        assert all(open_.allowed[rows, choice].all() for choice in known)
        assert not (open_.allowed & ~form.allowed).any()
        fallen += int(form.allowed.sum() - open_.allowed.sum())
    assert fallen > 100


def test_when_the_time_is_up_the_answer_is_a_true_one(
    random_problem: Callable[[int], Problem], exhaustive: Search
) -> None:
    stopped = 0
    for problem, form in cases(random_problem, 200):
        best, _ = exhaustive(problem)
        dual = Dual(form)
        relaxation = dual.maximise()
        for known in (relaxation, Dual(form).maximise(ends=-math.inf)):
            raw, incumbent = solve_form(form, known, dual, 0.0, -math.inf)
            sign = 1.0 if problem.goal == "minimize" else -1.0
            if best is None:
                assert raw.choice is None
                continue
            optimum = sign * best - form.offset
            assert raw.status is not Status.INFEASIBLE
            assert raw.bound <= optimum + 1e-12
            stopped += raw.status in (Status.FEASIBLE, Status.UNKNOWN)
            if raw.choice is not None:
                assert incumbent.cost >= optimum - 1e-12
                assert raw.status is Status.FEASIBLE or incumbent.cost - raw.bound <= 1e-12
    assert stopped > 50


def test_without_the_exact_search_nothing_is_proven_but_what_is_within_the_gap() -> None:
    for kind in KINDS:
        form = linear_form(problem_of(kind, 7, 50))
        dual = Dual(form)
        relaxation = dual.maximise()
        gap_abs = gap_of(form, relaxation, 1e-3)
        raw, best = solve_form(form, relaxation, dual, gap_abs, math.inf, exact=False)
        assert raw.bound == relaxation.bound
        assert raw.status is not Status.INFEASIBLE
        assert (raw.status is Status.OPTIMAL) == (best.cost - raw.bound <= gap_abs)


def test_the_gap_is_that_of_the_objective_with_room_for_rounding() -> None:
    form = linear_form(problem_of("two budgets", 1))
    relaxation = Dual(form).maximise()
    bound = form.offset + relaxation.bound
    assert 0.8e-3 * abs(bound) < gap_of(form, relaxation, 1e-3) < 1e-3 * abs(bound)
    assert gap_of(form, relaxation, 0.0) == 0.0


def test_of_selections_the_cheaper_is_kept_and_never_one_that_was_cut_off() -> None:
    columns = {"mse": [[3.0, 1.0, 2.0]], "bpp": [[0.1, 0.4, 0.2]]}
    form = linear_form(Problem.from_arrays(columns, minimize="mse", at_most={"bpp": 0.3}))
    none = Incumbent()
    assert none.better(form, None) is none
    dear, cheap = none.better(form, np.array([0])), none.better(form, np.array([2]))
    assert dear.better(form, np.array([2])).cost == cheap.cost
    assert cheap.better(form, np.array([0])) is cheap
    cut = form.with_cut(np.array([[False, False, True]]))
    assert dear.better(cut, np.array([2])) is dear
