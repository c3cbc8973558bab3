"""Decoders along the perception-distortion curve, at a fixed rate: one a gamma, from neighbour to neighbour.

Source: the thesis, section 4.1 and Algorithm 1. Encoder and entropy model are frozen, and what that promises is
checked for every decoder: the frozen parameters are bit for bit what they were, and files of all validation images,
encoded anew with the tuned codec, are byte for byte those of before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from rdp.codecs import OperatingPoint
from rdp.errors import RdpError, SpecError, suggest
from rdp.execution.devices import require_device
from rdp.execution.progress import Progress, Silent
from rdp.images import list_images
from rdp.metrics import metric_names
from rdp.models.base import CompressionModel
from rdp.models.checkpoint import identity_of
from rdp.models.decoder_names import gamma_name
from rdp.models.decoders import load_decoder, read_decoder_header, save_decoder
from rdp.models.provenance import trained_on_note
from rdp.storage import replace_file
from rdp.training.data import ImageFolders
from rdp.training.decoder_task import DecoderTuning
from rdp.training.finetune_figure import draw_decoders
from rdp.training.finetune_measure import Judge, OwnDecoder, TunedNetwork, open_network
from rdp.training.finetune_state import (
    FIGURE,
    STATE,
    Tuned,
    TunedCodec,
    TuningState,
    checkpoint_of,
    clear_tuning,
    open_tuning,
    require_same_tuning,
    write_tuning,
)
from rdp.training.fitting import Fitting, check_precision, run_fitting
from rdp.training.loop_folder import disk
from rdp.training.optimizers import Muon
from rdp.training.option_words import option_surroundings
from rdp.training.perceptual import LPIPS
from rdp.training.rate_target_fit import ADAM_FACTOR
from rdp.training.schedules import Trapezoid

BACKBONES = {"lpips_vgg": "vgg", "lpips_alex": "alex", "lpips_squeeze": "squeeze"}
"""Perceptual losses, by the metrics that they are."""

OPTIMIZERS = ("adam", "muon")

JUDGES = ("ms_ssim", "haarpsi")
GAMMAS = ("1e-2", "1e-3", "5e-4", "1e-4", "5e-5", "0")


@dataclass(frozen=True)
class TuningOptions:
    """How decoders are tuned. The defaults are the thesis's, for the MSE on the 0..255 scale.

    `gammas`: weights of the MSE beside `perceptual`, one decoder each, tuned from the largest down, each from the
    decoder before. `adversarial`: weight of HiFiC's adversarial term. `judges`: metrics of the table, beside PSNR and
    the loss's own. `train`, `validation`: folders of images. `crop`: side of the crops in pixels, a multiple of the
    network's stride. `steps`: of each decoder, of which the last part `decay` brings the learning rate down to a
    hundredth; a checkpoint every `checkpoint_steps`. `lr`: of the optimiser; Muon's Adam has three times that.
    """

    train: str = ""
    validation: str = ""
    gammas: tuple[str, ...] = GAMMAS
    perceptual: str = "lpips_vgg"
    adversarial: float = 0.0
    judges: tuple[str, ...] = JUDGES
    crop: int = 256
    batch_size: int = 16
    steps: int = 400_000
    checkpoint_steps: int = 1_000
    optimizer: str = "adam"
    lr: float = 1e-5
    decay: float = 0.0
    seed: int = 0
    precision: str = "32-true"
    compiled: bool = False
    half: bool = False
    device: str = "cpu"
    workers: int = 0

    def __post_init__(self) -> None:
        """Raises `SpecError`, by the name of the command's option, for what cannot be."""
        for option, folder in (("--train", self.train), ("--validation", self.validation)):
            if not folder:
                raise SpecError(f"{option}: name a folder of images")
        if not self.gammas:
            raise SpecError("--gammas: name one or more, as in 1e-3,1e-4")
        for gamma in self.gammas:
            gamma_name(gamma)
        if self.perceptual not in BACKBONES:
            hint = suggest(self.perceptual, list(BACKBONES))
            raise SpecError(f"--perceptual {self.perceptual!r} is unknown.{hint} Known: {', '.join(BACKBONES)}")
        if self.optimizer not in OPTIMIZERS:
            raise SpecError(f"--optimizer {self.optimizer!r} is unknown. Known: {', '.join(OPTIMIZERS)}")
        for judge in self.judges:
            if judge not in metric_names():
                known = ", ".join(metric_names())
                raise SpecError(f"--judge {judge!r} is unknown.{suggest(judge, metric_names())} Known: {known}")
        for name in ("crop", "batch_size", "steps", "checkpoint_steps"):
            if getattr(self, name) < 1:
                raise SpecError(f"--{name.replace('_', '-')} {getattr(self, name)}: give 1 or more")
        if not 0 < self.lr < 1:
            raise SpecError(f"--lr {self.lr:g}: a learning rate lies between 0 and 1, as in 0.00001")
        if not 0 <= self.decay <= 1:
            raise SpecError(f"--decay {self.decay:g}: a part of the steps, 0 to 1")
        if not 0 <= self.adversarial < float("inf"):
            raise SpecError(f"--adversarial {self.adversarial:g}: a weight, 0 or more")
        check_precision(self.precision)
        if self.seed < 0 or self.workers < 0:
            raise SpecError("--seed and the number of workers are 0 or more")

    @property
    def ladder(self) -> tuple[tuple[str, float], ...]:
        """Name and gamma of every decoder, the largest gamma first, each once."""
        named = {gamma_name(gamma): float(gamma) for gamma in self.gammas}
        return tuple(sorted(named.items(), key=lambda one: -one[1]))

    @property
    def scored(self) -> tuple[str, ...]:
        """The metrics of the table: PSNR, that of the loss, and the judges."""
        return tuple(dict.fromkeys(["psnr", self.perceptual, *self.judges]))


