"""`selection.json`: a selection with its whole problem statement, so that it can be rebuilt and checked.

    version      1
    status       optimal, feasible, infeasible or unknown
    solver, elapsed_s, rdp_version
    problem      source (the table), statement (the words of `rdp solve`), images (how many), points (all names)
    objective    column, goal, weighting, average, bound, gap
    budgets      one object each: column, sense, budget, weighting, average, slack, price, sentence
    averages     one object a column: column, weighting, average
    total_bits   of all chosen files, null without a column nbytes
    counts       point -> number of images that take it; null without a selection
    chosen       one object an image: dataset, image, point; null without a selection
    explanation, warnings

There are no NaN or Infinity literals: such a number is null, and beside `name` stands `name_is`, one of "inf", "-inf",
"missing".
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import rdp
from rdp.errors import TableError
from rdp.selection.builder import state_problem
from rdp.selection.check import excess, is_allowed
from rdp.selection.problem import IntArray, Problem
from rdp.selection.result import Budget, Selection
from rdp.selection.statement import Statement
from rdp.selection.status import Status
from rdp.tables import read_table, write_atomically

VERSION = 1
SAME = 1e-9
"""Recomputed averages may differ by this part: tables read back from text, and sums taken in another order."""


def number(name: str, value: float | None) -> dict[str, Any]:
    """`{name: value}`, or null and a flag beside it for what JSON has no number for."""
    if value is None or math.isfinite(value):
        return {name: value}
    flag = "missing" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    return {name: None, f"{name}_is": flag}


def _number_of(entry: Mapping[str, Any], name: str) -> float | None:
    flags = {"inf": math.inf, "-inf": -math.inf, "missing": math.nan}
    flag = entry.get(f"{name}_is")
    return flags[flag] if flag in flags else entry[name]


def selection_document(selection: Selection) -> dict[str, Any]:
    """The document of a selection, ready for `json.dumps(..., allow_nan=False)`."""
    problem = selection.problem
    return {
        "version": VERSION,
        "rdp_version": rdp.__version__,
        "status": selection.status.value,
        "solver": selection.solver,
        "elapsed_s": round(selection.elapsed_s, 6),
        "problem": {
            "source": problem.source,
            "statement": problem.statement.to_dict(),
            "images": len(problem.images),
            "points": list(problem.points),
        },
        "objective": {
            "column": problem.objective.column,
            "goal": problem.goal,
            "weighting": problem.objective.weighting,
            **number("average", selection.objective),
            **number("bound", selection.bound),
            **number("gap", selection.gap),
        },
        "budgets": [_budget_entry(budget) for budget in selection.budgets],
        "averages": [
            {"column": column, "weighting": problem.terms[column].weighting, **number("average", average)}
            for column, average in selection.averages.items()
        ],
        "total_bits": selection.total_bits,
        "counts": selection.counts() if selection.found else None,
        "chosen": _chosen(problem, selection.choice),
        "explanation": selection.explanation,
        "warnings": list(selection.warnings),
    }


def _budget_entry(budget: Budget) -> dict[str, Any]:
    return {
        "column": budget.column,
        "sense": budget.sense,
        "budget": budget.budget,
        "weighting": budget.weighting,
        **number("average", budget.average),
        **number("slack", budget.slack),
        **number("price", budget.price),
        "sentence": budget.sentence,
    }


def _chosen(problem: Problem, choice: IntArray | None) -> list[dict[str, str]] | None:
    if choice is None:
        return None
    return [
        {"dataset": dataset, "image": image, "point": problem.points[point]}
        for dataset, image, point in zip(problem.datasets, problem.images, choice.tolist(), strict=True)
    ]


def document_text(selection: Selection) -> str:
    """The document as JSON text, ending with a line feed."""
    return json.dumps(selection.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def save_selection(selection: Selection, path: str | Path) -> Path:
    """Write the document; the file is there whole or not at all. Raises `RdpError` when it cannot be written."""
    target = Path(path)
    write_atomically(target, document_text(selection).encode())
    return target


def load_selection(path: str | Path, source: Any = None) -> Selection:
    """Read a `selection.json`, rebuild its problem from its table, and hold it against it.

    `source` is anything that `rdp.read_table` reads; without it the table is read from where the document says. The
    averages are recomputed. Raises `TableError` when the file is no such document, when the table does not hold what
    was chosen, and when it no longer gives the same averages.
    """
    document = _read(Path(path))
    try:
        statement = Statement.from_dict(document["problem"]["statement"])
        origin = document["problem"]["source"] if source is None else source
        problem = state_problem(read_table(origin, statement.columns if source is None else None), statement)
        return _rebuilt(document, problem, str(path))
    except (KeyError, TypeError, ValueError) as error:
        raise TableError(f"{path} is damaged: {type(error).__name__} {error}") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TableError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise TableError(f"{path} is not a selection: {error}") from error
    if not isinstance(document, dict) or "version" not in document or "chosen" not in document:
        raise TableError(f"{path} is not a selection as rdp solve writes it")
    if document["version"] != VERSION:
        raise TableError(f"{path} has version {document['version']}; this rdp reads version {VERSION}: solve again")
    return document


def _rebuilt(document: dict[str, Any], problem: Problem, path: str) -> Selection:
    choice = _choice(document, problem, path)
    averages = {} if choice is None else {name: term.average(choice) for name, term in problem.terms.items()}
    stored = {entry["column"]: _number_of(entry, "average") for entry in document["averages"]}
    for column in problem.statement.used_columns if choice is not None else ():
        if not math.isclose(stored[column] or 0.0, averages[column], rel_tol=SAME, abs_tol=1e-12):
            raise TableError(
                f"{path} does not belong to {problem.source}: the average {column} is {averages[column]:.9g} there, "
                f"and {stored[column]:.9g} in the selection; solve again"
            )
    return Selection(
        problem=problem,
        status=Status(document["status"]),
        solver=document["solver"],
        choice=choice,
        objective=None if choice is None else averages[problem.objective.column],
        bound=_number_of(document["objective"], "bound"),
        budgets=tuple(_budget(entry) for entry in document["budgets"]),
        averages=averages,
        explanation=document["explanation"],
        warnings=tuple(document["warnings"]),
        elapsed_s=document["elapsed_s"],
    )


def _budget(entry: dict[str, Any]) -> Budget:
    return Budget(
        column=entry["column"],
        sense=entry["sense"],
        budget=entry["budget"],
        weighting=entry["weighting"],
        average=_number_of(entry, "average"),
        slack=_number_of(entry, "slack"),
        price=_number_of(entry, "price"),
        sentence=entry["sentence"],
    )


def _choice(document: dict[str, Any], problem: Problem, path: str) -> IntArray | None:
    if document["chosen"] is None:
        return None
    chosen = {(entry["dataset"], entry["image"]): entry["point"] for entry in document["chosen"]}
    images = list(zip(problem.datasets, problem.images, strict=True))
    differing = set(chosen) ^ set(images)
    if differing:
        dataset, image = sorted(differing)[0]
        raise TableError(
            f"{path} does not belong to {problem.source}: {len(differing)} images are in only one of them, such as "
            f"{image!r} of {dataset!r}; solve again"
        )
    number_of = {point: k for k, point in enumerate(problem.points)}
    for image in images:
        if chosen[image] not in number_of:
            raise TableError(f"{path} chooses {chosen[image]!r}, which {problem.source} does not have")
    choice = np.array([number_of[chosen[image]] for image in images], dtype=np.int64)
    if not is_allowed(problem, choice) or max(excess(problem, choice), default=0.0) > 0:
        raise TableError(f"{path} chooses what its own statement rules out, by the cells of {problem.source}")
    return choice
