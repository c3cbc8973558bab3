"""`pack`: the chosen files of a selection as a folder to deliver, with a manifest that `unpack` holds them against.

    files/…          one encoded file an image, in the images' subfolders
    selection.json   the selection, byte for byte as `rdp solve` wrote it
    manifest.json    see `rdp.report.manifest`

The manifest is written last. What a killed call leaves has no manifest, or is the earlier delivery untouched; its
unfinished part lies in a hidden folder that the next call removes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import rdp
from rdp.codecs import OperatingPoint, load_tools, parse_point
from rdp.codecs.files import write_file
from rdp.codecs.formats import names_its_decoder, suffixes_of
from rdp.codecs.tools import ExternalTool
from rdp.execution import Progress, Silent
from rdp.images import hash_bytes
from rdp.images.files import PathLike
from rdp.metrics.registry import METRICS
from rdp.report.delivery_names import PackError, delivery_names
from rdp.report.manifest import (
    MANIFEST,
    SELECTION,
    Manifest,
    PackedAverage,
    PackedBound,
    PackedBudget,
    PackedFile,
    PackedMetric,
    PackedPoint,
)
from rdp.report.pack_folder import check_folder, commit, unfinished
from rdp.report.pack_source import ChosenRow, FileSource, chosen_rows
from rdp.report.side_information import SideInformation, charge, side_information
from rdp.selection import Selection, load_selection
from rdp.selection.document import SAME, document_text, number
from rdp.selection.loading import stored_columns
from rdp.tables import Run, read_table


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
            **{name: document[name] for name in ("averages", "budgets", "total_bits", "side_information", "points")},
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
    rate budgets must hold with them. `force` replaces an earlier delivery in `out`, never anything else.

    Raises `SideInformationError` (exit code 3) if the charged rate passes its budget, `InfeasibleError` or
    `NoSelectionError` for a selection without choices, `TableError` for one of another run, and `PackError`,
    `FileError`, `ImageError`, `CodecError`, `SpecError` and `DependencyError` for what cannot be packed.
    """
    source = run if isinstance(run, Run) else Run(run)
    chosen, text = _selection(source, selection)
    rows = chosen_rows(source, chosen)
    pixels = np.array([row.width * row.height for row in rows], dtype=np.float64)
    if side_info:
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
        side = _side_information(chosen, rows, pixels, need, side_info)
        packed = [_packed(row, name) for row, name in zip(rows, names, strict=True)]
        manifest = _manifest(source, chosen, hash_bytes(text), rows, packed, side, points)
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


# ---- the manifest


def _packed(row: ChosenRow, name: str) -> PackedFile:
    return PackedFile(
        row.dataset, row.image, row.point, name, row.nbytes, row.file_sha256, row.reconstruction_sha256,
        row.pixels_sha256, row.width, row.height,
    )  # fmt: skip


def _side_information(
    selection: Selection, rows: Sequence[ChosenRow], pixels: Any, need: int, charged: bool
) -> SideInformation:
    problem = selection.problem
    rate = problem.terms.get("bpp")
    bits = np.array([8.0 * row.nbytes for row in rows])
    weighting = rate.weighting if rate is not None else "images"
    return side_information(list(selection.counts().values()), bits, pixels, weighting, need, charged)


def _manifest(
    run: Run,
    selection: Selection,
    selection_sha256: str,
    rows: Sequence[ChosenRow],
    files: Sequence[PackedFile],
    side: SideInformation,
    points: Mapping[str, OperatingPoint],
) -> Manifest:
    problem = selection.problem
    averages = {name: term.average(selection.required_choice) for name, term in problem.terms.items()}
    for name, average in averages.items():
        if name in selection.averages and not _same(average, selection.averages[name]):
            raise PackError(f"the selection's average {name} is not that of its own cells: solve again")
    if "bpp" in averages and "bpp" not in problem.statement.cap and not _same(averages["bpp"], side.bpp_files):
        raise PackError(
            f"the average bpp of the rows is {averages['bpp']:.9g}, and {side.bpp_files:.9g} by the lengths of the "
            f"files: the table of {run.path} is not consistent; evaluate again"
        )
    return Manifest(
        files=tuple(files),
        averages=tuple(PackedAverage(name, problem.terms[name].weighting, value) for name, value in averages.items()),
        budgets=tuple(
            PackedBudget(c.term.column, c.sense, c.budget, c.term.weighting, averages[c.term.column])
            for c in problem.constraints
        ),
        image_bounds=_image_bounds(selection),
        points=tuple(_point(name, rows) for name in problem.points if name in points),
        metrics=_metrics(run, list(averages)),
        total_bits=8 * sum(row.nbytes for row in rows),
        side_information=side,
        selection={
            "status": selection.status.value,
            "solver": selection.solver,
            "statement": problem.statement.to_dict(),
            "objective": {
                "column": problem.objective.column,
                "goal": problem.goal,
                "weighting": problem.objective.weighting,
                **number("average", averages[problem.objective.column]),
                **number("bound", selection.bound),
                **number("gap", selection.gap),
                "allowed_gap": selection.allowed_gap,
            },
            "points": list(problem.points),
        },
        selection_sha256=selection_sha256,
        protocol=run.protocol,
        tools=tuple(_described(point.definition) for point in _one_a_tool(points)),
        rdp_version=rdp.__version__,
        caps=dict(problem.statement.cap),
    )


def _image_bounds(selection: Selection) -> tuple[PackedBound, ...]:
    rows, choice = np.arange(len(selection.required_choice)), selection.required_choice
    found = []
    for one in selection.problem.image_bounds:
        values = one.values[rows, choice]
        worst = values.max() if one.sense == "at_most" else values.min()
        found.append(PackedBound(one.column, one.sense, one.bound, float(worst)))
    return tuple(found)


def _same(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=SAME, abs_tol=1e-12) or (math.isnan(one) and math.isnan(other))


def _point(name: str, rows: Sequence[ChosenRow]) -> PackedPoint:
    of_point = [row for row in rows if row.point == name]
    encoders = tuple(sorted({row.encoder_id for row in of_point}))
    decoders = tuple(sorted({row.decoder_id for row in of_point if row.decoder_id is not None}))
    versions = tuple(sorted({row.codec_version for row in of_point}))
    return PackedPoint(name, len(of_point), encoders, decoders, versions)


def _metrics(run: Run, columns: Sequence[str]) -> tuple[PackedMetric, ...]:
    return tuple(
        PackedMetric(scores.metric, scores.columns, scores.fingerprint, dict(scores.identity))
        for scores in run.score_sets()
        if scores.metric in METRICS and set(scores.columns) & set(columns)
    )


def _one_a_tool(points: Mapping[str, OperatingPoint]) -> list[OperatingPoint]:
    tools = {p.definition.name: p for p in points.values() if isinstance(p.definition, ExternalTool)}
    return list(tools.values())


def _described(tool: ExternalTool) -> dict[str, Any]:
    """A tool for people who want to know which program it is. Where its file lies is nobody's business."""
    described = asdict(tool)
    return {name: described[name] for name in ("name", "suffix", "output", "decode")}
