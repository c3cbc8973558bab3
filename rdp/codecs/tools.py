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

    [tools.cjxl.files.profile]      # any number of files, each {file} in the commands
    variable = "CJXL_PROFILE"       # environment variable that names the file on this machine
    default = "profile.bin"         # without it: a file of this name, beside the TOML file or in a folder of the PATH
    meaning = "the profile of cjxl" # what it is, for the message when it is not there

Commands are lists of arguments and no shell is involved. `{input}`, `{output}` and `{here}` (the folder of the TOML
file) stand for paths; a literal brace is written doubled.

Descriptions that come with rdp lie in the folder `descriptions` beside this module, and are loaded by their bare name:
`--codec-file tfci`.
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

_TOOL_FIELDS = {"encode", "decode", "suffix", "input", "output", "timeout_s", "version", "keys", "files"}
_KEY_FIELDS = {"kind", "default", "minimum", "maximum", "choices", "meaning"}
_FILE_FIELDS = {"variable", "default", "meaning"}
_KINDS = ("integer", "decimal", "flag", "choice", "text")
_FORMATS = ("png", "ppm")
_PATHS = {"input", "output", "here"}
_DESCRIPTIONS = Path(__file__).with_name("descriptions")


@dataclass(frozen=True)
class ToolFile:
    """A file that a tool needs and that lies elsewhere on every machine: an interpreter, a script, a model.

    The environment variable `variable` names it; without it, it is looked for under the name `default`.
    """

    name: str
    variable: str
    default: str
    meaning: str


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
    files: tuple[ToolFile, ...] = ()


def shipped_descriptions() -> list[str]:
    """The names of the descriptions that come with rdp."""
    return sorted(path.stem for path in _DESCRIPTIONS.glob("*.toml"))


def load_tools(paths: Iterable[str | Path]) -> dict[str, ExternalTool]:
    """The tools that some codec files describe, by name.

    A bare name that is no file is that of a description that comes with rdp. Raises `SpecError` naming the file and
    the field.
    """
    tools: dict[str, ExternalTool] = {}
    for path in map(_description, paths):
        for name, tool in _load_file(path).items():
            if name in tools:
                raise SpecError(f"{path}: tool {name!r} is described twice")
            tools[name] = tool
    return tools


def _description(given: str | Path) -> Path:
    """The file that was meant. Raises `SpecError` for a bare name that is neither a file nor comes with rdp."""
    path = Path(given)
    if path.suffix or path.name != str(given) or path.is_file():
        return path
    shipped = shipped_descriptions()
    if path.name in shipped:
        return _DESCRIPTIONS / f"{path.name}.toml"
    raise SpecError(
        f"cannot read codec file {given}: there is no such file, and no description of that name comes with rdp."
        f"{suggest(path.name, shipped)} It has: {', '.join(shipped)}"
    )


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
    files = _read_files(where, table.get("files", {}), {key.name for key in keys})
    file_names = {file.name for file in files}
    names = {key.name for key in keys} | file_names
    encode = _command(where, "encode", table.get("encode"), names, {"input", "output"})
    decode = _command(where, "decode", table.get("decode"), names, {"input", "output"})
    version = _command(where, "version", table["version"], file_names, set()) if "version" in table else ()
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
        float(timeout_s), version, keys, files,
    )  # fmt: skip


def _read_files(where: str, tables: Any, keys: set[str]) -> tuple[ToolFile, ...]:
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise SpecError(f"{where}: files are tables, [tools.NAME.files.FILE]")
    files = []
    for name, table in tables.items():
        place = f"{where}, file {name!r}"
        _refuse_unknown(place, table, _FILE_FIELDS)
        if not name.isidentifier() or name in _PATHS or name in keys:
            raise SpecError(f"{place}: a file's name is a word other than input, output, here and the tool's keys")
        texts = {field: table.get(field, "") for field in sorted(_FILE_FIELDS)}
        for field, value in texts.items():
            if not isinstance(value, str) or not (value or field == "meaning"):
                raise SpecError(f"{place}: {field} must be text")
        files.append(ToolFile(name, **texts))
    return tuple(files)


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
