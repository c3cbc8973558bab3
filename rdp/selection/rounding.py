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

from rdp.selection.core import Near
from rdp.selection.dual import Dual, Part
from rdp.selection.linear import LinearForm
from rdp.selection.problem import FloatArray, IntArray

CAREFULLY = 20_000
"""Images that are settled one by one."""
STEPS = 6
"""Budgets are walked towards so many times each."""
TINY = 1e-300
GOLDEN = (math.sqrt(5) - 1) / 2


def rounded(dual: Dual, parts: tuple[Part, ...]) -> IntArray | None:
    """A choice (N,) that spends about what the mixture does; None without a mixture."""
    form, classes = dual.form, dual.classes
    choice = np.full(form.images, -1, dtype=np.int64)
    error = np.zeros(len(form.budgets))
    ranges = np.array([float(values.max(axis=1).sum()) or 1.0 for values in form.coefficients])
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
    scale = len(form.coefficients) and form.images / ranges
    for place, image in enumerate(images[few].tolist()):
        after = error[:, None] + off[:, :, place]
        best = int(((after * np.reshape(scale, (-1, 1))) ** 2).sum(axis=0).argmin())
        error = after[:, best]
        choice[image] = options[best, few[place]]
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
        less = np.flatnonzero(saved > 0)
        order = less[np.argsort(near.more[less] / saved[less], kind="stable")]
        _, first = np.unique(near.image[order], return_index=True)
        order = order[np.sort(first)]
        if not len(order):
            break
        taken = order[: int(np.searchsorted(np.cumsum(saved[order]), -near.room[row])) + 1]
        choice = near.base.copy()
        choice[near.image[taken]] = near.point[taken]
        near = Near.of(form, near.prices, near.bound, reduced, choice)
    return near
