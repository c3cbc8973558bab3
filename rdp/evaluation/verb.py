"""The public verb: `rdp.evaluate`."""

from __future__ import annotations

import os
import platform
import warnings
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rdp import __version__
from rdp.codecs import OperatingPoint, create_codec, load_tools, parse_points
from rdp.errors import SpecError, WeightsError, suggest
from rdp.evaluation.inspection import inspect_images
from rdp.evaluation.pipeline import Tally, run_plan
from rdp.evaluation.plan import ExistingRows, Wanted, match_points, plan_images
from rdp.evaluation.tasks import WorkerSettings
from rdp.evaluation.worker import start_worker
from rdp.execution import Progress, Silent, WorkerPool
from rdp.images import list_images
from rdp.images.files import PathLike
from rdp.images.read import Exif
from rdp.metrics import MetricPlan, plan_metrics
from rdp.tables import Run, RunWriter, ScoreSet

PROTOCOL_VERSION = 1
KEEP = ("files", "reconstructions", "none")
_PACKAGES = ("numpy", "pillow", "torch", "torchvision", "lpips", "pyarrow")


def evaluate(
    images: PathLike | Sequence[PathLike],
    codecs: str | Iterable[str],
    metrics: str | Iterable[str] = ("mse", "psnr"),
    out: PathLike = "run",
    *,
    dataset: str | None = None,
    jobs: int | None = None,
    device: str = "cpu",
    keep: str | Iterable[str] = ("files",),
    codec_files: Iterable[PathLike] = (),
    exif: Exif = "ignore",
    redo: Iterable[str] = (),
    retry_failed: bool = True,
    progress: Progress | None = None,
) -> Run:
    """Encode every image at every operating point, decode from the file, score, and write rows into a run folder.

    What the folder `out` holds already is not done again: after an interruption, or with further codecs, metrics or
    images, exactly the missing cells are computed.

    Args:
        images: a folder (with its subfolders), several, or image files.
        codecs: point specs such as "webp:quality=5..95..10"; see `rdp.codecs.spec`.
        metrics: names of metrics; see `rdp metrics`.
        out: the run folder; made if it does not exist.
        dataset: name of the data set in the rows; the folder's name by default.
        jobs: worker processes; the number of CPU cores by default. With more than one, times are marked contended.
        device: where metrics (and later learned codecs) run: "cpu", "cuda", "cuda:1".
        keep: "files" (encoded, the default), "reconstructions" (PNG), both, or "none".
        codec_files: TOML files that describe external tools; see `rdp.codecs.tools`.
        exif: "ignore" (the protocol's default) or "apply" the orientation.
        redo: patterns of points whose rows are made anew.
        retry_failed: try failed cells of earlier calls again.
        progress: told how far it is.

    Returns:
        The run, open for reading. A failed cell is a row with its message, and a warning counts them.

    Raises:
        RdpError: bad input, before anything is encoded; a folder that cannot be written, with all rows so far kept.
    """
    report = progress or Silent()
    points = parse_points(codecs, load_tools(map(Path, codec_files)))
    codecs_made = {point.name: create_codec(point) for point in points}
    for codec in codecs_made.values():
        codec.require_encoder()
    encoder_ids = {name: codec.encoder_id for name, codec in codecs_made.items()}
    decoder_ids = {name: codec.decoder_id for name, codec in codecs_made.items()}
    versions = {name: codec.version for name, codec in codecs_made.items()}
    del codecs_made
    plans = plan_metrics(_listed(metrics))
    _check_device(device)
    kept = _check_keep(keep)
    count = _check_jobs(jobs)
    files = list_images(images, dataset)
    redone = match_points(list(redo), points)
    protocol = {"version": PROTOCOL_VERSION, "exif": _check_exif(exif), "icc": "ignore", "alpha": "refuse"}
    with RunWriter(out, protocol) as writer:
        for plan in plans:
            writer.add_metric(ScoreSet(plan.name, plan.fingerprint, plan.columns, plan.identity))
        run = Run(writer.path)
        columns = {name: scores.columns for name, scores in writer.score_sets.items()}
        everything, missing = _all_metrics(plans, columns)
        options = {
            "codecs": [point.name for point in points],
            "metrics": [plan.name for plan in plans],
            "images": len(files),
            "jobs": count,
            "device": device,
            "keep": sorted(kept),
        }
        settings = WorkerSettings(
            everything, missing, columns, writer.path.absolute(), "files" in kept, "reconstructions" in kept,
            exif, device, count > 1, writer.next_session,
        )  # fmt: skip
        with WorkerPool(count, start_worker, (settings,)) as pool:
            inspected = inspect_images(files, pool, exif, writer.path, report)
            existing = ExistingRows(run.table(), {scores.metric: scores.columns for scores in run.score_sets()})
            _note_versions(existing, versions, report)
            ordered = _by_encoder(points, encoder_ids)
            wanted = Wanted(ordered, encoder_ids, decoder_ids, tuple(plans), redone, retry_failed)
            missing_cells = plan_images(inspected, wanted, existing, str(writer.path))
            del existing
            writer.begin_session({**_environment(), "options": options})
            tally = run_plan(missing_cells, settings, pool, writer, report)
        writer.flush()
        writer.end_session(_summary(tally))
    _warn(tally, writer.path)
    return Run(writer.path)


