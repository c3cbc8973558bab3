"""Where the files of decoders lie: in the folders of weights, by encoder and name, or where a spec says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from rdp.codecs.keys import quote
from rdp.codecs.learned.decoders import DECODER_KEY, DecoderChoice, read_choice
from rdp.errors import SpecError, WeightsError, suggest
from rdp.models.decoder_names import OWN, canonical_name
from rdp.weights import WeightsFile, load_index, reverify, search_folders, sha256_of, verify

ENDING = ".safetensors"


@dataclass(frozen=True)
class DecoderFile:
    """A decoder's file, under the canonical name of the decoder, and the identity (12 hex digits) of its encoder."""

    encoder: str
    file: WeightsFile


@dataclass(frozen=True)
class GivenDecoders:
    """The decoders that a spec names by their files: those of one name belong to different encoders."""

    decoders: Mapping[str, tuple[DecoderFile, ...]] = field(default_factory=dict)


def files_of_weights(endings: tuple[str, ...]) -> Iterator[Path]:
    """The files with such endings in the folders of weights, folder by folder.

    Raises `WeightsError` for a folder that cannot be looked into.
    """
    for folder in search_folders():
        try:
            found = sorted(path for path in folder.iterdir() if path.name.endswith(endings)) if folder.is_dir() else []
        except OSError as error:
            raise WeightsError(f"cannot look into the folder of weights {folder}: {error.strerror}") from error
        yield from found


# ---- what a spec says


def named_decoders(
    pairs: Mapping[str, str], spec: str
) -> tuple[Mapping[str, str], Mapping[str, tuple[DecoderFile, ...]]]:
    """The pairs of a spec with decoders in their canonical spelling, and the files that it gives, by decoder.

    A file stands under its decoder's name, by which the other items may call it too. Raises `SpecError` for what is no
    choice of a decoder, for a file that is not there, and for two decoders of one encoder and name that are not the
    same; `WeightsError` for a file that holds no decoder.
    """
    from rdp.codecs.spec import split_items

    if DECODER_KEY.name not in pairs:
        return pairs, {}
    spellings: list[str] = []
    given: dict[str, tuple[DecoderFile, ...]] = {}
    for text in split_items(pairs[DECODER_KEY.name], spec):
        if not text.endswith(ENDING):
            spellings.append(str(read_choice(text, repr(spec))))
            continue
        found = _decoder_in(Path(text).expanduser(), spec)
        name = found.file.name
        _check_agree(given.get(name, ()), (found,), repr(spec))
        given[name] = (*given.get(name, ()), found)
        spellings.append(name)
    return {**pairs, DECODER_KEY.name: "|".join(map(quote, spellings))}, given


def check_given(known: GivenDecoders, other: GivenDecoders, names: tuple[str, ...], where: str) -> None:
    """Raise `SpecError` if two specs give different decoders of one encoder the same name."""
    for name in names:
        _check_agree(known.decoders.get(name, ()), other.decoders.get(name, ()), where)


def _check_agree(known: tuple[DecoderFile, ...], others: tuple[DecoderFile, ...], where: str) -> None:
    for one in known:
        for two in others:
            if one.encoder == two.encoder and one.file.sha256 != two.file.sha256:
                raise SpecError(
                    f"{where}: {one.file.path} and {two.file.path} are different decoders of one encoder, and both are "
                    f"called {one.file.name!r}: evaluate them in runs of their own, or save one under another name"
                )


def _decoder_in(path: Path, spec: str) -> DecoderFile:
    from rdp.models.decoders import read_decoder_header

    if not path.is_file():
        raise SpecError(
            f"{spec!r}: there is no file {path} (in a mixture decoders go by their names: put their files into a "
            "folder of RDP_WEIGHTS, or give them as further items, decoder=FILE|A+t*B)"
        )
    header = read_decoder_header(path)
    return DecoderFile(header.encoder, WeightsFile(canonical_name(header.name), path.absolute(), sha256_of(path)))


# ---- what lies on this machine


