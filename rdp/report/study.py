"""What a report is about: a table, the selections made from it, and what each is measured against."""

from __future__ import annotations

import itertools
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from rdp.errors import SpecError, TableError
from rdp.report.averages import Average, Cells, make_cells, report_averages
from rdp.report.names import ShortNames, shorten
from rdp.selection import Problem, Selection, load_selection
from rdp.selection.baselines import Baseline, best_single_point, fair_mixture
from rdp.selection.decoder_cost import DecoderCost, decoder_cost
from rdp.selection.grid import make_grid, restrict
from rdp.selection.index_cost import IndexCost, index_cost
from rdp.selection.naming import CHARGED, Kind
from rdp.selection.problem import FloatArray, IntArray, weighted_mean
from rdp.selection.setlevel.result import SetSelection
from rdp.tables import CellTable

Given: TypeAlias = "Selection | str | os.PathLike[str]"
Selections: TypeAlias = "Given | Sequence[Given] | Mapping[str, Given]"

SAME = 1e-9
"""Averages recomputed from the table may differ from the selection's by this part."""


@dataclass(frozen=True, eq=False)
class Share:
    """A probability and the choice (N,) of the table's point numbers that has it.

    `added` are bits beside the files: by kind (`rdp.selection.naming`) and column what they add to each image (N,).
    """

    share: float
    choice: IntArray
    added: Mapping[Kind, Mapping[str, FloatArray]]


@dataclass(frozen=True, eq=False)
class Reported:
    """One selection under its name, and its baselines; `mixture` is None without a selection."""

    name: str
    selection: Selection
    single: Baseline
    mixture: Baseline | None
    numbers: IntArray
    """The table's number of each of the problem's points."""
    naming: IndexCost
    """The side information of the selection, whether or not its problem has it in the rates."""
    deciding: DecoderCost | None = None
    """The bits that name its decoders, whether or not its problem has them; None where no selection has them."""

    @property
    def own(self) -> tuple[Share, ...]:
        """The selection itself, as one choice of the table's point numbers; empty without one."""
        choice = self.selection.choice
        if choice is None:
            return ()
        return (Share(1.0, self.numbers[choice], {"index": self.naming.added, "decoder": self._decoders(choice)}),)

    def shares(self, baseline: Baseline | None) -> tuple[Share, ...]:
        """A baseline as choices of the table's point numbers."""
        if baseline is None:
            return ()
        part_of = baseline.index_bits / self.naming.bits if self.naming.bits else 0.0
        added = {column: part_of * values for column, values in self.naming.added.items()}
        return tuple(
            Share(
                part.share,
                self.numbers[part.choice],
                {"index": added, "decoder": self._decoders(part.choice, told_once=baseline.once)},
            )
            for part in baseline.parts
        )

    def _decoders(self, choice: IntArray, *, told_once: bool = False) -> dict[str, FloatArray]:
        """What naming the decoders adds to each image (N,) at a choice (N,) of the problem's point numbers."""
        cost = self.deciding
        if cost is None:
            return {}
        return {column: cost.at(column, choice) * (0.0 if told_once else 1.0) for column in cost.columns}


@dataclass(frozen=True, eq=False)
class Study:
    """Everything that the tables, the text and the figure of a report are made from."""

    cells: Cells
    names: ShortNames
    averages: tuple[Average, ...]
    selections: tuple[Reported, ...]
    title: str

    @property
    def source(self) -> str:
        """How messages and the report name the table."""
        return self.cells.grid.table.source

    @property
    def points(self) -> tuple[str, ...]:
        """All points of the table, in natural order."""
        return self.cells.grid.points

    @property
    def images_of(self) -> IntArray:
        """Number of images (M,) that have each point."""
        return np.asarray(self.cells.present.sum(axis=0), dtype=np.int64)

    @property
    def complete(self) -> list[bool]:
        """Whether every image has the point, for each point."""
        return [bool(count == self.cells.grid.shape[0]) for count in self.images_of]

    def value(self, average: Average, shares: Sequence[Share]) -> float:
        """The number shown for a selection or a baseline; NaN for none."""
        if not shares:
            return math.nan
        return average.of(math.fsum(s.share * self.cells.average(average, s.choice, s.added) for s in shares))


def make_study(table: CellTable, given: Selections, columns: Sequence[str] | None, title: str | None) -> Study:
    """Load and check the selections, and find their baselines.

    Raises `TableError` for a selection that is not of this table, and `SpecError` when there is none.
    """
    named = named_selections(given)
    cells = make_cells(make_grid(table))
    loaded = {}
    for name, one in named.items():
        loaded[name] = one if isinstance(one, Selection) else load_selection(Path(one), table)
        _refuse_sets(loaded[name], name)
        _check_belongs(loaded[name], cells, name)
    deciding = any(isinstance(selection.problem.naming, DecoderCost) for selection in loaded.values())
    reported = [_reported(name, selection, cells, deciding) for name, selection in loaded.items()]
    averages = report_averages(cells, [r.selection for r in reported], columns)
    heading = title or f"Operating points and selection: {Path(table.source).name}"
    return Study(cells, shorten(cells.grid.points), averages, tuple(reported), heading)


