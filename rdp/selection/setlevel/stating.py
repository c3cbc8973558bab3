"""Stating a problem with set-level values: what a table gives, and the values that no cell has on its own."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from rdp.errors import SpecError, TableError
from rdp.selection.builder import state_problem
from rdp.selection.problem import Constraint, Problem, Term
from rdp.selection.statement import Statement
from rdp.tables import CellTable

USUAL = "bpp"


def state_set_problem(table: CellTable, statement: Statement, target: str | None, bounds: Collection[str]) -> Problem:
    """The problem of the columns of a statement; its objective counts for nothing where a set-level value is minimised.

    `target` is the set-level value that the statement minimises, if it does, and `bounds` are those that it holds to
    at most a value. Both stay in the problem's statement, and `with_set_columns` adds them to the problem.
    """
    said = dict(statement.at_most)
    plain = replace(statement, at_most={name: value for name, value in said.items() if name not in bounds})
    if target is not None:
        plain = replace(plain, minimize=_some_column(table, plain))
    problem = state_problem(table, plain)
    words = replace(problem.statement, at_most=said)
    if target is None:
        return replace(problem, statement=words)
    column, columns = plain.objective, dict(problem.columns)
    if all(one.term.column != column or one.group for one in problem.constraints):
        columns = {column: problem.objective} | columns
    return replace(problem, statement=replace(words, minimize=target), columns=columns)


def _some_column(table: CellTable, statement: Statement) -> str:
    """A column to state the problem with: one that is bounded anyway, or one that every cell has."""
    named = [*statement.at_most, *statement.at_least]
    if named:
        return named[0]
    known = table.numeric_columns
    if not known:
        raise TableError(f"{table.source} has no numeric column")
    return USUAL if USUAL in known else known[0]


def with_set_columns(problem: Problem, target: str | None, bounds: Sequence[tuple[str, float]]) -> Problem:
    """The problem with its set-level values as columns without values, and their budgets as constraints.

    Budgets stand after those of all images and before those of groups.
    """
    whole = [one for one in problem.constraints if not one.group]
    whole += [Constraint(missing_term(name, problem), "at_most", budget) for name, budget in bounds]
    constraints = (*whole, *(one for one in problem.constraints if one.group))
    if target is None:
        return replace(problem, constraints=constraints)
    return replace(problem, objective=missing_term(target, problem), goal="minimize", constraints=constraints)


def missing_term(name: str, problem: Problem) -> Term:
    """A column of a set-level value: no cell has one on its own."""
    return constant_term(name, problem, np.nan)


def constant_term(name: str, problem: Problem, value: float) -> Term:
    """A column with one value everywhere, which is then its average whatever is chosen."""
    return Term(name, np.full(problem.shape, value), np.ones(problem.shape[0]), "images")


def with_constants(problem: Problem, values: Mapping[str, float]) -> Problem:
    """The problem with constants for the columns named, wherever they stand."""

    def filled(term: Term) -> Term:
        return constant_term(term.column, problem, values[term.column]) if term.column in values else term

    return replace(
        problem,
        objective=filled(problem.objective),
        constraints=tuple(replace(one, term=filled(one.term)) for one in problem.constraints),
    )


def set_columns(problem: Problem) -> tuple[str, ...]:
    """The columns that `with_set_columns` has added: those that are optimised or bounded, and have no value at all."""
    terms = {term.column: term for term in (problem.objective, *(one.term for one in problem.constraints))}
    return tuple(column for column, term in terms.items() if np.isnan(term.values).all())


def refuse_sets(problem: Problem, what: str) -> None:
    """Raise `SpecError` for a problem with set-level values; `what` is what cannot be had of one."""
    names = set_columns(problem)
    if names:
        raise SpecError(
            f"{what} cannot be had of a selection for {' and '.join(names)}, which is of all images together and "
            "has no value of its own at an image"
        )
