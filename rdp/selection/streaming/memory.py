"""How much memory a streamed solve may take, and how it is spent."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rdp.errors import SpecError

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
SOLVER_BYTES = 45 * 10**6
"""What OR-Tools and its like take once they are loaded."""
WORK_BYTES = 90 * 10**6
"""What threads work on, and what allocators hold back."""
IMAGE_BYTES = 16
"""What an image takes beside its cells: a hash while keys are read, later its choice, and that once more."""
OPEN_BYTES = 1.25
"""What a number of the table takes on average, being kept while its image is open: few are, but in several copies."""
SAMPLE = 65_536
SAMPLE_BYTES = 32
"""Images of the larger sample of `rdp.selection.solver.passes`, and what each of their numbers takes."""
LEAST_ROWS, MOST_ROWS = 1 << 14, 1 << 16
ROW_BYTES = 400
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
    """The largest resident size of this process so far, in bytes; 0 where the system does not tell."""
    # What getrusage says is also of the process that this one was started from.
    known = _from_status("VmHWM:")
    if known is not None:
        return known
    try:
        import resource
    except ImportError:
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def used_memory() -> int:
    """The resident size of this process in bytes; the largest so far where the system does not tell."""
    known = _from_status("VmRSS:")
    return peak_memory() if known is None else known


def _from_status(field: str) -> int | None:
    """A size of this process in bytes, as Linux tells it; None elsewhere."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith(field):
                return int(line.split()[1]) * 1024
    return None


def program_memory() -> int:
    """What the program takes in bytes, with what it will still load."""
    return used_memory() + (0 if "ortools" in sys.modules else SOLVER_BYTES)


@contextmanager
def memory_given_back() -> Iterator[None]:
    """Within, pyarrow takes memory from where NumPy takes it, so that what one frees the other can use.

    Its own allocators hold back about 100 MB for themselves.
    """
    import pyarrow as pa

    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)


@dataclass(frozen=True)
class Plan:
    """How `memory` bytes are spent: `base` on the program, `images` on what is kept of images, the rest on rows.

    `rows` is how many rows are decoded at a time, `spare` what a join may take.
    """

    memory: int
    base: int
    images: int
    rows: int
    spare: int

    @classmethod
    def of(cls, memory: int, program: int, tables: int, images: int = 0, numbers: int = 0) -> Plan:
        """The plan for so many tables, images and `numbers` used of an image; `program` is `program_memory` before.

        Raises `SpecError` that says the least that works.
        """
        base = program + WORK_BYTES
        kept = int(images * (IMAGE_BYTES + OPEN_BYTES * numbers) + min(images, SAMPLE) * numbers * SAMPLE_BYTES)
        least = base + kept + LEAST_ROWS * ROW_BYTES * DECODED * tables
        if memory < least:
            what = f" for {images} images" if images else ""
            raise SpecError(
                f"--memory {size_text(memory)} is too little: {size_text(int(least * 1.02))} is the least{what}"
            )
        spare = memory - base - kept
        rows = min(max(spare // (2 * ROW_BYTES * DECODED * tables), LEAST_ROWS), MOST_ROWS)
        return cls(memory, base, kept, rows, spare)
