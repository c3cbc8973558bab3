"""Classes of images as images, and their listed selections as points: a form with the shared rows alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rdp.selection.linear import LinearForm
from rdp.selection.problem import FloatArray, IntArray
from rdp.selection.solver.class_forms import Split
from rdp.selection.solver.class_lists import Listing
from rdp.selection.sums import accurate_sum

ROUNDING = 64 * float(np.finfo(np.float64).eps)
"""Bound of the relative error of sums that NumPy takes in pairs, with room."""


@dataclass(frozen=True, eq=False)
class Combined:
    """The `form` of all combinations of the listed selections; the first rows are the classes, the others the free
    images. `offset` is what was taken off the costs."""

    form: LinearForm
    offset: float
    split: Split
    lists: tuple[Listing, ...]
    images: int

    def expanded(self, choice: IntArray) -> IntArray:
        """The choice (N,) of the whole that a choice of the form stands for."""
        out = np.zeros(self.images, dtype=np.int64)
        for part, listing, place in zip(self.split.classes, self.lists, choice.tolist(), strict=False):
            out[part.images] = listing.choices[place]
        out[self.split.free] = choice[len(self.lists) :]
        return out


def combined(form: LinearForm, split: Split, lists: Sequence[Listing]) -> Combined:
    """The combinations of these lists, none of them empty, with all points of the free images."""
    shared, free = split.shared, split.free
    count = len(lists)
    width = max([form.cost.shape[1] if len(free) else 1, *(len(listing) for listing in lists)])
    shape = (count + len(free), width)
    allowed = np.zeros(shape, dtype=np.bool_)
    tables = np.zeros((1 + len(shared), *shape))
    cuts = np.ones((len(form.cuts), *shape), dtype=np.bool_)
    least = np.zeros((1 + len(shared), count))
    for number, (part, listing) in enumerate(zip(split.classes, lists, strict=True)):
        size = len(listing)
        values = np.concatenate([listing.costs[None, :], listing.usages])
        least[:, number] = values.min(axis=1)
        allowed[number, :size] = True
        tables[:, number, :size] = values - least[:, number, None]
        for mask, cut in zip(cuts, form.cuts, strict=True):
            mask[number, :size] = cut[part.images, listing.choices].all(axis=1)
    if len(free):
        points = form.cost.shape[1]
        allowed[count:, :points] = form.allowed[free]
        tables[0, count:, :points] = form.cost[free]
        tables[1:, count:, :points] = form.coefficients[np.ix_(shared, free)]
        for mask, cut in zip(cuts, form.cuts, strict=True):
            mask[count:, :points] = cut[free]
    budgets = _budgets(form, split, tables[1:], least[1:])
    inner = LinearForm(tables[0], 0.0, tables[1:], budgets, allowed, tuple(shared.tolist()), cuts=tuple(cuts))
    return Combined(inner, accurate_sum(least[0]), split, tuple(lists), form.images)


def _budgets(form: LinearForm, split: Split, tables: FloatArray, least: FloatArray) -> FloatArray:
    """What is left of the shared budgets, with room for the rounding of the listed usages."""
    spent = np.array([accurate_sum(row) for row in least])
    total = np.abs(form.budgets[split.shared]) + spent
    if tables.shape[1]:
        total = total + tables.max(axis=2).max(axis=1)
    return np.asarray(form.budgets[split.shared] - spent + ROUNDING * total)


def merged(old: Listing, new: Listing) -> Listing:
    """Both lists in one, every selection once; how far it reaches is that of the new one."""
    choices = np.concatenate([old.choices, new.choices])
    _, first = np.unique(choices, axis=0, return_index=True)
    keep = np.sort(first)
    return Listing(
        choices[keep],
        np.concatenate([old.costs, new.costs])[keep],
        np.concatenate([old.usages, new.usages], axis=1)[:, keep],
        new.floor,
        new.reach,
    )
