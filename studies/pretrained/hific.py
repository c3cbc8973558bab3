"""The shipped HiFiC networks: LPIPS against the hyperprior, and what the adversarial term does at equal rate.

    .venv/bin/python studies/pretrained/hific.py [--images ../shared/data/kodak] [--run FOLDER] [--out FOLDER]

LPIPS of the hyperprior at the mean rate of a HiFiC network is read from the curve of averages of its networks at step
1, PCHIP over the logarithm of the rate; outside of it there is no number. LPIPS with the squeeze features, which the
tables have unless `--lpips` names another, is **the training's own teacher**: it is in the loss of every HiFiC network
here, twins too, and in none of the hyperprior's. So hific_lpips says how well that term was learned, and is no
independent judgement of what is seen; the column `in_the_loss` says so in both tables.

The twin of a network was trained in the same way with beta = 0, without the adversarial term. The sliced Wasserstein
distance to the originals was no one's teacher (`rdp.metrics.wasserstein`: patches of 7x7 at the same places in all
sets, 128 a level and image, normalised by the originals' statistics; the mean over the levels). Intervals are
percentile intervals over images drawn again, the same draws for both models (paired); the hyperprior's curve is drawn
again with them. No rate is corrected: the table says by how much the twin's differs. There is no verdict beyond 5 %,
and within that the adversarial network is "better" only at a rate of at most the twin's, "worse" only at one of at
least the twin's; what more or less rate could explain is undecided. Writes hific_lpips, hific_twins (CSV, Markdown),
and hific_crops_RATE.png: the middle of three images.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from common import (
    Curve,
    Floats,
    Model,
    codec_of,
    decoded,
    evaluated,
    options_of,
    parser_of,
    present_models,
    rows_of,
    values_of,
)
from output import new_figure, save_figure, write_table

import rdp
from rdp.analysis.bootstrap import BootstrapInterval, Statistic, bootstrap_difference, bootstrap_images
from rdp.errors import TableError
from rdp.images import list_images, read_image
from rdp.metrics.wasserstein import (
    PairedProjections,
    channel_statistics,
    descriptors,
    directions,
    image_projections,
    paired_projections,
)

METRICS = ("mse", "psnr", "ms_ssim")
DIGITS = {"bpp": 4, "twin_bpp": 4, "swd": 4, "twin_swd": 4, "swd_difference": 4, "swd_low": 4, "swd_high": 4}
LPIPS_BAR = 30.0
"""Percent that LPIPS must lie below the hyperprior's."""
EQUAL_PERCENT = 5.0
"""Rates that differ by more have no verdict."""
TEACHER = "lpips_squeeze"
"""The metric in the loss of the HiFiC networks that ship (train/hific.yaml)."""


class Interpolated:
    """What the hyperprior has at a rate, for any draw of images: rates and values (images, points)."""

    def __init__(self, rate: Floats, value: Floats) -> None:
        self._rate, self._value = rate, value

    def at(self, rate: float, drawn: Any) -> float:
        return Curve.through(self._rate[drawn].mean(0), self._value[drawn].mean(0)).at(rate)


def reduction(rate: Floats, value: Floats, other: Interpolated) -> Statistic:
    """Percent by which the mean of `value` (images,) lies below the other's at the mean of `rate`."""
    return lambda drawn: 100 * (1 - value[drawn].mean() / other.at(float(rate[drawn].mean()), drawn))


def lpips_table(
    frame: pd.DataFrame, ours: Sequence[Model], anchor: Sequence[str], lpips: str, options: argparse.Namespace
) -> pd.DataFrame:
    """Each network against the hyperprior at its rate: LPIPS, and PSNR."""
    rates = values_of(frame, anchor, "bpp")
    curves = {name: Interpolated(rates, values_of(frame, anchor, name)) for name in (lpips, "psnr")}
    rows = []
    for model in ours:
        own = {
            name: values_of(frame, [anchor[0], model.at()], name)[:, 1] for name in ("bpp", lpips, "psnr", "ms_ssim")
        }
        every = np.arange(len(rates))
        found = bootstrap_images(reduction(own["bpp"], own[lpips], curves[lpips]), len(rates), **resampling(options))
        bpp = float(own["bpp"].mean())
        row = {**model.labels, "bpp": bpp, "psnr": own["psnr"].mean(), "ms_ssim": own["ms_ssim"].mean()}
        row |= {lpips: own[lpips].mean(), f"hyperprior_{lpips}": curves[lpips].at(bpp, every)}
        row |= {"in_the_loss": in_the_loss(lpips)}
        row |= {"reduction_percent": found.value, **ends("reduction", found)}
        row |= {"psnr_loss_db": curves["psnr"].at(bpp, every) - own["psnr"].mean()}
        rows.append({**row, "reaches_bar": bool(found.value >= LPIPS_BAR)})
    return pd.DataFrame(rows)


