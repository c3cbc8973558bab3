"""The non-linearities of image transforms: divisive normalisations, hard shrinkage, channel norm; by name.

All take and give (N, C, H, W) and keep the dtype of what they are given. Roots, quotients and sums over channels are
made in float32 at least, under autocast too: training in a half precision would put its errors into the denominator
of every value, and float16 cannot hold squares. (`rdp.models.fast` has faster forms for inference.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from rdp.errors import SpecError, suggest
from rdp.models.layers import lower_bound

PEDESTAL = 2.0**-36
BETA_BOUND = math.sqrt(1e-6 + PEDESTAL)
GAMMA_BOUND = 2.0**-18
SURROGATES = ("triangle", "none")


def _wide(x: Tensor) -> Tensor:
    """`x` in float32, or as it is if it is wider."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _across_channels(x: Tensor, matrix: Tensor, bias: Tensor) -> Tensor:
    """bias_i + sum_j matrix_ij x_j at every position, in the dtype of `x`. As matrix products, which CUDA keeps from
    the shortened float32 that it allows convolutions."""
    matrix, bias = matrix.to(x.dtype), bias.to(x.dtype)
    device = x.device.type
    autocast = device != "meta" and torch.is_autocast_enabled(device)
    with torch.autocast(device, enabled=False) if autocast else nullcontext():
        if x.is_contiguous():
            flat = torch.baddbmm(bias[:, None], matrix.expand(len(x), -1, -1), x.flatten(2))
            return flat.view(x.shape)
        return F.linear(x.movedim(1, -1), matrix, bias).movedim(-1, 1)


class GDN(nn.Module):
    """Generalised divisive normalisation (Ballé et al., ICLR 2016), and its approximate inverse.

    With alpha 2 and epsilon 1/2, u_i = v_i / sqrt(beta_i + sum_j gamma_ij v_j^2) (thesis, eq. 3.3); the inverse
    multiplies by the root. beta and gamma are kept positive by what is stored: value = max(p, bound)^2 - 2^-36, with
    bounds for which beta is at least 1e-6 and gamma at least 0, so that weights of other libraries of this field load
    unchanged. They start at beta = 1, gamma = 0.1 on the diagonal.
    """

    def __init__(self, channels: int, inverse: bool = False) -> None:
        super().__init__()
        self.channels = channels
        self.inverse = inverse
        self.beta = nn.Parameter(torch.sqrt(torch.ones(channels) + PEDESTAL))
        self.gamma = nn.Parameter(torch.sqrt(0.1 * torch.eye(channels) + PEDESTAL))

    def effective_beta(self) -> Tensor:
        """beta, (C,), at least 1e-6 but for rounding."""
        return lower_bound(_wide(self.beta), BETA_BOUND) ** 2 - PEDESTAL

    def effective_gamma(self) -> Tensor:
        """gamma, (C, C), non-negative; row i belongs to output i."""
        return lower_bound(_wide(self.gamma), GAMMA_BOUND) ** 2 - PEDESTAL

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape and dtype."""
        wide = _wide(x)
        norm = self._norm(wide)
        return (wide * norm if self.inverse else wide / norm).to(x.dtype)

    def _norm(self, x: Tensor) -> Tensor:
        """What values are divided by, or multiplied with in the inverse."""
        return torch.sqrt(_across_channels(x * x, self.effective_gamma(), self.effective_beta()))

    def extra_repr(self) -> str:
        return f"{self.channels}, inverse={self.inverse}"


class OneDN(GDN):
    """1DN (Johnston et al., 2019): GDN with alpha and epsilon 1, so that neither squares nor roots are needed.

    z_i = x_i / (beta_i + sum_j gamma_ij |x_j|) (003_03b085e09599d4cf, eq. 5.2, the case alpha = epsilon = 1 of
    eq. 5.1); the inverse multiplies.
    """

    def _norm(self, x: Tensor) -> Tensor:
        return _across_channels(x.abs(), self.effective_gamma(), self.effective_beta())


class GSDN(GDN):
    """Generalised subtractive and divisive normalisation, or mean-shifting GDN (Qian et al., ICLR 2021).

    With m_i(x) = nu_i + sum_j tau_ij x_j and s_i(x) = sqrt(beta_i + sum_j gamma_ij x_j^2), both of what comes in:
    z_i = (x_i - m_i(x)) / s_i(x), and the inverse z_i = x_i s_i(x) + m_i(x), as in the authors' code
    (github.com/damo-cv/img-comp-reference). They keep nu and tau non-negative through the same reparametrisation as
    beta and gamma; here they are free, of which theirs is a part. The start is theirs: nu = 0, tau = 0.1 on the
    diagonal.
    """

    def __init__(self, channels: int, inverse: bool = False) -> None:
        super().__init__(channels, inverse)
        self.nu = nn.Parameter(torch.zeros(channels))
        self.tau = nn.Parameter(0.1 * torch.eye(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape and dtype."""
        wide = _wide(x)
        mean = _across_channels(wide, self.tau, self.nu)
        norm = self._norm(wide)
        return (wide * norm + mean if self.inverse else (wide - mean) / norm).to(x.dtype)


def _shrink(x: Tensor, theta: Tensor) -> Tensor:
    """`x` without what is smaller than half of |theta|, (C,). In place of a truth value, which is slow to select with,
    0 or 1 of the type of `x`; not differentiable."""
    passes = x.abs()
    torch.ge(passes, theta.abs()[:, None, None] / 2, out=passes)
    return passes.mul_(x)


