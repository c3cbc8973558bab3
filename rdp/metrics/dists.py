"""DISTS: structure and texture of two pictures, compared in the features of VGG-16.

Source: Ding, Ma, Wang, Simoncelli, "Image quality assessment: unifying structure and texture similarity", IEEE TPAMI
44(5), 2022 (arXiv 2004.07728), and the authors' package `DISTS_pytorch`, which this equals to 1e-5 on the same weights.
It is written anew since the package's constructor downloads VGG-16 whatever it is told; here both files of weights, the
network's and the authors' alpha and beta, come through the index, verified.

Layers are the picture itself and the last activations of VGG-16's five stages, with each maximum of 2x2 replaced by the
root of a weighted mean of squares (3x3 Hann window, stride 2). For each channel of each layer there are a similarity of
means (weight alpha) and one of variations around them (weight beta); DISTS is 1 less their weighted mean. Computed as
the losses 1 - similarity, which are squared differences, so that small ones keep their digits: exactly 0 for identical
pictures.

Pictures are compared at their own size, as the package's forward does. The authors' example, and `piq`, first scale the
shorter side down to 256 pixels, which gives other numbers. Float32, TF32 off.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.nn import functional

from rdp.errors import WeightsError
from rdp.metrics.base import Metric, MetricPlan
from rdp.metrics.lpips import read_weights
from rdp.metrics.tensors import scoring, stack, torch_device
from rdp.weights import reverify

if TYPE_CHECKING:
    from rdp.metrics.base import Image

CHANNELS = (3, 64, 128, 256, 512, 512)
"""Of the layers: the picture, and the stages of VGG-16."""

STAGES = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
"""Places of the convolutions in torchvision's `vgg16().features`, stage by stage."""

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_STABLE, _POOL_STABLE = 1e-6, 1e-12
_CPU_PIXELS, _GPU_PIXELS = 1 << 18, 1 << 21


class Layer(NamedTuple):
    """Of one layer: channels' means (N, C) and variances (N, C), and the activations less the means (N, C, h, w)."""

    mean: torch.Tensor
    variance: torch.Tensor
    around: torch.Tensor


class Dists(Metric):
    """DISTS of each image: 0 for identical images, larger for less similar ones."""

    def __init__(self, plan: MetricPlan, device: str = "cpu") -> None:
        super().__init__(plan, device)
        self._device = torch_device(device)
        self.pixels_per_chunk = _CPU_PIXELS if self._device.type == "cpu" else _GPU_PIXELS
        network, heads = (reverify(file) for file in plan.weights)
        self._stages = [
            [(weight.to(self._device), bias.to(self._device)) for weight, bias in stage]
            for stage in read_stages(network)
        ]
        self._alpha, self._beta = (
            [part.to(self._device) for part in torch.split(weights, list(CHANNELS))] for weights in read_heads(heads)
        )
        hann = torch.tensor([0.25, 0.5, 0.25], device=self._device)
        self._window = hann[:, None] * hann

    def _features(self, reference: Image) -> list[Layer]:
        with scoring(self._device):
            return list(self._layers([reference]))

    def _score_chunk(self, features: list[Layer], reconstructions: Sequence[Image]) -> dict[str, list[float]]:
        with scoring(self._device):
            total = torch.zeros(len(reconstructions), dtype=torch.float32, device=self._device)
            layers = zip(self._layers(reconstructions), features, self._alpha, self._beta, strict=True)
            for own, reference, alpha, beta in layers:
                structure = (own.mean - reference.mean).square()
                structure /= own.mean.square() + reference.mean.square() + _STABLE
                texture = (own.around - reference.around).square_().mean(dim=(-2, -1))
                texture /= own.variance + reference.variance + _STABLE
                # Not a matrix product, which a GPU may do in TF32.
                total += (structure * alpha + texture * beta).sum(dim=1)
            return {self.columns[0]: total.tolist()}

    def _layers(self, images: Sequence[Image]) -> Iterator[Layer]:
        picture = stack(images, self._device).float().div_(255)
        yield _layer(picture)
        mean, std = (torch.tensor(values, device=self._device).reshape(3, 1, 1) for values in (_MEAN, _STD))
        activations = (picture - mean) / std
        for number, stage in enumerate(self._stages):
            if number:
                activations = _pooled(activations, self._window)
            for weight, bias in stage:
                activations = functional.conv2d(activations, weight, bias, padding=1).relu_()
            yield _layer(activations)


def read_stages(path: Path) -> list[list[tuple[torch.Tensor, torch.Tensor]]]:
    """Weights and biases of VGG-16's convolutions by stage, from a torchvision state dict.

    Raises `WeightsError` for a file that is another network's.
    """
    state = read_weights(path)
    stages, channels = [], 3
    for places, width in zip(STAGES, CHANNELS[1:], strict=True):
        stage = []
        for place in places:
            shapes = {f"features.{place}.weight": (width, channels, 3, 3), f"features.{place}.bias": (width,)}
            weight, bias = (_tensor(state, name, shape, path) for name, shape in shapes.items())
            stage.append((weight, bias))
            channels = width
        stages.append(stage)
    return stages


def read_heads(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """The weights alpha and beta, (1475,) each, divided by their common sum.

    Raises `WeightsError` for a file that has none.
    """
    state, shape = read_weights(path), (1, sum(CHANNELS), 1, 1)
    alpha, beta = (_tensor(state, name, shape, path).reshape(-1) for name in ("alpha", "beta"))
    total = alpha.sum() + beta.sum()
    return alpha / total, beta / total


def _tensor(state: dict[str, torch.Tensor], name: str, shape: tuple[int, ...], path: Path) -> torch.Tensor:
    tensor = state.get(name)
    if not isinstance(tensor, torch.Tensor) or tuple(tensor.shape) != shape:
        found = tuple(tensor.shape) if isinstance(tensor, torch.Tensor) else "none"
        raise WeightsError(f"weights file {path}: {name!r} must be a tensor of shape {shape}, and there is {found}")
    return tensor.detach().float()


def _layer(activations: torch.Tensor) -> Layer:
    mean = activations.mean(dim=(-2, -1))
    around = activations - mean[..., None, None]
    return Layer(mean, around.square().mean(dim=(-2, -1)), around)


def _pooled(activations: torch.Tensor, window: torch.Tensor) -> torch.Tensor:
    """The root of a weighted mean of squares at half size (rounded up)."""
    channels = activations.shape[1]
    kernel = window.expand(channels, 1, 3, 3)
    means = functional.conv2d(activations.square(), kernel, stride=2, padding=1, groups=channels)
    return means.add_(_POOL_STABLE).sqrt_()
