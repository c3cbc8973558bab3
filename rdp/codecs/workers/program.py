"""The worker's end: a program for the interpreter that has the foreign library, `python program.py LIBRARY`.

It stands on its own (rdp is not installed where it runs) and needs Python 3.8, torch and the library. It answers
requests on standard input with replies on standard output, one for each, until its input ends. Either is a frame: the
length of a header (4 bytes, big-endian), the header (JSON, with `nbytes`), and a body of `nbytes` bytes.

    {"op": "encode", "model": ..., "weights": path, "height": H, "width": W}, body: H x W x 3 samples
        -> {"lengths": [...]}, body: the strings of the entropy coder, one after another
    {"op": "decode", "model": ..., "weights": path, "height": H, "width": W, "lengths": [...]}, body: the strings
        -> {}, body: H x W x 3 samples

A failure is answered with {"error": text}. Networks are kept for the requests that follow. All work is on the CPU with
one thread: the libraries compute the parameters of their entropy models in floating point, and a decoder that sums in
another order than the encoder would read other symbols.
"""

from __future__ import annotations

import json
import os
import pickle
import struct
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

MULTIPLE = 64
"""Sides of what networks are fed are multiples of it (pixels): four strides of 2, and two more of the hyperprior."""

COMPRESSAI_CLASSES = {
    "bmshj2018-factorized": "FactorizedPrior",
    "bmshj2018-factorized-relu": "FactorizedPriorReLU",
    "bmshj2018-hyperprior": "ScaleHyperprior",
    "mbt2018-mean": "MeanScaleHyperprior",
    "mbt2018": "JointAutoregressiveHierarchicalPriors",
    "cheng2020-anchor": "Cheng2020Anchor",
    "cheng2020-attn": "Cheng2020Attention",
}


