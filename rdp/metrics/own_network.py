"""A feature network of the user: any `torch.nn.Module`, as an object or as "package.module:attribute".

The module is called in evaluation mode with patches float32 (n, 3, side, side), RGB from 0 to 1, and gives floats
(n, dimensions); what else it wants (a resize, a mean and a deviation) is its own work. The attribute is a module, or a
function or class that makes one without arguments.

Its identity is a hash, so that cached features are never those of another network: of its class and those of its parts,
with their source code where they are not torch's and can be read, of how it prints (strides and other settings stand
there), and of every parameter and buffer. What the hash cannot see: functions that `forward` calls outside of these
classes, and attributes that do not print. Give the module another name when such a thing changes.
"""

from __future__ import annotations

import copy
import hashlib
import importlib
import inspect
import re
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from rdp.errors import MetricError, SpecError
from rdp.metrics.feature_networks import NETWORKS, NetworkPlan
from rdp.metrics.features import FeatureNetwork, exact

if TYPE_CHECKING:
    from collections.abc import Iterator

_LIBRARIES = ("torch", "torchvision")
"""Packages whose classes do not change under their names."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")


class OwnNetwork(FeatureNetwork):
    """Features of the user's module: a copy of its own, so that the user's is neither moved nor changed."""

    def __init__(self, plan: NetworkPlan, device: str = "cpu") -> None:
        super().__init__(plan, device)
        if plan.module is None:
            raise MetricError(f"the plan of the network {plan.name!r} has lost its module: plan it again")
        self._module = copy.deepcopy(plan.module).to(self._device)

    def _forward(self, patches: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self._module(patches.float() / 255)
        return out


def load_module(path: str) -> nn.Module:
    """The module that "package.module:attribute" names, or that what it names makes. Raises `SpecError`."""
    module_name, _, attribute = path.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise SpecError(
            f"cannot load the feature network {path!r}: {error}. Write package.module:attribute, of a module that "
            "Python finds (PYTHONPATH)"
        ) from error
    if not isinstance(found, nn.Module):
        if not callable(found):
            raise SpecError(f"{path!r} is {type(found).__name__}, not a torch.nn.Module or what makes one")
        try:
            found = found()
        except TypeError as error:
            raise SpecError(f"{path!r} does not make a module without arguments: {error}") from error
    if not isinstance(found, nn.Module):
        raise SpecError(f"{path!r} made {type(found).__name__}, not a torch.nn.Module")
    return found


def plan_module(module: nn.Module, name: str | None, side: int) -> NetworkPlan:
    """The plan of a module, which is copied, set to evaluation mode and tried with two patches of `side` pixels.

    Raises `SpecError` for a name that tables cannot have, and `MetricError` for a module that cannot be called with
    patches or does not give floats (n, dimensions).
    """
    if not isinstance(module, nn.Module):
        raise SpecError(f"a feature network is a torch.nn.Module or the name of one, not {type(module).__name__}")
    own = copy.deepcopy(module).requires_grad_(False).eval().cpu()
    called = name if name is not None else re.sub(r"\W+", "_", type(module).__name__).strip("_").lower()
    if not _NAME.fullmatch(called) or called in NETWORKS:
        raise SpecError(
            f"{called!r} cannot name a feature network of yours: give name=, of lower-case letters, digits and "
            f"underscores, not {' or '.join(NETWORKS)}"
        )
    settings = {"class": class_name(type(own)), "module_sha256": hash_module(own)}
    return NetworkPlan(
        called, f"{__name__}:OwnNetwork", _dimensions(own, called, side), settings=settings,
        frechet=f"fd_{called}", kernel=f"kd_{called}", module=own,
    )  # fmt: skip


def hash_module(module: nn.Module) -> str:
    """SHA-256 over what a module is: classes, source code, how it prints, parameters and buffers (64 hex digits)."""
    digest = hashlib.sha256(repr(module).encode())
    for name, text in sorted(_sources(module)):
        digest.update(f"\0class {name}\0{text}".encode())
    tensors = {**dict(module.named_parameters(remove_duplicate=False)), **dict(module.named_buffers())}
    for name, tensor in sorted(tensors.items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"\0{name} {values.dtype} {tuple(values.shape)}\0".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def class_name(kind: type) -> str:
    """`package.module.Class`."""
    return f"{kind.__module__}.{kind.__qualname__}"


def _sources(module: nn.Module) -> Iterator[tuple[str, str]]:
    """Each class of the module's parts with its source code, or nothing where it is a library's or cannot be read."""
    for kind in {type(part) for part in module.modules()}:
        if kind.__module__.partition(".")[0] in _LIBRARIES:
            yield class_name(kind), ""
            continue
        try:
            yield class_name(kind), inspect.getsource(kind)
        except (OSError, TypeError):
            yield class_name(kind), ""


def _dimensions(module: nn.Module, name: str, side: int) -> int:
    """How many features the module gives; two patches show whether the first axis is that of the patches."""
    with exact(torch.device("cpu")):
        try:
            out = module(torch.zeros(2, 3, side, side))
        except (RuntimeError, TypeError, ValueError) as error:
            raise MetricError(
                f"the network {name!r} cannot be called with patches float32 (2, 3, {side}, {side}): {error}"
            ) from error
    if not isinstance(out, torch.Tensor) or not out.is_floating_point() or out.ndim != 2 or len(out) != 2:
        given = f"{out.dtype} {tuple(out.shape)}" if isinstance(out, torch.Tensor) else type(out).__name__
        raise MetricError(
            f"the network {name!r} gives {given} for 2 patches, not floats (2, dimensions): pool its maps in the module"
        )
    return int(out.shape[1])
