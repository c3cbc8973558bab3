"""Branch and bound over sets of points: which K of them can hold a selection that is good enough.

A node is a set of points that are in, and one of points that are free. Its bound (`rdp.selection.point_prices`) drops
it or settles points: one without which, or with which, the bound passes the target is in, or out. Where few sets are
left they are listed and sieved: by the bound's own gains, by the priced costs of the set, by prices of its own. What is
left are candidates, each with a bound, for a solver to look into.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from rdp.selection.point_prices import Cells, Worth, raise_worth, worth_of
from rdp.selection.problem import FloatArray, IntArray

FIRST_STEPS = 300
LATER_STEPS = 60
SET_STEPS = 60
"""Steps that raise the bound of the whole problem, of a node below it, and of a set of points."""
MOST_SETS = 20_000
MOST_NUMBERS = 100_000_000
"""Sets are listed once there are no more than this, and not more numbers in their priced costs than that."""


@dataclass(frozen=True, eq=False)
class _Node:
    """Points that are in, points that are free (numbers, ascending), and the best prices so far."""

    inside: IntArray
    free: IntArray
    at: Worth
    steps: int


@dataclass(eq=False)
class PointSearch:
    """The search, as state: what is still open, what was dropped and at which bound. Bounds are `Cells`' scaled ones.

    `target` is what a set must stay below to be of interest; lower it as better selections are found. `dropped` is the
    least bound of what was dropped or settled. Iterating gives candidates (bound, set of points), the most promising of
    each batch first; whoever takes one reports what it was worth with `settle`. It ends when the time `ends` is up.
    """

    cells: Cells
    count: int
    must: IntArray
    target: float
    ends: float = math.inf
    dropped: float = math.inf
    _nodes: list[_Node] = field(default_factory=list)
    _found: list[tuple[float, tuple[int, ...]]] = field(default_factory=list)

    def start(self, prices: FloatArray, chosen: IntArray) -> None:
        """Begin at these prices (K,), u being that of a good set of points."""
        points = np.arange(len(self.cells.cost))
        at = Worth(-math.inf, prices, worth_of(self.cells, prices, chosen), np.zeros(len(points)))
        self._nodes = [_Node(self.must, np.setdiff1d(points, self.must), at, FIRST_STEPS)]

    @property
    def bound(self) -> float:
        """No selection with so few points is below this, but for those that were looked into."""
        return min(
            [self.dropped, *(node.at.bound for node in self._nodes), *(bound for bound, _ in self._found)],
        )

    def settle(self, bound: float) -> None:
        """A candidate was looked into: the best of its selections is not below this."""
        self.dropped = min(self.dropped, bound)

    def candidates(self, eager: Callable[[], bool]) -> Iterator[tuple[float, IntArray]]:
        """Candidates (bound, set). While `eager` says so they come as soon as there is one, else at the end, sorted."""
        while self._nodes and perf_counter() < self.ends:
            self._expand(self._nodes.pop())
            while self._found and eager() and perf_counter() < self.ends:
                yield from self._next()
        while self._found and perf_counter() < self.ends:
            yield from self._next()

    def _next(self) -> Iterator[tuple[float, IntArray]]:
        bound, members = heapq.heappop(self._found)
        if bound >= self.target:
            self.settle(bound)
        else:
            yield bound, np.array(members)

    def _expand(self, node: _Node) -> None:
        count = self.count - len(node.inside)
        at = raise_worth(self.cells, node.at, node.inside, node.free, count, self.target, node.steps, self.ends)
        if at.bound < node.at.bound:
            at = node.at
        if at.bound >= self.target:
            self.settle(at.bound)
            return
        inside, free = self._settled(node, at, count)
        count = self.count - len(inside)
        if count <= 0 or len(free) <= count or self._few(len(free), count):
            self._list(inside, free, max(min(count, len(free)), 0), at)
            return
        # The point that gains most: with it, and (looked at later) without it, where the bound rises most.
        best = free[np.argmin(at.gains[free])]
        rest = free[free != best]
        self._nodes.append(_Node(inside, rest, at, LATER_STEPS))
        self._nodes.append(_Node(np.append(inside, best), rest, at, LATER_STEPS))

    def _few(self, free: int, count: int) -> bool:
        sets = math.comb(free, count)
        return sets <= MOST_SETS and sets * self.count * self.cells.cost.shape[1] <= MOST_NUMBERS

    def _settled(self, node: _Node, at: Worth, count: int) -> tuple[IntArray, IntArray]:
        """The points that are in and those that are free, as far as the bound tells."""
        order = node.free[np.argsort(at.gains[node.free], kind="stable")]
        taken, left = order[:count], order[count:]
        if not len(left) or not count:
            return node.inside, node.free
        room = self.target - at.bound
        with_it = at.gains[left] - at.gains[taken[-1]]
        without = at.gains[left[0]] - at.gains[taken]
        out, needed = with_it >= room, without >= room
        for gained in (with_it[out], without[needed]):
            if len(gained):
                self.settle(at.bound + float(gained.min()))
        inside = np.concatenate([node.inside, taken[needed]])
        return inside, np.sort(np.concatenate([taken[~needed], left[~out]]))

    def _list(self, inside: IntArray, free: IntArray, count: int, at: Worth) -> None:
        """All sets of the points inside and `count` of the free ones, through the three sieves."""
        picks = list(itertools.combinations(free.tolist(), count))
        chosen = np.array(picks, dtype=np.int64).reshape(len(picks), count)
        sets = np.concatenate([np.broadcast_to(inside, (len(picks), len(inside))), chosen], axis=1)
        if not sets.shape[1]:
            return
        taken = np.concatenate([inside, free[np.argsort(at.gains[free], kind="stable")[:count]]])
        bound = at.bound + at.gains[sets].sum(axis=1) - float(at.gains[taken].sum())
        sets = self._kept(sets, bound - 1e-12 * (1 + float(np.abs(at.gains[taken]).sum())))
        if not len(sets):
            return
        bound, _ = self.cells.bounds(np.broadcast_to(at.prices, (len(sets), self.cells.rows)), sets)
        sets = self._kept(sets, bound)
        if not len(sets):
            return
        bound, _ = self.cells.raised(at.prices, sets, self.target, SET_STEPS, self.ends)
        kept = bound < self.target
        self._kept(sets, bound)
        for value, members in zip(bound[kept].tolist(), np.sort(sets[kept], axis=1).tolist(), strict=True):
            heapq.heappush(self._found, (value, tuple(members)))

    def _kept(self, sets: IntArray, bound: FloatArray) -> IntArray:
        """The sets that stay below the target; what the others were worth is noted."""
        out = bound >= self.target
        if out.any():
            self.settle(float(bound[out].min()))
        return sets[~out]


def exchange(cells: Cells, prices: FloatArray, count: int, must: IntArray) -> IntArray:
    """A good set of `count` points at these prices, `must` among them: greedy, then one exchanged for another."""
    reduced = cells.priced(prices)
    chosen = must.tolist()
    while len(chosen) < count:
        totals = _penalised(reduced, chosen)
        totals[chosen] = np.inf
        chosen.append(int(totals.argmin()))
    value = float(_penalised(reduced, chosen[1:])[chosen[0]])
    while True:
        best, swap = value, None
        for place in range(len(must), count):
            totals = _penalised(reduced, chosen[:place] + chosen[place + 1 :])
            point = int(totals.argmin())
            if totals[point] < best - 1e-12 * max(1.0, abs(best)):
                best, swap = float(totals[point]), (place, point)
        if swap is None:
            return np.array(sorted(chosen), dtype=np.int64)
        chosen[swap[0]], value = swap[1], best


def _totals(reduced: FloatArray, chosen: list[int]) -> FloatArray:
    """Priced cost (M,) of the chosen points with one more."""
    have = reduced[chosen].min(axis=0) if chosen else np.full(reduced.shape[1], np.inf)
    return np.asarray(np.minimum(reduced, have).sum(axis=1))


def _penalised(reduced: FloatArray, chosen: list[int]) -> FloatArray:
    """`_totals`, an image without an allowed point counting as more than all finite priced costs."""
    finite = np.isfinite(reduced)
    most = float(np.abs(np.where(finite, reduced, 0.0)).max(axis=0).sum()) + 1.0
    return _totals(np.where(finite, reduced, most), chosen)
