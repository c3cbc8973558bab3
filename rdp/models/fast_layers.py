"""The stages that stand for the layers of image transforms, with their weights prepared once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rdp.models.activations import GDN, GSDN, ChannelNorm, HardShrinkage, OneDN
from rdp.models.fast_stages import (
    Pointwise,
    ReflectRows,
    Residual,
    Setting,
    Shape,
    Stage,
    Whole,
    Windows,
)
from rdp.models.hific import ResidualBlock, ResidualTrunk

FEW_CHANNELS = 16
"""Transposed convolutions with at most this many outputs times stride^2 are computed as convolution and shuffle."""


class Convolution(Windows):
    """nn.Conv2d with zero padding."""

    def __init__(self, layer: nn.Conv2d, setting: Setting) -> None:
        (stride, self.stride_x), (top, self.padding_x) = layer.stride, _padding(layer)
        self.dilation = layer.dilation
        self.groups = layer.groups
        self.extent, self.extent_x = _extent(layer)
        # A stride that skips rows skips them within the window.
        super().__init__(setting, layer.weight, up=1, step=stride, size=max(self.extent, stride), before=top)
        self.channels = layer.out_channels
        self.bias = None if layer.bias is None else setting.place(layer.bias)

    def compute(self, rows: Tensor) -> Tensor:
        stride, padding = (self.step, self.stride_x), (0, self.padding_x)
        return F.conv2d(rows, self.weight, self.bias, stride, padding, self.dilation, self.groups)

    def shape(self, given: Shape) -> Shape:
        batch, _, height, width = given
        rows = (height + 2 * self.before - self.extent) // self.step + 1
        return batch, self.channels, rows, (width + 2 * self.padding_x - self.extent_x) // self.stride_x + 1


class TransposedConvolution(Windows):
    """nn.ConvTranspose2d: `stride` rows of output from the rows of input that reach them."""

    def __init__(self, layer: nn.ConvTranspose2d, setting: Setting) -> None:
        self.layer = _Geometry(layer)
        before, after = self.layer.reach(0)
        super().__init__(setting, layer.weight, up=layer.stride[0], step=1, size=before + 1 + after, before=before)
        self.bias = None if layer.bias is None else setting.place(layer.bias)

    def compute(self, rows: Tensor) -> Tensor:
        geometry = self.layer
        units = rows.shape[2] - self.size + 1
        # Padding crops the output: what rows beyond the window would add to is cut off, above and below.
        crop = geometry.padding[0] + self.up * self.before
        extra = self.up * units - ((rows.shape[2] - 1) * self.up - 2 * crop + geometry.extent[0])
        padding, output_padding = (crop, geometry.padding[1]), (max(0, extra), geometry.output_padding[1])
        made = F.conv_transpose2d(
            rows,
            self.weight,
            self.bias,
            geometry.stride,
            padding,
            output_padding,
            geometry.groups,
            geometry.dilation,
        )
        return made[:, :, : self.up * units]

    def shape(self, given: Shape) -> Shape:
        return self.layer.shape(given)


class ShuffledConvolution(Windows):
    """nn.ConvTranspose2d with few outputs: an ordinary convolution to `stride`^2 times as many, and a pixel shuffle.

    The library's transposed convolution wastes most of a vector register on 3 channels; 12 fill it, although a part
    of the weights is 0 (36 taps instead of 25, for 5x5 and stride 2).
    """

    def __init__(self, layer: nn.ConvTranspose2d, setting: Setting) -> None:
        self.layer = _Geometry(layer)
        before, after = self.layer.reach(0)
        size, up = before + 1 + after, layer.stride[0]
        phases = _phases(layer.weight.detach(), up, self.layer.padding[0], before, size)
        super().__init__(setting, phases, up=up, step=1, size=size, before=before)
        self.bias = None if layer.bias is None else setting.place(layer.bias.detach().repeat_interleave(self.up**2))

    def compute(self, rows: Tensor) -> Tensor:
        return F.pixel_shuffle(F.conv2d(rows, self.weight, self.bias, padding=(0, self.before)), self.up)

    def shape(self, given: Shape) -> Shape:
        return self.layer.shape(given)

    @staticmethod
    def applies(layer: nn.ConvTranspose2d) -> bool:
        """Whether the layer has few outputs, is square, and multiplies sides by its stride exactly."""
        geometry = _Geometry(layer)
        square = all(len(set(pair)) == 1 for pair in (layer.stride, geometry.padding, geometry.extent))
        before, after = geometry.reach(0)
        plain = square and layer.groups == 1 and layer.dilation == (1, 1) and before == after
        few = layer.out_channels * layer.stride[0] ** 2 <= FEW_CHANNELS
        return plain and few and geometry.shape((1, 1, 8, 8))[2:] == (8 * layer.stride[0], 8 * layer.stride[1])


class Shuffle(Stage):
    """nn.PixelShuffle."""

    def __init__(self, factor: int, setting: Setting) -> None:
        self.factor = factor
        self.setting = setting

    def stream(self, blocks: Iterator[Tensor]) -> Iterator[Tensor]:
        for block in blocks:
            yield F.pixel_shuffle(block, self.factor)

    def shape(self, given: Shape) -> Shape:
        batch, channels, height, width = given
        return batch, channels // self.factor**2, height * self.factor, width * self.factor

    def memory(self, given: Shape, rows: int) -> tuple[int, int]:
        return self.setting.nbytes(given, rows), rows * self.factor


class _Geometry:
    """The sizes of a transposed convolution."""

    def __init__(self, layer: nn.ConvTranspose2d) -> None:
        self.stride, self.dilation, self.groups = layer.stride, layer.dilation, layer.groups
        self.padding, self.output_padding = _pair(layer.padding), _pair(layer.output_padding)
        self.channels = layer.out_channels
        self.extent = _extent(layer)

    def reach(self, axis: int) -> tuple[int, int]:
        """How many inputs before and after input m add to the outputs m * stride ... m * stride + stride - 1."""
        stride, padding = self.stride[axis], self.padding[axis]
        return (self.extent[axis] - 1 - padding) // stride, (stride - 1 + padding) // stride

    def shape(self, given: Shape) -> Shape:
        batch, _, *sides = given
        height, width = (
            (side - 1) * self.stride[axis] - 2 * self.padding[axis] + self.extent[axis] + self.output_padding[axis]
            for axis, side in enumerate(sides)
        )
        return batch, self.channels, height, width

    def streams(self) -> bool:
        """Whether no more rows are made from the rows so far than the output has in the end."""
        before, after = self.reach(0)
        surplus = self.extent[0] - 2 * self.padding[0] + self.output_padding[0]
        return before >= 0 and surplus >= self.stride[0] * (1 - after)


def _phases(weight: Tensor, stride: int, padding: int, before: int, size: int) -> Tensor:
    """Weights of a transposed convolution (in, out, k, k) to those of a convolution (out * stride^2, in, size, size).

    Output row m * stride + r is the sum over inputs m + j of the taps r + padding - stride * j.
    """
    inputs, outputs, kernel, _ = weight.shape
    phases = weight.new_zeros(outputs, stride, stride, inputs, size, size)
    taps = [
        (phase, offset, phase + padding - stride * (offset - before))
        for phase in range(stride)
        for offset in range(size)
        if 0 <= phase + padding - stride * (offset - before) < kernel
    ]
    for phase_y, y, tap_y in taps:
        for phase_x, x, tap_x in taps:
            phases[:, phase_y, phase_x, :, y, x] = weight[:, :, tap_y, tap_x].T
    return phases.reshape(-1, inputs, size, size)


def normalisation(module: GDN, setting: Setting) -> Stage:
    """GDN, 1DN, GSDN: the sums over channels as a convolution, the rest in place of its result.

    In bfloat16 the sums are made of rounded squares, but added in float32. float16 cannot hold squares, so that they
    are float32 there. A root is its reciprocal times the number: the root of a number in half precision lies halfway
    between two such numbers half of the time, a trace below, so that rounding takes the lower one and pictures become
    darker; that of the reciprocal falls to either side.
    """
    squares = not isinstance(module, OneDN)
    wide = torch.float32 if setting.dtype == torch.float16 and squares else setting.dtype
    sums = Setting(setting.device, wide, setting.block_bytes)
    gamma = sums.place(module.effective_gamma()[:, :, None, None])
    beta = sums.place(module.effective_beta())
    inverse, half = module.inverse, wide != torch.float32
    shift: Callable[[Tensor], Tensor] | None = None
    if isinstance(module, GSDN):
        tau, nu = setting.place(module.tau[:, :, None, None]), setting.place(module.nu)

        def shift(x: Tensor) -> Tensor:
            return F.conv2d(x, tau, nu)

    def normalise(x: Tensor) -> Tensor:
        whole = x.to(wide)
        norm = F.conv2d(whole * whole if squares else whole.abs(), gamma, beta)
        mean = None if shift is None else shift(x)
        if squares:
            norm = norm.rsqrt_() if not inverse else norm.rsqrt().mul_(norm) if half else norm.sqrt_()
        elif not inverse:
            norm = norm.reciprocal_()
        norm = norm.mul_(whole if mean is None or inverse else whole - mean)
        if mean is not None and inverse:
            norm = norm.add_(mean)
        return norm.to(x.dtype)

    return Pointwise(normalise, setting, copies=2 if setting.dtype == torch.float32 and shift is None else 4)


def stage(layer: nn.Module, setting: Setting) -> Stage:
    """The stage that computes what the layer does; a class that is not known here gets a `Whole`."""
    known = type(layer)
    if known in (GDN, OneDN, GSDN) and isinstance(layer, GDN):
        return normalisation(layer, setting)
    if known in (nn.ReLU, nn.LeakyReLU, nn.Identity):
        twin = copy.deepcopy(layer)
        if isinstance(twin, nn.ReLU | nn.LeakyReLU):
            twin.inplace = False
        return Pointwise(twin, setting)
    if known in (HardShrinkage, ChannelNorm):
        # They promote what they are given; their own few weights stay exact.
        twin = copy.deepcopy(layer).eval().requires_grad_(False).to(setting.device, torch.float32)
        return Pointwise(twin, setting, copies=4 * 4 / setting.dtype.itemsize)
    if isinstance(layer, ResidualBlock | ResidualTrunk) and known in (ResidualBlock, ResidualTrunk):
        return Residual(stages(layer.body if isinstance(layer, ResidualBlock) else layer.blocks, setting), setting)
    if known is nn.PixelShuffle and isinstance(layer, nn.PixelShuffle):
        return Shuffle(layer.upscale_factor, setting)
    if known is nn.ReflectionPad2d and isinstance(layer, nn.ReflectionPad2d):
        return ReflectRows(layer.padding, setting)
    if known is nn.Conv2d and isinstance(layer, nn.Conv2d) and layer.padding_mode == "zeros" and _symmetric(layer):
        return Convolution(layer, setting)
    if known is nn.ConvTranspose2d and isinstance(layer, nn.ConvTranspose2d) and _Geometry(layer).streams():
        return (ShuffledConvolution if ShuffledConvolution.applies(layer) else TransposedConvolution)(layer, setting)
    return Whole(layer, setting)


def stages(module: nn.Module, setting: Setting) -> list[Stage]:
    """The stages of a module's layers."""
    return [stage(layer, setting) for layer in layers(module)]


