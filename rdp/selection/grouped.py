"""Many budgets, each of a group of images, and a few that all share: the classes of images solved on their own.

With prices mu of the shared rows alone a form falls apart into its classes (`rdp.selection.class_forms`), and each is
an integer programme whose own budgets are kept exactly:

    L(mu) = sum_g min over the selections x of class g within its budgets (cost(x) + mu shared(x))  -  mu b

is a lower bound, and a higher one than that of the linear relaxation (Geoffrion 1974). The best selections of every
class are listed (`rdp.selection.class_lists`), and put together: a class is as one image, a selection of it as one
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
from rdp.selection.certified import Incumbent, solve_form
from rdp.selection.class_forms import ClassForm, Split, split_form
from rdp.selection.class_lists import Lister, Listing
from rdp.selection.combining import combined, merged
from rdp.selection.dual import Dual, Relaxation
from rdp.selection.linear import LinearForm
from rdp.selection.problem import FloatArray
from rdp.selection.status import Status
from rdp.selection.sums import accurate_sum

ROUNDS = 12
"""Prices of the shared rows that are tried."""
WANTED = 48
"""Selections of a class that are listed at first."""
MOST_CELLS = 1_000_000
NEAR = 0.1
"""It is enough when the prices are so much nearer to the best ones than the selection to the bound."""
SHARES = (0.3, 1.0, 1.0, 1.0)
"""How far the last lists are to reach, of the distance between the best selection and the bound."""
PUSHES = (4.0, 64.0)
"""Where the lists cannot be put together within the shared budgets: so much more of the prices."""
EPS = float(np.finfo(np.float64).eps)


def solve_grouped(
    form: LinearForm, relaxation: Relaxation, gap_abs: float, ends: float, best: Incumbent | None = None
) -> RawAnswer:
    """The best selection that is found by classes, and the higher of its bound and the relaxation's.

    `best` is a selection that is known. Status unknown without a selection, which is also what forms without classes
    get; the bound is on the cost without the offset.
    """
    known = Incumbent() if best is None else best
    split = split_form(form)
    if relaxation.infeasible:
        return RawAnswer(Status.INFEASIBLE, None)
    if split is None:
        return _answer(known, relaxation.bound, gap_abs)
    if not split.shared and not form.cuts:
        return _apart(form, split, relaxation, gap_abs, ends, known)
    return _Together(form, split, relaxation, gap_abs, ends, known).solve()


def _answer(best: Incumbent, bound: float, gap_abs: float) -> RawAnswer:
    if best.choice is None:
        return RawAnswer(Status.UNKNOWN, None, bound)
    # A bound may be above the cost by the rounding of its sums.
    status = Status.OPTIMAL if best.cost - bound <= gap_abs else Status.FEASIBLE
    return RawAnswer(status, best.choice, min(bound, best.cost))


def _complete(lists: Sequence[Listing]) -> bool:
    return all(math.isinf(listing.reach) for listing in lists)


def _apart(
    form: LinearForm, split: Split, relaxation: Relaxation, gap_abs: float, ends: float, best: Incumbent
) -> RawAnswer:
    """Without shared rows every class is solved on its own, and costs and bounds are added."""
    choice = np.where(form.allowed, form.cost, np.inf).argmin(axis=1)
    bounds = [accurate_sum(form.cost[split.free, choice[split.free]])]
    complete = True
    for part in split.classes:
        share = gap_abs * len(part.images) / form.images
        raw = _solve_class(part, share, ends)
        if raw.status is Status.INFEASIBLE:
            return RawAnswer(Status.INFEASIBLE, None)
        bounds.append(raw.bound)
        complete &= raw.choice is not None
        if raw.choice is not None:
            choice[part.images] = raw.choice
    bound = max(relaxation.bound, math.fsum(bounds) * (1 - 4 * form.images * EPS))
    return _answer(best.better(form, choice) if complete else best, bound, gap_abs)


def _solve_class(part: ClassForm, gap_abs: float, ends: float) -> RawAnswer:
    """One class without shared rows; a class of few selections by going through them."""
    lister = Lister(part)
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
        self, form: LinearForm, split: Split, relaxation: Relaxation, gap_abs: float, ends: float, best: Incumbent
    ) -> None:
        self.form, self.split, self.gap_abs, self.ends = form, split, gap_abs, ends
        self.best, self.bound = best, relaxation.bound
        prices = np.zeros(len(form.budgets)) if relaxation.best is None else relaxation.best
        self.start = prices[list(split.shared)]
        self.listers = []
        for part in split.classes:
            if perf_counter() > ends:
                break
            # A dominated selection may be needed where a better one is cut off.
            self.listers.append(Lister(part, prices[list(part.own)], undominated=not form.cuts))
        self.pool: list[Listing] = []
        self.want = max(min(WANTED, MOST_CELLS // len(split.classes)), 4)

    def solve(self) -> RawAnswer:
        """Prices of the shared rows in turn with combinations, then lists that reach as far as the best selection."""
        if len(self.listers) < len(self.split.classes):
            return _answer(self.best, self.bound, self.gap_abs)
        prices = at = self.start
        lower = -math.inf
        for _ in range(ROUNDS):
            lists = self._lists(prices, self.want)
            if lists is None:
                break
            if any(math.isinf(listing.floor) for listing in lists):
                return RawAnswer(Status.INFEASIBLE, None)
            value = self._value(prices, lists)
            if value > lower:
                lower, at = value, prices
            self._raise(value)
            grew = self._extend(lists)
            relaxed, offset = self._relaxed()
            if relaxed.prices is None and not _complete(lists):
                if self._push(prices):
                    return RawAnswer(Status.INFEASIBLE, None)
                relaxed, offset = self._relaxed()
            enough = max(NEAR * min(listing.reach - listing.floor for listing in lists), 0.1 * self.gap_abs)
            above = offset + relaxed.bound - lower if relaxed.prices is not None else math.inf
            if above <= enough or not grew or relaxed.best is None or self._late():
                break
            prices = relaxed.best
        if not self.pool:
            return _answer(self.best, self.bound, self.gap_abs)
        if self._reach(at, lower):
            return RawAnswer(Status.INFEASIBLE, None)
        return _answer(self.best, self.bound, self.gap_abs)

    def _late(self) -> bool:
        return perf_counter() > self.ends

    def _reach(self, prices: FloatArray, lower: float) -> bool:
        """Longer lists at the best prices, until they reach the best selection; the best combination is then best.

        True where there is no selection.
        """
        width = -math.inf
        for share in SHARES:
            lists = self._known(prices) if math.isinf(width) else self._lists(prices, self.want, width)
            if lists is None:
                break
            self._extend(lists)
            raw, inside = self._combine()
            self._raise(self._value(prices, lists), lists, inside)
            if raw.status is Status.INFEASIBLE and _complete(lists):
                return True
            if self.best.cost - self.bound <= self.gap_abs or self._late():
                break
            width = share * (self.best.cost - lower) if self.best.choice is not None else -math.inf
            self.want *= 4
        return False

    def _lists(self, prices: FloatArray, want: int, width: float = -math.inf, scale: float = 1.0) -> list[Listing] | None:
        """The lists of all classes, so much wider than their best; None when the time is up."""
        lists = []
        for place, lister in enumerate(self.listers):
            if self._late():
                return None
            reach = self.floors[place] + width if math.isfinite(width) else -math.inf
            lists.append(lister.listed(prices, want=want, ends=self.ends, scale=scale, reach=reach))
        if scale == 1.0:
            self.floors = [listing.floor for listing in lists]
        return lists

    def _value(self, prices: FloatArray, lists: list[Listing], scale: float = 1.0) -> float:
        """L at these prices, less a bound of its rounding."""
        form, free = self.form, self.split.free
        shared = list(self.split.shared)
        cost = scale * form.cost[free] + np.tensordot(prices, form.coefficients[np.ix_(shared, free)], axes=1)
        least = np.where(form.allowed[free], cost, np.inf).min(axis=1) if len(free) else np.zeros(0)
        terms = np.concatenate([[listing.floor for listing in lists], least, -prices * form.budgets[shared]])
        longest = max(len(part.images) for part in self.split.classes)
        return accurate_sum(terms) - 4 * (longest + len(form.budgets) + 4) * EPS * float(np.abs(terms).sum())

    def _raise(self, value: float, lists: Sequence[Listing] = (), inside: float = -math.inf) -> None:
        """The bound: of what is not listed, and of the combinations of what is."""
        beyond = min((listing.reach - listing.floor for listing in lists), default=math.inf)
        rounding = 8 * self.form.images * EPS * abs(inside) if math.isfinite(inside) else 0.0
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
        form, shared = self.form, list(self.split.shared)
        ranges = np.array([float(form.coefficients[k].max(axis=1).sum()) or 1.0 for k in shared])
        unit = float(form.cost.max(axis=1).sum()) / ranges
        for push in PUSHES:
            lists = self._lists(push * np.maximum(prices, 0.05 * unit), self.want)
            if lists is None:
                return False
            self._extend(lists)
        sides = [1.0 / ranges, *(np.eye(len(shared)) / ranges if len(shared) > 1 else ())]
        for side in sides:
            lists = self._lists(side, self.want, scale=0.0)
            if lists is None:
                return False
            if self._value(side, lists, 0.0) > 0:
                return True
            self._extend(lists)
        return False