def in_the_loss(metric: str) -> str:
    """Whether a metric was the training's own teacher, as the tables say it."""
    return "yes: the teacher" if metric == TEACHER else "no"


def resampling(options: argparse.Namespace) -> dict[str, Any]:
    return {"resamples": options.resamples, "seed": options.seed}


def ends(name: str, found: BootstrapInterval) -> dict[str, float]:
    """Of an interval; NaN where too many draws had no number, as those whose rate the hyperprior does not reach."""
    low, high = (found.low, found.high) if found.reliable else (math.nan, math.nan)
    return {f"{name}_low": low, f"{name}_high": high}


class Distances:
    """Sliced Wasserstein distances to the originals, for sets of pictures over the same images."""

    def __init__(self, originals: Sequence[Any], projections: int, seed: int) -> None:
        self._seed = seed
        levels = descriptors(originals, seed=seed)
        self._statistics = [channel_statistics(level) for level in levels]
        self._along = directions(levels[0].shape[-1], projections, seed)
        self._originals = self._projected(levels)

    def _projected(self, levels: Sequence[Any]) -> list[list[Any]]:
        return [
            [image_projections(one, statistics, self._along) for one in level]
            for level, statistics in zip(levels, self._statistics, strict=True)
        ]

    def to(self, pictures: Sequence[Any]) -> list[PairedProjections]:
        """The originals and these pictures, level by level, ready to be weighted."""
        projected = self._projected(descriptors(pictures, seed=self._seed, levels=len(self._statistics)))
        return [paired_projections(a, b) for a, b in zip(self._originals, projected, strict=True)]


def distance(levels: Sequence[PairedProjections]) -> Statistic:
    """The mean distance over the levels, of the images drawn."""
    return lambda drawn: float(
        np.mean([level.distance(np.bincount(drawn, minlength=level.images)) for level in levels])
    )


def pictures_of(run: rdp.Run, frame: pd.DataFrame, model: Model, options: argparse.Namespace) -> list[Any]:
    """What a network decodes the images to, in their order."""
    codec = codec_of(model, options)
    return [decoded(run, row, codec) for _, row in rows_of(frame, model.at()).iterrows()]


def pairs_of(models: Sequence[Model]) -> list[tuple[Model, Model]]:
    """Adversarial networks with their twins."""
    twins = {model["rate"]: model for model in models if model["kind"] == "twin"}
    return [(m, twins[m["rate"]]) for m in models if m["kind"] == "adversarial" and m["rate"] in twins]


def twin_row(
    frame: pd.DataFrame, pair: tuple[Model, Model], sets: Sequence[Sequence[PairedProjections]], lpips: str,
    options: argparse.Namespace,
) -> dict[str, Any]:  # fmt: skip
    """One rate: adversarial network and twin beside each other; differences are the first less the second."""
    points = [model.at() for model in pair]
    both = {name: values_of(frame, points, name) for name in ("bpp", "psnr", lpips)}
    count = len(both["bpp"])
    swd = bootstrap_difference(distance(sets[0]), distance(sets[1]), count, **resampling(options))
    loss = bootstrap_images(
        lambda drawn: float((both["psnr"][drawn, 1] - both["psnr"][drawn, 0]).mean()), count, **resampling(options)
    )
    every = np.arange(count)
    mean = {name: part.mean(0) for name, part in both.items()}
    row = {"rate": pair[0]["rate"], "bpp": mean["bpp"][0], "twin_bpp": mean["bpp"][1]}
    row["twin_rate_percent"] = 100 * (mean["bpp"][1] / mean["bpp"][0] - 1)
    row |= {"swd": distance(sets[0])(every), "twin_swd": distance(sets[1])(every)}
    row |= {"swd_difference": swd.value, **ends("swd", swd)}
    row["verdict"] = verdict(swd, row["twin_rate_percent"])
    row |= {lpips: mean[lpips][0], f"twin_{lpips}": mean[lpips][1], "in_the_loss": in_the_loss(lpips)}
    return row | {"psnr_loss_db": loss.value, **ends("psnr_loss", loss)}


