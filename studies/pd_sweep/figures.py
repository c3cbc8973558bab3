"""LPIPS over a distortion, one curve a rate, and the frontiers with and without a choice of decoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from joint import FIXED, JOINT, RATE_ONLY, Answers
from knees import RateKnee, front_of
from shared import new_figure
from sweep import SIGNS, Base, Kind, Swept, smallest_gamma

from rdp.columns import describe
from rdp.report.figure_styles import COLOURS, GREY
from rdp.report.knee_figure import DOMINATED, KNEE, KNEEDLE, curve_style
from rdp.report.knee_labels import Name, place_names

DIAL: dict[Kind, dict[str, Any]] = {
    "pictures": {"linewidth": 0.6, "marker": ".", "markersize": 2.2, "linestyle": "-", "alpha": 0.75},
    "weights": {"linewidth": 0.6, "marker": "x", "markersize": 3.0, "linestyle": ":", "alpha": 0.75},
}
DIAL_NAMES: dict[Kind, str] = {"pictures": "pictures mixed", "weights": "weights mixed"}
METHODS: dict[str, dict[str, Any]] = {
    JOINT: {"color": COLOURS[0], "marker": "o"},
    FIXED: {"color": COLOURS[2], "marker": "^", "linestyle": (0, (4, 1.5))},
    RATE_ONLY: {"color": COLOURS[1], "marker": "s", "linestyle": (0, (1.2, 1.2))},
}
METHOD_NAMES = {JOINT: "rate and decoder", FIXED: "rate, best decoder for all", RATE_ONLY: "rate, MSE decoder"}
Line = tuple[list[float], list[float]]


def draw_plane(swept: Swept, knees: Sequence[RateKnee]) -> object:
    """LPIPS over a distortion: all rates, knees named, and below each rate alone, its ends named, too."""
    from matplotlib.lines import Line2D

    x = knees[0].x
    figure = new_figure(max(5.2, 1.75 * len(knees)), 5.6)
    grid = figure.add_gridspec(2, len(knees), height_ratios=[3, 2])
    panels = [(figure.add_subplot(grid[0, :]), list(enumerate(knees)))]
    panels += [(figure.add_subplot(grid[1, number]), [(number, knee)]) for number, knee in enumerate(knees)]
    drawn = []
    for axis, shown in panels:
        lines = [line for number, knee in shown for line in _curve(axis, swept, knee, curve_style(number))]
        alone = axis is not panels[0][0]
        drawn.append((axis, [name for number, knee in shown for name in _names(swept, knee, number, alone)], lines))
        axis.margins(x=0.25 if alone else 0.09, y=0.18 if alone else 0.09)
        axis.ticklabel_format(useOffset=False)
        axis.locator_params(nbins=4 if alone else 8)
        axis.set_xlabel(describe(x).title)
        if axis in (panels[0][0], panels[1][0]):
            axis.set_ylabel(describe(swept.teacher).title)
        if alone:
            axis.set_title(_rate_label(swept, shown[0][1].base))
    entries = _entries(swept, knees)
    handles = [Line2D([], [], **style) for style, _ in entries]
    figure.legend(handles, [label for _, label in entries], loc="outside lower center", ncols=3, frameon=False)
    figure.draw_without_rendering()
    for axis, names, lines in drawn:
        place_names(axis, names, lines, (1 if describe(x).direction == "higher" else -1, -1))
    return figure


def _rate_label(swept: Swept, base: Base) -> str:
    return f"{base.rate}: {swept.mean(base.own, 'bpp'):.3f} bit/pixel"


def _names(swept: Swept, knee: RateKnee, number: int, ends: bool) -> list[Name]:
    """The decoders at the knees; with `ends` the network's own one, too, and that of the smallest gamma."""
    points = [point for point in (knee.chord, knee.kneedle) if point]
    points += [knee.base.own, smallest_gamma(knee.base)] if ends else []
    colour = curve_style(number)["color"]
    return [
        Name(point.decoder, swept.mean(point, knee.x), swept.mean(point, swept.teacher), colour)
        for point in dict.fromkeys(points)
    ]


