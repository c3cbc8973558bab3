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

from rdp.columns import COLUMNS, Column, is_set_level
from rdp.errors import SpecError, WeightsError, suggest
from rdp.metrics.base import Metric, MetricPlan
from rdp.metrics.set_level import set_level_names
from rdp.weights import (
    WeightsEntry,
    WeightsFile,
    WeightsStatus,
    find_entry,
    load_index,
    locate,
    look_at,
    resolve_first,
    sha256_of,
)

LPIPS_HEADS_SHA256 = {
    "alex": "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
    "vgg": "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
    "squeeze": "4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76",
}
"""SHA-256 of the linear heads, version 0.1, as they come inside the `lpips` package."""


@dataclass(frozen=True)
class MetricEntry:
    """A line of the registry. `weights` are names of the index, any one of which will do, the best first.

    `also` are names of the index that are needed besides, each of them; `own_file` is the name of a file of the user's
    own, which the metric is planned with instead of `weights`.
    """

    target: str
    columns: tuple[str, ...]
    dtype: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1
    least_side: int = 1
    weights: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    own_file: str = ""

    @property
    def needs_weights(self) -> bool:
        return bool(self.weights or self.also or self.own_file)


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


def _niqe(name: str, **weights: Any) -> MetricEntry:
    settings = {
        "gray": "matlab rgb2gray, rounded",
        "block": 96,
        "scales": 2,
        "window": 7,
        "sigma": 7 / 6,
        "halving": "bicubic, antialiased",
        "flat": "no difference",
    }
    return _entry("niqe:Niqe", name, dtype="float64", settings=settings, least_side=192, **weights)


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


def is_metric(name: str) -> bool:
    """Whether a name that a run or a delivery gives to scores is one of a metric that rdp has, or has through pyiqa."""
    return name in METRICS or name.startswith("pyiqa_")


def plan_metrics(names: Sequence[str], index_path: Path | None = None) -> list[MetricPlan]:
    """Plans of the named metrics, in order, repeats dropped; verifies weights and, but for pyiqa's, loads no torch.

    A name is one of `metric_names`, or `niqe:model=FILE` (a pristine model of one's own; the plan is called
    `niqe_fitted`), or `pyiqa:NAME` (a metric of the package pyiqa; the plan is called `pyiqa_NAME`). `index_path` names
    another index of weights than the project's own. Raises `SpecError` for an unknown name, `WeightsError` for weights
    that are missing or of the wrong hash, and `DependencyError` if pyiqa is asked for and not installed.
    """
    unique = list(dict.fromkeys(names))
    for name in unique:
        _check_name(name)
    plans: dict[str, MetricPlan] = {}
    for plan in (_plan_named(name, index_path) for name in unique):
        if plans.setdefault(plan.name, plan).fingerprint != plan.fingerprint:
            raise SpecError(f"metric {plan.name!r} is asked for with two files: leave one out")
    return list(plans.values())


def create_metrics(names: Sequence[str], device: str = "cpu", index_path: Path | None = None) -> list[Metric]:
    """The named metrics ready to score on `device`. Raises what `plan_metrics` and `MetricPlan.create` raise."""
    return [plan.create(device) for plan in plan_metrics(names, index_path)]


@dataclass(frozen=True)
class MetricDescription:
    """What a list of metrics shows. `weights` are alternatives; `found` is the one on this machine (not verified).

    `missing` are names of weights without which it cannot be used, an alternative's first name for all of them;
    `problem` says what is wrong with a file that would be taken, whose size is not that of the index.
    """

    name: str
    columns: tuple[Column, ...]
    least_side: int
    weights: tuple[str, ...]
    found: str | None
    missing: tuple[str, ...] = ()
    problem: str = ""

    @property
    def ready(self) -> bool:
        """Whether the metric needs no weights, or finds all that it needs."""
        return not self.missing


def describe_metrics(index_path: Path | None = None) -> list[MetricDescription]:
    """Every metric for a list: loads no torch and does not read the weights, only looks whether they are there."""
    index = load_index(index_path)
    described = []
    for name, entry in METRICS.items():
        alternatives = [find_entry(index, weights) for weights in entry.weights]
        if entry.own_file:
            alternatives = [_own_entry(name, entry)]
        groups = [group for group in (alternatives, *([find_entry(index, one)] for one in entry.also)) if group]
        # As when they are used, the first file that is there is the one that counts, though it be wrong.
        firsts = [_first_there(group) for group in groups]
        missing = tuple(group[0].name for group, first in zip(groups, firsts, strict=True) if first.state != "present")
        found = firsts[0].entry.name if firsts and firsts[0].state == "present" else None
        problem = next((f"{first.entry.name}: {first.message}" for first in firsts if first.message), "")
        columns = tuple(COLUMNS[column] for column in entry.columns)
        names = tuple(one.name for one in alternatives)
        described.append(MetricDescription(name, columns, entry.least_side, names, found, missing, problem))
    return described


