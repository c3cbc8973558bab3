"""The side information of a delivery by its definition: what it adds to the rates, and which budgets hold with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from rdp.report.manifest import Manifest
from rdp.selection.index_cost import IndexCost, index_cost
from rdp.selection.problem import weighted_mean
from rdp.selection.statement import Sense, Weighting

if TYPE_CHECKING:
    Pixels = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Charges:
    """What naming the points adds to each image, and where it counts.

    `added` (N,) by column; empty where it is not charged. `solved`: the selection was solved with it, so that its
    objective and its budgets of both senses include it; else it is held against upper bounds alone, after the solve.
    """

    pixels: Pixels
    cost: IndexCost
    solved: bool
    added: Mapping[str, Pixels] = field(default_factory=dict)

    def to(self, column: str, sense: Sense) -> Pixels:
        """What counts in a bound of that sense, by image (N,)."""
        if column in self.added and (self.solved or sense == "at_most"):
            return self.added[column]
        return np.zeros(len(self.pixels))

    def solved_in(self, column: str, weighting: Weighting) -> float:
        """By how much the selection's own average of a column is above that of the files."""
        if not self.solved or column not in self.added:
            return 0.0
        return weighted_mean(self.added[column], self.weights(weighting))

    def weights(self, weighting: Weighting) -> Pixels:
        """The weights (N,) of an average."""
        return self.pixels if weighting == "pixels" else np.ones(len(self.pixels))


def charges_of(manifest: Manifest) -> Charges:
    """By the points that were offered and the words of the statement, not by the bits that the manifest states.

    What is no list of points or no limit counts as none: `check_statement` reports it.
    """
    pixels = np.array([one.width * one.height for one in manifest.files], dtype=np.float64)
    offered, statement = manifest.selection.get("points"), manifest.selection.get("statement")
    words = statement if isinstance(statement, dict) else {}
    points = max(len(offered), 1) if isinstance(offered, list) else 1
    cost = index_cost(points, len(pixels), _limit_of(words), pixels)
    solved = words.get("side_info") is True
    charged = solved or manifest.side_information.charged
    return Charges(pixels, cost, solved, cost.added if charged else {})


def _limit_of(words: Mapping[str, Any]) -> int | None:
    """The limit on the points in the words of a statement, None where there is none."""
    limit = words.get("max_points")
    return limit if isinstance(limit, int) and not isinstance(limit, bool) and limit > 0 else None
