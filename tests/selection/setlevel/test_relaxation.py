"""The relaxation against a general convex solver, and its bound where a form is hard."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.optimize import minimize

from rdp.selection import Problem
from rdp.selection.answering import Deadline
from rdp.selection.linear import signed
from rdp.selection.setlevel.certificate import Oracle
from rdp.selection.setlevel.planes import sharpened
from rdp.selection.setlevel.relaxation import Augmented, Bounded, Clock, relax
from rdp.selection.setlevel.terms import Guarded
from rdp.selection.setlevel.tighten import forms
from rdp.selection.setlevel.verb import minimise


def _general(problem: Problem, function) -> float:
    """The relaxed optimum by SciPy's SLSQP, from several starts."""
    shape = problem.shape
    sums = np.kron(np.eye(shape[0]), np.ones(shape[1]))
    limits = [{"type": "eq", "fun": lambda x: sums @ x - 1, "jac": lambda x: sums}]
    for constraint in problem.constraints:
        values, budget = signed(constraint)
        row = (values * (constraint.term.weights / constraint.term.weights.sum())[:, None]).ravel()
        limits.append({"type": "ineq", "fun": lambda x, r=row, b=budget: b - r @ x, "jac": lambda x, r=row: -r})

    def both(x: np.ndarray) -> tuple[float, np.ndarray]:
        here = function(x.reshape(shape))
        return here.value, here.gradient.ravel()

    rng = np.random.default_rng(0)
    best = np.inf
    for _ in range(3):
        start = rng.dirichlet(np.ones(shape[1]), shape[0]).ravel()
        done = minimize(
            both, start, jac=True, method="SLSQP", bounds=[(0, 1)] * len(start), constraints=limits,
            options={"maxiter": 500, "ftol": 1e-14},
        )  # fmt: skip
        if done.success:
            best = min(best, float(done.fun))
    return best


def _relaxed(problem: Problem, function, bounds=(), limit: int = 5000):
    clock = Clock(Deadline.of(None), limit)
    augmented = Augmented(problem, function, list(bounds), clock)
    oracle = Oracle(problem, clock.deadline)
    return relax(augmented, oracle, 1e-8), augmented, oracle, clock


def _optimum(problem: Problem, function):
    """As a solve does it: with planes together, where one tangent is not enough."""
    found, augmented, oracle, clock = _relaxed(problem, function, limit=2500)
    clock.limit = 5000
    return found if found.met else sharpened(found, augmented, oracle, clock, 1e-8)


@pytest.mark.parametrize("seed", range(5))
def test_the_relaxed_optimum_is_that_of_a_general_solver(rates, means, seed) -> None:
    problem, scorer = rates(seed, 5, 4, 0.4, at_least={"psnr": 31.8}), means(seed, 5, 4, dimensions=24)
    for form in forms(Guarded(scorer, problem.allowed)):
        expected = _general(problem, form)
        found = _optimum(problem, form)
        assert found.bound <= expected + 1e-9 * abs(expected)
        assert found.value == pytest.approx(expected, rel=1e-6)
        assert found.bound == pytest.approx(expected, rel=1e-6)


def test_a_bounded_form_gives_the_least_column_that_a_general_solver_finds(rates, means) -> None:
    problem, scorer = rates(3, 5, 4, None), means(3, 5, 4, dimensions=24)
    share = problem.objective.weights / problem.objective.weights.sum()
    gradient = problem.objective.values * share[:, None]
    middle = scorer.relaxed(np.full((5, 4), 0.25)).value
    from rdp.analysis.sets.base import Relaxed

    found = _relaxed(
        problem,
        lambda x: Relaxed(float((gradient * x).sum()), gradient),
        [Bounded(scorer.relaxed, middle)],
    )[0]
    price = found.set_prices[0]
    # Without the budget, but with its price, the same is the least of a sum: duality, by the other solver.
    lagrangian = _general(
        problem,
        lambda x: Relaxed(
            float((gradient * x).sum()) + price * (scorer.relaxed(x).value - middle),
            gradient + price * scorer.relaxed(x).gradient,
        ),
    )
    assert price > 0
    assert found.bound == pytest.approx(lagrangian, rel=1e-6)
    assert found.value == pytest.approx(found.bound, rel=1e-6)


def test_the_planes_of_a_form_with_kinks_together_bound_it_well(rates, means) -> None:
    problem, scorer = rates(2, 6, 5, 0.4), means(2, 6, 5, dimensions=40, kinks=True)
    alone, augmented, oracle, clock = _relaxed(problem, scorer.relaxed, limit=400)
    clock.limit = 2000
    together = sharpened(alone, augmented, oracle, clock, 1e-6)
    assert alone.bound <= together.bound <= together.value * (1 + 1e-9)
    assert together.value - together.bound <= 0.02 * together.value
    assert together.value - together.bound < 0.5 * (alone.value - alone.bound)


def test_a_tightened_form_agrees_at_choices_and_bounds_higher(rates, means) -> None:
    problem, scorer = rates(1, 6, 4), means(1, 6, 4, dimensions=40, quadratic=True)
    plain, *more = forms(Guarded(scorer, problem.allowed))
    assert len(more) == 2
    rng = np.random.default_rng(3)
    for form in more:
        for _ in range(5):
            choice = rng.integers(0, 4, 6)
            shares = np.eye(4)[choice]
            assert form(shares).value == pytest.approx(scorer.of(choice), rel=1e-12)
            first, second = rng.dirichlet(np.ones(4), (2, 6))
            here = form(first)
            assert form(second).value >= here.value + (here.gradient * (second - first)).sum() - 1e-12
        assert _relaxed(problem, form)[0].bound > 1.02 * _relaxed(problem, plain)[0].bound


@pytest.mark.parametrize("dimensions", [30, 600])
def test_kodak_sized_instances_take_seconds(rates, scorer_of, dimensions) -> None:
    rng = np.random.default_rng(dimensions)
    base = rng.normal(size=(24, 1, dimensions))
    scorer = scorer_of(base + 0.5 * rng.normal(size=(24, 20, dimensions)), base.mean(axis=(0, 1)) + 0.5)
    problem = rates(5, 24, 20, 0.4)
    started = time.process_time()
    found = minimise(problem, scorer)
    assert found.found and 0 <= found.bound <= found.objective
    assert time.process_time() - started < 60  # seconds on an idle machine, with much room
    relaxed = _relaxed(problem, scorer.relaxed)[0]
    assert relaxed.value - relaxed.bound <= 1e-6 * max(abs(relaxed.value), 1e-6)
