"""Structural similarity (SSIM) and its multi-scale form (MS-SSIM), of RGB and of luma.

Sources: Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural similarity",
2004 (equations 6 to 13); Wang, Simoncelli, Bovik, "Multi-scale structural similarity for image quality assessment",
2003 (equation 7 and the scale weights). Gaussian window of 11 x 11 with sigma 1.5, K = 0.01 and 0.03, data range 255.

Choices that implementations make differently, and ours:
- Region: only windows that lie inside the image count ("valid"), as in the authors' code, scikit-image's mean and the
  functions that papers on learned compression report. torchmetrics 1.9 averages SSIM over the whole image with
  reflected borders, and MS-SSIM's last scale too, but the contrast terms over the valid region; over the valid region
  of its map the two agree to 1e-6.
- Channels: each channel has its own SSIM or MS-SSIM and the mean is reported, as in the functions that such papers
  use. torchmetrics pools the channels at each scale before it multiplies the scales.
- Negative contrast: a scale's mean contrast (or, in the last scale, mean SSIM) below zero counts as zero, so MS-SSIM
  is never negative. SSIM itself is left as it is and may be.
- Odd sizes: 2 x 2 means, the last odd row or column averaged with itself, so that 161 pixels suffice for five scales.
  torchmetrics drops it and needs 176. Where every scale is even the two are the same.

Computation: with d = reconstruction - reference, contrast-structure is 1 - var(d) / (var(x) + var(y) + C2) and
luminance 1 - mean(d)^2 / (mean(x)^2 + mean(y)^2 + C1). So the losses 1 - SSIM are computed, not the values near 1, and
float32 loses nothing that matters: on 24 photographs x 10 JPEG qualities from 1 to 100 the largest difference from
float64 is 4e-7 for SSIM, 1e-7 for MS-SSIM and 2e-5 dB. The window is separable; 22 shifted additions are several times
faster on one CPU thread than grouped convolution, and as fast as products with banded matrices.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from rdp.metrics.base import Metric, MetricPlan
from rdp.metrics.pixel import LUMA_THOUSANDTHS
from rdp.metrics.tensors import scoring, stack, torch_device

if TYPE_CHECKING:
    from rdp.metrics.base import Image


@dataclass(frozen=True)
class Scale:
    """What one scale of the reference gives, for C channels.

    `planes`: (C, H, W), each minus its `centre` (C, 1, 1), which keeps squares small; `mean`: local means of the
    centred planes (C, H-10, W-10); `spread`: 2 var(x) + C2, of the same shape.
    """

    planes: torch.Tensor
    centre: torch.Tensor
    mean: torch.Tensor
    spread: torch.Tensor


@dataclass(frozen=True)
class Reference:
    """A prepared image: its channels in whole numbers, int32 (C, H, W), and its scales."""

    channels: torch.Tensor
    scales: list[Scale]


class Ssim(Metric):
    """SSIM of each image, mean over channels: 1 for identical images, at least -1."""

    scales = 1

    def __init__(self, plan: MetricPlan, device: str = "cpu") -> None:
        super().__init__(plan, device)
        self._device = torch_device(device)
        # On a CPU one reconstruction at a time stays in the cache; a GPU wants many (about 180 bytes a pixel).
        self.pixels_per_chunk = 1 << (18 if self._device.type == "cpu" else 23)
        k1, k2 = self.settings["k"]
        self._c1 = (k1 * self.settings["range"]) ** 2
        self._c2 = (k2 * self.settings["range"]) ** 2
        self._taps = gaussian_taps(self.settings["window"], self.settings["sigma"])

    def _features(self, reference: Image) -> Reference:
        with scoring(self._device):
            channels = self._channels([reference])[0]
            planes = self._scaled(channels)
            scales = [self._scale(planes)]
            while len(scales) < self.scales:
                planes = halve(planes)
                scales.append(self._scale(planes))
        return Reference(channels, scales)

    def _score_chunk(self, features: Reference, reconstructions: Sequence[Image]) -> dict[str, list[float]]:
        losses = self._losses(features, reconstructions)
        return {self.columns[0]: [1.0 - sum(image[-1]) / len(image[-1]) for image in losses]}

    def _losses(self, reference: Reference, reconstructions: Sequence[Image]) -> list[list[list[float]]]:
        """Mean losses of each image, scale and channel: 1 - contrast, and 1 - SSIM in the last scale."""
        means: list[torch.Tensor] = []
        with scoring(self._device):
            # In whole numbers, so that the difference is exact: zero for identical images.
            difference = self._scaled(self._channels(reconstructions) - reference.channels)
            for index, scale in enumerate(reference.scales):
                if index:
                    difference = halve(difference)
                means.append(self._mean_loss(scale, difference, whole=index == len(reference.scales) - 1))
            table: list[list[list[float]]] = torch.stack(means, dim=1).double().cpu().tolist()
        return table

    def _mean_loss(self, scale: Scale, difference: torch.Tensor, whole: bool) -> torch.Tensor:
        """Mean of 1 - contrast, or of 1 - SSIM if `whole`, over the valid region: (N, C) of (N, C, H, W)."""
        shift = difference.mean(dim=(-2, -1), keepdim=True)
        centred = difference - shift
        mean, square, product = (self._blur(p) for p in (centred, centred * centred, centred * scale.planes))
        variance = square.addcmul_(mean, mean, value=-1).clamp_(min=0)
        # var(x) + var(y) + C2 = 2 var(x) + C2 + var(d) + 2 cov(x, d)
        total = product.addcmul_(mean, scale.mean, value=-1).mul_(2).add_(variance).add_(scale.spread)
        contrast = variance.div_(total)
        if not whole:
            return contrast.mean(dim=(-2, -1))
        mean += shift
        reference = scale.mean + scale.centre
        luminance = mean.square() / (reference.square() + (reference + mean).square() + self._c1)
        loss: torch.Tensor = luminance + contrast - luminance * contrast
        return loss.mean(dim=(-2, -1))

    def _scale(self, planes: torch.Tensor) -> Scale:
        centre = planes.mean(dim=(-2, -1), keepdim=True)
        centred = planes - centre
        mean = self._blur(centred)
        variance = self._blur(centred * centred).addcmul_(mean, mean, value=-1).clamp_(min=0)
        return Scale(centred, centre, mean, variance.mul_(2).add_(self._c2))

    def _channels(self, images: Sequence[Image]) -> torch.Tensor:
        """The channels that are compared, int32 (N, C, H, W): R, G and B, or luma in thousandths."""
        channels = stack(images, self._device).int()
        if self.settings["channels"] == "rgb":
            return channels
        red, green, blue = LUMA_THOUSANDTHS
        return red * channels[:, 0:1] + green * channels[:, 1:2] + blue * channels[:, 2:3]

    def _scaled(self, channels: torch.Tensor) -> torch.Tensor:
        """Channels in whole numbers as float32 on the 0..255 scale."""
        return channels.float() if self.settings["channels"] == "rgb" else channels.float() / 1000

    def _blur(self, planes: torch.Tensor) -> torch.Tensor:
        """Weighted means over the windows that lie inside: (..., H, W) to (..., H-10, W-10)."""
        return _weighted_sum(_weighted_sum(planes, self._taps, dim=-2), self._taps, dim=-1)


class MsSsim(Ssim):
    """MS-SSIM of each image over five scales, mean over channels, and the same in dB: -10 log10(1 - MS-SSIM)."""

    scales = 5

    def _score_chunk(self, features: Reference, reconstructions: Sequence[Image]) -> dict[str, list[float]]:
        losses = [self._loss(image) for image in self._losses(features, reconstructions)]
        value, decibel = self.columns
        return {
            value: [1.0 - loss for loss in losses],
            decibel: [math.inf if loss <= 0 else -10.0 * math.log10(loss) for loss in losses],
        }

    def _loss(self, losses: list[list[float]]) -> float:
        """1 - MS-SSIM, mean over channels, of the losses by scale and channel."""
        channels = [self._product_loss(channel) for channel in zip(*losses, strict=True)]
        return sum(channels) / len(channels)

    def _product_loss(self, losses: Sequence[float]) -> float:
        """1 - prod((1 - loss) ** weight), exact for small losses; a factor below zero counts as zero."""
        if max(losses) >= 1:
            return 1.0
        weights = self.settings["scale_weights"]
        return -math.expm1(sum(w * math.log1p(-loss) for w, loss in zip(weights, losses, strict=True)))


def gaussian_taps(window: int, sigma: float) -> list[float]:
    """One side of the separable window: `window` weights whose sum is 1."""
    weights = [math.exp(-((i - window // 2) ** 2) / (2 * sigma**2)) for i in range(window)]
    return [weight / math.fsum(weights) for weight in weights]


def halve(planes: torch.Tensor) -> torch.Tensor:
    """Means over 2 x 2 pixels, (..., H, W) to (..., ceil(H/2), ceil(W/2)); a last odd row is averaged with itself."""
    return functional.avg_pool2d(planes, 2, ceil_mode=True, count_include_pad=False)


def _weighted_sum(planes: torch.Tensor, taps: Sequence[float], dim: int) -> torch.Tensor:
    """Correlation with `taps` along one dimension, valid part only."""
    length = planes.shape[dim] - len(taps) + 1
    total = planes.narrow(dim, 0, length) * taps[0]
    for offset, tap in enumerate(taps[1:], start=1):
        total.add_(planes.narrow(dim, offset, length), alpha=tap)
    return total
