"""The optimiser of set-level values: relaxation with a certified bound, rounding, exchange, and what is proven."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rdp.errors import SolverError, SpecError
from rdp.execution import Progress, Silent
from rdp.selection.answering import Deadline
from rdp.selection.backends import AUTO
from rdp.selection.explaining.explain import explain_images, images_without_point
from rdp.selection.problem import Problem
from rdp.selection.result import Selection, reaches
from rdp.selection.setlevel.assemble import Outcome, assembled, without
from rdp.selection.setlevel.certificate import Oracle, Plane, planar
from rdp.selection.setlevel.functions import aim, cut, tangent, weighted
from rdp.selection.setlevel.planes import sharpened
from rdp.selection.setlevel.relaxation import Augmented, Bounded, Clock, Function, Relaxation, relax
from rdp.selection.setlevel.result import SetSelection, Stopped
from rdp.selection.setlevel.search import Search
from rdp.selection.setlevel.state import Found, Rows
from rdp.selection.setlevel.terms import Guarded, SetProblem, one_hot
from rdp.selection.setlevel.tighten import forms
from rdp.selection.solving import check_options, solve_problem
from rdp.selection.status import Status

SET_GAP = 1e-3
"""Relative distance from the bound that is enough: choices are seldom nearer to what the relaxation proves."""
ITERATIONS = 3_000
"""Evaluations of the convex forms in the relaxation."""
DESCENT = 0.8
"""The part of them that is for one tangent; the rest is for planes together."""
FINER = 0.01
"""The relaxation is solved to this part of the gap."""
CUTS = 6
"""Linear problems with cuts that are solved for a column with set-level budgets."""
LINEAR_S = 10.0
"""None of the linear problems may take longer: their bounds hold also when they are not solved."""
PASSED = 1e-6
CROSSED = 1e-7
"""A bound above a value of a choice by more than this part is no rounding: the gradient is none."""


@dataclass(eq=False)
class Proof:
    """The highest lower bound of what is minimised, over all choices."""

    bound: float = -math.inf

    def raise_to(self, bound: float | None) -> None:
        """Another bound is known."""
        if bound is not None and math.isfinite(bound):
            self.bound = max(self.bound, bound)


def optimise(
    asked: SetProblem,
    *,
    gap: float = SET_GAP,
    time_limit: float | None = None,
    iterations: int = ITERATIONS,
    seed: int = 0,
    progress: Progress | None = None,
) -> SetSelection:
    """Solve a problem with set-level values; see `rdp.selection.setlevel.verb`."""
    check_options(AUTO, gap, time_limit)
    if not (isinstance(iterations, int) and iterations > 0):
        raise SpecError(f"iterations must be a whole number above 0, not {iterations!r}")
    told = Silent() if progress is None else progress
    deadline = Deadline.of(time_limit)
    out = Outcome(asked, gap, seed, deadline)
    empty = images_without_point(asked.problem)
    if empty:
        return without(out, Status.INFEASIBLE, explain_images(asked.problem, empty))
    told.start("relaxation and exchange", 4, "step")
    try:
        return _Run(asked, out, Clock(deadline, iterations), gap, told).result()
    finally:
        told.finish()


class _Run:
    """One solve, step by step."""

    def __init__(self, asked: SetProblem, out: Outcome, clock: Clock, gap: float, told: Progress) -> None:
        self.asked, self.out, self.clock, self.gap, self.told = asked, out, clock, gap, told
        self.problem = asked.problem
        self.oracle = Oracle(asked.problem, clock.deadline)
        self.proof = Proof()
        self.tolerance = max(FINER * gap, 1e-9)
        self.iterations = clock.limit
        scorers = [one for one in (asked.scorer, *(bound.scorer for bound in asked.bounds)) if one is not None]
        self.forms = {id(one): forms(one) for one in scorers}

    def result(self) -> SetSelection:
        """The steps in their order; each may end it."""
        first = self._linear(self.problem, self._start())
        if first.status is Status.INFEASIBLE:
            return without(self.out, Status.INFEASIBLE, first.explanation, details=first.details)
        self.told.advance()
        relaxation = self._relaxations()
        self.out.relaxation = relaxation
        self.told.advance()
        impossible = self._impossible(relaxation) if _doubtful(self.asked, relaxation) else ""
        if impossible:
            return without(self.out, Status.INFEASIBLE, impossible)
        search = self._search(relaxation)
        impossible = self._with_cuts(relaxation, search)
        if impossible:
            return without(self.out, Status.INFEASIBLE, impossible)
        self.told.advance()
        search.offer(first.choice)
        search.run()
        if search.best is not None and search.best.passed > 0:
            self._towards(search)
        self.told.advance()
        return self._answer(search, relaxation)

    def _answer(self, search: Search, relaxation: Relaxation) -> SetSelection:
        best = search.best
        self.out.iterations, self.out.looks = self.clock.spent, search.looks
        if best is None or best.passed > 0:
            if self.asked.bounds:
                impossible = self._impossible(relaxation)
                if impossible:
                    return without(self.out, Status.INFEASIBLE, impossible)
            return without(self.out, Status.UNKNOWN, self._nothing(best), bound=self.proof.bound)
        value = self.asked.value(best.choice)
        bound = self._trusted(value)
        late = self.clock.late
        stopped: Stopped = "gap" if reaches(value, bound, self.gap) else ("time" if late else "iterations")
        return assembled(self.out, best.choice, value, bound, stopped)

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
        return tangent(aim(self.asked), np.asarray(shares, dtype=np.float64))

    def _linear(self, problem: Problem, plane: Plane) -> Selection:
        """The best choice by a plane: it keeps the averaged budgets, and its bound is one of what is minimised."""
        left = self.clock.deadline.left_s
        limit = LINEAR_S if left is None else max(min(left, LINEAR_S), 0.05)
        answer = solve_problem(planar(problem, plane, "plane"), gap=max(self.gap, 1e-6), time_limit=limit)
        if answer.status is not Status.INFEASIBLE:
            self.proof.raise_to(answer.bound)
        return answer

    def _relaxations(self) -> Relaxation:
        """The relaxation of the highest bound, of those with all forms as they are and with tightened ones."""
        best = None
        for number in range(max(len(some) for some in self.forms.values())):
            target = aim(self.asked) if self.asked.scorer is None else self._form(self.asked.scorer, number)
            bounds = [Bounded(self._form(bound.scorer, number), bound.room) for bound in self.asked.bounds]
            made = self._relaxed(target, bounds)
            self.proof.raise_to(made.bound)
            best = made if best is None or made.bound > best.bound else best
            if self.clock.late:
                break
        if best is None:
            raise SolverError("there is no relaxation: a bug in rdp")
        return best

    def _form(self, scorer: Guarded, number: int) -> Function:
        """A form of a scorer, the last one where there are no more."""
        some = self.forms[id(scorer)]
        return some[min(number, len(some) - 1)]

    def _relaxed(self, target: Function, bounds: list[Bounded]) -> Relaxation:
        start, whole = self.clock.spent, self.iterations
        self.clock.limit = start + max(int(DESCENT * whole), 1)
        augmented = Augmented(self.problem, target, bounds, self.clock)
        relaxation = relax(augmented, self.oracle, self.tolerance)
        self.clock.limit = start + whole
        if not relaxation.met:
            relaxation = sharpened(relaxation, augmented, self.oracle, self.clock, self.tolerance)
        return relaxation

    def _search(self, relaxation: Relaxation) -> Search:
        plane, _ = relaxation.best.planes()
        for price, one in zip(relaxation.set_prices, relaxation.best.bounds, strict=True):
            plane = plane.plus(Plane(0.0, one.gradient), price)

        def enough(found: Found) -> bool:
            return found.passed <= 0 and reaches(found.value, min(self.proof.bound, found.value), self.gap)

        rng = np.random.default_rng(self.out.seed)
        rows = Rows.of(self.problem)
        return Search(self.asked, rows, relaxation.best.shares, plane.slope, self.clock, rng, enough)

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
                return f"no selection meets the budgets: with {_names(self.asked)} held to tangent planes there is none"
            if answer.choice is None or self.clock.late:
                break
            passed = [bound for bound in self.asked.bounds if bound.scorer.at(answer.choice) > bound.room]
            if turn < 2 or not passed:
                search.offer(answer.choice)
            if not passed or search.done:
                break
            shares = one_hot(answer.choice, problem.shape[1])
            for bound in passed:
                problem = cut(problem, bound, tangent(self._form(bound.scorer, 1), shares))
        return ""

    def _impossible(self, relaxation: Relaxation) -> str:
        """Why no selection meets the set-level budgets, if a relaxation proves that; else an empty text."""
        bounds = self.asked.bounds
        for bound in bounds:
            least = max(self._relaxed(form, []).bound for form in self.forms[id(bound.scorer)])
            if least > bound.room:
                return (
                    f"no selection meets the budgets: {bound.scorer.name} (its convex form) is at least {least:.6g} "
                    f"within the others, more than {bound.budget:g}"
                )
        if len(bounds) > 1:
            # Where the budgets exclude each other their prices grow without end, and say in which proportion they do.
            weights = np.array(relaxation.set_prices) + 1e-9
            weights = weights / weights.sum()
            least = self._relaxed(weighted([self._form(bound.scorer, 1) for bound in bounds], weights), []).bound
            if least > float(weights @ [bound.room for bound in bounds]):
                return f"no selection meets the budgets: those of {_names(self.asked)} exclude each other"
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


def _doubtful(asked: SetProblem, relaxation: Relaxation) -> bool:
    """Whether the relaxation did not come to shares within the set-level budgets."""
    return bool(asked.bounds) and any(
        one.value > bound.room + PASSED * max(abs(bound.budget), 1e-12)
        for one, bound in zip(relaxation.best.bounds, asked.bounds, strict=True)
    )


def _names(asked: SetProblem) -> str:
    return " and ".join(bound.scorer.name for bound in asked.bounds)
