"""What a tuned decoder measures on validation images: scores of real files, and whether the files are the same."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rdp.codecs import Codec, OperatingPoint, Resources, create_codec, parse_point
from rdp.codecs.keys import quote
from rdp.codecs.learned.codec import LearnedCodec
from rdp.codecs.learned.network import load_weights
from rdp.errors import RdpError, SpecError
from rdp.execution.progress import Progress
from rdp.images import hash_bytes
from rdp.metrics import create_metrics
from rdp.models.base import CompressionModel
from rdp.models.checkpoint import identity_of
from rdp.models.decoder_names import OWN
from rdp.training.finetune_state import Tuned
from rdp.training.images import Pixels
from rdp.weights import WeightsFile, reverify


@dataclass(frozen=True)
class TunedNetwork:
    """A network whose decoder is tuned: `point` as tables name it, its `file`, and the `identity` of its encoder.

    `stride`: its images' sides are multiples of it, in pixels. `trained_on`: see `Codec.trained_on`.
    """

    point: str
    file: WeightsFile
    identity: str
    stride: int
    trained_on: frozenset[str]

    def load(self) -> CompressionModel:
        """The network, in evaluation mode. Raises `WeightsError` if the file has changed."""
        return load_weights(reverify(self.file))

    def codec(self, device: str, decoder: Path | None = None) -> Codec:
        """The codec with its own decoder, or with that of a file."""
        spec = f"checkpoint:path={quote(str(self.file.path))}"
        if decoder is not None:
            spec += f",decoder={quote(str(decoder))}"
        return create_codec(parse_point(spec), Resources(device))


def open_network(point: OperatingPoint) -> TunedNetwork:
    """The network of a point. Raises `SpecError` for a point without a network, at another step, or of a decoder."""
    codec = create_codec(point)
    if not isinstance(codec, LearnedCodec):
        raise SpecError(f"--codec {point.name}: {point.family} has no decoder to train; name a learned codec")
    if point.get("decoder") is not None:
        raise SpecError(f"--codec {point.name}: leave out decoder=; the first decoder is tuned from the network's own")
    if str(point.get("step") or "1") != "1":
        raise SpecError(
            f"--codec {point.name}: leave out step=; decoders are tuned at step 1 and decode files of all steps"
        )
    file = codec.find_weights(point)
    model = load_weights(reverify(file))
    return TunedNetwork(point.name, file, identity_of(model).hex(), model.stride, codec.trained_on())


@dataclass(frozen=True)
class Measured:
    """Mean rate in bit/pixel, mean scores by column, and how many files are those of the network's own decoder."""

    bpp: float
    scores: Mapping[str, float]
    identical: int


@dataclass(frozen=True)
class OwnDecoder:
    """The network's own decoder, and the SHA-256 of every validation image's file."""

    tuned: Tuned
    hashes: tuple[str, ...]


class Judge:
    """Encodes validation images, decodes the files, and scores what they decode to."""

    def __init__(
        self,
        images: Sequence[Pixels],
        names: Sequence[str],
        metrics: Sequence[str],
        device: str,
        progress: Progress,
    ) -> None:
        """`images`: uint8 (H, W, 3) each. Raises `WeightsError`, `MetricError` for metrics that cannot be computed."""
        self._images = images
        self._names = names
        self._device = device
        self._progress = progress
        self._metrics = create_metrics(metrics, device)
        for image, name in zip(images, names, strict=True):
            for metric in self._metrics:
                try:
                    metric.check_size(image.shape[1], image.shape[0])
                except RdpError as error:
                    raise type(error)(f"{name}: {error}".replace("--metric", "--judge")) from error

    def own(self, network: TunedNetwork) -> OwnDecoder:
        """The network as it is."""
        measured, hashes = self._measured(network, None, None)
        count = len(self._images)
        return OwnDecoder(Tuned(OWN, None, 0, None, measured.bpp, measured.scores, count, count), hashes)

    def measure(self, network: TunedNetwork, decoder: Path, own: OwnDecoder) -> Measured:
        """The decoder in a file. Raises `RdpError` if any file is another than with the network's own decoder."""
        measured, hashes = self._measured(network, decoder, own.hashes)
        changed = [name for name, now, was in zip(self._names, hashes, own.hashes, strict=True) if now != was]
        if changed:
            raise RdpError(
                f"{network.point}: with the decoder {decoder.name} the files of {len(changed)} of {len(hashes)} "
                f"validation images are others, the first {changed[0]}: the encoder is not the same; please report it"
            )
        return measured

    def _measured(
        self, network: TunedNetwork, decoder: Path | None, before: tuple[str, ...] | None
    ) -> tuple[Measured, tuple[str, ...]]:
        codec = network.codec(self._device, decoder)
        rates: list[float] = []
        hashes: list[str] = []
        scores: dict[str, list[float]] = {column: [] for metric in self._metrics for column in metric.columns}
        self._progress.start(f"files of {network.point}", len(self._images), "image")
        for image, name in zip(self._images, self._names, strict=True):
            try:
                data = codec.encode(image)
                decoded = codec.decode(data)
                for metric in self._metrics:
                    for column, values in metric.score(metric.prepare(image), [decoded]).items():
                        scores[column] += values
            except RdpError as error:
                raise type(error)(f"{name}: {error}") from error
            rates.append(8 * len(data) / (image.shape[0] * image.shape[1]))
            hashes.append(hash_bytes(data))
            self._progress.advance()
        self._progress.finish()
        same = sum(now == was for now, was in zip(hashes, before or hashes, strict=True))
        means = {column: _mean(values) for column, values in scores.items()}
        return Measured(_mean(rates), {name: value for name, value in means.items() if math.isfinite(value)}, same), (
            tuple(hashes)
        )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
