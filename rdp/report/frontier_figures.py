"""Drawing a frontier: its curve among the single points, planes at fixed values, the surface; the same bytes always."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rdp.report.figure import WIDTH_IN, FigureFormat, axis_text, draw_panel, figure_bytes, legend_handle
from rdp.report.figure_styles import GREY, HULL, MARKERS, STYLE, line_styles, shortened
from rdp.report.frontier_plots import CurvePlot, Plane, Surface

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEIGHT_IN = 2.6
LEGEND_ROW_IN = 0.17
BLACK = "#000000"
ON_HULL_WORDS = "optima of the relaxation"
OFF_HULL_WORDS = "frontier, other points"
ENVELOPE_STYLE: dict[str, Any] = {"color": GREY, "linewidth": 0.7, "linestyle": "-", "zorder": 2.5}
ON_HULL: dict[str, Any] = {"color": BLACK, "marker": "o", "markersize": 3.4, "linestyle": "none", "zorder": 5}
OFF_HULL: dict[str, Any] = {**ON_HULL, "markerfacecolor": "white", "markeredgewidth": 0.7}
FRONTIER_LINE: dict[str, Any] = {"color": BLACK, "linewidth": 1.0, "linestyle": "-", "zorder": 4}


def draw_curve(plot: CurvePlot, formats: Sequence[FigureFormat]) -> dict[FigureFormat, bytes]:
    """The frontier's curve, optima of the relaxation filled, others hollow, with the single points of each codec."""
    return drawn(lambda: _curve_figure(plot), formats)


def draw_plane(plane: Plane, formats: Sequence[FigureFormat]) -> dict[FigureFormat, bytes]:
    """One line for each fixed value, from dark to light."""
    return drawn(lambda: _plane_figure(plane), formats)


def draw_surface(surface: Surface, formats: Sequence[FigureFormat]) -> dict[FigureFormat, bytes]:
    """Points and triangles in three dimensions, the third average also as colour."""
    from rdp.report.frontier_surface import surface_figure

    return drawn(lambda: surface_figure(surface), formats)


def drawn(make: Callable[[], Figure], formats: Sequence[FigureFormat]) -> dict[FigureFormat, bytes]:
    """The files of the figure that `make` makes in the style of all figures."""
    import matplotlib

    # A user's own matplotlibrc must not change a report; the settings are back after the block.
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        figure = make()
        return {name: figure_bytes(figure, name) for name in formats}


def _curve_figure(plot: CurvePlot) -> Figure:
    entries = _curve_entries(plot)
    figure, axis = new_figure(entries, None)
    draw_panel(axis, plot.panel, plot.panel.x_log)
    axis.set_xlabel(axis_text(plot.panel.x))
    if plot.held:
        axis.set_title(plot.held)
    if plot.envelope is not None:
        axis.plot(*plot.envelope, **ENVELOPE_STYLE)
    axis.plot(plot.xs, plot.ys, **FRONTIER_LINE)
    for style, wanted in ((OFF_HULL, False), (ON_HULL, True)):
        shown = [k for k, on in enumerate(plot.hull) if on is wanted]
        if shown:
            axis.plot([plot.xs[k] for k in shown], [plot.ys[k] for k in shown], **style)
    return figure


def _curve_entries(plot: CurvePlot) -> list[tuple[Mapping[str, Any], str]]:
    """(style, label) of everything in the curve's figure."""
    entries: list[tuple[Mapping[str, Any], str]] = []
    if any(plot.hull):
        entries.append(({**FRONTIER_LINE, **ON_HULL, "linestyle": "-"}, ON_HULL_WORDS))
    if not all(plot.hull):
        entries.append(({**FRONTIER_LINE, **OFF_HULL, "linestyle": "-"}, OFF_HULL_WORDS))
    styles = line_styles(plot.panel)
    entries += [(styles[line.label], shortened(line.label)) for line in plot.panel.lines]
    if plot.envelope is not None:
        entries.append((ENVELOPE_STYLE, "best single point"))
    if plot.panel.hull is not None:
        entries.append((HULL, "mixtures of points"))
    return entries


def _plane_figure(plane: Plane) -> Figure:
    entries = [(plane_style(k, len(plane.lines)), line.label) for k, line in enumerate(plane.lines)]
    figure, axis = new_figure(entries, plane.fixed)
    for k, line in enumerate(plane.lines):
        axis.plot(line.xs, line.ys, **plane_style(k, len(plane.lines)))
    axis.set_xlabel(axis_text(plane.x))
    axis.set_ylabel(axis_text(plane.y))
    axis.margins(x=0.06, y=0.08)
    return figure


def plane_style(index: int, count: int) -> dict[str, Any]:
    """Colour and marker of one of several ordered lines."""
    from matplotlib import colormaps

    # The lightest sixth of the map does not show on white.
    colour = colormaps["viridis"](0.84 * index / max(count - 1, 1))
    return {"color": colour, "marker": MARKERS[index % len(MARKERS)], "markersize": 3.2, "linestyle": "-"}


def new_figure(entries: Sequence[tuple[Mapping[str, Any], str]], title: str | None) -> tuple[Figure, Any]:
    """A figure of one panel with a legend below."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    longest = max((len(label) for _, label in entries), default=0)
    # A letter is about 0.05 in wide, and line sample and gaps take 0.32 in.
    columns = min(max(int(WIDTH_IN / (0.05 * longest + 0.32)), 1), 6)
    rows = -(-len(entries) // columns) + (1 if title else 0)
    figure = Figure(figsize=(WIDTH_IN, round(HEIGHT_IN + rows * LEGEND_ROW_IN, 2)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.legend(
        [legend_handle(dict(style)) for style, _ in entries],
        [label for _, label in entries],
        title=title,
        title_fontsize=STYLE["legend.fontsize"],
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        handlelength=1.9,
        columnspacing=1.2,
        labelspacing=0.35,
        borderaxespad=0.1,
    )
    return figure, figure.subplots()


__all__ = ["draw_curve", "draw_plane", "draw_surface", "drawn", "new_figure", "plane_style"]
