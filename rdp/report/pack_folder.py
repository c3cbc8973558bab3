"""The folder of a delivery: what may be replaced in it, and how a new delivery takes its place whole.

A delivery is made in a hidden folder inside its own, and moved into place with the manifest last. A hidden folder
that holds a manifest was killed while it was moved: it is the proof that files without a manifest are a delivery's.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from rdp.codecs.files import FileError
from rdp.report.delivery_names import FILES, PackError, read_inside
from rdp.report.manifest import FORMAT, MANIFEST, SELECTION

_UNFINISHED = ".unfinished-"


def check_folder(folder: Path, force: bool) -> None:
    """Refuse a folder with anything in it; with `force`, one with anything but a delivery."""
    if not folder.exists() and not folder.is_symlink():
        return
    if not folder.is_dir():
        raise PackError(f"{folder} is no folder: name another with --out")
    found = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith(_UNFINISHED))
    if not found:
        return
    listed = ", ".join(found[:3])
    if not force:
        raise PackError(f"{folder} is not empty ({listed}): name another folder, or --force to replace a delivery")
    others = [name for name in found if name not in (FILES, SELECTION, MANIFEST)]
    if others or not _is_ours(folder):
        raise PackError(
            f"{folder} holds {', '.join(others[:3]) or listed}, which is no delivery, and --force replaces nothing "
            "else: name another folder, or remove it yourself"
        )


def _is_ours(folder: Path) -> bool:
    if any(left.is_file() for left in folder.glob(f"{_UNFINISHED}*/{MANIFEST}")):
        return True
    try:
        document = json.loads(read_inside(folder, MANIFEST))
    except (PackError, ValueError, RecursionError):
        return False
    return isinstance(document, dict) and document.get("format") == FORMAT


@contextlib.contextmanager
def unfinished(folder: Path) -> Iterator[Path]:
    """The hidden folder to make a delivery in. What does not become one leaves nothing behind."""
    existed = folder.exists()
    place = folder / f"{_UNFINISHED}{uuid.uuid4().hex[:8]}"
    try:
        place.mkdir(parents=True)
        for left in folder.glob(f"{_UNFINISHED}*"):
            if left != place and not (left / MANIFEST).exists():
                shutil.rmtree(left, ignore_errors=True)
        yield place
    except OSError as error:
        raise FileError(f"cannot write {folder}: {error.strerror or error}; it holds no new delivery") from error
    finally:
        if not (place / MANIFEST).exists():
            shutil.rmtree(place, ignore_errors=True)
            if not existed:
                with contextlib.suppress(OSError):
                    folder.rmdir()


def commit(folder: Path, place: Path) -> None:
    """Put the delivery made in `place`, manifest and all, where any other delivery is; its manifest comes last."""
    (folder / MANIFEST).unlink(missing_ok=True)
    if (folder / FILES).exists():
        (folder / FILES).rename(place / "replaced")
    (place / FILES).rename(folder / FILES)
    (place / SELECTION).replace(folder / SELECTION)
    (place / MANIFEST).rename(folder / MANIFEST)
    for left in folder.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(left, ignore_errors=True)
