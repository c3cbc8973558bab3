"""Tensors in safetensors files with a header of texts: read and written whole, nothing in them ever executed."""

from __future__ import annotations

import json
import struct
from collections.abc import Collection, Mapping
from pathlib import Path

import torch

from rdp.errors import SpecError, WeightsError
from rdp.models.packed_kernels import FEWEST_BITS, MOST_BITS, pack_kernels, unpack_kernels

KERNEL_DIMENSIONS = 4
"""Tensors of so many dimensions are kernels of convolutions: nearly all of a network, and what few bits serve well."""

FULL_BITS, HALF_BITS = 32, 16

_LENGTH_BYTES = 8


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], texts: Mapping[str, str]) -> None:
    """Write tensors (on the CPU, contiguous) and texts, whole or not at all.

    Raises `WeightsError` where the disk refuses.
    """
    from safetensors.torch import save

    from rdp.storage import replace_file

    try:
        replace_file(path, _with_metadata(save(dict(tensors)), texts))
    except OSError as error:
        raise WeightsError(f"cannot write {path}: {error.strerror or error}") from error


def read_texts(path: Path) -> dict[str, str]:
    """The texts in the header of a file; its tensors are not read. Raises `WeightsError` for what is no such file."""
    return _metadata(path)


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file, in the types that they have there; packed kernels are unpacked to float32.

    Raises `WeightsError` for a damaged file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, torch.Tensor] = load_file(path)
    except (OSError, ValueError, MemoryError, SafetensorError) as error:
        raise WeightsError(f"{path} cannot be read: {error}") from error
    return unpack_kernels(path, tensors, read_texts(path))


def checked_notes(notes: Mapping[str, str] | None, taken: Collection[str], file: str) -> dict[str, str]:
    """Notes for a header, none where there are none; `taken` are the names of its own texts, `file` says of what.

    Raises `WeightsError` for a note of such a name, and for one that is no text.
    """
    for name, value in (notes or {}).items():
        if name in taken or not isinstance(value, str):
            raise WeightsError(f"a note called {name!r} cannot stand in {file}: notes are texts of other names")
    return dict(notes or {})


def plain_tensors(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The state of a module as files hold it: on the CPU, contiguous."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}


def with_kernels_of(
    path: Path, tensors: Mapping[str, torch.Tensor], bits: int
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """What a file holds when the kernels of convolutions have `bits` bits a number, and what its header says of it.

    32: as they are. 16: in float16. 2 to 15: packed (`rdp.models.packed_kernels`). `read_tensors` undoes it, but for
    the rounding. Raises `SpecError` for another number of bits, and `WeightsError` for a kernel that has a number
    beyond float16 or none at all; `path` is for messages.
    """
    kernels = [
        name for name, tensor in tensors.items() if tensor.ndim == KERNEL_DIMENSIONS and tensor.is_floating_point()
    ]
    if bits == FULL_BITS:
        return dict(tensors), {}
    if bits == HALF_BITS:
        return _with_half_kernels(path, tensors, kernels), {}
    if not FEWEST_BITS <= bits <= MOST_BITS:
        raise SpecError(
            f"kernels are stored in {FULL_BITS} bits, {HALF_BITS}, or {FEWEST_BITS} to {MOST_BITS}; not in {bits}"
        )
    return pack_kernels(path, tensors, kernels, bits)


def _with_half_kernels(
    path: Path, tensors: Mapping[str, torch.Tensor], kernels: Collection[str]
) -> dict[str, torch.Tensor]:
    """The tensors, kernels in float16. Raises `WeightsError` for a kernel that has a number beyond that type."""
    rounded = dict(tensors)
    for name in kernels:
        rounded[name] = tensors[name].to(torch.float16)
        if not bool(torch.isfinite(rounded[name]).all()):
            largest = float(tensors[name].abs().max())
            raise WeightsError(
                f"{path} was not written: {name} holds numbers that float16 cannot ({largest:g}; its largest is "
                f"{torch.finfo(torch.float16).max:g}): save the network with kernel_bits=32"
            )
    return rounded


def require_finite(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Raise `WeightsError` where a tensor holds NaN or infinity."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise WeightsError(f"{path} is of no use: {name} holds numbers that are not finite")


def _with_metadata(data: bytes, metadata: Mapping[str, str]) -> bytes:
    """A safetensors file with metadata in its header, in order: the library's own order changes from call to call.

    The header is padded with spaces to a multiple of 8 bytes, as the format asks for.
    """
    length = struct.unpack("<Q", data[:_LENGTH_BYTES])[0]
    tensors = json.loads(data[_LENGTH_BYTES : _LENGTH_BYTES + length])
    header = json.dumps({"__metadata__": dict(sorted(metadata.items())), **tensors}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % _LENGTH_BYTES)
    return struct.pack("<Q", len(header)) + header + data[_LENGTH_BYTES + length :]


def _metadata(path: Path) -> dict[str, str]:
    """The metadata in a safetensors header: 8 bytes of length, then JSON."""
    try:
        with path.open("rb") as file:
            start = file.read(_LENGTH_BYTES)
            opening = file.read(1)
            file.seek(_LENGTH_BYTES)
            if opening != b"{" and (start[:2] == b"PK" or start[:1] == b"\x80"):
                raise WeightsError(
                    f"{path} is a PyTorch file (a pickle), which rdp does not load as it is: `rdp weights convert` "
                    "makes safetensors of checkpoints that it knows, without executing anything"
                )
            length = struct.unpack("<Q", start)[0] if len(start) == _LENGTH_BYTES else 0
            if not 2 <= length <= 100_000_000:
                raise WeightsError(f"{path} is no safetensors file")
            document = json.loads(file.read(length))
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path} is no safetensors file, or a damaged one") from error
    metadata = document.get("__metadata__", {}) if isinstance(document, dict) else {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise WeightsError(f"{path} is damaged: what its header says is not text")
    return metadata
