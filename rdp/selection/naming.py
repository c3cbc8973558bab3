"""What telling a receiver the points of a selection adds to the rates of a problem's cells."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Literal, Self

from rdp.selection.terms import FloatArray, IntArray

Kind = Literal["index", "decoder"]
CHARGED = ("bpp", "nbytes")
"""Columns that the bits are added to: to `nbytes` as bits / 8, to `bpp` as bits / pixels of the image."""


class Naming(ABC):
    """Bits that are part of the values of `bpp` and `nbytes` of a problem, cell by cell.

    Two kinds: those of the number of a point among all of a problem (`rdp.selection.index_cost`), the same for every
    point of an image, and those of the decoder among all of a file (`rdp.selection.decoder_cost`), which are not. A
    problem has one of them or none; `kind` tells them apart.
    """

    kind: ClassVar[Kind]

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """The columns of the problem that include the bits."""

    @property
    @abstractmethod
    def sentence(self) -> str:
        """Which columns include how many bits, in words."""

    @abstractmethod
    def at(self, column: str, choice: IntArray) -> FloatArray:
        """What the values of a column include at a choice (N,): (N,), zeros for a column without the bits."""

    @abstractmethod
    def of_images(self, count: int, part: Callable[[FloatArray], FloatArray]) -> Self:
        """The same of `count` images; `part` takes their rows of an array (N, ...)."""
