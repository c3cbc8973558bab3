"""`rdp evaluate`: images and operating points into a run folder."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rdp.errors import EXIT_FAILED_CELLS

if TYPE_CHECKING:
    from rdp.tables import Run

_LISTED = 5


def evaluate_command(
    images: Annotated[list[Path], typer.Argument(help="Folders of images, or image files.")],
    codec: Annotated[
        list[str], typer.Option("--codec", "-c", help="Operating points, e.g. 'webp:quality=5..95..10'. Repeatable.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Run folder; what it holds already is not done again.")],
    metric: Annotated[
        list[str] | None, typer.Option("--metric", "-m", help="Metrics, comma-separated. Default: mse,psnr.")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Name of the data set; default: the folder's name.")] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", "-j", help="Worker processes; default: all cores.")] = None,
    device: Annotated[
        str, typer.Option(help="Where metrics and learned codecs run: cpu, cuda, cuda:1, or GPUs cuda:0,cuda:1.")
    ] = "cpu",
    dtype: Annotated[
        str, typer.Option(help="What networks of learned codecs compute in: float32, bfloat16, float16 (GPU).")
    ] = "float32",
    workers: Annotated[
        str, typer.Option(help="auto, pool (single-threaded processes) or batched (one process a device, batches).")
    ] = "auto",
    keep: Annotated[
        str, typer.Option(help="What stays: files, reconstructions, files,reconstructions, none.")
    ] = "files",
    codec_file: Annotated[
        list[Path] | None, typer.Option("--codec-file", help="TOML file that describes external tools. Repeatable.")
    ] = None,
    apply_exif: Annotated[
        bool, typer.Option("--apply-exif", help="Turn images as their EXIF orientation says.")
    ] = False,
    redo: Annotated[
        list[str] | None, typer.Option(help="Make the rows of these points anew (a pattern). Repeatable.")
    ] = None,
    retry_failed: Annotated[bool, typer.Option(help="Try failed cells of earlier calls again.")] = True,
    allow_training_images: Annotated[
        bool, typer.Option("--allow-training-images", help="Also images that a codec's weights were trained on.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Encode every image at every operating point, decode from the file, score, and write a table.

    Run it again after an interruption, or with more codecs, metrics or images: only what is missing is computed.
    """
    from rdp.cli.progress import Terminal
    from rdp.evaluation import evaluate

    with warnings.catch_warnings():
        # The verb's warning of failed cells is for notebooks; here the summary and the exit code say it.
        warnings.simplefilter("ignore", RuntimeWarning)
        run = evaluate(
            images,
            codec,
            [name for names in metric or ["mse,psnr"] for name in names.split(",")],
            out,
            dataset=dataset,
            jobs=jobs,
            device=device,
            dtype=dtype,
            workers=workers,
            keep=keep,
            codec_files=codec_file or [],
            exif="apply" if apply_exif else "ignore",
            redo=redo or [],
            retry_failed=retry_failed,
            allow_training_images=allow_training_images,
            progress=Terminal(quiet),
        )
    session = run.sessions[-1]
    held = _held(run)
    typer.echo(
        json.dumps({"run": str(run.path), **session, "run_images": held[0], "run_points": held[1]})
        if as_json
        else _summary(str(run.path), session, *held)
    )
    if session["failed"] or session["failed_scores"]:
        messages = list(session["messages"].items())
        for message, count in messages[:_LISTED]:
            typer.echo(f"failed ({count}x): {message}", err=True)
        if len(messages) > _LISTED:
            typer.echo(f"… and other failures: rdp table show {run.path} --columns status,message --rows 0", err=True)
        raise typer.Exit(EXIT_FAILED_CELLS)


def _held(run: Run) -> tuple[int, int]:
    """How many images and points the run folder has rows of, those of earlier calls among them."""
    import pyarrow.compute as pc

    data = run.table().data
    images = data.select(["dataset", "image"]).group_by(["dataset", "image"]).aggregate([]).num_rows
    return images, int(pc.count_distinct(data.column("point")).as_py())


def _summary(path: str, session: dict[str, Any], images: int, points: int) -> str:
    failed = session["failed"]
    parts = [f"{session['encoded']} cells encoded and scored"]
    if session["scored"]:
        parts.append(f"{session['scored']} scored again")
    if failed or session["failed_scores"]:
        parts.append(f"{failed} cells and {session['failed_scores']} scores FAILED")
    if not session["encoded"] and not session["scored"] and not failed:
        parts = ["nothing was missing"]
    from rdp.selection.words import counted

    own = session["options"]["images"]
    earlier = f", {images - own} of them of earlier calls" if images > own else ""
    return (
        f"{path}: {', '.join(parts)} in {session['wall_s']:.1f} s; the run has {counted(images, 'image')}{earlier}, at "
        f"{counted(points, 'point')}"
    )
