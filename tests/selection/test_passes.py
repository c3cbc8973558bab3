"""Passes over blocks against the whole form in memory: bounds, budgets, the same answer for any number of threads."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdp.selection import Problem, Status, solve_problem
from rdp.selection.check import excess
from rdp.selection.linear import linear_form
from rdp.selection.solver.blocks import ArraySource
from rdp.selection.solver.dual import Dual
from rdp.selection.solver.passes import BlockAnswer, solve_blocks
from rdp.selection.solver.sieve import sift


def problem_of(kind: str, images: int, seed: int = 0) -> Problem:
    """Rate, distortion and perception with budgets that bind, in many guises."""
    rng = np.random.default_rng([41, seed, images])
    points = int(rng.integers(3, 11))
    middle = points // 2
    scale = np.exp(rng.normal(0, 0.7, (images, 1)))
    level = np.geomspace(0.05, 1.2, points)[None]
    noise = np.exp(rng.normal(0, 0.05, (3, images, points)))
    mse = 60 * scale * (level / 0.3) ** -rng.uniform(0.8, 1.4, (images, 1)) * noise[1]
    columns = {
        "bpp": level * scale**0.8 * noise[0],
        "mse": mse,
        "lpips": 0.12 * (level / 0.3) ** -rng.uniform(0.3, 0.8, (images, 1)) * noise[2],
        "psnr": 10 * np.log10(255**2 / mse),
    }
    if kind == "copies":
        pick = rng.integers(0, max(images // 50, 1), images)
        columns = {name: values[pick] for name, values in columns.items()}
    if kind == "sorted":
        order = np.argsort(columns["bpp"][:, 0])
        columns = {name: values[order] for name, values in columns.items()}
    at_middle = {name: float(values[:, middle].mean()) for name, values in columns.items()}
    words: dict = {"minimize": "mse", "at_most": {"bpp": at_middle["bpp"], "lpips": at_middle["lpips"] * 1.02}}
    if kind in ("one budget", "window", "tight", "loose"):
        words["at_most"] = {"bpp": at_middle["bpp"]}
    if kind == "window":
        words["at_least"] = {"bpp": at_middle["bpp"] * 0.9999}
    if kind == "tight":
        words["at_most"] = {"bpp": float(columns["bpp"].min(axis=1).mean()) * 1.001}
    if kind == "loose":
        words["at_most"] = {"bpp": float(columns["bpp"].max())}
    if kind == "maximise":
        words |= {"maximize": "psnr", "minimize": None}
    if kind == "least rate":
        words = {"minimize": "bpp", "at_least": {"psnr": at_middle["psnr"]}, "at_most": {"lpips": at_middle["lpips"]}}
    if kind in ("pixels", "nine orders"):
        pixels = np.exp(rng.normal(12, 1.5, images)) if kind == "pixels" else 10.0 ** rng.uniform(0, 9, images)
        budget = float(np.average(columns["bpp"][:, middle], weights=pixels))
        words |= {"pixels": pixels, "weights": {"bpp": "pixels", "mse": "pixels"}}
        words["at_most"] = {"bpp": budget, "lpips": at_middle["lpips"] * 1.05}
    if kind == "groups":
        words["group_at_most"] = {"bpp": words["at_most"].pop("bpp") * 1.1}
        words["groups"] = [f"g{3 * k // images}" for k in range(images)]
    if kind == "ragged":
        words["allowed"] = rng.random((images, points)) < 0.7
        words["allowed"][:, middle] = True
        for values in columns.values():
            values[~words["allowed"]] = np.nan
    if kind == "whole numbers":
        columns = {name: rng.integers(0, 20, (images, points)).astype(float) for name in ("mse", "bpp", "lpips")}
        words["at_most"] = dict.fromkeys(words["at_most"], 6.0)
    if kind == "both signs":
        columns = {name: rng.normal(0, 1, (images, points)) for name in ("mse", "bpp", "lpips")}
        words["at_most"] = {"bpp": -0.2, "lpips": 0.0}
    used = {words.get("minimize"), words.get("maximize"), "bpp", "lpips", "psnr"} & set(columns)
    return Problem.from_arrays({name: columns[name] for name in sorted(used)}, **words)


KINDS = (
    "two budgets",
    "one budget",
    "window",
    "tight",
    "loose",
    "maximise",
    "least rate",
    "pixels",
    "nine orders",
    "groups",
    "ragged",
    "whole numbers",
    "both signs",
    "copies",
    "sorted",
)


def equal(one: BlockAnswer, other: BlockAnswer) -> bool:
    return (
        (one.status, one.objective, one.bound, one.passes) == (other.status, other.objective, other.bound, other.passes)
        and np.array_equal(one.choice, other.choice)
        and np.array_equal(one.prices, other.prices)
    )


def compare(problem: Problem, gap: float) -> BlockAnswer:
    """Passes say what is so, and as much as the whole form says."""
    answer = solve_blocks(ArraySource(problem), gap=gap, threads=1)
    assert answer.choice is not None
    choice = answer.choice.astype(np.int64)
    assert problem.allowed[np.arange(len(choice)), choice].all()
    assert max(excess(problem, choice)) <= 0
    sign = 1.0 if problem.goal == "minimize" else -1.0
    assert answer.objective == pytest.approx(sign * problem.objective.average(choice), rel=1e-12)
    for average, constraint in zip(answer.averages, problem.constraints, strict=True):
        assert average == pytest.approx(constraint.term.average(choice), rel=1e-12, abs=1e-14)
    assert answer.images == len(choice)
    assert 0 < answer.left_open <= answer.images
    within = answer.objective - answer.bound <= gap * max(abs(answer.objective), 1e-12)
    assert (answer.status is Status.OPTIMAL) == within
    # The bound is that of the whole, up to a part of the gap, and no bound of anything else.
    form = linear_form(problem)
    relaxed = Dual(form).maximise()
    highest = form.offset + relaxed.bound
    assert answer.bound <= highest + 1e-10 * abs(highest)
    assert answer.bound >= highest - gap * abs(highest)
    assert answer.bound <= answer.objective
    if answer.prices is not None and relaxed.prices is not None and answer.status is Status.OPTIMAL:
        known = dict(zip(form.rows, relaxed.prices, strict=True))
        for row, price in enumerate(answer.prices):
            assert price == pytest.approx(known.get(row, 0.0), rel=0.2, abs=0.05 * max(known.values(), default=1.0))
    return answer


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("images", [700, 6_000])
def test_passes_find_what_the_whole_form_does(kind: str, images: int) -> None:
    compare(problem_of(kind, images), 1e-4)


@pytest.mark.parametrize("kind", ["two budgets", "pixels", "ragged", "least rate"])
def test_of_many_images_few_are_left_open(kind: str) -> None:
    answer = compare(problem_of(kind, 100_000), 1e-6)
    assert answer.status is Status.OPTIMAL
    assert answer.left_open < 40_000


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("images", [1, 2, 60, 4_096, 5_000, 20_000, 98_304, 120_000])
def test_passes_over_tables_of_any_size_find_what_the_whole_form_does(kind: str, images: int) -> None:
    for seed in range(3):
        problem = problem_of(kind, images, seed)
        form = linear_form(problem)
        answer = solve_blocks(ArraySource(problem), gap=1e-5, threads=2)
        relaxed = Dual(form).maximise()
        highest = form.offset + relaxed.bound
        assert answer.status is not Status.INFEASIBLE or relaxed.infeasible
        if relaxed.prices is not None:
            assert answer.bound <= highest + 1e-10 * abs(highest), seed
        if answer.choice is not None:
            assert max(excess(problem, answer.choice.astype(np.int64))) <= 0
            assert answer.bound <= answer.objective


@pytest.mark.parametrize("kind", KINDS)
def test_the_answer_is_the_same_for_any_number_of_threads_and_on_every_run(kind: str) -> None:
    problem = problem_of(kind, 30_000, 1)
    first, second, third = (solve_blocks(ArraySource(problem), gap=1e-6, threads=threads) for threads in (1, 2, 2))
    assert equal(first, second)
    assert equal(second, third)


def test_budgets_that_no_sample_meets_are_unknown_and_that_is_said() -> None:
    problem = problem_of("tight", 5_000)
    below = float(problem.constraints[0].term.values.min(axis=1).mean()) * 0.9
    columns = {term.column: term.values for term in problem.terms.values()}
    impossible = Problem.from_arrays(columns, minimize="mse", at_most={"bpp": below})
    answer = solve_blocks(ArraySource(impossible), gap=1e-6)
    assert (answer.status, answer.choice, answer.bound) == (Status.UNKNOWN, None, -math.inf)
    assert "hardly met by a sample" in answer.note


def test_when_the_time_is_up_the_answer_is_a_true_one() -> None:
    problem = problem_of("two budgets", 20_000)
    full = solve_blocks(ArraySource(problem), gap=1e-6)
    late = solve_blocks(ArraySource(problem), gap=1e-6, ends=-math.inf)
    assert late.bound <= full.objective
    assert late.passes == 1
    if late.choice is not None:
        assert late.objective >= full.bound
        assert max(excess(problem, late.choice.astype(np.int64))) <= 0


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.sampled_from(KINDS), st.floats(0, 3), st.floats(0, 0.3))
def test_settled_images_keep_their_point_at_all_prices_in_the_box(
    seed: int, kind: str, size: float, reach: float
) -> None:
    rng = np.random.default_rng(seed)
    problem = problem_of(kind, int(rng.integers(1, 300)), seed % 7)
    source = ArraySource(problem)
    centre = rng.exponential(1, len(source.rows)) * 10.0**size
    low, high = centre * (1 - reach), centre * (1 + reach)
    sifted = sift(source, source.blocks(), low, high, 1)
    rows = np.arange(problem.shape[0])
    quantities = (source.objective, *source.rows)
    terms = (problem.objective, *(constraint.term for constraint in problem.constraints))
    parts = [
        q.sign * np.where(t.weights == 1, 1.0, t.weights)[:, None] * t.values
        for q, t in zip(quantities, terms, strict=True)
    ]
    keep = np.zeros(problem.shape, dtype=bool)
    keep[rows, sifted.base] = True
    for image, points, allowed in zip(sifted.images, sifted.points, sifted.block.allowed, strict=True):
        keep[image, points[allowed]] = True
    assert not (keep & ~problem.allowed).any()
    for _ in range(10):
        mu = low + (high - low) * rng.choice([0.0, 1.0, rng.random()], len(low))
        priced = parts[0] + sum(m * part for m, part in zip(mu, parts[1:], strict=True))
        priced = np.where(problem.allowed, priced, np.inf)
        size_of = np.where(problem.allowed, np.abs(priced), 0).max(axis=1)
        kept = np.where(keep, priced, np.inf).min(axis=1)
        assert (kept <= priced.min(axis=1) + 1e-13 * size_of).all()
    # The settled images' sums are those of a plain loop.
    settled = np.setdiff1d(rows, sifted.images)
    for number, part in enumerate(parts):
        expected = math.fsum(part[settled, sifted.base[settled]].tolist())
        size_of_sum = math.fsum(np.abs(part[settled, sifted.base[settled]]).tolist())
        assert sifted.settled.values[number] == pytest.approx(expected, abs=1e-12 * size_of_sum + 1e-300)
        assert sifted.settled.weights[number] == pytest.approx(float(terms[number].weights.sum()), rel=1e-12)
    assert sifted.settled.images == len(rows)


def test_budgets_that_exclude_each_other_are_proven_to_by_one_pass() -> None:
    rng = np.random.default_rng(3)
    rate = np.exp(rng.normal(0, 0.3, (9_000, 1)) + rng.normal(0, 0.1, (9_000, 6))) * np.geomspace(0.1, 1.0, 6)
    columns = {"mse": 1 / rate, "bpp": rate, "lpips": 0.1 / rate}
    least, apart = rate.min(axis=1).mean(), (0.1 / rate).min(axis=1).mean()
    both = {"bpp": float(1.2 * least), "lpips": float(1.2 * apart)}
    for budgets, status in (({"bpp": both["bpp"]}, Status.OPTIMAL), (both, Status.INFEASIBLE)):
        problem = Problem.from_arrays(columns, minimize="mse", at_most=budgets)
        assert solve_blocks(ArraySource(problem), gap=1e-5).status is status
        assert solve_problem(problem, gap=1e-6, time_limit=60).status is status
