"""The shipped rate-targeted networks: do images keep to the rate, what does it cost, and is there a simpler way?

    .venv/bin/python studies/pretrained/rate_targeted.py [--images ../shared/data/kodak] [--run FOLDER] [--out FOLDER]

Table I of Guerin et al. (002_5041f81c7ba61cea) for each target and beta: rates of real files, how many lie within 15
% of the target, mean, standard deviation (over these images), range, and MS-SSIM. Beside each the untargeted network
of the same mean rate, which is interpolated: between two neighbouring networks of `hyperprior` (step 1) the logarithm
of each image's rate goes in a straight line, as far as makes the mean rate the same. What targeting costs is the PSNR
below the curve of averages of `hyperprior` at that mean rate (PCHIP over the logarithm of the rate). The simple
alternative takes for every image the untargeted network whose rate is nearest the target, with step 1 alone and with
all steps. Writes rate_targeted, rate_targeted_images (CSV, Markdown) and rate_targeted.png.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from common import (
    STEPS,
    Curve,
    Floats,
    Model,
    evaluated,
    options_of,
    parser_of,
    present_models,
    rows_of,
    values_of,
)
from matplotlib.ticker import MaxNLocator
from output import new_figure, save_figure, write_table
from scipy.optimize import brentq

from rdp.analysis.rate_spread import nearest_models, rate_summary
from rdp.errors import TableError
from rdp.report.figure_styles import COLOURS, MARKERS

METRICS = ("mse", "psnr", "ms_ssim")
TOLERANCE = 0.15
DIGITS = {"target": 2, "bpp": 4, "bpp_std": 4, "bpp_least": 3, "bpp_most": 3, "psnr": 2, "untargeted_psnr": 2}


def untargeted_rates(rates: Floats, mean: float) -> Floats | None:
    """Rates (images,) of an untargeted network of that mean rate, from those of real ones, (images, networks).

    Between neighbours in mean rate the logarithms go in a straight line. None where the mean lies outside.
    """
    logs = np.log(rates[:, np.argsort(rates.mean(0), kind="stable")])
    means = np.exp(logs).mean(0)
    if not means[0] <= mean <= means[-1]:
        return None
    place = min(int(np.searchsorted(means, mean, side="right")) - 1, len(means) - 2)
    if place < 0:
        return np.exp(logs[:, 0])

    def between(share: float) -> Floats:
        return np.exp((1 - share) * logs[:, place] + share * logs[:, place + 1])

    share = brentq(lambda share: float(between(share).mean()) - mean, 0.0, 1.0, xtol=1e-12)
    return between(float(share))


@dataclass(frozen=True)
class Untargeted:
    """Rates and PSNR (images, networks) of the untargeted networks, and the curve of their averages."""

    bpp: Floats
    psnr: Floats

    @property
    def curve(self) -> Curve:
        return Curve.through(self.bpp.mean(0), self.psnr.mean(0))


def line_of(
    target: float, method: str, bpp: Floats, psnr: Floats | None, ms_ssim: Floats | None, curve: Curve
) -> dict[str, Any]:
    """A line of the table: rates, and what images look like; the latter is left out of what is interpolated."""
    found = rate_summary(bpp, target, TOLERANCE)
    line: dict[str, Any] = {"target": target, "method": method, "images": found.count}
    line |= {"within_15_percent": round(found.within * found.count), "bpp": found.mean, "bpp_std": found.std}
    line |= {"bpp_least": found.lowest, "bpp_most": found.highest, "untargeted_psnr": curve.at(found.mean)}
    if psnr is not None and ms_ssim is not None:
        line |= {"psnr": psnr.mean(), "psnr_difference_db": psnr.mean() - curve.at(found.mean)}
        line |= {"ms_ssim": ms_ssim.mean(), "ms_ssim_least": ms_ssim.min(), "ms_ssim_most": ms_ssim.max()}
    return line


def picked(frame: pd.DataFrame, points: Sequence[str], target: float) -> tuple[Floats, Floats, Floats]:
    """Rate, PSNR and MS-SSIM (images,) with, for each image, the point of the nearest rate."""
    table = {name: values_of(frame, points, name) for name in ("bpp", "psnr", "ms_ssim")}
    choice = nearest_models(table["bpp"], target, TOLERANCE).choice
    rows = np.arange(len(choice))
    bpp, psnr, ms_ssim = (part[rows, choice] for part in table.values())
    return bpp, psnr, ms_ssim


def target_lines(
    frame: pd.DataFrame, target: float, models: Sequence[Model], anchors: Sequence[Model], untargeted: Untargeted
) -> tuple[list[dict[str, Any]], dict[str, Floats]]:
    """The table's lines of a target, and rates (images,) by method for the figure."""
    lines, rates, curve = [], {}, untargeted.curve
    for model in sorted(models, key=lambda model: float(model["beta"])):
        bpp, psnr, ms_ssim = (values_of(frame, [model.at()], name)[:, 0] for name in ("bpp", "psnr", "ms_ssim"))
        name = f"beta {float(model['beta']):g}"
        lines.append(line_of(target, name, bpp, psnr, ms_ssim, curve))
        rates[name] = bpp
        same = untargeted_rates(untargeted.bpp, float(bpp.mean()))
        if same is not None:
            lines.append(line_of(target, f"untargeted, mean rate of {name}", same, None, None, curve))
            rates.setdefault("untargeted", same)
    steps = [model.at(step) for model in anchors for step in STEPS]
    for name, points in (("nearest network", [model.at() for model in anchors]), ("nearest network and step", steps)):
        bpp, psnr, ms_ssim = picked(frame, points, target)
        lines.append(line_of(target, name, bpp, psnr, ms_ssim, curve))
        rates[name] = bpp
    return lines, rates


