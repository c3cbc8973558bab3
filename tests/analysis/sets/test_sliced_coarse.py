"""The coarse form of SWD: below the distance everywhere, convex, near with many bins, and plain sums of integrals."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from rdp.analysis.sets.cells import ProjectionCells
from rdp.analysis.sets.sliced import SlicedScorer
from rdp.analysis.sets.sliced_coarse import CoarseSliced, bins_within

MakeProjections = Callable[..., ProjectionCells]


def coarse_of(scorer: SlicedScorer, cells: ProjectionCells, bins: int) -> CoarseSliced:
    """The coarse form with so many bins, from rows that are put in order here."""
    levels, directions, each = cells.shape
    rows = []
    for row in range(levels * directions):
        parts = [cell.reshape(-1, each)[row] for image in cells.cells for cell in image]
        parts.append(np.concatenate([part.reshape(-1, each)[row] for part in cells.reference]))
        owners = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        values = np.concatenate(parts)
        order = np.argsort(values, kind="stable")
        rows.append((values[order], owners[order].astype(np.uint16)))
    of = {"images": scorer.images, "points": scorer.points, "total": scorer.images * each, "bins": bins}
    return CoarseSliced(rows, levels * directions, **of)


def by_integrals(cells: ProjectionCells, shares: np.ndarray, bins: int) -> float:
    """The same by loops: in each bin the integral of F_x - F_r, piece by piece between neighbours."""
    levels, directions, each = cells.shape
    total, rows = each * len(cells.images), levels * directions
    whole = 0.0
    for row in range(rows):
        parts = [(cell.reshape(-1, each)[row], share) for image, weights in zip(cells.cells, shares, strict=True)
                 for cell, share in zip(image, weights, strict=True)]  # fmt: skip
        parts += [(part.reshape(-1, each)[row], -1.0) for part in cells.reference]
        values = np.concatenate([part for part, _ in parts]).astype(np.float64)
        mass = np.concatenate([np.full(len(part), share) for part, share in parts])
        order = np.argsort(values, kind="stable")
        values, height = values[order], np.cumsum(mass[order])
        pieces = height[:-1] * np.diff(values)
        ends = np.linspace(0, len(values), bins + 1).astype(int)
        whole += sum(abs(pieces[a:b].sum()) for a, b in itertools.pairwise(ends.tolist()))
    return whole / (total * rows)


@pytest.mark.parametrize("bins", [4, 7])
def test_it_is_the_sum_of_absolute_integrals_over_bins(make_projections: MakeProjections, bins: int) -> None:
    cells = make_projections(3)
    coarse = coarse_of(SlicedScorer(cells), cells, bins)
    rng = np.random.default_rng(0)
    for _ in range(5):
        shares = rng.dirichlet(np.ones(3), 4)
        assert coarse.relaxed(shares).value == pytest.approx(by_integrals(cells, shares, bins), rel=2e-4)


@pytest.mark.parametrize("seed", range(4))
def test_it_and_its_tangents_are_nowhere_above_the_distance(make_projections: MakeProjections, seed: int) -> None:
    scorer = SlicedScorer(make_projections(seed, images=5, points=4, shape=(2, 16, 20)))
    coarse = scorer.below()
    assert coarse is not None
    rng = np.random.default_rng(seed)
    for k in range(20):
        first = rng.dirichlet(np.ones(4), 5)
        second = np.eye(4)[rng.integers(0, 4, 5)] if k % 2 else rng.dirichlet(np.ones(4), 5)
        here, true = coarse.relaxed(first), scorer.relaxed(second).value
        assert here.value + (here.gradient * (second - first)).sum() <= true
        assert coarse.relaxed(second).value <= true
        # With as many bins as this it is no idle bound.
        assert coarse.relaxed(second).value >= 0.8 * true


def test_an_exchange_has_the_values_of_the_form_at_every_change(make_projections: MakeProjections) -> None:
    cells = make_projections(1)
    scorer = SlicedScorer(cells)
    coarse = coarse_of(scorer, cells, 8)
    choice = np.array([0, 2, 1, 1])
    exchange = coarse.exchange(choice)
    for image, point in [(0, 1), (3, 2), (0, 2), (2, 0)]:
        for other, value in enumerate(exchange.values(image)):
            changed = exchange.choice
            changed[image] = other
            assert value == pytest.approx(coarse.relaxed(np.eye(3)[changed]).value, rel=1e-4)
            assert value <= scorer.score(changed)
        exchange.set(image, point)
        assert exchange.value == pytest.approx(coarse.score(exchange.choice), rel=1e-9)


def test_bins_are_as_many_as_the_memory_holds() -> None:
    assert bins_within(10, 10, 4 * 100 * 50) == 50
    assert bins_within(10, 10, 1 << 40) == 256
    assert bins_within(10, 10, 4 * 100 * 3) == 0
