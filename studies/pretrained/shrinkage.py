"""The shipped shrinkage network and its GDN twin: what chapter 3 of the thesis (000_0849d61a7a9a9ad9) says of them.

    .venv/bin/python studies/pretrained/shrinkage.py [--images ../shared/data/kodak] [--run FOLDER] [--out FOLDER]

Figure 3.4: averages of rate, PSNR and MS-SSIM at five quantisation steps, and the Bjontegaard rate between the two.

Table 3.1: KL divergence from the histogram of the latent code to the Laplacian law of mean 0 and variance 1, in nats.
The thesis names neither the logarithm, nor the bins, nor whether the histogram is of all channels. Here the code is
the symbols of the files at step 1 (multiples of one standard deviation, as its Figure 3.10 g, h shows them), the law
is that of a rounded Laplacian variable, and `kl_pooled` is of one histogram over all images, channels and positions.
Beside it: `kl_images`, the mean over images of each one's; `kl_channels`, the mean over channels of each one's over
all images; `kl_used_channels`, of one histogram over the channels that are not 0 everywhere (a trained network leaves
channels empty, and an empty one has the divergence -ln P(0) = 0.68).

Section 3.3.2: seconds to encode and to decode all images, files included, on this machine; medians over repeats, the
two networks in turn, and the ratio.

Table 3.2: random images of 1024 x 1024 pixels, each sample drawn alone, rounded and clipped to 0..255. The thesis does
not give the parameters; its PSNR says how large the deviations were, since the networks return little more than the
mean (23.95 dB: 16; 20.23 dB: 25). So: Laplacian and normal of mean 127.5 and standard deviation 16 and 25, and uniform
over 0..255. The KL divergence is that of the pixel histograms, in nats, input to output, and the reverse. Trials are
fewer than the thesis's 1000; the standard deviation over trials is given.

Writes shrinkage_points, shrinkage_bd, shrinkage_kl, shrinkage_time, shrinkage_noise (CSV, Markdown), shrinkage.png.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from common import (
    STEPS,
    Floats,
    Model,
    codec_of,
    curve_of,
    evaluated,
    file_of,
    mean_points,
    options_of,
    parser_of,
    present_models,
    rate_difference,
    rows_of,
)
from output import new_figure, save_figure, write_table
from timing import alternating_times

import rdp
from rdp.codecs import Codec
from rdp.errors import TableError
from rdp.images import list_images, read_image
from rdp.metrics.histogram import kl_divergence, smoothed_histogram
from rdp.report.figure_styles import COLOURS, MARKERS

METRICS = ("mse", "psnr", "ms_ssim")
COLUMNS = ("bpp", "bpp_estimated", "bpp_fixed_law", "mse", "psnr", "ms_ssim", "ms_ssim_db")
DIGITS = {
    "bpp": 4,
    "bpp_estimated": 4,
    "bpp_fixed_law": 4,
    "psnr": 2,
    "mse": 2,
    "ms_ssim": 4,
    "encode_s": 2,
    "decode_s": 2,
}
TWIN = "gdn"
NOISE_SIDE = 1024
DEVIATIONS = {"laplace": 16.0, "gaussian": 25.0}
NOISES = ("laplace", "gaussian", "uniform")


def laplacian(largest: int) -> Floats:
    """Probabilities (2 largest + 1,) of a rounded Laplacian variable of variance 1; the end bins hold the tails."""
    rate = math.sqrt(2)
    edges = np.arange(-largest, largest) + 0.5
    below = np.where(edges < 0, 0.5 * np.exp(rate * edges), 1 - 0.5 * np.exp(-rate * np.abs(edges)))
    return np.diff(np.concatenate([[0.0], below, [1.0]]))


LARGEST = 15
"""Symbols beyond count as this one: the law's tail there is 6e-10."""


def divergence(symbols: Any) -> float:
    """KL divergence in nats from the histogram of integers to the rounded Laplacian law."""
    clipped = np.clip(np.asarray(symbols).reshape(-1), -LARGEST, LARGEST) + LARGEST
    histogram = np.bincount(clipped, minlength=2 * LARGEST + 1) / clipped.size
    used = histogram > 0
    return float(np.sum(histogram[used] * np.log(histogram[used] / laplacian(LARGEST)[used])))


def kl_row(codes: Sequence[Any]) -> dict[str, Any]:
    """The divergences of a network's codes, an array (channels, h, w) an image."""
    flat = [code.reshape(len(code), -1) for code in codes]
    every = np.concatenate(flat, axis=1)
    used = every.any(axis=1)
    return {
        "kl_pooled": divergence(every),
        "kl_images": float(np.mean([divergence(code) for code in flat])),
        "kl_channels": float(np.mean([divergence(channel) for channel in every])),
        "kl_used_channels": divergence(every[used]) if used.any() else math.nan,
        "zeros_percent": 100 * float((every == 0).mean()),
        "used_channels": int(used.sum()),
        "channels": len(every),
    }


def codes_of(run: rdp.Run, frame: pd.DataFrame, model: Model, codec: Any) -> list[Any]:
    """The symbols of the latent in each file, (channels, h, w)."""
    return [codec.symbols(file_of(run, row))[-1] for _, row in rows_of(frame, model.at()).iterrows()]


