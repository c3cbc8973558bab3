"""Keep what native code prints off standard output.

HiGHS prints a line of its own to descriptor 1 whenever it repairs a solution, and no option silences it. Whoever reads
our output (`--json`, the parent of `isolated`) would find it there.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Iterator

STDOUT, STDERR = 1, 2


class _Aside:
    """Descriptor 1, sent to standard error while any thread of this process solves.

    It belongs to the process, so there is one of these, and it counts: the first solve turns it aside, the last one
    puts it back. Standard error and not nothing, because another thread may be printing meanwhile.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.saved = -1

    def enter(self) -> None:
        with self.lock:
            self.users += 1
            if self.users == 1:
                _flush()
                try:
                    self.saved = os.dup(STDOUT)
                except OSError:  # a process without standard output has nothing to protect
                    self.saved = -1
                    return
                _send_to_stderr()

    def leave(self) -> None:
        with self.lock:
            self.users -= 1
            if self.users or self.saved < 0:
                return
            _flush()
            os.dup2(self.saved, STDOUT)
            os.close(self.saved)
            self.saved = -1


_ASIDE = _Aside()


@contextlib.contextmanager
def clean_stdout() -> Iterator[None]:
    """While this holds, what is written to descriptor 1 goes to descriptor 2.

    A `sys.stdout` that does not write to descriptor 1, as in a notebook, is not touched.
    """
    _ASIDE.enter()
    try:
        yield
    finally:
        _ASIDE.leave()


def take_stdout() -> int:
    """A new descriptor of standard output for an answer; whatever else is printed from now on goes to standard error.

    For a process that answers with bytes; the caller closes the descriptor.
    """
    _flush()
    answer = os.dup(STDOUT)
    _send_to_stderr()
    return answer


def _send_to_stderr() -> None:
    try:
        os.dup2(STDERR, STDOUT)
    except OSError:  # no standard error either
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, STDOUT)
        os.close(nowhere)


def _flush() -> None:
    """Write out what Python and the C library hold back, so that it goes where it was meant to go."""
    # Closed, or a pipe whose reader is gone: whoever prints next hears of it.
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
    try:
        library = ctypes.CDLL("ucrtbase" if os.name == "nt" else None)
        library.fflush(None)
    except (OSError, AttributeError):  # a C library that cannot be reached: then nothing of it can be flushed
        return
