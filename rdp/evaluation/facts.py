"""What a run must know of its codecs before it starts, and which of them a worker holds at a time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rdp.codecs import OperatingPoint, Resources, create_codec

_CPU_PART = 4
_LEAST_ROOM, _MOST_ROOM = 256 << 20, 4 << 30
"""Bytes of weights that a worker holds: its part of a quarter of the memory, within these; the most on a GPU."""


@dataclass(frozen=True)
class CodecFacts:
    """Of a codec: what its rows will say, the bytes of its weights, whether its networks run on a GPU, and the images
    that its weights were trained on (see `Codec.trained_on`)."""

    encoder_id: str
    decoder_id: str
    version: str
    weights_nbytes: int
    on_gpu: bool
    trained_on: frozenset[str] = frozenset()


def look_at_codecs(points: Iterable[OperatingPoint], resources: Resources) -> dict[str, CodecFacts]:
    """The facts of each point's codec, by point; one codec is made at a time, for its weights may be large.

    Raises what making a codec raises, and `DependencyError` if what encoding needs is not installed.
    """
    lists: dict[frozenset[str], frozenset[str]] = {}
    return {point.name: _look(point, resources, lists) for point in points}


def _look(point: OperatingPoint, resources: Resources, lists: dict[frozenset[str], frozenset[str]]) -> CodecFacts:
    """One point's facts. `lists` are those of training images so far: networks trained on the same share one."""
    codec = create_codec(point, resources)
    codec.require_encoder()
    trained_on = codec.trained_on()
    return CodecFacts(
        codec.encoder_id, codec.decoder_id, codec.version, int(codec.weights_nbytes), codec.device != "cpu",
        lists.setdefault(trained_on, trained_on),
    )  # fmt: skip


def weights_room(resources: Resources, workers: int) -> int:
    """Bytes of weights that each of `workers` workers may hold at a time."""
    if resources.device != "cpu":
        return _MOST_ROOM
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return _LEAST_ROOM
    return max(_LEAST_ROOM, min(_MOST_ROOM, memory // _CPU_PART // workers))


def group_points(points: Sequence[OperatingPoint], facts: Mapping[str, CodecFacts], room: int) -> dict[str, int]:
    """Points in order, cut into groups whose weights fit into `room` bytes (one codec always does): group by point.

    A worker does all images of one group before the next, and all points of a group for an image that it has read:
    with all points at once it would load weights over and over, with one point at a time read every image anew. Points
    of one encoder, which stand side by side, stay together, so that their file is made once.
    """
    groups: dict[str, int] = {}
    group, held, encoder = 0, 0, ""
    for point in points:
        nbytes = facts[point.name].weights_nbytes
        if held and nbytes and held + nbytes > room and facts[point.name].encoder_id != encoder:
            group, held = group + 1, 0
        encoder = facts[point.name].encoder_id
        groups[point.name] = group
        held += nbytes
    return groups
