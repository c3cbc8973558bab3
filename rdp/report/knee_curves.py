"""Perception-distortion curves of the decoders of one encoder: their points, their knees, and how sure these are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rdp.analysis.knee import (
    EndPointSensitivity,
    KneeError,
    chord_knee,
    end_point_sensitivity,
    knee_shares,
    kneedle,
)
from rdp.analysis.pareto import pareto_subset
from rdp.columns import Direction
from rdp.errors import TableError
from rdp.report.averages import Average
from rdp.report.knee_groups import OWN_DECODER, PointGroup
from rdp.selection.grid import Grid
from rdp.selection.problem import BoolArray, FloatArray
from rdp.selection.words import counted

RATE = "bpp"
_SAME_RATE = 1e-9
"""Mean rates that differ by no more than this part of the larger are equal."""


@dataclass(frozen=True)
class KneeGain:
    """The knee less the point labelled `reference`, in both averages; `y_relative`: as a part of its y, None of 0."""

    reference: str
    x: float
    y: float
    y_relative: float | None


@dataclass(frozen=True)
class KneePoint:
    """One point of a curve: `label` is its decoder, `x` and `y` are means over the curve's images.

    `dominated_by` and `same_as` name other points of the curve by their labels (`rdp.analysis.ParetoSubset`).
    `distance` is that to the chord of the normalised curve, None off the front and where there is no chord; `share` is
    that of the resamples in which the point is the knee, None without resamples.
    """

    point: str
    label: str
    x: float
    y: float
    on_front: bool
    dominated_by: tuple[str, ...]
    same_as: str | None
    distance: float | None = None
    share: float | None = None


@dataclass(frozen=True)
class KneeCurve:
    """The decoders of one encoder, from the best x to the worst.

    `rates` are the least and greatest mean rate of its points (bit/pixel), None where the table has none; of points
    that share a file they are equal. Means are over `images`; `left_out` further ones lack a value at some point.
    `knee` is the place in `points` of the chord's knee and `kneedle` that of Kneedle's, None where there is none;
    `reason` says why a curve has no chord at all. `ends` are the sensitivities of both to the end points, by method;
    `no_knee` is the share of the resamples without a knee.
    """

    name: str
    encoder_id: str | None
    rates: tuple[float, float] | None
    images: int
    left_out: int
    points: tuple[KneePoint, ...]
    knee: int | None = None
    tied: tuple[int, ...] = ()
    kneedle: int | None = None
    ends: tuple[EndPointSensitivity, ...] = ()
    no_knee: float | None = None
    reason: str = ""

    @property
    def gain(self) -> KneeGain | None:
        """What the knee gives and takes against the reference; None without a knee."""
        if self.knee is None or self.reference is None:
            return None
        one, other = self.points[self.knee], self.reference
        relative = (one.y - other.y) / abs(other.y) if other.y else None
        return KneeGain(other.label, one.x - other.x, one.y - other.y, relative)

    @property
    def rate(self) -> float | None:
        """The mean rate in bit/pixel; of points that differ in it the middle."""
        return None if self.rates is None else sum(self.rates) / 2

    @property
    def front(self) -> tuple[int, ...]:
        """Places of the points on the Pareto front, from the best x to the best y."""
        return tuple(place for place, point in enumerate(self.points) if point.on_front)

    @property
    def reference(self) -> KneePoint | None:
        """What the knee is compared with: the network's own decoder, or else the point of the best x."""
        own = [point for point in self.points if point.label == OWN_DECODER]
        return next(iter([*own, *(self.points[place] for place in self.front)]), None)

    def label(self, place: int | None) -> str | None:
        """The label of the point in a place; None stays None."""
        return None if place is None else self.points[place].label


