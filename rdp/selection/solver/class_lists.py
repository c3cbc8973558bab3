"""Lists of the best selections of one class of images, at prices of the rows that it shares with others.

Where the class has few selections in all they are gone through once; otherwise the near ties of its own prices are
listed as in `core`, in a width that grows until there are as many as are wanted. A list says up to which
value it is complete, which is what bounds are made of.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from rdp.selection.linear import LinearForm
from rdp.selection.problem import FloatArray, IntArray
from rdp.selection.solver.certified import solve_form
from rdp.selection.solver.class_forms import ClassForm
from rdp.selection.solver.core import Near, deviations_of, rooms_rounding, width_rounding
from rdp.selection.solver.dual import Dual, reduced_costs
from rdp.selection.solver.join import Grid, Window
from rdp.selection.solver.states import States, TooManyError, list_states

MOST_STATES = 60_000
"""Sets of changes that a half of the near ties may have."""
MOST_PAIRS = 3_000_000
FEWEST = 12
"""The width starts with so many near ties."""
GROWTH = 1.5
STEPS = 60
MOST_AT_ONCE = 120_000
"""Classes with no more selections than this are gone through in full."""
MOST_LISTED = 4_000


@dataclass(frozen=True, eq=False)
class Listing:
    """Some selections of a class: `choices` (A, n), `costs` (A,), `usages` (S, A) of the shared rows.

    By the value scale * cost + prices * usage: no selection of the class is below `floor`, and all those not above
    `reach` are listed. `floor` is infinite where the class has no selection within its own budgets.
    """

    choices: IntArray
    costs: FloatArray
    usages: FloatArray
    floor: float
    reach: float

    def __len__(self) -> int:
        return len(self.costs)


class Lister:
    """The lists of one class; it remembers its own prices and widths from one to the next."""

    def __init__(
        self,
        part: ClassForm,
        prices: FloatArray | None = None,
        *,
        undominated: bool = True,
        most: int = MOST_AT_ONCE,
    ) -> None:
        self.part = part
        self.prices = prices
        self.width = 0.0
        counts = part.form.allowed.sum(axis=1)
        few = float(np.log(counts).sum()) <= math.log(max(most, 1)) + 1e-9 and most > 0
        self.all = every_selection(part, undominated=undominated) if few else None

    def listed(
        self, prices: FloatArray, *, want: int, ends: float, scale: float = 1.0, reach: float = -math.inf
    ) -> Listing:
        """About the `want` best selections at these prices (S,) of the shared rows, and all up to the value `reach`.

        Where that is too much, as many as there may be.
        """
        if self.all is not None:
            return _best_of(self.all, prices, scale, want, reach)
        return self._nearest(prices, scale, want, reach, ends)

    def _nearest(self, prices: FloatArray, scale: float, want: int, reach: float, ends: float) -> Listing:
        part = self.part
        priced = part.priced(prices, scale)
        dual = Dual(priced)
        relaxed = dual.maximise(self.prices, ends=ends)
        own = relaxed.best if relaxed.best is not None else np.zeros(len(part.own))
        nothing = _listing(part, np.zeros((0, len(part.images)), dtype=np.int64), math.inf, math.inf)
        if relaxed.infeasible:
            return nothing
        if scale == 1.0 and relaxed.prices is not None:
            self.prices = relaxed.prices
        near = Near.of(priced, own, relaxed.bound, reduced_costs(priced, own))
        widest = (float(priced.cost.max(axis=1).sum()) - near.bound) * (1 + 1e-9)
        apart = near.more[near.more > 0][:FEWEST]
        first = float(apart[-1]) if len(apart) else 0.0
        start = self.width if self.width > 0 and scale == 1.0 else first
        width = max(start, reach - near.bound, 1e-12 * abs(widest))
        best = _listing(part, nothing.choices, near.bound, near.bound)
        tried = 0.0
        for _ in range(STEPS):
            width = min(width, widest)
            try:
                choices, values = within(near, width, want if math.isinf(reach) else MOST_LISTED, ends)
            except TooManyError:
                # Between what was little enough and this there may be something.
                if len(best) or width - tried <= 1e-2 * width or perf_counter() > ends:
                    break
                width = (tried + width) / 2
                continue
            tried = width
            complete = math.inf if width >= widest else near.bound + width
            if len(choices) < len(values):
                complete = float(values[len(choices)])
            floor = float(values[0]) if len(values) else complete
            best = _listing(part, choices, floor, max(complete, floor))
            if width >= widest or (len(values) >= want and near.bound + width >= reach):
                break
            width = _wider(near, width)
        if scale == 1.0:
            self.width = tried
        if not len(best) and math.isfinite(best.floor):
            _, found = solve_form(priced, relaxed, dual, 0.0, ends, exact=False)
            if found.choice is not None:
                return _listing(part, found.choice[None, :], best.floor, best.reach)
        return best


def _wider(near: Near, width: float) -> float:
    """The next width: with two more ties at least, and with long steps where all of them are in."""
    known = int(np.searchsorted(near.more, width, side="right"))
    if known == len(near.more):
        return 8 * width
    return max(GROWTH * width, float(near.more[min(known + 1, len(near.more) - 1)]))


def _listing(part: ClassForm, choices: IntArray, floor: float, reach: float) -> Listing:
    return Listing(choices, *part.spent(choices), floor, reach)


def within(near: Near, width: float, want: int, ends: float) -> tuple[IntArray, FloatArray]:
    """The selections (A, n) that cost at most L + width, at most `want` of them, and the costs of all that were found.

    Both in ascending order of the costs. Raises `TooManyError` where there are too many to go through.
    """
    first, second, window = _halves(near, width, ends)
    ones, twos, costs = [], [], []
    seen = 0
    for one, two in Grid(second, window).pairs(first):
        seen += len(one)
        if seen > MOST_PAIRS:
            raise TooManyError("too many selections are nearly as good")
        cost = first.cost[one] + second.cost[two]
        fits = (cost <= window.cost) & (first.reduced[one] + second.reduced[two] <= window.reduced)
        for k, room in enumerate(window.rooms.tolist()):
            fits &= first.usage[k, one] + second.usage[k, two] <= room
        ones.append(one[fits])
        twos.append(two[fits])
        costs.append(cost[fits])
    cost = np.concatenate(costs) if costs else np.zeros(0)
    ascending = np.argsort(cost, kind="stable")
    order = ascending[:want]
    choices = np.tile(near.base, (len(order), 1))
    for states, numbers in ((first, ones), (second, twos)):
        picked = np.concatenate(numbers)[order] if numbers else np.zeros(0, dtype=np.int64)
        _change(choices, states, picked)
    return choices, cost[ascending] + near.cost


def _halves(near: Near, width: float, ends: float) -> tuple[States, States, Window]:
    deviations = deviations_of(near, near.within(width))
    left, right = deviations.halves()
    limit = width - near.excess + width_rounding(near, width)
    rooms = near.room + rooms_rounding(near, deviations)
    first = list_states(left, limit, rooms, MOST_STATES, ends, other=right)
    second = list_states(right, limit, rooms, MOST_STATES, ends, other=left)
    cost = near.bound + width - near.cost + width_rounding(near, width)
    return first, second, Window(near.prices, rooms, limit, cost, -math.inf)


def _change(choices: IntArray, states: States, numbers: IntArray) -> None:
    """Write the changes of the sets with these numbers (A,) into the choices (A, n)."""
    left = numbers.copy()
    while left.any():
        some = np.flatnonzero(left)
        added = states.added[left[some]]
        choices[some, states.deviations.image[added]] = states.deviations.point[added]
        left[some] = states.parent[left[some]]


@dataclass(frozen=True, eq=False)
class Everything:
    """All selections of a class within its own budgets, of those that are equal or better in all but one is kept."""

    form: LinearForm
    part: ClassForm
    codes: IntArray
    costs: FloatArray
    usages: FloatArray
    undominated: bool


def every_selection(part: ClassForm, *, undominated: bool = True) -> Everything:
    """Go through all selections of a class that has few.

    With one shared row at most only the `undominated` ones stay, if that is wanted.
    """
    form = part.form
    options = [np.flatnonzero(row) for row in form.allowed]
    tables = [form.cost, *form.coefficients, *part.shared]
    sums = [np.zeros(1) for _ in tables]
    for image, points in enumerate(options):
        sums = [
            (total[:, None] + values[image, points][None, :]).ravel()
            for total, values in zip(sums, tables, strict=True)
        ]
    own = len(form.coefficients)
    # Sums of n rounded terms, none of them negative.
    room = 2 * len(options) * float(np.finfo(np.float64).eps)
    fits = np.ones(len(sums[0]), dtype=np.bool_)
    for used, budget in zip(sums[1 : own + 1], form.budgets.tolist(), strict=True):
        fits &= used <= budget + room * abs(budget)
    codes = np.flatnonzero(fits)
    costs, usages = (
        sums[0][codes],
        np.array([used[codes] for used in sums[own + 1 :]]).reshape(len(part.shared), len(codes)),
    )
    undominated &= len(usages) <= 1
    if undominated and len(codes):
        keep = _front(costs, usages[0] if len(usages) else np.zeros(len(codes)))
        codes, costs, usages = codes[keep], costs[keep], usages[:, keep]
    return Everything(form, part, codes, costs, usages, undominated)


def _front(costs: FloatArray, usage: FloatArray) -> IntArray:
    """Numbers of the pairs that no other beats or equals in both, by ascending usage."""
    # Most fall to the cheapest ones of a few steps of usage below their own: no need to sort them.
    steps = 256
    low, spread = float(usage.min()), float(np.ptp(usage)) or 1.0
    step = np.minimum(((usage - low) * (steps / spread)).astype(np.int64), steps - 1)
    cheapest = np.full(steps, np.inf)
    np.minimum.at(cheapest, step, costs)
    before = np.concatenate([[np.inf], np.minimum.accumulate(cheapest)[:-1]])
    some = np.flatnonzero(costs < before[step])
    order = some[np.lexsort((costs[some], usage[some]))]
    lowest = np.minimum.accumulate(costs[order])
    falls = np.concatenate([[True], lowest[1:] < lowest[:-1]])
    return np.asarray(order[falls])


def _best_of(every: Everything, prices: FloatArray, scale: float, want: int, reach: float) -> Listing:
    values = scale * every.costs + prices @ every.usages
    if not len(values):
        return _listing(every.part, np.zeros((0, len(every.part.images)), dtype=np.int64), math.inf, math.inf)
    floor, complete = float(values.min()), math.inf
    count = MOST_LISTED if every.undominated else max(want, min(int((values <= reach).sum()), MOST_LISTED))
    picked = np.arange(len(values))
    if count < len(values):
        complete = float(np.partition(values, count)[count])
        # Of equals all or none, so that it does not matter which comes first.
        picked = np.flatnonzero(values < complete)
        if not len(picked):
            picked = np.flatnonzero(values == complete)[:count]
    return _listing(every.part, _decoded(every, every.codes[picked]), floor, complete)


def _decoded(every: Everything, codes: IntArray) -> IntArray:
    """The choices (A, n) that the codes number."""
    options = [np.flatnonzero(row) for row in every.form.allowed]
    choices = np.zeros((len(codes), len(options)), dtype=np.int64)
    rest = codes.copy()
    for image in range(len(options) - 1, -1, -1):
        rest, place = np.divmod(rest, len(options[image]))
        choices[:, image] = options[image][place]
    return choices
