"""Images of a training, decoded in parallel threads and kept in one block of memory while they fit into it."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from rdp.errors import ImageError
from rdp.images import hash_pixels, read_image

Pixels = NDArray[np.uint8]
Skipped = tuple[Path, str]
"""A file that was left out, and why."""

_SHARED_MEMORY = Path("/dev/shm")
_UNKNOWN_MEMORY = 8 << 30
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True)
class StoredImage:
    """One image: its file, its size, the hash of its pixels, and where they begin in the block (None: not in it)."""

    path: Path
    height: int
    width: int
    sha256: str
    offset: int | None

    @property
    def nbytes(self) -> int:
        return 3 * self.height * self.width


class ImageStore(Sequence[Pixels]):
    """Images as uint8 (H, W, 3): views of one block of memory, or decoded from their files when asked for.

    A process that a store is sent to shares the block if it lies in shared memory. Do not write into the images.
    Raises `ImageError` for a file that has changed its size or cannot be read any more.
    """

    def __init__(self, entries: Sequence[StoredImage], block: Tensor) -> None:
        self.entries = list(entries)
        self.block = block

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, place: int) -> Pixels:  # type: ignore[override]
        entry = self.entries[place]
        shape = (entry.height, entry.width, 3)
        if entry.offset is not None:
            return self.block.numpy()[entry.offset : entry.offset + entry.nbytes].reshape(shape)
        pixels = read_image(entry.path)
        if pixels.shape != shape:
            raise ImageError(f"{entry.path} has changed since the training began: keep its files as they are")
        return pixels

    def __iter__(self) -> Iterator[Pixels]:
        return (self[place] for place in range(len(self)))

    @property
    def hashes(self) -> list[str]:
        """SHA-256 of the pixels of every image, in order (`rdp.images.hash_pixels`)."""
        return [entry.sha256 for entry in self.entries]

    @property
    def nbytes(self) -> int:
        """Bytes of the block."""
        return self.block.numel()


def read_store(
    paths: Sequence[Path], least: int, memory_bytes: int, shared: bool = False
) -> tuple[ImageStore, list[Skipped]]:
    """Read every file once; keep the first ones that fit into `memory_bytes`, and what is left out with its reason.

    `least`: shortest side in pixels that an image may have. `shared`: put the block into shared memory, so that
    worker processes get it without a copy.
    """
    limit = min(memory_bytes, _shared_room()) if shared else memory_bytes
    # Reading changes the filters of warnings for a moment, in threads; here they are put back in the end.
    with warnings.catch_warnings(), ThreadPoolExecutor(min(16, _cores())) as pool:
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        sizes = list(pool.map(_size, paths))
        offsets, total = _places(sizes, least, limit)
        block = torch.empty(total, dtype=torch.uint8)
        if shared and total:
            block.share_memory_()  # type: ignore[no-untyped-call]
        read = list(pool.map(partial(_read, block, least), paths, sizes, offsets))
    skipped = [(path, entry) for path, entry in zip(paths, read, strict=True) if isinstance(entry, str)]
    return ImageStore([entry for entry in read if isinstance(entry, StoredImage)], block), skipped


def machine_memory() -> int:
    """Bytes of memory that this process may hope for: the machine's, or the limit of its container (cgroup)."""
    try:
        found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    except (AttributeError, OSError, ValueError):
        found = [_UNKNOWN_MEMORY]
    for file in map(Path, _LIMITS):
        text = file.read_text().strip() if file.is_file() else ""
        if text.isdigit():  # "max" means no limit
            found.append(int(text))
    return min(found)


def _shared_room() -> int:
    """Bytes that shared memory still has; containers often give little, and writing beyond kills the process."""
    if not _SHARED_MEMORY.is_dir():
        return machine_memory()
    return int(0.9 * shutil.disk_usage(_SHARED_MEMORY).free)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _size(path: Path) -> tuple[int, int] | None:
    """(height, width) by the header; None if it cannot be read, for which `read_image` then finds the words."""
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def _places(sizes: Sequence[tuple[int, int] | None], least: int, limit: int) -> tuple[list[int | None], int]:
    """Where each image begins in the block (None: not in it), and the bytes of the block."""
    offsets: list[int | None] = []
    total = 0
    for size in sizes:
        nbytes = 3 * size[0] * size[1] if size and min(size) >= least else 0
        fits = 0 < nbytes <= limit - total
        offsets.append(total if fits else None)
        total += nbytes if fits else 0
    return offsets, total


def _read(block: Tensor, least: int, path: Path, size: tuple[int, int] | None, offset: int | None) -> StoredImage | str:
    """Decode a file into its place in the block; in place of an entry the reason why the image is left out."""
    if size and min(size) < least:
        return _too_small(size, least)
    try:
        pixels = read_image(path)
    except ImageError as error:
        return str(error).removeprefix(f"{path} ")
    height, width = pixels.shape[:2]
    if min(height, width) < least:
        return _too_small((height, width), least)
    if offset is not None and size == (height, width):
        block.numpy()[offset : offset + pixels.size] = pixels.reshape(-1)
    else:
        offset = None
    return StoredImage(path, height, width, hash_pixels(pixels), offset)


def _too_small(size: tuple[int, int], least: int) -> str:
    return f"has {size[1]}x{size[0]} pixels, less than the crop of {least}"
