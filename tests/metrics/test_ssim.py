"""SSIM and MS-SSIM against scikit-image, torchmetrics and a plain float64 computation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import correlate1d
from skimage.metrics import structural_similarity
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    structural_similarity_index_measure,
)

from rdp.metrics import create_metrics
from rdp.metrics.ssim import gaussian_taps, halve

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
LUMA = np.array([0.299, 0.587, 0.114])


def score(name: str, reference: np.ndarray, reconstruction: np.ndarray) -> dict[str, float]:
    (metric,) = create_metrics([name])
    scores = metric.score(metric.prepare(reference), [reconstruction])
    return {column: values[0] for column, values in scores.items()}


def channels_of(image: np.ndarray, luma: bool) -> list[np.ndarray]:
    return [image @ LUMA] if luma else [image[..., c].astype(float) for c in range(3)]


def plain_terms(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Mean SSIM and mean contrast-structure over the valid region, as in the paper, float64, one channel."""
    taps = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    taps /= taps.sum()

    def blur(a: np.ndarray) -> np.ndarray:
        return correlate1d(correlate1d(a, taps, axis=0), taps, axis=1)[5:-5, 5:-5]

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mx, my = blur(x), blur(y)
    vx, vy, cov = blur(x * x) - mx * mx, blur(y * y) - my * my, blur(x * y) - mx * my
    contrast = (2 * cov + c2) / (vx + vy + c2)
    return float(((2 * mx * my + c1) / (mx * mx + my * my + c1) * contrast).mean()), float(contrast.mean())


def plain_ms_ssim(reference: np.ndarray, reconstruction: np.ndarray, luma: bool) -> float:
    """Five scales, odd rows and columns repeated before 2 x 2 means, negative factors zero, mean over channels."""

    def half(a: np.ndarray) -> np.ndarray:
        a = np.pad(a, [(0, n % 2) for n in a.shape], mode="symmetric")
        return (a[::2, ::2] + a[1::2, ::2] + a[::2, 1::2] + a[1::2, 1::2]) / 4

    values = []
    for x, y in zip(channels_of(reference, luma), channels_of(reconstruction, luma), strict=True):
        product = 1.0
        for index, weight in enumerate(WEIGHTS):
            ssim, contrast = plain_terms(x, y)
            product *= max(0.0, ssim if index == 4 else contrast) ** weight
            x, y = half(x), half(y)
        values.append(product)
    return float(np.mean(values))


def as_tensor(image: np.ndarray) -> torch.Tensor:
    """float64 (3, 1, H, W): the channels as a batch, so that a library's mean over the batch is one over channels."""
    return torch.from_numpy(image.astype(float)).permute(2, 0, 1)[:, None]


def test_ssim_agrees_with_scikit_image(photo, reconstructions):
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    for reconstruction in reconstructions:
        expected = structural_similarity(photo, reconstruction, channel_axis=-1, **options)
        assert score("ssim", photo, reconstruction)["ssim"] == pytest.approx(expected, abs=1e-6)
        expected = structural_similarity(photo @ LUMA, reconstruction @ LUMA, **options)
        assert score("ssim_y", photo, reconstruction)["ssim_y"] == pytest.approx(expected, abs=1e-6)


def test_ssim_agrees_with_torchmetrics_over_the_valid_region(photo, reconstructions):
    for reconstruction in reconstructions:
        pair = as_tensor(reconstruction), as_tensor(photo)
        _, full = structural_similarity_index_measure(*pair, data_range=255.0, return_full_image=True)
        expected = full[..., 5:-5, 5:-5].mean().item()
        assert score("ssim", photo, reconstruction)["ssim"] == pytest.approx(expected, abs=1e-6)


def product_of_torchmetrics_terms(reference: np.ndarray, reconstruction: np.ndarray, *, border: bool) -> float:
    """MS-SSIM from the terms of torchmetrics, scale by scale over the valid region; with `border`, the last scale's
    SSIM over the whole image with its reflected borders."""
    x, y = as_tensor(reconstruction), as_tensor(reference)
    product = torch.ones(3, dtype=torch.float64)
    for index, weight in enumerate(WEIGHTS):
        options = {"data_range": 255.0, "reduction": "none"}
        if index < 4:
            _, term = structural_similarity_index_measure(x, y, return_contrast_sensitivity=True, **options)
        else:
            whole, full = structural_similarity_index_measure(x, y, return_full_image=True, **options)
            term = whole if border else full[..., 5:-5, 5:-5].mean(dim=(1, 2, 3))
        product *= term.clamp(min=0) ** weight
        x, y = (torch.nn.functional.avg_pool2d(t, 2) for t in (x, y))
    return product.mean().item()


def test_ms_ssim_agrees_with_the_terms_of_torchmetrics(photo, reconstructions):
    """The functional itself mixes regions; its own terms, scale by scale over the valid region, are the reference."""
    for reconstruction in reconstructions[:2]:
        expected = product_of_torchmetrics_terms(photo, reconstruction, border=False)
        found = score("ms_ssim", photo, reconstruction)
        assert found["ms_ssim"] == pytest.approx(expected, abs=1e-6)
        assert found["ms_ssim_db"] == pytest.approx(-10 * math.log10(1 - expected), abs=1e-4)


