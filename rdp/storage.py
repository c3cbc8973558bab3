"""Files that are there completely or not at all: written beside their place, flushed, and renamed into it.

The functions raise `OSError`; each package says in its own words what a user can do about it.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path


def replace_file(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that readers see the old file or the new one, also after a power cut."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError:
        discard(temporary)
        raise
    sync_folder(path.parent)


def discard(path: Path) -> None:
    """Remove a file that could not be completed; where that fails too (a disk that became read-only), it stays."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
