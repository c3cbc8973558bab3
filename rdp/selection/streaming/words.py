"""What a streamed solve says in words: prices, and what each constraint alone can reach."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rdp.selection.explaining.explanation import safe
from rdp.selection.linear import MEAN_TOLERANCE
from rdp.selection.price_words import price_sentence
from rdp.selection.problem import Constraint, Problem, Term
from rdp.selection.statement import Statement


def empty_problem(statement: Statement, points: Sequence[str]) -> Problem:
    """The statement as a problem without images, for what only needs its names."""
    shape = (0, len(points))
    terms = {
        name: Term(name, np.zeros(shape), np.zeros(0), statement.weights.get(name, "images"))
        for name in statement.used_columns
    }
    nothing = np.zeros(shape, np.bool_)
    return Problem(
        datasets=(),
        images=(),
        points=tuple(points),
        present=nothing,
        allowed=nothing,
        objective=terms[statement.objective],
        goal=statement.goal,
        constraints=tuple(Constraint(terms[column], sense, budget) for column, sense, budget in statement.budgets),
        statement=statement,
    )


def price_text(problem: Problem, number: int, price: float | None) -> str:
    """What the price of a budget means."""
    return price_sentence(problem, problem.constraints[number], price)


def attainable_text(
    statement: Statement, best: Sequence[tuple[float, float]], *, proven: bool = False
) -> tuple[list[str], bool]:
    """A line for every budget with the best average that it alone can have, and whether one is out of reach.

    `best` are the averages of every budget's column where each image takes its best point, with the means of the
    absolute values. `proven`: it is known that the budgets cannot be met together.
    """
    lines, impossible = [], False
    for (column, sense, budget), (average, size) in zip(statement.budgets, best, strict=True):
        over = average - budget if sense == "at_most" else budget - average
        out = over > MEAN_TOLERANCE * max(abs(budget), size)
        impossible = impossible or out
        word = "least" if sense == "at_most" else "largest"
        asked = f"{'at most' if sense == 'at_most' else 'at least'} {budget:g} is asked for"
        verdict = "out of reach" if out else "within reach alone"
        lines.append(
            f"  {column}: the {word} average that can be had is {safe(average, sense, budget)}, and {asked}: {verdict}"
        )
    if not impossible and len(statement.budgets) > 1:
        together = "exclude each other" if proven else "leave nothing, or too little to be found"
        lines.append(f"  each can be met alone; together they {together}")
    return lines, impossible
