"""The sliced Wasserstein distance against SciPy's filters and distances, and on sets whose distance is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy.stats import wasserstein_distance

from rdp.errors import MetricError
from rdp.metrics import wasserstein as w

KERNEL = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256


def blurred_by_scipy(image, gain=1.0):
    return np.stack([ndimage.convolve(plane, gain * KERNEL, mode="mirror") for plane in np.moveaxis(image, 2, 0)], 2)


def pyramid_by_scipy(image, levels):
    rest, bands = image.astype(np.float64), []
    for _ in range(levels - 1):
        small = blurred_by_scipy(rest)[::2, ::2]
        zeros = np.zeros_like(rest)
        zeros[::2, ::2] = small
        bands.append(rest - blurred_by_scipy(zeros, 4.0))
        rest = small
    return [*bands, rest]


@pytest.mark.parametrize(("height", "width"), [(32, 48), (37, 29)])
def test_the_pyramid_is_that_of_two_dimensional_filters(picture, height, width) -> None:
    image = picture(height, width)
    for ours, theirs in zip(w.laplacian_pyramid(image, 3), pyramid_by_scipy(image, 3), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-4)


def test_the_levels_of_a_pyramid_add_up_to_the_image(picture) -> None:
    image = picture(45, 62)
    *bands, total = w.laplacian_pyramid(image, 3)
    for band in reversed(bands):
        total = band + w.expanded(total, *band.shape[:2])
    np.testing.assert_allclose(total, image, atol=1e-3)


def test_a_kodak_image_has_six_levels_of_sixteen_pixels_or_more() -> None:
    assert w.level_count(512, 768) == 6
    assert w.level_count(1024, 1024) == 7


def test_patches_are_pieces_of_the_levels(picture) -> None:
    image = picture(40, 40)
    level = w.laplacian_pyramid(image, 1)[0]
    windows = np.lib.stride_tricks.sliding_window_view(level, (7, 7, 3)).reshape(-1, 7, 7, 3)
    known = {window.transpose(2, 0, 1).tobytes() for window in windows}
    (patches,) = w.image_descriptors(image, 1, patches=20)
    assert {patch.tobytes() for patch in patches} <= known
    assert len({patch.tobytes() for patch in patches}) > 10


def test_patches_of_an_image_do_not_depend_on_which_others_it_stands_with(picture) -> None:
    images = [picture(32, 40), picture(48, 33)]
    together = w.descriptors(images, patches=9, seed=3)
    alone = w.descriptors(images[1:], patches=9, seed=3, keys=[1])
    assert len(together) == len(alone) == 2
    for both, one in zip(together, alone, strict=True):
        np.testing.assert_array_equal(both[1], one[0])


def test_another_seed_takes_other_patches_and_the_same_seed_the_same(picture) -> None:
    images = [picture(32, 32)]
    first, again, other = (w.descriptors(images, patches=16, seed=seed)[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_the_distance_is_the_mean_of_one_dimensional_distances(rng) -> None:
    a, b = [rng.normal(0, 2, (3, 20, 27)).astype(np.float32)], [rng.normal(1, 3, (3, 20, 27)).astype(np.float32)]
    found = w.sliced_wasserstein(a, b, projections=11, seed=5)
    along = w.directions(27, 11, seed=5)
    planes = a[0].astype(np.float64).reshape(60, 3, 9)
    mean, std = planes.mean((0, 2))[:, None], planes.std((0, 2))[:, None]
    one, other = (((part[0].reshape(60, 3, 9) - mean) / std).reshape(60, 27) for part in (a, b))
    expected = np.mean([wasserstein_distance(one @ line, other @ line) for line in along])
    assert found.levels == pytest.approx([expected], rel=1e-5)
    assert found.mean == found.levels[0]


def test_identical_sets_are_at_distance_zero(picture) -> None:
    patches = w.descriptors([picture(32, 32), picture(40, 33)], patches=8)
    assert w.sliced_wasserstein(patches, patches, projections=5).levels == (0.0, 0.0)


def test_a_shift_in_one_dimension_is_the_distance(rng) -> None:
    values = np.sort(rng.normal(size=(1, 500)).astype(np.float32))
    assert w.sorted_distance(values, values + np.float32(0.75)) == pytest.approx(0.75, rel=1e-6)


def test_gaussians_of_different_means_are_as_far_apart_as_their_means(rng) -> None:
    a, b = (np.sort(rng.normal(mean, 1, (40, 20000)), axis=1) for mean in (0.0, 0.4))
    assert w.sorted_distance(a, b) == pytest.approx(0.4, abs=0.01)


def test_lost_contrast_shows_unless_each_set_is_normalised_by_its_own(rng) -> None:
    a = [rng.normal(size=(2, 50, 147)).astype(np.float32)]
    half = [a[0] / 2]
    assert w.sliced_wasserstein(a, half, projections=20, normalise="each").mean < 1e-6
    # |x - x / 2| of a standard normal variable has the mean sqrt(2 / pi) / 2.
    assert w.sliced_wasserstein(a, half, projections=20).mean == pytest.approx(np.sqrt(2 / np.pi) / 2, rel=0.1)


def test_a_blurred_set_is_farther_from_the_originals_than_a_little_noise(picture, rng) -> None:
    images = [picture(48, 48) for _ in range(3)]
    blurred = [ndimage.gaussian_filter(image, (1.5, 1.5, 0)) for image in images]
    noisy = [np.clip(image + rng.normal(0, 1, image.shape), 0, 255).astype(np.uint8) for image in images]
    original, soft, rough = (w.descriptors(part, patches=64) for part in (images, blurred, noisy))
    assert w.sliced_wasserstein(original, soft).levels[0] > 3 * w.sliced_wasserstein(original, rough).levels[0]


def projected(patches, along):
    statistics = w.channel_statistics(patches)
    return [w.image_projections(one, statistics, along) for one in patches]


def test_projections_of_single_images_merge_to_those_of_the_set(rng) -> None:
    patches = rng.normal(size=(4, 15, 27)).astype(np.float32)
    along = w.directions(27, 6)
    whole = w.image_projections(patches.reshape(-1, 27), w.channel_statistics(patches), along)
    np.testing.assert_allclose(w.merged(projected(patches, along)), whole, rtol=1e-5, atol=1e-6)


def test_a_weighted_distance_is_that_of_repeated_images(rng) -> None:
    along = w.directions(27, 6)
    a, b = (projected(rng.normal(mean, 1 + mean, (4, 15, 27)).astype(np.float32), along) for mean in (0, 0.5))
    pairs = w.paired_projections(a, b)
    assert pairs.distance(np.ones(4)) == pytest.approx(w.sorted_distance(w.merged(a), w.merged(b)), rel=1e-6)
    drawn = [0, 0, 0, 2, 3]
    repeated = w.sorted_distance(w.merged([a[k] for k in drawn]), w.merged([b[k] for k in drawn]))
    assert pairs.distance(np.bincount(drawn, minlength=4)) == pytest.approx(repeated, rel=1e-6)


def test_a_channel_without_any_variation_is_not_divided_by_zero() -> None:
    flat = w.descriptors([np.full((16, 16, 3), 90, np.uint8)], patches=4)
    assert w.sliced_wasserstein(flat, flat, projections=3).mean == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: w.level_count(9, 400), "400x9"),
        (lambda: w.descriptors([]), "empty"),
        (lambda: w.laplacian_pyramid(np.zeros((16, 16, 3)), 5), "no pyramid of 5 levels"),
        (lambda: w.image_descriptors(np.zeros((12, 12, 3)), 2, patches=2), "level 1 of the image is 6x6"),
        (lambda: w.image_descriptors(np.zeros((32, 32)), 1), r"\(32, 32\)"),
        (lambda: w.sorted_distance(np.zeros((2, 5)), np.zeros((2, 6))), "5 and 6 patches"),
        (lambda: w.sliced_wasserstein([np.zeros((1, 2, 3))], []), "1 and 0 levels"),
        (lambda: w.paired_projections([np.zeros((1, 2))], []), "1 and 0 images"),
        (lambda: w.paired_projections([np.zeros((1, 2))], [np.zeros((1, 2))]).distance(np.zeros(1)), "weight"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_words(call, message) -> None:
    with pytest.raises(MetricError, match=message):
        call()
