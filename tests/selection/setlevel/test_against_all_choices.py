"""Set-level values optimised and bounded, against every choice of small instances."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdp.selection import Problem, Status
from rdp.selection.check import excess
from rdp.selection.setlevel.verb import bounded, minimise

ROUNDING = 1e-9


def _of(pairs: list[float]) -> tuple[float, int]:
    best = int(np.argmin(pairs))
    return pairs[best], best


@pytest.mark.parametrize("kinks", [False, True])
@pytest.mark.parametrize("quadratic", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_the_best_choice_lies_between_bound_and_value(rates, means, all_choices, seed, kinks, quadratic) -> None:
    if kinks and quadratic:
        pytest.skip("sums of absolute values are not quadratic")
    problem, scorer = rates(seed, 5, 4), means(seed, 5, 4, dimensions=30, kinks=kinks, quadratic=quadratic)
    best = min(scorer.of(choice) for choice in all_choices(problem))
    found = minimise(problem, scorer, enumerated=0)
    assert found.bound <= best + ROUNDING * abs(best)
    assert found.objective >= best - ROUNDING * abs(best)
    assert found.objective == pytest.approx(scorer.of(found.choice), rel=1e-12)
    assert found.objective - best <= found.gap * found.objective + ROUNDING
    # A search that stops at the first choice would fail this: of these instances it finds the best.
    assert found.objective == pytest.approx(best, rel=1e-9)
    assert max(excess(problem, found.choice)) <= 0


@pytest.mark.parametrize("quadratic", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_a_column_within_a_set_level_budget_is_the_least_of_all_choices(
    rates, means, all_choices, seed, quadratic
) -> None:
    problem, scorer = rates(seed, 5, 4, None, at_least={"psnr": 32}), means(seed, 5, 4, quadratic=quadratic)
    budget = float(np.quantile([scorer.of(choice) for choice in all_choices(problem)], 0.1))
    best = min(problem.objective.average(choice) for choice in all_choices(problem, (scorer, budget)))
    found = bounded(problem, [(scorer, budget)], enumerated=0)
    assert scorer.of(found.choice) <= budget * (1 + 1e-12)
    assert max(excess(problem, found.choice)) <= 0
    assert found.bound <= best + ROUNDING and found.objective >= best - ROUNDING
    assert found.objective - best <= 0.02 * best
    assert found.objective - best <= found.gap * found.objective + ROUNDING
    (row,) = [one for one in found.budgets if one.column == scorer.name]
    assert row.average == pytest.approx(scorer.of(found.choice)) and row.slack >= 0


@pytest.mark.parametrize("seed", range(4))
def test_one_distance_is_minimised_while_another_is_bounded(rates, means, all_choices, seed) -> None:
    problem, scorer = rates(seed, 5, 4), means(seed, 5, 4)
    other = means(seed + 50, 5, 4, name="swd_test", kinks=True)
    budget = float(np.quantile([other.of(choice) for choice in all_choices(problem)], 0.2))
    values = [scorer.of(choice) for choice in all_choices(problem, (other, budget))]
    found = minimise(problem, scorer, at_most=[(other, budget)], enumerated=0)
    assert other.of(found.choice) <= budget * (1 + 1e-12)
    assert found.bound <= min(values) + ROUNDING
    assert found.objective == pytest.approx(min(values), rel=0.05)
    assert [one.role for one in found.values] == ["minimize", "at_most"]


def test_a_maximised_column_has_its_bound_above(rates, means, all_choices) -> None:
    plain = rates(1, 5, 4)
    problem = Problem.from_arrays({"psnr": plain.terms["psnr"].values}, maximize="psnr")
    scorer = means(1, 5, 4)
    budget = float(np.quantile([scorer.of(choice) for choice in all_choices(problem)], 0.1))
    best = max(problem.objective.average(choice) for choice in all_choices(problem, (scorer, budget)))
    found = bounded(problem, [(scorer, budget)], enumerated=0)
    assert found.bound >= best - ROUNDING and found.objective <= best + ROUNDING
    assert found.objective == pytest.approx(best, rel=0.01)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    images=st.integers(1, 5),
    points=st.integers(1, 4),
    budget=st.floats(0.2, 0.8),
    kind=st.sampled_from(["plain", "kinks", "quadratic"]),
    whole=st.booleans(),
)
def test_bounds_are_never_above_the_best_choice(
    rates, means, all_choices, seed, images, points, budget, kind, whole
) -> None:
    problem = rates(seed, images, points, budget)
    scorer = means(seed, images, points, kinks=kind == "kinks", quadratic=kind == "quadratic")
    if whole:  # many ties
        scorer.features = np.round(scorer.features)
    values = [scorer.of(choice) for choice in all_choices(problem)]
    found = minimise(problem, scorer, enumerated=0)
    if not values:
        assert found.status is Status.INFEASIBLE and found.explanation
        return
    assert found.found
    best = min(values)
    assert found.bound <= best + ROUNDING * max(abs(best), 1e-3)
    assert found.objective >= best - ROUNDING * max(abs(best), 1e-3)
    assert max(excess(problem, found.choice), default=0.0) <= 0
    assert (found.status is Status.OPTIMAL) == (found.gap <= found.allowed_gap * (1 + 1e-6))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), images=st.integers(1, 4), points=st.integers(1, 4), part=st.floats(0.0, 1.1))
def test_set_level_budgets_are_kept_or_proven_impossible(rates, means, all_choices, seed, images, points, part) -> None:
    problem, scorer = rates(seed, images, points, None), means(seed, images, points)
    values = sorted(scorer.of(choice) for choice in all_choices(problem))
    budget = part * (values[0] + values[-1]) / 2
    found = bounded(problem, [(scorer, budget)], enumerated=0)
    within = [problem.objective.average(choice) for choice in all_choices(problem, (scorer, budget))]
    if found.found:
        assert scorer.of(found.choice) <= budget * (1 + 1e-12)
        assert found.bound <= min(within) + ROUNDING
    elif found.status is Status.INFEASIBLE:
        assert not within
    else:
        assert found.status is Status.UNKNOWN and found.explanation