def encoder_of(file: WeightsFile) -> str:
    """The identity, 12 hex digits, of encoder and entropy model in a file of weights.

    A header says it; other people's archives have none, and are loaded for it once a process. Raises `WeightsError`.
    """
    if file.path.suffix == ENDING:
        from rdp.models.checkpoint import read_header

        return read_header(file.path).identity
    return _encoder_of_archive(reverify(file), file.sha256)


@lru_cache(maxsize=64)
def _encoder_of_archive(path: Path, sha256: str) -> str:
    """The hash is a part of the cache's key."""
    from rdp.codecs.learned.network import load_weights
    from rdp.models.checkpoint import identity_of

    return identity_of(load_weights(path)).hex()


def find_decoders(
    choice: DecoderChoice, encoder: str, given: Mapping[str, tuple[DecoderFile, ...]], where: str
) -> dict[str, WeightsFile]:
    """The files of the decoders of a choice, by name, for an encoder; nothing for the network's own.

    Raises `WeightsError` for a decoder that is not there, saying which are, for the file of another encoder, and where
    two files hold different decoders of that name.
    """
    return {name: _find(name, encoder, given.get(name, ()), where) for name in choice.names if name != OWN}


def _find(name: str, encoder: str, given: tuple[DecoderFile, ...], where: str) -> WeightsFile:
    for decoder in given:
        if decoder.encoder == encoder:
            return decoder.file
    if given:
        files = ", ".join(f"{decoder.file.path} of {decoder.encoder}" for decoder in given)
        raise WeightsError(
            f"{where}: decoder {name!r} is given for another encoder ({files}) than that of the point, {encoder}: a "
            "decoder belongs to the encoder that was frozen when it was trained"
        )
    there = decoders_of(encoder)
    if name not in there:
        raise _missing(name, encoder, list(there), where)
    files_there = [WeightsFile(name, path, sha256_of(path)) for path in there[name]]
    for other in files_there[1:]:
        if other.sha256 != files_there[0].sha256:
            raise WeightsError(
                f"{where}: {files_there[0].path} and {other.path} are different decoders of the encoder {encoder}, and "
                f"both are called {name!r}: remove one of them, or name the one that is meant, decoder=FILE"
            )
    return _as_indexed(files_there[0])


def decoders_of(encoder: str) -> dict[str, list[Path]]:
    """The decoders of an encoder in the folders of weights: canonical names, each with the files that hold it."""
    found: dict[str, list[Path]] = {}
    for path in files_of_weights((ENDING,)):
        label = _label(path)
        if label is not None and label[0] == encoder:
            found.setdefault(label[1], []).append(path)
    return found


def _label(path: Path) -> tuple[str, str] | None:
    """Encoder and canonical name in a decoder's file; None for files that hold no decoder, or are damaged."""
    try:
        state = path.stat()
    except OSError:
        return None
    return _read_label(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=4096)
def _read_label(path: Path, size: int, mtime_ns: int) -> tuple[str, str] | None:
    """Size and modification time are part of the cache's key. Notes, which may be long, are not kept."""
    from rdp.models.decoders import read_decoder_header

    try:
        header = read_decoder_header(path)
    except WeightsError:
        return None
    return header.encoder, canonical_name(header.name)


def _as_indexed(file: WeightsFile) -> WeightsFile:
    """The file, if what the index says of a file of that name, where it knows one, is true of it."""
    for entry in load_index().values():
        if entry.filename == file.path.name:
            verify(entry, file.path)
    return file


def _missing(name: str, encoder: str, there: list[str], where: str) -> WeightsError:
    known = [OWN, *sorted(there)]
    folders = ", ".join(f"{folder}{'' if folder.is_dir() else ' (no such folder)'}" for folder in search_folders())
    return WeightsError(
        f"{where}: there is no decoder {name!r} for this encoder ({encoder}).{suggest(name, known)} There are: "
        f"{', '.join(known)}. Looked in: {folders}. Put its file into one of them, or into a folder that RDP_WEIGHTS "
        "names, or give the file itself, decoder=FILE.safetensors"
    )