@dataclass(frozen=True, eq=False)
class CurveMaker:
    """Makes curves of groups of a grid's points."""

    grid: Grid
    axes: tuple[Average, Average]
    sensitivity: float
    resamples: int
    seed: int

    @property
    def _ways(self) -> tuple[Direction, Direction]:
        x, y = (axis.direction or "lower" for axis in self.axes)
        return x, y

    def curve(self, group: PointGroup) -> tuple[KneeCurve, list[str]]:
        """The curve of a group, and notes on it."""
        places = np.array(group.points)
        present = self._present()[:, places]
        missing: BoolArray = np.logical_not(present.any(axis=0))
        notes = [
            f"{self.grid.points[place]} left out: it has no image with {self.axes[0].column} and {self.axes[1].column}"
            for place in places[missing].tolist()
        ]
        labels = [label for label, gone in zip(group.labels, missing.tolist(), strict=True) if not gone]
        places, present = places[~missing], present[:, ~missing]
        common: BoolArray = np.asarray(present.all(axis=1))
        images, left_out = int(common.sum()), int((present.any(axis=1) & ~common).sum())
        empty = KneeCurve(group.name, group.encoder_id, None, images, left_out, ())
        if not images:
            why = "no image has values at all of its points" if len(places) else "none of its points has values"
            return replace(empty, reason=f"{why}; leave points out (points, --points '!NAME')"), notes
        if left_out:
            total = images + left_out
            notes.append(f"{group.name}: {left_out} of {counted(total, 'image')} left out, not at all of its points")
        xs, ys = (self._values(axis.column, common, places) for axis in self.axes)
        order = self._order(xs.mean(axis=0), ys.mean(axis=0))
        rates = self._rates(common, places)
        if rates is not None and rates[1] - rates[0] > _SAME_RATE * rates[1]:
            notes.append(
                f"{group.name}: its points do not share a file; "
                f"mean rates are {rates[0]:.6g} to {rates[1]:.6g} bit/pixel"
            )
        names = [self.grid.points[place] for place in places[order].tolist()]
        made = self._made(names, [labels[k] for k in order], xs[:, order], ys[:, order])
        return replace(made, name=group.name, encoder_id=group.encoder_id, rates=rates, left_out=left_out), notes

    def _made(self, names: Sequence[str], labels: Sequence[str], xs: FloatArray, ys: FloatArray) -> KneeCurve:
        """The curve of points in order; `xs` and `ys` (images, points) are their values."""
        x, y = xs.mean(axis=0), ys.mean(axis=0)
        subset = pareto_subset(x, y, *self._ways)
        curve = KneeCurve(
            name="",
            encoder_id=None,
            rates=None,
            images=len(xs),
            left_out=0,
            points=tuple(
                KneePoint(
                    name,
                    labels[k],
                    float(x[k]),
                    float(y[k]),
                    k in subset.front,
                    tuple(labels[by] for by in subset.dominated_by[k]),
                    None if same is None else labels[same],
                )
                for k, (name, same) in enumerate(zip(names, subset.same_as, strict=True))
            ),
        )
        try:
            found = chord_knee(x, y, *self._ways)
        except KneeError as error:
            return replace(curve, reason=str(error))
        away = dict(zip(subset.front, found.distances, strict=True))
        shares = knee_shares(xs, ys, *self._ways, resamples=self.resamples, seed=self.seed) if self.resamples else None
        points = [
            replace(point, distance=away.get(k), share=None if shares is None else shares.shares[k])
            for k, point in enumerate(curve.points)
        ]
        return replace(
            curve,
            points=tuple(points),
            knee=found.knee,
            tied=found.tied,
            kneedle=kneedle(x, y, *self._ways, sensitivity=self.sensitivity),
            ends=(
                end_point_sensitivity(x, y, *self._ways),
                end_point_sensitivity(x, y, *self._ways, method="kneedle", sensitivity=self.sensitivity),
            ),
            no_knee=None if shares is None else shares.none,
        )

    def _present(self) -> BoolArray:
        """Cells (images, points) that did not fail and have both values."""
        present = self.grid.known & ~self.grid.failed
        for axis in self.axes:
            present = present & self.grid.valid(axis.column)
        return present

    def _values(self, column: str, images: BoolArray, places: Any) -> FloatArray:
        """Values (images, points) of a column; raises `TableError` for one that is not finite."""
        values: FloatArray = self.grid.values(column)[images][:, places]
        if not np.isfinite(values).all():
            row, k = np.unravel_index(int(np.argmin(np.isfinite(values))), values.shape)
            image = self.grid.images[int(np.flatnonzero(images)[row])]
            point = self.grid.points[int(places[k])]
            raise TableError(
                f"{self.grid.table.source}: {column!r} is {values[row, k]} at image {image!r} and point {point!r}; "
                f"mend the cell, leave it empty, or leave the point out (points, --points '!{point}')"
            )
        return values

    def _rates(self, images: BoolArray, places: Any) -> tuple[float, float] | None:
        if RATE not in self.grid.table.numeric_columns:
            return None
        means = self.grid.values(RATE)[images][:, places].mean(axis=0)
        return (float(means.min()), float(means.max())) if np.isfinite(means).all() else None

    def _order(self, x: FloatArray, y: FloatArray) -> list[int]:
        """Places from the best x to the worst, equal ones by y, and then as they are."""
        a, b = (value if way == "lower" else -value for value, way in zip((x, y), self._ways, strict=True))
        order: list[int] = np.lexsort((b, a)).tolist()
        return order
