"""Patches: counts by the published rule, pixels where they belong, and no image that goes unseen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rdp.errors import MetricError, SpecError
from rdp.metrics.patches import PUBLISHED, PatchGrid


def unfolded(image: np.ndarray, side: int, shift: int) -> np.ndarray:
    """The tiles of an image whose first `shift` rows and columns are cut off, as `torch.unfold` gives them."""
    rest = image[shift:, shift:]
    if min(rest.shape[:2]) < side:
        return np.empty((0, side, side, 3), np.uint8)
    columns = torch.nn.functional.unfold(
        torch.from_numpy(rest.astype(np.float32)).permute(2, 0, 1)[None], kernel_size=side, stride=side
    )
    tiles = columns[0].T.reshape(-1, 3, side, side).permute(0, 2, 3, 1)
    return tiles.numpy().astype(np.uint8)


def test_the_patches_of_kodak_are_as_many_as_published(shared: Path) -> None:
    files = sorted((shared / "data" / "kodak").glob("*.png"))
    sizes = [Image.open(path).size for path in files]
    images, patches = PUBLISHED["kodak"]
    assert len(sizes) == images
    assert sum(PatchGrid().count(width, height) for width, height in sizes) == patches == 192


@pytest.mark.parametrize(
    ("width", "height", "first", "shifted"),
    [
        (768, 512, 6, 2),
        (512, 768, 6, 2),
        (2040, 1356, 35, 28),  # what most images of DIV2K measure
        (2040, 2040, 49, 49),  # the paper's rule would give 36 shifted ones
        (2040, 768, 21, 14),
        (2048, 1365, 40, 28),  # CLIC
        (1200, 1803, 28, 24),
        (256, 256, 1, 0),
        (383, 1000, 3, 0),
        (384, 384, 1, 1),
        (255, 4000, 0, 0),
    ],
)
def test_a_size_gives_the_patches_of_both_grids(width: int, height: int, first: int, shifted: int) -> None:
    assert PatchGrid.of(shifted=False).count(width, height) == first
    assert PatchGrid().count(width, height) == first + shifted
    assert PatchGrid(256, (128,)).count(width, height) == shifted


@given(
    height=st.integers(1, 40), width=st.integers(1, 40), side=st.integers(2, 16), offsets=st.sets(st.integers(0, 15))
)
def test_patches_are_the_tiles_that_unfolding_gives(height: int, width: int, side: int, offsets: set[int]) -> None:
    offsets = {offset for offset in offsets if offset < side} or {0}
    grid = PatchGrid(side, tuple(sorted(offsets)), "none")
    image = np.random.default_rng(height * 41 + width).integers(0, 256, (height, width, 3), np.uint8)
    expected = np.concatenate([unfolded(image, side, offset) for offset in sorted(offsets)])
    patches = grid.cut(image)
    assert patches.dtype == np.uint8
    assert np.array_equal(patches, expected)
    assert len(patches) == grid.count(width, height)


def test_held_out_patches_are_none_of_the_others() -> None:
    grid = PatchGrid()
    other = grid.held_out()
    assert other.offsets == (64, 192)
    assert not set(grid.positions(2040, 1356)) & set(other.positions(2040, 1356))
    assert other.count(768, 512) == 4
    with pytest.raises(SpecError, match="quarter"):
        PatchGrid(3, (0, 1)).held_out()


def test_images_without_a_patch_are_refused_by_name() -> None:
    sizes = [("fine.png", 300, 300), ("flat.png", 4000, 255), ("tiny.png", 16, 16)]
    with pytest.raises(MetricError, match=r"2 of 3 images .*flat.png \(4000x255\), tiny.png \(16x16\)"):
        PatchGrid().check(sizes)
    with pytest.raises(MetricError, match="320 pixels .*fine.png"):
        PatchGrid().held_out().check(sizes)


@pytest.mark.parametrize("offsets", [(0, 128), (64, 192)])
def test_the_refusal_names_the_largest_side_that_fits_every_image(offsets: tuple[int, ...]) -> None:
    import re

    size = ("tiny.png", 40, 30)
    with pytest.raises(MetricError) as caught:
        PatchGrid(256, offsets).check([size, ("fine.png", 400, 400)])
    match = re.search(r"at most (\d+) pixels a side", str(caught.value))
    assert match is not None
    side = int(match[1])
    fits = [s for s in range(1, 257) if PatchGrid(s, (offsets[0] * s // 256,)).count(*size[1:])]
    assert side == max(fits)


def test_images_without_a_patch_are_named_where_they_may_have_none() -> None:
    assert PatchGrid(small="none").check([("a", 256, 256), ("b", 255, 256)]) == ("b",)
    with pytest.raises(MetricError, match="1 of 1 images"):
        PatchGrid(small="none").check([("b", 255, 256)])


def test_a_small_image_can_be_mirrored_up_to_one_patch() -> None:
    grid = PatchGrid(8, (0, 4), "mirror")
    image = np.arange(3 * 10 * 3, dtype=np.uint8).reshape(3, 10, 3)
    assert grid.check([("strip", 10, 3)]) == ()
    (patch,) = grid.cut(image)
    rows = [0, 1, 2, 2, 1, 0, 0, 1]
    assert np.array_equal(patch, image[rows][:, :8])
    # An image that has patches is not touched.
    large = np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)
    assert np.array_equal(grid.cut(large), PatchGrid(8, (0, 4)).cut(large))
    assert grid.identity != PatchGrid(8, (0, 4)).identity


@pytest.mark.parametrize("text", ["256@0,128", "16@0", "32@8,24", "7@0,3"])
def test_a_grid_is_written_as_it_is_read(text: str) -> None:
    assert PatchGrid.parse(text).name == text
    assert PatchGrid.parse("256") == PatchGrid()


@pytest.mark.parametrize("text", ["", "x", "0", "256@", "256@256", "256@0,0", "-8", "256@1.5"])
def test_what_is_no_grid_is_refused(text: str) -> None:
    with pytest.raises(SpecError):
        PatchGrid.parse(text)


def test_an_image_that_is_not_8_bit_rgb_is_refused() -> None:
    with pytest.raises(MetricError, match="float32"):
        PatchGrid.of(4).cut(np.zeros((8, 8, 3), np.float32))  # type: ignore[arg-type]
