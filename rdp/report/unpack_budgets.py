"""Budgets of a delivery, of all images and of groups, and bounds on each image, held against what its files give."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rdp.report.manifest import MANIFEST, Manifest
from rdp.report.manifest_parts import PackedAverage, PackedBudget
from rdp.report.unpack_charges import Charges
from rdp.report.unpack_codecs import Mismatch
from rdp.selection.linear import allowance
from rdp.selection.problem import weighted_mean

if TYPE_CHECKING:
    Pixels = np.ndarray[Any, Any]

EXACT = 1e-9
"""Rates are recomputed from whole numbers: only the order of a sum may differ."""

RATES = ("bpp", "nbytes")

METRIC_TOLERANCE = 1e-5
"""Metrics may differ by this, absolutely or relatively, between machines."""


def close(one: float, other: float, tolerance: float) -> bool:
    """Whether two numbers are the same to a tolerance; both NaN counts."""
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return math.isclose(one, other, rel_tol=tolerance, abs_tol=0.0 if tolerance == EXACT else tolerance)


def tolerance_of(column: str) -> float:
    """To what a recomputed average may differ from the stated one."""
    return EXACT if column in RATES else METRIC_TOLERANCE


@dataclass(frozen=True, eq=False)
class _Found:
    """What was found: capped values (N,) by column, what is added to them, and the stated averages by column."""

    manifest: Manifest
    values: Mapping[str, Pixels]
    charges: Charges
    stated: Mapping[str, PackedAverage]


def check_budgets(manifest: Manifest, values: Mapping[str, Pixels], charges: Charges) -> list[Mismatch]:
    """Each budget states the average that the files give, or that is stated elsewhere, and that average keeps to it.

    `values` (N,) by column are the capped values that could be recomputed. The averages of groups must make up that of
    all images, which holds also for columns that could not be.
    """
    found = _Found(manifest, values, charges, {one.column: one for one in manifest.averages})
    said = [what for budget in manifest.budgets for what in _check_budget(found, budget)]
    said += _check_groups(found)
    return [Mismatch(MANIFEST, what) for what in said]


def _check_budget(found: _Found, budget: PackedBudget) -> list[str]:
    column, stated = budget.column, found.stated.get(budget.column)
    where = f" in {budget.group!r}" if budget.group else ""
    if stated is None or budget.weighting != stated.weighting:
        return [f"the budget of {column}{where} and the averages contradict each other"]
    side = found.charges.solved_in(column, budget.weighting)
    if not budget.group and not close(budget.average, stated.average + side, EXACT):
        return [f"the budget of {column} and the averages contradict each other"]
    average, room = budget.average, 0.0
    if column in found.values:
        weights = _weights(found, budget)
        if not weights.any():
            return [f"the budget of {column}{where} is of no image"]
        own = found.charges.own.get(column, 0.0)
        again = weighted_mean(found.values[column] + own, weights)
        if budget.group and not close(again, budget.average, tolerance_of(column)):
            return [f"the average {column}{where} is {again:.9g}, and {budget.average:.9g} in its budget"]
        together = found.values[column] + found.charges.to(column, budget.sense)
        average = weighted_mean(together, weights)
        room = allowance(budget.budget, together, weights)
        if tolerance_of(column) == METRIC_TOLERANCE:
            room = METRIC_TOLERANCE * max(1.0, abs(budget.budget))
    over = average - budget.budget if budget.sense == "at_most" else budget.budget - average
    if not over > max(room, EXACT * abs(budget.budget)):
        return []
    side_word = "above" if budget.sense == "at_most" else "below"
    return [f"the average {column}{where} is {average:.9g}, {side_word} the budget {budget.budget:g}"]


def _weights(found: _Found, budget: PackedBudget) -> Pixels:
    weights = found.charges.weights(budget.weighting)
    if not budget.group:
        return weights
    members = np.array([one.group == budget.group for one in found.manifest.files])
    return np.where(members, weights, 0.0)


def _check_groups(found: _Found) -> list[str]:
    """The averages of the groups, weighted, are the average of all images."""
    families: dict[tuple[str, str, float], list[PackedBudget]] = {}
    for budget in found.manifest.budgets:
        if budget.group:
            families.setdefault((budget.column, budget.sense, budget.budget), []).append(budget)
    said = []
    for (column, _, _), family in families.items():
        stated = found.stated.get(column)
        if stated is None:
            continue  # said of its budgets
        sizes = [float(_weights(found, budget).sum()) for budget in family]
        whole = stated.average + found.charges.solved_in(column, stated.weighting)
        total = float(found.charges.weights(stated.weighting).sum())
        parts = math.fsum(size / total * budget.average for size, budget in zip(sizes, family, strict=True))
        if not math.isclose(parts, whole, rel_tol=EXACT, abs_tol=1e-12):
            said.append(f"the averages {column} of the groups make {parts:.9g} of all images, and that is {whole:.9g}")
    return said


def check_image_bounds(manifest: Manifest, values: Mapping[str, Pixels], charges: Charges) -> list[Mismatch]:
    """Every image keeps the bounds on each image, and the worst one is as stated; columns not recomputed by its word.

    `values` as for budgets.
    """
    wrong = []
    for one in manifest.image_bounds:
        sign = 1.0 if one.sense == "at_most" else -1.0
        tolerance = tolerance_of(one.column)
        found = np.array([one.worst]) if one.column not in values else values[one.column]
        worst = sign * float((sign * found).max())
        if not close(worst, one.worst, tolerance):
            what = f"the worst {one.column} of an image is {worst:.9g}, and {one.worst:.9g} in it"
            wrong.append(Mismatch(MANIFEST, what))
        if one.column in values:
            worst = sign * float((sign * (found + charges.to(one.column, one.sense))).max())
        room = tolerance * (abs(one.bound) if tolerance == EXACT else max(1.0, abs(one.bound)))
        if not sign * (worst - one.bound) <= room:
            side = "above" if one.sense == "at_most" else "below"
            what = f"an image has {one.column} {worst:.9g}, {side} the bound {one.bound:g} on each"
            wrong.append(Mismatch(MANIFEST, what))
    return wrong
