"""What several set-level metrics need, looked at before the features of any are computed, which may take hours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rdp.errors import DependencyError, MetricError, WeightsError
from rdp.evaluation.features import plan_features, plan_projections
from rdp.evaluation.pictures import ImageKey
from rdp.evaluation.set_names import SLICED, SetMetric
from rdp.metrics.patches import PatchGrid
from rdp.metrics.set_level import ready_set_level
from rdp.metrics.swd_features import SwdSettings
from rdp.tables import Run

if TYPE_CHECKING:
    from torch import nn


def check_first(
    run: Run,
    metrics: Iterable[SetMetric],
    network: str | nn.Module | None,
    grid: PatchGrid,
    seed: int,
    points: Sequence[str],
    only: Sequence[ImageKey] | None,
) -> None:
    """Plan the features of each metric and compute none; `network` is the user's.

    `points` and `only` are the points and images, as `compute_features` takes them. Raises `MetricError` for images
    that are too small for one of them; `WeightsError` and `DependencyError` name the distances that can be had here.
    """
    for metric in {metric.network: metric for metric in metrics}.values():
        if metric.distance == "sliced":
            plan_projections(run, SwdSettings(seed=seed), points=points, only=only)
        else:
            name = metric.network if metric.own else None
            taken = network if metric.own and network is not None else metric.network
            try:
                plan = plan_features(run, taken, points=points, only=only, patches=grid, name=name)
            except (WeightsError, DependencyError) as error:
                raise type(error)(f"{error}. {_instead()}") from error
            if plan.without:
                raise MetricError(
                    f"{', '.join(plan.without)}: no patch of {grid.name}, and a distance of features needs one of "
                    "every image. Take smaller patches, or mirror small images up to one (PatchGrid(small='mirror'))"
                )


def _instead() -> str:
    """The distances that this machine can compute, in words."""
    ready = [name for name in ready_set_level() if name != SLICED]
    others = f"{', '.join(ready)} (of other networks, not to be compared with FID or KID)"
    there = [*([others] if ready else []), f"{SLICED}, which needs no weights"]
    return f"Distances that can be computed here: {' and '.join(there)}"
