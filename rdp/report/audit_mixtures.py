"""The mixtures of an audit: selections read for what they chose, and random ones of equal rate to hold them against.

A mixture is judged by what it chose alone, however that was found: a `selection.json` of `rdp solve` is read whether a
column or a set-level value was optimised, and whether or not the run has had more points since. What is checked is that
it is a mixture of **this** run: the same images, points that all of them have, and the averages that it optimised
and bounded.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rdp.errors import SpecError, TableError
from rdp.report.averages import Average, Cells
from rdp.report.study import SAME, Selections, named_selections
from rdp.selection import Selection
from rdp.selection.loading import read_document
from rdp.selection.naming import CHARGED
from rdp.selection.problem import FloatArray, IntArray

EQUAL = 0.005
"""A random mixture is of equal rate within this part of the rate, where its points allow it."""
TRIES = 200
"""Moves that are tried for each image before the nearest rate so far is taken."""

Image = tuple[str, str]


@dataclass(frozen=True, eq=False)
class Mixture:
    """One point for every image: `choice` (N,) are numbers of the run's points.

    `by_pixels`: it was solved with the rate of all bits by all pixels. `charged`: its own rate has bits beside the
    files, which the audit leaves out. `against`: it is there to be compared with. `source`: the file that it is of,
    empty for one in memory. `alike` (N,): images of equal pixels have equal numbers; None where no two are.
    """

    name: str
    choice: IntArray
    by_pixels: bool = False
    charged: bool = False
    against: bool = False
    source: str = ""
    alike: IntArray | None = None

    def is_same(self, choice: IntArray) -> bool:
        """Whether a choice (N,) makes the same set of pictures: points of equal images may be exchanged."""
        if self.alike is None:
            return bool(np.array_equal(choice, self.choice))
        one, other = (points[np.lexsort((points, self.alike))] for points in (choice, self.choice))
        return bool(np.array_equal(one, other))


def equal_images(cells: Cells) -> tuple[tuple[str, ...], ...]:
    """Names of the images that have the same pixels as others, in groups; data set and name where sets are several."""
    grid = cells.grid
    numbers = _alike(cells)
    if numbers is None:
        return ()
    several = len(set(grid.datasets)) > 1
    names = [
        f"{dataset}/{image}" if several else image for dataset, image in zip(grid.datasets, grid.images, strict=True)
    ]
    groups: dict[int, list[str]] = {}
    for name, number in zip(names, numbers.tolist(), strict=True):
        groups.setdefault(number, []).append(name)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def _alike(cells: Cells) -> IntArray | None:
    """A number (N,) for the pixels of each image; None where all are different."""
    data = cells.grid.table.data
    columns = ("dataset", "image", "pixels_sha256")
    rows = zip(*(data.column(name).to_pylist() for name in columns), strict=True)
    hashes = {(dataset, image): pixels for dataset, image, pixels in rows}
    own = [hashes[key] for key in zip(cells.grid.datasets, cells.grid.images, strict=True)]
    found = {pixels: number for number, pixels in enumerate(dict.fromkeys(own))}
    return None if len(found) == len(own) else np.array([found[pixels] for pixels in own], np.int64)


def read_mixtures(given: Selections, cells: Cells, usable: Sequence[bool], against: bool = False) -> list[Mixture]:
    """Mixtures of selections, or of files that `rdp solve` wrote, under the names that a report gives them.

    `usable` says which points of the run every image has. Raises `TableError` for what is no selection, for one without
    chosen points, and for one that is not of this run's images, points and averages.
    """
    found = []
    alike = _alike(cells)
    for name, one in named_selections(given).items():
        document, where = (one.to_dict(), name) if isinstance(one, Selection) else (read_document(Path(one)), str(one))
        try:
            mixture = _mixture(name, document, cells, usable, against, where)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise TableError(
                f"{where} is damaged, or was changed by hand ({type(error).__name__} {error}): solve again"
            ) from error
        found.append(replace(mixture, source="" if isinstance(one, Selection) else str(one), alike=alike))
    return found


def refuse_repeated(given: Sequence[Selections]) -> None:
    """Raise `SpecError` for a file that is given twice, also under two paths; names of a mapping may share one."""
    seen: set[Path] = set()
    for several in given:
        if isinstance(several, Mapping):
            continue
        listed = [several] if isinstance(several, (Selection, str, os.PathLike)) else list(several)
        for one in listed:
            if isinstance(one, Selection):
                continue
            place = Path(one).resolve()
            if place in seen:
                raise SpecError(f"the selection {one} is given twice: every row of it would stand twice; leave one out")
            seen.add(place)


def _mixture(
    name: str, document: Mapping[str, Any], cells: Cells, usable: Sequence[bool], against: bool, where: str
) -> Mixture:
    if document["chosen"] is None:
        raise TableError(f"{where} has no selection to audit: its status is {document['status']}")
    choice = _choice(document["chosen"], cells, usable, where)
    statement = document["problem"]["statement"]
    charged = bool(statement.get("side_info")) or "decoder_info" in document
    weighting = {str(entry["column"]): str(entry["weighting"]) for entry in document["averages"]}
    used = {"bpp", str(document["objective"]["column"]), *(str(entry["column"]) for entry in document["budgets"])}
    stated = [entry for entry in document["averages"] if entry["column"] in used - set(statement.get("cap") or ())]
    _check_averages(stated, charged, choice, cells, where)
    return Mixture(name, choice, weighting.get("bpp") == "pixels", charged, against)


def _choice(chosen: Sequence[Mapping[str, Any]], cells: Cells, usable: Sequence[bool], where: str) -> IntArray:
    """The chosen points (N,) in the run's order of images."""
    grid, source = cells.grid, cells.grid.table.source
    images: list[Image] = list(zip(grid.datasets, grid.images, strict=True))
    points = {(str(entry["dataset"]), str(entry["image"])): str(entry["point"]) for entry in chosen}
    for there, has, of in ((set(images), set(points), where), (set(points), set(images), source)):
        if there - has:
            dataset, image = min(there - has)
            raise TableError(
                f"{where} is of {len(points)} images and {source} has {len(images)}, not the same ones: {of} has no "
                f"{image!r} of {dataset!r}; give the run that it was solved on, or solve again"
            )
    number = {point: k for k, point in enumerate(grid.points)}
    for image_key, point in points.items():
        if point not in number:
            raise TableError(
                f"{where} chooses {point!r} for {image_key[1]!r}, a point that {source} does not have: it is of "
                "another run, or was changed by hand; solve again"
            )
        if not usable[number[point]]:
            raise TableError(
                f"{where} chooses {point!r} for {image_key[1]!r}, a point that failed or is missing for other images "
                f"of {source}: what is scored of a set needs every image at every point; evaluate the cells"
            )
    return np.array([number[points[image]] for image in images], np.int64)


