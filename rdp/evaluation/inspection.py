"""Looking at every image before anything is encoded: is it usable, how large is it, what is its hash.

A full read finds the truncated file among ten thousand now and not after an hour. What was found is kept in the run
folder (`images.parquet`) under the file's size and time stamp, so that a resumed run does not read everything again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rdp.errors import ImageError
from rdp.execution import Progress, WorkerPool
from rdp.images import ImageFile, hash_pixels, load_image
from rdp.images.read import Exif
from rdp.tables.manifest import write_atomically
from rdp.tables.schema import image_schema

CACHE = "images.parquet"
_LISTED = 10


@dataclass(frozen=True)
class Inspected:
    """An image that can be used: its size in pixels, the hash of its pixels, and what reading it ignored or did."""

    image: ImageFile
    width: int
    height: int
    pixels_sha256: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Question:
    image: ImageFile
    exif: Exif


Stamp = tuple[int, int]


def inspect_images(
    images: Sequence[ImageFile], pool: WorkerPool, exif: Exif, run: Path, progress: Progress
) -> list[Inspected]:
    """Inspect all images, in their order. Raises `ImageError` that lists every image that cannot be used."""
    stamps = {image.key: _stamp(image.path) for image in images}
    known = _read_cache(run, stamps)
    unknown = [image for image in images if image.key not in known]
    found = dict(known)
    bad: list[str] = []
    if unknown:
        progress.start("checking images", len(unknown), "image")
        questions: Iterator[_Question] = (_Question(image, exif) for image in unknown)
        for outcome in pool.run(look_at, lambda: next(questions, None)):
            progress.advance()
            if outcome.error is not None and not isinstance(outcome.error, ImageError):
                raise outcome.error
            if outcome.result is None:
                bad.append(str(outcome.error) if outcome.error else f"{outcome.task.image.path}: {outcome.death}")
            else:
                found[outcome.task.image.key] = outcome.result
        progress.finish()
    if bad:
        raise ImageError(_listing(sorted(bad), len(images)))
    inspected = [found[image.key] for image in images]
    if unknown:
        _write_cache(run, inspected, stamps)
    for note, count in sorted(Counter(note for item in inspected for note in item.notes).items()):
        progress.note(f"{note} in {count} of {len(images)} images")
    return inspected


def look_at(question: _Question) -> Inspected:
    """One image, in a worker."""
    image = question.image
    loaded = load_image(image.path, question.exif)
    height, width = loaded.pixels.shape[:2]
    return Inspected(image, width, height, hash_pixels(loaded.pixels), loaded.notes)


def _listing(bad: Sequence[str], count: int) -> str:
    lines = [
        f"{len(bad)} of {count} images cannot be used; nothing was encoded:",
        *(f"  {line}" for line in bad[:_LISTED]),
    ]
    if len(bad) > _LISTED:
        lines.append(f"  … and {len(bad) - _LISTED} more")
    return "\n".join(lines)


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError as error:
        raise ImageError(f"cannot read {path}: {error.strerror}") from error
    return status.st_size, status.st_mtime_ns


def _read_cache(run: Path, stamps: dict[tuple[str, str], Stamp]) -> dict[tuple[str, str], Inspected]:
    """Findings that still hold. A damaged cache is no harm: everything is looked at again."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = run / CACHE
    if not path.exists():
        return {}
    try:
        rows = pq.ParquetFile(path).read().cast(image_schema()).to_pylist()
    except (pa.ArrowInvalid, OSError, ValueError):
        return {}
    known = {}
    for row in rows:
        key = (row["dataset"], row["image"])
        if stamps.get(key) == (row["file_size"], row["mtime_ns"]):
            notes = tuple(note for note in row["notes"].split("; ") if note)
            image = ImageFile(*key, Path(row["path"]))
            known[key] = Inspected(image, row["width"], row["height"], row["pixels_sha256"], notes)
    return known


def _write_cache(run: Path, inspected: Sequence[Inspected], stamps: dict[tuple[str, str], Stamp]) -> None:
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        {
            "dataset": item.image.dataset,
            "image": item.image.name,
            "path": str(item.image.path.absolute()),
            "file_size": stamps[item.image.key][0],
            "mtime_ns": stamps[item.image.key][1],
            "width": item.width,
            "height": item.height,
            "pixels_sha256": item.pixels_sha256,
            "notes": "; ".join(item.notes),
        }
        for item in inspected
    ]
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=image_schema()), stream)
    write_atomically(run / CACHE, stream.getvalue())
