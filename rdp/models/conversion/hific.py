"""HiFiC in PyTorch: checkpoints of Justin-Tan/high-fidelity-generative-compression, made into ours.

A checkpoint is a dict with the state dict under "model_state_dict" and the settings of its training under "args". The
layers of encoder, generator and hyper-networks correspond one to one. The port's density of the hyper-latent has a
non-linearity behind its last layer, where ours has none, so that ours gets one more layer, which is the identity; the
port rounds hyper-latents to integers, so that all medians are 0 here. What is computed from other tensors (tables of
the coder) or belongs to training alone (perceptual loss) is left out; the discriminator has a function of its own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rdp.errors import WeightsError
from rdp.models.conversion.archives import read_archive, require_plain
from rdp.models.densities import FactorizedDensity
from rdp.models.discriminator import ConditionalDiscriminator
from rdp.models.hific import PRIOR_FILTERS, HiFiC

DISCRIMINATOR_STRIDE = 2
"""The port's discriminator halves sides once more than the paper's."""

_BLOCKS = 4
_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), target)
    for pattern, target in (
        *((rf"Encoder\.conv_block{i + 1}\.1\.", f"analysis.{4 * i + 1}.") for i in range(_BLOCKS + 1)),
        *((rf"Encoder\.conv_block{i + 1}\.2\.", f"analysis.{4 * i + 2}.") for i in range(_BLOCKS + 1)),
        (r"Encoder\.conv_block_out\.1\.", f"analysis.{4 * _BLOCKS + 5}."),
        (r"Generator\.conv_block_init\.([023])\.", r"synthesis.\1."),
        (r"Generator\.resblock_(\d+)\.conv1\.", r"synthesis.4.blocks.\1.body.1."),
        (r"Generator\.resblock_(\d+)\.norm1\.", r"synthesis.4.blocks.\1.body.2."),
        (r"Generator\.resblock_(\d+)\.conv2\.", r"synthesis.4.blocks.\1.body.5."),
        (r"Generator\.resblock_(\d+)\.norm2\.", r"synthesis.4.blocks.\1.body.6."),
        *((rf"Generator\.upconv_block{i + 1}\.0\.", f"synthesis.{3 * i + 5}.") for i in range(_BLOCKS)),
        *((rf"Generator\.upconv_block{i + 1}\.1\.", f"synthesis.{3 * i + 6}.") for i in range(_BLOCKS)),
        (r"Generator\.conv_block_out\.1\.", f"synthesis.{3 * _BLOCKS + 6}."),
        *((rf"Hyperprior\.analysis_net\.conv{i + 1}\.", f"hyper_analysis.{3 * i}.") for i in range(3)),
        *((rf"Hyperprior\.synthesis_mu\.conv{i + 1}\.", f"hyper_synthesis_mean.{2 * i}.") for i in range(3)),
        *((rf"Hyperprior\.synthesis_std\.conv{i + 1}\.", f"hyper_synthesis_scale.{2 * i}.") for i in range(3)),
        (r"Hyperprior\.hyperlatent_likelihood\.H_(\d)$", r"prior.matrices.\1"),
        (r"Hyperprior\.hyperlatent_likelihood\.a_(\d)$", r"prior.factors.\1"),
        (r"Hyperprior\.hyperlatent_likelihood\.b_(\d)$", r"prior.biases.\1"),
    )
)
_DISCRIMINATOR_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), target)
    for pattern, target in (
        (r"Discriminator\.context_conv\.", "context.1."),
        *(
            (rf"Discriminator\.conv{i + 1}\.{theirs}$", f"patches.{3 * i + 1}.{ours}")
            for i in range(_BLOCKS)
            for theirs, ours in (
                ("weight_orig", "parametrizations.weight.original"),
                ("weight_u", "parametrizations.weight.0._u"),
                ("weight_v", "parametrizations.weight.0._v"),
                ("bias", "bias"),
            )
        ),
        (r"Discriminator\.conv_out\.", f"patches.{3 * _BLOCKS}."),
    )
)
_NOT_LEARNED = re.compile(
    r"perceptual_loss\..*|Hyperprior\.(hyperprior_entropy_model|prior_entropy_model|prior_density|index_tables)\b.*"
)
_NORM = re.compile(r"\.(gamma|beta)$")
_EDGE = math.log(2 / 1e-9 - 1)


def load_hific_torch(path: str | Path) -> HiFiC:
    """The network in a checkpoint of the port (`.pt`), in evaluation mode, on the CPU.

    No code in the file is run. Raises `WeightsError` naming the file if it cannot be read, holds more than tensors,
    numbers and texts, and as `convert_hific_torch` does.
    """
    advice = 'torch.save({"model_state_dict": model.state_dict()}, path)'
    checkpoint = read_archive(path, "a checkpoint of HiFiC", advice)
    try:
        return convert_hific_torch(checkpoint)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error


def convert_hific_torch(checkpoint: Mapping[str, Any], signed: bool | None = None) -> HiFiC:
    """The network of a checkpoint of the port, or of its state dict, in evaluation mode; full width.

    Channels of the latent and of the hyper-latent and the number of residual blocks are told from the shapes.
    `signed`: whether it works on images in [-1, 1]; told from the checkpoint's "args" if not given, and taken as
    the port's default, no, where a state dict alone does not say.

    Raises `WeightsError` naming the keys if tensors are missing, unknown, of another shape or type, or not finite.
    """
    if signed is None:
        signed = _trained_signed(checkpoint)
    state = {key: value for key, value in _state(checkpoint).items() if not key.startswith("Discriminator.")}
    tensors = _rename(state, _RULES)
    for key in ("analysis.21.weight", "hyper_analysis.0.weight"):
        if key not in tensors or tensors[key].ndim != 4:
            raise WeightsError(
                "this is no HiFiC with one mean and one scale network: the convolutions of Encoder.conv_block_out and "
                f"Hyperprior.analysis_net.conv1 are not both there. It has {_list(sorted(state))}"
            )
    blocks = len({key.split(".")[3] for key in tensors if key.startswith("synthesis.4.blocks.")})
    with torch.device("meta"):
        model = HiFiC(
            latent_channels=len(tensors["analysis.21.weight"]),
            hyper_channels=len(tensors["hyper_analysis.0.weight"]),
            residual_blocks=blocks,
            signed=signed,
        )
    last = len(PRIOR_FILTERS)
    count = model.hyper_channels
    tensors |= {
        # softplus of it is 1.
        f"prior.matrices.{last}": torch.full((count, 1, 1), math.log(math.expm1(1.0))),
        f"prior.biases.{last}": torch.zeros(count, 1, 1),
        "prior.quantiles": torch.zeros(count, 1, 3),
    }
    _fill(model, tensors)
    with torch.no_grad():
        model.prior.quantiles.copy_(_quantiles(model.prior))
    return model.eval()


def convert_discriminator_torch(checkpoint: Mapping[str, Any], signed: bool | None = None) -> ConditionalDiscriminator:
    """The discriminator in a checkpoint of the port, in evaluation mode; `signed` and errors as in
    `convert_hific_torch`."""
    if signed is None:
        signed = _trained_signed(checkpoint)
    state = {key: value for key, value in _state(checkpoint).items() if key.startswith("Discriminator.")}
    tensors = _rename(state, _DISCRIMINATOR_RULES)
    context = tensors.get("context.1.weight")
    if context is None or context.ndim != 4:
        raise WeightsError("there is no Discriminator.context_conv.weight: the checkpoint has no HiFiC discriminator")
    with torch.device("meta"):
        model = ConditionalDiscriminator(context.shape[1], last_stride=DISCRIMINATOR_STRIDE, signed=signed)
    _fill(model, tensors)
    return model.eval()


def _trained_signed(checkpoint: Mapping[str, Any]) -> bool:
    arguments = checkpoint.get("args")
    return isinstance(arguments, Mapping) and arguments.get("normalize_input_image") is True


def _state(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The learned tensors of a checkpoint or state dict, without the prefix of data-parallel training."""
    inner = checkpoint.get("model_state_dict", checkpoint)
    if not isinstance(inner, Mapping):
        raise WeightsError(f"the model_state_dict of the checkpoint is a {type(inner).__name__} and not a state dict")
    state: dict[str, Tensor] = {}
    for key, tensor in inner.items():
        plain = str(key).removeprefix("module.")
        if _NOT_LEARNED.fullmatch(plain):
            continue
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            kind = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
            raise WeightsError(f"{plain} is {kind} and not a tensor of floating-point numbers")
        state[plain] = tensor.detach().float()
    return state


