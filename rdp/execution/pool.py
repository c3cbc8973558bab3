"""A pool of local worker processes that survives the death of its workers and leaves none behind.

Workers are spawned, never forked: a fork after torch has made threads hangs. The number of tasks under way is bounded,
so that an endless stream of tasks takes no more memory than a short one. A worker that dies (a crash in a library, the
out-of-memory killer) costs the task that it worked on and no other; a main process that dies takes its workers along.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from rdp.execution.spawn import MainlessContext

Task = TypeVar("Task")
Result = TypeVar("Result")

_TASKS_PER_WORKER = 2
_POLL_S = 0.2


@dataclass(frozen=True)
class Outcome(Generic[Task, Result]):
    """What became of a task: its result, or how its worker died (`death`), or the exception that it raised."""

    task: Task
    result: Result | None = None
    death: str | None = None
    error: BaseException | None = None


class WorkerPool:
    """`jobs` spawned processes that run `initializer(*initargs)` once and then tasks.

    Use as a context manager: leaving it normally waits for nothing and stops the workers, which are idle by then;
    leaving it by an exception kills them.
    """

    def __init__(self, jobs: int, initializer: Callable[..., None], initargs: tuple[Any, ...] = ()) -> None:
        from pebble import ProcessPool

        self.jobs = jobs
        self._pool = ProcessPool(
            max_workers=jobs,
            context=MainlessContext(),
            initializer=_start_worker,
            initargs=(os.getpid(), initializer, initargs),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.stop()
        self._pool.join()

    def run(
        self, function: Callable[[Task], Result], draw: Callable[[], Task | None]
    ) -> Iterator[Outcome[Task, Result]]:
        """Run `function` over tasks, yielding outcomes as they come, in any order.

        `draw` is asked for a task whenever there is room, and answers None when it has none; the run ends when it has
        none and nothing is under way, so that what an outcome teaches may become further tasks. While this waits,
        Ctrl-C is heard.
        """
        running: dict[Future[Result], Task] = {}
        while True:
            while len(running) < _TASKS_PER_WORKER * self.jobs and (task := draw()) is not None:
                running[self._pool.schedule(function, args=(task,))] = task
            if not running:
                return
            done, _ = wait(running, timeout=_POLL_S, return_when=FIRST_COMPLETED)
            for future in done:
                yield _outcome(running.pop(future), future)


def _outcome(task: Task, future: Future[Result]) -> Outcome[Task, Result]:
    from pebble import ProcessExpired

    error = future.exception()
    if error is None:
        return Outcome(task, result=future.result())
    if isinstance(error, ProcessExpired):
        return Outcome(task, death=_describe_death(error.exitcode))
    return Outcome(task, error=error)


def _describe_death(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        try:
            name = signal.Signals(-exitcode).name
        except ValueError:
            name = f"signal {-exitcode}"
        hint = " (out of memory?)" if -exitcode == signal.SIGKILL else ""
        return f"the worker process was killed by {name}{hint}"
    return f"the worker process died with exit code {exitcode}"


def _start_worker(parent: int, initializer: Callable[..., None], initargs: tuple[Any, ...]) -> None:
    # The main process answers Ctrl-C for all; a worker that also did would print a traceback of its own.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow, args=(parent,), daemon=True).start()
    initializer(*initargs)


def _follow(parent: int) -> None:
    """End this worker when the main process is gone, however it went (kill -9 leaves no time for goodbyes)."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
