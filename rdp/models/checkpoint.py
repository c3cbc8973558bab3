"""Weights on disk: safetensors whose header says which network they belong to, and of whose files they decode.

The header's metadata holds `architecture` and `config` (what builds the network), `identity` (what its files carry),
and notes of whoever wrote it (data, steps, numbers). Nothing in a file is ever executed. A smaller file has its kernels
in float16, or packed in fewer bits; the network that is loaded from it computes in float32, as any other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rdp.errors import SpecError, WeightsError
from rdp.models.base import CompressionModel
from rdp.models.decoder_names import FORMAT as DECODER_FORMAT
from rdp.models.packed_kernels import TEXT as PACKED
from rdp.models.packed_kernels import unpack_kernels
from rdp.models.registry import create_model
from rdp.models.tensor_files import (
    checked_notes,
    plain_tensors,
    read_tensors,
    read_texts,
    require_finite,
    with_kernels_of,
    write_tensors,
)

FORMAT = "rdp-model"
VERSION = "1"
CODING_VERSION = 1
"""Goes up with any change of how latents are coded under the same weights: tables, exact arithmetic, order of symbols.
Files of another version are then refused, and not decoded to something else."""

IDENTITY_BYTES = 6
DECODER_PREFIX = "synthesis."
"""Parameters of the decoder alone: they take no part in the identity, so that decoders can be exchanged."""

_OWN = ("format", "version", "architecture", "config", "identity", PACKED)


@dataclass(frozen=True)
class ModelHeader:
    """What a file of weights says of itself: `config` are the constructor's arguments, `identity` 12 hex digits."""

    path: Path
    architecture: str
    config: Mapping[str, Any]
    identity: str
    notes: Mapping[str, str]


def identity_of(model: CompressionModel) -> bytes:
    """6 bytes that change with anything that decides what a file of the network looks like or says.

    SHA-256 over `CODING_VERSION`, the architecture, the part of its configuration that coding depends on, and all
    parameters but the decoder's.
    """
    return _identity(model, model.state_dict())


def _identity(model: CompressionModel, tensors: Mapping[str, torch.Tensor]) -> bytes:
    """The identity of the network with these parameters."""
    config = {name: value for name, value in model.config.items() if name not in model.not_in_files}
    digest = hashlib.sha256(json.dumps([CODING_VERSION, model.architecture, config], sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        if not name.startswith(DECODER_PREFIX):
            values = tensor.detach().cpu().contiguous()
            digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
            digest.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.digest()[:IDENTITY_BYTES]


def save_model(
    path: str | Path, model: CompressionModel, notes: Mapping[str, str] | None = None, *, kernel_bits: int = 32
) -> ModelHeader:
    """Write a network's weights, whole or not at all; `notes` go into the header.

    `kernel_bits`: bits of each number in the kernels of convolutions, which are nearly all of a file. 32 keeps them;
    16 rounds to float16, each number by at most 2^-11 of itself (below 2^-14 in magnitude by at most 2^-25 absolutely);
    2 to 15 round to multiples of a scale and pack (`rdp.models.packed_kernels`). Below 32 the network that is loaded
    is another one, with an identity of its own, which is the one in the header. Biases, the parameters of
    normalisations and those of the densities, on which tables of the range coder rest, stay as they are. `model` is
    not changed.

    Raises `WeightsError` where the disk refuses, for notes that use the header's own names, and below 32
    bits for kernels that are not finite or (16 bits) larger than float16 can hold (65504); `SpecError` for a number of
    bits that there is not.
    """
    notes = checked_notes(notes, _OWN, "a file of weights")
    path = Path(path)
    config = json.dumps(model.config, sort_keys=True)
    tensors, packing = with_kernels_of(path, plain_tensors(model), kernel_bits)
    as_loaded = {name: _as_loaded(tensor) for name, tensor in unpack_kernels(path, tensors, packing).items()}
    identity = _identity(model, as_loaded).hex()
    own = {"format": FORMAT, "version": VERSION, "architecture": model.architecture, "config": config}
    write_tensors(path, tensors, {**own, "identity": identity, **packing, **notes})
    return ModelHeader(path, model.architecture, json.loads(config), identity, notes)


def read_header(path: str | Path) -> ModelHeader:
    """What a file of weights says of itself; the weights are not read.

    Raises `WeightsError` for a file that is missing, damaged, or none of rdp's.
    """
    path = Path(path)
    metadata = read_texts(path)
    if metadata.get("format") == DECODER_FORMAT:
        raise WeightsError(
            f"{path} holds a decoder alone (of the encoder {metadata.get('encoder')}): give the network's own file, "
            "and in an operating point this one as decoder=FILE"
        )
    if metadata.get("format") != FORMAT:
        raise WeightsError(
            f"{path} is a safetensors file, but not of a network of rdp: `rdp weights convert` makes one of "
            "checkpoints that it knows"
        )
    if metadata.get("version") != VERSION:
        raise WeightsError(f"{path} has version {metadata.get('version')!r}; this rdp reads {VERSION}: update rdp")
    try:
        config = json.loads(metadata["config"])
        header = ModelHeader(
            path, metadata["architecture"], config, metadata["identity"],
            {name: value for name, value in metadata.items() if name not in _OWN},
        )  # fmt: skip
    except (KeyError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path} is damaged: its header lacks a part, or says it wrongly ({error})") from error
    if not isinstance(config, dict):
        raise WeightsError(f"{path} is damaged: its configuration is no table")
    return header


def load_model(path: str | Path) -> CompressionModel:
    """The network in a file of weights, in evaluation mode, on the CPU, its parameters in float32.

    Raises `WeightsError` for a file that is missing, damaged, of another architecture than it says, or whose weights
    are not all finite.
    """
    header = read_header(path)
    tensors = read_tensors(header.path)
    try:
        _require_plausible(header, tensors)
        model = create_model(header.architecture, **header.config)
        model.load_state_dict(tensors, strict=True)
    except (SpecError, ValueError, TypeError, ArithmeticError, MemoryError) as error:
        raise WeightsError(f"{path} cannot be used: {error}") from error
    except RuntimeError as error:
        lines = " ".join(line.strip() for line in str(error).splitlines()[:4])
        raise WeightsError(f"{path} does not fit {header.architecture!r}: {lines}") from error
    require_finite(header.path, tensors)
    if identity_of(model).hex() != header.identity:
        raise WeightsError(
            f"{path} says that its identity is {header.identity}, and its weights have {identity_of(model).hex()}: it "
            "was changed after it was written, or written by an rdp that codes otherwise"
        )
    return model.eval()


def _as_loaded(tensor: torch.Tensor) -> torch.Tensor:
    """What `load_model` makes of a tensor in a file: float16 becomes float32."""
    return tensor.float() if tensor.dtype == torch.float16 else tensor


def _require_plausible(header: ModelHeader, tensors: Mapping[str, torch.Tensor]) -> None:
    """Raise `WeightsError` for widths far beyond those of the tensors, before there is memory taken for them.

    (To make the network on the meta device and compare shapes would say it exactly, but imports a lot for it.)
    """
    largest = max((side for tensor in tensors.values() for side in tensor.shape), default=0)
    width = header.config.get("width", 1)
    for key, value in header.config.items():
        number = isinstance(value, int) and not isinstance(value, bool) and isinstance(width, int | float)
        if number and value * min(1, width) > 4 * largest + len(tensors):
            raise WeightsError(
                f"{header.path} does not fit {header.architecture!r}: it says {key}={value}, and its largest tensor is "
                f"{largest} wide"
            )
