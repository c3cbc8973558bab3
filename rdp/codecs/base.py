"""The codec protocol: bound to one operating point, an image in, bytes out, and back; one by one or in batches."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from rdp.codecs.keys import Key, Value, spell
from rdp.errors import SpecError, suggest
from rdp.execution.devices import check_device, require_device
from rdp.images import hash_bytes
from rdp.models.provenance import DIGITS

if TYPE_CHECKING:
    import numpy as np

    Pixels = np.ndarray[Any, Any]

IMAGE_DIGITS = DIGITS
"""First hex digits of an image's `hash_pixels` by which `Codec.trained_on` names it."""

DTYPES = ("float32", "bfloat16", "float16")
"""What networks may compute in."""


@dataclass(frozen=True)
class Resources:
    """Where and in what arithmetic the networks of a codec run: options of a run, never keys of a point.

    `device` is "cpu", "cuda" or "cuda:N". `dtype` is that of the networks; since it changes pictures and may change
    files, a codec that heeds it makes it a part of its identity. Codecs without networks heed neither. Raises
    `SpecError` for a name that is none, and for float16 on the CPU, which has no fast arithmetic of that kind.
    """

    device: str = "cpu"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        check_device(self.device)
        if self.dtype not in DTYPES:
            known = ", ".join(DTYPES)
            raise SpecError(f"--dtype: unknown dtype {self.dtype!r}.{suggest(str(self.dtype), DTYPES)} Known: {known}")
        if self.dtype == "float16" and self.device == "cpu":
            raise SpecError("--dtype float16 needs a GPU (--device cuda): on the CPU use bfloat16 or float32")

    def require(self) -> None:
        """Raise `SpecError` if the device is not on this machine; torch is loaded for a GPU only."""
        require_device(self.device)


DEFAULT_RESOURCES = Resources()


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
    they are made once a process and used for many images, by one thread at a time (but see `concurrent`).

    A family without networks has no use for resources and may define `__init__(self, point)`; it is given the
    attribute `resources` all the same. One with networks defines `__init__(self, point, resources=...)`.

    Attributes:
        resources: the device and dtype of the run.
        device: the device that tables record: "cpu" unless networks run elsewhere ("cuda:0").
        weights_nbytes: memory of the weights that an instance holds, or will once it is used. Workers keep only so
            many codecs at a time as fit in a part of the memory.
        concurrent: one thread may encode with an instance while another decodes with it.
    """

    family: ClassVar[str]
    summary: ClassVar[str]
    keys: ClassVar[tuple[Key, ...]]

    device: str = "cpu"
    resources: Resources = DEFAULT_RESOURCES
    weights_nbytes: int = 0
    concurrent: bool = False

    def __init__(self, point: OperatingPoint, resources: Resources = DEFAULT_RESOURCES) -> None:
        """Bind to a point. Raises `DependencyError` if what decoding needs is not installed."""
        self.point = point
        self.resources = resources

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
    def resolve(cls, pairs: Mapping[str, str], spec: str) -> tuple[Mapping[str, str], Any]:
        """The written pairs as the schema knows them, and the definition of the points, None where there is none.

        For families of which a user writes something that is not the name of the point, such as a path. Raises
        `SpecError`, with `spec` as written.
        """
        return pairs, None

    @classmethod
    def point_of(cls, data: bytes, where: str) -> str | None:
        """The spec of a point that decodes a file of this family's format; None where the family's name is enough.

        `where` names the file in messages. Raises `FormatError` for data that are no such file, and what says what
        is missing on this machine.
        """
        return None

    @classmethod
    def check(cls, values: Mapping[str, Value], where: str) -> None:
        """Raise `SpecError` for values that do not go together; most families have nothing to refuse."""
        return

    @classmethod
    def check_same(cls, known: OperatingPoint, other: OperatingPoint) -> None:
        """Raise `SpecError` if two points of one name, whose definitions are not equal, mean different things."""
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

    def trained_on(self) -> frozenset[str]:
        """The images that the codec's weights were trained on, each by the first `IMAGE_DIGITS` hex digits of its
        `rdp.images.hash_pixels`; empty where there are no weights or nobody knows. `rdp.evaluate` refuses these images.
        """
        return frozenset()

    # ---- several at once

    def encode_batch(self, images: Sequence[Pixels]) -> list[bytes]:
        """The files of some images (uint8, (H, W, 3) each) of one `batch_key`, in order.

        The file of an image depends on that image alone, never on its companions. One by one unless a family knows
        better. Raises what `encode` raises; the caller then tries the images alone.
        """
        return [self.encode(image) for image in images]

    def decode_batch(self, files: Sequence[bytes]) -> list[Pixels]:
        """The images in some files, in order; each depends on its own file alone. Raises what `decode` raises."""
        return [self.decode(data) for data in files]

    def preferred_batch(self, height: int, width: int) -> int:
        """How many images of that size (pixels) the codec wants at once; 1 where batches bring nothing."""
        return 1

    def batch_key(self, height: int, width: int) -> Hashable:
        """Images (sizes in pixels) with equal keys may go into one batch; a network gives the padded size."""
        return height, width

    def estimates(self, data: bytes) -> dict[str, float]:
        """Further columns of a row that the codec computes from its own file: `rdp.columns.ESTIMATE_COLUMNS`.

        Called outside the time that is measured, by the thread that has just decoded the file (and perhaps others of
        its batch).
        """
        return {}
