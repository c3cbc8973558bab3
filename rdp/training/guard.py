"""A training that went wrong stops, and says how."""

from __future__ import annotations

import math
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from rdp.errors import RdpError, SpecError

_RAW_BPP = 24.0


class Guard(Callback):
    """Stops a training whose numbers are no longer numbers, or whose codec has collapsed.

    `skips`: so many steps in a row may have a gradient that is not finite; such a step is left out and counted
    (`train/steps_skipped` in the log), and one more stops the training. `validations`: so many in a row may show a
    collapsed codec before it stops: fewer than `smallest_bpp` bit/pixel, more than the 24 of raw pixels, or a PSNR no
    better than that of images that have one colour, their mean, all over. `patience`: before this step no codec counts
    as collapsed, since all begin so. On several devices all come to the same verdict, for the numbers are of all of
    them. Raises `SpecError` for counts that cannot be.
    """

    def __init__(self, skips: int = 10, validations: int = 3, smallest_bpp: float = 1e-3, patience: int = 2000) -> None:
        for name, value, least in (("skips", skips, 0), ("validations", validations, 1), ("patience", patience, 0)):
            if value < least:
                raise SpecError(f"--guard.{name} is {value}: it must be {least} or more")
        self.skips = skips
        self.validations = validations
        self.smallest_bpp = smallest_bpp
        self.patience = patience
        self.skipped = 0
        self._in_row = 0
        self._bad = False
        self._where = ""
        self._collapsed = 0
        self.flat = -math.inf
        """PSNR in dB of the validation images of all devices, had each one colour all over."""
        self._flat: list[float] = []

    def on_before_optimizer_step(self, trainer: Trainer, module: LightningModule, optimizer: Any) -> None:
        """Leave out a step whose gradient is not finite: optimisers pass over parameters without one."""
        own = [value for group in optimizer.param_groups for value in group["params"] if value.grad is not None]
        if not own or bool(torch.isfinite(torch.stack(torch._foreach_norm([value.grad for value in own]))).all()):
            return
        self._bad = True
        self._where = self._name_bad_gradient(module)
        for value in own:
            value.grad = None

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count steps that were left out; raises `RdpError` after too many in a row."""
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        wrong_loss = isinstance(loss, torch.Tensor) and not bool(torch.isfinite(loss).all())
        bad, self._bad = self._bad or wrong_loss, False
        if not bad:
            self._in_row = 0
            return
        self.skipped += 1
        self._in_row += 1
        module.log("train/steps_skipped", float(self.skipped), prog_bar=False)
        if self._in_row > self.skips:
            parts = [
                name.removeprefix("train/")
                for name, value in trainer.callback_metrics.items()
                if name.startswith("train/") and not math.isfinite(float(value))
            ]
            what = f"not finite: {', '.join(parts)}" if parts else f"the gradient is not finite ({self._where})"
            raise RdpError(
                f"training stopped at step {trainer.global_step}: {what}, {self._in_row} steps in a row. The last good "
                "checkpoint is kept; try a smaller learning rate, or precision 32-true"
            )

    def _name_bad_gradient(self, module: LightningModule) -> str:
        for name, value in module.named_parameters():
            if value.grad is not None and not bool(torch.isfinite(value.grad).all()):
                return name
        return "none"

    def on_validation_batch_start(
        self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """What their mean colours would reach on these images, once: they are the same every time."""
        if trainer.sanity_checking or batch_idx < len(self._flat) or not isinstance(batch, torch.Tensor):
            return
        mse = float(batch.float().var((-2, -1), correction=0).mean())
        self._flat.append(10 * math.log10(255**2 / max(mse, 1e-10)))

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Raises `RdpError` for a codec that stays collapsed."""
        if trainer.sanity_checking or trainer.global_step < self.patience:
            return
        own = torch.tensor([sum(self._flat), float(len(self._flat))], device=module.device)
        total, count = trainer.strategy.reduce(own, reduce_op="sum").tolist()
        self.flat = total / count if count else -math.inf
        found = self._collapse(trainer.callback_metrics)
        self._collapsed = self._collapsed + 1 if found else 0
        if self._collapsed >= self.validations:
            raise RdpError(
                f"training stopped at step {trainer.global_step}: the codec has collapsed, {found}, {self._collapsed} "
                "validations in a row. Try another weight of the distortion, or a smaller learning rate"
            )

    def _collapse(self, metrics: Any) -> str:
        """What is wrong with a validation's numbers, or an empty text."""
        bpp, psnr, loss = (float(metrics.get(f"val/{name}", math.nan)) for name in ("bpp", "psnr", "loss"))
        if "val/loss" in metrics and not math.isfinite(loss):
            return "its loss on validation images is not finite"
        if bpp < self.smallest_bpp:
            return f"it spends {bpp:.2g} bit/pixel"
        if bpp > _RAW_BPP:
            return f"it spends {bpp:.3g} bit/pixel, more than raw pixels"
        if psnr <= self.flat:
            return f"its PSNR of {psnr:.2f} dB is no better than the {self.flat:.2f} dB of images of one colour each"
        return ""

    def state_dict(self) -> dict[str, Any]:
        return {"skipped": self.skipped, "collapsed": self._collapsed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.skipped = state_dict["skipped"]
        self._collapsed = state_dict["collapsed"]
