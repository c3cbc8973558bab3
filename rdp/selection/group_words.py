"""Limits in words where there may be one for each of many groups of images."""

from __future__ import annotations

from collections.abc import Iterable

MOST_NAMED = 3
"""Of a limit on more groups than these, only their number is told."""


def limits_in_words(limits: Iterable[tuple[str, str]]) -> str:
    """`bpp <= 0.5 and psnr >= 30 in 'faces'` of pairs of a limit and its group, which is empty for all images.

    The same limit on many groups is one: `bpp <= 0.5 in each of 30 groups`.
    """
    groups_of: dict[str, list[str]] = {}
    for limit, group in limits:
        groups_of.setdefault(limit, []).append(group)
    out: list[str] = []
    for limit, groups in groups_of.items():
        named = [group for group in groups if group]
        out += [limit] if "" in groups else []
        if len(named) > MOST_NAMED:
            out.append(f"{limit} in each of {len(named)} groups")
        else:
            out += [f"{limit} in {group!r}" for group in named]
    return " and ".join(out)
