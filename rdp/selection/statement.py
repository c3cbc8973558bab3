"""What the user asks for, in words: names, budgets and patterns, before any table is read.

A `Statement` is checked for sense on its own, is stored in `selection.json`, and together with the table rebuilds the
problem exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from rdp.errors import SpecError, suggest
from rdp.selection.statement_checks import (
    WEIGHTINGS,
    Weighting,
    check_column,
    check_count,
    check_flag,
    check_groups,
    check_numbers,
    check_pairs,
    check_text_map,
    check_texts,
    check_weightings,
)

__all__ = ["WEIGHTINGS", "Sense", "Statement", "Weighting"]

Sense = Literal["at_most", "at_least"]


@dataclass(frozen=True)
class Statement:
    """One selection problem in the user's words; `Statement.of` checks and completes them.

    Budgets are (column, value) maps. `points` are patterns in the order in which they apply, `fix` maps an image to
    its point, `forbid` holds (image pattern, point pattern) pairs, `cap` the largest value that counts of a column.
    `columns` maps names of rdp to those of the source, and is kept so that the same table can be read again.
    `group_at_most` and `group_at_least` are budgets that the average of every group of images keeps on its own;
    `groups` is the column that names each image's group, or a map from images to groups, and empty without such
    budgets. `max_points` is how many distinct points the whole selection may use. With `side_info` the bits that name
    each image's point are part of its rate (`rdp.selection.index_cost`). `decoder_info` says of points that share a
    file whether the bits that name the decoder are part of the rate (`rdp.selection.decoder_cost`): not if it is
    False. A problem's own statement has True where they are, and None where there are none to charge; so has a document
    that says nothing of it.
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
    group_at_most: Mapping[str, float] = field(default_factory=dict)
    group_at_least: Mapping[str, float] = field(default_factory=dict)
    groups: str | Mapping[str, str] = ""
    max_points: int | None = None
    side_info: bool = False
    decoder_info: bool | None = None

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
        group_at_most: Mapping[str, float] | None = None,
        group_at_least: Mapping[str, float] | None = None,
        groups: str | Mapping[str, str] | None = None,
        max_points: int | None = None,
        side_info: bool = False,
        decoder_info: bool | None = None,
    ) -> Statement:
        """A checked statement; raises `SpecError` that names the argument (`rdp solve` calls it `--at-most` etc.)."""
        if (minimize is None) == (maximize is None):
            raise SpecError(
                "say what to optimise: either minimize or maximize, and one column "
                "(--minimize COLUMN or --maximize COLUMN)"
            )
        return cls(
            minimize=check_column("minimize", minimize),
            maximize=check_column("maximize", maximize),
            at_most=check_numbers("at_most", at_most),
            at_least=check_numbers("at_least", at_least),
            weights=check_weightings(weights),
            each_at_most=check_numbers("each_at_most", each_at_most),
            each_at_least=check_numbers("each_at_least", each_at_least),
            points=check_texts("points", points),
            fix=check_text_map("fix", fix) if fix is None or isinstance(fix, Mapping) else check_texts("fix", fix),
            forbid=check_pairs(forbid),
            cap=check_numbers("cap", cap),
            columns=check_text_map("columns", columns),
            group_at_most=check_numbers("group_at_most", group_at_most),
            group_at_least=check_numbers("group_at_least", group_at_least),
            groups=check_groups(groups, bool(group_at_most or group_at_least)),
            max_points=check_count("max_points", max_points),
            side_info=check_flag("side_info", side_info),
            decoder_info=None if decoder_info is None else check_flag("decoder_info", decoder_info),
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
        """(column, sense, budget) of every constraint on an average of all images, in canonical order."""
        return _both_sides(self.at_most, self.at_least)

    @property
    def group_budgets(self) -> tuple[tuple[str, Sense, float], ...]:
        """(column, sense, budget) of every constraint on the average of each group, in canonical order."""
        return _both_sides(self.group_at_most, self.group_at_least)

    @property
    def image_bounds(self) -> tuple[tuple[str, Sense, float], ...]:
        """(column, sense, bound) of every bound on each image, in canonical order."""
        return _both_sides(self.each_at_most, self.each_at_least)

    @property
    def used_columns(self) -> tuple[str, ...]:
        """Columns whose average is optimised or bounded: the objective first, each once."""
        bounded = (column for column, _, _ in (*self.budgets, *self.group_budgets))
        return tuple(dict.fromkeys((self.objective, *bounded)))

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
            return np.broadcast_to(1.0, (count,)), "images"  # takes no memory
        return pixels, "pixels"

    def to_dict(self) -> dict[str, Any]:
        """As JSON, without what was not said; `from_dict` reverses it."""
        out: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if value or (value is False and item.name == "decoder_info"):
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
