"""What decodes the files of a delivery: the codec of every point, or the usual decoder of its format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import rdp
from rdp.codecs import Codec, OperatingPoint, create_codec, load_tools, parse_point
from rdp.codecs.files import decoding_point
from rdp.codecs.formats import FORMATS, names_its_decoder
from rdp.codecs.tools import ExternalTool
from rdp.errors import DependencyError, SpecError
from rdp.images.files import PathLike
from rdp.report.delivery_names import PackError, read_inside
from rdp.report.manifest import MANIFEST, Manifest


@dataclass(frozen=True)
class Mismatch:
    """Something of a delivery that is not as its manifest says; `where` is a file or a part of the manifest."""

    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


@dataclass(frozen=True)
class Decoders:
    """The points of a delivery by name, what decodes each, and notes; `own` are those made by their point's codec."""

    points: Mapping[str, OperatingPoint]
    codecs: Mapping[str, Codec]
    own: frozenset[str]
    notes: tuple[str, ...] = ()


def make_decoders(folder: Path, manifest: Manifest, codec_files: Iterable[PathLike]) -> Decoders:
    """The decoder of every point, made before anything is decoded.

    Where a point's codec cannot be made here and its files name their decoder, that of their format decodes them: the
    hashes of the pictures say whether it gives the same. Raises `SpecError` and `DependencyError`.
    """
    tools = load_tools(map(Path, codec_files))
    names = sorted({one.point for one in manifest.files})
    for name in names:
        if name.partition(":")[0].strip() == "external" and not tools:
            raise SpecError(
                f"files of this delivery are decoded by a program of its sender, {name}: give a codec file that says "
                "which program that is here (--codec-file FILE.toml). No command is taken from the manifest"
            )
    points = {name: parse_point(name, tools) for name in names}
    codecs: dict[str, Codec] = {}
    own, notes = set(), []
    for name, point in points.items():
        try:
            codecs[name] = create_codec(point)
            own.add(name)
        except DependencyError as error:
            codecs[name] = _stand_in(folder, manifest, point, error)
            notes.append(f"{name}: decoded by {codecs[name].version} instead, as its own codec is not here ({error})")
    return Decoders(points, codecs, frozenset(own), tuple(notes))


def _stand_in(folder: Path, manifest: Manifest, point: OperatingPoint, missing: DependencyError) -> Codec:
    """The usual decoder of a point's format. Raises `missing` where there is none, or where a file does not name it."""
    if point.family not in FORMATS:
        raise missing
    named = []
    for file in manifest.files:
        if file.point == point.name:
            try:
                named.append(names_its_decoder(point, read_inside(folder, file.file, file.nbytes)))
            except PackError:
                continue  # reported with the other files
    if not named or not all(named):
        raise missing
    try:
        return create_codec(decoding_point(point.family))
    except DependencyError as error:
        raise missing from error


def check_identities(manifest: Manifest, decoders: Decoders) -> tuple[list[Mismatch], list[str]]:
    """Hold the identities of encoders and decoders against those of the codecs here; with notes.

    Those of programs, and of another version of rdp, may honestly differ: that is noted. Points whose own codec is
    not here are left alone.
    """
    wrong: list[Mismatch] = []
    notes: list[str] = []
    for one in manifest.points:
        if one.point not in decoders.own:
            continue
        codec = decoders.codecs[one.point]
        for side, said in (("encoder", one.encoder_ids), ("decoder", one.decoder_ids)):
            try:
                here = codec.encoder_id if side == "encoder" else codec.decoder_id
            except DependencyError as error:  # a decoder is here, and the encoder is not
                notes.append(f"{side}_ids of {one.point} are not checked: {error}")
                continue
            if set(said) == {here}:
                continue
            what = f"{side}_ids of {one.point} are {', '.join(said) or 'missing'}, and here it is {here}"
            lacking = side == "decoder" and not said  # of a run that did not record them
            if lacking or _is_program(codec) or manifest.rdp_version != rdp.__version__:
                notes.append(f"{what}: its {side} had other settings or is another program")
            else:
                wrong.append(Mismatch(MANIFEST, what))
    return wrong, notes


def _is_program(codec: Codec) -> bool:
    return isinstance(codec.point.definition, ExternalTool) or codec.point.get("backend") == "reference"