def verdict(difference: BootstrapInterval, rate_percent: float) -> str:
    """Whether the adversarial network's distance is smaller; none where the twin's rate is too far away.

    `rate_percent`: by how much the twin's rate is above its own. A smaller distance for more rate decides nothing, nor
    does a larger one for less.
    """
    if abs(rate_percent) > EQUAL_PERCENT:
        return "not at equal rate"
    better = difference.value < 0
    if not difference.excludes_zero or (rate_percent < 0 if better else rate_percent > 0):
        return "undecided"
    return "better" if better else "worse"


def nearest(frame: pd.DataFrame, models: Sequence[Model], rate: float) -> Model:
    """The network whose mean rate is nearest."""
    return min(models, key=lambda model: abs(float(rows_of(frame, model.at()).bpp.mean()) - rate))


def draw_crops(columns: dict[str, Sequence[Any]], names: Sequence[str], side: int) -> object:
    """The middle `side` x `side` pixels of pictures, an image a row."""
    figure = new_figure(1.7 * len(columns), 1.75 * len(names))
    axes = figure.subplots(len(names), len(columns), squeeze=False)
    for column, (title, pictures) in enumerate(columns.items()):
        for row, picture in enumerate(pictures):
            top, left = (max(0, (length - side) // 2) for length in picture.shape[:2])
            axes[row, column].imshow(picture[top : top + side, left : left + side], interpolation="nearest")
            axes[row, column].set(xticks=[], yticks=[])
            axes[row, column].grid(False)
        axes[0, column].set_title(title)
    for row, name in enumerate(names):
        axes[row, 0].set_ylabel(name)
    return figure


def crops(
    run: rdp.Run, frame: pd.DataFrame, pair: tuple[Model, Model], anchors: Sequence[Model], options: argparse.Namespace
) -> object:
    """Original, the hyperprior of the nearest rate, the twin, and the adversarial network."""
    model, twin = pair
    rate = float(rows_of(frame, model.at()).bpp.mean())
    chosen = {"hyperprior": nearest(frame, anchors, rate), "beta = 0": twin, "adversarial": model}
    shown = rows_of(frame, model.at()).index[options.first_crop :: options.every_crop][:3]
    files = {image.name: image.path for image in list_images(options.images)}
    columns: dict[str, Sequence[Any]] = {"original": [read_image(files[name]) for name in shown]}
    for title, one in chosen.items():
        rows, codec = rows_of(frame, one.at()), codec_of(one, options)
        bpp = rows.bpp.mean()
        columns[f"{title}\n{bpp:.3f} bit/pixel"] = [decoded(run, rows.loc[name], codec) for name in shown]
    return draw_crops(columns, list(shown), options.crop_side)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--lpips", default="lpips_squeeze", help="which LPIPS")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--projections", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0, help="of patches, directions and resamples")
    parser.add_argument("--first-crop", type=int, default=0)
    parser.add_argument("--every-crop", type=int, default=6)
    parser.add_argument("--crop-side", type=int, default=192)
    options = options_of(parser, arguments)
    models, anchors = present_models(options.models, "hific"), present_models(options.models, "hyperprior")
    ours = [model for model in models if model["kind"] == "adversarial"]
    if not ours or not anchors:
        raise TableError(f"{options.models}: there is no adversarial hific network, or no hyperprior, on this machine")
    run, frame = evaluated(options, [model.spec_at() for model in [*models, *anchors]], [*METRICS, options.lpips])
    digits = DIGITS | dict.fromkeys((options.lpips, f"hyperprior_{options.lpips}", f"twin_{options.lpips}"), 4)
    anchor = [model.at() for model in anchors]
    write_table(options.out, "hific_lpips", lpips_table(frame, models, anchor, options.lpips, options), digits)
    pairs = pairs_of(models)
    if not pairs:
        print("no network has a twin here: no distances, no crops")
        return
    files = {image.name: image.path for image in list_images(options.images)}
    distances = Distances(
        [read_image(files[name]) for name in rows_of(frame, anchor[0]).index], options.projections, options.seed
    )
    rows = []
    for pair in pairs:
        sets = [distances.to(pictures_of(run, frame, model, options)) for model in pair]
        rows.append(twin_row(frame, pair, sets, options.lpips, options))
        save_figure(crops(run, frame, pair, anchors, options), options.out, f"hific_crops_{pair[0]['rate']}")
    write_table(options.out, "hific_twins", pd.DataFrame(rows), digits)


if __name__ == "__main__":
    main()
