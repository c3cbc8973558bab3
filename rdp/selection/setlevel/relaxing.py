"""Which forms are relaxed, one after the other, in which time; and what the relaxations prove."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rdp.errors import SolverError
from rdp.selection.problem import Problem
from rdp.selection.setlevel.certificate import Oracle
from rdp.selection.setlevel.functions import aim, weighted
from rdp.selection.setlevel.planes import sharpened
from rdp.selection.setlevel.relaxation import Augmented, Bounded, Clock, Function, Relaxation, moved, relax
from rdp.selection.setlevel.terms import Guarded, SetProblem
from rdp.selection.setlevel.tighten import forms

DESCENT = 0.8
"""The part of the evaluations that is for one tangent; the rest is for planes together."""
DESCENT_TIME = 0.65
"""The part of the time that is."""
CHEAP_TIME = 0.6
"""Of the time of a relaxation, that of the cheaper forms below, where there are some."""
PASSED = 1e-6


@dataclass(eq=False)
class Proof:
    """The highest lower bound of what is minimised, over all choices."""

    bound: float = -math.inf

    def raise_to(self, bound: float | None) -> None:
        """Another bound is known."""
        if bound is not None and math.isfinite(bound):
            self.bound = max(self.bound, bound)


class Relaxer:
    """The relaxations of a problem; what they prove goes to `proof`."""

    def __init__(self, asked: SetProblem, clock: Clock, proof: Proof, tolerance: float) -> None:
        self.asked, self.clock, self.proof, self.tolerance = asked, clock, proof, tolerance
        self.problem: Problem = asked.problem
        self.oracle = Oracle(asked.problem, clock.deadline)
        self.iterations = clock.limit
        self.scorers = [one for one in (asked.scorer, *(bound.scorer for bound in asked.bounds)) if one is not None]
        self.known: dict[int, tuple[Function, ...]] = {}

    def best(self) -> Relaxation:
        """The relaxation of the highest bound, of those with all forms as they are and with tightened ones."""
        best = None
        count = max(len(self._forms(one)) for one in self.scorers)
        for number in range(count):
            target = aim(self.asked) if self.asked.scorer is None else self.form(self.asked.scorer, number)
            bounds = [Bounded(self.form(bound.scorer, number), bound.room) for bound in self.asked.bounds]
            with self.clock.phase(1 / (count - number)):
                made = self._cheap_first(target, bounds) if number == 0 else self.one(target, bounds)
            self.proof.raise_to(made.bound)
            best = made if best is None or made.bound > best.bound else best
            if self.clock.late:
                break
        if best is None:
            raise SolverError("there is no relaxation: a bug in rdp")
        return best

    def form(self, scorer: Guarded, number: int) -> Function:
        """A form of a scorer, the last one where there are no more."""
        some = self._forms(scorer)
        return some[min(number, len(some) - 1)]

    def one(self, target: Function, bounds: list[Bounded]) -> Relaxation:
        """The relaxation of a function within bounded ones, and the averaged budgets."""
        return self._descended(Augmented(self.problem, target, bounds, self.clock))

    def impossible(self, relaxation: Relaxation) -> str:
        """Why no selection meets the set-level budgets, if a relaxation proves that; else an empty text."""
        bounds = self.asked.bounds
        for bound in bounds:
            least = max(self.one(form, []).bound for form in self._forms(bound.scorer))
            if least > bound.room:
                return too_far(bound.scorer.name, least, bound.budget)
        if len(bounds) > 1:
            # Where the budgets exclude each other their prices grow without end, and say in which proportion they do.
            weights = np.array(relaxation.set_prices) + 1e-9
            weights = weights / weights.sum()
            least = self.one(weighted([self.form(bound.scorer, 1) for bound in bounds], weights), []).bound
            if least > float(weights @ [bound.room for bound in bounds]):
                return exclude_each_other(self.asked)
        return ""

    def doubtful(self, relaxation: Relaxation) -> bool:
        """Whether the relaxation did not come to shares within the set-level budgets."""
        return bool(self.asked.bounds) and any(
            one.value > bound.room + PASSED * max(abs(bound.budget), 1e-12)
            for one, bound in zip(relaxation.best.bounds, self.asked.bounds, strict=True)
        )

    def _forms(self, scorer: Guarded) -> tuple[Function, ...]:
        if id(scorer) not in self.known:
            self.known[id(scorer)] = forms(scorer)
        return self.known[id(scorer)]

    def _cheap_first(self, target: Function, bounds: list[Bounded]) -> Relaxation:
        """Cheaper forms below are minimised first; the forms themselves go on from there, by planes together."""
        below = self.asked.below()
        if below is None:
            return self.one(target, bounds)
        low = [Bounded(one.scorer.relaxed, one.room) for one in below.bounds]
        cheap = Augmented(self.problem, aim(below), low, self.clock)
        with self.clock.phase(CHEAP_TIME):
            known = self._descended(cheap)
        whole = Augmented(self.problem, target, bounds, self.clock)
        return self._sharpened(moved(known, cheap, whole, self.oracle), whole)

    def _descended(self, augmented: Augmented) -> Relaxation:
        start, whole = self.clock.spent, self.iterations
        self.clock.limit = start + max(int(DESCENT * whole), 1)
        with self.clock.phase(DESCENT_TIME):
            relaxation = relax(augmented, self.oracle, self.tolerance)
        self.clock.limit = start + whole
        return relaxation if relaxation.met else self._sharpened(relaxation, augmented)

    def _sharpened(self, known: Relaxation, augmented: Augmented) -> Relaxation:
        return sharpened(known, augmented, self.oracle, self.clock, self.tolerance)


def too_far(name: str, least: float, budget: float) -> str:
    """That one set-level budget is below what can be had."""
    return (
        f"no selection meets the budgets: {name} (its convex form) is at least {least:.6g} within the others, more "
        f"than {budget:g}"
    )


def exclude_each_other(asked: SetProblem) -> str:
    """That the set-level budgets cannot be kept together."""
    return f"no selection meets the budgets: those of {set_names(asked)} exclude each other"


def set_names(asked: SetProblem) -> str:
    """The bounded distances, by name."""
    return " and ".join(bound.scorer.name for bound in asked.bounds)
