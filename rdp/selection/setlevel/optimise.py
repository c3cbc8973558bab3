"""The optimiser of set-level values: relaxation with a certified bound, rounding, exchange, and what is proven."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from rdp.errors import SolverError, SpecError
from rdp.execution import Progress, Silent
from rdp.selection.answering import Deadline
from rdp.selection.backends import AUTO
from rdp.selection.explaining.explain import explain_images, images_without_point
from rdp.selection.problem import IntArray, Problem
from rdp.selection.result import Selection, reaches
from rdp.selection.setlevel.assemble import Outcome, assembled, without
from rdp.selection.setlevel.certificate import Plane, planar
from rdp.selection.setlevel.enumerate import MOST_CHOICES, Everything, every_choice
from rdp.selection.setlevel.functions import aim, cut, tangent
from rdp.selection.setlevel.relaxation import Clock, Relaxation
from rdp.selection.setlevel.relaxing import Proof, Relaxer, exclude_each_other, set_names, too_far
from rdp.selection.setlevel.result import SetSelection, SolveInterrupted, Stopped
from rdp.selection.setlevel.search import Search
from rdp.selection.setlevel.singles import single_points
from rdp.selection.setlevel.state import Found, Rows, State
from rdp.selection.setlevel.telling import Teller
from rdp.selection.setlevel.terms import SetProblem, one_hot
from rdp.selection.solving import check_options, solve_problem
from rdp.selection.status import Status

SET_GAP = 1e-3
"""Relative distance from the bound that is enough: choices are seldom nearer to what the relaxation proves."""
ITERATIONS = 3_000
"""Evaluations of the convex forms in the relaxation."""
DEFAULT_S = 120.0
"""Seconds that a solve may take where no time limit is given."""
EVERYTHING, RELAXING, PROVING, COARSE = 0.5, 0.35, 0.3, 0.4
"""Shares of the time that is left: for looking at all choices, for the relaxation, for the proof that there is no
selection, and for the search by cheaper forms. What is left then is for the exchange."""
INFORMING_S = 5.0
"""Seconds for the relaxation where the best choice is known: it then only gives the prices."""
SCORED = 8
"""So many choices that the search by cheaper forms settled on are scored; the exchange goes on from the best."""
ALL_CHOICES = "all choices looked at"
"""What `Selection.solver` says where they were."""
FINER = 0.01
"""The relaxation is solved to this part of the gap."""
CUTS = 6
"""Linear problems with cuts that are solved for a column with set-level budgets."""
LINEAR_S = 10.0
"""None of the linear problems may take longer: their bounds hold also when they are not solved."""
CROSSED = 1e-7
"""A bound above a value of a choice by more than this part is no rounding: the gradient is none."""


def optimise(
    asked: SetProblem,
    *,
    gap: float = SET_GAP,
    time_limit: float | None = None,
    iterations: int = ITERATIONS,
    enumerated: int = MOST_CHOICES,
    seed: int = 0,
    progress: Progress | None = None,
) -> SetSelection:
    """Solve a problem with set-level values; see `rdp.selection.setlevel.verb`."""
    check_options(AUTO, gap, time_limit)
    if not (isinstance(iterations, int) and iterations > 0):
        raise SpecError(f"iterations must be a whole number above 0, not {iterations!r}")
    deadline = Deadline.of(DEFAULT_S if time_limit is None else time_limit)
    out = Outcome(asked, gap, seed, deadline)
    empty = images_without_point(asked.problem)
    if empty:
        return without(out, Status.INFEASIBLE, explain_images(asked.problem, empty))
    teller = Teller(Silent() if progress is None else progress, asked.name, asked.sign)
    run = _Run(asked, out, Clock(deadline, iterations, tell=teller.tell), gap, teller)
    try:
        return run.result(enumerated)
    except KeyboardInterrupt as stop:
        found = run.interrupted()
        if found is None:
            raise
        raise SolveInterrupted(found) from stop


class _Run:
    """One solve, step by step."""

    def __init__(self, asked: SetProblem, out: Outcome, clock: Clock, gap: float, teller: Teller) -> None:
        self.asked, self.out, self.clock, self.gap, self.teller = asked, out, clock, gap, teller
        self.problem, self.rows = asked.problem, Rows.of(asked.problem)
        self.proof = Proof()
        self.relaxer = Relaxer(asked, clock, self.proof, max(FINER * gap, 1e-9))
        self.best: Found | None = None
        self.looks = 0
        self.rough_looks = 0

    def result(self, most: int) -> SetSelection:
        """The steps in their order; each may end it."""
        self.teller.begin("linear steps")
        first = self._linear(self.problem, self._start())
        if first.status is Status.INFEASIBLE:
            return without(self.out, Status.INFEASIBLE, first.explanation, details=first.details)
        self._singles(first.choice)
        self.teller.begin("every choice")
        with self.clock.phase(EVERYTHING):
            everything = every_choice(self.asked, self.rows, self.clock, self._take, most=most)
        if everything is not None and everything.best is None:
            return without(self.out, Status.INFEASIBLE, _none_of_all(self.asked, everything))
        relaxation = self._relaxation(known=everything is not None)
        if everything is not None and everything.best is not None:
            self.looks += everything.count
            return self._proven(everything.best)
        with self.clock.phase(PROVING):
            doubtful = self.relaxer.doubtful(relaxation)
            impossible = self.relaxer.impossible(relaxation) if doubtful else ""
        if impossible:
            return without(self.out, Status.INFEASIBLE, impossible)
        search = self._search(relaxation)
        impossible = self._with_cuts(relaxation, search)
        if impossible:
            return without(self.out, Status.INFEASIBLE, impossible)
        search.offer(first.choice)
        search.run(roundings=self.asked.below() is None)
        if search.best is not None and search.best.passed > 0:
            self._towards(search)
        self.looks = search.looks + self.rough_looks
        return self._answer(relaxation)

    def interrupted(self) -> SetSelection | None:
        """The best choice so far, with what is proven; None where no choice within all budgets is known."""
        best = self.best
        if best is None or best.passed > 0:
            return None
        self._count()
        value = self.asked.value(best.choice)
        return assembled(self.out, best.choice, value, self._trusted(value), "interrupted")

    def _take(self, found: Found) -> None:
        """Keep a choice if it is the best so far."""
        if found.better_than(self.best):
            self.best = found
            self.teller.value = found.value if found.passed <= 0 else self.teller.value

    def _singles(self, linear: IntArray | None) -> None:
        """Look at every point for all images, whatever the time, and at the choice of the linear problem."""
        for choice in (*single_points(self.problem), *([] if linear is None else [linear])):
            state = State(self.asked, self.rows, choice)
            if state.within():
                self._take(state.found)

    def _relaxation(self, known: bool) -> Relaxation:
        """The relaxation; for its prices alone, and in less time, where the best choice is known."""
        self.teller.begin("relaxation")
        left = self.clock.left_s
        share = min(RELAXING, INFORMING_S / left) if known and left else RELAXING
        with self.clock.phase(share):
            self.out.relaxation = self.relaxer.best()
        self.teller.bound = self.proof.bound
        return self.out.relaxation

    def _proven(self, best: Found) -> SetSelection:
        """The best of all choices: its value is its bound."""
        self._count()
        value = self.asked.value(best.choice)
        self._trusted(value)
        return replace(assembled(self.out, best.choice, value, value, "gap"), solver=ALL_CHOICES)

    def _answer(self, relaxation: Relaxation) -> SetSelection:
        best = self.best
        self._count()
        if best is None or best.passed > 0:
            if self.asked.bounds:
                impossible = self.relaxer.impossible(relaxation)
                if impossible:
                    return without(self.out, Status.INFEASIBLE, impossible)
            return without(self.out, Status.UNKNOWN, self._nothing(best), bound=self.proof.bound)
        value = self.asked.value(best.choice)
        bound = self._trusted(value)
        late = self.clock.late
        stopped: Stopped = "gap" if reaches(value, bound, self.gap) else ("time" if late else "iterations")
        return assembled(self.out, best.choice, value, bound, stopped)

    def _count(self) -> None:
        self.out.iterations, self.out.looks = self.clock.spent, self.looks

    def _trusted(self, value: float) -> float | None:
        """The bound, at most the value; raises `SolverError` where it is above that by more than rounding."""
        bound = self.proof.bound
        if bound > value + CROSSED * max(abs(value), abs(bound)) + 1e-12:
            names = ", ".join([one.name for one in (self.asked.scorer, *(b.scorer for b in self.asked.bounds)) if one])
            raise SolverError(
                f"the lower bound {bound:.9g} is above {value:.9g}, the value of a selection: the gradients of {names} "
                "are no subgradients of a convex form that agrees with its values at selections"
            )
        return min(bound, value) if math.isfinite(bound) else None

    def _start(self) -> Plane:
        """A first plane: the tangent of what is minimised where every point has the same share."""
        allowed = self.problem.allowed
        shares = allowed / allowed.sum(axis=1, keepdims=True)
        return tangent(aim(self.asked.below() or self.asked), np.asarray(shares, dtype=np.float64))

    def _linear(self, problem: Problem, plane: Plane) -> Selection:
        """The best choice by a plane: it keeps the averaged budgets, and its bound is one of what is minimised."""
        left = self.clock.deadline.left_s
        limit = LINEAR_S if left is None else max(min(left, LINEAR_S), 0.05)
        answer = solve_problem(planar(problem, plane, "plane"), gap=max(self.gap, 1e-6), time_limit=limit)
        if answer.status is not Status.INFEASIBLE:
            self.proof.raise_to(answer.bound)
        return answer

    def _search(self, relaxation: Relaxation) -> Search:
        """The search of choices, which begins with the best so far and those that cheaper forms lead to."""
        plane, _ = relaxation.best.planes()
        for price, one in zip(relaxation.set_prices, relaxation.best.bounds, strict=True):
            plane = plane.plus(Plane(0.0, one.gradient), price)

        def enough(found: Found) -> bool:
            return found.passed <= 0 and reaches(found.value, min(self.proof.bound, found.value), self.gap)

        rng = np.random.default_rng(self.out.seed)
        of = (self.rows, relaxation.best.shares, plane.slope, self.clock, rng)
        search = Search(self.asked, *of, enough, best=self.best, take=self._take)
        below = self.asked.below()
        if below is not None and not search.done:
            self.teller.begin("exchange by a cheaper form")
            rough = Search(below, *of, lambda found: False)
            with self.clock.phase(COARSE):
                if self.best is not None:
                    rough.offer(self.best.choice)
                rough.run()
            settled = sorted(rough.settled, key=lambda one: (one.passed, one.value))
            for found in settled[:SCORED]:
                search.consider(found.choice)
            self.rough_looks = rough.looks
        self.teller.begin("exchange")
        if search.best is not None:
            search.offer(search.best.choice)
        return search

    def _with_cuts(self, relaxation: Relaxation, search: Search) -> str:
        """Offer the best choices by planes (outer approximation); returns why there is no selection, if proven.

        A tangent of a set-level form, held to its budget, is an averaged constraint that every selection keeps.
        """
        plane, tangents = relaxation.best.planes()
        problem = self.problem
        for bound, one in zip(self.asked.bounds, tangents, strict=True):
            problem = cut(problem, bound, one)
        for turn in range(CUTS):
            answer = self._linear(problem, plane)
            if answer.status is Status.INFEASIBLE:
                return (
                    f"no selection meets the budgets: with {set_names(self.asked)} held to tangent planes there is none"
                )
            if answer.choice is None or self.clock.late:
                break
            passed = [bound for bound in self.asked.bounds if bound.scorer.at(answer.choice) > bound.room]
            if turn < 2 or not passed:
                search.offer(answer.choice)
            if not passed or search.done:
                break
            shares = one_hot(answer.choice, problem.shape[1])
            for bound in passed:
                problem = cut(problem, bound, tangent(self.relaxer.form(bound.scorer, 1), shares))
        return ""

    def _towards(self, search: Search) -> None:
        """Where no choice keeps the set-level budgets yet: minimise what is passed, for itself."""
        for bound in self.asked.bounds:
            others = tuple(one for one in self.asked.bounds if one is not bound)
            alone = SetProblem(self.problem, bound.scorer, others)
            plane = tangent(bound.scorer.relaxed, search.shares)

            def enough(found: Found, room: float = bound.room) -> bool:
                return found.passed <= 0 and found.value <= room

            inner = Search(alone, search.rows, search.shares, plane.slope, self.clock, search.rng, enough)
            inner.offer(None if search.best is None else search.best.choice)
            inner.run()
            search.looks += inner.looks
            search.offer(None if inner.best is None else inner.best.choice)
            if search.best is not None and search.best.passed <= 0:
                search.run()
                return

    def _nothing(self, best: Found | None) -> str:
        if best is None:
            return (
                "no selection within the averaged budgets was found, and no proof that there is none; widen the "
                "narrowest budget, or allow more time"
            )
        near = ", ".join(f"{b.scorer.name} {b.scorer.at(best.choice):.6g}" for b in self.asked.bounds)
        return (
            f"no selection within the set-level budgets was found, and no proof that there is none; the nearest has "
            f"{near} (convex form). Widen the narrowest budget, or allow more time"
        )


def _none_of_all(asked: SetProblem, everything: Everything) -> str:
    """Why there is no selection, where all choices were looked at."""
    looked = f" ({everything.count} choices keep the averaged budgets, and all were looked at)"
    if not asked.bounds or not everything.count:
        return f"no selection meets the averaged budgets together{looked if everything.count else ''}"
    for bound, least in zip(asked.bounds, everything.least, strict=True):
        if least > bound.room:
            return too_far(bound.scorer.name, least, bound.budget) + looked
    return exclude_each_other(asked) + looked
