"""What is minimised or bounded, as functions of shares and as planes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rdp.analysis.sets.base import Relaxed
from rdp.selection.problem import FloatArray, Problem
from rdp.selection.setlevel.certificate import Plane
from rdp.selection.setlevel.relaxation import Function
from rdp.selection.setlevel.terms import SetBound, SetProblem
from rdp.selection.sums import accurate_sum


def aim(asked: SetProblem) -> Function:
    """What is minimised, as a function of shares."""
    if asked.scorer is not None:
        return asked.scorer.relaxed
    term = asked.problem.objective
    share = term.weights / accurate_sum(term.weights)
    gradient = np.where(asked.problem.allowed, asked.sign * term.values, 0.0) * share[:, None]
    return lambda shares: Relaxed(float((gradient * shares).sum()), gradient)


def weighted(functions: Sequence[Function], weights: FloatArray) -> Function:
    """The sum of functions with weights (J,) of 0 or more."""

    def function(shares: FloatArray) -> Relaxed:
        parts = [one(shares) for one in functions]
        value = float(weights @ [part.value for part in parts])
        return Relaxed(value, np.tensordot(weights, np.stack([part.gradient for part in parts]), axes=1))

    return function


def tangent(function: Function, shares: FloatArray) -> Plane:
    """The tangent plane at shares (N, P)."""
    here = function(shares)
    return Plane.tangent(here.value, here.gradient, shares)


def cut(problem: Problem, bound: SetBound, plane: Plane) -> Problem:
    """The problem with a plane below a set-level form held to the budget of that: every selection keeps it."""
    number = len(problem.constraints)
    made = plane.constraint(f"{bound.scorer.name} tangent {number}", bound.room)
    return replace(problem, constraints=(*problem.constraints, made))
