"""A frontier as Markdown: what was asked, its points, what it gains over single codecs, and the figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rdp.report.averages import Average
from rdp.report.frontier_curves import axis_of
from rdp.report.frontier_gain import Against, FrontierGain
from rdp.report.markdown import code, escape, markdown_table
from rdp.report.text import Cell, Number, Row, TextTable, decimals_for, fixed, general
from rdp.selection.decoder_cost import DecoderCost
from rdp.selection.frontiers.point import FrontierPoint, budget_names, distinct, swept_places
from rdp.selection.frontiers.problem import attainable
from rdp.selection.frontiers.verb import Frontier
from rdp.selection.words import counted

BUILT_ON_POINTS = (
    "A codec's curve is interpolated between its points, as if it had settings in between; the frontier uses the "
    "points that there are."
)


def frontier_text(
    frontier: Frontier, gain: FrontierGain, figures: Mapping[str, str], notes: Sequence[str], title: str | None
) -> str:
    """The whole text; `figures` maps captions to file names."""
    parts = [f"# {escape(title or frontier_title(frontier))}", "\n\n".join(_sentences(frontier))]
    parts.append(markdown_table(points_table(frontier)).rstrip("\n"))
    parts.append("## Against single codecs")
    parts.append(f"{escape(gain.sentence()[:1].upper() + gain.sentence()[1:])}.")
    if gain.curves:
        parts.append(markdown_table(gain_table(gain)).rstrip("\n"))
    if figures:
        parts.append("## Figures")
        parts += [f"![{escape(caption)}]({name})\n\n{escape(caption)}." for caption, name in figures.items()]
    said = [*notes, *(f"{warning}." for warning in (*frontier.warnings, *gain.warnings))]
    if said:
        parts += ["## Notes", "\n".join(f"- {escape(note)}" for note in said)]
    return "\n\n".join(parts) + "\n"


def frontier_title(frontier: Frontier) -> str:
    """`Frontier: least mse for each budget of bpp`."""
    word = "least" if frontier.problem.goal == "minimize" else "largest"
    return f"Frontier: {word} {frontier.problem.objective.column} for each budget of {' and '.join(frontier.swept)}"


def _sentences(frontier: Frontier) -> list[str]:
    problem, count = frontier.problem, len(frontier.points)
    images, points = problem.shape
    text = (
        f"{counted(images, 'image')} of {code(problem.source)}, {counted(points, 'operating point')}; "
        f"{counted(count, 'budget')}{'' if frontier.auto is None else ', placed where the curve bends'}."
    )
    if frontier.fixed:
        text += f" Kept everywhere: {', '.join(escape(one.name) for one in frontier.fixed)}."
    proven = sum(1 for point in frontier.found if point.status == "optimal")
    text += f" {proven} of {counted(count, 'point')} proven to a gap of {frontier.gap:g}"
    without = count - len(frontier.found)
    text += f"; {without} without a selection." if without else "."
    return [f"{text} {place_sentence(frontier)}" if frontier.found else text]


def place_sentence(frontier: Frontier) -> str:
    """How many different selections there are, and how many of them are optima of the relaxation."""
    different = distinct(frontier.found)
    hull, beaten = (sum(getattr(point, name) for point in different) for name in ("on_hull", "dominated"))
    words = [f"{hull} on the convex hull (optima of the relaxation)", f"{len(different) - hull - beaten} above it"]
    if beaten:
        words.append(f"{beaten} dominated")
    return f"{counted(len(different), 'different selection')}: {', '.join(words)}."


def binding_notes(frontier: Frontier) -> list[str]:
    """Of two swept budgets, those that bind in fewer than half of the points that were found.

    A budget binds where its price is above 0, and where that is not known, where nothing of it is left.
    """
    found, notes = frontier.found, []
    names = budget_names(frontier.problem)
    for k, place in enumerate(swept_places(frontier.problem, frontier.sweeps)):
        prices = [(point.swept_prices[k], point.slacks.get(names[place])) for point in found]
        binds = sum(slack == 0 if price is None else price > 0 for price, slack in prices)
        if len(frontier.sweeps) == 2 and 2 * binds < len(found):
            notes.append(f"{frontier.swept[k]} binds in {binds} of {counted(len(found), 'point')}.")
    return notes


def reach_words(frontier: Frontier) -> str:
    """`: the least attainable average of bpp is 0.05`, for each swept column; nothing where an image has no point."""
    words = []
    for sweep in frontier.sweeps:
        value = attainable(frontier.problem, sweep)
        if value is not None:
            word = "least" if sweep.sense == "at_most" else "largest"
            words.append(f"the {word} attainable average of {sweep.column} is {value:.6g}")
    return f": {', '.join(words)}" if words else ""


def points_table(frontier: Frontier) -> TextTable:
    """A row a point: budgets, objective, the averages that are bounded, prices, and where it lies."""
    bounded = list(dict.fromkeys(c.term.column for c in frontier.problem.constraints))
    objective = frontier.problem.objective.column
    columns = [objective, *(column for column in bounded if column != objective)]
    axes = {column: axis_of(frontier, column) for column in columns}
    places = {c: decimals_for([p.averages[c] for p in frontier.found], axes[c].unit) for c in columns}
    symbols = {sweep.column: "≤" if sweep.sense == "at_most" else "≥" for sweep in frontier.sweeps}
    header = ["No.", *(f"{column} {symbol}" for column, symbol in symbols.items()), "Status"]
    naming = frontier.problem.naming
    charged = [c for c in columns if isinstance(naming, DecoderCost) and c in naming.columns]
    header += [axes[column].heading for column in columns]
    header += [f"{axes[column].heading}, files alone" for column in charged]
    header += [f"Price of {column}" for column in frontier.swept] + ["Gap", "Place"]
    rows = [_row(point, axes, places, charged) for point in frontier.points]
    align = "r" * (1 + len(symbols)) + "l" + "r" * (len(columns) + len(charged) + len(symbols) + 1) + "l"
    note = (
        "Place: hull, an optimum of the linear relaxation, in which images may mix their points, and so on the convex "
        "hull of all selections; above that hull; or dominated by another point. A price is what one unit more of the "
        "budget is worth in the objective."
    )
    return TextTable("", align, tuple(header), (tuple(rows),), ((note,),))


def _row(point: FrontierPoint, axes: Mapping[str, Average], places: Mapping[str, int], charged: Sequence[str]) -> Row:
    nothing = float("nan")
    cells: list[Cell] = [Number(str(point.number)), *(general(budget) for budget in point.budgets)]
    cells.append(point.status.value)
    cells += [fixed(point.averages.get(column, nothing), places[column]) for column in axes]
    cells += [fixed(point.averages_of_files.get(column, nothing), places[column]) for column in charged]
    cells += [general(price, 4) for price in point.swept_prices]
    cells += [general(point.gap, 2), place_words(point)]
    return tuple(cells)


def place_words(point: FrontierPoint) -> str:
    """`hull`, `above` it, `dominated`, or nothing without a selection."""
    if not point.found:
        return ""
    return "hull" if point.on_hull else "dominated" if point.dominated else "above"


def gain_table(gain: FrontierGain) -> TextTable:
    """Both Bjontegaard deltas of the frontier against each curve of single points."""
    unit = f" ({gain.quality.unit})" if gain.quality.unit else ""
    header = ("Single codec", "Points", "BD-rate (%)", f"BD-metric{unit}", "Overlap", "Covers", "")
    rows = [_gain_row(one, one.label == gain.best) for one in gain.curves]
    note = (
        f"Quality: {gain.quality.title}{'' if gain.quality.direction != 'lower' else ', negated'}. "
        f"{gain.frontier_points} points of the frontier; PCHIP over the logarithm of the rate, nothing extrapolated. "
        "BD-rate is negative and BD-metric positive where the frontier is better. Overlap: the part of both curves' "
        "qualities that is compared; Covers: the part of the frontier's. The best codec is the one over which the "
        "frontier saves the least rate, among those that cover half of its qualities (all, where none does). "
        + BUILT_ON_POINTS
    )
    return TextTable("", "lrrrrrl", header, (tuple(rows),), ((note,),))


def _gain_row(one: Against, best: bool) -> Row:
    if one.rate is None or one.metric is None:
        return (one.label, Number(str(one.points)), Number("–"), Number("–"), Number("–"), Number("–"), one.reason)
    shares = [Number(f"{100 * share:.0f} %") for share in (one.rate.overlap, one.covers)]
    odd = f"{len(one.rate.anchor_not_monotone)} points not monotone" if one.rate.anchor_not_monotone else ""
    words = ", ".join(word for word in ("best" if best else "", odd) if word)
    delta = fixed(one.metric.value, decimals_for([one.metric.value]), sign=True)
    return (one.label, Number(str(one.points)), fixed(one.rate.value, 2, sign=True), delta, *shares, words)
