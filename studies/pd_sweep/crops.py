"""Crops side by side, as in Figure 4.3 of the thesis; images and places are chosen by a rule.

The rate is that of the options, or the middle one (the lower of two). The images are those whose LPIPS the knee's
decoder lowers by the first quartile, the median and the third quartile of the images' percentages (nearest ranks). The
crop is the window, on a grid of a quarter of its side, in which the pictures of the knee and of the network's own
decoder differ most, by the sum of squared differences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from knees import RateKnee
from shared import Floats, decoded, new_figure
from sweep import SweepPoint, Swept, smallest_gamma

from rdp.images import read_image

PARTS = (0.25, 0.5, 0.75)


def chosen_knee(knees: Sequence[RateKnee], rate: str | None) -> RateKnee | None:
    """The rate to show: the one named, or the middle one of those with a knee."""
    with_knee = [knee for knee in knees if knee.chord is not None and (rate is None or knee.base.rate == rate)]
    return with_knee[(len(with_knee) - 1) // 2] if with_knee else None


def quartile_images(reductions: Floats) -> list[int]:
    """Places of the images (N,) at the quartiles, each once, by nearest rank."""
    order = np.argsort(reductions, kind="stable")
    ranks = [min(len(order) - 1, int(np.ceil(part * len(order))) - 1) for part in PARTS]
    return [int(order[rank]) for rank in dict.fromkeys(ranks)]


def most_different(one: Any, other: Any, side: int) -> tuple[int, int]:
    """Top and left of the window in which two pictures (H, W, 3) differ most; the first of equal ones."""
    squared = ((one.astype(np.float64) - other.astype(np.float64)) ** 2).sum(axis=-1)
    sums = np.pad(squared.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    height, width = squared.shape
    step, tall, wide = max(1, side // 4), min(side, height), min(side, width)
    best, place = -1.0, (0, 0)
    for top in range(0, height - tall + 1, step):
        for left in range(0, width - wide + 1, step):
            bottom, right = top + tall, left + wide
            inside = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
            if inside > best:
                best, place = float(inside), (top, left)
    return place


@dataclass(frozen=True, eq=False)
class Crop:
    """A window of a picture, and what stands below it."""

    pixels: Any
    title: str
    text: str


def crops_of(swept: Swept, knee: RateKnee) -> dict[str, list[Crop]]:
    """By image: original, the network's own decoder, the knee's, and that of the smallest gamma."""
    if knee.chord is None:
        return {}
    base = knee.base
    points = list(dict.fromkeys([base.own, knee.chord, smallest_gamma(base)]))
    lpips = [swept.rows(point)[swept.teacher] for point in (knee.chord, base.own)]
    codecs = {point: swept.codec(point) for point in points}
    found = {}
    for place in quartile_images((100 * (1 - lpips[0] / lpips[1])).to_numpy(np.float64)):
        name = str(lpips[0].index[place])
        rows = {point: swept.rows(point).loc[name] for point in points}
        pictures = {point: decoded(swept.run, rows[point], codecs[point]) for point in points}
        top, left = most_different(pictures[knee.chord], pictures[base.own], swept.options.crop_side)
        window = slice(top, top + swept.options.crop_side), slice(left, left + swept.options.crop_side)
        bpp = rows[base.own].bpp
        row = [Crop(read_image(swept.paths[name])[window], "original", f"{bpp:.3f} bit/pixel")]
        for point in points:
            text = f"{rows[point].psnr:.2f} dB, LPIPS {rows[point][swept.teacher]:.3f}"
            row.append(Crop(pictures[point][window], _title(point, knee), text))
        found[name] = row
    return found


def _title(point: SweepPoint, knee: RateKnee) -> str:
    return f"{point.decoder} (knee)" if point == knee.chord else point.decoder


def draw_crops(crops: dict[str, list[Crop]]) -> object:
    """An image a row; the numbers are of whole images."""
    across = max(len(row) for row in crops.values())
    figure = new_figure(1.75 * across, 2.0 * len(crops))
    axes = figure.subplots(len(crops), across, squeeze=False)
    for number, (name, row) in enumerate(crops.items()):
        for axis, crop in zip(axes[number], row, strict=True):
            axis.imshow(crop.pixels, interpolation="nearest")
            axis.set(xticks=[], yticks=[], xlabel=crop.text)
            axis.grid(False)
            if number == 0:
                axis.set_title(crop.title)
        axes[number, 0].set_ylabel(name)
    return figure