def pyiqa_version() -> str | None:
    """The version of pyiqa that is installed, or None; it is not imported."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("pyiqa")
    except PackageNotFoundError:
        return None


def _first_there(entries: Sequence[WeightsEntry]) -> WeightsStatus:
    looked = [look_at(entry) for entry in entries]
    return next((status for status in looked if status.path is not None), looked[0])


def _check_name(name: str) -> None:
    """Raise `SpecError` for a name that no metric has, or options that it does not take."""
    known = metric_names()
    base, colon, options = name.partition(":")
    if name in METRICS or (is_metric(name) and not colon) or (base == "pyiqa" and options):
        return
    if base == "niqe" and options.startswith("model=") and options != "model=":
        return
    if base in METRICS and colon:
        takes = "takes only model=FILE" if base == "niqe" else "takes no options"
        raise SpecError(f"metric {name!r}: {base} {takes}")
    if is_set_level(name):
        raise SpecError(
            f"metric {name!r} is a distance of sets, of all images together, and no column of single images: name it "
            f"in rdp solve RUN --minimize {name}, or in rdp audit RUN --metric {name}"
        )
    near = suggest(name, (*known, *set_level_names()))
    raise SpecError(
        f"unknown metric {name!r}.{near} The metrics are: {', '.join(known)}; pyiqa:NAME, for those of "
        f"the package pyiqa; and niqe:model=FILE. Distances of sets, for rdp solve and rdp audit: "
        f"{', '.join(set_level_names())}"
    )


def _plan_named(name: str, index_path: Path | None) -> MetricPlan:
    if name in METRICS:
        return _plan(name, METRICS[name], index_path)
    base, _, options = name.partition(":")
    if base == "niqe":
        return _plan_own("niqe_fitted", Path(options.removeprefix("model=")).expanduser())
    from rdp.metrics.from_pyiqa import plan_pyiqa

    return plan_pyiqa(options or name.removeprefix("pyiqa_"))


def _plan(name: str, entry: MetricEntry, index_path: Path | None) -> MetricPlan:
    if entry.own_file:
        path = locate(_own_entry(name, entry))
        if path is None:
            raise WeightsError(
                f"metric {name!r} needs a file of your own: write niqe:model=FILE, or call it {entry.own_file} and "
                "name its folder in RDP_WEIGHTS. `rdp.metrics.niqe.fit_pristine` makes one"
            )
        return _plan_own(name, path)
    needed_by = f"metric {name!r}"
    found = (resolve_first(entry.weights, needed_by, index_path),) if entry.weights else ()
    return _planned(name, entry, (*found, *(resolve_first((one,), needed_by, index_path) for one in entry.also)))


def _plan_own(name: str, path: Path) -> MetricPlan:
    """The plan with a pristine model of the user's, which is read, that a wrong file is refused before a run."""
    from rdp.metrics.niqe import read_model

    read_model(path)
    return _planned(name, METRICS[name], (WeightsFile(name, path.absolute(), sha256_of(path)),))


def _planned(name: str, entry: MetricEntry, weights: tuple[WeightsFile, ...]) -> MetricPlan:
    return MetricPlan(
        name, entry.target, entry.columns, entry.version, entry.dtype, entry.settings, entry.least_side, weights
    )


def _own_entry(name: str, entry: MetricEntry) -> WeightsEntry:
    """As if the index had the user's file, whatever its hash, to look for it in the same folders."""
    description = "a pristine model of the user's own"
    return WeightsEntry(name, entry.own_file, "", "", "", None, "the user's own", description, (name,))


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
    "dists": _entry(
        "dists:Dists",
        "dists",
        settings={"net": "vgg16", "resize": "none"},
        least_side=16,
        weights=("vgg16",),
        also=("dists",),
    ),
    "niqe": _niqe("niqe", weights=("niqe_pris_params",)),
    "niqe_fitted": _niqe("niqe_fitted", own_file="niqe_fitted.npz"),
    "histogram_kl": _entry(
        "histogram:HistogramKl",
        "histogram_kl",
        "histogram_kl_reverse",
        dtype="float64",
        settings={"bins": 256, "smoothing": 0.5, "log": "natural"},
    ),
}.items():
    register(_name, _line)
