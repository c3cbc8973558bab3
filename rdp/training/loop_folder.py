"""The folder of a command that makes several trainings one after another: where it begins, and how it goes on."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from rdp.errors import RdpError, SpecError


def goes_on(out: Path, log: str, resume: bool, overwrite: bool) -> bool:
    """Whether a call goes on with what lies in a folder, or begins anew there. Changes nothing.

    `log`: the name of the file that says what is done. Raises `SpecError` for a folder with something in it and neither
    `resume` nor `overwrite`, for both, and for `resume` without anything to go on from.
    """
    if resume and overwrite:
        raise SpecError("--resume goes on with what lies in --out, and --overwrite removes it: give one of them")
    if out.exists() and not out.is_dir():
        raise SpecError(f"--out {out} is a file: name a folder")
    if resume:
        if not (out / log).is_file():
            raise SpecError(f"--resume: there is no {log} in {out}; without --resume it begins anew")
        return True
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise SpecError(f"--out {out} is there already: --resume goes on with it, --overwrite begins anew")
    return False


def require_same_options(began: Mapping[str, Any], now: Mapping[str, Any], free: Collection[str]) -> None:
    """Raise `SpecError` where a call that goes on is given another option than it began with, by the option's name.

    `free`: options that may be given anew.
    """
    for name, value in now.items():
        if name not in free and began.get(name) != value:
            raise SpecError(
                f"--resume: {name} was {began.get(name)!r} and is {value!r} now; give the options that it began with, "
                "or begin anew with --overwrite"
            )


@contextlib.contextmanager
def disk(out: Path) -> Iterator[None]:
    """Say what a user can do where the disk refuses."""
    try:
        yield
    except OSError as error:
        raise RdpError(
            f"cannot write in {out}: {error.strerror or error}. Make room or choose another --out; what was written "
            "stays, and --resume goes on from there"
        ) from error
