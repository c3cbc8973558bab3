"""What becomes of the answer of a streamed solve: everything taken anew from the files, checked, and put into words."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rdp.errors import SolverError
from rdp.selection.linear import MEAN_TOLERANCE
from rdp.selection.result import Budget, reaches
from rdp.selection.solver.blocks import Block, Row
from rdp.selection.statement import Sense, Weighting
from rdp.selection.status import Status
from rdp.selection.streaming.chosen_file import ChosenWriter
from rdp.selection.streaming.memory import peak_memory
from rdp.selection.streaming.rules import NoPointLeftError
from rdp.selection.streaming.search import Found
from rdp.selection.streaming.selection import StreamedSelection
from rdp.selection.streaming.source import ParquetSource
from rdp.selection.streaming.words import attainable_text, empty_problem, price_text
from rdp.selection.sums import accurate_sum

SAME = 1e-9
"""A bound that is beyond the objective by less than this part is so by rounding."""


@dataclass(frozen=True, eq=False)
class Average:
    """A weighted mean and the mean of absolute values, from sums that keep the digits."""

    value: float
    size: float


class Sums:
    """Sums of weights, weighted values and weighted absolute values, block by block."""

    def __init__(self) -> None:
        self._parts: list[tuple[float, float, float]] = []

    def add(self, values: np.ndarray, weights: np.ndarray | None) -> None:
        """One block's values (B,)."""
        terms = values if weights is None else values * weights
        total = float(len(values)) if weights is None else accurate_sum(weights)
        if np.isfinite(terms).all():
            self._parts.append((total, accurate_sum(terms), accurate_sum(np.abs(terms))))
        else:
            self._parts.append((total, float(terms.sum()), math.inf))

    def average(self) -> Average:
        """Of all blocks."""
        weights, values, sizes = zip(*self._parts, strict=True)
        total = math.fsum(weights)
        if not all(map(math.isfinite, values)):
            return Average(float(np.sum(values)) / total, math.inf)
        return Average(math.fsum(values) / total, math.fsum(sizes) / total)


