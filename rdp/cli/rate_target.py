"""`rdp train rate-target`: a network trained until its files have the rate that is wanted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rdp.cli.text import aligned, number_text
from rdp.errors import EXIT_FAILED_CELLS, EXIT_INTERRUPTED, SpecError

if TYPE_CHECKING:
    from rdp.models.base import CompressionModel
    from rdp.training.rate_target import RateTargetResult
    from rdp.training.rate_target_rule import Round

KEPT_FREE = 1 << 30
"""Bytes that a training on a CPU keeps from step to step: a ninth of a step's time."""
_HEAD = ("", "R_t", "beta", "bpp", "std", "lowest", "highest", "within", "PSNR", "weights")


def rate_target_command(
    bpp: Annotated[float, typer.Option(help="Target rate of files in bit/pixel, e.g. 0.25.")],
    train: Annotated[Path, typer.Option(help="Folder of images to train on.")],
    validation: Annotated[Path, typer.Option(help="Folder of images whose real rates decide.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for weights, log and figure.")],
    tolerance: Annotated[float, typer.Option(help="Largest distance from the target, as a share of it.")] = 0.15,
    share: Annotated[float, typer.Option(help="Share of the validation images that must lie so near.")] = 0.9,
    beta: Annotated[float, typer.Option(help="Weight of the rate's distance in the loss, to begin with.")] = 1e3,
    initial: Annotated[
        Path | None, typer.Option(help="Weights to start from: best of a network that gives about that rate.")
    ] = None,
    network: Annotated[
        str | None, typer.Option(help="Architecture to start from at random instead, e.g. hyperprior.")
    ] = None,
    channels: Annotated[int | None, typer.Option(help="Channels of --network.")] = None,
    latent_channels: Annotated[int | None, typer.Option(help="Channels of the latent of --network.")] = None,
    crop: Annotated[int, typer.Option(help="Side of the training crops in pixels.")] = 256,
    batch_size: Annotated[int, typer.Option(help="Crops a step.")] = 8,
    steps: Annotated[int, typer.Option(help="Steps of each round.")] = 2_000,
    final_steps: Annotated[int, typer.Option(help="Steps of the final training.")] = 20_000,
    rounds: Annotated[int, typer.Option(help="Largest number of rounds before the final training.")] = 10,
    lr: Annotated[float, typer.Option(help="Learning rate.")] = 1e-3,
    ema: Annotated[float, typer.Option(help="Decay of the moving average that the final training ends with.")] = 0.999,
    compiled: Annotated[bool, typer.Option("--compile", help="Train through torch.compile: faster steps.")] = False,
    half: Annotated[bool, typer.Option("--half", help="Save kernels in float16: half the size.")] = False,
    seed: Annotated[int, typer.Option(help="Decides crops, noise and random weights.")] = 0,
    precision: Annotated[str, typer.Option(help="Arithmetic in training: 32-true, bf16-mixed, 16-mixed (GPU).")] = (
        "32-true"
    ),
    threads: Annotated[int | None, typer.Option(help="Threads of the CPU; default: all cores.")] = None,
    workers: Annotated[int, typer.Option(help="Processes that cut crops.")] = 0,
    device: Annotated[str, typer.Option(help="Where it runs: cpu, cuda, cuda:1.")] = "cpu",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what lies in --out.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Begin anew where something lies in --out.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train until enough validation images have files of the target rate, then finally.

    Each round trains, encodes the validation images, and shifts the target of the loss and its weight by what their
    files measure. In --out: weights.safetensors, rounds.csv, rounds.png, and what --resume needs.
    """
    from rdp.cli.progress import Terminal
    from rdp.execution.allocator import keep_freed_memory
    from rdp.execution.devices import check_device

    check_device(device)
    keep_freed_memory(KEPT_FREE)
    _check(initial, network, channels, latent_channels, threads)
    set_threads(threads)
    from rdp.training.rate_target import RateTargetOptions, train_to_rate
    from rdp.training.steps import TrainingInterrupted

    options = RateTargetOptions(
        bpp=bpp, tolerance=tolerance, share=share, beta=beta, rounds=rounds, train=str(train),
        validation=str(validation), crop=crop, batch_size=batch_size, steps=steps, final_steps=final_steps, lr=lr,
        average=ema, seed=seed, compiled=compiled, half=half, precision=precision, device=device, workers=workers,
    )  # fmt: skip
    start = initial or _fresh(network, channels, latent_channels, seed)
    try:
        result = train_to_rate(options, out, start, resume=resume, overwrite=overwrite, progress=Terminal(quiet))
    except TrainingInterrupted as stopped:
        typer.echo(str(stopped), err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from stopped
    if as_json:
        typer.echo(_json(result))
    else:
        typer.echo(describe(result))
    if not result.reached:
        typer.echo(
            f"the final training left the tolerance: {result.chosen.within:.0%} of the images are within it, where "
            f"{share:.0%} are wanted; the rounds before it are in {out / 'rounds'}. More steps a round (--steps) bring "
            "them nearer to what the final training gives",
            err=True,
        )
        raise typer.Exit(EXIT_FAILED_CELLS)


def describe(result: RateTargetResult) -> str:
    """The rounds as a table, and where the weights lie."""
    rows = [_HEAD, *(_row(one) for one in result.rounds)]
    chosen = result.chosen
    return "\n".join(
        [
            *aligned(rows, left=(0, 9)),
            "",
            f"{result.weights}: {chosen.mean_bpp:.4g} bit/pixel on average, {chosen.within:.0%} of "
            f"{len(chosen.rates)} images within {result.options.tolerance:.0%} of {result.options.bpp:g}",
        ]
    )


def _row(one: Round) -> tuple[str, ...]:
    numbers = (one.target, one.beta, one.mean_bpp, one.std_bpp, one.lowest, one.highest)
    psnr = "-" if one.psnr is None else f"{one.psnr:.2f}"
    name = one.stage if one.stage == "final" else f"{one.stage} {one.number}"
    return (name, *(number_text(value, 4) for value in numbers), f"{one.within:.0%}", psnr, one.weights)


def _json(result: RateTargetResult) -> str:
    import json
    from dataclasses import asdict

    def document(one: Round) -> dict[str, Any]:
        numbers = {name: getattr(one, name) for name in ("mean_bpp", "std_bpp", "lowest", "highest")}
        return {**asdict(one), **numbers}

    return json.dumps(
        {
            "weights": str(result.weights),
            "reached": result.reached,
            "bpp": result.options.bpp,
            "tolerance": result.options.tolerance,
            "share": result.options.share,
            "chosen": document(result.chosen),
            "rounds": [document(one) for one in result.rounds],
        },
        allow_nan=False,
    )


def _check(
    initial: Path | None, network: str | None, channels: int | None, latent_channels: int | None, threads: int | None
) -> None:
    if initial is not None and network is not None:
        raise SpecError("--initial says the network too: leave out --network")
    if network is None and (channels is not None or latent_channels is not None):
        raise SpecError("--channels and --latent-channels go with --network; weights (--initial) have their own")
    if threads is not None and threads < 1:
        raise SpecError(f"--threads {threads}: give 1 or more")


def _fresh(
    network: str | None, channels: int | None, latent_channels: int | None, seed: int
) -> CompressionModel | None:
    """A network of random weights, None where none is named."""
    if network is None:
        return None
    from rdp.training.rate_target import fresh_network

    given = {"channels": channels, "latent_channels": latent_channels}
    return fresh_network(network, {name: value for name, value in given.items() if value is not None}, seed)


def set_threads(threads: int | None) -> None:
    """Of this process, which does nothing else."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
