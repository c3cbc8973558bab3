"""The images that keep budgets from being met."""

from __future__ import annotations

import numpy as np

from rdp.selection.explaining.explanation import SHOWN, BindingImage
from rdp.selection.explaining.phase_one import PhaseOne
from rdp.selection.problem import FloatArray, IntArray, Problem

PRICED = 1e-9
"""Constraints with a smaller share of the price are not among those that exclude each other."""


def binding_rows(prices: FloatArray) -> list[int]:
    """Numbers of the constraints that exclude each other: those with a price."""
    return np.flatnonzero(prices > PRICED).tolist()


def binding_images(problem: Problem, phase: PhaseOne, prices: FloatArray) -> tuple[BindingImage, ...]:
    """The few images whose least contribution to the excess, at these prices (K,), is largest.

    The contribution of image i is min_j sum_k mu_k a^k_ij: what its best point adds to the relaxation that is needed.
    Named are those that contribute more than nothing, and without which less would be needed.
    """
    rows = binding_rows(prices)
    choice = phase.combined(prices).argmin(axis=1)
    contributions = np.zeros(len(choice))
    falls = np.zeros((len(rows), len(choice)))
    for place, k in enumerate(rows):
        row = phase.rows[k]
        contributions[row.images] += prices[k] * phase.parts_of(choice, k)
        falls[place, row.images] = _falls(phase, choice, k)
    fall = np.zeros(len(choice))
    for place, k in enumerate(rows):
        sign = 1.0 if phase.rows[k].constraint.sense == "at_most" else -1.0
        fall += prices[k] * sign * falls[place] / phase.rows[k].scale
    order = np.argsort(-contributions, kind="stable")
    chosen = order[(contributions[order] > 0) & (fall[order] > 0)][:SHOWN].tolist()
    return tuple(
        BindingImage(
            image=problem.labels[i],
            values=_values(phase, rows, choice, i),
            excess=float(contributions[i]),
            fall=float(fall[i]),
            falls=tuple(falls[:, i].tolist()),
        )
        for i in chosen
    )


def _falls(phase: PhaseOne, choice: IntArray, k: int) -> FloatArray:
    """By how much the average of row k falls without each of its images (n,); without its only one, to the budget."""
    row = phase.rows[k]
    weights = row.constraint.term.weights[row.images]
    picked = phase.columns[row.column][row.images, choice[row.images]]
    if len(weights) == 1:
        return np.asarray(picked - row.constraint.budget)
    total = weights.sum()
    average = float((weights * picked).sum() / total)
    # (average - average without i) = w_i (v_i - average) / (W - w_i)
    return np.asarray(weights * (picked - average) / (total - weights))


def _values(phase: PhaseOne, rows: list[int], choice: IntArray, image: int) -> tuple[tuple[str, float], ...]:
    """(column, value) of the binding constraints that this image has a weight in, each column once."""
    values: dict[str, float] = {}
    for k in rows:
        row = phase.rows[k]
        if row.constraint.term.weights[image] > 0:
            values[row.constraint.term.column] = float(phase.columns[row.column][image, choice[image]])
    return tuple(values.items())
