"""Decoders apart from their network: files with the parameters of the synthesis transform alone.

Networks that differ in their decoder alone share their files, bit for bit (`rdp.models.checkpoint.identity_of`). So a
decoder that was tuned with everything before it frozen (thesis, Algorithm 1) is a file of its own, which says whose
files it decodes: `encoder` is the identity of encoder and entropy model. Its `name` is what operating points call it
(`decoder=g1e-4`), one name for each decoder of an encoder.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from rdp.errors import SpecError, WeightsError
from rdp.models.base import CompressionModel
from rdp.models.decoder_names import FORMAT, OWN, check_name, gamma_name
from rdp.models.packed_kernels import TEXT as PACKED
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

__all__ = [
    "FORMAT",
    "OWN",
    "VERSION",
    "DecoderHeader",
    "check_name",
    "gamma_name",
    "is_decoder",
    "load_decoder",
    "mix_decoders",
    "read_decoder_header",
    "save_decoder",
    "with_decoder",
]

VERSION = "1"

_OWN_TEXTS = ("format", "version", "name", "architecture", "config", "encoder", PACKED)

Model = TypeVar("Model", bound=CompressionModel)


@dataclass(frozen=True)
class DecoderHeader:
    """What a decoder's file says of itself.

    `encoder`: 12 hex digits, the identity of the networks whose files it decodes. `architecture` and `config` build
    such a network, of which the decoder is the `synthesis`. `notes` are the trainer's.
    """

    path: Path
    name: str
    architecture: str
    config: Mapping[str, Any]
    encoder: str
    notes: Mapping[str, str]


def save_decoder(
    path: str | Path,
    model: CompressionModel,
    name: str,
    encoder: str,
    notes: Mapping[str, str] | None = None,
    *,
    kernel_bits: int = 32,
) -> DecoderHeader:
    """Write the decoder of a network, whole or not at all.

    `encoder`: the identity (12 hex digits) of the network whose files it decodes, as `read_header` or `identity_of` has
    it. `kernel_bits` as for `save_model`; here they change the decoder alone, and no identity. Raises `SpecError` for a
    name that is none, and `WeightsError` where the disk refuses or a note uses the header's own names.
    """
    notes = checked_notes(notes, _OWN_TEXTS, "a file of a decoder")
    path = Path(path)
    tensors, packing = with_kernels_of(path, plain_tensors(model.synthesis), kernel_bits)
    config = json.dumps(model.config, sort_keys=True)
    own = {"format": FORMAT, "version": VERSION, "name": check_name(name), "architecture": model.architecture}
    write_tensors(path, tensors, {**own, "config": config, "encoder": encoder, **packing, **notes})
    return DecoderHeader(path, name, model.architecture, json.loads(config), encoder, notes)


def is_decoder(path: str | Path) -> bool:
    """Whether a file says that it holds a decoder. Raises `WeightsError` for a file that is no safetensors file."""
    return read_texts(Path(path)).get("format") == FORMAT


def read_decoder_header(path: str | Path) -> DecoderHeader:
    """What a decoder's file says of itself; its weights are not read.

    Raises `WeightsError` for a file that is missing, damaged, or no decoder of rdp's.
    """
    path = Path(path)
    texts = read_texts(path)
    if texts.get("format") != FORMAT:
        raise WeightsError(f"{path} holds no decoder of rdp (it is of format {texts.get('format')!r})")
    if texts.get("version") != VERSION:
        raise WeightsError(f"{path} has version {texts.get('version')!r}; this rdp reads {VERSION}: update rdp")
    try:
        config = json.loads(texts["config"])
        header = DecoderHeader(
            path, check_name(texts["name"]), texts["architecture"], config, texts["encoder"],
            {key: value for key, value in texts.items() if key not in _OWN_TEXTS},
        )  # fmt: skip
    except (KeyError, ValueError, RecursionError, SpecError) as error:
        raise WeightsError(f"{path} is damaged: its header lacks a part, or says it wrongly ({error})") from error
    if not isinstance(config, dict) or not re.fullmatch(r"[0-9a-f]{12}", header.encoder):
        raise WeightsError(f"{path} is damaged: its configuration or its encoder's identity is none")
    return header


def load_decoder(path: str | Path, network: CompressionModel, encoder: str) -> nn.Module:
    """The synthesis transform in a decoder's file, for a network whose files have the identity `encoder`.

    In evaluation mode, on the CPU, in float32; `network` says what it is built like and is not changed. Raises
    `WeightsError` for a file that is missing, damaged or not finite, and for the decoder of another encoder.
    """
    header = read_decoder_header(path)
    if header.encoder != encoder:
        raise WeightsError(
            f"{path} (decoder {header.name!r}) decodes files of the encoder {header.encoder}, not of {encoder}: a "
            "decoder belongs to the encoder that was frozen when it was trained"
        )
    tensors = read_tensors(header.path)
    require_finite(header.path, tensors)
    decoder = create_model(network.architecture, **network.config).synthesis
    try:
        decoder.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        lines = " ".join(line.strip() for line in str(error).splitlines()[:4])
        raise WeightsError(f"{path} does not fit {network.architecture!r}: {lines}") from error
    return decoder.eval()


def with_decoder(model: Model, decoder: nn.Module) -> Model:
    """The network with another synthesis transform; all else is shared with `model`, which is not changed."""
    twin = copy.copy(model)
    twin._modules = {**model._modules, "synthesis": decoder}
    return twin


def mix_decoders(first: nn.Module, second: nn.Module, share: float) -> nn.Module:
    """A decoder whose parameters are (1 - share) times those of `first` plus share times those of `second`.

    All floating-point parameters and buffers, as they are stored: kernels, biases, and those of normalisations in the
    form in which they are trained, so that of GDN it is the roots of beta and gamma that are interpolated
    (`rdp.models.activations`). Both are of one layout, and neither is changed. Sums are made in float64.
    """
    decoder = copy.deepcopy(first)
    others = second.state_dict()
    with torch.no_grad():
        for name, tensor in decoder.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_((1 - share) * tensor.double() + share * others[name].double())
    return decoder
