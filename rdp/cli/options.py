"""What options say, read from their texts: `NAME=VALUE`, numbers, files to write."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from rdp.errors import SpecError


def pairs(option: str, given: Sequence[str] | None) -> dict[str, str]:
    """`NAME=VALUE` parted at the last `=`; raises `SpecError` for a text without one and for a name given twice."""
    out: dict[str, str] = {}
    for text in given or ():
        name, equals, value = text.rpartition("=")
        if not (name and equals and value):
            raise SpecError(f"{option} {text!r}: write it as NAME=VALUE")
        if name in out:
            raise SpecError(f"{option} {name} is given twice: {out[name]} and {value}")
        out[name] = value
    return out


def numbers(option: str, given: Sequence[str] | None) -> dict[str, float]:
    return {name: number(f"{option} {name}", value) for name, value in pairs(option, given).items()}


def number(option: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise SpecError(f"{option}: {text!r} is not a finite number, such as 0.25")
    return value


def whole(option: str, text: str) -> int:
    value = number(option, text)
    if value != int(value) or value < 1:
        raise SpecError(f"{option}: {text!r} is not a whole number, 1 or more")
    return int(value)


def require_writable(out: Path) -> None:
    """Make the folder of the file where it is missing, and see before solving that a file can be made there."""
    import tempfile

    from rdp.tables.manifest import write_error

    if out.is_dir():
        raise SpecError(f"--out {out} is a folder; name a file in it, such as {out / 'selection.json'}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        raise write_error(out, error) from error


def require_folder(out: Path) -> None:
    """See that a folder can be made, or written to, and make none: what fails later leaves no empty folder behind.

    Raises `SpecError` for a file of that name, and what a folder that cannot be written raises.
    """
    import tempfile

    from rdp.tables.manifest import write_error

    if out.exists() and not out.is_dir():
        raise SpecError(f"--out {out} is a file; name a folder")
    try:
        there = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
        with tempfile.TemporaryDirectory(dir=there):
            pass
    except OSError as error:
        raise write_error(out, error) from error
