"""The figure of an audit: a set-level measure against the rate, curves of single points, mixtures as marks."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rdp.report.audit_curves import sampled
from rdp.report.audit_measures import other_than_of
from rdp.report.averages import Average
from rdp.report.curves import Line, Panel, Spot
from rdp.report.figure import FigureFormat, axis_text, draw_panel
from rdp.report.figure_styles import BUDGET, line_styles, shortened, spot_style
from rdp.report.frontier_figures import drawn, new_figure
from rdp.report.knee_labels import Name, place_names
from rdp.report.names import Curve, curves, parse_name
from rdp.selection.words import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from rdp.report.audit_measures import Measure
    from rdp.report.audit_result import Audit, AuditRow

MOST_LINES = 12
MOST_NAMES = 24
"""Points that have their settings beside them; of more, some of each line."""
_WIDE = 8.0
RANDOM_WORDS = "random mixtures"
SINGLE_WORDS = "best single point"
RATE_WORDS = "rate of a selection"
_LABEL_LETTERS = 36
"""Letters of a line of the upright axis's label."""
_TOGETHER = 0.015
"""Marks nearer than this part of both axes lie on one another."""
_WIDER = 3.0
"""Points of 1/72 inch that a mark is larger than one that may lie on it."""
_LEGEND_MARK = 8.5
_SPREAD_ZORDER, _SINGLE_ZORDER, _SELECTION_ZORDER = 3.0, 4.0, 8.0
"""Selections lie on everything else, which may be at the same place; the random mixtures below the single points."""


def draw_measure(audit: Audit, measure: Measure, formats: Sequence[FigureFormat]) -> dict[FigureFormat, bytes]:
    """The files of the figure of one measure: 3.45 inches wide, PNG at 200 dpi, PDF with TrueType fonts.

    Curves are drawn as they are interpolated, the setting of each point beside its mark, and a dotted line stands at
    the rate of each selection: where it crosses a curve is that curve's value at equal rate. Selections lie on top.
    Random mixtures have a bar of one standard deviation to both sides. Lossless points (of an MSE of 0) are left out.
    """
    return drawn(lambda: make_figure(audit, measure), formats)


def make_figure(audit: Audit, measure: Measure) -> Figure:
    """The figure, laid out, in the style that is set."""
    points = _drawn_points(audit)
    panel = _panel(audit, measure, points)
    figure, axis = new_figure(_entries(audit, panel, points), None)
    _draw_lines(axis, panel)
    draw_panel(axis, replace(panel, lines=(), spots=()), panel.x_log)
    axis.set_xlabel(axis_text(panel.x))
    axis.set_title(_title(audit, measure))
    for spot in panel.spots:
        if spot.kind == "mixture":
            _draw_spread(axis, audit, measure, spot)
        axis.plot([spot.x], [spot.y], **_raised(panel, spot))
    figure.draw_without_rendering()
    # Names stand off the marks as off the lines: a mark counts as a line that stays where it is.
    taken = [(line.xs, line.ys) for line in panel.lines] + [((spot.x,) * 2, (spot.y,) * 2) for spot in panel.spots]
    place_names(axis, _names(measure, panel, points), taken, (-1, -1))
    return figure


def mark_style(kind: str, index: int) -> dict[str, Any]:
    """Style of a mark: a selection's is filled with a white edge and lies on top, others are outlines below it."""
    style = spot_style(kind, index)
    if kind == "selection":
        size = style["markersize"] + (3.0 if style["marker"] == "*" else 2.0)
        return {**style, "markersize": size, "markeredgewidth": 0.9, "zorder": _SELECTION_ZORDER + 0.1 * index}
    # Outlines wide enough to be seen around a selection at the same place.
    size = style["markersize"] + _WIDER
    return {
        **style,
        "markersize": size,
        "zorder": (_SINGLE_ZORDER if kind == "single" else _SPREAD_ZORDER) + 0.1 * index,
    }


def _raised(panel: Panel, spot: Spot) -> dict[str, Any]:
    """The style of a mark; a selection that others lie on is larger, so that it shows around them."""
    style = mark_style(spot.kind, spot.index)
    if spot.kind != "selection":
        return style
    later = [other.index for other in panel.spots if other.kind == "selection" and other.index > spot.index]
    over = sum(_is_together(panel, spot.index, other) for other in later)
    return {**style, "markersize": style["markersize"] + _WIDER * 1.5 * over}


