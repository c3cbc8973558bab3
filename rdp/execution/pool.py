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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from rdp.execution.spawn import MainlessContext

Task = TypeVar("Task")
Result = TypeVar("Result")

_TASKS_PER_WORKER = 2
_POLL_S = 0.2
_BROKEN_POOLS = 3


@dataclass(frozen=True)
class Outcome(Generic[Task, Result]):
    """What became of a task: its result, or how its worker died (`death`), or the exception that it raised."""

    task: Task
    result: Result | None = None
    death: str | None = None
    error: BaseException | None = None


class _Share:
    """Workers of one kind, and how many tasks they have."""

    def __init__(self, jobs: int, initializer: Callable[..., None], initargs: tuple[Any, ...]) -> None:
        self.jobs = jobs
        self.running = 0
        self._started_with = (os.getpid(), initializer, initargs)
        self.pool = self._new_pool()

    def _new_pool(self) -> Any:
        from pebble import ProcessPool

        return ProcessPool(
            max_workers=self.jobs, context=MainlessContext(), initializer=_start_worker, initargs=self._started_with
        )

    def load(self) -> float:
        """Tasks a worker."""
        return self.running / self.jobs

    def renew(self) -> None:
        """New processes, the old ones killed."""
        self.stop()
        self.pool = self._new_pool()

    def stop(self) -> None:
        """Kill the processes."""
        self.pool.stop()
        self.pool.join()


@dataclass
class _Given(Generic[Task]):
    """A task that a share works on, and how many pools have broken under it."""

    task: Task
    share: _Share
    broken: int = 0


class WorkerPool:
    """`jobs` spawned processes that run `initializer(*initargs)` once and then tasks.

    With `shares` the workers are not all alike: each share is a number of workers and the arguments of their
    initializer (one worker for each GPU, say), and `jobs` is their sum.

    Use as a context manager: leaving it normally waits for nothing and stops the workers, which are idle by then;
    leaving it by an exception kills them.
    """

    def __init__(self, jobs: int, initializer: Callable[..., None], initargs: tuple[Any, ...] = ()) -> None:
        self._start(initializer, [(jobs, initargs)])

    @classmethod
    def of_shares(cls, initializer: Callable[..., None], shares: Sequence[tuple[int, tuple[Any, ...]]]) -> Self:
        """Workers in shares: (how many, arguments of their initializer)."""
        pool = cls.__new__(cls)
        pool._start(initializer, shares)
        return pool

    def _start(self, initializer: Callable[..., None], shares: Sequence[tuple[int, tuple[Any, ...]]]) -> None:
        self.jobs = sum(jobs for jobs, _ in shares)
        self._shares = [_Share(jobs, initializer, initargs) for jobs, initargs in shares]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for share in self._shares:
            share.stop()

    def run(
        self, function: Callable[[Task], Result], draw: Callable[[], Task | None]
    ) -> Iterator[Outcome[Task, Result]]:
        """Run `function` over tasks, yielding outcomes as they come, in any order.

        `draw` is asked for a task whenever there is room, and answers None when it has none; the run ends when it has
        none and nothing is under way, so that what an outcome teaches may become further tasks. While this waits,
        Ctrl-C is heard.
        """
        running: dict[Future[Result], _Given[Task]] = {}
        while True:
            yield from self._mend(function, running)
            # To the workers that have the least to do.
            while (share := min(self._shares, key=_Share.load)).load() < _TASKS_PER_WORKER:
                task = draw()
                if task is None:
                    break
                self._give(function, _Given(task, share), running)
            if not running:
                return
            done, _ = wait(running, timeout=_POLL_S, return_when=FIRST_COMPLETED)
            for future in done:
                if not isinstance(future.exception(), BrokenProcessPool):
                    given = running.pop(future)
                    given.share.running -= 1
                    yield _outcome(given.task, future)

    def _give(
        self, function: Callable[[Task], Result], given: _Given[Task], running: dict[Future[Result], _Given[Task]]
    ) -> None:
        try:
            future: Future[Result] = given.share.pool.schedule(function, args=(given.task,))
        except RuntimeError as error:  # the pool has broken meanwhile, and will be mended
            future = Future()
            future.set_exception(BrokenProcessPool(str(error)))
        running[future] = given
        given.share.running += 1

    def _mend(
        self, function: Callable[[Task], Result], running: dict[Future[Result], _Given[Task]]
    ) -> Iterator[Outcome[Task, Result]]:
        """Renew the shares whose pool broke, and give their tasks again.

        Pebble gives a whole pool up if a worker dies before it has said which task it took. A task under which that
        happens time and again is one whose worker died.
        """
        for share in self._shares:
            if share.pool.active:
                continue
            lost = [future for future, given in running.items() if given.share is share and not _is_well(future)]
            tasks = [running.pop(future) for future in lost]
            share.running -= len(tasks)
            share.renew()
            for given in tasks:
                given.broken += 1
                if given.broken < _BROKEN_POOLS:
                    self._give(function, given, running)
                else:
                    yield Outcome(given.task, death="the worker process died")


def _is_well(future: Future[Any]) -> bool:
    """Whether a future has an outcome of its own."""
    return future.done() and not isinstance(future.exception(), BrokenProcessPool)


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
