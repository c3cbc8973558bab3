"""Drawing a plot: for a column of a paper, safe for colour-blind readers, and the same bytes every time."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rdp.report.averages import Average
from rdp.report.curves import Panel, Plot, Spot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FigureFormat = Literal["png", "pdf"]

WIDTH_IN = 3.45
"""Column width of a two-column paper."""
PANEL_HEIGHT_IN = 2.15
LEGEND_ROW_IN = 0.17
DPI = 200
LONGEST_LABEL = 40

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D1F")
"""Okabe and Ito's palette, without its yellow, which is too light for a line, and black, which marks selections."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1.2, 1.2)), (0, (4, 1.5, 1, 1.5)))
SELECTION_MARKERS = ("*", "X", "P", "d", "h")
_GREY = "#555555"

_STYLE: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 7.5,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 6.8,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.6,
    # TrueType, which publishers ask for, and which stays text.
    "pdf.fonttype": 42,
    "svg.hashsalt": "rdp",
}


def draw(plot: Plot, formats: Sequence[FigureFormat]) -> dict[FigureFormat, bytes]:
    """The files of a figure, each of `size_in(plot)`: PNG at 200 dpi, PDF with embedded TrueType fonts, no dates."""
    import matplotlib

    # A user's own matplotlibrc must not change a report; the settings are back after the block.
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        figure = _figure(plot)
        return {name: _bytes_of(figure, name) for name in formats}


def size_in(plot: Plot) -> tuple[float, float]:
    """Width and height of the figure in inches."""
    rows = -(-len(_legend_entries(plot)) // _legend_columns(plot))
    return WIDTH_IN, round(len(plot.panels) * PANEL_HEIGHT_IN + 0.15 + rows * LEGEND_ROW_IN, 2)


def _bytes_of(figure: Figure, name: FigureFormat) -> bytes:
    stream = io.BytesIO()
    nothing = {"CreationDate": None, "Creator": None, "Producer": None} if name == "pdf" else {"Software": None}
    figure.savefig(stream, format=name, dpi=DPI, metadata=nothing)
    return stream.getvalue()


def _figure(plot: Plot) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size_in(plot), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(plot.panels), 1, sharex=True, squeeze=False)[:, 0]
    x_log = any(panel.x_log for panel in plot.panels)
    for axis, panel in zip(axes, plot.panels, strict=True):
        _draw_panel(axis, panel, x_log)
    axes[-1].set_xlabel(_axis_text(plot.panels[0].x))
    entries = _legend_entries(plot)
    figure.legend(
        [_handle(key) for key, _ in entries],
        [label for _, label in entries],
        loc="outside lower center",
        ncols=_legend_columns(plot),
        frameon=False,
        handlelength=1.9,
        columnspacing=1.2,
        labelspacing=0.35,
        borderaxespad=0.1,
    )
    return figure


def _draw_panel(axis: Axes, panel: Panel, x_log: bool) -> None:
    for budget in panel.x_budgets:
        axis.axvline(budget, color=_GREY, linewidth=0.8, linestyle=":", zorder=1)
    for budget in panel.y_budgets:
        axis.axhline(budget, color=_GREY, linewidth=0.8, linestyle=":", zorder=1)
    styles = _styles(panel)
    for line in panel.lines:
        axis.plot(line.xs, line.ys, zorder=2, **styles[line.label])
    if panel.hull is not None:
        xs, ys = _sampled(*panel.hull)
        axis.plot(xs, ys, **_HULL)
    for kind in ("single", "mixture", "selection"):
        for spot in panel.spots:
            if spot.kind == kind:
                axis.plot([spot.x], [spot.y], **_spot_style(spot.kind, spot.index))
    axis.set_ylabel(_axis_text(panel.y))
    if x_log:
        _log_axis(axis, "x")
    if panel.y_log:
        _log_axis(axis, "y")
    axis.margins(x=0.06, y=0.08)


_HULL: dict[str, Any] = {"color": "black", "linewidth": 0.7, "linestyle": (0, (5, 3)), "zorder": 3}


