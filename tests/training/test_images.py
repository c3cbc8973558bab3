"""Random crops, scaled crops, the numbers of an epoch, and whole images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.fabric.utilities.distributed import DistributedSamplerWrapper
from PIL import Image
from torch.utils.data import BatchSampler

from rdp.training.images import EpochSampler, Pixels, RandomCrops, WholeImages, scaled_crop

SIDE = 64


@pytest.fixture
def images(rng: np.random.Generator) -> list[Pixels]:
    """Noise: no two places of the images look alike, so that a crop tells where it is from."""
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((64, 64), (100, 80), (65, 131))]


def places(image: Pixels, crop: Pixels) -> list[tuple[int, int]]:
    """Where in an image the crop lies, by looking everywhere."""
    height, width = (n - SIDE + 1 for n in image.shape[:2])
    corners = zip(*np.nonzero((image[:height, :width] == crop[0, 0]).all(-1)), strict=True)
    return [(t, s) for t, s in corners if (image[t : t + SIDE, s : s + SIDE] == crop).all()]


def test_every_crop_is_a_part_of_an_image_and_all_images_and_both_directions_come(images: list[Pixels]) -> None:
    crops = RandomCrops(images, SIDE, seed=3)
    seen = set()
    for number in range(60):
        crop = crops[number].permute(1, 2, 0).numpy()
        found = [
            (place, flipped)
            for place, image in enumerate(images)
            for flipped in (False, True)
            if places(image, crop[:, ::-1] if flipped else crop)
        ]
        assert len(found) == 1
        seen.add(found[0])
    assert seen == {(place, flipped) for place in range(3) for flipped in (False, True)}


def test_without_flips_no_crop_is_turned(images: list[Pixels]) -> None:
    crops = RandomCrops(images, SIDE, seed=3, flip=False)
    for number in range(20):
        crop = crops[number].permute(1, 2, 0).numpy()
        assert any(places(image, crop) for image in images)


def test_crops_reach_every_edge(rng: np.random.Generator) -> None:
    image = rng.integers(0, 256, (66, 66, 3), dtype=np.uint8)
    crops = RandomCrops([image], SIDE, seed=0, flip=False)
    seen = {places(image, crops[number].permute(1, 2, 0).numpy())[0] for number in range(120)}
    assert seen == {(top, left) for top in range(3) for left in range(3)}


@pytest.mark.parametrize("scales", [(1.0, 1.0), (0.5, 0.9)])
def test_a_crop_of_the_same_number_is_the_same_crop(images: list[Pixels], scales: tuple[float, float]) -> None:
    numbers = [5, 900_000_000_000, 0, 17]
    one = RandomCrops(images, SIDE, seed=1, scales=scales)
    batch = one.__getitems__(numbers)
    assert batch.dtype == torch.uint8
    assert batch.shape == (4, 3, SIDE, SIDE)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    other = RandomCrops(images, SIDE, seed=1, scales=scales)
    for place, number in reversed(list(enumerate(numbers))):
        assert torch.equal(other[number], batch[place])


def test_another_seed_makes_other_crops(images: list[Pixels]) -> None:
    one, other = (RandomCrops(images, SIDE, seed=seed).__getitems__(range(8)) for seed in (0, 1))
    assert not torch.equal(one, other)


def test_a_scaled_crop_is_the_crop_of_the_scaled_image(picture) -> None:  # type: ignore[no-untyped-def]
    image = picture(256, 320)
    whole = np.asarray(Image.fromarray(image).resize((160, 128), Image.Resampling.LANCZOS))
    for top, left in ((0, 0), (64, 96), (31, 7), (0, 96)):
        np.testing.assert_array_equal(
            scaled_crop(image, SIDE, 0.5, top, left), whole[top : top + SIDE, left : left + SIDE]
        )


@settings(deadline=None, max_examples=60)
@given(st.integers(64, 200), st.integers(64, 200), st.floats(0.3, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_scaled_ramp_stays_a_ramp_of_the_right_slope(
    height: int, width: int, factor: float, down: float, right: float
) -> None:
    factor = min(1.0, max(factor, SIDE / min(height, width)))
    room = [max(0, int(n * factor) - SIDE) for n in (height, width)]
    top, left = int(down * room[0]), int(right * room[1])
    y, x = np.mgrid[0:height, 0:width]
    image = np.stack([y, x, np.full_like(x, 77)], axis=-1).astype(np.uint8)
    crop = scaled_crop(image, SIDE, factor, top, left).astype(float)
    assert crop.shape == (SIDE, SIDE, 3)
    assert (crop[..., 2] == 77).all()
    # Pixel centres: pixel i of the smaller image lies at (i + 1/2) / factor - 1/2 of the larger.
    expected_y = (top + np.arange(SIDE) + 0.5) / factor - 0.5
    expected_x = (left + np.arange(SIDE) + 0.5) / factor - 0.5
    inner = slice(8, -8)  # the filter has less to see at an edge of the image
    assert np.abs(crop[..., 0] - expected_y[:, None])[inner].max() <= 1
    assert np.abs(crop[..., 1] - expected_x[None, :])[:, inner].max() <= 1


def test_scaling_does_not_alias() -> None:
    board = np.indices((160, 160)).sum(0) % 2 * 255
    image = np.repeat(board[..., None], 3, axis=-1).astype(np.uint8)
    crop = scaled_crop(image, SIDE, 0.5, 8, 8).astype(float)
    assert np.abs(crop - 127.5).max() < 3


def test_scales_are_drawn_from_their_range_and_never_make_an_image_smaller_than_the_crop() -> None:
    slopes = []
    ramp = np.repeat(np.arange(240, dtype=np.uint8)[:, None, None], 240, axis=1).repeat(3, axis=2)
    crops = RandomCrops([ramp], SIDE, seed=0, scales=(0.1, 0.8))
    for number in range(80):
        column = crops[number][0, :, 0].numpy().astype(float)
        slopes.append((column[-10] - column[10]) / (SIDE - 20))
    factors = 1 / np.array(slopes)
    assert factors.min() == pytest.approx(SIDE / 240, abs=0.01)
    assert 0.7 < factors.max() < 0.82
    assert (factors < 0.3).mean() < 0.5


@pytest.mark.parametrize("size", [(64, 64), (64, 300), (301, 65)])
def test_images_of_just_the_crop_can_be_scaled(size: tuple[int, int], rng: np.random.Generator) -> None:
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    crops = RandomCrops([image], SIDE, seed=0, scales=(0.01, 1.0))
    assert crops.__getitems__(range(40)).shape == (40, 3, SIDE, SIDE)


def test_epochs_follow_one_another_without_gap() -> None:
    sampler = EpochSampler(6)
    numbers: list[int] = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        numbers += sampler
    assert numbers == list(range(18))
    assert len(sampler) == 6


@pytest.mark.parametrize("start", [0, 1, 5, 6, 8, 17])
def test_a_resumed_sampler_goes_on_where_it_was(start: int) -> None:
    sampler = EpochSampler(6, start)
    assert next(iter(sampler)) == start  # workers ask before an epoch is set
    numbers: list[int] = []
    for epoch in range(start // 6, 4):
        sampler.set_epoch(epoch)
        numbers += sampler
    assert numbers == list(range(start, 24))
    assert len(sampler) == 6


@pytest.mark.parametrize("start", [0, 8, 12, 20])
def test_two_devices_take_in_each_step_what_one_with_twice_the_batch_takes(start: int) -> None:
    size, batch = 12, 2
    whole, *samplers = EpochSampler(size, start), *(EpochSampler(size, start, 2, rank) for rank in range(2))
    for epoch in range(start // size, 3):
        for sampler in (whole, *samplers):
            sampler.set_epoch(epoch)
        together, *each = (BatchSampler(s, n, False) for s, n in zip((whole, *samplers), (4, 2, 2), strict=True))
        for expected, *taken in zip(together, *each, strict=True):
            assert all(len(numbers) == batch for numbers in taken)
            assert sorted(taken[0] + taken[1]) == expected
    assert [len(sampler) for sampler in samplers] == [6, 6]


def test_the_wrapper_of_lightning_passes_the_epoch_on() -> None:
    wrapped = [
        DistributedSamplerWrapper(EpochSampler(6), num_replicas=2, rank=rank, shuffle=False) for rank in range(2)
    ]
    for sampler in wrapped:
        sampler.set_epoch(2)
    assert [list(sampler) for sampler in wrapped] == [[12, 14, 16], [13, 15, 17]]


def test_whole_images_are_whole(images: list[Pixels]) -> None:
    whole: Sequence[torch.Tensor] = [WholeImages(images)[place] for place in range(len(WholeImages(images)))]
    assert [tuple(x.shape) for x in whole] == [(3, 64, 64), (3, 100, 80), (3, 65, 131)]
    assert all((x.permute(1, 2, 0).numpy() == image).all() for x, image in zip(whole, images, strict=True))
