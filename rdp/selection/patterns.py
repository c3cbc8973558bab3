"""Patterns over the names of images and points: `webp:*`, `!png`, `IMAGE=POINT`.

A point pattern is a shell-like glob over the whole name; one without a colon is held against the family alone, so
that `png` means every point of that codec. A name that stands in the table as written is taken literally first, so
that brackets and the like in file names do no harm.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Sequence

import numpy as np

from rdp.errors import SpecError, suggest
from rdp.selection.terms import BoolArray
from rdp.selection.words import counted


def _family(point: str) -> str:
    return point.partition(":")[0]


def match_points(pattern: str, points: Sequence[str]) -> BoolArray:
    """Which points (M,) a pattern means."""
    if pattern in points:
        return np.array([point == pattern for point in points], dtype=np.bool_)
    by_family = ":" not in pattern
    return np.array(
        [
            fnmatch.fnmatchcase(point, pattern) or (by_family and fnmatch.fnmatchcase(_family(point), pattern))
            for point in points
        ],
        dtype=np.bool_,
    )


def match_images(pattern: str, labels: Sequence[str], images: Sequence[str]) -> BoolArray:
    """Which images (N,) a pattern means: of their label (dataset/name where there are several datasets) or name."""
    exact = np.array([pattern in pair for pair in zip(labels, images, strict=True)], dtype=np.bool_)
    if exact.any():
        return exact
    return np.array(
        [any(fnmatch.fnmatchcase(name, pattern) for name in pair) for pair in zip(labels, images, strict=True)],
        dtype=np.bool_,
    )


def select_points(patterns: Sequence[str], points: Sequence[str]) -> BoolArray:
    """The points (M,) that a list of patterns leaves.

    Patterns apply in order: `glob` adds, `!glob` takes away. If the first takes away, everything is there before it.
    Raises `SpecError` when a pattern means no point of the table or none is left.
    """
    if not patterns:
        return np.ones(len(points), dtype=np.bool_)
    keep = np.full(len(points), patterns[0].startswith("!"))
    for pattern in patterns:
        matched = match_points(pattern.removeprefix("!"), points)
        if not matched.any():
            raise SpecError(f"points: {pattern!r} means no point of the table.{_known_points(pattern, points)}")
        keep = keep & ~matched if pattern.startswith("!") else keep | matched
    if not keep.any():
        raise SpecError(f"points: the patterns {' '.join(map(repr, patterns))} leave no point of the table")
    return keep


def require_points(argument: str, pattern: str, points: Sequence[str]) -> BoolArray:
    """The points that a pattern means; `SpecError` when there is none."""
    matched = match_points(pattern, points)
    if not matched.any():
        raise SpecError(f"{argument}: {pattern!r} means no point of the table.{_known_points(pattern, points)}")
    return matched


def require_images(argument: str, pattern: str, labels: Sequence[str], images: Sequence[str]) -> BoolArray:
    """The images that a pattern means; `SpecError` when there is none."""
    matched = match_images(pattern, labels, images)
    if not matched.any():
        near = suggest(pattern, tuple(dict.fromkeys((*labels, *images))))
        raise SpecError(
            f"{argument}: {pattern!r} means no image of the table.{near}"
            f" It has {counted(len(labels), 'image')}, such as {labels[0]!r}"
        )
    return matched


def _known_points(pattern: str, points: Sequence[str]) -> str:
    families = tuple(dict.fromkeys(map(_family, points)))
    near = suggest(pattern.removeprefix("!").rstrip("*").rstrip(":"), tuple(dict.fromkeys((*families, *points))))
    shown = ", ".join(points[:6]) + (", ..." if len(points) > 6 else "")
    return f"{near} Its points: {shown}"


def split_pair(
    argument: str, text: str, is_image: Callable[[str], bool], is_point: Callable[[str], bool]
) -> tuple[str, str]:
    """`IMAGE=POINT` in two.

    Both sides may hold `=` themselves (`a=b.png=webp:quality=5`), so the text is parted where the table knows both
    halves. Raises `SpecError` when it nowhere does, or in more than one place.
    """
    places = [k for k, letter in enumerate(text) if letter == "="]
    halves = [(text[:k], text[k + 1 :]) for k in places]
    if not halves:
        raise SpecError(f"{argument}: {text!r} is not IMAGE=POINT, such as 'kodim01.png=webp:quality=5,method=4'")
    known = [pair for pair in halves if is_image(pair[0]) and is_point(pair[1])]
    if len(known) > 1:
        raise SpecError(f"{argument}: {text!r} can be parted in {len(known)} ways; give it in Python as a pair")
    if known:
        return known[0]
    # For the message: the half that is known tells where the user meant to part it.
    return next((pair for pair in halves if is_image(pair[0]) or is_point(pair[1])), halves[0])
