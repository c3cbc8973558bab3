"""The search of a streamed solve: passes over the files, or all numbers collected where they are few."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import numpy as np

from rdp.selection.answering import SEPARABLE, Deadline
from rdp.selection.linear import MEAN_TOLERANCE
from rdp.selection.problem import Constraint, Problem, Term
from rdp.selection.solver.blocks import Block
from rdp.selection.solver.passes import BlockAnswer, solve_blocks
from rdp.selection.solving import solve_problem
from rdp.selection.status import Status
from rdp.selection.streaming.source import ParquetSource

COPIES = 24
"""So many times the numbers of a problem a solve in memory may take."""
TIGHTENINGS = 3


@dataclass(frozen=True, eq=False)
class Found:
    """What a search came to. `objective` and `bound` are of the minimised average, sign included.

    A bound of plus infinity says that the objective is the best there is. `choice` (N,) numbers the points of the
    images as the source hands them out, and is None where nothing was found; `explanation` may then say why. `prices`
    has one entry a budget, None where it is not known.
    """

    status: Status
    solver: str
    choice: np.ndarray | None
    bound: float
    prices: tuple[float | None, ...]
    explanation: str = ""
    notes: tuple[str, ...] = ()
    passes: int = 1
    left_open: int = 0


def is_small(source: ParquetSource, largest: int) -> bool:
    """Whether the numbers are few, and fit in what memory is left, copies and all."""
    numbers = source.images * source.points * len(source.rules.columns)
    return numbers <= largest and numbers * 8 * COPIES <= source.plan.spare


def search_passes(source: ParquetSource, gap: float, ends: float, threads: int | None) -> Found:
    """By passes over the files. Where a budget is passed in the last digits, again with it a little narrower."""
    if not source.rows:
        return _separable(source)
    stated = source.rows
    bound = -math.inf
    for turn in range(TIGHTENINGS):
        answer = solve_blocks(source, gap=gap, ends=ends, threads=threads)
        if not turn:
            bound = answer.bound
        over = _excess(source, answer)
        if answer.choice is None or max(over, default=0.0) <= 0:
            break
        source.rows = tuple(
            replace(row, budget=row.budget - 2 * excess - MEAN_TOLERANCE * abs(row.budget)) if excess > 0 else row
            for row, excess in zip(source.rows, over, strict=True)
        )
    source.rows = stated
    prices = [None] * len(stated) if answer.prices is None else [float(price) for price in answer.prices]
    return Found(
        status=answer.status,
        solver="dual in passes, streamed",
        choice=answer.choice,
        bound=bound,
        prices=tuple(prices),
        notes=(answer.note,) if answer.note else (),
        passes=answer.passes,
        left_open=answer.left_open,
    )


def _separable(source: ParquetSource) -> Found:
    """Without budgets every image takes its best point, the first of several."""
    sign, column = source.objective.sign, source.objective.column
    parts = [_best_points(block, column, sign, np.min_scalar_type(source.points)) for block in source.blocks()]
    return Found(Status.OPTIMAL, f"{SEPARABLE}, streamed", np.concatenate(parts), math.inf, ())


def _best_points(block: Block, column: int, sign: float, kind: np.dtype) -> np.ndarray:
    cost = block.columns[column] * sign
    best: np.ndarray = (cost if block.allowed is None else np.where(block.allowed, cost, np.inf)).argmin(axis=1)
    return best.astype(kind)


def _excess(source: ParquetSource, answer: BlockAnswer) -> list[float]:
    """By how much each budget is passed beyond rounding; sign included."""
    if answer.choice is None:
        return []
    averages = answer.averages.tolist()
    return [
        row.sign * average - sign_budget - MEAN_TOLERANCE * abs(budget)
        for row, average, (_, _, budget) in zip(source.rows, averages, source.statement.budgets, strict=True)
        for sign_budget in [row.sign * budget]
    ]


def search_whole(source: ParquetSource, gap: float, ends: float) -> Found:
    """As in memory, on all numbers; images by dataset and name, so that the order of the rows does not matter."""
    problem, order = _collected(source)
    left = None if math.isinf(ends) else max(ends - time.perf_counter(), 1e-3)
    selection = solve_problem(problem, gap=gap, time_limit=Deadline.of(left).left_s)
    sign = 1.0 if problem.goal == "minimize" else -1.0
    choice = None
    if selection.choice is not None:
        choice = np.empty(len(order), np.int64)
        choice[order] = selection.choice
    return Found(
        status=selection.status,
        solver=f"{selection.solver}, streamed",
        choice=choice,
        bound=-math.inf if selection.bound is None else sign * selection.bound,
        prices=tuple(budget.price for budget in selection.budgets),
        explanation=selection.explanation,
        notes=tuple(note for note in selection.warnings if note not in problem.warnings),
        left_open=len(order),
    )


def _collected(source: ParquetSource) -> tuple[Problem, np.ndarray]:
    """The problem, and which image of the source each of its images is."""
    names: list[tuple[str, str]] = []
    columns: list[list[np.ndarray]] = [[] for _ in source.rules.columns]
    masks, pixels = [], []
    for block, cells in source.blocks_with_names(True):
        if cells.names is not None:
            names += zip(cells.names[0].to_pylist(), cells.names[1].to_pylist(), strict=True)
        for parts, values in zip(columns, block.columns, strict=True):
            parts.append(values)
        masks.append(np.ones(block.columns[0].shape, np.bool_) if block.allowed is None else block.allowed)
        pixels += list(block.weights)
    order = np.array(sorted(range(len(names)), key=names.__getitem__), dtype=np.int64)
    statement = source.statement
    area = np.concatenate(pixels)[order] if pixels else None
    terms = {
        name: Term(name, np.concatenate(parts)[order], *statement.weights_of(name, len(order), area))
        for name, parts in zip(source.rules.columns, columns, strict=True)
    }
    allowed = np.concatenate(masks)[order]
    problem = Problem(
        datasets=tuple(names[k][0] for k in order),
        images=tuple(names[k][1] for k in order),
        points=source.point_names,
        present=allowed,
        allowed=allowed,
        objective=terms[statement.objective],
        goal=statement.goal,
        constraints=tuple(Constraint(terms[column], sense, budget) for column, sense, budget in statement.budgets),
        statement=statement,
        source=source.source,
        warnings=source.warnings,
    )
    return problem, order
