"""The solver of this problem: prices, then the exact search of what they leave open; the bound is carried through.

1. The prices of the relaxation and its bound L (`dual`).
2. The near-tied selections that cost at most L + gap, if they are few (`core`): what is found is done.
3. A good selection: the relaxation's mixture rounded, then the best of its neighbourhood of a few dozen images.
4. The exact search with a width that grows until it holds a selection, which is then the best of all, or reaches the
   selection of step 3. Each width without one raises the bound.
5. Where that is too much, a general solver on the cells that are left: a cell whose reduced cost is above the distance
   of the best selection from L is in no better one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np

from rdp.selection.backends import RawAnswer
from rdp.selection.linear import LinearForm
from rdp.selection.problem import FloatArray, IntArray
from rdp.selection.solver.core import Near, TooManyError, search
from rdp.selection.solver.dual import Dual, Relaxation, reduced_costs
from rdp.selection.solver.rounding import repaired, rounded, walked
from rdp.selection.status import Status

MOST = 2_000_000
"""Differences a half of the exact search may have: about a second's work."""
SOME = 40_000
"""And the first time, when it is not known whether there is anything to find."""
NEIGHBOURS = ((14, SOME), (22, SOME), (30, SOME), (36, 10 * SOME), (44, 20 * SOME))
"""Images of the neighbourhoods that are searched for a good selection, and their most differences."""
SMALL_ONES, MANY_IMAGES = 3, 5_000
"""With fewer images the larger neighbourhoods are left to the exact search, which takes no longer."""
FIRST_LOOK = 22
WIDER = 6.0
"""Neighbourhoods are searched with a width that grows by this, until there is a selection."""
FEWEST = 6
"""The width starts with so many near ties."""
MANY_TIES = 40
GROWTH = (1.5, 1.2)
"""And grows by this: with few ties, and with many, when a step makes several times as many sets of differences."""


@dataclass(frozen=True, eq=False)
class Incumbent:
    """The best selection so far, and its cost without the offset."""

    choice: IntArray | None = None
    cost: float = math.inf

    def better(self, form: LinearForm, choice: IntArray | None) -> Incumbent:
        """This one, or the other if it costs less and is not cut off."""
        if choice is None or any(bool(cut[np.arange(form.images), choice].all()) for cut in form.cuts):
            return self
        cost = form.cost_of(choice)
        return Incumbent(choice, cost) if cost < self.cost else self


def solve_form(
    form: LinearForm, relaxation: Relaxation, dual: Dual, gap_abs: float, ends: float, *, exact: bool = True
) -> tuple[RawAnswer, Incumbent]:
    """Steps 2 to 4 for a form with its relaxation; see the module.

    The answer's bound is on the cost without the offset. With status feasible or unknown the rest is for step 5.
    Without `exact` step 4 is left out, which proves nothing where the form has not all cells of the problem.
    """
    if relaxation.infeasible:
        return RawAnswer(Status.INFEASIBLE, None), Incumbent()
    prices = np.zeros(len(form.budgets)) if relaxation.best is None else relaxation.best
    reduced = reduced_costs(form, prices)
    near = Near.of(form, prices, relaxation.bound, reduced)
    best = Incumbent()
    if exact and gap_abs > 0:
        best = best.better(form, _quickly(near, gap_abs, ends))
    if exact and best.cost - relaxation.bound > gap_abs:
        raw, best = _exactly(near, best, gap_abs, ends, SOME)
        if raw.status in (Status.OPTIMAL, Status.INFEASIBLE):
            return raw, best
    if best.cost - relaxation.bound > gap_abs:
        sizes = NEIGHBOURS[:SMALL_ONES] if exact and form.images <= MANY_IMAGES else NEIGHBOURS
        best = _neighbours(near, reduced, dual, relaxation, gap_abs, best, ends, sizes)
    if best.cost - relaxation.bound <= gap_abs:
        return RawAnswer(Status.OPTIMAL, best.choice, relaxation.bound), best
    if not exact:
        status = Status.UNKNOWN if best.choice is None else Status.FEASIBLE
        return RawAnswer(status, best.choice, relaxation.bound), best
    return _exactly(near, best, gap_abs, ends, MOST)


