"""The exact search of what the prices leave open.

By the prices lambda of the relaxation every cell has a reduced cost r_ij = c_ij + sum_k lambda_k a^k_ij - min_j(...),
and a selection within the budgets costs exactly

    L(lambda) + sum_i r_ij + sum_k lambda_k (budget_k - usage_k)

where nothing is negative. So the selections that cost at most L + width have reduced costs that sum to at most the
width, and spend of each budget all but width / lambda_k: they differ from the choice of least reduced costs in few of
the near-tied images. Those differences are listed for two halves of the images (Horowitz and Sahni 1974), and each of
the one half meets those of the other that together spend the budgets: they are looked up in a grid over the usages
whose cells have the size of that window, so that the work is about the square root of the number of selections.

The best selection within the width is the best of all. Where there is none, L + width is a bound, and the width grows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rdp.selection.linear import LinearForm
from rdp.selection.problem import FloatArray, IntArray
from rdp.selection.solver.join import Window, cheapest_pair
from rdp.selection.solver.states import Deviations, TooManyError, list_states
from rdp.selection.sums import accurate_sum

MOST_TIES = 4_096
"""Near ties that are listed; with more of them open an exact search is out of reach."""
PAIRS = 30
"""Pairs of sets that are looked at, for each set that a half may have."""
UNIT_ROUNDOFF = 0.5 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class Near:
    """The neighbourhood of a choice `base` (N,) in a form, for prices (K,) with their bound L.

    `image`, `point` and `more` (T,) are its near ties: the cells with the least reduced costs beyond those of the
    base, and by how much, in ascending order. No other cell has less than `beyond`. `usage` (K,), `cost` and `excess`
    are what the base spends, and its reduced costs, which are zero where it is the choice of least priced costs.
    """

    form: LinearForm
    prices: FloatArray
    bound: float
    base: IntArray
    image: IntArray
    point: IntArray
    more: FloatArray
    beyond: float
    usage: FloatArray
    cost: float
    excess: float

    @classmethod
    def of(
        cls, form: LinearForm, prices: FloatArray, bound: float, reduced: FloatArray, base: IntArray | None = None
    ) -> Near:
        """The neighbourhood, with the base's sums rounded once. `reduced` (N, M) are the reduced costs at the prices.

        Without a `base` it is the choice of the least ones.
        """
        starts = np.arange(form.images) * form.allowed.shape[1]
        cells = starts + (reduced.argmin(axis=1) if base is None else base)
        taken = reduced.ravel()[cells]
        more = (reduced if base is None else reduced - taken[:, None]).ravel().copy()
        more[cells] = np.inf
        ties, beyond = _least(more, MOST_TIES)
        image, point = np.divmod(ties, form.allowed.shape[1])
        usage = np.array([accurate_sum(values.ravel()[cells]) for values in form.coefficients])
        return cls(
            form=form,
            prices=prices,
            bound=bound,
            base=cells - starts,
            image=image,
            point=point,
            more=more[ties],
            beyond=beyond,
            usage=usage,
            cost=accurate_sum(form.cost.ravel()[cells]),
            excess=accurate_sum(taken),
        )

    @property
    def room(self) -> FloatArray:
        """What the base leaves of each budget (K,); negative where it passes it."""
        return np.asarray(self.form.budgets - self.usage)

    def within(self, width: float) -> IntArray:
        """Numbers of the ties of at most that width; raises `TooManyError` where there are more than are listed."""
        if width >= self.beyond:
            raise TooManyError("too many selections are nearly as good")
        return np.arange(int(np.searchsorted(self.more, width, side="right")))

    def nearest(self, images: int) -> IntArray:
        """Numbers of the ties of so many images: for each budget the nearest that spend more and that spend less, in
        turn, for what is changed in some images has to be made good in others."""
        form = self.form
        change = form.coefficients[:, self.image, self.point] - form.coefficients[:, self.image, self.base[self.image]]
        sides = [self.image[side] for row in change for side in (row < 0, row > 0)]
        order = np.concatenate([np.arange(len(side)) * len(sides) + k for k, side in enumerate(sides)])
        wanted = np.concatenate(sides)[np.argsort(order, kind="stable")]
        _, first = np.unique(wanted, return_index=True)
        chosen = wanted[np.sort(first)[:images]]
        return np.flatnonzero(np.isin(self.image, chosen))


def _least(values: FloatArray, most: int) -> tuple[IntArray, float]:
    """Numbers of the `most` least finite values, ascending, the first of equals first; and the least of the others."""
    finite = np.flatnonzero(np.isfinite(values))
    beyond = math.inf
    if len(finite) > most:
        beyond = float(np.partition(values[finite], most)[most])
        less = finite[values[finite] < beyond]
        finite = np.concatenate([less, finite[values[finite] == beyond][: most - len(less)]])
    return finite[np.argsort(values[finite], kind="stable")], beyond


def search(
    near: Near, width: float, *, ties: IntArray, most: int, ends: float = math.inf, enough: float = -math.inf
) -> IntArray | None:
    """The cheapest selection (N,) that costs at most L + width and differs from the base only by `ties` (numbers).

    None when there is none. With all ties within the width this is a proof. `most` is the number of differences that a
    half may have: beyond it, and when the time is up, `TooManyError` is raised. The search ends with the first
    selection that costs at most `enough`.
    """
    deviations = deviations_of(near, ties)
    left, right = deviations.halves()
    # What is left of the width when every image stays as it is.
    limit = width - near.excess + width_rounding(near, width)
    rooms = near.room + rooms_rounding(near, deviations)
    first = list_states(left, limit, rooms, most, ends, other=right)
    second = list_states(right, limit, rooms, most, ends, other=left)
    window = Window(
        prices=near.prices,
        rooms=rooms,
        reduced=limit,
        cost=near.bound + width - near.cost + width_rounding(near, width),
        enough=enough - near.cost,
        outs=tuple(1 - int((~mask[np.arange(near.form.images), near.base]).sum()) for mask in near.form.cuts),
        excess=near.excess,
    )
    pair = cheapest_pair(first, second, window, ends, PAIRS * most)
    if pair is None:
        return None
    choice = near.base.copy()
    for states, number in ((first, pair[0]), (second, pair[1])):
        for image, point in states.path(number):
            choice[image] = point
    return choice


def deviations_of(near: Near, ties: IntArray) -> Deviations:
    """The changes from the base that some ties are, image by image."""
    form = near.form
    order = ties[np.lexsort((near.point[ties], near.image[ties]))]
    image, point = near.image[order], near.point[order]
    base = near.base[image]
    outs = [(~cut[image, point]).astype(float) - (~cut[image, base]).astype(float) for cut in form.cuts]
    return Deviations(
        image=image,
        point=point,
        reduced=near.more[order],
        usage=form.coefficients[:, image, point] - form.coefficients[:, image, base],
        cost=form.cost[image, point] - form.cost[image, base],
        outs=np.array(outs).reshape(len(form.cuts), len(image)),
    )


def width_rounding(near: Near, width: float) -> float:
    """Room for the rounding of reduced costs and of their sums: what it lets in too much, the check finds."""
    paid = float((near.prices * np.abs(near.form.budgets)).sum())
    return 32 * UNIT_ROUNDOFF * (abs(near.cost) + abs(near.bound) + paid + width)


def rooms_rounding(near: Near, deviations: Deviations) -> FloatArray:
    largest = np.abs(deviations.usage).sum(axis=1) if deviations.usage.size else np.zeros(len(near.usage))
    return np.asarray(4 * UNIT_ROUNDOFF * (np.abs(near.form.budgets) + np.abs(near.usage) + largest))


__all__ = ["Near", "TooManyError", "search"]
