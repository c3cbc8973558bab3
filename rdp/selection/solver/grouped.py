"""Many budgets, each of a group of images, and a few that all share: the classes of images solved on their own.

With prices mu of the shared rows alone a form falls apart into its classes (`class_forms`), and each is
an integer programme whose own budgets are kept exactly:

    L(mu) = sum_g min over the selections x of class g within its budgets (cost(x) + mu shared(x))  -  mu b

is a lower bound, and a higher one than that of the linear relaxation (Geoffrion 1974). The best selections of every
class are listed (`class_lists`), and put together: a class is as one image, a selection of it as one
cell, and the shared rows are the budgets of a form that the solver for few budgets solves. Its prices are the next mu
(Dantzig and Wolfe 1960), and what it selects is a selection of the whole.

A selection with a part that is not listed costs more than L(mu) by at least what the list of that class reaches beyond
its best; so the lists bound the optimum together with the form that is made of them, and where they reach far enough,
the best combination is the best selection of all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from time import perf_counter

import numpy as np

from rdp.selection.backends import RawAnswer
from rdp.selection.linear import LinearForm
from rdp.selection.problem import FloatArray
from rdp.selection.solver.certified import Incumbent, solve_form
from rdp.selection.solver.class_forms import ClassForm, Split, split_form
from rdp.selection.solver.class_lists import MOST_AT_ONCE, Lister, Listing
from rdp.selection.solver.combining import combined, merged
from rdp.selection.solver.dual import Dual, Relaxation
from rdp.selection.status import Status
from rdp.selection.sums import accurate_sum

ROUNDS = 12
"""Prices of the shared rows that are tried."""
WANTED = 48
"""Selections of a class that are listed at first."""
MOST_CELLS = 1_000_000
NEAR = 0.1
"""It is enough when the prices are so much nearer to the best ones than the selection to the bound."""
SHARES = (0.3, 1.0, 1.0)
"""How far the last lists are to reach, of the distance between the best selection and the bound."""
PUSHES = (4.0, 64.0)
"""Where the lists cannot be put together within the shared budgets: so much more of the prices."""
EPS = float(np.finfo(np.float64).eps)
ROUNDING = 64 * EPS
"""Bound of the relative error of sums that NumPy takes in pairs, with room."""


def solve_grouped(
    form: LinearForm,
    relaxation: Relaxation,
    gap_abs: float,
    ends: float,
    best: Incumbent | None = None,
    *,
    at_once: int = MOST_AT_ONCE,
) -> RawAnswer:
    """The best selection that is found by classes, and the higher of its bound and the relaxation's.

    `ends` is a time of `perf_counter`. `best` is a selection that is known. Classes with no more selections than
    `at_once` are gone through in full, whatever the prices. The status is unknown without a selection, which is also
    what a form without classes gets; the bound is on the cost without the offset.
    """
    known = Incumbent() if best is None else best
    split = split_form(form)
    if relaxation.infeasible:
        return RawAnswer(Status.INFEASIBLE, None)
    if split is None:
        return _answer(known, relaxation.bound, gap_abs)
    if not len(split.shared) and not form.cuts:
        return _apart(form, split, relaxation, gap_abs, ends, known, at_once)
    return _Together(form, split, relaxation, gap_abs, ends, known, at_once).solve()


def _answer(best: Incumbent, bound: float, gap_abs: float) -> RawAnswer:
    if best.choice is None:
        return RawAnswer(Status.UNKNOWN, None, bound)
    # Room for the rounding that was taken off the bound; above the cost it may be by no more than its own.
    status = Status.OPTIMAL if best.cost - bound <= max(gap_abs, 4 * ROUNDING * best.cost) else Status.FEASIBLE
    return RawAnswer(status, best.choice, min(bound, best.cost))


def _beyond(lists: Sequence[Listing], floors: Sequence[float]) -> float:
    """By how much selections that are not in the lists are above these least values; infinite where all are."""
    pairs = zip(lists, floors, strict=True)
    return min((listing.reach - floor for listing, floor in pairs if math.isfinite(listing.reach)), default=math.inf)


def _floors(lists: Sequence[Listing]) -> list[float]:
    return [listing.floor for listing in lists]


def _complete(lists: Sequence[Listing]) -> bool:
    return all(math.isinf(listing.reach) for listing in lists)


def _apart(
    form: LinearForm, split: Split, relaxation: Relaxation, gap_abs: float, ends: float, best: Incumbent, at_once: int
) -> RawAnswer:
    """Without shared rows every class is solved on its own, and costs and bounds are added."""
    choice = np.where(form.allowed, form.cost, np.inf).argmin(axis=1)
    bounds = [accurate_sum(form.cost[split.free, choice[split.free]])]
    complete = True
    for part in split.classes:
        share = gap_abs * len(part.images) / form.images
        raw = _solve_class(part, share, ends, at_once)
        if raw.status is Status.INFEASIBLE:
            return RawAnswer(Status.INFEASIBLE, None)
        bounds.append(raw.bound)
        complete &= raw.choice is not None
        if raw.choice is not None:
            choice[part.images] = raw.choice
    total = math.fsum(bounds) - ROUNDING * math.fsum(map(abs, bounds))
    bound = max(relaxation.bound, total)
    return _answer(best.better(form, choice) if complete else best, bound, gap_abs)


def _solve_class(part: ClassForm, gap_abs: float, ends: float, at_once: int) -> RawAnswer:
    """One class without shared rows; a class of few selections by going through them."""
    lister = Lister(part, most=at_once)
    if lister.all is not None:
        listing = lister.listed(np.zeros(0), want=1, ends=ends)
        if not len(listing):
            return RawAnswer(Status.INFEASIBLE, None)
        return RawAnswer(Status.OPTIMAL, listing.choices[0], listing.floor)
    dual = Dual(part.form)
    relaxed = dual.maximise(ends=ends)
    raw, best = solve_form(part.form, relaxed, dual, gap_abs, ends)
    if raw.status is Status.INFEASIBLE or raw.choice is not None:
        return raw
    return RawAnswer(raw.status, best.choice, raw.bound)


class _Together:
    """The search with shared rows: what is listed of every class so far, the best selection, and the bound."""

    def __init__(
        self,
        form: LinearForm,
        split: Split,
        relaxation: Relaxation,
        gap_abs: float,
        ends: float,
        best: Incumbent,
        at_once: int,
    ) -> None:
        self.form, self.split, self.gap_abs, self.ends = form, split, gap_abs, ends
        self.best, self.bound = best, relaxation.bound
        prices = np.zeros(len(form.budgets)) if relaxation.best is None else relaxation.best
        self.start = prices[split.shared]
        self.listers = []
        for part in split.classes:
            if perf_counter() > ends:
                break
            # A dominated selection may be needed where a better one is cut off.
            self.listers.append(Lister(part, prices[list(part.own)], undominated=not form.cuts, most=at_once))
        self.pool: list[Listing] = []
        self.pushed = False
        self.want = max(min(WANTED, MOST_CELLS // len(split.classes)), 4)
        # Above the cost of every selection, with room for the rounding of this sum.
        self.ceiling = float(form.cost.max(axis=1).sum()) * (1 + 1e-9)

    def solve(self) -> RawAnswer:
        """Prices of the shared rows in turn with combinations, then lists that reach as far as the best selection."""
        if len(self.listers) < len(self.split.classes):
            return _answer(self.best, self.bound, self.gap_abs)
        prices, at, best_lists = self.start, self.start, None
        lower = -math.inf
        for _ in range(ROUNDS):
            lists = self._lists(prices, self.want)
            if lists is None:
                break
            value = self._value(prices, lists)
            # A class without a selection has an infinite least value.
            if value > self.ceiling:
                return RawAnswer(Status.INFEASIBLE, None)
            self._raise(value)
            if value > lower or best_lists is None:
                lower, at, best_lists = value, prices, lists
            grew = self._extend(lists)
            if not all(map(len, self.pool)):
                break
            relaxed, offset = self._relaxed()
            if relaxed.prices is None and not _complete(lists) and not self.pushed:
                if self._push(prices):
                    return RawAnswer(Status.INFEASIBLE, None)
                relaxed, offset = self._relaxed()
            enough = max(NEAR * _beyond(lists, _floors(lists)), 0.1 * self.gap_abs)
            above = offset + relaxed.bound - lower if relaxed.prices is not None else math.inf
            if above <= enough or not grew or relaxed.best is None or self._late():
                break
            prices = relaxed.best
        if best_lists is not None and all(map(len, self.pool)) and self._reach(at, lower, best_lists):
            return RawAnswer(Status.INFEASIBLE, None)
        return _answer(self.best, self.bound, self.gap_abs)

    def _late(self) -> bool:
        return perf_counter() > self.ends

    def _reach(self, prices: FloatArray, lower: float, lists: list[Listing]) -> bool:
        """Longer lists at the best prices, until they reach the best selection; the best combination is then best.

        `lists` are those that are known at these prices. True where there is no selection.
        """
        # The bound `lower` was made of these, so that it is these that the lists are to reach beyond.
        floors = _floors(lists)
        longer: list[Listing] | None = lists
        for share in SHARES:
            raw, inside = self._combine()
            self._raise(lower, _beyond(lists, floors), inside)
            if raw.status is Status.INFEASIBLE and _complete(lists):
                return True
            if self.best.cost - self.bound <= self.gap_abs or self._late():
                break
            if self.best.choice is None:
                self.want *= 4
                longer = self._lists(prices, self.want)
            else:
                # With room for the rounding of both.
                width = share * (self.best.cost - lower) * (1 + 1e-9)
                longer = self._lists(prices, self.want, reaches=[floor + width for floor in floors])
            if longer is None or not (self._extend(longer) or _beyond(longer, floors) > _beyond(lists, floors)):
                break
            lists = longer
        return False

    def _lists(
        self, prices: FloatArray, want: int, scale: float = 1.0, reaches: Sequence[float] = ()
    ) -> list[Listing] | None:
        """The lists of all classes, at least up to these values; None when the time is up."""
        lists = []
        for lister, reach in zip(self.listers, reaches or [-math.inf] * len(self.listers), strict=True):
            if self._late():
                return None
            lists.append(lister.listed(prices, want=want, ends=self.ends, scale=scale, reach=reach))
        return lists

    def _value(self, prices: FloatArray, lists: list[Listing], scale: float = 1.0) -> float:
        """L at these prices, less a bound of its rounding."""
        if any(math.isinf(listing.floor) for listing in lists):
            return math.inf
        form, free, shared = self.form, self.split.free, self.split.shared
        priced = np.tensordot(prices, form.coefficients[np.ix_(shared, free)], axes=1)
        cost = np.asarray(scale * form.cost[free] + priced)
        least = np.where(form.allowed[free], cost, np.inf).min(axis=1) if len(free) else np.zeros(0)
        terms = np.concatenate([_floors(lists), least, -prices * form.budgets[shared]])
        return accurate_sum(terms) - (ROUNDING + 4 * len(form.budgets) * EPS) * float(np.abs(terms).sum())

    def _raise(self, value: float, beyond: float = 0.0, inside: float = -math.inf) -> None:
        """The bound: L, or that of what is not listed and of the combinations of what is."""
        rounding = ROUNDING * abs(inside) if math.isfinite(inside) else 0.0
        self.bound = max(self.bound, value, min(value + beyond, inside - rounding))

    def _extend(self, lists: list[Listing]) -> bool:
        """Add lists to what is known; whether any of it is new."""
        before = sum(len(listing) for listing in self.pool)
        self.pool = [merged(old, new) for old, new in zip(self.pool, lists, strict=True)] if self.pool else lists
        return sum(len(listing) for listing in self.pool) > before

    def _relaxed(self) -> tuple[Relaxation, float]:
        """The relaxation of the combinations of what is listed, and the offset of its bound."""
        inner = combined(self.form, self.split, self.pool)
        self.inner = inner, Dual(inner.form)
        return self.inner[1].maximise(ends=self.ends), inner.offset

    def _combine(self) -> tuple[RawAnswer, float]:
        """The best combination of what is listed, and the bound of all of them."""
        relaxed, offset = self._relaxed()
        inner, dual = self.inner
        raw, found = solve_form(inner.form, relaxed, dual, self.gap_abs, self.ends)
        choice = raw.choice if raw.choice is not None else found.choice
        if choice is not None:
            self.best = self.best.better(self.form, inner.expanded(choice))
        return raw, math.inf if raw.status is Status.INFEASIBLE else offset + raw.bound

    def _push(self, prices: FloatArray) -> bool:
        """List what spends less of the shared rows; true where even the least is too much."""
        form, shared, self.pushed = self.form, self.split.shared, True
        ranges = np.array([float(form.coefficients[k].max(axis=1).sum()) or 1.0 for k in shared.tolist()])
        unit = float(form.cost.max(axis=1).sum()) / ranges
        for push in PUSHES:
            lists = self._lists(push * np.maximum(prices, 0.05 * unit), self.want)
            if lists is None:
                return False
            self._extend(lists)
        for side in [1.0 / ranges, *(np.eye(len(shared)) / ranges)]:
            lists = self._lists(side, self.want, 0.0)
            if lists is None:
                return False
            if self._value(side, lists, 0.0) > 0:
                return True
            self._extend(lists)
        return False
