"""Quantisers of latents: what stands for rounding during training, and rounding itself outside of it.

Rounding has no useful gradient, so that training needs a stand-in. "noise" adds uniform noise as wide as a bin, whose
density is the rounded latent's probability interpolated (Ballé et al., "Variational image compression with a scale
hyperprior", ICLR 2018). "ste" rounds and passes the gradient straight through (Theis et al., "Lossy image compression
with compressive autoencoders", ICLR 2017). "mixed" gives the noisy latent to the likelihood and the straight-through
one to the synthesis (Minnen and Singh, "Channel-wise autoregressive entropy models", ICIP 2020).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from rdp.errors import SpecError, suggest


@dataclass(frozen=True)
class Quantized:
    """A latent after quantisation, on its own scale, (N, C, h, w), at least float32: once as the synthesis (or a
    context model) gets it and once as the likelihood is taken of it. Outside training the two are the same."""

    for_synthesis: Tensor
    for_likelihood: Tensor


class Quantizer(ABC):
    """Quantises latents to `mean + step k`, k integer; in training with a differentiable stand-in.

    `needs_mean`: whether the result in training depends on the mean, which a context model has to know.
    """

    name: ClassVar[str]
    needs_mean: ClassVar[bool]

    def __call__(
        self,
        y: Tensor,
        mean: Tensor | None = None,
        step: float | Tensor = 1.0,
        *,
        training: bool,
        generator: torch.Generator | None = None,
    ) -> Quantized:
        """Quantise `y` (N, C, h, w); `mean` (of a shape that broadcasts) is 0 where it is not given, `step` > 0.

        Computed in float32 at least, since an integer above 256 has no place in bfloat16. `generator` draws the noise,
        torch's own where none is given.
        """
        y = y if y.dtype == torch.float64 else y.float()
        mean = None if mean is None else mean.to(y.dtype)
        if training:
            return self._relax(y, mean, step, generator)
        rounded = _round_about(y, mean, step, torch.round)
        return Quantized(rounded, rounded)

    @abstractmethod
    def _relax(
        self, y: Tensor, mean: Tensor | None, step: float | Tensor, generator: torch.Generator | None
    ) -> Quantized:
        """What training uses."""


class NoiseQuantizer(Quantizer):
    """Uniform noise on (-step/2, step/2) for the synthesis and the likelihood."""

    name = "noise"
    needs_mean = False

    def _relax(
        self, y: Tensor, mean: Tensor | None, step: float | Tensor, generator: torch.Generator | None
    ) -> Quantized:
        noisy = _add_noise(y, step, generator)
        return Quantized(noisy, noisy)


class StraightThroughQuantizer(Quantizer):
    """Rounding for the synthesis and the likelihood; the gradient passes as if nothing had been rounded."""

    name = "ste"
    needs_mean = True

    def _relax(
        self, y: Tensor, mean: Tensor | None, step: float | Tensor, generator: torch.Generator | None
    ) -> Quantized:
        rounded = _round_about(y, mean, step, round_straight_through)
        return Quantized(rounded, rounded)


class MixedQuantizer(Quantizer):
    """Straight-through rounding for the synthesis, noise for the likelihood."""

    name = "mixed"
    needs_mean = True

    def _relax(
        self, y: Tensor, mean: Tensor | None, step: float | Tensor, generator: torch.Generator | None
    ) -> Quantized:
        return Quantized(_round_about(y, mean, step, round_straight_through), _add_noise(y, step, generator))


QUANTIZERS: dict[str, type[Quantizer]] = {
    quantizer.name: quantizer for quantizer in (NoiseQuantizer, StraightThroughQuantizer, MixedQuantizer)
}


def create_quantizer(name: str) -> Quantizer:
    """The quantiser of that name ("noise", "ste" or "mixed"). Raises `SpecError` for another, with suggestions."""
    if name not in QUANTIZERS:
        known = list(QUANTIZERS)
        raise SpecError(f"unknown quantizer {name!r}.{suggest(name, known)} Known: {', '.join(known)}")
    return QUANTIZERS[name]()


def round_straight_through(x: Tensor) -> Tensor:
    """The nearest integers, ties to even; the gradient is that of the identity."""
    rounded: Tensor = _RoundStraightThrough.apply(x)
    return rounded


class _RoundStraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0]


def _round_about(y: Tensor, mean: Tensor | None, step: float | Tensor, rounding: Callable[[Tensor], Tensor]) -> Tensor:
    """`mean + step * round((y - mean) / step)`, one expression in training and outside, so that both agree exactly."""
    centred = y if mean is None else y - mean
    quantized = rounding(centred / step) * step
    return quantized if mean is None else quantized + mean


def _add_noise(y: Tensor, step: float | Tensor, generator: torch.Generator | None) -> Tensor:
    noise = torch.rand(y.shape, dtype=y.dtype, device=y.device, generator=generator) - 0.5
    return y + noise * step
