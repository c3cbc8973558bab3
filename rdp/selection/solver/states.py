"""Sets of changes to a choice, listed with what they sum to."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from rdp.errors import SolverError
from rdp.selection.problem import FloatArray, IntArray


class TooManyError(SolverError):
    """There are more near-tied selections than this goes through, or the time is up."""


@dataclass(frozen=True, eq=False)
class Deviations:
    """D changes of one image each, sorted by image: to which point (D,), and what that changes.

    `reduced`, `cost` (D,), `usage` (K, D) and `outs` (C, D): by how many more images the cut is left.
    """

    image: IntArray
    point: IntArray
    reduced: FloatArray
    usage: FloatArray
    cost: FloatArray
    outs: FloatArray

    def of(self, keep: IntArray) -> Deviations:
        """Those with these numbers."""
        return Deviations(
            self.image[keep],
            self.point[keep],
            self.reduced[keep],
            self.usage[:, keep],
            self.cost[keep],
            self.outs[:, keep],
        )

    def halves(self) -> tuple[Deviations, Deviations]:
        """Two parts of about equal numbers of sets: images by their least reduced cost, alternately."""
        starts = _starts(self.image)
        if not len(starts):
            nothing = np.zeros(0, dtype=np.int64)
            return self.of(nothing), self.of(nothing)
        least = np.minimum.reduceat(self.reduced, starts)
        # The dearest first: the list stays short until the last images.
        order = np.argsort(-least, kind="stable")
        ends = np.append(starts[1:], len(self.image))
        sides: tuple[list[IntArray], list[IntArray]] = ([], [])
        for place, number in enumerate(order.tolist()):
            # Taken in the order 1 2 2 1, as teams are, so that no side gets all the better ones.
            sides[(place + place // 2) % 2].append(np.arange(starts[number], ends[number]))
        left, right = (np.concatenate(side) if side else np.zeros(0, dtype=np.int64) for side in sides)
        return self.of(left), self.of(right)


@dataclass(frozen=True, eq=False)
class States:
    """S sets of changes. Set 0 is the empty one; every other is its `parent` and one change, `added`.

    `reduced`, `cost` (S,), `usage` (K, S), `outs` (C, S) are sums.
    """

    deviations: Deviations
    reduced: FloatArray
    usage: FloatArray
    cost: FloatArray
    outs: FloatArray
    parent: IntArray
    added: IntArray

    def __len__(self) -> int:
        return len(self.reduced)

    def path(self, number: int) -> Iterator[tuple[int, int]]:
        """(image, point) of every change in a set."""
        while number:
            change = int(self.added[number])
            yield int(self.deviations.image[change]), int(self.deviations.point[change])
            number = int(self.parent[number])


def list_states(
    deviations: Deviations, limit: float, rooms: FloatArray, most: int, ends: float, *, other: Deviations
) -> States:
    """All sets of changes of different images whose reduced costs sum to at most `limit`.

    Sets that pass a budget whatever is changed besides, in the images still to come and in `other`, are left out.
    Raises `TooManyError` when there are more than `most`, or the time is up.
    """
    count, rows = len(deviations.image), len(rooms)
    lists = _Lists(rows, len(deviations.outs))
    starts = _starts(deviations.image)
    stops = np.append(starts[1:], count) if count else starts
    # What the images still to come, and the other half, can take off each usage, and off the reduced costs.
    relief, rebate = _relief(other)
    own_relief, own_rebate = _relief(deviations)
    ahead = relief.sum(axis=1)[:, None] + _still_to_come(own_relief)
    cheaper = (rebate.sum() + _still_to_come(own_rebate)).tolist()
    for place, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        if perf_counter() > ends:
            raise TooManyError("the exact search did not end within the time limit")
        known = lists.count
        for change in range(int(start), int(stop)):
            reduced = lists.reduced[:known] + deviations.reduced[change]
            usage = lists.usage[:, :known] + deviations.usage[:, change, None]
            fits = reduced <= limit + cheaper[place]
            fits &= (usage <= (rooms + ahead[:, place])[:, None]).all(axis=0)
            kept = np.flatnonzero(fits)
            if lists.count + len(kept) > most:
                raise TooManyError("too many selections are nearly as good")
            lists.append(
                reduced[kept],
                usage[:, kept],
                lists.cost[:known][kept] + deviations.cost[change],
                lists.outs[:, :known][:, kept] + deviations.outs[:, change, None],
                kept,
                change,
            )
    n = lists.count
    return States(
        deviations,
        lists.reduced[:n],
        lists.usage[:, :n],
        lists.cost[:n],
        lists.outs[:, :n],
        lists.parent[:n],
        lists.added[:n],
    )


def _starts(images: IntArray) -> IntArray:
    """Where each image's changes begin."""
    if not len(images):
        return np.zeros(0, dtype=np.int64)
    return np.concatenate([[0], np.flatnonzero(images[1:] != images[:-1]) + 1])


def _relief(deviations: Deviations) -> tuple[FloatArray, FloatArray]:
    """The most that a change of each image takes off each usage (K, I), and off the reduced costs (I,); 0 or more."""
    starts = _starts(deviations.image)
    if not len(starts):
        return np.zeros((len(deviations.usage), 0)), np.zeros(0)
    least = np.minimum.reduceat(deviations.usage, starts, axis=1)
    return -np.minimum(least, 0.0), -np.minimum(np.minimum.reduceat(deviations.reduced, starts), 0.0)


def _still_to_come(values: FloatArray) -> FloatArray:
    """The sums of what follows each place of the last axis."""
    return np.flip(np.cumsum(np.flip(values, axis=-1), axis=-1), axis=-1) - values


class _Lists:
    """Arrays that grow; the first set is the empty one."""

    def __init__(self, rows: int, cuts: int) -> None:
        self.count = 1
        self.reduced = np.zeros(1024)
        self.usage = np.zeros((rows, 1024))
        self.cost = np.zeros(1024)
        self.outs = np.zeros((cuts, 1024))
        self.parent = np.zeros(1024, dtype=np.int64)
        self.added = np.zeros(1024, dtype=np.int64)

    def append(
        self, reduced: FloatArray, usage: FloatArray, cost: FloatArray, outs: FloatArray, parent: IntArray, added: int
    ) -> None:
        start, stop = self.count, self.count + len(reduced)
        self._reserve(stop)
        self.reduced[start:stop] = reduced
        self.usage[:, start:stop] = usage
        self.cost[start:stop] = cost
        self.outs[:, start:stop] = outs
        self.parent[start:stop] = parent
        self.added[start:stop] = added
        self.count = stop

    def _reserve(self, size: int) -> None:
        if size <= len(self.reduced):
            return
        larger = 2 ** math.ceil(math.log2(size))
        for name in ("reduced", "usage", "cost", "outs", "parent", "added"):
            old = getattr(self, name)
            new = np.empty((*old.shape[:-1], larger), dtype=old.dtype)
            new[..., : self.count] = old[..., : self.count]
            setattr(self, name, new)
