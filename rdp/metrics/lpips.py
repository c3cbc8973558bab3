"""LPIPS v0.1 with the AlexNet, VGG-16 or SqueezeNet 1.1 backbone.

Source: Zhang, Isola, Efros, Shechtman, Wang, "The unreasonable effectiveness of deep features as a perceptual metric",
2018, in the authors' package `lpips`, which builds the network here and brings the linear heads; the backbone comes
from a verified file, never from a download that a constructor hides. What differs from calling the package is only
the bookkeeping: the reference passes through the backbone once, layers are compared as they come, and the head's
weighted sum is taken after the spatial mean, which is the same number (to 1e-6).

Inputs are scaled to [-1, 1], float32, TF32 off.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from rdp.errors import WeightsError
from rdp.metrics.base import Metric, MetricPlan
from rdp.metrics.tensors import scoring, stack, torch_device
from rdp.weights import reverify, sha256_of

if TYPE_CHECKING:
    from torch import nn

    from rdp.metrics.base import Image

_CPU_PIXELS = 1 << 18
_GPU_PIXELS = {"alex": 1 << 24, "vgg": 1 << 21, "squeeze": 1 << 23}
"""Pixels scored together: on a GPU about 3 GB of activations (VGG-16 keeps 64 channels at full size), on a CPU few,
since larger batches leave its cache and are slower. One image larger than this is scored alone."""


class Lpips(Metric):
    """LPIPS of each image: 0 for identical images, larger for less similar ones."""

    def __init__(self, plan: MetricPlan, device: str = "cpu") -> None:
        super().__init__(plan, device)
        self._device = torch_device(device)
        net = self.settings["net"]
        self.pixels_per_chunk = _CPU_PIXELS if self._device.type == "cpu" else _GPU_PIXELS[net]
        network = build_network(net, reverify(plan.weights[0]), self.settings["heads_sha256"])
        self._scaling = network.scaling_layer.to(self._device)
        trunk = network.net.to(self._device)
        self._slices = [getattr(trunk, f"slice{i}") for i in range(1, trunk.N_slices + 1)]
        self._heads = [lin.model[-1].weight.detach().reshape(-1).to(self._device) for lin in network.lins]

    def _features(self, reference: Image) -> list[torch.Tensor]:
        with scoring(self._device):
            return list(self._layers([reference]))

    def _score_chunk(self, features: list[torch.Tensor], reconstructions: Sequence[Image]) -> dict[str, list[float]]:
        with scoring(self._device):
            total = torch.zeros(len(reconstructions), dtype=torch.float32, device=self._device)
            for own, reference, head in zip(self._layers(reconstructions), features, self._heads, strict=True):
                distance = own.sub_(reference).square_().mean(dim=(-2, -1))
                # Not a matrix product, which a GPU may do in TF32.
                total += (distance * head).sum(dim=1)
            return {self.columns[0]: total.tolist()}

    def _layers(self, images: Sequence[Image]) -> Iterator[torch.Tensor]:
        """Activations (N, C, h, w) after each slice of the backbone, each pixel's vector scaled to length 1."""
        from lpips import normalize_tensor

        activations = self._scaling(stack(images, self._device).float().div_(127.5).sub_(1))
        for part in self._slices:
            activations = part(activations)
            yield normalize_tensor(activations)


def build_network(net: str, backbone: Path, heads_sha256: str) -> Any:
    """The package's LPIPS network (`lpips.LPIPS`) with heads of the given hash and a backbone from a file.

    `net` is alex, vgg or squeeze; `backbone` a torchvision state dict (.pth) or its feature layers (.safetensors).
    Raises `WeightsError` if either does not fit.
    """
    with warnings.catch_warnings():
        # The package calls torchvision in a way that torchvision warns of; nothing is wrong with what it gets.
        warnings.filterwarnings("ignore", message=".*pretrained.*")
        warnings.filterwarnings("ignore", message=".*weights.*")
        import lpips

        # On the meta device no time or memory goes into random weights that are replaced.
        with torch.device("meta"):
            network = lpips.LPIPS(pretrained=False, pnet_rand=True, net=net, version="0.1", verbose=False)
    network.scaling_layer = lpips.ScalingLayer()
    _load_backbone(network.net, backbone)
    heads = Path(lpips.__file__).parent / "weights" / "v0.1" / f"{net}.pth"
    _load_heads(network, heads, heads_sha256)
    return network.requires_grad_(False).eval()


def _load_backbone(trunk: nn.Module, path: Path) -> None:
    """Fill the slices of `trunk`, whose parameters are called as torchvision's with another prefix."""
    state = read_weights(path)
    wanted = {name: f"features.{name.partition('.')[2]}" for name in trunk.state_dict()}
    missing = [source for source in wanted.values() if source not in state]
    if missing:
        raise WeightsError(f"{path} holds no tensor {missing[0]!r}: it is not the backbone that the metric needs")
    _fill(trunk, {name: state[source].float() for name, source in wanted.items()}, path)


def _load_heads(network: nn.Module, path: Path, expected: str) -> None:
    found = sha256_of(path)
    if found != expected:
        raise WeightsError(
            f"the heads of LPIPS in {path} are not those of version 0.1: expected SHA-256 {expected}, found {found}. "
            "Install lpips again"
        )
    state = read_weights(path)
    aliases = {f"lins.{name.removeprefix('lin')}": tensor for name, tensor in state.items()}
    rest = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("lin")}
    _fill(network, {**rest, **state, **aliases}, path)


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Tensors of a .pth file, read without running code from it, or of a .safetensors file."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, ValueError, TypeError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise WeightsError(f"weights file {path} cannot be read: {error}") from error


def _fill(module: nn.Module, state: dict[str, torch.Tensor], path: Path) -> None:
    try:
        module.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        raise WeightsError(f"weights file {path} does not fit the network: {error}") from error
