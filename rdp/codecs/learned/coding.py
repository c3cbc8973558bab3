"""Latents to the payload of a file and back: which table every symbol is coded with, in exact arithmetic.

One class for each way in which networks tell the law of their latents. Whatever the decoder needs to read symbols
comes from integers of the file and of the weights through `rdp.models.exact` and `rdp.models.laws`, so that a file
decodes to the same symbols on every device, at every batch size and thread count. What only the encoder needs (the
analysis) and what only the picture needs (the synthesis) may be in any floating point.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rdp.bitstream.coder import SymbolReader, SymbolWriter
from rdp.bitstream.tables import FrequencyTables
from rdp.errors import CodecError
from rdp.models.base import CompressionModel
from rdp.models.densities import SCALE_BOUND, FactorizedDensity, gaussian_likelihood
from rdp.models.laws import factorized_pmfs, gaussian_pmf, scale_table

Symbols = np.ndarray[Any, np.dtype[np.integer[Any]]]

MEAN_UNIT = 2.0**-12
"""Means about which symbols are rounded are multiples of this: a sum with a symbol's value is then exact."""

_LARGEST = float(1 << 30)
"""No symbol is larger; what lies beyond (a network gone wrong) is clipped."""


@dataclass(frozen=True)
class Decoded:
    """Latents of N files of one size.

    `y_hat`: (N, M, h, w) float32. `symbols`: the integers of the file, latent by latent, (N, C, h, w) each: what has
    to be the same on every machine. `bits()`: bits of each file as the model estimates them, by column name.
    """

    y_hat: Tensor
    symbols: tuple[Symbols, ...]
    bits: Callable[[], dict[str, list[float]]]


class LatentCoding(ABC):
    """Codes the latents of one network at one quantisation step, on one device.

    `element_bytes`: memory that coding takes at its peak for each element of the latent, from above; measured at
    4096 x 4096 pixels (`benchmarks/large_image.py`).
    """

    element_bytes: ClassVar[int] = 40

    def __init__(self, model: CompressionModel, step: Fraction, device: str) -> None:
        self.model = model
        self.step = float(step)
        self.device = torch.device(device)

    @abstractmethod
    def compress(self, y: Tensor, z: Tensor | None = None) -> list[bytes]:
        """The payload of each image from latents (N, M, h, w), float32.

        `z`: hyper-latents (N, C, h / 4, w / 4) that the encoder has chosen, for networks that have them; by default the
        network's analysis of y. Raises `CodecError` if latents are not finite.
        """

    @abstractmethod
    def decompress(self, payloads: Sequence[bytes], height: int, width: int) -> Decoded:
        """The latents of files whose latents are `height` x `width`.

        Raises `FormatError` for payloads that cannot be such latents.
        """


class ChannelCoding:
    """Symbols of a latent under a factorised density: a table for each channel, symbols about the medians (or 0)."""

    def __init__(self, density: FactorizedDensity, step: float, device: torch.device, about_zero: bool = False) -> None:
        self.density = density
        self.step = step
        matrices, biases, factors = (
            [_array(part) for part in group] for group in (density.matrices, density.biases, density.factors)
        )
        quantiles = _array(density.quantiles)
        medians = np.zeros(len(quantiles)) if about_zero else np.rint(quantiles[:, 0, 1] / MEAN_UNIT) * MEAN_UNIT
        pmfs, offsets = factorized_pmfs(matrices, biases, factors, quantiles, medians, step)
        self.tables = FrequencyTables.from_pmfs(pmfs, offsets)
        self.centres = torch.from_numpy(medians)[:, None, None].to(device)

    def symbols(self, latent: Tensor) -> Symbols:
        """Integers (N, C, h, w) of a latent of that shape."""
        return to_symbols(latent, self.centres, self.step)

    def values(self, symbols: Symbols) -> Tensor:
        """The quantised latent, (N, C, h, w) float64, of its symbols."""
        return torch.from_numpy(symbols).to(self.centres.device, torch.float64) * self.step + self.centres

    def write(self, writer: SymbolWriter, symbols: Symbols) -> None:
        """Append the symbols of one image, (C, h, w)."""
        writer.write(symbols.reshape(-1), self._indices(*symbols.shape), self.tables)

    def read(self, reader: SymbolReader, height: int, width: int) -> Symbols:
        """The next symbols of a file, (C, height, width)."""
        channels = len(self.centres)
        symbols = reader.read(self._indices(channels, height, width), self.tables)
        return symbols.reshape(channels, height, width)

    def bits(self, values: Tensor) -> list[float]:
        """What the density says that the values (N, C, h, w) cost, in bits an image."""
        with torch.inference_mode():
            likelihood = self.density.likelihood(values.cpu().float(), self.step)
        return bits_of(likelihood)

    def _indices(self, channels: int, height: int, width: int) -> NDArray[np.uint16]:
        return np.repeat(np.arange(channels, dtype=np.uint16), height * width)


