"""Edges: one image, one point, ties, nothing to gain, nothing possible, scorers that fail, the time limit."""

from __future__ import annotations

import numpy as np
import pytest

from rdp.errors import InfeasibleError, MetricError, SolverError, SpecError
from rdp.selection import Problem, Status
from rdp.selection.setlevel.verb import bounded, minimise, solve_set_level


def test_one_image_takes_its_best_point_within_the_budget(rates, means) -> None:
    problem, scorer = rates(0, 1, 6, 0.5), means(0, 1, 6)
    within = [j for j in range(6) if problem.constraints[0].term.values[0, j] <= 0.5]
    best = min(within, key=lambda j: scorer.of(np.array([j])))
    found = minimise(problem, scorer)
    assert found.choice.tolist() == [best]


def test_one_point_is_chosen_and_proven_best(rates, means) -> None:
    found = minimise(rates(0, 4, 1, None), means(0, 4, 1))
    assert found.choice.tolist() == [0, 0, 0, 0] and found.status is Status.OPTIMAL and found.stopped == "gap"


def test_a_form_that_no_choice_changes_is_proven_at_once(rates, scorer_of) -> None:
    flat = scorer_of(np.ones((4, 3, 2)), np.zeros(2))
    found = minimise(rates(0, 4, 3), flat, enumerated=0)
    assert found.status is Status.OPTIMAL and found.objective == pytest.approx(2.0)


def test_duplicated_points_change_neither_value_nor_bound(rates, scorer_of, means) -> None:
    plain, scorer = rates(4, 5, 3, 0.6), means(4, 5, 3)
    twice = Problem.from_arrays(
        {"bpp": np.repeat(plain.terms["bpp"].values, 2, axis=1)},
        minimize="bpp", at_most={"bpp": 0.6}, weights={"bpp": "pixels"}, pixels=plain.objective.weights,
    )  # fmt: skip
    doubled = scorer_of(np.repeat(scorer.features, 2, axis=1), scorer.target)
    one, other = minimise(plain, scorer, enumerated=0), minimise(twice, doubled, enumerated=0)
    assert other.objective == pytest.approx(one.objective, rel=1e-9)
    assert other.lp_bound == pytest.approx(one.lp_bound, rel=1e-4)


def test_forbidden_cells_are_never_chosen_and_may_have_no_features(means) -> None:
    scorer = means(2, 4, 3)
    allowed = np.ones((4, 3), dtype=bool)
    allowed[1, 0] = allowed[2, 2] = False
    problem = Problem.from_arrays({"bpp": np.tile([0.1, 0.2, 0.3], (4, 1))}, minimize="bpp", allowed=allowed)
    found = minimise(problem, scorer)
    assert allowed[np.arange(4), found.choice].all()


def test_the_same_seed_gives_the_same_selection(rates, means) -> None:
    first, second = (minimise(rates(6, 8, 6, 0.4), means(6, 8, 6), seed=3) for _ in range(2))
    assert first.choice.tolist() == second.choice.tolist()
    assert (first.bound, first.looks, first.iterations) == (second.bound, second.looks, second.iterations)


def test_averaged_budgets_that_nothing_meets_are_explained(rates, means) -> None:
    found = minimise(rates(0, 4, 3, 1e-4), means(0, 4, 3))
    assert found.status is Status.INFEASIBLE and "bpp" in found.explanation
    with pytest.raises(InfeasibleError):
        found.chosen  # noqa: B018
    assert found.to_dict()["chosen"] is None


def test_a_set_level_budget_below_the_least_mixture_is_said_with_that_least(rates, means) -> None:
    problem, scorer = rates(2, 5, 4, 0.5), means(2, 5, 4, dimensions=24)
    least = minimise(problem, scorer, enumerated=0).lp_bound
    found = bounded(problem, [(scorer, 0.9 * least)], enumerated=0)
    assert found.status is Status.INFEASIBLE
    assert scorer.name in found.explanation and f"{least:.3g}" in found.explanation


def test_distances_that_exclude_each_other_are_proven_to(rates, scorer_of) -> None:
    features = np.tile(np.array([[0.0], [1.0]]), (4, 1, 1))
    low, high = scorer_of(features, np.array([0.0]), "low"), scorer_of(features, np.array([1.0]), "high")
    problem = rates(0, 4, 2, None)
    found = bounded(problem, [(low, 0.2), (high, 0.2)], enumerated=0)
    assert found.status is Status.INFEASIBLE and "exclude each other" in found.explanation
    assert bounded(problem, [(low, 0.26), (high, 0.26)], enumerated=0).found


def test_a_time_limit_ends_the_search_with_what_is_found(rates, means) -> None:
    found = minimise(rates(7, 24, 20, 0.4), means(7, 24, 20, dimensions=200), time_limit=0.3)
    assert found.stopped in ("time", "gap")
    assert found.elapsed_s < 30
    if found.found:
        assert found.bound is None or found.bound <= found.objective


def test_too_few_iterations_leave_a_valid_bound(rates, means, all_choices) -> None:
    problem, scorer = rates(3, 5, 4), means(3, 5, 4, dimensions=20)
    found = minimise(problem, scorer, iterations=5, enumerated=0)
    assert found.bound <= min(scorer.of(choice) for choice in all_choices(problem))
    assert found.stopped == "iterations"


def test_a_value_that_is_no_number_names_the_scorer(rates, means) -> None:
    with pytest.raises(MetricError, match="kid_test of a mixture is nan"):
        minimise(rates(0, 3, 3), means(0, 3, 3, spoiled=float("nan")), enumerated=0)


def test_a_feature_that_is_no_number_names_image_and_point(rates, means) -> None:
    scorer = means(0, 3, 3)
    relaxed = scorer.relaxed

    def spoiled(shares: np.ndarray):
        here = relaxed(shares)
        here.gradient[2, 1] = np.inf
        return here

    scorer.relaxed = spoiled
    with pytest.raises(MetricError, match=r"gradient of kid_test is inf for image number 2 at point number 1"):
        minimise(rates(0, 3, 3, None), scorer, enumerated=0)


def test_a_gradient_that_is_none_is_found_out(rates, means) -> None:
    scorer = means(0, 5, 4, dimensions=20)
    relaxed = scorer.relaxed

    def wrong(shares: np.ndarray):
        here = relaxed(shares)
        return type(here)(here.value + 5.0, here.gradient) if (shares.max(axis=1) < 1).any() else here

    scorer.relaxed = wrong
    with pytest.raises(SolverError, match="kid_test are no subgradients"):
        minimise(rates(0, 5, 4, None), scorer, enumerated=0)


def test_a_scorer_of_other_images_is_refused(rates, means) -> None:
    with pytest.raises(SpecError, match="kid_test scores 3 images at 4 points"):
        minimise(rates(0, 4, 4), means(0, 3, 4))


def test_distances_are_neither_maximised_nor_held_to_at_least(rates, means) -> None:
    scorers = {"kid": means(0, 4, 3)}
    with pytest.raises(SpecError, match="kid is a distance of sets"):
        solve_set_level(rates(0, 4, 3), scorers, maximize="kid")
    with pytest.raises(SpecError, match="kid is a distance of sets"):
        solve_set_level(rates(0, 4, 3), scorers, minimize="bpp", at_least={"kid": 0.1})
    with pytest.raises(SpecError, match="nothing set-level"):
        solve_set_level(rates(0, 4, 3), scorers, minimize="bpp")
    with pytest.raises(SpecError, match="of all images together"):
        solve_set_level(rates(0, 4, 3), scorers, minimize="kid", each_at_most={"kid": 1.0})
