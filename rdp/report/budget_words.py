"""Budgets in a report: what was asked, what came out, and what the baselines keep; many groups told as one."""

from __future__ import annotations

from collections.abc import Sequence

from rdp.report.markdown import code
from rdp.report.tables import sense_words
from rdp.report.text import Cell, Code, Piece, Row, TextTable, general
from rdp.selection import Budget, Constraint, Problem
from rdp.selection.baselines import Baseline, Held

MOST_GROUPS = 8
SHOWN_GROUPS = 5
"""Of a budget for more groups than the one, only so many are shown: those with the least room."""
ROUNDING = 1e-9
"""Mixtures keep budgets within the tolerance of a linear programme: room up to this part of a budget is none."""


def limits_asked(problem: Problem) -> list[str]:
    """`the average bpp at most 0.5`, one for each budget of the statement, in Markdown."""
    limits = [_limit(problem, *budget) for budget in problem.statement.budgets]
    groups = problem.statement.groups
    by = f" by {code(groups)}" if isinstance(groups, str) else ""
    count = len({constraint.group for constraint in problem.constraints if constraint.group})
    for budget in problem.statement.group_budgets:
        limits.append(f"{_limit(problem, *budget)} in each of {count} group{'' if count == 1 else 's'}{by}")
    return limits


def _limit(problem: Problem, column: str, sense: str, budget: float) -> str:
    words = "at most" if sense == "at_most" else "at least"
    return f"the average {code(column)}{weighted(problem, column)} {words} {budget:g}"


def weighted(problem: Problem, column: str) -> str:
    """` (weighted by pixels)`, where it is."""
    return " (weighted by pixels)" if problem.terms[column].weighting == "pixels" else ""


def budgets_table(budgets: Sequence[Budget]) -> TextTable:
    """Budgets, averages, slack and prices; of many groups those with the least room, and a note on the others."""
    grouped = any(budget.group for budget in budgets)
    shown = [budget for budget in budgets if not budget.group]
    notes: list[tuple[Piece, ...]] = []
    for family in _families(budgets):
        tightest = _tightest(family) if len(family) > MOST_GROUPS else family
        shown += tightest
        if len(tightest) < len(family):
            notes.append(_others(family, tightest))
    rows = tuple(_row(budget, grouped) for budget in shown)
    group = ("Group",) if grouped else ()
    header = ("Budget", *group, "Value", "Average", "Slack", "Mean over", "Price")
    return TextTable("", f"l{'l' * len(group)}rrrll", header, (rows,), tuple(notes))


def _families(budgets: Sequence[Budget]) -> list[list[Budget]]:
    """The budgets of groups, those of one column and sense together."""
    families: dict[tuple[str, str], list[Budget]] = {}
    for budget in budgets:
        if budget.group:
            families.setdefault((budget.column, budget.sense), []).append(budget)
    return list(families.values())


def _tightest(family: Sequence[Budget]) -> list[Budget]:
    """The groups with the least slack, in the order of the slacks; of equal ones the first."""
    return sorted(family, key=_slack)[:SHOWN_GROUPS]


def _slack(budget: Budget) -> float:
    return 0.0 if budget.slack is None else budget.slack


def _others(family: Sequence[Budget], shown: Sequence[Budget]) -> tuple[Piece, ...]:
    left = [budget for budget in family if budget not in shown]
    slacks = sorted(map(_slack, left))
    priced = sum(bool(budget.price) for budget in left)
    limit = f" {sense_words(family[0].sense)} {family[0].budget:g}, with slacks of {_range(slacks)}"
    prices = f"; {priced} of them {'has a price' if priced == 1 else 'have prices'} above 0" if priced else ""
    count = f"{len(left)} more group{'' if len(left) == 1 else 's'} keep{'s' if len(left) == 1 else ''} to "
    return (count, Code(family[0].column), f"{limit}{prices}.")


def _range(values: Sequence[float]) -> str:
    """`0.1 to 0.3`, or one number."""
    low, high = general(min(values), 3).text, general(max(values), 3).text
    return low if low == high else f"{low} to {high}"


def _row(budget: Budget, grouped: bool) -> Row:
    name: tuple[Piece, ...] = (Code(budget.column), f" {sense_words(budget.sense)}")
    group: tuple[Cell, ...] = (Code(budget.group) if budget.group else "all images",) if grouped else ()
    numbers = (general(budget.budget), general(budget.average), general(budget.slack, 3))
    return (name, *group, *numbers, "pixels" if budget.weighting == "pixels" else "images", budget.sentence or "–")


def unspent_words(constraints: Sequence[Constraint], baseline: Baseline) -> str:
    """`0.02 of bpp and 0 to 0.3 of mse in the groups`: what a baseline leaves of the budgets; empty without any."""
    rooms = [_room(c, average) for c, average in zip(constraints, baseline.bounded, strict=True)]
    parts = [f"{room:.3g} of {code(c.term.column)}" for c, room in zip(constraints, rooms, strict=True) if not c.group]
    return " and ".join([*parts, *unspent_in_groups(constraints, baseline)])


def unspent_in_groups(constraints: Sequence[Constraint], baseline: Baseline) -> list[str]:
    """`0 to 0.3 of mse in the groups`, for each budget of groups."""
    rooms: dict[tuple[str, str], list[float]] = {}
    for c, average in zip(constraints, baseline.bounded, strict=True):
        if c.group:
            rooms.setdefault((c.term.column, c.sense), []).append(_room(c, average))
    return [f"{_range(values)} of {code(column)} in the groups" for (column, _), values in rooms.items()]


def _room(constraint: Constraint, average: float) -> float:
    """How much is left of a budget; 0 where that is no more than rounding."""
    room = abs(constraint.budget - average)
    return 0.0 if room <= ROUNDING * abs(constraint.budget) else room


def held_words(budgets: Sequence[Budget], problem: Problem, mixture: Baseline) -> str:
    """What the mixture keeps in each constraint, as a sentence."""
    averages: list[str] = []
    kept: list[str] = []
    for held, budget in zip(mixture.held, budgets, strict=True):
        if held.group:
            continue
        if held.to == "average":
            averages.append(f"{code(held.column)} ({general(held.limit).text})")
            continue
        loose = ", which does not bind the selection" if budget.price == 0 else ""
        kept.append(f"{_held(held)}{loose}")
    groups = list(dict.fromkeys(_held(held) for held in mixture.held if held.group))
    kept = [f"{limit} in each group" for limit in groups] + kept
    parts = [f"to the selection's own average of {' and '.join(averages)}"] if averages else []
    parts += [f"to the budget{'' if len(kept) == 1 else 's'} {' and '.join(kept)}"] if kept else []
    if not parts:
        return ""
    claim = ": this gain is not unspent budget." if len(mixture.parts) > 1 else "."
    rooms = [_room(c, b) for c, b in zip(problem.constraints, mixture.bounded, strict=True) if c.group]
    if rooms and min(rooms) == 0:
        # One mixture serves all groups, and one of them keeps it from spending what the others may.
        left = " and ".join(unspent_in_groups(problem.constraints, mixture))
        claim = f", and leaves unspent {left}: part of the gain may be that."
    return f" The mixture is held {', and '.join(parts)}{claim}"


def _held(held: Held) -> str:
    return f"{code(held.column)} {sense_words(held.sense)} {held.limit:g}"
