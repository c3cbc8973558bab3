"""Where names stand in a figure of curves: beside their points, over as little else as there is room for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rdp.selection.problem import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import BboxBase

FONT_SIZE = 6.5
_LETTER = 0.62
"""Mean width of a letter, in font sizes."""
_LINE = 1.25
"""Height of a line of text, in font sizes."""
_NEAR, _FAR = 8.0, 15.0
"""Distances of a name from its point, in points of 1/72 inch."""
_SAMPLES = 24
_OUTSIDE = 1000.0
"""What it costs to leave the axes: more than to cover anything."""


@dataclass(frozen=True)
class Name:
    """A text at a point (x, y) of the data."""

    text: str
    x: float
    y: float
    colour: str


def place_names(
    axis: Axes, names: Sequence[Name], lines: Sequence[tuple[Sequence[float], Sequence[float]]], better: tuple[int, int]
) -> None:
    """Write names beside their points, where they cover the least of the lines, of each other and of the axes' edge.

    `better` are the signs of the better sides of x and y: of places that are as good the one there is taken, as a curve
    bends away from it. The figure's layout must be final.
    """
    from matplotlib.transforms import Bbox

    scale = axis.figure.dpi / 72
    frame = axis.get_window_extent()
    taken = _sampled(axis, lines)
    boxes: list[Bbox] = []
    for name in names:
        width, height = scale * FONT_SIZE * _LETTER * len(name.text), scale * FONT_SIZE * _LINE
        at = axis.transData.transform((name.x, name.y))
        choices: list[tuple[float, int, Bbox, tuple[float, float]]] = []
        for right, up in _directions(better):
            corner = at + scale * np.array([right, up])
            left = corner[0] - width * (0 if right > 0 else 1 if right < 0 else 0.5)
            low = corner[1] - height * (0 if up > 0 else 1 if up < 0 else 0.5)
            box = Bbox.from_bounds(left, low, width, height)
            choices.append((_cost(box, taken, boxes, frame), len(choices), box, (right, up)))
        _, _, box, (right, up) = min(choices, key=lambda choice: choice[:2])
        boxes.append(box)
        axis.annotate(
            name.text,
            (name.x, name.y),
            xytext=(right, up),
            textcoords="offset points",
            ha="left" if right > 0 else "right" if right < 0 else "center",
            va="bottom" if up > 0 else "top" if up < 0 else "center",
            color=name.colour,
            fontsize=FONT_SIZE,
            zorder=6,
        )


def _directions(better: tuple[int, int]) -> list[tuple[float, float]]:
    """Offsets of a name's corner in points, the better side first."""
    right, up = better
    signs = [(right, up), (right, 0), (0, up), (right, -up), (-right, up), (-right, 0), (0, -up), (-right, -up)]
    # Straight beside a point its mark is in the way for as much as a corner is farther.
    return [
        (a * distance * (1 if b else 1.2), b * distance * (0.7 if a else 1.2))
        for distance in (_NEAR, _FAR)
        for a, b in signs
    ]


def _sampled(axis: Axes, lines: Sequence[tuple[Sequence[float], Sequence[float]]]) -> FloatArray:
    """Places (k, 2) along all lines, in pixels."""
    parts = []
    for xs, ys in lines:
        corners = axis.transData.transform(np.column_stack([xs, ys]))
        steps = np.arange((len(corners) - 1) * _SAMPLES + 1) / _SAMPLES
        number = np.arange(len(corners))
        parts.append(np.column_stack([np.interp(steps, number, corners[:, k]) for k in (0, 1)]))
    return np.concatenate(parts) if parts else np.zeros((0, 2))


def _cost(box: BboxBase, taken: FloatArray, boxes: Sequence[BboxBase], frame: BboxBase) -> float:
    """How much a box covers: places of lines, other names, and the outside of the axes."""
    inside = (taken > box.min).all(axis=1) & (taken < box.max).all(axis=1)
    crossed = sum(box.overlaps(other) for other in boxes)
    outside = box.x0 < frame.x0 or box.x1 > frame.x1 or box.y0 < frame.y0 or box.y1 > frame.y1
    return float(inside.sum()) + _SAMPLES * crossed + _OUTSIDE * outside
