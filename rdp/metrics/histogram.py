"""KL divergence between the pixel histograms of an image and its reconstruction, in both directions.

Each image has one histogram of 256 bins over all pixels and channels; 1/2 is added to every bin, so that the
divergence is finite; the logarithm is natural. The source (a thesis on rate-distortion-perception optimisation, Table
3.2) gives neither base, direction nor smoothing, hence both directions, and a choice that is written down.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rdp.metrics.base import Metric

if TYPE_CHECKING:
    from rdp.metrics.base import Image

    Histogram = np.ndarray[Any, np.dtype[np.float64]]


def smoothed_histogram(image: Image, bins: int, smoothing: float) -> Histogram:
    """Relative frequencies (bins,) of the values of all pixels and channels, `smoothing` added to every count."""
    counts = np.bincount(image.reshape(-1), minlength=bins) + smoothing
    return np.asarray(counts / counts.sum(), dtype=np.float64)


def kl_divergence(p: Histogram, q: Histogram) -> float:
    """Sum of p ln(p / q) in nats; zero for equal histograms, never below."""
    return max(0.0, float(np.sum(p * np.log(p / q))))


class HistogramKl(Metric):
    """KL divergence of the pixel histograms: original to reconstruction, and reconstruction to original."""

    def _features(self, reference: Image) -> Histogram:
        return self._histogram(reference)

    def _score_chunk(self, features: Histogram, reconstructions: Sequence[Image]) -> dict[str, list[float]]:
        histograms = [self._histogram(r) for r in reconstructions]
        forward, reverse = self.columns
        return {
            forward: [kl_divergence(features, h) for h in histograms],
            reverse: [kl_divergence(h, features) for h in histograms],
        }

    def _histogram(self, image: Image) -> Histogram:
        return smoothed_histogram(image, self.settings["bins"], self.settings["smoothing"])
