"""The cheapest pair of two lists of changes that together spend the budgets."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from rdp.selection.problem import FloatArray, IntArray
from rdp.selection.solver.states import States, TooManyError

CHUNK = 500_000
MOST_PAIRS = 400_000_000
"""Pairs to look at, beyond which it gives up: some seconds of work."""
MOST_KEYS = 1_000_000.0
MOST_DIMENSIONS = 3
PADDING = 1e-9
"""The keys of the grid are rounded: windows are wider by this part of the spread, and every pair is then checked."""


@dataclass(frozen=True, eq=False)
class Window:
    """What a pair has to keep to. `rooms` (K,): its usage is at most this; `reduced` and `cost`: so are these sums.

    No sum of reduced costs is below -`excess`. With `prices` (K,) it follows that a usage is at least
    room - (reduced + excess) / price. `enough`: a pair that costs no more ends the search. `outs` (C,): of each cut at
    least so many more images must be left.
    """

    prices: FloatArray
    rooms: FloatArray
    reduced: float
    cost: float
    enough: float
    outs: tuple[int, ...] = ()
    excess: float = 0.0


def cheapest_pair(
    first: States, second: States, window: Window, ends: float, most: int = MOST_PAIRS
) -> tuple[int, int] | None:
    """Numbers of the two sets of the cheapest pair within the window, the first of equals; None when there is none.

    Raises `TooManyError` when there are more than `most` pairs to look at, or the time is up.
    """
    if len(first) < len(second):
        pair = cheapest_pair(second, first, window, ends, most)
        return None if pair is None else (pair[1], pair[0])
    grid = Grid(second, window)
    best: tuple[int, int] | None = None
    lowest = math.inf
    seen = 0
    for one, two in grid.pairs(first):
        seen += len(one)
        if seen > most:
            raise TooManyError("too many selections are nearly as good")
        if perf_counter() > ends:
            raise TooManyError("the exact search did not end within the time limit")
        cost = _costs(first, second, one, two, window)
        place = int(cost.argmin()) if len(cost) else 0
        if len(cost) and cost[place] < lowest:
            lowest, best = float(cost[place]), (int(one[place]), int(two[place]))
            if lowest <= window.enough:
                break
    return best


def _costs(first: States, second: States, one: IntArray, two: IntArray, window: Window) -> FloatArray:
    """Cost of every pair, infinite where it is not within the window."""
    cost = first.cost[one] + second.cost[two]
    within = cost <= window.cost
    within &= first.reduced[one] + second.reduced[two] <= window.reduced
    for usage_one, usage_two, room in zip(first.usage, second.usage, window.rooms.tolist(), strict=True):
        within &= usage_one[one] + usage_two[two] <= room
    for outs_one, outs_two, least in zip(first.outs, second.outs, window.outs, strict=True):
        within &= outs_one[one] + outs_two[two] >= least
    return np.where(within, cost, np.inf)


class Grid:
    """The sets of one half, sorted into a grid over their usages, whose cells have the size of the window.

    The last dimension of the grid is not binned but sorted, so that a window is a range of it.
    """

    def __init__(self, states: States, window: Window) -> None:
        self.window = window
        values = states.usage
        low = values.min(axis=1) if len(values) else np.zeros(0)
        spread = np.maximum(np.ptp(values, axis=1), 1e-300) if len(values) else np.zeros(0)
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            spare = window.reduced + window.excess
            sizes = np.where(window.prices > 0, spare / window.prices, np.inf) + 1e-300
            order = np.argsort(sizes / spread, kind="stable").tolist()
        selective = [k for k in order if sizes[k] < spread[k]]
        self.dimensions = selective[:MOST_DIMENSIONS]
        # The narrowest window is the one that is searched in the sorted order.
        self.last = self.dimensions[0] if self.dimensions else None
        self.binned = self.dimensions[1:]
        self.low, self.spread = low, spread
        # A window with its padding lies in two bins at most.
        most = MOST_KEYS ** (1 / max(len(self.binned), 1))
        self.sizes = np.maximum(sizes + 4 * PADDING * spread, spread / most)
        self.windows = sizes
        self.counts = [int(spread[k] / self.sizes[k]) + 2 for k in self.binned]
        keys = np.zeros(len(states))
        for k, count in zip(self.binned, self.counts, strict=True):
            keys = keys * count + np.floor((values[k] - low[k]) / self.sizes[k])
        place = keys * 2.0
        if self.last is not None:
            place = place + (values[self.last] - low[self.last]) / spread[self.last]
        self.order = np.argsort(place, kind="stable")
        self.place = place[self.order]

    def pairs(self, others: States) -> Iterator[tuple[IntArray, IntArray]]:
        """(numbers in the other list, numbers in this one) of all pairs that may be within the window, in chunks."""
        starts, stops, which = [], [], []
        numbers = np.arange(len(others))
        for offsets in itertools.product((0, 1), repeat=len(self.binned)):
            start, stop = self._ranges(others, offsets)
            some = np.flatnonzero(stop > start)
            starts.append(start[some])
            stops.append(stop[some])
            which.append(numbers[some])
        return self._chunks(np.concatenate(starts), np.concatenate(stops), np.concatenate(which))

    def _ranges(self, others: States, offsets: tuple[int, ...]) -> tuple[IntArray, IntArray]:
        """For each of the others the range of places that it can meet, in the bins at these offsets."""
        key = np.zeros(len(others))
        valid = np.ones(len(others), dtype=np.bool_)
        for k, count, offset in zip(self.binned, self.counts, offsets, strict=True):
            highest = self.window.rooms[k] - others.usage[k]
            lowest = highest - self.windows[k]
            slack = PADDING * self.spread[k]
            first = np.floor((lowest - slack - self.low[k]) / self.sizes[k])
            last = np.floor((highest + slack - self.low[k]) / self.sizes[k])
            number = first + offset
            valid &= (number <= last) & (number >= 0) & (number < count)
            key = key * count + np.clip(number, 0, count - 1)
        place = key * 2.0
        if self.last is None:
            start = np.searchsorted(self.place, place - 0.5)
            stop = np.searchsorted(self.place, place + 1.5)
        else:
            k = self.last
            highest = (self.window.rooms[k] - others.usage[k] - self.low[k]) / self.spread[k]
            lowest = highest - self.windows[k] / self.spread[k]
            start = np.searchsorted(self.place, place + np.clip(lowest - PADDING, -0.5, 1.5), side="left")
            stop = np.searchsorted(self.place, place + np.clip(highest + PADDING, -0.5, 1.5), side="right")
        return np.asarray(np.where(valid, start, 0)), np.asarray(np.where(valid, stop, 0))

    def _chunks(self, starts: IntArray, stops: IntArray, which: IntArray) -> Iterator[tuple[IntArray, IntArray]]:
        counts = stops - starts
        ahead = np.concatenate([[0], np.cumsum(counts)])
        total = int(ahead[-1])
        for begin in range(0, total, CHUNK):
            pair = np.arange(begin, min(begin + CHUNK, total))
            one = np.searchsorted(ahead, pair, side="right") - 1
            yield which[one], self.order[starts[one] + pair - ahead[one]]
