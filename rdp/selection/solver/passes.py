"""`solve_blocks`: a certified selection from a few passes over a table of any size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np

from rdp.selection.linear import MEAN_TOLERANCE, ROUNDING, LinearForm
from rdp.selection.problem import BoolArray, FloatArray, IntArray
from rdp.selection.result import SMALLEST_OBJECTIVE
from rdp.selection.solver.blocks import Block, BlockSource, Row, collected, processors
from rdp.selection.solver.certified import solve_form
from rdp.selection.solver.dual import Dual, Relaxation
from rdp.selection.solver.impossible import excluded
from rdp.selection.solver.sieve import EPS, Sifted, sift
from rdp.selection.status import Status
from rdp.selection.sums import accurate_sum, largest_of_rows, least_of_rows

FIRST, SECOND = 4_096, 98_304
"""Images of the two samples."""
SAFETY = 2.0
"""Boxes reach so many standard errors of the sample's budgets."""
NARROWEST = 1e-6
"""And at least this part of the price."""
WIDENING = 4.0
SPARED = 0.01
"""The prices are found to this part of the gap; the rest of it is for the selection."""
PAIRWISE = 64.0
"""A bound of the rounding of NumPy's sums of a block, in units of the roundoff of the sum of absolute terms."""
PASSES = 4
"""Passes after which the prices at the border of the box have to do."""


@dataclass(frozen=True, eq=False)
class BlockAnswer:
    """What passes over blocks found. `choice` (N,) is None where there is no selection.

    `objective` and `bound` are of the minimised average, sign included; `averages` (K,) those of the rows, without
    their signs. `prices` (K,) are of the budgets, or None; `note` says why. `passes` over all images were made,
    `left_open` images were left for the exact part, and `split` of them were undecided in the relaxation.
    """

    status: Status
    choice: IntArray | None
    objective: float
    bound: float
    averages: FloatArray
    prices: FloatArray | None
    images: int
    note: str = ""
    passes: int = 0
    left_open: int = 0
    split: int | None = None


@dataclass(frozen=True, eq=False)
class _Box:
    """A box of prices `mu`."""

    low: FloatArray
    high: FloatArray

    @classmethod
    def around(cls, centre: FloatArray, reach: FloatArray) -> _Box:
        return cls(np.maximum(centre - reach, 0.0), centre + reach)

    def stops(self, prices: FloatArray) -> BoolArray:
        """Which prices are where the box ends, though they could go on."""
        width = self.high - self.low
        return (prices >= self.high - 1e-3 * width) | ((prices <= self.low + 1e-3 * width) & (self.low > 0))


def solve_blocks(source: BlockSource, *, gap: float, ends: float = math.inf, threads: int | None = None) -> BlockAnswer:
    """The best selection that can be had in a few passes, with a bound that is certified in float64.

    `gap` is the relative distance from the bound that is good enough, `ends` a `perf_counter` time. An optimal status
    means within the gap, as everywhere; where that is not reached, the status is feasible and the bound says how far.
    """
    workers = processors() if threads is None else threads
    start = _from_samples(source, workers)
    if isinstance(start, BlockAnswer):
        return start
    centre, reach, about = start
    for turn in range(PASSES):
        box = _Box.around(centre, reach)
        priced = _priced(source, sift(source, source.blocks(), box.low, box.high, workers), box, gap, about, ends)
        stopped = box.stops(priced.prices * priced.core.ratio)
        if not stopped.any() or turn == PASSES - 1 or perf_counter() > ends:
            break
        centre, reach = priced.prices * priced.core.ratio, np.where(stopped, reach * WIDENING, reach)
    return replace(_searched(source, priced, gap, ends), passes=turn + 1)