class Library(ABC):
    """A foreign library: it loads a network, and runs it on one image at a time."""

    def __init__(self) -> None:
        import torch

        torch.set_num_threads(1)  # this process is this program's own
        self._networks: dict[tuple[str, str], Any] = {}

    @abstractmethod
    def load(self, model: str, state: Any) -> Any:
        """The network of that name with the weights of a state dict."""

    @abstractmethod
    def encode(self, network: Any, image: Any) -> Sequence[bytes]:
        """The strings of an image, float (1, 3, H, W) in [0, 1]."""

    @abstractmethod
    def decode(self, network: Any, strings: Sequence[bytes], height: int, width: int) -> Any:
        """The image in some strings, float (1, 3, H, W)."""

    def answer(self, header: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
        """The reply to a request."""
        import torch

        height, width = int(header["height"]), int(header["width"])
        with torch.no_grad():
            network = self._network(header["model"], header["weights"])
            if header["op"] == "encode":
                strings = self.encode(network, _to_image(body, height, width))
                return {"lengths": [len(part) for part in strings]}, b"".join(strings)
            return {}, _to_samples(self.decode(network, _split(body, header["lengths"]), height, width))

    def _network(self, model: str, weights: str) -> Any:
        if (model, weights) not in self._networks:
            import torch

            try:
                # Never with pickle: a checkpoint may come from anywhere.
                state = torch.load(weights, map_location="cpu", weights_only=True)
            except pickle.UnpicklingError as error:
                # Not in torch's words, which advise to try without this check.
                raise ValueError(f"{weights} is no checkpoint of tensors alone, and is not loaded") from error
            self._networks[model, weights] = self.load(model, state)
        return self._networks[model, weights]


class CompressAI(Library):
    """CompressAI: the padding is that of its `compressai.utils.eval_model`, zeros on all sides, the image centred."""

    def load(self, model: str, state: Any) -> Any:
        import compressai.models  # type: ignore[import-not-found]
        from compressai.zoo import load_state_dict  # type: ignore[import-not-found]

        for wrapper in ("network", "state_dict", "model_state_dict"):
            state = state.get(wrapper, state)
        architecture = getattr(compressai.models, COMPRESSAI_CLASSES[model])
        network = architecture.from_state_dict(load_state_dict(state)).eval()
        network.update()  # makes the tables of a checkpoint of training, and leaves those of a published one alone
        return network

    def encode(self, network: Any, image: Any) -> Sequence[bytes]:
        from torch.nn.functional import pad

        height, width = image.shape[-2:]
        top, left, high, wide = _centred(height, width)
        padded = pad(image, (left, wide - width - left, top, high - height - top), mode="constant", value=0)
        return [strings[0] for strings in network.compress(padded)["strings"]]

    def decode(self, network: Any, strings: Sequence[bytes], height: int, width: int) -> Any:
        top, left, high, wide = _centred(height, width)
        stride = int(network.downsampling_factor)
        decoded = network.decompress([[part] for part in strings], (high // stride, wide // stride))["x_hat"]
        return decoded[:, :, top : top + height, left : left + width]


class NeuralCompression(Library):
    """NeuralCompression's MS-ILLM: the network pads and crops by itself (reflection, at the bottom and the right)."""

    def load(self, model: str, state: Any) -> Any:
        from neuralcompression.models import HiFiCAutoencoder  # type: ignore[import-not-found]

        network = HiFiCAutoencoder()
        network.load_state_dict(state)
        network.eval()
        network.update()
        network.update_tensor_devices("compress")
        return network

    def encode(self, network: Any, image: Any) -> Sequence[bytes]:
        packed = network.compress(image)
        return [packed.latent_strings[0], packed.hyper_latent_strings[0]]

    def decode(self, network: Any, strings: Sequence[bytes], height: int, width: int) -> Any:
        from neuralcompression import HyperpriorCompressedOutput  # type: ignore[import-not-found]

        packed = HyperpriorCompressedOutput(
            latent_strings=[strings[0]],
            hyper_latent_strings=[strings[1]],
            image_size=(height, width),
            padded_size=(_padded(height), _padded(width)),
        )
        return network.decompress(packed)


LIBRARIES = {"compressai": CompressAI, "neuralcompression": NeuralCompression}


def _padded(side: int) -> int:
    return -(-side // MULTIPLE) * MULTIPLE


def _centred(height: int, width: int) -> tuple[int, int, int, int]:
    """Where an image stands in its padded one (top, left), and the padded sides."""
    high, wide = _padded(height), _padded(width)
    return (high - height) // 2, (wide - width) // 2, high, wide


def _to_image(samples: bytes, height: int, width: int) -> Any:
    import torch

    flat = torch.frombuffer(bytearray(samples), dtype=torch.uint8)
    return (flat.reshape(height, width, 3).permute(2, 0, 1)[None].float() / 255).contiguous()


def _to_samples(image: Any) -> bytes:
    import torch

    rounded = (image.clamp(0, 1) * 255).round().to(torch.uint8)
    samples: bytes = rounded[0].permute(1, 2, 0).contiguous().numpy().tobytes()
    return samples


def _split(body: bytes, lengths: Sequence[int]) -> list[bytes]:
    strings, place = [], 0
    for length in lengths:
        strings.append(body[place : place + length])
        place += length
    return strings


# ---- frames


def read_frame(stream: IO[bytes]) -> tuple[dict[str, Any], bytes] | None:
    """The next header and body, None at the end of the stream. Raises `EOFError` if a frame breaks off."""
    start = stream.read(4)
    if not start:
        return None
    if len(start) != 4:
        raise EOFError("a frame breaks off")
    header = json.loads(_read(stream, *struct.unpack(">I", start)))
    return header, _read(stream, header["nbytes"])


def _read(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise EOFError("a frame breaks off")
    return data


def write_frame(stream: IO[bytes], header: dict[str, Any], body: bytes = b"") -> None:
    """Write a header, with the length of its body, and the body."""
    text = json.dumps({**header, "nbytes": len(body)}).encode()
    stream.write(struct.pack(">I", len(text)) + text + body)
    stream.flush()


def main() -> None:
    # The script's folder must not come before the libraries; what these print must not come between the frames.
    sys.path[:] = [entry for entry in sys.path if entry and Path(entry) != Path(__file__).parent]
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    library: Library | None = None
    while (frame := read_frame(requests)) is not None:
        try:
            library = library or LIBRARIES[sys.argv[1]]()
            header, body = library.answer(*frame)
        except Exception as error:  # noqa: BLE001 - whatever a foreign library raises is told, and the next request served
            header, body = {"error": f"{type(error).__name__}: {error}"}, b""
        write_frame(replies, header, body)


if __name__ == "__main__":
    main()
