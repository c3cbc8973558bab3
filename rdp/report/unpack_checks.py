"""What a delivery promises against what its files give: rates always, metrics where the originals are there."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rdp.errors import ImageError, MetricError, WeightsError
from rdp.images import hash_pixels, list_images, read_image
from rdp.images.files import PathLike
from rdp.images.read import Exif
from rdp.metrics import Metric, plan_metrics
from rdp.metrics.registry import METRICS
from rdp.report.decoder_information import decoder_information
from rdp.report.delivery_names import PackError
from rdp.report.manifest import MANIFEST, Manifest
from rdp.report.manifest_parts import PackedFile
from rdp.report.side_information import side_information
from rdp.report.unpack_budgets import EXACT, check_budgets, check_image_bounds, close, tolerance_of
from rdp.report.unpack_charges import Charges, charges_of
from rdp.report.unpack_codecs import Mismatch
from rdp.report.unpack_selection import check_statement
from rdp.selection.document import number
from rdp.selection.problem import weighted_mean

if TYPE_CHECKING:
    Pixels = np.ndarray[Any, Any]


@dataclass(frozen=True)
class CheckedAverage:
    """An average as the manifest states it, and as it was found; `found` is None where it could not be recomputed."""

    column: str
    weighting: str
    stated: float
    found: float | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "column": self.column,
            "weighting": self.weighting,
            **number("stated", self.stated),
            **number("found", self.found),
        }


def check_numbers(
    manifest: Manifest, scores: Scores | None, need: int | None
) -> tuple[list[CheckedAverage], list[Mismatch]]:
    """Recompute what the manifest states of rates, metrics, budgets, counts and side information.

    `need` is how many files do not name their decoder, None where not all could be read.
    """
    charges = charges_of(manifest)
    nbytes = np.array([one.nbytes for one in manifest.files], dtype=np.float64)
    values = {"bpp": 8 * nbytes / charges.pixels, "nbytes": nbytes} | (scores.columns() if scores is not None else {})
    values = {name: np.minimum(one, manifest.caps.get(name, math.inf)) for name, one in values.items()}
    averages, wrong = [], []
    for one in manifest.averages:
        found = None
        # A metric that the run does not have of every chosen row has no average to hold anything against.
        if one.column in values and not math.isnan(one.average):
            found = weighted_mean(values[one.column], charges.weights(one.weighting))
            if not close(found, one.average, tolerance_of(one.column)):
                what = f"the average {one.column} is {found:.9g}, and {one.average:.9g} in the manifest"
                wrong.append(Mismatch(MANIFEST, what))
        averages.append(CheckedAverage(one.column, one.weighting, one.average, found))
    wrong += check_budgets(manifest, values, charges)
    wrong += check_image_bounds(manifest, values, charges)
    wrong += check_statement(manifest, charges)
    wrong += _check_counts(manifest, 8 * nbytes, charges, need)
    return averages, wrong


def _check_counts(manifest: Manifest, bits: Pixels, charges: Charges, need: int | None) -> list[Mismatch]:
    wrong = []
    total = int(bits.sum())
    if manifest.total_bits != total:
        wrong.append(Mismatch(MANIFEST, f"the files have {total} bits in all, and {manifest.total_bits} in it"))
    counts = Counter(one.point for one in manifest.files)
    for point in manifest.points:
        if counts.get(point.point) != point.images:
            what = f"{counts.get(point.point, 0)} images are at {point.point}, and {point.images} by its list of points"
            wrong.append(Mismatch(MANIFEST, what))
    offered = manifest.selection.get("points")
    names = list(offered) if isinstance(offered, list) and set(map(str, offered)) >= set(counts) else []
    if not names or {point.point for point in manifest.points} != set(counts):
        return [*wrong, Mismatch(MANIFEST, "its lists of points and its files name different points")]
    said = manifest.side_information
    taken = [counts.get(str(name), 0) for name in names]
    need = said.images_that_need_it if need is None else need
    limit = charges.cost.limit
    again = side_information(taken, bits, charges.pixels, said.weighting, need, said.charged, limit)
    wrong += _differing("side information", vars(again), vars(said))
    decided = manifest.decoder_information
    if decided is not None:
        decoders = np.array([one.decoders for one in manifest.files])
        found = decoder_information(decoders, bits, charges.pixels, decided.weighting)
        wrong += _differing("decoder information", vars(found), vars(decided))
    return wrong


def _differing(what: str, again: Mapping[str, Any], said: Mapping[str, Any]) -> list[Mismatch]:
    """The values that are not those that were found again."""
    return [
        Mismatch(MANIFEST, f"{what}: {name} is {value}, and {said[name]} in it")
        for name, value in again.items()
        if not (close(value, said[name], EXACT) if isinstance(value, float) else value == said[name])
    ]


# ---- metrics against the originals


@dataclass
class Scores:
    """Scores reconstructions against the originals, image by image. Metrics that cannot be had here are noted."""

    metrics: list[Metric]
    originals: dict[tuple[str, str], Path]
    exif: Exif
    notes: list[str] = field(default_factory=list)
    _values: dict[str, list[float]] = field(default_factory=dict)
    _scored: int = 0
    _wanted: int = 0

    @classmethod
    def of(cls, manifest: Manifest, originals: PathLike | Sequence[PathLike]) -> Scores:
        """Find the originals and make the metrics. Raises `ImageError` for folders without images."""
        exif: Exif = "apply" if manifest.protocol.get("exif") == "apply" else "ignore"
        scores = cls([], _originals(manifest, originals), exif, _wanted=len(manifest.files))
        for packed in manifest.metrics:
            if packed.name not in METRICS:
                scores.notes.append(f"metric {packed.name} is not checked: this rdp does not have it")
                continue
            try:
                plan = plan_metrics([packed.name])[0]
                scores.metrics.append(plan.create())
            except WeightsError as error:
                scores.notes.append(f"metric {packed.name} is not checked: {error}")
                continue
            if plan.fingerprint != packed.fingerprint:
                scores.notes.append(f"metric {packed.name} is another version here than where the delivery was made")
        return scores

    def add(self, file: PackedFile, reconstruction: Pixels) -> None:
        """Score one image. Raises `PackError` if its original is missing or another picture, or cannot be scored."""
        path = self.originals.get((file.dataset, file.image))
        if path is None:
            raise PackError(f"its original {file.image!r} is not among those given")
        try:
            pixels = read_image(path, self.exif)
        except ImageError as error:
            raise PackError(f"its original cannot be used: {error}") from error
        if hash_pixels(pixels) != file.pixels_sha256:
            raise PackError(f"{path} is another picture than the original that was evaluated")
        try:
            for metric in self.metrics:
                for column, values in metric.score(metric.prepare(pixels), [reconstruction]).items():
                    self._values.setdefault(column, []).extend(values)
        except MetricError as error:
            raise PackError(f"it cannot be scored: {error}") from error
        self._scored += 1

    def columns(self) -> dict[str, Pixels]:
        """The values by column, in the order of the files; none unless every file was scored."""
        if self._scored < self._wanted:
            return {}
        return {column: np.array(values, dtype=np.float64) for column, values in self._values.items()}


def _originals(manifest: Manifest, originals: PathLike | Sequence[PathLike]) -> dict[tuple[str, str], Path]:
    """Paths of the originals by key. A single folder stands for the one dataset of a delivery, whatever its name."""
    datasets = {one.dataset for one in manifest.files}
    return {image.key: image.path for image in list_images(originals, min(datasets) if len(datasets) == 1 else None)}
