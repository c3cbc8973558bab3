"""The autoencoder with hard shrinkage, whose normalised latent has one fixed law; its GDN twin.

Source: the thesis (0849d61a7a9a9ad9), section 3.1, with the layout of Zhou et al., "Variational autoencoder for low
bit-rate image compression", CVPR workshops 2018, on which it builds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn

from rdp.errors import SpecError, suggest
from rdp.models.activations import create_activation
from rdp.models.base import CompressionModel, Latents, ModelOutput
from rdp.models.densities import FactorizedDensity, laplace_likelihood
from rdp.models.factorized import analysis_transform, quantize_by_channel
from rdp.models.layers import conv, lower_bound, upsample
from rdp.models.quantizers import create_quantizer

STEPS = (1 / 2, 2 / 3, 1.0, 3 / 2, 2.0)
"""The quantisation steps of the thesis, in units of the standard deviation."""

TABLES = ("trained", "fixed")
SIGMA_BOUND = 0.01
"""The smallest standard deviation that the hyper-network can tell, in the latent's own unit."""


@dataclass(frozen=True)
class LatentLaw:
    """Mean and standard deviation of each element of the latent, (N, M, h, w); the latter at least `SIGMA_BOUND`."""

    mean: Tensor
    scale: Tensor


@dataclass(frozen=True)
class ShrinkageLatents(Latents):
    """Quantised latents; `y_norm`: the normalised latent of which the likelihood was taken, (N, M, h, w), at `step`."""

    y_norm: Tensor
    step: float


@dataclass(frozen=True)
class ShrinkageOutput(ModelOutput):
    """A forward pass; see `ShrinkageLatents`."""

    y_norm: Tensor
    step: float


