"""Checks of what a user says, argument by argument: each returns a plain, finite, sorted copy or raises `SpecError`."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from rdp.errors import SpecError, suggest

Weighting = Literal["images", "pixels"]
DEFAULT_GROUPS = "dataset"
"""The column whose values are the groups, unless another is named."""
WEIGHTINGS: tuple[Weighting, ...] = ("images", "pixels")


def check_column(argument: str, given: str | None) -> str | None:
    """The name of one column, or None."""
    if given is not None and (not isinstance(given, str) or not given):
        raise SpecError(f"{argument} must be the name of one column, such as 'mse', not {given!r}")
    return given


def check_entries(argument: str, given: Any, example: str) -> list[tuple[str, Any]]:
    """The (name, value) pairs of a map, sorted by name; raises `SpecError` for what is none."""
    if given is None:
        return []
    if not isinstance(given, Mapping):
        raise SpecError(f"{argument} must map {example}, not {given!r}")
    for name in given:
        if not isinstance(name, str):
            raise SpecError(f"{argument} must map {example}; {name!r} is not a text")
    return sorted(given.items())


def check_numbers(argument: str, given: Mapping[str, float] | None) -> dict[str, float]:
    """The map with finite floats, sorted by column."""
    out: dict[str, float] = {}
    for column, value in check_entries(argument, given, "columns to numbers, such as {'bpp': 0.25}"):
        if isinstance(value, bool) or not isinstance(value, numbers.Real) or not _is_finite(value):
            raise SpecError(f"{argument} {column}: {value!r} is not a finite number")
        out[column] = float(value)
    return out


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def check_weightings(given: Mapping[str, Weighting] | None) -> dict[str, Weighting]:
    """Column -> how it is averaged."""
    out: dict[str, Weighting] = {}
    example = "columns to 'images' or 'pixels', such as {'bpp': 'pixels'}"
    for column, weighting in check_entries("weights", given, example):
        if weighting not in WEIGHTINGS:
            raise SpecError(
                f"weights {column}: {weighting!r} is not a weighting.{suggest(str(weighting), WEIGHTINGS)}"
                " It is 'images' (the mean over images, the default) or 'pixels' (weighted by width * height)"
            )
        out[column] = weighting
    return out


def check_text_map(argument: str, given: Any) -> dict[str, str]:
    """The map in its own order, names and values being texts."""
    example = "images to points" if argument == "fix" else "our column names to yours, such as {'bpp': 'rate'}"
    for name, value in check_entries(argument, given, example):
        if not isinstance(value, str):
            raise SpecError(f"{argument} {name!r}: {value!r} is not a text")
    return dict(given or {})


def check_texts(argument: str, given: Sequence[str] | None) -> tuple[str, ...]:
    """A list of texts, and not one text."""
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


def check_pairs(given: Sequence[tuple[str, str] | str] | None) -> tuple[tuple[str, str] | str, ...]:
    """The (image, point) pairs of `forbid`, or texts IMAGE=POINT that are parted later."""
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


def check_groups(given: str | Mapping[str, str] | None, budgets: bool) -> str | dict[str, str]:
    """The column that holds the groups, or the map from images to groups; empty where no budget is by group."""
    if isinstance(given, Mapping):
        out: dict[str, str] = {}
        for image, group in check_entries("groups", given, "images to groups, such as {'kodim01.png': 'faces'}"):
            if isinstance(group, bool) or not isinstance(group, (str, int)) or group == "":
                raise SpecError(f"groups {image!r}: {group!r} is not the name of a group (a text or a whole number)")
            out[image] = str(group)
        if not out:
            raise SpecError("groups maps no image to a group")
        given_groups: str | dict[str, str] = out
    elif given is None or isinstance(given, str):
        given_groups = given or DEFAULT_GROUPS
    else:
        raise SpecError(f"groups must be a column or a map from images to groups, not {given!r}")
    if budgets:
        return given_groups
    if given_groups != DEFAULT_GROUPS:
        raise SpecError(
            "groups are given, but no budget for them: say group_at_most or group_at_least "
            "(--group-at-most, --group-at-least)"
        )
    return ""


def check_count(argument: str, given: Any) -> int | None:
    """A whole number, 1 or more, or None."""
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, numbers.Integral) or int(given) < 1:
        raise SpecError(f"{argument} must be a whole number, 1 or more, not {given!r}")
    return int(given)


def check_flag(argument: str, given: bool) -> bool:
    """True or false, and nothing that only looks like it."""
    if not isinstance(given, bool):
        raise SpecError(f"{argument} must be True or False, not {given!r}")
    return given
