"""Which cells of a portion may be chosen, and with what weights: the rules of `rdp.selection.builder` for streams.

What is wrong with cells is counted over a whole pass, so that messages say how much of it there is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from rdp.errors import TableError
from rdp.selection.explaining.explanation import SHOWN, safe
from rdp.selection.problem import BoolArray, FloatArray
from rdp.selection.solver.blocks import Block
from rdp.selection.statement import Statement
from rdp.selection.streaming.cells import FLAG, Cells
from rdp.selection.words import counted

SIZES = ("width", "height")


class NoPointLeftError(Exception):
    """Images whose bounds, fixed or forbidden points leave nothing: there is no selection. The text explains."""


@dataclass
class Tally:
    """What a pass over all cells found. Numbers of images and cells, and the first image of each kind of trouble."""

    cells: int = 0
    images: int = 0
    left_out: int = 0
    images_left_out: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    empty: int = 0
    first_empty: tuple[int, str] | None = None
    contended: int = 0
    wrong: dict[str, int] = field(default_factory=dict)
    first_wrong: dict[str, tuple[int, int, float]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    without: int = 0
    first_without: list[tuple[int, str]] = field(default_factory=list)
    needed: dict[int, float] = field(default_factory=dict)

    @property
    def trouble(self) -> bool:
        """Whether the pass is only for counting by now."""
        return bool(self.empty or self.contended or self.wrong or self.sizes or self.without)


@dataclass(frozen=True, eq=False)
class Rules:
    """The statement, applied to cells of the `points` wanted.

    `settled` maps the number of an image to the points (M,) that fixing and forbidding leave it.
    """

    statement: Statement
    points: Sequence[str]
    columns: tuple[str, ...]
    timed: tuple[str, ...]
    settled: Mapping[int, BoolArray]
    everywhere: BoolArray

    @property
    def needed(self) -> tuple[str, ...]:
        """Columns that cells need a value in."""
        bounded = self.statement.bounded_columns
        return (*self.columns, *bounded)

    @property
    def read(self) -> tuple[str, ...]:
        """Columns to read."""
        sizes = SIZES if "pixels" in self.statement.weights.values() else ()
        flags = (FLAG,) if self.timed else ()
        return (*dict.fromkeys((*self.needed, *sizes)), *flags)

    def block(self, cells: Cells, tally: Tally | None) -> Block:
        """The cells as a block; what is found on the way is added to the tally, if there is one."""
        shape = (cells.images, len(self.points))
        present = _present(cells, self.needed, shape, tally)
        free = self._free(cells)
        choosable = _both(present, free)
        if tally is not None and self.timed and cells.flags is not None:
            tally.contended += int((cells.flags if present is None else cells.flags & present).sum())
        values = {name: self.values(cells, name) for name in self.needed}
        if tally is not None:
            for name in self.needed:
                _count_wrong(name, values[name], choosable, cells.first, name in self.columns, tally)
        allowed = choosable
        for column, sense, bound in self.statement.image_bounds:
            with np.errstate(invalid="ignore"):
                met = values[column] <= bound if sense == "at_most" else values[column] >= bound
            allowed = _both(allowed, met)
        if allowed is not None and bool(allowed.all()):
            allowed = None
        if tally is not None:
            self._count_without(cells, values, present, choosable, allowed, tally)
        weights = () if "pixels" not in self.statement.weights.values() else (self._pixels(cells, tally),)
        return Block(cells.first, tuple(values[name] for name in self.columns), weights, allowed)

    def values(self, cells: Cells, column: str) -> FloatArray:
        """Values (B, M) of a column as they count: those above its cap are the cap."""
        cap = self.statement.cap.get(column)
        return cells.values[column] if cap is None else np.minimum(cells.values[column], cap)

    def _free(self, cells: Cells) -> BoolArray | None:
        """Cells (B, M) that are neither forbidden nor ruled out by a fixed choice; None where all are free."""
        inside = [image for image in self.settled if cells.first <= image < cells.first + cells.images]
        if not inside and self.everywhere.all():
            return None
        free = np.repeat(self.everywhere[None], cells.images, axis=0)
        for image in inside:
            free[image - cells.first] &= self.settled[image]
        return free

    def _count_without(
        self,
        cells: Cells,
        values: Mapping[str, FloatArray],
        present: BoolArray | None,
        choosable: BoolArray | None,
        allowed: BoolArray | None,
        tally: Tally,
    ) -> None:
        if allowed is None:
            return
        there = allowed.any(axis=1) if present is None else allowed.any(axis=1) | ~present.any(axis=1)
        without = np.flatnonzero(~there).tolist()
        tally.without += len(without)
        for image in without[: SHOWN - len(tally.first_without)]:
            tally.first_without.append((cells.first + image, self._reason(image, values, present, choosable)))
        if choosable is not None and not choosable.any(axis=1).all():
            tally.needed = dict.fromkeys(range(len(self.statement.image_bounds)), np.nan)
            return
        for number, (column, sense, _) in enumerate(self.statement.image_bounds):
            worst = np.inf if sense == "at_most" else -np.inf
            own = values[column] if choosable is None else np.where(choosable, values[column], worst)
            best = float(own.min(axis=1).max() if sense == "at_most" else own.max(axis=1).min())
            known = tally.needed.get(number, -worst)
            tally.needed[number] = max(known, best) if sense == "at_most" else min(known, best)

    def _reason(
        self, image: int, values: Mapping[str, FloatArray], present: BoolArray | None, choosable: BoolArray | None
    ) -> str:
        if choosable is not None and not choosable[image].any():
            return "all of its points are forbidden, or its fixed point is"
        reasons = []
        for column, sense, bound in self.statement.image_bounds:
            own = values[column][image] if present is None else values[column][image][present[image]]
            best = float(own.min() if sense == "at_most" else own.max())
            if (best > bound) if sense == "at_most" else (best < bound):
                word, asked = ("least", "at most") if sense == "at_most" else ("largest", "at least")
                reasons.append(f"its {word} {column} is {safe(best, sense)}, and {asked} {bound:g} is asked for")
        return "; ".join(reasons) or "no point that may be chosen meets all of its bounds together"

    def _pixels(self, cells: Cells, tally: Tally | None) -> FloatArray:
        """Number of pixels (B,) of every image."""
        with np.errstate(invalid="ignore"):
            area = cells.values["width"] * cells.values["height"]
        known = np.where(np.isnan(area), -np.inf, area)
        largest: FloatArray = known.max(axis=1)
        if tally is not None:
            usable = (largest > 0) & np.isfinite(largest)
            differing = (np.isfinite(known) & (known != largest[:, None])).any(axis=1)
            for text, mask in (
                ("no usable width and height", ~usable),
                ("different sizes in different rows", differing),
            ):
                if mask.any():
                    tally.sizes.setdefault(text, cells.first + int(mask.argmax()))
        return largest

    def settle(self, tally: Tally, source: str, name: Callable[[int], str]) -> tuple[str, ...]:
        """The warnings of a complete pass; `name` is what an image is called.

        Raises `TableError` for what was wrong with the cells, and `NoPointLeftError` where an image has no point left.
        """
        if tally.first_empty is not None:
            others = f" (and {counted(tally.empty - 1, 'more image')})" if tally.empty > 1 else ""
            raise TableError(
                f"image {name(tally.first_empty[0])!r}{others} of {source} has no usable point: of its "
                f"{counted(len(self.points), 'point')}, {tally.first_empty[1]}. "
                "Complete the table, or leave the image out of it"
            )
        if tally.contended:
            raise TableError(
                f"{self.timed[0]} cannot be optimised or bounded: {counted(tally.contended, 'cell')} of {source} "
                "were timed while other workers ran, which is no measurement; evaluate with one worker (--jobs 1) to "
                "measure times"
            )
        for column in self.needed:
            if column in tally.wrong:
                image, point, value = tally.first_wrong[column]
                raise TableError(
                    _wrong_text(column, name(image), self.points[point], value, tally.wrong[column], source)
                )
        for text, image in tally.sizes.items():
            raise TableError(f"image {name(image)!r} of {source} has {text}")
        if tally.without:
            raise NoPointLeftError(self._without_text(tally, name))
        return tuple(self._warnings(tally, source))

    def _without_text(self, tally: Tally, name: Callable[[int], str]) -> str:
        statement = self.statement
        said = [word for word, pairs in (("fixed", statement.fix), ("forbidden", statement.forbid)) if pairs]
        beside = [f"beside the {' and '.join(said)} points"] if said else []
        within = ["within the bounds on each image"] if statement.image_bounds else []
        because = " and ".join([*within, *beside])
        lines = [
            f"no selection: {tally.without} of {counted(tally.images, 'image')} have no point left {because}".rstrip()
        ]
        lines += [f"  {name(image)}: {reason}" for image, reason in tally.first_without]
        if tally.without > len(tally.first_without):
            lines.append(f"  and {tally.without - len(tally.first_without)} more")
        for number, (column, sense, bound) in enumerate(statement.image_bounds):
            least = tally.needed.get(number, np.nan)
            if (least > bound) if sense == "at_most" else (least < bound):
                option = f"--each-{sense.replace('_', '-')}"
                lines.append(f"{option} {column}={safe(least, sense)} would be met by some point of every image")
        return "\n".join(lines)

    def _warnings(self, tally: Tally, source: str) -> list[str]:
        if not tally.left_out:
            return []
        reasons = ", ".join(f"{count} {reason}" for reason, count in tally.reasons.items())
        return [
            f"{source}: {tally.left_out} of {counted(tally.cells, 'cell')}, in {tally.images_left_out} of "
            f"{counted(tally.images, 'image')}, {'is' if tally.left_out == 1 else 'are'} left out ({reasons}): "
            "those points cannot be chosen for those images"
        ]


def _both(one: BoolArray | None, other: BoolArray | None) -> BoolArray | None:
    return other if one is None else (one if other is None else one & other)


def _present(cells: Cells, needed: Sequence[str], shape: tuple[int, int], tally: Tally | None) -> BoolArray | None:
    """Cells (B, M) that have every value that is needed; None where all have."""
    if tally is not None:
        tally.cells += shape[0] * shape[1]
        tally.images += shape[0]
    lacking: dict[str, tuple[str, BoolArray]] = {}
    present: BoolArray | None = None
    if cells.failed is not None and cells.failed.any():
        lacking["failed"] = "failed", cells.failed
        present = ~cells.failed
    if cells.known is not None:
        lacking["without a row"] = "have no row", ~cells.known
        present = _both(present, cells.known)
    for name in needed:
        there = cells.there[name]
        if there is None:
            continue
        without = ~there if present is None else present & ~there
        if without.any():
            lacking[f"without {name}"] = f"have no {name}", without
            present = _both(present, there)
    if present is None or tally is None:
        return present
    for reason, (_, mask) in lacking.items():
        tally.reasons[reason] = tally.reasons.get(reason, 0) + int(mask.sum())
    tally.left_out += int((~present).sum())
    tally.images_left_out += int((~present).any(axis=1).sum())
    empty = np.flatnonzero(~present.any(axis=1)).tolist()
    tally.empty += len(empty)
    if empty and tally.first_empty is None:
        parts = [f"{int(mask[empty[0]].sum())} {text}" for text, mask in lacking.values() if mask[empty[0]].any()]
        tally.first_empty = cells.first + empty[0], ", ".join(parts)
    return present


def _count_wrong(
    name: str, values: FloatArray, where: BoolArray | None, first: int, averaged: bool, tally: Tally
) -> None:
    """An average needs finite values; a bound on each image can be held against infinity, but not against NaN."""
    with np.errstate(invalid="ignore", over="ignore"):
        if where is None and bool(np.isfinite(values.sum())):
            return
    wrong = ~np.isfinite(values) if averaged else np.isnan(values)
    places = np.argwhere(wrong if where is None else wrong & where)
    if len(places):
        tally.wrong[name] = tally.wrong.get(name, 0) + len(places)
        image, point = int(places[0][0]), int(places[0][1])
        tally.first_wrong.setdefault(name, (first + image, point, float(values[image, point])))


def _wrong_text(column: str, image: str, point: str, value: float, count: int, source: str) -> str:
    others = f" (and {counted(count - 1, 'more cell')})" if count > 1 else ""
    advice = "correct the cell, empty it, or leave the point out with --points or --forbid"
    if value == np.inf and column.startswith("psnr"):
        advice = (
            f"the point is lossless there; state what infinity counts as, such as --cap {column}=60 "
            f"(cap={{\"{column}\": 60}}), or leave the point out, such as --points '!{point.split(':')[0]}'"
        )
    return f"{column} of image {image!r} at {point!r} in {source} is {value}{others}: {advice}"
