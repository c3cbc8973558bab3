"""The knee of a perception-distortion curve: the point from which either side costs much and gains little.

The curve is the Pareto subset of a few points in two averages: a dominated point is no part of the trade-off and sets
nothing (a decoder tuned without any distortion term is often worse in both; thesis 4.1). Both averages are made costs
(lower is better) and scaled to 0..1 between the curve's ends, so that its ends are (0, 1) and (1, 0), the best corner
is the origin, and units do not matter.

- `chord_knee`: the point with the largest distance to the straight line between the ends, on the better side of it.
- `kneedle`: Satopaa et al., "Finding a 'Kneedle' in a Haystack" (ICDCSW 2011), by the package kneed. On these axes its
  difference curve is the distance to the chord times the square root of two: it looks for a local maximum from which
  the curve falls by `sensitivity / (n - 1)` before the next one. With few points that is much (0.25 of 5 points), and
  Kneedle may find no knee where the chord has one.

Both depend on where the curve ends; `end_point_sensitivity` says how much, and `knee_shares` how much on the images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from rdp.analysis.bootstrap import check_draws, resample
from rdp.analysis.pareto import ParetoSubset, costs, pareto_subset
from rdp.columns import Direction
from rdp.errors import DependencyError, RdpError, SpecError

FloatArray = npt.NDArray[np.float64]
Method = Literal["chord", "kneedle"]

FEWEST_POINTS = 3
"""A curve with fewer points has no point between its ends."""
EQUAL = 1e-12
"""Distances on the normalised curve that differ by no more are equal; one that is no larger is none."""


class KneeError(RdpError):
    """Points that make no curve with a knee: fewer than three on the Pareto front."""


@dataclass(frozen=True)
class ChordKnee:
    """The point farthest from the chord of the normalised curve; points are positions in the arrays that were given.

    `distances` belong to `subset.front`, in its order: 0 at both ends, positive on the better side of the chord (at
    most the square root of one half), negative where the curve bulges the other way. `knee` is None where no point is
    on the better side, and `distance` is 0 then. `tied` are other points at the same distance: of several the one of
    the better first average (x) is taken.
    """

    subset: ParetoSubset
    distances: tuple[float, ...]
    knee: int | None
    distance: float
    tied: tuple[int, ...]


@dataclass(frozen=True)
class EndPointTrial:
    """The knee of the curve without some of its end points.

    `without_first` points are left out at the end of the best x, `without_last` at that of the best y. `possible`: the
    whole curve's knee is still between the ends, so that it could be found again.
    """

    without_first: int
    without_last: int
    knee: int | None
    possible: bool


@dataclass(frozen=True)
class EndPointSensitivity:
    """The knee of the whole curve, and how often it is found again when end points are left out.

    `knees`: all that were found, the whole curve's first, then in the order of the trials; None stands for no knee.
    `share` is NaN without trials (a curve of three points).
    """

    method: Method
    knee: int | None
    trials: tuple[EndPointTrial, ...]

    @property
    def knees(self) -> tuple[int | None, ...]:
        return tuple(dict.fromkeys((self.knee, *(trial.knee for trial in self.trials))))

    @property
    def agreeing(self) -> int:
        """Trials with the knee of the whole curve."""
        return sum(trial.knee == self.knee for trial in self.trials)

    @property
    def possible(self) -> int:
        """Trials in which the knee of the whole curve still lay between the ends."""
        return sum(trial.possible for trial in self.trials)

    @property
    def share(self) -> float:
        """Trials that agree, as a part of all of them (0..1)."""
        return self.agreeing / len(self.trials) if self.trials else math.nan


@dataclass(frozen=True)
class KneeShares:
    """How often each point is the knee when images are drawn anew: `shares` (points,) of all resamples, 0..1.

    `none` is the share of the resamples whose curve has no knee (fewer than three points on the front, or none on the
    better side of the chord).
    """

    shares: tuple[float, ...]
    none: float
    resamples: int
    seed: int


def chord_knee(
    x: npt.ArrayLike, y: npt.ArrayLike, x_direction: Direction = "higher", y_direction: Direction = "lower"
) -> ChordKnee:
    """The point of the Pareto subset with the largest distance to the chord between its ends.

    `x` and `y`: (n,) each, in any order, such as mean PSNR and mean LPIPS; the directions say which way is better.
    Raises `KneeError` for fewer than three points on the front, and `ParetoError` for arrays that are no points.
    """
    subset, a, b = _curve(x, y, x_direction, y_direction)
    place, distances = _farthest(*_normalised(a, b))
    if place is None:
        return ChordKnee(subset, tuple(distances.tolist()), None, 0.0, ())
    tied = np.flatnonzero(distances >= distances.max() - EQUAL).tolist()
    others = tuple(subset.front[k] for k in tied if k != place)
    return ChordKnee(subset, tuple(distances.tolist()), subset.front[place], float(distances[place]), others)


def kneedle(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    x_direction: Direction = "higher",
    y_direction: Direction = "lower",
    *,
    sensitivity: float = 1.0,
) -> int | None:
    """The knee that Kneedle finds on the Pareto subset, or None: of several the one nearest to the best x.

    `sensitivity` is the algorithm's S, 0 or more: by how much of the mean step between points the curve must fall
    after a maximum for it to be a knee; smaller finds more. Raises as `chord_knee` does, `SpecError` for a
    sensitivity out of range, and `DependencyError` without the package kneed.
    """
    _require_sensitivity(sensitivity)
    subset, a, b = _curve(x, y, x_direction, y_direction)
    place = _kneedle_place(*_normalised(a, b), sensitivity)
    return None if place is None else subset.front[place]


def end_point_sensitivity(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    x_direction: Direction = "higher",
    y_direction: Direction = "lower",
    *,
    method: Method = "chord",
    sensitivity: float = 1.0,
    most: int | None = None,
) -> EndPointSensitivity:
    """The knee again with 1 to `most` points left out at either end, and with one left out at both.

    Points are left out of the Pareto subset, while at least three remain; dominated points do not come back. `most`
    None is as many as that allows. `sensitivity` is Kneedle's. Raises as `chord_knee` and `kneedle` do, and `SpecError`
    for another method or a `most` below 1.
    """
    if method not in ("chord", "kneedle"):
        raise SpecError(f"the method of a knee is 'chord' or 'kneedle', not {method!r}")
    if most is not None and most < 1:
        raise SpecError(f"most is the number of end points to leave out, 1 or more, not {most!r}")
    _require_sensitivity(sensitivity)
    subset, a, b = _curve(x, y, x_direction, y_direction)
    count = len(subset.front)

    def place_of(first: int, last: int) -> int | None:
        part = slice(first, count - last)
        u, v = _normalised(a[part], b[part])
        place = _farthest(u, v)[0] if method == "chord" else _kneedle_place(u, v, sensitivity)
        return None if place is None else first + place

    whole = place_of(0, 0)
    trials = []
    for first, last in _left_out(count, most):
        place = place_of(first, last)
        possible = whole is not None and first < whole < count - 1 - last
        trials.append(EndPointTrial(first, last, None if place is None else subset.front[place], possible))
    return EndPointSensitivity(method, None if whole is None else subset.front[whole], tuple(trials))


def knee_shares(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    x_direction: Direction = "higher",
    y_direction: Direction = "lower",
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> KneeShares:
    """How often each point is the chord's knee over resamples of the images: a paired bootstrap.

    `x` and `y`: (images, points) each; every resample draws as many images with replacement, the same ones for all
    points (`rdp.analysis.bootstrap.resample`), and takes means, Pareto subset and knee anew. Raises `SpecError` for
    options out of range, and `ParetoError` for arrays of other shapes or values that are not finite.
    """
    xs, ys = (np.asarray(values, dtype=np.float64) for values in (x, y))
    if xs.ndim != 2 or xs.shape != ys.shape:
        raise SpecError(f"x and y must both have the shape (images, points), not {xs.shape} and {ys.shape}")
    images, points = xs.shape
    check_draws(images, resamples, seed)
    counts = np.zeros(points, dtype=np.int64)
    for number in range(resamples):
        drawn = resample(seed, number, images)
        try:
            knee = chord_knee(xs[drawn].mean(axis=0), ys[drawn].mean(axis=0), x_direction, y_direction).knee
        except KneeError:
            continue
        if knee is not None:
            counts[knee] += 1
    shares = counts / resamples
    return KneeShares(tuple(shares.tolist()), float((resamples - counts.sum()) / resamples), resamples, seed)


def _curve(
    x: npt.ArrayLike, y: npt.ArrayLike, x_direction: Direction, y_direction: Direction
) -> tuple[ParetoSubset, FloatArray, FloatArray]:
    """The Pareto subset and its costs (front,), lower is better: the first rise strictly, the second fall."""
    subset = pareto_subset(x, y, x_direction, y_direction)
    a, b = costs(x, y, x_direction, y_direction)
    if len(subset.front) < FEWEST_POINTS:
        raise KneeError(_too_few(len(a), subset))
    front = list(subset.front)
    return subset, a[front], b[front]


def _too_few(points: int, subset: ParetoSubset) -> str:
    words = f"{points} point{'s' if points != 1 else ''}, of which {len(subset.front)} on the Pareto front"
    lost = [f"{subset.dominated} dominated"] if subset.dominated else []
    lost += [f"{subset.repeated} at the place of another"] if subset.repeated else []
    why = f" ({', '.join(lost)})" if lost else ""
    return f"{words}{why}: a knee needs at least {FEWEST_POINTS} there"


def _normalised(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Costs of a front scaled to 0..1; they rise and fall strictly, so that neither range is 0."""
    with np.errstate(over="ignore"):
        wide = not np.isfinite([a[-1] - a[0], b[0] - b[-1]]).all()
    if wide:
        a, b = a / 2, b / 2
    return (a - a[0]) / (a[-1] - a[0]), (b - b[-1]) / (b[0] - b[-1])


