"""The public verb: `rdp.evaluate`."""

from __future__ import annotations

import os
import platform
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rdp import __version__
from rdp.codecs import OperatingPoint, Resources, load_tools, parse_points
from rdp.errors import DependencyError, SpecError, WeightsError
from rdp.evaluation.batched import work_on_batch
from rdp.evaluation.facts import CodecFacts, group_points, look_at_codecs, weights_room
from rdp.evaluation.inspection import inspect_images
from rdp.evaluation.options import check_exif, check_jobs, check_keep, check_resources, check_workers, listed
from rdp.evaluation.pipeline import Tally, run_stream
from rdp.evaluation.plan import ExistingRows, Wanted, by_group, match_points, plan_images
from rdp.evaluation.stream import BatchStream, TaskStream
from rdp.evaluation.tasks import WorkerSettings
from rdp.evaluation.training_images import describe_seen, find_seen, refuse_seen
from rdp.evaluation.worker import start_worker, work_on
from rdp.execution import Progress, Silent, WorkerPool
from rdp.images import list_images
from rdp.images.files import PathLike
from rdp.images.read import Exif
from rdp.metrics import MetricPlan, plan_metrics
from rdp.tables import Run, RunWriter, ScoreSet

PROTOCOL_VERSION = 1
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
    dtype: str = "float32",
    workers: str = "auto",
    keep: str | Iterable[str] = ("files",),
    codec_files: Iterable[PathLike] = (),
    exif: Exif = "ignore",
    redo: Iterable[str] = (),
    retry_failed: bool = True,
    allow_training_images: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Encode every image at every operating point, decode from the file, score, and write rows into a run folder.

    What the folder `out` holds already is not done again: after an interruption, or with further codecs, metrics or
    images, exactly the missing cells are computed.

    Args:
        images: a folder (with its subfolders), several, or image files.
        codecs: point specs such as "webp:quality=5..95..10"; see `rdp.codecs.spec`.
        metrics: names of metrics; see `rdp metrics` and `rdp.metrics.plan_metrics`.
        out: the run folder; made if it does not exist.
        dataset: name of the data set in the rows; the folder's name by default.
        jobs: worker processes; the number of CPU cores by default. With more than one, times are marked contended.
        device: where metrics and learned codecs run: "cpu", "cuda", "cuda:1", or several GPUs, "cuda:0,cuda:1".
        dtype: what the networks of learned codecs compute in: "float32", "bfloat16", or on a GPU "float16". It changes
            pictures (and, with the encoder's, files), so codecs count as others in another dtype.
        workers: "auto" codes on a GPU in batches, by one process a GPU whose stages overlap in threads, and everything
            else in a pool of `jobs` single-threaded processes; "pool" and "batched" make it one of the two for all.
        keep: "files" (encoded, the default), "reconstructions" (PNG), both, or "none".
        codec_files: TOML files that describe external tools; see `rdp.codecs.tools`.
        exif: "ignore" (the protocol's default) or "apply" the orientation.
        redo: patterns of points whose rows are made anew.
        retry_failed: try failed cells of earlier calls again.
        allow_training_images: evaluate also on images that a codec's weights were trained on (as far as the weights
            say), which are refused otherwise; the run's record tells it.
        progress: told how far it is.

    Returns:
        The run, open for reading. A failed cell is a row with its message, and a warning counts them.

    Raises:
        RdpError: bad input, before anything is encoded; a folder that cannot be written, with all rows so far kept.
    """
    report = progress or Silent()
    points = parse_points(codecs, load_tools(map(Path, codec_files)))
    resources = check_resources(device, dtype)
    kind = check_workers(workers)
    facts = look_at_codecs(points, resources[0])
    plans = plan_metrics(listed(metrics))
    kept = check_keep(keep)
    count = check_jobs(jobs)
    files = list_images(images, dataset)
    redone = match_points(list(redo), points)
    protocol = {"version": PROTOCOL_VERSION, "exif": check_exif(exif), "icc": "ignore", "alpha": "refuse"}
    with RunWriter(out, protocol) as writer:
        for plan in plans:
            writer.add_metric(ScoreSet(plan.name, plan.fingerprint, plan.columns, plan.identity, plan.described))
        run = Run(writer.path)
        columns = {name: scores.columns for name, scores in writer.score_sets.items()}
        everything, missing = _all_metrics(plans, writer.score_sets)
        options = {
            "codecs": [point.name for point in points],
            "metrics": [plan.name for plan in plans],
            "images": len(files),
            "jobs": count,
            "device": device,
            "dtype": dtype,
            "workers": kind,
            "keep": sorted(kept),
            "allow_training_images": bool(allow_training_images),
        }
        settings = WorkerSettings(
            everything, missing, columns, writer.path.absolute(), "files" in kept, "reconstructions" in kept,
            exif, resources[0].device, dtype, count > 1, writer.next_session,
        )  # fmt: skip
        tally = Tally()
        with WorkerPool.of_shares(start_worker, _shares(settings, resources, count)) as pool:
            inspected = inspect_images(files, pool, exif, writer.path, report)
            seen = find_seen(facts, inspected)
            if not allow_training_images:
                refuse_seen(seen, len(files))
            for group in seen:
                report.note(describe_seen(group, len(files)))
            existing = ExistingRows(run.table(), {scores.metric: scores.columns for scores in run.score_sets()})
            _note_versions(existing, {name: fact.version for name, fact in facts.items()}, report)
            ordered = _by_encoder(points, facts)
            encoder_ids = {name: fact.encoder_id for name, fact in facts.items()}
            decoder_ids = {name: fact.decoder_id for name, fact in facts.items()}
            wanted = Wanted(ordered, encoder_ids, decoder_ids, tuple(plans), redone, retry_failed)
            missing_cells = plan_images(inspected, wanted, existing, str(writer.path))
            del existing
            writer.begin_session({**_environment(), "options": options})
            report.start("evaluating", sum(len(plan.cells) for plan in missing_cells), "cell")
            together = [
                point for point in ordered if kind == "batched" or (kind == "auto" and facts[point.name].on_gpu)
            ]
            alone = [point for point in ordered if point not in together]
            single = by_group(missing_cells, group_points(alone, facts, weights_room(resources[0], count)))
            run_stream(TaskStream(single, pool.jobs), work_on, settings, pool, writer, report, tally)
        # The pool is gone by now, and with it the memory that its metrics held on a GPU.
        batched = by_group(missing_cells, group_points(together, facts, weights_room(resources[0], len(resources))))
        if batched:
            settings = replace(settings, contended=len(resources) > 1)
            stream = BatchStream(batched, len(resources), [point.name for point in ordered])
            with WorkerPool.of_shares(start_worker, _shares(settings, resources, len(resources))) as pool:
                run_stream(stream, work_on_batch, settings, pool, writer, report, tally)
        report.finish()
        writer.flush()
        writer.end_session(_summary(tally))
    _warn(tally, writer.path)
    return Run(writer.path)


def _shares(
    settings: WorkerSettings, resources: Sequence[Resources], count: int
) -> list[tuple[int, tuple[WorkerSettings]]]:
    """`count` workers spread over the devices, each with the settings of its own."""
    shares = []
    for place, own in enumerate(resources):
        workers = count // len(resources) + (place < count % len(resources))
        if workers:
            shares.append((workers, (replace(settings, device=own.device),)))
    return shares


def _by_encoder(points: Sequence[OperatingPoint], facts: Mapping[str, CodecFacts]) -> tuple[OperatingPoint, ...]:
    """Points that share an encoder side by side, otherwise in the order given."""
    ids = {name: fact.encoder_id for name, fact in facts.items()}
    order = {encoder: place for place, encoder in reversed(list(enumerate(ids[point.name] for point in points)))}
    return tuple(sorted(points, key=lambda point: order[ids[point.name]]))


def _all_metrics(
    plans: Sequence[MetricPlan], score_sets: Mapping[str, ScoreSet]
) -> tuple[tuple[MetricPlan, ...], dict[str, str]]:
    """The metrics asked for and the run's others, which a redone row needs too; and those that cannot be had."""
    everything = {plan.name: plan for plan in plans}
    missing: dict[str, str] = {}
    for name, scores in score_sets.items():
        if name not in everything:
            try:
                plan = plan_metrics([name])[0]
                if plan.fingerprint != scores.fingerprint:
                    raise WeightsError("its weights or settings here are not those that the run was scored with")
                everything[name] = plan
            except (DependencyError, SpecError, WeightsError) as error:
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
