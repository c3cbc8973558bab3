"""What trainings minimise: distortions of reconstructions, and the ways in which rate enters beside them.

A distortion is a module from reconstructions and originals, (N, 3, H, W) in [0, 1], to one number an image, (N,). Its
docstring says its scale, on which the weight beside it rests.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rdp.errors import SpecError


@dataclass(frozen=True)
class Measured:
    """A distortion image by image, (N,), and by name what logs show of it, (N,) each."""

    total: Tensor
    parts: dict[str, Tensor]


class Distortion(nn.Module, ABC):
    """How far a reconstruction is from its original, image by image; `name` is what logs call it."""

    name: str

    @abstractmethod
    def forward(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """(N, 3, H, W) twice, on the scale [0, 1], `x_hat` not clamped, to (N,), 0 for equal images."""

    def measured(self, x_hat: Tensor, x: Tensor) -> Measured:
        """The distortion and its parts; of one that has none, itself."""
        total = self(x_hat, x)
        return Measured(total, {self.name: total})


class MeanSquaredError(Distortion):
    """Mean squared error on the 0..255 scale: 255^2 times that of images in [0, 1]; 65 at 30 dB.

    A weight of 144 on images in [-1, 1], as in the thesis (section 3.2), is 144 * 4 / 255^2 = 0.00886 here.
    """

    name = "mse"

    def forward(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """See `Distortion`."""
        return (x_hat.float() - x).square().flatten(1).mean(1) * 255**2


class LogSquaredError(Distortion):
    """10 log10(1 + MSE) decibels, the MSE on the 0..255 scale; 18 at 30 dB.

    Where the MSE is far above 1 this is 48.13 dB minus the PSNR, so that its mean over images is the mean PSNR that
    tables report. The mean of the MSE belongs to its worst images, and is right where rate may go to them; where every
    image has the same rate, it leaves the bits of simple images without use.
    """

    name = "log_mse"

    def __init__(self) -> None:
        super().__init__()
        self.mse = MeanSquaredError()

    def forward(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """See `Distortion`."""
        return 10 / math.log(10) * torch.log1p(self.mse(x_hat, x))


class WeightedSum(Distortion):
    """The sum of `weights` times `distortions`, each on the scale that its own docstring says.

    Logs show the sum as "distortion" and every part, not weighted, by its name.
    """

    name = "distortion"

    def __init__(self, distortions: Sequence[Distortion], weights: Sequence[float]) -> None:
        """Raises `SpecError` for weights that are below 0 or of another number, and for two parts of one name."""
        super().__init__()
        names = [part.name for part in distortions]
        if not distortions or len(weights) != len(distortions) or min(weights) < 0:
            raise SpecError(f"weights {list(weights)} of distortions {names}: give each a weight of 0 or more")
        if len({*names, self.name}) <= len(names):
            raise SpecError(f"distortions {names}: logs need a name for each, and none is {self.name!r}")
        self.distortions = nn.ModuleList(distortions)
        self.weights = tuple(weights)

    def forward(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """See `Distortion`."""
        return self.measured(x_hat, x).total

    def measured(self, x_hat: Tensor, x: Tensor) -> Measured:
        """See `Distortion`."""
        parts = {part.name: part(x_hat, x) for part in self.distortions}
        total = sum(weight * value for weight, value in zip(self.weights, parts.values(), strict=True))
        return Measured(total, {self.name: total, **parts})  # type: ignore[dict-item]


def target_rate_penalty(bpp: Tensor, target: float) -> Tensor:
    """((target - bpp) / target)^2 of each image, (N,): 1/4 at half and at one and a half times the target.

    Source: Guerin et al., "Training heuristics for rate-constrained learning-based image compression"
    (002_5041f81c7ba61cea), equation 3. It is taken image by image and averaged afterwards: the penalty of the mean
    rate of a batch would let one image pay for another.
    """
    return ((target - bpp) / target).square()
