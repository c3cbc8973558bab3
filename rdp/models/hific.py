"""HiFiC, the generative autoencoder of Mentzer et al., "High-fidelity generative image compression", NeurIPS 2020.

Paddings and the hyper-networks are those of the public PyTorch port (Justin-Tan/high-fidelity-generative-compression,
src/network and src/hyperprior.py), so that its checkpoints fit (`rdp.models.conversion.hific`).
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rdp.errors import SpecError
from rdp.models.activations import create_activation
from rdp.models.base import CompressionModel, Latents
from rdp.models.densities import SCALE_BOUND, FactorizedDensity, gaussian_likelihood
from rdp.models.factorized import quantize_by_channel
from rdp.models.layers import deconv
from rdp.models.quantizers import create_quantizer

CHANNELS = (60, 120, 240, 480, 960)
PRIOR_FILTERS = (3, 3, 3, 1)
"""Widths of the hyper-latent's density. The last layer but one has one output and a non-linearity, as the port's last
has; a density of filters (3, 3, 3) has none there."""


def scaled(channels: int, width: float) -> int:
    """A number of channels times `width`, to the nearest multiple of 4 and at least 8; unchanged for width 1."""
    return channels if width == 1 else max(8, 4 * round(channels * width / 4))


class HiFiC(CompressionModel):
    """Encoder, generator and hyperprior; the discriminator is in `rdp.models.discriminator`.

    `width` multiplies all channel counts, the latent's and the hyper-latent's too (see `scaled`); `latent_channels`
    and `hyper_channels` are those of width 1, and the attributes of these names hold what came of them.
    `residual_blocks`: 9 in the paper and in the port's configuration. `quantizer`: of the latent; the hyper-latent
    has noise in training. `signed`: whether the network works on [-1, 1] and ends in tanh, or on [0, 1] as the
    port's default configuration says (`normalize_input_image`). Images are in [0, 1] outside, either way.
    `normalisation` and `activation`, one behind the other: names of `rdp.models.activations`.

    The latent's scale is the hyper-network's output, without softplus, bounded below by 0.11.
    """

    architecture = "hific"
    not_in_files = frozenset({"quantizer", "residual_blocks"})
    stride = 64

    def __init__(
        self,
        width: float = 1.0,
        latent_channels: int = 220,
        hyper_channels: int = 320,
        residual_blocks: int = 9,
        quantizer: str = "mixed",
        signed: bool = False,
        normalisation: str = "channel_norm",
        activation: str = "relu",
    ) -> None:
        """Raises `SpecError` for a width that is not above 0, and for unknown names."""
        super().__init__()
        if not width > 0:
            raise SpecError(f"the width of hific must be above 0, not {width}")
        self.config = {
            "width": width,
            "latent_channels": latent_channels,
            "hyper_channels": hyper_channels,
            "residual_blocks": residual_blocks,
            "quantizer": quantizer,
            "signed": signed,
            "normalisation": normalisation,
            "activation": activation,
        }
        names = (normalisation, activation)
        self.signed = signed
        self.latent_channels = scaled(latent_channels, width)
        self.hyper_channels = scaled(hyper_channels, width)
        channels = [scaled(count, width) for count in CHANNELS]
        self.analysis = _encoder(channels, self.latent_channels, names)
        self.synthesis = _generator(channels[::-1], self.latent_channels, residual_blocks, names)
        self.hyper_analysis = nn.Sequential(
            nn.Conv2d(self.latent_channels, self.hyper_channels, 3, padding=1),
            nn.ReLU(),
            SmallReflectionPad2d(2),
            nn.Conv2d(self.hyper_channels, self.hyper_channels, 5, stride=2),
            nn.ReLU(),
            SmallReflectionPad2d(2),
            nn.Conv2d(self.hyper_channels, self.hyper_channels, 5, stride=2),
        )
        self.hyper_synthesis_mean = _hyper_synthesis(self.hyper_channels, self.latent_channels)
        self.hyper_synthesis_scale = _hyper_synthesis(self.hyper_channels, self.latent_channels)
        self.prior = FactorizedDensity(self.hyper_channels, PRIOR_FILTERS)
        self.quantizer = create_quantizer(quantizer)
        self.hyper_quantizer = create_quantizer("noise")

    def analyse(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] to latents y, (N, M, h, w)."""
        x = self.checked(x)
        latent: Tensor = self.analysis(2 * x - 1 if self.signed else x)
        return latent

    def synthesise(self, y_hat: Tensor) -> Tensor:
        """Latents (N, M, h, w) to images (N, 3, H, W), on the scale [0, 1], not clamped."""
        image: Tensor = self.synthesis(y_hat)
        return (torch.tanh(image) + 1) / 2 if self.signed else image

    def hyper_analyse(self, y: Tensor) -> Tensor:
        """Latents (N, M, h, w) to hyper-latents z, (N, hyper channels, h / 4, w / 4)."""
        z: Tensor = self.hyper_analysis(y)
        return z

    def code(self, x: Tensor) -> Latents:
        """Images (N, 3, H, W) in [0, 1] to quantised latents; see `CompressionModel.code`."""
        y = self.analyse(x)
        z = quantize_by_channel(self.hyper_quantizer, self.hyper_analyse(y), self.prior, self.training)
        mean, scale = self.hyper_synthesis_mean(z.for_synthesis), self.hyper_synthesis_scale(z.for_synthesis)
        quantized = self.quantizer(y, mean, training=self.training)
        return Latents(
            likelihoods={
                "y": gaussian_likelihood(quantized.for_likelihood, scale, mean, bound=SCALE_BOUND),
                "z": self.prior.likelihood(z.for_likelihood),
            },
            y=y,
            y_hat=quantized.for_synthesis,
        )

    def auxiliary_loss(self) -> Tensor:
        """How far the quantiles of the hyper-latent's density are from where they belong."""
        return self.prior.quantile_loss()


