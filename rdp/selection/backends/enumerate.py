"""Exact enumeration for few images, where solvers that branch on a relaxation are slow.

With a budget on both sides, or one that is nearly out of reach, the relaxation says little about which selections are
within: six images at 17 points took HiGHS 20 s. There all selections can be gone through, in two halves.

By the prices lambda of the relaxation every cell has a reduced cost r_ij = c_ij + sum_k lambda_k a^k_ij - min_j(...),
and a selection within the budgets costs at least L(lambda) + sum_i r_ij. So the selections that cost at most L + width
are enumerated, among those whose reduced costs sum to at most the width, which grows until there is one. The images
are parted into two halves (Horowitz and Sahni 1974); each half's selections are listed, those that pass a budget or
the width on their own left out. Then each of the one half meets the window of the other, sorted by one of the sums, in
which they can be within the budgets together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from rdp.errors import SolverError
from rdp.selection.backends import RawAnswer
from rdp.selection.linear import LinearForm
from rdp.selection.problem import FloatArray, IntArray
from rdp.selection.status import Status

LARGEST_IMAGES = 24
"""More images have too many selections for this to be worth a try."""
LARGEST_HALF = 100_000
LARGEST_PAIRS = 5_000_000
"""Selections of one half, and pairs to look at, beyond which it gives up: a fraction of a second's work."""
CHUNK = 1_000_000
NARROWEST = 1e-6
GROWTH = 8.0
"""The width starts at this part of all reduced costs together, and grows by this factor: the rounds before the last
one cost little."""
UNIT_ROUNDOFF = 0.5 * float(np.finfo(np.float64).eps)


class TooManyError(SolverError):
    """There are more near-tied selections than this goes through."""


@dataclass(frozen=True, eq=False)
class _Half:
    """Selections (S,) of some images: their point numbers (S, I), and `sums` (2 + K, S) of reduced cost, each budgeted
    row, and cost, in this order. `cut` (S, C): whether all of its images are inside the cut."""

    picks: IntArray
    sums: FloatArray
    cut: np.ndarray


class Enumerate:
    """Meet in the middle over the near-tied selections."""

    name = "enumerate"

    def solve(self, form: LinearForm, gap_abs: float, time_limit: float | None) -> RawAnswer:
        """Minimise; see `Backend`. The optimum is exact, so `gap_abs` is not used. Raises `TooManyError`."""
        from rdp.selection.backends.isolated import relax_anywhere
        from rdp.selection.relaxation import lagrangian_bound

        ends = math.inf if time_limit is None else perf_counter() + time_limit
        if form.images > LARGEST_IMAGES:
            raise TooManyError(f"enumerate is for up to {LARGEST_IMAGES} images; use another --solver")
        prices = relax_anywhere(form, time_limit).prices
        if prices is None:
            prices = np.zeros(len(form.budgets))
        priced = form.cost + np.tensordot(prices, form.coefficients, axes=1)
        reduced = np.where(form.allowed, priced - np.where(form.allowed, priced, np.inf).min(axis=1)[:, None], 0.0)
        values = np.concatenate([reduced[None], form.coefficients, form.cost[None]])
        # Room for the rounding of sums and of the reduced costs; what it lets in beyond a budget, the check finds.
        sizes = np.concatenate([priced[None], values[1:]]).max(axis=2).sum(axis=1)
        slack = 4 * (form.images + len(prices)) * UNIT_ROUNDOFF * sizes
        slack[0] += float(prices @ slack[1:-1])
        least, dearest = lagrangian_bound(form, prices), float(form.cost.max(axis=1).sum())
        widest = max(dearest - least, float(reduced.max(axis=1).sum()))
        width = NARROWEST * widest
        rounding = (form.images + 2) * UNIT_ROUNDOFF * dearest
        while True:
            limits = np.array([width, *form.budgets, least + width]) + slack
            best = self._within(form, values, limits, ends)
            if best is not None or width >= widest:
                break
            if perf_counter() > ends:
                return RawAnswer(Status.UNKNOWN, None, least + width - rounding)
            width = min(widest, width * GROWTH)
        if best is None:
            return RawAnswer(Status.INFEASIBLE, None)
        return RawAnswer(Status.OPTIMAL, best, form.cost_of(best) - rounding)

    def _within(self, form: LinearForm, values: FloatArray, limits: FloatArray, ends: float) -> IntArray | None:
        """The cheapest selection (N,) whose sums keep to the limits (2 + K,); the first of equals."""
        # Alternately by number of cells, so that both halves have about as many selections.
        order = np.argsort(-form.allowed.sum(axis=1), kind="stable")
        left, right = order[0::2], order[1::2]
        first, second = _listed(form, values, limits, left), _listed(form, values, limits, right)
        pair = _cheapest(first, second, limits, ends)
        if pair is None:
            return None
        choice = np.empty(form.images, dtype=np.int64)
        choice[left], choice[right] = first.picks[pair[0]], second.picks[pair[1]]
        return choice


