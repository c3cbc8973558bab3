"""Hyper-networks in exact arithmetic: the same bits from every device, thread count, batch size and algorithm.

What a decoder needs to read a file (which table a symbol is coded with, and every mean that a context depends on) must
be the same number wherever the file is decoded; sums of floating-point products are not, since their order differs.
Here a network works on integers instead. Weights become integers once, activations are rounded to integers before
every layer, and the products are summed in floating point of enough digits that every partial sum is an integer
represented exactly: then any order of summation, and any library that forms ordinary products and sums, gives the same
bits. Between the layers stand single correctly rounded IEEE operations in float64.

Two ways of forming the sums, equal by construction and by test:

- float64: activations times weights stay below 2^53.
- float32 (CPU, faster though it forms three times as many products): activations are split into three limbs of 5 bits,
  so that every sum stays below 2^24. It is used where PyTorch computes true float32 products (`_float32_is_exact`).

Winograd and FFT algorithms form other sums and are kept out: oneDNN is called with its direct algorithm by PyTorch on
x86, and on CUDA cuDNN is switched off for the call.
"""

from __future__ import annotations

import hashlib
import math
import platform
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from rdp.errors import WeightsError

ACTIVATION_BITS = 14
"""Activations of a layer are integers of at most 2^14, scaled by a power of two per image."""

_RADIX = 32.0
_WEIGHT_SUM = 1 << 20
"""Sum of the absolute integer weights of an output channel: times a limb, at most 16, it is 2^24, float32's last
integer. With the 2592 products of a 3x3 convolution of 288 channels a weight is 400 on average."""


@dataclass(frozen=True)
class _Layer:
    """A convolution in integers. `weight` as the module's, float32 integers; `factor` turns sums into values."""

    weight: Tensor
    factor: Tensor  # (C', 1, 1) float64: 1 / scale of each output channel
    bias: Tensor  # (C', 1, 1) float64
    transposed: bool
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    output_padding: tuple[int, ...]

    def to(self, device: torch.device) -> _Layer:
        return _Layer(
            self.weight.to(device), self.factor.to(device), self.bias.to(device), self.transposed,
            self.stride, self.padding, self.output_padding,
        )  # fmt: skip

    def sums(self, x: Tensor, weight: Tensor) -> Tensor:
        """The convolution without bias and scale."""
        if self.transposed:
            return functional.conv_transpose2d(x, weight, None, self.stride, self.padding, self.output_padding)
        return functional.conv2d(x, weight, None, self.stride, self.padding)


@dataclass(frozen=True)
class _Slope:
    """ReLU (slope 0) or leaky ReLU."""

    negative: float


@dataclass(frozen=True)
class _Shuffle:
    """Channels to pixels."""

    factor: int


_Step = _Layer | _Slope | _Shuffle


class ExactNetwork:
    """A sequence of convolutions, transposed convolutions, ReLUs, leaky ReLUs and pixel shuffles, in exact arithmetic.

    Made from the module's weights as they are then; the module is not changed. The outputs differ from the module's by
    the rounding of weights (12 bits or so) and activations (14 bits): about 0.1 % of the spread of the outputs.
    """

    def __init__(self, module: nn.Module, device: str | torch.device = "cpu") -> None:
        """Raises `WeightsError` for a module with layers that have no exact form, and for weights not finite."""
        self.device = torch.device(device)
        self._steps = [_prepare(part).to(self.device) if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d))
                       else _plain(part) for part in _flatten(module)]  # fmt: skip
        self.digest = _digest(self._steps)

    def __call__(self, x: Tensor) -> Tensor:
        """Values (N, C, H, W), float64, any device, to values (N, C', H', W'), float64 on this network's device.

        The result for one image does not depend on the others.
        """
        with torch.inference_mode(), torch.autocast(self.device.type, enabled=False):
            return self.evaluate(x.to(self.device, torch.float64), single=_float32_is_exact(self.device))

    def integer_weights(self) -> list[Tensor]:
        """The integer weights of each convolution, as float32 tensors of the module's shapes."""
        return [step.weight for step in self._steps if isinstance(step, _Layer)]

    def evaluate(self, x: Tensor, single: bool) -> Tensor:
        """The same, with the way of forming sums chosen: float32 in three limbs (`single`) or float64."""
        for step in self._steps:
            if isinstance(step, _Layer):
                x = _convolve(step, x, single)
            elif isinstance(step, _Slope):
                x = torch.where(x < 0, x * step.negative, x)
            else:
                x = functional.pixel_shuffle(x, step.factor)
        return x


def _convolve(layer: _Layer, x: Tensor, single: bool) -> Tensor:
    integers, unit = _to_integers(x)
    if single:
        high, middle, low = (layer.sums(limb, layer.weight) for limb in _limbs(integers.float()))
        sums = high.double().mul_(_RADIX).add_(middle).mul_(_RADIX).add_(low)
    elif x.device.type == "cuda":
        with torch.backends.cudnn.flags(enabled=False):
            sums = layer.sums(integers, layer.weight.double())
    else:
        sums = layer.sums(integers, layer.weight.double())
    # Two roundings, each of one IEEE operation: separate calls are never fused into one.
    return sums.mul_(layer.factor * unit).add_(layer.bias)


