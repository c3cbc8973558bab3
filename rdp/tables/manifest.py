"""The manifest of a run folder: the list of Parquet parts that count, replaced as a whole by an atomic rename.

A part becomes a part when the manifest names it. Whatever else lies in the folder (the half-written file of a killed
process, a part whose commit never came) is ignored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rdp.errors import RunFolderError
from rdp.storage import replace_file

FORMAT = 1
MANIFEST = "manifest.json"
CELLS = "cells"


@dataclass(frozen=True)
class Part:
    """One Parquet file: path relative to the run folder, rows, bytes; `replaces`: some keys stand in earlier parts."""

    file: str
    rows: int
    nbytes: int
    replaces: bool = False


@dataclass(frozen=True)
class Manifest:
    """Parts by table: "cells", and "scores/<metric>@<fingerprint>" for each metric, in order of commitment."""

    tables: Mapping[str, tuple[Part, ...]] = field(default_factory=dict)

    def parts(self, table: str) -> tuple[Part, ...]:
        return self.tables.get(table, ())

    def with_parts(self, added: Mapping[str, Part]) -> Manifest:
        tables = dict(self.tables)
        for table, part in added.items():
            tables[table] = (*tables.get(table, ()), part)
        return Manifest(tables)

    def without(self, table: str) -> Manifest:
        return Manifest({name: parts for name, parts in self.tables.items() if name != table})

    def replacing(self, table: str, parts: tuple[Part, ...]) -> Manifest:
        return Manifest({**self.tables, table: parts})


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a run folder; empty if none was written yet. Raises `RunFolderError` if it is damaged."""
    path = folder / MANIFEST
    document = read_json(path)
    if document is None:
        return Manifest()
    check_format(path, document)
    try:
        tables = {
            name: tuple(Part(str(p["file"]), int(p["rows"]), int(p["nbytes"]), bool(p["replaces"])) for p in parts)
            for name, parts in document["tables"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunFolderError(f"{path} is damaged ({error!r}): restore it, or start a new run folder") from error
    return Manifest(tables)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Commit: after this returns, the parts count, also after a power cut."""
    tables = {name: [vars(part) for part in parts] for name, parts in manifest.tables.items()}
    write_json(folder / MANIFEST, {"format": FORMAT, "tables": tables})


def check_format(path: Path, document: Mapping[str, Any]) -> None:
    """Raise `RunFolderError` for a document of another version of the run folder's format."""
    if document.get("format") != FORMAT:
        raise RunFolderError(
            f"{path} is of format {document.get('format')!r}, and this rdp reads and writes format {FORMAT}: "
            "use the rdp that made the folder, or start a new one with another --out"
        )


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object from a file, None if there is no such file."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunFolderError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise RunFolderError(f"{path} is damaged ({error}): restore it, or start a new run folder") from error
    if not isinstance(document, dict):
        raise RunFolderError(f"{path} is damaged (not an object): restore it, or start a new run folder")
    return document


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write JSON so that readers see the old file or the new one, never a part of it."""
    write_atomically(path, json.dumps(document, indent=1, allow_nan=False).encode())


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file completely or not at all. Raises `RunFolderError` where it cannot be written."""
    try:
        replace_file(path, data)
    except OSError as error:
        raise write_error(path, error) from error


ROWS_KEPT = "; all rows committed so far are kept"


def write_error(path: Path, error: OSError, also: str = "") -> RunFolderError:
    """What to tell a user whose disk or folder refuses a write; `also` is added where the disk is full."""
    import errno

    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunFolderError(f"no space left on the disk for {path}: make room and run the same command again{also}")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return RunFolderError(f"no permission to write {path}: choose another --out, or change the permissions")
    return RunFolderError(f"cannot write {path}: {error.strerror or error}")