def _quickly(near: Near, gap_abs: float, ends: float) -> IntArray | None:
    """A selection within the gap, among the nearest ties, if that is little work."""
    ties = near.nearest(FIRST_LOOK)
    ties = ties[near.more[ties] <= gap_abs]
    try:
        return search(near, gap_abs, ties=ties, most=SOME, ends=ends, enough=near.bound + gap_abs)
    except TooManyError:
        return None


def _neighbours(
    near: Near,
    reduced: FloatArray,
    dual: Dual,
    relaxation: Relaxation,
    gap_abs: float,
    best: Incumbent,
    ends: float,
    sizes: Sequence[tuple[int, int]],
) -> Incumbent:
    """The best selections near the rounded mixture, in neighbourhoods that grow until one is within the gap."""
    form, bound = near.form, near.bound
    base = rounded(dual, relaxation.parts)
    first = near if base is None else Near.of(form, near.prices, bound, reduced, base)
    kept = walked(first, reduced)
    for start in dict.fromkeys((first, kept)):
        if bool((start.room >= 0).all()):
            best = best.better(form, start.base)
    if best.choice is None:
        best = best.better(form, repaired(form, reduced, kept.base))
    for count, most in sizes:
        for start in dict.fromkeys((first, kept)):
            if best.cost - bound > gap_abs and perf_counter() < ends:
                best = _around(start, count, most, gap_abs, best, ends)
    return best


def _around(start: Near, count: int, most: int, gap_abs: float, best: Incumbent, ends: float) -> Incumbent:
    """The best selection that differs from the base in the near ties of `count` images, or the one that was known."""
    bound = start.bound
    ties = start.nearest(count)
    widest = start.excess + float(np.abs(start.more[ties]).sum()) + float(start.prices @ np.abs(start.room))
    width = max(gap_abs, start.excess * 1.5, widest * 1e-4)
    while perf_counter() < ends:
        width = min(width, best.cost - bound)
        try:
            found = search(start, width, ties=ties, most=most, ends=ends, enough=bound + gap_abs)
        except TooManyError:
            break
        best = best.better(start.form, found)
        if found is not None or width >= min(widest, best.cost - bound):
            break
        width *= WIDER
    return best


def _exactly(near: Near, best: Incumbent, gap_abs: float, ends: float, most: int) -> tuple[RawAnswer, Incumbent]:
    """The exact search; see the module."""
    form, bound = near.form, near.bound
    # No selection is further from L than this.
    widest = float(form.cost.max(axis=1).sum()) - bound
    width = max(gap_abs, float(near.more[: FEWEST + 1][-1]) if len(near.more) else 0.0, 1e-12 * widest)
    while True:
        distance = best.cost - near.bound
        last = width >= min(distance, widest)
        width = min(width, distance) if math.isfinite(distance) else width
        try:
            ties = near.within(width)
            found = search(near, width, ties=ties, most=most, ends=ends)
        except TooManyError:
            return RawAnswer(Status.FEASIBLE if best.choice is not None else Status.UNKNOWN, best.choice, bound), best
        best = best.better(form, found)
        if found is not None or (last and best.choice is not None):
            return RawAnswer(Status.OPTIMAL, best.choice, best.cost), best
        if last:
            return RawAnswer(Status.INFEASIBLE, None), best
        bound = max(bound, near.bound + width)
        if best.cost - bound <= gap_abs:
            return RawAnswer(Status.OPTIMAL, best.choice, bound), best
        width *= GROWTH[len(ties) >= MANY_TIES]


def left_open(form: LinearForm, prices: FloatArray, width: float) -> LinearForm:
    """The form without the cells whose reduced cost is above the width: no better selection has them (step 5)."""
    keep = form.allowed & (reduced_costs(form, prices) <= width)
    return replace(
        form,
        allowed=keep,
        cost=np.where(keep, form.cost, 0.0),
        coefficients=np.where(keep, form.coefficients, 0.0),
    )
