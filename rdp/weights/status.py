"""What lies on this machine, for lists and checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rdp.errors import WeightsError
from rdp.weights.index import WeightsEntry, find_entry, load_index
from rdp.weights.local import locate, verify

State = Literal["missing", "present", "verified", "wrong"]


@dataclass(frozen=True)
class WeightsStatus:
    """One file of the index on this machine: present means found but not hashed; `message` says what is wrong."""

    entry: WeightsEntry
    state: State
    path: Path | None = None
    sha256: str | None = None
    message: str = ""


def list_weights(index_path: Path | None = None) -> list[WeightsStatus]:
    """Every file of the index, missing or present; nothing is hashed."""
    found = [(entry, locate(entry)) for entry in load_index(index_path).values()]
    return [WeightsStatus(entry, "present" if path else "missing", path) for entry, path in found]


def verify_weights(names: Sequence[str] = (), index_path: Path | None = None) -> list[WeightsStatus]:
    """The named files, or all of the index, hashed: missing, verified or wrong. An unknown name is a `WeightsError`."""
    index = load_index(index_path)
    return [_verified(entry) for entry in ([find_entry(index, name) for name in names] or index.values())]


def _verified(entry: WeightsEntry) -> WeightsStatus:
    path = locate(entry)
    if path is None:
        return WeightsStatus(entry, "missing")
    try:
        file = verify(entry, path)
    except WeightsError as error:
        return WeightsStatus(entry, "wrong", path, message=str(error))
    return WeightsStatus(entry, "verified", path, file.sha256)
