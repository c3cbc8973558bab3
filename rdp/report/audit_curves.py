"""Single points as curves: what a codec's points would have at the rate of a mixture.

A curve is a line of a family (`rdp.report.names.curves`): points that differ in one key. Between its points each
measure is interpolated over the logarithm of the rate by PCHIP, as for Bjontegaard deltas; nothing is extrapolated. For
a set-level measure this is the distance of a set that does not exist: there is no setting between two points.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def interpolated(rates: Sequence[float], values: Sequence[float], rate: float) -> float:
    """The value at a rate by PCHIP over log(rate); NaN outside of the points' rates, and where there is no curve.

    `rates` (n,) bit/pixel, `values` (n,) in any order. Points with a value that is not finite (the PSNR of a lossless
    one) are left out; with fewer than two others, or two values at one rate, there is no curve. At the rate of a point
    the value is that point's own.
    """
    found: dict[float, float] = {}
    for x, y in zip(rates, values, strict=True):
        if not (math.isfinite(x) and x > 0 and math.isfinite(y)):
            continue
        if found.setdefault(x, y) != y:
            return math.nan
    if rate in found:
        return found[rate]
    if len(found) < 2 or not min(found) <= rate <= max(found):
        return math.nan
    from scipy.interpolate import PchipInterpolator

    xs = sorted(found)
    return float(PchipInterpolator(np.log(xs), [found[x] for x in xs])(math.log(rate)))


def sampled(rates: Sequence[float], values: Sequence[float], count: int = 24) -> tuple[list[float], list[float]]:
    """The curve with `count` places between its neighbouring points, for drawing: what `interpolated` gives there.

    The points themselves, joined as they are, where there is no such curve.
    """
    xs = sorted(set(rates))
    if len(xs) < 2 or xs[0] <= 0:
        return list(rates), list(values)
    steps = np.interp(np.arange((len(xs) - 1) * count + 1) / count, np.arange(len(xs)), np.log(xs))
    places = [xs[0], *np.exp(steps[1:-1]).tolist(), xs[-1]]
    found = [interpolated(rates, values, place) for place in places]
    if any(math.isnan(value) for value in found):
        return list(rates), list(values)
    return places, found
