"""Small problems are enumerated; single points are never beaten by less time; Ctrl-C keeps the best so far."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdp.selection import Problem, Status
from rdp.selection.answering import Deadline
from rdp.selection.check import excess
from rdp.selection.setlevel import enumerate as enumerating
from rdp.selection.setlevel.enumerate import every_choice
from rdp.selection.setlevel.relaxation import Clock
from rdp.selection.setlevel.result import SolveInterrupted
from rdp.selection.setlevel.state import Rows
from rdp.selection.setlevel.terms import SetProblem
from rdp.selection.setlevel.verb import bounded, minimise


class Notes:
    """Progress that keeps its notes, and refuses stages: a solve has no total to count to."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def start(self, stage: str, total: int, unit: str) -> None:
        raise AssertionError(f"a stage {stage} was begun")

    def advance(self, count: int = 1) -> None:
        raise AssertionError("a stage was advanced")

    def finish(self) -> None:
        raise AssertionError("a stage was finished")

    def note(self, message: str) -> None:
        self.notes.append(message)


class Low:
    """A form below a scorer's: a part of it, counted."""

    def __init__(self, scorer: Any, part: float) -> None:
        self.scorer, self.part, self.relaxations = scorer, part, 0
        self.name, self.images, self.points = "low", scorer.images, scorer.points

    def score(self, choice: np.ndarray) -> float:
        return self.part * self.scorer.of(choice)

    of = score

    def relaxed(self, shares: np.ndarray) -> Any:
        self.relaxations += 1
        here = self.scorer.relaxed(shares)
        return type(here)(self.part * here.value, self.part * here.gradient)

    def exchange(self, choice: np.ndarray) -> Any:
        return type(self.scorer.exchange(choice))(self, choice)

    def facts(self) -> dict[str, Any]:
        return {}


def with_below(scorer: Any, part: float = 0.9) -> Low:
    """Give a scorer a form below."""
    low = Low(scorer, part)
    scorer.below = lambda: low
    return low


def best_single(problem: Problem, scorer: Any) -> float:
    """The least value of one point for all images within the averaged budgets."""
    images, points = problem.shape
    choices = [np.full(images, point) for point in range(points)]
    within = [one for one in choices if max(excess(problem, one), default=0.0) <= 0]
    return min((scorer.of(one) for one in within), default=np.inf)


@pytest.mark.parametrize("below", [False, True])
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    images=st.integers(1, 5),
    points=st.integers(1, 4),
    budget=st.floats(0.1, 0.8),
    part=st.floats(0.3, 1.0),
    whole=st.booleans(),
)
def test_of_a_small_problem_the_best_choice_is_found_and_proven(
    rates, means, all_choices, below, seed, images, points, budget, part, whole
) -> None:
    problem, scorer = rates(seed, images, points, budget), means(seed, images, points, kinks=True)
    if whole:  # many ties
        scorer.features = np.round(scorer.features)
    if below:
        with_below(scorer, part)
    values = [scorer.of(choice) for choice in all_choices(problem)]
    found = minimise(problem, scorer)
    if not values:
        assert found.status is Status.INFEASIBLE
        return
    assert found.status is Status.OPTIMAL and found.bound == found.objective and found.stopped == "gap"
    assert found.objective == pytest.approx(min(values), rel=1e-12, abs=1e-15)
    assert max(excess(problem, found.choice), default=0.0) <= 0
    assert found.solver == "all choices looked at"


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), images=st.integers(1, 4), points=st.integers(1, 4), part=st.floats(0.0, 1.1))
def test_within_set_level_budgets_too_and_else_it_is_proven_impossible(
    rates, means, all_choices, seed, images, points, part
) -> None:
    problem, scorer = rates(seed, images, points, None), means(seed, images, points)
    values = sorted(scorer.of(choice) for choice in all_choices(problem))
    budget = part * (values[0] + values[-1]) / 2
    within = [problem.objective.average(choice) for choice in all_choices(problem, (scorer, budget))]
    found = bounded(problem, [(scorer, budget)])
    if not within:
        assert found.status is Status.INFEASIBLE
        assert f"at least {values[0]:.6g}" in found.explanation and "all were looked at" in found.explanation
    else:
        assert found.status is Status.OPTIMAL and found.objective == pytest.approx(min(within), rel=1e-12)
        assert scorer.of(found.choice) <= budget * (1 + 1e-12)


def test_budgets_met_exactly_do_not_fall_to_rounding(means) -> None:
    rates = np.array([[0.1, 0.3], [0.2, 0.4], [0.3, 0.7]])
    problem = Problem.from_arrays({"bpp": rates}, minimize="bpp", at_most={"bpp": (0.3 + 0.4 + 0.3) / 3})
    scorer = means(0, 3, 2)
    scorer.features = np.array([[[9.0], [0.0]], [[9.0], [0.0]], [[9.0], [8.0]]])
    scorer.target = np.zeros(1)
    assert minimise(problem, scorer).choice.tolist() == [1, 1, 0]


def test_too_many_choices_or_too_slow_ones_are_not_enumerated(rates, means, monkeypatch) -> None:
    asked = SetProblem.of(rates(0, 6, 4, 0.6), means(0, 6, 4))
    rows = Rows.of(asked.problem)
    clock = Clock(Deadline.of(None), 10)
    everything = every_choice(asked, rows, clock, lambda found: None)
    assert everything is not None
    assert every_choice(asked, rows, clock, lambda found: None, most=everything.count - 1) is None
    assert every_choice(asked, rows, clock, lambda found: None, most=everything.count) is not None
    monkeypatch.setattr(enumerating, "ENUMERATION_S", 1e-4)
    assert every_choice(asked, rows, clock, lambda found: None) is None
    assert every_choice(asked, rows, Clock(Deadline(0.0, 0.0), 10), lambda found: None) is None