Names = tuple[str, str]
"""Of a normalisation and of the activation behind it."""


def _normalised(channels: int, names: Names, inverse: bool) -> list[nn.Module]:
    return [create_activation(name, channels, inverse) for name in names]


class ResidualBlock(nn.Module):
    """Convolution, norm, activation, convolution, norm, and what came in: (N, C, h, w) to the same."""

    def __init__(self, channels: int, names: Names = ("channel_norm", "relu")) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            *_normalised(channels, names, inverse=True),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            create_activation(names[0], channels, inverse=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) to the same shape."""
        change: Tensor = self.body(x)
        return x + change


class ResidualTrunk(nn.Module):
    """Residual blocks with a skip from before the first to behind the last: (N, C, h, w) to the same."""

    def __init__(self, channels: int, count: int, names: Names = ("channel_norm", "relu")) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(ResidualBlock(channels, names) for _ in range(count)))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) to the same shape."""
        change: Tensor = self.blocks(x)
        return x + change


class SmallReflectionPad2d(nn.ReflectionPad2d):
    """Reflection padding that also takes inputs smaller than the padding, which it reflects again and again.

    The hyper-latent of a small image is 2 wide before its last convolution, with a padding of 2.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w), not empty, to (N, C, h + top + bottom, w + left + right)."""
        left, right, top, bottom = self.padding
        if max(left, right) < x.shape[3] and max(top, bottom) < x.shape[2]:
            return F.pad(x, self.padding, mode="reflect")
        rows, columns = _reflected(x.shape[2], top, bottom), _reflected(x.shape[3], left, right)
        return x[:, :, rows.to(x.device)][:, :, :, columns.to(x.device)]


def _reflected(size: int, before: int, after: int) -> Tensor:
    """Indices that reflect 0 ... size - 1 at both ends, which are not repeated."""
    if size == 1:
        return torch.zeros(before + 1 + after, dtype=torch.long)
    index = torch.arange(-before, size + after) % (2 * size - 2)
    return torch.where(index < size, index, 2 * size - 2 - index)


def _encoder(channels: list[int], latent_channels: int, names: Names) -> nn.Sequential:
    """(N, 3, H, W) to (N, latent channels, H / 16, W / 16)."""
    first = _normalised(channels[0], names, inverse=False)
    layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(3, channels[0], 7), *first]
    for ins, outs in itertools.pairwise(channels):
        # One row above and one column on the right, which is the port's reading of TensorFlow's "same".
        layers += [nn.ReflectionPad2d((0, 1, 1, 0)), nn.Conv2d(ins, outs, 3, stride=2)]
        layers += _normalised(outs, names, inverse=False)
    return nn.Sequential(*layers, nn.ReflectionPad2d(1), nn.Conv2d(channels[-1], latent_channels, 3))


def _generator(channels: list[int], latent_channels: int, residual_blocks: int, names: Names) -> nn.Sequential:
    """(N, latent channels, h, w) to (N, 3, 16 h, 16 w)."""
    layers: list[nn.Module] = [
        create_activation(names[0], latent_channels, inverse=True),
        nn.ReflectionPad2d(1),
        nn.Conv2d(latent_channels, channels[0], 3),
        create_activation(names[0], channels[0], inverse=True),
        ResidualTrunk(channels[0], residual_blocks, names),
    ]
    for ins, outs in itertools.pairwise(channels):
        layers += [deconv(ins, outs, kernel=3), *_normalised(outs, names, inverse=True)]
    return nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(channels[-1], 3, 7))


def _hyper_synthesis(hyper_channels: int, latent_channels: int) -> nn.Sequential:
    """(N, hyper channels, h / 4, w / 4) to (N, latent channels, h, w)."""
    return nn.Sequential(
        deconv(hyper_channels, hyper_channels),
        nn.ReLU(),
        deconv(hyper_channels, hyper_channels),
        nn.ReLU(),
        deconv(hyper_channels, latent_channels, kernel=3, stride=1),
    )
