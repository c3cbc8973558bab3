"""Features of SqueezeNet 1.1, a stand-in for Inception where only its weights exist.

The network of Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters", 2016, version 1.1 of
torchvision, trained for the classes of ImageNet: the backbone of `lpips_squeeze`. A patch gives the 512 channels of the
last fire module (`features.12`, after its ReLU), each averaged over its positions: what the classifier's convolution
sees of the whole patch. Pixels are scaled as in its training, patches keep their size (256x256 gives maps of 15x15).

Distances of these features are called `fd_squeeze` and `kd_squeeze`. They order codecs as FID and KID might, and are
other numbers. Where LPIPS with the same backbone is optimised, they judge with its own eyes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from rdp.errors import WeightsError
from rdp.metrics.features import FeatureNetwork
from rdp.metrics.lpips import read_weights
from rdp.weights import reverify

if TYPE_CHECKING:
    from torch import nn

    from rdp.metrics.feature_networks import NetworkPlan

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_PREFIX = "features."


class SqueezeFeatures(FeatureNetwork):
    """512 features of each patch."""

    def __init__(self, plan: NetworkPlan, device: str = "cpu") -> None:
        super().__init__(plan, device)
        self._layers = build_squeezenet(reverify(plan.weights[0])).to(self._device)
        self._mean = torch.tensor(MEAN, device=self._device)[:, None, None]
        self._std = torch.tensor(STD, device=self._device)[:, None, None]

    def _forward(self, patches: torch.Tensor) -> torch.Tensor:
        maps: torch.Tensor = self._layers((patches.float() / 255 - self._mean) / self._std)
        return maps.mean(dim=(2, 3))


def build_squeezenet(path: Path) -> nn.Module:
    """The feature layers of torchvision's SqueezeNet 1.1 with the weights of a file, .pth or .safetensors.

    Raises `WeightsError` for a file that does not fit.
    """
    from torchvision.models import squeezenet1_1

    with torch.device("meta"):
        layers: nn.Module = squeezenet1_1(weights=None).features
    state = read_weights(path)
    own = {name.removeprefix(_PREFIX): value.float() for name, value in state.items() if name.startswith(_PREFIX)}
    try:
        layers.load_state_dict(own, strict=True, assign=True)
    except RuntimeError as error:
        raise WeightsError(f"weights file {path} is not SqueezeNet 1.1: {error}") from error
    return layers.requires_grad_(False).eval()
