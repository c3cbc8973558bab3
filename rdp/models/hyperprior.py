"""The hyperprior networks: a second latent z tells the law of each element of the first.

Sources: Ballé et al., "Variational image compression with a scale hyperprior", ICLR 2018 (scales only); Minnen, Ballé
and Toderici, "Joint autoregressive and hierarchical priors for learned image compression", NeurIPS 2018, without its
autoregressive context (means and scales).
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from rdp.errors import SpecError, suggest
from rdp.models.base import Latents
from rdp.models.densities import FactorizedDensity, gaussian_likelihood
from rdp.models.factorized import StridedAutoencoder, quantize_by_channel
from rdp.models.layers import conv, deconv

QUALITIES = range(1, 9)

_WIDE_FROM = {"factorized": 6, "scale_hyperprior": 6, "hyperprior": 5, "checkerboard": 5}
"""The first quality with the wide networks, by architecture. High rates need more channels."""

_NARROW, _WIDE = (128, 192), (192, 320)


def quality_config(architecture: str, quality: int) -> tuple[int, int]:
    """The widths (N, M) = (channels, latent channels) at a quality 1..8, as in the published networks.

    The checkerboard network, of which there are none, has the widths of the mean-scale hyperprior. Raises `SpecError`
    for another quality, or an architecture that has no qualities.
    """
    if architecture not in _WIDE_FROM:
        known = list(_WIDE_FROM)
        raise SpecError(
            f"the architecture {architecture!r} has no qualities.{suggest(architecture, known)} "
            f"These have: {', '.join(known)}"
        )
    if quality not in QUALITIES:
        raise SpecError(f"quality {quality} of {architecture} must be from {QUALITIES[0]} to {QUALITIES[-1]}")
    return _WIDE if quality >= _WIDE_FROM[architecture] else _NARROW


@dataclass(frozen=True)
class GaussianParameters:
    """The law of each element of the latent, (N, M, h, w): standard deviation, not yet bounded, and mean (None: 0)."""

    scale: Tensor
    mean: Tensor | None


class Hyperprior(StridedAutoencoder):
    """What the hyperprior networks share; a subclass makes the hyper-networks and reads the law from their output."""

    stride = 64

    def _make_entropy_model(self, channels: int, latent_channels: int) -> None:
        self.hyper_analysis = self._make_hyper_analysis(channels, latent_channels)
        self.hyper_synthesis = self._make_hyper_synthesis(channels, latent_channels)
        self.prior = FactorizedDensity(channels)

    @abstractmethod
    def _make_hyper_analysis(self, channels: int, latent_channels: int) -> nn.Sequential:
        """From `hyper_input(y)` to z, (N, channels, h / 4, w / 4)."""

    @abstractmethod
    def _make_hyper_synthesis(self, channels: int, latent_channels: int) -> nn.Sequential:
        """From z_hat to what tells the law of y, (N, a multiple of M, h, w)."""

    def hyper_input(self, y: Tensor) -> Tensor:
        """What the hyper-analysis gets of the latent, (N, M, h, w)."""
        return y

    def hyper_analyse(self, y: Tensor) -> Tensor:
        """Latents (N, M, h, w) to hyper-latents z, (N, channels, h / 4, w / 4)."""
        z: Tensor = self.hyper_analysis(self.hyper_input(y))
        return z

    @abstractmethod
    def gaussian_parameters(self, hyper: Tensor) -> GaussianParameters:
        """The law of y from the output of `hyper_synthesis`."""

    def code(self, x: Tensor) -> Latents:
        """Images (N, 3, H, W) in [0, 1] to quantised latents; see `CompressionModel.code`."""
        y = self.analyse(x)
        z = quantize_by_channel(self.quantizer, self.hyper_analyse(y), self.prior, self.training)
        y_hat, likelihood = self._code_latent(y, self.hyper_synthesis(z.for_synthesis))
        return Latents(
            likelihoods={"y": likelihood, "z": self.prior.likelihood(z.for_likelihood)},
            y=y,
            y_hat=y_hat,
        )

    def _code_latent(self, y: Tensor, hyper: Tensor) -> tuple[Tensor, Tensor]:
        """The quantised latent and the likelihoods of its elements, given the output of `hyper_synthesis`."""
        law = self.gaussian_parameters(hyper)
        quantized = self.quantizer(y, law.mean, training=self.training)
        return quantized.for_synthesis, gaussian_likelihood(quantized.for_likelihood, law.scale, law.mean)


class ScaleHyperprior(Hyperprior):
    """The hyperprior that tells scales alone; every element of y has the mean 0."""

    architecture = "scale_hyperprior"

    def _make_hyper_analysis(self, channels: int, latent_channels: int) -> nn.Sequential:
        return nn.Sequential(
            conv(latent_channels, channels, kernel=3, stride=1),
            nn.ReLU(),
            conv(channels, channels),
            nn.ReLU(),
            conv(channels, channels),
        )

    def _make_hyper_synthesis(self, channels: int, latent_channels: int) -> nn.Sequential:
        return nn.Sequential(
            deconv(channels, channels),
            nn.ReLU(),
            deconv(channels, channels),
            nn.ReLU(),
            conv(channels, latent_channels, kernel=3, stride=1),
            nn.ReLU(),
        )

    def hyper_input(self, y: Tensor) -> Tensor:
        """Magnitudes, which are what scales can be told from."""
        return y.abs()

    def gaussian_parameters(self, hyper: Tensor) -> GaussianParameters:
        """The output is the scale, (N, M, h, w)."""
        return GaussianParameters(hyper, None)


class MeanScaleHyperprior(Hyperprior):
    """The hyperprior that tells means and scales."""

    architecture = "hyperprior"

    def _make_hyper_analysis(self, channels: int, latent_channels: int) -> nn.Sequential:
        return nn.Sequential(
            conv(latent_channels, channels, kernel=3, stride=1),
            nn.LeakyReLU(),
            conv(channels, channels),
            nn.LeakyReLU(),
            conv(channels, channels),
        )

    def _make_hyper_synthesis(self, channels: int, latent_channels: int) -> nn.Sequential:
        between = latent_channels * 3 // 2
        return nn.Sequential(
            deconv(channels, latent_channels),
            nn.LeakyReLU(),
            deconv(latent_channels, between),
            nn.LeakyReLU(),
            conv(between, latent_channels * 2, kernel=3, stride=1),
        )

    def gaussian_parameters(self, hyper: Tensor) -> GaussianParameters:
        """The output has the scales in its first half and the means in its second, (N, 2 M, h, w)."""
        scale, mean = hyper.chunk(2, 1)
        return GaussianParameters(scale, mean)
