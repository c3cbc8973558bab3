"""The figure of knees: one perception-distortion curve a rate, dominated points hollow, the knees marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rdp.report.figure import FigureFormat, axis_text
from rdp.report.figure_styles import COLOURS, DASHES, GREY, MARKERS, shortened
from rdp.report.frontier_figures import drawn, new_figure
from rdp.report.knee_curves import KneeCurve
from rdp.report.knee_labels import Name, place_names
from rdp.report.names import shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from rdp.report.knee import Knees

BLACK = "#000000"
DOMINATED: dict[str, Any] = {
    "color": GREY, "marker": "o", "linestyle": "none", "markerfacecolor": "white", "markeredgewidth": 0.8,
}  # fmt: skip
CHORD: dict[str, Any] = {"color": GREY, "linewidth": 0.6, "linestyle": (0, (4, 3)), "zorder": 1.5}
KNEE: dict[str, Any] = {
    "color": BLACK, "marker": "o", "markersize": 6.8, "linestyle": "none", "markerfacecolor": "none",
    "markeredgewidth": 1.0, "zorder": 5,
}  # fmt: skip
KNEEDLE: dict[str, Any] = {**KNEE, "marker": "s", "markersize": 8.6, "markeredgewidth": 0.8}


def draw_knees(knees: Knees, formats: Sequence[FigureFormat]) -> dict[FigureFormat, bytes]:
    """The files of the figure: 3.45 inches wide, PNG at 200 dpi, PDF with TrueType fonts, the same bytes always."""
    return drawn(lambda: make_figure(knees), formats)


def curve_labels(knees: Knees) -> tuple[str, ...]:
    """What the legend calls the curves: what their names differ in, and their rate in bit/pixel."""
    short = shorten([curve.name for curve in knees.curves])
    return tuple(
        shortened(short[curve.name]) + ("" if curve.rate is None else f", {curve.rate:.3f} bit/pixel")
        for curve in knees.curves
    )


def make_figure(knees: Knees) -> Figure:
    """The figure, laid out, in the style that is set."""
    figure, axis = new_figure(_entries(knees), None)
    for number, curve in enumerate(knees.curves):
        _draw_curve(axis, curve, curve_style(number))
    axis.set_xlabel(axis_text(knees.x))
    axis.set_ylabel(axis_text(knees.y))
    # Room for the names of knees beside the outermost points.
    axis.margins(x=0.09, y=0.09)
    axis.ticklabel_format(useOffset=False)
    figure.draw_without_rendering()
    better = (1 if knees.x.direction == "higher" else -1, 1 if knees.y.direction == "higher" else -1)
    place_names(axis, _names(knees), _lines(knees), better)
    return figure


def curve_style(number: int) -> dict[str, Any]:
    """Colour, marker and dashes of one of several curves."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "marker": MARKERS[number % len(MARKERS)],
        "linestyle": DASHES[number // len(COLOURS) % len(DASHES)],
    }


def _draw_curve(axis: Axes, curve: KneeCurve, style: Mapping[str, Any]) -> None:
    front = [curve.points[place] for place in curve.front]
    axis.plot([point.x for point in front], [point.y for point in front], zorder=3, **style)
    hidden = [point for point in curve.points if point.dominated_by]
    if hidden:
        colours = {**DOMINATED, "color": style["color"], "marker": style["marker"]}
        axis.plot([point.x for point in hidden], [point.y for point in hidden], zorder=3, **colours)
    if not curve.reason:
        axis.plot([front[0].x, front[-1].x], [front[0].y, front[-1].y], **CHORD)
    for place, mark in ((curve.knee, KNEE), (curve.kneedle, KNEEDLE)):
        if place is not None:
            axis.plot([curve.points[place].x], [curve.points[place].y], **mark)


def _names(knees: Knees) -> list[Name]:
    """The decoders at the knees, each once a curve."""
    names = []
    for number, curve in enumerate(knees.curves):
        for place in dict.fromkeys(place for place in (curve.knee, curve.kneedle) if place is not None):
            point = curve.points[place]
            names.append(Name(shortened(point.label), point.x, point.y, curve_style(number)["color"]))
    return names


def _lines(knees: Knees) -> list[tuple[list[float], list[float]]]:
    """What names must not cover: the curves, and each point off them."""
    lines = []
    for curve in knees.curves:
        front = [curve.points[place] for place in curve.front]
        parts = [front, *([point] for point in curve.points if not point.on_front)]
        lines += [([point.x for point in part], [point.y for point in part]) for part in parts]
    return lines


def _entries(knees: Knees) -> list[tuple[Mapping[str, Any], str]]:
    """(style, label) of everything in the figure."""
    entries: list[tuple[Mapping[str, Any], str]] = [
        (curve_style(number), label) for number, label in enumerate(curve_labels(knees))
    ]
    if any(point.dominated_by for curve in knees.curves for point in curve.points):
        entries.append((DOMINATED, "dominated"))
    entries.append((CHORD, "chord of a curve's ends"))
    if any(curve.knee is not None for curve in knees.curves):
        entries.append((KNEE, "knee by the chord"))
    if any(curve.kneedle is not None for curve in knees.curves):
        entries.append((KNEEDLE, "knee by Kneedle"))
    return entries