def _entries(swept: Swept, knees: Sequence[RateKnee]) -> list[tuple[dict[str, Any], str]]:
    """(style, label) of everything in the figure."""
    entries = [(curve_style(number), _rate_label(swept, knee.base)) for number, knee in enumerate(knees)]
    kinds = {point.kind for point in swept.plan.points}
    entries += [({"color": GREY, **DIAL[kind]}, DIAL_NAMES[kind]) for kind in SIGNS if kind in kinds]
    beaten = [by for knee in knees for by in front_of(swept, knee.base, knee.x)[1].values()]
    entries += [(DOMINATED, "dominated")] if any(beaten) else []
    entries += [(KNEE, "knee by the chord")] if any(knee.chord for knee in knees) else []
    entries += [(KNEEDLE, "knee by Kneedle")] if any(knee.kneedle for knee in knees) else []
    return entries


def _curve(axis: Any, swept: Swept, knee: RateKnee, style: dict[str, Any]) -> list[Line]:
    """The front, what it dominates, the dials, the knees; returns what names must not cover."""
    base, columns = knee.base, (knee.x, swept.teacher)

    def places(points: Sequence[Any]) -> Line:
        xs, ys = ([swept.mean(point, column) for point in points] for column in columns)
        return xs, ys

    front, beaten = front_of(swept, base, knee.x)
    lines = [places(front)]
    axis.plot(*lines[0], zorder=3, **style)
    hidden = [point for point in base.of("trained") if beaten[point.name]]
    if hidden:
        axis.plot(*places(hidden), zorder=3, **{**DOMINATED, "color": style["color"], "marker": style["marker"]})
    for kind in SIGNS:
        dial = dial_of(base, kind)
        if dial:
            axis.plot(*places(dial), color=style["color"], zorder=2, **DIAL[kind])
            lines.append(places(dial))
    for point, mark in ((knee.chord, KNEE), (knee.kneedle, KNEEDLE)):
        if point is not None:
            axis.plot(*places([point]), **mark)
    return [*lines, *(places([point]) for point in hidden)]


def dial_of(base: Base, kind: Kind) -> list[Any]:
    """From the network's own decoder through the mixtures to the other one, if that is here; empty without mixtures."""
    mixed = sorted(base.of(kind), key=lambda point: point.share)
    if not mixed:
        return []
    far = mixed[-1].decoder.rpartition("*")[2]
    return [base.own, *mixed, *(point for point in base.of("trained") if point.decoder == far)]


def draw_frontiers(swept: Swept, answers: Sequence[Answers]) -> object:
    """The best mean PSNR over the LPIPS budget, a panel a rate, a row a pool.

    The dotted line is the least LPIPS of the networks' own decoders: to the left of it there is no selection without
    another decoder.
    """
    from matplotlib.lines import Line2D

    pools = list(dict.fromkeys(one.pool for one in answers))
    rates = list(dict.fromkeys(one.rate for one in answers))
    figure = new_figure(max(3.4, 2.9 * len(rates)), 2.3 * len(pools) + 0.4)
    axes = figure.subplots(len(pools), len(rates), squeeze=False, sharey="col", sharex="col")
    for one in answers:
        axis = axes[pools.index(one.pool), rates.index(one.rate)]
        axis.set_title(f"{one.rate:.3f} bit/pixel, decoders: {one.pool}")
        if one.problem:
            axis.text(0.5, 0.5, one.problem, ha="center", va="center", transform=axis.transAxes, color=GREY, wrap=True)
        for method, style in METHODS.items():
            found = [(b, p.objective) for b, p in zip(one.budgets, one.of(method), strict=True) if p.found]
            axis.plot([budget for budget, _ in found], [psnr for _, psnr in found], **style)
        if one.least is not None and one.budgets and one.least > one.budgets[0]:
            axis.axvline(one.least, color=GREY, linewidth=0.7, linestyle=":")
            axis.annotate(
                "least of the\nMSE decoders", (one.least, 0.03), xycoords=axis.get_xaxis_transform(), xytext=(-3, 0),
                textcoords="offset points", ha="right", va="bottom", fontsize=6, color=GREY,
            )  # fmt: skip
        axis.ticklabel_format(useOffset=False)
        axis.set_ylabel("mean PSNR (dB)" if axis in axes[:, 0] else "")
        axis.set_xlabel(f"budget of mean {describe(swept.teacher).title}" if axis in axes[-1] else "")
    handles = [Line2D([], [], **style) for style in METHODS.values()]
    columns = 1 if len(rates) == 1 else 3
    labels = [METHOD_NAMES[name] for name in METHODS]
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)
    return figure