@dataclass(frozen=True)
class TuningResult:
    """What came out: the folder of the decoders, and for every codec its decoders with what they measure."""

    options: TuningOptions
    folder: Path
    codecs: tuple[TunedCodec, ...]


def tune_decoders(
    points: Sequence[OperatingPoint],
    options: TuningOptions,
    out: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = Silent(),  # noqa: B008
) -> TuningResult:
    """Tune decoders for networks whose encoders stay as they are.

    `points` name networks (codec families with weights, or `checkpoint:path=`), at their usual quantisation step.
    `out`: a folder, in which `resume` goes on where a killed call ended. Raises `SpecError`, `ImageError`,
    `WeightsError` for what cannot be used, by the names of the command's options; `RdpError` if a file or a frozen
    parameter changed; `TrainingInterrupted` after Ctrl-C. Every decoder that is done stays, whatever is raised.
    """
    out = Path(out)
    with option_surroundings("rdp finetune", out, STATE, progress):
        require_device(options.device)
        state = open_tuning(out, resume, overwrite)
        networks = [open_network(point) for point in points]
        _require_distinct(networks)
        loop = _Loop(options, out, progress, networks)
        identities = {network.point: network.identity for network in networks}
        if state is None:
            clear_tuning(out)
            state = TuningState(_stored(options), tuple(TunedCodec(*one) for one in identities.items()))
            write_tuning(out, state)
        require_same_tuning(state, _stored(options), identities)
        state = loop.run(replace(state, options=_stored(options)))
        return TuningResult(options, out, state.codecs)


