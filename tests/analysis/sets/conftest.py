"""Sets of images that are made up: features and projections of a few images at a few points."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from rdp.analysis.sets.cells import FeatureCells, ProjectionCells, feature_cells, projection_cells

MakeFeatures = Callable[..., FeatureCells]
MakeProjections = Callable[..., ProjectionCells]


def _features(
    seed: int = 0, *, counts: Sequence[int] = (3, 5, 2, 4), points: int = 3, dimensions: int = 24
) -> FeatureCells:
    """Patches of an image are alike, points add noise and pull towards zero, and dimensions vary unequally."""
    rng = np.random.default_rng(seed)
    scale = 2.0 ** -np.linspace(0, 3, dimensions)
    names = [f"p{point}" for point in range(points)]
    reference, cells = {}, {}
    for image, count in enumerate(counts):
        original = (1 + rng.normal(size=dimensions) + rng.normal(size=(count, dimensions))) * scale
        reference[f"i{image}"] = original.astype(np.float32)
        for point, name in enumerate(names):
            noise = rng.normal(size=original.shape) * scale
            cells[f"i{image}", name] = (original * (1 - 0.1 * point) + 0.2 * (point + 1) * noise).astype(np.float32)
    return feature_cells(reference, cells, names)


def _projections(
    seed: int = 0, *, images: int = 4, points: int = 3, shape: tuple[int, int, int] = (2, 5, 6)
) -> ProjectionCells:
    rng = np.random.default_rng(seed)
    names = [f"p{point}" for point in range(points)]
    reference, cells = {}, {}
    for image in range(images):
        original = rng.normal(size=shape) + rng.normal(size=(*shape[:2], 1))
        reference[f"i{image}"] = np.sort(original, axis=2).astype(np.float32)
        for point, name in enumerate(names):
            changed = original * (1 - 0.1 * point) + 0.2 * rng.normal(size=shape)
            cells[f"i{image}", name] = np.sort(changed, axis=2).astype(np.float32)
    return projection_cells(reference, cells, names)


@pytest.fixture(scope="session")
def make_features() -> MakeFeatures:
    """`make_features(seed, counts=patches of each image, points=, dimensions=)`."""
    return _features


@pytest.fixture(scope="session")
def make_projections() -> MakeProjections:
    """`make_projections(seed, images=, points=, shape=(levels, directions, patches))`."""
    return _projections
