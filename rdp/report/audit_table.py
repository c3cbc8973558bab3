"""What the rows of an audit are made from: cells, averages, scorers, mixtures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rdp.execution import Progress
from rdp.report.audit_measures import Measure, SetMeasure, measure_of
from rdp.report.audit_mixtures import Mixture
from rdp.report.averages import Average, Cells
from rdp.selection.problem import IntArray


@dataclass(frozen=True, eq=False)
class Table:
    """What rows are made from: `places` are the numbers of the audited points, in whose order the scorers count."""

    cells: Cells
    places: tuple[int, ...]
    rate: Average
    averages: tuple[Average, ...]
    scored: tuple[SetMeasure, ...]
    mixtures: tuple[Mixture, ...]
    draws: int
    resamples: int
    seed: int
    progress: Progress

    @property
    def images(self) -> int:
        """How many images there are."""
        return len(self.cells.grid.images)

    @property
    def measures(self) -> tuple[Measure, ...]:
        """All columns but the rate."""
        return (*map(measure_of, self.averages), *(one.measure for one in self.scored))

    def rate_of(self, choice: IntArray) -> float:
        """The average rate of a choice (N,) of the run's point numbers."""
        return self.rate.of(self.cells.average(self.rate, choice, {}))

    def values(self, choice: IntArray) -> dict[str, float]:
        """Every measure of a choice (N,) of the run's point numbers."""
        found = {one.key: one.of(self.cells.average(one, choice, {})) for one in self.averages}
        own = np.searchsorted(np.array(self.places), choice)
        return found | {one.measure.key: one.scorer.score(own) for one in self.scored}

    def single(self, place: int) -> IntArray:
        """One point for all images."""
        return np.full(self.images, place, np.int64)