def test_a_form_below_saves_most_scores(rates, means) -> None:
    problem, scorer = rates(1, 6, 4, 0.6), means(1, 6, 4, kinks=True)
    with_below(scorer, 0.98)
    scored = []
    plain = scorer.of
    scorer.exchange = lambda choice: scored.append(1) or type(means(0, 2, 2).exchange(choice))(scorer, choice)
    found = minimise(problem, scorer)
    assert found.status is Status.OPTIMAL
    count = sum(1 for _ in np.ndindex(*[4] * 6))
    assert len(scored) < count / 20
    assert found.objective == pytest.approx(plain(found.choice))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("enumerated", [0, 50_000])
def test_with_no_time_at_all_it_is_still_no_worse_than_any_single_point(rates, means, seed, enumerated) -> None:
    problem, scorer = rates(seed, 12, 8, 0.5), means(seed, 12, 8, dimensions=40, kinks=True)
    found = minimise(problem, scorer, time_limit=1e-6, enumerated=enumerated)
    assert found.found and found.stopped == "time"
    assert found.objective <= best_single(problem, scorer) * (1 + 1e-12)
    assert found.bound is None or found.bound <= found.objective


def test_a_slow_relaxation_leaves_time_for_the_exchange(rates, means) -> None:
    problem, scorer = rates(3, 12, 8, 0.5), means(3, 12, 8, dimensions=40)
    scorer.target = scorer.features[np.arange(12), np.random.default_rng(0).integers(0, 5, 12)].mean(axis=0)
    relaxed = scorer.relaxed

    def slow(shares: np.ndarray) -> Any:
        time.sleep(0.02)
        return relaxed(shares)

    scorer.relaxed = slow
    found = minimise(problem, scorer, time_limit=3.0, gap=0.0)
    assert found.looks > 20
    assert found.objective < 0.7 * best_single(problem, scorer)
    assert found.elapsed_s < 6


def test_a_form_below_is_relaxed_instead_and_its_bound_holds(rates, means, all_choices) -> None:
    problem, scorer = rates(2, 5, 4, 0.4), means(2, 5, 4, dimensions=30, kinks=True)
    plain = minimise(problem, scorer, enumerated=0)
    low = with_below(scorer, 0.9)
    counted: list[int] = []
    relaxed = scorer.relaxed
    scorer.relaxed = lambda shares: counted.append(1) or relaxed(shares)
    found = minimise(problem, scorer, enumerated=0)
    best = min(scorer.of(choice) for choice in all_choices(problem))
    assert found.bound <= best * (1 + 1e-9) and found.objective == pytest.approx(best, rel=1e-9)
    # Planes of the form itself finish what the lower one began.
    assert found.bound >= 0.98 * plain.bound
    assert low.relaxations > 0


@pytest.mark.parametrize("after", [15, 60])
def test_an_interrupted_solve_has_the_best_so_far(rates, means, after, tmp_path) -> None:
    problem, scorer = rates(3, 12, 8, 0.5), means(3, 12, 8, dimensions=40)
    relaxed, calls = scorer.relaxed, []

    def interrupted(shares: np.ndarray) -> Any:
        calls.append(1)
        if len(calls) == after:
            raise KeyboardInterrupt
        return relaxed(shares)

    scorer.relaxed = interrupted
    with pytest.raises(SolveInterrupted) as caught:
        minimise(problem, scorer, gap=0.0)
    found = caught.value.selection
    assert found.status is Status.FEASIBLE and found.stopped == "interrupted"
    assert max(excess(problem, found.choice)) <= 0
    assert found.objective <= best_single(problem, scorer) * (1 + 1e-12)
    document = json.loads(found.save(tmp_path / "sel.json").read_text())
    assert document["stopped"] == "interrupted" and document["status"] == "feasible"


def test_interrupted_before_anything_is_known_it_says_no_more(rates, means) -> None:
    scorer = means(3, 5, 4)

    def interrupted(shares: np.ndarray) -> Any:
        raise KeyboardInterrupt

    scorer.relaxed = interrupted
    with pytest.raises(KeyboardInterrupt) as caught:
        minimise(rates(3, 5, 4, 0.5), scorer)
    assert not isinstance(caught.value, SolveInterrupted)


def test_notes_tell_evaluations_best_value_and_bound(rates, means, monkeypatch) -> None:
    from rdp.selection.setlevel import telling

    monkeypatch.setattr(telling, "FIRST_S", 0.0)
    monkeypatch.setattr(telling, "EVERY_S", 0.0)
    told = Notes()
    found = minimise(rates(3, 12, 8, 0.5), means(3, 12, 8, dimensions=40), enumerated=0, progress=told)
    assert any("relaxation (3 evaluations): best kid_test " in note for note in told.notes)
    last = told.notes[-1]
    assert "exchange (" in last and f"best kid_test {found.objective:.6g}" in last and ", bound " in last


def test_what_is_infeasible_and_what_is_quick_tell_nothing(rates, means) -> None:
    told = Notes()
    assert minimise(rates(0, 4, 3, 1e-4), means(0, 4, 3), progress=told).status is Status.INFEASIBLE
    assert minimise(rates(0, 4, 3), means(0, 4, 3), progress=told).found
    assert told.notes == []
