"""The discriminator of HiFiC's training (Mentzer et al., NeurIPS 2020): patches, conditioned on the latent."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from rdp.errors import SpecError
from rdp.models.hific import scaled

FILTERS = (64, 128, 256, 512)
CONTEXT_CHANNELS = 12
UPSAMPLING = 16
SLOPE = 0.2


class ConditionalDiscriminator(nn.Module):
    """Says of every patch of an image how real it looks, given the latent that the image belongs to.

    The latent goes through a 3x3 convolution to 12 channels and is repeated 16 times each way beside the image; then
    come 4x4 convolutions with spectral norm to 64, 128, 256 (stride 2) and 512 channels, and 1x1 to one logit.

    `latent_channels`: those of the latent that is given, not scaled by `width`, which scales the others (see
    `rdp.models.hific.scaled`). `last_stride`: of the convolution to 512 channels, 1 in the paper and 2 in the public
    PyTorch port. `signed`: whether the network sees images in [-1, 1], as the HiFiC network of the same flag.
    """

    def __init__(
        self, latent_channels: int = 220, width: float = 1.0, last_stride: int = 1, signed: bool = False
    ) -> None:
        """Raises `SpecError` for another stride than 1 and 2, and a width that is not above 0."""
        super().__init__()
        if last_stride not in (1, 2) or not width > 0:
            raise SpecError(f"a discriminator has a last stride of 1 or 2, not {last_stride}, and a width above 0")
        self.latent_channels = latent_channels
        self.signed = signed
        context = scaled(CONTEXT_CHANNELS, width)
        self.context = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(latent_channels, context, 3),
            nn.LeakyReLU(SLOPE),
            nn.Upsample(scale_factor=UPSAMPLING, mode="nearest"),
        )
        channels = [3 + context, *(scaled(count, width) for count in FILTERS)]
        layers: list[nn.Module] = []
        for (ins, outs), stride in zip(itertools.pairwise(channels), (2, 2, 2, last_stride), strict=True):
            # 4 is even: to keep the size at stride 1, one side gets one more, which is TensorFlow's "same".
            padding = nn.ReflectionPad2d(1 if stride == 2 else (1, 2, 1, 2))
            layers += [padding, spectral_norm(nn.Conv2d(ins, outs, 4, stride=stride)), nn.LeakyReLU(SLOPE)]
        self.patches = nn.Sequential(*layers, nn.Conv2d(channels[-1], 1, 1))

    def forward(self, images: Tensor, latents: Tensor) -> Tensor:
        """Logits, (N, 1, H / 8, W / 8) (sixteenths with last stride 2), of images (N, 3, H, W) in [0, 1].

        `latents`: (N, latent channels, H / 16, W / 16). Raises `SpecError` if the sizes do not go together.
        """
        expected = (len(images), self.latent_channels, images.shape[2] // UPSAMPLING, images.shape[3] // UPSAMPLING)
        if tuple(latents.shape) != expected or any(side % UPSAMPLING for side in images.shape[2:]):
            raise SpecError(
                f"images {tuple(images.shape)} and latents {tuple(latents.shape)} do not belong together: the sides "
                f"of an image are {UPSAMPLING} times those of its latent of {self.latent_channels} channels"
            )
        seen = 2 * images - 1 if self.signed else images
        logits: Tensor = self.patches(torch.cat([seen, self.context(latents)], dim=1))
        return logits