def _listed(form: LinearForm, values: FloatArray, limits: FloatArray, images: IntArray) -> _Half:
    """All selections of these images that keep to the limits on their own: the other images add nothing negative."""
    picks = np.zeros((1, 0), dtype=np.int64)
    sums = np.zeros((len(values), 1))
    cut = np.ones((1, len(form.cuts)), dtype=np.bool_)
    for image in images.tolist():
        points = np.flatnonzero(form.allowed[image])
        if picks.shape[0] * len(points) > 20 * LARGEST_HALF:
            raise _too_many()
        longer = sums[:, :, None] + values[:, image, points][:, None, :]
        kept, taken = np.nonzero((longer <= limits[:, None, None]).all(axis=0))
        if len(kept) > LARGEST_HALF:
            raise _too_many()
        picks = np.column_stack([picks[kept], points[taken]])
        sums = longer[:, kept, taken]
        cut = cut[kept]
        for number, mask in enumerate(form.cuts):
            cut[:, number] &= mask[image, points[taken]]
    return _Half(picks, sums, cut)


def _too_many() -> TooManyError:
    return TooManyError("enumerate gives up: too many selections are nearly as good; use another --solver")


def _cheapest(first: _Half, second: _Half, limits: FloatArray, ends: float) -> tuple[int, int] | None:
    """Numbers of the two halves of the cheapest selection within the limits; None when there is none."""
    if not first.sums.shape[1] or not second.sums.shape[1]:
        return None
    rooms = limits[:, None] - first.sums
    order, start, end = min(
        (_windows(second.sums, rooms, row) for row in range(len(limits))),
        key=lambda windows: int(np.maximum(windows[2] - windows[1], 0).sum()),
    )
    counts = np.maximum(end - start, 0)
    total = int(counts.sum())
    if total > LARGEST_PAIRS:
        raise _too_many()
    best: tuple[int, int] | None = None
    lowest = math.inf
    ahead = np.concatenate([[0], np.cumsum(counts)])
    for begin in range(0, total, CHUNK):
        if perf_counter() > ends:
            raise TooManyError("enumerate did not end within the time limit")
        pair = np.arange(begin, min(begin + CHUNK, total))
        one = np.searchsorted(ahead, pair, side="right") - 1
        two = order[start[one] + pair - ahead[one]]
        within = ~(first.cut[one] & second.cut[two]).any(axis=1)
        for row in range(len(limits)):
            within &= second.sums[row, two] <= rooms[row, one]
        cost = np.where(within, first.sums[-1, one] + second.sums[-1, two], np.inf)
        place = int(cost.argmin())
        if cost[place] < lowest:
            lowest, best = float(cost[place]), (int(one[place]), int(two[place]))
    return best


def _windows(sums: FloatArray, rooms: FloatArray, row: int) -> tuple[IntArray, IntArray, IntArray]:
    """The order that sorts by one sum, and for each of the other half the (start, end) outside of which none fits.

    Behind `end` the sum of `row` is too large. Before `start` some other sum is: its running minimum falls along the
    order, quickly where a column is bounded on both sides.
    """
    order = np.argsort(sums[row], kind="stable")
    end = np.searchsorted(sums[row][order], rooms[row], side="right")
    start = np.zeros_like(end)
    for other in range(len(sums)):
        if other != row:
            falling = np.minimum.accumulate(sums[other][order])
            # Negated it rises, as searchsorted wants it: the first place where it is no more than the room.
            start = np.maximum(start, np.searchsorted(-falling, -rooms[other], side="left"))
    return order, start, end
