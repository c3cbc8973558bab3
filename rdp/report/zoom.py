"""Which part of a figure is drawn a second time, larger: where the selections and their baselines lie too close."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rdp.report.curves import Panel

CLOSE = 0.06
"""Marks nearer than this part of both axes cover each other."""
SAME = 5e-4
"""Marks nearer than this part of both axes are one place, which no enlargement takes apart."""
NEAR = 0.2
"""A single point within this part of the axes from the other marks is taken into the detail."""
LEAST = 0.01
"""The least part of an axis that a detail shows."""
ROOM = 0.3
"""Room around the marks, as a part of the distance that they span."""


@dataclass(frozen=True)
class Window:
    """The part of a panel that its detail shows, in the units of the axes."""

    x: tuple[float, float]
    y: tuple[float, float]


def detail_windows(panels: Sequence[Panel]) -> tuple[Window, ...]:
    """A window for each panel, with the same rates in all; none at all when the marks can be told apart.

    Where selections are at rates far from each other, the detail is around those of which most marks cover each other.
    """
    if not panels:
        return ()
    along = _Scale([v for panel in panels for v in _values(panel, "x")], any(panel.x_log for panel in panels))
    scales = [_Scale(_values(panel, "y"), panel.y_log) for panel in panels]
    places = [
        [_Mark(spot.kind, along.part(spot.x), up.part(spot.y)) for spot in panel.spots]
        for panel, up in zip(panels, scales, strict=True)
    ]
    groups = _groups({mark.u for marks in places for mark in marks if mark.kind != "single"})
    # Single points go with the group that they are near to.
    kept = [[_taken(marks, group) for marks in places] for group in groups]
    covered = [sum(_covered(marks) for marks in of_panels) for of_panels in kept]
    if not any(covered):
        return ()
    chosen = kept[covered.index(max(covered))]
    x = along.window([mark.u for marks in chosen for mark in marks])
    return tuple(Window(x, up.window([mark.v for mark in marks])) for up, marks in zip(scales, chosen, strict=True))


@dataclass(frozen=True)
class _Mark:
    """A mark at (u, v) as parts of both axes."""

    kind: str
    u: float
    v: float

    def distance(self, other: _Mark) -> float:
        return max(abs(self.u - other.u), abs(self.v - other.v))


def _groups(rates: Iterable[float]) -> list[tuple[float, float]]:
    """Least and greatest of the rates that lie together, neighbours being less than `NEAR` apart."""
    groups: list[tuple[float, float]] = []
    for rate in sorted(rates):
        if groups and rate - groups[-1][1] < NEAR:
            groups[-1] = (groups[-1][0], rate)
        else:
            groups.append((rate, rate))
    return groups


def _taken(marks: Sequence[_Mark], group: tuple[float, float]) -> list[_Mark]:
    """The selections and mixtures of a group of rates, and the single points near to any of them."""
    own = [mark for mark in marks if mark.kind != "single" and group[0] <= mark.u <= group[1]]
    near = [m for m in marks if m.kind == "single" and any(m.distance(mark) < NEAR for mark in own)]
    return own + near


def _covered(marks: Sequence[_Mark]) -> int:
    """How many pairs of marks cover each other without being one place."""
    return sum(SAME < a.distance(b) < CLOSE for a, b in itertools.combinations(marks, 2))


class _Scale:
    """Values of an axis as parts of its length, linear or logarithmic."""

    def __init__(self, values: Sequence[float], log: bool) -> None:
        self.log = log
        placed = [self._place(value) for value in values] or [0.0]
        self.low, self.length = min(placed), (max(placed) - min(placed)) or 1.0

    def part(self, value: float) -> float:
        return (self._place(value) - self.low) / self.length

    def window(self, parts: Sequence[float]) -> tuple[float, float]:
        """From and to, around places on the axis, with room."""
        if not parts:
            return self._value(0.0), self._value(1.0)
        middle, span = (min(parts) + max(parts)) / 2, max(max(parts) - min(parts), LEAST)
        half = span * (0.5 + ROOM)
        return self._value(middle - half), self._value(middle + half)

    def _place(self, value: float) -> float:
        return math.log(value) if self.log else value

    def _value(self, part: float) -> float:
        place = self.low + part * self.length
        return math.exp(place) if self.log else place


def _values(panel: Panel, axis: str) -> list[float]:
    values = [v for line in panel.lines for v in (line.xs if axis == "x" else line.ys)]
    return values + [spot.x if axis == "x" else spot.y for spot in panel.spots]
