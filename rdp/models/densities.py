"""Probabilities of quantised latents: the learned density of a factorised prior, the Gaussian and the Laplacian law.

All of them integrate a density over the bin of width `step` about each value, in float32 at least, also under an
autocast to a smaller type, and are at least `LIKELIHOOD_BOUND`, whose logarithm and gradient are finite.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from rdp.models.layers import lower_bound

LIKELIHOOD_BOUND = 1e-9
SCALE_BOUND = 0.11
"""The smallest standard deviation of the Gaussian law: below it the middle bin has all of the mass."""

_TAIL_MASS = 1e-9
_MEDIAN = 1


class FactorizedDensity(nn.Module):
    """A density for each channel, learned without assuming a family.

    Source: Ballé et al., "Variational image compression with a scale hyperprior", ICLR 2018, appendix 6.1: the
    cumulative distribution is a small network with monotone layers, c = sigmoid(f_K(...f_1(x))), with
    f_k(x) = g_k(H_k x + b_k) and g_k(x) = x + a_k tanh(x), where H_k = softplus(matrix) > 0 and a_k = tanh(factor)
    in (-1, 1) keep it monotone. `filters`: the widths of the layers between.

    Parameters, for K layers of widths 1 = r_0, ..., r_K = 1: `matrices.k` (C, r_k+1, r_k), `biases.k` (C, r_k+1, 1),
    `factors.k` (C, r_k+1, 1) for all layers but the last, and `quantiles` (C, 1, 3), which `quantile_loss` moves to
    where the tails of mass 1e-9 begin and the median is.
    """

    def __init__(self, channels: int, filters: Sequence[int] = (3, 3, 3, 3), init_scale: float = 10.0) -> None:
        """Begin with densities about `2 init_scale` wide, as latents of an untrained network may need."""
        super().__init__()
        self.channels = channels
        widths = (1, *filters, 1)
        scale = init_scale ** (1 / (len(widths) - 1))
        self.matrices = nn.ParameterList()
        self.biases = nn.ParameterList()
        self.factors = nn.ParameterList()
        for layer, (ins, outs) in enumerate(pairwise(widths)):
            initial = math.log(math.expm1(1 / scale / outs))
            self.matrices.append(nn.Parameter(torch.full((channels, outs, ins), initial)))
            self.biases.append(nn.Parameter(torch.empty(channels, outs, 1).uniform_(-0.5, 0.5)))
            if layer < len(widths) - 2:
                self.factors.append(nn.Parameter(torch.zeros(channels, outs, 1)))
        start = torch.tensor([-init_scale, 0.0, init_scale])
        self.quantiles = nn.Parameter(start.repeat(channels, 1, 1))

    def medians(self) -> Tensor:
        """The medians, (C,), as constants: only `quantile_loss` trains them."""
        return self.quantiles.detach()[:, 0, _MEDIAN]

    def likelihood(self, values: Tensor, step: float | Tensor = 1.0) -> Tensor:
        """Probability of the bin of width `step` about each of the values, (N, C, h, w)."""
        values = _widen(values)
        half = step / 2
        with _full_precision(values):
            lower, upper = (self._logits_of(values + side) for side in (-half, half))
        # Both logits on the negative side: there the difference of two sigmoids loses no digits.
        flip = torch.where(lower + upper > 0, -1.0, 1.0).to(lower.dtype)
        mass = (torch.sigmoid(flip * upper) - torch.sigmoid(flip * lower)).abs()
        return lower_bound(mass, LIKELIHOOD_BOUND)

    def cumulative_logits(self, values: Tensor, trained: bool = True) -> Tensor:
        """Logits of the cumulative distribution at the values, (C, 1, n), increasing in the values.

        `trained`: whether the gradient reaches the parameters of the density (not the `quantiles`).
        """
        logits = values
        for layer, (matrix, bias) in enumerate(zip(self.matrices, self.biases, strict=True)):
            factor = self.factors[layer] if layer < len(self.factors) else None
            if not trained:
                matrix, bias = matrix.detach(), bias.detach()
                factor = None if factor is None else factor.detach()
            logits = functional.softplus(matrix.to(values.dtype)) @ logits + bias.to(values.dtype)
            if factor is not None:
                logits = logits + torch.tanh(factor.to(values.dtype)) * torch.tanh(logits)
        return logits

    def _logits_of(self, values: Tensor) -> Tensor:
        """`cumulative_logits` of a latent, (N, C, h, w), in its own layout."""
        rows = values.transpose(0, 1)
        logits = self.cumulative_logits(rows.reshape(self.channels, 1, -1))
        return logits.reshape(rows.shape).transpose(0, 1)

    def quantile_loss(self) -> Tensor:
        """How far the quantiles are from where they belong, in logits, summed over the channels; 0 where they fit.

        It trains the quantiles alone; the density is constant in it.
        """
        edge = math.log(2 / _TAIL_MASS - 1)
        quantiles = _widen(self.quantiles)
        with _full_precision(quantiles):
            logits = self.cumulative_logits(quantiles, trained=False)
        return (logits - logits.new_tensor([-edge, 0.0, edge])).abs().sum()


def gaussian_likelihood(
    values: Tensor,
    scale: Tensor,
    mean: Tensor | None = None,
    step: float | Tensor = 1.0,
    bound: float = SCALE_BOUND,
) -> Tensor:
    """Probability, under a Gaussian of that mean (0 if not given) and standard deviation, of the bin about each value.

    `values`, `scale` and `mean` have the shape (N, C, h, w) or broadcast to it. The scale, of any sign, is bounded
    below by `bound`.
    """
    values, scale = _widen(values), lower_bound(_widen(scale), bound)
    # The law is symmetric; on this side the difference of two small numbers is one of small numbers, not of ones.
    distance = (values if mean is None else values - mean).abs()
    mass = _normal_cdf((step / 2 - distance) / scale) - _normal_cdf((-step / 2 - distance) / scale)
    return lower_bound(mass, LIKELIHOOD_BOUND)


def laplace_likelihood(values: Tensor, step: float | Tensor = 1.0) -> Tensor:
    """Probability, under the Laplacian law of mean 0 and variance 1, of the bin of width `step` about each value.

    The law has the density exp(-|v| / b) / (2 b) with b = sqrt(1/2).
    """
    b = math.sqrt(0.5)
    distance = _widen(values).abs()
    step = torch.as_tensor(step, dtype=distance.dtype, device=distance.device)
    inside = distance < step / 2
    # Of the side that is not chosen torch.where takes the gradient too, so that neither exponent may grow.
    outer = (step / 2 - distance).clamp(max=0)
    inner = (distance - step / 2).clamp(max=0)
    beyond = 0.5 * torch.exp(outer / b) * -torch.expm1(-step / b)
    # A bin that reaches over the mode has what the two tails leave.
    across = 1 - 0.5 * (torch.exp(inner / b) + torch.exp(-(distance + step / 2) / b))
    return lower_bound(torch.where(inside, across, beyond), LIKELIHOOD_BOUND)


def _normal_cdf(x: Tensor) -> Tensor:
    """Of the standard normal law, accurate in the lower tail."""
    return 0.5 * torch.erfc(x * -math.sqrt(0.5))


def _widen(x: Tensor) -> Tensor:
    """At least float32, in which small probabilities have digits."""
    return x if x.dtype == torch.float64 else x.float()


def _full_precision(x: Tensor) -> AbstractContextManager[object]:
    """A context in which matrix products on the tensor's device are not autocast to a smaller type."""
    device = x.device.type
    if device == "meta" or not torch.is_autocast_enabled(device):
        return nullcontext()
    return torch.autocast(device, enabled=False)
