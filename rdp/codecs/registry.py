"""The registry of codec families: names to "module:Class", so that listing them loads nothing."""

from __future__ import annotations

import importlib
import inspect

from rdp.codecs.base import DEFAULT_RESOURCES, Codec, OperatingPoint, Resources
from rdp.errors import SpecError, suggest

FAMILIES: dict[str, str] = {
    "bpg": "rdp.codecs.bpg.codec:Bpg",
    "jpeg": "rdp.codecs.jpeg:Jpeg",
    "jpeg2000": "rdp.codecs.jpeg2000:Jpeg2000",
    "webp": "rdp.codecs.webp:WebP",
    "avif": "rdp.codecs.avif:Avif",
    "png": "rdp.codecs.png:Png",
    "heic": "rdp.codecs.heic:Heic",
    "jxl": "rdp.codecs.jxl:Jxl",
    "vvc": "rdp.codecs.vvc:Vvc",
    "factorized": "rdp.codecs.learned.families:Factorized",
    "hyperprior": "rdp.codecs.learned.families:Hyperprior",
    "shrinkage": "rdp.codecs.learned.families:Shrinkage",
    "hific": "rdp.codecs.learned.families:HiFiC",
    "checkpoint": "rdp.codecs.learned.families:Checkpoint",
    "compressai": "rdp.codecs.compressai:CompressAI",
    "neuralcompression": "rdp.codecs.neuralcompression:NeuralCompression",
    "external": "rdp.codecs.external:External",
}

INDEXED = ("factorized", "hyperprior", "shrinkage", "hific")
"""Families that have points only as far as the index of weights has files for them."""


def family_names() -> list[str]:
    """The registered families that have points, in registry order."""
    from rdp.weights import entries_used_by

    return [name for name in FAMILIES if name not in INDEXED or entries_used_by(name)]


def register_family(name: str, implementation: str) -> None:
    """Add a family: `implementation` is the "module:Class" of a `Codec` that worker processes can import too.

    Raises `SpecError` for a name that is taken or that the grammar cannot hold.
    """
    if not name.isidentifier() or name != name.lower():
        raise SpecError(f"{name!r} cannot name a codec family: use lower-case letters, digits and underscores")
    if name in FAMILIES:
        raise SpecError(f"codec family {name!r} is registered already, as {FAMILIES[name]}")
    FAMILIES[name] = implementation


def load_class(implementation: str) -> type[Codec]:
    """The class behind a "module:Class" string. Raises `SpecError` if there is none, or it is no `Codec`."""
    module_name, _, class_name = implementation.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SpecError(f"cannot load codec {implementation!r}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Codec)):
        raise SpecError(f"{implementation!r} is not a rdp.codecs.Codec")
    return found


def load_family(name: str) -> type[Codec]:
    """The class of a family. Raises `SpecError` with suggestions for an unknown name."""
    if name not in FAMILIES:
        known = family_names()
        raise SpecError(f"unknown codec family {name!r}.{suggest(name, known)} Known: {', '.join(known)}")
    return load_class(FAMILIES[name])


def create_codec(point: OperatingPoint, resources: Resources = DEFAULT_RESOURCES) -> Codec:
    """The codec of a point, on a device and in a dtype. Raises `DependencyError` if what it needs is not installed.

    A class whose constructor has no argument `resources` is made without; what it does cannot depend on them.
    """
    family = load_class(point.implementation)
    if _takes_resources(family):
        return family(point, resources=resources)
    codec = family(point)
    codec.resources = resources
    return codec


def _takes_resources(family: type[Codec]) -> bool:
    parameters = inspect.signature(family).parameters
    return "resources" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())
