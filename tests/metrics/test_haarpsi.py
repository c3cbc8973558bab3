"""HaarPSI against piq, and its properties."""

from __future__ import annotations

import numpy as np
import piq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rdp.metrics import create_metrics


def score(reference: np.ndarray, reconstruction: np.ndarray) -> float:
    (metric,) = create_metrics(["haarpsi"])
    return metric.score(metric.prepare(reference), [reconstruction])["haarpsi"][0]


def of_piq(reference: np.ndarray, reconstruction: np.ndarray) -> float:
    pair = (torch.from_numpy(image.astype(float)).permute(2, 0, 1)[None] for image in (reconstruction, reference))
    return piq.haarpsi(*pair, data_range=255.0).item()


@pytest.mark.parametrize("size", [(208, 256), (207, 256), (208, 255), (207, 255), (16, 16), (16, 17), (17, 40)])
def test_it_agrees_with_piq_at_even_and_odd_sizes(photo, reconstructions, size):
    height, width = size
    for reconstruction in [*reconstructions, 255 - photo, np.zeros_like(photo)]:
        pair = photo[:height, :width], np.ascontiguousarray(reconstruction[:height, :width])
        assert score(*pair) == pytest.approx(of_piq(*pair), abs=1e-5)


def test_identical_images_score_exactly_one(photo):
    assert score(photo, photo.copy()) == 1.0


def test_two_black_images_are_identical_too():
    black = np.zeros((20, 20, 3), np.uint8)
    assert score(black, black) == 1.0


def test_better_qualities_score_higher(photo, reconstructions):
    values = [score(photo, r) for r in reconstructions]
    assert values == sorted(values)
    assert 0.3 < values[0] < values[-1] < 1


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(st.integers(16, 24), st.integers(16, 24)).flatmap(lambda s: st.tuples(*[arrays(np.uint8, (*s, 3))] * 2))
)
def test_it_is_symmetric_and_between_zero_and_one(pair):
    first, second = pair
    value = score(first, second)
    assert 0 <= value <= 1
    assert score(second, first) == pytest.approx(value, abs=1e-6)
