"""One training among several of a command, on Lightning: steps, log, and the checkpoint that it goes on from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor

from rdp.errors import SpecError, suggest
from rdp.execution.progress import Progress
from rdp.training.data import ImageFolders
from rdp.training.folder import MetricsTable, WholeCheckpoints
from rdp.training.guard import Guard
from rdp.training.steps import Steps
from rdp.training.tasks import CompressionTask

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
"""Of the arithmetic in training, as Lightning names them; files are measured in float32."""

_LOGGED_EVERY = 50


def check_precision(precision: str) -> None:
    """Raise `SpecError` for a name that is none of `PRECISIONS`."""
    if precision not in PRECISIONS:
        known = ", ".join(PRECISIONS)
        raise SpecError(f"--precision {precision!r} is unknown.{suggest(precision, PRECISIONS)} Known: {known}")


@dataclass(frozen=True)
class Fitting:
    """How long a task is trained, and where.

    `checkpoint`: the file of the last checkpoint, from which a killed training goes on; None for a training that rather
    begins again. `epoch`: steps from one checkpoint to the next. `logs`: a folder for the losses over the steps. `seed`
    decides crops and noise. `precision`: as Lightning names it.
    """

    name: str
    checkpoint: Path | None
    logs: Path
    steps: int
    epoch: int
    seed: int
    precision: str
    device: str


def run_fitting(
    job: Fitting, task: CompressionTask, data: ImageFolders, progress: Progress, callbacks: Sequence[Callback] = ()
) -> None:
    """Train. Raises `RdpError` for losses that are not finite.

    Lightning makes `SystemExit` of Ctrl-C, and says much of itself: call it within `rdp.training.surroundings`.
    """
    data.seed, data.steps_per_epoch = job.seed, job.epoch
    table = MetricsTable(job.logs)
    listed: list[Callback] = [Steps(job.seed), Guard(), _Told(progress, table), *callbacks]
    if job.checkpoint is not None:
        listed.append(_Last(job.checkpoint))
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
            callbacks=listed,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        resumed = job.checkpoint if job.checkpoint is not None and job.checkpoint.is_file() else None
        trainer.fit(task, datamodule=data, ckpt_path=resumed, weights_only=True)
    progress.finish()


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


def _placed(device: str) -> dict[str, Any]:
    if device == "cpu":
        return {"accelerator": "cpu", "devices": 1}
    return {"accelerator": "gpu", "devices": [int(device.partition(":")[2] or 0)]}