def _rename(state: Mapping[str, Tensor], rules: tuple[tuple[re.Pattern[str], str], ...]) -> dict[str, Tensor]:
    """The tensors under our keys, parameters of channel norm flat; a key that no rule knows keeps its name."""
    tensors: dict[str, Tensor] = {}
    for key, tensor in state.items():
        name = key
        for pattern, target in rules:
            match = pattern.match(key)
            if match:
                name = match.expand(target) + key[match.end() :]
                break
        tensors[name] = tensor.flatten() if _NORM.search(name) else tensor
    return tensors


def _fill(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give a network without memory its weights, or say why they do not fit."""
    wanted = model.state_dict()
    missing = [key for key in wanted if key not in tensors]
    unknown = [key for key in tensors if key not in wanted]
    if missing or unknown:
        lists = (("missing", missing), ("unknown", unknown))
        parts = "; ".join(f"{word} {_list(keys)}" for word, keys in lists if keys)
        raise WeightsError(f"the keys are not those of a HiFiC checkpoint of the PyTorch port: {parts}")
    wrong = [
        f"{key} is {tuple(tensors[key].shape)} and not {tuple(tensor.shape)}"
        for key, tensor in wanted.items()
        if tensors[key].shape != tensor.shape
    ]
    if wrong:
        raise WeightsError(f"these tensors do not fit HiFiC: {_list(wrong)}")
    require_plain(tensors)
    broken = [key for key, tensor in tensors.items() if not tensor.isfinite().all()]
    if broken:
        raise WeightsError(f"these tensors hold values that are not finite: {_list(broken)}")
    model.load_state_dict({key: tensor.clone() for key, tensor in tensors.items()}, assign=True)


@torch.no_grad()
def _quantiles(density: FactorizedDensity) -> Tensor:
    """Where the tails of mass 1e-9 begin, and 0 between them as the middle of rounding: (C, 1, 3), by bisection."""
    tails = []
    for side in (-1.0, 1.0):
        near = torch.zeros(density.channels, 1, 1, dtype=torch.float64)
        far = near + 1
        for _ in range(40):
            far = torch.where(side * density.cumulative_logits(side * far) < _EDGE, 2 * far, far)
        for _ in range(60):
            middle = (near + far) / 2
            inside = side * density.cumulative_logits(side * middle) < _EDGE
            near, far = torch.where(inside, middle, near), torch.where(inside, far, middle)
        tails.append(side * far)
    return torch.cat([tails[0], torch.zeros_like(tails[0]), tails[1]], dim=2).float()


def _list(words: list[str]) -> str:
    return ", ".join(words[:8]) + (f" and {len(words) - 8} more" if len(words) > 8 else "")
