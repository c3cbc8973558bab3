"""The work behind `rdp.evaluation.features`: which pictures of a run lack their arrays, and computing those."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rdp.errors import MetricError, RunFolderError, SpecError
from rdp.evaluation.feature_arrays import CellArrays, FeaturePlan, Float32, size_text
from rdp.evaluation.feature_kinds import Kind
from rdp.evaluation.name_patterns import matching_names
from rdp.evaluation.pictures import ImageKey, PictureRow, Pictures, Places, picture_rows
from rdp.execution import Progress
from rdp.images.files import PathLike
from rdp.tables import Run
from rdp.tables.feature_store import FeatureStore, FeatureWriter, array_bytes
from rdp.tables.table import natural_key

Source = Run | str | os.PathLike[str]

DEVICE_TOLERANCE = 1e-3
"""Largest difference, relative to the largest value, between the features of one picture on two devices."""


class FeatureWork:
    """The pictures of a run, and the arrays of one kind: which there are, which are missing."""

    def __init__(
        self, run: Source, kind: Kind, points: Iterable[str] | None, only: Iterable[ImageKey] | None = None
    ) -> None:
        self._run = run if isinstance(run, Run) else Run(run)
        rows = picture_rows(self._run)
        self._points = _chosen(points, sorted({row.point for row in rows}, key=natural_key), self._run.path)
        rows = _of_images([row for row in rows if row.point in self._points], only, self._run.path)
        if not rows:
            raise RunFolderError(f"{self._run.path} has no cell that did not fail: evaluate some first")
        self._originals: dict[ImageKey, PictureRow] = {}
        for row in rows:
            self._originals.setdefault(row.key, row)
        self._images = tuple(sorted(self._originals))
        self._rows = {(row.key, row.point): row for row in rows}
        self._kind = kind
        self._names = _names(self._images)
        sizes = [(name, self._originals[key]) for name, key in zip(self._names, self._images, strict=True)]
        kind.prepare(sizes)
        self._without = tuple(name for name, row in sizes if not kind.count(row))
        self._store = FeatureStore(self._run.path, kind.name, kind.fingerprint, kind.identity)
        # By the key of an array a row of its picture, and whether that is the original; rows of one point together.
        self._wanted: dict[str, tuple[PictureRow, bool]] = {}
        for row in self._originals.values():
            self._wanted.setdefault(kind.key(row, row.pixels_sha256), (row, True))
        for point in self._points:
            for image in self._images:
                cell = self._rows.get((image, point))
                if cell is not None:
                    self._wanted.setdefault(kind.key(cell, cell.reconstruction_sha256), (cell, False))

    def _missing(self) -> list[str]:
        return [key for key, (row, _) in self._wanted.items() if not self._store.has(key, self._kind.shape(row))]

    def plan(self, missing: Sequence[str] | None = None) -> FeaturePlan:
        missing = self._missing() if missing is None else missing
        sizes = {key: array_bytes(self._kind.shape(row)) for key, (row, _) in self._wanted.items()}
        return FeaturePlan(
            self._kind.name, self._store.path, len(self._images), len(self._points), len(self._rows),
            sum(self._kind.count(row) for row in self._originals.values()), len(sizes), len(missing),
            sum(sizes.values()), sum(sizes[key] for key in missing), self._without,
        )  # fmt: skip

    def compute(
        self, images: Places | None, device: str, codec_files: Iterable[PathLike], progress: Progress
    ) -> CellArrays:
        missing = self._missing()
        if missing:
            plan = self.plan(missing)
            progress.note(plan.sentence)
            self._check_room(plan)
            pictures = Pictures(self._run, images, device, codec_files)
            with self._store.writing() as writer:
                self._open(pictures, writer)
                progress.start(f"features {self._kind.name}", len(missing), "picture")
                for key in missing:
                    self._write(writer, pictures, key)
                    progress.advance()
                progress.finish()
        return self._arrays()

    def _open(self, pictures: Pictures, writer: FeatureWriter) -> None:
        """Make the network, or the statistics; where another device has computed before, compare with it."""
        originals = [self._originals[key] for key in self._images]
        known = self._store.description()
        writer.describe(**self._kind.open(known, originals, pictures.original))
        devices = list(known.get("devices", []))
        if self._kind.device in devices:
            return
        for key, (row, original) in self._wanted.items() if devices else ():
            if original and self._store.has(key, self._kind.shape(row)):
                self._compare(row, key, pictures.original(row), devices)
                break
        writer.describe(devices=[*devices, self._kind.device])

    def _compare(self, row: PictureRow, key: str, pixels: NDArray[np.uint8], devices: Sequence[str]) -> None:
        kept, new = self._store.read(key, self._kind.shape(row)), self._kind.compute(row, pixels)
        scale = float(np.abs(kept).max(initial=0.0))
        apart = float(np.abs(kept - new).max(initial=0.0))
        if apart > DEVICE_TOLERANCE * scale:
            raise MetricError(
                f"features {self._kind.name} of {row.image!r} differ by {apart:.2g}, of {scale:.2g}, between "
                f"{' and '.join(devices)}, where {self._store.path} was computed, and {self._kind.device}: compute on "
                "the same device, or delete that folder"
            )

    def _write(self, writer: FeatureWriter, pictures: Pictures, key: str) -> None:
        row, original = self._wanted[key]
        pixels = pictures.original(row) if original else pictures.reconstruction(row)
        try:
            values = self._kind.compute(row, pixels)
        except MetricError as error:
            what = "the original" if original else row.point
            raise MetricError(f"{row.image} (dataset {row.dataset}), {what}: {error}") from error
        writer.write(key, values)

    def _check_room(self, plan: FeaturePlan) -> None:
        import shutil

        free = shutil.disk_usage(self._run.path).free
        if free < plan.missing_nbytes:
            raise RunFolderError(
                f"no space left on the disk for {plan.folder}: {size_text(plan.missing_nbytes)} are needed and "
                f"{size_text(free)} are free; make room, or take fewer points"
            )

    def _arrays(self) -> CellArrays:
        available = np.array([[(image, point) in self._rows for point in self._points] for image in self._images])
        counts = np.array([self._kind.count(self._originals[image]) for image in self._images], np.intp)
        devices = tuple(self._store.description().get("devices", ()))
        return CellArrays(
            self._kind.name, self._kind.fingerprint, self._kind.identity, self._images, self._names, self._points,
            available, counts, self._without, self._store.path, devices, self._read,
        )  # fmt: skip

    def _read(self, image: int, point: int | None) -> Float32:
        key = self._images[image]
        row = self._originals[key] if point is None else self._rows.get((key, self._points[point]))
        if row is None:
            raise RunFolderError(f"{self._run.path} has no {self._points[point or 0]} of {key[1]!r} that did not fail")
        sha256 = row.pixels_sha256 if point is None else row.reconstruction_sha256
        return self._store.read(self._kind.key(row, sha256), self._kind.shape(row))


def _of_images(rows: list[PictureRow], only: Iterable[ImageKey] | None, run: Path) -> list[PictureRow]:
    """The rows of those images. Raises `SpecError` for one that has none."""
    if only is None:
        return rows
    wanted = set(only)
    missing = sorted(wanted - {row.key for row in rows})
    if missing:
        name = "/".join(missing[0])
        raise SpecError(f"{run} has no cell of {name} that did not fail at the points that are asked for")
    return [row for row in rows if row.key in wanted]


def _names(images: Sequence[ImageKey]) -> tuple[str, ...]:
    """Names of images, with those of their data sets where there are several."""
    several = len({dataset for dataset, _ in images}) > 1
    return tuple(f"{dataset}/{image}" if several else image for dataset, image in images)


def _chosen(wanted: Iterable[str] | None, known: Sequence[str], run: Path) -> tuple[str, ...]:
    """The points that any of the names or patterns means. Raises `SpecError` for one that means none."""
    if wanted is None:
        return tuple(known)
    if isinstance(wanted, str):
        raise SpecError(f"points={wanted!r} is one text: give a list of names or patterns")
    found = matching_names(wanted, known, lambda pattern: f"{run} has no point {pattern!r}.")
    return tuple(name for name in known if name in found)
