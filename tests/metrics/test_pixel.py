"""MSE and PSNR: against hand-computed values, scikit-image and float64, and their properties."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio

from rdp.metrics import create_metrics

PAIRS = st.tuples(st.integers(1, 7), st.integers(1, 9)).flatmap(
    lambda size: st.tuples(*(arrays(np.uint8, (*size, 3)) for _ in range(2)))
)


def score(name: str, reference: np.ndarray, reconstruction: np.ndarray) -> float:
    (metric,) = create_metrics([name])
    return metric.score(metric.prepare(reference), [reconstruction])[name][0]


def test_mse_counts_every_pixel_and_channel_once():
    reference = np.zeros((2, 2, 3), np.uint8)
    reconstruction = reference.copy()
    reconstruction[0, 0] = (3, 4, 0)
    assert score("mse", reference, reconstruction) == (9 + 16) / 12


def test_psnr_of_a_difference_of_one_everywhere_is_the_peak_alone():
    reference = np.full((5, 4, 3), 7, np.uint8)
    assert score("psnr", reference, reference + 1) == pytest.approx(20 * math.log10(255), abs=1e-12)


def test_psnr_y_weighs_the_channels_by_bt601_in_full_range():
    reference = np.zeros((3, 3, 3), np.uint8)
    for channel, weight in enumerate((0.299, 0.587, 0.114)):
        reconstruction = reference.copy()
        reconstruction[..., channel] = 100
        expected = 20 * math.log10(255 / (100 * weight))
        assert score("psnr_y", reference, reconstruction) == pytest.approx(expected, abs=1e-9)


def test_psnr_y_does_not_round_luma_to_eight_bits():
    reference = np.zeros((2, 2, 3), np.uint8)
    reconstruction = reference.copy()
    reconstruction[..., 2] = 1
    assert score("psnr_y", reference, reconstruction) == pytest.approx(20 * math.log10(255 / 0.114), abs=1e-9)


def test_scores_agree_with_scikit_image(photo, reconstructions):
    for reconstruction in reconstructions:
        assert score("mse", photo, reconstruction) == pytest.approx(
            mean_squared_error(photo, reconstruction), rel=1e-12
        )
        expected = peak_signal_noise_ratio(photo, reconstruction, data_range=255)
        assert score("psnr", photo, reconstruction) == pytest.approx(expected, abs=1e-9)


def test_the_largest_error_of_a_large_image_does_not_overflow():
    black = np.zeros((700, 600, 3), np.uint8)
    white = np.full_like(black, 255)
    assert score("mse", black, white) == 255.0**2
    assert score("psnr", black, white) == 0.0
    assert score("psnr_y", black, white) == 0.0


@pytest.mark.parametrize("name", ["psnr", "psnr_y"])
def test_identical_images_have_infinite_psnr(name, photo):
    assert score(name, photo, photo.copy()) == math.inf
    assert score("mse", photo, photo.copy()) == 0


@given(PAIRS)
def test_mse_and_psnr_are_symmetric_and_equal_float64(pair):
    first, second = pair
    expected = float(np.mean((first.astype(float) - second) ** 2))
    assert score("mse", first, second) == pytest.approx(expected, rel=1e-12)
    for name in ("mse", "psnr", "psnr_y"):
        assert score(name, first, second) == score(name, second, first)


def test_pixel_metrics_do_not_load_torch():
    code = """
import sys, numpy as np
from rdp.metrics import create_metrics, plan_metrics
image = np.zeros((8, 8, 3), np.uint8)
for metric in create_metrics(["mse", "psnr", "psnr_y", "histogram_kl"]):
    metric.score(metric.prepare(image), [image])
plan_metrics(["ms_ssim", "haarpsi"])
sys.exit("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
