"""The registry of architectures: names to "module:Class", so that listing them loads nothing."""

from __future__ import annotations

import importlib
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


def create_model(name: str, **config: Any) -> CompressionModel:
    """The network of that architecture with freshly initialised weights; `config` are constructor arguments.

    Raises `SpecError` for an unknown name (with suggestions), and for arguments that the architecture does not take.
    """
    if name not in ARCHITECTURES:
        known = architecture_names()
        raise SpecError(f"unknown architecture {name!r}.{suggest(name, known)} Known: {', '.join(known)}")
    module, _, class_name = ARCHITECTURES[name].partition(":")
    architecture = getattr(importlib.import_module(module), class_name)
    try:
        model: CompressionModel = architecture(**config)
    except TypeError as error:
        raise SpecError(f"architecture {name!r} cannot be made with {config}: {error}") from error
    return model
