"""The index of weights: what each file is called, what it hashes to, where it comes from and under which licence."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rdp.errors import WeightsError, suggest

INDEX_NAME = "index.toml"
INDEX_VERSION = 1

_TEXT_KEYS = ("filename", "url", "sha256", "sha256_prefix", "licence", "description")
_REQUIRED_KEYS = ("filename", "licence", "description")
_HEX = re.compile(r"[0-9a-f]{8,64}")


@dataclass(frozen=True)
class WeightsEntry:
    """One file of the index.

    `sha256` is the whole hash, or empty where only `sha256_prefix` (at least 8 digits) is known; `size` is in bytes and
    None where it is not known; `url` is empty for a file that cannot be fetched; `used_by` names metrics and codecs.
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
    return {name: _entry(path, name, fields) for name, fields in document.items()}


def find_entry(index: Mapping[str, WeightsEntry], name: str) -> WeightsEntry:
    """The entry of that name; an unknown name is a `WeightsError` with suggestions."""
    if name not in index:
        known = tuple(index)
        raise WeightsError(f"no weights are called {name!r}.{suggest(name, known)} The index has: {', '.join(known)}")
    return index[name]


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
