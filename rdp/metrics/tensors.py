"""What the metrics that use torch share: devices, exact float32, and images as tensors. Imported by scorers only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch

from rdp.errors import MetricError

if TYPE_CHECKING:
    from rdp.metrics.base import Image


def torch_device(name: str) -> torch.device:
    """The device of that name ("cpu", "cuda", "cuda:1"). Raises `MetricError` if there is none."""
    known = name.partition(":")[0] in ("cpu", "cuda")
    try:
        device = torch.device(name if known else "")
    except RuntimeError as error:
        raise MetricError(f"unknown device {name!r}: give cpu, cuda or cuda:N") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise MetricError(
            f"device {name!r} is not there: torch sees {torch.cuda.device_count()} CUDA devices. Use --device cpu"
        )
    return device


@contextmanager
def scoring(device: torch.device) -> Iterator[None]:
    """No gradients, and on a GPU true float32 (no TF32) and deterministic convolutions, as before afterwards."""
    with torch.inference_mode():
        if device.type == "cuda":
            with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
                yield
        else:
            yield


def stack(images: Sequence[Image], device: torch.device) -> torch.Tensor:
    """Images of one size as a tensor uint8 (N, 3, H, W) on the device."""
    pixels = torch.from_numpy(np.stack(images)).to(device)
    return pixels.permute(0, 3, 1, 2).contiguous()
