"""Exponential moving average of the weights: what is validated and exported, while the training goes on beside it."""

from __future__ import annotations

from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

_WARMUP = 10


class MovingAverage(WeightAveraging):
    """Lightning's weight averaging with a decay that grows to `decay` as (1 + n) / (10 + n) does over the steps n.

    So the initial weights are soon forgotten, however short the training. Buffers are the current ones. The averaged
    weights are in the module from the beginning of a validation to its very end, so that `on_validation_end` of the
    callbacks before this one sees them, and when the training is over.
    """

    STATE = "averaging_state"
    """The key of a checkpoint that has averages."""

    def __init__(self, decay: float = 0.999) -> None:
        """Raises `ValueError` for a decay that is not at least 0 and below 1."""
        if not 0 <= decay < 1:
            raise ValueError(f"the decay of a moving average is at least 0 and below 1, not {decay}")
        super().__init__(use_buffers=False, multi_avg_fn=self._average)
        self.decay = decay
        self._swapped = False

    def _average(self, averages: Any, currents: Any, count: Tensor | int) -> None:
        steps = int(count)
        torch._foreach_lerp_(averages, currents, max(1 - self.decay, (_WARMUP - 1) / (_WARMUP + steps)))

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._average_model is not None:
            self._swap_models(pl_module)
            self._swapped = True

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Not yet: see the class."""

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._swapped:
            self._swap_models(pl_module)
            self._swapped = False

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Lightning's, but of a module that is trained with averages only."""
        if self._average_model is not None:
            super().on_save_checkpoint(trainer, pl_module, checkpoint)