def axis_words(measure: Measure) -> str:
    """What the upright axis shows, over several lines: the distance in words, its name, and what it is not."""
    words = measure.meaning.partition(" between ")[0].partition(" (")[0].removeprefix("unbiased ")
    name = ", ".join(part for part in (measure.title, other_than_of(measure.metric)) if part)
    return textwrap.fill(words[:1].upper() + words[1:], _LABEL_LETTERS) + f"\n{name}"


def _title(audit: Audit, measure: Measure) -> str:
    parts = [counted(audit.facts["images"], "image")]
    if "patches" in measure.facts:
        count = measure.facts["patches"]
        parts.append("1 patch" if count == 1 else f"{count} patches")
    return ", ".join(parts)


def _draw_spread(axis: Axes, audit: Audit, measure: Measure, spot: Spot) -> None:
    """The bar of one standard deviation to both sides of the mean of random mixtures."""
    random = _random_of(audit, audit.selections[spot.index])
    if random is not None:
        style = mark_style("mixture", spot.index)
        axis.errorbar(
            [spot.x], [spot.y], yerr=[random.deviations[measure.key]], fmt="none", ecolor=style["color"],
            elinewidth=0.8, capsize=2, zorder=style["zorder"],
        )  # fmt: skip


def _draw_lines(axis: Axes, panel: Panel) -> None:
    """Points as marks, and between them the curve."""
    for line, style in ((line, line_styles(panel)[line.label]) for line in panel.lines):
        axis.plot(line.xs, line.ys, zorder=2, **{**style, "linestyle": "none"})
        if line.family is not None and len(line.xs) > 1:
            axis.plot(*sampled(line.xs, line.ys), zorder=2, **{**style, "marker": ""})


def _panel(audit: Audit, measure: Measure, points: Mapping[str, AuditRow]) -> Panel:
    lines = _lines(points, measure)
    spots: list[Spot] = []
    for index, row in enumerate(audit.selections):
        spots.append(Spot("selection", index, row.rate, row.values[measure.key]))
        random = _random_of(audit, row)
        if random is not None:
            spots.append(Spot("mixture", index, random.rate, random.values[measure.key]))
        for one in audit.comparisons:
            known = one.single_rate is not None and one.single_value is not None
            if known and (one.selection, one.measure) == (row.name, measure.key):
                spots.append(Spot("single", index, one.single_rate or 0.0, one.single_value or 0.0))
    rates = tuple(dict.fromkeys(row.rate for row in audit.selections if row.kind == "selection"))
    words = Average(measure.key, measure.key, axis_words(measure), measure.unit, measure.meaning, measure.direction)
    return Panel(
        audit.rate.axis,
        words,
        tuple(lines),
        None,
        tuple(spots),
        rates,
        (),
        _is_wide([x for line in lines for x in line.xs] + [spot.x for spot in spots]),
        _is_wide([y for line in lines for y in line.ys] + [spot.y for spot in spots]),
    )


def _drawn_points(audit: Audit) -> dict[str, AuditRow]:
    return {row.name: row for row in audit.rows if row.kind == "point" and not _lossless(row)}


def _curves(points: Mapping[str, AuditRow]) -> tuple[Sequence[Curve], Sequence[Curve]]:
    """The curves that are lines of their own, each along its points' rates, and the rest."""
    every = [
        curve
        if curve.ordered
        else replace(curve, points=tuple(sorted(curve.points, key=lambda name: points[name].rate)))
        for curve in curves(list(points))
    ]
    return (every, ()) if len(every) <= MOST_LINES else (every[: MOST_LINES - 1], every[MOST_LINES - 1 :])


def _lines(points: Mapping[str, AuditRow], measure: Measure) -> list[Line]:
    own, rest = _curves(points)
    found = [_line(curve.label, curve.family, [points[name] for name in curve.points], measure) for curve in own]
    loose = [points[name] for curve in rest for name in curve.points]
    return [*found, *([_line("other points", None, loose, measure)] if loose else [])]


def _line(label: str, family: str | None, rows: Sequence[AuditRow], measure: Measure) -> Line:
    return Line(label, family, tuple(row.rate for row in rows), tuple(row.values[measure.key] for row in rows))


