"""The index of weights: what each file is called, what it hashes to, where it comes from and under which licence."""

from __future__ import annotations

import re
import string
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rdp.errors import WeightsError, suggest

INDEX_NAME = "index.toml"
INDEX_VERSION = 1

_TEXT_KEYS = ("filename", "url", "sha256", "sha256_prefix", "licence", "description")
_REQUIRED_KEYS = ("filename", "licence", "description")
_SET_KEYS = ("files", "url", "licence", "description", "used_by")
_HEX = re.compile(r"[0-9a-f]{8,64}")
_DIGITS_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.[a-z.]+")


@dataclass(frozen=True)
class WeightsEntry:
    """One file of the index.

    `sha256` is the whole hash, or empty where only `sha256_prefix` (at least 8 digits) is known; `size` is in bytes and
    None where it is not known; `url` is empty for a file that cannot be fetched; `used_by` names metrics and operating
    points; `set` is the name of the set that the file belongs to, empty for a file on its own.
    """

    name: str
    filename: str
    url: str
    sha256: str
    sha256_prefix: str
    size: int | None
    licence: str
    description: str
    used_by: tuple[str, ...]
    set: str = ""

    @property
    def expected(self) -> str:
        """The hash, or the known beginning of it."""
        return self.sha256 or self.sha256_prefix

    def matches(self, sha256: str) -> bool:
        """Whether a file of that hash is this file, as far as the index knows."""
        return sha256 == self.sha256 if self.sha256 else sha256.startswith(self.sha256_prefix)


def pretrained_folder() -> Path:
    """The project's own `pretrained/`: inside the package in a wheel, beside it in a checkout or editable install.

    Raises `WeightsError` if it is in neither place, which is a broken installation.
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "pretrained", package.parent / "pretrained"):
        if (folder / INDEX_NAME).is_file():
            return folder
    raise WeightsError(
        f"the index of weights is neither in {package / 'pretrained'} nor in {package.parent / 'pretrained'}: "
        "the installation is not complete, install rdp again"
    )


def load_index(path: Path | None = None) -> dict[str, WeightsEntry]:
    """The index at `path`, or the project's own, by name and in the file's order.

    Raises `WeightsError` naming the file and the entry for anything that is not an index.
    """
    path = path or pretrained_folder() / INDEX_NAME
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise WeightsError(f"the index of weights {path} cannot be read: {error}") from error
    version = document.pop("version", None)
    if version != INDEX_VERSION:
        raise WeightsError(f"the index of weights {path} has version {version!r}; this rdp reads {INDEX_VERSION}")
    index: dict[str, WeightsEntry] = {}
    for name, fields in document.items():
        for entry in _set(path, name, fields) if _is_set(fields) else [_entry(path, name, fields)]:
            if entry.name in index:
                raise WeightsError(f"{path}, [{name}]: there is an entry {entry.name!r} already; rename one of them")
            index[entry.name] = entry
    return index


def find_entry(index: Mapping[str, WeightsEntry], name: str) -> WeightsEntry:
    """The entry of that name; an unknown name, or that of a set, is a `WeightsError` with suggestions."""
    entries = find_entries(index, name)
    if name not in index:
        raise WeightsError(f"{name!r} is a set of weights; name one of its files: {join_names(entries)}")
    return entries[0]


def find_entries(index: Mapping[str, WeightsEntry], name: str) -> list[WeightsEntry]:
    """The entry of that name, or all of the set of that name; an unknown name is a `WeightsError` with suggestions."""
    if name in index:
        return [index[name]]
    entries = [entry for entry in index.values() if entry.set == name]
    if not entries:
        known = (*index, *{entry.set: None for entry in index.values() if entry.set})
        raise WeightsError(
            f"no weights are called {name!r}.{suggest(name, known)} The index has: {join_names(index.values())}"
        )
    return entries


def group_sets(entries: Iterable[WeightsEntry]) -> list[list[WeightsEntry]]:
    """The entries in their order, those of a set together, those on their own in lists of one."""
    groups: dict[str, list[WeightsEntry]] = {}
    for entry in entries:
        groups.setdefault(f"set {entry.set}" if entry.set else f"entry {entry.name}", []).append(entry)
    return list(groups.values())


def join_names(entries: Iterable[WeightsEntry]) -> str:
    """Names for a message, those of a set as one: `alexnet, mbt2018-mean-mse-1..8`."""
    return ", ".join(span([entry.name for entry in group]) for group in group_sets(entries))


def span(texts: Sequence[str]) -> str:
    """Texts that differ in a number, as one with a range: `a=1,b` to `a=8,b` is `a=1..8,b`; one text is itself."""
    first, last = texts[0], texts[-1]
    if first == last:
        return first
    head = _common_start(first, last).rstrip(string.digits)
    rest, end = first[len(head) :], last[len(head) :]
    tail = _common_start(rest[::-1], end[::-1])[::-1].lstrip(string.digits)
    return f"{head}{rest.removesuffix(tail)}..{end.removesuffix(tail)}{tail}"


def _common_start(a: str, b: str) -> str:
    count = next((k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return a[:count]


def entries_used_by(family: str, path: Path | None = None) -> list[tuple[dict[str, str], WeightsEntry]]:
    """The combinations of a codec family's keys that the index has weights for, in its order, each with its entry.

    They come from `used_by`: `factorized:weights=a,quality=1` gives {"weights": "a", "quality": "1"} for the family
    `factorized`. Whether the file is on this machine is another question: see `locate` and `resolve`. Raises
    `WeightsError` as `load_index` does, which `path` is handed on to.
    """
    found = []
    for entry in load_index(path).values():
        for user in entry.used_by:
            name, colon, keys = user.partition(":")
            if colon and name == family:
                found.append((_keys(user, keys), entry))
    return found


def _keys(user: str, text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(key and equals and value for key, equals, value in pairs):
        raise WeightsError(
            f"the index of weights has used_by {user!r}, which is not written family:key=value,key=value"
        )
    return {key: value for key, _, value in pairs}


def _is_set(fields: Any) -> bool:
    return isinstance(fields, dict) and "files" in fields


def _set(path: Path, name: str, fields: dict[str, Any]) -> list[WeightsEntry]:
    """The entries of a set: what is written once for all of its files, with the number of each filled in."""
    where = f"{path}, [{name}]"
    for key in fields:
        if key not in _SET_KEYS:
            raise WeightsError(f"{where}: unknown key {key!r} of a set.{suggest(key, _SET_KEYS)}")
    files = fields["files"]
    if not isinstance(files, list) or not files or not all(isinstance(file, str) for file in files):
        raise WeightsError(f"{where}: files must be a list of file names, not {files!r}")
    entries = []
    for number, file in enumerate(files, start=1):
        digits = _DIGITS_IN_NAME.search(file)
        if digits is None:
            raise WeightsError(f"{where}: the name {file!r} does not end in the first digits of its SHA-256")
        one = {key: _fill(fields[key], number) for key in _SET_KEYS if key != "files" and key in fields}
        one |= {"filename": file, "sha256_prefix": digits[1]}
        if "url" in one:
            one["url"] = f"{one['url']}{file}"
        entries.append(replace(_entry(path, f"{name}-{number}", one), set=name))
    return entries


def _fill(value: Any, number: int) -> Any:
    """`value` with the number of a set's file in the place of `{}`; what is no text is left to be refused."""
    if isinstance(value, list):
        return [_fill(part, number) for part in value]
    return value.replace("{}", str(number)) if isinstance(value, str) else value


