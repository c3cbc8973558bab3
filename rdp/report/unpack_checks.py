"""What a delivery promises against what its files give: rates always, metrics where the originals are there."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
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
from rdp.report.delivery_names import PackError
from rdp.report.manifest import MANIFEST, Manifest, PackedFile
from rdp.report.side_information import side_information
from rdp.report.unpack_codecs import Mismatch
from rdp.report.unpack_selection import check_statement
from rdp.selection.document import number
from rdp.selection.linear import allowance
from rdp.selection.problem import weighted_mean

if TYPE_CHECKING:
    Pixels = np.ndarray[Any, Any]

EXACT = 1e-9
"""Rates are recomputed from whole numbers: only the order of a sum may differ."""

RATES = ("bpp", "nbytes")

METRIC_TOLERANCE = 1e-5
"""Metrics may differ by this, absolutely or relatively, between machines."""


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
    files = manifest.files
    pixels = np.array([one.width * one.height for one in files], dtype=np.float64)
    nbytes = np.array([one.nbytes for one in files], dtype=np.float64)
    values = {"bpp": 8 * nbytes / pixels, "nbytes": nbytes} | (scores.columns() if scores is not None else {})
    averages, wrong = [], []
    picked = {}
    for one in manifest.averages:
        found = None
        weights = pixels if one.weighting == "pixels" else np.ones(len(files))
        if one.column in values:
            capped = np.minimum(values[one.column], manifest.caps.get(one.column, math.inf))
            found = weighted_mean(capped, weights)
            tolerance = EXACT if one.column in RATES else METRIC_TOLERANCE
            if not _close(found, one.average, tolerance):
                what = f"the average {one.column} is {found:.9g}, and {one.average:.9g} in the manifest"
                wrong.append(Mismatch(MANIFEST, what))
            picked[one.column] = (capped, weights, tolerance)
        averages.append(CheckedAverage(one.column, one.weighting, one.average, found))
    bits = manifest.side_information.bits_per_image if manifest.side_information.charged else 0
    added = {"bpp": bits / pixels, "nbytes": np.full(len(files), bits / 8)} if bits else {}
    capped_values = {name: np.minimum(one, manifest.caps.get(name, math.inf)) for name, one in values.items()}
    wrong += _check_budgets(manifest, averages, picked, added)
    wrong += _check_image_bounds(manifest, capped_values, added)
    wrong += check_statement(manifest)
    wrong += _check_counts(manifest, 8 * nbytes, pixels, need)
    return averages, wrong


def _close(one: float, other: float, tolerance: float) -> bool:
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return math.isclose(one, other, rel_tol=tolerance, abs_tol=0.0 if tolerance == EXACT else tolerance)


def _check_budgets(
    manifest: Manifest, averages: Sequence[CheckedAverage], picked: dict[str, Any], added: dict[str, Pixels]
) -> list[Mismatch]:
    """Each budget states the average that the manifest states elsewhere, and the average found keeps to it.

    `added` (N,) by column is the side information of each image, where it was charged.
    """
    stated = {one.column: one for one in averages}
    wrong = []
    for budget in manifest.budgets:
        one = stated.get(budget.column)
        if one is None or not _close(budget.average, one.stated, EXACT) or budget.weighting != one.weighting:
            wrong.append(Mismatch(MANIFEST, f"the budget of {budget.column} and the averages contradict each other"))
            continue
        average = one.stated if one.found is None else one.found
        room = 0.0
        if budget.column in picked:
            values, weights, tolerance = picked[budget.column]
            if budget.sense == "at_most" and budget.column in added:
                values = values + added[budget.column]
                average = weighted_mean(values, weights)
            room = allowance(budget.budget, values, weights)
            if tolerance == METRIC_TOLERANCE:
                room = METRIC_TOLERANCE * max(1.0, abs(budget.budget))
        over = average - budget.budget if budget.sense == "at_most" else budget.budget - average
        if over > max(room, EXACT * abs(budget.budget)):
            side = "above" if budget.sense == "at_most" else "below"
            wrong.append(
                Mismatch(MANIFEST, f"the average {budget.column} is {average:.9g}, {side} the budget {budget.budget:g}")
            )
    return wrong


def _check_image_bounds(manifest: Manifest, values: dict[str, Pixels], added: dict[str, Pixels]) -> list[Mismatch]:
    """Every image keeps the bounds on each image, and the worst one is as stated; columns not recomputed by its word.

    `values` (N,) by column are capped, `added` as for budgets.
    """
    wrong = []
    for one in manifest.image_bounds:
        sign = 1.0 if one.sense == "at_most" else -1.0
        tolerance = EXACT if one.column in RATES else METRIC_TOLERANCE
        found = np.array([one.worst]) if one.column not in values else values[one.column]
        worst = sign * float((sign * found).max())
        if not _close(worst, one.worst, tolerance):
            what = f"the worst {one.column} of an image is {worst:.9g}, and {one.worst:.9g} in it"
            wrong.append(Mismatch(MANIFEST, what))
        if one.sense == "at_most" and one.column in values and one.column in added:
            worst = float((found + added[one.column]).max())
        room = tolerance * (abs(one.bound) if tolerance == EXACT else max(1.0, abs(one.bound)))
        if not sign * (worst - one.bound) <= room:
            side = "above" if one.sense == "at_most" else "below"
            what = f"an image has {one.column} {worst:.9g}, {side} the bound {one.bound:g} on each"
            wrong.append(Mismatch(MANIFEST, what))
    return wrong


def _check_counts(manifest: Manifest, bits: Pixels, pixels: Pixels, need: int | None) -> list[Mismatch]:
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
    again = side_information(
        taken, bits, pixels, said.weighting, said.images_that_need_it if need is None else need, said.charged
    )
    for name, value in vars(again).items():
        stated = getattr(said, name)
        if not (_close(value, stated, EXACT) if isinstance(value, float) else value == stated):
            wrong.append(Mismatch(MANIFEST, f"side information: {name} is {value}, and {stated} in it"))
    return wrong


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
