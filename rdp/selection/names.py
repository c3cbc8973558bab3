"""Names that are made when they are asked for: a million of them would take more memory than the table's columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload


class Numbered(Sequence[str]):
    """`image 0`, `image 1`, ...: so many names of one kind, equal to the tuple of them."""

    def __init__(self, kind: str, length: int) -> None:
        self.kind, self.length = kind, length

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...

    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        numbers = range(self.length)[index]
        if isinstance(numbers, range):
            return tuple(f"{self.kind} {number}" for number in numbers)
        return f"{self.kind} {numbers}"

    def __iter__(self) -> Iterator[str]:
        return (f"{self.kind} {number}" for number in range(self.length))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Numbered):
            return self.length == other.length and (self.kind == other.kind or not self.length)
        if not isinstance(other, Sequence) or len(other) != self.length:
            return False
        return all(ours == theirs for ours, theirs in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"Numbered({self.kind!r}, {self.length})"
