"""Checkpoints of other projects made into files of rdp: recognised by their keys, converted, and never executed."""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from rdp.codecs.keys import quote
from rdp.errors import WeightsError
from rdp.weights import load_index, sha256_of

if TYPE_CHECKING:
    from rdp.models.base import CompressionModel

COMPRESSAI = "CompressAI"
HIFIC = "HiFiC of Justin-Tan"

_LEGACY_PICKLES = 4
"""A file of torch.save of before 1.6: a magic number, a protocol, facts of the system, the object; then the tensors."""


@dataclass(frozen=True)
class Converted:
    """What `convert_weights` wrote: `out`, from the checkpoint `source` of the project `kind`.

    `config` are the network's constructor arguments, `parameters` counts its numbers, `point` is the codec to use.
    `published_as` is the name in the index of weights that the source file has, empty if none.
    """

    source: Path
    out: Path
    kind: str
    published_as: str
    architecture: str
    config: Mapping[str, Any]
    parameters: int
    nbytes: int
    sha256: str
    point: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**values, "source": str(self.source), "out": str(self.out), "config": dict(self.config)}


def convert_weights(source: str | Path, out: str | Path, *, force: bool = False) -> Converted:
    """Convert a checkpoint of CompressAI (.pth.tar) or of Justin-Tan's HiFiC (.pt) into `out`, a .safetensors file.

    Raises `WeightsError` if the file cannot be read, is of neither project, is one that rdp has no network for or that
    would have to run code, and if `out` exists and not `force`, or cannot be written.
    """
    from rdp.models.checkpoint import save_model

    source, out = Path(source), Path(out)
    _check_target(source, out, force)
    kind = recognise(source)
    model = _loader(kind)(source)
    entry = _published(source)
    notes = {"source": source.name, "source_sha256": sha256_of(source), "converted_from": kind}
    if entry:
        notes |= {"published_as": entry, "licence": load_index()[entry].licence}
    save_model(out, model, notes)
    return Converted(
        source=source, out=out, kind=kind, published_as=entry, architecture=model.architecture, config=model.config,
        parameters=sum(parameter.numel() for parameter in model.parameters()), nbytes=out.stat().st_size,
        sha256=sha256_of(out), point=f"checkpoint:path={quote(str(out))}",
    )  # fmt: skip


def recognise(source: Path) -> str:
    """Whose checkpoint a file is, by the words in its pickle, which is parsed and not loaded: COMPRESSAI or HIFIC.

    Raises `WeightsError` for a file that cannot be read or is neither's.
    """
    words = _words(source)
    if any(word.endswith("g_a.0.weight") for word in words):
        return COMPRESSAI
    if any(word.startswith(("Encoder.", "module.Encoder.")) for word in words):
        return HIFIC
    raise WeightsError(
        f"{source} is no checkpoint that can be converted: there is neither g_a.0.weight in it ({COMPRESSAI}) nor a "
        f"tensor of an Encoder ({HIFIC})"
    )


def _loader(kind: str) -> Callable[[Path], CompressionModel]:
    if kind == COMPRESSAI:
        from rdp.models.conversion.compressai import load_compressai

        return load_compressai
    from rdp.models.conversion.hific import load_hific_torch

    return load_hific_torch


def _words(source: Path) -> set[str]:
    """All texts in the pickles of a file of torch.save."""
    try:
        if zipfile.is_zipfile(source):
            with zipfile.ZipFile(source) as archive:
                for name in archive.namelist():
                    if name.endswith("data.pkl"):
                        with archive.open(name) as stream:
                            return _texts(stream)
        with source.open("rb") as stream:
            if stream.read(1) == b"\x80":
                stream.seek(0)
                return set().union(*(_texts(stream) for _ in range(_LEGACY_PICKLES)))
    except OSError as error:
        raise WeightsError(f"cannot read {source}: {error.strerror or error}") from error
    except (ValueError, LookupError, EOFError, zipfile.BadZipFile, NotImplementedError, MemoryError) as error:
        raise WeightsError(f"{source} is a damaged checkpoint, or something else: {error}") from error
    raise WeightsError(f"{source} was not written by torch.save: give a .pth.tar, .pth or .pt file")


def _texts(stream: IO[bytes]) -> set[str]:
    return {argument for _, argument, _ in pickletools.genops(stream) if isinstance(argument, str)}


def _published(source: Path) -> str:
    """The name in the index of weights whose file `source` is, by its hash; empty if there is none."""
    sha256 = sha256_of(source)
    return next((name for name, entry in load_index().items() if entry.matches(sha256)), "")


def _check_target(source: Path, out: Path, force: bool) -> None:
    if out.suffix != ".safetensors":
        raise WeightsError(
            f"cannot write {out}: converted weights are .safetensors files, such as {out.stem}.safetensors"
        )
    if not out.parent.is_dir():
        raise WeightsError(f"cannot write {out}: there is no folder {out.parent}; make it first")
    if out.exists() and not out.is_file():
        raise WeightsError(f"cannot write {out}: it is no ordinary file")
    if out.exists() and source.exists() and out.samefile(source):
        raise WeightsError(f"{out} is the checkpoint itself: name another file to write")
    if out.exists() and not force:
        raise WeightsError(f"{out} exists: --force overwrites it, or name another file")
