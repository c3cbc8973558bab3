"""The steps of a training: the random numbers of each, the checkpoint after an epoch, and how Ctrl-C ends it."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from rdp.errors import EXIT_INTERRUPTED, RdpError


class TrainingInterrupted(RdpError):
    """The user stopped a training; the message says how it goes on."""

    exit_code = EXIT_INTERRUPTED


class Steps(Callback):
    """Random numbers of a step that follow from the seed, the epoch and the step alone.

    So a training that is resumed draws what it would have drawn. The last step of all is followed by a validation, be
    it in the middle of an epoch.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Resumed from the end of an epoch, Lightning goes once more through that end, and counts the epoch twice.

        Crops and random numbers follow from the count, so it is taken back here.
        """
        epochs: Any = trainer.fit_loop.epoch_progress.current
        ended = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch and epochs.started == epochs.processed
        if trainer.ckpt_path and ended:
            epochs.processed -= 1
            trainer.fit_loop.epoch_loop._batches_that_stepped -= 1  # which is counted twice too; logs have it as step
        epochs.completed = epochs.processed

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> None:
        words = [self.seed, trainer.current_epoch, batch_idx, trainer.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0]) >> 1)

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if 0 <= trainer.max_steps <= trainer.global_step:
            trainer.should_stop = True


class LastCheckpoint(Checkpoint):
    """A checkpoint at `path` after every epoch, and after the step at which Ctrl-C or a polite kill comes.

    `goes_on`: the command that then goes on, for the message. A second Ctrl-C does not wait for the step. On several
    devices, a signal to the process of one ends all after the same step. Raises `TrainingInterrupted`.
    """

    def __init__(self, path: Path, goes_on: str) -> None:
        self.path = path
        self.goes_on = goes_on
        self._wanted = False
        self._before: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._before[number] = signal.signal(number, self._stop)
            except ValueError:
                return  # Not the main thread: signals are somebody else's.

    def _stop(self, number: int, frame: Any) -> None:
        self._wanted = True
        signal.signal(number, signal.default_int_handler)

    def teardown(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        self._give_back()

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        self._give_back()

    def _give_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        ends = trainer.should_stop or batch_idx + 1 >= trainer.num_training_batches
        if not ends and self._wanted_anywhere(trainer):
            self._save(trainer)
            raise self._interrupted(trainer)

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        self._save(trainer)
        if self._wanted_anywhere(trainer):
            raise self._interrupted(trainer)

    def _wanted_anywhere(self, trainer: Trainer) -> bool:
        return bool(trainer.strategy.reduce_boolean_decision(self._wanted, all=False))

    def _save(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self.path)

    def _interrupted(self, trainer: Trainer) -> TrainingInterrupted:
        return TrainingInterrupted(f"interrupted after step {trainer.global_step}; `{self.goes_on}` goes on")
