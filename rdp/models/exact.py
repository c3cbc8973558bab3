"""Hyper-networks in exact arithmetic: the same bits from every device, thread count, batch size and algorithm.

What a decoder needs to read a file (which table a symbol is coded with, and every mean that a context depends on) must
be the same number wherever the file is decoded; sums of floating-point products are not, since their order differs.
Here a network works on integers instead. Weights become integers once, activations are rounded to integers before
every layer, and the products are summed in floating point of enough digits that every partial sum is an integer
represented exactly: then any order of summation, and any library that forms ordinary products and sums, gives the same
bits. Between the layers stand single correctly rounded IEEE operations in float64.

Three ways of forming the sums, equal by construction and by test:

- matrix: products of matrices in float64, whose sums stay below 2^53. On every device but the CPU.
- double: convolutions in float64, which PyTorch computes on the CPU as products of matrices too.
- limbs: convolutions in float32 through oneDNN (x86, faster though it forms three times as many products), activations
  split into three limbs of 5 bits, so that every sum stays below 2^24. Where PyTorch is not set to do this with true
  float32 products (`_limbs_are_exact`), the second way is taken.

Winograd and FFT algorithms form other sums and have to be kept out. oneDNN is called with its direct algorithm by
PyTorch; images go through one by one, for NNPACK takes over larger batches where oneDNN is off; cuDNN is not called. No
setting of the process is changed, since other threads may rely on them.
"""

from __future__ import annotations

import hashlib
import math
import platform
from dataclasses import dataclass
from typing import Any, Literal

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

    def convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        """The convolution without bias and scale, by PyTorch's operator."""
        if self.transposed:
            return functional.conv_transpose2d(x, weight, None, self.stride, self.padding, self.output_padding)
        return functional.conv2d(x, weight, None, self.stride, self.padding)

    def multiply(self, x: Tensor) -> Tensor:
        """The same as products of matrices in float64, and sums of what lies above each other."""
        weight, kernel = self.weight.double(), tuple(self.weight.shape[2:])
        count, _, height, width = x.shape
        sides = [
            (side - 1) * stride - 2 * padding + extent + extra
            if self.transposed
            else (side + 2 * padding - extent) // stride + 1
            for side, stride, padding, extent, extra in zip(
                (height, width), self.stride, self.padding, kernel, self.output_padding, strict=True
            )
        ]
        if self.transposed:
            columns = weight.flatten(1).T @ x.flatten(2)
            return functional.fold(columns, (sides[0], sides[1]), kernel, 1, self.padding, self.stride)
        columns = functional.unfold(x, kernel, 1, self.padding, self.stride)
        return (weight.flatten(1) @ columns).reshape(count, len(weight), *sides)


@dataclass(frozen=True)
class _Slope:
    """ReLU (slope 0) or leaky ReLU."""

    negative: float


@dataclass(frozen=True)
class _Shuffle:
    """Channels to pixels."""

    factor: int


_Step = _Layer | _Slope | _Shuffle
Way = Literal["matrix", "double", "limbs"]


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
            way: Way = "matrix" if self.device.type != "cpu" else "limbs" if _limbs_are_exact() else "double"
            return self.evaluate(x.to(self.device, torch.float64), way)

    def integer_weights(self) -> list[Tensor]:
        """The integer weights of each convolution, as float32 tensors of the module's shapes."""
        return [step.weight for step in self._steps if isinstance(step, _Layer)]

    def evaluate(self, x: Tensor, way: Way) -> Tensor:
        """The same, with the way of forming the sums chosen; on the CPU image by image."""
        if x.device.type == "cpu" and len(x) > 1:
            return torch.cat([self.evaluate(x[place : place + 1], way) for place in range(len(x))])
        for step in self._steps:
            if isinstance(step, _Layer):
                x = _sum(step, x, way)
            elif isinstance(step, _Slope):
                x = torch.where(x < 0, x * step.negative, x)
            else:
                x = functional.pixel_shuffle(x, step.factor)
        return x


def _sum(layer: _Layer, x: Tensor, way: Way) -> Tensor:
    """A layer's values: exact sums of integers, then scale and bias."""
    integers, unit = _to_integers(x)
    if way == "limbs":
        high, middle, low = (layer.convolve(limb, layer.weight) for limb in _limbs(integers.float()))
        sums = high.double().mul_(_RADIX).add_(middle).mul_(_RADIX).add_(low)
    elif way == "double":
        sums = layer.convolve(integers, layer.weight.double())
    else:
        sums = layer.multiply(integers)
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
    _, exponent = torch.frexp(x.abs().amax(dim=(1, 2, 3), keepdim=True))
    exponent = (exponent.long() - ACTIVATION_BITS).clamp(-900, 900)
    return torch.round(x * _power_of_two(-exponent)), _power_of_two(exponent)


def _power_of_two(exponent: Tensor) -> Tensor:
    """2^exponent, float64, from its bits; exponents (int64) from -1022 to 1023."""
    return ((exponent + 1023) << 52).view(torch.float64)


def _limbs_are_exact() -> bool:
    """Whether float32 convolutions on the CPU are oneDNN's, with true float32 products, as far as PyTorch tells."""
    mkldnn: Any = torch.backends.mkldnn
    if platform.machine().lower() not in ("x86_64", "amd64") or not (mkldnn.is_available() and mkldnn.enabled):
        return False
    try:
        settings = (mkldnn.conv.fp32_precision, torch.get_float32_matmul_precision())
    except AttributeError:  # PyTorch before 2.9 has one setting
        settings = ("ieee", torch.get_float32_matmul_precision())
    except RuntimeError:  # PyTorch refuses to name settings of the old and the new kind that contradict each other
        return False
    return settings[0] in ("none", "ieee") and settings[1] == "highest"


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
