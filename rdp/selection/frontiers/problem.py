"""The problem of a frontier: what was asked, a constraint for each swept column, and what is attainable of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from rdp.columns import Column, describe
from rdp.errors import SpecError, TableError, suggest
from rdp.selection.builder import state_problem
from rdp.selection.frontiers.grid import Sweep, Sweeps
from rdp.selection.problem import Constraint, Problem
from rdp.selection.statement import Sense, Statement
from rdp.tables import read_table


def described_columns(
    source: Any, given: Sweeps | None, senses: Mapping[str, Sense] | None, columns: Mapping[str, str] | None
) -> Mapping[str, Column]:
    """What the table's run says of columns that `rdp.columns` does not list; nothing where no sweep needs it.

    Raises `TableError` for a swept column that is not there or not numeric, where its direction is not listed: asked
    for its direction, one would look for the mistake in the wrong place. With a direction, the table is read later and
    tells as much.
    """
    if isinstance(source, Problem):
        return source.described
    asked = [given] if isinstance(given, str) else list(given) if isinstance(given, Mapping) else []
    names = [name for name in asked if isinstance(name, str) and name and name not in (senses or {})]
    unknown = [name for name in names if describe(name).direction is None]
    if not unknown:
        return {}
    table = read_table(source, columns)
    table.require(unknown)
    return table.described


def attainable(problem: Problem, sweep: Sweep) -> float | None:
    """The least average of a swept column that any choice of allowed points has (the largest, for at least).

    Other budgets, and how many points may be used, are not heeded. None where an image has no point at all.
    """
    if not problem.allowed.any(axis=1).all():
        return None
    term = problem.terms[sweep.column]
    sign = 1.0 if sweep.sense == "at_most" else -1.0
    return term.average(np.where(problem.allowed, sign * term.values, np.inf).argmin(axis=1))


def swept_problem(source: Any, words: Mapping[str, Any], sweeps: tuple[Sweep, ...]) -> Problem:
    """The problem with a constraint for every sweep, whose budget is still to be set.

    `source` is a table, and `words` are those of `rdp.solve` that were said; or a `Problem`, without words. Raises
    `SpecError` and `TableError` for what cannot be solved as stated.
    """
    if isinstance(source, Problem):
        if words:
            raise SpecError(f"a Problem brings its own words; leave out {', '.join(words)}, or give the table instead")
        _check_swept(source.objective.column, source.statement.at_most, source.statement.at_least, sweeps)
        return _with_sweeps(source, sweeps)
    statement = Statement.of(**words)
    _check_swept(statement.objective, statement.at_most, statement.at_least, sweeps)
    bounds: dict[Sense, dict[str, float]] = {"at_most": dict(statement.at_most), "at_least": dict(statement.at_least)}
    for one in sweeps:
        bounds[one.sense][one.column] = one.loosest if one.values else 0.0
    swept = Statement.of(**{**words, "at_most": bounds["at_most"], "at_least": bounds["at_least"]})
    return state_problem(read_table(source, statement.columns or None), swept)


def _check_swept(
    objective: str, at_most: Mapping[str, float], at_least: Mapping[str, float], sweeps: tuple[Sweep, ...]
) -> None:
    for sweep in sweeps:
        if sweep.column == objective:
            raise SpecError(f"{objective!r} is optimised, so its budget is not swept; sweep another column")
        fixed = at_most if sweep.sense == "at_most" else at_least
        if sweep.column in fixed:
            raise SpecError(
                f"{sweep.column!r} is swept and bounded on the same side ({sweep.sense} {fixed[sweep.column]:g}); "
                "leave the bound out, the sweep sets it"
            )


def _with_sweeps(problem: Problem, sweeps: tuple[Sweep, ...]) -> Problem:
    """A `Problem` of the user's with the constraints of the sweeps added, in canonical order."""
    constraints = list(problem.constraints)
    terms = problem.terms
    for sweep in sweeps:
        if sweep.column not in terms:
            known = tuple(terms)
            raise TableError(
                f"there is no column {sweep.column!r} to sweep.{suggest(sweep.column, known)} There are: "
                f"{', '.join(known)}"
            )
        term = terms[sweep.column]
        wrong = np.argwhere(problem.allowed & ~np.isfinite(term.values))
        if len(wrong):
            image, point = wrong[0]
            raise TableError(
                f"{sweep.column} of {problem.labels[image]!r} at {problem.points[point]!r} is "
                f"{term.values[image, point]}; mark the cell as not allowed"
            )
        constraints.append(Constraint(term, sweep.sense, 0.0))
    whole = sorted((c for c in constraints if not c.group), key=lambda c: (c.term.column, c.sense))
    used = {problem.objective.column, *(constraint.term.column for constraint in whole)}
    return replace(
        problem,
        constraints=(*whole, *(c for c in constraints if c.group)),
        columns={name: term for name, term in problem.columns.items() if name not in used},
    )
