"""Memory said before it is taken: a picture that is too large is an error with numbers, not a killed process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from rdp.errors import CodecError

if TYPE_CHECKING:
    from rdp.codecs.learned.network import LatentSize

MEMINFO = "/proc/meminfo"
CGROUP = "/sys/fs/cgroup"


def available_bytes(device: str) -> int | None:
    """Memory that is free on a device, in bytes; None where the system does not say."""
    if torch.device(device).type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    amounts = [amount for amount in (_machine(), _group()) if amount is not None]
    return min(amounts, default=None)


def _machine() -> int | None:
    try:
        fields = dict(line.split(":", 1) for line in Path(MEMINFO).read_text().splitlines())
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None


def _group() -> int | None:
    """What the limit of a container leaves, where there is one."""
    try:
        limit, current = (int((Path(CGROUP) / name).read_text()) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):  # "max" where there is no limit
        return None
    return max(0, limit - current)


def check_memory(needed: int, size: LatentSize, device: str) -> None:
    """Raise `CodecError` if a step that takes `needed` bytes, for pictures of a size, would take more than is free."""
    free = available_bytes(device)
    if free is not None and needed > free:
        raise CodecError(
            f"a picture of {size.width}x{size.height} pixels needs about {_amount(needed)} of memory on {device}, "
            f"and {_amount(free)} are free: cut the picture into parts, run fewer jobs, or use a "
            "larger machine"
        )


def _amount(nbytes: int) -> str:
    return f"{nbytes / 2**30:.1f} GiB" if nbytes >= 2**30 else f"{nbytes / 2**20:.0f} MiB"
