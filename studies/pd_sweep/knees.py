"""The knee of every rate's curve, what its decoder gains and loses against the network's own, and the bars of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from shared import Distances, Floats, decoded, distance, values_of
from sweep import DISTORTIONS, Base, SweepPoint, Swept

import rdp
from rdp.analysis.bootstrap import BootstrapInterval, Statistic, bootstrap_difference, bootstrap_images
from rdp.analysis.knee import EndPointSensitivity, KneeError
from rdp.analysis.pareto import pareto_subset
from rdp.columns import describe
from rdp.images import read_image
from rdp.metrics.wasserstein import PairedProjections
from rdp.report.knee_curves import KneeCurve

LPIPS_BAR = 15.0
"""Percent that the knee's LPIPS must lie below that of the network's own decoder."""
PSNR_BAR = 0.5
"""dB of PSNR that it may cost at most."""
NO_CURVE = "fewer than three decoders are on the front"
NO_KNEE = "no decoder is on the better side of the chord"
SWD = "swd"
JUDGED = ["rate", "over", "knee", "metric", "role", "mse", "at_knee", "change", "low", "high", "percent", "verdict"]
"""Columns of `judges_table`."""


@dataclass(frozen=True)
class RateKnee:
    """A rate's curve in the teacher over a distortion `x`: the decoders at its knees, None where there is none.

    `curve` is what `rdp.knee` found, None where no rate has a curve; `reason` says why there is no knee.
    """

    base: Base
    x: str
    chord: SweepPoint | None
    kneedle: SweepPoint | None
    curve: KneeCurve | None
    reason: str = ""


def find_knees(swept: Swept, x: str) -> list[RateKnee]:
    """The knees of all rates, of trained decoders: `rdp.knee` with resampled images."""
    names = [point.name for base in swept.plan.bases for point in base.of("trained")]
    try:
        found = rdp.knee(
            swept.frame, x, swept.teacher, names, resamples=swept.options.resamples, seed=swept.options.seed
        )
    except KneeError:
        return [RateKnee(base, x, None, None, None, NO_CURVE) for base in swept.plan.bases]
    by_point = {point.point: curve for curve in found.curves for point in curve.points}
    return [_rate_knee(base, x, by_point.get(base.own.name)) for base in swept.plan.bases]


def _rate_knee(base: Base, x: str, curve: KneeCurve | None) -> RateKnee:
    if curve is None:
        return RateKnee(base, x, None, None, None, NO_CURVE)
    at = {point.name: point for point in base.points}

    def point_of(place: int | None) -> SweepPoint | None:
        return None if place is None else at[curve.points[place].point]

    reason = NO_CURVE if curve.reason else NO_KNEE if curve.knee is None else ""
    return RateKnee(base, x, point_of(curve.knee), point_of(curve.kneedle), curve, reason)


def front_of(swept: Swept, base: Base, x: str) -> tuple[list[SweepPoint], dict[str, str]]:
    """The trained decoders that no other beats, from the best x on; and, by point, which ones beat the others."""
    points = base.of("trained")
    xs, ys = ([swept.mean(point, column) for point in points] for column in (x, swept.teacher))
    subset = pareto_subset(xs, ys, describe(x).direction or "higher", describe(swept.teacher).direction or "lower")
    beaten = {
        point.name: ", ".join(points[place].decoder for place in by)
        for point, by in zip(points, subset.dominated_by, strict=True)
    }
    return [points[place] for place in subset.front], beaten


# ---- gains


def percent_less(own: Floats, other: Floats) -> Statistic:
    """By how many percent the mean of `own` (images,) is below that of `other`."""
    return lambda drawn: float(100 * (1 - own[drawn].mean() / other[drawn].mean()))


def mean_less(own: Floats, other: Floats) -> Statistic:
    """The mean of `own` (images,) less that of `other`."""
    return lambda drawn: float((own[drawn] - other[drawn]).mean())


def resampling(swept: Swept) -> dict[str, int]:
    return {"resamples": swept.options.resamples, "seed": swept.options.seed}


def lpips_reduction(swept: Swept, base: Base, point: SweepPoint) -> BootstrapInterval:
    """Percent of the teacher's value, images drawn again for both decoders alike."""
    values = values_of(swept.frame, [point.name, base.own.name], swept.teacher)
    return bootstrap_images(percent_less(values[:, 0], values[:, 1]), len(values), **resampling(swept))


def change(swept: Swept, base: Base, point: SweepPoint, column: str) -> BootstrapInterval:
    """The mean of a column at a decoder less that at the network's own."""
    values = values_of(swept.frame, [point.name, base.own.name], column)
    return bootstrap_images(mean_less(values[:, 0], values[:, 1]), len(values), **resampling(swept))


def gains_table(swept: Swept) -> pd.DataFrame:
    """Every decoder against the network's own: LPIPS, PSNR, and the judges, with intervals."""
    rows = []
    for base in swept.plan.bases:
        for point in base.points[1:]:
            row = {"rate": base.rate, "decoder": point.decoder, "kind": point.kind, **_bars(swept, base, point)}
            for judge in swept.judges:
                found = change(swept, base, point, judge)
                row |= {f"{judge}_change": found.value, **_ends(judge, found)}
            rows.append(row)
    return pd.DataFrame(rows)


def _bars(swept: Swept, base: Base, point: SweepPoint) -> dict[str, Any]:
    lpips, psnr = lpips_reduction(swept, base, point), change(swept, base, point, "psnr")
    return {
        "lpips_reduction_percent": lpips.value,
        "reduction_low": lpips.low,
        "reduction_high": lpips.high,
        "psnr_loss_db": -psnr.value,
        "loss_low": -psnr.high,
        "loss_high": -psnr.low,
        "bars_reached": yes(lpips.value >= LPIPS_BAR and -psnr.value <= PSNR_BAR),
    }


