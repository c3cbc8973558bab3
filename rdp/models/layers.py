"""The layers that all transforms are made of: strided convolutions and what turns them around."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def conv(in_channels: int, out_channels: int, kernel: int = 5, stride: int = 2) -> nn.Conv2d:
    """A convolution that divides sides by `stride`: (N, in, H, W) to (N, out, H / stride, W / stride)."""
    return nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=kernel // 2)


def deconv(in_channels: int, out_channels: int, kernel: int = 5, stride: int = 2) -> nn.ConvTranspose2d:
    """A transposed convolution that multiplies sides by `stride`: (N, in, h, w) to (N, out, h stride, w stride)."""
    return nn.ConvTranspose2d(
        in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, output_padding=stride - 1
    )


def upsample(in_channels: int, out_channels: int, kernel: int, factor: int = 2) -> nn.Sequential:
    """A convolution and a pixel shuffle that multiply sides by `factor`: (N, in, h, w) to (N, out, h f, w f).

    Source of the shuffle: Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel
    convolutional neural network", CVPR 2016.
    """
    return nn.Sequential(conv(in_channels, out_channels * factor**2, kernel, stride=1), nn.PixelShuffle(factor))


def lower_bound(x: Tensor, bound: float) -> Tensor:
    """`max(x, bound)`, whose gradient also passes below the bound where a descent step would move `x` up.

    With the gradient of a plain maximum, a value that has fallen below the bound would never come back.
    """
    bounded: Tensor = _LowerBound.apply(x, bound)
    return bounded


class _LowerBound(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bound: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.bound = bound
        return x.clamp(min=bound)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        (gradient,) = gradients
        passes = (x >= ctx.bound) | (gradient < 0)
        return gradient * passes, None
