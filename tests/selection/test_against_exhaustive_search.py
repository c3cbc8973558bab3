"""Every backend against exhaustive search on small random problems, among them ties, equality, infeasible ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest

from rdp.selection import BACKENDS, Problem, Selection, Status, solve_problem

Search = Callable[[Problem], tuple[float | None, list[tuple[int, ...]]]]
Make = Callable[[int], Problem]

FULL = 1000
PLAIN = 250
SLOW_SOLVER = "cbc"  # starts a process for every solve


@pytest.fixture
def solve_and_compare(exhaustive: Search, random_problem: Make) -> Callable[[str, Iterable[int]], None]:
    def run(solver: str, seeds: Iterable[int]) -> None:
        for seed in seeds:
            problem = random_problem(seed)
            compare(solve_problem(problem, solver=solver), *exhaustive(problem), seed)

    return run


def compare(selection: Selection, best: float | None, winners: list[tuple[int, ...]], seed: int) -> None:
    """The answer is what exhaustive search found, and its bound is on the right side of it."""
    if best is None:
        assert selection.status is Status.INFEASIBLE, seed
        assert selection.choice is None, seed
        assert "no selection" in selection.explanation, seed
        return
    assert selection.status is Status.OPTIMAL, (seed, selection.status, selection.gap, selection.explanation)
    assert selection.objective is not None
    assert selection.bound is not None
    assert selection.choice is not None
    assert selection.objective == pytest.approx(best, rel=1e-9, abs=1e-12), seed
    assert tuple(selection.choice.tolist()) in winners, seed
    beyond = selection.bound - best if selection.problem.goal == "minimize" else best - selection.bound
    assert beyond <= 1e-12 * max(abs(best), 1.0), (seed, beyond)
    for budget in selection.budgets:
        assert budget.slack is not None
        assert budget.slack >= -1e-11 * max(abs(budget.budget), 1.0), seed


@pytest.mark.parametrize("solver", sorted(set(BACKENDS) - {SLOW_SOLVER}))
@pytest.mark.parametrize("block", range(4))
def test_backends_find_the_optimum_of_a_thousand_random_problems(
    solve_and_compare: Callable[[str, Iterable[int]], None], solver: str, block: int
) -> None:
    solve_and_compare(solver, range(block * FULL // 4, (block + 1) * FULL // 4))


def test_cbc_finds_the_optimum_of_random_problems(
    solve_and_compare: Callable[[str, Iterable[int]], None],
) -> None:
    solve_and_compare(SLOW_SOLVER, range(PLAIN))


@pytest.mark.slow
def test_cbc_finds_the_optimum_of_a_thousand_random_problems(
    solve_and_compare: Callable[[str, Iterable[int]], None],
) -> None:
    solve_and_compare(SLOW_SOLVER, range(PLAIN, FULL))


def test_the_automatic_choice_finds_the_optimum_of_random_problems(
    solve_and_compare: Callable[[str, Iterable[int]], None],
) -> None:
    solve_and_compare("auto", range(PLAIN))


def test_the_random_problems_have_what_they_should(exhaustive: Search, random_problem: Make) -> None:
    """The generator is no use unless it makes infeasible problems, ties, single images and points, and equality."""
    names = ("infeasible", "tied", "one image", "one point", "ragged", "equal", "zero", "three budgets")
    found = dict.fromkeys(names, 0)
    for seed in range(PLAIN):
        problem = random_problem(seed)
        best, winners = exhaustive(problem)
        found["infeasible"] += best is None
        found["tied"] += len(winners) > 1
        found["one image"] += problem.shape[0] == 1
        found["one point"] += problem.shape[1] == 1
        found["ragged"] += not problem.allowed.all()
        found["zero"] += best == 0
        found["three budgets"] += len(problem.constraints) == 3
        found["equal"] += any(
            abs(c.term.average(np.array(winners[0])) - c.budget) <= 1e-15 for c in problem.constraints if winners
        )
    assert min(found.values()) >= 5, found
