"""The grammar of point specs: `family:key=value,key=value`, with ranges and lists, to canonical operating points.

    spec    = family [ ":" pair { "," pair } ]
    pair    = key "=" item { "|" item }
    item    = number ".." number [ ".." step ] | literal | quoted
    quoted  = '"' ... '"' or "'" ... "'" (a doubled quote stands for itself; nothing inside is special)

Ranges run in decimal arithmetic and include their end, which must be hit: `5..95..10` is 5, 15, ..., 95, and
`5..100..10` is refused. The step is 1 where none is given. Several keys with several values give every combination.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from rdp.codecs.base import Codec, OperatingPoint
from rdp.codecs.keys import Key, Value, read_decimal, spell
from rdp.codecs.registry import FAMILIES, load_family
from rdp.codecs.tools import ExternalTool
from rdp.errors import SpecError, suggest

MAX_POINTS = 10_000
"""One spec may not expand to more points: a range with a tiny step is a slip of the pen."""

Tools = Mapping[str, ExternalTool]


def parse_points(specs: str | Iterable[str], tools: Tools | None = None) -> list[OperatingPoint]:
    """All points that the specs name, in the order written, each once.

    `tools` are the external tools that a codec file describes, by name. Raises `SpecError` for anything that the
    grammar, the registry or a family's schema refuses, with suggestions.
    """
    listed = [specs] if isinstance(specs, str) else list(specs)
    if not listed:
        raise SpecError("no codec: name at least one operating point, for example webp:quality=50")
    points: dict[str, OperatingPoint] = {}
    for spec in listed:
        if not isinstance(spec, str):
            raise SpecError(f"operating points are given as text such as 'webp:quality=50', not as {spec!r}")
        for point in _expand(spec, tools or {}):
            known = points.setdefault(point.name, point)
            if known.definition != point.definition:
                load_family(point.family).check_same(known, point)
    return list(points.values())


def parse_point(spec: str, tools: Tools | None = None) -> OperatingPoint:
    """The one point that a spec names. Raises `SpecError` if it names several."""
    points = parse_points(spec, tools)
    if len(points) > 1:
        raise SpecError(f"{spec!r} names {len(points)} operating points where one is wanted")
    return points[0]


def _expand(spec: str, tools: Tools) -> list[OperatingPoint]:
    family, _, rest = spec.strip().partition(":")
    family = family.strip()
    codec = load_family(family)
    pairs, definition = codec.resolve(_split_pairs(rest, spec), spec)
    if definition is None:
        definition = _definition(family, pairs, tools, spec)
    schema = {key.name: key for key in codec.schema(definition)}
    written = {name: _read_items(schema[name], text, spec) for name, text in _known(pairs, codec, schema, spec).items()}
    count = 1
    for values in written.values():
        count *= len(values)
        if count > MAX_POINTS:
            raise SpecError(f"{spec!r} names over {MAX_POINTS} operating points: use a larger step")
    points = []
    for combination in itertools.product(*written.values()):
        complete = _complete(schema.values(), dict(zip(written, combination, strict=True)), spec)
        codec.check(dict(complete), repr(spec))
        points.append(OperatingPoint(family, complete, FAMILIES[family], definition))
    return points


def _definition(family: str, pairs: Mapping[str, str], tools: Tools, spec: str) -> Any:
    """The external tool that a spec names; None for all other families."""
    if family != "external":
        return None
    if "tool" not in pairs:
        raise SpecError(f"{spec!r}: say which tool, external:tool=NAME, and give the file that describes it")
    name = _unquote(pairs["tool"].strip())
    if name not in tools:
        known = sorted(tools)
        listing = f"It describes: {', '.join(known)}" if known else "No file is given (--codec-file FILE.toml)."
        raise SpecError(f"{spec!r}: no codec file describes tool {name!r}.{suggest(name, known)} {listing}")
    return tools[name]


def _known(pairs: Mapping[str, str], codec: type[Codec], schema: Mapping[str, Key], spec: str) -> dict[str, str]:
    """The pairs by canonical key name."""
    aliases = {alias: key.name for key in schema.values() for alias in key.aliases}
    result: dict[str, str] = {}
    for written, text in pairs.items():
        name = aliases.get(written, written)
        if name not in schema:
            known = list(schema)
            listing = f"Keys of {codec.family}: {', '.join(known)}" if known else f"{codec.family} has no keys"
            raise SpecError(f"{spec!r}: unknown key {written!r}.{suggest(written, known)} {listing}")
        if name in result:
            raise SpecError(f"{spec!r}: key {name!r} is given twice")
        result[name] = text
    return result


def _complete(schema: Iterable[Key], given: Mapping[str, Value], spec: str) -> tuple[tuple[str, Value], ...]:
    """All values in schema order, defaults written out; but not those that a key left out implies."""
    values: list[tuple[str, Value]] = []
    for key in schema:
        value = given.get(key.name, key.default)
        if value is not None and value == key.implied:
            continue
        if value is not None:
            values.append((key.name, value))
        elif key.required:
            raise SpecError(f"{spec!r}: key {key.name!r} is missing; it takes {key.values_text}")
    return tuple(values)


def _split_pairs(text: str, spec: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    if not text.strip():
        return pairs
    for part in _split(text, ",", spec):
        name, equals, value = part.partition("=")
        name = name.strip()
        if not equals or not name or not value.strip():
            raise SpecError(f"{spec!r}: {part.strip()!r} is not key=value")
        if name in pairs:
            raise SpecError(f"{spec!r}: key {name!r} is given twice")
        pairs[name] = value
    return pairs


def _read_items(key: Key, text: str, spec: str) -> list[Value]:
    """The values of one key: list items in order, ranges expanded, each value once."""
    values: dict[str, Value] = {}
    for item in _split(text, "|", spec):
        for value in _read_item(key, item.strip(), spec):
            values.setdefault(spell(value), value)
    return list(values.values())


def _read_item(key: Key, item: str, spec: str) -> Sequence[Value]:
    where = repr(spec)
    if item[:1] in ('"', "'"):
        return [key.read(_unquote(item), where)]
    if not item:
        raise SpecError(f"{where}: {key.name} has an empty value")
    if key.is_number and ".." in item:
        return _range(key, item, where)
    return [key.read(item, where)]


def _range(key: Key, item: str, where: str) -> list[Value]:
    numbers = [read_decimal(part.strip()) for part in item.split("..")]
    if len(numbers) not in (2, 3) or any(number is None for number in numbers):
        raise SpecError(f"{where}: {key.name}={item!r} is not a range; write start..end or start..end..step")
    start, end, step = [*[n for n in numbers if n is not None], Decimal(1)][:3]
    if step <= 0:
        raise SpecError(f"{where}: {key.name}={item!r} has step {spell(step)}; a step is above 0")
    if end < start:
        raise SpecError(f"{where}: {key.name}={item!r} runs backwards; write {spell(end)}..{spell(start)}")
    count = (end - start) / step
    if count > MAX_POINTS:
        raise SpecError(f"{where}: {key.name}={item!r} has over {MAX_POINTS} values: use a larger step")
    last = start + step * int(count)
    if last != end:
        raise SpecError(
            f"{where}: {key.name}={item!r} does not reach its end in steps of {spell(step)}; "
            f"end it at {spell(last)} or {spell(last + step)}, or give another step"
        )
    return [key.check_number(start + step * i, where) for i in range(int(count) + 1)]


def _split(text: str, separator: str, spec: str) -> list[str]:
    """Split at a separator outside quotes. A quote opens only at the start of a value."""
    parts: list[str] = []
    current: list[str] = []
    quote = ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'" and "".join(current).rstrip()[-1:] in ("", "=", "|", character):
            quote = character
        elif character == separator:
            parts.append("".join(current))
            current = []
            continue
        current.append(character)
    if quote:
        raise SpecError(f"{spec!r}: a quote is not closed")
    parts.append("".join(current))
    return parts


def split_items(text: str, spec: str) -> list[str]:
    """The items of a list, `a|b`, unquoted; for families that read a value before the grammar does."""
    return [_unquote(item.strip()) for item in _split(text, "|", spec)]


def _unquote(item: str) -> str:
    if item[:1] not in ('"', "'"):
        return item
    mark = item[0]
    body = item[1:-1]
    if len(item) < 2 or item[-1] != mark or mark in body.replace(mark * 2, ""):
        raise SpecError(f"{item!r} is not a quoted value: double a quote that stands inside")
    return body.replace(mark * 2, mark)