def named_selections(given: Selections) -> dict[str, Given]:
    """Selections by name: that of a mapping, the stem of a file, else `selection`; all different (`_names`)."""
    if isinstance(given, Mapping):
        named = dict(given)
    else:
        listed = [given] if isinstance(given, (Selection, str, os.PathLike)) else list(given)
        named = dict(zip(_names(listed), listed, strict=True))
    if not named:
        raise SpecError("no selection: give at least one, or the path of a selection.json")
    return named


def _names(listed: Sequence[Given]) -> list[str]:
    """Names that are all different: equal stems get as many of their folders as tell them apart, the rest numbers."""
    files = [None if isinstance(one, Selection) else Path(one).absolute() for one in listed]
    names = ["selection" if file is None else file.stem for file in files]
    for depth in range(1, max((len(file.parts) for file in files if file is not None), default=0)):
        count = Counter(names)
        if max(count.values()) == 1:
            break
        for k, file in enumerate(files):
            if file is not None and count[names[k]] > 1:
                folders = file.relative_to(file.anchor).parts[:-1][-depth:]
                names[k] = "/".join((*folders, file.stem))
    # What is left is the same file twice, or selections that come from no file.
    count, taken = Counter(names), set(names)
    for k, name in enumerate(names):
        if count[name] > 1:
            free = (f"{name} {number}" for number in itertools.count(1))
            names[k] = next(candidate for candidate in free if candidate not in taken)
            taken.add(names[k])
    return names


def _refuse_sets(selection: Selection, name: str) -> None:
    """Raise `SpecError` for a selection with distances of sets, which are no averages and have no value at a cell."""
    if isinstance(selection, SetSelection):
        raise SpecError(
            f"selection {name!r} was solved for {' and '.join(dict.fromkeys(one.name for one in selection.values))}, "
            "of all images together: a report is of averages over images. rdp audit sets it beside every single "
            "operating point"
        )


def _check_belongs(selection: Selection, cells: Cells, name: str) -> None:
    """Raise `TableError` unless the selection is of the table's images and points, with the same averages."""
    problem, grid = selection.problem, cells.grid
    source = grid.table.source
    if (problem.datasets, problem.images) != (grid.datasets, grid.images):
        raise TableError(
            f"selection {name!r} is of {len(problem.images)} images of {problem.source}, and {source} has "
            f"{len(grid.images)}, not the same ones: give the table that it was solved on, or solve again"
        )
    missing = [point for point in problem.points if point not in grid.points]
    if missing:
        raise TableError(f"selection {name!r} is of another table: {source} has no point {missing[0]!r}; solve again")
    if selection.choice is None:
        return
    rows = np.arange(len(problem.images))
    numbers = _numbers(problem.points, grid.points)[selection.choice]
    for column in problem.statement.used_columns:
        grid.table.require((column,))
        values = np.minimum(grid.values(column)[rows, numbers], problem.statement.cap.get(column, np.inf))
        if problem.naming is not None and column in problem.naming.columns:
            values = values + problem.naming.at(column, selection.choice)
        average = weighted_mean(values, problem.terms[column].weights)
        if not math.isclose(average, selection.averages[column], rel_tol=SAME):
            raise TableError(
                f"selection {name!r} is of another table: its average {column} is {selection.averages[column]:.9g}, "
                f"and {average:.9g} in {source}; solve again"
            )


def _reported(name: str, selection: Selection, cells: Cells, deciding: bool) -> Reported:
    """`deciding`: some selection of the report has bits that name decoders, so that this one's are of interest."""
    problem = selection.problem
    mixture = fair_mixture(selection) if selection.found else None
    numbers = _numbers(problem.points, cells.grid.points)
    images, points = problem.shape
    naming = problem.index_cost or index_cost(points, images, problem.max_points, cells.pixels)
    cost = _decoder_cost(problem, cells) if deciding else None
    return Reported(name, selection, best_single_point(problem), mixture, numbers, naming, cost)


def _decoder_cost(problem: Problem, cells: Cells) -> DecoderCost | None:
    """The bits that name decoders in a problem of the table, where it charges them not itself."""
    if isinstance(problem.naming, DecoderCost):
        return problem.naming
    grid = restrict(cells.grid, np.isin(cells.grid.points, problem.points))
    choosable = problem.allowed if problem.choosable is None else problem.choosable
    values = {name: grid.values(name) for name in CHARGED if name in grid.table.numeric_columns}
    return decoder_cost(grid, problem.labels, choosable, values)


def _numbers(points: Sequence[str], of: Sequence[str]) -> IntArray:
    number = {point: k for k, point in enumerate(of)}
    return np.array([number[point] for point in points], dtype=np.int64)