class Outcome:
    """What becomes of an answer."""

    def __init__(
        self, source: ParquetSource, memory: int, gap: float, time_limit: float | None, started: float
    ) -> None:
        self.source = source
        self.statement = source.statement
        self.memory = memory
        self.gap = gap
        self.time_limit = time_limit
        self.started = started
        self._sign = 1.0 if self.statement.goal == "minimize" else -1.0

    def found(self, answer: Found, choice: np.ndarray, out: Path | None) -> StreamedSelection:
        """The selection of an answer with a choice: everything taken anew from the files."""
        source = self.source
        if out is None:
            averages, counts = self._retaken(choice, None)
        else:
            with ChosenWriter(out, source.point_names) as writer:
                averages, counts = self._retaken(choice, writer)
                selection = self._selection(answer, averages, counts, out)
                writer.document(selection)
            return selection
        return self._selection(answer, averages, counts, None)

    def _retaken(self, choice: np.ndarray, writer: ChosenWriter | None) -> tuple[dict[str, Average], np.ndarray]:
        source = self.source
        sums = {column: Sums() for column in source.rules.needed}
        counts = np.zeros(source.points, np.int64)
        for block, cells in source.blocks_with_names(writer is not None):
            own = choice[block.first : block.first + block.images]
            rows = np.arange(block.images)
            if block.allowed is not None and not block.allowed[rows, own].all():
                raise SolverError("a point was chosen that may not be: a bug in rdp")
            for column in sums:
                sums[column].add(source.rules.values(cells, column)[rows, own], self._weights(block, column))
            counts += np.bincount(own, minlength=source.points)
            if writer is not None and cells.names is not None:
                writer.add(cells.names, own)
        return {column: total.average() for column, total in sums.items()}, counts

    def _weights(self, block: Block, column: str) -> np.ndarray | None:
        return block.weights[0] if self._weighting(column) == "pixels" else None

    def _weighting(self, column: str) -> Weighting:
        return self.statement.weights.get(column, "images")

    def _selection(
        self, answer: Found, averages: Mapping[str, Average], counts: np.ndarray, out: Path | None
    ) -> StreamedSelection:
        objective = averages[self.statement.objective].value
        signed = self._sign * objective
        size = max(averages[self.statement.objective].size, abs(signed))
        if math.isfinite(answer.bound) and answer.bound - signed > SAME * size:
            raise SolverError(f"the objective is {objective!r} by the files, beyond its bound: a bug in rdp")
        bound = min(float(answer.bound), signed)
        known = math.isfinite(bound)
        proven = known and reaches(signed, bound, self.gap)
        return StreamedSelection(
            status=Status.OPTIMAL if proven else Status.FEASIBLE,
            objective=objective,
            bound=self._sign * bound if known else None,
            budgets=self._budgets(answer, averages),
            counts=dict(zip(self.source.point_names, counts.tolist(), strict=True)),
            averages={column: average.value for column, average in averages.items()},
            chosen_file=out,
            **self._facts(answer),
        )

    def _facts(self, answer: Found | None) -> dict[str, Any]:
        source = self.source
        return {
            "source": source.source,
            "statement": self.statement,
            "images": source.images,
            "points": source.point_names,
            "warnings": (*source.warnings, *(() if answer is None else answer.notes)),
            "elapsed_s": time.perf_counter() - self.started,
            "allowed_gap": self.gap,
            "nbytes_read": source.nbytes,
            "memory": self.memory,
            "peak_memory": peak_memory(),
            "in_order": source.ordered,
            "passes": 0 if answer is None else answer.passes,
            "left_open": 0 if answer is None else answer.left_open,
            "solver": "" if answer is None else answer.solver,
        }

    def _budgets(self, answer: Found | None, averages: Mapping[str, Average]) -> tuple[Budget, ...]:
        out = []
        problem = empty_problem(self.statement, self.source.point_names)
        for number, (column, sense, budget) in enumerate(self.statement.budgets):
            price = None if answer is None else answer.prices[number]
            average = averages.get(column)
            out.append(
                Budget(
                    column=column,
                    sense=sense,
                    budget=budget,
                    weighting=self._weighting(column),
                    average=None if average is None else average.value,
                    slack=None if average is None else _slack(column, sense, budget, average),
                    price=price,
                    sentence=price_text(problem, number, price),
                )
            )
        return tuple(out)

    def nothing(self, status: Status, explanation: str, answer: Found | None) -> StreamedSelection:
        """No selection, and why."""
        bound = None if answer is None or not math.isfinite(answer.bound) else self._sign * float(answer.bound)
        return StreamedSelection(
            status=status,
            objective=None,
            bound=bound if status is Status.UNKNOWN else None,
            budgets=self._budgets(answer, {}),
            explanation=explanation,
            **self._facts(answer),
        )

    def without_choice(self, answer: Found) -> StreamedSelection:
        """Where nothing was found: the explanation, or what each constraint alone can reach, by one more pass."""
        if answer.explanation:
            return self.nothing(answer.status, answer.explanation, answer)
        try:
            least = self._attainable()
        except NoPointLeftError as error:
            return self.nothing(Status.INFEASIBLE, str(error), None)
        proven = answer.status is Status.INFEASIBLE
        lines, impossible = attainable_text(self.statement, least, proven=proven)
        if impossible or proven:
            # What the answer says of prices that were not found is no news then.
            return self.nothing(Status.INFEASIBLE, "\n".join(["no selection keeps to the budgets", *lines]), None)
        within = "" if self.time_limit is None else f" within {self.time_limit:g} s"
        head = f"no selection was found{within}, and no proof that there is none"
        return self.nothing(Status.UNKNOWN, "\n".join([head, *lines]), answer)

    def _attainable(self) -> list[tuple[float, float]]:
        """The best average of every constraint whatever the others say, and what it may be passed by."""
        sums = [Sums() for _ in self.source.rows]
        for block in self.source.blocks():
            for row, total in zip(self.source.rows, sums, strict=True):
                total.add(_best(block, row), None if row.weights is None else block.weights[row.weights])
        averages = [total.average() for total in sums]
        return [(average.value, average.size) for average in averages]


def _best(block: Block, row: Row) -> np.ndarray:
    values = block.columns[row.column]
    if row.sign > 0:
        least: np.ndarray = (values if block.allowed is None else np.where(block.allowed, values, np.inf)).min(axis=1)
        return least
    largest: np.ndarray = (values if block.allowed is None else np.where(block.allowed, values, -np.inf)).max(axis=1)
    return largest


def _slack(column: str, sense: Sense, budget: float, average: Average) -> float:
    """The room that is left; raises `SolverError` where the budget is passed by more than rounding."""
    slack = budget - average.value if sense == "at_most" else average.value - budget
    allowed = MEAN_TOLERANCE * max(abs(budget), average.size)
    if slack < -allowed:
        raise SolverError(f"the average {column} is {average.value!r} by the files, past the budget {budget!r}")
    return 0.0 if abs(slack) <= allowed else slack
