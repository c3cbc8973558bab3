"""Our end: a worker process that is started when first asked, started again after it died, and ended with us."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Mapping
from typing import IO, Any
from weakref import WeakValueDictionary

from rdp.codecs.workers.program import read_frame, write_frame
from rdp.errors import CodecError, DependencyError

TIMEOUT_S = 1800.0
"""Seconds for one image: an autoregressive model on one thread needs minutes for a large one."""

_MESSAGE_LENGTH = 500


class WorkerProcess:
    """A process that answers requests over its pipes, one at a time.

    Nothing runs until the first `call`. A process that dies, or runs over `timeout_s` and is killed, fails the call
    that it was on; the next call starts another. It ends when this object is collected or this interpreter exits, and
    by itself if this interpreter is killed, for its input ends then.
    """

    def __init__(self, name: str, command: tuple[str, ...], timeout_s: float = TIMEOUT_S) -> None:
        self.name = name
        self.command = command
        self.timeout_s = timeout_s
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._end: weakref.finalize[..., WorkerProcess] | None = None

    @property
    def pid(self) -> int | None:
        """Of the running process; None where none runs."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def call(self, header: Mapping[str, Any], body: bytes = b"") -> tuple[dict[str, Any], bytes]:
        """The reply to a request. Raises `CodecError` with the worker's own words if it fails, dies or takes too long,
        and `DependencyError` if it cannot be started."""
        with self._lock:
            process = self._running()
            expired = threading.Event()
            timer = threading.Timer(self.timeout_s, _expire, (process, expired))
            timer.daemon = True
            timer.start()
            reply, words = None, ""
            try:
                reply = _exchange(process, header, body)
            finally:
                timer.cancel()
                if reply is None:
                    # Broken pipes, or an interrupt between request and reply: nothing more can come over these.
                    words = self._stop()
            if reply is None:
                raise self._failure(process, expired.is_set(), words)
        answer, data = reply
        if "error" in answer:
            raise CodecError(f"{self.name}: {_shorten(answer['error'], keep_start=True)}")
        return answer, data

    def close(self) -> None:
        """End the process, if one runs; the next call starts another."""
        with self._lock:
            self._stop()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._stop()
        log = tempfile.TemporaryFile(prefix="rdp-worker-")  # noqa: SIM115 - as long as the process
        try:
            process = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        except OSError as error:
            log.close()
            raise DependencyError(f"{self.name}: cannot start {self.command[0]}: {error.strerror}") from error
        self._process, self._log = process, log
        self._end = weakref.finalize(self, _kill, process, log)
        return process

    def _stop(self) -> str:
        """End the process and give the last words that it wrote to its standard error."""
        words = ""
        if self._process is not None and self._log is not None:
            if self._process.poll() is None:
                self._process.kill()
            self._process.wait()
            self._log.seek(0)
            words = _shorten(self._log.read().decode(errors="replace"))
        if self._end is not None:
            self._end()
        self._process = self._log = self._end = None
        return words

    def _failure(self, process: subprocess.Popen[bytes], expired: bool, words: str) -> CodecError:
        says = f"It says: {words}" if words else "It printed nothing."
        if expired:
            return CodecError(f"{self.name}: its worker ran over {self.timeout_s:g} s and was killed. {says}")
        return CodecError(f"{self.name}: its worker ended with exit code {process.returncode}. {says}")


_SHARED: WeakValueDictionary[tuple[str, ...], WorkerProcess] = WeakValueDictionary()
_SHARED_LOCK = threading.Lock()


def shared_process(name: str, command: tuple[str, ...]) -> WorkerProcess:
    """The one worker of this interpreter for a command, for as long as a codec holds it.

    The points of a run share it: the library is loaded once, and each network once.
    """
    with _SHARED_LOCK:
        found = _SHARED.get(command)
        if found is None:
            found = _SHARED[command] = WorkerProcess(name, command)
        return found


def _exchange(
    process: subprocess.Popen[bytes], header: Mapping[str, Any], body: bytes
) -> tuple[dict[str, Any], bytes] | None:
    """Send a request and wait for its reply; None if the process ended before it was there."""
    if process.stdin is None or process.stdout is None:
        raise TypeError("a worker has pipes")
    try:
        write_frame(process.stdin, dict(header), body)
        return read_frame(process.stdout)
    except (OSError, EOFError, ValueError):
        return None  # it ended, or what it wrote is no frame


def _expire(process: subprocess.Popen[bytes], expired: threading.Event) -> None:
    expired.set()
    process.kill()


def _kill(process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout, log):
        if stream is not None:
            try:
                stream.close()
            except OSError:
                continue  # what was not sent yet has no reader any more


def _shorten(text: str, keep_start: bool = False) -> str:
    """The end of a text, or its start, on one line, for a message."""
    words = " ".join(text.split())
    if len(words) <= _MESSAGE_LENGTH:
        return words
    return words[:_MESSAGE_LENGTH] + "…" if keep_start else "…" + words[-_MESSAGE_LENGTH:]
