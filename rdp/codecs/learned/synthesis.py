"""Latents to pictures, by one decoder or by a mixture of two."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rdp.codecs.base import Resources
from rdp.models.base import CompressionModel
from rdp.models.decoders import with_decoder
from rdp.models.fast import FastTransform, fast_transform

HELD_BYTES = 12
"""Of a pixel of a picture that waits for the one it is mixed with: three float32 samples."""


class ReadyTransform(nn.Module):
    """A fast transform where a model has a module."""

    def __init__(self, transform: FastTransform) -> None:
        super().__init__()
        self._transform = transform

    def forward(self, x: Tensor) -> Tensor:
        return self._transform(x)


class Decoder:
    """One synthesis transform made ready on a device, in the network whose latents it decodes."""

    def __init__(self, model: CompressionModel, synthesis: nn.Module, resources: Resources) -> None:
        """`model` says what is around the transform; it is shared and not changed."""
        self._transform = fast_transform(synthesis, device=resources.device, dtype=resources.dtype)
        self._model = with_decoder(model, ReadyTransform(self._transform))

    def __call__(self, y_hat: Tensor) -> Tensor:
        """Latents (N, M, h, w) to pictures (N, 3, H, W), float32 on the scale [0, 1], not clamped."""
        return self._model.synthesise(y_hat)

    def peak_bytes(self, rows: int, columns: int, channels: int, count: int) -> int:
        """About what the transform of such latents takes, output included."""
        return self._transform.peak_bytes(rows, columns, channels, count)


@dataclass(frozen=True)
class Synthesis:
    """Decoders with their shares, which are above 0 and sum to 1: pictures are the sums of theirs."""

    parts: tuple[tuple[float, Decoder], ...]

    def __call__(self, y_hat: Tensor) -> Tensor:
        """Latents (N, M, h, w) to pictures (N, 3, H, W), float32 on the scale [0, 1], not clamped."""
        (share, decoder), *others = self.parts
        with torch.inference_mode():
            pictures = decoder(y_hat)
            if others:
                pictures = pictures.mul_(share)
            for share, decoder in others:
                pictures.add_(decoder(y_hat), alpha=share)
            return pictures

    def peak_bytes(self, rows: int, columns: int, channels: int, count: int, pixels: int) -> int:
        """About what a call takes at its peak for such latents, whose pictures have so many pixels together."""
        largest = max(decoder.peak_bytes(rows, columns, channels, count) for _, decoder in self.parts)
        return largest + (len(self.parts) - 1) * pixels * HELD_BYTES
