"""`selection.json`: a selection with its whole problem statement, so that it can be rebuilt and checked.

`rdp.selection.loading` reads it.

    version      2
    status       optimal, feasible, infeasible or unknown
    solver, elapsed_s, rdp_version
    problem      source (the table), statement (the words of `rdp solve`), images (how many), points (all names),
                 fingerprint (see `rdp.selection.fingerprint`)
    objective    column, goal, weighting, average, bound, gap, allowed_gap (what counts as optimal), lp_bound (the
                 optimum of the linear relaxation, null where it is not known)
    split_images number of images that the relaxation leaves undecided; null where it is not known
    budgets      one object each: column, sense, budget, group (of images; empty where the average is that of all),
                 weighting, average, slack, price, sentence
    averages     one object a column: column, weighting, average
    total_bits   of all chosen files, null without a column nbytes
    counts       point -> number of images that take it; null without a selection
    chosen       one object an image: dataset, image, point; null without a selection
    explanation  why there is no selection, in words
    explanation_details
                 the same as numbers, for programs (`rdp.selection.explanation.Explanation.to_dict`), or null; it is
                 not read back
    decoder_info where bits that name decoders are charged, else not there: bits (of all images), averages (one object a
                 column that includes them: column, average of the files alone)
    warnings

Where the statement has `side_info`, all numbers of `bpp` and `nbytes`, and `total_bits`, include the bits that name
the points; where it has `decoder_info`, those that name the decoders of shared files. Version 1 has no groups and none
of lp_bound, split_images and explanation_details; it is still read.

There are no NaN or Infinity literals: such a number is null, and beside `name` stands `name_is`, one of "inf", "-inf",
"missing".
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import rdp
from rdp.selection.decoder_cost import DecoderCost
from rdp.selection.fingerprint import fingerprint
from rdp.selection.problem import IntArray, Problem
from rdp.selection.result import Budget, Selection
from rdp.tables import write_atomically

VERSION = 2
VERSIONS = (1, 2)
"""Those that are read."""
SAME = 1e-9
"""Recomputed averages may differ by this part: tables read back from text, and sums taken in another order."""


def number(name: str, value: float | None) -> dict[str, Any]:
    """`{name: value}`, or null and a flag beside it for what JSON has no number for."""
    if value is None or math.isfinite(value):
        return {name: value}
    flag = "missing" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    return {name: None, f"{name}_is": flag}


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
            "fingerprint": fingerprint(problem),
        },
        "objective": {
            "column": problem.objective.column,
            "goal": problem.goal,
            "weighting": problem.objective.weighting,
            **number("average", selection.objective),
            **number("bound", selection.bound),
            **number("gap", selection.gap),
            "allowed_gap": selection.allowed_gap,
            **number("lp_bound", selection.lp_bound),
        },
        "split_images": selection.split_images,
        "budgets": [_budget_entry(budget) for budget in selection.budgets],
        "averages": [
            {"column": column, "weighting": problem.terms[column].weighting, **number("average", average)}
            for column, average in selection.averages.items()
        ],
        "total_bits": selection.total_bits,
        "counts": selection.counts() if selection.found else None,
        "chosen": _chosen(problem, selection.choice),
        "explanation": selection.explanation,
        "explanation_details": None if selection.details is None else selection.details.to_dict(),
        **decoder_entry(selection),
        "warnings": list(selection.warnings),
    }


def decoder_entry(selection: Selection) -> dict[str, Any]:
    """What the choice of decoders takes, and the rates without it; nothing where nothing is charged."""
    cost, choice = selection.problem.naming, selection.choice
    if not isinstance(cost, DecoderCost) or choice is None:
        return {}
    averages = [{"column": column, **number("average", value)} for column, value in selection.averages_of_files.items()]
    return {"decoder_info": {"bits": float(cost.bits_at(choice).sum()), "averages": averages}}


def _budget_entry(budget: Budget) -> dict[str, Any]:
    return {
        "column": budget.column,
        "sense": budget.sense,
        "budget": budget.budget,
        "group": budget.group,
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


def json_text(document: Mapping[str, Any]) -> str:
    """Any document of rdp as JSON text, ending with a line feed. Its numbers are finite: see `number`."""
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def document_text(selection: Selection) -> str:
    """The document as JSON text, ending with a line feed."""
    return json_text(selection.to_dict())


def save_selection(selection: Selection, path: str | Path) -> Path:
    """Write the document; the file is there whole or not at all. Raises `RdpError` when it cannot be written."""
    target = Path(path)
    write_atomically(target, document_text(selection).encode())
    return target
