"""Five activations in the factorised autoencoder, three seeds each: rate, cost at the trained lambda, and time.

    .venv/bin/python studies/pretrained/factorized.py [--images ../shared/data/kodak] [--run FOLDER] [--out FOLDER]

Curves are of four quantisation steps of each network. For a network the mean logarithm of the rate is taken over the
PSNR that **all** networks cover, so that differences of two are Bjontegaard rates and add up; of each activation the
networks of all seeds are compared with those of GDN by Welch's interval, and the mean difference is given as a
Bjontegaard rate with the interval's ends. The Lagrangian cost is bit/pixel + lambda * MSE (0..255 scale) at step 1,
what the networks were trained for, from real files. A difference whose interval holds 0 is undecided: it lies inside
the spread of the seeds. Intervals are of one comparison each, not of all of them together. Times are medians over
repeats, summed over the images, codecs in turn in one process, as ratios to GDN's; one network an activation.
Writes factorized_points, factorized_bd, factorized_cost, factorized_time (CSV, Markdown) and factorized.png.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence

import pandas as pd
from common import (
    Curve,
    Model,
    codec_of,
    curve_of,
    evaluated,
    mean_points,
    options_of,
    parser_of,
    present_models,
    rate_difference,
    welch,
)
from output import new_figure, save_figure, write_table
from timing import alternating_times

from rdp.errors import TableError
from rdp.images import list_images, read_image
from rdp.report.figure_styles import COLOURS, MARKERS

REFERENCE = "gdn"
STEPS_USED = ("2/3", "1", "3/2", "2")
METRICS = ("mse", "psnr", "ms_ssim")
COLUMNS = ("bpp", "bpp_estimated", "mse", "psnr", "ms_ssim", "ms_ssim_db")
DIGITS = {"bpp": 4, "bpp_estimated": 4, "ms_ssim": 4, "mse": 2, "cost": 5, "difference": 5, "low": 5, "high": 5}
CONFIDENCE = 0.95


def common_interval(curves: Sequence[Curve]) -> tuple[float, float]:
    """The values of the metric that all curves cover; low above high where there are none."""
    return max(float(c.value.min()) for c in curves), min(float(c.value.max()) for c in curves)


def log_rates(curves: Mapping[str, Sequence[Curve]]) -> dict[str, list[float]]:
    """The mean logarithm of the rate of each network, over what all of them cover, less that of the first reference.

    NaN where there is no such number.
    """
    low, high = common_interval([curve for listed in curves.values() for curve in listed])
    first = curves[REFERENCE][0]
    return {
        name: [math.log1p(rate_difference(first, curve, low, high).percent / 100) for curve in listed]
        for name, listed in curves.items()
    }


def bd_table(curves: Mapping[str, Sequence[Curve]]) -> pd.DataFrame:
    """Of each activation against the reference: Bjontegaard rate in percent, interval, and whether it is decided."""
    low_db, high_db = common_interval([curve for listed in curves.values() for curve in listed])
    rates = log_rates(curves)
    rows = []
    for name, values in rates.items():
        against = sum(rates[REFERENCE]) / len(rates[REFERENCE])
        own = [100 * math.expm1(value - against) for value in values]
        row = {
            "activation": name,
            "seeds": len(values),
            "bd_rate_percent": 100 * math.expm1(sum(values) / len(values) - against),
            "least_of_seeds": min(own),
            "most_of_seeds": max(own),
        }
        if name != REFERENCE:
            found = welch(rates[REFERENCE], values, CONFIDENCE)
            row |= {"low": 100 * math.expm1(found.low), "high": 100 * math.expm1(found.high)}
            row["verdict"] = verdict(found.undecided, found.value)
        rows.append({**row, "from_db": low_db, "to_db": high_db})
    return pd.DataFrame(rows).fillna({"verdict": "reference"})


def cost_table(costs: Mapping[str, Sequence[float]]) -> pd.DataFrame:
    """Lagrangian costs of each activation's networks, and their difference to the reference's."""
    rows = []
    for name, values in costs.items():
        row = {"activation": name, "seeds": len(values), "cost": sum(values) / len(values)}
        row |= {"least_of_seeds": min(values), "most_of_seeds": max(values)}
        if name != REFERENCE:
            found = welch(costs[REFERENCE], values, CONFIDENCE)
            row |= {"difference": found.value, "low": found.low, "high": found.high}
            row["verdict"] = verdict(found.undecided, found.value)
        rows.append(row)
    return pd.DataFrame(rows).fillna({"verdict": "reference"})


def verdict(undecided: bool, difference: float) -> str:
    """In a word; less is better for rates and for costs."""
    return "undecided" if undecided else "better" if difference < 0 else "worse"


def by_activation(models: Sequence[Model]) -> dict[str, list[Model]]:
    """Networks by activation, the reference first. Raises `TableError` without the reference."""
    groups: dict[str, list[Model]] = {}
    for model in models:
        groups.setdefault(model["activation"], []).append(model)
    if REFERENCE not in groups:
        raise TableError(f"no factorised network with {REFERENCE} is on this machine, with which others are compared")
    return {REFERENCE: groups.pop(REFERENCE), **groups}


def time_table(groups: Mapping[str, Sequence[Model]], options: argparse.Namespace) -> pd.DataFrame:
    """Encoding and decoding of all images, and the ratios to the reference."""
    codecs = {name: codec_of(models[0], options) for name, models in groups.items()}
    images = [read_image(image.path) for image in list_images(options.images)][: options.time_images]
    times = alternating_times(codecs, images, options.repeats)
    rows = []
    for name in codecs:
        row: dict[str, object] = {"activation": name, "images": len(images), "repeats": options.repeats}
        for which in ("encode", "decode"):
            seconds = times.total(name, which)
            row |= {f"{which}_s": seconds, f"{which}_ratio": seconds / times.total(REFERENCE, which)}
        rows.append(row)
    return pd.DataFrame(rows)


def draw(curves: Mapping[str, Sequence[Curve]]) -> object:
    """PSNR over the rate; a line a seed, a colour an activation."""
    figure = new_figure(3.6, 3.0)
    axis = figure.subplots()
    for number, (name, listed) in enumerate(curves.items()):
        for place, curve in enumerate(listed):
            style = {"color": COLOURS[number], "marker": MARKERS[number], "linewidth": 0.7}
            axis.plot(curve.rate, curve.value, label="" if place else name, **style)
    axis.set_xlabel("Rate (bit/pixel)")
    axis.set_ylabel("PSNR (dB)")
    axis.legend()
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="of the times; 0 measures none")
    parser.add_argument("--time-images", type=int, default=24, help="at most so many images are timed")
    options = options_of(parser, arguments)
    groups = by_activation(present_models(options.models, "factorized"))
    models = [model for listed in groups.values() for model in listed]
    _, frame = evaluated(options, [model.spec_at(step) for model in models for step in STEPS_USED], METRICS)
    parts, curves, costs = [], {}, {}
    for name, listed in groups.items():
        means = [mean_points(frame, [model.at(step) for step in STEPS_USED], COLUMNS) for model in listed]
        labels = [{"activation": name, "seed": model["seed"]} for model in listed]
        parts += [part.assign(**label) for part, label in zip(means, labels, strict=True)]
        curves[name] = [curve_of(part) for part in means]
        lines = [part.iloc[STEPS_USED.index("1")] for part in means]
        costs[name] = [line.bpp + model["lmbda"] * line.mse for line, model in zip(lines, listed, strict=True)]
    table = pd.concat(parts, ignore_index=True)
    first = ["activation", "seed"]
    write_table(options.out, "factorized_points", table[[*first, *table.columns.drop(first)]], DIGITS)
    write_table(options.out, "factorized_bd", bd_table(curves), {})
    write_table(options.out, "factorized_cost", cost_table(costs), DIGITS | {"least_of_seeds": 5, "most_of_seeds": 5})
    if options.repeats:
        write_table(options.out, "factorized_time", time_table(groups, options))
    save_figure(draw(curves), options.out, "factorized")


if __name__ == "__main__":
    main()
