"""How far a solve is, in a line now and then: what is done, the best value so far, and the bound."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from time import perf_counter

from rdp.execution import Progress

FIRST_S, EVERY_S = 5.0, 10.0
"""Seconds before the first line, and between others."""


@dataclass(eq=False)
class Teller:
    """Tells `progress` by notes. `done` counts the present step; `value` and `bound` as minimised.

    `sign` is -1 where what is minimised is the negative of what was asked for.
    """

    progress: Progress
    name: str
    sign: float = 1.0
    step: str = ""
    done: int = 0
    value: float | None = None
    bound: float = -math.inf
    begun: float = field(default_factory=perf_counter)
    said: float = -math.inf

    def begin(self, step: str) -> None:
        """Another step, whose parts are counted from 0."""
        self.step, self.done = step, 0

    def tell(self) -> None:
        """One part more is done; says so when the time has come."""
        self.done += 1
        now = perf_counter()
        if now - self.begun >= FIRST_S and now - self.said >= EVERY_S:
            self.said = now
            self.progress.note(self.text(now - self.begun))

    def text(self, seconds: float) -> str:
        """The line."""
        best = "none found yet" if self.value is None else f"best {self.name} {self.sign * self.value:.6g}"
        bound = f", bound {self.sign * self.bound:.6g}" if math.isfinite(self.bound) else ""
        return f"after {seconds:.0f} s, {self.step} ({self.done} evaluations): {best}{bound}"
