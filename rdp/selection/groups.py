"""Averages of groups of images: a dataset, a group of pictures, whatever a column or a map says.

Every budget for groups becomes one constraint a group, whose weights are 0 outside of it. The values are shared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from rdp.errors import SpecError, TableError, suggest
from rdp.selection.statement import Statement
from rdp.selection.terms import Constraint, Term
from rdp.selection.words import counted
from rdp.tables.table import natural_key

if TYPE_CHECKING:
    from rdp.selection.grid import Grid


def make_constraints(
    terms: Mapping[str, Term], statement: Statement, groups: Sequence[str] | None = None
) -> tuple[Constraint, ...]:
    """The constraints of a statement: those of all images, then those of the groups, in canonical order.

    `groups` (N,) names the group of every image; it is needed where the statement has budgets for groups.
    """
    out = [Constraint(terms[column], sense, budget) for column, sense, budget in statement.budgets]
    if not statement.group_budgets:
        return tuple(out)
    if groups is None:
        raise SpecError("budgets for groups need groups: which image is in which")
    names = np.array(groups, dtype=object)
    masks = {group: names == group for group in sorted(set(groups), key=natural_key)}
    for column, sense, budget in statement.group_budgets:
        term = terms[column]
        for group, mask in masks.items():
            own = replace(term, weights=np.where(mask, term.weights, 0.0))
            out.append(Constraint(own, sense, budget, group))
    return tuple(out)


def groups_of_column(grid: Grid, column: str, labels: Sequence[str]) -> tuple[str, ...]:
    """The group (N,) of every image, from a column of the table that is the same in all rows of an image.

    Empty fields are passed over. Raises `TableError` for a column that is not there, is no text and no whole numbers,
    that differs within an image, or that is empty for one.
    """
    import pyarrow as pa
    import pyarrow.types as pat

    data, source = grid.table.data, grid.table.source
    if column not in data.column_names:
        known = tuple(data.column_names)
        raise TableError(
            f"groups: {source} has no column {column!r}.{suggest(column, known)} Its columns: {', '.join(known)}"
        )
    values = data.column(column)
    if pat.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if not (pat.is_string(values.type) or pat.is_large_string(values.type) or pat.is_integer(values.type)):
        raise TableError(
            f"groups: column {column!r} of {source} holds {values.type} values; a group is a text or a whole number"
        )
    encoded = pa.chunked_array(values).combine_chunks().dictionary_encode()
    names = [str(value) for value in encoded.dictionary.to_pylist()]
    known_rows = np.asarray(encoded.is_valid())
    codes = encoded.indices.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)[known_rows]
    image_of = grid.flat[known_rows] // len(grid.points)
    of_image = np.full(len(labels), -1, dtype=np.int64)
    of_image[image_of] = codes
    differing = np.flatnonzero(of_image[image_of] != codes)
    if len(differing):
        image = int(image_of[differing[0]])
        found = sorted({names[codes[differing[0]]], names[of_image[image]]}, key=natural_key)
        raise TableError(
            f"groups: image {labels[image]!r} of {source} has different values in column {column!r}, such as "
            f"{found[0]!r} and {found[1]!r}; an image is in one group"
        )
    empty = [k for k, code in enumerate(of_image.tolist()) if code < 0 or not names[code]]
    if empty:
        others = f" (and {counted(len(empty) - 1, 'more image')})" if len(empty) > 1 else ""
        raise TableError(f"groups: image {labels[empty[0]]!r}{others} of {source} has no value in column {column!r}")
    return tuple(names[code] for code in of_image.tolist())


def groups_of_map(
    groups: Mapping[str, str], labels: Sequence[str], images: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The group (N,) of every image from a map, and a warning of the images in it that are not here.

    An image is named by its label, or by its bare name where only one image has it. Raises `SpecError` for an image
    that the map misses, and for a bare name of several.
    """
    missing = []
    out = []
    count = Counter(images)
    for label, image in zip(labels, images, strict=True):
        name = label if label in groups else image
        if name not in groups:
            missing.append(label)
            continue
        if name != label and count[image] > 1:
            raise SpecError(f"groups: {image!r} is in several datasets; write it as dataset/name, such as {label!r}")
        out.append(groups[name])
    if missing:
        others = f" (and {counted(len(missing) - 1, 'more image')})" if len(missing) > 1 else ""
        raise SpecError(
            f"groups: the map has no group for image {missing[0]!r}{others}.{suggest(missing[0], tuple(groups))}"
            " Every image needs one"
        )
    known = {*labels, *images}
    unknown = [name for name in groups if name not in known]
    if not unknown:
        return tuple(out), ()
    are = "is" if len(unknown) == 1 else "are"
    return tuple(out), (
        f"groups: {counted(len(unknown), 'image')} of the map, such as {unknown[0]!r}, {are} not in the table",
    )
