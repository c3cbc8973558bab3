"""The plan of a run: exactly the cells that are missing, image by image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rdp.codecs import OperatingPoint
from rdp.errors import MetricError, RunFolderError
from rdp.evaluation.inspection import Inspected
from rdp.evaluation.name_patterns import matching_names
from rdp.evaluation.tasks import CellWork, KeptFile, KnownRow
from rdp.metrics import MetricPlan
from rdp.tables import OK, CellTable

if TYPE_CHECKING:
    import pyarrow as pa

_COLUMNS = (
    "dataset",
    "image",
    "point",
    "pixels_sha256",
    "file_sha256",
    "reconstruction_sha256",
    "encoder_id",
    "decoder_id",
    "codec_version",
    "encode_s",
    "encode_device",
    "contended",
    "status",
)


@dataclass(frozen=True)
class Wanted:
    """What the user asks for: points with the identity of their encoders, metrics, and what is to be done again.

    Points that share an encoder stand side by side.
    """

    points: tuple[OperatingPoint, ...]
    encoder_ids: Mapping[str, str]
    decoder_ids: Mapping[str, str]
    metrics: tuple[MetricPlan, ...]
    redo: frozenset[str]
    retry_failed: bool


@dataclass(frozen=True)
class ImagePlan:
    """Missing cells of one image, of points of one group (see `ImageTask.group`)."""

    item: Inspected
    cells: tuple[CellWork, ...]
    group: int = 0


class ExistingRows:
    """The rows that a run holds, found by image."""

    def __init__(self, table: CellTable, metrics: Mapping[str, tuple[str, ...]]) -> None:
        """`metrics` are those of the run, with their columns. The table's rows are sorted by key."""
        self._data: pa.Table = table.data
        self._metrics = metrics
        self._places: dict[tuple[str, str], tuple[int, int]] = {}
        datasets = table.data.column("dataset").to_pylist()
        images = table.data.column("image").to_pylist()
        for row, key in enumerate(zip(datasets, images, strict=True)):
            first, count = self._places.get(key, (row, 0))
            self._places[key] = (first, count + 1)

    def of(self, key: tuple[str, str]) -> dict[str, dict[str, Any]]:
        """The rows of an image by point: the columns that planning needs, and `scored`, the metrics that it has."""
        first, count = self._places.get(key, (0, 0))
        rows = self._data.slice(first, count)
        result = {row["point"]: {**row, "scored": set()} for row in rows.select(list(_COLUMNS)).to_pylist()}
        for metric, columns in self._metrics.items():
            values = rows.column(columns[0]).to_pylist()
            for row, value in zip(result.values(), values, strict=True):
                if value is not None:
                    row["scored"].add(metric)
        return result

    def codec_versions(self, points: Iterable[str]) -> set[tuple[str, str]]:
        """(point, codec version) of the rows of some points."""
        import pyarrow as pa
        import pyarrow.compute as pc

        rows = self._data.filter(pc.is_in(self._data.column("point"), value_set=pa.array(list(points), pa.string())))
        pairs = rows.group_by(["point", "codec_version"]).aggregate([])
        return {(row["point"], row["codec_version"]) for row in pairs.to_pylist() if row["codec_version"]}


def plan_images(items: Sequence[Inspected], wanted: Wanted, existing: ExistingRows, run: str) -> list[ImagePlan]:
    """What is missing of every image, in order; images that lack nothing are left out.

    Raises `MetricError` if an image is too small for a metric, and `RunFolderError` if the run's rows are of other
    pixels or of another encoder of the same name.
    """
    plans = []
    for item in items:
        _check_sizes(item, wanted.metrics)
        rows = existing.of(item.image.key)
        _check_pixels(item, rows, run)
        cells = tuple(_missing(item, wanted, rows, run))
        if cells:
            plans.append(ImagePlan(item, cells))
    return plans


def _missing(item: Inspected, wanted: Wanted, rows: Mapping[str, Mapping[str, Any]], run: str) -> Iterator[CellWork]:
    names = tuple(metric.name for metric in wanted.metrics)
    kept = _kept_files(rows, wanted.redo)
    for point in wanted.points:
        row = rows.get(point.name)
        encoder = wanted.encoder_ids[point.name]
        if row is None:
            yield CellWork(point, encoder, names, kept=kept.get(encoder))
        elif point.name in wanted.redo or (row["status"] != OK and wanted.retry_failed):
            everything = tuple(dict.fromkeys([*names, *row["scored"]]))
            file = None if point.name in wanted.redo else kept.get(encoder)
            yield CellWork(point, encoder, everything, replaces=True, kept=file)
        elif row["status"] == OK:
            _check_codec(item, point, row, wanted, run)
            lacking = tuple(name for name in names if name not in row["scored"])
            if lacking:
                yield CellWork(point, encoder, lacking, KnownRow(row["file_sha256"], row["reconstruction_sha256"]))


def _kept_files(rows: Mapping[str, Mapping[str, Any]], redo: frozenset[str]) -> dict[str, KeptFile]:
    """By encoder, the file that a row of this image names; not of rows that are to be made anew."""
    return {
        row["encoder_id"]: KeptFile(
            row["file_sha256"], row["encode_s"], row["encode_device"], row["codec_version"], bool(row["contended"])
        )
        for point, row in rows.items()
        if row["status"] == OK and point not in redo and row["file_sha256"]
    }


def by_group(plans: Sequence[ImagePlan], groups: Mapping[str, int]) -> list[ImagePlan]:
    """The plans cut by the groups of their points: all images of one group, then all of the next."""
    cut: list[ImagePlan] = []
    for group in sorted(set(groups.values())):
        for plan in plans:
            cells = tuple(cell for cell in plan.cells if groups.get(cell.point.name) == group)
            if cells:
                cut.append(replace(plan, cells=cells, group=group))
    return cut


def _check_sizes(item: Inspected, metrics: Sequence[MetricPlan]) -> None:
    for metric in metrics:
        try:
            metric.check_size(item.width, item.height)
        except MetricError as error:
            raise MetricError(f"{item.image.path}: {error}") from error


def _check_pixels(item: Inspected, rows: Mapping[str, Mapping[str, Any]], run: str) -> None:
    for row in rows.values():
        if row["pixels_sha256"] != item.pixels_sha256:
            raise RunFolderError(
                f"{run} holds rows of {item.image.name!r} (dataset {item.image.dataset!r}) with other pixels than "
                f"{item.image.path} has now: restore the image, or use another --out or --dataset"
            )


def _check_codec(item: Inspected, point: OperatingPoint, row: Mapping[str, Any], wanted: Wanted, run: str) -> None:
    """Raise if the row was made by another codec than the one that has its name now."""
    for side, now in (("encoder", wanted.encoder_ids[point.name]), ("decoder", wanted.decoder_ids[point.name])):
        if row[f"{side}_id"] != now:
            raise RunFolderError(
                f"{run} holds {point.name} of {item.image.name!r} made by another {side} (id {row[f'{side}_id']}, "
                f"now {now}): use another --out, or make these rows anew with --redo '{point.name}'"
            )


def match_points(patterns: Sequence[str], points: Sequence[OperatingPoint]) -> frozenset[str]:
    """Names of the points that any of the glob patterns matches. Raises `SpecError` for a pattern that matches none."""
    return matching_names(
        patterns,
        [point.name for point in points],
        lambda pattern: f"--redo {pattern!r} matches none of the points asked for.",
    )
