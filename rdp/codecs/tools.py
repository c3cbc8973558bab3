"""Descriptions of external tools: a TOML file that says how a program encodes and decodes.

    [tools.cjxl]
    encode = ["cjxl", "{input}", "{output}", "--distance", "{distance}", "--quiet"]
    decode = ["djxl", "{input}", "{output}", "--quiet"]
    suffix = ".jxl"                 # of the encoded file; default .bin
    input = "png"                   # what encode reads: png or ppm; default png
    output = "png"                  # what decode writes: png or ppm; default png
    timeout_s = 120                 # for each command; default 300
    version = ["cjxl", "--version"] # optional: its first line of output is recorded

    [tools.cjxl.keys.distance]      # any number of keys, each {key} in the commands
    kind = "decimal"                # integer, decimal, flag, choice or text
    default = 1.0                   # without one, the key must be given
    minimum = 0.0
    maximum = 25.0
    meaning = "Butteraugli distance"

Commands are lists of arguments and no shell is involved. `{input}`, `{output}` and `{here}` (the folder of the TOML
file) stand for paths; a literal brace is written doubled.
"""

from __future__ import annotations

import string
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from rdp.codecs.keys import Key
from rdp.errors import SpecError, suggest

_TOOL_FIELDS = {"encode", "decode", "suffix", "input", "output", "timeout_s", "version", "keys"}
_KEY_FIELDS = {"kind", "default", "minimum", "maximum", "choices", "meaning"}
_KINDS = ("integer", "decimal", "flag", "choice", "text")
_FORMATS = ("png", "ppm")
_PATHS = {"input", "output", "here"}


@dataclass(frozen=True)
class ExternalTool:
    """One tool of a codec file. `here` is the folder of that file."""

    name: str
    encode: tuple[str, ...]
    decode: tuple[str, ...]
    here: Path
    suffix: str = ".bin"
    input: str = "png"
    output: str = "png"
    timeout_s: float = 300.0
    version: tuple[str, ...] = ()
    keys: tuple[Key, ...] = ()


def load_tools(paths: Iterable[str | Path]) -> dict[str, ExternalTool]:
    """The tools that some codec files describe, by name. Raises `SpecError` naming the file and the field."""
    tools: dict[str, ExternalTool] = {}
    for path in map(Path, paths):
        for name, tool in _load_file(path).items():
            if name in tools:
                raise SpecError(f"{path}: tool {name!r} is described twice")
            tools[name] = tool
    return tools


def _load_file(path: Path) -> dict[str, ExternalTool]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"cannot read codec file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecError(f"codec file {path} is not valid TOML: {error}") from error
    tables = document.get("tools")
    if not isinstance(tables, dict) or not tables:
        raise SpecError(f"codec file {path} describes no tool: write a table [tools.NAME] with encode and decode")
    extra = sorted(set(document) - {"tools"})
    if extra:
        raise SpecError(f"codec file {path}: unknown table {extra[0]!r}; tools are written as [tools.NAME]")
    return {name: _read_tool(path, name, table) for name, table in tables.items()}


def _read_tool(path: Path, name: str, table: Any) -> ExternalTool:
    where = f"codec file {path}, tool {name!r}"
    if not isinstance(table, dict):
        raise SpecError(f"{where}: write it as a table, [tools.{name}]")
    _refuse_unknown(where, table, _TOOL_FIELDS)
    raw_keys = table.get("keys", {})
    if not isinstance(raw_keys, dict):
        raise SpecError(f"{where}: keys are tables, [tools.{name}.keys.KEY]")
    keys = tuple(_read_key(f"{where}, key {key!r}", key, raw) for key, raw in raw_keys.items())
    names = {key.name for key in keys}
    encode = _command(where, "encode", table.get("encode"), names, {"input", "output"})
    decode = _command(where, "decode", table.get("decode"), names, {"input", "output"})
    version = _command(where, "version", table["version"], set(), set()) if "version" in table else ()
    timeout_s = table.get("timeout_s", 300.0)
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, (int, float)) or not 0 < timeout_s < 1e6:
        raise SpecError(f"{where}: timeout_s={timeout_s!r} is not a number of seconds above 0")
    formats = {side: table.get(side, "png") for side in ("input", "output")}
    for side, value in formats.items():
        if value not in _FORMATS:
            raise SpecError(f"{where}: {side}={value!r} is not allowed; it takes {'|'.join(_FORMATS)}")
    suffix = table.get("suffix", ".bin")
    if not isinstance(suffix, str) or not suffix.startswith(".") or "/" in suffix:
        raise SpecError(f"{where}: suffix={suffix!r} is not a suffix such as '.jxl'")
    return ExternalTool(
        name, encode, decode, path.resolve().parent, suffix, formats["input"], formats["output"],
        float(timeout_s), version, keys,
    )  # fmt: skip


def _refuse_unknown(where: str, table: dict[str, Any], known: set[str]) -> None:
    for field in table:
        if field not in known:
            raise SpecError(f"{where}: unknown field {field!r}.{suggest(field, sorted(known))}")


def _command(where: str, field: str, value: Any, keys: set[str], needed: set[str]) -> tuple[str, ...]:
    """A command line as a tuple, its placeholders checked."""
    if not isinstance(value, list) or not value or not all(isinstance(part, str) for part in value):
        raise SpecError(f'{where}: {field} must be a list of arguments, such as ["program", "{{input}}", "{{output}}"]')
    used: set[str] = set()
    for part in value:
        try:
            used |= {name for _, name, _, _ in string.Formatter().parse(part) if name is not None}
        except ValueError as error:
            raise SpecError(f"{where}: {field} has a lone brace in {part!r}: double it") from error
    unknown = sorted(used - keys - _PATHS)
    if unknown:
        known = sorted(keys | _PATHS)
        raise SpecError(f"{where}: {field} names {{{unknown[0]}}}, which is no key.{suggest(unknown[0], known)}")
    missing = sorted(needed - used)
    if missing:
        raise SpecError(f"{where}: {field} must name {{{missing[0]}}} somewhere")
    return tuple(value)


def _read_key(where: str, name: str, table: Any) -> Key:
    if not isinstance(table, dict):
        raise SpecError(f"{where}: write it as a table with a kind")
    _refuse_unknown(where, table, _KEY_FIELDS)
    if not name.isidentifier() or name in _PATHS or name == "tool":
        raise SpecError(f"{where}: a key's name is a word other than tool, input, output and here")
    kind = table.get("kind", "text")
    if kind not in _KINDS:
        raise SpecError(f"{where}: kind={kind!r} is not allowed; it takes {'|'.join(_KINDS)}")
    choices = tuple(str(choice) for choice in table.get("choices", ()))
    if (kind == "choice") != bool(choices):
        raise SpecError(f"{where}: choices = [...] goes with kind = 'choice', and only with it")
    minimum, maximum = (_bound(where, side, table.get(side)) for side in ("minimum", "maximum"))
    key = Key(name, kind, str(table.get("meaning", "")), None, "default" not in table, minimum, maximum, choices)
    if "default" not in table:
        return key
    raw = table["default"]
    text = ("true" if raw else "false") if isinstance(raw, bool) else str(raw)
    return Key(name, kind, key.meaning, key.read(text, where), False, minimum, maximum, choices)


def _bound(where: str, side: str, value: Any) -> Decimal | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise SpecError(f"{where}: {side}={value!r} is not a number")
    return Decimal(str(value))
