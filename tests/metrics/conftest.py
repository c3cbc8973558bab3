"""Photographs for the metrics: crops that ship with scikit-image, and what codecs of several qualities make of them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SHARED = Path(__file__).resolve().parents[2].parent / "shared"


def compress(image: np.ndarray, quality: int) -> np.ndarray:
    """The image as JPEG of that quality gives it back."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "jpeg", quality=quality, subsampling=0)
    return np.array(Image.open(buffer).convert("RGB"))


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """A photograph of 256 x 208 pixels (W x H): every scale of MS-SSIM but the last is even."""
    from skimage import data

    return np.ascontiguousarray(data.astronaut()[:208, 100:356])


@pytest.fixture(scope="session")
def reconstructions(photo: np.ndarray) -> list[np.ndarray]:
    """The photograph at JPEG qualities 3, 30 and 95."""
    return [compress(photo, quality) for quality in (3, 30, 95)]


@pytest.fixture(scope="session")
def shared_weights() -> Path:
    """The folder of weights beside the checkout."""
    folder = SHARED / "weights"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    return folder
