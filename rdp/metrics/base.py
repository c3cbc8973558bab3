"""What a metric is: a light plan that can be pickled, and the scorer that it makes.

A `MetricPlan` needs neither torch nor the content of any weights, so that a run can be planned, checked against image
sizes and refused before anything is encoded. `MetricPlan.create` makes the `Metric` that scores, in whichever process
it is called.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from rdp.columns import Column
from rdp.errors import MetricError
from rdp.weights import WeightsFile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Image = NDArray[np.uint8]

FINGERPRINT_DIGITS = 12


def fingerprint_of(identity: Mapping[str, Any]) -> str:
    """First 12 hex digits of the SHA-256 of a JSON object written canonically (sorted keys, no spaces, ASCII)."""
    document = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(document.encode("ascii")).hexdigest()[:FINGERPRINT_DIGITS]


@dataclass(frozen=True)
class MetricPlan:
    """Everything about a metric except its code: picklable, and cheap to make and to send to a worker.

    `target` is "module:Class" of the scorer; `columns` are names of `rdp.columns`; `settings` are what the scorer is
    made with, so that the fingerprint cannot differ from what is computed; `least_side` is the shortest side, in
    pixels, that the metric is defined for; `weights` are verified files; `described` are columns that are not of
    `rdp.columns`, but known only where an optional package is.
    """

    name: str
    target: str
    columns: tuple[str, ...]
    version: int
    dtype: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    least_side: int = 1
    weights: tuple[WeightsFile, ...] = ()
    described: tuple[Column, ...] = ()

    @property
    def identity(self) -> dict[str, Any]:
        """The document whose hash is the fingerprint: a JSON object to be stored beside the scores."""
        return {
            "name": self.name,
            "version": self.version,
            "dtype": self.dtype,
            "settings": dict(self.settings),
            "weights_sha256": [file.sha256 for file in self.weights],
        }

    @property
    def fingerprint(self) -> str:
        """`fingerprint_of` the identity."""
        return fingerprint_of(self.identity)

    def check_size(self, width: int, height: int) -> None:
        """Raise `MetricError` if an image of `width` x `height` pixels is too small for the metric."""
        if min(width, height) < self.least_side:
            raise MetricError(
                f"metric {self.name!r} needs images whose shorter side is at least {self.least_side} pixels; "
                f"this one is {width}x{height}. Leave the image out, or leave {self.name!r} out of --metric"
            )

    def create(self, device: str = "cpu") -> Metric:
        """The scorer on that device ("cpu", "cuda", "cuda:1").

        Raises `WeightsError` if the weights have changed since planning, and `MetricError` for a device that is not
        there.
        """
        module, _, name = self.target.partition(":")
        scorer = cast("type[Metric]", getattr(importlib.import_module(module), name))
        return scorer(self, device)


@dataclass(frozen=True)
class Prepared:
    """A reference image made ready by one metric: its height and width, and whatever that metric computes once."""

    height: int
    width: int
    features: Any


class Metric(ABC):
    """Scores reconstructions of one image at a time, the reference prepared once.

    Subclasses give `_features` and `_score_chunk`; sizes, chunks and the refusal of NaN are here. `pixels_per_chunk`
    bounds the memory: it is the number of pixels of the reconstructions that are scored together (always at least one
    reconstruction).
    """

    pixels_per_chunk = 1 << 22

    def __init__(self, plan: MetricPlan, device: str = "cpu") -> None:
        self.plan = plan
        self.device = device
        self.name = plan.name
        self.columns = plan.columns
        self.version = plan.version
        self.settings = plan.settings
        self.identity = plan.identity
        self.fingerprint = plan.fingerprint

    def check_size(self, width: int, height: int) -> None:
        """Raise `MetricError` if an image of that size is too small for the metric."""
        self.plan.check_size(width, height)

    def prepare(self, reference: Image) -> Prepared:
        """What the metric needs of the reference, uint8 (H, W, 3), computed once.

        Raises `MetricError` for an image that is too small or not 8-bit RGB.
        """
        height, width = self._shape_of(reference)
        self.check_size(width, height)
        return Prepared(height, width, self._features(reference))

    def score(self, prepared: Prepared, reconstructions: Sequence[Image]) -> dict[str, list[float]]:
        """Scores of the reconstructions, uint8 (H, W, 3) each, against the prepared reference.

        Returns one list per column, in the order of the reconstructions. Raises `MetricError` for a reconstruction of
        another size and for a score that is not a number.
        """
        scores: dict[str, list[float]] = {column: [] for column in self.columns}
        for reconstruction in reconstructions:
            shape = self._shape_of(reconstruction)
            if shape != (prepared.height, prepared.width):
                raise MetricError(
                    f"metric {self.name!r}: the reconstruction is {shape[1]}x{shape[0]} pixels "
                    f"and the original {prepared.width}x{prepared.height}"
                )
        for chunk in self._chunks(prepared, reconstructions):
            for column, values in self._score_chunk(prepared.features, chunk).items():
                scores[column].extend(self._number(column, value) for value in values)
        return scores

    @abstractmethod
    def _features(self, reference: Image) -> Any:
        """The reference's part of the work."""

    @abstractmethod
    def _score_chunk(self, features: Any, reconstructions: Sequence[Image]) -> dict[str, list[float]]:
        """Scores of a few reconstructions of the reference's size."""

    def _chunks(self, prepared: Prepared, reconstructions: Sequence[Image]) -> Iterator[Sequence[Image]]:
        count = max(1, self.pixels_per_chunk // (prepared.height * prepared.width))
        for start in range(0, len(reconstructions), count):
            yield reconstructions[start : start + count]

    def _shape_of(self, image: Image) -> tuple[int, int]:
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype.name != "uint8" or 0 in image.shape:
            raise MetricError(
                f"metric {self.name!r} takes 8-bit RGB images, uint8 (H, W, 3), not {image.dtype} {image.shape}"
            )
        return image.shape[0], image.shape[1]

    def _number(self, column: str, value: float) -> float:
        if math.isnan(value):
            raise MetricError(f"metric {self.name!r} gave no number (NaN) for {column!r}")
        return float(value)
