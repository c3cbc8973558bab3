"""What the user asks for, in words: names, budgets and patterns, before any table is read.

A `Statement` is checked for sense on its own, is stored in `selection.json`, and together with the table rebuilds the
problem exactly.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from rdp.errors import SpecError, suggest

Weighting = Literal["images", "pixels"]
Sense = Literal["at_most", "at_least"]
WEIGHTINGS: tuple[Weighting, ...] = ("images", "pixels")


@dataclass(frozen=True)
class Statement:
    """One selection problem in the user's words; `Statement.of` checks and completes them.

    Budgets are (column, value) maps. `points` are patterns in the order in which they apply, `fix` maps an image to
    its point, `forbid` holds (image pattern, point pattern) pairs, `cap` the largest value that counts of a column.
    `columns` maps names of rdp to those of the source, and is kept so that the same table can be read again.
    """

    minimize: str | None = None
    maximize: str | None = None
    at_most: Mapping[str, float] = field(default_factory=dict)
    at_least: Mapping[str, float] = field(default_factory=dict)
    weights: Mapping[str, Weighting] = field(default_factory=dict)
    each_at_most: Mapping[str, float] = field(default_factory=dict)
    each_at_least: Mapping[str, float] = field(default_factory=dict)
    points: tuple[str, ...] = ()
    fix: Mapping[str, str] | tuple[str, ...] = field(default_factory=dict)
    forbid: tuple[tuple[str, str] | str, ...] = ()
    cap: Mapping[str, float] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
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
        columns: Mapping[str, str] | None = None,
    ) -> Statement:
        """A checked statement; raises `SpecError` that names the argument (`rdp solve` calls it `--at-most` etc.)."""
        if (minimize is None) == (maximize is None):
            raise SpecError(
                "say what to optimise: either minimize or maximize, and one column "
                "(--minimize COLUMN or --maximize COLUMN)"
            )
        return cls(
            minimize=_column("minimize", minimize),
            maximize=_column("maximize", maximize),
            at_most=_numbers("at_most", at_most),
            at_least=_numbers("at_least", at_least),
            weights=_weightings(weights),
            each_at_most=_numbers("each_at_most", each_at_most),
            each_at_least=_numbers("each_at_least", each_at_least),
            points=_texts("points", points),
            fix=_text_map("fix", fix) if fix is None or isinstance(fix, Mapping) else _texts("fix", fix),
            forbid=_pairs(forbid),
            cap=_numbers("cap", cap),
            columns=_text_map("columns", columns),
        )

    @property
    def objective(self) -> str:
        """The column that is optimised."""
        return cast(str, self.minimize if self.minimize is not None else self.maximize)

    @property
    def goal(self) -> Literal["minimize", "maximize"]:
        """Which way."""
        return "minimize" if self.minimize is not None else "maximize"

    @property
    def budgets(self) -> tuple[tuple[str, Sense, float], ...]:
        """(column, sense, budget) of every averaged constraint, in canonical order."""
        return _both_sides(self.at_most, self.at_least)

    @property
    def image_bounds(self) -> tuple[tuple[str, Sense, float], ...]:
        """(column, sense, bound) of every bound on each image, in canonical order."""
        return _both_sides(self.each_at_most, self.each_at_least)

    @property
    def used_columns(self) -> tuple[str, ...]:
        """Columns whose average is optimised or bounded: the objective first, each once."""
        return tuple(dict.fromkeys((self.objective, *(column for column, _, _ in self.budgets))))

    @property
    def bounded_columns(self) -> tuple[str, ...]:
        """Columns that only bounds on each image look at."""
        used = self.used_columns
        return tuple(dict.fromkeys(c for c, _, _ in self.image_bounds if c not in used))

    def weights_of(
        self, column: str, count: int, pixels: npt.NDArray[np.float64] | None
    ) -> tuple[npt.NDArray[np.float64], Weighting]:
        """Weights (count,) of that column's average, and their name."""
        weighting = self.weights.get(column, "images")
        if weighting == "images" or pixels is None:
            return np.ones(count), "images"
        return pixels, "pixels"

    def to_dict(self) -> dict[str, Any]:
        """As JSON, without what was not said; `from_dict` reverses it."""
        out: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if value:
                out[item.name] = dict(value) if isinstance(value, Mapping) else value
        if self.points:
            out["points"] = list(self.points)
        if self.forbid:
            out["forbid"] = [list(pair) if isinstance(pair, tuple) else pair for pair in self.forbid]
        return out

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Statement:
        """The statement of a `selection.json`; raises `SpecError` for keys that this version does not know."""
        known = tuple(item.name for item in fields(cls))
        for key in document:
            if key not in known:
                raise SpecError(f"the problem statement has an unknown entry {key!r}.{suggest(key, known)}")
        words = dict(document)
        if "forbid" in words:
            words["forbid"] = [tuple(pair) if isinstance(pair, list) else pair for pair in words["forbid"]]
        return cls.of(**words)


