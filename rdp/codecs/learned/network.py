"""A network ready to code: weights loaded once a process, transforms made fast, codings made when they are needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from threading import Lock
from weakref import WeakValueDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rdp.codecs.base import Resources
from rdp.codecs.learned.codec import ARCHIVES, TABLES
from rdp.codecs.learned.coding import FactorizedCoding, LatentCoding
from rdp.codecs.learned.decoders import DecoderChoice
from rdp.codecs.learned.hyper import CheckerboardCoding, HyperCoding, TwoSynthesesCoding
from rdp.codecs.learned.memory import check_memory
from rdp.codecs.learned.refining import Refinement
from rdp.codecs.learned.shrinkage import ShrinkageCoding
from rdp.codecs.learned.synthesis import Decoder, ReadyTransform, Synthesis
from rdp.errors import WeightsError
from rdp.models.base import CompressionModel
from rdp.models.checkpoint import identity_of, load_model
from rdp.models.conversion.compressai import load_compressai
from rdp.models.decoder_names import OWN
from rdp.models.decoders import load_decoder, mix_decoders
from rdp.models.fast import fast_transform
from rdp.models.refinement import Refined, Refiner, Settings
from rdp.weights import WeightsFile, reverify

Pixels = NDArray[np.uint8]

LATENT_STRIDE = 16
"""Pixels along a side for one position of the latent, in every architecture here."""

PIXEL_BYTES = 18
"""Of a picture on its way in or out: three 8-bit and three float32 samples, and a part of them once more."""

CODINGS: dict[str, type[LatentCoding]] = {
    "factorized": FactorizedCoding,
    "scale_hyperprior": HyperCoding,
    "hyperprior": HyperCoding,
    "checkerboard": CheckerboardCoding,
    "hific": TwoSynthesesCoding,
    "shrinkage": ShrinkageCoding,
}
"""How the latents of an architecture are coded."""


@dataclass(frozen=True)
class LatentSize:
    """Height and width of a picture in pixels, and of its latent in positions."""

    height: int
    width: int
    rows: int
    columns: int


class Network:
    """The transforms of one file of weights on one device, the codings of its latents, and decoders beside its own."""

    def __init__(self, file: WeightsFile, resources: Resources) -> None:
        """Raises `WeightsError` for a file that has changed, is damaged, or holds an architecture without a coding."""
        model = load_weights(reverify(file))
        if model.architecture not in CODINGS:
            raise WeightsError(
                f"{file.path} holds a {model.architecture!r} network, for whose latents there is no coding"
            )
        self.identity = identity_of(model)
        self.architecture = model.architecture
        self.stride = model.stride
        self.resources = resources
        self._file = file
        self._model = model
        self._latent_channels = int(getattr(model, "latent_channels", model.config["latent_channels"]))
        self._making = Lock()
        self._codings: dict[tuple[Fraction, str], LatentCoding] = {}
        self._analysis = fast_transform(model.analysis, device=resources.device, dtype=resources.dtype)
        model.analysis = ReadyTransform(self._analysis)
        own, model.synthesis = model.synthesis, nn.Identity()  # every decoder brings its own, this one too
        self._own = Decoder(model, own, resources)
        self._loading = Lock()
        self._refiner: Refiner | None = None
        self._decoders: WeakValueDictionary[Hashable, Decoder] = WeakValueDictionary()

    def size(self, height: int, width: int) -> LatentSize:
        """The latent of a picture of `height` x `width` pixels, padded to whole strides."""
        rows, columns = (math.ceil(side / self.stride) * self.stride // LATENT_STRIDE for side in (height, width))
        return LatentSize(height, width, rows, columns)

    def coding(self, step: Fraction, tables: str) -> LatentCoding:
        """The coding at a quantisation step; made once. `tables` are for networks that leave a choice of laws."""
        key = (step, tables)
        with self._making:
            if key not in self._codings:
                self._codings[key] = self._make_coding(step, tables)
            return self._codings[key]

    def _make_coding(self, step: Fraction, tables: str) -> LatentCoding:
        if self.architecture == "shrinkage":
            return ShrinkageCoding(self._model, step, self.resources.device, tables)
        return CODINGS[self.architecture](self._model, step, self.resources.device)

    def synthesis(self, choice: DecoderChoice, files: Mapping[str, WeightsFile]) -> Synthesis:
        """What makes pictures under a choice of decoders, whose files (but for the network's own) are given by name.

        A decoder is loaded once, and stays as long as someone holds what he got here. Mixtures of weights are made of
        what the files hold, and are decoders like others. Raises `WeightsError` for a file that has changed, is damaged
        or belongs to another encoder.
        """
        mixture = choice.mixture
        if mixture is None:
            return Synthesis(((1.0, self._decoder(choice.first, files)),))
        share = float(mixture.share)
        if mixture.of == "pictures":
            first, second = (self._decoder(name, files) for name in choice.names)
            return Synthesis(((float(1 - mixture.share), first), (share, second)))

        def mix() -> nn.Module:
            first, second = (self._module(name, files) for name in choice.names)
            return mix_decoders(first, second, share)

        key = (share, *(files.get(name, self._file).sha256 for name in choice.names))
        return Synthesis(((1.0, self._kept(key, mix)),))

    def _decoder(self, name: str, files: Mapping[str, WeightsFile]) -> Decoder:
        """One decoder, ready."""
        return self._own if name == OWN else self._kept(files[name].sha256, lambda: self._module(name, files))

    def _kept(self, key: Hashable, make: Callable[[], nn.Module]) -> Decoder:
        with self._loading:
            decoder = self._decoders.get(key)
            if decoder is None:
                decoder = self._decoders[key] = Decoder(self._model, make(), self.resources)
            return decoder

    def _module(self, name: str, files: Mapping[str, WeightsFile]) -> nn.Module:
        """The transform as a file holds it; that of the network is read again, for only its fast form is kept."""
        if name == OWN:
            return load_weights(reverify(self._file)).synthesis
        return load_decoder(reverify(files[name]), self._model, self.identity.hex())

    def steady(self) -> AbstractContextManager[None]:
        """On a GPU: true float32, and algorithms that do not change from run to run; as before afterwards."""
        if torch.device(self.resources.device).type != "cuda":
            return nullcontext()
        context: AbstractContextManager[None] = torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        )
        return context

    @property
    def tables(self) -> tuple[str, ...]:
        """Laws of which the latent can be coded under, the usual one first."""
        if self.architecture != "shrinkage":
            return TABLES[:1]
        return TABLES if self._model.trained_law is not None else TABLES[1:]

    def check_coding(self, size: LatentSize, count: int) -> None:
        """Raise `CodecError` if there is not enough memory to code, or decode, the latents of pictures of a size."""
        elements = count * size.rows * size.columns * self._latent_channels
        check_memory(elements * CODINGS[self.architecture].element_bytes, size, self.resources.device)

    def analyse(self, images: Sequence[Pixels]) -> Tensor:
        """Latents (N, M, rows, columns), float32, of images uint8 (H, W, 3) of one padded size.

        Raises `CodecError` if there is not enough memory.
        """
        size = self.size(*images[0].shape[:2])
        height, width = size.rows * LATENT_STRIDE, size.columns * LATENT_STRIDE
        pixels = len(images) * height * width
        needed = self._analysis.peak_bytes(height, width, 3, len(images)) + pixels * PIXEL_BYTES
        check_memory(needed, size, self.resources.device)
        self.check_coding(size, len(images))
        padded = np.stack([_pad(image, height, width) for image in images])
        x = torch.from_numpy(padded).to(self.resources.device).permute(0, 3, 1, 2).float().div_(255)
        with torch.inference_mode():
            return self._model.analyse(x)

    def refine(self, y: Tensor, image: Pixels, refinement: Refinement, step: Fraction, tables: str) -> Refined | None:
        """Better latents than y, (1, M, rows, columns), for one image uint8 (H, W, 3); None where none are found.

        In float32, whatever the transforms run in, against the network's own decoder. Raises `CodecError` if there is
        not enough memory, and `SpecError` for an architecture that cannot be refined.
        """
        with self._making:
            if self._refiner is None:
                # Of the loaded network there are only the fast transforms, which have no gradients.
                with torch.inference_mode(False):  # of a caller's mode, in which tensors are made that never have any
                    self._refiner = Refiner(load_weights(reverify(self._file)), self.resources.device)
        size = self.size(*image.shape[:2])
        needed = self._refiner.peak_bytes(size.rows * size.columns * LATENT_STRIDE**2)
        check_memory(needed, size, self.resources.device)
        # A copy, for images may be read-only, which tensors cannot be.
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
        return self._refiner.refine(y, pixels, Settings(refinement.steps, refinement.lmbda, float(step), tables))

    def synthesise(
        self, y_hat: Tensor, sizes: Sequence[LatentSize], synthesis: Synthesis | None = None
    ) -> list[Pixels]:
        """Pictures uint8 (H, W, 3) of their sizes from quantised latents (N, M, rows, columns).

        `synthesis`: what the method of that name gave, the network's own decoder by default. Raises `CodecError` if
        there is not enough memory.
        """
        synthesis = synthesis or self.synthesis(DecoderChoice(), {})
        count, channels, rows, columns = y_hat.shape
        pixels = count * rows * columns * LATENT_STRIDE**2
        needed = synthesis.peak_bytes(rows, columns, channels, count, pixels) + pixels * PIXEL_BYTES
        check_memory(needed, sizes[0], self.resources.device)
        with torch.inference_mode():
            x_hat = synthesis(y_hat.to(self.resources.device))
            pictures = (
                x_hat.mul(255).round_().clamp_(0, 255).nan_to_num_(0).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
            )
        return [
            np.ascontiguousarray(picture[: size.height, : size.width])
            for picture, size in zip(pictures, sizes, strict=False)
        ]


_NETWORKS: WeakValueDictionary[tuple[str, Resources], Network] = WeakValueDictionary()
"""Networks in use in this process: operating points that differ in their quantisation step share one."""
_OPENING = Lock()


def open_network(file: WeightsFile, resources: Resources) -> Network:
    """The network of a file of weights, shared by all who hold it at the same time."""
    key = (file.sha256, resources)
    with _OPENING:
        network = _NETWORKS.get(key)
        if network is None:
            network = _NETWORKS[key] = Network(file, resources)
        return network


def load_weights(path: Path) -> CompressionModel:
    """The network in a file of rdp's own (safetensors) or in a published checkpoint of CompressAI (.pth.tar).

    Raises `WeightsError` for anything else, and executes nothing.
    """
    if path.name.endswith(ARCHIVES):
        return load_compressai(path).eval()
    return load_model(path)


def _pad(image: Pixels, height: int, width: int) -> Pixels:
    """Repeat the last row and column, so that the sides are as wanted."""
    extra = ((0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0))
    return np.pad(image, extra, mode="edge") if any(after for _, after in extra) else image
