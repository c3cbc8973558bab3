"""What scorers of sets and their exchanges have in common: what they say of themselves, and values that are kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rdp.analysis.sets.base import Choice
from rdp.analysis.sets.shares import checked_place

Float64 = NDArray[np.float64]


class KeptFacts:
    """The name, the numbers of images and points, and the facts of a `SetScorer`, which sets `_facts` when made."""

    _facts: dict[str, Any]

    def __init__(self, name: str, images: int, points: int) -> None:
        self._name, self._images, self._points = name, images, points

    @property
    def name(self) -> str:
        return self._name

    @property
    def images(self) -> int:
        return self._images

    @property
    def points(self) -> int:
        return self._points

    def facts(self) -> dict[str, Any]:
        return {**self._facts, "warnings": list(self._facts["warnings"])}


class KeptExchange(ABC):
    """An `Exchange` whose value is worked out when it is first asked for, and kept until the choice changes.

    `choice` (N,) becomes its own.
    """

    def __init__(self, choice: Choice, points: int) -> None:
        self._choice, self._points = choice, points
        self._value: float | None = None

    @property
    def choice(self) -> Choice:
        return self._choice.copy()

    @property
    def value(self) -> float:
        if self._value is None:
            self._value = self._now()
        return self._value

    def values(self, image: int) -> Float64:
        checked_place(image, 0, len(self._choice), self._points)
        return self._each(image)

    def set(self, image: int, point: int) -> None:
        checked_place(image, point, len(self._choice), self._points)
        if self._choice[image] != point:
            self._change(image, point)
            self._value = None

    @abstractmethod
    def _now(self) -> float:
        """The convex form at the choice."""

    @abstractmethod
    def _each(self, image: int) -> Float64:
        """The convex form with each of the points for one image, (P,)."""

    def _change(self, image: int, point: int) -> None:
        """Give an image a point that it does not have."""
        self._choice[image] = point
