"""The metrics by name: where each scorer lives, and all that is known of it without loading it.

Listing and planning load neither torch nor a scorer. What is written here is what the scorer is made with, so the
fingerprint of a metric always describes what was computed. Raise `version` whenever an implementation changes its
numbers by more than rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rdp.columns import COLUMNS, Column
from rdp.errors import SpecError, suggest
from rdp.metrics.base import Metric, MetricPlan
from rdp.weights import find_entry, load_index, look_at, resolve_first

LPIPS_HEADS_SHA256 = {
    "alex": "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
    "vgg": "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
    "squeeze": "4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76",
}
"""SHA-256 of the linear heads, version 0.1, as they come inside the `lpips` package."""


@dataclass(frozen=True)
class MetricEntry:
    """A line of the registry. `weights` are names of the index, any one of which will do, the best first."""

    target: str
    columns: tuple[str, ...]
    dtype: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1
    least_side: int = 1
    weights: tuple[str, ...] = ()


def _entry(target: str, *columns: str, dtype: str = "float32", **options: Any) -> MetricEntry:
    return MetricEntry(f"rdp.metrics.{target}", columns, dtype, **options)


def _ssim_settings(channels: str) -> dict[str, Any]:
    return {"channels": channels, "window": 11, "sigma": 1.5, "k": [0.01, 0.03], "range": 255, "region": "valid"}


def _ms_ssim_settings(channels: str) -> dict[str, Any]:
    weights = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333]
    return {**_ssim_settings(channels), "scale_weights": weights, "odd_sizes": "round up", "negative": "zero"}


def _lpips(net: str, least_side: int, *weights: str) -> MetricEntry:
    settings = {"net": net, "lpips": "0.1", "heads_sha256": LPIPS_HEADS_SHA256[net]}
    return _entry("lpips:Lpips", f"lpips_{net}", settings=settings, least_side=least_side, weights=weights)


_RGB = {"channels": "rgb", "range": 255}
_LUMA = {"channels": "bt601 full range luma", "range": 255}

METRICS: dict[str, MetricEntry] = {}


def register(name: str, entry: MetricEntry) -> None:
    """Add a metric under a new name; a name that is taken, or an unknown column, is refused with `SpecError`."""
    if name in METRICS:
        raise SpecError(f"metric {name!r} is defined twice")
    for column in entry.columns:
        if column not in COLUMNS:
            raise SpecError(f"metric {name!r} gives the column {column!r}, which rdp/columns.py does not describe")
    METRICS[name] = entry


def metric_names() -> tuple[str, ...]:
    """The names of all metrics, in the order of tables."""
    return tuple(METRICS)


def plan_metrics(names: Sequence[str], index_path: Path | None = None) -> list[MetricPlan]:
    """Plans of the named metrics, in order, repeats dropped; verifies weights and loads no torch.

    `index_path` names another index of weights than the project's own. Raises `SpecError` for an unknown name and
    `WeightsError` for weights that are missing or of the wrong hash.
    """
    unique = list(dict.fromkeys(names))
    for name in unique:
        if name not in METRICS:
            known = metric_names()
            raise SpecError(f"unknown metric {name!r}.{suggest(name, known)} The metrics are: {', '.join(known)}")
    return [_plan(name, METRICS[name], index_path) for name in unique]


def create_metrics(names: Sequence[str], device: str = "cpu", index_path: Path | None = None) -> list[Metric]:
    """The named metrics ready to score on `device`. Raises what `plan_metrics` and `MetricPlan.create` raise."""
    return [plan.create(device) for plan in plan_metrics(names, index_path)]


@dataclass(frozen=True)
class MetricDescription:
    """What a list of metrics shows. `weights` are alternatives; `found` is the one on this machine (not verified).

    `problem` says what is wrong with the file that would be taken, whose size is not that of the index.
    """

    name: str
    columns: tuple[Column, ...]
    least_side: int
    weights: tuple[str, ...]
    found: str | None
    problem: str = ""

    @property
    def ready(self) -> bool:
        """Whether the metric needs no weights, or finds some."""
        return not self.weights or self.found is not None


def describe_metrics(index_path: Path | None = None) -> list[MetricDescription]:
    """Every metric for a list: loads no torch and does not read the weights, only looks whether they are there."""
    index = load_index(index_path)
    described = []
    for name, entry in METRICS.items():
        # As when they are used, the first file that is there is the one that counts, though it be wrong.
        own = (look_at(find_entry(index, weights)) for weights in entry.weights)
        first = next((status for status in own if status.path is not None), None)
        found = first.entry.name if first is not None and first.state == "present" else None
        problem = f"{first.entry.name}: {first.message}" if first is not None and first.message else ""
        columns = tuple(COLUMNS[column] for column in entry.columns)
        described.append(MetricDescription(name, columns, entry.least_side, entry.weights, found, problem))
    return described


def _plan(name: str, entry: MetricEntry, index_path: Path | None) -> MetricPlan:
    found = (
        (resolve_first(entry.weights, needed_by=f"metric {name!r}", index_path=index_path),) if entry.weights else ()
    )
    return MetricPlan(
        name, entry.target, entry.columns, entry.version, entry.dtype, entry.settings, entry.least_side, found
    )


for _name, _line in {
    "mse": _entry("pixel:Mse", "mse", dtype="int64", settings=_RGB),
    "psnr": _entry("pixel:Psnr", "psnr", dtype="int64", settings=_RGB),
    "psnr_y": _entry("pixel:PsnrLuma", "psnr_y", dtype="int64", settings=_LUMA),
    "ssim": _entry("ssim:Ssim", "ssim", settings=_ssim_settings("rgb"), least_side=11),
    "ssim_y": _entry("ssim:Ssim", "ssim_y", settings=_ssim_settings("luma"), least_side=11),
    "ms_ssim": _entry("ssim:MsSsim", "ms_ssim", "ms_ssim_db", settings=_ms_ssim_settings("rgb"), least_side=161),
    "ms_ssim_y": _entry("ssim:MsSsim", "ms_ssim_y", "ms_ssim_y_db", settings=_ms_ssim_settings("luma"), least_side=161),
    "lpips_alex": _lpips("alex", 31, "alexnet"),
    "lpips_vgg": _lpips("vgg", 16, "vgg16"),
    "lpips_squeeze": _lpips("squeeze", 17, "squeezenet1_1", "squeezenet1_1_features_fp16"),
    "haarpsi": _entry(
        "haarpsi:HaarPsi", "haarpsi", settings={"channels": "yiq", "scales": 3, "c": 30.0, "alpha": 4.2}, least_side=16
    ),
    "histogram_kl": _entry(
        "histogram:HistogramKl",
        "histogram_kl",
        "histogram_kl_reverse",
        dtype="float64",
        settings={"bins": 256, "smoothing": 0.5, "log": "natural"},
    ),
}.items():
    register(_name, _line)
