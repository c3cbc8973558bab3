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

from rdp.models.base import CompressionModel, ModelOutput
from rdp.models.shrinkage import ShrinkageOutput
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

    `compiled` may be set before the training: steps then run through `torch.compile`, 1.3 to 1.5 times as fast on a CPU
    after a first step of a minute. Validation never does.
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
    def objective(self, output: ModelOutput, x: Tensor) -> Objective:
        """Of a batch x, (N, 3, H, W) in [0, 1]."""

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        x = images_of(batch)
        output = self.run(x)
        objective = self.objective(output, x)
        self.log_dict({f"train/{name}": value for name, value in objective.parts.items()}, prog_bar=True)
        return objective.loss + self.beside(output)

    def run(self, x: Tensor) -> ModelOutput:
        """The network on a training batch, as `objective` takes it."""
        if not self.compiled:
            output: ModelOutput = self.network(x)
            return output
        if self._compiled is None:
            self._compiled = torch.compile(self.network.forward)
        return self._compiled(x)

    def beside(self, output: ModelOutput) -> Tensor:
        """What is trained beside the objective and does not touch the transforms: quantiles, and a second law."""
        loss = self.network.auxiliary_loss()
        if isinstance(output, ShrinkageOutput) and getattr(self.network, "trained_law", None) is not None:
            pixels = math.prod(output.x_hat.shape[-2:])
            loss = loss + self.network.trained_law_bits(output).mean() / pixels  # type: ignore[operator]
        return loss

    def validation_step(self, batch: Tensor, index: int) -> None:
        self._measure(batch, "val")

    def test_step(self, batch: Tensor, index: int) -> None:
        self._measure(batch, "test")

    def _measure(self, batch: Tensor, stage: str) -> None:
        """Log rate, distortion and objective of whole images, rounded latents and 8-bit reconstructions."""
        height, width = batch.shape[-2:]
        x = images_of(batch)
        stride = self.network.stride
        padded = F.pad(x, (0, -width % stride, 0, -height % stride), mode="replicate")
        output = self.network(padded)
        x_hat = output.x_hat[..., :height, :width].float().clamp(0, 1).mul(255).round().div(255)
        mse = (x_hat - x).square().mean() * 255**2
        parts = {
            "bpp": output.bits().sum() / (len(batch) * height * width),
            "mse": mse,
            "psnr": 10 * torch.log10(255**2 / mse.clamp_min(1e-10)),
            "loss": self.objective(output, padded).loss,
            **self.further(x_hat, x),
        }
        self.log_dict({f"{stage}/{name}": value for name, value in parts.items()}, batch_size=len(batch))

    def further(self, x_hat: Tensor, x: Tensor) -> Mapping[str, Tensor]:
        """What a subclass also wants logged of 8-bit reconstructions of whole images, both (N, 3, H, W) in [0, 1]."""
        return {}

    def configure_optimizers(self) -> Any:
        quantiles = {name for name, _ in self.network.named_parameters() if name.endswith(QUANTILES)}
        named = [(name, value) for name, value in self.network.named_parameters() if value.requires_grad]
        groups = [{"params": [value for name, value in named if name not in quantiles]}]
        beside = [value for name, value in named if name in quantiles]
        if beside:
            groups.append({"params": beside, "lr": self.quantile_lr, "muon": False})  # type: ignore[dict-item]
        optimizer = self.make_optimizer(groups)
        return self.scheduled(optimizer)

    def scheduled(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """An optimiser with the schedule over the steps of this training, as Lightning takes them."""
        steps = int(self.trainer.estimated_stepping_batches)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self.schedule.factor(step, steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:
        self.clip_network()

    def clip_network(self) -> Tensor:
        """Shorten the gradient of the network, but of its quantiles, to `clip`; returns how long it was."""
        chosen = [value for name, value in self.network.named_parameters() if not name.endswith(QUANTILES)]
        return torch.nn.utils.clip_grad_norm_(chosen, self.clip)


class RateDistortion(CompressionTask):
    """Rate + `lmbda` * distortion: bit/pixel, and (if no other is named) the MSE on the 0..255 scale."""

    def __init__(
        self,
        network: CompressionModel,
        lmbda: float = 0.013,
        distortion: Distortion = MeanSquaredError(),  # noqa: B008
        optimizer: OptimizerCallable = Muon,
        schedule: Trapezoid = Trapezoid(),  # noqa: B008
        quantile_lr: float = 1e-3,
        initial: str | None = None,
        clip: float = 1.0,
    ) -> None:
        super().__init__(network, optimizer, schedule, quantile_lr, initial, clip)
        self.lmbda = lmbda
        self.distortion = distortion

    def objective(self, output: ModelOutput, x: Tensor) -> Objective:
        """R + lmbda D."""
        bpp, distortion = output.bpp().mean(), self.distortion.measured(output.x_hat, x)
        loss = bpp + self.lmbda * distortion.total.mean()
        return Objective(loss, {"loss": loss, "bpp": bpp, **means_of(distortion)})


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
        optimizer: OptimizerCallable = Muon,
        schedule: Trapezoid = Trapezoid(),  # noqa: B008
        quantile_lr: float = 1e-3,
        initial: str | None = None,
        clip: float = 1.0,
    ) -> None:
        super().__init__(network, optimizer, schedule, quantile_lr, initial, clip)
        self.bpp = bpp
        self.beta = beta
        self.distortion = distortion

    def objective(self, output: ModelOutput, x: Tensor) -> Objective:
        """D + beta f(R, R_t)."""
        bpp, distortion = output.bpp(), self.distortion.measured(output.x_hat, x)
        penalty = target_rate_penalty(bpp, self.bpp).mean()
        loss = distortion.total.mean() + self.beta * penalty
        return Objective(loss, {"loss": loss, "bpp": bpp.mean(), **means_of(distortion), "penalty": penalty})


def means_of(distortion: Measured) -> dict[str, Tensor]:
    """The parts of a distortion, averaged over the batch."""
    return {name: value.mean() for name, value in distortion.parts.items()}


def images_of(batch: Tensor) -> Tensor:
    """uint8 (N, 3, H, W) to float32 in [0, 1], channels last."""
    return batch.float().div_(255).contiguous(memory_format=torch.channels_last)
