"""The averages that a report shows, each with a name that says which average it is.

A rate is averaged over images or over pixels; a PSNR is the mean of the images' PSNR or the PSNR of their mean MSE. The
numbers differ, so each is an `Average` of its own, under its own key.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from rdp.columns import COLUMNS, METRIC_COLUMNS, Direction
from rdp.errors import TableError, suggest
from rdp.selection import Problem, Selection
from rdp.selection.grid import Grid
from rdp.selection.naming import Kind
from rdp.selection.problem import BoolArray, FloatArray, IntArray, weighted_mean
from rdp.selection.statement import Weighting

Transform = Literal["", "psnr", "db"]

DB_OF_MEAN = "_of_mean"
PSNR_OF_MEAN_MSE = "psnr_of_mean_mse"
BY_PIXELS = "_by_pixels"
WITH: Mapping[Kind, tuple[str, str, str]] = {
    "index": ("_with_side_info", "with side information", "with the bits that name each image's point"),
    "decoder": (
        "_with_decoder_info",
        "with choice of decoder",
        "with the bits that name each image's decoder among those of its file, and none for one point for all images",
    ),
}
"""What averages with bits beside the files are called: the end of their key, of their title, of their meaning."""

_UNREPORTED = {"width", "height", "session", "nbytes", "bpp_estimated", "bpp_fixed_law", "encode_s", "decode_s"}
"""Numbers of ours that are shown only when they are asked for, or optimised or bounded."""

_PEAK_SQUARED = 255.0**2


@dataclass(frozen=True)
class Average:
    """One way to average one column over images.

    `key` names it in CSV files and in `--columns`. The weighted mean of `column` is taken, values above `cap` counting
    as the cap, and then `transform` is applied to the mean. `secondary` ones stand in the CSV files and in the
    comparison, not in the table of points. `naming` says which bits beside the files are part of its values
    (`rdp.selection.naming`): selections and their baselines have such an average, a point alone has none.
    """

    key: str
    column: str
    title: str
    unit: str
    meaning: str
    direction: Direction | None
    weighting: Weighting = "images"
    cap: float | None = None
    transform: Transform = ""
    secondary: bool = False
    naming: Kind | None = None

    @property
    def heading(self) -> str:
        """Title with unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    def of(self, mean: float) -> float:
        """The number that is shown for a (weighted) mean of the column."""
        if self.transform == "psnr":
            return math.inf if mean == 0 else 10 * math.log10(_PEAK_SQUARED / mean)
        if self.transform == "db":
            return math.inf if mean == 1 else -10 * math.log10(1 - mean) if mean < 1 else math.nan
        return mean

    def mean(self, values: FloatArray, pixels: FloatArray | None) -> float:
        """The mean (before the transform) of values (n,), of images with so many `pixels` (n,)."""
        if self.cap is not None:
            values = np.minimum(values, self.cap)
        weights = np.ones(len(values)) if self.weighting == "images" or pixels is None else pixels
        return weighted_mean(values, weights)


@dataclass(frozen=True, eq=False)
class Cells:
    """The table on a grid: images N, points M, `present` (N, M) cells that did not fail, and pixels (N,) if known."""

    grid: Grid
    present: BoolArray
    pixels: FloatArray | None

    def average(self, average: Average, choice: IntArray, added: Mapping[Kind, Mapping[str, FloatArray]]) -> float:
        """Mean (before the transform) over all images at a choice (N,) of point numbers; NaN if a value is missing.

        `added` has by kind and column what bits beside the files add to every image (N,), for averages that include it.
        """
        mean = average.mean(self.grid.values(average.column)[np.arange(len(choice)), choice], self.pixels)
        if average.naming is None:
            return mean
        bits = added.get(average.naming, {})
        if average.column not in bits:
            return math.nan
        return mean + replace(average, cap=None).mean(bits[average.column], self.pixels)

    def point_averages(self, average: Average) -> list[float]:
        """The number shown for each point: over the images that have it, NaN where one of those has no value.

        NaN for averages with bits beside the files.
        """
        if average.naming is not None:
            return [math.nan] * len(self.grid.points)
        values = self.grid.values(average.column)
        return [self._point_average(average, values[:, k], self.present[:, k]) for k in range(values.shape[1])]

    def _point_average(self, average: Average, values: FloatArray, rows: BoolArray) -> float:
        if not rows.any():
            return math.nan
        return average.of(average.mean(values[rows], None if self.pixels is None else self.pixels[rows]))


