"""Which bits beside the files are part of the rates of a problem: none, the number of the point, or its decoder's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rdp.selection.decoder_cost import charge_decoders, decoder_cost, decoders_of_files
from rdp.selection.grid import Grid
from rdp.selection.index_cost import charge, index_cost
from rdp.selection.naming import CHARGED, Naming
from rdp.selection.sizes import pixels_of
from rdp.selection.statement import Statement
from rdp.selection.terms import BoolArray, FloatArray


def charge_naming(
    values: Mapping[str, FloatArray], statement: Statement, grid: Grid, labels: Sequence[str], choosable: BoolArray
) -> tuple[dict[str, FloatArray], Naming | None, Statement]:
    """The columns (N, M) with the bits, what these are, and the statement that says whether decoders are charged.

    `choosable` (N, M) are the cells that may be chosen but for bounds on each image. In the statement `decoder_info`
    is then True where bits of decoders are charged, False where they would be and were left out by request, and None
    where there are none, so that it says nothing of tables whose points share no file. Raises `SpecError` and
    `TableError` where the bits cannot be added.
    """
    if statement.side_info:
        count, points = grid.shape
        pixels = pixels_of(grid, labels, "side_info")
        charged, index = charge(values, index_cost(points, count, statement.max_points, pixels), grid.table.source)
        return charged, index, replace(statement, decoder_info=None)
    if statement.decoder_info is False:
        # Without a rate there is nothing to leave out.
        shared = any(name in values for name in CHARGED) and decoders_of_files(grid, choosable) is not None
        return dict(values), None, replace(statement, decoder_info=False if shared else None)
    cost = decoder_cost(grid, labels, choosable, values)
    if cost is None:
        return dict(values), None, replace(statement, decoder_info=None)
    return charge_decoders(values, cost), cost, replace(statement, decoder_info=True)
