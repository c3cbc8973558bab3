"""A `Problem` from a table of cells and a statement: which cells can be used, which may be chosen, what counts how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from rdp.columns import COLUMNS
from rdp.errors import SpecError, TableError
from rdp.selection.charging import charge_naming
from rdp.selection.grid import Grid, make_grid, restrict
from rdp.selection.groups import groups_of_column, groups_of_map, make_constraints
from rdp.selection.patterns import match_images as _images_of
from rdp.selection.patterns import match_points as _points_of
from rdp.selection.patterns import require_images, require_points, select_points, split_pair
from rdp.selection.problem import BoolArray, FloatArray, ImageBound, Problem, Term, image_labels, own_columns
from rdp.selection.sizes import pixels_by_size
from rdp.selection.statement import Statement, Weighting
from rdp.selection.words import counted
from rdp.tables import CellTable

TIME_COLUMNS = ("encode_s", "decode_s")
"""Measured times: not to be optimised or bounded when other workers ran at the same time."""


def build_problem(
    table: CellTable,
    *,
    minimize: str | None = None,
    maximize: str | None = None,
    at_most: Mapping[str, float] | None = None,
    at_least: Mapping[str, float] | None = None,
    weights: Mapping[str, Weighting] | None = None,
    each_at_most: Mapping[str, float] | None = None,
    each_at_least: Mapping[str, float] | None = None,
    points: Sequence[str] | None = None,
    fix: Mapping[str, str] | Sequence[str] | None = None,
    forbid: Sequence[tuple[str, str] | str] | None = None,
    cap: Mapping[str, float] | None = None,
    group_at_most: Mapping[str, float] | None = None,
    group_at_least: Mapping[str, float] | None = None,
    groups: str | Mapping[str, str] | None = None,
    max_points: int | None = None,
    side_info: bool = False,
    decoder_info: bool = True,
) -> Problem:
    """The problem that these words state about the table; see `rdp.solve` for what they mean.

    A failed cell, a missing row or a null in a used column leaves the point out for that image; the warnings count
    them. Raises `TableError` for a column that is not there or not numeric, for an image that has no usable point,
    and for NaN or infinity in a used cell, and `SpecError` for words that make no sense.
    """
    statement = Statement.of(
        minimize=minimize,
        maximize=maximize,
        at_most=at_most,
        at_least=at_least,
        weights=weights,
        each_at_most=each_at_most,
        each_at_least=each_at_least,
        points=points,
        fix=fix,
        forbid=forbid,
        cap=cap,
        group_at_most=group_at_most,
        group_at_least=group_at_least,
        groups=groups,
        max_points=max_points,
        side_info=side_info,
        decoder_info=decoder_info,
    )
    return state_problem(table, statement)


def state_problem(table: CellTable, statement: Statement) -> Problem:
    """`build_problem` for a statement that is already checked (as `selection.json` holds it)."""
    needed = (*statement.used_columns, *statement.bounded_columns)
    table.require((*needed, *statement.weights, *statement.cap))
    full = make_grid(table)
    grid = restrict(full, select_points(statement.points, full.points))
    labels = image_labels(grid.datasets, grid.images)
    fixed, fix = _fixed(statement, grid, labels)
    forbidden, forbid = _forbidden(statement, grid, labels)
    statement = replace(statement, fix=fix, forbid=forbid)
    present, warnings = _present(grid, needed, labels)
    _refuse_contended(grid, needed, present)
    choosable = present & fixed & ~forbidden

    reported = [name for name in table.numeric_columns if name in needed or _is_reported(name)]
    values = {name: _capped(grid.values(name), statement.cap.get(name)) for name in reported}
    values, naming, statement = charge_naming(values, statement, grid, labels, choosable)
    if naming is not None:
        warnings = (*warnings, naming.sentence)
    for name in needed:
        _refuse_non_finite(name, values[name], choosable, grid, labels, name in statement.used_columns)
    bounds = tuple(ImageBound(name, values[name], sense, bound) for name, sense, bound in statement.image_bounds)
    allowed = choosable.copy()
    for bound in bounds:
        allowed &= bound.met()

    pixels = pixels_by_size(grid, labels) if "pixels" in statement.weights.values() else None
    terms = {
        name: Term(name, array, *statement.weights_of(name, grid.shape[0], pixels)) for name, array in values.items()
    }
    groups, unknown = _groups(full, statement, labels)
    return Problem(
        datasets=grid.datasets,
        images=grid.images,
        points=grid.points,
        present=present,
        allowed=allowed,
        objective=terms[statement.objective],
        goal=statement.goal,
        constraints=make_constraints(terms, statement, groups),
        image_bounds=bounds,
        columns={
            name: term
            for name, term in terms.items()
            if name not in own_columns(statement) and not np.isnan(term.values).all()
        },
        statement=statement,
        source=table.source,
        described=table.described,
        warnings=(*warnings, *unknown),
        choosable=choosable if bounds else None,
        max_points=statement.max_points,
        naming=naming,
    )


def _groups(grid: Grid, statement: Statement, labels: Sequence[str]) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """The group (N,) of every image, if the statement has budgets for groups, and warnings."""
    if not statement.group_budgets:
        return None, ()
    if isinstance(statement.groups, str):
        return groups_of_column(grid, statement.groups, labels), ()
    return groups_of_map(statement.groups, labels, grid.images)


def _is_reported(name: str) -> bool:
    """Columns that have an average worth telling: every one of the user's, and of ours those with a direction."""
    return name not in COLUMNS or COLUMNS[name].direction is not None