def make_cells(grid: Grid) -> Cells:
    """The cells of a grid, with the pixels of every image where width and height say so for all."""
    present = grid.known & ~grid.failed
    columns = grid.table.numeric_columns
    if "width" not in columns or "height" not in columns:
        return Cells(grid, present, None)
    area = grid.values("width") * grid.values("height")
    largest = np.where(np.isfinite(area), area, 0).max(axis=1)
    return Cells(grid, present, largest if (largest > 0).all() else None)


def report_averages(
    cells: Cells, selections: Sequence[Selection], columns: Sequence[str] | None = None
) -> tuple[Average, ...]:
    """What the report shows, in order: rate, objective, what is bounded, then the metrics and the user's columns.

    `columns`, where given, are the only ones shown: names of columns, and keys of averages. Raises `TableError` for a
    name that is neither.
    """
    problems = [selection.problem for selection in selections]
    names = _default_columns(cells, problems)
    found = all_averages(cells, selections, names)
    if columns is None:
        return tuple(average for average in found.values() if average.column in names)
    return tuple(find_average(found, name, cells.grid.table.source) for name in dict.fromkeys(columns))


def all_averages(cells: Cells, selections: Sequence[Selection], first: Sequence[str] = ()) -> dict[str, Average]:
    """The averages of all numeric columns by key, those of the columns `first` in front."""
    problems = [selection.problem for selection in selections]
    columns = dict.fromkeys((*first, *cells.grid.table.numeric_columns))
    return {average.key: average for column in columns for average in _averages_of(column, cells, problems)}


def find_average(averages: Mapping[str, Average], key: str, source: str) -> Average:
    """The average of that key; raises `TableError` for an unknown one."""
    if key not in averages:
        known = tuple(averages)
        raise TableError(
            f"{source} has no column or average {key!r}.{suggest(key, known)} There are: {', '.join(known)}"
        )
    return averages[key]


def average_of(averages: Iterable[Average], problem: Problem, column: str, *, of_files: bool = False) -> Average | None:
    """The average that a problem means by one of its columns: of the same weights and cap; None if not among them.

    Where the problem has bits beside the files in that column, so has the average, unless it is to be `of_files` alone.
    """
    weighting, cap = problem.terms[column].weighting, problem.statement.cap.get(column)
    means = (column, weighting, "", None if of_files else _naming(problem, column))
    fitting = [a for a in averages if (a.column, a.weighting, a.transform, a.naming) == means]
    return next((a for a in fitting if a.cap == cap), next((a for a in fitting if a.cap is None), None))


def _naming(problem: Problem, column: str) -> Kind | None:
    """Which bits beside the files a problem has in that column."""
    naming = problem.naming
    return naming.kind if naming is not None and column in naming.columns else None


def _default_columns(cells: Cells, problems: Sequence[Problem]) -> list[str]:
    available = cells.grid.table.numeric_columns
    used = [name for problem in problems for name in problem.statement.used_columns]
    bounded = [name for problem in problems for name in problem.statement.bounded_columns]
    metrics = [column.name for column in METRIC_COLUMNS]
    own = [name for name in available if name not in COLUMNS]
    ordered = dict.fromkeys(("bpp", *used, *bounded, *metrics, *own))
    return [
        n for n in ordered if n in used or n in bounded or (n in available and n not in _UNREPORTED and _any(cells, n))
    ]


