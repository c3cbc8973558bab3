"""Names of files in a delivery: safe to write on any system, unique there, and safe to read when others wrote them.

A name in a delivery is a POSIX path below its folder. Components hold no characters that a file system or a shell
could take for something else, and no two files differ only in case, Unicode normalisation or suffix (each becomes a
picture of its stem when it is decoded).
"""

from __future__ import annotations

import hashlib
import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rdp.errors import RdpError

FILES = "files"
"""Subfolder of a delivery that holds the encoded files."""

PICTURE_SUFFIX = ".png"

_FORBIDDEN = set('<>:"|?*\\/')
_DEVICES = {"con", "prn", "aux", "nul", *(f"{name}{k}" for name in ("com", "lpt") for k in range(1, 10))}
_LONGEST = 200
_LIMIT = 255


class PackError(RdpError):
    """A delivery that cannot be written, or that is damaged, or that is not safe to read."""


def safe_component(text: str) -> str:
    """The nearest name that every system takes: one path component, never `..`, never empty, at most 200 bytes."""
    text = unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode())
    text = "".join("_" if c in _FORBIDDEN or not c.isprintable() else c for c in text)
    if len(text.encode()) > _LONGEST:
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        text = text.encode()[: _LONGEST - 9].decode(errors="ignore") + f"~{digest}"
    text = text.strip(" ").rstrip(". ")
    if text.startswith("."):
        text = "_" + text[1:]
    if text.partition(".")[0].rstrip(" ").lower() in _DEVICES:
        text = "_" + text
    return text or "_"


def is_safe(component: str) -> bool:
    """Whether a path component of a delivery that others made can be used as it is."""
    if not component or len(component.encode("utf-8", "replace")) > _LIMIT:
        return False
    if component[0] in ". " or component[-1] in ". " or component != unicodedata.normalize("NFC", component):
        return False
    if any(c in _FORBIDDEN or not c.isprintable() for c in component):
        return False
    return component.partition(".")[0].rstrip(" ").lower() not in _DEVICES


def delivery_names(images: Sequence[str], suffixes: Sequence[str]) -> list[str]:
    """The path of every image's file in the delivery, in order: `files/`, the image's folders, its stem, the suffix.

    Where two images would share a stem, each keeps its own suffix too (`a.png.webp`, `a.jpg.webp`), and what still
    clashes is numbered (`a~2.webp`).
    """
    folders, stems, fulls = [], [], []
    for image in images:
        *above, name = [part for part in image.split("/") if part not in ("", ".")] or ["_"]
        folders.append("/".join([FILES, *map(safe_component, above)]))
        stem, dot, _ = name.rpartition(".")
        stems.append(safe_component(stem if dot and stem else name))
        fulls.append(safe_component(name))
    shared = Counter(_key(f"{folder}/{stem}") for folder, stem in zip(folders, stems, strict=True))
    occupied = {_key(above) for folder in set(folders) for above in _with_parents(folder)}
    taken: set[str] = set()
    names = []
    for folder, stem, full, given in zip(folders, stems, fulls, suffixes, strict=True):
        suffix = "." + safe_component(given.removeprefix("."))
        base = f"{folder}/{stem if shared[_key(f'{folder}/{stem}')] == 1 else full}"
        path, number = base, 1
        while _key(path) in taken or {_key(path + suffix), _key(path + PICTURE_SUFFIX)} & occupied:
            number += 1
            path = f"{base}~{number}"
        taken.add(_key(path))
        names.append(path + suffix)
    return names


def picture_name(file: str) -> str:
    """Where the picture of a file of the delivery goes, relative to the folder of pictures."""
    inside = file.removeprefix(FILES + "/")
    folder, slash, name = inside.rpartition("/")
    return f"{folder}{slash}{name.rpartition('.')[0] or name}{PICTURE_SUFFIX}"


def _key(path: str) -> str:
    """Paths with equal keys are one file on some system."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _with_parents(folder: str) -> list[str]:
    parts = folder.split("/")
    return ["/".join(parts[: k + 1]) for k in range(len(parts))]


def check_names(files: Sequence[str]) -> None:
    """Raise `PackError` for names that lead out of a delivery's folder, or that are not one file each."""
    pictures: dict[str, str] = {}
    for file in files:
        first, *rest = file.split("/")
        if first != FILES or not rest or not all(map(is_safe, rest)):
            raise PackError(f"the manifest names the file {file!r}, which is no plain path below {FILES}/: not read")
        key = _key(picture_name(file))
        if key in pictures:
            raise PackError(f"the manifest names {pictures[key]!r} and {file!r}, which are one picture on some systems")
        pictures[key] = file


def read_inside(folder: Path, name: str, nbytes: int | None = None) -> bytes:
    """The content of an ordinary file below a folder, no component of whose path is a symbolic link.

    `nbytes` is the length that it must have. Raises `PackError` that says what is wrong.
    """
    path = folder.joinpath(*name.split("/"))
    try:
        refuse_links(folder, name)
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise PackError("is no ordinary file: not read")
        if nbytes is not None and status.st_size != nbytes:
            raise PackError(f"has {status.st_size} bytes instead of {nbytes}")
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(handle, "rb") as stream:
            return stream.read()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise PackError("is missing") from error
    except OSError as error:
        raise PackError(f"cannot be read: {error.strerror or error}") from error


def refuse_links(folder: Path, name: str) -> None:
    """Raise `PackError` if a component of the path of `name` below the folder is a symbolic link."""
    path = folder
    for part in name.split("/"):
        path = path / part
        if path.is_symlink():
            raise PackError(f"is reached through {path}, a symbolic link: not followed")
