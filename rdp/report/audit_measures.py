"""What an audit measures: averages over images, set-level metrics, and the same on patches that were not optimised.

A set-level metric stands in up to two columns: as it is, and `NAME@held_out`, on patches that no selection was made on:
the grid shifted by a quarter of a side (`PatchGrid.held_out`), and for `swd`, whose patches are drawn, those and the
directions of another seed. With a further network come its own distances.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from rdp.columns import Direction
from rdp.errors import DependencyError, MetricError, SpecError, WeightsError
from rdp.evaluation.set_names import SLICED, SetMetric, set_metric
from rdp.metrics.feature_networks import NETWORKS, NetworkPlan, plan_network
from rdp.metrics.patches import PatchGrid
from rdp.report.averages import Average

if TYPE_CHECKING:
    from torch import nn

    from rdp.analysis.sets.base import SetScorer
    from rdp.evaluation.feature_arrays import CellArrays
    from rdp.evaluation.pictures import Places
    from rdp.execution import Progress
    from rdp.images.files import PathLike
    from rdp.tables import Run

Part = Literal["average", "set", "held out", "network"]
HELD_OUT = "@held_out"
NEXT_SEED = 1
"""Added to the seed for the patches of `swd` that are held out."""
STAND_IN = "squeeze"
"""The network whose distances stand in for FID and KID."""
_WORDS = {"frechet": "Fréchet distance", "kernel": "unbiased kernel distance", "sliced": "sliced Wasserstein distance"}


@dataclass(frozen=True)
class Measure:
    """One column of an audit.

    `key` names it in files, `title` in texts; `part` says where it belongs: an average over images, a set-level metric,
    one on held-out patches, one of the further network. `metric` is the set-level metric that it is of, else empty.
    `facts`: patches, dimensions, kernel, subsets, seed, features, warnings (JSON).
    """

    key: str
    title: str
    unit: str
    direction: Direction | None
    meaning: str
    part: Part
    metric: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def heading(self) -> str:
        """Title with unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    @property
    def of_set(self) -> bool:
        """Whether it is of all images together, and no average."""
        return self.part != "average"

    @property
    def axis(self) -> Average:
        """As an axis of a figure."""
        return Average(self.key, self.key, self.title, self.unit, self.meaning, self.direction)


@dataclass(frozen=True, eq=False)
class SetMeasure:
    """A set-level measure with its scorer, and `arrays`, which reads the features that it is of."""

    measure: Measure
    metric: SetMetric
    scorer: SetScorer
    arrays: Callable[[], CellArrays]


@dataclass(frozen=True, eq=False)
class Source:
    """Where features come from: the run, complete `points`, and what `set_scorers` takes besides."""

    run: Run
    points: tuple[str, ...]
    grid: PatchGrid
    device: str
    seed: int
    originals: Places | None
    codec_files: tuple[PathLike, ...]
    progress: Progress


def measure_of(average: Average) -> Measure:
    """An average over images as a measure."""
    return Measure(average.key, average.title, average.unit, average.direction, average.meaning, "average")


def ready_metrics(grid: PatchGrid, sizes: Sequence[tuple[str, int, int]]) -> tuple[list[str], list[str]]:
    """The set-level metrics that this machine and these images allow, and in words why others are left out.

    `sizes` are (name, width, height) of the images.
    """
    names, notes = [SLICED], []
    try:
        grid.check(sizes)
    except MetricError as error:
        return names, [f"only {SLICED} is scored: {error} (--patches)"]
    for network, entry in NETWORKS.items():
        try:
            plan_network(network, side=grid.side)
        except (WeightsError, DependencyError, MetricError) as error:
            notes.append(f"{entry.frechet} and {entry.kernel} are left out: {error}")
        else:
            names += [entry.kernel, entry.frechet]
    return names, notes


def check_metrics(names: Iterable[str], network: str | nn.Module | None) -> list[str]:
    """The full names of the metrics, each once. Raises `SpecError` for an unknown one, and for a single text."""
    if isinstance(names, str):
        raise SpecError(f"metrics={names!r} is one text: give a list of names")
    return list(dict.fromkeys(set_metric(name, network).name for name in names))


def further_metrics(network: str | nn.Module | None, grid: PatchGrid) -> list[str]:
    """The distances of the further network, none without one. Raises what planning it raises."""
    if network is None:
        return []
    plan: NetworkPlan = plan_network(network, side=grid.side)
    return [plan.kernel, plan.frechet]


def set_measures(source: Source, names: Sequence[str], network: str | nn.Module | None, part: Part) -> list[SetMeasure]:
    """Scorers of the named metrics as measures of one part; what the run folder lacks is computed."""
    from rdp.evaluation.set_scores import set_scorers

    if not names:
        return []
    own = network if any(set_metric(name, network).own for name in names) else None
    scorers = set_scorers(
        source.run, names, points=source.points, network=own, patches=source.grid, device=source.device,
        seed=source.seed, progress=source.progress, originals=source.originals, codec_files=source.codec_files,
    )  # fmt: skip
    return [_set_measure(source, set_metric(name, own), scorers[name], own, part) for name in names]


def _set_measure(
    source: Source, metric: SetMetric, scorer: SetScorer, network: str | nn.Module | None, part: Part
) -> SetMeasure:
    held = part == "held out"
    words = _WORDS[metric.distance] + (f" of {metric.network} features" if metric.network else "")
    words += f" (a stand-in, {other_than_of(metric.name)})" if metric.network == STAND_IN else ""
    of = f"patches {source.grid.name}" if metric.network else f"seed {source.seed}"
    measure = Measure(
        key=metric.name + (HELD_OUT if held else ""),
        title=metric.name + (", held out" if held else ""),
        unit="",
        direction="lower",
        meaning=f"{words} between originals and reconstructions, {of}",
        part=part,
        metric=metric.name,
        facts=scorer.facts(),
    )
    return SetMeasure(measure, metric, scorer, lambda: _arrays(source, metric, network))


def other_than_of(metric: str) -> str:
    """`not KID`: what a distance (its full name) of features of no Inception is not to be taken for; else empty."""
    return {"fd": "not FID", "kd": "not KID"}.get(metric.partition("_")[0], "")


def _arrays(source: Source, metric: SetMetric, network: str | nn.Module | None) -> CellArrays:
    """The features that a scorer was made of, which the run folder keeps by now."""
    from rdp.evaluation.features import compute_features, compute_projections
    from rdp.metrics.swd_features import SwdSettings

    if metric.distance == "sliced":
        return compute_projections(
            source.run, SwdSettings(seed=source.seed), points=source.points, device=source.device,
            images=source.originals, codec_files=source.codec_files,
        )  # fmt: skip
    taken = network if metric.own and network is not None else metric.network
    return compute_features(
        source.run, taken, points=source.points, patches=source.grid, device=source.device,
        name=metric.network if metric.own else None, images=source.originals, codec_files=source.codec_files,
    )  # fmt: skip


def warnings_of(measures: Sequence[Measure], images: int) -> list[str]:
    """What the scorers warn of (they say the patches), with the number of images, each once."""
    found = [
        f"{measure.title}, {images} images: {warning}"
        for measure in measures
        for warning in measure.facts.get("warnings", ())
    ]
    return list(dict.fromkeys(found))