def _by_encoder(points: Sequence[OperatingPoint], ids: Mapping[str, str]) -> tuple[OperatingPoint, ...]:
    """Points that share an encoder side by side, otherwise in the order given."""
    order = {encoder: place for place, encoder in reversed(list(enumerate(ids[point.name] for point in points)))}
    return tuple(sorted(points, key=lambda point: order[ids[point.name]]))


def _listed(names: str | Iterable[str]) -> list[str]:
    if isinstance(names, str):
        names = names.split(",")
    listed = [name.strip() if isinstance(name, str) else name for name in names]
    if not all(isinstance(name, str) for name in listed):
        raise SpecError(f"metrics are given by name, not as {listed!r}")
    if "" in listed:
        raise SpecError("a metric's name is empty: write for example --metric mse,psnr")
    return listed


def _check_keep(keep: str | Iterable[str]) -> set[str]:
    names = {name.strip() for name in (keep.split(",") if isinstance(keep, str) else keep)}
    for name in sorted(names):
        if name not in KEEP:
            raise SpecError(f"cannot keep {name!r}: it takes {', '.join(KEEP)}.{suggest(name, KEEP)}")
    if "none" in names and len(names) > 1:
        raise SpecError("keep 'none' goes with nothing else")
    return names - {"none"}


def _check_jobs(jobs: int | None) -> int:
    if jobs is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not isinstance(jobs, int) or jobs < 1:
        raise SpecError(f"jobs={jobs!r} is not allowed: it takes a whole number, 1 or more")
    return jobs


def _check_device(device: str) -> None:
    """Raise for a device that is not there, before anything else is done; torch is loaded for a GPU only."""
    if device != "cpu":
        from rdp.metrics.tensors import torch_device

        torch_device(device)


def _check_exif(exif: str) -> str:
    if exif not in ("ignore", "apply"):
        raise SpecError(f"exif={exif!r} is not allowed: it takes 'ignore' or 'apply'")
    return exif


def _all_metrics(
    plans: Sequence[MetricPlan], columns: Mapping[str, tuple[str, ...]]
) -> tuple[tuple[MetricPlan, ...], dict[str, str]]:
    """The metrics asked for and the run's others, which a redone row needs too; and those that cannot be had."""
    everything = {plan.name: plan for plan in plans}
    missing: dict[str, str] = {}
    for name in columns:
        if name not in everything:
            try:
                everything[name] = plan_metrics([name])[0]
            except (SpecError, WeightsError) as error:
                missing[name] = f"the row was made anew, and this metric could not be computed: {error}"
    return tuple(everything.values()), missing


def _environment() -> dict[str, Any]:
    """What made the rows: versions and machine."""
    packages: dict[str, str | None] = {}
    for name in _PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = None
    return {
        "rdp": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "packages": packages,
    }


def _note_versions(existing: ExistingRows, versions: Mapping[str, str], progress: Progress) -> None:
    """Say it if rows of the same points were made by other versions of their libraries."""
    for point, found in sorted(existing.codec_versions(versions)):
        if found != versions[point]:
            progress.note(f"{point}: the run holds rows made by {found}; new ones are made by {versions[point]}")
            return


def _summary(tally: Tally) -> dict[str, Any]:
    seconds = {name: round(value, 3) for name, value in vars(tally.seconds).items()}
    return {
        "encoded": tally.encoded,
        "scored": tally.scored,
        "failed": tally.failed,
        "failed_scores": tally.failed_scores,
        "messages": dict(sorted(tally.messages.items(), key=lambda item: -item[1])[:20]),
        "wall_s": round(tally.wall_s, 3),
        "worker_s": seconds,
    }


def _warn(tally: Tally, out: Path) -> None:
    if tally.failed or tally.failed_scores:
        first = next(iter(tally.messages), "")
        warnings.warn(
            f"{tally.failed} cells and {tally.failed_scores} scores failed in {out}; the first says: {first}",
            RuntimeWarning,
            stacklevel=3,
        )
