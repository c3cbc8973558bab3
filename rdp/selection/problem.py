"""The selection problem as arrays: which operating point for which image, what to optimise, what to bound.

Everything is float64 and in canonical order (images by dataset and name, points in natural order), so that the answer
does not depend on the order of a table's rows. `rdp.selection.builder` makes problems from tables, and
`Problem.from_arrays` from NumPy arrays.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from rdp.columns import Column, describe
from rdp.errors import SpecError, TableError, suggest
from rdp.selection.groups import groups_of_map, make_constraints
from rdp.selection.index_cost import IndexCost, charge, index_cost
from rdp.selection.names import Numbered
from rdp.selection.naming import Naming
from rdp.selection.statement import Statement, Weighting
from rdp.selection.terms import (
    BoolArray,
    Constraint,
    FloatArray,
    ImageBound,
    IntArray,
    Term,
    weighted_mean,
)

Goal = Literal["minimize", "maximize"]
__all__ = [
    "BoolArray",
    "Constraint",
    "FloatArray",
    "Goal",
    "ImageBound",
    "IntArray",
    "Problem",
    "Term",
    "image_labels",
    "weighted_mean",
]


@dataclass(frozen=True, eq=False)
class Problem:
    """Choose one allowed point for every image.

    `present` (N, M) says which cells have every value that is needed, `allowed` which of them may be chosen: within
    the bounds on each image, not forbidden, and where an image is fixed only that point. `columns` are the other
    numeric columns whose averages over all images are reported. `statement` is what the user asked for, `source` names
    the table. `choosable` (N, M) is `allowed` without the bounds on each image; None where there are none. `max_points`
    is how many distinct points a selection may use, None where that is no matter. `naming` says which bits
    that tell a receiver the points are part of the values of `bpp` and `nbytes`; None where there are none.
    `described` are the columns, by name, that the table's run describes and `rdp.columns` does not list.
    """

    datasets: Sequence[str]
    images: Sequence[str]
    points: Sequence[str]
    present: BoolArray
    allowed: BoolArray
    objective: Term
    goal: Goal
    constraints: tuple[Constraint, ...]
    image_bounds: tuple[ImageBound, ...] = ()
    columns: Mapping[str, Term] = field(default_factory=dict)
    statement: Statement = field(default_factory=Statement)
    source: str = "arrays"
    warnings: tuple[str, ...] = ()
    choosable: BoolArray | None = None
    max_points: int | None = None
    naming: Naming | None = None
    described: Mapping[str, Column] = field(default_factory=dict)

    def describe(self, column: str) -> Column:
        """What a column is; one of the user's own has no unit and no direction."""
        return describe(column, self.described)

    @property
    def index_cost(self) -> IndexCost | None:
        """`naming`, where it is the number of each image's point."""
        return self.naming if isinstance(self.naming, IndexCost) else None

    @property
    def shape(self) -> tuple[int, int]:
        """(number of images N, number of points M)."""
        return len(self.images), len(self.points)

    @property
    def labels(self) -> tuple[str, ...]:
        """What an image is called: its name, or dataset/name when there are several datasets."""
        return image_labels(self.datasets, self.images)

    @property
    def terms(self) -> dict[str, Term]:
        """Every column that has an average over all images, by name: the objective, the bounded, the reported ones."""
        used = {c.term.column: c.term for c in self.constraints if not c.group}
        return {self.objective.column: self.objective} | used | dict(self.columns)

    @classmethod
    def from_arrays(
        cls,
        columns: Mapping[str, npt.ArrayLike],
        *,
        minimize: str | None = None,
        maximize: str | None = None,
        at_most: Mapping[str, float] | None = None,
        at_least: Mapping[str, float] | None = None,
        weights: Mapping[str, Weighting] | None = None,
        pixels: npt.ArrayLike | None = None,
        allowed: npt.ArrayLike | None = None,
        images: Sequence[str] | None = None,
        points: Sequence[str] | None = None,
        group_at_most: Mapping[str, float] | None = None,
        group_at_least: Mapping[str, float] | None = None,
        groups: Sequence[str] | Mapping[str, str] | None = None,
        max_points: int | None = None,
        side_info: bool = False,
    ) -> Problem:
        """A problem from arrays of shape (N images, M points), one per column.

        `pixels` (N,) are the weights of the columns that `weights` maps to "pixels"; `allowed` (N, M) says which cells
        may be chosen (all, unless given). Names default to `image 0`, ... and `point 0`, .... `groups` names the group
        of every image, as a list (N,) or a map, for the budgets of groups; `max_points` limits the distinct points, and
        `side_info` adds the bits that name them to the arrays `bpp` (which needs `pixels`) and `nbytes`.
        Raises `SpecError` for words that make no sense and `TableError` for arrays that cannot be used.
        """
        arrays = _arrays(columns)
        _require_columns(arrays, ())
        shape = _common_shape(arrays)
        image_names = _names(images, "image", shape[0])
        point_names = _names(points, "point", shape[1])
        statement = Statement.of(
            minimize=minimize,
            maximize=maximize,
            at_most=at_most,
            at_least=at_least,
            weights=weights,
            group_at_most=group_at_most,
            group_at_least=group_at_least,
            groups=_group_map(groups, image_names),
            max_points=max_points,
            side_info=side_info,
        )
        _require_columns(arrays, (*statement.used_columns, *statement.weights))
        mask = _allowed_mask(allowed, shape)
        for name in statement.used_columns:
            _refuse_non_finite(name, arrays[name], mask, image_names, point_names)
        if allowed is not None and not mask.any(axis=1).all():
            raise TableError(f"no point is allowed for {image_names[int(np.argmin(mask.any(axis=1)))]!r}")
        area = _pixel_weights(pixels, shape[0], statement)
        cost = None
        if statement.side_info:
            cost = index_cost(shape[1], shape[0], statement.max_points, area)
            arrays, cost = charge(arrays, cost, "the arrays")
        names: tuple[str, ...] | None = None
        warnings: tuple[str, ...] = () if cost is None else (cost.sentence,)
        if statement.group_budgets:
            if not isinstance(statement.groups, Mapping):
                raise SpecError("budgets for groups of arrays need the argument groups: the group of every image")
            names, unknown = groups_of_map(statement.groups, image_names, image_names)
            warnings += unknown
        terms = {
            name: Term(name, values, *statement.weights_of(name, shape[0], area)) for name, values in arrays.items()
        }
        return cls(
            datasets=("",) * shape[0],
            images=image_names,
            points=point_names,
            present=mask,
            allowed=mask,
            objective=terms[statement.objective],
            goal=statement.goal,
            constraints=make_constraints(terms, statement, names),
            columns={n: t for n, t in terms.items() if n not in own_columns(statement)},
            statement=statement,
            warnings=warnings,
            max_points=statement.max_points,
            naming=cost,
        )