class _Loop:
    """The decoders, one after another; images are read once."""

    def __init__(self, options: TuningOptions, out: Path, progress: Progress, networks: Sequence[TunedNetwork]) -> None:
        """Raises `ImageError` for folders that cannot be used, before any step."""
        for network in networks:
            if options.crop % network.stride:
                raise SpecError(f"--crop {options.crop}: {network.point} takes multiples of {network.stride} pixels")
        self.options = options
        self.out = out
        self.progress = progress
        self.networks = networks
        self._data = ImageFolders(
            options.train, options.validation, crop=options.crop, batch_size=options.batch_size, workers=options.workers
        )
        self._data.check_overlap()
        names = [image.name for image in list_images(options.validation)]
        self._judge = Judge(self._data.images("validation"), names, options.scored, options.device, progress)

    def run(self, state: TuningState) -> TuningState:
        """What is missing, in order; the log is written after every decoder."""
        for network in self.networks:
            codec = next(one for one in state.codecs if one.identity == network.identity)
            if codec.decoders and all(codec.find(name) for name, _ in self.options.ladder):
                continue
            own = self._judge.own(network)
            if not codec.decoders:
                codec = replace(codec, decoders=(own.tuned,))
                state = self._keep(state.with_codec(codec))
            for place, (name, gamma) in enumerate(self.options.ladder):
                if codec.find(name) is None:
                    before = self._neighbour(codec, gamma)
                    tuned = self._tune(network, own, name, gamma, before, place)
                    codec = replace(codec, decoders=(*codec.decoders, tuned))
                    state = self._keep(state.with_codec(codec))
                    with disk(self.out):
                        checkpoint_of(self.out, network.identity, name).unlink(missing_ok=True)
        return state

    def _neighbour(self, codec: TunedCodec, gamma: float) -> Path | None:
        """The file of the decoder of the next larger gamma; None for the network's own."""
        larger = [one for one in codec.decoders if one.gamma is not None and one.gamma > gamma]
        nearest = min(larger, key=lambda one: one.gamma or 0.0, default=None)
        return self.out / nearest.weights if nearest is not None and nearest.weights is not None else None

    def _tune(
        self, network: TunedNetwork, own: OwnDecoder, name: str, gamma: float, before: Path | None, place: int
    ) -> Tuned:
        """One decoder, and what it measures."""
        options, file = self.options, f"{network.identity}-{name}.safetensors"
        model = network.load()
        if before is not None:
            model.synthesis = load_decoder(before, model, network.identity)
        task = self._task(model, gamma)
        job = Fitting(
            name=f"{network.point} {name}",
            checkpoint=checkpoint_of(self.out, network.identity, name),
            logs=self.out / "logs" / f"{network.identity}-{name}",
            steps=options.steps,
            epoch=min(options.checkpoint_steps, options.steps),
            seed=1_000 * options.seed + place,
            precision=options.precision,
            device=options.device,
        )
        with disk(self.out):
            run_fitting(job, task, self._data, self.progress)
            _require_frozen(task.network, network)
            save_decoder(
                self.out / file, task.network, name, network.identity, self._notes(network, gamma, before),
                kernel_bits=16 if options.half else 32,
            )  # fmt: skip
            measured = self._judge.measure(network, self.out / file, own)
        return Tuned(
            name, gamma, options.steps, file, measured.bpp, measured.scores, own.tuned.files, measured.identical
        )

    def _task(self, model: CompressionModel, gamma: float) -> DecoderTuning:
        options = self.options
        optimizer: Any = (
            partial(Muon, lr=options.lr, adam_lr=ADAM_FACTOR * options.lr)
            if options.optimizer == "muon"
            else partial(torch.optim.Adam, lr=options.lr)
        )
        warmup = min(100, options.steps // 10) if options.optimizer == "muon" else 0
        task = DecoderTuning(
            model,
            gamma,
            options.adversarial,
            LPIPS(BACKBONES[options.perceptual]),  # type: ignore[arg-type]
            optimizer=optimizer,
            schedule=Trapezoid(warmup, decay=options.decay),
        )
        task.compiled = options.compiled
        return task

    def _notes(self, network: TunedNetwork, gamma: float, before: Path | None) -> dict[str, str]:
        """Loss, data, steps; the images that the network was trained on are on the list."""
        options = self.options
        loss = f"{gamma:g} MSE + {options.perceptual}"
        if options.adversarial:
            loss += f" + {options.adversarial:g} adversarial"
        start = "the network's own decoder" if before is None else read_decoder_header(before).name
        return {
            **trained_on_note({*self._data.hashes("train"), *network.trained_on}),
            "loss": loss,
            "trained": f"{options.steps} steps of {options.batch_size} crops of {options.crop} from {start}, "
            f"{options.optimizer} {options.lr:g}, seed {options.seed}",
        }

    def _keep(self, state: TuningState) -> TuningState:
        write_tuning(self.out, state)
        with disk(self.out):
            replace_file(self.out / FIGURE, draw_decoders(state.codecs, self.options.perceptual))
        return state


def _require_distinct(networks: Sequence[TunedNetwork]) -> None:
    seen: dict[str, str] = {}
    for network in networks:
        other = seen.setdefault(network.identity, network.point)
        if other != network.point:
            raise SpecError(f"--codec: {other} and {network.point} have the same encoder: name one of them")


def _require_frozen(model: CompressionModel, network: TunedNetwork) -> None:
    """Raise `RdpError` if anything but the decoder has changed."""
    now = identity_of(model).hex()
    if now != network.identity:
        raise RdpError(
            f"{network.point}: the training changed what had to stay frozen (identity {network.identity}, now {now}): "
            "nothing of this decoder is kept; please report it"
        )


def _stored(options: TuningOptions) -> Mapping[str, Any]:
    """As JSON gives it back."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(options).items()}
