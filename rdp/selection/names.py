"""Names that are made when they are asked for: a million of them would take more memory than the table's columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload


class Numbered(Sequence[str]):
    """`image 0`, `image 1`, ...: `count` names of one kind, equal to the tuple of them."""

    def __init__(self, kind: str, count: int) -> None:
        self.kind, self.count = kind, count

    def __len__(self) -> int:
        return self.count

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...

    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        numbers = range(self.count)[index]
        if isinstance(numbers, range):
            return tuple(f"{self.kind} {number}" for number in numbers)
        return f"{self.kind} {numbers}"

    def __iter__(self) -> Iterator[str]:
        return (f"{self.kind} {number}" for number in range(self.count))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Numbered):
            return (self.kind, self.count) == (other.kind, other.count)
        return (
            isinstance(other, Sequence)
            and len(other) == self.count
            and all(a == b for a, b in zip(self, other, strict=True))
        )

    def __hash__(self) -> int:
        return hash((self.kind, self.count))

    def __repr__(self) -> str:
        return f"Numbered({self.kind!r}, {self.count})"
