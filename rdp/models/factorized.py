"""The factorised-prior autoencoder, and the transforms that it shares with the hyperprior networks.

Source: Ballé et al., "Variational image compression with a scale hyperprior", ICLR 2018 (its baseline), with the
transforms of Ballé, Laparra and Simoncelli, "End-to-end optimized image compression", ICLR 2017.
"""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

from rdp.models.activations import create_activation
from rdp.models.base import CompressionModel, Latents
from rdp.models.densities import FactorizedDensity
from rdp.models.layers import conv, deconv
from rdp.models.quantizers import Quantized, Quantizer, create_quantizer


def analysis_transform(channels: int, latent_channels: int, activation: str) -> nn.Sequential:
    """Four convolutions 5x5 with stride 2, an activation between them: (N, 3, H, W) to (N, M, H / 16, W / 16)."""
    return nn.Sequential(
        conv(3, channels),
        create_activation(activation, channels),
        conv(channels, channels),
        create_activation(activation, channels),
        conv(channels, channels),
        create_activation(activation, channels),
        conv(channels, latent_channels),
    )


def synthesis_transform(channels: int, latent_channels: int, activation: str) -> nn.Sequential:
    """Four transposed convolutions 5x5 with stride 2, the inverse activation between them: (N, M, h, w) to
    (N, 3, 16 h, 16 w)."""
    return nn.Sequential(
        deconv(latent_channels, channels),
        create_activation(activation, channels, inverse=True),
        deconv(channels, channels),
        create_activation(activation, channels, inverse=True),
        deconv(channels, channels),
        create_activation(activation, channels, inverse=True),
        deconv(channels, 3),
    )


def quantize_by_channel(quantizer: Quantizer, latent: Tensor, prior: FactorizedDensity, training: bool) -> Quantized:
    """A latent under a factorised density, quantised about the medians of its channels, (N, C, h, w)."""
    return quantizer(latent, prior.medians().reshape(1, -1, 1, 1), training=training)


class StridedAutoencoder(CompressionModel):
    """What the networks of this family share: transforms of four strided convolutions, and a factorised density of the
    innermost latent; a subclass makes the entropy model and says how the latent is coded.

    `channels` (N) and `latent_channels` (M): the widths of the transforms and of the latent. `activation` (of the
    transforms) and `quantizer`: names of `rdp.models.activations` and `rdp.models.quantizers`.
    """

    prior: FactorizedDensity

    def __init__(
        self,
        channels: int = 128,
        latent_channels: int = 192,
        activation: str = "gdn",
        quantizer: str = "noise",
    ) -> None:
        super().__init__()
        self.config = {
            "channels": channels,
            "latent_channels": latent_channels,
            "activation": activation,
            "quantizer": quantizer,
        }
        self.analysis = analysis_transform(channels, latent_channels, activation)
        self.synthesis = synthesis_transform(channels, latent_channels, activation)
        self._make_entropy_model(channels, latent_channels)
        self.quantizer = create_quantizer(quantizer)

    @abstractmethod
    def _make_entropy_model(self, channels: int, latent_channels: int) -> None:
        """Set `prior`, and the hyper-networks where there are any."""

    def auxiliary_loss(self) -> Tensor:
        """How far the quantiles of the density are from where they belong."""
        return self.prior.quantile_loss()


class FactorizedPrior(StridedAutoencoder):
    """The autoencoder whose latent has one learned density a channel."""

    architecture = "factorized"
    stride = 16

    def _make_entropy_model(self, channels: int, latent_channels: int) -> None:
        self.prior = FactorizedDensity(latent_channels)

    def code(self, x: Tensor) -> Latents:
        """Images (N, 3, H, W) in [0, 1] to quantised latents; see `CompressionModel.code`."""
        y = self.analyse(x)
        quantized = quantize_by_channel(self.quantizer, y, self.prior, self.training)
        return Latents(
            likelihoods={"y": self.prior.likelihood(quantized.for_likelihood)},
            y=y,
            y_hat=quantized.for_synthesis,
        )
