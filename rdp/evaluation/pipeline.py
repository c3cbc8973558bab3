"""The loop of a run: tasks to workers, rows to the folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from rdp.errors import RdpError
from rdp.evaluation.stream import Stream
from rdp.evaluation.tasks import BatchResult, CellResult, ImageTask, Seconds, TaskResult, WorkerSettings
from rdp.execution import Outcome, Progress, WorkerPool
from rdp.tables import FAILED, RunWriter

_HOPELESS = 8
"""So many worker deaths before the first result: it is not a codec, it is the installation."""

Task = TypeVar("Task")
Result = TypeVar("Result", TaskResult, BatchResult)


@dataclass
class Tally:
    """What a run has done: cells made, scored again, failed; where the workers' time went."""

    encoded: int = 0
    scored: int = 0
    failed: int = 0
    failed_scores: int = 0
    messages: dict[str, int] = field(default_factory=dict)
    seconds: Seconds = field(default_factory=Seconds)
    wall_s: float = 0.0

    def count(self, cell: CellResult) -> None:
        if cell.failed:
            self.failed += 1
        elif cell.row is not None:
            self.encoded += 1
        else:
            self.scored += 1
        self.failed_scores += cell.failed_scores
        own = cell.row["message"] if cell.row else None
        for message in [own, *(row["message"] for row in cell.scores.values())]:
            if message is not None:
                self.messages[message] = self.messages.get(message, 0) + 1


def run_stream(
    stream: Stream[Task, Result],
    work: Callable[[Task], Result],
    settings: WorkerSettings,
    pool: WorkerPool,
    writer: RunWriter,
    progress: Progress,
    tally: Tally,
) -> None:
    """Do all tasks of a stream, adding to the tally.

    Raises what ends a run: a folder that cannot be written, an image that changed.
    """
    begin = time.monotonic()
    for outcome in pool.run(work, stream.draw):
        for cell in _results(outcome, stream, settings, tally):
            writer.add(cell.row, cell.scores, cell.replaces)
            tally.count(cell)
            progress.advance()
    tally.wall_s += time.monotonic() - begin


def _results(
    outcome: Outcome[Task, Result], stream: Stream[Task, Result], settings: WorkerSettings, tally: Tally
) -> Sequence[CellResult]:
    if outcome.error is not None:
        raise outcome.error
    if outcome.result is not None:
        stream.put_back(outcome.task, outcome.result)
        tally.seconds.add(outcome.result.seconds)
        return outcome.result.cells
    death = outcome.death or "the worker process died"
    suspect = stream.suspect(outcome.task)
    if suspect is None:
        return ()
    if tally.encoded + tally.scored == 0 and tally.failed >= _HOPELESS:
        raise RdpError(f"worker processes die before any result ({death}): check the installation with one image")
    return [_dead_cell(suspect, settings, death)]


def _dead_cell(task: ImageTask, settings: WorkerSettings, death: str) -> CellResult:
    work = task.cells[0]
    message = f"{death} while working on this cell"
    if work.known is not None:
        # The cell itself stands; only its scores are missing.
        scores: dict[str, dict[str, Any]] = {
            name: {**task.key(work), **dict.fromkeys(settings.columns[name]), "message": message}
            for name in work.metrics
        }
        return CellResult(work, None, scores, replaces=True)
    row = {**task.blank_row(work, settings), "status": FAILED, "message": message}
    return CellResult(work, row, {}, work.replaces)
