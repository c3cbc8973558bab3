"""CompressAI's networks: state dicts of its factorized, scale and mean-scale hyperprior models, made into ours.

The layers correspond one to one, with the parameters of GDN stored in the same way, so that a conversion renames keys.
The published files date from several versions of the package, whose entropy bottleneck has called its parameters
`_matrices.0`, `_matrix0` and `matrices.0` in turn. What is computed from other tensors (tables of the range coder,
bounds, the table of scales) is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rdp.errors import WeightsError
from rdp.models.base import CompressionModel
from rdp.models.conversion.archives import read_archive, require_plain
from rdp.models.factorized import FactorizedPrior
from rdp.models.hyperprior import MeanScaleHyperprior, ScaleHyperprior

_MODULES = {
    "g_a": "analysis",
    "g_s": "synthesis",
    "h_a": "hyper_analysis",
    "h_s": "hyper_synthesis",
    "entropy_bottleneck": "prior",
}

_DATA_PARALLEL = "module."

_DENSITY = re.compile(r"prior\.(?:_?(matrices|biases|factors)\.|_(matrix|bias|factor))(\d+)")
_PLURALS = {"matrix": "matrices", "bias": "biases", "factor": "factors"}

_COMPUTED = re.compile(
    r"gaussian_conditional\..*"
    r"|entropy_bottleneck\.(_quantized_cdf|_offset|_cdf_length|target|likelihood_lower_bound\.bound)"
    r"|g_[as]\.\d+\.(beta|gamma)_reparam\.(pedestal|lower_bound\.bound)"
)
"""Keys of tensors that hold nothing learned. `gaussian_conditional` has only such."""

_LISTED = 8
"""How many keys an error names before it says how many more there are."""


def load_compressai(path: str | Path) -> CompressionModel:
    """The network in a checkpoint of CompressAI (`.pth.tar`, `.pth`), in evaluation mode, on the CPU.

    The file holds a state dict, or a dict with one in "state_dict". No code in it is run. Raises `WeightsError` naming
    the file if it cannot be read, is no such archive or would run code, and as `convert_compressai` does.
    """
    state = _read(Path(path))
    try:
        return convert_compressai(state)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error


def convert_compressai(state_dict: Mapping[str, Any]) -> CompressionModel:
    """The network of a CompressAI state dict, in evaluation mode: the architecture by its keys, widths by its shapes.

    Raises `WeightsError` naming the keys if tensors are missing, unknown, or of another shape or type.
    """
    tensors = _rename(state_dict)
    model = _empty_model(tensors)
    wanted = model.state_dict()
    missing = [key for key in wanted if key not in tensors]
    unknown = [key for key in tensors if key not in wanted]
    if missing or unknown:
        raise WeightsError(_mismatch(model, missing, unknown))
    wrong = [
        f"{_foreign(key)} is {tuple(tensors[key].shape)} and not {tuple(tensor.shape)}"
        for key, tensor in wanted.items()
        if tensors[key].shape != tensor.shape
    ]
    if wrong:
        raise WeightsError(f"these tensors do not fit a {model.architecture} network: {_list(wrong)}")
    require_plain(tensors)
    broken = [_foreign(key) for key, tensor in tensors.items() if not tensor.isfinite().all()]
    if broken:
        raise WeightsError(f"these tensors hold values that are not finite: {_list(broken)}")
    model.load_state_dict({key: tensor.detach().clone().float() for key, tensor in tensors.items()}, assign=True)
    return model.eval()


def _rename(state_dict: Mapping[str, Any]) -> dict[str, Tensor]:
    """The learned tensors under our keys; a key that is not CompressAI's keeps its name."""
    tensors: dict[str, Tensor] = {}
    for key, tensor in state_dict.items():
        plain = str(key).removeprefix(_DATA_PARALLEL)
        if _COMPUTED.fullmatch(plain):
            continue
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            kind = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
            raise WeightsError(f"{plain} is {kind} and not a tensor of floating-point numbers")
        name = _our_name(plain)
        if name in tensors:
            raise WeightsError(f"{plain} is there twice, under names of different versions")
        tensors[name] = tensor
    return tensors


def _our_name(key: str) -> str:
    module, dot, rest = key.partition(".")
    name = _MODULES.get(module, module) + dot + rest
    match = _DENSITY.fullmatch(name)
    if not match:
        return name
    plural, singular, layer = match.groups()
    return f"prior.{plural or _PLURALS[singular]}.{layer}"


def _foreign(key: str) -> str:
    """CompressAI's name, in its present version, for one of our keys."""
    module, dot, rest = key.partition(".")
    ours = {own: foreign for foreign, own in _MODULES.items()}
    return ours.get(module, module) + dot + rest


def _empty_model(tensors: Mapping[str, Tensor]) -> CompressionModel:
    """A network of the architecture and widths of the tensors, without memory for its weights."""
    channels = _outputs(tensors, "analysis.0.weight")
    latent_channels = _outputs(tensors, "analysis.6.weight")
    hyper = any(key.startswith(("hyper_analysis.", "hyper_synthesis.")) for key in tensors)
    architecture: type[FactorizedPrior | ScaleHyperprior | MeanScaleHyperprior] = FactorizedPrior
    if hyper:
        # The last layer tells one number an element of the latent, or two: scale, and mean.
        both = _outputs(tensors, "hyper_synthesis.4.weight") == 2 * latent_channels
        architecture = MeanScaleHyperprior if both else ScaleHyperprior
    with torch.device("meta"):
        return architecture(channels, latent_channels)


def _outputs(tensors: Mapping[str, Tensor], key: str) -> int:
    """Output channels of a convolution, by the shape of its weight."""
    if key not in tensors:
        found = _list([_foreign(name) for name in tensors]) or "no tensors"
        raise WeightsError(
            f"there is no {_foreign(key)}: this is no state dict of CompressAI's bmshj2018-factorized, "
            f"bmshj2018-hyperprior or mbt2018-mean. It has {found}"
        )
    weight = tensors[key]
    if weight.ndim != 4 or not weight.shape[0]:
        raise WeightsError(f"{_foreign(key)} is {tuple(weight.shape)}, which is no convolution's weight")
    return weight.shape[0]


def _mismatch(model: CompressionModel, missing: list[str], unknown: list[str]) -> str:
    parts = [f"the keys are not those of a {model.architecture} network of CompressAI:"]
    if missing:
        parts.append(f"missing {_list([_foreign(key) for key in missing])};")
    if unknown:
        parts.append(f"unknown {_list([_foreign(key) for key in unknown])};")
    return " ".join(parts).rstrip(";")


def _list(words: list[str]) -> str:
    shown = ", ".join(words[:_LISTED])
    return shown if len(words) <= _LISTED else f"{shown} and {len(words) - _LISTED} more"


def _read(path: Path) -> Mapping[str, Any]:
    """The state dict in a file, read without running code from it."""
    document = read_archive(path, "a state dict", "torch.save(model.state_dict(), path)")
    inner = document.get("state_dict")
    return inner if isinstance(inner, Mapping) else document
