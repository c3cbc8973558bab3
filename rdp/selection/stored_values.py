"""Values of a `selection.json` that somebody may have edited: each is read as what it must be, or refused.

A reader raises `KeyError`, `TypeError` or `ValueError`, which `rdp.selection.loading` turns into a message.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rdp.selection.document import SAME


def read_number(entry: Mapping[str, Any], name: str) -> float | None:
    """A number, None where it is null, and infinity or NaN where the flag beside it says so."""
    flags = {"inf": math.inf, "-inf": -math.inf, "missing": math.nan}
    flag = entry.get(f"{name}_is")
    if flag is not None:
        return flags[flag]
    value = entry[name]
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise TypeError(f"{name} is {value!r}, not a number")
    return None if value is None else float(value)


def read_count(value: Any, name: str, most: int) -> int | None:
    """A whole number from 0 to `most`, or None."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most):
        raise ValueError(f"{name} is {value!r}, no whole number from 0 to {most}")
    return None if value is None else int(value)


def read_text(value: Any, name: str) -> str:
    """A text."""
    if not isinstance(value, str):
        raise TypeError(f"{name} is {value!r}, not a text")
    return value


def read_texts(value: Any, name: str) -> tuple[str, ...]:
    """A list of texts."""
    if not isinstance(value, list):
        raise TypeError(f"{name} is {value!r}, not a list")
    return tuple(read_text(one, name) for one in value)


def require_same(stored: float | None, computed: float | None, name: str) -> None:
    """Raise `ValueError` unless both are the same number, or both nothing."""
    if (stored is None) is not (computed is None):
        raise ValueError(f"{name} is {stored}, and recomputed it is {computed}")
    if stored is None or computed is None or (math.isnan(stored) and math.isnan(computed)):
        return
    if not math.isclose(stored, computed, rel_tol=SAME, abs_tol=2 * SAME if name.endswith("gap") else 1e-12):
        raise ValueError(f"{name} is {stored:.9g}, and recomputed it is {computed:.9g}")


def require_decoder_entry(stored: Mapping[str, Any] | None, computed: Mapping[str, Any] | None) -> None:
    """Raise `ValueError` unless the bits of decoders and the averages without them are the same, or both nothing."""
    if (stored is None) is not (computed is None):
        raise ValueError(f"decoder_info is {'missing' if stored is None else 'there, and nothing is charged'}")
    if stored is None or computed is None:
        return
    require_same(read_number(stored, "bits"), computed["bits"], "decoder_info: bits")
    said = {read_text(one["column"], "column"): read_number(one, "average") for one in stored["averages"]}
    again = {one["column"]: read_number(one, "average") for one in computed["averages"]}
    if set(said) != set(again):
        raise ValueError(f"decoder_info is of {', '.join(said)}, and the bits are in {', '.join(again)}")
    for column, average in again.items():
        require_same(said[column], average, f"decoder_info: average {column}")
