"""Bjontegaard deltas of a frontier against the curves of single operating points.

The anchor is a codec's own curve: one operating point for all images. The test curve is the frontier: the best choice
of a point for each image at that rate. Only frontiers with a rate have one. The quality is the other average of the
curve, an average MSE being turned into the PSNR of the mean MSE, in decibels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from rdp.analysis.bjontegaard import Bjontegaard, BjontegaardError, bd_metric, bd_rate
from rdp.report.averages import Average
from rdp.report.frontier_curves import MainCurve, SingleCurve, not_beaten, quality_axis
from rdp.selection.document import number
from rdp.selection.problem import FloatArray

FRONTIER = "the frontier"
COVERED = 0.5
"""The best codec is looked for among those that cover this part of the frontier's range of quality, if any does."""


@dataclass(frozen=True)
class Against:
    """The frontier against one curve of single points: both deltas, or the `reason` why there is none.

    `covers` is the part of the frontier's range of quality that the curve covers, too.
    """

    label: str
    points: int
    rate: Bjontegaard | None = None
    metric: Bjontegaard | None = None
    covers: float = 0.0
    reason: str = ""


@dataclass(frozen=True)
class FrontierGain:
    """The frontier against every curve of single points.

    `best` is the codec whose own curve is best: of those that cover half of the frontier's range of quality (of all,
    where none does), the one over which the frontier saves the least rate. `reason` says why nothing is compared.
    """

    quality: Average
    frontier_points: int
    curves: tuple[Against, ...] = ()
    best: str | None = None
    reason: str = ""

    @property
    def against_best(self) -> Against | None:
        """The comparison with the best codec."""
        return next((one for one in self.curves if one.label == self.best), None)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was odd about curves that were compared, each once."""
        said = [w for one in self.curves if one.rate is not None for w in one.rate.warnings]
        return tuple(dict.fromkeys(said))

    def sentence(self) -> str:
        """The gain over the best codec in words, or why there is none."""
        one = self.against_best
        if one is None or one.rate is None or one.metric is None:
            return f"no Bjontegaard delta: {self.reason}"
        unit = f" {self.quality.unit}" if self.quality.unit else ""
        return (
            f"BD-rate {one.rate.value:+.2f} %, BD-metric {one.metric.value:+.4g}{unit} against {one.label}, the best "
            f"single codec ({self.quality.title}; {one.rate.anchor_points} and {one.rate.test_points} points, overlap "
            f"{100 * one.rate.overlap:.0f} %)"
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON, without NaN and Infinity literals."""
        return {
            "quality": self.quality.key,
            "frontier_points": self.frontier_points,
            "best": self.best,
            "reason": self.reason,
            "curves": [_entry(one) for one in self.curves],
            "warnings": list(self.warnings),
        }


def frontier_gain(main: MainCurve, singles: list[SingleCurve]) -> FrontierGain:
    """Compare the points of the frontier's curve that no other beats with each curve of single points."""
    quality = quality_axis(main.y)
    xs, ys = [p.averages[main.x_column] for p in main.points], [p.averages[main.y_column] for p in main.points]
    good = not_beaten(xs, ys, main.x, main.y)
    rates, metrics = np.array(xs)[good], np.array([quality.of(y) for y in np.array(ys)[good].tolist()])
    finite = np.isfinite(metrics)
    rates, metrics = rates[finite], metrics[finite]
    nothing = _nothing_to_compare(main, singles, len(rates))
    if nothing:
        return FrontierGain(quality, len(rates), reason=nothing)
    compared = [_against(one, quality, rates, metrics) for one in singles]
    best = _best(compared)
    reason = "" if best else "; ".join(dict.fromkeys(one.reason for one in compared))
    return FrontierGain(quality, len(rates), tuple(compared), best, reason)


def _nothing_to_compare(main: MainCurve, singles: list[SingleCurve], count: int) -> str:
    if not main.is_rate:
        return f"neither {main.x_column} nor {main.y_column} is a rate"
    if main.y.direction is None:
        return f"whether {main.y_column} is better low or high is not known"
    if not count:
        return "the frontier has no points"
    return "" if singles else "there are no single points within the budgets"


def _against(one: SingleCurve, quality: Average, rates: FloatArray, metrics: FloatArray) -> Against:
    own = [(x, quality.of(y)) for x, y in zip(one.xs, one.ys, strict=True)]
    # A lossless point has no place on an axis of decibels, and one without an average has none at all.
    own = [(x, y) for x, y in own if math.isfinite(x) and math.isfinite(y)]
    anchor = (np.array([x for x, _ in own]), np.array([y for _, y in own]))
    lower, names = quality.direction == "lower", (one.label, FRONTIER)
    try:
        rate = bd_rate(*anchor, rates, metrics, lower_is_better=lower, names=names)
        metric = bd_metric(*anchor, rates, metrics, lower_is_better=lower, names=names)
    except BjontegaardError as error:
        return Against(one.label, len(own), reason=str(error))
    low, high = rate.interval
    covers = (high - low) / (float(metrics.max()) - float(metrics.min()))
    return Against(one.label, len(own), rate, metric, covers)


def _best(compared: list[Against]) -> str | None:
    known = [(one, one.rate.value) for one in compared if one.rate is not None]
    wide = [(one, value) for one, value in known if one.covers >= COVERED] or known
    return max(wide, key=lambda pair: pair[1])[0].label if wide else None


def _entry(one: Against) -> dict[str, Any]:
    entry: dict[str, Any] = {"curve": one.label, "points": one.points, "covers": one.covers, "reason": one.reason}
    kinds: tuple[tuple[Literal["rate", "metric"], Bjontegaard | None], ...] = (
        ("rate", one.rate),
        ("metric", one.metric),
    )
    for kind, delta in kinds:
        name = "bd_rate_percent" if kind == "rate" else "bd_metric"
        entry |= number(name, None if delta is None else delta.value)
        entry[f"{name}_interval"] = None if delta is None else list(delta.interval)
        entry[f"{name}_overlap"] = None if delta is None else delta.overlap
    return entry
