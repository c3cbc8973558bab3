"""Reading a `selection.json` back: rebuilt from its table, and held against it and against itself."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rdp.errors import SpecError, TableError
from rdp.selection.builder import state_problem
from rdp.selection.check import excess, is_allowed
from rdp.selection.document import SAME, VERSIONS, decoder_entry
from rdp.selection.fingerprint import fingerprint
from rdp.selection.problem import IntArray, Problem, weighted_mean
from rdp.selection.result import Budget, Selection, make_budget, reaches
from rdp.selection.statement import Statement
from rdp.selection.status import Status
from rdp.selection.stored_values import (
    read_count,
    read_number,
    read_text,
    read_texts,
    require_decoder_entry,
    require_same,
)
from rdp.selection.table_changes import changed, choosable_points, renumbered
from rdp.selection.words import counted
from rdp.tables import CellTable, read_table

if TYPE_CHECKING:
    from rdp.selection.setlevel.stored import StoredSets

IN_MEMORY = ("the table given", "arrays")
"""What a problem calls its source when there is no file of it."""


def stored_columns(path: str | os.PathLike[str]) -> dict[str, str]:
    """The column map that a selection was solved with (ours -> theirs), read off its file; empty where it has none.

    Nothing is checked here: `load_selection` says what may be wrong with the file.
    """
    try:
        columns = json.loads(Path(path).read_text(encoding="utf-8"))["problem"]["statement"].get("columns", {})
        return {str(ours): str(theirs) for ours, theirs in columns.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def load_selection(path: str | Path, source: Any = None, columns: Mapping[str, str] | None = None) -> Selection:
    """Read a `selection.json`, rebuild its problem from its table, and hold it against it.

    `source` is anything that `rdp.read_table` reads; without it the table is read from where the document says.
    `columns` maps our column names to the source's; without it the map that the selection was solved with is used,
    where the table does not have our names itself.

    Averages, slacks and the gap are recomputed. Raises `TableError` when the file is no such document or contradicts
    itself, and when anything that the solve used has changed in the table since: then the selection may be neither
    within the budgets nor the best.
    """
    document = read_document(Path(path))
    try:
        statement = Statement.from_dict(document["problem"]["statement"])
        table = _table(document["problem"]["source"], source, statement.columns, columns, str(path))
        sets = _stored_sets(document, statement, str(path))
        problem = _problem(document, table, statement, str(path), sets)
        if sets is None:
            return _rebuilt(document, problem, str(path))
        return sets.selection(_rebuilt(document, sets.with_averages(problem), str(path)))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TableError(f"{path} is damaged: {type(error).__name__} {error}") from error


def read_document(path: Path) -> dict[str, Any]:
    """The document of a selection file. Raises `TableError` for another file, and a version that is not known."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TableError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        what = (
            f"line {error.lineno} is no JSON" if isinstance(error, json.JSONDecodeError) else "it is no text in UTF-8"
        )
        what = "it is empty" if path.stat().st_size == 0 else what
        raise TableError(
            f"{path} is not a selection, or is damaged or cut short ({what}): solve again, or name a file that rdp "
            "solve wrote"
        ) from error
    if not isinstance(document, dict) or "version" not in document or "chosen" not in document:
        raise TableError(f"{path} is not a selection as rdp solve writes it")
    if type(document["version"]) is not int or document["version"] not in VERSIONS:
        known = " and ".join(map(str, VERSIONS))
        raise TableError(f"{path} has version {document['version']}; this rdp reads versions {known}: solve again")
    return document


def _table(
    origin: Any, source: Any, stored: Mapping[str, str], given: Mapping[str, str] | None, path: str
) -> CellTable:
    if source is None:
        if not isinstance(origin, str):
            raise TypeError(f"problem.source is {origin!r}, not a text")
        if not Path(origin).exists():
            where = "a table in memory" if origin in IN_MEMORY else f"{origin}, which is not there"
            raise TableError(f"{path} was made from {where}: give that table, in Python with source=")
        source = origin
    if given is not None or not stored:
        return read_table(source, given)
    if isinstance(source, CellTable):
        names = source.data.column_names
        lacking = {ours: theirs for ours, theirs in stored.items() if ours not in names and theirs in names}
        return read_table(source, lacking)
    try:
        return read_table(source, stored)
    except TableError:
        # A table with our names, such as an export of the one that was solved.
        return read_table(source)