def _ends(name: str, found: BootstrapInterval) -> dict[str, float]:
    low, high = (found.low, found.high) if found.reliable else (math.nan, math.nan)
    return {f"{name}_low": low, f"{name}_high": high}


def yes(value: bool) -> str:
    return "yes" if value else "no"


def knees_table(swept: Swept, knees: Sequence[RateKnee], judges: pd.DataFrame) -> pd.DataFrame:
    """One line a rate and plane: the knees, how firm they are, and the bars. `judges` as `judges_table` makes it."""
    rows = []
    for knee in knees:
        trained = knee.base.of("trained")
        row: dict[str, Any] = {"rate": knee.base.rate, "bpp": swept.mean(knee.base.own, "bpp"), "over": knee.x}
        row["on_front"] = f"{len(front_of(swept, knee.base, knee.x)[0])} of {len(trained)}"
        row |= {"knee": _name(knee.chord), "kneedle": _name(knee.kneedle), **_firmness(knee)}
        if knee.chord is not None:
            bars = _bars(swept, knee.base, knee.chord)
            own = judges[(judges.rate == knee.base.rate) & (judges.over == knee.x) & (judges.role == "judge")]
            better = list(own.metric[own.verdict == "better"])
            row |= {**bars, "judges_improved": ", ".join(better) or "none", "a_judge_improves": yes(bool(better))}
        rows.append({**row, "note": knee.reason})
    return pd.DataFrame(rows)


def _name(point: SweepPoint | None) -> str:
    return "none" if point is None else point.decoder


def _firmness(knee: RateKnee) -> dict[str, Any]:
    """Without end points, and over the resamples."""
    curve = knee.curve
    if curve is None or not curve.ends:
        return {"without_ends": "", "kneedle_without_ends": "", "share_percent": math.nan}
    share = None if curve.knee is None else curve.points[curve.knee].share
    return {
        "without_ends": _other_ends(curve, curve.ends[0]),
        "kneedle_without_ends": _other_ends(curve, curve.ends[1]),
        "share_percent": math.nan if share is None else 100 * share,
    }


def _other_ends(curve: KneeCurve, ends: EndPointSensitivity) -> str:
    """`the same in 3 of 5 (g1e-3, g1e-4)`: how often the knee stays without end points, and what else is found."""
    if not ends.trials:
        return "a curve of three points"
    others = [curve.label(place) or "none" for place in ends.knees if place != ends.knee]
    return f"the same in {ends.agreeing} of {len(ends.trials)}" + (f" ({', '.join(others)})" if others else "")


# ---- metrics one by one, and the distance of the sets


def judges_table(swept: Swept, knees: Sequence[RateKnee], sets: Mapping[str, Any]) -> pd.DataFrame:
    """Every metric at every knee against the network's own decoder; the verdict is the interval's.

    `sets` are the paired projections of points by name (`set_distances`), empty without the distance of the sets.
    """
    rows = []
    for knee in knees:
        if knee.chord is None:
            continue
        base, point = knee.base, knee.chord
        for column in swept.metrics:
            own = swept.mean(base.own, column)
            rows.append(_judged(swept, knee, column, own, change(swept, base, point, column)))
        if point.name in sets:
            ours, own_set = (distance(sets[name]) for name in (point.name, base.own.name))
            count = len(swept.rows(point))
            found = bootstrap_difference(ours, own_set, count, **resampling(swept))
            rows.append(_judged(swept, knee, SWD, own_set(np.arange(count)), found))
    return pd.DataFrame(rows, columns=JUDGED)


def _judged(swept: Swept, knee: RateKnee, column: str, own: float, found: BootstrapInterval) -> dict[str, Any]:
    role = "distortion" if column in DISTORTIONS else "teacher" if column == swept.teacher else "judge"
    lower = column == SWD or describe(column).direction == "lower"
    better = (found.value < 0) == lower
    verdict = "undecided" if not (found.reliable and found.excludes_zero) else "better" if better else "worse"
    return {
        "rate": knee.base.rate, "over": knee.x, "knee": _name(knee.chord), "metric": column, "role": role, "mse": own,
        "at_knee": own + found.value, "change": found.value, "low": found.low, "high": found.high,
        "percent": 100 * found.value / abs(own) if own else math.nan, "verdict": verdict,
    }  # fmt: skip


def set_distances(
    swept: Swept, knees: Sequence[RateKnee]
) -> tuple[dict[str, float], dict[str, list[PairedProjections]]]:
    """Sliced Wasserstein distances to the originals of trained decoders, by point; and what intervals at knees need."""
    names = list(swept.rows(swept.plan.bases[0].own).index)
    originals = [read_image(swept.paths[name]) for name in names]
    distances = Distances(originals, swept.options.projections, swept.options.seed)
    wanted = {point.name for knee in knees if knee.chord for point in (knee.chord, knee.base.own)}
    values: dict[str, float] = {}
    sets: dict[str, list[PairedProjections]] = {}
    for base in swept.plan.bases:
        for point in base.of("trained"):
            codec = swept.codec(point)
            levels = distances.to([decoded(swept.run, row, codec) for _, row in swept.rows(point).iterrows()])
            values[point.name] = distance(levels)(np.arange(len(names)))
            if point.name in wanted:
                sets[point.name] = levels
    return values, sets
