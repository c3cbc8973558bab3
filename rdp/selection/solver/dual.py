"""Prices of the budgets, and a bound that holds whatever a solver says.

Relaxing the budgets with prices lambda_k >= 0 separates the images:

    L(lambda) = sum_i min_j (cost_ij + sum_k lambda_k a^k_ij) - sum_k lambda_k b_k

is a lower bound of the optimum for any prices, concave and piecewise linear, and its maximum is the optimum of the
linear relaxation (Everett 1963; Geoffrion 1974). Cutting planes (Kelley 1960) find it: at any prices the choice that is
least there is a plane above L, and a linear programme in the prices alone, solved by GLOP, says where the planes are
highest: the next prices to try (`master`). One evaluation is one pass over the table.

The planes also say where the maximum must be: where they are not below the best value of L so far. In the box around
that, nearly every image prefers one point whatever the prices (`narrow`). So after a rough climb the open
images alone are climbed on, in prices relative to the box: faster, and to more digits than GLOP's tolerance allows in
the whole.

Images that the same budgets concern are a class, and every class has planes of its own: with one budget a group of
images, the groups' prices are then found side by side. A plane is a choice, and does not depend on the budgets, so a
`Dual` whose budgets are changed starts from all that it knows (`rdp.selection.sweeping`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rdp.selection.backends.streams import clean_stdout
from rdp.selection.linear import LinearForm
from rdp.selection.problem import FloatArray, IntArray
from rdp.selection.solver.master import CLOSE, Climb, Master, image_classes
from rdp.selection.solver.narrow import Narrowed, narrowed
from rdp.selection.sums import accurate_sum, least_of_rows

ROUGH = 1e-4
MANY = 4_000
"""With so many images the first climb is this rough (a part of the range of the cost), the next a hundredth of it."""
STAGES = 12
SMALLEST_SHARE = 1e-9
NOTES = {
    "edge": "the budgets have no prices: they are hardly met together, if at all",
    "infeasible": "the budgets have no prices: they exclude each other",
    "failed": "the prices of the budgets are not known: GLOP failed on them",
    "late": "the prices of the budgets were not found within the time limit",
    "below": "there are no prices: a budget is below what any selection needs",
}


@dataclass(frozen=True, eq=False)
class Part:
    """A choice (N,) that has the share `weight` of a mixture, for the images of one class."""

    choice: IntArray
    weight: float
    class_number: int


@dataclass(frozen=True, eq=False)
class Relaxation:
    """The linear relaxation, solved or bounded.

    `prices` (K,) of the form's rows, or None when they are not known; `bound` on the cost without offset. `note` says
    why there are no prices. `infeasible`: the bound is above the cost of every selection, so that none can be within
    the budgets. `parts` are choices whose mixture, class by class, is the relaxation's optimum; empty when not known.
    `best` (K,) are the prices of the bound, also where those of the budgets are not known. `split` is the number of
    images between whose points that mixture is undecided.
    """

    prices: FloatArray | None
    bound: float
    note: str = ""
    infeasible: bool = False
    parts: tuple[Part, ...] = ()
    best: FloatArray | None = None
    split: int | None = None


class Dual:
    """L of one form; `maximise` may be called again with other budgets, and starts from the planes that are known.

    `low` and `high` (K,) confine the prices; without them they are 0 or more.
    """

    def __init__(self, form: LinearForm, low: FloatArray | None = None, high: FloatArray | None = None) -> None:
        self.form = form
        self.low, self.high = low, high
        self.classes = image_classes(form)
        self._master: Master | None = None

    def maximise(self, start: FloatArray | None = None, *, within: float = 0.0, ends: float = math.inf) -> Relaxation:
        """Find the prices of the highest bound; what is found when the time is up (`ends`) is still a bound.

        `start` (K,) are prices to begin with. It is enough to be `within` (absolute) of the maximum.
        """
        form = self.form
        zero = np.zeros(len(form.budgets)) if self.low is None or self.high is None else (self.low + self.high) / 2
        if not len(form.budgets):
            return Relaxation(zero, lagrangian_bound(form, zero), best=zero)
        if self.low is None and float(form.budgets.min()) < 0:
            return Relaxation(None, lagrangian_bound(form, zero), NOTES["below"], infeasible=True, best=zero)
        with clean_stdout():
            return self._climb(zero if start is None else start, within, ends)

    def with_budgets(self, form: LinearForm) -> None:
        """Go on with a form that differs in its budgets only."""
        self.form = form
        if self._master is not None:
            self._master.form = form

    def _climb(self, start: FloatArray, within: float, ends: float) -> Relaxation:
        master = self._whole()
        enough = max(within, CLOSE * master.height)
        rough = ROUGH
        climb = master.climb(start, self._near_enough(master, enough, rough), ends)
        path: list[Narrowed] = []
        for _ in range(STAGES):
            if climb.end not in ("met", "stalled") or climb.above - climb.value <= enough:
                break
            low, high = master.box(climb.value)
            inner = narrowed(master.form, low, high)
            if not inner.form.images:
                # One choice is the best whatever the prices in the box: it is the whole mixture.
                whole = [(number, inner.base, 1.0) for number in range(master.count)]
                return self._relaxed(climb, whole, path)
            path.append(inner)
            master = Master(inner.form, master.classes[inner.images], low, high, count=master.count)
            rough /= 100
            climb = master.climb(np.clip(climb.prices, low, high), self._near_enough(master, enough, rough), ends)
        return self._relaxed(climb, master.shares() if climb.end in ("met", "stalled") else [], path)

    def _near_enough(self, master: Master, enough: float, rough: float) -> float:
        """How near the planes are to come before the open images are climbed on alone: far, while there are many."""
        return max(enough, rough * master.height) if master.form.images >= MANY else enough

    def _relaxed(
        self, climb: Climb, shares: Sequence[tuple[int, IntArray, float]], path: Sequence[Narrowed]
    ) -> Relaxation:
        """What a climb comes to, in terms of the whole form; `path` leads from it to the form of the `shares`."""
        bound = lagrangian_bound(self.form, climb.prices)
        if climb.end not in ("met", "stalled"):
            sure = climb.end == "infeasible" and bound > self._whole().height
            return Relaxation(None, bound, NOTES[climb.end], infeasible=sure, best=climb.prices)
        parts = []
        for number, choice, share in shares:
            if share > SMALLEST_SHARE:
                for narrow in reversed(path):
                    choice = narrow.expanded(choice)
                parts.append(Part(choice, share, number))
        split = self._split(parts) if parts else None
        return Relaxation(climb.prices, bound, parts=tuple(parts), best=climb.prices, split=split)

    def _split(self, parts: Sequence[Part]) -> int:
        """The number of images whose parts differ."""
        first = {part.class_number: part for part in reversed(parts)}
        differs = np.zeros(self.form.images, dtype=np.bool_)
        for part in parts:
            own = self.classes == part.class_number
            differs |= own & (part.choice != first[part.class_number].choice)
        return int(differs.sum())

    def _whole(self) -> Master:
        if self._master is None:
            self._master = Master(self.form, self.classes, self.low, self.high)
        return self._master


def reduced_costs(form: LinearForm, prices: FloatArray) -> FloatArray:
    """Cost + prices * coefficients less each image's least: (N, M), infinite where not allowed."""
    reduced = np.where(form.allowed, form.cost + np.tensordot(prices, form.coefficients, axes=1), np.inf)
    return np.asarray(reduced - least_of_rows(reduced)[:, None])


def lagrangian_bound(form: LinearForm, prices: FloatArray) -> float:
    """L(prices) without the offset, less a bound of its rounding error: it is not above the optimum of the form."""
    reduced = form.cost + np.tensordot(prices, form.coefficients, axes=1)
    least = least_of_rows(np.where(form.allowed, reduced, np.inf))
    paid = prices * form.budgets
    # Each reduced cost is a sum of K + 1 rounded terms, all non-negative; the sums below are rounded once.
    error = 2 * (len(prices) + 4) * np.finfo(np.float64).eps * (float(least.sum()) + float(np.abs(paid).sum()))
    return accurate_sum(np.concatenate([least, -paid])) - float(error)
