"""Progress of a training on stderr: a bar in a terminal, else a line now and then."""

from __future__ import annotations

import math
import time
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only

from rdp.execution.progress import Progress
from rdp.training.callbacks import validation_numbers

_SHOWN = ("loss", "bpp", "psnr")


class Telling(Callback):
    """Tells a `Progress` of steps and its notes of validations; `line` gets a line of numbers every `seconds`."""

    def __init__(self, progress: Progress, live: bool, seconds: float = 30.0) -> None:
        self.progress = progress
        self.live = live
        self.seconds = seconds
        self._begun = self._last = 0.0
        self._first = 0

    @rank_zero_only
    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self._begun = self._last = time.monotonic()
        self._first = trainer.global_step
        if self.live:
            self.progress.start("train", trainer.max_steps, "step")
            self.progress.advance(self._first)

    @rank_zero_only
    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.live:
            self.progress.advance()
        now = time.monotonic()
        if not self.live and now - self._last >= self.seconds:
            self._last = now
            self.progress.note(self._line(trainer, now))

    @rank_zero_only
    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        numbers = validation_numbers(trainer)
        self.progress.note(f"step {trainer.global_step}: validation {spelled(numbers)}")

    @rank_zero_only
    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        if self.live:
            self.progress.finish()

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        if self.live:
            self.progress.finish()

    def _line(self, trainer: Trainer, now: float) -> str:
        numbers = {
            name.removeprefix("train/"): float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith("train/")
        }
        if numbers.get("mse", 0) > 0:
            numbers["psnr"] = 10 * math.log10(255**2 / numbers["mse"])
        done = trainer.global_step - self._first
        pace = (now - self._begun) / max(1, done)
        left, of = "", ""
        if trainer.max_steps > 0:
            minutes = pace * (trainer.max_steps - trainer.global_step) / 60
            left, of = f", {minutes:.0f} min left", f" of {trainer.max_steps}"
        return f"step {trainer.global_step}{of}: {spelled(numbers)}, {pace:.3g} s/step{left}"


def spelled(numbers: dict[str, float]) -> str:
    """Numbers in a line: loss, bit/pixel and PSNR, where they are."""
    units = {"loss": "loss {:.4f}", "bpp": "{:.4f} bit/pixel", "psnr": "{:.2f} dB"}
    return ", ".join(units[name].format(numbers[name]) for name in _SHOWN if name in numbers)