def _array(parameter: Tensor) -> NDArray[np.float64]:
    """A copy in float64."""
    return np.array(parameter.detach().cpu().double().numpy())


class GaussianTables:
    """Tables of the zero-mean Gaussian at logarithmic steps of its scale, and which of them a scale is coded with."""

    def __init__(self, step: float, device: torch.device) -> None:
        scales = scale_table(lowest=SCALE_BOUND)
        made = [gaussian_pmf(float(scale)) for scale in scales]
        self.tables = FrequencyTables.from_pmfs([pmf for pmf, _ in made], [offset for _, offset in made])
        # The nearest scale on the logarithmic scale, in units of the latent. Made here and not on the device: square
        # root, product and comparison are exact everywhere, CUDA's division by a number is not.
        self.bounds = torch.from_numpy(np.sqrt(scales[:-1] * scales[1:]) * step).to(device)

    def indices(self, scale: Tensor) -> NDArray[np.uint8]:
        """The table of each standard deviation, any shape, float64."""
        return torch.bucketize(scale.contiguous(), self.bounds).to(torch.uint8).cpu().numpy()


class FactorizedCoding(LatentCoding):
    """Latents with one learned density a channel."""

    def __init__(self, model: Any, step: Fraction, device: str) -> None:
        super().__init__(model, step, device)
        self._channels = ChannelCoding(model.prior, self.step, self.device)

    def compress(self, y: Tensor, z: Tensor | None = None) -> list[bytes]:
        return [written(self._channels, symbols) for symbols in self._channels.symbols(y)]

    def decompress(self, payloads: Sequence[bytes], height: int, width: int) -> Decoded:
        readers = [SymbolReader(payload) for payload in payloads]
        symbols = np.stack([self._channels.read(reader, height, width) for reader in readers])
        finish(readers)
        values = self._channels.values(symbols)
        return Decoded(values.float(), (symbols,), lambda: {"bpp_estimated": self._channels.bits(values)})


def written(channels: ChannelCoding, symbols: Symbols) -> bytes:
    """A payload that holds one latent and nothing else."""
    writer = SymbolWriter()
    channels.write(writer, symbols)
    return writer.finish()


def finish(readers: Sequence[SymbolReader]) -> None:
    """Raise `FormatError` if a payload goes on after its last symbol."""
    for reader in readers:
        reader.finish()


def to_symbols(latent: Tensor, mean: Tensor | float, step: float, mask: Tensor | None = None) -> Symbols:
    """The nearest integers to (latent - mean) / step; 0 where a mask is False.

    Raises `CodecError` for a latent that is not finite: the network, or the type it runs in, has failed on an image.
    """
    if not bool(torch.isfinite(latent).all()):
        raise CodecError("the network's latents are not finite numbers: wrong weights, or a type too small for them")
    rounded = torch.round((latent.double() - mean) / step).clamp(-_LARGEST, _LARGEST)
    if mask is not None:
        rounded = rounded * mask
    return rounded.to(torch.int32).cpu().numpy()


def bits_of(likelihood: Tensor) -> list[float]:
    """Bits of each image from the likelihoods of its symbols, (N, ...)."""
    total: list[float] = (-likelihood.double().log2()).flatten(1).sum(1).tolist()
    return total


def gaussian_bits(values: Tensor, scale: Tensor, mean: Tensor | float, step: float) -> list[float]:
    """What the Gaussian law says that values (N, M, h, w) cost, in bits an image."""
    return bits_of(gaussian_likelihood(values - mean, scale, step=step))