def _both_sides(upper: Mapping[str, float], lower: Mapping[str, float]) -> tuple[tuple[str, Sense, float], ...]:
    sides: list[tuple[str, Sense, float]] = [(column, "at_most", value) for column, value in upper.items()]
    sides += [(column, "at_least", value) for column, value in lower.items()]
    return tuple(sorted(sides))


def _column(argument: str, given: str | None) -> str | None:
    if given is not None and (not isinstance(given, str) or not given):
        raise SpecError(f"{argument} must be the name of one column, such as 'mse', not {given!r}")
    return given


def _entries(argument: str, given: Any, example: str) -> list[tuple[str, Any]]:
    """The (name, value) pairs of a map, sorted by name; raises `SpecError` for what is none."""
    if given is None:
        return []
    if not isinstance(given, Mapping):
        raise SpecError(f"{argument} must map {example}, not {given!r}")
    for name in given:
        if not isinstance(name, str):
            raise SpecError(f"{argument} must map {example}; {name!r} is not a text")
    return sorted(given.items())


def _numbers(argument: str, given: Mapping[str, float] | None) -> dict[str, float]:
    """The map with finite floats, sorted by column."""
    out: dict[str, float] = {}
    for column, value in _entries(argument, given, "columns to numbers, such as {'bpp': 0.25}"):
        if isinstance(value, bool) or not isinstance(value, numbers.Real) or not _is_finite(value):
            raise SpecError(f"{argument} {column}: {value!r} is not a finite number")
        out[column] = float(value)
    return out


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def _weightings(given: Mapping[str, Weighting] | None) -> dict[str, Weighting]:
    out: dict[str, Weighting] = {}
    for column, weighting in _entries("weights", given, "columns to 'images' or 'pixels', such as {'bpp': 'pixels'}"):
        if weighting not in WEIGHTINGS:
            raise SpecError(
                f"weights {column}: {weighting!r} is not a weighting.{suggest(str(weighting), WEIGHTINGS)}"
                " It is 'images' (the mean over images, the default) or 'pixels' (weighted by width * height)"
            )
        out[column] = weighting
    return out


def _text_map(argument: str, given: Any) -> dict[str, str]:
    """The map in its own order, names and values being texts."""
    example = "images to points" if argument == "fix" else "our column names to yours, such as {'bpp': 'rate'}"
    for name, value in _entries(argument, given, example):
        if not isinstance(value, str):
            raise SpecError(f"{argument} {name!r}: {value!r} is not a text")
    return dict(given or {})


def _texts(argument: str, given: Sequence[str] | None) -> tuple[str, ...]:
    if isinstance(given, str):
        raise SpecError(f"{argument} must be a list of texts, not one text: write [{given!r}]")
    texts = _listed(argument, given, "texts")
    for text in texts:
        if not isinstance(text, str):
            raise SpecError(f"{argument} must be a list of texts; {text!r} is none")
    return texts


def _listed(argument: str, given: Any, what: str) -> tuple[Any, ...]:
    if given is None:
        return ()
    if isinstance(given, (str, Mapping)) or not isinstance(given, Iterable):
        raise SpecError(f"{argument} must be a list of {what}, not {given!r}")
    return tuple(given)


def _pairs(given: Sequence[tuple[str, str] | str] | None) -> tuple[tuple[str, str] | str, ...]:
    if isinstance(given, str):
        raise SpecError(f"forbid must be a list of (image, point) pairs, not one text: write [{given!r}]")
    out: list[tuple[str, str] | str] = []
    for pair in _listed("forbid", given, "(image, point) pairs"):
        if isinstance(pair, str):
            out.append(pair)
            continue
        if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            raise SpecError(f"forbid: {pair!r} is not an (image pattern, point pattern) pair")
        out.append((pair[0], pair[1]))
    return tuple(out)