def noise(kind: str, side: int, seed: int, trial: int) -> Any:
    """A random image, uint8 (side, side, 3)."""
    rng = np.random.default_rng([seed, NOISES.index(kind), trial])
    if kind == "uniform":
        return rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
    deviation, shape = DEVIATIONS[kind], (side, side, 3)
    drawn = rng.laplace(0, deviation / math.sqrt(2), shape) if kind == "laplace" else rng.normal(0, deviation, shape)
    return np.clip(np.rint(127.5 + drawn), 0, 255).astype(np.uint8)


def response(codec: Codec, image: Any) -> dict[str, float]:
    """What a codec makes of one image: PSNR, rate of the file, divergence of the histograms both ways."""
    data = codec.encode(image)
    output = codec.decode(data)
    error = float(((image.astype(np.float64) - output) ** 2).mean())
    before, after = (smoothed_histogram(part, 256, 0.5) for part in (image, output))
    return {
        "psnr": 10 * math.log10(255**2 / error) if error else math.inf,
        "bpp": 8 * len(data) / (image.shape[0] * image.shape[1]),
        "kl": kl_divergence(before, after),
        "kl_reverse": kl_divergence(after, before),
    }


def noise_table(codecs: dict[str, Codec], trials: int, side: int, seed: int) -> pd.DataFrame:
    """Table 3.2, with standard deviations over the trials."""
    rows = []
    for kind in NOISES:
        images = [noise(kind, side, seed, trial) for trial in range(trials)]
        for name, codec in codecs.items():
            found = pd.DataFrame([response(codec, image) for image in images])
            spread = found.std(ddof=0).add_suffix("_std")
            rows.append({"noise": kind, "activation": name, "trials": trials, **found.mean(), **spread})
    return pd.DataFrame(rows)


def time_table(codecs: dict[str, Codec], options: argparse.Namespace) -> pd.DataFrame:
    """Seconds for all images, and their ratio to the twin's."""
    images = [read_image(image.path) for image in list_images(options.images)]
    times = alternating_times(codecs, images, options.repeats)
    rows = []
    for name in codecs:
        row: dict[str, Any] = {"activation": name, "images": len(images), "repeats": options.repeats}
        for which in ("encode", "decode"):
            seconds = times.total(name, which)
            row[f"{which}_s"] = seconds
            if TWIN in codecs:
                row[f"{which}_ratio"] = seconds / times.total(TWIN, which)
        rows.append(row)
    return pd.DataFrame(rows)


def bd_table(means: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Bjontegaard rates of the others against the twin, by PSNR and by MS-SSIM."""
    rows = []
    for name in [name for name in means if name != TWIN and TWIN in means]:
        for column in ("psnr", "ms_ssim_db"):
            found = rate_difference(curve_of(means[TWIN], column), curve_of(means[name], column))
            row = {"activation": name, "against": TWIN, "metric": column, "bd_rate_percent": found.percent}
            rows.append(row | {"from": found.low, "to": found.high})
    return pd.DataFrame(rows)


def draw(means: dict[str, pd.DataFrame]) -> object:
    """Figure 3.4: PSNR and MS-SSIM over the rate; the middle point has the unit step."""
    figure = new_figure(6.8, 2.8)
    labels = {"psnr": "PSNR (dB)", "ms_ssim": "MS-SSIM"}
    for axis, (column, label) in zip(figure.subplots(1, 2), labels.items(), strict=True):
        for number, (name, part) in enumerate(means.items()):
            part = part.sort_values("bpp")
            axis.plot(part.bpp, part[column], color=COLOURS[number], marker=MARKERS[number], label=name)
        axis.set_xlabel("Rate (bit/pixel)")
        axis.set_ylabel(label)
    axis.legend()
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="of the times; 0 measures none")
    parser.add_argument("--trials", type=int, default=10, help="random images of each kind; 0 makes none")
    parser.add_argument("--noise-side", type=int, default=NOISE_SIDE)
    parser.add_argument("--seed", type=int, default=0, help="of the random images")
    options = options_of(parser, arguments)
    models = {model["activation"]: model for model in present_models(options.models, "shrinkage")}
    if not models:
        raise TableError(f"none of the networks that {options.models} lists for shrinkage is on this machine")
    run, frame = evaluated(options, [model.spec_at(step) for model in models.values() for step in STEPS], METRICS)
    codecs = {name: codec_of(model, options) for name, model in models.items()}
    means = {name: mean_points(frame, [m.at(step) for step in STEPS], COLUMNS) for name, m in models.items()}
    parts = [part.assign(activation=name, step=STEPS) for name, part in means.items()]
    table = pd.concat(parts, ignore_index=True)
    first = ["activation", "step"]
    write_table(options.out, "shrinkage_points", table[[*first, *table.columns.drop(first)]], DIGITS)
    if len(models) > 1 and TWIN in models:
        write_table(options.out, "shrinkage_bd", bd_table(means), {"bd_rate_percent": 1})
    rows = [{"activation": name, **kl_row(codes_of(run, frame, m, codecs[name]))} for name, m in models.items()]
    write_table(options.out, "shrinkage_kl", pd.DataFrame(rows), {f"kl_{k}": 4 for k in ("pooled", "images")})
    save_figure(draw(means), options.out, "shrinkage")
    if options.repeats:
        write_table(options.out, "shrinkage_time", time_table(codecs, options), DIGITS)
    if options.trials:
        write_table(
            options.out, "shrinkage_noise", noise_table(codecs, options.trials, options.noise_side, options.seed)
        )


if __name__ == "__main__":
    main()
