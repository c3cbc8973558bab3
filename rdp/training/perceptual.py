"""Distortions nearer to what people see than the squared error: MS-SSIM and LPIPS.

They are the metrics of `rdp.metrics`, of reconstructions that are not rounded, with a gradient.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rdp.errors import SpecError
from rdp.metrics import plan_metrics
from rdp.metrics.ssim import gaussian_taps, halve
from rdp.training.losses import Distortion
from rdp.weights import reverify

WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of MS-SSIM at data range 1; see `rdp.metrics.ssim` for the sources and for what implementations do differently."""
LEAST_SIDE = 161

FAINT = 1e-3
"""A factor of MS-SSIM below this one has no gradient that helps: none below 0, and hardly bounded just above it."""

_SMALLEST = 1e-8
"""Added to the squared length of LPIPS's feature vectors: where all are 0, the root has no derivative."""


class MultiScaleSSIM(Distortion):
    """1 - MS-SSIM of RGB, from 0 for equal images to 1: 0.1 is 10 dB, 0.01 is 20 dB on its usual scale in decibel.

    Five scales, data range 1, mean over the channels, as the metric `ms_ssim`. Where a scale's mean contrast is below
    0 the value is 1, as the metric's, and has no gradient; the gradient there (and where the contrast is below 0.001)
    is that of the weighted mean of the scales' losses, so that a training that begins with nothing in common with its
    images finds out.
    """

    name = "ms_ssim_loss"

    taps: Tensor
    weights: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("taps", torch.tensor(gaussian_taps(WINDOW, SIGMA)), persistent=False)
        self.register_buffer("weights", torch.tensor(SCALE_WEIGHTS), persistent=False)

    def forward(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """See `Distortion`; in float32 under autocast too. Raises `SpecError` for a side below 161 pixels."""
        check_sides(x, LEAST_SIDE, "MS-SSIM")
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            difference = x_hat.float() - x
            losses = []
            for scale in range(len(SCALE_WEIGHTS)):
                if scale:
                    x, difference = halve(x), halve(difference)
                losses.append(self._mean_loss(x, difference, whole=scale == len(SCALE_WEIGHTS) - 1))
            return self._combined(torch.stack(losses, dim=-1)).mean(1)

    def _mean_loss(self, x: Tensor, difference: Tensor, whole: bool) -> Tensor:
        """Mean of 1 - contrast, or of 1 - SSIM if `whole`, over the windows inside: (N, C) of (N, C, H, W)."""
        centre, shift = (planes.mean((-2, -1), keepdim=True) for planes in (x, difference))
        # Centred planes have small squares, whose differences are then exact enough in float32.
        x, difference = x - centre, difference - shift
        mean_x, mean_d = self._blur(x), self._blur(difference)
        spread = (self._blur(x * x) - mean_x.square()).clamp_min(0)
        variance = (self._blur(difference * difference) - mean_d.square()).clamp_min(0)
        covariance = self._blur(x * difference) - mean_x * mean_d
        contrast = variance / (2 * spread + variance + 2 * covariance + C2)
        if not whole:
            return contrast.mean((-2, -1))
        mean_x, mean_d = mean_x + centre, mean_d + shift
        luminance = mean_d.square() / (mean_x.square() + (mean_x + mean_d).square() + C1)
        return (luminance + contrast - luminance * contrast).mean((-2, -1))

    def _combined(self, losses: Tensor) -> Tensor:
        """1 - prod((1 - loss) ** weight) over the last dimension, the scales."""
        smooth = -torch.expm1((self.weights * torch.log1p(-losses.clamp(max=1 - FAINT))).sum(-1))
        with torch.no_grad():
            exact = 1 - ((1 - losses).clamp_min(0) ** self.weights).prod(-1)
        linear = (self.weights * losses).sum(-1)
        return torch.where((losses > 1 - FAINT).any(-1), exact + linear - linear.detach(), smooth)

    def _blur(self, planes: Tensor) -> Tensor:
        """Weighted means over the windows that lie inside: (N, C, H, W) to (N, C, H - 10, W - 10)."""
        channels = planes.shape[1]
        rows = self.taps.reshape(1, 1, -1, 1).expand(channels, 1, -1, 1)
        return F.conv2d(F.conv2d(planes, rows, groups=channels), rows.mT, groups=channels)


class LPIPS(Distortion):
    """LPIPS version 0.1, as the metrics `lpips_vgg`, `lpips_alex` and `lpips_squeeze`: 0 for equal images.

    Strongly compressed photographs have 0.1 to 0.5. `backbone`: "alex" in HiFiC's training; its weights are found as
    those of the metric are (`rdp weights`), when the object is made.

    The network is fixed. It is not a submodule, so that neither state dicts nor optimisers see it; it follows its
    input to the input's device, works in float32 under autocast too, and may use TF32 where torch is allowed to.
    """

    name = "lpips"

    def __init__(self, backbone: Literal["vgg", "alex", "squeeze"] = "vgg") -> None:
        """Raises `SpecError` for another backbone, and `WeightsError` if there are no weights of it."""
        super().__init__()
        if backbone not in ("vgg", "alex", "squeeze"):
            raise SpecError(f"LPIPS has the backbones vgg, alex and squeeze, not {backbone!r}")
        from rdp.metrics.lpips import build_network

        (plan,) = plan_metrics([f"lpips_{backbone}"])
        self.backbone = backbone
        self.least_side = plan.least_side
        network = build_network(backbone, reverify(plan.weights[0]), plan.settings["heads_sha256"])
        # In a tuple, where torch does not look for submodules.
        self._fixed: tuple[Any] = (network,)

    @property
    def network(self) -> nn.Module:
        """The fixed network of the package `lpips`, in evaluation mode."""
        return self._fixed[0]  # type: ignore[no-any-return]

    def forward(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """See `Distortion`. Raises `SpecError` for images that are smaller than the backbone takes."""
        check_sides(x, self.least_side, f"LPIPS with {self.backbone}")
        network: Any = self.network.to(x_hat.device)
        with torch.autocast(x_hat.device.type, enabled=False):
            total = x_hat.new_zeros(len(x_hat), dtype=torch.float32)
            layers = zip(_layers(network, x_hat.float()), _layers(network, x.float()), network.lins, strict=True)
            for own, reference, head in layers:
                distance = (own - reference).square().mean((-2, -1))
                total = total + (distance * head.model[-1].weight.reshape(-1)).sum(1)
            return total


def check_sides(x: Tensor, least: int, what: str) -> None:
    """Raise `SpecError` if images (N, 3, H, W) have a side below `least`."""
    height, width = x.shape[-2:]
    if min(height, width) < least:
        raise SpecError(
            f"{what} needs images of {least} pixels or more each way, not {width}x{height}: take larger crops"
        )


def unit_length(features: Tensor) -> Tensor:
    """Vectors over the channels, (N, C, h, w), scaled to length 1; those near 0 stay there, with a bounded gradient."""
    return features * (features.square().sum(1, keepdim=True) + _SMALLEST).rsqrt()


def _layers(network: Any, images: Tensor) -> Iterator[Tensor]:
    """Features of images in [0, 1] behind each slice of the backbone."""
    features = network.scaling_layer(2 * images - 1)
    for number in range(1, network.net.N_slices + 1):
        features = getattr(network.net, f"slice{number}")(features)
        yield unit_length(features)
