"""Reading a `selection.json` back: rebuilt from its table, and held against it and against itself."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rdp.errors import SpecError, TableError
from rdp.selection.builder import state_problem
from rdp.selection.check import excess, is_allowed
from rdp.selection.document import SAME, VERSION
from rdp.selection.fingerprint import fingerprint, usable_points
from rdp.selection.problem import IntArray, Problem
from rdp.selection.result import Budget, Selection, make_budget, reaches
from rdp.selection.statement import Statement
from rdp.selection.status import Status
from rdp.selection.words import counted
from rdp.tables import CellTable, read_table

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
    document = _read(Path(path))
    try:
        statement = Statement.from_dict(document["problem"]["statement"])
        table = _table(document["problem"]["source"], source, statement.columns, columns, str(path))
        return _rebuilt(document, _problem(document, table, statement, str(path)), str(path))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TableError(f"{path} is damaged: {type(error).__name__} {error}") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TableError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise TableError(f"{path} is not a selection: {error}") from error
    if not isinstance(document, dict) or "version" not in document or "chosen" not in document:
        raise TableError(f"{path} is not a selection as rdp solve writes it")
    if type(document["version"]) is not int or document["version"] != VERSION:
        raise TableError(f"{path} has version {document['version']}; this rdp reads version {VERSION}: solve again")
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


def _problem(document: dict[str, Any], table: CellTable, statement: Statement, path: str) -> Problem:
    """The problem of the table; raises `TableError` when it is not the one that was solved."""
    try:
        problem = state_problem(table, statement)
    except SpecError as error:
        raise TableError(f"{path} does not belong to {table.source}: {error}; solve again") from error
    stored = document["problem"]
    points = _texts(stored["points"], "problem.points")
    if "fingerprint" not in stored:
        raise TableError(f"{path} does not say what its table was like (no problem.fingerprint): solve again")
    now, then = fingerprint(problem), stored["fingerprint"]
    if now != then:
        raise TableError(f"{path} does not belong to {table.source}: {_changed(document, problem, now)}; solve again")
    if stored["images"] != len(problem.images):
        raise ValueError(f"problem.images is {stored['images']!r}, and its fingerprint is of {len(problem.images)}")
    if set(problem.points) - set(points):
        # Points that came later and that the statement rules out: not part of what was chosen among.
        rows = pc.is_in(table.data.column("point").cast(pa.string()), pa.array(points, pa.string()))
        return state_problem(CellTable(table.data.filter(rows), table.source), statement)
    return problem


def _changed(document: dict[str, Any], problem: Problem, now: dict[str, Any]) -> str:
    """What differs between the table and what was solved, in words."""
    then = document["problem"]["fingerprint"]
    if then["statement"] != now["statement"]:
        return "the problem statement in it is not the one that was solved"
    if then["images"] != now["images"]:
        return _changed_images(document, problem)
    if then["points"] != now["points"]:
        stored = set(document["problem"]["points"])
        usable = [p for p, used in zip(problem.points, usable_points(problem).tolist(), strict=True) if used]
        new = [point for point in usable if point not in stored]
        gone = sorted(stored - set(problem.points))
        told = [f"{counted(len(new), 'new point')}, such as {new[0]!r}"] if new else []
        told += [f"{counted(len(gone), 'point')} fewer, such as {gone[0]!r}"] if gone else []
        return "there is " + " and ".join(told) if told else "other points than then may be chosen"
    if then["cells"] != now["cells"]:
        return "other cells than then are there and may be chosen"
    changed = [column for column in now["values"] if then["values"].get(column) != now["values"][column]]
    if changed:
        return f"the values of {' and '.join(changed)} have changed"
    return "the fingerprint of its problem is not that of the table"


def _changed_images(document: dict[str, Any], problem: Problem) -> str:
    now = set(zip(problem.datasets, problem.images, strict=True))
    if document["chosen"] is None:
        return f"it has {counted(document['problem']['images'], 'image')}, the table {len(now)}, not the same ones"
    then = {(entry["dataset"], entry["image"]) for entry in document["chosen"]}
    told = []
    for images, which in ((now - then, "new image"), (then - now, "missing image")):
        if images:
            dataset, image = min(images)
            told.append(f"{counted(len(images), which)}, such as {image!r} of {dataset!r}")
    return "there is " + " and ".join(told) if told else "the images are not the same ones"


def _rebuilt(document: dict[str, Any], problem: Problem, path: str) -> Selection:
    status, chosen = Status(document["status"]), document["chosen"] is not None
    if chosen is not (status in (Status.OPTIMAL, Status.FEASIBLE)):
        raise ValueError(f"status {status} {'beside' if chosen else 'without'} chosen points")
    choice = _choice(document, problem, path)
    averages = {} if choice is None else {name: term.average(choice) for name, term in problem.terms.items()}
    stored = {entry["column"]: _number_of(entry, "average") for entry in document["averages"]}
    for column in problem.statement.used_columns if choice is not None else ():
        if not math.isclose(stored[column] or 0.0, averages[column], rel_tol=SAME, abs_tol=1e-12):
            raise TableError(
                f"{path} does not belong to {problem.source}: the average {column} is {averages[column]:.9g} there, "
                f"and {stored[column]} in the selection; solve again"
            )
    objective = document["objective"]
    allowed_gap = _number_of(objective, "allowed_gap")
    elapsed_s = _number_of(document, "elapsed_s")
    if allowed_gap is None or elapsed_s is None or not (allowed_gap >= 0 and elapsed_s >= 0):
        raise ValueError("allowed_gap and elapsed_s must be numbers, 0 or more")
    selection = Selection(
        problem=problem,
        status=status,
        solver=_text(document["solver"], "solver"),
        choice=choice,
        objective=None if choice is None else averages[problem.objective.column],
        bound=_number_of(objective, "bound"),
        budgets=_budgets(document, problem, choice),
        averages=averages,
        explanation=_text(document["explanation"], "explanation"),
        warnings=_texts(document["warnings"], "warnings"),
        elapsed_s=elapsed_s,
        allowed_gap=allowed_gap,
    )
    _check_status(selection)
    for name, value in (("average", selection.objective), ("gap", selection.gap)):
        _same(_number_of(objective, name), value, f"objective: {name}")
    if (objective["column"], objective["goal"]) != (problem.objective.column, problem.goal):
        raise ValueError("the objective is not that of the problem statement")
    return selection


def _check_status(selection: Selection) -> None:
    """Raise `ValueError` when the status does not follow from the objective and the bound."""
    status, bound, objective = selection.status, selection.bound, selection.objective
    if bound is not None and (not math.isfinite(bound) or status is Status.INFEASIBLE):
        raise ValueError(f"bound {bound} with status {status}")
    if objective is None:
        return
    sign = 1.0 if selection.problem.goal == "minimize" else -1.0
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
        price = _number_of(entry, "price")
        budget = make_budget(constraint, choice, price, _text(entry["sentence"], "sentence"))
        for name in ("column", "sense", "budget", "weighting"):
            if entry[name] != getattr(budget, name):
                raise ValueError(f"the {name} of a budget is {entry[name]!r}, and in the statement not")
        _same(_number_of(entry, "average"), budget.average, f"budgets: average of {budget.column}")
        if (_number_of(entry, "slack") is None) is not (budget.slack is None):
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
    if not is_allowed(problem, choice) or max(excess(problem, choice), default=0.0) > 0:
        raise TableError(f"{path} chooses what its own statement rules out, by the cells of {problem.source}")
    return choice


def _number_of(entry: Mapping[str, Any], name: str) -> float | None:
    flags = {"inf": math.inf, "-inf": -math.inf, "missing": math.nan}
    flag = entry.get(f"{name}_is")
    if flag is not None:
        return flags[flag]
    value = entry[name]
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise TypeError(f"{name} is {value!r}, not a number")
    return None if value is None else float(value)


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} is {value!r}, not a text")
    return value


def _texts(value: Any, name: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError(f"{name} is {value!r}, not a list")
    return tuple(_text(one, name) for one in value)


def _same(stored: float | None, computed: float | None, name: str) -> None:
    """Raise `ValueError` unless both are the same number, or both nothing."""
    if (stored is None) is not (computed is None):
        raise ValueError(f"{name} is {stored}, and recomputed it is {computed}")
    if stored is None or computed is None or (math.isnan(stored) and math.isnan(computed)):
        return
    if not math.isclose(stored, computed, rel_tol=SAME, abs_tol=2 * SAME if name.endswith("gap") else 1e-12):
        raise ValueError(f"{name} is {stored:.9g}, and recomputed it is {computed:.9g}")
