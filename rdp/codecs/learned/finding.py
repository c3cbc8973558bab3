"""Which weights a file of a learned codec was made with, found by what the file carries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rdp.bitstream.container import unpack
from rdp.codecs.learned.network import load_weights
from rdp.codecs.registry import INDEXED
from rdp.errors import WeightsError
from rdp.models.checkpoint import identity_of, read_header
from rdp.weights import load_index, locate, search_folders, verify


def weights_of(data: bytes, where: str) -> Path:
    """The file of weights, in the folders of weights, that has the identity of an encoded file.

    Of several that differ in their decoder alone, the first. `where` names the file in messages. Raises `FormatError`
    for data that are no such file, and `WeightsError` if there are no such weights on this machine.
    """
    identity = unpack(data).identity.hex()
    for folder in search_folders():
        for path in sorted(folder.glob("*.safetensors")) if folder.is_dir() else ():
            if _identity(path) == identity:
                return path
    for path in _published():
        if identity_of(load_weights(path)).hex() == identity:
            return path
    looked = ", ".join(str(folder) for folder in search_folders())
    raise WeightsError(
        f"{where} was made by a learned codec whose weights (identity {identity}) lie in none of {looked}. Name the "
        "codec that made it with --codec (for example checkpoint:path=FILE.safetensors), or put its weights into a "
        "folder of RDP_WEIGHTS"
    )


def _published() -> Iterator[Path]:
    """Other people's weights on this machine, which carry no identity of ours and have to be loaded for it."""
    for entry in load_index().values():
        if any(user.partition(":")[0] in INDEXED for user in entry.used_by):
            path = locate(entry)
            if path is not None and path.suffix != ".safetensors":
                yield verify(entry, path).path


def _identity(path: Path) -> str | None:
    """What a file's header says; None for other people's weights."""
    try:
        return read_header(path).identity
    except WeightsError:
        return None
