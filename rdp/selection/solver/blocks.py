"""A problem as blocks of images, for tables that are passed over rather than copied.

A source hands out its images in blocks, again and again in the same order. Blocks of arrays in memory are views; a
source that streams files reads them anew on every pass. Weights are not divided by their total, which a stream knows
only at its end.
"""

from __future__ import annotations

import os
import queue
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from rdp.selection.problem import BoolArray, Constraint, FloatArray, Problem, Term

BLOCK_CELLS = 160_000
"""Cells of a block. With half as many, Python's share of a pass by two threads makes it a sixth longer."""
Result = TypeVar("Result")


@dataclass(frozen=True)
class Row:
    """One averaged quantity: sum of weight * sign * column over the choice; `budget` is its limit, sign included.

    `column` and `weights` number the arrays of a block. Of the objective, which is minimised, `budget` is not used.
    """

    column: int
    sign: float
    weights: int | None = None
    budget: float = 0.0


@dataclass(frozen=True, eq=False)
class Block:
    """Images `first` to `first + B`: `columns`, arrays (B, M), and `weights`, arrays (B,).

    `allowed` (B, M), None where all cells are. Values of cells that are not allowed may be anything, NaN too.
    """

    first: int
    columns: tuple[FloatArray, ...]
    weights: tuple[FloatArray, ...] = ()
    allowed: BoolArray | None = None

    @property
    def images(self) -> int:
        """B."""
        return len(self.columns[0])


class BlockSource(ABC):
    """What hands out blocks. `objective` and `rows` say what is minimised and what is bounded."""

    objective: Row
    rows: tuple[Row, ...]
    points: int

    @abstractmethod
    def blocks(self) -> Iterator[Block]:
        """All blocks in order; every image is in one of them, in the same one on every pass."""

    @abstractmethod
    def sample(self, images: int) -> Iterator[Block]:
        """Blocks of about so many images that stand for all: the same ones every time."""


class ArraySource(BlockSource):
    """Blocks of a problem in memory: views of its arrays."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.points = problem.shape[1]
        self._columns: list[FloatArray] = []
        self._weights: list[FloatArray] = []
        self._everywhere = bool(problem.allowed.all())
        self.objective = self._row(problem.objective, 1.0 if problem.goal == "minimize" else -1.0)
        self.rows = tuple(self._bounded(constraint) for constraint in problem.constraints)

    def _row(self, term: Term, sign: float, budget: float = 0.0) -> Row:
        weights = None if _all_one(term.weights) else _number(self._weights, term.weights)
        return Row(_number(self._columns, term.values), sign, weights, sign * budget)

    def _bounded(self, constraint: Constraint) -> Row:
        return self._row(constraint.term, 1.0 if constraint.sense == "at_most" else -1.0, constraint.budget)

    def blocks(self) -> Iterator[Block]:
        """See `BlockSource`."""
        images, points = self.problem.shape
        size = max(BLOCK_CELLS // points, 1)
        for first in range(0, images, size):
            yield self._block(first, slice(first, min(first + size, images)))

    def sample(self, images: int) -> Iterator[Block]:
        """See `BlockSource`: evenly spaced images, at least so many where there are."""
        step = max(self.problem.shape[0] // images, 1)
        size = max(BLOCK_CELLS // self.points, 1)
        for start in range(0, self.problem.shape[0], size * step):
            yield self._block(start, slice(start, start + size * step, step))

    def _block(self, first: int, where: slice) -> Block:
        allowed = None if self._everywhere else self.problem.allowed[where]
        columns = tuple(values[where] for values in self._columns)
        return Block(first, columns, tuple(weights[where] for weights in self._weights), allowed)


def _number(known: list[FloatArray], array: FloatArray) -> int:
    """The place of this very array in the list; it is appended where it is new."""
    for number, other in enumerate(known):
        if other is array:
            return number
    known.append(array)
    return len(known) - 1


def _all_one(weights: FloatArray) -> bool:
    return bool((weights == 1.0).all())


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def in_parallel(
    work: Callable[[Block, list[FloatArray]], Result], blocks: Iterator[Block], threads: int
) -> Iterator[Result]:
    """`work` done on every block by some threads; results come in order, and few blocks are held at a time.

    NumPy lets other threads run while it computes. The list is scratch memory: what `work` leaves in it is there the
    next time, though perhaps of a block of another size.
    """
    if threads <= 1:
        scratch: list[FloatArray] = []
        for block in blocks:
            yield work(block, scratch)
        return
    free: queue.SimpleQueue[list[FloatArray]] = queue.SimpleQueue()
    for _ in range(threads):
        free.put([])

    def job(block: Block) -> Result:
        scratch = free.get()
        try:
            return work(block, scratch)
        finally:
            free.put(scratch)

    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for block in blocks:
            waiting.append(pool.submit(job, block))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def collected(blocks: Sequence[Block]) -> Block:
    """Some blocks as one."""
    columns = tuple(np.concatenate(parts) for parts in zip(*(block.columns for block in blocks), strict=True))
    weights = tuple(np.concatenate(parts) for parts in zip(*(block.weights for block in blocks), strict=True))
    masks = [block.allowed for block in blocks]
    allowed = None
    if any(mask is not None for mask in masks):
        full = [np.ones(b.columns[0].shape, np.bool_) if m is None else m for b, m in zip(blocks, masks, strict=True)]
        allowed = np.concatenate(full)
    return Block(blocks[0].first, columns, weights, allowed)
