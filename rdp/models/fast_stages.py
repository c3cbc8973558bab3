"""The stages of a fast transform: layers that work on an image row by row, a block of rows at a time.

A stage takes a stream of blocks and gives one. A block is (N, C, rows, W) in channels_last: the next rows of the
image, from the top down; how many is up to whoever makes the block. A convolution waits until it has the rows that a
block of its output depends on, and keeps those that the next one needs again, so nothing is computed twice, zeros
stand beyond the true borders only, and of a large image only a few rows per layer are in memory. Blocks are small
enough to stay in the cache from one layer to the next, which also makes images of the usual size faster.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Shape = tuple[int, int, int, int]
"""(N, C, H, W)."""

UNKNOWN = 1 << 30
"""A height that is not known yet, where only the width matters."""


@dataclass(frozen=True)
class Setting:
    """Where and how a stage computes; `block_bytes` is about how large a block of its output is."""

    device: torch.device
    dtype: torch.dtype
    block_bytes: int

    def place(self, weights: Tensor) -> Tensor:
        """A copy of the weights on the device, in the dtype, in channels_last if they are those of a convolution."""
        placed = weights.detach().to(self.device, self.dtype, copy=True)
        return placed.contiguous(memory_format=torch.channels_last) if placed.dim() == 4 else placed

    def rows(self, shape: Shape) -> int:
        """How many rows of a tensor of that shape make a block."""
        batch, channels, height, width = shape
        row_bytes = batch * channels * width * self.dtype.itemsize
        return max(1, min(height, self.block_bytes // max(1, row_bytes)))

    def nbytes(self, shape: Shape, rows: int | None = None) -> int:
        """Bytes of a tensor of that shape, or of that many rows of it."""
        batch, channels, height, width = shape
        return batch * channels * (height if rows is None else rows) * width * self.dtype.itemsize


class Stage(ABC):
    """A layer on a stream of blocks."""

    @abstractmethod
    def stream(self, blocks: Iterator[Tensor]) -> Iterator[Tensor]:
        """The rows of the output, in order, for the rows of the input, in order. Blocks given are never changed."""

    @abstractmethod
    def shape(self, given: Shape) -> Shape:
        """The shape of the whole output for that of the whole input."""

    @abstractmethod
    def memory(self, given: Shape, rows: int) -> tuple[int, int]:
        """Most bytes that the stage holds while it streams, and the rows of a block of output.

        For an input of that shape in blocks of at most `rows` rows.
        """


class Pointwise(Stage):
    """What works on every row by itself and changes neither width nor height: activations, normalisations."""

    def __init__(self, function: Callable[[Tensor], Tensor], setting: Setting, copies: float = 1) -> None:
        """`copies`: how many times the bytes of a block the function takes, its result included."""
        self.function = function
        self.setting = setting
        self.copies = copies

    def stream(self, blocks: Iterator[Tensor]) -> Iterator[Tensor]:
        for block in blocks:
            yield self.function(block)

    def shape(self, given: Shape) -> Shape:
        return given

    def memory(self, given: Shape, rows: int) -> tuple[int, int]:
        return round(self.copies * self.setting.nbytes(given, rows)), rows


class ReflectRows(Stage):
    """nn.ReflectionPad2d((left, right, top, bottom))."""

    def __init__(self, padding: Sequence[int], setting: Setting) -> None:
        self.left, self.right, self.top, self.bottom = padding
        self.setting = setting

    def stream(self, blocks: Iterator[Tensor]) -> Iterator[Tensor]:
        # The first block has the rows that the top mirrors, the last one those that the bottom mirrors.
        needed = max(self.top, self.bottom) + 1
        held: Tensor | None = None
        for block in blocks:
            if held is None or held.shape[2] < needed:
                held = block if held is None else torch.cat((held, block), 2)
                if held.shape[2] >= needed:
                    yield self._pad(held, self.top, 0)
            else:
                yield self._pad(block, 0, 0)
                held = torch.cat((held, block), 2) if block.shape[2] < needed else block
            held = held[:, :, -needed:] if held.shape[2] >= needed else held
        if held is None:
            return
        if held.shape[2] < needed:
            yield self._pad(held, self.top, self.bottom)
        elif self.bottom:
            yield self._pad(held, 0, self.bottom)[:, :, -self.bottom :]

    def _pad(self, rows: Tensor, top: int, bottom: int) -> Tensor:
        padded = F.pad(rows, (self.left, self.right, top, bottom), mode="reflect")
        return padded.contiguous(memory_format=torch.channels_last)

    def shape(self, given: Shape) -> Shape:
        batch, channels, height, width = given
        return batch, channels, height + self.top + self.bottom, width + self.left + self.right

    def memory(self, given: Shape, rows: int) -> tuple[int, int]:
        most = rows + 2 * max(self.top, self.bottom) + 1
        return 2 * self.setting.nbytes(self.shape(given), most), most


class Residual(Stage):
    """What came in, plus what stages make of it, which have to keep its shape."""

    def __init__(self, stages: Sequence[Stage], setting: Setting) -> None:
        self.stages = stages
        self.setting = setting

    def stream(self, blocks: Iterator[Tensor]) -> Iterator[Tensor]:
        passed: deque[Tensor] = deque()

        def noted() -> Iterator[Tensor]:
            for block in blocks:
                passed.append(block)
                yield block

        for change in chain(self.stages, noted()):
            given, rows = [], change.shape[2]
            while rows:
                block = passed.popleft()
                given.append(block[:, :, :rows])
                if block.shape[2] > rows:
                    passed.appendleft(block[:, :, rows:])
                rows -= given[-1].shape[2]
            yield _join(given) + change

    def shape(self, given: Shape) -> Shape:
        return given

    def memory(self, given: Shape, rows: int) -> tuple[int, int]:
        held = 0
        for stage in self.stages:
            nbytes, rows = stage.memory(given, rows)
            given = stage.shape(given)
            held += nbytes
        # What the stages wait for, they hold; it is held once more here, then joined, and added.
        return 2 * held + 3 * self.setting.nbytes(given, rows), rows


class Whole(Stage):
    """A module that nothing is known about: it waits for the whole image, and its output goes on in blocks."""

    def __init__(self, module: nn.Module, setting: Setting) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.module.to(setting.device, setting.dtype).to(memory_format=torch.channels_last)
        self.setting = setting

    def stream(self, blocks: Iterator[Tensor]) -> Iterator[Tensor]:
        whole = self.module(torch.cat(list(blocks), 2))
        whole = whole.to(self.setting.dtype).contiguous(memory_format=torch.channels_last)
        yield from whole.split(self.setting.rows(tuple(whole.shape)), 2)

    def shape(self, given: Shape) -> Shape:
        return self._trace(given)[0]

    def memory(self, given: Shape, rows: int) -> tuple[int, int]:
        shape, largest = self._trace(given)
        held = 2 * self.setting.nbytes(given) + self.setting.nbytes(shape) + 3 * largest
        return held, self.setting.rows(shape)

    def _trace(self, given: Shape) -> tuple[Shape, int]:
        """The shape of the output, and the bytes of the largest tensor that a submodule gives; without computing."""
        largest = 0

        def note(module: nn.Module, inputs: Any, output: Any) -> None:
            nonlocal largest
            if isinstance(output, Tensor):
                largest = max(largest, output.numel() * output.element_size())

        phantom = copy.deepcopy(self.module).to("meta")
        for part in phantom.modules():
            part.register_forward_hook(note)
        batch, channels, height, width = phantom(torch.empty(given, dtype=self.setting.dtype, device="meta")).shape
        return (batch, channels, height, width), largest


class Windows(Stage):
    """What makes `up` rows of output from `size` rows of input, which move on by `step`; zeros beyond the borders."""

    def __init__(self, setting: Setting, weight: Tensor, up: int, step: int, size: int, before: int) -> None:
        """`before`: how many rows of zeros stand before the first row."""
        # The library puts the weights in order anew for every block, which has to be worth it.
        nbytes = max(setting.block_bytes, weight.numel() * weight.element_size() * setting.dtype.itemsize // 4)
        self.setting = replace(setting, block_bytes=nbytes)
        self.weight = self.setting.place(weight)
        self.up = up
        self.step = step
        self.size = size
        self.before = before

    @abstractmethod
    def compute(self, rows: Tensor) -> Tensor:
        """Input of `(units - 1) * step + size` rows to `units * up` rows of output."""

    def stream(self, blocks: Iterator[Tensor]) -> Iterator[Tensor]:
        waiting: deque[Tensor] = deque()
        height, ready, made = 0, self.before, 0
        for block in blocks:
            if not height:
                batch, channels, _, width = block.shape
                units = self._units((batch, channels, UNKNOWN, width))
                waiting.append(_zeros(block, self.before))
            height += block.shape[2]
            ready += block.shape[2]
            waiting.append(block)
            if ready < (units - 1) * self.step + self.size:
                continue
            rows = _join(waiting)
            while ready >= (units - 1) * self.step + self.size:
                yield self.compute(rows[:, :, : (units - 1) * self.step + self.size])
                rows = rows[:, :, units * self.step :]
                ready -= units * self.step
                made += units * self.up
            waiting = deque((rows,))
        if not height:
            return
        rows = _join(waiting)
        left = self.shape((batch, channels, height, width))[2] - made
        units = -(-left // self.up)
        lacking = (units - 1) * self.step + self.size - ready
        if units > 0:
            rows = torch.cat((rows, _zeros(rows, lacking)), 2) if lacking > 0 else rows
            yield self.compute(rows[:, :, : (units - 1) * self.step + self.size])[:, :, :left]

    def _units(self, given: Shape) -> int:
        """For how many units at once neither the input nor the output is larger than a block."""
        rows, made = self.setting.rows(given), self.setting.rows(self.shape(given))
        return max(1, min(rows // self.step, made // self.up))

    def memory(self, given: Shape, rows: int) -> tuple[int, int]:
        shape = self.shape(given)
        units = self._units(given)
        waiting = min((units - 1) * self.step + self.size + rows, given[2] + self.size)
        # Once as the blocks came, and once joined.
        made = min(shape[2], (units + 1) * self.up)
        return 2 * self.setting.nbytes(given, waiting) + self.setting.nbytes(shape, made), made


def chain(stages: Sequence[Stage], blocks: Iterator[Tensor]) -> Iterator[Tensor]:
    """The blocks through all stages in turn."""
    for stage in stages:
        blocks = stage.stream(blocks)
    return blocks


def _zeros(like: Tensor, rows: int) -> Tensor:
    batch, channels, _, width = like.shape
    shape = (batch, channels, rows, width)
    return torch.zeros(shape, dtype=like.dtype, device=like.device).contiguous(memory_format=torch.channels_last)


def _join(blocks: Sequence[Tensor]) -> Tensor:
    return blocks[0] if len(blocks) == 1 else torch.cat(tuple(blocks), 2)
