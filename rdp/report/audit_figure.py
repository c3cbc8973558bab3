"""The figure of an audit: a set-level measure against the rate, curves of single points, mixtures as marks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rdp.report.audit_curves import sampled
from rdp.report.curves import Line, Panel, Spot
from rdp.report.figure import FigureFormat, axis_text, draw_panel
from rdp.report.figure_styles import BUDGET, line_styles, shortened, spot_style
from rdp.report.frontier_figures import drawn, new_figure
from rdp.report.names import curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from rdp.report.audit_measures import Measure
    from rdp.report.audit_result import Audit, AuditRow

MOST_LINES = 12
_WIDE = 8.0
RANDOM_WORDS = "random, equal rate"
SINGLE_WORDS = "best single point"
RATE_WORDS = "equal rate"


def draw_measure(audit: Audit, measure: Measure, formats: Sequence[FigureFormat]) -> dict[FigureFormat, bytes]:
    """The files of the figure of one measure: 3.45 inches wide, PNG at 200 dpi, PDF with TrueType fonts.

    Curves are drawn as they are interpolated, and a dotted line stands at the rate of each selection: where it crosses
    a curve is that curve's value at equal rate.
    Random mixtures have a bar of one standard deviation to both sides. Lossless points (of an MSE of 0) are left out.
    """
    return drawn(lambda: make_figure(audit, measure), formats)


def make_figure(audit: Audit, measure: Measure) -> Figure:
    """The figure, laid out, in the style that is set."""
    panel = _panel(audit, measure)
    figure, axis = new_figure(_entries(audit, panel), None)
    _draw_lines(axis, panel)
    draw_panel(axis, replace(panel, lines=()), panel.x_log)
    axis.set_xlabel(axis_text(panel.x))
    for index, selection in enumerate(audit.selections):
        random = _random_of(audit, selection)
        if random is not None:
            style = spot_style("mixture", index)
            axis.errorbar(
                [random.rate], [random.values[measure.key]], yerr=[random.deviations[measure.key]], fmt="none",
                ecolor=style["color"], elinewidth=0.8, capsize=2, zorder=style["zorder"],
            )  # fmt: skip
    return figure


def _draw_lines(axis: Axes, panel: Panel) -> None:
    """Points as marks, and between them the curve."""
    for line, style in ((line, line_styles(panel)[line.label]) for line in panel.lines):
        axis.plot(line.xs, line.ys, zorder=2, **{**style, "linestyle": "none"})
        if line.family is not None and len(line.xs) > 1:
            axis.plot(*sampled(line.xs, line.ys), zorder=2, **{**style, "marker": ""})


def _panel(audit: Audit, measure: Measure) -> Panel:
    lines = _lines(audit, measure)
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
    return Panel(
        audit.rate.axis,
        measure.axis,
        tuple(lines),
        None,
        tuple(spots),
        rates,
        (),
        _is_wide([x for line in lines for x in line.xs] + [spot.x for spot in spots]),
        _is_wide([y for line in lines for y in line.ys] + [spot.y for spot in spots]),
    )


def _lines(audit: Audit, measure: Measure) -> list[Line]:
    points = {row.name: row for row in audit.rows if row.kind == "point" and not _lossless(row)}
    every = curves(list(points))
    own, rest = (every, ()) if len(every) <= MOST_LINES else (every[: MOST_LINES - 1], every[MOST_LINES - 1 :])
    found = []
    for curve in own:
        rows = [points[name] for name in curve.points]
        rows = rows if curve.ordered else sorted(rows, key=lambda row: row.rate)
        found.append(_line(curve.label, curve.family, rows, measure))
    loose = [points[name] for curve in rest for name in curve.points]
    return [*found, *([_line("other points", None, loose, measure)] if loose else [])]


def _line(label: str, family: str | None, rows: Sequence[AuditRow], measure: Measure) -> Line:
    return Line(label, family, tuple(row.rate for row in rows), tuple(row.values[measure.key] for row in rows))


def _lossless(row: AuditRow) -> bool:
    return row.values.get("mse") == 0 or row.values.get("psnr") == math.inf


def _random_of(audit: Audit, row: AuditRow) -> AuditRow | None:
    return next((one for one in audit.rows if one.kind == "random" and one.of == row.name), None)


def _entries(audit: Audit, panel: Panel) -> list[tuple[Mapping[str, Any], str]]:
    """(style, label) of everything in the figure."""
    styles = line_styles(panel)
    entries: list[tuple[Mapping[str, Any], str]] = [(styles[line.label], shortened(line.label)) for line in panel.lines]
    kinds = {(spot.kind, spot.index) for spot in panel.spots}
    alone = len(audit.selections) == 1
    for index, row in enumerate(audit.selections):
        entries.append((spot_style("selection", index), "selection" if alone else shortened(row.name)))
        for kind, words in (("single", SINGLE_WORDS), ("mixture", RANDOM_WORDS)):
            if (kind, index) in kinds:
                whose = "" if sum(one == kind for one, _ in kinds) == 1 else f" ({row.name})"
                entries.append((spot_style(kind, index), shortened(words + whose)))
    return [*entries, (BUDGET, RATE_WORDS)]


def _is_wide(values: Sequence[float]) -> bool:
    return bool(values) and min(values) > 0 and max(values) > _WIDE * min(values)
