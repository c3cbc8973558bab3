"""SHA-256 of files and of pixels: what tells whether two runs saw the same image."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_BLOCK = 1 << 20


def hash_bytes(data: bytes | memoryview) -> str:
    """SHA-256 as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def hash_file(path: Path) -> str:
    """SHA-256 of a file's content, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def hash_pixels(pixels: np.ndarray[Any, Any]) -> str:
    """SHA-256 of an image (uint8, (H, W, 3)): H and W as 4-byte big-endian integers, then the RGB bytes row by row.

    The file format, its compression and its metadata do not enter: two files with equal pixels have equal hashes.
    """
    import numpy as np

    height, width = pixels.shape[:2]
    digest = hashlib.sha256(struct.pack(">II", height, width))
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()
