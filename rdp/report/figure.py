"""Drawing a plot: for a column of a paper, or for a line with details, and the same bytes every time."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rdp.report.averages import Average
from rdp.report.curves import Panel, Plot
from rdp.report.figure_styles import BUDGET, GREY, HULL, STYLE, legend_entries, line_styles, spot_style
from rdp.report.zoom import Window, detail_windows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FigureFormat = Literal["png", "pdf"]

WIDTH_IN = 3.45
"""Column width of a two-column paper."""
WIDTH_WITH_DETAILS_IN = 4.55
"""Width with details beside the panels: an indented line of LaTeX's article; two columns of a paper have more."""
PANEL_HEIGHT_IN = 2.15
PANEL_HEIGHT_WITH_DETAILS_IN = 1.9
"""Lower, as the panels are narrower, and three of them stay on a page with their legend."""
LEGEND_ROW_IN = 0.17
DPI = 200


def draw(plot: Plot, formats: Sequence[FigureFormat]) -> dict[FigureFormat, bytes]:
    """The files of a figure, each of `size_in(plot)`: PNG at 200 dpi, PDF with embedded TrueType fonts, no dates."""
    import matplotlib

    # A user's own matplotlibrc must not change a report; the settings are back after the block.
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        figure = _figure(plot)
        return {name: figure_bytes(figure, name) for name in formats}


def size_in(plot: Plot) -> tuple[float, float]:
    """Width and height of the figure in inches."""
    rows = -(-len(legend_entries(plot)) // _legend_columns(plot))
    height = PANEL_HEIGHT_WITH_DETAILS_IN if detail_windows(plot.panels) else PANEL_HEIGHT_IN
    return _width(plot), round(len(plot.panels) * height + 0.15 + rows * LEGEND_ROW_IN, 2)


def _width(plot: Plot) -> float:
    return WIDTH_WITH_DETAILS_IN if detail_windows(plot.panels) else WIDTH_IN


def figure_bytes(figure: Figure, name: FigureFormat) -> bytes:
    stream = io.BytesIO()
    nothing = {"CreationDate": None, "Creator": None, "Producer": None} if name == "pdf" else {"Software": None}
    figure.savefig(stream, format=name, dpi=DPI, metadata=nothing)
    return stream.getvalue()


def _figure(plot: Plot) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size_in(plot), layout="constrained")
    FigureCanvasAgg(figure)
    windows = detail_windows(plot.panels)
    grid = figure.subplots(len(plot.panels), 2 if windows else 1, sharex="col", squeeze=False)
    x_log = any(panel.x_log for panel in plot.panels)
    for axis, panel in zip(grid[:, 0], plot.panels, strict=True):
        draw_panel(axis, panel, x_log)
    if windows:
        for row, panel, window in zip(grid, plot.panels, windows, strict=True):
            _draw_detail(row[1], panel, window)
            _frame(row[0], window)
        grid[0, 1].set_title("Detail: where marks lie close")
    for axis in grid[-1]:
        axis.set_xlabel(axis_text(plot.panels[0].x))
    entries = legend_entries(plot)
    figure.legend(
        [legend_handle(key) for key, _ in entries],
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


def draw_panel(axis: Axes, panel: Panel, x_log: bool) -> None:
    _draw_marks(axis, panel)
    axis.set_ylabel(axis_text(panel.y))
    if x_log:
        _log_axis(axis, "x")
    if panel.y_log:
        _log_axis(axis, "y")
    axis.margins(x=0.06, y=0.08)


def _draw_detail(axis: Axes, panel: Panel, window: Window) -> None:
    """The part of a panel within a window, with linear axes."""
    from matplotlib.ticker import MaxNLocator

    _draw_marks(axis, panel)
    axis.set_xlim(*window.x)
    axis.set_ylim(*window.y)
    axis.xaxis.set_major_locator(MaxNLocator(4))
    axis.yaxis.set_major_locator(MaxNLocator(4))
    # An offset above the axis would have to be added up by the reader.
    axis.ticklabel_format(useOffset=False)


def _draw_marks(axis: Axes, panel: Panel) -> None:
    for budget in panel.x_budgets:
        axis.axvline(budget, zorder=1, **BUDGET)
    for budget in panel.y_budgets:
        axis.axhline(budget, zorder=1, **BUDGET)
    styles = line_styles(panel)
    for line in panel.lines:
        axis.plot(line.xs, line.ys, zorder=2, **styles[line.label])
    if panel.hull is not None:
        xs, ys = _sampled(*panel.hull)
        axis.plot(xs, ys, **HULL)
    for spot in panel.spots:
        axis.plot([spot.x], [spot.y], **spot_style(spot.kind, spot.index))


def _frame(axis: Axes, window: Window) -> None:
    """A thin rectangle around what the detail shows."""
    (left, right), (low, high) = window.x, window.y
    axis.plot(
        [left, right, right, left, left],
        [low, low, high, high, low],
        color=GREY,
        linewidth=0.6,
        zorder=4,
        scalex=False,
        scaley=False,
    )


def _legend_columns(plot: Plot) -> int:
    longest = max((len(label) for _, label in legend_entries(plot)), default=0)
    # A letter is about 0.05 in wide, and line sample and gaps take 0.32 in.
    return min(max(int(_width(plot) / (0.05 * longest + 0.32)), 1), 6)


def legend_handle(style: dict[str, Any]) -> Any:
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


def axis_text(average: Average) -> str:
    """Name, unit, and an arrow to the better side (an upright label is turned with its arrow)."""
    arrow = {"lower": "  ← better", "higher": "  better →", None: ""}[average.direction]
    return average.heading + arrow


__all__ = ["DPI", "WIDTH_IN", "WIDTH_WITH_DETAILS_IN", "FigureFormat", "draw", "size_in"]
