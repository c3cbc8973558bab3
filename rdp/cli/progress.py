"""Progress on stderr: a bar with throughput and time left in a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_LINE_S = 10.0


class Terminal:
    """Shows the stages of a call (see `rdp.execution.Progress`). `quiet` leaves only the notes."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._live = sys.stderr.isatty() and not quiet
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._stage, self._unit, self._total, self._count = "", "", 0, 0
        self._begun = self._last = 0.0

    def start(self, stage: str, total: int, unit: str) -> None:
        self._stage, self._unit, self._total, self._count = stage, unit, total, 0
        self._begun = self._last = time.monotonic()
        if self._live and total:
            self._bar = _make_bar()
            self._bar.start()
            self._task = self._bar.add_task(stage, total=total, speed="")

    def advance(self, count: int = 1) -> None:
        self._count += count
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, advance=count, speed=self._speed())
        elif not self._quiet and time.monotonic() - self._last >= _LINE_S:
            self._last = time.monotonic()
            typer.echo(f"{self._stage}: {self._count} of {self._total}, {self._speed()}, {self._left()}", err=True)

    def finish(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        elif not self._quiet and self._total:
            typer.echo(f"{self._stage}: {self._count} of {self._total}, {self._speed()}", err=True)

    def note(self, message: str) -> None:
        typer.echo(f"note: {message}", err=True)

    def _speed(self) -> str:
        seconds = time.monotonic() - self._begun
        return f"{self._count / seconds:.1f} {self._unit}s/s" if seconds > 0 else ""

    def _left(self) -> str:
        if not self._count:
            return ""
        seconds = (time.monotonic() - self._begun) / self._count * (self._total - self._count)
        return f"{seconds / 60:.0f} min left" if seconds >= 120 else f"{seconds:.0f} s left"


def _make_bar() -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeElapsedColumn(),
        TextColumn("·"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=Console(stderr=True),
    )
