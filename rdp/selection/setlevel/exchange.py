"""Local exchange: single images, and pairs of them where the budgets leave no room for single ones.

A convex form is never below its tangent at the choice. So a change, or two, whose slopes sum to 0 or more cannot lower
it, and need not be looked at; the others are looked at in the order of what single changes are known to do.
"""

from __future__ import annotations

import numpy as np

from rdp.selection.problem import BoolArray, FloatArray, IntArray
from rdp.selection.setlevel.relaxation import Clock
from rdp.selection.setlevel.state import Found, State, least_noticed

MOST_PAIRED = 400
"""Cells that are paired, those that promise most."""
LOOKS = 250
"""Images that are looked at for a second change, each time single changes have come to an end."""
SWEEPS = 60
WORTHWHILE = 0.25
"""Towards a set-level budget a change takes off at least this part of what is passed, where one does."""


def improved(state: State, clock: Clock, *, pairs: bool = True) -> Found:
    """The choice that no exchange improves, or the best when the time is up. The state keeps the averaged budgets."""
    while not clock.late:
        changes = _sweep(state, clock)
        if clock.late or not pairs or state.found.passed > 0:
            break
        if not _pair(state, changes, clock):
            break
    return state.found


def _sweep(state: State, clock: Clock) -> FloatArray:
    """Change single images until none improves; returns what each single change would do (N, P), infinite if not known.

    A change that the table's averages refuse by their last digit is undone.
    """
    count = len(state.choice)
    changes = np.full(state.problem.shape, np.inf)
    still, image, refused = 0, 0, set[tuple[int, int]]()
    for _ in range(SWEEPS * count):
        if still >= count or clock.late:
            break
        clock.told()
        here = state.found
        values, passed = state.values(image)
        changes[image] = np.where(np.isfinite(values), values - here.value, np.inf)
        fits = state.fits(image)
        fits[[point for one, point in refused if one == image]] = False
        point = _best(values, passed, fits, here)
        still += 1
        if point is not None:
            before = int(state.choice[image])
            state.move(image, point)
            if state.within():
                still = 0
            else:
                state.move(image, before)
                refused.add((image, point))
        image = (image + 1) % count
    return changes


def _best(values: FloatArray, passed: FloatArray, fits: BoolArray, here: Found) -> int | None:
    """The point of the best single change, None where none improves."""
    if here.passed > 0:
        gain = np.where(fits, here.passed - passed, -np.inf)
        most = float(gain.max())
        if most <= 1e-12 * here.passed:
            return None
        fit = gain >= min(most, WORTHWHILE * here.passed)
        dearer = np.maximum(values - here.value, 0.0) + least_noticed(here.value)
        return int(np.where(fit, dearer / np.where(fit, gain, 1.0), np.inf).argmin())
    offered = np.where(fits & (passed <= 0), values, np.inf)
    point = int(offered.argmin())
    return point if offered[point] < here.value - least_noticed(here.value) else None


def _pair(state: State, changes: FloatArray, clock: Clock) -> bool:
    """Change two images at once, the first pair that improves; `changes` (N, P) are those of single ones."""
    slopes = state.slopes()
    promise = np.where(np.isfinite(changes), changes, slopes)
    slopes[np.arange(len(state.choice)), state.choice] = np.inf
    cells = np.flatnonzero(np.isfinite(slopes).ravel())
    if len(cells) > MOST_PAIRED:
        cells = np.sort(cells[np.argsort(slopes.ravel()[cells], kind="stable")[:MOST_PAIRED]])
    first, second = _candidates(state, cells, slopes, promise)
    tried: set[tuple[int, int, int]] = set()
    points = state.problem.shape[1]
    for one, other in zip(first.tolist(), second.tolist(), strict=True):
        (i, p), j = divmod(one, points), other // points
        if (i, p, j) in tried:
            continue
        if len(tried) >= LOOKS or clock.late:
            break
        tried.add((i, p, j))
        if _second(state, i, p, j):
            return True
    return False


def _candidates(state: State, cells: IntArray, slopes: FloatArray, promise: FloatArray) -> tuple[IntArray, IntArray]:
    """Pairs of cells that keep the budgets together and may improve, the most promising first."""
    points = slopes.shape[1]
    images = cells // points
    low = slopes.ravel()[cells]
    value = state.found.value
    may = (images[:, None] < images[None, :]) & (low[:, None] + low[None, :] < -least_noticed(value))
    room = state.rows.budgets - state.usage
    for spends, left in zip(state.rows.spends, room.tolist(), strict=True):
        more = (spends - spends[np.arange(len(state.choice)), state.choice][:, None]).ravel()[cells]
        may &= more[:, None] + more[None, :] <= left
    one, other = np.nonzero(may)
    hope = promise.ravel()[cells]
    order = np.argsort(hope[one] + hope[other], kind="stable")[: 20 * LOOKS]
    return cells[one[order]], cells[other[order]]


def _second(state: State, image: int, point: int, other: int) -> bool:
    """With one image changed, the best change of another; both stay if that improves, and are undone if not."""
    here, before, kept = state.found, int(state.choice[image]), int(state.choice[other])
    state.move(image, point)
    values, passed = state.values(other)
    offered = np.where(state.fits(other) & (passed <= 0), values, np.inf)
    best = int(offered.argmin())
    if offered[best] < here.value - least_noticed(here.value):
        state.move(other, best)
        if state.within():
            return True
        state.move(other, kept)
    state.move(image, before)
    return False
