"""The Inception network that FID and KID are defined on, built and fed by `torch-fidelity`.

Source: Obukhov et al., `torch-fidelity`, whose conversion of TensorFlow's graph of 2015 gives its numbers to rounding;
Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium", 2017, for its use.
The 2048 features are the global mean of the last block. The network itself takes 8-bit patches and resizes them to
299x299 pixels as TensorFlow 1 does, with no antialiasing, which enlarges patches of 256x256 and aliases larger ones.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from rdp.errors import DependencyError, WeightsError
from rdp.metrics.features import FeatureNetwork
from rdp.metrics.lpips import read_weights
from rdp.weights import reverify

if TYPE_CHECKING:
    from rdp.metrics.feature_networks import NetworkPlan

FEATURES = "2048"


class Inception(FeatureNetwork):
    """2048 features of each patch."""

    def __init__(self, plan: NetworkPlan, device: str = "cpu") -> None:
        super().__init__(plan, device)
        self._network = build_inception(reverify(plan.weights[0])).to(self._device)

    def _forward(self, patches: torch.Tensor) -> torch.Tensor:
        return cast("torch.Tensor", self._network(patches)[0])


def build_inception(path: Path) -> Any:
    """The library's network with the weights of a file, in evaluation mode.

    Raises `DependencyError` where the library is not installed, and `WeightsError` for a file that does not fit.
    """
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        raise DependencyError(
            f"the feature network 'inception' is built by torch-fidelity, which cannot be loaded ({error}): "
            "pip install 'rdp-toolkit[inception]'"
        ) from error
    # The library reads its file with code in it allowed. It is read here without, and handed on from memory.
    safe = io.BytesIO()
    torch.save(read_weights(path), safe)
    safe.seek(0)
    try:
        network = FeatureExtractorInceptionV3("inception", [FEATURES], feature_extractor_weights_path=safe)
    except RuntimeError as error:
        raise WeightsError(f"weights file {path} is not the Inception network of torch-fidelity: {error}") from error
    return network.requires_grad_(False).eval()
