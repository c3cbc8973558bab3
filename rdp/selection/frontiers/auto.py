"""Where a frontier of one sweep bends, and a place for the next budgets there.

The least cost as a function of the room that a budget leaves is convex for the relaxation, and the price is its slope.
So between two solved budgets the curve lies below the chord and above both tangents: in a triangle, whose area is what
is not known yet. The next budgets halve the largest triangles, at the place where the tangents meet, which is where a
kink would be. (The sandwich algorithm of Burkard, Hamacher and Rote, 1991, with a range of budgets in place of a range
of prices.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

NEAREST_END = 0.2
"""A new budget keeps this part of its interval from either end: a triangle with a side nearly upright is cut too."""
WORTH_IT = 0.5
"""Of the intervals, those are divided in one round whose triangle is at least this part of the largest one."""


@dataclass(frozen=True)
class Sample:
    """A solved budget: `room` rises with what it allows, `cost` is what is minimised, `slope` its change per room.

    `slope` is not above 0, and None where no price is known.
    """

    room: float
    cost: float
    slope: float | None


@dataclass(frozen=True)
class _Interval:
    area: float
    width: float
    place: float


def next_rooms(samples: Sequence[Sample], count: int) -> list[float]:
    """At most `count` places for the next budgets: in the widest triangles between neighbours, rising.

    Nothing where there are no two samples with room between them. Where the curve is known to be straight everywhere,
    the widest intervals are halved.
    """
    ordered = sorted(samples, key=lambda sample: sample.room)
    if len(ordered) < 2 or count < 1:
        return []
    width = ordered[-1].room - ordered[0].room
    height = max(s.cost for s in ordered) - min(s.cost for s in ordered)
    if not width > 0:
        return []
    intervals = [_interval(a, b, width, height or 1.0) for a, b in pairwise(ordered)]
    # Budgets that differ in their last digits only have nothing between them.
    intervals = [one for one in intervals if one.width > 1e-9]
    intervals.sort(key=lambda one: (-one.area, -one.width, one.place))
    if not intervals:
        return []
    if intervals[0].area <= 0:
        widest = max(one.width for one in intervals)
        chosen = [one for one in intervals if one.width >= WORTH_IT * widest]
    else:
        chosen = [one for one in intervals if one.area >= WORTH_IT * intervals[0].area]
    return sorted(one.place for one in chosen[:count])


def _interval(a: Sample, b: Sample, width: float, height: float) -> _Interval:
    """The triangle between two neighbours, on axes of length 1, and where its corner is."""
    across, drop = (b.room - a.room) / width, (a.cost - b.cost) / height
    if across <= 0:
        return _Interval(0.0, 0.0, a.room)
    left = math.inf if a.slope is None else max(-a.slope * width / height, 0.0)
    right = 0.0 if b.slope is None else max(-b.slope * width / height, 0.0)
    # With u across and v down from a: the tangent of a is v = left * u, that of b is v = drop - right * (across - u).
    if left == math.inf:
        corner, depth = 0.0, drop - right * across
    elif left - right <= 1e-12 * max(left, 1.0):
        corner, depth = 0.5 * across, 0.5 * drop
    else:
        corner = min(max((drop - right * across) / (left - right), 0.0), across)
        depth = left * corner
    area = 0.5 * max(depth * across - drop * corner, 0.0)
    share = min(max(corner / across, NEAREST_END), 1 - NEAREST_END)
    # What is beyond the rounding of a solve is no bend.
    return _Interval(area if area > 1e-12 else 0.0, across, a.room + share * (b.room - a.room))
