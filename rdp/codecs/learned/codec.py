"""What the families of learned codecs share: images to latents to files, and back."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from fractions import Fraction
from importlib.metadata import version
from threading import Lock
from typing import TYPE_CHECKING, Any

from rdp import __version__
from rdp.bitstream.container import MAX_SIDE, Container, pack, unpack
from rdp.codecs.base import DEFAULT_RESOURCES, Codec, OperatingPoint, Resources
from rdp.codecs.keys import Key, Value
from rdp.codecs.learned.decoder_files import GivenDecoders, check_given, encoder_of, find_decoders, named_decoders
from rdp.codecs.learned.decoders import DECODER_KEY, DecoderChoice, read_choice
from rdp.codecs.learned.refining import Refinement, check_refinement, refinement_of
from rdp.errors import CodecError, FormatError, SpecError
from rdp.images import hash_bytes
from rdp.weights import WeightsFile

if TYPE_CHECKING:
    from torch import Tensor

    from rdp.codecs.learned.coding import Decoded, LatentCoding
    from rdp.codecs.learned.network import LatentSize, Network
    from rdp.codecs.learned.synthesis import Synthesis

    Pixels = Any

STEPS = ("1/2", "2/3", "1", "3/2", "2")
"""Quantisation steps by which a network's rate is changed without training (thesis, 3.3.1); a file holds the place."""

STEP_KEY = Key("step", "choice", "quantisation step: larger is fewer bits", default="1", choices=STEPS)

TABLES = ("trained", "fixed", "flags")
"""Laws under which a shrinkage network's latent is coded; see `rdp.codecs.learned.shrinkage`."""

ARCHIVES = (".pth.tar", ".pth")
"""Endings of other people's files of weights, which `rdp.models.conversion` reads."""

_USUAL = STEPS.index("1")
_BATCH_PIXELS = 1 << 22
_MOST = 16


