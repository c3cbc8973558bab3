"""Names of points by glob patterns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase

from rdp.errors import SpecError, suggest


def matching_names(patterns: Iterable[str], names: Sequence[str], refusal: Callable[[str], str]) -> frozenset[str]:
    """The names that any of the patterns matches, or is.

    Raises `SpecError` for a pattern that matches none: what `refusal` says of it, and what may have been meant.
    """
    matched: set[str] = set()
    for pattern in patterns:
        hits = {name for name in names if name == pattern or fnmatchcase(name, pattern)}
        if not hits:
            raise SpecError(f"{refusal(pattern)}{suggest(pattern, list(names))}")
        matched |= hits
    return frozenset(matched)
