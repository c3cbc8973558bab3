"""Fetching weights: to a temporary file beside the target, hashed on the way, and renamed only when it is right."""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from rdp.errors import WeightsError
from rdp.weights.index import WeightsEntry, find_entry, load_index
from rdp.weights.local import HOME_VARIABLE, WeightsFile, cache_folder, locate, sha256_of, verify, ways_to_get

Progress = Callable[[int, int | None], None]
"""Called with the bytes received so far and the number expected, None where that is not known."""

TIMEOUT_S = 30.0
"""Seconds without an answer or without a byte after which a download is given up."""

_CHUNK_BYTES = 1 << 20


def fetch(
    name: str,
    *,
    index_path: Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
    timeout_s: float = TIMEOUT_S,
) -> WeightsFile:
    """The verified file of that name, downloaded into the cache if it is not on this machine.

    A file of the wrong hash in the cache is replaced; one in a read-only folder is refused, as in every other use.
    `force` downloads into the cache whatever is there. Raises `WeightsError`, and then leaves nothing behind, when the
    name is unknown or has no URL, the network or disk fails, or what arrives is not the file.
    """
    entry = find_entry(load_index(index_path), name)
    target = cache_folder() / entry.filename
    present = None if force else locate(entry)
    if present is not None and (present != target or entry.matches(sha256_of(present))):
        return verify(entry, present)
    if not entry.url:
        raise WeightsError(f"the weights {name!r} have no URL to fetch them from: {ways_to_get(entry)}")
    return _download(entry, target, progress, timeout_s)


def _download(entry: WeightsEntry, target: Path, progress: Progress | None, timeout_s: float) -> WeightsFile:
    """Download to a temporary file in the target's folder, check it, and move it into place in one step."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{entry.filename}.", suffix=".part", dir=target.parent)
    except OSError as error:
        raise _disk_error(entry, target.parent, error) from error
    partial = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            sha256 = _receive(entry, file, progress, timeout_s)
            _flush(entry, target.parent, file)
        if not entry.matches(sha256):
            raise WeightsError(
                f"what {entry.url} sent is not {entry.name!r}: expected SHA-256 {entry.expected}, found {sha256}. "
                "Nothing was kept. A proxy or a login page may stand between; try again, or "
                + ways_to_get(entry).rpartition(", or ")[2]
            )
        try:
            # A temporary file is private; weights in a shared folder are for everyone.
            partial.chmod(0o644)
            partial.replace(target)
        except OSError as error:
            raise _disk_error(entry, target.parent, error) from error
    finally:
        partial.unlink(missing_ok=True)
    return WeightsFile(entry.name, target, sha256)


def _receive(entry: WeightsEntry, file: BinaryIO, progress: Progress | None, timeout_s: float) -> str:
    """Write the body of the URL into `file`; its SHA-256."""
    request = urllib.request.Request(entry.url, headers={"User-Agent": "rdp", "Accept-Encoding": "identity"})
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as response:
            total = _announced(response)
            if entry.size is not None and total is not None and total != entry.size:
                raise _wrong_length(entry, total, entry.size)
            received, sha256 = _copy(entry, response, file, progress, total or entry.size)
    except urllib.error.HTTPError as error:
        raise _network_error(entry, f"the server answered {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise _network_error(entry, str(error.reason)) from error
    except TimeoutError as error:
        raise _network_error(entry, f"nothing came for {timeout_s:g} s") from error
    except (http.client.HTTPException, OSError) as error:
        raise _network_error(entry, f"the connection broke ({error or type(error).__name__})") from error
    expected = total if total is not None else entry.size
    if expected is not None and received != expected:
        raise _wrong_length(entry, received, expected)
    return sha256


def _copy(
    entry: WeightsEntry,
    response: http.client.HTTPResponse,
    file: BinaryIO,
    progress: Progress | None,
    total: int | None,
) -> tuple[int, str]:
    """Copy the body; its length and SHA-256. Stops as soon as more has come than the index allows."""
    digest = hashlib.sha256()
    received = 0
    if progress:
        progress(0, total)
    while chunk := response.read1(_CHUNK_BYTES):
        digest.update(chunk)
        received += len(chunk)
        if entry.size is not None and received > entry.size:
            raise _wrong_length(entry, received, entry.size)
        try:
            file.write(chunk)
        except OSError as error:
            raise _disk_error(entry, cache_folder(), error) from error
        if progress:
            progress(received, total)
    return received, digest.hexdigest()


def _flush(entry: WeightsEntry, folder: Path, file: BinaryIO) -> None:
    """Force the file onto the disk, so that a renamed file is a whole file even after a power cut."""
    try:
        file.flush()
        os.fsync(file.fileno())
    except OSError as error:
        raise _disk_error(entry, folder, error) from error


def _announced(response: http.client.HTTPResponse) -> int | None:
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def _network_error(entry: WeightsEntry, reason: str) -> WeightsError:
    return WeightsError(
        f"the weights {entry.name!r} could not be fetched from {entry.url}: {reason}. To get them: {ways_to_get(entry)}"
    )


def _wrong_length(entry: WeightsEntry, found: int, expected: int) -> WeightsError:
    return _network_error(entry, f"{found} bytes came where {expected} were expected")


def _disk_error(entry: WeightsEntry, folder: Path, error: OSError) -> WeightsError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        reason = "the disk is full"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        reason = "there is no permission to write there"
    else:
        reason = error.strerror or str(error)
    size = f" ({entry.size / 1e6:.0f} MB)" if entry.size else ""
    return WeightsError(
        f"the weights {entry.name!r}{size} could not be written to {folder}: {reason}. "
        f"Make room or give permission there, or name another folder in {HOME_VARIABLE}"
    )