def own_columns(statement: Statement) -> set[str]:
    """Columns whose average over all images is optimised or bounded; a column of group budgets alone is reported."""
    return {statement.objective, *(column for column, _, _ in statement.budgets)}


def image_labels(datasets: Sequence[str], images: Sequence[str]) -> tuple[str, ...]:
    """Image names, with their dataset in front when there are several."""
    if len(set(datasets)) <= 1:
        return tuple(images)
    return tuple(f"{dataset}/{image}" for dataset, image in zip(datasets, images, strict=True))


def _group_map(groups: Sequence[str] | Mapping[str, str] | None, images: Sequence[str]) -> Mapping[str, str] | None:
    if groups is None or isinstance(groups, Mapping):
        return groups
    if isinstance(groups, str) or not isinstance(groups, Iterable):
        raise SpecError(f"groups must name the group of each of {len(images)} images, not {groups!r}")
    names = list(groups)
    if len(names) != len(images):
        raise SpecError(f"groups must name the group of each of {len(images)} images; {len(names)} are given")
    return dict(zip(images, names, strict=True))


def _arrays(columns: Mapping[str, npt.ArrayLike]) -> dict[str, FloatArray]:
    if not isinstance(columns, Mapping) or not all(isinstance(name, str) for name in columns):
        raise TableError("columns must map names to arrays of shape (images, points)")
    return {name: _as_numbers(f"the array {name!r}", values) for name, values in columns.items()}


def _as_numbers(name: str, values: npt.ArrayLike) -> FloatArray:
    """The values as float64; raises `TableError` for rows of different lengths and for what is not a number."""
    try:
        return np.asarray(values, dtype=np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise TableError(f"{name} cannot be used: numbers are needed, in rows of equal length ({error})") from error


def _require_columns(arrays: Mapping[str, FloatArray], used: Sequence[str]) -> None:
    for name in used:
        if name not in arrays:
            known = tuple(arrays)
            raise TableError(f"there is no array {name!r}.{suggest(name, known)} Given: {', '.join(known)}")


def _common_shape(arrays: Mapping[str, FloatArray]) -> tuple[int, int]:
    shapes = {name: values.shape for name, values in arrays.items()}
    first = next(iter(shapes.values()))
    if len(set(shapes.values())) > 1 or len(first) != 2 or 0 in first:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise TableError(f"every array must have the same shape (images, points), neither of them 0; given: {listed}")
    return first[0], first[1]


def _allowed_mask(allowed: npt.ArrayLike | None, shape: tuple[int, int]) -> BoolArray:
    if allowed is None:
        return np.ones(shape, dtype=np.bool_)
    try:
        mask = np.asarray(allowed)
    except ValueError as error:
        raise TableError(f"allowed must be booleans of shape {shape}, not rows of different lengths") from error
    if mask.dtype != np.bool_ or mask.shape != shape:
        raise TableError(f"allowed must be booleans of shape {shape}, not {mask.dtype} of shape {mask.shape}")
    return mask


def _names(given: Sequence[str] | None, kind: str, count: int) -> Sequence[str]:
    if given is None:
        return Numbered(kind, count)
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TableError(f"{kind}s must be a list of {count} names, not {given!r}")
    names = tuple(given)
    if not all(isinstance(name, str) for name in names):
        raise TableError(
            f"{kind}s must be a list of texts; {next(n for n in names if not isinstance(n, str))!r} is none"
        )
    if len(names) != count or len(set(names)) != count:
        raise TableError(f"{count} different {kind} names are needed, one for each; got {len(set(names))}")
    return names


def _refuse_non_finite(
    name: str, values: FloatArray, mask: BoolArray, images: Sequence[str], points: Sequence[str]
) -> None:
    # One pass without a copy: a finite sum has no infinite or missing term.
    if math.isfinite(float(values.sum())):
        return
    wrong = np.argwhere(mask & ~np.isfinite(values))
    if len(wrong):
        i, j = wrong[0]
        raise TableError(f"{name} of {images[i]!r} at {points[j]!r} is {values[i, j]}; mark the cell as not allowed")


def _pixel_weights(pixels: npt.ArrayLike | None, count: int, statement: Statement) -> FloatArray | None:
    if pixels is None:
        if "pixels" in statement.weights.values():
            raise SpecError("weights by pixels need the argument pixels: the number of pixels of every image")
        return None
    area = _as_numbers("pixels", pixels)
    if area.shape != (count,) or not (np.isfinite(area) & (area > 0)).all():
        raise TableError(f"pixels must be {count} positive finite numbers, one for each image")
    return area
