"""`StreamedSelection`: the answer to a problem whose table need not fit in memory, without the choice itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rdp.selection.problem import Goal
from rdp.selection.result import Budget, relative_gap
from rdp.selection.statement import Statement
from rdp.selection.status import Status

DEFAULT_STREAMED_GAP = 1e-6
"""Relative distance from the bound that counts as optimal: among many images it is far below what is measured."""


@dataclass(frozen=True, eq=False)
class StreamedSelection:
    """What `solve_streamed` returns, also when there is no selection.

    `objective` and `averages` (column -> weighted average over the chosen cells) are taken from the files in a pass of
    their own; `bound` is what no selection can pass. `counts` maps every point to the number of images that take it,
    and is None without a selection. `chosen_file` holds dataset, image and point of every image. `nbytes_read` are the
    stored bytes of the columns that were read, all passes together; `peak_memory` is of the whole process. `in_order`:
    the rows of each image stood together and needed no temporary files. `left_open` images were left for the exact
    part.
    """

    source: str
    statement: Statement
    status: Status
    objective: float | None
    bound: float | None
    budgets: tuple[Budget, ...]
    images: int
    points: tuple[str, ...]
    counts: Mapping[str, int] | None = None
    averages: Mapping[str, float] = field(default_factory=dict)
    explanation: str = ""
    warnings: tuple[str, ...] = ()
    elapsed_s: float = 0.0
    allowed_gap: float = DEFAULT_STREAMED_GAP
    nbytes_read: int = 0
    memory: int = 0
    peak_memory: int = 0
    in_order: bool = True
    passes: int = 0
    left_open: int = 0
    chosen_file: Path | None = None
    solver: str = ""

    @property
    def found(self) -> bool:
        """Whether there is a selection."""
        return self.counts is not None

    @property
    def goal(self) -> Goal:
        """Which way the objective goes."""
        return self.statement.goal

    @property
    def gap(self) -> float | None:
        """|objective - bound| / max(|objective|, 1e-12), or None where either is not known."""
        if self.objective is None or self.bound is None:
            return None
        return relative_gap(self.objective, self.bound)

    @property
    def prices(self) -> dict[str, float | None]:
        """Price of every budget by column, or by `column sense` where a column is bounded on both sides."""
        columns = [budget.column for budget in self.budgets]
        return {b.column if columns.count(b.column) == 1 else f"{b.column} {b.sense}": b.price for b in self.budgets}

    def to_dict(self) -> dict[str, Any]:
        """The document beside the chosen points: as `selection.json`, with `chosen_file` in place of `chosen`."""
        from rdp.selection.streaming.chosen_file import streamed_document

        return streamed_document(self)
