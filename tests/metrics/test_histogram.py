"""KL divergence of pixel histograms: by hand, against SciPy, and its properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import entropy

from rdp.metrics import create_metrics

IMAGES = arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 5), st.just(3)))


def both_ways(reference: np.ndarray, reconstruction: np.ndarray) -> tuple[float, float]:
    (metric,) = create_metrics(["histogram_kl"])
    scores = metric.score(metric.prepare(reference), [reconstruction])
    return scores["histogram_kl"][0], scores["histogram_kl_reverse"][0]


def test_one_black_and_one_white_pixel_by_hand():
    black, white = np.zeros((1, 1, 3), np.uint8), np.full((1, 1, 3), 255, np.uint8)
    # Counts 3 + 1/2 in one bin, 1/2 in 255 others: total 131; two bins differ.
    expected = (3.5 / 131) * math.log(7) + (0.5 / 131) * math.log(1 / 7)
    assert both_ways(black, white) == pytest.approx((expected, expected), abs=1e-15)


def test_it_agrees_with_scipy_in_both_directions(photo, reconstructions):
    for reconstruction in reconstructions:
        p, q = (np.histogram(i, bins=256, range=(0, 256))[0] + 0.5 for i in (photo, reconstruction))
        assert both_ways(photo, reconstruction) == pytest.approx((entropy(p, q), entropy(q, p)), abs=1e-12)


def test_it_sees_values_and_not_places(photo):
    assert both_ways(photo, photo[::-1, ::-1]) == (0, 0)


@given(IMAGES, IMAGES)
def test_it_is_never_negative_and_the_directions_swap(first, second):
    if first.shape != second.shape:
        first = second[::-1] // 2
    forward, reverse = both_ways(first, second)
    assert forward >= 0
    assert both_ways(second, first) == (reverse, forward)
