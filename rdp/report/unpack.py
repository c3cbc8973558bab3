"""`unpack`: a delivery back into pictures, everything that its manifest promises held against what is there.

A delivery comes from others. Its paths are used only where they stay inside its folder and that of the pictures;
its points choose among the codecs of this rdp; a program of the user's own runs only as a codec file that he gives
says, never by a command line out of the manifest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdp.codecs import Codec
from rdp.codecs.files import FileError, decode_data, picture_bytes, write_file
from rdp.codecs.formats import names_its_decoder
from rdp.errors import CodecError
from rdp.execution import Progress, Silent
from rdp.images import hash_bytes, hash_pixels
from rdp.images.files import PathLike
from rdp.report.delivery_names import FILES, PackError, picture_name, read_inside, refuse_links
from rdp.report.manifest import Manifest, read_manifest
from rdp.report.manifest_parts import PackedFile
from rdp.report.unpack_checks import CheckedAverage, Scores, check_numbers
from rdp.report.unpack_codecs import Mismatch, check_identities, make_decoders
from rdp.report.unpack_selection import check_selection

if TYPE_CHECKING:
    import numpy as np

    Pixels = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Unpacked:
    """What `unpack` found: `mismatches` is empty if the delivery is what its manifest says.

    `out` is None if nothing was to be written. `decoded` counts files that decoded, of `images`. `averages` are the
    stated and the recomputed ones.
    """

    folder: Path
    out: Path | None
    images: int
    decoded: int
    averages: tuple[CheckedAverage, ...]
    mismatches: tuple[Mismatch, ...]
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing differs from the manifest."""
        return not self.mismatches

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "folder": str(self.folder),
            "out": None if self.out is None else str(self.out),
            "ok": self.ok,
            "images": self.images,
            "decoded": self.decoded,
            "averages": [one.to_dict() for one in self.averages],
            "mismatches": [vars(one) for one in self.mismatches],
            "notes": list(self.notes),
        }


def unpack(
    folder: PathLike,
    out: PathLike | None = None,
    *,
    check_only: bool = False,
    codec_files: Iterable[PathLike] = (),
    original: PathLike | Sequence[PathLike] | None = None,
    selection: PathLike | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Unpacked:
    """Decode all files of a delivery into PNG pictures in the folder `out`, and check everything that can be checked.

    Lengths and hashes of the files, hashes and sizes of the pictures, average rates, budgets, counts and side
    information always; with `original` (the folder of the originals) the originals' hashes and the average metrics
    too, to 1e-5. The manifest is held against the delivery's `selection.json`, and against `selection`, the sender's
    own copy of it, without which a delivery that is forged as a whole is not noticed. A file whose bytes are not
    those delivered is not decoded. `check_only` writes nothing. `force`
    overwrites pictures in a folder that is not empty.

    What differs is in the result. Raises `PackError` for a folder that is no delivery or whose manifest is damaged or
    leads outside, `SpecError` and `DependencyError` for codecs that this machine lacks, `FileError` where pictures
    cannot be written, and `ImageError` for an `original` without images.
    """
    place = Path(folder)
    manifest = read_manifest(place)
    decoders = make_decoders(place, manifest, codec_files)
    codecs = decoders.codecs
    identities, remarks = check_identities(manifest, decoders)
    chosen, about_selection = check_selection(place, manifest, None if selection is None else Path(selection))
    target = None if check_only else _check_out(place, out, force)
    scores = None if original is None else Scores.of(manifest, original)
    versions = {one.point: ", ".join(one.codec_versions) for one in manifest.points}
    report = progress or Silent()
    wrong: list[Mismatch] = []
    decoded = need = 0
    report.start("unpacking", len(manifest.files), "file")
    for file in manifest.files:
        try:
            data = _read(place, file)
            need += not names_its_decoder(decoders.points[file.point], data)
            pixels = decode_data(codecs[file.point], data)
            decoded += 1
            if target is not None:
                _write(target, file, pixels)
            wrong += _compare(file, pixels, codecs[file.point], versions.get(file.point, "unknown"))
            if scores is not None:
                scores.add(file, pixels)
        except (PackError, CodecError) as error:
            wrong.append(Mismatch(file.file, str(error)))
        report.advance()
    report.finish()
    averages, contradictions = check_numbers(manifest, scores, need if decoded == len(manifest.files) else None)
    notes = [*decoders.notes, *remarks, *about_selection]
    notes += [
        *(scores.notes if scores is not None else ()),
        *_unchecked(averages, scores),
        *_strangers(place, manifest),
    ]
    return Unpacked(
        place,
        target,
        len(manifest.files),
        decoded,
        tuple(averages),
        (*wrong, *contradictions, *identities, *chosen),
        tuple(notes),
    )


def _check_out(folder: Path, out: PathLike | None, force: bool) -> Path:
    if out is None:
        raise FileError("say where the pictures go: --out FOLDER, or --check-only")
    target = Path(out)
    if target.resolve().is_relative_to(folder.resolve()):
        raise FileError(f"{target} is in the delivery itself: name another folder for the pictures")
    if target.exists() and not target.is_dir():
        raise FileError(f"{target} is no folder: name another for the pictures")
    if target.is_dir() and not force and any(target.iterdir()):
        raise FileError(f"{target} is not empty: name another folder, or --force to overwrite pictures in it")
    return target


def _read(folder: Path, file: PackedFile) -> bytes:
    """A file's bytes, if they are those delivered."""
    data = read_inside(folder, file.file, file.nbytes)
    found = hash_bytes(data)
    if found != file.file_sha256:
        raise PackError(f"its bytes are not those delivered: SHA-256 {found[:12]}… instead of {file.file_sha256[:12]}…")
    return data


def _compare(file: PackedFile, pixels: Pixels, codec: Codec, made_by: str) -> list[Mismatch]:
    height, width = pixels.shape[:2]
    if (width, height) != (file.width, file.height):
        return [Mismatch(file.file, f"it decodes to {width}x{height} pixels instead of {file.width}x{file.height}")]
    if hash_pixels(pixels) != file.reconstruction_sha256:
        by = f"(decoded by {codec.version}, delivered as decoded by {made_by})"
        return [Mismatch(file.file, f"it decodes to another picture than the one that was evaluated {by}")]
    return []


def _write(target: Path, file: PackedFile, pixels: Pixels) -> None:
    """Write a picture below `target`, through no symbolic link."""
    name = picture_name(file.file)
    refuse_links(target, name)
    path = target.joinpath(*name.split("/"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot make the folder {path.parent}: {error.strerror or error}") from error
    write_file(path, picture_bytes(pixels))


def _unchecked(averages: Sequence[CheckedAverage], scores: Scores | None) -> list[str]:
    columns = [one.column for one in averages if one.found is None]
    if not columns:
        return []
    why = "--original would allow for metrics" if scores is None else "measured or estimated elsewhere, or see above"
    return [f"not recomputed: the average {', '.join(columns)} ({why})"]


def _strangers(folder: Path, manifest: Manifest) -> list[str]:
    """Files that lie in the delivery and that its manifest does not name."""
    named = {one.file for one in manifest.files}
    found = (path for path in (folder / FILES).rglob("*") if path.is_symlink() or not path.is_dir())
    strange = sorted(name for path in found if (name := path.relative_to(folder).as_posix()) not in named)
    if not strange:
        return []
    return [f"{len(strange)} files that the manifest does not name, such as {strange[0]!r}: left alone"]
