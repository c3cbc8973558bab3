"""Which images weights were trained on: a note in the header of their file, read before anything is evaluated on them.

The note `trained_on` is a JSON list of the first `DIGITS` hex digits of `rdp.images.hash_pixels` of every training
image, sorted: 16 digits tell a billion images apart, and a hundred thousand images make a note of 2 MB.
"""

from __future__ import annotations

import json
import string
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from rdp.errors import WeightsError

NOTE = "trained_on"
DIGITS = 16
"""Of an image's 64 hex digits, those that the note holds."""


class Noted(Protocol):
    """The header of a file with notes: that of a network, or of a decoder."""

    @property
    def path(self) -> Path: ...

    @property
    def notes(self) -> Mapping[str, str]: ...


def trained_on_note(hashes: Iterable[str]) -> dict[str, str]:
    """The note for `save_model` of weights trained on these images: `rdp.images.hash_pixels`, or its first 16 digits.

    Each image counts once, so hashes read from another file with `trained_on` may be among them. Raises `WeightsError`
    for what is no such hash.
    """
    digits = set()
    for image in hashes:
        if not (isinstance(image, str) and len(image) >= DIGITS and _is_hex(image)):
            raise WeightsError(
                f"{image!r} is no hash of a training image: that is at least the first {DIGITS} lower-case hex digits "
                "of rdp.images.hash_pixels"
            )
        digits.add(image[:DIGITS])
    return {NOTE: json.dumps(sorted(digits), separators=(",", ":"))}


def trained_on(header: Noted) -> frozenset[str]:
    """The first 16 hex digits of the hashes of the images that weights were trained on; empty where no note says it.

    Raises `WeightsError`, naming the file, for a note that is no list of such digits.
    """
    text = header.notes.get(NOTE)
    if text is None:
        return frozenset()
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(header) from error
    if not isinstance(listed, list) or not all(
        isinstance(image, str) and len(image) == DIGITS and _is_hex(image) for image in listed
    ):
        raise _damaged(header)
    return frozenset(listed)


def _damaged(header: Noted) -> WeightsError:
    return WeightsError(
        f"{header.path} is damaged: its note {NOTE!r} is not a list of {DIGITS} lower-case hex digits an image"
    )


_HEX = frozenset(string.hexdigits.lower())


def _is_hex(text: str) -> bool:
    return _HEX.issuperset(text)