def _limbs(integers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Integers of at most 2^14 as high * 32^2 + middle * 32 + low, each of at most 16."""
    integers = integers.contiguous(memory_format=torch.channels_last)
    upper = torch.round(integers / _RADIX)
    high = torch.round(upper / _RADIX)
    return high, upper - high * _RADIX, integers - upper * _RADIX


def _to_integers(x: Tensor) -> tuple[Tensor, Tensor]:
    """Integers of at most 2^14 and the power of two of each image, (N, 1, 1, 1), such that x is about their product.

    A value that is not finite (a damaged file can lead there) counts as zero.
    """
    x = torch.nan_to_num(x, nan=0.0, posinf=0.0, neginf=0.0)
    largest = x.abs().amax(dim=(1, 2, 3), keepdim=True)
    _, exponent = torch.frexp(largest)
    exponent = (exponent - ACTIVATION_BITS).clamp(-900, 900)
    return torch.round(torch.ldexp(x, -exponent)), torch.ldexp(torch.ones_like(largest), exponent)


def _float32_is_exact(device: torch.device) -> bool:
    """Whether float32 convolutions on this device are sums of true float32 products, as far as PyTorch tells."""
    if device.type != "cpu" or platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    conv = getattr(torch.backends.mkldnn, "conv", None)
    if getattr(conv, "fp32_precision", "none") not in ("none", "ieee"):
        return False
    return torch.get_float32_matmul_precision() == "highest"


# ---- from a module


def _flatten(module: nn.Module) -> list[nn.Module]:
    if isinstance(module, nn.Sequential):
        return [leaf for part in module for leaf in _flatten(part)]
    return [] if isinstance(module, nn.Identity) else [module]


def _plain(part: nn.Module) -> _Slope | _Shuffle:
    if isinstance(part, nn.ReLU):
        return _Slope(0.0)
    if isinstance(part, nn.LeakyReLU):
        return _Slope(float(part.negative_slope))
    if isinstance(part, nn.PixelShuffle):
        return _Shuffle(int(part.upscale_factor))
    raise WeightsError(f"a hyper-network with a {type(part).__name__} layer has no exact form: it codes no files")


def _prepare(part: nn.Conv2d | nn.ConvTranspose2d) -> _Layer:
    """Integer weights of a convolution. Everything here is exact or one correctly rounded operation."""
    transposed = isinstance(part, nn.ConvTranspose2d)
    if part.groups != 1 or any(d != 1 for d in part.dilation) or part.padding_mode != "zeros":
        raise WeightsError("a hyper-network with grouped, dilated or not zero-padded convolutions has no exact form")
    weight = part.weight.detach().cpu().double().numpy()
    bias = np.zeros(part.out_channels) if part.bias is None else part.bias.detach().cpu().double().numpy()
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise WeightsError("the weights of a hyper-network are not finite numbers")
    by_output = weight.transpose(1, 0, 2, 3) if transposed else weight  # (C', C, kh, kw)
    if by_output[0].size > _WEIGHT_SUM:
        raise WeightsError(f"a hyper-network with {by_output[0].size} weights an output channel has no exact form")
    scales = np.array([_scale(channel) for channel in by_output])
    integers = np.rint(by_output * scales[:, None, None, None])
    if transposed:
        integers = integers.transpose(1, 0, 2, 3)
    padding = part.padding if isinstance(part.padding, tuple) else (0, 0)
    return _Layer(
        torch.from_numpy(np.ascontiguousarray(integers)).float(),
        torch.from_numpy(1.0 / scales)[:, None, None],
        torch.from_numpy(bias)[:, None, None],
        transposed,
        tuple(part.stride),
        padding,
        tuple(part.output_padding) if isinstance(part, nn.ConvTranspose2d) else (0, 0),
    )


def _scale(weights: np.ndarray) -> float:
    """What the weights of an output channel are multiplied by, so that their absolute integers sum to 2^20 at most.

    `math.fsum` is correctly rounded, whatever the order. Rounding to integers adds at most a half a weight.
    """
    total = math.fsum(np.abs(weights).ravel().tolist())
    room = _WEIGHT_SUM - weights.size / 2 - 1
    if total == 0.0 or room / total > 2.0**60:
        return 1.0
    return room / total


def _digest(steps: list[_Step]) -> bytes:
    """SHA-256 of everything that the results depend on."""
    digest = hashlib.sha256()
    for step in steps:
        if isinstance(step, _Layer):
            digest.update(repr((step.transposed, step.stride, step.padding, step.output_padding)).encode())
            for tensor in (step.weight, step.factor, step.bias):
                digest.update(repr(tuple(tensor.shape)).encode())
                digest.update(tensor.cpu().contiguous().numpy().astype("<f8").tobytes())
        else:
            digest.update(repr(step).encode())
    return digest.digest()
