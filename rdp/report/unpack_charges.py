"""The bits beside the files of a delivery by their definitions: what they add to rates, which budgets hold with them.

These are the side information (`rdp.selection.index_cost`) or the bits that name decoders (`decoder_cost`).
"""

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
    """What naming points or decoders adds to each image, and where it counts.

    `cost` is the side information, whether or not it is charged. `own` (N,) by column are the bits that the selection
    was solved with, `own_bits` their sum: its objective and its budgets of both senses include them. `upper` (N,) are
    those that upper bounds hold with: the same, or the side information that was charged after the solve.
    """

    pixels: Pixels
    cost: IndexCost
    own_bits: float = 0.0
    own: Mapping[str, Pixels] = field(default_factory=dict)
    upper: Mapping[str, Pixels] = field(default_factory=dict)

    def to(self, column: str, sense: Sense) -> Pixels:
        """What counts in a bound of that sense, by image (N,)."""
        added = self.upper if sense == "at_most" else self.own
        return added[column] if column in added else np.zeros(len(self.pixels))

    def solved_in(self, column: str, weighting: Weighting) -> float:
        """By how much the selection's own average of a column is above that of the files."""
        return weighted_mean(self.own[column], self.weights(weighting)) if column in self.own else 0.0

    def weights(self, weighting: Weighting) -> Pixels:
        """The weights (N,) of an average."""
        return self.pixels if weighting == "pixels" else np.ones(len(self.pixels))


def charges_of(manifest: Manifest) -> Charges:
    """By what was offered, the decoders of each file, and the words of the statement, not by the bits that it states.

    What is no list of points or no limit counts as none: `check_statement` reports it.
    """
    pixels = np.array([one.width * one.height for one in manifest.files], dtype=np.float64)
    offered, statement = manifest.selection.get("points"), manifest.selection.get("statement")
    words = statement if isinstance(statement, dict) else {}
    points = max(len(offered), 1) if isinstance(offered, list) else 1
    cost = index_cost(points, len(pixels), _limit_of(words), pixels)
    if words.get("side_info") is True:
        return Charges(pixels, cost, cost.total_bits, cost.added, cost.added)
    own_bits, own = 0.0, {}
    if words.get("decoder_info") is True:
        bits = np.log2(np.array([one.decoders for one in manifest.files], dtype=np.float64))
        own_bits, own = float(bits.sum()), {"nbytes": bits / 8, "bpp": bits / pixels}
    return Charges(pixels, cost, own_bits, own, cost.added if manifest.side_information.charged else own)


def _limit_of(words: Mapping[str, Any]) -> int | None:
    """The limit on the points in the words of a statement, None where there is none."""
    limit = words.get("max_points")
    return limit if isinstance(limit, int) and not isinstance(limit, bool) and limit > 0 else None
