"""Kept files of a run folder: encoded files by their SHA-256, reconstructions by the SHA-256 of their pixels."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdp.images import write_png
from rdp.storage import discard
from rdp.tables.manifest import ROWS_KEPT, write_error

if TYPE_CHECKING:
    import numpy as np

OBJECTS = "objects"
RECONSTRUCTION_SUFFIX = ".png"


def object_path(run: Path, sha256: str, suffix: str = "") -> Path:
    """Where an object lies, or would lie."""
    return run / OBJECTS / sha256[:2] / f"{sha256}{suffix}"


def keep_file(run: Path, sha256: str, data: bytes) -> None:
    """Keep an encoded file under its hash. Raises `RunFolderError` if it cannot be written."""
    _store(object_path(run, sha256), lambda path: path.write_bytes(data))


def keep_reconstruction(run: Path, pixels_sha256: str, pixels: np.ndarray[Any, Any]) -> None:
    """Keep a decoded image, as PNG, under the hash of its pixels. Raises `RunFolderError`."""
    _store(object_path(run, pixels_sha256, RECONSTRUCTION_SUFFIX), lambda path: write_png(path, pixels))


def _store(target: Path, write: Callable[[Path], Any]) -> None:
    """Write beside the place and rename into it, so that an object is there completely or not at all."""
    if target.exists():
        return
    temporary = target.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        temporary.replace(target)
    except OSError as error:
        discard(temporary)
        raise write_error(target, error, ROWS_KEPT) from error
