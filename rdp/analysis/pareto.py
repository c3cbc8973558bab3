"""Which points of two averages are best: those that no other point beats.

Better is lower or higher, as each column's direction says (`rdp.columns`). A point is dominated when another one is no
worse in both averages and better in one: a point with the same distortion and a worse perception is dominated, too.
Comparisons are exact. Points at exactly one place do not dominate each other; a curve has that place once, and the
first of them in the order given stands for the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rdp.columns import Direction
from rdp.errors import RdpError

FloatArray = npt.NDArray[np.float64]


class ParetoError(RdpError):
    """Arrays that are no points of two averages."""


@dataclass(frozen=True)
class ParetoSubset:
    """The points that no other one beats; all numbers are positions in the arrays that were given.

    `front`: one point a place, from the best first average (x) to the best second one (y); strictly worse in the one
    and better in the other at every step. `dominated_by` has, for each point, those of the front that dominate it, in
    the front's order, empty for a point that none does. `same_as` has the point of the front that stands for a point at
    exactly its place, None for points of the front and dominated ones.
    """

    front: tuple[int, ...]
    dominated_by: tuple[tuple[int, ...], ...]
    same_as: tuple[int | None, ...]

    @property
    def dominated(self) -> int:
        """How many points are dominated."""
        return sum(bool(by) for by in self.dominated_by)

    @property
    def repeated(self) -> int:
        """How many points are left out because another one at their place stands for them."""
        return sum(same is not None for same in self.same_as)


def pareto_subset(
    x: npt.ArrayLike, y: npt.ArrayLike, x_direction: Direction = "higher", y_direction: Direction = "lower"
) -> ParetoSubset:
    """The Pareto subset of points (n,) each, in any order; `x_direction` and `y_direction` say which way is better.

    Raises `ParetoError` for arrays of different lengths, for numbers that are not finite, and for a direction that is
    neither `lower` nor `higher`.
    """
    a, b = costs(x, y, x_direction, y_direction)
    no_worse = (a[None, :] <= a[:, None]) & (b[None, :] <= b[:, None])
    better = (a[None, :] < a[:, None]) | (b[None, :] < b[:, None])
    beaten = no_worse & better  # [i, j]: j dominates i
    best = np.flatnonzero(~beaten.any(axis=1))
    standing: dict[tuple[float, float], int] = {}
    same: list[int | None] = [None] * len(a)
    for place in best.tolist():
        first = standing.setdefault((float(a[place]), float(b[place])), place)
        same[place] = None if first == place else first
    front = sorted(standing.values(), key=lambda place: float(a[place]))
    by = tuple(tuple(place for place in front if beaten[point, place]) for point in range(len(a)))
    return ParetoSubset(tuple(front), by, tuple(same))


def costs(
    x: npt.ArrayLike, y: npt.ArrayLike, x_direction: Direction, y_direction: Direction
) -> tuple[FloatArray, FloatArray]:
    """Both averages (n,) with lower as the better side; raises `ParetoError` as `pareto_subset` does."""
    first, second = _cost("x", x, x_direction), _cost("y", y, y_direction)
    if first.shape != second.shape:
        raise ParetoError(f"{len(first)} values of x and {len(second)} of y: a point has one of each")
    return first, second


def _cost(name: str, given: npt.ArrayLike, direction: Direction) -> FloatArray:
    if direction not in ("lower", "higher"):
        raise ParetoError(f"the better side of {name} is 'lower' or 'higher', not {direction!r}")
    try:
        values = np.asarray(given, dtype=np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise ParetoError(f"{name} must be numbers, one a point ({error})") from error
    if values.ndim != 1:
        raise ParetoError(f"{name} must be one row of numbers, one a point, not of shape {values.shape}")
    if not np.isfinite(values).all():
        position = int(np.argmin(np.isfinite(values)))
        raise ParetoError(f"{name} of point {position} is {values[position]}; leave that point out")
    return values if direction == "lower" else -values