def _fixed(statement: Statement, grid: Grid, labels: Sequence[str]) -> tuple[BoolArray, dict[str, str]]:
    """Cells (N, M) that the fixed choices leave, and those choices by label."""
    mask = np.ones(grid.shape, dtype=np.bool_)
    chosen: dict[str, str] = {}
    given = statement.fix
    pairs = list(given.items()) if isinstance(given, Mapping) else [_split("fix", text, grid, labels) for text in given]
    for image, point in pairs:
        rows = [k for k, pair in enumerate(zip(labels, grid.images, strict=True)) if image in pair]
        if not rows:
            require_images("fix", image, labels, grid.images)
            raise SpecError(f"fix: {image!r} is a pattern; name one image")
        if len(rows) > 1:
            raise SpecError(f"fix: {image!r} is in several datasets: {', '.join(repr(labels[k]) for k in rows)}")
        if point not in grid.points:
            require_points("fix", point, grid.points)
            raise SpecError(f"fix: {point!r} is a pattern; name one point for {image!r}, written out as in the table")
        label = labels[rows[0]]
        if chosen.get(label, point) != point:
            raise SpecError(f"fix: {label!r} is fixed to both {chosen[label]!r} and {point!r}")
        chosen[label] = point
        mask[rows[0]] = False
        mask[rows[0], grid.points.index(point)] = True
    return mask, chosen


def _forbidden(
    statement: Statement, grid: Grid, labels: Sequence[str]
) -> tuple[BoolArray, tuple[tuple[str, str], ...]]:
    """Cells (N, M) that are forbidden, and the pairs of patterns."""
    mask = np.zeros(grid.shape, dtype=np.bool_)
    pairs = tuple(_split("forbid", pair, grid, labels) if isinstance(pair, str) else pair for pair in statement.forbid)
    for image, point in pairs:
        rows = require_images("forbid", image, labels, grid.images)
        mask |= rows[:, None] & require_points("forbid", point, grid.points)[None, :]
    return mask, pairs


def _split(argument: str, text: str, grid: Grid, labels: Sequence[str]) -> tuple[str, str]:
    return split_pair(
        argument,
        text,
        lambda image: bool(_images_of(image, labels, grid.images).any()),
        lambda point: bool(_points_of(point, grid.points).any()),
    )


