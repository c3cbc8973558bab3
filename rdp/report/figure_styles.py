"""Colours, markers and legend entries of a figure: safe for colour-blind readers, each mark told apart by its shape."""

from __future__ import annotations

from typing import Any

from rdp.report.curves import Panel, Plot

LONGEST_LABEL = 40

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D1F")
"""Okabe and Ito's palette, without its yellow, which is too light for a line, and black, which marks selections."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1.2, 1.2)), (0, (4, 1.5, 1, 1.5)))
SELECTION_COLOURS = ("#000000", "#B00020", "#5B2A86", "#5C4033", "#2F4F4F")
SELECTION_MARKERS = ("*", "X", "P", "d", "h")
GREY = "#555555"

STYLE: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 7.5,
    # Names of points and selections are text, whatever signs they have.
    "text.parse_math": False,
    "axes.labelsize": 7.5,
    "axes.titlesize": 7.5,
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

HULL: dict[str, Any] = {"color": "black", "linewidth": 0.7, "linestyle": (0, (5, 3)), "zorder": 3}
BUDGET: dict[str, Any] = {"color": GREY, "linewidth": 0.8, "linestyle": ":"}

_KINDS = (("selection", "selection"), ("single", "best single point"), ("mixture", "mixture"))


def line_styles(panel: Panel) -> dict[str, dict[str, Any]]:
    """Style of each line by its label: colour and marker by family, dashes by line within a family."""
    families = list(dict.fromkeys(line.family for line in panel.lines))
    seen: dict[str, int] = {}
    styles: dict[str, dict[str, Any]] = {}
    for line in panel.lines:
        if line.family is None:
            styles[line.label] = {"color": GREY, "marker": ".", "linestyle": "none"}
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


def spot_style(kind: str, index: int) -> dict[str, Any]:
    """A selection is filled; its baselines are thin outlines of its colour around and above it.

    The outlines of later selections are larger, so that those at one place lie around each other.
    """
    colour = SELECTION_COLOURS[index % len(SELECTION_COLOURS)]
    style: dict[str, Any] = {"linestyle": "none", "color": colour}
    if kind == "selection":
        marker = SELECTION_MARKERS[index % len(SELECTION_MARKERS)]
        size = 7.5 if marker == "*" else 5.5
        return {**style, "marker": marker, "markersize": size, "markeredgecolor": "white", "markeredgewidth": 0.4} | {
            "zorder": 5 + 0.1 * index
        }
    outline = {**style, "markerfacecolor": "none", "markeredgewidth": 0.9, "zorder": 6 + 0.1 * index}
    if kind == "single":
        return {**outline, "marker": "o", "markersize": 8 + 2.5 * index}
    return {**outline, "marker": "D", "markersize": 5.5 + 2 * index}


def legend_entries(plot: Plot) -> list[tuple[dict[str, Any], str]]:
    """(style, label) of everything that is drawn in any panel, each once: lines, selections, what they are held to."""
    entries: dict[str, Any] = {}
    for panel in plot.panels:
        for label, style in line_styles(panel).items():
            entries.setdefault(shortened(label), style)
    drawn = {(spot.kind, spot.index) for panel in plot.panels for spot in panel.spots}
    for index, name in enumerate(plot.names):
        for kind, what in _KINDS:
            if (kind, index) in drawn:
                whose = "" if len(plot.names) == 1 else f" {name}" if kind == "selection" else f" ({name})"
                entries[shortened(what + whose)] = spot_style(kind, index)
    if any(panel.hull is not None for panel in plot.panels):
        entries["mixtures of points"] = HULL
    if any(panel.x_budgets or panel.y_budgets for panel in plot.panels):
        entries["budget"] = BUDGET
    return [(style, label) for label, style in entries.items()]


def shortened(label: str) -> str:
    """A label on one line, of at most `LONGEST_LABEL` characters: the middle is left out, as names differ at the ends.

    A leading underscore, with which matplotlib marks what has no label, gets a space before it.
    """
    text = " ".join(label.split())
    if len(text) > LONGEST_LABEL:
        tail = LONGEST_LABEL // 2
        text = f"{text[: LONGEST_LABEL - tail - 1]}…{text[-tail:]}"
    return f" {text}" if text.startswith("_") else text
