"""What the feature networks share: patches in, float32 features out, in chunks of equal size, on any device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from rdp.errors import MetricError
from rdp.metrics.tensors import scoring, torch_device

if TYPE_CHECKING:
    from rdp.metrics.feature_networks import NetworkPlan

Float32 = NDArray[np.float32]

_CHUNK = {"cpu": 8, "cuda": 64}
"""Patches that pass through a network together: of 256x256 pixels about 0.4 GB of activations for each eight."""


class FeatureNetwork(ABC):
    """A network ready on a device. Subclasses give `_forward`; chunks, arithmetic and checks are here.

    `device` is what is recorded beside the features: "cpu", or the name of the GPU.
    """

    def __init__(self, plan: NetworkPlan, device: str = "cpu") -> None:
        self.plan = plan
        self._device = torch_device(device)
        self.device = "cpu" if self._device.type == "cpu" else torch.cuda.get_device_name(self._device)

    def features(self, patches: NDArray[np.uint8]) -> Float32:
        """Features (n, dimensions) of patches, uint8 (n, side, side, 3); each depends on its own patch alone.

        In inference, with true float32 (no TF32, no bfloat16). Raises `MetricError` for patches that are too small or
        no such array, and for features that are not finite.
        """
        if patches.ndim != 4 or patches.shape[3] != 3 or patches.dtype != np.uint8:
            raise MetricError(f"features are of patches uint8 (n, side, side, 3), not {patches.dtype} {patches.shape}")
        self.plan.check_side(min(patches.shape[1:3]))
        found = np.empty((len(patches), self.plan.dimensions), np.float32)
        size = _CHUNK[self._device.type]
        with exact(self._device):
            for start in range(0, len(patches), size):
                chunk = torch.from_numpy(np.ascontiguousarray(patches[start : start + size])).to(self._device)
                out = self._forward(chunk.permute(0, 3, 1, 2).contiguous())
                found[start : start + size] = check_output(out, len(chunk), self.plan).float().cpu().numpy()
        if not np.isfinite(found).all():
            raise MetricError(f"the network {self.plan.name!r} gave features that are not finite")
        return found

    @abstractmethod
    def _forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Features (n, dimensions) of patches, uint8 (n, 3, side, side), on the device."""


def check_output(out: Any, count: int, plan: NetworkPlan) -> torch.Tensor:
    """The output of a network, if it is what the plan says. Raises `MetricError`."""
    wanted = (count, plan.dimensions)
    if not isinstance(out, torch.Tensor) or not out.is_floating_point() or tuple(out.shape) != wanted:
        given = f"{out.dtype} {tuple(out.shape)}" if isinstance(out, torch.Tensor) else type(out).__name__
        raise MetricError(f"the network {plan.name!r} gave {given} for {count} patches, not floats {wanted}")
    return out


@contextmanager
def exact(device: torch.device) -> Iterator[None]:
    """No gradients, and float32 as it is: matrix products and convolutions in no shorter type, as before afterwards."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with scoring(device), torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
