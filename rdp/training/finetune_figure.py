"""The picture of a tuning of decoders: perceptual distance against PSNR on the validation images, a curve a codec."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rdp.columns import describe
from rdp.training.figure_style import new_figure, png_of
from rdp.training.finetune_state import TunedCodec

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE_IN = (4.6, 3.4)
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKS = ("o", "s", "^", "D", "v", "P", "X")

_GRID: dict[str, Any] = {
    "axes.grid": True,
    "grid.linewidth": 0.4,
    "grid.color": "#DDDDDD",
    "xtick.labelsize": 7,
    "xtick.major.size": 2.5,
}


def draw_decoders(codecs: Sequence[TunedCodec], perceptual: str) -> bytes:
    """A PNG at 200 dpi, the same bytes every time; every point has the name of its decoder beside it."""
    with new_figure(*SIZE_IN, **_GRID) as figure:
        axis = figure.subplots()
        drawn = [codec for codec in codecs if codec.decoders]
        for place, codec in enumerate(drawn):
            _draw(axis, codec, perceptual, PALETTE[place % len(PALETTE)], MARKS[place % len(MARKS)])
        axis.set_xlabel(describe("psnr").title)
        axis.set_ylabel(describe(perceptual).title)
        axis.margins(0.12)
        figure.legend(loc="outside upper center", ncols=1, frameon=False)
        return png_of(figure)


def _draw(axis: Axes, codec: TunedCodec, perceptual: str, colour: str, mark: str) -> None:
    scored = [one for one in codec.decoders if {"psnr", perceptual} <= one.scores.keys()]
    ladder = sorted(scored, key=lambda one: float("inf") if one.gamma is None else one.gamma, reverse=True)
    places = [(one.scores["psnr"], one.scores[perceptual]) for one in ladder]
    rate = f"{codec.decoders[0].bpp:.3f} bit/pixel"
    label = f"{codec.point}, {rate}" if len(codec.point) < 60 else f"...{codec.point[-56:]}, {rate}"
    axis.plot(*zip(*places, strict=True), color=colour, marker=mark, markersize=3.5, linewidth=0.9, label=label)
    for one, place in zip(ladder, places, strict=True):
        axis.annotate(one.name, place, xytext=(4, 3), textcoords="offset points", fontsize=6, color=colour)
