"""What a solve depended on, as SHA-256 sums: so that a selection is told from one of a table that has changed since.

Only what the solve used counts: the images, the points that some image may take, which cells those are, their values
in the columns that are optimised or bounded by average, the weights, the groups, and the statement. Points that the
statement rules out, columns that it does not use and the order of rows do not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from rdp.selection.problem import BoolArray, FloatArray, Problem

DIGITS = 33
"""Binary digits of a value that count, some 1e-10 of it: readers of text may differ in the last of the 53."""


def usable_points(problem: Problem) -> BoolArray:
    """Points (M,) that at least one image may take."""
    return np.asarray(problem.allowed.any(axis=0))


def fingerprint(problem: Problem, features: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """`images`, `points`, `cells`, `statement`: a sum each; `values`: one for each used column; `all`: of all those.

    `groups`, where there are budgets for groups: which images are in which. `set_level`, where there are set-level
    values: of which `features` each is, by its name.
    """
    usable = usable_points(problem)
    allowed = problem.allowed[:, usable]
    words = problem.statement.to_dict()
    # How the source calls its columns is of no matter to the problem.
    words.pop("columns", None)
    if words.get("decoder_info") is False:
        # Left out by request, or by an rdp that did not know of it: the values tell them from charged ones.
        words.pop("decoder_info")
    names = [point for point, used in zip(problem.points, usable.tolist(), strict=True) if used]
    parts: dict[str, Any] = {
        "images": _of_text(list(zip(problem.datasets, problem.images, strict=True))),
        "points": _of_text(names),
        "cells": _sum(np.packbits(allowed).tobytes()),
        "statement": _of_text(words),
        "values": {},
    }
    terms = problem.terms
    for column in dict.fromkeys((problem.objective.column, *(c.term.column for c in problem.constraints))):
        term = terms[column]
        cells = np.ascontiguousarray(term.values[:, usable][allowed])
        parts["values"][column] = _sum(_rounded(cells) + _rounded(term.weights))
    members = {c.group: c.term.weights > 0 for c in problem.constraints if c.group}
    if members:
        parts["groups"] = _of_text([[group, _sum(np.packbits(mask).tobytes())] for group, mask in members.items()])
    if features is not None:
        parts["set_level"] = _of_text(features)
    return parts | {"all": _of_text(parts)}


def _rounded(values: FloatArray) -> bytes:
    mantissa, exponent = np.frexp(values)
    return np.rint(np.ldexp(mantissa, DIGITS)).astype("<i8").tobytes() + np.asarray(exponent).astype("<i4").tobytes()


def _of_text(value: Any) -> str:
    return _sum(json.dumps(value, sort_keys=True, ensure_ascii=False).encode())


def _sum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