class LearnedCodec(Codec):
    """A codec with a network. Subclasses say which file of weights a point means (`find_weights`).

    The picture is padded at the bottom and on the right to whole strides of the network, by repeating its last row
    and column, and cropped after decoding. Files are containers (`rdp.bitstream.container`) whose identity is that of
    encoder and entropy model; their payload decodes to the same symbols everywhere. The key `decoder` says what makes
    the picture of them; points that differ in it alone share the file and the loaded network.
    """

    concurrent = True

    def __init__(self, point: OperatingPoint, resources: Resources = DEFAULT_RESOURCES) -> None:
        """Raises `WeightsError` for weights that are missing or not what the index says; see also `refinement_of`."""
        super().__init__(point, resources)
        self._file = self.find_weights(point)
        self._choice = choice_of(point)
        self._refinement = refinement_of(point, self._file)
        self._decoders = self._find_decoders()
        self._network: Network | None = None
        self._synthesis: Synthesis | None = None
        self._loading = Lock()
        self._decoded: dict[str, tuple[int, Decoded]] = {}
        self.device = _device_name(resources.device)
        again = () if self._refinement is None else (self._file,)  # refinement has a network of its own
        self.weights_nbytes = sum(map(_size, (self._file, *again, *self._decoders.values())))

    @classmethod
    def resolve(cls, pairs: Mapping[str, str], spec: str) -> tuple[Mapping[str, str], Any]:
        """Decoders in their canonical spelling; where those lie that are given as files goes into the definition."""
        pairs, given = named_decoders(pairs, spec)
        return pairs, GivenDecoders(given) if given else None

    @classmethod
    def check(cls, values: Mapping[str, Value], where: str) -> None:
        """Raise `SpecError` for keys of refinement that do not go together."""
        check_refinement(values, where)

    @classmethod
    def check_same(cls, known: OperatingPoint, other: OperatingPoint) -> None:
        check_given(_given(known), _given(other), choice_of(known).names, known.name)

    @abstractmethod
    def find_weights(self, point: OperatingPoint) -> WeightsFile:
        """The verified file of weights that a point means. Raises `WeightsError`."""

    def _find_decoders(self) -> dict[str, WeightsFile]:
        """The files of the point's decoders beside the network's own, by name."""
        if self._choice == DecoderChoice():
            return {}
        return find_decoders(self._choice, encoder_of(self._file), _given(self.point).decoders, self.point.name)

    @property
    def version(self) -> str:
        dtype = "" if self.resources.dtype == "float32" else f", {self.resources.dtype}"
        return f"rdp {__version__}, torch {version('torch')}{dtype}"

    @property
    def network(self) -> Network:
        """The network, loaded when it is first needed and shared with other points of the same weights."""
        with self._loading:
            if self._network is None:
                from rdp.codecs.learned.network import open_network

                self._network = open_network(self._file, self.resources)
            return self._network

    @property
    def synthesis(self) -> Synthesis:
        """What makes the point's pictures, loaded when it is first needed; each decoder is shared as the network is."""
        network = self.network
        with self._loading:
            if self._synthesis is None:
                self._synthesis = network.synthesis(self._choice, self._decoders)
            return self._synthesis

    def _identity(self) -> Any:
        """Of encoder and entropy model: networks that differ in their decoder alone share their files, but refined
        ones, in which it has a part."""
        plain = [self._encoder(), *self._arithmetic()]
        if self._refinement is None:
            return plain
        from rdp.models.refinement import VERSION

        return [*plain, self._file.sha256, self._refinement.lmbda, VERSION]

    def _decoder_identity(self) -> Any:
        return [self._file.sha256, *self._arithmetic(), *(file.sha256 for file in self._decoders.values())]

    def _encoder(self) -> str:
        if self._file.path.suffix != ".safetensors":
            return self._file.sha256
        from rdp.models.checkpoint import read_header

        return read_header(self._file.path).identity

    def trained_on(self) -> frozenset[str]:
        """What the files of weights say, those of decoders too. Raises `WeightsError` if one says it wrongly."""
        from rdp.models.checkpoint import read_header
        from rdp.models.decoders import read_decoder_header
        from rdp.models.provenance import trained_on

        own = trained_on(read_header(self._file.path)) if self._file.path.suffix == ".safetensors" else frozenset()
        return own.union(*(trained_on(read_decoder_header(file.path)) for file in self._decoders.values()))

    def _arithmetic(self) -> list[str]:
        """That of the transforms, where it is not the usual one."""
        return [] if self.resources.dtype == "float32" else [self.resources.dtype]

    # ---- coding

    def encode(self, image: Pixels) -> bytes:
        return self._encode([image], 1)[0]

    def decode(self, data: bytes) -> Pixels:
        return self._decode([data], 1)[0]

    def encode_batch(self, images: Sequence[Pixels]) -> list[bytes]:
        return self._encode(_filled(images, self.preferred_batch(*images[0].shape[:2])), len(images))

    def decode_batch(self, files: Sequence[bytes]) -> list[Pixels]:
        container = unpack(files[0])
        return self._decode(files, self.preferred_batch(container.height, container.width))

    def preferred_batch(self, height: int, width: int) -> int:
        """On a GPU about 4 million pixels at once; on a CPU one image fills the cores."""
        if self.device == "cpu":
            return 1
        size = self.network.size(height, width)
        return max(1, min(_MOST, _BATCH_PIXELS // (size.rows * size.columns * 256)))

    def batch_key(self, height: int, width: int) -> Hashable:
        size = self.network.size(height, width)
        return size.rows, size.columns

    def estimates(self, data: bytes) -> dict[str, float]:
        key = hash_bytes(data)
        container = unpack(data)
        found = self._decoded.pop(key, None)
        place, decoded = found if found is not None else (0, self._read([container]))
        pixels = container.width * container.height
        return {column: bits[place] / pixels for column, bits in decoded.bits().items()}

    def symbols(self, data: bytes) -> tuple[Any, ...]:
        """The integers of a file, latent by latent, (C, h, w) each: the same on every machine."""
        return tuple(part[0] for part in self.symbols_of([data]))

    def symbols_of(self, files: Sequence[bytes]) -> tuple[Any, ...]:
        """The integers of files of one size, read together, latent by latent, (N, C, h, w) each."""
        return self._read([unpack(data) for data in files]).symbols

    def _encode(self, images: Sequence[Pixels], count: int) -> list[bytes]:
        """The files of the first `count` images; the others fill the batch."""
        for image in images:
            if max(image.shape[:2]) > MAX_SIDE:
                raise CodecError(f"a side of {max(image.shape[:2])} pixels is more than a file can say ({MAX_SIDE})")
        parameters = self.parameters()
        network = self.network
        with network.steady():
            y = network.analyse(images)
            if self._refinement is None:
                payloads = self._coding(parameters).compress(y)[:count]
            else:
                payloads = [self._refined(self._refinement, y[k : k + 1], images[k]) for k in range(count)]
        return [
            pack(Container(network.identity, image.shape[1], image.shape[0], parameters, payload))
            for image, payload in zip(images, payloads, strict=False)
        ]

    def _refined(self, refinement: Refinement, y: Tensor, image: Pixels) -> bytes:
        """The payload of one image, by itself: so its file does not depend on its companions."""
        step, tables = self._chosen()
        coding = self.network.coding(Fraction(step), tables)
        refined = self.network.refine(y, image, refinement, Fraction(step), tables)
        return coding.compress(y)[0] if refined is None else coding.compress(refined.y, refined.z)[0]

    def _decode(self, files: Sequence[bytes], fill: int) -> list[Pixels]:
        containers = [unpack(data) for data in files]
        decoded = self._read(containers)
        self._remember(files, decoded)
        sizes = [self._size(container) for container in containers]
        y_hat = decoded.y_hat
        if len(files) < fill:
            y_hat = y_hat[_places(len(files), fill)]
        with self.network.steady():
            return self.network.synthesise(y_hat, sizes, self.synthesis)

    def _read(self, containers: Sequence[Container]) -> Decoded:
        """The latents of files, after their headers have been checked."""
        network = self.network
        first = self._size(containers[0])
        for container in containers:
            if container.identity != network.identity:
                raise FormatError(
                    f"the file was made with other weights (identity {container.identity.hex()}) than those of "
                    f"{self.point.name} (identity {network.identity.hex()}): decode it with the codec that made it"
                )
            size = self._size(container)
            if container.parameters != containers[0].parameters or (size.rows, size.columns) != (
                first.rows,
                first.columns,
            ):
                raise CodecError("files of different sizes or quantisation steps cannot be decoded in one batch")
        coding = self._coding(containers[0].parameters)
        self.network.check_coding(first, len(containers))  # before anything is taken for what a header states
        with self.network.steady():
            return coding.decompress([container.payload for container in containers], first.rows, first.columns)

    def _size(self, container: Container) -> LatentSize:
        return self.network.size(container.height, container.width)

    def _remember(self, files: Sequence[bytes], decoded: Decoded) -> None:
        """Keep the latents of the last files until a caller has asked for their estimates, or the next ones come."""
        self._decoded = {hash_bytes(data): (place, decoded) for place, data in enumerate(files)}

    # ---- what a file says of how it was made

    def parameters(self) -> bytes:
        """What the encoder chose, as the container holds it: nothing where all is usual, else the places of both."""
        step, tables = self._chosen()
        chosen = STEPS.index(step) + len(STEPS) * TABLES.index(tables)
        return b"" if chosen == _USUAL else bytes([chosen])

    def _chosen(self) -> tuple[str, str]:
        """The quantisation step and the tables. Raises `SpecError` for tables that the network has not."""
        network = self.network
        step, tables = str(self.point.get("step") or "1"), str(self.point.get("tables") or network.tables[0])
        if tables not in network.tables:
            raise SpecError(
                f"{self.point.name}: this {network.architecture} network has no choice of tables"
                if len(network.tables) == 1
                else f"{self.point.name}: this network has the tables {' and '.join(network.tables)}"
            )
        return step, tables

    def _coding(self, parameters: bytes) -> LatentCoding:
        """The coding of files with such parameters, whatever this point's are."""
        chosen = parameters[0] if parameters else _USUAL
        tables, step = divmod(chosen, len(STEPS))
        spelt = b"" if chosen == _USUAL else bytes([chosen])
        if parameters != spelt or tables >= len(TABLES) or TABLES[tables] not in self.network.tables:
            raise FormatError("the file is damaged: it names a quantisation step or tables that there are not")
        return self.network.coding(Fraction(STEPS[step]), TABLES[tables])


def choice_of(point: OperatingPoint) -> DecoderChoice:
    """The decoder, or mixture of two, of a point of a learned family."""
    text = point.get(DECODER_KEY.name)
    return DecoderChoice() if text is None else read_choice(str(text), point.name)


def _given(point: OperatingPoint) -> GivenDecoders:
    return point.definition if isinstance(point.definition, GivenDecoders) else GivenDecoders()


def _filled(images: Sequence[Pixels], count: int) -> list[Pixels]:
    """As many images as a batch has, the first ones again if need be: algorithms may depend on the batch size."""
    return [images[place] for place in _places(len(images), max(count, len(images)))]


def _places(have: int, want: int) -> list[int]:
    return [place % have for place in range(want)]


def _device_name(device: str) -> str:
    """As tables record it: "cuda" is its first device."""
    return "cuda:0" if device == "cuda" else device


def _size(file: WeightsFile) -> int:
    try:
        return file.path.stat().st_size
    except OSError:
        return 0
