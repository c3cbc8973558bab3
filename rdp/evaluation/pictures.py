"""The pictures of a run once more, original and decoded, for what is computed from them after the run.

A reconstruction is read where the run keeps it, else decoded from the kept file, else encoded and decoded anew.
Whatever way it came, its pixels must be those that the row was scored on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdp.codecs import Codec, Resources, create_codec, load_tools, parse_points
from rdp.columns import KEY_COLUMNS
from rdp.errors import RunFolderError, SpecError, suggest
from rdp.evaluation.inspection import CACHE
from rdp.images import hash_bytes, hash_pixels, list_images, read_image
from rdp.images.files import PathLike
from rdp.tables import CellTable, Run
from rdp.tables.objects import RECONSTRUCTION_SUFFIX

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

ImageKey = tuple[str, str]
"""(dataset, image), as in tables."""
Places = PathLike | Sequence[PathLike]
"""A folder of images, several, or image files."""


@dataclass(frozen=True)
class PictureRow:
    """What a row that did not fail says of its pictures; sizes in pixels, hashes as in the table."""

    dataset: str
    image: str
    point: str
    width: int
    height: int
    pixels_sha256: str
    file_sha256: str
    reconstruction_sha256: str
    decode_device: str
    session: int

    @property
    def key(self) -> ImageKey:
        return self.dataset, self.image


_COLUMNS = tuple(PictureRow.__dataclass_fields__)


def picture_rows(run: Run) -> list[PictureRow]:
    """The rows of a run whose cells did not fail, in the table's order."""
    return [PictureRow(**row) for row in run.table().ok().data.select(list(_COLUMNS)).to_pylist()]


def known_images(table: CellTable, points: Sequence[str]) -> list[ImageKey]:
    """The images that have one of the points, by data set and name."""
    wanted = set(points)
    rows = zip(*(table.data.column(name).to_pylist() for name in KEY_COLUMNS), strict=True)
    return sorted({(dataset, image) for dataset, image, point in rows if point in wanted})


def image_keys(known: Sequence[ImageKey], images: Sequence[str]) -> list[ImageKey]:
    """Images by their name, or by dataset/name. Raises `SpecError` for others and for doubtful ones."""
    keys: dict[str, list[ImageKey]] = {}
    for dataset, image in known:
        for name in (image, f"{dataset}/{image}"):
            keys.setdefault(name, []).append((dataset, image))
    found = []
    for name in images:
        hits = keys.get(name, [])
        if not hits:
            raise SpecError(f"no image {name!r} has features.{suggest(name, list(keys))}")
        if len(hits) > 1:
            listed = ", ".join("/".join(hit) for hit in hits)
            raise SpecError(f"{name!r} is in several data sets: say which, of {listed}")
        found.append(hits[0])
    return found


class Pictures:
    """Gives the pictures of a run's rows; keeps one codec at a time, so rows of one point belong together."""

    def __init__(
        self,
        run: Run,
        images: Places | None = None,
        device: str = "cpu",
        codec_files: Iterable[PathLike] = (),
    ) -> None:
        """`images` is the folder where the originals lie if it is no more the one that they were evaluated from.

        `device` is for the codecs of rows that were decoded on a GPU; the others decode on the CPU, as then.
        """
        self._run = run
        self._device = device
        self._tools = load_tools(map(Path, codec_files))
        self._exif = run.protocol.get("exif", "ignore")
        self._given = images
        self._paths: Mapping[ImageKey, Path] | None = None
        self._codec: tuple[tuple[str, Resources], Codec] | None = None

    def original(self, row: PictureRow) -> Pixels:
        """The original of a row. Raises `RunFolderError` if it is not found or has other pixels than it had."""
        if self._paths is None:
            self._paths = self._find()
        path = self._paths.get(row.key)
        if path is None or not path.exists():
            where = (
                f"{path} is gone" if path is not None else f"{self._given or self._run.path / CACHE} has no such image"
            )
            raise RunFolderError(
                f"the original of {row.image!r} (dataset {row.dataset!r}) is needed, and {where}: name the folder "
                "where the images of the run lie now (images=)"
            )
        pixels = read_image(path, self._exif)
        if hash_pixels(pixels) != row.pixels_sha256:
            raise RunFolderError(
                f"{path} has other pixels than {row.image!r} (dataset {row.dataset!r}) had in {self._run.path}: "
                "restore the image"
            )
        return pixels

    def reconstruction(self, row: PictureRow) -> Pixels:
        """The decoded picture of a row.

        Raises `RunFolderError` for a kept file or picture that is damaged and for pixels that are not those of the row,
        and whatever making the codec or decoding raises.
        """
        kept = self._run.object_path(row.reconstruction_sha256, RECONSTRUCTION_SUFFIX)
        if kept.exists():
            pixels = read_image(kept)
            if hash_pixels(pixels) != row.reconstruction_sha256:
                raise RunFolderError(f"{kept} is damaged: delete it, and it is decoded again")
            return pixels
        codec = self._codec_of(row)
        pixels = codec.decode(self._file(row, codec))
        if hash_pixels(pixels) != row.reconstruction_sha256:
            raise RunFolderError(
                f"{row.point} of {row.image!r} decodes to other pixels than it did for {self._run.path}, on "
                f"{row.decode_device} (now on {codec.device}): use that device, evaluate with --keep reconstructions, "
                f"or make the rows anew with --redo '{row.point}'"
            )
        return pixels

    def _file(self, row: PictureRow, codec: Codec) -> bytes:
        """The encoded file: the kept one, else made again."""
        path = self._run.object_path(row.file_sha256)
        data = path.read_bytes() if path.exists() else codec.encode(self.original(row))
        if hash_bytes(data) == row.file_sha256:
            return data
        if path.exists():
            raise RunFolderError(f"{path} is damaged: delete it, and {row.point} is encoded again")
        raise RunFolderError(
            f"{row.point} encodes {row.image!r} to another file than it did for {self._run.path}, which kept none: "
            f"evaluate with --keep files, or make the rows anew with --redo '{row.point}'"
        )

    def _codec_of(self, row: PictureRow) -> Codec:
        resources = Resources("cpu" if row.decode_device == "cpu" else self._device, self._dtype(row))
        wanted = (row.point, resources)
        if self._codec is None or self._codec[0] != wanted:
            self._codec = None  # not the weights of two at a time
            (point,) = parse_points([row.point], self._tools)
            self._codec = (wanted, create_codec(point, resources))
        return self._codec[1]

    def _dtype(self, row: PictureRow) -> str:
        """What the codec's networks computed in: an option of the call of `evaluate` that made the row."""
        sessions = self._run.sessions
        known: Mapping[str, Any] = sessions[row.session - 1] if 0 < row.session <= len(sessions) else {}
        return str(known.get("options", {}).get("dtype", "float32"))

    def _find(self) -> dict[ImageKey, Path]:
        """Where the originals lie: in the folder given, else where the run's inspection found them."""
        if self._given is not None:
            dataset = sorted({row.dataset for row in picture_rows(self._run)})
            named = dataset[0] if len(dataset) == 1 else None
            return {image.key: image.path for image in list_images(self._given, named)}
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self._run.path / CACHE
        try:
            rows = pq.ParquetFile(path).read(["dataset", "image", "path"]).to_pylist()
        except FileNotFoundError as error:
            raise RunFolderError(f"{path} is missing: name the folder where the images of the run lie") from error
        except (pa.ArrowInvalid, OSError) as error:
            raise RunFolderError(f"{path} is damaged ({error}): name the folder where the images lie") from error
        return {(row["dataset"], row["image"]): Path(row["path"]) for row in rows}
