"""The families of learned codecs: those whose weights the index knows, and networks from files of the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rdp.codecs.base import OperatingPoint
from rdp.codecs.keys import Key, Value, quote, spell
from rdp.codecs.learned.codec import ARCHIVES, STEP_KEY, TABLES, LearnedCodec
from rdp.codecs.learned.decoder_files import GivenDecoders, files_of_weights, named_decoders
from rdp.codecs.learned.decoders import DECODER_KEY
from rdp.codecs.learned.refining import REFINE_KEYS
from rdp.errors import SpecError, WeightsError
from rdp.weights import WeightsEntry, WeightsFile, entries_used_by, resolve, search_folders, sha256_of

SHA_DIGITS = 12
ENDINGS = (".safetensors", *ARCHIVES)
OWN = "rdp"
"""Name of the project's own set of weights, which is meant where a point names none."""

_MEANINGS = {"weights": "whose weights", "quality": "rate: more is better"}


class IndexedCodec(LearnedCodec):
    """A family whose points are those that the index of weights names in `used_by`."""

    extra: tuple[Key, ...] = ()
    """Keys beside those that choose the weights, refinement and the decoder."""

    @classmethod
    def schema(cls, definition: Any) -> tuple[Key, ...]:
        """Keys with the values that there are weights for. Raises `SpecError` if there are none at all."""
        offered = _offered(cls.family)
        if not offered:
            raise SpecError(
                f"there are no weights for {cls.family!r} in the index of this rdp; a network from a file of your own "
                "is checkpoint:path=FILE.safetensors"
            )
        names = list(dict.fromkeys(name for keys, _ in offered for name in keys))
        return (
            *(_key(name, [keys[name] for keys, _ in offered if name in keys]) for name in names),
            *cls.extra,
            *REFINE_KEYS,
            DECODER_KEY,
        )

    @classmethod
    def check(cls, values: Mapping[str, Value], where: str) -> None:
        """Raise `SpecError` for a combination that there are no weights for."""
        super().check(values, where)
        offered = _offered(cls.family)
        if cls._find(offered, values) is None:
            chosen = values.get("weights")
            there = [keys["quality"] for keys, _ in offered if keys.get("weights") == chosen and "quality" in keys]
            raise SpecError(f"{where}: no such weights; with weights={chosen} the quality is one of {', '.join(there)}")

    def find_weights(self, point: OperatingPoint) -> WeightsFile:
        entry = self._find(_offered(self.family), dict(point.values))
        if entry is None:
            raise WeightsError(f"there are no weights for {point.name}")
        return resolve(entry.name)

    @classmethod
    def _find(
        cls, offered: list[tuple[dict[str, str], WeightsEntry]], values: Mapping[str, Value]
    ) -> WeightsEntry | None:
        """The entry for exactly these keys: one that has fewer would be another network under the same name."""
        extra = {key.name for key in (*cls.extra, *REFINE_KEYS, DECODER_KEY)}
        chosen = {name: spell(value) for name, value in values.items() if name not in extra}
        return next((entry for keys, entry in offered if keys == chosen), None)


class Factorized(IndexedCodec):
    """Ballé et al. 2018: a learned density a channel."""

    family = "factorized"
    summary = "factorised-prior autoencoder (Ballé 2018)"
    keys = ()
    extra = (STEP_KEY,)


class Hyperprior(IndexedCodec):
    """Ballé et al. 2018, Minnen et al. 2018: scales, or means and scales, from a hyper-latent."""

    family = "hyperprior"
    summary = "scale and mean-scale hyperprior autoencoders (Ballé 2018, Minnen 2018)"
    keys = ()
    extra = (STEP_KEY,)


class Shrinkage(IndexedCodec):
    """The thesis, chapter 3: hard shrinkage, a normalised latent, one law."""

    family = "shrinkage"
    summary = "autoencoder with hard shrinkage and a normalised latent (thesis, chapter 3), and its GDN twin"
    keys = ()
    extra = (STEP_KEY, Key("tables", "choice", "law of the latent", default=TABLES[0], choices=TABLES))


class HiFiC(Hyperprior):
    """Mentzer et al. 2020: a generative decoder."""

    family = "hific"
    summary = "high-fidelity generative compression (Mentzer 2020)"
    keys = ()


@dataclass(frozen=True)
class Checkpoints(GivenDecoders):
    """Where the files lie that the points of a spec name, by the first digits of their SHA-256."""

    paths: Mapping[str, Path] = field(default_factory=dict)