def layers(module: nn.Module) -> Iterator[nn.Module]:
    """The layers of nested nn.Sequential in order. Other classes, also those derived from it, are one layer."""
    if type(module) is nn.Sequential:
        for child in module:
            yield from layers(child)
    else:
        yield module


def _pair(value: Sequence[int] | str) -> tuple[int, int]:
    first, second = (int(side) for side in value)
    return first, second


def _extent(layer: nn.Conv2d | nn.ConvTranspose2d) -> tuple[int, int]:
    """From the first tap to the last, in rows and in columns."""
    (kernel_y, kernel_x), (dilation_y, dilation_x) = _pair(layer.kernel_size), _pair(layer.dilation)
    return dilation_y * (kernel_y - 1) + 1, dilation_x * (kernel_x - 1) + 1


def _symmetric(layer: nn.Conv2d) -> bool:
    """Whether as many zeros stand on one side as on the other."""
    return layer.padding != "same" or all(extent % 2 for extent in _extent(layer))


def _padding(layer: nn.Conv2d) -> tuple[int, int]:
    """Zeros above and at the left of what the layer is given."""
    if layer.padding == "valid":
        return 0, 0
    if layer.padding == "same":
        return _pair([extent // 2 for extent in _extent(layer)])
    return _pair(layer.padding)