def _farthest(u: FloatArray, v: FloatArray) -> tuple[int | None, FloatArray]:
    """Place of the point farthest from the chord on its better side, and all signed distances (front,).

    `u` rises from 0 to 1, `v` falls from 1 to 0.
    """
    distances = (1 - u - v) / math.sqrt(2)
    largest = distances.max()
    # Equally far points differ by rounding, which must not decide: the first of them is taken.
    place = int(np.argmax(distances >= largest - EQUAL))
    return (place if largest > EQUAL else None), distances


def _kneedle_place(u: FloatArray, v: FloatArray, sensitivity: float) -> int | None:
    try:
        from kneed import KneeLocator
    except ImportError as error:
        raise DependencyError("Kneedle needs the package kneed: pip install 'kneed>=0.9'") from error
    # The costs of a front fall from (0, 1) to (1, 0) and bend towards the origin, whatever the averages were.
    locator = KneeLocator(u, v, S=sensitivity, curve="convex", direction="decreasing", online=True)
    places = [int(np.searchsorted(u, found)) for found in sorted(locator.all_knees)]
    # Where the curve starts on the worse side of the chord, kneed takes the end itself for a maximum.
    return next((k for k in places if 0 < k < len(u) - 1 and 1 - u[k] - v[k] > EQUAL), None)


def _left_out(count: int, most: int | None) -> list[tuple[int, int]]:
    """How many points to leave out at the (first, last) end of a curve of `count`."""
    limit = count - FEWEST_POINTS if most is None else min(most, count - FEWEST_POINTS)
    one_side = [pair for k in range(1, limit + 1) for pair in ((k, 0), (0, k))]
    return one_side + ([(1, 1)] if count - 2 >= FEWEST_POINTS else [])


def _require_sensitivity(sensitivity: float) -> None:
    if not 0 <= sensitivity < math.inf:
        raise SpecError(f"Kneedle's sensitivity must be a finite number, 0 or more, such as 1, not {sensitivity!r}")