def _check_averages(
    stated: Sequence[Mapping[str, Any]], charged: bool, choice: IntArray, cells: Cells, where: str
) -> None:
    """Raise `TableError` where the run's columns have other averages at the choice than the selection says."""
    for entry in stated:
        column, average = str(entry["column"]), entry["average"]
        if column not in cells.grid.table.numeric_columns or average is None:
            continue  # a set-level value, or a number that JSON has not
        if charged and column in CHARGED:
            continue
        plain = Average(column, column, column, "", "", None, "pixels" if entry["weighting"] == "pixels" else "images")
        found = cells.average(plain, choice, {})
        if not math.isclose(found, float(average), rel_tol=SAME, abs_tol=1e-12):
            raise TableError(
                f"{where} does not fit {cells.grid.table.source}: it says that its average {column} is "
                f"{float(average):.9g}, and with the points that it chooses it is {found:.9g} there. It is of another "
                "run, or was changed by hand; solve again"
            )


def random_mixtures(mixture: Mixture, rates: FloatArray, weights: FloatArray, draws: int, seed: int) -> list[IntArray]:
    """Choices (N,) of equal rate that do not look at the images, so many `draws`.

    The points of the mixture are dealt to other images at random. Then images, drawn at random, one or two at a time,
    get others of its points, drawn at random, wherever that brings the rate nearer to the mixture's and does not make
    it the mixture itself, until it is within `EQUAL` of it or `TRIES` changes an image have been tried. `rates` (N, M)
    are bit/pixel, `weights` (N,) those of the average. Draw k of a seed is the same whatever the number of draws.
    """
    rows = np.arange(len(mixture.choice))
    share = weights / weights.sum()
    target = float(share @ rates[rows, mixture.choice])
    used = np.unique(mixture.choice)
    found = []
    for draw in range(draws):
        rng = np.random.default_rng([seed, draw])
        choice = rng.permutation(mixture.choice)
        away = float(share @ rates[rows, choice]) - target
        tries = TRIES * len(rows) if len(used) > 1 else 0
        images, points = rng.integers(0, len(rows), (tries, 2)), rng.choice(used, (tries, 2))
        for number in range(tries):
            if abs(away) <= EQUAL * target:
                break
            # One image alone may have no change that is small enough; two at once have many.
            count = 1 if number % 2 == 0 or images[number, 0] == images[number, 1] else 2
            changed, to = images[number, :count], points[number, :count]
            moved = away + float(share[changed] @ (rates[changed, to] - rates[changed, choice[changed]]))
            if abs(moved) < abs(away):
                before = choice[changed]
                choice[changed] = to
                # Of few images the nearest rate is that of the mixture itself, which is no other mixture.
                if mixture.is_same(choice):
                    choice[changed] = before
                else:
                    away = moved
        found.append(choice)
    return found