def _any(cells: Cells, column: str) -> bool:
    return bool((~np.isnan(cells.grid.values(column)) & cells.present).any())


def _averages_of(column: str, cells: Cells, problems: Sequence[Problem]) -> list[Average]:
    """The plain mean over images first, then the other averages of that column that mean something."""
    known = cells.grid.table.describe(column)
    title, direction = known.label or column, known.direction or _wanted_direction(column, problems)
    over = "mean over images of each image's " + (column if column in COLUMNS else f"column {column!r}")
    plain = Average(column, column, title, known.unit, over, direction)
    result = [plain]
    weighted = any(p.terms[column].weighting == "pixels" for p in problems if column in p.terms)
    if cells.pixels is not None and (weighted or column == "bpp"):
        text = (
            "total bits / total pixels"
            if column == "bpp"
            else f"mean of {column} over images, weighted by their pixels"
        )
        suffix = "total bits / total pixels" if column == "bpp" else "mean over pixels"
        key = column + BY_PIXELS
        result.append(
            Average(key, column, f"{title}, {suffix}", known.unit, text, direction, "pixels", secondary=not weighted)
        )
    result += _capped(plain, cells, problems)
    result += _charged(result, column, problems)
    if column == "mse":
        text = "10 log10(255^2 / mean over images of mse): not the mean of the images' PSNR"
        result.append(
            Average(PSNR_OF_MEAN_MSE, "mse", "PSNR of mean MSE", "dB", text, "higher", transform="psnr", secondary=True)
        )
    if column in ("ms_ssim", "ms_ssim_y"):
        text = f"-10 log10(1 - mean over images of {column}): not the mean of the images' dB"
        result.append(
            Average(
                f"{column}_db{DB_OF_MEAN}",
                column,
                f"dB of mean {title}",
                "dB",
                text,
                "higher",
                transform="db",
                secondary=True,
            )
        )
    return result


def _capped(plain: Average, cells: Cells, problems: Sequence[Problem]) -> list[Average]:
    """The averages under the caps that selections state, where a cap changes any value."""
    column, result = plain.column, []
    for problem in problems:
        cap = problem.statement.cap.get(column)
        if cap is None or not (cells.grid.values(column) > cap).any():
            continue
        weighting = problem.terms[column].weighting if column in problem.terms else "images"
        suffix = BY_PIXELS if weighting == "pixels" else ""
        key = f"{column}{suffix}_capped_{cap:g}"
        text = f"{plain.meaning}, values above {cap:g} counting as {cap:g}"
        title = f"{plain.title}, capped at {cap:g}"
        result.append(Average(key, column, title, plain.unit, text, plain.direction, weighting, cap))
    return list({average.key: average for average in result}.values())


def _charged(averages: Sequence[Average], column: str, problems: Sequence[Problem]) -> list[Average]:
    """The averages with bits beside the files that selections were made with."""
    charged = [(p, naming) for p in problems if (naming := _naming(p, column)) is not None]
    meant = [(average_of(averages, p, column, of_files=True), naming) for p, naming in charged]
    return [
        replace(
            average,
            key=average.key + WITH[naming][0],
            title=f"{average.title}, {WITH[naming][1]}",
            meaning=f"{average.meaning}, {WITH[naming][2]}",
            secondary=True,
            naming=naming,
        )
        for average, naming in dict.fromkeys(meant)
        if average is not None
    ]


def _wanted_direction(column: str, problems: Sequence[Problem]) -> Direction | None:
    """Which way is better of a user's own column: what the selections ask for, if they agree."""
    wanted: set[Direction] = set()
    for problem in problems:
        if column == problem.objective.column:
            wanted.add("lower" if problem.goal == "minimize" else "higher")
        wanted |= {
            "lower" if sense == "at_most" else "higher"
            for name, sense, _ in (*problem.statement.budgets, *problem.statement.group_budgets)
            if name == column
        }
    return wanted.pop() if len(wanted) == 1 else None
