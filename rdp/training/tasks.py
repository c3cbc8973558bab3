"""Trainings of compression networks as Lightning modules: what is minimised, measured and optimised."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from lightning import LightningModule
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from rdp.errors import SpecError
from rdp.models.base import CompressionModel, ModelOutput
from rdp.training.initial import load_initial
from rdp.training.losses import Distortion, MeanSquaredError, Measured, target_rate_penalty
from rdp.training.optimizers import Muon
from rdp.training.schedules import Trapezoid

QUANTILES = ".quantiles"
"""End of the names of the parameters that only `auxiliary_loss` trains."""


@dataclass(frozen=True)
class Objective:
    """What a step minimises, a scalar, and the numbers that its log shows."""

    loss: Tensor
    parts: Mapping[str, Tensor]


class CompressionTask(LightningModule):
    """What all trainings share; a subclass says the objective.

    `network`: what is trained. `optimizer`: makes the optimiser from groups of parameters. `schedule`: of its rates.
    `quantile_lr`: the rate of the quantiles of factorised densities, which are trained beside (Adam). `initial`: a
    file of weights to start from (safetensors). `clip`: largest norm of a step's gradient.

    `compiled` may be set before the training: steps then run through `torch.compile`; after the first one, in which the
    code is made, they are faster (`benchmarks/training_step.py`). Validation never does.
    """

    def __init__(
        self,
        network: CompressionModel,
        optimizer: OptimizerCallable = Muon,
        schedule: Trapezoid = Trapezoid(),  # noqa: B008
        quantile_lr: float = 1e-3,
        initial: str | None = None,
        clip: float = 1.0,
    ) -> None:
        """Raises `WeightsError` for initial weights of another network."""
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)
        self.make_optimizer = optimizer
        self.schedule = schedule
        self.quantile_lr = quantile_lr
        self.clip = clip
        self.compiled = False
        self._compiled: Callable[[Tensor], ModelOutput] | None = None
        if initial:
            load_initial(initial, self.network)

    @abstractmethod
    def cost(self, bpp: Tensor, x_hat: Tensor, x: Tensor) -> Objective:
        """Of the rates of N images, (N,) bit/pixel, their reconstructions and the images, (N, 3, H, W) in [0, 1].

        In training `x_hat` is what the network gives, not clamped, in validation an 8-bit image.
        """

    def validation_cost(self, bpp: Tensor, x_hat: Tensor, x: Tensor) -> Objective:
        """What `val/loss` is the mean of: `cost`, unless a subclass needs another that is the same for every image."""
        return self.cost(bpp, x_hat, x)

    def objective(self, output: ModelOutput, x: Tensor) -> Objective:
        """The cost of a training batch x, (N, 3, H, W) in [0, 1]."""
        return self.cost(output.bpp(), output.x_hat, x)

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        x = images_of(batch)
        output = self.run(x)
        objective = self.objective(output, x)
        self.log_dict({f"train/{name}": value for name, value in objective.parts.items()}, prog_bar=True)
        return objective.loss + self.network.side_loss(output)

    def run(self, x: Tensor) -> ModelOutput:
        """The network on a training batch, as `objective` takes it."""
        if not self.compiled:
            output: ModelOutput = self.network(x)
            return output
        if self._compiled is None:
            self._compiled = torch.compile(self.network.forward)
        return self._compiled(x)

    def validation_step(self, batch: Tensor, index: int) -> None:
        self._measure(batch, "val")

    def test_step(self, batch: Tensor, index: int) -> None:
        self._measure(batch, "test")

    def _measure(self, batch: Tensor, stage: str) -> None:
        """Log rate, distortion and cost of whole images, rounded latents and 8-bit reconstructions.

        All of the images' own pixels, without the margin that the network needs, and in float32 whatever the
        precision of the training: so files are made. Of several devices, the mean over all images.
        """
        height, width = batch.shape[-2:]
        x = images_of(batch)
        stride = self.network.stride
        with torch.autocast(x.device.type, enabled=False):
            output = self.network(F.pad(x, (0, -width % stride, 0, -height % stride), mode="replicate"))
            x_hat = output.x_hat[..., :height, :width].clamp(0, 1).mul(255).round().div(255)
            bpp = output.bits() / (height * width)
            cost = self.validation_cost(bpp, x_hat, x)
        mse = (x_hat - x).square().mean() * 255**2
        psnr = 10 * torch.log10(255**2 / mse.clamp_min(1e-10))
        parts = {"bpp": bpp.mean(), "mse": mse, "psnr": psnr, **cost.parts, "loss": cost.loss}
        named = {f"{stage}/{name}": value for name, value in parts.items()}
        self.log_dict(named, batch_size=len(batch), sync_dist=True)

    def configure_optimizers(self) -> Any:
        quantiles = {name for name, _ in self.network.named_parameters() if name.endswith(QUANTILES)}
        named = [(name, value) for name, value in self.network.named_parameters() if value.requires_grad]
        groups: list[dict[str, Any]] = [{"params": [value for name, value in named if name not in quantiles]}]
        beside = [value for name, value in named if name in quantiles]
        if beside:
            groups.append({"params": beside, "lr": self.quantile_lr, "muon": False})
        optimizer = self.make_optimizer(groups)
        return self.scheduled(optimizer)

    def scheduled(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """An optimiser with the schedule over the steps of this training, as Lightning takes them.

        Raises `SpecError` for a training without an end.
        """
        total = self.trainer.estimated_stepping_batches
        if not math.isfinite(total):
            raise SpecError("a schedule of learning rates needs an end: give the trainer max_steps (or max_epochs)")
        steps = int(total)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self.schedule.factor(step, steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:
        self.clip_network()

    def clip_network(self) -> Tensor:
        """Shorten the gradient of the network, but of its quantiles, to `clip`; returns how long it was.

        Parameters that only the side loss trains are shortened apart, so that their gradient takes nothing from the
        objective's; the longer of both is returned, or NaN if one is.
        """
        named = [(name, value) for name, value in self.network.named_parameters() if not name.endswith(QUANTILES)]
        side = [value for name, value in named if name.startswith(self.network.side_parameters)]
        chosen = [value for name, value in named if not name.startswith(self.network.side_parameters)]
        length = torch.nn.utils.clip_grad_norm_(chosen, self.clip)
        return torch.maximum(length, torch.nn.utils.clip_grad_norm_(side, self.clip)) if side else length


class RateDistortion(CompressionTask):
    """Rate + `lmbda` * distortion: bit/pixel, and (if no other is named) the MSE on the 0..255 scale."""

    def __init__(
        self,
        network: CompressionModel,
        lmbda: float = 0.013,
        distortion: Distortion = MeanSquaredError(),  # noqa: B008
        **common: Any,
    ) -> None:
        """`common`: arguments of `CompressionTask`."""
        super().__init__(network, **common)
        self.lmbda = lmbda
        self.distortion = distortion

    def cost(self, bpp: Tensor, x_hat: Tensor, x: Tensor) -> Objective:
        """R + lmbda D."""
        rate, distortion = bpp.mean(), self.distortion.measured(x_hat, x)
        loss = rate + self.lmbda * distortion.total.mean()
        return Objective(loss, {"loss": loss, "bpp": rate, **means_of(distortion)})


class TargetRate(CompressionTask):
    """Distortion + `beta` * mean over images of ((bpp - R_i) / bpp)^2, with no rate term beside it.

    Source: 002_5041f81c7ba61cea, equations 2 and 3, with the MSE on the 0..255 scale as distortion if no other is
    named; `beta` is 10^2 to 10^4 there.
    """

    def __init__(
        self,
        network: CompressionModel,
        bpp: float = 0.25,
        beta: float = 1e3,
        distortion: Distortion = MeanSquaredError(),  # noqa: B008
        **common: Any,
    ) -> None:
        """`common`: arguments of `CompressionTask`."""
        super().__init__(network, **common)
        self.bpp = bpp
        self.beta = beta
        self.distortion = distortion

    def cost(self, bpp: Tensor, x_hat: Tensor, x: Tensor) -> Objective:
        """D + beta f(R, R_t)."""
        distortion = self.distortion.measured(x_hat, x)
        penalty = target_rate_penalty(bpp, self.bpp).mean()
        loss = distortion.total.mean() + self.beta * penalty
        return Objective(loss, {"loss": loss, "bpp": bpp.mean(), **means_of(distortion), "penalty": penalty})


def means_of(distortion: Measured) -> dict[str, Tensor]:
    """The parts of a distortion, averaged over the batch."""
    return {name: value.mean() for name, value in distortion.parts.items()}


def images_of(batch: Tensor) -> Tensor:
    """uint8 (N, 3, H, W) to float32 in [0, 1], channels last."""
    return batch.float().div_(255).contiguous(memory_format=torch.channels_last)
