"""Short names of operating points, and which points lie on one curve.

`webp:quality=45,method=4` is `webp:quality=45` in a report when every WebP point has method=4, and a note says so.
Names that do not follow the grammar (a user's own table) stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_PAIR = re.compile(r'([^=,]+)=("(?:[^"]|"")*"|[^,"]*)(?:,|$)')
_IDENTITY = ("tool", "sha")
"""Keys that say which codec it is, not how it is set: they always stay in a name, and two never share a line."""

_TRAILING_NUMBER = re.compile(r"^(.*?)[\s_\-=]*([-+]?\d+(?:\.\d+)?)$")


@dataclass(frozen=True)
class ParsedName:
    """A point's family and its keys, in the order written; `follows` says whether the name follows the grammar."""

    name: str
    family: str
    keys: Mapping[str, str]
    follows: bool = True


@dataclass(frozen=True)
class ShortNames:
    """`short` maps every point to a name that is unique among them; `common` maps a family to what was left out."""

    short: Mapping[str, str]
    common: Mapping[str, str]

    def __getitem__(self, point: str) -> str:
        return self.short.get(point, point)


@dataclass(frozen=True)
class Curve:
    """Points along one line of a figure: of one family, and equal in all keys but one.

    `ordered` says whether the points stand in the order of a number in their names.
    """

    label: str
    family: str
    points: tuple[str, ...]
    ordered: bool = True


def parse_name(point: str) -> ParsedName:
    """Family and keys of `family:key=value,...`, values as they are spelled."""
    family, _, rest = point.partition(":")
    keys: dict[str, str] = {}
    end = 0
    for match in _PAIR.finditer(rest):
        if match.start() != end or match[1] in keys:
            break
        keys[match[1]] = match[2]
        end = match.end()
    if not keys or end != len(rest):
        return ParsedName(point, family, {}, follows=False)
    return ParsedName(point, family, keys)


def shorten(points: Sequence[str]) -> ShortNames:
    """Names without the keys that every point of the family has with the same value.

    A family with a single point keeps its first key if there is more than one, so that the name still says what it is.
    """
    short: dict[str, str] = {}
    common: dict[str, str] = {}
    for family, parsed in _families(points).items():
        constant = _constant_keys(parsed)
        left_out = {key: value for key, value in parsed[0].keys.items() if key in constant}
        if len(parsed) == 1 and len(left_out) > 1:
            left_out.pop(next(iter(left_out)))
        for point in parsed:
            kept = [f"{key}={value}" for key, value in point.keys.items() if key not in left_out]
            written = f"{family}:{','.join(kept)}" if kept else family
            short[point.name] = written if point.follows else point.name
        if left_out:
            common[family] = ",".join(f"{key}={value}" for key, value in left_out.items())
    if len(set(short.values())) < len(short):
        return ShortNames({point: point for point in points}, {})
    return ShortNames({point: short[point] for point in points}, common)


def curves(points: Sequence[str]) -> tuple[Curve, ...]:
    """The points as lines: one a family, and one for each combination of the keys beside the first numeric one."""
    lines: list[Curve] = []
    for family, parsed in _families(points).items():
        if not parsed[0].follows:
            lines += _numbered(family, [point.name for point in parsed])
            continue
        lines += _keyed(family, parsed)
    return tuple(lines)


def _families(points: Sequence[str]) -> dict[str, list[ParsedName]]:
    """Points by family in order of appearance; of names outside the grammar, by what stands before their number."""
    families: dict[str, list[ParsedName]] = {}
    for point in points:
        parsed = parse_name(point)
        families.setdefault(parsed.family if parsed.follows else f"{_stem(point)} ", []).append(parsed)
    return families


def _stem(name: str) -> str:
    """`BPG` of `BPG 38` and `BPG-38`, `HIFIC` of `HIFIC-lo`, the name itself where there is nothing to split."""
    match = _TRAILING_NUMBER.match(name)
    if match:
        return match[1] or "points"
    return re.split(r"[\s_-](?=[^\s_-]*$)", name)[0]


def _constant_keys(parsed: Sequence[ParsedName]) -> set[str]:
    return {
        key
        for key, value in parsed[0].keys.items()
        if key not in _IDENTITY and all(point.keys.get(key) == value for point in parsed)
    }


def _numbered(family: str, points: Sequence[str]) -> list[Curve]:
    """One line of the user's own names, along their trailing number where all have one."""
    numbers = [_TRAILING_NUMBER.match(point) for point in points]
    found = [float(match[2]) for match in numbers if match]
    ordered = len(found) == len(points)
    order = sorted(range(len(points)), key=found.__getitem__) if ordered else range(len(points))
    return [Curve(family.strip(), family.strip(), tuple(points[k] for k in order), ordered)]


def _keyed(family: str, parsed: Sequence[ParsedName]) -> list[Curve]:
    constant = _constant_keys(parsed)
    groups: dict[tuple[str, ...], list[ParsedName]] = {}
    for point in parsed:
        groups.setdefault(tuple(key for key in point.keys if key not in constant), []).append(point)
    result: list[Curve] = []
    for keys, members in groups.items():
        axis = next((k for k in keys if k not in _IDENTITY and all(_is_number(p.keys[k]) for p in members)), None)
        lines: dict[str, list[ParsedName]] = {}
        for point in members:
            rest = ", ".join(f"{key}={point.keys[key]}" for key in keys if key != axis)
            if not rest and axis and len(groups) > 1:
                rest = axis
            lines.setdefault(rest, []).append(point)
        for rest, line in lines.items():
            if axis is not None:
                line = sorted(line, key=lambda point: float(point.keys[axis]))
            label = f"{family} ({rest})" if rest else family
            result.append(Curve(label, family, tuple(point.name for point in line), axis is not None))
    return result


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[-+]?(\d+(\.\d*)?|\.\d+)", text) is not None
