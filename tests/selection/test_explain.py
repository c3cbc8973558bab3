"""What is said of impossible budgets: read by a person, copied into a command, and carried by JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rdp.selection import Problem
from rdp.selection.check import CheckedAnswer
from rdp.selection.explaining.explain import explain_budgets, safe
from rdp.selection.explaining.explanation import Explanation, Known
from rdp.selection.explaining.phase_one import PhaseOne, find_prices
from rdp.selection.status import Status

COLUMNS = {
    "bpp": [[0.1, 0.2, 0.4], [0.2, 0.4, 0.8], [0.1, 0.3, 0.6]],
    "mse": [[90.0, 40.0, 10.0], [120.0, 60.0, 20.0], [50.0, 20.0, 5.0]],
    "psnr": [[28.6, 32.1, 38.1], [27.3, 30.3, 35.1], [31.1, 35.1, 41.1]],
}
IMAGES = ["a.png", "b.png", "c.png"]


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


def three(**words: Any) -> Problem:
    return Problem.from_arrays(COLUMNS, minimize="mse", images=IMAGES, **words)


def explained(problem: Problem, solve: Callable[[Problem], CheckedAnswer] = exactly) -> Explanation:
    return explain_budgets(problem, solve)


def with_written(problem: Problem, options: str) -> Problem:
    """The problem with the budgets that a line of options says, read as the command reads them."""
    words = options.split()
    values: dict[tuple[str, str], float] = {}
    for name, pair in zip(words[::2], words[1::2], strict=True):
        column, _, number = pair.rpartition("=")
        values[name.removeprefix("--").replace("-", "_"), column] = float(number)
    constraints = tuple(
        replace(c, budget=values.get((f"{'group_' if c.group else ''}{c.sense}", c.term.column), c.budget))
        for c in problem.constraints
    )
    return replace(problem, constraints=constraints)


def lines_of(text: str, start: str) -> list[str]:
    """The options of the lines that begin with `start`."""
    return [line.removeprefix(start) for line in text.splitlines() if line.startswith(start)]


def test_one_budget_out_of_reach_is_said_in_five_lines() -> None:
    assert explained(three(at_most={"bpp": 0.1})).text.splitlines() == [
        "no selection: bpp <= 0.1 cannot be met by any",
        "  bpp <= 0.1: the least attainable average is 0.133334 alone, 33.3 % above the budget",
        "the nearest feasible budget is --at-most bpp=0.133334",
        "the images that bind most, with their least bpp:",
        "  b.png: 0.2; without it the average would fall by 0.0333",
    ]


def test_budgets_that_exclude_each_other_are_said_with_what_to_write_instead() -> None:
    assert explained(three(at_most={"bpp": 0.2}, at_least={"psnr": 33})).text.splitlines() == [
        "no selection meets all budgets together",
        "  bpp <= 0.2: the least attainable average is 0.133334 alone, and 0.3 with the other budgets kept, "
        "50 % above the budget",
        "  psnr >= 33: the largest attainable average is 38.1 alone, and 30.3333 with the other budgets kept, "
        "8.08 % below the budget",
        "the nearest feasible budgets, none relaxed by more than 8.08 %:",
        "  --at-most bpp=0.2 --at-least psnr=30.3333",
        "or one of them alone: --at-most bpp=0.3",
        "the images that bind most, at their best point for bpp and psnr together (and the relaxation without each):",
        "  b.png: bpp 0.2, psnr 27.3; without it 4.96 % less",
    ]


def test_every_line_that_can_be_copied_is_feasible(random_problem: Callable, exhaustive: Callable) -> None:
    """The joint budgets, and each budget alone with the others kept; a little tighter, the latter are not."""
    count = 0
    for seed in range(160):
        problem = random_problem(seed)
        if len(problem.constraints) < 2 or math.prod(problem.allowed.sum(axis=1).tolist()) > 2000:
            continue
        if exhaustive(problem)[0] is not None:
            continue
        text = explained(problem).text
        joint = lines_of(text, "  --")
        assert len(joint) == 1, text
        assert exactly(with_written(problem, "--" + joint[0])).choice is not None, text
        for alone in lines_of(text, "or one of them alone: "):
            for option in alone.split(", or "):
                assert exactly(with_written(problem, option)).choice is not None, text
        count += 1
    assert count > 15


def test_the_nearest_budget_of_one_constraint_is_feasible_and_a_nearer_one_is_not(
    random_problem: Callable, exhaustive: Callable
) -> None:
    count = 0
    for seed in range(300):
        problem = random_problem(seed)
        if len(problem.constraints) != 1 or exhaustive(problem)[0] is not None:
            continue
        found = explained(problem).nearest
        assert found is not None
        (new,) = found.budgets
        wider = with_written(problem, found.options)
        assert exactly(wider).choice is not None
        nearer = replace(problem.constraints[0], budget=new.was + 0.85 * (new.budget - new.was))
        assert exactly(replace(problem, constraints=(nearer,))).choice is None
        count += 1
    assert count > 15


def test_an_average_alone_and_given_the_others_is_that_of_exhaustive_search(
    random_problem: Callable, exhaustive: Callable
) -> None:
    count = 0
    for seed in range(120):
        problem = random_problem(seed)
        if math.prod(problem.allowed.sum(axis=1).tolist()) > 2000 or exhaustive(problem)[0] is not None:
            continue
        for number, said in enumerate(explained(problem).constraints):
            constraint = problem.constraints[number]
            goal = "minimize" if constraint.sense == "at_most" else "maximize"
            own = replace(problem, objective=constraint.term, goal=goal, constraints=())
            assert said.alone == pytest.approx(exhaustive(own)[0], rel=1e-9, abs=1e-9)
            others = tuple(c for c in problem.constraints if c is not constraint)
            given, _ = exhaustive(replace(own, constraints=others))
            if given is None:
                assert said.given_others is None
                assert said.status is Known.IMPOSSIBLE
            else:
                assert said.given_others == pytest.approx(given, rel=1e-6, abs=1e-9)
                assert said.status is Known.PROVEN
        count += 1
    assert count > 15


def test_the_images_that_bind_one_constraint_are_those_of_a_plain_loop() -> None:
    """Sorted by how far weight times least value is above weight times budget, and left out one by one."""
    rng = np.random.default_rng(4)
    values, pixels = rng.uniform(0.2, 2.0, (30, 4)), rng.integers(1, 9, 30) * 1000.0
    budget = 0.3
    problem = Problem.from_arrays(
        {"mse": values, "bpp": values},
        minimize="mse",
        at_most={"bpp": budget},
        weights={"bpp": "pixels"},
        pixels=pixels,
    )
    least = [min(row) for row in values.tolist()]
    average = sum(w * v for w, v in zip(pixels, least, strict=True)) / sum(pixels)
    expected = []
    for k in sorted(range(30), key=lambda k: -pixels[k] * (least[k] - budget)):
        rest = [i for i in range(30) if i != k]
        without = sum(pixels[i] * least[i] for i in rest) / sum(pixels[i] for i in rest)
        if without < average:
            expected.append((f"image {k}", least[k], average - without))
    images = explained(problem).images
    assert [image.image for image in images] == [name for name, _, _ in expected[:5]]
    for image, (_, value, fall) in zip(images, expected, strict=False):
        assert image.values == (("bpp", value),)
        assert image.falls[0] == pytest.approx(fall, rel=1e-9)


def test_the_images_that_bind_two_constraints_are_those_of_a_plain_loop_at_their_prices() -> None:
    rng = np.random.default_rng(8)
    rate = rng.uniform(0.1, 1.0, (20, 4))
    columns = {"mse": 1 / rate, "bpp": rate, "psnr": 30 + 6 * rate + rng.normal(0, 0.5, (20, 4))}
    problem = Problem.from_arrays(columns, minimize="mse", at_most={"bpp": 0.3}, at_least={"psnr": 34.5})
    prices = find_prices(PhaseOne.of(problem), math.inf).prices
    explanation = explained(problem, never)
    assert len(explanation.binding) == 2
    rows = [(1.0, columns["bpp"], 0.3), (-1.0, columns["psnr"], 34.5)]
    parts = []
    for i in range(20):
        costs = [
            sum(p * s * (float(v[i, j]) - b) / abs(b) / 20 for p, (s, v, b) in zip(prices, rows, strict=True))
            for j in range(4)
        ]
        parts.append((min(costs), costs.index(min(costs)), i))
    parts.sort(key=lambda part: -part[0])
    total = sum(part for part, _, _ in parts)
    chosen = []
    for part, j, i in parts:
        # The averages of the other 19: (sum of 20 - its own) / 19.
        fall = total - (total - part) * 20 / 19
        if part > 0 and fall > 0:
            chosen.append((f"image {i}", (("bpp", rate[i, j]), ("psnr", columns["psnr"][i, j])), part, fall))
    for image, (name, values, part, fall) in zip(explanation.images, chosen[:5], strict=True):
        assert image.image == name
        assert image.values == values
        assert image.excess == pytest.approx(part, rel=1e-9)
        assert image.fall == pytest.approx(fall, rel=1e-6)


def test_no_image_is_blamed_where_mixtures_would_do() -> None:
    explanation = explained(three(at_most={"bpp": 0.34}, at_least={"bpp": 0.335}))
    assert explanation.images == ()
    assert explanation.binding == ()
    assert "it is only that every image takes one whole point" in explanation.text


def test_two_budgets_of_one_column_that_six_digits_do_not_tell_apart_are_written_with_more() -> None:
    text = explained(three(at_most={"bpp": 0.34000003}, at_least={"bpp": 0.33999999})).text
    assert "bpp >= 0.33999999: " in text
    assert "bpp <= 0.34000003: " in text


def test_an_average_is_not_written_like_the_budget_that_it_misses() -> None:
    problem = three(at_most={"bpp": 0.1333333})
    first, second, third = explained(problem).text.splitlines()[:3]
    assert first == "no selection: bpp <= 0.1333333 cannot be met by any"
    assert "the least attainable average is 0.133333334 alone, 2.5e-05 % above" in second
    assert third == "the nearest feasible budget is --at-most bpp=0.133333334"
    assert exactly(with_written(problem, "--at-most bpp=0.133333334")).choice is not None


def test_a_budget_of_zero_says_what_its_relaxation_is_a_part_of() -> None:
    problem = Problem.from_arrays(
        COLUMNS | {"bias": [[0.3, 0.1, -0.1]] * 3}, minimize="mse", at_most={"bpp": 0.2, "bias": 0}, images=IMAGES
    )
    text = explained(problem).text
    assert "none relaxed by more than 41.7 % (bias: of the attainable range):" in text
    assert "bias <= 0: the least attainable average is -0.1 alone, and 0.233334 with the other budgets kept\n" in text


def test_bounds_on_each_image_are_said_where_they_limit_an_average() -> None:
    problem = three(at_least={"psnr": 33})
    bounded = replace(problem, allowed=np.array(COLUMNS["bpp"]) <= 0.3, choosable=problem.allowed)
    text = explained(bounded).text
    assert "within the bounds on each image the largest attainable average is 31.5 alone (38.1 without them)" in text
    assert "the nearest feasible budget is --at-least psnr=31.5" in text


def test_what_was_not_found_in_time_is_said_to_be_so() -> None:
    explanation = explained(three(at_most={"bpp": 0.2}, at_least={"psnr": 33}), never)
    assert {constraint.status for constraint in explanation.constraints} == {Known.UNKNOWN}
    assert "with the other budgets kept it was not found within time" in explanation.text
    assert "or one of them alone" not in explanation.text
    assert "(perhaps less is enough, but not less than" in explanation.text


def test_without_time_nothing_is_solved_and_the_message_is_still_one() -> None:
    asked: list[Problem] = []

    def count(problem: Problem) -> CheckedAnswer:
        asked.append(problem)
        return never(problem)

    explanation = explain_budgets(three(at_most={"bpp": 0.2}, at_least={"psnr": 33}), count, time_limit=1e-9)
    assert not asked
    assert "mixtures" not in explanation.text
    joint = lines_of(explanation.text, "  --")
    assert exactly(with_written(three(at_most={"bpp": 0.2}, at_least={"psnr": 33}), "--" + joint[0])).choice is not None


def test_a_selection_that_is_not_proven_best_is_said_to_be_found() -> None:
    def found(problem: Problem) -> CheckedAnswer:
        return replace(exactly(problem), status=Status.FEASIBLE)

    explanation = explained(three(at_most={"bpp": 0.2}, at_least={"psnr": 33}), found)
    assert {constraint.status for constraint in explanation.constraints} == {Known.FOUND}
    assert "0.3 with the other budgets kept (found within time; perhaps not the nearest)" in explanation.text


def test_of_hundreds_of_groups_the_five_that_bind_are_shown() -> None:
    rng = np.random.default_rng(1)
    rate = rng.uniform(0.1, 1.0, (600, 3))
    names = [f"g{k // 2:03d}" for k in range(600)]
    problem = Problem.from_arrays(
        {"mse": 1 / rate, "bpp": rate}, minimize="mse", group_at_most={"bpp": 0.3}, groups=names
    )
    explanation = explained(problem, never)
    least = [rate[2 * g : 2 * g + 2].min(axis=1).mean() for g in range(300)]
    worst = sorted(range(300), key=lambda g: -least[g])[:5]
    text = explanation.text
    lines = text.splitlines()
    assert [line for line in lines if line.startswith("  bpp <= 0.3 in 'g")] == [
        f"  bpp <= 0.3 in 'g{g:03d}': the least attainable average is {safe(least[g], 'at_most')} alone, "
        f"{100 * (least[g] / 0.3 - 1):.3g} % above the budget"
        for g in sorted(worst)
    ]
    assert "  and 295 more budgets" in lines
    assert f"  --group-at-most bpp={safe(max(least), 'at_most')}" in lines
    assert f"with their least bpp in 'g{worst[0]:03d}':" in text
    assert len(lines) <= 14
    assert len(lines[0]) < 200


def limited(problem: Problem) -> CheckedAnswer:
    """The optimum with at most one point for all images, or without a limit."""
    if problem.max_points is None:
        return exactly(problem)
    best: CheckedAnswer | None = None
    for point in range(problem.shape[1]):
        only = replace(problem, allowed=problem.allowed & (np.arange(problem.shape[1]) == point), max_points=None)
        answer = exactly(only)
        sign = 1 if problem.goal == "minimize" else -1
        value = math.inf if answer.choice is None else sign * problem.objective.average(answer.choice)
        if answer.choice is not None and (best is None or value < sign * problem.objective.average(best.choice)):
            best = answer
    return best or CheckedAnswer(Status.INFEASIBLE, None, math.inf)


def test_a_limit_of_points_is_kept_by_every_number_and_said() -> None:
    """With one point for all: bpp 0.133, 0.3, 0.6 and psnr 29, 32.5, 38.1; freely, 0.233 bpp go with 31.9 dB."""
    problem = replace(three(at_most={"bpp": 0.24}, at_least={"psnr": 31.5}), max_points=1)
    explanation = explained(problem, limited)
    assert explanation.nearest is not None
    assert len(set(explanation.nearest.choice.tolist())) == 1
    text = explanation.text
    assert text.splitlines()[0] == "no selection meets all budgets together with at most 1 different point"
    assert "  --at-most bpp=0.24 --at-least psnr=29" in text.splitlines()
    assert "0.3 with the other budgets kept" in text
    assert text.splitlines()[-1] == "with more than 1 different point, mixtures of points would meet the budgets"


def test_a_budget_that_one_point_for_all_cannot_meet_is_out_of_reach() -> None:
    columns = {"mse": [[1.0, 2.0], [1.0, 2.0]], "bpp": [[0.1, 0.3], [0.3, 0.1]]}
    problem = replace(Problem.from_arrays(columns, minimize="mse", at_most={"bpp": 0.15}), max_points=1)
    text = explained(problem, limited).text
    assert text.splitlines()[0] == "no selection: bpp <= 0.15 cannot be met by any with at most 1 different point"
    assert "the least attainable average is 0.2 alone, 33.3 % above the budget" in text
    assert "the nearest feasible budget is --at-most bpp=0.2" in text


@pytest.mark.parametrize(
    "words",
    [
        {"at_most": {"bpp": 0.1}},
        {"at_most": {"bpp": 0.2}, "at_least": {"psnr": 33}},
        {"at_most": {"bpp": 0.1}, "at_least": {"psnr": 50}},
        {"at_most": {"bpp": 0.34}, "at_least": {"bpp": 0.335}},
    ],
)
def test_the_document_is_json_with_the_numbers_of_the_text(words: Any) -> None:
    explanation = explained(three(**words))
    document = json.loads(json.dumps(explanation.to_dict(), allow_nan=False))
    assert [c["name"] for c in document["constraints"]] == [c.name for c in explanation.constraints]
    assert {c["status"] for c in document["constraints"]} <= {"proven", "impossible"}
    assert document["nearest"]["proven"] is True
    assert document["nearest"]["options"] in explanation.text
    assert document["nearest"]["relaxation"] >= document["nearest"]["lower_bound"]
    assert [b["budget"] for b in document["nearest"]["budgets"]] == [
        float(text.split("=")[1].split()[0]) for text in document["nearest"]["options"].split("--")[1:]
    ]
    assert [image["image"] for image in document["images"]] == [image.image for image in explanation.images]


def test_numbers_are_rounded_to_the_feasible_side() -> None:
    rng = np.random.default_rng(0)
    for _ in range(3000):
        value = float(rng.normal() * 10.0 ** rng.integers(-8, 8))
        beside = value + float(rng.normal() * 10.0 ** rng.integers(-14, 2)) * abs(value)
        for near in (None, beside):
            up, down = float(safe(value, "at_most", near)), float(safe(value, "at_least", near))
            assert up >= value - 1e-12 * abs(value)
            assert down <= value + 1e-12 * abs(value)
            unit = 2e-5 * abs(value) if near is None else max(min(2e-5 * abs(value), 0.11 * abs(value - near)), 1e-12)
            assert abs(up - value) <= unit
            assert abs(down - value) <= unit
