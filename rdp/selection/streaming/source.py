"""A problem in Parquet files of any size as blocks of images, read anew on every pass (`blocks`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from rdp.errors import SpecError
from rdp.selection.builder import TIME_COLUMNS
from rdp.selection.patterns import require_points, select_points, split_pair
from rdp.selection.problem import BoolArray
from rdp.selection.solver.blocks import Block, BlockSource, Row
from rdp.selection.statement import Statement
from rdp.selection.streaming.cells import FLAG, CellReader, Cells, DirectReader
from rdp.selection.streaming.join import Spill, put_in_order
from rdp.selection.streaming.layout import Scan, scan_tables
from rdp.selection.streaming.memory import Plan, program_memory
from rdp.selection.streaming.rows import open_tables
from rdp.selection.streaming.rules import SIZES, Rules, Tally
from rdp.selection.streaming.sharing import refuse_shared_files
from rdp.selection.streaming.wide import WideReader
from rdp.tables.table import natural_key

PAGE_ROWS = 1 << 17
"""Numbers on a page of a column, which is decoded whole, as files are mostly written."""
SAMPLED_PLACES = 64
"""A sample is taken at so many places, as far as reading there is cheap."""


class ParquetSource(BlockSource):
    """The images of a Parquet file or run folder in the order of its rows, points in natural order.

    `objective` and `rows` are the statement's, `points` the number of points, `point_names` their names, `images` how
    many images there are, `plan` how memory is spent. `warnings` are there after the first complete pass. A context
    manager: where the rows had to be put in order, `close` removes the temporary files.
    """

    def __init__(
        self,
        path: str | Path,
        statement: Statement,
        memory: int,
        *,
        columns: Mapping[str, str] | None = None,
        scratch: Path | None = None,
    ) -> None:
        """Reads the keys once. `memory` in bytes bounds the whole process; `columns` maps our names to the file's.

        Raises `TableError` for what cannot be used, and `SpecError` for too little memory and for what a streamed solve
        cannot do.
        """
        refuse_unstreamed(statement)
        self.source = str(path)
        self.warnings: tuple[str, ...] = ()
        self._spill = Spill(Path(path), scratch)
        self._checked = False
        try:
            self._open(Path(path), statement, memory, columns)
        except BaseException:
            self.close()
            raise

    def _open(self, path: Path, statement: Statement, memory: int, columns: Mapping[str, str] | None) -> None:
        program = program_memory()
        used = statement.used_columns
        sizes = SIZES if "pixels" in statement.weights.values() else ()
        needed = tuple(dict.fromkeys((*used, *statement.bounded_columns, *sizes)))
        tables = open_tables(path, columns, tuple(dict.fromkeys((*needed, *statement.weights, *statement.cap))))
        rough = Plan.of(memory, program, len(tables))
        wanted = _image_names(statement)
        scan = scan_tables(tables, wanted, rough.rows)
        timed = tuple(name for name in needed if name in TIME_COLUMNS) if FLAG in tables[0].names else ()
        self._tables = tables
        wide = None
        if scan.scattered:
            read = (*needed, *([FLAG] if timed else []))
            wide = put_in_order(tables, scan, read, wanted, self._spill, rough)
        images = scan.layouts[0].images if wide is None else int(wide.starts[-1])
        plan = Plan.of(memory, program, len(tables), images, len(scan.own_points) * len(used))
        every = sorted(scan.own_points, key=natural_key)
        keep = select_points(statement.points, every)
        self.point_names = tuple(name for name, kept in zip(every, keep.tolist(), strict=True) if kept)
        self.points, self.images, self.plan = len(self.point_names), images, plan
        self.reader: CellReader
        if wide is None:
            self.reader = DirectReader(tables, scan, self.point_names, plan.rows)
        else:
            self.reader = WideReader(wide, np.flatnonzero(keep))
        self.ordered = wide is None
        self.several_datasets = len(scan.datasets) > 1
        settled, everywhere, stated = self._settled(statement, scan)
        usable = [name for name, kept in zip(self.point_names, everywhere.tolist(), strict=True) if kept]
        shared = refuse_shared_files(tables[0], stated, usable, rough.rows)
        self.statement = replace(stated, decoder_info=False if shared else None)
        self.rules = Rules(self.statement, self.point_names, used, timed, settled, everywhere)
        self.objective = self._row(statement.objective, 1.0 if statement.goal == "minimize" else -1.0, 0.0)
        self.rows = tuple(
            self._row(column, 1.0 if sense == "at_most" else -1.0, budget)
            for column, sense, budget in statement.budgets
        )

    def _row(self, column: str, sign: float, budget: float) -> Row:
        weights = 0 if self.statement.weights.get(column) == "pixels" else None
        return Row(self.statement.used_columns.index(column), sign, weights, sign * budget)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove temporary files."""
        self._spill.close()

    @property
    def nbytes(self) -> int:
        """Bytes read so far, as stored in the files."""
        own = 0 if self.ordered else self.reader.nbytes
        return own + sum(table.nbytes for table in self._tables)

    def label(self, image: int) -> str:
        """What an image is called: its name, or dataset/name when there are several datasets."""
        dataset, name = self.reader.label(image)
        return f"{dataset}/{name}" if self.several_datasets else name

    def blocks(self) -> Iterator[Block]:
        """See `BlockSource`. The first complete pass checks all cells.

        Raises, at its end, `TableError` for cells that cannot be used and `NoPointLeftError` where the rules leave an
        image no point; until then the images before the first such cell have been handed out.
        """
        for block, _ in self.blocks_with_names(False):
            yield block

    def blocks_with_names(self, names: bool) -> Iterator[tuple[Block, Cells]]:
        """The blocks with the cells that they were made from, and on demand the names of the images in these."""
        tally = None if self._checked else Tally()
        with closing(self.reader.cells(self.rules.read, names=names)) as portions:
            for cells in portions:
                block = self.rules.block(cells, tally)
                if tally is None or not tally.trouble:
                    yield block, cells
        if tally is not None:
            self.warnings = self.rules.settle(tally, self.source, self.label)
            self._checked = True

    def sample(self, images: int) -> Iterator[Block]:
        """See `BlockSource`: images from many places of the files, as far as they are cheap to reach."""
        if images >= self.images:
            yield from self.blocks()
            return
        starts = self.reader.cheap_starts()
        places = min(len(starts), SAMPLED_PLACES, images)
        chosen = [starts[k * len(starts) // places] for k in range(places)]
        # All of a page may be drawn from, as it is decoded anyway; more is read where places are few.
        page = max(PAGE_ROWS // self.points, 1)
        span = max(page, min(page * SAMPLED_PLACES, self.images // 8) // places)
        first = 0
        for number, start in enumerate(chosen):
            count = images * (number + 1) // places - images * number // places
            end = min(chosen[number + 1] if number + 1 < places else self.images, start + max(span, count))
            picked = np.unique(start + np.arange(count) * (end - start) // count)
            for block in self._thinned(start, end, picked):
                yield replace(block, first=first)
                first += block.images
        if not first:
            # Not one of them has a point left: the whole pass says so.
            yield from self.blocks()

    def _thinned(self, start: int, end: int, picked: np.ndarray) -> Iterator[Block]:
        with closing(self.reader.cells(self.rules.read, start, end)) as portions:
            for cells in portions:
                block = self.rules.block(cells, None)
                own = picked[(picked >= cells.first) & (picked < cells.first + cells.images)] - cells.first
                if block.allowed is not None:
                    own = own[block.allowed[own].any(axis=1)]
                if len(own):
                    allowed = None if block.allowed is None else block.allowed[own]
                    yield Block(0, tuple(v[own] for v in block.columns), tuple(w[own] for w in block.weights), allowed)

    def _settled(self, statement: Statement, scan: Scan) -> tuple[dict[int, BoolArray], BoolArray, Statement]:
        """What fixing and forbidding leave: masks (M,) by image, the mask of all others, and the pairs in full."""
        points = self.point_names
        several = len(scan.datasets) > 1
        found: dict[str, list[int]] = {}
        for one in scan.found:
            found.setdefault(one.image, []).append(one.number)
            if several:
                found.setdefault(f"{one.dataset}/{one.image}", []).append(one.number)

        def parted(argument: str, pair: tuple[str, str] | str) -> tuple[str, str]:
            if not isinstance(pair, str):
                return pair
            return split_pair(argument, pair, lambda i: i == "*" or i in found, lambda p: bool(_means(p, points)))

        settled: dict[int, BoolArray] = {}
        everywhere = np.ones(len(points), np.bool_)
        pairs = list(statement.fix.items()) if isinstance(statement.fix, Mapping) else list(statement.fix)
        fix = dict(parted("fix", pair) for pair in pairs)
        for image, point in fix.items():
            numbers = _one(found, "fix", image, self.source)
            if len(numbers) > 1:
                raise SpecError(f"fix: {image!r} is in several datasets; write it as dataset/name")
            if point not in points:
                require_points("fix", point, points)
                raise SpecError(f"fix: {point!r} is a pattern; name one point for {image!r}, written out")
            mask = settled.setdefault(numbers[0], np.ones(len(points), np.bool_))
            mask &= np.array([name == point for name in points])
        forbid = tuple(parted("forbid", pair) for pair in statement.forbid)
        for image, point in forbid:
            gone = require_points("forbid", point, points)
            if image == "*":
                everywhere &= ~gone
                continue
            for number in _one(found, "forbid", image, self.source):
                mask = settled.setdefault(number, np.ones(len(points), np.bool_))
                mask &= ~gone
        return settled, everywhere, replace(statement, fix=fix, forbid=forbid)


def refuse_unstreamed(statement: Statement) -> None:
    """Raise `SpecError` for what needs the whole table in memory."""
    said = {
        "--group-at-most, --group-at-least": bool(statement.group_budgets),
        "--max-points": statement.max_points is not None,
        "--side-info": statement.side_info,
    }
    for option, given in said.items():
        if given:
            raise SpecError(f"{option} cannot be had in a streamed solve: leave out --memory, or the option")


def _image_names(statement: Statement) -> list[str]:
    """All names of images that the statement may mean by its fixed and forbidden choices."""
    texts: list[str] = []
    pairs = list(statement.fix.items()) if isinstance(statement.fix, Mapping) else list(statement.fix)
    for pair in (*pairs, *statement.forbid):
        if isinstance(pair, str):
            texts += [pair[:k] for k, letter in enumerate(pair) if letter == "="]
        else:
            texts.append(pair[0])
    # A label is dataset/name, and names hold slashes themselves.
    return list(dict.fromkeys(text[k:] for text in texts for k in _slashes(text)))


def _slashes(text: str) -> list[int]:
    return [0, *(k + 1 for k, letter in enumerate(text) if letter == "/")]


def _means(pattern: str, points: tuple[str, ...]) -> bool:
    from rdp.selection.patterns import match_points

    return bool(match_points(pattern, points).any())


def _one(found: Mapping[str, list[int]], argument: str, image: str, source: str) -> list[int]:
    if image in found:
        return found[image]
    if any(letter in image for letter in "*?["):
        raise SpecError(
            f"{argument}: {image!r} is a pattern; in a streamed solve write '*' for all images or the name of one"
        )
    raise SpecError(f"{argument}: {image!r} means no image of {source}")