def _from_samples(source: BlockSource, workers: int) -> tuple[FloatArray, FloatArray, float] | BlockAnswer:
    """Prices `mu` of a sample, how far those of all images may be from them, and the size of its bound.

    Where a sample has no prices: the answer that the budgets exclude each other, if that is proven, or none.
    """
    block = collected(list(source.sample(FIRST)))
    quantities = (source.objective, *source.rows)
    core = core_form(block, quantities, None)
    dual = Dual(core.form)
    relaxation = dual.maximise(within=1e-7 * abs(core.form.offset))
    if relaxation.prices is None:
        if relaxation.infeasible and relaxation.best is not None:
            mu = relaxation.best * core.ratio
            if mu.any() and excluded(source, mu, workers):
                return replace(_unknown(source, ""), status=Status.INFEASIBLE)
        return _unknown(source, "the budgets are hardly met by a sample of the images, if at all")
    about = abs(core.form.offset + relaxation.bound)
    centre = relaxation.prices * core.ratio
    reach = _spread(dual, core, relaxation, source.rows, block) * core.ratio
    if block.images < FIRST:
        return centre, reach, about
    for _ in range(PASSES):
        box = _Box.around(centre, reach * math.sqrt(1 + FIRST / SECOND))
        sifted = sift(source, source.sample(SECOND), box.low, box.high, workers)
        count = sifted.settled.images
        inner = core_form(sifted.block, quantities, sifted)
        better = Dual(inner.form, box.low / inner.ratio, box.high / inner.ratio).maximise(within=1e-6 * about)
        prices = (better.best if better.best is not None else relaxation.prices) * inner.ratio
        stopped = box.stops(prices)
        if not stopped.any():
            return prices, reach * math.sqrt(block.images / count), about
        centre, reach = prices, np.where(stopped, reach * WIDENING, reach)
    return centre, reach, about


def _spread(dual: Dual, core: Core, relaxation: Relaxation, rows: Sequence[Row], block: Block) -> FloatArray:
    """How far the prices (K,) are from those of other samples of that size: budgets off by their standard errors.

    Rows of one quantity, such as a budget on both sides, are off together.
    """
    form = core.form
    prices = np.zeros(len(rows)) if relaxation.prices is None else relaxation.prices
    reduced = np.where(form.allowed, form.cost, np.inf) + np.tensordot(prices, form.coefficients, axes=1)
    choice = reduced.argmin(axis=1)
    spread = np.zeros(len(rows))
    for quantity in dict.fromkeys((row.column, row.weights) for row in rows):
        own = [k for k, row in enumerate(rows) if (row.column, row.weights) == quantity]
        error = SAFETY * _standard_error(block, rows[own[0]], choice)
        moved = np.zeros(len(rows))
        for direction in (1.0, -1.0):
            budgets = form.budgets.copy()
            for k in own:
                budgets[k] = max(budgets[k] + direction * rows[k].sign * error, 0.0)
            dual.with_budgets(replace(form, budgets=budgets))
            other = dual.maximise(prices, within=1e-6 * abs(form.offset))
            found = np.zeros(len(rows)) if other.prices is None else other.prices
            moved = np.maximum(moved, np.abs(found - prices))
        spread += moved**2
    ranges = np.array([float(largest_of_rows(values).sum()) or 1.0 for values in form.coefficients])
    scale = float(np.where(form.allowed, form.cost, 0.0).max(axis=1).sum()) / ranges
    return np.maximum(np.sqrt(spread), NARROWEST * np.maximum(prices, scale))


def _standard_error(block: Block, row: Row, choice: IntArray) -> float:
    """Of the average of a sample's choice."""
    values = block.columns[row.column][np.arange(block.images), choice]
    weights = np.ones(block.images) if row.weights is None else block.weights[row.weights]
    average = float((weights * values).sum() / weights.sum())
    return float(np.sqrt(((weights * (values - average)) ** 2).sum()) / weights.sum())


@dataclass(frozen=True, eq=False)
class Core:
    """Open images as a form whose costs are parts of the averages over all. `ratio` (K,): prices of averages times
    this are prices `mu`. `error` is a bound of
    the rounding in what the settled images add to the bound."""

    form: LinearForm
    ratio: FloatArray
    error: float


