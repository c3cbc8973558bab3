"""Tables as text, before they become Markdown or LaTeX; and how many digits a number gets."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

MISSING = "–"
SIGNIFICANT = 4
MOST_DECIMALS = 5
_DECIBEL_DECIMALS = 3


@dataclass(frozen=True)
class Code:
    """Text that is set as code: the name of a point, a column, a file."""

    text: str


@dataclass(frozen=True)
class Number:
    """A number as it is shown."""

    text: str


Piece: TypeAlias = "str | Code | Number"
Cell: TypeAlias = "Piece | tuple[Piece, ...]"
Row: TypeAlias = "tuple[Cell, ...]"


@dataclass(frozen=True)
class TextTable:
    """A table to be shown: one heading a column, rows in groups between which stands a line, notes below.

    `align` has an `l` or `r` for each column.
    """

    caption: str
    align: str
    header: tuple[str, ...]
    groups: tuple[tuple[Row, ...], ...]
    notes: tuple[tuple[Piece, ...], ...] = ()


def pieces(cell: Cell) -> tuple[Piece, ...]:
    """A cell as a sequence of pieces."""
    return cell if isinstance(cell, tuple) else (cell,)


def decimals_for(values: Iterable[float], unit: str = "") -> int:
    """Decimals for a column of numbers: 3 for decibels, else so many that the median has four significant digits."""
    if unit == "dB":
        return _DECIBEL_DECIMALS
    sizes = [abs(v) for v in values if math.isfinite(v) and v != 0]
    if not sizes:
        return 0
    places = SIGNIFICANT - 1 - math.floor(math.log10(float(np.median(sizes))))
    return min(max(places, 0), MOST_DECIMALS)


def fixed(value: float, decimals: int, sign: bool = False) -> Number:
    """A number with so many decimals; `sign` writes the plus too. NaN is a dash, infinity `inf`."""
    if math.isnan(value):
        return Number(MISSING)
    if math.isinf(value):
        return Number("-inf" if value < 0 else "+inf" if sign else "inf")
    text = f"{value:+.{decimals}f}" if sign else f"{value:.{decimals}f}"
    # A difference that rounds to nothing has no sign.
    return Number(text.lstrip("+-") if float(text) == 0 else text)


def percent(part: float, sign: bool = True) -> str:
    """A relative gain, with one more digit where it is small."""
    value = 100 * part
    text = f"{value:+.{1 if abs(value) >= 1 else 2}f}" if sign else f"{value:.{1 if abs(value) >= 1 else 2}f}"
    return f"{text.lstrip('+-') if float(text) == 0 else text} %"


def general(value: float | None, digits: int = 6) -> Number:
    """A number on its own, with so many significant digits."""
    if value is None or math.isnan(value):
        return Number(MISSING)
    if math.isinf(value):
        return Number("inf" if value > 0 else "-inf")
    return Number(f"{value:.{digits}g}")


def shares_text(shares: Sequence[tuple[str, float]]) -> tuple[Piece, ...]:
    """`25 % webp:quality=25 + 75 % webp:quality=35`, the larger decimals only where they are needed."""
    out: list[Piece] = []
    for point, share in shares:
        digits = 0 if abs(100 * share - round(100 * share)) < 0.005 else 1
        out += [" + " if out else "", Number(f"{100 * share:.{digits}f} %"), " ", Code(point)]
    return tuple(piece for piece in out if piece != "")
