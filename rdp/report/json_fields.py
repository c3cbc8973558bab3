"""JSON that others may have written: every value is read as what it must be, and refused otherwise.

A reader raises `KeyError` or `ValueError`, which whoever reads the whole document turns into a message.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from rdp.report.delivery_names import PackError
from rdp.selection.statement import Weighting

_LARGEST = 1 << 53
_FLAGS = {"inf": math.inf, "-inf": -math.inf, "missing": math.nan}

T = TypeVar("T")


def parse_json(path: Path, text: bytes) -> dict[str, Any]:
    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is no JSON")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a name stands twice in one object")
        return dict(pairs)

    try:
        document = json.loads(text.decode(), parse_constant=refuse, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise PackError(f"{path} is damaged: {error}") from error
    if not isinstance(document, dict):
        raise PackError(f"{path} is damaged: it is no JSON object")
    return document


def read_list(document: Mapping[str, Any], name: str, read: Callable[[Mapping[str, Any]], T]) -> tuple[T, ...]:
    if not isinstance(document[name], list):
        raise ValueError(f"{name} is no list")
    return tuple(read(read_object(entry)) for entry in document[name])


def read_object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{value!r:.80} is no object")
    return value


def read_text(entry: Mapping[str, Any], name: str) -> str:
    if not isinstance(entry[name], str):
        raise ValueError(f"{name} is {entry[name]!r:.80}, which is no text")
    return str(entry[name])


def read_texts(entry: Mapping[str, Any], name: str) -> tuple[str, ...]:
    if not isinstance(entry[name], list) or not all(isinstance(value, str) for value in entry[name]):
        raise ValueError(f"{name} is no list of texts")
    return tuple(entry[name])


def read_hash(entry: Mapping[str, Any], name: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", read_text(entry, name)):
        raise ValueError(f"{name} is no SHA-256")
    return str(entry[name])


def read_whole(entry: Mapping[str, Any], name: str, least: int = 0) -> int:
    value = entry[name]
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < _LARGEST:
        raise ValueError(f"{name} is {value!r:.80}, which is no whole number from {least}")
    return value


def read_real(entry: Mapping[str, Any], name: str) -> float:
    flag = entry.get(f"{name}_is")
    if flag is not None:
        return _FLAGS[flag]
    value = entry[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{name} is {value!r:.80}, which is no number")
    return float(value)


def read_flag(entry: Mapping[str, Any], name: str) -> bool:
    if not isinstance(entry[name], bool):
        raise ValueError(f"{name} is {entry[name]!r:.80}, neither true nor false")
    return bool(entry[name])


def read_choice(entry: Mapping[str, Any], name: str, known: tuple[str, ...]) -> str:
    if entry[name] not in known:
        raise ValueError(f"{name} is {entry[name]!r:.80}; it is one of {', '.join(known)}")
    return str(entry[name])


def read_weighting(entry: Mapping[str, Any]) -> Weighting:
    return cast("Weighting", read_choice(entry, "weighting", ("images", "pixels")))
