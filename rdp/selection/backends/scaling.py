"""Powers of two that bring a form's numbers to where solvers are precise.

Solvers compare with absolute tolerances of 1e-6 to 1e-9, whatever the unit of a column is. Scaling by a power of two
changes no digit.
"""

from __future__ import annotations

import math

import numpy as np

from rdp.selection.linear import LinearForm
from rdp.selection.problem import FloatArray


def power_of_two(largest: float, target: float) -> float:
    """The power of two that brings `largest` just under `target`; 1 for a row of zeros."""
    if not largest > 0:
        return 1.0
    return 2.0 ** math.floor(math.log2(target) - math.log2(largest))


def objective_scale(form: LinearForm, target: float) -> float:
    """Scale of the cost: the largest possible sum comes just under `target`."""
    return power_of_two(float(form.cost.max(axis=1).sum()), target)


def row_scales(form: LinearForm, target: float) -> FloatArray:
    """Scale (K,) of each constraint: the larger of its budget and largest coefficient comes just under `target`."""
    return np.array(
        [
            power_of_two(max(float(row.max()), float(abs(budget))), target)
            for row, budget in zip(form.coefficients, form.budgets, strict=True)
        ]
    )