def draw(found: dict[float, dict[str, Floats]]) -> object:
    """Rates of the images, a panel a target; the band is what lies within the tolerance."""
    figure = new_figure(6.8, 1.9 * len(found))
    for axis, (target, rates) in zip(figure.subplots(len(found), 1, squeeze=False)[:, 0], found.items(), strict=True):
        axis.axhspan((1 - TOLERANCE) * target, (1 + TOLERANCE) * target, color="#dddddd", zorder=0)
        for number, (name, bpp) in enumerate(rates.items()):
            style = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}
            place = np.arange(1, len(bpp) + 1) + 0.1 * (number - (len(rates) - 1) / 2)
            axis.plot(place, bpp, linestyle="none", label=name, **style)
        axis.set_ylabel("Rate (bit/pixel)")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_title(f"target {target:g} bit/pixel")
    axis.set_xlabel("image")
    axis.legend(ncols=3)
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    options = options_of(parser_of(__doc__), arguments)
    models = present_models(options.models, "rate_targeted")
    anchors = present_models(options.models, "hyperprior")
    if not models or not anchors:
        raise TableError(f"{options.models}: there is no rate-targeted network, or no hyperprior, on this machine")
    specs = [model.spec_at() for model in models] + [model.spec_at(step) for model in anchors for step in STEPS]
    _, frame = evaluated(options, specs, METRICS)
    own = [model.at() for model in anchors]
    untargeted = Untargeted(values_of(frame, own, "bpp"), values_of(frame, own, "psnr"))
    lines, found = [], {}
    for target in sorted({float(model["target"]) for model in models}):
        mine = [model for model in models if float(model["target"]) == target]
        some, found[target] = target_lines(frame, target, mine, anchors, untargeted)
        lines += some
    write_table(options.out, "rate_targeted", pd.DataFrame(lines), DIGITS)
    names = rows_of(frame, own[0]).index
    images = [pd.DataFrame({"target": target, "image": names, **rates}) for target, rates in found.items()]
    write_table(options.out, "rate_targeted_images", pd.concat(images, ignore_index=True), DIGITS)
    save_figure(draw(found), options.out, "rate_targeted")


if __name__ == "__main__":
    main()
