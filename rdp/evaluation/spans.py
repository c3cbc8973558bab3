"""Which pieces of work of a process ran while others did: what makes a time a measurement, or not."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Span:
    """A piece of work: the seconds it took, and whether another ran at any moment of it. Filled in when it ends."""

    seconds: float = 0.0
    contended: bool = False


class Spans:
    """Counts the pieces of work that run, over all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self._begun = 0

    @contextmanager
    def span(self) -> Iterator[Span]:
        """Time what is done inside."""
        found = Span()
        with self._lock:
            self._running += 1
            self._begun += 1
            number = self._begun
            found.contended = self._running > 1
        begin = time.perf_counter()
        try:
            yield found
        finally:
            found.seconds = time.perf_counter() - begin
            with self._lock:
                self._running -= 1
                found.contended |= self._begun > number
