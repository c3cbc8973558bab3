"""How much memory a streamed solve may take, and how it is spent."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

from rdp.errors import SpecError

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
IMAGE_BYTES = 40
"""What an image takes beside its cells: a hash while keys are read; its choice, and its part of the open ones."""
WORK_BYTES = 100 * 2**20
"""Blocks that threads work on, and what libraries hold back for reuse."""
LEAST_ROWS, MOST_ROWS = 1 << 15, 1 << 17
ROW_BYTES = 200
"""What a row may take while it is decoded: its names above all."""
DECODED = 3
"""Batches of one table that are decoded or about to be."""


def parse_memory(given: str | int) -> int:
    """Bytes from `500MB`, `2GB`, `1.5GiB` or a number of bytes; raises `SpecError` for anything else."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?i?)(b?)\s*", str(given), re.IGNORECASE)
    unit = UNITS.get(match[2].lower()) if match else None
    if match is None or unit is None:
        raise SpecError(f"--memory: {given!r} is not an amount of memory, such as 500MB, 2GB or 1.5GiB")
    return int(float(match[1]) * unit)


def size_text(nbytes: int) -> str:
    """`1.5 GB`."""
    for unit, name in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB")):
        if nbytes >= unit:
            return f"{nbytes / unit:.3g} {name}"
    return f"{nbytes} bytes"


def peak_memory() -> int:
    """The largest resident size of this process so far, in bytes."""
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def used_memory() -> int:
    """The resident size of this process in bytes; the largest so far where the system does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as stream:  # noqa: PTH123
            import resource

            return int(stream.read().split()[1]) * resource.getpagesize()
    except OSError:
        return peak_memory()


@dataclass(frozen=True)
class Plan:
    """How `memory` bytes are spent: `base` on the program, `images` on images, the rest on rows at a time.

    `rows` is how many rows are decoded at a time, `spare` what a join may take.
    """

    memory: int
    base: int
    images: int
    rows: int
    spare: int

    @classmethod
    def of(cls, memory: int, images: int, tables: int) -> Plan:
        """The plan for so many images; raises `SpecError` that says the least that works."""
        base = used_memory() + WORK_BYTES
        counted = images * IMAGE_BYTES
        least = base + counted + LEAST_ROWS * ROW_BYTES * DECODED * tables
        if memory < least:
            raise SpecError(
                f"--memory {size_text(memory)} is too little: {size_text(int(least * 1.02))} is the least for "
                f"{images} images"
            )
        spare = memory - base - counted
        rows = min(max(spare // (2 * ROW_BYTES * DECODED * tables), LEAST_ROWS), MOST_ROWS)
        return cls(memory, base, counted, rows, spare)
