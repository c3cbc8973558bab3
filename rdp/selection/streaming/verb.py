"""`solve_streamed`: a certified selection from files of any size, in bounded memory.

The keys are read once (`rdp.selection.streaming.source`), the values in about one pass (`solve_blocks`). One more
pass takes every average anew from the chosen cells, in float64, and writes the points beside the names of the images,
which are not held in memory either. Where the numbers that matter are few after all, they are solved as in memory.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from rdp.errors import SpecError
from rdp.selection.large import LARGE
from rdp.selection.statement import Statement
from rdp.selection.status import Status
from rdp.selection.streaming.memory import memory_given_back, parse_memory
from rdp.selection.streaming.outcome import Outcome
from rdp.selection.streaming.rules import NoPointLeftError
from rdp.selection.streaming.search import is_small, search_passes, search_whole
from rdp.selection.streaming.selection import DEFAULT_STREAMED_GAP, StreamedSelection
from rdp.selection.streaming.source import ParquetSource


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
    largest: int = LARGE,
) -> StreamedSelection:
    """Choose one point for every image of a run folder or Parquet file that need not fit in memory.

    `memory` bounds the peak of the whole process: bytes, or a text such as `2GB`. `out` is a .parquet file for the
    points (dataset, image, point), with a .json document beside it; both are there completely or not at all. `columns`
    maps our column names to the file's, `scratch` is a folder for temporary files where rows do not lie in order.
    `time_limit` in seconds stops the search between its steps; the passes over the files that it has begun are made.
    Problems of at most `largest` numbers (cells times used columns) are collected and solved as in memory.

    Returns also when there is no selection: read `status` and `explanation`. Raises `TableError` and `RunFolderError`
    for files that cannot be used, and `SpecError` for too little memory and for what cannot be streamed: groups,
    a limit on the number of points, side information, and points that share files (but with `decoder_info` False).
    """
    started = time.perf_counter()
    _check_options(gap, time_limit)
    nbytes = parse_memory(memory)
    target = None if out is None else Path(out)
    if target is not None and target.suffix.lower() != ".parquet":
        raise SpecError(f"--out {target}: the points of a streamed solve are written as .parquet; name such a file")
    folder = None if scratch is None else Path(scratch)
    ends = math.inf if time_limit is None else started + time_limit
    with memory_given_back(), ParquetSource(path, statement, nbytes, columns=columns, scratch=folder) as source:
        outcome = Outcome(source, nbytes, gap, time_limit, started)
        try:
            if is_small(source, largest):
                found = search_whole(source, gap, ends)
            else:
                found = search_passes(source, gap, ends, threads)
        except NoPointLeftError as error:
            return outcome.nothing(Status.INFEASIBLE, str(error), None)
        if found.choice is None:
            return outcome.without_choice(found)
        return outcome.found(found, found.choice, target)


def _check_options(gap: float, time_limit: float | None) -> None:
    if not (isinstance(gap, (int, float)) and math.isfinite(gap) and gap >= 0):
        raise SpecError(f"gap must be a finite number, 0 or more, not {gap!r}")
    if time_limit is not None and not (
        isinstance(time_limit, (int, float)) and math.isfinite(time_limit) and time_limit > 0
    ):
        raise SpecError(f"the time limit must be a finite number of seconds above 0, not {time_limit!r}")


def chosen_points(path: str | Path) -> Iterator[tuple[str, str, str]]:
    """(dataset, image, point) of every image, read from a file of chosen points a batch at a time."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, pre_buffer=False) as file:
        for batch in file.iter_batches():
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
