"""Which weights a file of a learned codec was made with, found by what the file carries."""

from __future__ import annotations

from pathlib import Path

from rdp.bitstream.container import unpack
from rdp.codecs.learned.decoder_files import files_of_weights
from rdp.codecs.learned.families import ENDINGS
from rdp.codecs.learned.network import load_weights
from rdp.errors import WeightsError
from rdp.models.checkpoint import identity_of, read_header
from rdp.weights import search_folders


def weights_of(data: bytes, where: str) -> Path:
    """The file of weights, in the folders of weights, that has the identity of an encoded file.

    Of several that differ in their decoder alone, the first; files that hold a decoder alone are passed over. `where`
    names the file in messages. Raises `FormatError` for data that are no such file, and `WeightsError` if there are no
    such weights on this machine.
    """
    identity = unpack(data).identity.hex()
    for path in sorted(files_of_weights(ENDINGS), key=lambda path: path.suffix != ".safetensors"):
        if _identity(path) == identity:
            return path
    looked = ", ".join(str(folder) for folder in search_folders())
    raise WeightsError(
        f"{where} was made by a learned codec whose weights (identity {identity}) lie in none of {looked}. Name the "
        "codec that made it with --codec (for example checkpoint:path=FILE.safetensors), or put its weights into a "
        "folder of RDP_WEIGHTS"
    )


def _identity(path: Path) -> str | None:
    """What a header says, or what other people's weights have when they are loaded; None for what is no network."""
    try:
        if path.suffix == ".safetensors":
            return read_header(path).identity
        return identity_of(load_weights(path)).hex()
    except WeightsError:
        return None
