"""HiFiC's rate control: two weights of the rate, of which the batch decides."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rdp.errors import SpecError


@dataclass(frozen=True)
class RateControl:
    """The weight of the rate in bit/pixel: `above` if a batch needs more than `target` bit/pixel, else `below`.

    Source: Mentzer et al., "High-fidelity generative image compression", NeurIPS 2020, with the numbers of its public
    PyTorch port (default_config.py): the targets 0.14, 0.30 and 0.45 bit/pixel go with 2, 1 and 1/2 above and 1/16
    below, beside the terms of `rdp.training.adversarial`. (The authors' own configurations, divided by their common
    factor, have 2 above and 1/64 below at all three targets, and raise the adversarial weight instead: 0.15, 0.225,
    0.3375.) Equal weights make a plain rate term.
    """

    target: float = 0.14
    above: float = 2.0
    below: float = 2.0**-4

    def __post_init__(self) -> None:
        """Raises `SpecError` for a target or weights that cannot hold a rate."""
        if not (self.target > 0 and self.above >= self.below >= 0):
            raise SpecError(f"rate control needs target > 0 and above >= below >= 0, not {self}")

    def weight(self, bpp: Tensor) -> Tensor:
        """A scalar without gradient for a batch of the rates `bpp`, (N,) bit/pixel: their mean decides."""
        mean = bpp.detach().mean()
        return torch.where(mean > self.target, mean.new_tensor(self.above), mean.new_tensor(self.below))
