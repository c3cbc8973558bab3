"""The mean-scale hyperprior with the checkerboard context, decoded in two passes whatever the size of the image.

Source: He, Zheng, Sun, Wang and Qin, "Checkerboard context model for efficient learned image compression", CVPR 2021.
Positions of the latent have the colours of a checkerboard. Those of one colour, the anchors, are coded with what the
hyper-latent tells alone; the others then also see their neighbours among the anchors, on all four sides.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from rdp.models.densities import gaussian_likelihood
from rdp.models.hyperprior import MeanScaleHyperprior


def anchor_mask(height: int, width: int, device: torch.device | str | None = None) -> Tensor:
    """True at the anchors, bool (height, width): where row + column is even, so that a 1x1 latent is an anchor."""
    rows = torch.arange(height, device=device)[:, None]
    columns = torch.arange(width, device=device)[None, :]
    return (rows + columns) % 2 == 0


class CheckerboardConv2d(nn.Conv2d):
    """A convolution that sees only positions of the other colour than its own.

    Those are at an odd distance, rows and columns added; the other weights stay parameters, but are masked.
    """

    mask: Tensor

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 5) -> None:
        super().__init__(in_channels, out_channels, kernel, padding=kernel // 2)
        # Weight (i, j) reaches to (i, j) from the middle of the kernel.
        rows = torch.arange(kernel)[:, None] - kernel // 2
        odd_distance = (rows + rows.T) % 2 == 1
        self.register_buffer("mask", odd_distance.to(self.weight.dtype), persistent=False)

    def effective_weight(self) -> Tensor:
        """The weight that a plain convolution would have, (out, in, kernel, kernel)."""
        return self.weight * self.mask

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, h, w) to (N, out, h, w)."""
        return functional.conv2d(x, self.effective_weight(), self.bias, padding=self.padding)


class CheckerboardHyperprior(MeanScaleHyperprior):
    """The mean-scale hyperprior with checkerboard context.

    `context` makes 2 M features of the anchors. `entropy_parameters` joins the 2 M features of `hyper_synthesis` and
    those of the context, in this order along the channels, to what `gaussian_parameters` reads, M scales and M means;
    at the anchors the features of the context are zeros. A file is coded as `anchor_outputs` tells for the anchors,
    and then as `outputs_beside(hyper, y_hat)` tells for the rest. Arguments are those of `Hyperprior`.
    """

    architecture = "checkerboard"

    def __init__(
        self,
        channels: int = 128,
        latent_channels: int = 192,
        activation: str = "gdn",
        quantizer: str = "noise",
    ) -> None:
        super().__init__(channels, latent_channels, activation, quantizer)
        self.context = CheckerboardConv2d(latent_channels, 2 * latent_channels)
        widths = [latent_channels * thirds // 3 for thirds in (12, 10, 8, 6)]
        self.entropy_parameters = nn.Sequential(
            nn.Conv2d(widths[0], widths[1], 1),
            nn.LeakyReLU(),
            nn.Conv2d(widths[1], widths[2], 1),
            nn.LeakyReLU(),
            nn.Conv2d(widths[2], widths[3], 1),
        )

    def anchor_outputs(self, hyper: Tensor) -> Tensor:
        """Of `entropy_parameters`, (N, 2 M, h, w), from those of `hyper_synthesis`: of meaning at the anchors."""
        outputs: Tensor = self.entropy_parameters(torch.cat((hyper, torch.zeros_like(hyper)), 1))
        return outputs

    def outputs_beside(self, hyper: Tensor, y_hat: Tensor) -> Tensor:
        """Of `entropy_parameters` at all positions, (N, 2 M, h, w), given the quantised latent (N, M, h, w).

        Only the anchors of `y_hat` are looked at, and the anchors' own outputs are those of `anchor_outputs`.
        """
        anchors = anchor_mask(y_hat.shape[-2], y_hat.shape[-1], y_hat.device)
        features = self.context(torch.where(anchors, y_hat, 0.0))
        joined = torch.cat((hyper, torch.where(anchors, 0.0, features).to(hyper.dtype)), 1)
        outputs: Tensor = self.entropy_parameters(joined)
        return outputs

    def _code_latent(self, y: Tensor, hyper: Tensor) -> tuple[Tensor, Tensor]:
        """One pass where noise replaces rounding, and two where rounding needs the means, as in a file."""
        if self.training and not self.quantizer.needs_mean:
            quantized = self.quantizer(y, training=True)
            law = self.gaussian_parameters(self.outputs_beside(hyper, quantized.for_synthesis))
        else:
            outputs = self.anchor_outputs(hyper)
            first = self.quantizer(y, self.gaussian_parameters(outputs).mean, training=self.training)
            beside = self.outputs_beside(hyper, first.for_synthesis)
            # The anchors keep the outputs of the first pass, whose rounding is what the context has seen.
            anchors = anchor_mask(y.shape[-2], y.shape[-1], y.device)
            law = self.gaussian_parameters(torch.where(anchors, outputs, beside))
            quantized = self.quantizer(y, law.mean, training=self.training)
        return quantized.for_synthesis, gaussian_likelihood(quantized.for_likelihood, law.scale, law.mean)
