"""Which points of a table lie on one perception-distortion curve: those of one encoder, with different decoders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rdp.report.names import parse_name, shorten
from rdp.selection.grid import Grid

DECODER_KEY = "decoder"
OWN_DECODER = "mse"
"""What the decoder in a network's own weights is called; a point without the key has that one."""

_SHOWN = 12
"""Characters of an `encoder_id` that name it."""


@dataclass(frozen=True)
class PointGroup:
    """Points of one curve: `points` are places in the grid, `labels` their short names (each once).

    `encoder_id` is what they share, None where they are grouped by their names.
    """

    name: str
    encoder_id: str | None
    points: tuple[int, ...]
    labels: tuple[str, ...]


def group_points(grid: Grid, one_curve: bool = False) -> tuple[tuple[PointGroup, ...], tuple[str, ...]]:
    """The points of a grid by their encoder, and notes on those whose rows name several.

    Points that share their `encoder_id` are a group; those that share it with no other are grouped by their names
    without the key `decoder`. A point without one (all of its cells failed, or a table made elsewhere) joins the only
    encoder of that name, or the others of its name. `one_curve` makes one group of all.
    """
    ids, notes = _encoder_ids(grid)
    if one_curve:
        shared = ids[0] if len(set(ids)) == 1 else None
        return (_group(grid, list(range(len(grid.points))), shared, "all points"),), ()
    count = Counter(one for one in ids if one is not None)
    encoders: dict[str, set[str]] = {}
    for point, one in zip(grid.points, ids, strict=True):
        if one is not None and count[one] > 1:
            encoders.setdefault(stem_of(point), set()).add(one)
    members: dict[tuple[str, str], list[int]] = {}
    for place, (point, one) in enumerate(zip(grid.points, ids, strict=True)):
        stem = stem_of(point)
        known = encoders.get(stem, set())
        if one is None and len(known) == 1:
            one = next(iter(known))
        key = ("id", one) if one in known else ("name", stem)
        members.setdefault(key, []).append(place)
    groups = [
        _group(grid, places, key if kind == "id" else None, f"encoder {key[:_SHOWN]}")
        for (kind, key), places in members.items()
    ]
    return _told_apart(groups), notes


def stem_of(point: str) -> str:
    """The name of a point without the key `decoder`."""
    parsed = parse_name(point)
    if DECODER_KEY not in parsed.keys:
        return point
    kept = [f"{key}={value}" for key, value in parsed.keys.items() if key != DECODER_KEY]
    return f"{parsed.family}:{','.join(kept)}" if kept else parsed.family


def decoder_of(point: str) -> str:
    """What a point says of its decoder, without quotes; `mse` where it says nothing."""
    value = parse_name(point).keys.get(DECODER_KEY, OWN_DECODER)
    return value[1:-1].replace('""', '"') if value.startswith('"') else value


def _encoder_ids(grid: Grid) -> tuple[list[str | None], tuple[str, ...]]:
    """The one `encoder_id` of each point's rows, None where there is none or more than one; and notes on the latter."""
    found: dict[str, set[str]] = {}
    data = grid.table.data
    if "encoder_id" in data.column_names:
        pairs = data.select(["point", "encoder_id"]).group_by(["point", "encoder_id"]).aggregate([])
        for point, one in zip(pairs.column("point").to_pylist(), pairs.column("encoder_id").to_pylist(), strict=True):
            if one not in (None, ""):
                found.setdefault(point, set()).add(str(one))
    several = [point for point in grid.points if len(found.get(point, ())) > 1]
    notes = tuple(
        f"{point}: its rows name {len(found[point])} different encoders, so it goes by its name; evaluate it anew "
        "for rows of one encoder"
        for point in several
    )
    return [next(iter(found[p])) if len(found.get(p, ())) == 1 else None for p in grid.points], notes


def _group(grid: Grid, places: Sequence[int], encoder_id: str | None, otherwise: str) -> PointGroup:
    """A group named by what its points' names have in common, or else as given."""
    names = [grid.points[place] for place in places]
    stems = {stem_of(name) for name in names}
    labels = [decoder_of(name) for name in names]
    if len(stems) > 1 or len(set(labels)) < len(labels):
        short = shorten(names)
        labels = [short[name] for name in names]
    return PointGroup(stems.pop() if len(stems) == 1 else otherwise, encoder_id, tuple(places), tuple(labels))


def _told_apart(groups: Sequence[PointGroup]) -> tuple[PointGroup, ...]:
    """Groups whose names differ: where they do not, the encoder is added."""
    count = Counter(group.name for group in groups)
    return tuple(
        replace(group, name=f"{group.name} (encoder {(group.encoder_id or 'by name')[:_SHOWN]})")
        if count[group.name] > 1
        else group
        for group in groups
    )
