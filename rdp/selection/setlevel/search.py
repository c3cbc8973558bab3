"""From the relaxation to choices: roundings of its mixture, each improved by exchange, then disturbed and improved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from rdp.selection.linear import LinearForm
from rdp.selection.problem import FloatArray, IntArray
from rdp.selection.setlevel.exchange import improved
from rdp.selection.setlevel.relaxation import Clock
from rdp.selection.setlevel.state import Found, Rows, State
from rdp.selection.setlevel.terms import SetProblem
from rdp.selection.solver.rounding import repaired

DRAWN = 4
"""Choices that are drawn from the mixture of the relaxation, beside its nearest one."""
DISTURBED = 12
"""Times that the best choice is disturbed and improved again."""
UNLIKELY = 0.2
"""A disturbed image takes any point with this probability, and else one of its mixture."""
LOOKS = 40_000
"""Images whose points are looked at, in all: the limit of the search that does not depend on the machine."""


@dataclass(eq=False)
class Search:
    """Looks for good choices; `best` is the best so far, `settled` are those that no
    exchange improves. `enough` says of a choice that no better one is needed."""

    asked: SetProblem
    rows: Rows
    shares: FloatArray
    slopes: FloatArray
    clock: Clock
    rng: np.random.Generator
    enough: Callable[[Found], bool]
    best: Found | None = None
    looks: int = 0
    take: Callable[[Found], None] | None = None
    settled: list[Found] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.form = repair_form(self.asked, self.rows, self.slopes)

    @property
    def done(self) -> bool:
        """Whether the best is good enough, or time or looks are used up."""
        return self.clock.late or self.looks >= LOOKS or (self.best is not None and self.enough(self.best))

    def offer(self, choice: IntArray | None) -> None:
        """Improve a choice, if it keeps the averaged budgets, and keep it if it is the best."""
        if choice is None:
            return
        state = State(self.asked, self.rows, choice)
        if not state.within():
            return
        self._keep(state.found)
        if not self.done:
            found = improved(state, self.clock)
            self.looks += state.looks
            self.settled.append(found)
            self._keep(found)

    def consider(self, choice: IntArray) -> None:
        """Keep a choice as it is, if it keeps the averaged budgets and is the best."""
        state = State(self.asked, self.rows, choice)
        if state.within():
            self._keep(state.found)

    def run(self, *, roundings: bool = True) -> None:
        """All roundings (unless they are known), and then the best choice disturbed."""
        for choice in self._roundings() if roundings else ():
            if self.done:
                return
            self.offer(choice)
        for _ in range(DISTURBED):
            if self.done or self.best is None:
                return
            self.offer(self._disturbed(self.best.choice))

    def _keep(self, found: Found) -> None:
        if found.better_than(self.best):
            self.best = found
            if self.take is not None:
                self.take(found)

    def _roundings(self) -> Iterator[IntArray | None]:
        yield self._repaired(np.where(self.asked.problem.allowed, self.shares, -1.0).argmax(axis=1))
        for _ in range(DRAWN):
            yield self._repaired(self._drawn(self.shares, np.arange(len(self.shares))))

    def _disturbed(self, choice: IntArray) -> IntArray | None:
        count = len(choice)
        some = min(count, max(2, count // 6))
        images = self.rng.choice(count, size=some, replace=False)
        allowed = self.asked.problem.allowed[images]
        any_point = allowed / allowed.sum(axis=1, keepdims=True)
        other = choice.copy()
        other[images] = self._drawn((1 - UNLIKELY) * self.shares[images] + UNLIKELY * any_point, images)
        return self._repaired(other)

    def _drawn(self, shares: FloatArray, images: IntArray) -> IntArray:
        """A point for each image (n,) by its shares (n, P), among those allowed."""
        weights = np.where(self.asked.problem.allowed[images], shares, 0.0)
        sums = np.cumsum(weights, axis=1)
        turn = self.rng.random(len(sums))[:, None] * sums[:, -1:]
        points = (sums > turn).argmax(axis=1)
        return np.asarray(points, dtype=np.int64)

    def _repaired(self, choice: IntArray) -> IntArray | None:
        return repaired(self.form, self.form.cost, np.asarray(choice, dtype=np.int64))


def repair_form(asked: SetProblem, rows: Rows, slopes: FloatArray) -> LinearForm:
    """A form with every allowed cell (the canonical one leaves out what no column needs), to mend choices in."""
    allowed = asked.problem.allowed

    def lowered(values: FloatArray) -> tuple[FloatArray, float]:
        least = np.where(allowed, values, np.inf).min(axis=1)
        return np.where(allowed, values - least[:, None], 0.0), float(least.sum())

    parts = [lowered(spends) for spends in rows.spends]
    return LinearForm(
        cost=lowered(slopes)[0],
        offset=0.0,
        coefficients=np.stack([part for part, _ in parts]) if parts else np.zeros((0, *allowed.shape)),
        budgets=rows.budgets - np.array([least for _, least in parts]),
        allowed=allowed,
        rows=tuple(range(len(parts))),
    )
