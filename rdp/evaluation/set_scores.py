"""From a run folder and names of set-level metrics to their scorers, for the images and points that are asked for.

Features and projections that the run folder lacks are computed first (`rdp.evaluation.features`); each network's are
read once for all the distances of them. This module stands with the evaluation, as it computes and keeps them; what
the distances are is said in `rdp.analysis.sets`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rdp.analysis.sets.base import Choice, Exchange, Relaxed, SetScorer, Weights
from rdp.errors import MetricError, RunFolderError, SpecError, suggest
from rdp.evaluation.feature_arrays import CellArrays, Float32
from rdp.evaluation.features import compute_features, compute_projections
from rdp.evaluation.pictures import ImageKey, Places, image_keys, known_images
from rdp.evaluation.set_checks import check_first
from rdp.evaluation.set_names import SET_METRICS, SetMetric, is_set_metric, set_metric
from rdp.execution import Progress
from rdp.images.files import PathLike
from rdp.metrics.feature_networks import plan_network
from rdp.metrics.patches import PatchGrid
from rdp.metrics.swd_features import SwdSettings
from rdp.tables import CellTable, Run
from rdp.tables.picture_sums import pictures_sum
from rdp.tables.table import natural_key

if TYPE_CHECKING:
    from torch import nn

__all__ = ["SET_METRICS", "RunScorer", "is_set_metric", "set_scorers"]

WHOLE = 60_000
"""Patches of all points together up to which a kernel distance is of all pairs: some minutes of one core. Of more it is
the mean over random subsets, as many as take about as long."""
SUBSETS, SUBSET = 100, 1000
"""At most so many subsets, of so many patches."""


class RunScorer:
    """The `scorer` of a set-level metric, whose `facts` also say which features of which pictures it is of.

    `image_names` and `point_names` are in the order of the scorer's numbers. `quadratic`: whether the convex form is a
    quadratic one.
    """

    def __init__(
        self, scorer: SetScorer, image_names: Sequence[str], point_names: Sequence[str], features: Mapping[str, Any]
    ) -> None:
        self.scorer = scorer
        self.image_names, self.point_names = tuple(image_names), tuple(point_names)
        self.quadratic = bool(getattr(scorer, "quadratic", False))
        self._features = dict(features)

    @property
    def name(self) -> str:
        return self.scorer.name

    @property
    def images(self) -> int:
        return self.scorer.images

    @property
    def points(self) -> int:
        return self.scorer.points

    def score(self, choice: Choice) -> float:
        return self.scorer.score(choice)

    def relaxed(self, shares: Weights) -> Relaxed:
        return self.scorer.relaxed(shares)

    def below(self) -> SetScorer | None:
        """That of the scorer, where it has one (see `rdp.analysis.sets.base.SetScorer`)."""
        made = getattr(self.scorer, "below", None)
        return None if made is None else made()

    def exchange(self, choice: Choice) -> Exchange:
        return self.scorer.exchange(choice)

    def facts(self) -> dict[str, Any]:
        """Those of the scorer, and `features`: name, fingerprint (network, weights, patches, settings), grid or
        settings of the projections, and pictures, a hash of all the pictures that the features are of."""
        return {**self.scorer.facts(), "features": dict(self._features)}


def set_scorers(
    run: Run | Path | str,
    names: Sequence[str],
    *,
    images: Sequence[str] | None = None,
    points: Sequence[str] | None = None,
    network: str | nn.Module | None = None,
    patches: PatchGrid | None = None,
    device: str = "cpu",
    seed: int = 0,
    progress: Progress | None = None,
    convex_form: Literal["biased", "unbiased"] = "biased",
    allow_missing: bool = False,
    originals: Places | None = None,
    codec_files: Iterable[PathLike] = (),
) -> dict[str, RunScorer]:
    """Scorers by the names given; images and points in the order given. What the run folder lacks is computed first.

    Args:
        run: a run folder that `evaluate` made.
        names: see `rdp.evaluation.set_names`.
        images: names as in tables, or dataset/name (as `Problem.labels`); all, by data set and name, unless given.
            No other images matter: features are of these, and so is what `swd` is normalised by.
        points: names, written out; all in natural order unless given.
        network: the user's, for `fd_NAME` and `kd_NAME`: a module, or "package.module:attribute".
        patches: the grid of the features; 256x256 pixels from the origin and shifted by 128 by default.
        device: where the network runs, and codecs of rows that were decoded on a GPU.
        seed: of the patches and directions of `swd`, and of the subsets of kernel distances of large sets.
        progress: told the plan of what is computed, and how far it is.
        convex_form: of kernel distances: the V-statistic ("biased"), or the unbiased estimate.
        allow_missing: cells that the run does not have count as if they were the original, for problems that do not
            allow them; else they are refused.
        originals: the folder where the original images lie now, if they were moved.
        codec_files: TOML files that describe external tools, as for `evaluate`.

    Raises:
        SpecError: unknown names, images or points; networks of the user's that do not go with the names.
        MetricError: cells that are missing, images without patches, too few patches for the distance.
        RdpError: what `compute_features` and `compute_projections` raise.
    """
    opened = run if isinstance(run, Run) else Run(run)
    asked = {name: set_metric(name, network) for name in dict.fromkeys(names)}
    if not asked:
        raise SpecError(f"no set-level metric is named; they are {', '.join(SET_METRICS)}")
    _check_network(asked, network)
    table = opened.table().ok()
    known = _known_points(table, opened.path)
    chosen = known if points is None else list(points)
    if not allow_missing:
        _require_points(chosen, known, opened.path)
    keys = None if images is None else image_keys(known_images(table, chosen), images)
    how: dict[str, Any] = {
        "only": keys,
        "points": [point for point in chosen if point in known],
        "device": device,
        "images": originals,
        "codec_files": tuple(codec_files),
        "progress": progress,
    }
    check_first(opened, asked.values(), network, patches or PatchGrid(), seed, how["points"], keys)
    features: dict[str, _Loaded] = {}
    made: dict[str, RunScorer] = {}
    for name, metric in asked.items():
        if metric.network not in features:
            arrays = _arrays(opened, metric, network, patches, seed, how)
            features[metric.network] = _Loaded(arrays, table, keys, images, chosen, allow_missing)
        made[name] = features[metric.network].scorer(metric, convex_form, seed)
    return made


class _Loaded:
    """Arrays of one network (or projections), for the images (`keys`, called `images`) and points asked for."""

    def __init__(
        self,
        arrays: CellArrays,
        table: CellTable,
        keys: Sequence[ImageKey] | None,
        images: Sequence[str] | None,
        points: Sequence[str],
        allow_missing: bool,
    ) -> None:
        self._arrays, self._table = arrays, table
        self._keys = arrays.images if keys is None else keys
        rows = {key: number for number, key in enumerate(arrays.images)}
        self._rows = [rows[key] for key in self._keys]
        self.images = arrays.names if images is None else tuple(images)
        self.points = tuple(points)
        known = {point: number for number, point in enumerate(arrays.points)}
        self._columns = [known.get(point) for point in self.points]
        if not allow_missing:
            self._require_complete()
        self._kept: tuple[dict[str, Float32], dict[tuple[str, str], Float32]] | None = None

    def scorer(self, metric: SetMetric, convex_form: Literal["biased", "unbiased"], seed: int) -> RunScorer:
        """The scorer of a distance of these arrays."""
        from rdp.analysis.sets.cells import feature_cells, projection_cells
        from rdp.analysis.sets.frechet_scorer import FrechetScorer
        from rdp.analysis.sets.kernel import SEED
        from rdp.analysis.sets.kernel_scorer import KernelScorer
        from rdp.analysis.sets.sliced import SlicedScorer

        reference, cells = self._read()
        scorer: SetScorer
        if metric.distance == "sliced":
            scorer = SlicedScorer(projection_cells(reference, cells, self.points), name=metric.name)
        else:
            held = feature_cells(reference, cells, self.points)
            if metric.distance == "frechet":
                scorer = FrechetScorer(held, name=metric.name)
            else:
                subsets, size = _subsets(held.patches, len(self.points))
                scorer = KernelScorer(
                    held, name=metric.name, subsets=subsets,
                    subset_size=size,
                    convex_form=convex_form, seed=SEED + seed,
                )  # fmt: skip
        return RunScorer(scorer, self.images, self.points, self._facts())

    def _read(self) -> tuple[dict[str, Float32], dict[tuple[str, str], Float32]]:
        if self._kept is None:
            reference = {name: self._arrays.reference(row) for name, row in zip(self.images, self._rows, strict=True)}
            cells: dict[tuple[str, str], Float32] = {}
            for name, row in zip(self.images, self._rows, strict=True):
                for point, column in zip(self.points, self._columns, strict=True):
                    there = column is not None and bool(self._arrays.available[row, column])
                    cells[name, point] = self._arrays.cell(row, column or 0) if there else reference[name]
            self._kept = reference, cells
        return self._kept

    def _require_complete(self) -> None:
        missing = [
            (self.images[number], point)
            for number, row in enumerate(self._rows)
            for point, column in zip(self.points, self._columns, strict=True)
            if column is None or not self._arrays.available[row, column]
        ]
        if missing:
            image, point = missing[0]
            raise MetricError(
                f"{len(missing)} of {len(self.images) * len(self.points)} cells failed or are missing in the run, for "
                f"example {point} of {image!r}: evaluate them, or leave out the point"
            )

    def _facts(self) -> dict[str, Any]:
        arrays = self._arrays
        return {
            "name": arrays.name,
            "fingerprint": arrays.fingerprint,
            **{name: arrays.identity[name] for name in ("patches", "settings") if name in arrays.identity},
            "pictures": pictures_sum(self._table, self._keys, self.points),
        }


def _arrays(
    run: Run,
    metric: SetMetric,
    network: str | nn.Module | None,
    patches: PatchGrid | None,
    seed: int,
    how: Mapping[str, Any],
) -> CellArrays:
    if metric.distance == "sliced":
        return compute_projections(run, SwdSettings(seed=seed), **how)
    grid = patches or PatchGrid()
    if not metric.own:
        return compute_features(run, metric.network, patches=grid, **how)
    plan = plan_network(network or "", name=metric.network, side=grid.side)
    return compute_features(run, plan, patches=grid, **how)


def _check_network(asked: Mapping[str, SetMetric], network: str | nn.Module | None) -> None:
    own = {metric.network: name for name, metric in asked.items() if metric.own}
    if network is not None and not own:
        raise SpecError(
            f"a network of yours is given, and none of {', '.join(asked)} is of it: ask for fd_NAME or kd_NAME, with a "
            "name of your choice"
        )
    if len(own) > 1:
        raise SpecError(f"{' and '.join(own.values())} are of two networks, and one is given: take one name for it")


def _known_points(table: CellTable, path: Path) -> list[str]:
    found = sorted(set(table.data.column("point").to_pylist()), key=natural_key)
    if not found:
        raise RunFolderError(f"{path} has no cell that did not fail: evaluate some first")
    return found


def _require_points(points: Sequence[str], known: list[str], path: Path) -> None:
    for point in points:
        if point not in known:
            raise SpecError(f"{path} has no point {point!r} that did not fail.{suggest(point, known)}")


def _subsets(patches: int, points: int) -> tuple[int | None, int]:
    """How many random subsets, None for all pairs of patches at once, and patches of each."""
    size = min(SUBSET, patches)
    if patches * points <= WHOLE:
        return None, size
    return max(1, min(SUBSETS, WHOLE**2 // (size * points) ** 2)), size
