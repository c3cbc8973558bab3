"""Training towards a target rate: rounds of training and measuring, then the final training.

Source: Guerin et al., "Training heuristics for rate-constrained learning-based image compression"
(002_5041f81c7ba61cea), section III and figure 2. The paper turns its knobs by hand; here `rate_target_rule` does. What
is measured is the rate of real files of whole images: while the loss is of crops with noise in place of rounding,
whose rate is another one (section IV-B).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities.seed import isolate_rng

from rdp.errors import SpecError
from rdp.execution.devices import require_device
from rdp.execution.progress import Progress, Silent
from rdp.images import list_images
from rdp.models.base import CompressionModel
from rdp.models.checkpoint import identity_of, load_model, read_header, save_model
from rdp.models.provenance import trained_on, trained_on_note
from rdp.storage import replace_file
from rdp.training.data import ImageFolders
from rdp.training.fitting import Fitting, check_precision
from rdp.training.loop_folder import disk
from rdp.training.option_words import option_surroundings
from rdp.training.rate_target_figure import draw_rounds
from rdp.training.rate_target_fit import Fit, fit, measure
from rdp.training.rate_target_rule import RateGoal, Round, Step, next_step
from rdp.training.rate_target_state import (
    CHECKPOINT,
    FIGURE,
    OPTIMIZER,
    STATE,
    WEIGHTS,
    State,
    clear_done,
    clear_folder,
    open_folder,
    require_same,
    round_file,
    write_state,
)
from rdp.training.schedules import Trapezoid

CORRECTION_RATE = 0.2
"""The learning rate of corrections, as a factor of `lr`: little may be lost of what the final training brought."""


@dataclass(frozen=True)
class RateTargetOptions(RateGoal):
    """How a network is trained towards a rate; what `RateGoal` says, and how each training goes.

    `train`, `validation`: folders of images. `crop`: side of the crops in pixels, a multiple of the network's stride;
    `batch_size`: crops a step. `steps`: of each round and correction; `final_steps`: of the final training, which
    writes a checkpoint every `checkpoint_steps`. `lr`: of `rdp.training.Muon`; Adam's is three times that. `average`:
    decay of the moving average of the weights that the final training and corrections end with (0: the last weights);
    rounds, which only look for the rate, go without. `half`: the weights of those have kernels in float16, and are
    measured so. `compiled`: steps run through `torch.compile`.
    """

    train: str = ""
    validation: str = ""
    crop: int = 256
    batch_size: int = 8
    steps: int = 2_000
    final_steps: int = 20_000
    checkpoint_steps: int = 500
    lr: float = 1e-3
    average: float = 0.999
    seed: int = 0
    compiled: bool = False
    half: bool = False
    precision: str = "32-true"
    device: str = "cpu"
    workers: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for option, folder in (("--train", self.train), ("--validation", self.validation)):
            if not folder:
                raise SpecError(f"{option}: name a folder of images")
        for name in ("crop", "batch_size", "steps", "final_steps", "checkpoint_steps"):
            if getattr(self, name) < 1:
                raise SpecError(f"--{name.replace('_', '-')} {getattr(self, name)}: give 1 or more")
        if self.seed < 0 or self.workers < 0:
            raise SpecError("--seed and the number of workers are 0 or more")
        if not 0 < self.lr < 1:
            raise SpecError(f"--lr {self.lr:g}: a learning rate lies between 0 and 1, as in 0.001")
        if not 0 <= self.average < 1:
            raise SpecError(f"--ema {self.average:g}: the decay of a moving average is at least 0 and below 1")
        check_precision(self.precision)


@dataclass(frozen=True)
class RateTargetResult:
    """What came out: `weights` (a file), the `chosen` round that they are of, whether it `reached` the target.

    `rounds`: all of them, the final training and corrections too.
    """

    options: RateTargetOptions
    folder: Path
    weights: Path
    chosen: Round
    reached: bool
    rounds: tuple[Round, ...]


def train_to_rate(
    options: RateTargetOptions,
    out: str | Path,
    start: CompressionModel | str | Path | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = Silent(),  # noqa: B008
) -> RateTargetResult:
    """Train a network until enough validation images have files of the target rate, then finally.

    `start`: a network, or a file of weights; best one that was trained without a target and gives about that rate.
    `out`: a folder, in which `resume` goes on where a killed call ended (`start` may then be left out). Raises
    `RateTargetError` where the rate cannot be reached, with the bound that is hit; `SpecError`, `ImageError`,
    `WeightsError` for what cannot be used, by the names of the command's options; `TrainingInterrupted` after Ctrl-C.
    Every round that ended stays, whatever is raised.
    """
    with option_surroundings("rdp train rate-target", Path(out), STATE, progress):
        return _trained(options, Path(out), start, resume, overwrite, progress)


def _trained(
    options: RateTargetOptions,
    out: Path,
    start: CompressionModel | str | Path | None,
    resume: bool,
    overwrite: bool,
    progress: Progress,
) -> RateTargetResult:
    require_device(options.device)
    state = open_folder(out, resume, overwrite)
    network, notes = _network(start)
    if network is not None:
        _require_crop(options, network)
    loop = _Loop(options, out, progress)
    given = identity_of(network).hex() if network is not None else None
    if state is None:
        if network is None or given is None:
            raise SpecError("name the network to begin with: weights (--initial) or an architecture (--network)")
        clear_folder(out)
        save_model(round_file(out, 0, "safetensors"), network, notes)
        state = State(_stored(options), loop.names, given)
        write_state(out, state)
    require_same(state, _stored(options), loop.names, given)
    state = replace(state, options=_stored(options))
    clear_done(out, state)
    while (step := next_step(state.rounds, options)) is not None:
        state = replace(state, rounds=(*state.rounds, loop.run(step, state.rounds)))
        write_state(out, state)
        clear_done(out, state)
        with disk(out):
            replace_file(out / FIGURE, draw_rounds(state.rounds, options))
    return _finished(options, out, state)


class _Loop:
    """The trainings and measurements, one after another; images are read once."""

    def __init__(self, options: RateTargetOptions, out: Path, progress: Progress) -> None:
        """Raises `ImageError` for folders that cannot be used, before any step."""
        self.options = options
        self.out = out
        self.progress = progress
        self._data = ImageFolders(
            options.train, options.validation, crop=options.crop, batch_size=options.batch_size, workers=options.workers
        )
        self._data.check_overlap()
        self._images = self._data.images("validation")
        self.names = tuple(image.name for image in list_images(options.validation))

    def run(self, step: Step, before: tuple[Round, ...]) -> Round:
        """The training that a step asks for, from the weights of the round before, and what it measures."""
        options, out, number = self.options, self.out, len(before) + 1
        weights = round_file(out, number, "safetensors")
        final, ended = step.stage == "final", step.stage != "round"
        steps = options.final_steps if final else options.steps
        optimizer = round_file(out, number - 1, OPTIMIZER)
        job = Fit(
            target=step.target,
            beta=step.beta,
            start=round_file(out, number - 1, "safetensors"),
            weights=weights,
            optimizer_before=optimizer if optimizer.is_file() else None,
            optimizer=round_file(out, number, OPTIMIZER),
            schedule=_schedule(final, steps),
            lr=options.lr * (CORRECTION_RATE if step.stage == "correction" else 1),
            fitting=Fitting(
                name="final training" if final else f"{step.stage} {number}",
                checkpoint=out / CHECKPOINT if final else None,
                logs=out / "logs" / f"{number:02d}",
                steps=steps,
                epoch=min(options.checkpoint_steps, steps) if final else steps,
                seed=1_000 * options.seed + number,
                precision=options.precision,
                device=options.device,
            ),
            average=options.average if ended else 0.0,
            half=options.half and ended,
            compiled=options.compiled,
        )
        with disk(out):
            fit(job, self._data, self._notes(job, number), self.progress)
            rates, psnr = measure(weights, self._images, self.names, options.device, self.progress)
        return Round(
            number, step.stage, step.target, step.beta, rates, options.within(rates), psnr,
            weights.relative_to(out).as_posix(),
        )  # fmt: skip

    def _notes(self, job: Fit, number: int) -> dict[str, str]:
        """Data, target, steps; the images that the start was trained on stay on the list."""
        header = read_header(job.start)
        return {
            **trained_on_note({*self._data.hashes("train"), *trained_on(header)}),
            "rate_target": f"{self.options.bpp:g} bit/pixel, R_t {job.target:g}, beta {job.beta:g}",
            "rate_target_round": f"{number}, {job.fitting.steps} steps, "
            f"{self.options.batch_size} crops of {self.options.crop}",
        }


def _schedule(final: bool, steps: int) -> Trapezoid:
    """Rounds come down only so far that their rate can be measured; the final training comes down for good."""
    warmup = min(100, steps // 10)
    return Trapezoid(warmup, decay=0.5, last=0.01) if final else Trapezoid(warmup, decay=0.3, last=0.1)


def _finished(options: RateTargetOptions, out: Path, state: State) -> RateTargetResult:
    """The best of the final training and its corrections, the later one of equals, as the weights of the folder."""
    ended = [one for one in state.rounds if one.stage != "round"]
    chosen = max(ended, key=lambda one: (one.within, one.number))
    with disk(out):
        replace_file(out / WEIGHTS, (out / chosen.weights).read_bytes())
    reached = chosen.within >= options.share
    return RateTargetResult(options, out, out / WEIGHTS, chosen, reached, state.rounds)


def _network(start: CompressionModel | str | Path | None) -> tuple[CompressionModel | None, dict[str, str]]:
    if start is None or isinstance(start, CompressionModel):
        return start, {}
    return load_model(start), trained_on_note(trained_on(read_header(start)))


def _require_crop(options: RateTargetOptions, network: CompressionModel) -> None:
    if options.crop % network.stride:
        raise SpecError(
            f"--crop {options.crop}: a {network.architecture} network takes multiples of {network.stride} pixels"
        )


def _stored(options: RateTargetOptions) -> dict[str, Any]:
    """As JSON gives it back."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(options).items()}


def fresh_network(architecture: str, config: dict[str, Any], seed: int) -> CompressionModel:
    """A network of random weights that the seed decides. Raises `SpecError` for an unknown architecture or argument."""
    from rdp.models.registry import create_model

    with isolate_rng():
        torch.manual_seed(seed)
        return create_model(architecture, **config)
