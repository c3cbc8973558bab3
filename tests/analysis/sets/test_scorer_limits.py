"""Singular covariances, memory that is not enough, and what the scorers say about themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg

from rdp.analysis.sets import kernel_scorer
from rdp.analysis.sets.cells import FeatureCells, ProjectionCells
from rdp.analysis.sets.frechet_scorer import FrechetScorer
from rdp.analysis.sets.kernel import kernel_distance
from rdp.analysis.sets.kernel_scorer import KernelScorer
from rdp.analysis.sets.shares import shares_of
from rdp.analysis.sets.sliced import SlicedScorer
from rdp.errors import MetricError

MakeFeatures = Callable[..., FeatureCells]
MakeProjections = Callable[..., ProjectionCells]


def changed(cells: FeatureCells, change: Callable[[np.ndarray], np.ndarray], originals: bool = True) -> FeatureCells:
    """Every cell changed, and every original."""
    return replace(
        cells,
        reference=tuple(change(part) if originals else part for part in cells.reference),
        cells=tuple(tuple(change(cell) for cell in row) for row in cells.cells),
    )


def formula(cells: FeatureCells, shares: np.ndarray) -> float:
    """The FID of a mixture with fractional shares, patch by patch, with weights and divisor M - 1."""
    originals, size = cells.originals().astype(float), cells.patches
    rows = np.concatenate([cell for row in cells.cells for cell in row]).astype(float)
    weights = np.concatenate(
        [
            np.full(len(cell), share)
            for row, of in zip(cells.cells, shares, strict=True)
            for cell, share in zip(row, of, strict=True)
        ]
    )
    mean = weights @ rows / size
    covariance = ((rows - mean) * weights[:, None]).T @ (rows - mean) / (size - 1)
    own = np.cov(originals, rowvar=False)
    eigenvalues = np.sort(scipy.linalg.eigvals(own @ covariance).real)[-min(size - 1, cells.dimensions) :]
    return float(
        np.sum((mean - originals.mean(axis=0)) ** 2) + np.trace(covariance + own) - 2 * np.sqrt(eigenvalues).sum()
    )


@pytest.mark.parametrize("dimensions", [8, 24])
def test_between_choices_the_convex_form_of_fid_lies_below_the_formula_by_what_is_said(
    make_features: MakeFeatures, dimensions: int
) -> None:
    cells = make_features(1, dimensions=dimensions)
    scorer = FrechetScorer(cells)
    shortfall = scorer.facts()["convex_shortfall"]
    rng = np.random.default_rng(1)
    for _ in range(10):
        shares = rng.dirichlet(np.ones(3), 4)
        wanted = formula(cells, shares)
        assert wanted - shortfall <= scorer.relaxed(shares).value <= wanted * (1 + 1e-9)
    assert 0 < shortfall < 0.2 * wanted  # of 14 patches


def test_the_formula_of_fid_with_divisor_m_less_one_is_not_convex_but_the_convex_form_is(
    make_features: MakeFeatures,
) -> None:
    """Constant originals, so T is 0, and constant cells: what remains is (M q(x) - |d(x)|^2) / (M - 1)."""
    cells = make_features(2, counts=(2, 2), points=2)
    still = replace(
        cells,
        reference=tuple(np.zeros_like(part) for part in cells.reference),
        cells=tuple(tuple(np.full_like(cell, p) for p, cell in enumerate(row)) for row in cells.cells),
    )
    ends = [shares_of(np.full(2, point), 2) for point in (0, 1)]
    middle = np.full((2, 2), 0.5)
    assert formula(still, middle) > np.mean([formula(still, end) for end in ends]) + 0.1
    scorer = FrechetScorer(still)
    values = [scorer.relaxed(end).value for end in ends]
    assert values == pytest.approx([formula(still, end) for end in ends], abs=1e-9)
    assert scorer.relaxed(middle).value <= np.mean(values) + 1e-9


@pytest.mark.parametrize("dimensions", [8, 24])
@pytest.mark.parametrize("kind", ["constant cells", "few directions in cells", "few directions in all", "constant all"])
def test_bounds_of_fid_hold_where_covariances_are_singular(
    make_features: MakeFeatures, dimensions: int, kind: str
) -> None:
    def flat(part: np.ndarray) -> np.ndarray:
        return np.concatenate([part[:, :3], np.zeros_like(part[:, 3:])], axis=1)

    cells = make_features(3, dimensions=dimensions)
    if kind.startswith("constant"):
        cells = changed(cells, lambda part: np.full_like(part, part[0, 0]), originals=kind.endswith("all"))
    else:
        cells = changed(cells, flat, originals=kind.endswith("all"))
    # One point of full rank, so that others lie where the tangent has no slope to go by.
    full = make_features(3, dimensions=dimensions)
    cells = replace(
        cells, cells=tuple((*row[:2], other[2]) for row, other in zip(cells.cells, full.cells, strict=True))
    )
    scorer = FrechetScorer(cells)
    trace = float(np.trace(np.cov(full.originals(), rowvar=False)))
    tolerance = (1e-6 if dimensions == 8 else 1e-10) * trace
    rng = np.random.default_rng(3)
    ends = [shares_of(np.full(4, point), 3) for point in range(3)]
    tried = [*ends, *(rng.dirichlet(np.ones(3), 4) for _ in range(4))]
    found = [scorer.relaxed(shares) for shares in tried]
    for shares, at in zip(tried, found, strict=True):
        assert np.isfinite(at.value) and np.isfinite(at.gradient).all()
        for other, there in zip(tried, found, strict=True):
            assert at.value + np.sum(at.gradient * (other - shares)) <= there.value + tolerance
    for point, at in enumerate(found[:3]):
        assert at.value == pytest.approx(scorer.score(np.full(4, point)), abs=tolerance)
    if dimensions == 8 and kind.endswith("all"):
        assert "singular to rounding (rank" in scorer.facts()["warnings"][0]


def test_more_cells_than_a_block_holds_are_summed_alike(
    make_features: MakeFeatures, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = make_features(4)
    choice = np.array([2, 0, 1, 1])
    for subsets in ({}, {"subsets": 3, "subset_size": 4, "seed": 1}):
        whole = KernelScorer(cells, **subsets)
        monkeypatch.setattr(kernel_scorer, "ROWS", 4)
        pieces = KernelScorer(cells, **subsets)
        monkeypatch.undo()
        wanted = kernel_distance(cells.originals(), cells.mixture(choice), **subsets)
        for scorer in (whole, pieces):
            assert scorer.score(choice) == pytest.approx(wanted.value, rel=1e-10)
            assert scorer.biased(choice) == pytest.approx(wanted.biased, rel=1e-10)


def test_too_little_memory_is_refused_with_the_bytes_that_are_needed(make_features: MakeFeatures) -> None:
    cells = make_features(5)
    with pytest.raises(MetricError, match=r"needs 1152 bytes for the pairs of cells, and 1151 are allowed"):
        KernelScorer(cells, memory=1151)
    with pytest.raises(MetricError, match=r"needs 2304 bytes for sums of features, and 2303 are allowed"):
        FrechetScorer(cells, memory=2303)
    assert KernelScorer(cells, memory=1152).facts()["nbytes"] == 1152
    kept, lean = FrechetScorer(cells).facts()["nbytes"], FrechetScorer(cells, memory=2304).facts()["nbytes"]
    assert kept - lean == 8 * 3 * 14**2


def test_a_set_of_one_patch_is_refused(make_features: MakeFeatures) -> None:
    cells = make_features(6, counts=(1,))
    for scorer in (KernelScorer, FrechetScorer):
        with pytest.raises(MetricError, match="a set of 1 patches has no"):
            scorer(cells)


def test_facts_say_what_the_numbers_stand_on(make_features: MakeFeatures, make_projections: MakeProjections) -> None:
    cells = make_features(7)
    fid = FrechetScorer(cells, name="fid_test")
    assert fid.name == "fid_test" and fid.facts()["way"] == "low-rank"
    assert "14 patches of 24 dimensions" in fid.facts()["warnings"][0]
    kid = KernelScorer(cells, subsets=2, subset_size=5, seed=9).facts()
    assert (kid["subsets"], kid["subset_size"], kid["seed"], kid["kernel"]) == (2, 5, 9, "((x.y)/D + 1)^3")
    swd = SlicedScorer(make_projections(7, images=2), memory=1000).facts()
    # 2 images of 6 patches at 3 points and as originals: 48 projections a row, of 6 bytes each in their order.
    assert swd["rows_kept_in_order"] == 1000 // (48 * 6) and swd["patches"] == 12


def test_random_blocks_of_kid_come_near_the_whole(make_features: MakeFeatures) -> None:
    """The mean over subsets drawn apart for originals and mixture is that of all patches, to what chance leaves."""
    cells = make_features(8, counts=(20, 20, 20, 20))
    choice = np.array([0, 1, 2, 0])
    whole = kernel_distance(cells.originals(), cells.mixture(choice))
    parts = [KernelScorer(cells, subsets=40, subset_size=20, seed=seed).score(choice) for seed in range(5)]
    assert np.mean(parts) == pytest.approx(whole.value, abs=4 * np.std(parts) / np.sqrt(len(parts)) + 1e-12)