def _stored_sets(document: dict[str, Any], statement: Statement, path: str) -> StoredSets | None:
    """What the document says of set-level values, if it is of any."""
    if "set_level" not in document:
        return None
    from rdp.selection.setlevel.stored import StoredSets

    return StoredSets.read(document["set_level"], statement, path)


def _problem(
    document: dict[str, Any], table: CellTable, statement: Statement, path: str, sets: StoredSets | None
) -> Problem:
    """The problem of the table; raises `TableError` when it is not the one that was solved."""
    state = state_problem if sets is None else sets.state
    # What says nothing of the bits of decoders was solved without any.
    unsaid = statement.decoder_info is None
    statement = replace(statement, decoder_info=False) if unsaid else statement
    try:
        problem = state(table, statement)
    except SpecError as error:
        raise TableError(f"{path} does not belong to {table.source}: {error}; solve again") from error
    stored = document["problem"]
    points = read_texts(stored["points"], "problem.points")
    if "fingerprint" not in stored:
        raise TableError(f"{path} does not say what its table was like (no problem.fingerprint): solve again")
    later = set(problem.points) - set(points)
    if later and not later & set(choosable_points(problem)):
        # Points that came later and that the statement rules out: not part of what was chosen among.
        rows = pc.is_in(table.data.column("point").cast(pa.string()), pa.array(points, pa.string()))
        problem = state(table.with_rows(table.data.filter(rows)), statement)
    if unsaid:
        problem = replace(problem, statement=replace(problem.statement, decoder_info=None))
    features = None if sets is None else sets.features(table, problem)
    now, then = fingerprint(problem, features), stored["fingerprint"]
    told = changed(document, problem, now) if now != then else renumbered(problem, points)
    if told:
        raise TableError(f"{path} does not belong to {table.source}: {told}; solve again")
    if stored["images"] != len(problem.images):
        raise ValueError(f"problem.images is {stored['images']!r}, and its fingerprint is of {len(problem.images)}")
    return problem


def _rebuilt(document: dict[str, Any], problem: Problem, path: str) -> Selection:
    status, chosen = Status(document["status"]), document["chosen"] is not None
    if chosen is not (status in (Status.OPTIMAL, Status.FEASIBLE)):
        raise ValueError(f"status {status} {'beside' if chosen else 'without'} chosen points")
    choice = _choice(document, problem, path)
    averages = {} if choice is None else {name: term.average(choice) for name, term in problem.terms.items()}
    stored = {entry["column"]: read_number(entry, "average") for entry in document["averages"]}
    for column in problem.statement.used_columns if choice is not None else ():
        if not math.isclose(stored[column] or 0.0, averages[column], rel_tol=SAME, abs_tol=1e-12):
            raise TableError(
                f"{path} does not belong to {problem.source}: the average {column} is {averages[column]:.9g} there, "
                f"and {stored[column]} in the selection; solve again"
            )
    objective = document["objective"]
    allowed_gap = read_number(objective, "allowed_gap")
    elapsed_s = read_number(document, "elapsed_s")
    if allowed_gap is None or elapsed_s is None or not (allowed_gap >= 0 and elapsed_s >= 0):
        raise ValueError("allowed_gap and elapsed_s must be numbers, 0 or more")
    selection = Selection(
        problem=problem,
        status=status,
        solver=read_text(document["solver"], "solver"),
        choice=choice,
        objective=None if choice is None else averages[problem.objective.column],
        bound=read_number(objective, "bound"),
        budgets=_budgets(document, problem, choice),
        averages=averages,
        explanation=read_text(document["explanation"], "explanation"),
        warnings=read_texts(document["warnings"], "warnings"),
        elapsed_s=elapsed_s,
        allowed_gap=allowed_gap,
        **_relaxed(document, problem),
    )
    _check_status(selection)
    require_decoder_entry(document.get("decoder_info"), decoder_entry(selection).get("decoder_info"))
    for name, value in (("average", selection.objective), ("gap", selection.gap)):
        require_same(read_number(objective, name), value, f"objective: {name}")
    if (objective["column"], objective["goal"]) != (problem.objective.column, problem.goal):
        raise ValueError("the objective is not that of the problem statement")
    return selection