class ShrinkageHyperprior(CompressionModel):
    """Four strided 5x5 convolutions, a decoder of pixel shuffles, a hyperprior of means and scales, and one law.

    The latent is normalised, y_norm = (y - mu) / sigma, quantised with the step s (its unit is one standard
    deviation) and coded under the Laplacian law of mean 0 and variance 1, b = sqrt(1/2), whatever the element:
    P(k) = F((k + 1/2) s) - F((k - 1/2) s); y_hat = sigma y_norm_hat + mu. The rate is changed at test time by the
    step, see `STEPS`; images are taken to [-1, 1] inside.

    A law that is the same for every symbol has a floor: a latent that is 0 everywhere costs -log2 P(0) bits a symbol,
    0.98 at step 1, which are 0.74 bit/pixel with 192 latent channels (`fixed_law_floor`). That is above what the
    thesis reports for its files. So there is a second law, `trained_law`, one learned density a channel over y_norm,
    good for any step, with which a channel that is always 0 costs next to nothing. `likelihoods` has the fixed law
    as "y"; `trained_likelihood` gives the other.

    `channels` (N), `latent_channels` (M), `hyper_channels`: widths of the transforms, the latent and the hyper-latent.
    The thesis gives none of them; 128, 192 and 128 are those of the factorised and hyperprior networks of its time.
    `activation`: of the transforms, "shrinkage", or "gdn" for the twin, or any other name of
    `rdp.models.activations`. `tables`: "trained", or "fixed" for a network without the second law, whose files
    have the fixed one.
    """

    architecture = "shrinkage"
    side_parameters = ("trained_law.",)
    stride = 64

    def __init__(
        self,
        channels: int = 128,
        latent_channels: int = 192,
        hyper_channels: int = 128,
        activation: str = "shrinkage",
        quantizer: str = "noise",
        tables: str = "trained",
    ) -> None:
        """Raises `SpecError` for an unknown activation, quantiser or law of the files."""
        super().__init__()
        if tables not in TABLES:
            raise SpecError(f"unknown tables {tables!r}.{suggest(tables, TABLES)} Known: {', '.join(TABLES)}")
        self.config = {
            "channels": channels,
            "latent_channels": latent_channels,
            "hyper_channels": hyper_channels,
            "activation": activation,
            "quantizer": quantizer,
            "tables": tables,
        }
        self.analysis = analysis_transform(channels, latent_channels, activation)
        self.synthesis = nn.Sequential(
            *upsample(latent_channels, channels, 5),
            create_activation(activation, channels, inverse=True),
            *upsample(channels, channels, 5),
            create_activation(activation, channels, inverse=True),
            *upsample(channels, channels, 5),
            create_activation(activation, channels, inverse=True),
            *upsample(channels, 3, 5),
        )
        self.hyper_analysis = nn.Sequential(
            conv(latent_channels, hyper_channels, kernel=3, stride=1),
            nn.LeakyReLU(),
            conv(hyper_channels, hyper_channels),
            nn.LeakyReLU(),
            conv(hyper_channels, hyper_channels),
        )
        self.hyper_synthesis = nn.Sequential(
            *upsample(hyper_channels, hyper_channels, 5),
            nn.LeakyReLU(),
            *upsample(hyper_channels, hyper_channels, 5),
            nn.LeakyReLU(),
            conv(hyper_channels, 2 * latent_channels, kernel=3, stride=1),
        )
        self.prior = FactorizedDensity(hyper_channels)
        # Unit variance needs no wider start; what is wide costs bits until it has shrunk.
        self.trained_law = FactorizedDensity(latent_channels, init_scale=4.0) if tables == "trained" else None
        self.quantizer = create_quantizer(quantizer)

    def analyse(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] to latents y, (N, M, h, w)."""
        latent: Tensor = self.analysis(2 * self.checked(x) - 1)
        return latent

    def synthesise(self, y_hat: Tensor) -> Tensor:
        """Latents (N, M, h, w) to images (N, 3, H, W), on the scale [0, 1], not clamped."""
        image: Tensor = self.synthesis(y_hat)
        return (image + 1) / 2

    def hyper_analyse(self, y: Tensor) -> Tensor:
        """Latents (N, M, h, w) to hyper-latents z, (N, hyper channels, h / 4, w / 4)."""
        z: Tensor = self.hyper_analysis(y)
        return z

    def latent_law(self, hyper: Tensor) -> LatentLaw:
        """The law of y from the output of `hyper_synthesis`, (N, 2 M, h, w): scales, of any sign, before means."""
        scale, mean = hyper.chunk(2, 1)
        return LatentLaw(mean, lower_bound(scale.abs(), SIGMA_BOUND))

    def code(self, x: Tensor, step: float = 1.0) -> ShrinkageLatents:
        """Images (N, 3, H, W) in [0, 1] to quantised latents at a step above 0; see `CompressionModel.code`.

        Raises `SpecError` for another step.
        """
        if not (step > 0 and math.isfinite(step)):
            raise SpecError(f"the quantisation step must be above 0, not {step}")
        y = self.analyse(x)
        z = quantize_by_channel(self.quantizer, self.hyper_analyse(y), self.prior, self.training)
        law = self.latent_law(self.hyper_synthesis(z.for_synthesis))
        y_norm = self.quantizer((y - law.mean) / law.scale, step=step, training=self.training)
        y_hat = law.scale * y_norm.for_synthesis + law.mean
        return ShrinkageLatents(
            likelihoods={
                "y": laplace_likelihood(y_norm.for_likelihood, step),
                "z": self.prior.likelihood(z.for_likelihood),
            },
            y=y,
            y_hat=y_hat,
            y_norm=y_norm.for_likelihood,
            step=step,
        )

    def forward(self, x: Tensor, step: float = 1.0) -> ShrinkageOutput:
        """Images (N, 3, H, W) in [0, 1] through the codec at a step above 0: `code`, then `synthesise`."""
        latents = self.code(x, step)
        return ShrinkageOutput(self.synthesise(latents.y_hat), **vars(latents))

    def trained_likelihood(self, y_norm: Tensor, step: float = 1.0) -> Tensor:
        """Probability of every element of the normalised latent, (N, M, h, w), under its channel's learned density.

        Raises `SpecError` for a network with `tables="fixed"`, which has none.
        """
        if self.trained_law is None:
            raise SpecError('this network was made with tables="fixed" and has no trained law; its files have one law')
        return self.trained_law.likelihood(y_norm, step)

    def trained_law_bits(self, output: ShrinkageOutput) -> Tensor:
        """Bits of each image's latent under the trained law, (N,): the loss that trains it.

        It trains the law alone; the transforms are trained for the fixed one.
        """
        likelihood = self.trained_likelihood(output.y_norm.detach(), output.step)
        return -likelihood.flatten(1).log2().sum(1)

    def side_loss(self, output: ModelOutput) -> Tensor:
        """See `CompressionModel.side_loss`: with the bits of the latent under the trained law, by pixel."""
        loss = self.auxiliary_loss()
        if self.trained_law is None or not isinstance(output, ShrinkageOutput):
            return loss
        return loss + self.trained_law_bits(output).mean() / math.prod(output.x_hat.shape[-2:])

    def auxiliary_loss(self) -> Tensor:
        """How far the quantiles of the densities are from where they belong."""
        loss = self.prior.quantile_loss()
        return loss if self.trained_law is None else loss + self.trained_law.quantile_loss()


def fixed_law_floor(latent_channels: int, step: float) -> float:
    """Bit/pixel of a latent that is 0 everywhere under the fixed law: -log2(1 - exp(-step / sqrt(2))) M / 256."""
    return -math.log2(-math.expm1(-step / math.sqrt(2))) * latent_channels / 256
