"""The codec protocol: bound to one operating point, an image in, bytes out, and back."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from rdp.codecs.keys import Key, Value, spell
from rdp.images import hash_bytes

if TYPE_CHECKING:
    import numpy as np

    Pixels = np.ndarray[Any, Any]


@dataclass(frozen=True)
class OperatingPoint:
    """A codec family with a value for every key that changes the output; its `name` is what tables call it.

    `values` stand in schema order. `implementation` is the family's "module:Class", so that a point that travels to
    another process finds its class there. `definition` is what a family needs beyond its keys (the description of an
    external tool); it takes no part in comparisons, for the name says it all within one run.
    """

    family: str
    values: tuple[tuple[str, Value], ...]
    implementation: str
    definition: Any = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """Canonical spelling, `family:key=value,key=value`."""
        if not self.values:
            return self.family
        return self.family + ":" + ",".join(f"{key}={spell(value)}" for key, value in self.values)

    def __str__(self) -> str:
        return self.name

    def get(self, key: str) -> Value | None:
        """The value of a key, None where an optional one is not given."""
        return dict(self.values).get(key)

    def integer(self, key: str) -> int:
        """The value of a key whose schema says integer."""
        value = dict(self.values)[key]
        if not isinstance(value, int):
            raise TypeError(f"{self.name}: {key} is not an integer")
        return value


class Codec(ABC):
    """What encodes and decodes at one operating point.

    A family is a subclass with its `family` name, a one-line `summary` and its `keys`. Instances may hold weights;
    they are made once a process and used for many images, by one thread at a time.
    """

    family: ClassVar[str]
    summary: ClassVar[str]
    keys: ClassVar[tuple[Key, ...]]

    device: str = "cpu"

    def __init__(self, point: OperatingPoint) -> None:
        """Bind to a point. Raises `DependencyError` if what decoding needs is not installed."""
        self.point = point

    def require_encoder(self) -> None:
        """Raise `DependencyError` if what encoding needs beside is not installed, before any work is done.

        Called once a run. `encode` itself raises the same where nobody asked before.
        """
        return

    @classmethod
    def schema(cls, definition: Any) -> tuple[Key, ...]:
        """The keys, where a definition may add to them."""
        return cls.keys

    @classmethod
    def check(cls, values: Mapping[str, Value], where: str) -> None:
        """Raise `SpecError` for values that do not go together; most families have nothing to refuse."""
        return

    @property
    def version(self) -> str:
        """Library or program with its version, as tables record it."""
        return "unknown"

    @cached_property
    def encoder_id(self) -> str:
        """12 hex digits that change whenever the file does: family, keys that change the file, and `_identity`."""
        schema = {key.name: key for key in type(self).schema(self.point.definition)}
        values = {name: spell(value) for name, value in self.point.values if schema[name].changes_file}
        return self._hash(values, self._identity())

    @cached_property
    def decoder_id(self) -> str:
        """12 hex digits that change whenever the same file decodes to something else."""
        values = {name: spell(value) for name, value in self.point.values}
        return self._hash(values, self._decoder_identity())

    def _hash(self, values: Mapping[str, str], identity: Any) -> str:
        document = {"family": self.family, "values": values, "identity": identity}
        return hash_bytes(json.dumps(document, sort_keys=True).encode())[:12]

    def _identity(self) -> Any:
        """What determines the file beyond the keys: weights, a tool's command line. JSON-able."""
        return None

    def _decoder_identity(self) -> Any:
        """What determines the reconstruction beyond the keys, given the file. JSON-able."""
        return None

    @abstractmethod
    def encode(self, image: Pixels) -> bytes:
        """The file of an image (uint8, (H, W, 3), RGB). Raises `CodecError` if the codec cannot code it."""

    @abstractmethod
    def decode(self, data: bytes) -> Pixels:
        """The image in a file: uint8, (H, W, 3), RGB. Raises `FormatError` for bytes that are no valid file."""
