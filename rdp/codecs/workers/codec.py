"""What the codecs of foreign libraries share: which interpreter runs them, which weights, and the file.

The libraries give strings of an entropy coder and no file format. Here a file is the container of rdp's learned codecs
(`rdp.bitstream.container`: magic, identity, size of the picture, checksum) around

    count       1 byte    how many strings
    lengths     of each string but the last, 7 bits a byte, the low ones first, the high bit set on all but the last
    strings     one after another

and nothing else: the sizes of the latents follow from the picture's. Every byte of it counts in the rate. The identity
is that of library, model and weights, so that a file is refused by every other network.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rdp.codecs.base import Codec, OperatingPoint
from rdp.codecs.workers.process import WorkerProcess, shared_process
from rdp.errors import CodecError, DependencyError, FormatError
from rdp.images import hash_bytes
from rdp.weights import WeightsFile

if TYPE_CHECKING:
    import numpy as np

    Pixels = np.ndarray[Any, Any]

_PROGRAM = Path(__file__).with_name("program.py")
_ASK_S = 60.0

# Asks without importing anything, which would take seconds; the library's name is the first argument.
_QUESTION = """
import sys, importlib.metadata as m
print(", ".join(name + " " + m.version(name) for name in sys.argv[1:]))
"""


class WorkerCodec(Codec):
    """A codec whose networks and entropy coding are a foreign library's, in another interpreter and on its CPU.

    The interpreter is named by the environment variable `variable`; without it, this one is used if it has the
    library. A worker process there is started when the first image comes, and shared by all points of the library;
    the time of the first image includes its start, some seconds.
    """

    library: ClassVar[str]
    variable: ClassVar[str]
    install: ClassVar[str]
    """How to make an environment that has the library."""

    def __init__(self, point: OperatingPoint) -> None:
        super().__init__(point)
        self._python = _find_python(self.library, self.variable, self.install)
        self._versions = _ask_versions(self._python, self.library, self.install)
        self.weights = self._find_weights()
        self.weights_nbytes = self.weights.path.stat().st_size

    @property
    @abstractmethod
    def model(self) -> str:
        """The library's name of the network."""

    @abstractmethod
    def _find_weights(self) -> WeightsFile:
        """The file of the point's weights. Raises `WeightsError` if it is not on this machine."""

    @cached_property
    def worker(self) -> WorkerProcess:
        """The process that does the work; other codecs of the library share it."""
        return shared_process(self.family, (self._python, str(_PROGRAM), self.library))

    @property
    def version(self) -> str:
        return self._versions

    def _identity(self) -> Any:
        return {"weights": self.weights.sha256}

    def _decoder_identity(self) -> Any:
        return {"weights": self.weights.sha256}

    @cached_property
    def identity(self) -> bytes:
        """The 6 bytes of its files' containers: library, model and weights, whatever the point calls them."""
        return bytes.fromhex(hash_bytes(f"{self.library} {self.model} {self.weights.sha256}".encode())[:12])

    def encode(self, image: Pixels) -> bytes:
        from rdp.bitstream.container import MAX_SIDE, Container, pack

        height, width = image.shape[:2]
        if max(height, width) > MAX_SIDE:
            raise CodecError(f"{self.point.name}: a picture of {width} x {height} is over {MAX_SIDE} pixels a side")
        answer, body = self.worker.call(self._request("encode", height, width), image.tobytes())
        return pack(Container(self.identity, width, height, b"", join_strings(answer["lengths"], body)))

    def decode(self, data: bytes) -> Pixels:
        import numpy as np

        from rdp.bitstream.container import unpack

        found = unpack(data)
        if found.identity != self.identity:
            raise FormatError(
                f"the file was made by another model or other weights ({found.identity.hex()}) than those of "
                f"{self.point.name} ({self.identity.hex()}): name the point that made it"
            )
        lengths, body = part_strings(found.payload)
        request = {**self._request("decode", found.height, found.width), "lengths": lengths}
        _, samples = self.worker.call(request, body)
        return np.frombuffer(samples, np.uint8).reshape(found.height, found.width, 3).copy()

    def _request(self, op: str, height: int, width: int) -> dict[str, Any]:
        weights = str(self.weights.path.absolute())
        return {"op": op, "model": self.model, "weights": weights, "height": height, "width": width}


# ---- the payload


def join_strings(lengths: Sequence[int], body: bytes) -> bytes:
    """The payload: how many strings, the lengths of all but the last, and the strings, which `body` has in order."""
    start = bytearray([len(lengths)])
    for length in lengths[:-1]:
        while length > 0x7F:
            start.append(length & 0x7F | 0x80)
            length >>= 7
        start.append(length)
    return bytes(start) + body


def part_strings(payload: bytes) -> tuple[list[int], bytes]:
    """The lengths of the strings in a payload, and the strings. Raises `FormatError` if they do not fill it."""
    damaged = FormatError("the lengths of the strings in the file do not fit its size")
    if not payload or not payload[0]:
        raise damaged
    place, lengths = 1, []
    for _ in range(payload[0] - 1):
        length, shift = 0, 0
        while True:
            if place >= len(payload) or shift > 28:
                raise damaged
            group, place = payload[place], place + 1
            length |= (group & 0x7F) << shift
            shift += 7
            if group < 0x80:
                break
        lengths.append(length)
    rest = len(payload) - place - sum(lengths)
    if rest < 0:
        raise damaged
    return [*lengths, rest], payload[place:]


# ---- the interpreter


def _find_python(library: str, variable: str, install: str) -> str:
    """The interpreter that runs a library. Raises `DependencyError` saying what to do if there is none."""
    named = os.environ.get(variable)
    if named:
        found = shutil.which(Path(named).expanduser())
        if found is None:
            raise DependencyError(f"{variable} names {named}, which is no program: name the interpreter of {library}")
        return str(Path(found).absolute())
    if importlib.util.find_spec(library) is not None:
        return sys.executable
    raise DependencyError(
        f"{library} is not in this environment, and may not go into it: make one for it ({install}), and name its "
        f"interpreter in the environment variable {variable}"
    )


@lru_cache(maxsize=32)
def _ask_versions(python: str, library: str, install: str) -> str:
    """`compressai 1.2.8, torch 2.6.0`, as that interpreter has them. Raises `DependencyError` if it lacks one."""
    command = [python, "-c", _QUESTION, library, "torch"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_ASK_S, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DependencyError(f"{python} is to run {library}, and does not run: {error}") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        reason = lines[-1] if lines else f"exit code {done.returncode}"
        raise DependencyError(
            f"{python} is to run {library}, and has no such package ({reason}). Make an environment for it: {install}"
        )
    return done.stdout.strip()
