"""What every network of a learned codec is: transforms, an entropy model, and a forward pass for training."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Latents:
    """What a batch of N images becomes on its way into files: fields as those of `ModelOutput`."""

    likelihoods: Mapping[str, Tensor]
    y: Tensor
    y_hat: Tensor


@dataclass(frozen=True)
class ModelOutput:
    """A forward pass over a batch of N images.

    `x_hat`: (N, 3, H, W), reconstruction on the scale of the input, [0, 1], not clamped. `likelihoods`: probability of
    every symbol, one tensor a latent ("y", and "z" where there is a hyperprior), batch first. `y`, `y_hat`: the
    latent, (N, M, h, w), before and after quantisation.
    """

    x_hat: Tensor
    likelihoods: Mapping[str, Tensor]
    y: Tensor
    y_hat: Tensor

    def bits(self) -> Tensor:
        """Estimated bits of each image, (N,), differentiable."""
        return torch.stack([-part.flatten(1).log2().sum(1) for part in self.likelihoods.values()]).sum(0)

    def bpp(self) -> Tensor:
        """Estimated bits per pixel of each image, (N,), over the pixels of `x_hat`."""
        return self.bits() / math.prod(self.x_hat.shape[-2:])


class CompressionModel(nn.Module, ABC):
    """A network that codes images.

    Every subclass has the transforms `analysis` and `synthesis` as modules. `architecture` is its name in
    `rdp.models.registry`; `config` holds the constructor's arguments (JSON-able), so that name and config build the
    same network again; `not_in_files` are those of them that change nothing in what is coded, being for training or for
    the decoder alone. `side_parameters`: how the names of parameters begin that only `side_loss` trains. `stride`: the
    sides of the input of `forward` are multiples of it (image pixels).
    """

    architecture: ClassVar[str]
    not_in_files: ClassVar[frozenset[str]] = frozenset({"quantizer"})
    side_parameters: ClassVar[tuple[str, ...]] = ()
    stride: int
    config: dict[str, Any]
    analysis: nn.Module
    synthesis: nn.Module

    def analyse(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1], sides multiples of `stride`, to latents y, (N, M, h, w)."""
        latent: Tensor = self.analysis(self.checked(x))
        return latent

    def checked(self, x: Tensor) -> Tensor:
        """The images, if their sides are multiples of `stride`; else a `ValueError`: codecs pad, networks do not."""
        height, width = x.shape[-2:]
        if height % self.stride or width % self.stride:
            raise ValueError(
                f"images of {width}x{height} pixels for a {self.architecture} network, whose sides are multiples of "
                f"{self.stride}: crop or pad them"
            )
        return x

    def synthesise(self, y_hat: Tensor) -> Tensor:
        """Latents (N, M, h, w) to images (N, 3, H, W), on the scale [0, 1], not clamped."""
        image: Tensor = self.synthesis(y_hat)
        return image

    @abstractmethod
    def code(self, x: Tensor) -> Latents:
        """Images (N, 3, H, W) in [0, 1], sides multiples of `stride`, to quantised latents; nothing is synthesised.

        In training mode the latent carries the noise (or whatever the quantiser does) that makes it differentiable,
        in evaluation mode it is rounded.
        """

    def forward(self, x: Tensor) -> ModelOutput:
        """Images (N, 3, H, W) in [0, 1] through the codec: `code`, then `synthesise`."""
        latents = self.code(x)
        return ModelOutput(self.synthesise(latents.y_hat), latents.likelihoods, latents.y, latents.y_hat)

    def auxiliary_loss(self) -> Tensor:
        """What keeps the quantiles of factorised densities where they belong; 0 where there is none."""
        return next(self.parameters()).new_zeros(())

    def side_loss(self, output: ModelOutput) -> Tensor:
        """What trains beside any objective, a scalar, for a forward pass: it leaves what is coded and seen alone.

        Its gradient reaches quantiles, and parameters whose names begin with one of `side_parameters`, alone.
        """
        return self.auxiliary_loss()
