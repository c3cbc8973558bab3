"""`knee`: the perception-distortion curve of every encoder of a table, and its knee.

Operating points that share their encoder share the file, and so the rate; they differ in their decoders. Their averages
of a distortion and of a perceptual metric make a curve, whose knee (`rdp.analysis.knee`) is the decoder to take.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rdp.analysis.bootstrap import check_draws
from rdp.analysis.knee import KneeError
from rdp.columns import Column, Direction
from rdp.errors import SpecError
from rdp.report.averages import Average
from rdp.report.knee_curves import CurveMaker, KneeCurve
from rdp.report.knee_groups import group_points
from rdp.selection.grid import make_grid, restrict
from rdp.selection.patterns import select_points
from rdp.selection.words import counted
from rdp.tables import read_table

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Knees:
    """The curves of a table in two averages, in the order of their names; `notes` say what is not in them."""

    source: str
    x: Average
    y: Average
    curves: tuple[KneeCurve, ...]
    sensitivity: float
    resamples: int
    seed: int
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON; see `rdp.report.knee_files`."""
        from rdp.report.knee_files import knee_document

        return knee_document(self)

    def to_pandas(self) -> pd.DataFrame:
        """One row a point."""
        from rdp.report.knee_files import points_frame

        return points_frame(self)


def knee(
    source: Any,
    x: str = "psnr",
    y: str = "lpips_squeeze",
    points: Sequence[str] = (),
    *,
    better: Mapping[str, Direction] | None = None,
    columns: Mapping[str, str] | None = None,
    one_curve: bool = False,
    sensitivity: float = 1.0,
    resamples: int = 0,
    seed: int = 0,
) -> Knees:
    """The knee of every perception-distortion curve in a table.

    `source` is anything that `rdp.read_table` takes, `columns` maps our column names to its. `x` is the distortion, `y`
    the perceptual metric; `better` says which side is the better one of a column of your own. `points` are patterns as
    in `rdp.solve`. Points that share their `encoder_id` make a curve, those without one the points whose names differ
    in the key `decoder` alone, with `one_curve` all of them. Means are over the images at which every point of a curve
    has both values. `sensitivity` is Kneedle's S; `resamples` (0: none) of the images give each point's share of knees.

    A curve of fewer than three points on the Pareto front says so in `reason`. Raises `KneeError` where all are such,
    `TableError` for unknown columns and values that are not finite, `SpecError` for options that cannot be used, and
    `DependencyError` without the package kneed.
    """
    table = read_table(source, columns)
    if x == y:
        raise SpecError(f"x and y are both {x!r}: name a distortion and a perceptual metric")
    table.require([x, y])
    axes = (_axis(table.describe(x), better or {}), _axis(table.describe(y), better or {}))
    if unused := sorted(set(better or {}) - {x, y}):
        raise SpecError(f"better: {unused[0]!r} is neither x nor y, which are {x!r} and {y!r}")
    if resamples:
        check_draws(1, resamples, seed)
    grid = make_grid(table)
    grid = restrict(grid, select_points(points, grid.points))
    groups, notes = group_points(grid, one_curve)
    several = [group for group in groups if len(group.points) > 1]
    if not several:
        have = f"no two of {len(grid.points)} points share an encoder" if len(groups) > 1 else "there is one point"
        raise KneeError(
            f"{table.source}: {have}, so there is no curve; evaluate decoders of one encoder (decoder=...), or take "
            "all points as one curve (one_curve, --one-curve)"
        )
    alone = len(groups) - len(several)
    if alone:
        notes += (
            f"{counted(alone, 'point')} left out: no other one shares {'its' if alone == 1 else 'their'} encoder",
        )
    maker = CurveMaker(grid, axes, sensitivity, resamples, seed)
    made = [maker.curve(group) for group in several]
    curves = tuple(curve for curve, _ in made)
    if all(curve.reason for curve in curves):
        raise KneeError("\n".join(f"{table.source}, {curve.name}: {curve.reason}" for curve in curves))
    notes += tuple(note for _, more in made for note in more)
    return Knees(table.source, *axes, curves, sensitivity, resamples, seed, notes)


def _axis(known: Column, better: Mapping[str, Direction]) -> Average:
    column = known.name
    direction = known.direction or better.get(column)
    if direction not in ("lower", "higher"):
        said = f", not {direction!r}" if direction else ""
        raise SpecError(
            f"which side of {column!r} is better is not known: say --better {column}=lower or {column}=higher{said}"
        )
    if better.get(column, direction) != direction:
        raise SpecError(f"better: {column!r} is better where it is {direction}, always; leave it out")
    return Average(column, column, known.label or column, known.unit, f"mean of {column} over images", direction)
