"""HiFiC's training: rate, distortion, perceptual distance, and a discriminator that is trained against the network.

Source: Mentzer, Toderici, Tschannen, Agustsson, "High-fidelity generative image compression", NeurIPS 2020; weights
and what the paper leaves open as in its public PyTorch port (Justin-Tan/high-fidelity-generative-compression,
default_config.py, src/model.py and src/loss/losses.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn
from torch.optim import Optimizer

from rdp.errors import SpecError
from rdp.models.base import CompressionModel
from rdp.models.discriminator import UPSAMPLING, ConditionalDiscriminator
from rdp.training.adversarial_losses import accuracy, discriminator_loss, generator_loss
from rdp.training.losses import Distortion, MeanSquaredError
from rdp.training.perceptual import LPIPS
from rdp.training.rate_control import RateControl
from rdp.training.tasks import CompressionTask, Objective, images_of, means_of

K_M = 0.075 * 2**-5
K_P = 1.0
BETA = 0.15


class HiFiC(CompressionTask):
    """lambda(r) rate + `k_m` MSE + `k_p` LPIPS + `beta` (-log D), against a conditional discriminator D.

    Scales: the rate in bit/pixel, with the weight that `rate` gives the batch; the MSE on the 0..255 scale, of which
    `k_m` = 0.075 / 32 takes 0.15 at 30 dB; LPIPS as the metric, of `perceptual` (if it is not given, LPIPS with
    AlexNet); -log D in nats, of which `beta` takes 0.10 from an undecided discriminator.

    Two stages. With `beta` 0 there is no discriminator, and this is a task like the others. Then, with `beta` above 0
    and the weights of the first as `initial`, every step is one of the network, which the discriminator as it is
    judges, and one of the discriminator on the same batch. It sees y_hat without a gradient, so that no bits are spent
    for its sake. Any network will do whose latent has a sixteenth of the image's sides.

    `optimizer` and `discriminator_optimizer` follow `schedule` both, and gradients of both are shortened to `clip`; a
    step whose gradient is not finite changes nothing and is logged as `train/skipped`. `discriminator_width`: 1 has
    the paper's channels. `train/d_real` and `train/d_fake` are the shares of patches that the discriminator tells
    right, `train/d_accuracy` their mean: 0.5 for one that knows nothing.

    `val/loss` has no adversarial term, and one weight of the rate for all images: the mean of the two of `rate`, as if
    half of the batches lay above the target. It says whether the first stage goes on well, while the second gives up
    some of it; but rate control holds a rate, and no weighting of rate and distortion says which weights hold it best,
    so those of both stages are the last ones (`best.choose: last`), not those of the least `val/loss`.

    The discriminator is in checkpoints, not in exported weights. A step is one of the network: `max_steps`, schedules
    and `trainer.global_step` count those alone. float32 and bf16-mixed; 16-mixed needs a scaler for each network and
    is refused. Over several GPUs the strategy is `ddp_find_unused_parameters_true`, since each step leaves one of the
    two networks out.
    """

    def __init__(
        self,
        network: CompressionModel,
        rate: RateControl = RateControl(),  # noqa: B008
        k_m: float = K_M,
        k_p: float = K_P,
        beta: float = BETA,
        perceptual: Distortion | None = None,
        discriminator_optimizer: OptimizerCallable = lambda p: torch.optim.Adam(p, lr=1e-4),
        discriminator_width: float = 1.0,
        **common: Any,
    ) -> None:
        """`common`: arguments of `CompressionTask`.

        Raises `SpecError` for weights below 0, and (if `beta` > 0) a latent of another size.
        """
        if min(k_m, k_p, beta) < 0:
            raise SpecError(f"k_m, k_p and beta are weights of a loss, 0 or more, not {k_m}, {k_p} and {beta}")
        super().__init__(network, **common)
        self.rate = rate
        self.k_m = k_m
        self.k_p = k_p
        self.beta = beta
        self.mse = MeanSquaredError()
        self.perceptual = perceptual or LPIPS("alex")
        self.make_discriminator_optimizer = discriminator_optimizer
        self.discriminator = _discriminator_for(network, discriminator_width) if beta else None
        self.automatic_optimization = self.discriminator is None

    def cost(self, bpp: Tensor, x_hat: Tensor, x: Tensor) -> Objective:
        """lambda(r) R + k_m MSE + k_p LPIPS; the adversarial term comes in `training_step`."""
        weight = self.rate.weight(bpp)
        weighted = self._weighted(weight, bpp, x_hat, x)
        return Objective(weighted.loss, {**weighted.parts, "lambda": weight})

    def validation_cost(self, bpp: Tensor, x_hat: Tensor, x: Tensor) -> Objective:
        """With one weight of the rate, whatever the image: the mean of the two that rate control chooses from."""
        return self._weighted(bpp.new_tensor((self.rate.above + self.rate.below) / 2), bpp, x_hat, x)

    def _weighted(self, weight: Tensor, bpp: Tensor, x_hat: Tensor, x: Tensor) -> Objective:
        mse, perceptual = self.mse(x_hat, x).mean(), self.perceptual.measured(x_hat, x)
        loss = weight * bpp.mean() + self.k_m * mse + self.k_p * perceptual.total.mean()
        return Objective(loss, {"loss": loss, "bpp": bpp.mean(), **means_of(perceptual), self.mse.name: mse})

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        """One step of the network, and one of the discriminator if there is one; returns the network's loss.

        Where one of the steps was left out the result is not a number, so that callbacks know.
        """
        if self.discriminator is None:
            return super().training_step(batch, index)
        x = images_of(batch)
        output = self.run(x)
        objective = self.objective(output, x)
        latent = output.y_hat.detach()
        with _fixed(self.discriminator):
            adversarial = generator_loss(self.discriminator(output.x_hat, latent))
        loss = objective.loss + self.beta * adversarial
        right = self._step_network(loss + self.network.side_loss(output))
        parts = {**objective.parts, "loss": loss, "adversarial": adversarial}
        parts.update(self._step_discriminator(self.discriminator, x, output.x_hat.detach(), latent))
        parts["skipped"] = parts["skipped"] + (not right)
        for schedule in self.lr_schedulers():  # type: ignore[union-attr]
            schedule.step()
        self.log_dict({f"train/{name}": value for name, value in parts.items()}, prog_bar=True)
        return torch.where(parts["skipped"] > 0, torch.nan, loss.detach())

    def _step_network(self, loss: Tensor) -> bool:
        """Lightning counts this step, through its own optimiser. Whether the gradient was finite."""
        optimizer: Any = self.optimizers()[0]  # type: ignore[index]
        return self._step(loss, optimizer, self.clip_network, optimizer.step)

    def _step_discriminator(
        self, discriminator: ConditionalDiscriminator, x: Tensor, x_hat: Tensor, latent: Tensor
    ) -> dict[str, Tensor]:
        """A step on real and reconstructed images, (N, 3, H, W), of the same latents; what the log shows of it.

        Under manual optimisation Lightning counts the steps of all its optimisers, and `max_steps` would be reached
        in half the batches. So this step goes to the strategy itself, as Lightning's optimiser would do it, and is not
        counted.
        """
        optimizer: Any = self.optimizers()[1]  # type: ignore[index]
        # One pass, and one iteration of the spectral norms, for both.
        real, fake = discriminator(torch.cat([x, x_hat]), torch.cat([latent, latent])).chunk(2)
        loss = discriminator_loss(real, fake)
        right = self._step(
            loss,
            optimizer,
            lambda: torch.nn.utils.clip_grad_norm_(discriminator.parameters(), self.clip),
            lambda: self.trainer.strategy.optimizer_step(optimizer.optimizer, lambda: None),
        )
        shares = accuracy(real.detach(), fake.detach())
        told = {"d_real": shares.real, "d_fake": shares.fake, "d_accuracy": shares.both}
        return {"d_loss": loss.detach(), **told, "skipped": loss.new_tensor(float(not right))}

    def _step(self, loss: Tensor, optimizer: Any, clip: Callable[[], Tensor], step: Callable[[], Any]) -> bool:
        """Gradient, clipping and step; with a gradient that is not finite, a step that changes nothing (False)."""
        optimizer.zero_grad()
        self.manual_backward(loss)
        finite = bool(torch.isfinite(clip()))
        if not finite:
            optimizer.zero_grad()
        step()
        return finite

    def configure_optimizers(self) -> Any:
        """Of the network, and of the discriminator if there is one."""
        network = super().configure_optimizers()
        if self.discriminator is None:
            return network
        optimizer: Optimizer = self.make_discriminator_optimizer(self.discriminator.parameters())
        return [network, self.scheduled(optimizer)]

    def on_fit_start(self) -> None:
        """Raises `SpecError` for a precision that needs a scaler of gradients."""
        if self.discriminator is not None and getattr(self.trainer.precision_plugin, "scaler", None) is not None:
            raise SpecError("trainer.precision 16-mixed is not for adversarial training: take bf16-mixed or 32-true")


def _discriminator_for(network: CompressionModel, width: float) -> ConditionalDiscriminator:
    """One that fits the network's latent and scale. Raises `SpecError` for a latent of another size than 1/16."""
    side = math.lcm(network.stride, UPSAMPLING)
    parameter = next(network.parameters())
    with torch.no_grad():
        latent = network.analyse(torch.zeros(1, 3, side, side, device=parameter.device))
    if latent.shape[-1] * UPSAMPLING != side:
        raise SpecError(
            f"the latent of {network.architecture} has 1/{side // latent.shape[-1]} of the image's sides; the "
            f"discriminator takes latents of 1/{UPSAMPLING}. Train it with beta=0, or take another network"
        )
    signed = bool(getattr(network, "signed", False))
    made = ConditionalDiscriminator(latent.shape[1], width, signed=signed)
    return made.to(memory_format=torch.channels_last)


@contextmanager
def _fixed(module: nn.Module) -> Iterator[None]:
    """The parameters of a module get no gradient inside; what goes through it does."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)
