"""Encoding and decoding times of several codecs, measured in turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rdp.codecs import Codec


@dataclass
class Times:
    """Seconds of each (name, image) and repeat."""

    encode: dict[tuple[str, int], list[float]] = field(default_factory=dict)
    decode: dict[tuple[str, int], list[float]] = field(default_factory=dict)

    def total(self, name: str, which: str) -> float:
        """The sum over the images of the medians over the repeats, in seconds."""
        table = self.encode if which == "encode" else self.decode
        return sum(statistics.median(values) for (own, _), values in table.items() if own == name)


def alternating_times(codecs: Mapping[str, Codec], images: Sequence[Any], repeats: int) -> Times:
    """Times of all codecs in turn, image by image, so that what else the machine does meets them alike.

    The first image goes through every codec once before, unmeasured.
    """
    for codec in codecs.values():
        codec.decode(codec.encode(images[0]))
    times = Times()
    for _ in range(repeats):
        for number, image in enumerate(images):
            for name, codec in codecs.items():
                begun = time.perf_counter()
                data = codec.encode(image)
                encoded = time.perf_counter()
                codec.decode(data)
                times.encode.setdefault((name, number), []).append(encoded - begun)
                times.decode.setdefault((name, number), []).append(time.perf_counter() - encoded)
    return times
