"""That budgets exclude each other, proven for a table of any size in one pass.

For prices lambda every selection within the budgets costs at least L(lambda). Where L is above what any selection can
cost, there is none. Prices that show it for a sample of the images mostly show it for all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rdp.selection.problem import FloatArray
from rdp.selection.solver.blocks import Block, BlockSource, in_parallel
from rdp.selection.solver.sieve import EPS, priced_costs
from rdp.selection.sums import accurate_sum, largest_of_rows, least_of_rows

FURTHER = 4.0
"""Times the prices that are enough for the sample: where budgets exclude each other, L rises with them."""


@dataclass(frozen=True, eq=False)
class _Tally:
    """Of a block: the least priced costs, the largest costs, the weights of the rows (K,), and the size of it all."""

    least: float
    dearest: float
    weights: FloatArray
    size: float


def excluded(source: BlockSource, prices: FloatArray, threads: int) -> bool:
    """Whether these prices `mu` (K,), taken some times over, prove that no selection is within the budgets."""
    mu = FURTHER * prices
    quantities = (source.objective, *source.rows)

    def tally(block: Block, _: list[FloatArray]) -> _Tally:
        costs = block.columns[source.objective.column] * source.objective.sign
        if source.objective.weights is not None:
            costs = costs * block.weights[source.objective.weights][:, None]
        allowed = np.ones(costs.shape, np.bool_) if block.allowed is None else block.allowed
        priced = priced_costs(block, quantities, np.concatenate([[1.0], mu]))
        least = least_of_rows(priced)
        dearest = largest_of_rows(np.where(allowed, costs, -np.inf))
        weights = [block.images if r.weights is None else block.weights[r.weights].sum() for r in source.rows]
        size = float(np.abs(least).sum() + np.abs(np.where(allowed, costs, 0.0)).sum())
        return _Tally(accurate_sum(least), accurate_sum(dearest), np.array(weights, dtype=np.float64), size)

    parts = list(in_parallel(tally, source.blocks(), threads))
    totals = np.sum([part.weights for part in parts], axis=0)
    paid = mu * totals * np.array([row.budget for row in source.rows])
    bound = accurate_sum(np.concatenate([[part.least for part in parts], -paid]))
    dearest = accurate_sum(np.array([part.dearest for part in parts]))
    size = sum(part.size for part in parts) + float(np.abs(paid).sum())
    # The tolerance of budgets, and rounding: far below what this is to show.
    return bool(bound - dearest > (1e-11 + 1e3 * EPS) * size)
