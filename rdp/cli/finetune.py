"""`rdp finetune`: decoders along the perception-distortion curve, at a fixed rate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rdp.cli.rate_target import KEPT_FREE
from rdp.cli.text import aligned, number_text
from rdp.errors import EXIT_INTERRUPTED, SpecError

if TYPE_CHECKING:
    from rdp.training.finetune import TuningResult
    from rdp.training.finetune_state import Tuned, TunedCodec

_EPILOG = """\b
The defaults are those of the thesis (section 4.1): LPIPS with VGG, Adam at 1e-5, 16 crops of 256x256, 400,000 steps.
A short tuning on a CPU, with features that are at hand without a download:
  rdp finetune --codec hyperprior:quality=3 --gammas 1e-3,1e-4 --perceptual lpips_squeeze --train train/ \\
    --validation valid/ --out decoders/ --optimizer muon --lr 3e-4 --decay 1 --batch-size 2 --steps 1500
The decoders then are points of the codec:
  RDP_WEIGHTS=decoders rdp evaluate photos/ --codec 'hyperprior:quality=3,decoder=mse|g1e-3|g1e-4' ...
"""


def finetune_command(
    codec: Annotated[
        list[str], typer.Option(help="A codec with a network, such as hyperprior:quality=1..4; repeatable.")
    ],
    train: Annotated[Path, typer.Option(help="Folder of images to train on.")],
    validation: Annotated[Path, typer.Option(help="Folder of images whose files and scores are measured.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for decoders, table, log and figure.")],
    gammas: Annotated[
        str, typer.Option(help="Weights of the MSE (0..255 scale) beside the perceptual loss, a decoder each.")
    ] = "1e-2,1e-3,5e-4,1e-4,5e-5,0",
    perceptual: Annotated[str, typer.Option(help="Perceptual loss: lpips_vgg, lpips_alex, lpips_squeeze.")] = (
        "lpips_vgg"
    ),
    adversarial: Annotated[float, typer.Option(help="Weight of HiFiC's adversarial term; 0 has none.")] = 0.0,
    judge: Annotated[
        list[str] | None,
        typer.Option(help="Metric of the table, beside PSNR and the loss's own; repeatable [ms_ssim, haarpsi]."),
    ] = None,
    crop: Annotated[int, typer.Option(help="Side of the training crops in pixels.")] = 256,
    batch_size: Annotated[int, typer.Option(help="Crops a step.")] = 16,
    steps: Annotated[int, typer.Option(help="Steps of each decoder.")] = 400_000,
    optimizer: Annotated[str, typer.Option(help="adam or muon.")] = "adam",
    lr: Annotated[float, typer.Option(help="Learning rate.")] = 1e-5,
    decay: Annotated[float, typer.Option(help="Last part of the steps, in which the rate falls to a hundredth.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Decides crops and noise.")] = 0,
    precision: Annotated[str, typer.Option(help="Arithmetic in training: 32-true, bf16-mixed.")] = "32-true",
    compiled: Annotated[bool, typer.Option("--compile", help="Decode through torch.compile: faster steps.")] = False,
    half: Annotated[bool, typer.Option("--half", help="Save kernels in float16: half the size.")] = False,
    threads: Annotated[int | None, typer.Option(help="Threads of the CPU; default: all cores.")] = None,
    workers: Annotated[int, typer.Option(help="Processes that cut crops.")] = 0,
    device: Annotated[str, typer.Option(help="Where it runs: cpu, cuda, cuda:1.")] = "cpu",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what lies in --out.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Begin anew where something lies in --out.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Tune decoders for gamma * MSE + perceptual loss, everything before them frozen.

    One decoder a gamma, from the largest down, each from the one before. The rate stays what it is: files of all
    validation images are encoded anew for every decoder and must be the same bytes. --out gets the decoders,
    decoders.csv, decoders.png, and what --resume needs.
    """
    from rdp.cli.progress import Terminal
    from rdp.cli.rate_target import set_threads
    from rdp.codecs import parse_points
    from rdp.execution.allocator import keep_freed_memory
    from rdp.execution.devices import check_device

    check_device(device)
    if threads is not None and threads < 1:
        raise SpecError(f"--threads {threads}: give 1 or more")
    points = parse_points(codec)
    keep_freed_memory(KEPT_FREE)
    set_threads(threads)
    from rdp.training.finetune import JUDGES, TuningOptions, tune_decoders
    from rdp.training.steps import TrainingInterrupted

    listed = tuple(part.strip() for part in gammas.split(",") if part.strip())
    options = TuningOptions(
        train=str(train), validation=str(validation), gammas=listed, perceptual=perceptual, adversarial=adversarial,
        crop=crop, batch_size=batch_size, steps=steps, optimizer=optimizer, lr=lr, decay=decay, seed=seed,
        precision=precision, compiled=compiled, half=half, device=device, workers=workers,
        judges=tuple(judge or JUDGES),
    )  # fmt: skip
    try:
        result = tune_decoders(points, options, out, resume=resume, overwrite=overwrite, progress=Terminal(quiet))
    except TrainingInterrupted as stopped:
        typer.echo(str(stopped), err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from stopped
    typer.echo(_json(result) if as_json else describe(result))


def describe(result: TuningResult) -> str:
    """A table a codec, and where the decoders lie."""
    lines: list[str] = []
    for codec in result.codecs:
        lines += [
            f"{codec.point} (encoder {codec.identity}), {codec.decoders[0].bpp:.4g} bit/pixel",
            *_table(codec),
            "",
        ]
    count = sum(one.gamma is not None for codec in result.codecs for one in codec.decoders)
    return "\n".join(
        [*lines, f"{count} tuned in {result.folder}: with RDP_WEIGHTS={result.folder} each is a point, decoder=NAME"]
    )


def _table(codec: TunedCodec) -> list[str]:
    scores = list(codec.decoders[0].scores)
    rows = [("decoder", *scores, "files unchanged")]
    rows += [(one.name, *(number_text(one.scores[name], 5) for name in scores), _same(one)) for one in codec.decoders]
    return aligned(rows, left=(0,))


def _same(one: Tuned) -> str:
    return f"{one.identical} of {one.files}"


def _json(result: TuningResult) -> str:
    import json
    from dataclasses import asdict

    return json.dumps(
        {"folder": str(result.folder), "codecs": [asdict(codec) for codec in result.codecs]}, allow_nan=False
    )
