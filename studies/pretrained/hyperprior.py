"""The shipped mean-scale hyperprior against JPEG, JPEG 2000 and BPG: rate-distortion points and Bjontegaard rates.

    .venv/bin/python studies/pretrained/hyperprior.py [--images ../shared/data/kodak] [--run FOLDER] [--out FOLDER]

Anchors: JPEG with optimised Huffman tables in 4:2:0, JPEG 2000 (OpenJPEG, 9/7), BPG with x265 in 4:4:4. Bjontegaard
rates are of the curves of averages (mean rate and mean PSNR of a point over the images), PCHIP of the logarithm of the
rate over PSNR, between 27 and 35 dB or as much of that as both curves cover; the table says how much. The curve of the
hyperprior is that of its networks at step 1; beside it, what quantisation steps do to the rate of each network, and
with `--refine 25` what 25 steps of descent on each image's latents bring (half a minute an image and network).
Writes hyperprior_points, hyperprior_bd, hyperprior_steps (CSV, Markdown) and hyperprior.png.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Sequence

import pandas as pd
from common import (
    STEPS,
    Curve,
    Model,
    curve_of,
    evaluated,
    mean_points,
    options_of,
    parser_of,
    present_models,
    rate_difference,
)
from output import new_figure, save_figure, write_table

from rdp.codecs import parse_point, parse_points
from rdp.errors import TableError
from rdp.report.figure_styles import COLOURS, MARKERS

ANCHORS = {
    "jpeg 4:2:0, optimised": ["jpeg:quality=5|10|15|20|30|40|50|60|70|80|85|90|95,subsampling=420,optimise=true"],
    "jpeg2000": ["jpeg2000:rate=0.1|0.15|0.2|0.3|0.4|0.6|0.8|1.2|1.6|2.4"],
    "bpg x265 4:4:4": ["bpg:qp=20..47..3,chroma=444,encoder=x265"],
}
BARS = {"jpeg 4:2:0, optimised": (-54.0, -45.0), "jpeg2000": (-23.0, 0.0), "bpg x265 4:4:4": (4.0, math.nan)}
"""Percent that the hyperprior's rate may differ by at most: of networks trained with a GPU, and on CPUs only."""
METRICS = ("mse", "psnr", "ms_ssim")
COLUMNS = ("bpp", "bpp_estimated", "mse", "psnr", "ms_ssim", "ms_ssim_db")
LOW_DB, HIGH_DB = 27.0, 35.0
OURS = "hyperprior"
DIGITS = {"bpp": 4, "bpp_estimated": 4, "ms_ssim": 4, "psnr": 2, "mse": 2, "ms_ssim_db": 2, "bd_rate_percent": 1}


def bd_table(curves: dict[str, Curve], ours: dict[str, Curve]) -> pd.DataFrame:
    """The Bjontegaard rate of each of our curves against each anchor's, beside what it should be at most."""
    rows = []
    for (name, anchor), (own, curve) in itertools.product(curves.items(), ours.items()):
        found = rate_difference(anchor, curve, LOW_DB, HIGH_DB)
        with_gpu, on_cpu = BARS.get(name, (math.nan, math.nan))
        rows.append(
            {
                "anchor": name,
                "curve": own,
                "bd_rate_percent": found.percent,
                "from_db": found.low,
                "to_db": found.high,
                "anchor_points": found.anchor_points,
                "our_points": found.test_points,
                "bar_gpu_percent": with_gpu,
                "bar_cpu_percent": on_cpu,
            }
        )
    return pd.DataFrame(rows)


def step_table(frame: pd.DataFrame, models: Sequence[Model], ours: Curve) -> pd.DataFrame:
    """What it costs to reach a rate by the step of one network and not by the network of that rate."""
    rows = []
    for model in models:
        means = mean_points(frame, [model.at(step) for step in STEPS], ["bpp", "psnr"])
        found = rate_difference(ours, curve_of(means))
        rows.append(
            {
                "quality": model["quality"],
                "least_bpp": means.bpp.min(),
                "most_bpp": means.bpp.max(),
                "bd_rate_percent": found.percent,
                "from_db": found.low,
                "to_db": found.high,
            }
        )
    return pd.DataFrame(rows)


def draw(groups: dict[str, pd.DataFrame], steps: Sequence[pd.DataFrame]) -> object:
    """PSNR and MS-SSIM over the rate; thin lines are the steps of each network."""
    figure = new_figure(6.8, 3.0)
    for axis, column, label in zip(
        figure.subplots(1, 2), ("psnr", "ms_ssim_db"), ("PSNR (dB)", "MS-SSIM (dB)"), strict=True
    ):
        for number, (name, means) in enumerate(groups.items()):
            means = means.sort_values("bpp")
            axis.plot(means.bpp, means[column], color=COLOURS[number], marker=MARKERS[number], label=name)
        for means in steps:
            means = means.sort_values("bpp")
            axis.plot(means.bpp, means[column], color=COLOURS[list(groups).index(OURS)], linewidth=0.6, alpha=0.6)
        axis.set_xlabel("Rate (bit/pixel)")
        axis.set_ylabel(label)
        axis.set_xlim(0, 1.6)
    axis.legend()
    return figure


def main(arguments: Sequence[str] | None = None, anchors: dict[str, list[str]] | None = None) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--refine", type=int, default=0, help="steps of a second curve of ours; 0: none")
    options = options_of(parser, arguments)
    study(options, ANCHORS if anchors is None else anchors)


def study(options: argparse.Namespace, anchors: dict[str, list[str]]) -> None:
    models = present_models(options.models, "hyperprior")
    if not models:
        raise TableError(f"none of the networks that {options.models} lists for hyperprior is on this machine")
    groups = {name: [point.name for point in parse_points(specs)] for name, specs in anchors.items()}
    specs = [spec for listed in anchors.values() for spec in listed]
    ours = {OURS: [model.at() for model in models]}
    if options.refine:
        refined = [f"{model.spec_at()},refine={options.refine}" for model in models]
        ours[f"{OURS}, refine={options.refine}"] = [parse_point(spec).name for spec in refined]
        specs += refined
    _, frame = evaluated(options, [*specs, *(model.spec_at(step) for model in models for step in STEPS)], METRICS)
    means = {name: mean_points(frame, points, COLUMNS) for name, points in {**groups, **ours}.items()}
    steps = [mean_points(frame, [model.at(step) for step in STEPS], COLUMNS) for model in models]
    every = [part.assign(curve=name) for name, part in means.items()]
    every += [part.assign(curve=f"quality {m['quality']}, steps") for m, part in zip(models, steps, strict=True)]
    table = pd.concat(every, ignore_index=True)
    write_table(options.out, "hyperprior_points", table[["curve", *table.columns.drop("curve")]], DIGITS)
    curves = {name: curve_of(part) for name, part in means.items()}
    bd = bd_table({name: curves[name] for name in groups}, {name: curves[name] for name in ours})
    write_table(options.out, "hyperprior_bd", bd, DIGITS)
    write_table(options.out, "hyperprior_steps", step_table(frame, models, curves[OURS]), DIGITS)
    save_figure(draw(means, steps), options.out, "hyperprior")


if __name__ == "__main__":
    main()
