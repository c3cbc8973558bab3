"""Archives that PyTorch has saved, read without running code from them."""

from __future__ import annotations

import pickle
import re
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rdp.errors import WeightsError

_UNREADABLE = (
    pickle.UnpicklingError, RuntimeError, EOFError, ValueError, TypeError, LookupError, AttributeError,
    ArithmeticError, AssertionError, MemoryError, struct.error,
)  # fmt: skip
"""What `torch.load` has been seen to raise for files that are damaged or something else, and relatives of it."""

_GLOBAL = re.compile(r"GLOBAL (\S+)")


def read_archive(path: str | Path, what: str, advice: str) -> Mapping[str, Any]:
    """The mapping in an archive: tensors, numbers and texts by name, on the CPU.

    Raises `WeightsError` naming the file if it cannot be read, is damaged, or would run code when loaded. `what` the
    archive should hold ("a state dict") and `advice`, a line of Python that saves that alone, stand in the messages.
    """
    try:
        with warnings.catch_warnings():
            # Of pickle protocols that the reader may not know: if it does not, it says so by an error.
            warnings.simplefilter("ignore", UserWarning)
            document = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"weights file {path} cannot be read: {error.strerror or error}") from error
    except _UNREADABLE as error:
        raise WeightsError(f"{path} {_what_is_wrong(error, advice)}") from error
    if not isinstance(document, Mapping):
        raise WeightsError(f"{path} holds a {type(document).__name__} and not {what}")
    return document


def require_plain(tensors: Mapping[str, Tensor]) -> None:
    """Raise `WeightsError` for tensors that are not dense numbers: no network here has others."""
    odd = [
        key
        for key, tensor in tensors.items()
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_meta
    ]
    if odd:
        raise WeightsError(f"these tensors are sparse, quantised or empty shells: {', '.join(odd[:8])}")


def _what_is_wrong(error: BaseException, advice: str) -> str:
    """Why `torch.load` refused a file, without its advice to try the same with the checks off."""
    foreign = _GLOBAL.search(str(error))
    if foreign:
        return (
            f"would run code when loaded ({foreign[1]}), and is refused. Where it comes from a trusted program, save "
            f"there the tensors alone: {advice}"
        )
    if isinstance(error, pickle.UnpicklingError):
        return "is no archive of tensors saved by PyTorch; a pickle of other things is never loaded"
    reason = str(error).strip().partition("\n")[0].partition(". ")[0] or type(error).__name__
    return f"is no archive of tensors saved by PyTorch, or damaged: {reason}"
