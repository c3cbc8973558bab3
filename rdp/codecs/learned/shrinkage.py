"""Coding of the shrinkage network's normalised latent."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rdp.bitstream.coder import SymbolReader, SymbolWriter
from rdp.bitstream.tables import FrequencyTables
from rdp.codecs.learned.coding import ChannelCoding, Decoded, LatentCoding, Symbols, bits_of, finish, to_symbols
from rdp.codecs.learned.hyper import HYPER_STRIDE
from rdp.errors import FormatError, WeightsError
from rdp.models.densities import laplace_likelihood
from rdp.models.fast import fast_transform
from rdp.models.laws import laplace_pmf


class ShrinkageCoding(LatentCoding):
    """A latent that is normalised by what the hyper-latent tells, under laws that are the same at every position.

    `tables`: "trained" has one learned density a channel; "fixed" the zero-mean, unit-variance Laplacian for all of
    them (thesis, 3.1); "flags" the same law, and a bit a channel that says whether all of it is 0. No table depends on
    what floating-point networks give, so that these run as they are.
    """

    element_bytes = 70
    model: Any

    def __init__(self, model: Any, step: Fraction, device: str, tables: str = "trained") -> None:
        """Raises `WeightsError` for trained tables of a network without a trained law."""
        super().__init__(model, step, device)
        self._tables = tables
        if tables == "trained" and model.trained_law is None:
            raise WeightsError("this network has no trained law: its files need tables=fixed or tables=flags")
        self._hyper_analysis = fast_transform(model.hyper_analysis, device=device, dtype="float32")
        self._hyper_synthesis = fast_transform(model.hyper_synthesis, device=device, dtype="float32")
        self._hyper = ChannelCoding(model.prior, 1.0, self.device)

    @cached_property
    def _trained(self) -> ChannelCoding:
        return ChannelCoding(self.model.trained_law, self.step, self.device, about_zero=True)

    @cached_property
    def _laplacian(self) -> FrequencyTables:
        pmf, offset = laplace_pmf(self.step)
        return FrequencyTables.from_pmfs([pmf], [offset])

    @cached_property
    def _flags(self) -> FrequencyTables:
        return FrequencyTables.from_pmfs([np.array([0.5, 0.5])], [0])

    def compress(self, y: Tensor, z: Tensor | None = None) -> list[bytes]:
        symbols_z = self._hyper.symbols(self._hyper_analysis(y) if z is None else z)
        law = self._law(symbols_z)
        symbols = to_symbols((y - law.mean) / law.scale, 0.0, self.step)
        payloads = []
        for place in range(len(symbols_z)):
            writer = SymbolWriter()
            self._hyper.write(writer, symbols_z[place])
            self._write(writer, symbols[place])
            payloads.append(writer.finish())
        return payloads

    def decompress(self, payloads: Sequence[bytes], height: int, width: int) -> Decoded:
        if height % HYPER_STRIDE or width % HYPER_STRIDE:
            raise FormatError(f"a latent of {height} x {width} has no hyper-latent: the file is damaged")
        readers = [SymbolReader(payload) for payload in payloads]
        z = np.stack([self._hyper.read(r, height // HYPER_STRIDE, width // HYPER_STRIDE) for r in readers])
        law = self._law(z)
        channels = law.mean.shape[1]
        symbols = np.stack([self._read(reader, (channels, height, width)) for reader in readers])
        finish(readers)
        normalised = torch.from_numpy(symbols).to(self.device, torch.float64) * self.step
        y_hat = (normalised * law.scale + law.mean).float()

        def bits() -> dict[str, list[float]]:
            of_z = self._hyper.bits(self._hyper.values(z))
            likelihood = laplace_likelihood(normalised, self.step)
            fixed = _sums(of_z, bits_of(likelihood))
            if self._tables == "trained":
                return {"bpp_estimated": _sums(of_z, self._trained.bits(normalised)), "bpp_fixed_law": fixed}
            if self._tables == "fixed":
                return {"bpp_estimated": fixed, "bpp_fixed_law": fixed}
            used = (normalised != 0).flatten(2).any(2)[:, :, None, None]
            flagged = bits_of(torch.where(used, likelihood, 1.0))
            return {"bpp_estimated": [bits + channels for bits in _sums(of_z, flagged)], "bpp_fixed_law": fixed}

        return Decoded(y_hat, (z, symbols), bits)

    def _law(self, z: Symbols) -> Any:
        hyper = self._hyper_synthesis(self._hyper.values(z).float())
        return self.model.latent_law(hyper)

    def _write(self, writer: SymbolWriter, symbols: Symbols) -> None:
        if self._tables == "trained":
            self._trained.write(writer, symbols)
            return
        rows = symbols.reshape(len(symbols), -1)
        if self._tables == "flags":
            used = np.asarray(rows.any(axis=1))
            writer.write(used.astype(np.int32), np.zeros(len(used), np.uint8), self._flags)
            rows = rows[used]
        writer.write(rows.reshape(-1), np.zeros(rows.size, np.uint8), self._laplacian)

    def _read(self, reader: SymbolReader, shape: tuple[int, int, int]) -> Symbols:
        channels, height, width = shape
        if self._tables == "trained":
            return self._trained.read(reader, height, width)
        used = np.ones(channels, bool)
        if self._tables == "flags":
            flags = reader.read(np.zeros(channels, np.uint8), self._flags)
            if ((flags != 0) & (flags != 1)).any():
                raise FormatError("the coded data are damaged: a channel is neither used nor unused")
            used = flags == 1
        symbols = np.zeros((channels, height * width), np.int32)
        count = int(used.sum()) * height * width
        symbols[used] = reader.read(np.zeros(count, np.uint8), self._laplacian).reshape(-1, height * width)
        return symbols.reshape(shape)


def _sums(first: Sequence[float], second: Sequence[float]) -> list[float]:
    return [a + b for a, b in zip(first, second, strict=True)]
