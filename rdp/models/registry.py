"""The registry of architectures: names to "module:Class", so that listing them loads nothing."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rdp.errors import SpecError, suggest

if TYPE_CHECKING:
    from rdp.models.base import CompressionModel

ARCHITECTURES: dict[str, str] = {
    "factorized": "rdp.models.factorized:FactorizedPrior",
    "scale_hyperprior": "rdp.models.hyperprior:ScaleHyperprior",
    "hyperprior": "rdp.models.hyperprior:MeanScaleHyperprior",
    "checkerboard": "rdp.models.checkerboard:CheckerboardHyperprior",
    "shrinkage": "rdp.models.shrinkage:ShrinkageHyperprior",
    "hific": "rdp.models.hific:HiFiC",
}


_LARGEST = 10_000
"""No width is as large."""


def architecture_names() -> list[str]:
    """The registered architectures, in registry order."""
    return list(ARCHITECTURES)


def register_architecture(name: str, implementation: str) -> None:
    """Add an architecture: `implementation` is the "module:Class" of a `CompressionModel`.

    Raises `SpecError` for a name that is taken.
    """
    if name in ARCHITECTURES:
        raise SpecError(f"architecture {name!r} is registered already, as {ARCHITECTURES[name]}")
    ARCHITECTURES[name] = implementation


def create_model(name: str, /, **config: Any) -> CompressionModel:
    """The network of that architecture with freshly initialised weights; `config` are constructor arguments.

    Raises `SpecError` for an unknown name (with suggestions), and for arguments that the architecture does not take.
    """
    if not isinstance(name, str) or name not in ARCHITECTURES:
        known = architecture_names()
        raise SpecError(f"unknown architecture {name!r}.{suggest(str(name), known)} Known: {', '.join(known)}")
    module, _, class_name = ARCHITECTURES[name].partition(":")
    architecture = getattr(importlib.import_module(module), class_name)
    _check(name, inspect.signature(architecture).parameters, config)
    model: CompressionModel = architecture(**config)
    return model


def _check(name: str, known: Mapping[str, inspect.Parameter], config: Mapping[str, Any]) -> None:
    """Raise `SpecError` for an unknown argument, one of another type than its default's, or a number out of range."""
    for key, value in config.items():
        where = f"architecture {name!r}: {key}={value!r}"
        if key not in known:
            raise SpecError(f"{where} is unknown.{suggest(key, list(known))} Known: {', '.join(known)}")
        default = known[key].default
        wanted = float if isinstance(default, float) else type(default)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (
            number if wanted is float else isinstance(value, wanted) and isinstance(value, bool) == (wanted is bool)
        ):
            raise SpecError(f"{where} is not of the type of {default!r}")
        if number and not 0 < value < _LARGEST and not (key == "residual_blocks" and value == 0):
            raise SpecError(f"{where} is out of range: above 0, below {_LARGEST}")