class _Shrink(torch.autograd.Function):
    """The exact hard threshold, and gradients of which the one of theta is a surrogate (see `HardShrinkage`)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, theta: Tensor, width: float) -> Tensor:
        ctx.save_for_backward(x, theta)
        ctx.width = width
        return _shrink(x, theta)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, theta = ctx.saved_tensors
        magnitude = theta.abs()[:, None, None]
        grad_x = torch.where(x.abs() < magnitude / 2, 0.0, grad)
        if not ctx.width or not ctx.needs_input_grad[1]:
            return grad_x, torch.zeros_like(theta), None
        # The floor only keeps 0 / 0 away: no value that is not 0 lies in the window of theta = 0.
        u = _wide(x) / magnitude.clamp_min(torch.finfo(magnitude.dtype).tiny)
        window = (1 - (u.abs() - 0.5).abs() / ctx.width).clamp_min(0) / ctx.width
        # Outside the window u may be infinite, and infinity times 0 is no number.
        slope = torch.where(window > 0, -0.5 * u * window, 0.0)
        grad_theta = (_wide(grad) * slope).sum((0, 2, 3)) * theta.sign()
        return grad_x, grad_theta.to(theta.dtype), None


class HardShrinkage(nn.Module):
    """theta * HT(x / theta) with one learnable theta a channel; HT(u) = 0 for |u| < 1/2, else u (thesis, eq. 3.1).

    So what is smaller than theta / 2 becomes 0, and the rest passes as it is; theta = 0 passes everything. The sign
    of theta has no meaning: its magnitude counts. Analysis and synthesis use the same function.

    The gradient to x is the true one: 1 where values pass, 0 in the dead zone. That of theta is 0 almost everywhere,
    so that theta would never move: with u = x / theta, d/dtheta = -(u / 2) delta(|u| - 1/2). `surrogate="triangle"`
    puts a triangle of area 1 and half width `width` in the place of delta, in the backward pass alone. The window
    scales with theta; with the default half width, 1/2, it covers 0 < |x| < theta, so that a channel that died still
    has a way back. At exactly 0 theta stays. `surrogate="none"` leaves the true gradient, 0. `frozen` keeps theta
    where it starts, at `initial`. The thesis does not say where that is; the features of an untrained decoder are as
    small as 0.02, and 0.1 silences them (`benchmarks/shrinkage_threshold.py`).
    """

    def __init__(
        self,
        channels: int,
        surrogate: str = "triangle",
        frozen: bool = False,
        initial: float = 0.01,
        width: float = 0.5,
    ) -> None:
        """Raises `SpecError` for an unknown surrogate and for a width or a start that is not positive (or 0)."""
        super().__init__()
        if surrogate not in SURROGATES:
            raise SpecError(f"unknown surrogate {surrogate!r}.{suggest(surrogate, SURROGATES)} Known: {SURROGATES}")
        if not (initial >= 0 and width > 0):
            raise SpecError(f"shrinkage starts at 0 or above with a width above 0, not at {initial} with {width}")
        self.channels = channels
        self.surrogate = surrogate
        self.width = width
        self.theta = nn.Parameter(torch.full((channels,), float(initial)), requires_grad=not frozen)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape and dtype."""
        width = self.width if self.surrogate == "triangle" else 0.0
        shrunk: Tensor = _Shrink.apply(x, self.theta, width)
        return shrunk

    def extra_repr(self) -> str:
        return f"{self.channels}, surrogate={self.surrogate!r}, width={self.width}"


class ChannelNorm(nn.Module):
    """Normalisation over the channels at every position (Mentzer et al., NeurIPS 2020).

    z_i = gamma_i (x_i - mean) / sqrt(variance + 1e-3) + beta_i with the mean and the unbiased variance (divisor
    C - 1) of the channels, as the public PyTorch port has it (Justin-Tan/high-fidelity-generative-compression,
    src/normalisation/channel.py).
    """

    EPSILON = 1e-3

    def __init__(self, channels: int) -> None:
        """Raises `SpecError` for fewer than two channels, which have no variance."""
        super().__init__()
        if channels < 2:
            raise SpecError(f"channel norm needs two channels or more, not {channels}")
        self.channels = channels
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape and dtype."""
        wide = _wide(x)
        # In two passes, and not by torch.var_mean, which took a third of a HiFiC training step on a CPU.
        centred = wide - wide.mean(1, keepdim=True)
        variance = centred.square().sum(1, keepdim=True) / (wide.shape[1] - 1)
        scaled = centred * torch.rsqrt(variance + self.EPSILON)
        return (scaled * self.gamma[:, None, None] + self.beta[:, None, None]).to(x.dtype)

    def extra_repr(self) -> str:
        return f"{self.channels}"


_FACTORIES: dict[str, Callable[[int, bool], nn.Module]] = {
    "gdn": GDN,
    "1dn": OneDN,
    "gsdn": GSDN,
    "shrinkage": lambda channels, inverse: HardShrinkage(channels),
    "frozen_shrinkage": lambda channels, inverse: HardShrinkage(channels, frozen=True),
    "relu": lambda channels, inverse: nn.ReLU(),
    "leaky_relu": lambda channels, inverse: nn.LeakyReLU(0.01),
    "channel_norm": lambda channels, inverse: ChannelNorm(channels),
    "identity": lambda channels, inverse: nn.Identity(),
}


def activation_names() -> tuple[str, ...]:
    """The names that `create_activation` takes."""
    return tuple(_FACTORIES)


def create_activation(name: str, channels: int, inverse: bool = False) -> nn.Module:
    """The activation of that name for that many channels; `inverse` is for synthesis transforms.

    Only the divisive normalisations ("gdn", "1dn", "gsdn") have an inverse; the others are the same on both sides.
    Raises `SpecError` for an unknown name, with suggestions.
    """
    if name not in _FACTORIES:
        known = activation_names()
        raise SpecError(f"unknown activation {name!r}.{suggest(name, known)} Known: {', '.join(known)}")
    return _FACTORIES[name](channels, inverse)
