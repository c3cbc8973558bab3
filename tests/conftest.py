"""What tests share: where the material beside the checkout lies, small images, and a summary of what was skipped."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

if "PYTEST_XDIST_WORKER" in os.environ:
    # One thread a worker: workers that each take all cores wait for one another at every layer of a network.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of test material beside the checkout; without it the test is skipped, and says so."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared, which is not on this machine")
    return SHARED


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20)


def _smooth_image(rng: np.random.Generator, height: int, width: int) -> np.ndarray[Any, Any]:
    """A picture with large and small structure (uint8, (H, W, 3)): noise alone is no image to a codec."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [
        128
        + 80 * np.sin(x / (7 + 5 * c) + rng.uniform(0, 6)) * np.cos(y / (11 + 3 * c))
        + rng.normal(0, 6, (height, width))
        for c in range(3)
    ]
    return np.clip(np.stack(planes, axis=-1), 0, 255).astype(np.uint8)


Picture = Callable[[int, int], np.ndarray[Any, Any]]


@pytest.fixture
def picture(rng: np.random.Generator) -> Picture:
    """Makes a picture of a height and a width."""
    return lambda height, width: _smooth_image(rng, height, width)


@pytest.fixture
def photos(tmp_path: Path, picture: Picture) -> Path:
    """A folder of three small PNG pictures of different sizes, one in a subfolder."""
    from rdp.images import write_png

    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for name, (height, width) in {"a.png": (40, 56), "b.png": (33, 47), "more/c.png": (64, 48)}.items():
        write_png(folder / name, picture(height, width))
    return folder
