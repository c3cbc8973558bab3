"""The folder of a command that makes several trainings one after another: where it begins, and how it goes on."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from rdp.errors import RdpError, SpecError
from rdp.storage import replace_file


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
def log_of(path: Path, kind: str, version: int) -> Iterator[Any]:
    """The document in a log, to be taken apart inside.

    Raises `RdpError` for a file that is damaged (whatever of it is missing or wrong), or of another kind or version.
    """
    try:
        document = json.loads(path.read_bytes())
        if document["format"] != kind or document["version"] != version:
            raise RdpError(f"{path} has format {document['format']!r} {document['version']}: update rdp, or begin anew")
        yield document
    except OSError as error:
        raise RdpError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RdpError(f"{path} is damaged ({error}): begin anew with --overwrite") from error


def write_log(path: Path, kind: str, version: int, content: Mapping[str, Any]) -> None:
    """Replace a log; a killed process leaves the old one or the new one. Raises `OSError`."""
    document = {"format": kind, "version": version, **content}
    replace_file(path, (json.dumps(document, indent=1, allow_nan=False) + "\n").encode())


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
