"""Kernels of convolutions in few bits: whole numbers, one scale for each slice, packed bit by bit.

Nearly all of a network is kernels, and few of their bits matter: with 10 the shipped networks cost what they cost with
32 (`benchmarks/kernel_bits.py`), in 5 of 16 of the bytes. A kernel w of shape [a, b, h, w] becomes whole numbers
q = round(w / s), with one scale s for each of its `a` slices, the largest magnitude there over 2^(bits - 1) - 1. What
is loaded is the float32 product q * s, one rounding of IEEE 754, so every machine gets the same network.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from rdp.errors import WeightsError

TEXT = "packed"
"""The text in a file's header that says which kernels are packed: {"bits": b, "shapes": {name: shape}}."""

FEWEST_BITS, MOST_BITS = 2, 15

_NUMBERS = ".packed"
_SCALES = ".scales"


def pack_kernels(
    path: Path, tensors: Mapping[str, torch.Tensor], kernels: list[str], bits: int
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """What stands in a file for these tensors, and the text for its header, when `kernels` have `bits` a number.

    Each number moves by at most half a scale. Raises `WeightsError` for a kernel that is not finite; `path` is for its
    message alone.
    """
    limit = _limit(bits)
    stored = {name: tensor for name, tensor in tensors.items() if name not in kernels}
    for name in kernels:
        kernel = tensors[name].float()
        if not bool(torch.isfinite(kernel).all()):
            raise WeightsError(f"{path} was not written: {name} holds numbers that are not finite")
        slices = kernel.reshape(kernel.shape[0], -1)
        scales = slices.abs().amax(1) / limit
        divisors = torch.where(scales > 0, scales, torch.ones_like(scales)).double()
        numbers = torch.round(slices.double() / divisors[:, None]).clamp(-limit, limit).to(torch.int64)
        stored[name + _NUMBERS] = torch.from_numpy(_to_bytes(numbers.reshape(-1).numpy() + limit, bits))
        stored[name + _SCALES] = scales.contiguous()
    shapes = {name: list(tensors[name].shape) for name in kernels}
    return stored, {TEXT: json.dumps({"bits": bits, "shapes": shapes}, sort_keys=True)}


def unpack_kernels(
    path: Path, tensors: Mapping[str, torch.Tensor], texts: Mapping[str, str]
) -> dict[str, torch.Tensor]:
    """The tensors of a file as `pack_kernels` was given them, but for its rounding; kernels are float32.

    A file without packed kernels is what it is. Raises `WeightsError` where header and tensors do not agree.
    """
    if TEXT not in texts:
        return dict(tensors)
    loaded = dict(tensors)
    try:
        document = json.loads(texts[TEXT])
        bits, shapes = int(document["bits"]), dict(document["shapes"])
        limit = _limit(bits)
        for name, shape in shapes.items():
            packed, scales = loaded.pop(name + _NUMBERS).numpy(), loaded.pop(name + _SCALES)
            count = math.prod(shape)
            if packed.dtype != np.uint8 or packed.shape != (-(-count * bits // 8),) or scales.shape != (shape[0],):
                raise ValueError(f"{name} is not of the size that its shape {shape} has")
            numbers = torch.from_numpy(_from_bytes(packed, bits, count) - limit).float().reshape(shape[0], -1)
            loaded[name] = (numbers * scales[:, None]).reshape(shape)
    except (
        KeyError,
        ValueError,
        TypeError,
        ArithmeticError,
        AttributeError,
        IndexError,
        RuntimeError,
        RecursionError,
    ) as error:
        raise WeightsError(f"{path} is damaged: its packed kernels cannot be read ({error})") from error
    return loaded


def _limit(bits: int) -> int:
    """The largest magnitude of `bits` bits with a sign. Raises `ValueError` beyond what packing knows."""
    if not FEWEST_BITS <= bits <= MOST_BITS:
        raise ValueError(f"kernels can be packed to {FEWEST_BITS} to {MOST_BITS} bits, not to {bits}")
    return (1 << bits - 1) - 1


def _to_bytes(numbers: np.ndarray, bits: int) -> np.ndarray:
    """Numbers in 0..2^bits - 1, one after the other, highest bit first; zeros fill the last byte."""
    shifts = np.arange(bits - 1, -1, -1)
    return np.packbits(((numbers[:, None] >> shifts) & 1).astype(np.uint8).reshape(-1))


def _from_bytes(packed: np.ndarray, bits: int, count: int) -> np.ndarray:
    """What `_to_bytes` was given, as int64."""
    single = np.unpackbits(packed, count=count * bits).reshape(count, bits)
    return single.astype(np.int64) @ (1 << np.arange(bits - 1, -1, -1, dtype=np.int64))
