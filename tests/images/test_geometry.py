"""Padding and cropping."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdp.errors import ImageError
from rdp.images import crop, pad

sides = st.integers(1, 40)


@given(sides, sides, st.integers(1, 70), st.sampled_from(["reflect", "replicate"]))
def test_padding_reaches_the_multiple_and_cropping_undoes_it(height: int, width: int, multiple: int, mode: str) -> None:
    pixels = np.random.default_rng(height * 100 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    padded = pad(pixels, multiple, mode)  # type: ignore[arg-type]
    assert padded.shape[0] % multiple == 0 and padded.shape[1] % multiple == 0
    assert padded.shape[0] - height < multiple and padded.shape[1] - width < multiple
    assert np.array_equal(crop(padded, height, width), pixels)


def test_replicate_repeats_the_edge_and_reflect_mirrors_about_it() -> None:
    row = np.arange(4, dtype=np.uint8)[None, :, None].repeat(3, axis=2)
    assert pad(row, 6, "replicate")[0, :, 0].tolist() == [0, 1, 2, 3, 3, 3]
    assert pad(row, 6, "reflect")[0, :, 0].tolist() == [0, 1, 2, 3, 2, 1]


@pytest.mark.parametrize(("multiple", "mode"), [(0, "replicate"), (-8, "reflect"), (8, "wrap")])
def test_what_makes_no_sense_is_refused(multiple: int, mode: str) -> None:
    with pytest.raises(ImageError):
        pad(np.zeros((4, 4, 3), np.uint8), multiple, mode)  # type: ignore[arg-type]


def test_an_image_cannot_be_cropped_larger() -> None:
    with pytest.raises(ImageError, match="cannot crop"):
        crop(np.zeros((4, 4, 3), np.uint8), 5, 4)
