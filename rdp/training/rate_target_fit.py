"""One training of the loop towards a target rate, on Lightning, and what the files of its network measure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from lightning import Callback, LightningModule, Trainer

from rdp.codecs import Resources, create_codec, parse_point
from rdp.codecs.keys import quote
from rdp.errors import RdpError
from rdp.execution.progress import Progress
from rdp.metrics.pixel import psnr_of, squared_error
from rdp.models.checkpoint import load_model, save_model
from rdp.training.average import MovingAverage
from rdp.training.data import ImageFolders
from rdp.training.fitting import Fitting, run_fitting
from rdp.training.images import Pixels
from rdp.training.optimizers import Muon
from rdp.training.schedules import Trapezoid
from rdp.training.tasks import TargetRate

ADAM_FACTOR = 3.0
"""What Adam learns with, as a factor of Muon's rate: that of their defaults."""


@dataclass(frozen=True)
class Fit:
    """A training towards `target` bit/pixel: `start` and `weights` are files of weights, before and after.

    `optimizer_before` (None: a fresh one) and `optimizer` hold the optimiser's state. `average`: the decay of the
    moving average of the weights that is written; 0 for the last weights themselves. `half`: kernels in float16.
    `compiled`: steps through `torch.compile`.
    """

    target: float
    beta: float
    start: Path
    weights: Path
    optimizer_before: Path | None
    optimizer: Path
    schedule: Trapezoid
    lr: float
    fitting: Fitting
    average: float = 0.0
    half: bool = False
    compiled: bool = False


def fit(job: Fit, data: ImageFolders, notes: dict[str, str], progress: Progress) -> None:
    """Train, and write the weights. Raises what `run_fitting` raises."""
    network = load_model(job.start)
    # Networks are loaded for decoding, and Lightning leaves modules in the mode that they have.
    network.train()
    optimizer = partial(Muon, lr=job.lr, adam_lr=ADAM_FACTOR * job.lr)
    task = TargetRate(network, job.target, job.beta, optimizer=optimizer, schedule=job.schedule)
    task.compiled = job.compiled
    callbacks: list[Callback] = [_Keep(job.optimizer_before, job.optimizer)]
    if job.average:
        callbacks.append(MovingAverage(job.average))
    run_fitting(job.fitting, task, data, progress, callbacks)
    save_model(job.weights, task.network, notes, kernel_bits=16 if job.half else 32)


def measure(
    weights: Path, images: Sequence[Pixels], names: Sequence[str], device: str, progress: Progress
) -> tuple[tuple[float, ...], float | None]:
    """Rates of real files (bit/pixel), image by image, and the mean PSNR of what they decode to (dB).

    `images`: uint8 (H, W, 3). None for a mean that is infinite. Raises `CodecError` where a file does not decode.
    """
    codec = create_codec(parse_point(f"checkpoint:path={quote(str(weights))}"), Resources(device))
    rates, psnrs = [], []
    progress.start("files", len(images), "image")
    for image, name in zip(images, names, strict=True):
        try:
            data = codec.encode(image)
            decoded = codec.decode(data)
        except RdpError as error:
            raise type(error)(f"{name}: {error}") from error
        height, width = image.shape[:2]
        rates.append(8 * len(data) / (height * width))
        psnrs.append(psnr_of(squared_error(image, decoded) / image.size))
        progress.advance()
    progress.finish()
    mean = math.fsum(psnrs) / len(psnrs)
    return tuple(rates), mean if math.isfinite(mean) else None


class _Keep(Callback):
    """Momenta go from one training to the next; learning rates and their schedule do not."""

    def __init__(self, before: Path | None, after: Path) -> None:
        self._before = before
        self._after = after

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._before is None or trainer.global_step:
            return
        (optimizer,) = trainer.optimizers
        state = torch.load(self._before, map_location="cpu", weights_only=True)
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        (optimizer,) = trainer.optimizers
        beside = self._after.with_suffix(".part")
        torch.save(optimizer.state_dict()["state"], beside)
        beside.replace(self._after)
