"""Reading back what a `selection.json` says of set-level values.

No feature is computed again: convex forms, scores and bounds are as they stand in the document. What is held against
the table is all the rest, and the pictures: by their hashes, where the table has these (that of a run folder does).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, cast, get_args

from rdp.errors import TableError
from rdp.selection.problem import Problem
from rdp.selection.result import Selection
from rdp.selection.setlevel.result import Role, SetSelection, SetValue, Stopped, features_of
from rdp.selection.setlevel.stating import state_set_problem, with_constants, with_set_columns
from rdp.selection.statement import Statement
from rdp.selection.stored_values import read_count, read_number, read_text
from rdp.tables import CellTable
from rdp.tables.picture_sums import pictures_sum


@dataclass(frozen=True, eq=False)
class StoredSets:
    """The entry `set_level` of a document, checked against the document's statement."""

    entry: Mapping[str, Any]
    values: tuple[SetValue, ...]

    @classmethod
    def read(cls, entry: Mapping[str, Any], statement: Statement, path: str) -> StoredSets:
        """Raises `KeyError`, `TypeError` or `ValueError` for what is damaged, and `TableError` for a selection whose
        statement does not say its set-level values: one of a `Problem` that was solved in Python."""
        values = tuple(_value(one) for one in entry["values"])
        for one in values:
            said = statement.minimize if one.role == "minimize" else statement.at_most.get(one.name)
            if said != (one.name if one.role == "minimize" else one.budget):
                raise TableError(
                    f"{path} cannot be read back: the set-level value {one.name} does not stand in its statement, as "
                    "it was solved from a Problem; solve from the run folder to keep it"
                )
        return cls(entry, values)

    @property
    def target(self) -> str | None:
        """The value that is minimised, if one is."""
        return next((one.name for one in self.values if one.role == "minimize"), None)

    @property
    def bounds(self) -> dict[str, float]:
        """The set-level budgets."""
        return {one.name: one.budget for one in self.values if one.budget is not None}

    def state(self, table: CellTable, statement: Statement) -> Problem:
        """The problem with zeros for the set-level values."""
        problem = state_set_problem(table, statement, self.target, self.bounds)
        shown = with_set_columns(problem, self.target, list(self.bounds.items()))
        return with_constants(shown, dict.fromkeys((one.name for one in self.values), 0.0))

    def features(self, table: CellTable, problem: Problem) -> dict[str, Any]:
        """What the values are of, with the pictures as they are in the table now."""
        keys = list(zip(problem.datasets, problem.images, strict=True))
        now = pictures_sum(table, keys, problem.points)
        found = features_of(self.values)
        for one in found.values():
            if now is not None and one.get("pictures") is not None:
                one["pictures"] = now
        return found

    def with_averages(self, problem: Problem) -> Problem:
        """The problem with each set-level value as a column that has it everywhere."""
        return with_constants(problem, {one.name: one.value or 0.0 for one in self.values})

    def selection(self, read: Selection) -> SetSelection:
        """The selection with set-level values of one that was read with `with_averages`."""
        nothing = dict.fromkeys((one.name for one in self.values), float("nan"))
        stopped = read_text(self.entry["stopped"], "stopped")
        if stopped not in get_args(Stopped):
            raise ValueError(f"stopped is {stopped!r}")
        same = {item.name: getattr(read, item.name) for item in fields(Selection)}
        return SetSelection(
            **(same | {"problem": with_constants(read.problem, nothing)}),
            values=self.values,
            relaxed=read_number(self.entry, "relaxed"),
            passed=read_number(self.entry, "passed"),
            iterations=_count(self.entry, "iterations"),
            looks=_count(self.entry, "looks"),
            stopped=cast(Stopped, stopped),
            seed=_count(self.entry, "seed"),
        )


def _value(entry: Mapping[str, Any]) -> SetValue:
    role = read_text(entry["role"], "role")
    if role not in get_args(Role):
        raise ValueError(f"the role of a set-level value is {role!r}")
    facts = entry["facts"]
    if not isinstance(facts, dict):
        raise TypeError(f"facts is {facts!r}, not an object")
    return SetValue(
        read_text(entry["name"], "name"),
        read_text(entry["scorer"], "scorer"),
        cast(Role, role),
        read_number(entry, "convex_form"),
        read_number(entry, "score"),
        read_number(entry, "budget"),
        read_number(entry, "slack"),
        read_number(entry, "price"),
        facts,
    )


def _count(entry: Mapping[str, Any], name: str) -> int:
    return read_count(entry[name], name, 1 << 62) or 0
