"""Scoring in a worker: the cells that wait to be scored, metric by metric, and what a failure leaves behind."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdp.errors import MetricError, RdpError
from rdp.evaluation.tasks import CellResult, CellWork, ImageTask, Seconds, WorkerSettings

if TYPE_CHECKING:
    import numpy as np

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
class Original:
    """An image that is being worked on: its pixels, and what each metric has prepared of it."""

    sha256: str
    pixels: Pixels
    prepared: dict[str, Prepared] = field(default_factory=dict)


@dataclass
class Scorer:
    """The metrics of a worker, ready. `missing` names those that cannot be had, and why."""

    metrics: dict[str, Metric]
    missing: Mapping[str, str]
    columns: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, settings: WorkerSettings) -> Scorer:
        """Make the metrics of a run."""
        return cls(
            {plan.name: plan.create(settings.device) for plan in settings.metrics}, settings.missing, settings.columns
        )

    def score(
        self, original: Original, task: ImageTask, pending: Sequence[Pending], seconds: Seconds
    ) -> dict[str, CellResult]:
        """Score the waiting cells, metric by metric, each over all cells that want it; results by point."""
        begin = time.perf_counter()
        scores: list[dict[str, dict[str, Any]]] = [{} for _ in pending]
        for name in dict.fromkeys(name for cell in pending for name in cell.metrics):
            wanting = [i for i, cell in enumerate(pending) if name in cell.metrics]
            rows = self._score_metric(original, name, [pending[i].reconstruction for i in wanting])
            for i, values in zip(wanting, rows, strict=True):
                scores[i][name] = {**task.key(pending[i].work), **values}
        seconds.score += time.perf_counter() - begin
        return {
            cell.work.point.name: CellResult(cell.work, cell.row, rows, cell.replaces)
            for cell, rows in zip(pending, scores, strict=True)
        }

    def _score_metric(self, original: Original, name: str, reconstructions: Sequence[Pixels]) -> list[dict[str, Any]]:
        """One row of values a reconstruction; where the batch fails, each is tried alone, that one may not spoil it."""
        if name not in self.metrics:
            return [self._failed(name, self.missing[name]) for _ in reconstructions]
        try:
            return list(self._score_batch(original, name, reconstructions))
        except Exception as error:  # noqa: BLE001 - any failure of a metric is a failed score, whatever library it came from
            if len(reconstructions) > 1:
                return [row for one in reconstructions for row in self._score_metric(original, name, [one])]
            return [self._failed(name, describe_error(error))]

    def _score_batch(
        self, original: Original, name: str, reconstructions: Sequence[Pixels]
    ) -> Iterator[dict[str, Any]]:
        metric = self.metrics[name]
        if name not in original.prepared:
            original.prepared[name] = metric.prepare(original.pixels)
        values = metric.score(original.prepared[name], reconstructions)
        for column, numbers in values.items():
            if len(numbers) != len(reconstructions):
                raise MetricError(
                    f"metric {name!r} gave {len(numbers)} values of {column} for {len(reconstructions)} images"
                )
        for i in range(len(reconstructions)):
            yield {**{column: numbers[i] for column, numbers in values.items()}, "message": None}

    def _failed(self, name: str, message: str) -> dict[str, Any]:
        return {**dict.fromkeys(self.columns[name]), "message": message}


def describe_error(error: BaseException) -> str:
    """One line for a failed row: our own messages as they are, others with their type and place."""
    if isinstance(error, RdpError):
        return str(error)
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" ({Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})" if trace else ""
    return f"{type(error).__name__}: {error}{place}"
