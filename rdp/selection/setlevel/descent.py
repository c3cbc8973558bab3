"""Descent over shares: projected gradients find which points are mixed, conjugate gradients how much of each.

Steps of spectral projected gradients (Birgin, Martinez and Raydan 2000) with a nonmonotone line search soon settle
which shares are 0. On the face of the others the function is then nearly a quadratic one, whose least a few conjugate
gradients find, also where projected gradients take thousands of steps (More and Toraldo 1991). Products with the second
derivative are differences of gradients, which are exact for quadratic forms.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Protocol

import numpy as np

from rdp.analysis.sets.base import Relaxed
from rdp.selection.problem import BoolArray, FloatArray
from rdp.selection.setlevel.simplex import distance_from_least, projected

Function = Callable[[FloatArray], Relaxed]
MEMORY = 10
"""A step may end above the last value, but not above the largest of so many."""
ENOUGH = 1e-4
"""The part of the slope that a step must win."""
STEPS, FLAT = (1e-8, 1e10), 1e5
"""Lengths of steps, in units of the gradient, and that of one on which nothing bends."""
HALVINGS = 30
STALLED = 150
"""So many steps that come no nearer end the descent: a kink, or the last digit."""
NOISE = 1e-14
"""Values differ by so much of themselves by rounding; nearer to the optimum only the gradient tells."""
SETTLED, SELDOM, LONGEST = 4, 20, 320
"""After so many steps that mix the same points, or at the latest after so many, the face is searched; each time that
this does not halve the distance, twice as many steps later (it then costs more than it brings), up to the last."""
CONJUGATE, NEARER = 60, 1e-8
"""Steps of conjugate gradients, and the part of the squared gradient that is enough."""
BORDERS = 8
"""Times that a search of a face goes on from its border."""
CRUMB = 1e-9
"""Shares of less stay as they are: on so short a way a difference of gradients is noise."""
REACH = 0.5
"""Differences of gradients are taken over this part of the way to the border of the face."""


class Limit(Protocol):
    """Says when it is enough."""

    @property
    def over(self) -> bool: ...


def descend(function: Function, start: FloatArray, allowed: BoolArray, near: float, clock: Limit) -> FloatArray:
    """Shares (N, P) where the convex function is within `near` of its least over all shares, or as near as it came.

    How near that is, `distance_from_least` of the gradient says: it is what the bound loses.
    """
    x, here = start, function(start)
    best, nearest = x, math.inf
    values = [here.value]
    step, idle, alike, since, patience = 1.0, 0, 0, 0, 1
    for turn in itertools.count(1):
        distance = distance_from_least(here.gradient, x, allowed)
        idle = 0 if distance < nearest else idle + 1
        if distance < nearest:
            best, nearest = x, distance
        if nearest <= near or idle >= STALLED or clock.over:
            break
        found, since = None, since + 1
        if (alike >= SETTLED and since >= SETTLED * patience) or since >= SELDOM * patience:
            found, alike, since = _face(function, x, here, allowed, clock), 0, 0
            halved = found is not None and distance_from_least(found[1].gradient, found[0], allowed) <= distance / 2
            patience = 1 if halved else min(2 * patience, LONGEST // SELDOM)
        if found is None:
            found = _step(function, x, here, step, allowed, max(values), clock)
        if found is None:
            break
        other, there = found
        alike = alike + 1 if bool(((other > 0) == (x > 0)).all()) else 0
        step = _next_step(other - x, there.gradient - here.gradient, turn)
        x, here = other, there
        values = [*values[-MEMORY + 1 :], here.value]
    return best


def _step(
    function: Function, x: FloatArray, here: Relaxed, step: float, allowed: BoolArray, ceiling: float, clock: Limit
) -> tuple[FloatArray, Relaxed] | None:
    """A step of projected gradients; None where there is no way down."""
    while step <= STEPS[1]:
        way = projected(x - step * here.gradient, allowed) - x
        slope = float((here.gradient * way).sum())
        if slope < 0:
            return _search(function, x, here.value, way, slope, ceiling, clock)
        step *= 100  # so short a step is lost in rounding
    return None


def _next_step(moved: FloatArray, turned: FloatArray, turn: int) -> float:
    """The long and the short step of Barzilai and Borwein (1988) in turn."""
    low, high = STEPS
    curved = float((moved * turned).sum())
    if curved <= 0:
        return FLAT
    step = float((moved * moved).sum()) / curved if turn % 2 else curved / float((turned * turned).sum())
    return min(max(step, low), high)


def _search(
    function: Function, x: FloatArray, value: float, way: FloatArray, slope: float, ceiling: float, clock: Limit
) -> tuple[FloatArray, Relaxed] | None:
    """The first place on the way that is low enough; None where there is none."""
    length = 1.0
    for _ in range(HALVINGS):
        other = x + length * way
        there = function(other)
        if there.value <= ceiling + ENOUGH * length * slope + NOISE * abs(ceiling):
            return other, there
        if clock.over:
            return None
        # The least of the parabola through what is known, not too near to either end.
        rise = there.value - value - length * slope
        guess = -slope * length**2 / (2 * rise) if rise > 0 else 0.5 * length
        length = float(np.clip(guess, 0.1 * length, 0.5 * length))
    return None


def _face(
    function: Function, x: FloatArray, here: Relaxed, allowed: BoolArray, clock: Limit
) -> tuple[FloatArray, Relaxed] | None:
    """The least of the quadratic model on the face of the shares above 0; None where nothing is lower.

    Where that is outside of the simplex, its projection, or else the border on the way to it, and on from there.
    """
    found = None
    for _ in range(BORDERS):
        way = _conjugate(function, x, here.gradient, clock)
        if way is None or clock.over:
            break
        inside = _to_border(x, way)
        lower = _if_lower(function, here, projected(x + way, allowed))
        if lower is not None or inside >= 1:
            return lower if lower is not None else found
        lower = _if_lower(function, here, np.maximum(x + inside * way, 0.0))
        if lower is None:
            break
        found = x, here = lower
    return found


def _if_lower(function: Function, here: Relaxed, shares: FloatArray) -> tuple[FloatArray, Relaxed] | None:
    """Shares, put right to sum 1, and the function there; None where it is above `here`."""
    other = shares / shares.sum(axis=1, keepdims=True)
    there = function(other)
    return (other, there) if there.value <= here.value + NOISE * abs(here.value) else None


def _to_border(x: FloatArray, way: FloatArray) -> float:
    """The part of a way, at most all of it, on which no share falls below 0."""
    falling = way < 0
    return min(float((x[falling] / -way[falling]).min(initial=math.inf)), 1.0)


def _conjugate(function: Function, x: FloatArray, gradient: FloatArray, clock: Limit) -> FloatArray | None:
    """The way (N, P) from x to the least of the quadratic model on the face; None where it is there already."""
    free = x > CRUMB
    count = np.maximum(free.sum(axis=1, keepdims=True), 1)

    def tangential(values: FloatArray) -> FloatArray:
        inside = np.where(free, values, 0.0)
        return np.asarray(np.where(free, inside - inside.sum(axis=1, keepdims=True) / count, 0.0))

    rest = -tangential(gradient)
    way, direction = np.zeros_like(x), rest
    size = first = float((rest * rest).sum())
    for _ in range(CONJUGATE):
        if size <= NEARER * first or size == 0 or clock.over:
            break
        length = _reach(x, direction)
        turned = tangential((function(x + length * direction).gradient - gradient) / length)
        curved = float((direction * turned).sum())
        if curved <= NOISE * float((direction * direction).sum()):
            break
        way = way + size / curved * direction
        rest = rest - size / curved * turned
        size, before = float((rest * rest).sum()), size
        direction = rest + size / before * direction
    return way if bool(way.any()) else None


def _reach(x: FloatArray, direction: FloatArray) -> float:
    """How far to go for a difference of gradients: forward or backward (negative), whichever leaves more room."""
    ahead = direction < 0
    behind = direction > 0
    forward = float((x[ahead] / -direction[ahead]).min(initial=math.inf))
    backward = float((x[behind] / direction[behind]).min(initial=math.inf))
    return REACH * forward if forward >= backward else -REACH * backward
