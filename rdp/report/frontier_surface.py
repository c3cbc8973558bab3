"""The surface of a frontier of two sweeps in three dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rdp.report.averages import Average
from rdp.report.figure_styles import GREY
from rdp.report.frontier_plots import Surface

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE_IN = (4.0, 3.3)
_VIEW = {"elev": 24.0, "azim": 42.0}
"""From where rate and distortion both rise away from the reader."""
_MANY = 120
"""More points than this are drawn smaller."""


def surface_figure(surface: Surface) -> Figure:
    """Points, optima of the relaxation filled, others hollow, and the triangles of the sweep's grid, coloured by the
    third axis."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=SIZE_IN)
    FigureCanvasAgg(figure)
    axis: Any = figure.add_axes((0.09, 0.13, 0.88, 0.9), projection="3d", computed_zorder=False)
    corners = np.array([surface.xs, surface.ys, surface.zs]).T
    if surface.triangles:
        _add_triangles(axis, corners, surface)
    on = np.array(surface.hull)
    for shown, face, label in ((on, "black", "optima of the relaxation"), (~on, "white", "other points")):
        if shown.any():
            axis.scatter(
                *corners[shown].T,
                s=9 if len(on) <= _MANY else 4,
                facecolors=face,
                edgecolors="black",
                linewidths=0.5,
                depthshade=False,
                label=label,
                zorder=3,
            )
    for name, average in zip("xyz", surface.axes, strict=True):
        getattr(axis, f"set_{name}label")(_axis_words(average), labelpad=2)
        getattr(axis, f"set_{name}lim")(*_limits(getattr(surface, f"{name}s")))
        getattr(axis, f"{name}axis").pane.set_facecolor("white")
        getattr(axis, f"{name}axis").set_major_locator(MaxNLocator(5))
    axis.tick_params(pad=-2, labelsize=6.5, color=GREY)
    axis.view_init(**_VIEW)
    axis.set_box_aspect((1.15, 1.15, 0.85), zoom=0.94)
    figure.legend(*axis.get_legend_handles_labels(), loc="lower center", ncols=2, frameon=False)
    return figure


def _axis_words(average: Average) -> str:
    """Name, unit, and which way is better; an arrow would point anywhere, as the axes are askew."""
    words = {"lower": "\n(lower is better)", "higher": "\n(higher is better)", None: ""}[average.direction]
    return average.heading + words


def _add_triangles(axis: Any, corners: Any, surface: Surface) -> None:
    from matplotlib import colormaps
    from mpl_toolkits.mplot3d.art3d import Poly3DCollection

    faces = corners[np.array(surface.triangles)]
    height = faces[:, :, 2].mean(axis=1)
    low, high = float(height.min()), float(height.max())
    shade = (height - low) / (high - low) if high > low else np.zeros(len(height))
    colours = colormaps["viridis_r"](0.1 + 0.8 * shade)
    axis.add_collection3d(
        Poly3DCollection(faces, facecolors=colours, edgecolors=GREY, linewidths=0.3, alpha=0.75, zorder=2)
    )


def _limits(values: tuple[float, ...]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = 0.05 * (high - low) or max(abs(low), 1.0) * 0.05
    return low - room, high + room