def core_form(block: Block, quantities: Sequence[Row], sifted: Sifted | None) -> Core:
    """The form of a block on its own, or of the open images of a pass with what the settled ones spend."""
    count = block.images
    allowed = np.ones(block.columns[0].shape, np.bool_) if block.allowed is None else block.allowed
    own = [np.ones(count) if quantity.weights is None else block.weights[quantity.weights] for quantity in quantities]
    totals = np.array([w.sum() for w in own]) if sifted is None else sifted.settled.weights
    settled = np.zeros(len(quantities)) if sifted is None else sifted.settled.values / totals
    largest = np.zeros(len(quantities)) if sifted is None else sifted.largest
    folded, least = [], []
    for quantity, weights, total in zip(quantities, own, totals.tolist(), strict=True):
        values = np.where(allowed, block.columns[quantity.column], 0.0) * quantity.sign
        share = (weights / total)[:, None]
        low = least_of_rows(np.where(allowed, values, np.inf))[:, None]
        folded.append(np.where(allowed, (values - low) * share, 0.0))
        least.append(accurate_sum(low * share))
    budgets = np.array([quantity.budget for quantity in quantities[1:]])
    size = np.maximum(np.abs(budgets), largest[1:])
    rooms = budgets + (1.01 * MEAN_TOLERANCE + ROUNDING) * size - settled[1:] - np.array(least[1:])
    raw = np.array(folded[1:]).reshape(len(quantities) - 1, *allowed.shape)
    error = 0.0 if sifted is None else PAIRWISE * EPS * float((sifted.settled.sizes / totals)[0])
    form = LinearForm(
        cost=folded[0],
        offset=settled[0] + least[0],
        coefficients=raw,
        budgets=rooms,
        allowed=allowed,
        rows=tuple(range(len(budgets))),
    )
    return Core(form, totals[0] / totals[1:], error)


@dataclass(frozen=True, eq=False)
class _Priced:
    """What a pass left, with its relaxation: the prices (K,) of averages where the `bound` of all images is highest."""

    sifted: Sifted
    core: Core
    dual: Dual
    relaxation: Relaxation
    prices: FloatArray
    bound: float
    error: float


def _priced(source: BlockSource, sifted: Sifted, box: _Box, gap: float, about: float, ends: float) -> _Priced:
    """The relaxation of what one pass left, and the bound that it gives, which is `about` so large."""
    core = core_form(sifted.block, (source.objective, *source.rows), sifted)
    form, settled = core.form, sifted.settled
    low = box.low / core.ratio
    dual = Dual(form, low, box.high / core.ratio)
    relaxation = dual.maximise(within=SPARED * gap * about, ends=ends)
    prices = low if relaxation.best is None else relaxation.best
    error = core.error + PAIRWISE * EPS * float(prices @ (settled.sizes / settled.weights)[1:])
    return _Priced(sifted, core, dual, relaxation, prices, form.offset + relaxation.bound - error, error)


def _searched(source: BlockSource, priced: _Priced, gap: float, ends: float) -> BlockAnswer:
    """The selection that is found among the open images."""
    form, sifted, relaxation = priced.core.form, priced.sifted, priced.relaxation
    gap_abs = max(gap * abs(priced.bound) - priced.error, 0.0)
    _, best = solve_form(form, relaxation, priced.dual, gap_abs, ends, exact=False)
    answer = replace(
        _unknown(source, relaxation.note),
        bound=priced.bound,
        prices=relaxation.prices,
        images=sifted.settled.images,
        left_open=len(sifted.images),
        split=relaxation.split,
    )
    if best.choice is None:
        return answer
    choice = sifted.base.copy()
    choice[sifted.images] = sifted.points[np.arange(len(sifted.images)), best.choice]
    objective = form.offset + best.cost
    proven = objective - priced.bound <= gap * max(abs(objective), SMALLEST_OBJECTIVE)
    return replace(
        answer,
        status=Status.OPTIMAL if proven else Status.FEASIBLE,
        choice=choice,
        objective=objective,
        averages=_averages(source.rows, sifted, best.choice),
    )


def _averages(rows: Sequence[Row], sifted: Sifted, choice: IntArray) -> FloatArray:
    """The averages (K,) of a choice of the open images together with the settled ones."""
    images = np.arange(len(choice))
    out = []
    for k, row in enumerate(rows):
        picked = sifted.block.columns[row.column][images, choice]
        if row.weights is not None:
            picked = picked * sifted.block.weights[row.weights]
        total = sifted.settled.values[k + 1] * row.sign + accurate_sum(picked)
        out.append(total / sifted.settled.weights[k + 1])
    return np.array(out)


def _unknown(source: BlockSource, note: str) -> BlockAnswer:
    nothing = np.full(len(source.rows), math.nan)
    return BlockAnswer(Status.UNKNOWN, None, math.nan, -math.inf, nothing, None, 0, note)
