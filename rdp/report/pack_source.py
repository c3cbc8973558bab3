"""Where the bytes of a delivery come from: the chosen rows of a run, its kept files, and, failing those, its images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdp.codecs import Codec, OperatingPoint, create_codec
from rdp.errors import ImageError
from rdp.images import hash_bytes, hash_pixels, list_images, read_image
from rdp.images.files import PathLike
from rdp.images.read import Exif
from rdp.report.delivery_names import PackError
from rdp.selection import Selection
from rdp.tables import Run

if TYPE_CHECKING:
    import pyarrow as pa

INSPECTED = "images.parquet"
"""What `rdp evaluate` leaves in a run about its images, with the paths where they lay."""


@dataclass(frozen=True)
class ChosenRow:
    """One row of a run at its image's chosen point: what the delivered file must be."""

    dataset: str
    image: str
    point: str
    width: int
    height: int
    nbytes: int
    file_sha256: str
    reconstruction_sha256: str
    pixels_sha256: str
    encoder_id: str
    decoder_id: str | None
    codec_version: str

    @property
    def label(self) -> str:
        return f"{self.image!r} of {self.dataset!r}"


def chosen_rows(run: Run, selection: Selection) -> list[ChosenRow]:
    """The rows of the chosen cells, in the order of the problem's images.

    Raises `InfeasibleError` or `NoSelectionError` for a selection without choices, `PackError` for a row that lacks
    what a delivery needs.
    """
    import pyarrow as pa

    from rdp.tables.keys import KeyIndex, positions_of

    problem, choice = selection.problem, selection.required_choice
    data = run.table().data
    points = [problem.points[k] for k in choice.tolist()]
    wanted = pa.table({"dataset": list(problem.datasets), "image": list(problem.images), "point": points})
    index = KeyIndex.of([data])
    places = positions_of(index.codes(wanted), index.codes(data))
    if (places < 0).any():
        missing = wanted.slice(int((places < 0).argmax()), 1).to_pylist()[0]
        raise PackError(f"{run.path} has no row of {missing['image']!r} at {missing['point']!r}: solve again")
    return _as_rows(run, data.take(places))


def _as_rows(run: Run, data: pa.Table) -> list[ChosenRow]:
    import pyarrow as pa

    names = list(ChosenRow.__dataclass_fields__)
    rows = []
    if "decoder_id" not in data.column_names:  # a run of an rdp that did not record it
        data = data.append_column("decoder_id", pa.nulls(len(data), pa.string()))
    for values in data.select(names).to_pylist():
        empty = [name for name in names if values[name] is None and name != "decoder_id"]
        if empty:
            raise PackError(
                f"{run.path}: the row of {values['image']!r} at {values['point']!r} has no {empty[0]}; evaluate again"
            )
        rows.append(ChosenRow(**values))
    return rows


@dataclass
class FileSource:
    """Gives the bytes of rows: copied where the run kept them, else encoded again from the images.

    `images` are the folders or files that the user names; without them, the paths that the run remembers. `copied`,
    `encoded` and `damaged` count.
    """

    run: Run
    points: Mapping[str, OperatingPoint]
    images: PathLike | Sequence[PathLike] | None = None
    copied: int = 0
    encoded: int = 0
    damaged: int = 0
    _paths: dict[tuple[str, str], Path] = field(default_factory=dict)
    _codecs: dict[str, Codec] = field(default_factory=dict)

    def data(self, row: ChosenRow) -> bytes:
        """The file of a row, its SHA-256 that of the row. Raises `PackError`, `ImageError` or `CodecError`."""
        path = self.run.object_path(row.file_sha256)
        try:
            kept = path.read_bytes()
        except FileNotFoundError:
            return self._encode_again(row)
        except OSError as error:
            raise PackError(f"cannot read {path}: {error.strerror or error}") from error
        if hash_bytes(kept) != row.file_sha256:
            self.damaged += 1
            return self._encode_again(row)
        self.copied += 1
        return kept

    def _encode_again(self, row: ChosenRow) -> bytes:
        pixels = self._original(row)
        if row.point not in self._codecs:
            self._codecs[row.point] = create_codec(self.points[row.point])
        codec = self._codecs[row.point]
        data = codec.encode(pixels)
        if hash_bytes(data) != row.file_sha256:
            by = f"by {row.codec_version}, and here it is {codec.version}"
            if codec.version == row.codec_version:
                by = f"by {row.codec_version}, as here, so its settings differ or it does not repeat itself"
            raise PackError(
                f"the file of {row.label} at {row.point} was not kept, and encoding it again gives other bytes "
                f"({len(data)} instead of {row.nbytes}). It was made {by}. Evaluate again and solve again: `rdp "
                f"evaluate … --redo '{row.point}'`"
            )
        self.encoded += 1
        return data

    def _original(self, row: ChosenRow) -> Any:
        path = self._path(row)
        exif: Exif = "apply" if self.run.protocol.get("exif") == "apply" else "ignore"
        try:
            pixels = read_image(path, exif)
        except ImageError as error:
            raise ImageError(f"the file of {row.label} was not kept, and cannot be encoded again: {error}") from error
        if hash_pixels(pixels) != row.pixels_sha256:
            raise PackError(f"{path} is not the image that was evaluated as {row.label}: name the images with --images")
        return pixels

    def _path(self, row: ChosenRow) -> Path:
        if not self._paths:
            self._paths = self._remembered() if self.images is None else self._named(row.dataset)
        key = (row.dataset, row.image)
        if key not in self._paths:
            where = f"{self.run.path} does not remember where it lies" if self.images is None else "--images lacks it"
            raise PackError(
                f"the file of {row.label} was not kept, so the image is needed to encode it again, and {where}: "
                "name the folder with --images"
            )
        return self._paths[key]

    def _named(self, dataset: str) -> dict[tuple[str, str], Path]:
        """The user's images by key. A single folder may have been renamed: it also stands for the dataset asked for."""
        images = self.images if self.images is not None else []
        named = {image.key: image.path for image in list_images(images)}
        if len({name for name, _ in named}) == 1:
            named |= {(dataset, image): path for (_, image), path in named.items()}
        return named

    def _remembered(self) -> dict[tuple[str, str], Path]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.run.path / INSPECTED
        try:
            rows = pq.ParquetFile(path).read(columns=["dataset", "image", "path"]).to_pylist()
        except (pa.ArrowInvalid, OSError, ValueError):
            return {}  # lost or damaged: the user is asked for the images
        return {(row["dataset"], row["image"]): Path(row["path"]) for row in rows}