def _present(grid: Grid, needed: Sequence[str], labels: Sequence[str]) -> tuple[BoolArray, tuple[str, ...]]:
    """Cells (N, M) with a value in every needed column, and a warning that counts the others."""
    known, failed = grid.known, grid.failed
    present = known & ~failed
    reasons = []
    if failed.any():
        reasons.append(f"{int(failed.sum())} failed")
    if not known.all():
        reasons.append(f"{int((~known).sum())} without a row")
    usable = present.copy()
    for name in needed:
        without = usable & ~grid.valid(name)
        if without.any():
            reasons.append(f"{int(without.sum())} without {name}")
        present &= ~without
    empty = np.flatnonzero(~present.any(axis=1)).tolist()
    if len(empty):
        others = f" (and {counted(len(empty) - 1, 'more image')})" if len(empty) > 1 else ""
        raise TableError(
            f"image {labels[empty[0]]!r}{others} of {grid.table.source} has no usable point: "
            f"of its {counted(grid.shape[1], 'point')}, {_count_reasons(grid, needed, empty[0])}. "
            "Complete the table, or leave the image out of it"
        )
    left_out = int((~present).sum())
    if not left_out:
        return present, ()
    images = int((~present).any(axis=1).sum())
    return present, (
        f"{grid.table.source}: {left_out} of {counted(present.size, 'cell')}, in {images} of "
        f"{counted(grid.shape[0], 'image')}, {'is' if left_out == 1 else 'are'} left out ({', '.join(reasons)}): "
        "those points cannot be chosen for those images",
    )


def _count_reasons(grid: Grid, needed: Sequence[str], image: int) -> str:
    known, failed = grid.known[image], grid.failed[image]
    counts = {"failed": int(failed.sum()), "have no row": int((~known).sum())}
    for name in needed:
        counts[f"have no {name}"] = int((known & ~failed & ~grid.valid(name)[image]).sum())
    return ", ".join(f"{count} {reason}" for reason, count in counts.items() if count)


def _refuse_contended(grid: Grid, needed: Sequence[str], present: BoolArray) -> None:
    timed = [name for name in needed if name in TIME_COLUMNS]
    if not timed or "contended" not in grid.table.data.column_names:
        return
    contended = int((grid.true("contended") & present).sum())
    if contended:
        raise TableError(
            f"{timed[0]} cannot be optimised or bounded: {counted(contended, 'cell')} of {grid.table.source} "
            "were timed while other workers ran, which is no measurement; evaluate with one worker (--jobs 1) to "
            "measure times"
        )


def _capped(values: FloatArray, cap: float | None) -> FloatArray:
    """Values above the cap count as the cap: an infinite PSNR, but also a finite one that would beat it."""
    return values if cap is None else np.minimum(values, cap)


def _refuse_non_finite(
    name: str, values: FloatArray, cells: BoolArray, grid: Grid, labels: Sequence[str], averaged: bool
) -> None:
    """An average needs finite values; a bound on each image can be held against infinity, but not against NaN."""
    wrong = np.argwhere(cells & (~np.isfinite(values) if averaged else np.isnan(values)))
    if not len(wrong):
        return
    image, point = int(wrong[0][0]), int(wrong[0][1])
    value = values[image, point]
    others = f" (and {counted(len(wrong) - 1, 'more cell')})" if len(wrong) > 1 else ""
    advice = "correct the cell, empty it, or leave the point out with --points or --forbid"
    if value == np.inf and name.startswith("psnr"):
        advice = (
            f"the point is lossless there; state what infinity counts as, such as --cap {name}=60 "
            f"(cap={{\"{name}\": 60}}), or leave the point out, such as --points '!{grid.points[point].split(':')[0]}'"
        )
    raise TableError(
        f"{name} of image {labels[image]!r} at {grid.points[point]!r} in {grid.table.source} is {value}{others}: "
        f"{advice}"
    )
