"""`solve_streamed`: a certified selection from files of any size, in bounded memory.

The keys are read once (`rdp.selection.parquet_source`), the values in about one pass (`rdp.selection.passes`). One more
pass takes every average anew from the chosen cells, in float64, and writes the points beside the names of the images,
which are not held in memory either.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from rdp.errors import SpecError
from rdp.selection.memory import parse_memory
from rdp.selection.parquet_rules import NoPointLeftError
from rdp.selection.parquet_source import ParquetSource
from rdp.selection.passes import solve_blocks
from rdp.selection.statement import Statement
from rdp.selection.status import Status

DEFAULT_STREAMED_GAP = 1e-6
"""Relative distance from the bound that counts as optimal: among many images it is far below what is measured."""
SOLVER = "dual, streamed"
SAME = 1e-9
"""The averages that the passes kept and those taken anew agree to this part."""


def solve_streamed(
    path: str | Path,
    statement: Statement,
    *,
    memory: int | str,
    gap: float = DEFAULT_STREAMED_GAP,
    time_limit: float | None = None,
    out: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    scratch: str | Path | None = None,
    threads: int | None = None,
) -> StreamedSelection:
    """Choose one point for every image of a run folder or Parquet file that need not fit in memory.

    `memory` bounds the peak of the whole process: bytes, or a text such as `2GB`. `out` is a .parquet file for the
    points (dataset, image, point), with a .json document beside it; both are there completely or not at all. `columns`
    maps our column names to the file's, `scratch` is a folder for temporary files where rows do not lie in order.
    `time_limit` in seconds stops the search between its steps; the passes over the files that it has begun are made.

    Raises `TableError` and `RunFolderError` for files that cannot be used, and `SpecError` for too little memory and
    for what a streamed solve cannot do: budgets for groups, a limit on the number of points, side information.
    """
    started = time.perf_counter()
    _check_options(gap, time_limit)
    target = None if out is None else Path(out)
    if target is not None and target.suffix.lower() != ".parquet":
        raise SpecError(f"--out {target}: the points of a streamed solve are written as .parquet; name such a file")
    ends = math.inf if time_limit is None else started + time_limit
    folder = None if scratch is None else Path(scratch)
    with ParquetSource(path, statement, parse_memory(memory), columns=columns, scratch=folder) as source:
        solve = _Solve(source, parse_memory(memory), gap, started)
        try:
            answer = solve_blocks(source, gap=gap, ends=ends, threads=threads)
        except NoPointLeftError as error:
            return solve.nothing(Status.INFEASIBLE, str(error), None)
        if answer.choice is None:
            return solve.without_choice(answer, time_limit)
        return solve.found(answer, answer.choice, target)


def _check_options(gap: float, time_limit: float | None) -> None:
    if not (isinstance(gap, (int, float)) and math.isfinite(gap) and gap >= 0):
        raise SpecError(f"gap must be a finite number, 0 or more, not {gap!r}")
    if time_limit is not None and not (
        isinstance(time_limit, (int, float)) and math.isfinite(time_limit) and time_limit > 0
    ):
        raise SpecError(f"the time limit must be a finite number of seconds above 0, not {time_limit!r}")


def images_of(path: str | Path) -> Iterator[tuple[str, str, str]]:
    """(dataset, image, point) of every image, read from a file of chosen points a batch at a time."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, pre_buffer=False) as file:
        for batch in file.iter_batches():
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
