"""SWD against plain loops, against the distance that the metric computes, and between shares."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats

from rdp.analysis.sets.cells import ProjectionCells, projection_cells
from rdp.analysis.sets.sliced import SlicedScorer, sliced_distance
from rdp.errors import MetricError
from rdp.metrics import wasserstein

MakeProjections = Callable[..., ProjectionCells]


def test_it_is_the_distance_of_the_metric_on_the_same_patches() -> None:
    rng = np.random.default_rng(1)
    originals = [rng.integers(0, 256, (48, 64, 3)).astype(np.uint8) for _ in range(3)]
    others = [np.clip(image + rng.normal(0, 9, image.shape), 0, 255).astype(np.uint8) for image in originals]
    first, second = (wasserstein.descriptors(images, patches=20, seed=4) for images in (originals, others))
    wanted = wasserstein.sliced_wasserstein(first, second, projections=16, seed=4)
    statistics = [wasserstein.channel_statistics(level) for level in first]
    along = wasserstein.directions(first[0].shape[-1], 16, 4)

    def projections(levels: list[np.ndarray], image: int) -> np.ndarray:
        return np.stack(
            [
                wasserstein.image_projections(level[image], of, along)
                for level, of in zip(levels, statistics, strict=True)
            ]
        )

    a, b = ([projections(levels, image) for image in range(3)] for levels in (first, second))
    found = sliced_distance(a, b)
    # The metric subtracts in float32, what is here in float64.
    assert found.value == pytest.approx(wanted.mean, rel=1e-6)
    assert found.levels == pytest.approx(wanted.levels, rel=1e-6)
    assert found.patches == 60 and found.directions == 16 and found.warnings == ()


def test_between_shares_it_is_the_distance_of_weighted_sets_on_each_row(make_projections: MakeProjections) -> None:
    cells = make_projections(2)
    shares = np.random.default_rng(2).dirichlet(np.ones(3), 4)
    weights = np.repeat(shares.ravel(), 6)
    rows = []
    for level in range(2):
        for direction in range(5):
            mixture = np.concatenate([cell[level, direction] for row in cells.cells for cell in row])
            own = np.concatenate([part[level, direction] for part in cells.reference])
            rows.append(scipy.stats.wasserstein_distance(mixture, own, weights))
    assert SlicedScorer(cells).relaxed(shares).value == pytest.approx(np.mean(rows), rel=1e-9)


def test_levels_are_scored_apart(make_projections: MakeProjections) -> None:
    cells = make_projections(3, images=40, shape=(3, 20, 6))  # more rows than are done at a time
    scorer, choice = SlicedScorer(cells), np.arange(40) % 3
    wanted = sliced_distance(cells.reference, [row[p] for row, p in zip(cells.cells, choice, strict=True)])
    np.testing.assert_allclose(scorer.level_scores(choice), wanted.levels, rtol=1e-12)
    assert scorer.score(choice) == pytest.approx(wanted.value, rel=1e-12)


def test_equal_numbers_signed_zeros_and_great_ones_are_put_in_order() -> None:
    row = np.array([-3e38, -1e-40, -0.0, 0.0, 0.0, 1e-40, 2.0, 3e38], np.float32)
    other = np.array([-2.0, -2.0, -0.0, 0.0, 1.0, 2.0, 2.0, 2.0], np.float32)
    cells = projection_cells({"a": row[None, None]}, {("a", "p"): other[None, None]}, ["p"])
    scorer = SlicedScorer(cells)
    wanted = np.abs(row.astype(float) - other.astype(float)).mean()
    assert scorer.relaxed(np.ones((1, 1))).value == pytest.approx(wanted, rel=1e-12)
    assert scorer.score(np.zeros(1, int)) == pytest.approx(wanted, rel=1e-12)


def test_identical_sets_are_at_distance_zero_and_named(make_projections: MakeProjections) -> None:
    cells = make_projections(4)
    found = sliced_distance(cells.reference, cells.reference[::-1])
    assert found.value == 0 and found.warnings == (
        "the two sets are identical (24 patches): is a set compared with itself?",
    )


def test_sets_that_have_no_distance_are_refused_with_the_number(make_projections: MakeProjections) -> None:
    a = list(make_projections(5).reference)
    for wrong, message in (
        ((a, []), "sets of 4 and 0 images"),
        ((a, a[:3]), "sets of 24 and 18 patches"),
        ((a, [part[:1] for part in a]), "one number of levels"),
        ((a, [*a[:3], a[3] * np.nan]), "not finite"),
    ):
        with pytest.raises(MetricError, match=message):
            sliced_distance(*wrong)
