"""Scoring in a worker: the cells that wait to be scored, metric by metric, and what a failure leaves behind."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdp.errors import MetricError, RdpError
from rdp.evaluation.tasks import CellResult, CellWork, ImageTask, Seconds, WorkerSettings

if TYPE_CHECKING:
    import numpy as np

    from rdp.codecs import Codec
    from rdp.metrics import Metric
    from rdp.metrics.base import Prepared

    Pixels = np.ndarray[Any, Any]


@dataclass
class Pending:
    """A cell that is decoded and waits to be scored."""

    work: CellWork
    row: dict[str, Any] | None
    reconstruction: Pixels
    metrics: tuple[str, ...]
    replaces: bool


@dataclass
class WorkerState:
    """What a worker keeps between tasks: its codecs and metrics, and the image that it saw last."""

    settings: WorkerSettings
    codecs: dict[str, Codec] = field(default_factory=dict)
    metrics: dict[str, Metric] = field(default_factory=dict)
    image: str = ""
    pixels: Pixels | None = None
    prepared: dict[str, Prepared] = field(default_factory=dict)
    encoded: tuple[str, bytes, float] | None = None

    def original(self) -> Pixels:
        """The image that is being worked on."""
        if self.pixels is None:
            raise RuntimeError("no image is loaded")
        return self.pixels


def score(state: WorkerState, task: ImageTask, pending: Sequence[Pending], seconds: Seconds) -> dict[str, CellResult]:
    """Score the waiting cells, metric by metric, each over all cells that want it; results by point."""
    begin = time.perf_counter()
    scores: list[dict[str, dict[str, Any]]] = [{} for _ in pending]
    for name in dict.fromkeys(name for cell in pending for name in cell.metrics):
        wanting = [i for i, cell in enumerate(pending) if name in cell.metrics]
        rows = _score_metric(state, name, [pending[i].reconstruction for i in wanting])
        for i, values in zip(wanting, rows, strict=True):
            scores[i][name] = {**task.key(pending[i].work), **values}
    seconds.score += time.perf_counter() - begin
    return {
        cell.work.point.name: CellResult(cell.work, cell.row, rows, cell.replaces)
        for cell, rows in zip(pending, scores, strict=True)
    }


def _score_metric(state: WorkerState, name: str, reconstructions: Sequence[Pixels]) -> list[dict[str, Any]]:
    """One row of values a reconstruction; where the batch fails, each is tried alone, so that one cannot spoil it."""
    if name not in state.metrics:
        return [_failed_score(state, name, state.settings.missing[name]) for _ in reconstructions]
    try:
        return list(_score_batch(state, name, reconstructions))
    except Exception as error:  # noqa: BLE001 - any failure of a metric is a failed score, whatever library it came from
        if len(reconstructions) > 1:
            return [row for one in reconstructions for row in _score_metric(state, name, [one])]
        return [_failed_score(state, name, describe_error(error))]


def _score_batch(state: WorkerState, name: str, reconstructions: Sequence[Pixels]) -> Iterator[dict[str, Any]]:
    metric = state.metrics[name]
    if name not in state.prepared:
        state.prepared[name] = metric.prepare(state.original())
    values = metric.score(state.prepared[name], reconstructions)
    for column, numbers in values.items():
        if len(numbers) != len(reconstructions):
            raise MetricError(
                f"metric {name!r} gave {len(numbers)} values of {column} for {len(reconstructions)} images"
            )
    for i in range(len(reconstructions)):
        yield {**{column: numbers[i] for column, numbers in values.items()}, "message": None}


def _failed_score(state: WorkerState, name: str, message: str) -> dict[str, Any]:
    return {**dict.fromkeys(state.settings.columns[name]), "message": message}


def describe_error(error: BaseException) -> str:
    """One line for a failed row: our own messages as they are, others with their type and place."""
    if isinstance(error, RdpError):
        return str(error)
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" ({Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})" if trace else ""
    return f"{type(error).__name__}: {error}{place}"
