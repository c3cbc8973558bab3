"""One training of the loop towards a target rate, on Lightning, and what the files of its network measure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor

from rdp.codecs import Resources, create_codec, parse_point
from rdp.codecs.keys import quote
from rdp.errors import RdpError
from rdp.execution.progress import Progress
from rdp.metrics.pixel import psnr_of, squared_error
from rdp.models.checkpoint import load_model, save_model
from rdp.training.data import ImageFolders
from rdp.training.folder import MetricsTable, WholeCheckpoints
from rdp.training.guard import Guard
from rdp.training.images import Pixels
from rdp.training.optimizers import Muon
from rdp.training.schedules import Trapezoid
from rdp.training.steps import Steps
from rdp.training.tasks import TargetRate

ADAM_FACTOR = 3.0
"""What Adam learns with, as a factor of Muon's rate: that of their defaults."""
_LOGGED_EVERY = 50


@dataclass(frozen=True)
class Fit:
    """A training: `start` and `weights` are files of weights, before and after.

    `optimizer_before` (None: a fresh one) and `optimizer` hold the optimiser's state. `checkpoint`: the file of
    the last checkpoint, from which a killed training goes on; None for a training that rather begins again. `epoch`:
    steps from one checkpoint to the next. `seed` decides crops and noise. `precision`: as Lightning names it.
    """

    name: str
    target: float
    beta: float
    start: Path
    weights: Path
    optimizer_before: Path | None
    optimizer: Path
    checkpoint: Path | None
    logs: Path
    steps: int
    epoch: int
    schedule: Trapezoid
    lr: float
    seed: int
    precision: str
    device: str


def fit(job: Fit, data: ImageFolders, notes: dict[str, str], progress: Progress) -> None:
    """Train, and write the weights.

    Raises `RdpError` for a loss that is not finite. Lightning makes `SystemExit` of Ctrl-C, and says much of itself:
    call it within `rdp.training.rate_target_words.surroundings`.
    """
    network = load_model(job.start)
    # Networks are loaded for decoding, and Lightning leaves modules in the mode that they have.
    network.train()
    data.seed, data.steps_per_epoch = job.seed, job.epoch
    optimizer = partial(Muon, lr=job.lr, adam_lr=ADAM_FACTOR * job.lr)
    task = TargetRate(network, job.target, job.beta, optimizer=optimizer, schedule=job.schedule)
    table = MetricsTable(job.logs)
    keep = _Keep(job.optimizer_before, job.optimizer)
    callbacks: list[Callback] = [Steps(job.seed), Guard(), _Told(progress, table), keep]
    if job.checkpoint is not None:
        callbacks.append(_Last(job.checkpoint))
    progress.start(job.name, job.steps, "step")
    with isolate_rng():
        trainer = Trainer(
            **_placed(job.device),
            precision=job.precision,  # type: ignore[arg-type]
            max_steps=job.steps,
            max_epochs=-1,
            limit_val_batches=0,
            num_sanity_val_steps=0,
            logger=table,
            plugins=[WholeCheckpoints()],
            default_root_dir=job.logs,
            log_every_n_steps=min(_LOGGED_EVERY, job.steps),
            callbacks=callbacks,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        resumed = job.checkpoint if job.checkpoint is not None and job.checkpoint.is_file() else None
        trainer.fit(task, datamodule=data, ckpt_path=resumed, weights_only=True)
    progress.finish()
    save_model(job.weights, task.network, notes)


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


class _Told(Callback):
    """Tells of steps."""

    def __init__(self, progress: Progress, table: MetricsTable) -> None:
        self._progress = progress
        self._table = table

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step:
            self._progress.advance(trainer.global_step)
            self._table.go_on_from(trainer.global_step)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Tensor, batch_idx: int
    ) -> None:
        self._progress.advance()


class _Last(Callback):
    """A checkpoint before every epoch but the first, in place of the one before.

    It says that no batch of the epoch is done. Lightning (2.6) leaves there the counts of the epoch before, and a
    training by steps that is resumed would go on with one more batch of that one, with other crops and noise.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step:
            trainer.save_checkpoint(self._path)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        batches = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        batches["is_last_batch"] = False
        batches["current"] = dict.fromkeys(batches["current"], 0)


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


def _placed(device: str) -> dict[str, Any]:
    if device == "cpu":
        return {"accelerator": "cpu", "devices": 1}
    return {"accelerator": "gpu", "devices": [int(device.partition(":")[2] or 0)]}
