"""`rdp train`: trainings of compression networks, and what their weights measure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rdp.cli.rate_target import KEPT_FREE, rate_target_command
from rdp.errors import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from rdp.training.cli import Trained

train_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Train compression networks, and measure their weights on images.",
    epilog="All stages take the same configuration: a YAML file, its keys as options, or both. Shipped by name: "
    "hyperprior.yaml, factorized.yaml, shrinkage.yaml, hific-1.yaml, hific-2.yaml, target_rate.yaml.",
)

_PASSED = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": ["-h", "--help"]}
_EPILOG = """\b
Any key of the configuration is an option, and classes are class paths:
  --config FILE                     YAML; repeatable, later ones win
  --data.train FOLDER               images to train on; --data.validation, --data.test
  --data.crop N                     side of the crops; --data.batch_size, --data.steps_per_epoch, --data.seed
  --model CLASS                     the objective: RateDistortion, TargetRate, HiFiC, or your own class path
  --model.lmbda X                   an argument of it; --model.initial FILE starts from weights
  --model.network CLASS             rdp.models.hyperprior.MeanScaleHyperprior, ... and its arguments:
  --model.network.channels N        (and so on)
  --model.optimizer CLASS           rdp.training.Muon, torch.optim.Adam, ...
  --trainer.max_steps N             Lightning's trainer: --trainer.precision bf16-mixed, --trainer.devices 2, ...
  --ema.decay X                     moving average of the weights (0: none); --best.monitor, --guard.skips, ...
  --compile                         steps through torch.compile: faster after the first step, in which code is made
  --seed_everything N               seed of initial weights and noise
  --print_config                    the whole configuration with its defaults, and nothing else
  --help-all                        all options; --model.help CLASS those of a class
"""

_Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
_All = Annotated[bool, typer.Option("--help-all", help="All options, of all classes that are the default.")]
_Weights = Annotated[str, typer.Option("--weights", help="A .safetensors file, or a checkpoint of a training.")]


@train_app.command("fit", context_settings=_PASSED, epilog=_EPILOG, short_help="Train a network.")
def fit_command(
    ctx: typer.Context,
    out: Annotated[
        str,
        typer.Option("--out", "-o", metavar="FOLDER", help="Folder of the training; out/train/<task> if not given."),
    ] = "",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the training in FOLDER.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Begin anew where a training lies.")] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Logs for TensorBoard as well.")] = False,
    quiet: _Quiet = False,
    as_json: _Json = False,
    help_all: _All = False,
) -> None:
    """Train a network: `rdp train fit --data.train FOLDER --data.validation FOLDER`.

    FOLDER gets config.yaml, record.json, logs/metrics.csv, checkpoints/last.ckpt, validation.csv and .png, and
    weights.safetensors: the weights that were best on the validation images. Ctrl-C ends a training so that --resume
    goes on exactly.
    """
    given = [*(["--out", out] if out else []), *(["--resume"] if resume else [])]
    given += [*(["--overwrite"] if overwrite else []), *(["--tensorboard"] if tensorboard else [])]
    _stage("fit", [*given, *ctx.args], quiet, as_json, help_all)


@train_app.command("validate", context_settings=_PASSED, epilog=_EPILOG, short_help="Measure on validation images.")
def validate_command(
    ctx: typer.Context, weights: _Weights = "", quiet: _Quiet = False, as_json: _Json = False, help_all: _All = False
) -> None:
    """Rate (an estimate), PSNR and loss of weights on the images of --data.validation.

    With no --config, the configuration that lies beside the weights counts.
    """
    _stage("validate", [*(["--weights", weights] if weights else []), *ctx.args], quiet, as_json, help_all)


@train_app.command("test", context_settings=_PASSED, epilog=_EPILOG, short_help="Measure on test images.")
def test_command(
    ctx: typer.Context, weights: _Weights = "", quiet: _Quiet = False, as_json: _Json = False, help_all: _All = False
) -> None:
    """Rate (an estimate), PSNR and loss of weights on the images of --data.test.

    With no --config, the configuration that lies beside the weights counts.
    """
    _stage("test", [*(["--weights", weights] if weights else []), *ctx.args], quiet, as_json, help_all)


def _stage(stage: str, words: list[str], quiet: bool, as_json: bool, help_all: bool) -> None:
    import sys

    from rdp.execution.allocator import keep_freed_memory
    from rdp.execution.progress import Silent
    from rdp.training.cli import run_training
    from rdp.training.steps import TrainingInterrupted
    from rdp.training.surroundings import is_first_process

    keep_freed_memory(KEPT_FREE)
    progress: Any = Silent() if quiet else _terminal()
    if help_all:
        words = ["--help"]
    try:
        done = run_training([stage, *words], progress, live=sys.stderr.isatty() and not quiet)
    except TrainingInterrupted as stopped:
        if is_first_process():
            typer.echo(str(stopped), err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from stopped
    if is_first_process():
        typer.echo(json.dumps(_finite(done.to_dict()), allow_nan=False) if as_json else _said(done))


def _terminal() -> Any:
    from rdp.cli.progress import Terminal

    class Plain(Terminal):
        """What a training tells is no aside."""

        def note(self, message: str) -> None:
            typer.echo(message, err=True)

    return Plain()


def _said(done: Trained) -> str:
    numbers = [(name, done.numbers[name]) for name in ("bpp", "psnr", "loss") if name in done.numbers]
    numbers += [(name, value) for name, value in done.numbers.items() if name not in ("bpp", "psnr", "loss", "step")]
    if done.stage == "fit":
        best = ", ".join(f"{name} {value:.6g}" for name, value in numbers)
        step = f" at step {done.numbers['step']:.0f} of {done.steps}" if "step" in done.numbers else ""
        of = f" ({done.images} validation images): {best}" if best else ", without validation images"
        return f"{done.weights}{step}{of}"
    names = {"bpp": "bpp (estimate)", "psnr": "psnr (dB)"}
    lines = [f"{done.weights}: {done.images} images"]
    lines += [f"  {names.get(name, name):<16} {value:.6g}" for name, value in numbers]
    return "\n".join(lines)


def _finite(value: Any) -> Any:
    """Infinity and NaN as null."""
    import math

    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


train_app.command("rate-target", short_help="Train until files have a wanted rate.")(rate_target_command)
