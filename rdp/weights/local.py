"""Finding weights on this machine, and refusing files that are not what the index says.

The search goes by file name: first through the read-only folders of the environment variable RDP_WEIGHTS, then the
project's own `pretrained/`, then the cache that `rdp weights fetch` fills. The first file found is the one that counts:
one with the wrong hash is an error and not passed over, since another copy further on would hide the mistake.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from rdp.errors import WeightsError
from rdp.weights.index import WeightsEntry, find_entry, load_index, pretrained_folder

FOLDERS_VARIABLE = "RDP_WEIGHTS"
HOME_VARIABLE = "RDP_HOME"


@dataclass(frozen=True)
class WeightsFile:
    """A file of weights whose hash was checked. `sha256` is the whole hash, 64 hex digits."""

    name: str
    path: Path
    sha256: str


def cache_folder() -> Path:
    """Where fetched weights lie: `weights/` in RDP_HOME, or in the user's cache folder for rdp."""
    home = os.environ.get(HOME_VARIABLE)
    if home:
        return Path(home).expanduser() / "weights"
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("rdp", appauthor=False)) / "weights"


def search_folders() -> tuple[Path, ...]:
    """The folders that are searched, in order; some may not exist."""
    named = os.environ.get(FOLDERS_VARIABLE, "").split(os.pathsep)
    return (*(Path(folder).expanduser() for folder in named if folder), pretrained_folder(), cache_folder())


def locate(entry: WeightsEntry) -> Path | None:
    """The first file of the entry's name in the search folders, not verified; None if there is none.

    Raises `WeightsError` for a folder that cannot be looked into.
    """
    for folder in search_folders():
        path = folder / entry.filename
        try:
            if path.is_file():
                return path
        except OSError as error:
            raise WeightsError(f"cannot look for {entry.filename} in {folder}: {error.strerror}") from error
    return None


def size_problem(entry: WeightsEntry, path: Path) -> str:
    """What is wrong with the size of the file at `path`, or nothing; cheap, unlike `verify`, which is what counts.

    Raises `WeightsError` if the file cannot be looked at.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise WeightsError(f"weights file {path} cannot be read: {error.strerror}") from error
    if entry.size is None or size == entry.size:
        return ""
    return f"wrong size ({size} bytes), found at {path}"


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits, computed once a process for each (path, size, modification time).

    Raises `WeightsError` if the file cannot be read.
    """
    try:
        found = path.stat()
        return _sha256(path, found.st_size, found.st_mtime_ns)
    except OSError as error:
        raise WeightsError(f"weights file {path} cannot be read: {error.strerror}") from error


def verify(entry: WeightsEntry, path: Path) -> WeightsFile:
    """The file at `path`, if it is what the index says; else `WeightsError` with both hashes and what to do."""
    sha256 = sha256_of(path)
    if entry.matches(sha256):
        return WeightsFile(entry.name, path, sha256)
    kind = "SHA-256" if entry.sha256 else "SHA-256 beginning"
    again = f" and run `rdp weights fetch {entry.name}`" if entry.url else " and copy it again from where it came"
    raise WeightsError(
        f"weights file {path} is not {entry.name!r}: expected {kind} {entry.expected}, found {sha256}. "
        f"It is damaged or another file: remove it{again}"
    )


def reverify(file: WeightsFile) -> Path:
    """The path of a file that was verified earlier, perhaps by another process, after checking its hash again.

    Raises `WeightsError` if the file is gone or has changed.
    """
    sha256 = sha256_of(file.path)
    if sha256 != file.sha256:
        raise WeightsError(
            f"weights file {file.path} changed while it was in use: expected SHA-256 {file.sha256}, found {sha256}. "
            "Restore it, or start again"
        )
    return file.path


def resolve(name: str, index_path: Path | None = None) -> WeightsFile:
    """The verified file of that name. Raises `WeightsError` if it is unknown, missing or of the wrong hash."""
    return resolve_first((name,), index_path=index_path)


def resolve_first(names: Sequence[str], needed_by: str = "", index_path: Path | None = None) -> WeightsFile:
    """The verified file of the first of `names` that lies on this machine.

    `needed_by` says in the message what the weights are for; `index_path` names another index than the project's own.
    Raises `WeightsError` if none is there, with the ways to get one, or if the one found has the wrong hash.
    """
    index = load_index(index_path)
    entries = [find_entry(index, name) for name in names]
    for entry in entries:
        path = locate(entry)
        if path is not None:
            return verify(entry, path)
    raise WeightsError(_missing(entries, needed_by))


def ways_to_get(entry: WeightsEntry) -> str:
    """The two ways to get a file, as a sentence without its first capital and its full stop."""
    put = f"put the file {entry.filename} into a folder and name that folder in {FOLDERS_VARIABLE}"
    return f"run `rdp weights fetch {entry.name}` on a machine with internet, or {put}" if entry.url else put


def _missing(entries: Sequence[WeightsEntry], needed_by: str) -> str:
    names = " or ".join(repr(entry.name) for entry in entries)
    subject = f"{needed_by} needs the weights {names}, which are" if needed_by else f"the weights {names} are"
    ways = "; or ".join(ways_to_get(entry) for entry in entries)
    looked = ", ".join(f"{folder}{'' if folder.is_dir() else ' (no such folder)'}" for folder in search_folders())
    return f"{subject} not on this machine. To get them: {ways}. Looked in: {looked}"


@lru_cache(maxsize=256)
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    """Hash of the file; size and modification time are part of the cache's key."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