def named_by_hash(pairs: Mapping[str, str], spec: str) -> tuple[Mapping[str, str], Checkpoints]:
    """The pairs of a spec with `sha=` of the files in the place of `path=`, if it is there, and where they lie.

    Raises `SpecError` for a file that is not there, and for a spec with both.
    """
    from rdp.codecs.spec import split_items

    if "path" not in pairs:
        return pairs, Checkpoints()
    if "sha" in pairs:
        raise SpecError(f"{spec!r}: give path or sha, not both")
    paths: dict[str, Path] = {}
    for text in split_items(pairs["path"], spec):
        path = Path(text).expanduser()
        if not path.is_file():
            raise SpecError(f"{spec!r}: there is no file {path}")
        paths[sha256_of(path)[:SHA_DIGITS]] = path.absolute()
    rest = {name: text for name, text in pairs.items() if name != "path"}
    return {"sha": "|".join(paths), **rest}, Checkpoints(paths=paths)


class Checkpoint(LearnedCodec):
    """A network from a file: `checkpoint:path=model.safetensors`, in tables `checkpoint:sha=<12 digits>,step=1`."""

    family = "checkpoint"
    summary = "a network from a file of weights: path=FILE.safetensors, or sha= of one in a folder of RDP_WEIGHTS"
    keys = (
        Key(
            "sha",
            "text",
            f"first {SHA_DIGITS} hex digits of the file's SHA-256; path=FILE finds them",
            required=True,
            changes_file=False,
        ),
        STEP_KEY,
        Key("tables", "choice", "law of a shrinkage network's latent, if not its trained one", choices=TABLES[1:]),
        *REFINE_KEYS,
        DECODER_KEY,
    )

    @classmethod
    def resolve(cls, pairs: Mapping[str, str], spec: str) -> tuple[Mapping[str, str], Any]:
        """`path=FILE` becomes `sha=...`, and where files lie goes into the definition of the points."""
        from rdp.codecs.spec import split_items

        if "path" not in pairs and "sha" not in pairs:
            raise SpecError(f"{spec!r}: say which file, checkpoint:path=FILE.safetensors")
        pairs, given = named_decoders(pairs, spec)
        if "path" in pairs:
            pairs, checkpoints = named_by_hash(pairs, spec)
            return pairs, replace(checkpoints, decoders=given)
        for text in split_items(pairs["sha"], spec):
            _check_sha(text, spec)
        return pairs, Checkpoints(given)

    @classmethod
    def point_of(cls, data: bytes, where: str) -> str | None:
        """The weights whose identity the file carries, by the point that the index has for them if it has one."""
        from rdp.codecs.learned.finding import weights_of

        path = weights_of(data, where)
        return _indexed_point(path) or f"checkpoint:path={quote(str(path))}"

    def find_weights(self, point: OperatingPoint) -> WeightsFile:
        sha = str(point.get("sha"))
        known = point.definition.paths if isinstance(point.definition, Checkpoints) else {}
        path = known.get(sha) or _file_of(sha, point.name)
        sha256 = sha256_of(path)
        if not sha256.startswith(sha):
            raise WeightsError(
                f"{path} changed while it was in use: its SHA-256 began with {sha}, and begins {sha256[:12]}"
            )
        return WeightsFile(point.name, path, sha256)


def _check_sha(sha: str, where: str) -> None:
    if len(sha) != SHA_DIGITS or set(sha) - set("0123456789abcdef"):
        raise SpecError(f"{where!r}: sha={sha} is not {SHA_DIGITS} hex digits; give path=FILE.safetensors")


def _file_of(sha: str, where: str) -> Path:
    """The file of weights with that hash in the folders of weights."""
    _check_sha(sha, where)
    for path in files_of_weights(ENDINGS):
        if sha256_of(path).startswith(sha):
            return path
    looked = ", ".join(map(str, search_folders()))
    raise WeightsError(
        f"{where!r}: no file of weights with SHA-256 {sha}... lies in {looked}: put it into a folder and name "
        "that folder in RDP_WEIGHTS, or give path=FILE.safetensors"
    )


def _offered(family: str) -> list[tuple[dict[str, str], WeightsEntry]]:
    """What the index has networks for: keys, and the file. Entries of decoders alone name a point with `decoder`."""
    return [(keys, entry) for keys, entry in entries_used_by(family) if DECODER_KEY.name not in keys]


def _indexed_point(path: Path) -> str | None:
    """The operating point that the index has for a file of weights."""
    for codec in (Factorized, Hyperprior, Shrinkage, HiFiC):
        for keys, entry in _offered(codec.family):
            if entry.filename == path.name and entry.matches(sha256_of(path)):
                return f"{codec.family}:{','.join(f'{name}={value}' for name, value in keys.items())}"
    return None


def _key(name: str, values: list[str]) -> Key:
    """A key that takes the values that stand in the index."""
    meaning = _MEANINGS.get(name, "")
    choices = tuple(dict.fromkeys(values))
    if all(value.isdigit() for value in choices):
        numbers = [int(value) for value in choices]
        return Key(name, "integer", meaning, required=True, minimum=min(numbers), maximum=max(numbers))
    default = OWN if OWN in choices else None
    return Key(name, "choice", meaning, default=default, required=default is None, choices=choices)
