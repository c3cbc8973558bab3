"""A selection for people: what `rdp solve` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rdp.cli.solve_sets import objective_words, set_lines
from rdp.cli.text import aligned, number_text

if TYPE_CHECKING:
    from rdp.selection import Selection
    from rdp.selection.problem import Constraint
    from rdp.selection.result import Budget

MOST_GROUPS = 8
SHOWN_GROUPS = 5
"""Of a budget for more groups than the one, only so many are shown: those with the least room."""


def describe(selection: Selection) -> str:
    """The selection for people: status, objective, bound and gap, each budget, images per point, other averages."""
    from rdp.selection.words import counted

    problem = selection.problem
    word = "minimised" if problem.goal == "minimize" else "maximised"
    bound = "unknown" if selection.bound is None else f"{selection.bound:.9g}"
    gap = "unknown" if selection.gap is None else f"{selection.gap:.2g}"
    images, points = problem.shape
    limit = "" if problem.max_points is None else f", at most {problem.max_points} of them in all"
    lines = [
        f"{selection.status} selection for {counted(images, 'image')} among {counted(points, 'point')}{limit}"
        f" ({selection.solver}, {selection.elapsed_s:.2f} s)",
        f"{objective_words(selection)} {word}: {selection.objective:.9g}   bound {bound}   gap {gap}",
        *_relaxation_line(selection),
    ]
    if selection.budgets:
        lines += ["", *_budget_lines(selection)]
    lines += set_lines(selection)
    counts = sorted(selection.counts().items(), key=lambda pair: -pair[1])
    taken = [(str(count), point) for point, count in counts if count]
    lines += ["", *aligned([("images", "point"), *taken], left=(1,))]
    # Of the other columns those that say how good: measured times and file lengths stand in the document.
    averages = [(c, number_text(a)) for c, a in selection.averages.items() if _is_other(selection, c)]
    if averages:
        lines += ["", *aligned([("other averages", ""), *averages], left=(0,))]
    lines += _decoder_lines(selection)
    return "\n".join(lines)


def _relaxation_line(selection: Selection) -> list[str]:
    """What mixing points within an image could gain, and how many images that would concern."""
    from rdp.selection.words import counted

    if selection.lp_bound is None or not selection.budgets:
        return []
    split = selection.split_images
    mixed = "" if split is None else f", with {counted(split, 'image')} split between points"
    kind = "relaxation" if set_lines(selection) else "linear relaxation"
    return [f"{kind}: {selection.lp_bound:.9g}{mixed}"]


def _decoder_lines(selection: Selection) -> list[str]:
    """What the choice of decoders takes, and the rates without it."""
    from rdp.selection.decoder_cost import DecoderCost

    cost, choice = selection.problem.naming, selection.choice
    if not isinstance(cost, DecoderCost) or choice is None:
        return []
    without = [f"{column} {number_text(value)}" for column, value in selection.averages_of_files.items()]
    return [
        "",
        f"{cost.sentence};",
        f"{cost.bits_at(choice).sum():.6g} bits in all, the average of the files alone: {', '.join(without)}",
    ]


def _is_other(selection: Selection, column: str) -> bool:
    """A column whose average over all images stands nowhere above; one that only groups bound is among them."""
    problem = selection.problem
    if column == problem.objective.column or any(c.term.column == column and not c.group for c in problem.constraints):
        return False
    return any(c.term.column == column for c in problem.constraints) or worth_showing(selection, column)


def _budget_lines(selection: Selection) -> list[str]:
    """The table of budgets; of many groups those with the least room, and how many more there are."""
    head = ("budget", "", "limit", "average", "slack", "price", "")
    rows: list[tuple[str, ...]] = [head]
    notes: list[str] = []
    pairs = list(zip(selection.problem.constraints, selection.budgets, strict=True))
    rows += [_row(constraint, budget) for constraint, budget in pairs if not constraint.group]
    families = dict.fromkeys((c.term.column, c.sense) for c, _ in pairs if c.group)
    for family in families:
        groups = [pair for pair in pairs if pair[0].group and (pair[0].term.column, pair[0].sense) == family]
        shown = _tightest(groups) if len(groups) > MOST_GROUPS else groups
        rows += [_row(constraint, budget) for constraint, budget in shown]
        if len(shown) < len(groups):
            column, sense = family
            word = "<=" if sense == "at_most" else ">="
            notes.append(f"{len(groups) - len(shown)} more groups keep to {column} {word} {groups[0][1].budget:g}")
    return [*aligned(rows, left=(0, 1, 6)), *notes]


def _tightest(groups: Sequence[tuple[Constraint, Budget]]) -> list[tuple[Constraint, Budget]]:
    """The groups with the least slack, in the order of the slacks; of equal ones the first."""
    return sorted(groups, key=lambda pair: 0.0 if pair[1].slack is None else pair[1].slack)[:SHOWN_GROUPS]


def _row(constraint: Constraint, budget: Budget) -> tuple[str, ...]:
    name = f"{budget.column} in {constraint.group!r}" if constraint.group else budget.column
    return (
        name,
        budget.symbol,
        f"{budget.budget:g}",
        number_text(budget.average),
        number_text(budget.slack, 3),
        number_text(budget.price, 4),
        budget.sentence,
    )


def worth_showing(selection: Selection, column: str) -> bool:
    """A column that says how good, and is neither optimised nor bounded."""
    used = {selection.problem.objective.column, *(budget.column for budget in selection.budgets)}
    return column not in used and column not in ("nbytes", "encode_s", "decode_s")
