"""Names of devices, as options give them: "cpu", "cuda", "cuda:1", or several GPUs "cuda:0,cuda:1"."""

from __future__ import annotations

import re

from rdp.errors import SpecError

_DEVICE = re.compile(r"cpu|cuda(:(0|[1-9]\d*))?")


def check_device(name: str) -> str:
    """The name of one device as it stands. Raises `SpecError` if it cannot be one; loads nothing."""
    if not isinstance(name, str) or not _DEVICE.fullmatch(name):
        raise SpecError(f"--device: unknown device {name!r}: give cpu, cuda or cuda:N")
    return name


def device_names(text: str) -> tuple[str, ...]:
    """The devices that `--device` names, separated by commas.

    Raises `SpecError` for a name that is none, one that stands twice, and several where one is no numbered GPU.
    """
    if not isinstance(text, str):
        raise SpecError(f"--device: {text!r} is no text: give cpu, cuda or cuda:0,cuda:1")
    names = tuple(check_device(name.strip()) for name in text.split(","))
    if len(set(names)) < len(names):
        raise SpecError(f"--device {text}: a device stands twice; each gets one worker")
    if len(names) > 1 and not all(":" in name for name in names):
        raise SpecError(f"--device {text}: several devices must be numbered GPUs, as in cuda:0,cuda:1")
    return names


def require_device(name: str) -> None:
    """Raise `SpecError` if a device is not on this machine; torch is loaded for a GPU only."""
    if check_device(name) == "cpu":
        return
    import torch

    count = torch.cuda.device_count()
    if int(name.partition(":")[2] or 0) >= count:
        raise SpecError(f"--device {name} is not there: torch sees {count} CUDA devices. Use --device cpu")