def _styles(panel: Panel) -> dict[str, dict[str, Any]]:
    """Colour and marker by family; dashes by line within a family."""
    families = list(dict.fromkeys(line.family for line in panel.lines))
    seen: dict[str, int] = {}
    styles: dict[str, dict[str, Any]] = {}
    for line in panel.lines:
        if line.family is None:
            styles[line.label] = {"color": _GREY, "marker": ".", "linestyle": "none"}
            continue
        number, variant = families.index(line.family), seen.get(line.family, 0)
        seen[line.family] = variant + 1
        # Beyond the palette, families go on with the next dashes; variants show in the marker's face too.
        dash = DASHES[(variant + number // len(COLOURS)) % len(DASHES)]
        colour = COLOURS[number % len(COLOURS)]
        styles[line.label] = {
            "color": colour,
            "marker": MARKERS[(number + variant) % len(MARKERS)],
            "linestyle": dash if len(line.xs) > 1 else "none",
            "markerfacecolor": colour if variant % 2 == 0 else "white",
            "markeredgewidth": 0.8,
        }
    return styles


def _spot_style(kind: str, index: int) -> dict[str, Any]:
    common: dict[str, Any] = {"linestyle": "none", "color": "black"}
    if kind == "single":
        return {
            **common,
            "marker": "o",
            "markersize": 9.5,
            "markerfacecolor": "none",
            "markeredgewidth": 1,
            "zorder": 5,
        }
    if kind == "mixture":
        return {
            **common,
            "marker": "D",
            "markersize": 6.5,
            "markerfacecolor": "none",
            "markeredgewidth": 0.9,
            "zorder": 5,
        }
    marker = SELECTION_MARKERS[index % len(SELECTION_MARKERS)]
    size = 9 if marker == "*" else 6.5
    return {
        **common,
        "marker": marker,
        "markersize": size,
        "markeredgecolor": "white",
        "markeredgewidth": 0.6,
        "zorder": 6,
    }


def _legend_entries(plot: Plot) -> list[tuple[Any, str]]:
    """(style, label) of everything that is drawn in any panel, each once: lines, selections, what they are held to."""
    entries: dict[str, Any] = {}
    for panel in plot.panels:
        for label, style in _styles(panel).items():
            entries.setdefault(label, style)
    kinds = {(spot.kind, spot.index) for panel in plot.panels for spot in panel.spots}
    for index, name in enumerate(plot.names):
        if ("selection", index) in kinds:
            label = "selection" if len(plot.names) == 1 else f"selection {name}"
            entries[label] = _spot_style("selection", index)
    for kind, label in (("single", "best single point"), ("mixture", "mixture, same averages")):
        if any(found == kind for found, _ in kinds):
            entries[label] = _spot_style(kind, 0)
    if any(panel.hull is not None for panel in plot.panels):
        entries["mixtures of points"] = _HULL
    if any(panel.x_budgets or panel.y_budgets for panel in plot.panels):
        entries["budget"] = {"color": _GREY, "linewidth": 0.8, "linestyle": ":"}
    return [(style, textwrap.shorten(label, LONGEST_LABEL, placeholder="…")) for label, style in entries.items()]


def _legend_columns(plot: Plot) -> int:
    longest = max((len(label) for _, label in _legend_entries(plot)), default=0)
    return 3 if longest <= 12 else 2 if longest <= 28 else 1


def _handle(style: dict[str, Any]) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], **style)


def _sampled(xs: Sequence[float], ys: Sequence[float], count: int = 40) -> tuple[Any, Any]:
    """The hull with points between its corners: straight in numbers, it is bent on a logarithmic scale."""
    steps = np.arange((len(xs) - 1) * count + 1) / count
    corners = np.arange(len(xs))
    return np.interp(steps, corners, xs), np.interp(steps, corners, ys)


def _log_axis(axis: Axes, which: Literal["x", "y"]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    (axis.set_xscale if which == "x" else axis.set_yscale)("log")
    scale = axis.xaxis if which == "x" else axis.yaxis
    scale.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
    scale.set_minor_locator(NullLocator())
    scale.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    scale.set_minor_formatter(NullFormatter())


def _axis_text(average: Average) -> str:
    """Name, unit, and an arrow to the better side (an upright label is turned with its arrow)."""
    arrow = {"lower": "  ← better", "higher": "  better →", None: ""}[average.direction]
    return average.heading + arrow


__all__ = ["DPI", "WIDTH_IN", "FigureFormat", "Spot", "draw", "size_in"]
