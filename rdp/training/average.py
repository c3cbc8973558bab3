"""Exponential moving average of the weights: what is validated and exported, while the training goes on beside it."""

from __future__ import annotations

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

from rdp.errors import SpecError

_WARMUP = 10


class MovingAverage(Callback):
    """Averages of the parameters of `module.network`, with a decay that grows to `decay` as (1 + n) / (10 + n) does.

    n counts the steps before, and after the first step the averages are the weights: so the initial ones are forgotten,
    however short the training. Buffers are the current ones. What else a module has (a discriminator, a distortion) is
    neither averaged nor copied.

    The averages are in the network from the beginning of a validation to its very end, so that `on_validation_end` of
    the callbacks before this one sees them, and when the training is over. A checkpoint has them in `state_dict`, so
    that whoever reads it as any other gets them, and the weights of the training in `current_model_state`.
    """

    STATE = "averaging_state"
    """The key of a checkpoint that has averages."""
    CURRENT = "current_model_state"
    PREFIX = "network."

    def __init__(self, decay: float = 0.999) -> None:
        """Raises `SpecError` for a decay that is not at least 0 and below 1."""
        if not 0 <= decay < 1:
            raise SpecError(f"--ema.decay is {decay}: the decay of a moving average is at least 0 and below 1")
        self.decay = decay
        self.averages: dict[str, Tensor] = {}
        self._count = 0
        self._step = 0
        self._swapped = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Averages where the network is by now: those of a checkpoint, or of no steps yet."""
        own = dict(_network(pl_module).named_parameters())
        have = self.averages or {name: value.detach().clone() for name, value in own.items()}
        self.averages = {name: have[name].to(value.device) for name, value in own.items()}

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step <= self._step:
            return  # Gradients were gathered, and nothing moved.
        weight = max(1 - self.decay, (_WARMUP - 1) / (_WARMUP + self._count)) if self._count else 1.0
        current = [value.detach() for value in _network(pl_module).parameters()]
        torch._foreach_lerp_(list(self.averages.values()), current, weight)
        self._count += 1
        self._step = trainer.global_step

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.averages and not self._swapped:
            self._swap(pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._swapped:
            self._swap(pl_module)

    @torch.no_grad()
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for name, value in _network(pl_module).named_parameters():
            value.copy_(self.averages[name])

    @torch.no_grad()
    def _swap(self, module: LightningModule) -> None:
        for name, value in _network(module).named_parameters():
            current = value.clone()
            value.copy_(self.averages[name])
            self.averages[name].copy_(current)
        self._swapped = not self._swapped

    def state_dict(self) -> dict[str, Any]:
        return {"latest_update_step": self._step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._step = state_dict["latest_update_step"]

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if not self.averages:
            return
        current = checkpoint["state_dict"]
        checkpoint[self.CURRENT] = current
        checkpoint["state_dict"] = {
            **current,
            **{f"{self.PREFIX}{name}": value.detach().clone() for name, value in self.averages.items()},
        }
        checkpoint[self.STATE] = {"n_averaged": torch.tensor(self._count)}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Without averages in it, they begin with its weights."""
        if self.STATE not in checkpoint:
            return
        self.averages = {
            name: checkpoint["state_dict"][f"{self.PREFIX}{name}"].to(value.device, copy=True)
            for name, value in _network(pl_module).named_parameters()
        }
        self._count = int(checkpoint[self.STATE]["n_averaged"])
        pl_module.load_state_dict(checkpoint[self.CURRENT])


def _network(module: LightningModule) -> nn.Module:
    network: nn.Module = module.network  # type: ignore[assignment]
    return network
