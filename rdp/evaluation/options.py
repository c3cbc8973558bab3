"""What the arguments of `rdp.evaluate` may be; wrong ones are refused before anything is made."""

from __future__ import annotations

import os
from collections.abc import Iterable

from rdp.codecs import Resources
from rdp.errors import MetricError, SpecError, suggest
from rdp.execution.devices import device_names

KEEP = ("files", "reconstructions", "none")
WORKERS = ("auto", "pool", "batched")


def listed(names: str | Iterable[str]) -> list[str]:
    """Names of metrics, from a list or a text with commas."""
    if isinstance(names, str):
        names = names.split(",")
    found = [name.strip() if isinstance(name, str) else name for name in names]
    if not all(isinstance(name, str) for name in found):
        raise SpecError(f"metrics are given by name, not as {found!r}")
    if "" in found:
        raise SpecError("a metric's name is empty: write for example --metric mse,psnr")
    return found


def check_keep(keep: str | Iterable[str]) -> set[str]:
    """What is kept."""
    names = {name.strip() for name in (keep.split(",") if isinstance(keep, str) else keep)}
    for name in sorted(names):
        if name not in KEEP:
            raise SpecError(f"cannot keep {name!r}: it takes {', '.join(KEEP)}.{suggest(name, KEEP)}")
    if "none" in names and len(names) > 1:
        raise SpecError("keep 'none' goes with nothing else")
    return names - {"none"}


def check_jobs(jobs: int | None) -> int:
    """The number of worker processes; all cores that this process may use by default."""
    if jobs is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not isinstance(jobs, int) or jobs < 1:
        raise SpecError(f"jobs={jobs!r} is not allowed: it takes a whole number, 1 or more")
    return jobs


def check_resources(devices: str, dtype: str) -> tuple[Resources, ...]:
    """Device and dtype of each worker on a GPU, or of all on the CPU; torch is loaded for a GPU only.

    Raises `SpecError` for names that are none and for what does not go together, `MetricError` for a device that is
    not there.
    """
    if isinstance(devices, str):
        for name in devices.split(","):
            _require(name.strip())
    return tuple(Resources(name, dtype) for name in device_names(devices))


def _require(device: str) -> None:
    if device == "cpu":
        return
    from rdp.metrics.tensors import torch_device

    try:
        torch_device(device)
    except MetricError as error:
        raise MetricError(f"--device: {error}") from error


def check_exif(exif: str) -> str:
    """What becomes of the EXIF orientation."""
    if exif not in ("ignore", "apply"):
        raise SpecError(f"exif={exif!r} is not allowed: it takes 'ignore' or 'apply'")
    return exif


def check_workers(workers: str) -> str:
    """The kind of workers."""
    if workers not in WORKERS:
        raise SpecError(
            f"workers={workers!r} is not allowed: it takes {', '.join(WORKERS)}.{suggest(str(workers), WORKERS)}"
        )
    return workers