def _entry(path: Path, name: str, fields: Any) -> WeightsEntry:
    """One table of the index, checked."""
    where = f"{path}, [{name}]"
    if not isinstance(fields, dict):
        raise WeightsError(f"{where}: must be a table, not {fields!r}")
    known = (*_TEXT_KEYS, "size", "used_by")
    for key, value in fields.items():
        if key not in known:
            raise WeightsError(f"{where}: unknown key {key!r}.{suggest(key, known)}")
        if key in _TEXT_KEYS and not isinstance(value, str):
            raise WeightsError(f"{where}: {key} must be text, not {value!r}")
    for key in _REQUIRED_KEYS:
        if not fields.get(key):
            raise WeightsError(f"{where}: {key} is missing")
    entry = WeightsEntry(
        name=name,
        filename=fields["filename"],
        url=fields.get("url", ""),
        sha256=fields.get("sha256", ""),
        sha256_prefix=fields.get("sha256_prefix", ""),
        size=_size(where, fields.get("size")),
        licence=fields["licence"],
        description=fields["description"],
        used_by=_used_by(where, fields.get("used_by", [])),
    )
    _check(where, entry)
    return entry


def _check(where: str, entry: WeightsEntry) -> None:
    if Path(entry.filename).name != entry.filename:
        raise WeightsError(f"{where}: filename must be a bare name, not {entry.filename!r}")
    if entry.sha256 and entry.sha256_prefix:
        raise WeightsError(f"{where}: give sha256 or sha256_prefix, not both")
    if not _HEX.fullmatch(entry.expected):
        raise WeightsError(
            f"{where}: sha256 (64) or sha256_prefix (at least 8 lower-case hex digits) is missing or wrong"
        )
    if entry.sha256 and len(entry.sha256) != 64:
        raise WeightsError(f"{where}: sha256 has {len(entry.sha256)} digits, not 64; shorter ones are sha256_prefix")
    if entry.url and not entry.url.startswith(("https://", "http://")):
        raise WeightsError(f"{where}: url must begin with https:// or http://, not {entry.url!r}")


def _size(where: str, value: Any) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise WeightsError(f"{where}: size must be a positive number of bytes, not {value!r}")
    return value


def _used_by(where: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(user, str) for user in value):
        raise WeightsError(f"{where}: used_by must be a list of names, not {value!r}")
    return tuple(value)
