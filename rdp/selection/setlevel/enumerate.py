"""Small problems: every choice within the averaged budgets is looked at, so that the best one is known to be the best.

Images are taken in their order, and a beginning that no end keeps within the averaged budgets is left at once. The
points of the last image are scored together. A cheaper form that is nowhere above the distance, where the scorer has
one, is taken at all choices first: then those are scored in the order of its values, until one is above the best.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from rdp.selection.problem import FloatArray, IntArray
from rdp.selection.setlevel.relaxation import Clock
from rdp.selection.setlevel.state import Found, Rows, State
from rdp.selection.setlevel.terms import SetProblem

MOST_CHOICES = 50_000
"""Choices within the averaged budgets that are looked at, at the most."""
MOST_NAMED = 10_000_000
"""Choices in all; with more, finding those within the budgets takes too long."""
ENUMERATION_S = 40.0
"""Seconds that looking at all may take by what one look takes, and then may really take (twice as many)."""
LOOSE = 1e-9
"""Choices that pass a budget by this part are looked at too; what is taken is held against the table itself."""


@dataclass(frozen=True, eq=False)
class Everything:
    """What came of looking at all choices: the best (None: there is none), and how many there are.

    `least` are the least values of the set-level budgets, each on its own; infinite without any choice.
    """

    best: Found | None
    count: int
    least: tuple[float, ...]


@dataclass(eq=False)
class _Looks:
    """What was seen so far."""

    best: Found | None = None
    count: int = 0

    def offer(self, state: State) -> None:
        """Keep the choice of a state if it is the best that keeps every budget exactly."""
        found = state.found
        if (self.best is None or found.value < self.best.value) and state.kept():
            self.best = replace(found, passed=0.0)


def every_choice(
    asked: SetProblem, rows: Rows, clock: Clock, take: Callable[[Found], None], *, most: int = MOST_CHOICES
) -> Everything | None:
    """The best of all choices; None where they are too many, or looking at them takes too long.

    `take` is told of every choice that is better than those before. The time is that of the phase of the clock.
    """
    prefixes = _prefixes(asked, rows, most, clock)
    if prefixes is None:
        return None
    cheaper = asked.below() if asked.scorer is not None and not asked.bounds else None
    if cheaper is not None:
        return _by_bounds(asked, cheaper, rows, prefixes, clock, take)
    looks, least = _Looks(), np.full(len(asked.bounds), np.inf)
    pace = _Pace(len(prefixes), clock)
    for state in _states(asked, rows, prefixes):
        if pace.too_slow():
            return None
        last = len(state.choice) - 1
        fits = state.fits(last, LOOSE)
        looks.count += int(fits.sum())
        values, passed, forms = state.looked(last)
        # The exchange may differ from the form itself by rounding, which is not to leave out a choice.
        near = fits & (passed <= LOOSE)
        least = np.minimum(least, np.where(fits, forms, np.inf).min(axis=1, initial=np.inf))
        for point in np.argsort(np.where(near, values, np.inf), kind="stable")[: int(near.sum())].tolist():
            if looks.best is not None and values[point] >= looks.best.value:
                break
            state.move(last, point)
            before = looks.best
            looks.offer(state)
            if looks.best is not None and looks.best is not before:
                take(looks.best)
                break
    return Everything(looks.best, looks.count, tuple(least.tolist()))


class _Pace:
    """Whether so many looks end in time, by what those before took."""

    def __init__(self, looks: int, clock: Clock) -> None:
        self.looks, self.clock, self.done, self.begun = looks, clock, 0, time.perf_counter()
        self.first = 0.0

    def too_slow(self) -> bool:
        """To be asked before every look."""
        self.clock.told()
        spent = time.perf_counter() - self.begun
        self.done += 1
        if self.done == 2:
            self.first = spent
        if self.clock.late or spent > 2 * ENUMERATION_S:
            return True
        # The first looks tell what the others will take, the very first apart: it may prepare things.
        if self.done not in (4, 16, 64):
            return False
        one = (spent - self.first) / (self.done - 2)
        left, whole = self.clock.left_s, spent + one * (self.looks - self.done + 1)
        return whole > ENUMERATION_S or (left is not None and whole - spent > left)


def _by_bounds(
    asked: SetProblem,
    cheaper: SetProblem,
    rows: Rows,
    prefixes: IntArray,
    clock: Clock,
    take: Callable[[Found], None],
) -> Everything | None:
    lows, choices = [], []
    pace = _Pace(len(prefixes), clock)
    for state in _states(cheaper, rows, prefixes):
        if pace.too_slow():
            return None
        last = len(state.choice) - 1
        points = np.flatnonzero(state.fits(last, LOOSE))
        lows.append(state.looked(last)[0][points])
        made = np.repeat(state.choice[None], len(points), axis=0)
        made[:, last] = points
        choices.append(made)
    low = np.concatenate([np.zeros(0), *lows])
    every = np.concatenate([np.zeros((0, len(asked.problem.images)), np.int64), *choices])
    looks = _Looks(count=len(low))
    begun = time.perf_counter()
    for number in np.argsort(low, kind="stable").tolist():
        if looks.best is not None and low[number] >= looks.best.value:
            break
        clock.told()
        if clock.late or time.perf_counter() - begun > ENUMERATION_S:
            return None
        before = looks.best
        looks.offer(State(asked, rows, every[number]))
        if looks.best is not None and looks.best is not before:
            take(looks.best)
    return Everything(looks.best, looks.count, ())


def _states(asked: SetProblem, rows: Rows, prefixes: IntArray) -> Iterator[State]:
    """One state that takes the points of each beginning in turn; the last image takes its first point."""
    last = int(np.argmax(asked.problem.allowed[-1]))
    state = None
    for prefix in prefixes:
        if state is None:
            state = State(asked, rows, np.append(prefix, last))
        else:
            for image in np.flatnonzero(state.choice[:-1] != prefix).tolist():
                state.move(image, int(prefix[image]))
        yield state


def _prefixes(asked: SetProblem, rows: Rows, most: int, clock: Clock) -> IntArray | None:
    """The points of all images but the last (M, N - 1) that can be kept within the averaged budgets; None if too many.

    In the order of their numbers, so that from one to the next few images change.
    """
    problem = asked.problem
    sizes = [int(row.sum()) for row in problem.allowed]
    if most <= 0 or math.prod(sizes) > MOST_NAMED:
        return None
    least = np.where(problem.allowed, rows.spends, np.inf).min(axis=2)
    after = np.cumsum(least[:, ::-1], axis=1)[:, ::-1]
    size = np.where(problem.allowed, np.abs(rows.spends), 0.0).max(axis=2).sum(axis=1)
    room = rows.budgets + LOOSE * (np.abs(rows.budgets) + size)
    found: IntArray = np.zeros((1, 0), dtype=np.int64)
    spent: FloatArray = np.zeros((1, len(rows.budgets)))
    count = len(sizes)
    for image in range(count):
        points = np.flatnonzero(problem.allowed[image])
        more = spent[:, None, :] + rows.spends[:, image, points].T[None]
        rest = after[:, image + 1] if image + 1 < count else np.zeros(len(room))
        keep = (more + rest <= room).all(axis=2)
        if int(keep.sum()) > most or clock.late:
            return None
        if image + 1 == count:
            return np.asarray(found[keep.any(axis=1)])
        before, taken = np.nonzero(keep)
        found = np.concatenate([found[before], points[taken][:, None]], axis=1)
        spent = more[keep]
    return found
