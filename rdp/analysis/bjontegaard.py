"""Bjontegaard deltas: the average distance between two rate-quality curves (VCEG-M33, 2001; JCTVC-L1100 for PCHIP).

A curve is a few (rate, metric) points with a piecewise cubic Hermite interpolant (PCHIP) through them: for BD-metric
the metric over the logarithm of the rate, for BD-rate that logarithm over the metric. The delta is the mean difference
of two curves over the interval that both cover; nothing is extrapolated.

Points are put in the order of what the curve is drawn over. A point that needs more rate than another and is no better
(as happens on adversarial and perceptual curves) stays where it is: the number is of the curve through **all** points,
and the result lists such points and warns. Only where two points leave no curve at all (one metric at two rates, for
BD-rate) is there no number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from rdp.errors import RdpError

FloatArray = npt.NDArray[np.float64]

FEWEST_POINTS = 4
"""A curve with fewer points is none."""
_LISTED = 5


class BjontegaardError(RdpError):
    """Two curves between which there is no Bjontegaard delta: too few points, no overlap, or no curve at all."""


@dataclass(frozen=True)
class Bjontegaard:
    """A Bjontegaard delta of a test curve against an anchor, with all that it depends on.

    `value` is, for `kind` "rate", the mean difference in rate at equal metric in percent of the anchor's rate: negative
    where the test curve saves rate. For `kind` "metric" it is the mean difference of the metric at equal rate, in the
    metric's unit, positive where the test curve is better, also for a metric where lower is better (`negated`: it was
    negated before anything else).

    `interval` is what both curves cover, or what of that was asked for: in the metric's own numbers for "rate", in the
    rate's for "metric". `overlap` is its share of what the two curves cover together (0 to 1; for "metric", of the
    logarithm of the rate).
    `anchor_points` and `test_points` count different points. `anchor_not_monotone` and `test_not_monotone` are the
    positions, in the arrays that were given, of points that need no less rate than another and are no better.
    """

    kind: Literal["rate", "metric"]
    value: float
    interval: tuple[float, float]
    overlap: float
    anchor_points: int
    test_points: int
    negated: bool = False
    anchor_not_monotone: tuple[int, ...] = ()
    test_not_monotone: tuple[int, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class _Curve:
    """Different points of a curve: `log_rate` (n,) base 10, `metric` (n,) where higher is better."""

    name: str
    log_rate: FloatArray
    metric: FloatArray
    not_monotone: tuple[int, ...]
    warnings: tuple[str, ...]


def bd_rate(
    anchor_rate: npt.ArrayLike,
    anchor_metric: npt.ArrayLike,
    test_rate: npt.ArrayLike,
    test_metric: npt.ArrayLike,
    *,
    lower_is_better: bool = False,
    names: tuple[str, str] = ("anchor", "test"),
    interval: tuple[float, float] | None = None,
) -> Bjontegaard:
    """The mean difference in rate at equal metric, in percent: negative where the test curve saves rate.

    Arrays (n,) of at least four points each, in any order; rates positive, all numbers finite. `lower_is_better` says
    so of the metric; `names` are what messages call the two curves. `interval`: the lowest and the highest metric that
    counts, either of them infinite for no bound; the delta is over the part of it that both curves cover, which the
    result says, and the curves still go through all their points. Raises `BjontegaardError` for arrays that are no such
    curves, for curves without overlap (inside the interval, if there is one), where one metric stands at two rates, and
    for an interval that does not rise.
    """
    curves = _curves(anchor_rate, anchor_metric, test_rate, test_metric, lower_is_better, names)
    over = [_ordered(curve, curve.metric, curve.log_rate, "metric") for curve in curves]
    low, high, share = _overlap(over, curves, "metric")
    if interval is not None:
        low, high, share = _cut(interval, low, high, share, lower_is_better)
    mean = _mean_difference(over, low, high)
    ends = (-high, -low) if lower_is_better else (low, high)
    return _result("rate", float(np.expm1(mean * np.log(10.0)) * 100.0), ends, share, curves, lower_is_better)


def bd_metric(
    anchor_rate: npt.ArrayLike,
    anchor_metric: npt.ArrayLike,
    test_rate: npt.ArrayLike,
    test_metric: npt.ArrayLike,
    *,
    lower_is_better: bool = False,
    names: tuple[str, str] = ("anchor", "test"),
) -> Bjontegaard:
    """The mean difference of the metric at equal rate (over its logarithm): positive where the test curve is better.

    BD-PSNR, where the metric is PSNR in decibels. Arguments and errors are those of `bd_rate`; here one rate must not
    stand at two metrics.
    """
    curves = _curves(anchor_rate, anchor_metric, test_rate, test_metric, lower_is_better, names)
    over = [_ordered(curve, curve.log_rate, curve.metric, "rate") for curve in curves]
    low, high, share = _overlap(over, curves, "rate")
    ends = (float(10.0**low), float(10.0**high))
    return _result("metric", _mean_difference(over, low, high), ends, share, curves, lower_is_better)


def not_monotone(rate: FloatArray, metric: FloatArray) -> tuple[int, ...]:
    """Positions of the points that need no less rate than another one and are no better (higher is better).

    Of points that are equal in both none is listed for the other's sake.
    """
    no_dearer = rate[None, :] <= rate[:, None]
    no_worse = metric[None, :] >= metric[:, None]
    different = (rate[None, :] != rate[:, None]) | (metric[None, :] != metric[:, None])
    return tuple(np.flatnonzero((no_dearer & no_worse & different).any(axis=1)).tolist())


def _curves(
    anchor_rate: npt.ArrayLike,
    anchor_metric: npt.ArrayLike,
    test_rate: npt.ArrayLike,
    test_metric: npt.ArrayLike,
    lower_is_better: bool,
    names: tuple[str, str],
) -> tuple[_Curve, _Curve]:
    sign = -1.0 if lower_is_better else 1.0
    return (
        _curve(names[0], anchor_rate, anchor_metric, sign),
        _curve(names[1], test_rate, test_metric, sign),
    )


def _curve(name: str, rate: npt.ArrayLike, metric: npt.ArrayLike, sign: float) -> _Curve:
    rates, metrics = _numbers(name, "rate", rate), _numbers(name, "metric", metric)
    if rates.shape != metrics.shape:
        raise BjontegaardError(f"{name}: {len(rates)} rates and {len(metrics)} metrics; a point has one of each")
    if len(rates) and not rates.min() > 0:
        raise BjontegaardError(f"{name}: the rate {rates.min():g} has no logarithm; rates are above 0")
    signed = sign * metrics
    wrong = not_monotone(rates, signed)
    points = np.unique(np.stack([rates, signed]), axis=1)
    if points.shape[1] < FEWEST_POINTS:
        raise BjontegaardError(
            f"{name} has {points.shape[1]} different point{'s' if points.shape[1] != 1 else ''}; "
            f"a Bjontegaard delta needs at least {FEWEST_POINTS}"
        )
    return _Curve(name, np.log10(points[0]), points[1], wrong, _warnings(name, rates, metrics, wrong))


def _numbers(name: str, what: str, given: npt.ArrayLike) -> FloatArray:
    try:
        values = np.asarray(given, dtype=np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise BjontegaardError(f"{name}: the {what}s are not numbers ({error})") from error
    if values.ndim != 1:
        raise BjontegaardError(f"{name}: the {what}s must be one row of numbers, not of shape {values.shape}")
    if not np.isfinite(values).all():
        position = int(np.argmin(np.isfinite(values)))
        raise BjontegaardError(f"{name}: the {what} of point {position} is {values[position]}; leave that point out")
    return values


def _warnings(name: str, rates: FloatArray, metrics: FloatArray, wrong: tuple[int, ...]) -> tuple[str, ...]:
    if not wrong:
        return ()
    listed = ", ".join(f"{metrics[k]:.6g} at rate {rates[k]:.6g}" for k in wrong[:_LISTED])
    more = f" and {len(wrong) - _LISTED} more" if len(wrong) > _LISTED else ""
    return (
        f"{name} is not monotone: {len(wrong)} of {len(rates)} points need no less rate than another and are no better "
        f"({listed}{more}); the number is of the curve through all points",
    )


def _ordered(curve: _Curve, over: FloatArray, values: FloatArray, what: str) -> tuple[FloatArray, FloatArray]:
    """Abscissa (n,), strictly rising, and ordinate (n,); raises where two points share an abscissa."""
    order = np.argsort(over, kind="stable")
    xs, ys = over[order], values[order]
    same = np.flatnonzero(np.diff(xs) <= 0)
    if len(same):
        at = abs(float(xs[same[0]])) if what == "metric" else float(10.0 ** xs[same[0]])
        other = "rates" if what == "metric" else "metrics"
        raise BjontegaardError(
            f"{curve.name} has two points with the {what} {at:.6g} and different {other}, so there is no curve over "
            f"the {what}; leave one of them out"
        )
    return xs, ys


def _overlap(
    over: list[tuple[FloatArray, FloatArray]], curves: tuple[_Curve, _Curve], what: str
) -> tuple[float, float, float]:
    """Ends of the interval that both curves cover, and its share of what they cover together."""
    starts, ends = [float(xs[0]) for xs, _ in over], [float(xs[-1]) for xs, _ in over]
    low, high = max(starts), min(ends)
    if not high > low:
        raise BjontegaardError(
            f"{curves[0].name} and {curves[1].name} do not overlap in the {what}: there is nothing to compare, and "
            "nothing is extrapolated"
        )
    return low, high, (high - low) / (max(ends) - min(starts))


def _cut(
    interval: tuple[float, float], low: float, high: float, share: float, negated: bool
) -> tuple[float, float, float]:
    """The part of an interval of the metric between `low` and `high`, and its share of what the curves cover."""
    start, end = interval
    if not start < end:
        raise BjontegaardError(f"the interval from {start:g} to {end:g} does not rise: give the lower end first")
    if negated:
        start, end = -end, -start
    least, most = max(low, start), min(high, end)
    if not most > least:
        covered = (-high, -low) if negated else (low, high)
        raise BjontegaardError(
            f"both curves cover the metric from {covered[0]:.6g} to {covered[1]:.6g}, and nothing of that lies in the "
            f"interval from {interval[0]:g} to {interval[1]:g}; nothing is extrapolated"
        )
    return least, most, share * (most - least) / (high - low)


def _mean_difference(over: list[tuple[FloatArray, FloatArray]], low: float, high: float) -> float:
    from scipy.interpolate import PchipInterpolator

    anchor, test = (float(PchipInterpolator(xs, ys).integrate(low, high)) for xs, ys in over)
    return (test - anchor) / (high - low)


def _result(
    kind: Literal["rate", "metric"],
    value: float,
    interval: tuple[float, float],
    overlap: float,
    curves: tuple[_Curve, _Curve],
    negated: bool,
) -> Bjontegaard:
    anchor, test = curves
    return Bjontegaard(
        kind=kind,
        value=value,
        interval=interval,
        overlap=overlap,
        anchor_points=len(anchor.metric),
        test_points=len(test.metric),
        negated=negated,
        anchor_not_monotone=anchor.not_monotone,
        test_not_monotone=test.not_monotone,
        warnings=(*anchor.warnings, *test.warnings),
    )
