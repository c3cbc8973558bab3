"""Selections whose largest excess over the budgets is small: what shows that a relaxation is enough.

The relaxation's optimum mixes a few choices. Walking from one to the other image by image leads past selections whose
usages lie near the mixture's; then single images and pairs of images are changed, among the cells that the prices
leave nearly tied, as long as the largest excess falls.
"""

from __future__ import annotations

import math
from time import perf_counter

import numpy as np

from rdp.selection.explaining.phase_one import PhaseOne, Prices
from rdp.selection.problem import FloatArray, IntArray

ROUNDS = 60
"""Changes of one or two images at most."""
FEW = 4
"""More constraints are many: groups."""
NEAR_CELLS = 4000
PAIRED_CELLS = 700
"""Nearly tied cells that are tried one by one, and two by two."""
LARGEST_TABLE = 20_000_000
"""Images times constraints beyond which cells are not tried (that many groups come with few images each)."""


def approach(phase: PhaseOne, prices: Prices, *, enough: float, ends: float) -> IntArray:
    """The choice (N,) of the smallest largest excess that was found; stops at one that is `enough`, or at `ends`."""
    choice = min(prices.choices, key=lambda one: float(phase.excesses(one).max())).astype(np.int64)
    choice = _walked(phase, prices, choice, ends)
    if len(phase.rows) * len(phase.allowed) > LARGEST_TABLE:
        return choice
    return _exchanged(phase, prices, choice, enough, ends)


def _walked(phase: PhaseOne, prices: Prices, choice: IntArray, ends: float) -> IntArray:
    """The best selection on the ways to the parts of the mixture, one after the other."""
    best = float(phase.excesses(choice).max())
    for _ in range(2):
        for part in sorted(prices.parts, key=lambda part: -part.weight):
            if perf_counter() > ends:
                return choice
            differing = np.flatnonzero((part.choice != choice) & (phase.blocks == part.block))
            if not len(differing):
                continue
            steps = _differences(phase, choice, differing, part.choice[differing])
            # The largest excess after the first image has changed, the first two, and so on.
            heights = (phase.excesses(choice)[:, None] + steps.cumsum(axis=1)).max(axis=0)
            place = int(heights.argmin())
            if heights[place] < best:
                choice = choice.copy()
                choice[differing[: place + 1]] = part.choice[differing[: place + 1]]
                best = float(phase.excesses(choice).max())
    return choice


def _differences(phase: PhaseOne, choice: IntArray, images: IntArray, points: IntArray) -> FloatArray:
    """By how much every row's usage (K, C) changes when an image of `images` (C,) takes the point of `points` (C,)."""
    changes = np.zeros((len(phase.rows), len(images)))
    for k, row in enumerate(phase.rows):
        share = np.zeros(len(phase.allowed))
        share[row.images] = row.share
        values = phase.columns[row.column]
        changes[k] = share[images] * (values[images, points] - values[images, choice[images]])
    return changes


def _exchanged(phase: PhaseOne, prices: Prices, choice: IntArray, enough: float, ends: float) -> IntArray:
    """Change one image or two where that lowers the excesses, the best change first.

    Of a few constraints it is the largest excess that falls. Of many, most changes leave the largest as it is, so there
    it is the sum of squares of what is above the bound.
    """
    if phase.allowed.sum() == len(phase.allowed):
        return choice
    combined = phase.combined(prices.prices)
    rows = np.arange(len(choice))
    floor = -math.inf if len(phase.rows) <= FEW else prices.bound
    best, lowest, reached = choice, float(phase.excesses(choice).max()), math.inf
    for _ in range(ROUNDS + 4 * len(phase.rows)):
        excess = phase.excesses(choice)
        if excess.max() < lowest:
            best, lowest = choice, float(excess.max())
        if lowest <= enough or perf_counter() > ends:
            break
        dearer = combined - combined[rows, choice][:, None]
        dearer[rows, choice] = np.inf
        images, points = _cheapest(dearer, NEAR_CELLS)
        changes = _differences(phase, choice, images, points)
        reached = float(_measure(excess[:, None], floor)[0])
        measure, cells = _best_change(excess, changes, images, floor, reached)
        # Of equally good ones the first; a change within rounding is none.
        if not measure < reached - 1e-15 * (1 + abs(reached)):
            break
        choice = choice.copy()
        choice[images[cells]] = points[cells]
    return best


def _measure(excesses: FloatArray, floor: float) -> FloatArray:
    """What excesses (K, C) are judged by (C,): the largest, or with a `floor` the squares of what is above it."""
    if floor == -math.inf:
        return np.asarray(excesses.max(axis=0))
    return np.asarray((np.maximum(excesses - floor, 0.0) ** 2).sum(axis=0))


def _cheapest(dearer: FloatArray, count: int) -> tuple[IntArray, IntArray]:
    """(image, point) of the cells (N, M) that cost least more than what is chosen, the cheapest first."""
    flat = dearer.ravel()
    count = min(count, int(np.isfinite(flat).sum()))
    near = np.argpartition(flat, count - 1)[:count]
    near = near[np.lexsort((near, flat[near]))]
    return np.divmod(near, dearer.shape[1])


def _best_change(
    excess: FloatArray, changes: FloatArray, images: IntArray, floor: float, now: float
) -> tuple[float, IntArray]:
    """The smallest measure after one or two of the changes (K, C), and the numbers of those changes.

    Of many constraints two at once are only tried where no single one helps.
    """
    alone = _measure(excess[:, None] + changes, floor)
    place = int(alone.argmin())
    best, cells = float(alone[place]), np.array([place])
    if floor > -math.inf and best < now:
        return best, cells
    paired = min(PAIRED_CELLS, len(images), max(int(math.sqrt(LARGEST_TABLE / len(excess))), 1))
    pairs = np.full((paired, paired), -np.inf if floor == -math.inf else 0.0)
    for row, change in zip(excess.tolist(), changes[:, :paired], strict=True):
        both = row + (change[:, None] + change[None, :])
        if floor == -math.inf:
            np.maximum(pairs, both, out=pairs)
        else:
            pairs += np.maximum(both - floor, 0.0) ** 2
    pairs[images[:paired, None] == images[None, :paired]] = np.inf
    pair = int(pairs.argmin())
    if pairs.flat[pair] < best:
        best, cells = float(pairs.flat[pair]), np.array(divmod(pair, paired))
    return best, cells