def _relaxed(document: dict[str, Any], problem: Problem) -> dict[str, Any]:
    """What a document says of the linear relaxation; version 1 says nothing."""
    if document["version"] == 1:
        return {}
    details = document["explanation_details"]
    if details is not None and (not isinstance(details, dict) or document["chosen"] is not None):
        raise ValueError("explanation_details must be an object, and null beside chosen points")
    return {
        "lp_bound": read_number(document["objective"], "lp_bound"),
        "split_images": read_count(document["split_images"], "split_images", len(problem.images)),
    }


def _check_status(selection: Selection) -> None:
    """Raise `ValueError` when the status does not follow from the objective and the bound."""
    status, bound, objective = selection.status, selection.bound, selection.objective
    if bound is not None and (not math.isfinite(bound) or status is Status.INFEASIBLE):
        raise ValueError(f"bound {bound} with status {status}")
    relaxed, term = selection.lp_bound, selection.problem.objective
    if relaxed is not None and not math.isfinite(relaxed):
        raise ValueError(f"lp_bound is {relaxed}")
    if objective is None:
        return
    sign = 1.0 if selection.problem.goal == "minimize" else -1.0
    if relaxed is not None and selection.choice is not None:
        # Of an optimum that no image is split in, the two are equal up to the rounding of their sums.
        size = weighted_mean(np.abs(term.picked(selection.choice)), term.weights)
        if not sign * (relaxed - objective) <= max(SAME * size, 1e-12):
            raise ValueError(f"lp_bound {relaxed:.9g} is on the wrong side of the average {objective:.9g}")
    if bound is not None and sign * (bound - objective) > max(SAME * abs(objective), 1e-12):
        raise ValueError(f"the bound {bound:.9g} is on the wrong side of the average {objective:.9g}")
    proven = reaches(objective, bound, max(selection.allowed_gap, 2 * SAME))
    if status is Status.OPTIMAL and not proven:
        gap = "unknown" if selection.gap is None else f"{selection.gap:.3g}"
        raise ValueError(f"status optimal with gap {gap}, where {selection.allowed_gap:g} was allowed")
    if status is Status.FEASIBLE and reaches(objective, bound, 0.5 * selection.allowed_gap):
        raise ValueError("status feasible where the bound proves the selection optimal")


def _budgets(document: dict[str, Any], problem: Problem, choice: IntArray | None) -> tuple[Budget, ...]:
    entries = document["budgets"]
    if len(entries) != len(problem.constraints):
        raise ValueError(f"{counted(len(entries), 'budget')}, and the statement has {len(problem.constraints)}")
    out = []
    for entry, constraint in zip(entries, problem.constraints, strict=True):
        price = read_number(entry, "price")
        budget = make_budget(constraint, choice, price, read_text(entry["sentence"], "sentence"))
        stated = entry if "group" in entry or document["version"] > 1 else {**entry, "group": ""}
        for name in ("column", "sense", "budget", "group", "weighting"):
            if stated[name] != getattr(budget, name):
                raise ValueError(f"the {name} of a budget is {stated[name]!r}, and in the statement not")
        where = f" in {budget.group!r}" if budget.group else ""
        require_same(read_number(entry, "average"), budget.average, f"budgets: average of {budget.column}{where}")
        if (read_number(entry, "slack") is None) is not (budget.slack is None):
            raise ValueError(f"the slack of {budget.column} is {entry['slack']!r}")
        out.append(budget)
    return tuple(out)


def _choice(document: dict[str, Any], problem: Problem, path: str) -> IntArray | None:
    entries = document["chosen"]
    if entries is None:
        return None
    chosen = {(entry["dataset"], entry["image"]): entry["point"] for entry in entries}
    images = list(zip(problem.datasets, problem.images, strict=True))
    if len(chosen) != len(entries) or set(chosen) != set(images):
        raise ValueError("chosen does not name every image once")
    number_of = {point: k for k, point in enumerate(problem.points)}
    for image in images:
        if chosen[image] not in number_of:
            raise TableError(f"{path} chooses {chosen[image]!r}, which {problem.source} does not have")
    choice = np.array([number_of[chosen[image]] for image in images], dtype=np.int64)
    many = problem.max_points is not None and len(np.unique(choice)) > problem.max_points
    if many or not is_allowed(problem, choice) or max(excess(problem, choice), default=0.0) > 0:
        raise TableError(f"{path} chooses what its own statement rules out, by the cells of {problem.source}")
    return choice
