"""An audit in words: its rows as a table, each selection beside its alternatives, what the numbers are of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rdp.report.audit_mixtures import EQUAL
from rdp.report.markdown import escape, markdown_table
from rdp.report.text import MISSING, Cell, Code, Number, Row, TextTable, decimals_for, fixed, percent
from rdp.selection.words import counted

if TYPE_CHECKING:
    from rdp.report.audit_measures import Measure
    from rdp.report.audit_result import Audit, AuditRow, Comparison

GROUPS = (("point",), ("selection", "against"), ("curve",), ("random",))
KINDS = {
    "point": "single point",
    "selection": "selection",
    "against": "against",
    "curve": "curve at equal rate",
    "random": "random mixtures",
}
_SHOWN_PART = 5e-4
"""A rate that is less by a smaller part is 0.0 % less."""
SMALL = 1e-3
"""Values of which the median is below this are written with an exponent: a kernel distance may be one."""
INTERPOLATED = (
    "A curve at equal rate is no set that exists: each measure's values at the points of the line are interpolated "
    "over the logarithm of the rate (PCHIP), nothing is extrapolated."
)
RANDOM = (
    "Random mixtures have the points of the selection, dealt to the images at random and moved until the rate is "
    "within 0.5 % of the selection's or no nearer one is found; rate and values are means over draws, ± standard "
    "deviation."
)


def audit_text(audit: Audit, figures: Mapping[str, str]) -> str:
    """The whole text as Markdown; `figures` maps captions to file names."""
    facts = audit.facts
    parts = [
        f"# Sets of {escape(audit.source)}",
        f"{counted(facts['images'], 'image')}, {counted(facts['points'], 'operating point')}. The rate is "
        f"{escape(audit.rate.meaning)}. Of set-level distances less is better.",
        *_files(audit),
        markdown_table(rows_table(audit)).rstrip("\n"),
        "## Beside their alternatives",
    ]
    parts += [markdown_table(comparison_table(audit, row.name)).rstrip("\n") for row in _own(audit)]
    if audit.intervals:
        parts += ["## Intervals", markdown_table(intervals_table(audit)).rstrip("\n")]
    parts += ["## What the distances are of", markdown_table(facts_table(audit)).rstrip("\n")]
    if figures:
        parts.append("## Figures")
        parts += [f"![{escape(caption)}]({name})\n\n{escape(caption)}." for caption, name in figures.items()]
    said = [*audit.warnings, *audit.notes]
    if said:
        parts += ["## Notes", "\n".join(f"- {escape(note)}." for note in said)]
    return "\n\n".join(parts) + "\n"


def _files(audit: Audit) -> list[str]:
    """A line that says which file each selection is."""
    named = {name: file for name, file in audit.facts.get("selections", {}).items() if file}
    if not named:
        return []
    return ["Selections: " + "; ".join(f"{escape(name)} is {escape(file)}" for name, file in named.items()) + "."]


def _own(audit: Audit) -> list[AuditRow]:
    return [row for row in audit.rows if row.kind == "selection"]


def rows_table(audit: Audit) -> TextTable:
    """Every row with every measure."""
    measures = [audit.rate, *audit.measures]
    shown = {measure.key: style_of(measure, audit.rows) for measure in audit.measures}
    rate = decimals_for([row.rate for row in audit.rows], audit.rate.unit)
    header = ("", "Kind", "Points", *(measure.heading for measure in measures))
    groups: list[tuple[Row, ...]] = []
    for kinds in GROUPS:
        rows = [row for row in audit.rows if row.kind in kinds]
        groups.append(tuple(_row(audit, row, rate, shown) for row in rows))
    kinds_there = {row.kind for row in audit.rows}
    notes = [text for kind, text in (("curve", INTERPOLATED), ("random", RANDOM)) if kind in kinds_there]
    return TextTable(
        "", "ll" + "r" * (len(header) - 2), header, tuple(group for group in groups if group),
        tuple((note,) for note in notes),
    )  # fmt: skip


def _row(audit: Audit, row: AuditRow, rate: int, shown: Mapping[str, int | None]) -> Row:
    name: Cell = Code(audit.short.get(row.name, row.name)) if row.kind == "point" else row.name
    cells: list[Cell] = [name, KINDS[row.kind], Number(str(row.points)), fixed(row.rate, rate)]
    for key, places in shown.items():
        value, spread = row.values.get(key, math.nan), row.deviations.get(key)
        text = value_text(value, places)
        if spread is not None and math.isfinite(spread):
            text += f" ± {value_text(spread, places)}"
        cells.append(Number(text))
    return tuple(cells)


def style_of(measure: Measure, rows: Sequence[AuditRow]) -> int | None:
    """Decimals of a measure, or None where its values need an exponent."""
    values = [value for row in rows if math.isfinite(value := row.values.get(measure.key, math.nan))]
    sizes = sorted(abs(value) for value in values if value != 0)
    if sizes and sizes[len(sizes) // 2] < SMALL:
        return None
    return decimals_for(values, measure.unit)


def value_text(value: float | None, places: int | None) -> str:
    """A value with so many decimals, or with four digits and an exponent."""
    if value is None or math.isnan(value):
        return MISSING
    return f"{value:.3e}" if places is None and math.isfinite(value) else fixed(value, places or 0).text


def comparison_table(audit: Audit, selection: str) -> TextTable:
    """A row a measure: the selection, and its alternatives."""
    drawn = next((one.random_rate for one in audit.comparisons if one.selection == selection), None)
    random = "Random mixtures" if drawn is None else f"Random mixtures, at {drawn:.4g}"
    header = ("Measure", selection, "Best single at or below", "", "Best curve at equal rate", "", random)
    rows = [_compared(audit, one) for one in audit.comparisons if one.selection == selection]
    row = audit.row(selection, "selection")
    caption = f"{selection}: {row.rate:.6g} {audit.rate.unit}, {counted(row.points, 'point')}."
    if drawn is not None and abs(drawn / row.rate - 1) > EQUAL:
        caption += (
            f" Its random mixtures have {percent(abs(drawn / row.rate - 1), sign=False)} "
            f"{'more' if drawn > row.rate else 'less'} rate on average: they are not at equal rate."
        )
    return TextTable(caption, "lrlrlrr", header, (tuple(rows),))


def _compared(audit: Audit, one: Comparison) -> Row:
    measure = next(measure for measure in audit.measures if measure.key == one.measure)
    places = style_of(measure, audit.rows)
    single: Cell = MISSING
    if one.single is not None:
        single = (
            Code(audit.short.get(one.single, one.single)),
            f" at {one.single_rate:.4g}{_part_of(audit, one)}",
        )
    random = value_text(one.random, places)
    if one.random_deviation is not None and math.isfinite(one.random_deviation):
        random += f" ± {value_text(one.random_deviation, places)}"
    return (
        measure.heading, Number(value_text(one.value, places)), single, Number(value_text(one.single_value, places)),
        one.curve or MISSING, Number(value_text(one.curve_value, places)), Number(random),
    )  # fmt: skip


def _part_of(audit: Audit, one: Comparison) -> str:
    """` (−3.4 %)`: how much less rate the best single point has than the selection."""
    own = audit.row(one.selection, "selection").rate
    part = (one.single_rate or own) / own - 1
    return f" ({percent(part)})" if abs(part) >= _SHOWN_PART else ""


def intervals_table(audit: Audit) -> TextTable:
    """A row an interval."""
    found = audit.intervals
    rows: list[Row] = []
    for one in found:
        measure = next(measure for measure in audit.measures if measure.key == one.measure)
        places = style_of(measure, audit.rows)
        of = f"{audit.short.get(one.row, one.row)} less {one.less}" if one.less else audit.short.get(one.row, one.row)
        ends = [Number(value_text(end, places)) for end in (one.interval.value, one.interval.low, one.interval.high)]
        rows.append((measure.heading, of, *ends, "yes" if one.less and one.interval.excludes_zero else ""))
    level = found[0].interval
    note = (
        f"{level.resamples} resamples of the images, seed {level.seed}, percentiles of {100 * level.confidence:g} %; "
        "both sets are drawn alike. A resample repeats images, so a set-level distance lies above its value on "
        "average: differences are what tells mixtures apart."
    )
    header = ("Measure", "Of", "Value", "Low", "High", "Excludes 0")
    return TextTable("", "llrrrl", header, (tuple(rows),), ((note,),))


def facts_table(audit: Audit) -> TextTable:
    """A row a set-level measure: patches, dimensions, subsets, seed, features."""
    rows: list[Row] = []
    for measure in (one for one in audit.measures if one.of_set):
        facts = measure.facts
        features: Mapping[str, Any] = facts.get("features", {})
        subsets = f"{facts['subsets']} of {facts['subset_size']}" if facts.get("subsets") else MISSING
        rows.append(
            (
                measure.title, measure.meaning, Number(str(facts.get("patches", MISSING))),
                Number(str(facts.get("dimensions", MISSING))), Number(subsets), Code(features.get("fingerprint", "-")),
            )
        )  # fmt: skip
    header = ("Measure", "What it is", "Patches", "Dimensions", "Subsets", "Features")
    return TextTable("", "llrrrl", header, (tuple(rows),))
