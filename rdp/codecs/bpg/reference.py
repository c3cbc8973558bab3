"""`backend=reference`: libbpg's own programs, bpgenc and bpgdec, from the PATH."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdp.errors import CodecError, DependencyError, FormatError, ImageError
from rdp.images import hash_file, read_image, write_png

if TYPE_CHECKING:
    import numpy as np

ENCODERS = {"x265": "x265", "hm": "jctvc"}
_TIMEOUT_S = 600.0
_START_TIMEOUT_S = 20.0
_MESSAGE_LENGTH = 500
_INSTALL = "build libbpg (https://bellard.org/bpg/)"
_REPLACE = f"Take it off the PATH and {_INSTALL}, or use backend=pyav"
# bpgenc -m 1..9 are x265's presets from superfast to placebo.
LEVELS = {
    name: level
    for level, name in enumerate(
        ("superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo"), start=1
    )
}


@dataclass(frozen=True)
class Programs:
    """Where bpgdec is, and bpgenc; None where there is no bpgenc, which decoding does not need."""

    encoder: str | None
    decoder: str

    def require_encoder(self) -> None:
        """Raise `DependencyError` if there is no bpgenc, or it does not start, or does not end."""
        _ask_version(self.encoder_path)

    @property
    def encoder_path(self) -> str:
        """The path of bpgenc. Raises `DependencyError` if there is none."""
        if self.encoder is None:
            raise DependencyError(f"bpg: bpgenc is not on the PATH: {_INSTALL}, or encode with backend=pyav")
        return self.encoder

    @property
    def version(self) -> str:
        """`bpgenc 0.9.8`, or its hash where the program does not say; that of bpgdec without a bpgenc that starts."""
        try:
            said = _ask_version(self.encoder_path)
        except DependencyError:  # `require_encoder` tells it to whoever means to encode
            return f"bpgdec, sha256 {self.decoder_hash[:12]}"
        return f"bpgenc {said}" if said else f"bpgenc, sha256 {self.encoder_hash[:12]}"

    @property
    def encoder_hash(self) -> str:
        return _hash(self.encoder_path)

    @property
    def decoder_hash(self) -> str:
        return _hash(self.decoder)


def _hash(program: str) -> str:
    try:
        return hash_file(Path(program))
    except OSError as error:
        raise DependencyError(f"bpg: {program} cannot be read: {error.strerror}") from error


def _ask_version(program: str) -> str:
    """What bpgenc, called without arguments, says its version is; "" if it says none. Raises `DependencyError`."""
    try:
        done = subprocess.run(
            [program], stdin=subprocess.DEVNULL, capture_output=True, timeout=_START_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise DependencyError(
            f"bpg: {program} is no working bpgenc: it did not end within {_START_TIMEOUT_S:g} s. {_REPLACE}"
        ) from error
    except OSError as error:
        raise DependencyError(f"bpg: {program} cannot be started ({error.strerror}). {_REPLACE}") from error
    said = re.search(rb"version (\d[\w.]*)", done.stdout + done.stderr)
    return said.group(1).decode() if said else ""


def find_programs() -> Programs:
    """Look for bpgdec and bpgenc on the PATH. Raises `DependencyError` that says what to do without bpgdec."""
    decoder = shutil.which("bpgdec")
    if decoder is None:
        raise DependencyError(
            f"bpg: bpgdec is not on the PATH: {_INSTALL}, or use backend=pyav; "
            "PyAV decodes the files of bpgenc too: decode with `--codec bpg`"
        )
    return Programs(shutil.which("bpgenc"), decoder)


def encode_options(qp: int, encoder: str, preset: str, chroma: str, depth: int) -> list[str]:
    """The options of bpgenc for one operating point."""
    settings = {"-q": qp, "-f": chroma, "-e": ENCODERS[encoder], "-b": depth, "-m": LEVELS[preset]}
    return [str(word) for pair in settings.items() for word in pair]


def encode_picture(programs: Programs, image: np.ndarray[Any, Any], options: list[str]) -> bytes:
    """The file that bpgenc writes for an image (uint8, (H, W, 3)).

    Raises `CodecError` with the program's words, and `DependencyError` if there is none.
    """
    program = programs.encoder_path
    with tempfile.TemporaryDirectory(prefix="rdp-bpg-") as folder:
        source, target = Path(folder, "image.png"), Path(folder, "image.bpg")
        write_png(source, image)
        said = _run([program, *options, "-o", str(target), str(source)], CodecError)
        if not target.is_file() or not target.stat().st_size:
            raise CodecError(f"bpgenc wrote no file for an image of {image.shape[1]}x{image.shape[0]}. {said}".strip())
        return target.read_bytes()


def decode_picture(programs: Programs, data: bytes) -> np.ndarray[Any, Any]:
    """The picture that bpgdec writes: uint8, (H, W, 3). Raises `FormatError` for a file that it refuses."""
    with tempfile.TemporaryDirectory(prefix="rdp-bpg-") as folder:
        source, target = Path(folder, "image.bpg"), Path(folder, "image.png")
        source.write_bytes(data)
        said = _run([programs.decoder, "-o", str(target), str(source)], FormatError)
        if not target.is_file():
            raise FormatError(f"bpgdec wrote no picture. {said}".strip())
        try:
            return read_image(target)
        except ImageError as error:
            raise FormatError(f"what bpgdec wrote cannot be used: {error}") from error


def _run(command: list[str], failure: type[CodecError]) -> str:
    """Run a program; its last words. Raises `failure` if it does not end well."""
    name = Path(command[0]).name
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise CodecError(f"{name} ran over {_TIMEOUT_S:g} s and was stopped") from error
    except OSError as error:
        raise CodecError(f"{command[0]} cannot be started: {error.strerror}") from error
    said = " ".join((done.stderr or done.stdout).decode("utf-8", "replace").split())[-_MESSAGE_LENGTH:]
    if done.returncode:
        raise failure(f"{name} failed with exit code {done.returncode}. {said}".strip())
    return said