def _settings(curve: Curve) -> tuple[str, list[str]]:
    """The key along which a curve's points differ, and each point's value of it; empty where it is not one key."""
    parsed = [parse_name(name) for name in curve.points]
    if len(parsed) < 2 or not all(one.follows for one in parsed):
        return "", []
    differing = [key for key in parsed[0].keys if len({one.keys.get(key) for one in parsed}) > 1]
    if len(differing) != 1:
        return "", []
    return differing[0], [one.keys.get(differing[0], "") for one in parsed]


def _names(measure: Measure, panel: Panel, points: Mapping[str, AuditRow]) -> list[Name]:
    """The settings of the points, of each line both ends and as many between as there is room for."""
    own, _ = _curves(points)
    styles = line_styles(panel)
    room = max(MOST_NAMES // max(len(own), 1), 2)
    found = []
    for curve in own:
        _, values = _settings(curve)
        for place in _spread(len(values), room):
            row = points[curve.points[place]]
            colour = styles[curve.label]["color"]
            found.append(Name(values[place], row.rate, row.values[measure.key], colour))
    return found


def _spread(count: int, room: int) -> list[int]:
    """At most `room` of `count` places, evenly, both ends among them."""
    if count <= room:
        return list(range(count))
    return sorted({round(k * (count - 1) / (room - 1)) for k in range(room)})


def _lossless(row: AuditRow) -> bool:
    return row.values.get("mse") == 0 or row.values.get("psnr") == math.inf


def _random_of(audit: Audit, row: AuditRow) -> AuditRow | None:
    return next((one for one in audit.rows if one.kind == "random" and one.of == row.name), None)


def _entries(audit: Audit, panel: Panel, points: Mapping[str, AuditRow]) -> list[tuple[Mapping[str, Any], str]]:
    """(style, label) of everything in the figure."""
    styles = line_styles(panel)
    own = _curves(points)[0]
    keys = {curve.label: _settings(curve)[0] for curve in own}
    alone = {curve.label: audit.short.get(curve.points[0], curve.label) for curve in own if len(curve.points) == 1}
    entries: list[tuple[Mapping[str, Any], str]] = []
    for line in panel.lines:
        key = keys.get(line.label, "")
        label = f"{line.label}, by {key}" if key else alone.get(line.label, line.label)
        entries.append((styles[line.label], shortened(label)))
    kinds = {(spot.kind, spot.index) for spot in panel.spots}
    for index, row in enumerate(audit.selections):
        under = next((other for other in range(index) if _is_together(panel, other, index)), None)
        label = row.name if row.name == "selection" else f"{row.kind} {row.name}"
        if under is not None:
            label += f" (on {audit.selections[under].name})"
        entries.append((mark_style("selection", index), shortened(label)))
        for kind, words in (("single", SINGLE_WORDS), ("mixture", RANDOM_WORDS)):
            if (kind, index) in kinds:
                whose = "" if sum(one == kind for one, _ in kinds) == 1 else f" ({row.name})"
                entries.append((_in_legend(mark_style(kind, index)), shortened(words + whose)))
    return [*entries, (BUDGET, RATE_WORDS)]


def _in_legend(style: dict[str, Any]) -> dict[str, Any]:
    """A mark that fits into a line of the legend."""
    return {**style, "markersize": min(style["markersize"], _LEGEND_MARK)}


def _is_together(panel: Panel, first: int, second: int) -> bool:
    """Whether the marks of two selections lie on one another."""
    a, b = (next(s for s in panel.spots if (s.kind, s.index) == ("selection", k)) for k in (first, second))
    xs = [x for line in panel.lines for x in line.xs] + [spot.x for spot in panel.spots]
    ys = [y for line in panel.lines for y in line.ys] + [spot.y for spot in panel.spots]
    return _apart(a.x, b.x, xs, panel.x_log) < _TOGETHER and _apart(a.y, b.y, ys, panel.y_log) < _TOGETHER


def _apart(a: float, b: float, values: Sequence[float], log: bool) -> float:
    """How far two values are apart, as a part of the axis that has all values."""
    if log:
        return _apart(math.log(a), math.log(b), [math.log(value) for value in values], False)
    across = max(values) - min(values)
    return abs(a - b) / across if across else 0.0


def _is_wide(values: Sequence[float]) -> bool:
    return bool(values) and min(values) > 0 and max(values) > _WIDE * min(values)
