"""Features of the pictures of a run, computed once for each picture and kept in the run folder.

`compute_features` gives the features of patches that FID, KID and their stand-ins compare, `compute_projections` the
sorted projections that the sliced Wasserstein distance merges. Each has a plan that says, before it begins, how many
pictures are missing and how many bytes their arrays take: 4 x patches x dimensions for each picture, 4 x levels x
projections x patches for each picture's projections. Pictures of equal pixels have one array. What was computed stands
in files of its own (see `rdp.tables.feature_store`), so a process may be killed at any time; memory holds one picture
and its patches, and `CellArrays` reads an array when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rdp.evaluation.feature_arrays import CellArrays, FeaturePlan
from rdp.evaluation.feature_kinds import PatchFeatures, Projections
from rdp.evaluation.feature_work import FeatureWork, Source
from rdp.evaluation.pictures import ImageKey, Places
from rdp.execution import Progress, Silent
from rdp.images.files import PathLike
from rdp.metrics.feature_networks import NetworkPlan, plan_network
from rdp.metrics.patches import PatchGrid
from rdp.metrics.swd_features import SwdSettings

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "CellArrays",
    "FeaturePlan",
    "compute_features",
    "compute_projections",
    "plan_features",
    "plan_projections",
]


def compute_features(
    run: Source,
    network: str | nn.Module | NetworkPlan,
    *,
    points: Iterable[str] | None = None,
    only: Iterable[ImageKey] | None = None,
    patches: PatchGrid | None = None,
    device: str = "cpu",
    name: str | None = None,
    images: Places | None = None,
    codec_files: Iterable[PathLike] = (),
    index_path: Path | None = None,
    progress: Progress | None = None,
) -> CellArrays:
    """Features of the patches of all originals and reconstructions; only what the run folder lacks is computed.

    Args:
        run: a run folder that `evaluate` made.
        network: "inception", "squeeze", a module of yours, or "package.module:attribute"; see `plan_network`.
        points: names or patterns of points; all by default.
        only: the images that take part, (dataset, image) each; all that have one of the points by default.
        patches: the grid; 256x256 pixels from the origin and shifted by 128 by default.
        device: where the network runs, and codecs of rows that were decoded on a GPU.
        name: what tables call a module of yours.
        images: the folder where the originals lie now, if they were moved.
        codec_files: TOML files that describe external tools, as for `evaluate`.
        index_path: another index of weights than the project's own.
        progress: told the plan, and how far it is.

    Raises:
        SpecError: points that the run does not have, images that have none of them.
        MetricError: images that give no patch (unless the grid lets them), features of another device that differ.
        RunFolderError: a run without usable rows, a damaged file, a disk without room.
        RdpError: what planning the network, making a codec or decoding raises.
    """
    kind = _patch_features(network, patches, device, name, index_path)
    return FeatureWork(run, kind, points, only).compute(images, device, codec_files, progress or Silent())


def plan_features(
    run: Source,
    network: str | nn.Module | NetworkPlan,
    *,
    points: Iterable[str] | None = None,
    only: Iterable[ImageKey] | None = None,
    patches: PatchGrid | None = None,
    name: str | None = None,
    index_path: Path | None = None,
) -> FeaturePlan:
    """What `compute_features` of the same arguments would do; nothing is computed. Raises what it raises at first."""
    return FeatureWork(run, _patch_features(network, patches, "cpu", name, index_path), points, only).plan()


def compute_projections(
    run: Source,
    settings: SwdSettings | None = None,
    *,
    points: Iterable[str] | None = None,
    only: Iterable[ImageKey] | None = None,
    device: str = "cpu",
    images: Places | None = None,
    codec_files: Iterable[PathLike] = (),
    progress: Progress | None = None,
) -> CellArrays:
    """Sorted projections of the patches of all pictures, computed on the CPU; arguments as for `compute_features`.

    They are normalised by the originals of all images that take part, and have as many levels as the smallest of these
    allows: with other images they are computed anew, in a folder of their own.
    """
    kind = Projections(settings or SwdSettings())
    return FeatureWork(run, kind, points, only).compute(images, device, codec_files, progress or Silent())


def plan_projections(
    run: Source,
    settings: SwdSettings | None = None,
    *,
    points: Iterable[str] | None = None,
    only: Iterable[ImageKey] | None = None,
) -> FeaturePlan:
    """What `compute_projections` of the same arguments would do; nothing is computed."""
    return FeatureWork(run, Projections(settings or SwdSettings()), points, only).plan()


def _patch_features(
    network: str | nn.Module | NetworkPlan,
    patches: PatchGrid | None,
    device: str,
    name: str | None,
    index_path: Path | None,
) -> PatchFeatures:
    grid = patches or PatchGrid()
    return PatchFeatures(plan_network(network, name=name, side=grid.side, index_path=index_path), grid, device)
