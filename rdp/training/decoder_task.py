"""Tuning a decoder alone: everything before it is frozen, so the rate stays what it is, file by file.

Source: the thesis, section 4.1 and Algorithm 1: L = gamma * d + L_p, with the MSE as distortion d and LPIPS as
perceptual loss L_p.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from rdp.models.base import CompressionModel, ModelOutput
from rdp.training.adversarial import HiFiC
from rdp.training.losses import Distortion
from rdp.training.perceptual import LPIPS
from rdp.training.rate_control import RateControl

DECODER = "synthesis."
"""Beginning of the names of the parameters that are tuned."""


class DecoderTuning(HiFiC):
    """`gamma` MSE + L_p + `beta` (-log D), of the synthesis transform alone.

    Scales: the MSE on the 0..255 scale, so that at 30 dB a `gamma` of 1e-3 weighs 0.065; L_p is `perceptual` (if it is
    not given, LPIPS with VGG), 0.1 to 0.5 for strongly compressed photographs. `beta`, 0 if it is not given, adds
    HiFiC's adversarial term; see there.

    Analysis, hyper-networks and densities get no gradient, and code as in evaluation: the decoder sees the latents that
    files hold, rounded. `train/bpp` is their estimated rate, which the training does not change.
    """

    def __init__(
        self,
        network: CompressionModel,
        gamma: float = 1e-3,
        beta: float = 0.0,
        perceptual: Distortion | None = None,
        discriminator_optimizer: OptimizerCallable = lambda p: torch.optim.Adam(p, lr=1e-4),
        discriminator_width: float = 1.0,
        **common: Any,
    ) -> None:
        """`common`: arguments of `CompressionTask`. Raises `SpecError` for weights below 0."""
        super().__init__(
            network,
            rate=RateControl(target=1.0, above=0.0, below=0.0),
            k_m=gamma,
            beta=beta,
            perceptual=perceptual or LPIPS("vgg"),
            discriminator_optimizer=discriminator_optimizer,
            discriminator_width=discriminator_width,
            **common,
        )
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name.startswith(DECODER))
        self._synthesise: Callable[[Tensor], Tensor] | None = None

    def on_train_start(self) -> None:
        """Latents as files hold them, however the network came."""
        self.network.eval()

    def run(self, x: Tensor) -> ModelOutput:
        """The frozen part without a gradient, then the decoder."""
        with torch.no_grad():
            latents = self.network.code(x)
        if self._synthesise is None:
            self._synthesise = torch.compile(self.network.synthesise) if self.compiled else self.network.synthesise
        x_hat = self._synthesise(latents.y_hat)
        return ModelOutput(x_hat, latents.likelihoods, latents.y, latents.y_hat)
