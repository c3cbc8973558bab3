"""`pack`: the chosen files of a selection as a folder to deliver, with a manifest that `unpack` holds them against.

    files/…          one encoded file an image, in the images' subfolders
    selection.json   the selection, byte for byte as `rdp solve` wrote it
    manifest.json    see `rdp.report.manifest`

The manifest is written last. What a killed call leaves has no manifest, or is the earlier delivery untouched; its
unfinished part lies in a hidden folder that the next call removes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rdp.codecs import OperatingPoint, load_tools, parse_point
from rdp.codecs.files import write_file
from rdp.codecs.formats import names_its_decoder, suffixes_of
from rdp.execution import Progress, Silent
from rdp.images import hash_bytes
from rdp.images.files import PathLike
from rdp.report.delivery_names import PackError, delivery_names
from rdp.report.manifest import MANIFEST, SELECTION, Manifest
from rdp.report.pack_folder import check_folder, commit, unfinished
from rdp.report.pack_manifest import make_manifest
from rdp.report.pack_source import ChosenRow, FileSource, chosen_rows
from rdp.report.side_information import SideInformation, charge
from rdp.selection import Selection, load_selection
from rdp.selection.document import document_text
from rdp.selection.loading import stored_columns
from rdp.selection.setlevel.result import SetSelection
from rdp.tables import Run, read_table

_TOLD = ("averages", "budgets", "total_bits", "side_information", "decoder_information", "points")


@dataclass(frozen=True)
class Pack:
    """What `pack` wrote: the folder, its manifest, and where the bytes came from.

    `nbytes` is the sum over the files, `copied` counts files that the run had kept, `encoded` those encoded again.
    """

    out: Path
    manifest: Manifest
    nbytes: int
    copied: int
    encoded: int
    notes: tuple[str, ...] = ()

    @property
    def side_information(self) -> SideInformation:
        return self.manifest.side_information

    def to_dict(self) -> dict[str, Any]:
        """As JSON: the manifest is the file `manifest.json`, of which the averages and budgets stand here too."""
        document = self.manifest.to_dict()
        return {
            "out": str(self.out),
            "manifest": str(self.out / MANIFEST),
            "images": len(self.manifest.files),
            "nbytes": self.nbytes,
            "copied": self.copied,
            "encoded": self.encoded,
            **{name: document[name] for name in _TOLD if name in document},
            "notes": list(self.notes),
        }


def pack(
    run: Run | PathLike,
    selection: Selection | PathLike,
    out: PathLike,
    *,
    images: PathLike | Sequence[PathLike] | None = None,
    codec_files: Iterable[PathLike] = (),
    side_info: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> Pack:
    """Write the chosen files of a selection, and their manifest, into the folder `out`.

    Files are copied from the run and held against their SHA-256; what the run did not keep is encoded again from
    `images` (by default, from where they lay when they were evaluated), and refused if the bytes then differ.
    `codec_files` describe external tools. With `side_info` the bits that name each image's point are charged: the
    rate budgets must hold with them; those of a selection that was solved with `side_info` do. Bits that name the
    decoders of shared files are a part of the rates as the selection was solved with them. `force` replaces an earlier
    delivery in `out`, never anything else.

    Raises `SideInformationError` (exit code 3) if the charged rate passes its budget, `InfeasibleError` or
    `NoSelectionError` for a selection without choices, `TableError` for one of another run, and `PackError`,
    `FileError`, `ImageError`, `CodecError`, `SpecError` and `DependencyError` for what cannot be packed.
    """
    source = run if isinstance(run, Run) else Run(run)
    chosen, text = _selection(source, selection)
    if isinstance(chosen, SetSelection):
        chosen = chosen.with_columns()
    rows = chosen_rows(source, chosen)
    pixels = np.array([row.width * row.height for row in rows], dtype=np.float64)
    solved = chosen.problem.index_cost is not None
    if side_info and not solved:
        charge(chosen, pixels)
    folder = Path(out)
    check_folder(folder, force)
    tools = load_tools(map(Path, codec_files))
    points = {name: parse_point(name, tools) for name in sorted({row.point for row in rows})}
    several = len({row.dataset for row in rows}) > 1
    labels = [f"{row.dataset}/{row.image}" if several else row.image for row in rows]
    names = delivery_names(labels, [suffixes_of(points[row.point])[0] for row in rows])
    files = FileSource(source, points, images)
    with unfinished(folder) as place:
        need = _write_files(place, rows, names, files, points, progress or Silent())
        charged = side_info or solved
        manifest = make_manifest(source, chosen, hash_bytes(text), rows, names, points, need=need, charged=charged)
        write_file(place / SELECTION, text)
        write_file(place / MANIFEST, manifest.to_bytes())
        commit(folder, place)
    notes = (f"{files.damaged} kept files of {source.path} are damaged: encoded again",) if files.damaged else ()
    return Pack(folder, manifest, sum(row.nbytes for row in rows), files.copied, files.encoded, notes)


def _selection(run: Run, selection: Selection | PathLike) -> tuple[Selection, bytes]:
    """The selection, rebuilt from the run's table, its averages recomputed; and its `selection.json`."""
    if isinstance(selection, Selection):
        return selection, document_text(selection).encode()
    path = Path(selection)
    loaded = load_selection(path, read_table(run, stored_columns(path)))
    try:
        return loaded, path.read_bytes()
    except OSError as error:
        raise PackError(f"cannot read {path}: {error.strerror or error}") from error


# ---- the files


def _write_files(
    folder: Path,
    rows: Sequence[ChosenRow],
    names: Sequence[str],
    files: FileSource,
    points: Mapping[str, OperatingPoint],
    progress: Progress,
) -> int:
    """Write every file below `folder`; how many of them do not say themselves what decodes them."""
    need = 0
    progress.start("packing", len(rows), "file")
    for row, name in zip(rows, names, strict=True):
        data = files.data(row)
        path = folder.joinpath(*name.split("/"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        need += not names_its_decoder(points[row.point], data)
        progress.advance()
    progress.finish()
    return need
