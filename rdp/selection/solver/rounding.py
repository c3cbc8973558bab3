"""From the relaxation's mixture of choices to one choice that spends about the same.

The relaxation's optimum is a mixture of a few choices. Where they agree on an image, so does the mixture; the others
are settled one after the other, each with the choice that brings what is spent so far nearest to what the mixture
would have spent, so that the error never grows beyond a few images' worth (as in Beck and Fiala 1981). In tables of
many equal images nearly all can be open; all but the last of them are then dealt out evenly by the golden ratio.

Where that spends too much, or the mixture is not known, images change one by one until the budgets are kept.
"""

from __future__ import annotations

import math

import numpy as np

from rdp.selection.linear import LinearForm
from rdp.selection.problem import FloatArray, IntArray
from rdp.selection.solver.core import Near
from rdp.selection.solver.dual import Dual, Part
from rdp.selection.sums import accurate_sum, largest_of_rows

CAREFULLY = 4_000
"""Images that are settled one by one."""
STEPS = 6
"""Budgets are walked towards so many times each."""
TINY = 1e-300
GOLDEN = (math.sqrt(5) - 1) / 2
REPAIRS = 50
"""Images that are changed to get a choice within the budgets."""
WORTHWHILE = 0.25
"""A change takes off at least this part of what is spent too much, where one does."""


def rounded(dual: Dual, parts: tuple[Part, ...]) -> IntArray | None:
    """A choice (N,) that spends about what the mixture does; None without a mixture."""
    form, classes = dual.form, dual.classes
    choice = np.full(form.images, -1, dtype=np.int64)
    error = np.zeros(len(form.budgets))
    ranges = np.array([float(largest_of_rows(values).sum()) or 1.0 for values in form.coefficients])
    for number in range(int(classes.max()) + 1):
        own = [part for part in parts if part.class_number == number]
        if not own:
            return None
        images = np.flatnonzero(classes == number)
        options = np.array([part.choice[images] for part in own])
        weights = np.array([part.weight for part in own])
        error = _settle(form, choice, images, options, weights / weights.sum(), error, ranges)
    return choice


def _settle(
    form: LinearForm,
    choice: IntArray,
    images: IntArray,
    options: IntArray,
    weights: FloatArray,
    error: FloatArray,
    ranges: FloatArray,
) -> FloatArray:
    """Write the choice of these images; `options` (P, n) are their candidates. Returns what is spent too much (K,)."""
    choice[images] = options[0]
    open_ = np.flatnonzero((options != options[0]).any(axis=0))
    many, few = open_[: max(len(open_) - CAREFULLY, 0)], open_[max(len(open_) - CAREFULLY, 0) :]
    if len(many):
        turn = (np.arange(len(many)) + 1) * GOLDEN % 1.0
        taken = np.minimum(np.searchsorted(np.cumsum(weights), turn, side="right"), len(weights) - 1)
        choice[images[many]] = options[taken, many]
        usage = _usages(form, images[many], options[:, many])
        mean = np.tensordot(weights, usage, axes=(0, 1))
        error = error + (usage[:, taken, np.arange(len(many))] - mean).sum(axis=1)
    usage = _usages(form, images[few], options[:, few])
    off = usage - np.tensordot(weights, usage, axes=(0, 1))[:, None, :]
    scale = np.reshape(form.images / ranges, (-1, 1))
    # The images that matter most first: what they leave is made good by those of small weight or small differences.
    sizes = np.square(off * scale[:, :, None]).sum(axis=0).max(axis=0)
    for place in np.argsort(-sizes, kind="stable").tolist():
        after = error[:, None] + off[:, :, place]
        best = int(((after * scale) ** 2).sum(axis=0).argmin())
        error = after[:, best]
        choice[images[few[place]]] = options[best, few[place]]
    return error


def _usages(form: LinearForm, images: IntArray, options: IntArray) -> FloatArray:
    """(K, P, n): what each option of each image spends of every row."""
    return np.asarray(form.coefficients[:, images[None, :], options])


def walked(near: Near, reduced: FloatArray) -> Near:
    """The neighbourhood of a choice that keeps to the budgets, or of one that is nearer to them.

    For the budget that is passed most, images change to the ties that spend less for the least reduced cost a unit,
    until it is kept. `reduced` (N, M) are the reduced costs at the prices.
    """
    form = near.form
    for _ in range(STEPS * len(form.budgets)):
        passed = -near.room / (np.abs(form.budgets) + TINY)
        row = int(passed.argmax())
        if passed[row] <= 0:
            break
        usage = form.coefficients[row]
        saved = usage[near.image, near.base[near.image]] - usage[near.image, near.point]
        taken = _enough(near.image, saved, near.more, float(-near.room[row]), float(near.prices[row]))
        if not len(taken):
            break
        choice = near.base.copy()
        choice[near.image[taken]] = near.point[taken]
        near = Near.of(form, near.prices, near.bound, reduced, choice)
    return near


def repaired(form: LinearForm, reduced: FloatArray, choice: IntArray) -> IntArray | None:
    """The choice (N,) with single images changed until it is within the budgets; None where that leads nowhere.

    Each time it is the change that takes off most of what is spent too much for its `reduced` cost (N, M), but no
    crumbs: where weights differ by orders of magnitude, changes of the least images cost next to nothing for the little
    that they take off.
    """
    rows = np.arange(form.images)
    scale = np.array([1.0 / (float(values.max(axis=1).sum()) or 1.0) for values in form.coefficients])
    over = np.array([accurate_sum(values[rows, choice]) for values in form.coefficients]) - form.budgets
    choice = choice.copy()
    for _ in range(REPAIRS):
        if not (over > 0).any():
            return choice
        excess = float(scale @ np.maximum(over, 0.0))
        gain = np.full(form.cost.shape, excess)
        for values, size, amount in zip(form.coefficients, scale.tolist(), over.tolist(), strict=True):
            gain -= size * np.maximum(amount + values - values[rows, choice][:, None], 0.0)
        gain[~form.allowed] = -np.inf
        most = float(gain.max())
        if most <= 0:
            return None
        dearer = np.maximum(reduced - reduced[rows, choice][:, None], 0.0)
        fit = gain >= min(most, WORTHWHILE * excess)
        cell = int(np.where(fit, dearer / np.where(fit, gain, 1.0), np.inf).argmin())
        image, point = divmod(cell, form.cost.shape[1])
        over += form.coefficients[:, image, point] - form.coefficients[:, image, choice[image]]
        choice[image] = point
    return None


def _enough(image: IntArray, saved: FloatArray, more: FloatArray, needed: float, price: float) -> IntArray:
    """Numbers of ties, one an image, that save what is needed at little cost.

    Those that cost least for what they save are taken while they do not save too much; the last is the one that costs
    least together with what it saves beyond.
    """
    less = np.flatnonzero(saved > 0)
    order = less[np.argsort(more[less] / saved[less], kind="stable")]
    _, first = np.unique(image[order], return_index=True)
    order = order[np.sort(first)]
    total = np.cumsum(saved[order])
    taken = order[: int(np.searchsorted(total, needed))]
    rest = needed - float(saved[taken].sum())
    fits = np.flatnonzero((saved >= rest) & ~np.isin(image, image[taken]))
    if not len(fits):
        return taken
    last = fits[int((more[fits] + price * (saved[fits] - rest)).argmin())]
    return np.append(taken, last)
