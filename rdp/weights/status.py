"""What lies on this machine, for lists and checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rdp.errors import WeightsError
from rdp.weights.index import WeightsEntry, find_entries, load_index
from rdp.weights.local import locate, size_problem, verify

State = Literal["missing", "present", "verified", "wrong"]


@dataclass(frozen=True)
class WeightsStatus:
    """One file of the index on this machine: present means found, of the right size, not hashed.

    `message` says what is wrong with the file at `path`.
    """

    entry: WeightsEntry
    state: State
    path: Path | None = None
    sha256: str | None = None
    message: str = ""


def list_weights(index_path: Path | None = None) -> list[WeightsStatus]:
    """Every file of the index: missing, present, or wrong by its size; nothing is hashed."""
    return [look_at(entry) for entry in load_index(index_path).values()]


def verify_weights(names: Sequence[str] = (), index_path: Path | None = None) -> list[WeightsStatus]:
    """The named files and sets, or all of the index, hashed: missing, verified or wrong.

    An unknown name is a `WeightsError`.
    """
    index = load_index(index_path)
    named = {entry.name: entry for name in names for entry in find_entries(index, name)}
    return [_verified(entry) for entry in (named or index).values()]


def look_at(entry: WeightsEntry) -> WeightsStatus:
    """One file of the index on this machine: missing, present, or wrong by its size; it is not hashed."""
    path = locate(entry)
    if path is None:
        return WeightsStatus(entry, "missing")
    problem = size_problem(entry, path)
    return WeightsStatus(entry, "wrong" if problem else "present", path, message=problem)


def _verified(entry: WeightsEntry) -> WeightsStatus:
    path = locate(entry)
    if path is None:
        return WeightsStatus(entry, "missing")
    try:
        file = verify(entry, path)
    except WeightsError as error:
        return WeightsStatus(entry, "wrong", path, message=str(error))
    return WeightsStatus(entry, "verified", path, file.sha256)
