"""Coding of latents under a hyperprior, with and without the checkerboard context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rdp.bitstream.coder import SymbolReader, SymbolWriter
from rdp.codecs.learned.coding import (
    MEAN_UNIT,
    ChannelCoding,
    Decoded,
    GaussianTables,
    LatentCoding,
    Symbols,
    finish,
    gaussian_bits,
    to_symbols,
)
from rdp.errors import FormatError
from rdp.models.checkerboard import anchor_mask
from rdp.models.densities import SCALE_BOUND
from rdp.models.exact import ExactNetwork
from rdp.models.fast import fast_transform

HYPER_STRIDE = 4
"""Positions of the latent, along a side, for one of the hyper-latent."""


@dataclass(frozen=True)
class Law:
    """Standard deviation (at least the bound) and mean of each element of a latent, (N, M, h, w), float64, exact."""

    scale: Tensor
    mean: Tensor


class HyperCoding(LatentCoding):
    """Latents whose scales, and means where there are any, a hyper-latent tells."""

    element_bytes = 110
    model: Any

    def __init__(self, model: Any, step: Fraction, device: str) -> None:
        super().__init__(model, step, device)
        self._hyper_analysis = fast_transform(model.hyper_analysis, device=device, dtype="float32")
        self._channels = ChannelCoding(model.prior, 1.0, self.device)
        self._gaussians = GaussianTables(self.step, self.device)
        self._hyper = self._exact_hyper(model)

    def _exact_hyper(self, model: Any) -> ExactNetwork | tuple[ExactNetwork, ExactNetwork]:
        return ExactNetwork(model.hyper_synthesis, self.device)

    def compress(self, y: Tensor, z: Tensor | None = None) -> list[bytes]:
        symbols_z = self._channels.symbols(self._hyper_analysis(self._hyper_input(y)) if z is None else z)
        parts = self._encode(y, self._tell(symbols_z))
        payloads = []
        for i, symbols in enumerate(symbols_z):
            writer = SymbolWriter()
            self._channels.write(writer, symbols)
            for values, indices in parts:
                writer.write(values[i], indices[i], self._gaussians.tables)
            payloads.append(writer.finish())
        return payloads

    def decompress(self, payloads: Sequence[bytes], height: int, width: int) -> Decoded:
        if height % HYPER_STRIDE or width % HYPER_STRIDE:
            raise FormatError(f"a latent of {height} x {width} has no hyper-latent: the file is damaged")
        readers = [SymbolReader(payload) for payload in payloads]
        z = np.stack([self._channels.read(r, height // HYPER_STRIDE, width // HYPER_STRIDE) for r in readers])
        symbols, law = self._decode(readers, self._tell(z))
        finish(readers)
        y_hat = self._values(symbols, law)

        def bits() -> dict[str, list[float]]:
            of_z = self._channels.bits(self._channels.values(z))
            of_y = gaussian_bits(y_hat, law.scale, law.mean, self.step)
            return {"bpp_estimated": [a + b for a, b in zip(of_z, of_y, strict=True)]}

        return Decoded(y_hat.float(), (z, symbols), bits)

    def _hyper_input(self, y: Tensor) -> Tensor:
        hyper_input = getattr(self.model, "hyper_input", None)
        result: Tensor = y if hyper_input is None else hyper_input(y)
        return result

    def _tell(self, z: Symbols) -> Tensor:
        """What the hyper-latent tells, (N, ..., h, w), float64, exact."""
        values = self._channels.values(z)
        if isinstance(self._hyper, tuple):
            return torch.cat([network(values) for network in self._hyper], dim=1)
        return self._hyper(values)

    def _law(self, told: Tensor) -> Law:
        scale, mean = self._parameters(told)
        mean = torch.zeros_like(scale) if mean is None else torch.round(mean / MEAN_UNIT) * MEAN_UNIT
        # NaN compares false with everything, and would be a table of its own.
        return Law(torch.nan_to_num(scale, nan=SCALE_BOUND).clamp(min=SCALE_BOUND), mean)

    def _parameters(self, told: Tensor) -> tuple[Tensor, Tensor | None]:
        law = self.model.gaussian_parameters(told)
        return law.scale, law.mean

    def _encode(self, y: Tensor, told: Tensor) -> list[tuple[Symbols, np.ndarray]]:
        """Symbols and tables in the order in which they are written, (N, n) each."""
        law = self._law(told)
        return [(_rows(to_symbols(y, law.mean, self.step)), _rows(self._gaussians.indices(law.scale)))]

    def _decode(self, readers: Sequence[SymbolReader], told: Tensor) -> tuple[Symbols, Law]:
        law = self._law(told)
        indices = _rows(self._gaussians.indices(law.scale))
        symbols = [reader.read(row, self._gaussians.tables) for reader, row in zip(readers, indices, strict=True)]
        return np.stack(symbols).reshape(law.scale.shape), law

    def _values(self, symbols: Symbols, law: Law) -> Tensor:
        return torch.from_numpy(symbols).to(self.device, torch.float64) * self.step + law.mean


class CheckerboardCoding(HyperCoding):
    """Anchors first, with what the hyper-latent tells; the others with the context of the anchors."""

    element_bytes = 260

    def __init__(self, model: Any, step: Fraction, device: str) -> None:
        super().__init__(model, step, device)
        self._context = ExactNetwork(_plain_convolution(model.context), self.device)
        self._join = ExactNetwork(model.entropy_parameters, self.device)

    def _encode(self, y: Tensor, told: Tensor) -> list[tuple[Symbols, np.ndarray]]:
        anchors = self._anchors(y)
        first = self._anchor_law(told)
        symbols = to_symbols(y, first.mean, self.step, anchors)
        second = self._law_beside(told, symbols, first)
        others = to_symbols(y, second.mean, self.step, ~anchors)
        return [
            (_picked(symbols, anchors), _picked(self._gaussians.indices(first.scale), anchors)),
            (_picked(others, ~anchors), _picked(self._gaussians.indices(second.scale), ~anchors)),
        ]

    def _decode(self, readers: Sequence[SymbolReader], told: Tensor) -> tuple[Symbols, Law]:
        anchors = self._anchors(told)
        first = self._anchor_law(told)
        symbols = np.zeros(first.scale.shape, np.int32)
        self._fill(symbols, readers, first, anchors)
        second = self._law_beside(told, symbols, first)
        self._fill(symbols, readers, second, ~anchors)
        scale, mean = (torch.where(anchors, a, b) for a, b in ((first.scale, second.scale), (first.mean, second.mean)))
        return symbols, Law(scale, mean)

    def _fill(self, symbols: Symbols, readers: Sequence[SymbolReader], law: Law, mask: Tensor) -> None:
        """Read the positions of a mask, (h, w), of every channel."""
        picked = mask.cpu().numpy()
        for i, row in enumerate(_picked(self._gaussians.indices(law.scale), mask)):
            symbols[i][:, picked] = readers[i].read(row, self._gaussians.tables).reshape(symbols.shape[1], -1)

    def _anchor_law(self, told: Tensor) -> Law:
        return self._law(self._join(torch.cat((told, torch.zeros_like(told)), 1)))

    def _law_beside(self, told: Tensor, symbols: Symbols, first: Law) -> Law:
        """The law of all positions, of which the anchors' is of no meaning, given the anchors' symbols."""
        anchors = self._anchors(told)
        seen = torch.where(anchors, self._values(symbols, first), 0.0)
        return self._law(self._join(torch.cat((told, self._context(seen)), 1)))

    def _anchors(self, like: Tensor) -> Tensor:
        height, width = like.shape[-2:]
        return anchor_mask(height, width, device=self.device)


class TwoSynthesesCoding(HyperCoding):
    """Networks with one hyper-synthesis for the means and another for the scales."""

    def _exact_hyper(self, model: Any) -> tuple[ExactNetwork, ExactNetwork]:
        return (
            ExactNetwork(model.hyper_synthesis_scale, self.device),
            ExactNetwork(model.hyper_synthesis_mean, self.device),
        )

    def _parameters(self, told: Tensor) -> tuple[Tensor, Tensor | None]:
        scale, mean = told.chunk(2, 1)
        return scale, mean


def _plain_convolution(context: Any) -> nn.Conv2d:
    """The masked convolution as a plain one."""
    plain = nn.Conv2d(
        context.in_channels, context.out_channels, context.kernel_size, context.stride, context.padding,
        bias=context.bias is not None,
    )  # fmt: skip
    with torch.no_grad():
        plain.weight.copy_(context.effective_weight())
        if plain.bias is not None and context.bias is not None:
            plain.bias.copy_(context.bias)
    return plain


def _rows(values: Any) -> Any:
    """(N, C, h, w) to (N, n)."""
    return values.reshape(len(values), -1)


def _picked(values: Any, mask: Tensor) -> Any:
    """The values of (N, C, h, w) where a mask (h, w) is True, (N, n)."""
    return _rows(values[:, :, mask.cpu().numpy()])
