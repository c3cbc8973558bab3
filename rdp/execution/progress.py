"""How long work tells how far it is, without the library printing anything."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told of the stages of a long call; the command line shows them, a notebook may show its own."""

    def start(self, stage: str, total: int, unit: str) -> None:
        """A stage begins: its name, how many units it has, and what they are."""

    def advance(self, count: int = 1) -> None:
        """So many more units are done."""

    def finish(self) -> None:
        """The stage is over."""

    def note(self, message: str) -> None:
        """Something that the user should know, in one line."""


class Silent:
    """Tells nobody."""

    def start(self, stage: str, total: int, unit: str) -> None:
        """Say nothing."""

    def advance(self, count: int = 1) -> None:
        """Say nothing."""

    def finish(self) -> None:
        """Say nothing."""

    def note(self, message: str) -> None:
        """Say nothing."""
