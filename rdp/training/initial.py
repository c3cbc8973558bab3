"""Weights that a training starts from: into the network, and into what its own weights say of themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from rdp.errors import WeightsError
from rdp.models.base import CompressionModel
from rdp.models.checkpoint import load_model, read_header
from rdp.models.provenance import trained_on

_SHOWN = 3


def load_initial(path: str | Path, network: CompressionModel) -> None:
    """Put the weights of a file into a network.

    Raises `WeightsError` for a file that is none, and for one of another architecture or other widths: the message
    names both, and the first tensors that do not fit.
    """
    given = load_model(path)
    state = given.state_dict()
    wrong = misfits(state, network.state_dict())
    if not wrong:
        network.load_state_dict(state)
        return
    if given.architecture == network.architecture:
        other = [name for name, value in network.config.items() if given.config[name] != value]
        of, here = (_spelled({name: one.config[name] for name in other}) for one in (given, network))
    else:
        of, here = (f"the architecture {one.architecture} ({_spelled(one.config)})" for one in (given, network))
    raise WeightsError(
        f"--model.initial {path} has {of}, the network here {here}; {listed(wrong, _SHOWN)}. Give the network's class "
        "and widths as they are in that file, or other weights"
    )


def described(path: str | Path) -> dict[str, Any]:
    """For the record: file, identity, and what those weights were trained on (see `rdp.models.provenance`)."""
    header = read_header(path)
    return {"weights": str(path), "identity": header.identity, "trained_on": sorted(trained_on(header))}


def misfits(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    """Each tensor of a state that does not fit a module's own, as a person reads it."""
    wrong = [
        f"{name} is {_shape(state[name])}, not {_shape(own[name])}"
        for name in sorted(own.keys() & state.keys())
        if state[name].shape != own[name].shape
    ]
    wrong += [f"{name} is not in the file" for name in sorted(own.keys() - state.keys())]
    wrong += [f"{name} is in the file alone" for name in sorted(state.keys() - own.keys())]
    return wrong


def listed(wrong: list[str], shown: int) -> str:
    """How many tensors do not fit, and the first of them."""
    more = f"; and {len(wrong) - shown} more" if len(wrong) > shown else ""
    return f"{len(wrong)} tensors do not fit: {'; '.join(wrong[:shown])}{more}"


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"


def _spelled(config: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={json.dumps(value)}" for name, value in config.items())
