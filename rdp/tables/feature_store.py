"""Arrays kept in a run folder for each picture: features of its patches, or their sorted projections.

features/<name>@<fingerprint>/
    features.json    what the fingerprint stands for, and the devices that computed
    ab/ab….npy       one array, float32, by a key that begins with the SHA-256 of the picture's pixels

A file appears whole or not at all, under a name that says what it is of, so what a killed process leaves is valid and
the next one goes on from there. A file is in NumPy's format with the CRC-32 of all that at its end (4 bytes, little
endian), which every reading verifies; the array that it gives is a memory map, so that more of them than the memory
holds may be at hand.
"""

from __future__ import annotations

import io
import uuid
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from rdp.errors import RunFolderError
from rdp.storage import discard
from rdp.tables.manifest import read_json, write_error, write_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Float32 = NDArray[np.float32]

FEATURES = "features"
DESCRIPTION = "features.json"
_CHECK_BYTES = 4
_BLOCK = 1 << 20
_KEPT = "; all features computed so far are kept"


class FeatureStore:
    """The arrays of one kind in a run folder. Reading takes no lock; `writing` does."""

    def __init__(self, run: Path, name: str, fingerprint: str, identity: Mapping[str, Any]) -> None:
        self.path = run / FEATURES / f"{name}@{fingerprint}"
        self._identity = dict(identity)

    def file(self, key: str) -> Path:
        """Where the array of a key lies, or would lie."""
        return self.path / key[:2] / f"{key}.npy"

    def has(self, key: str, shape: tuple[int, ...]) -> bool:
        """Whether the array is there, by a look at the file's size.

        Raises `RunFolderError` for a file that is too short to hold it.
        """
        path = self.file(key)
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return False
        except OSError as error:
            raise RunFolderError(f"cannot read {path}: {error.strerror}") from error
        if size < array_bytes(shape) + _CHECK_BYTES:
            raise _damaged(path, f"{size} bytes, where the data alone have {array_bytes(shape)}")
        return True

    def read(self, key: str, shape: tuple[int, ...]) -> Float32:
        """The array of a key, mapped from its file. Raises `RunFolderError` that names it if gone or damaged."""
        import numpy as np

        path = self.file(key)
        try:
            with path.open("rb") as stream:
                total, rest = _checksum(stream, path.stat().st_size - _CHECK_BYTES)
            if total.to_bytes(_CHECK_BYTES, "little") != rest:
                raise _damaged(path, "its checksum is another")
            values: Float32 = np.load(path, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError as error:
            raise RunFolderError(f"{path} is missing: compute the features again, what is there is kept") from error
        except (OSError, ValueError, EOFError) as error:
            raise _damaged(path, str(error)) from error
        if values.shape != shape or values.dtype != np.float32:
            raise _damaged(path, f"{values.dtype} {values.shape} in place of float32 {shape}")
        return values

    def description(self) -> dict[str, Any]:
        """What `features.json` says; empty where there is none yet. Raises `RunFolderError` if it is damaged."""
        return read_json(self.path / DESCRIPTION) or {}

    @contextmanager
    def writing(self) -> Iterator[FeatureWriter]:
        """Make the folder if needed, lock it and clear what killed processes left.

        Raises `RunFolderError` while another process writes the same features, and where the disk refuses.
        """
        from filelock import FileLock, Timeout

        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(self.path, error) from error
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise RunFolderError(f"another process is computing {self.path}: wait for it") from error
        except OSError as error:
            raise write_error(self.path, error) from error
        try:
            for leftover in self.path.glob("*/.*.tmp"):
                discard(leftover)
            if not (self.path / DESCRIPTION).exists():
                write_json(self.path / DESCRIPTION, {"identity": self._identity, "devices": []})
            yield FeatureWriter(self)
        finally:
            lock.release()


class FeatureWriter:
    """Adds arrays to a store that is locked."""

    def __init__(self, store: FeatureStore) -> None:
        self._store = store

    def describe(self, **entries: Any) -> None:
        """Add to `features.json`, or replace there."""
        write_json(self._store.path / DESCRIPTION, {**self._store.description(), **entries})

    def write(self, key: str, values: Float32) -> None:
        """Keep an array. Raises `RunFolderError` if it cannot be written."""
        import numpy as np

        target = self._store.file(key)
        stream = io.BytesIO()
        np.save(stream, np.ascontiguousarray(values, np.float32), allow_pickle=False)
        stream.write(zlib.crc32(stream.getbuffer()).to_bytes(_CHECK_BYTES, "little"))
        temporary = target.with_name(f".{uuid.uuid4().hex}.tmp")
        try:
            target.parent.mkdir(exist_ok=True)
            temporary.write_bytes(stream.getbuffer())
            temporary.replace(target)
        except OSError as error:
            discard(temporary)
            raise write_error(target, error, _KEPT) from error


def array_bytes(shape: tuple[int, ...]) -> int:
    """Bytes of a float32 array."""
    size = 4
    for length in shape:
        size *= length
    return size


def _checksum(stream: BinaryIO, size: int) -> tuple[int, bytes]:
    """CRC-32 of the first `size` bytes, and what comes after them."""
    total = 0
    while size > 0 and (block := stream.read(min(size, _BLOCK))):
        total = zlib.crc32(block, total)
        size -= len(block)
    return total, stream.read()


def _damaged(path: Path, why: str) -> RunFolderError:
    return RunFolderError(f"{path} is damaged ({why}): delete it and compute the features again, the others are kept")