def test_ms_ssim_differs_from_the_whole_torchmetrics_functional_by_its_border_only(photo, reconstructions):
    """With the border of the last scale put in, the terms that ours agrees with give the functional; without, not."""
    spoilt = photo.copy()
    spoilt[:80] = 255 - spoilt[:80]
    differences = []
    for reconstruction in (*reconstructions, spoilt):
        pair = as_tensor(reconstruction), as_tensor(photo)
        whole = multiscale_structural_similarity_index_measure(*pair, data_range=255.0).item()
        assert product_of_torchmetrics_terms(photo, reconstruction, border=True) == pytest.approx(whole, abs=1e-7)
        inner = product_of_torchmetrics_terms(photo, reconstruction, border=False)
        ours = score("ms_ssim", photo, reconstruction)["ms_ssim"]
        assert ours == pytest.approx(inner, abs=1e-6)
        differences.append(abs(ours - whole))
    # JPEG at qualities 3, 30 and 95: what a photograph's border makes; then a border that is much worse than the rest.
    assert 1e-4 < differences[0] < 3e-4
    assert differences[1] < 8e-5
    assert differences[2] < 8e-6
    assert differences[3] > 0.02


@pytest.mark.parametrize("size", [(161, 161), (163, 208), (175, 190), (208, 256)])
@pytest.mark.parametrize("name", ["ms_ssim", "ms_ssim_y"])
def test_ms_ssim_agrees_with_a_plain_computation_at_odd_sizes(photo, reconstructions, name, size):
    height, width = size
    for reconstruction in reconstructions:
        pair = photo[:height, :width], reconstruction[:height, :width]
        expected = plain_ms_ssim(*pair, luma=name.endswith("_y"))
        found = score(name, *pair)
        assert found[name] == pytest.approx(expected, abs=1e-6)
        assert found[f"{name}_db"] == pytest.approx(-10 * math.log10(1 - expected), abs=1e-4)


def test_hard_cases_stay_within_float32_of_the_plain_computation():
    """Flat areas, large shifts, extremes and inverted noise: where cancellation would show."""
    rng = np.random.default_rng(5)
    noise = rng.integers(0, 256, (170, 180, 3)).astype(np.uint8)
    flat = np.full_like(noise, 250)
    bright = (noise // 64 + 245).astype(np.uint8)
    edge = flat.copy()
    edge[:, 90:] = 2
    for reference, reconstruction in [
        (noise, 255 - noise),
        (flat, flat - 249),
        (bright, bright - 1),
        (edge, edge[:, ::-1]),
        (flat, noise),
        (noise, rng.permuted(noise, axis=0)),
    ]:
        ssim = np.mean([plain_terms(reference[..., c] / 1.0, reconstruction[..., c] / 1.0)[0] for c in range(3)])
        assert score("ssim", reference, reconstruction)["ssim"] == pytest.approx(ssim, abs=1e-5)
        expected = plain_ms_ssim(reference, reconstruction, luma=False)
        assert score("ms_ssim", reference, reconstruction)["ms_ssim"] == pytest.approx(expected, abs=1e-5)


def test_negative_contrast_counts_as_zero_in_ms_ssim_and_stays_negative_in_ssim():
    noise = np.random.default_rng(6).integers(0, 256, (165, 165, 3)).astype(np.uint8)
    assert score("ssim", noise, 255 - noise)["ssim"] < -0.5
    assert score("ms_ssim", noise, 255 - noise) == {"ms_ssim": 0.0, "ms_ssim_db": 0.0}


@pytest.mark.parametrize("name", ["ssim", "ssim_y", "ms_ssim", "ms_ssim_y"])
def test_identical_images_score_exactly_one_and_infinitely_many_decibels(name, photo):
    found = score(name, photo, photo.copy())
    assert found.pop(name) == 1.0
    assert all(value == math.inf for value in found.values())


def test_one_changed_value_of_one_pixel_is_seen_in_decibels(photo):
    changed = photo.copy()
    changed[100, 100, 1] ^= 1
    found = score("ms_ssim", photo, changed)
    expected = plain_ms_ssim(photo, changed, luma=False)
    assert 60 < found["ms_ssim_db"] < math.inf
    assert found["ms_ssim_db"] == pytest.approx(-10 * math.log10(1 - expected), abs=1e-3)


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(st.integers(11, 20), st.integers(11, 20)).flatmap(lambda s: st.tuples(*[arrays(np.uint8, (*s, 3))] * 2))
)
def test_ssim_is_symmetric_and_between_minus_one_and_one(pair):
    first, second = pair
    value = score("ssim", first, second)["ssim"]
    assert -1 <= value <= 1
    assert score("ssim", second, first)["ssim"] == pytest.approx(value, abs=1e-5)


def test_the_window_is_the_one_of_the_paper():
    taps = gaussian_taps(11, 1.5)
    assert sum(taps) == pytest.approx(1, abs=1e-15)
    assert taps == taps[::-1]
    assert taps[5] / taps[4] == pytest.approx(math.exp(1 / (2 * 1.5**2)))


def test_halving_averages_a_last_odd_row_with_itself():
    planes = torch.tensor([[[1.0, 3.0, 10.0], [5.0, 7.0, 20.0], [2.0, 4.0, 8.0]]])
    assert halve(planes).tolist() == [[[4.0, 15.0], [3.0, 8.0]]]
