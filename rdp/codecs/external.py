"""A codec that is a program of the user's: `external:tool=NAME,...`, described in a codec file (`rdp.codecs.tools`)."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdp.codecs.base import Codec, OperatingPoint
from rdp.codecs.keys import Key
from rdp.codecs.tools import ExternalTool, ToolFile
from rdp.errors import CodecError, DependencyError, FormatError, ImageError, SpecError
from rdp.images import hash_file, read_image

if TYPE_CHECKING:
    import numpy as np

_MESSAGE_LENGTH = 500


class External(Codec):
    """Runs the tool's commands in a temporary folder, one process a call, without a shell.

    A command that fails, or runs over its time, or leaves no file is a `CodecError` that carries the tool's own last
    words. The times of such a codec include starting the program and its file input and output.
    """

    family = "external"
    summary = "a program of your own, described in a codec file"
    keys = (Key("tool", "text", "name of the tool in the codec file", required=True),)

    def __init__(self, point: OperatingPoint) -> None:
        super().__init__(point)
        if not isinstance(point.definition, ExternalTool):
            raise SpecError(f"{point.name}: give the file that describes the tool, --codec-file FILE.toml")
        self.tool = point.definition
        self._files = {"here": str(self.tool.here)} | {
            file.name: _find_file(self.tool, file) for file in self.tool.files
        }
        self._values = {name: _argument(value) for name, value in point.values} | self._files
        self._programs = {side: self._find_program(side) for side in ("encode", "decode")}
        self._version: str | None = None

    @classmethod
    def schema(cls, definition: Any) -> tuple[Key, ...]:
        extra = definition.keys if isinstance(definition, ExternalTool) else ()
        return (*cls.keys, *extra)

    @property
    def version(self) -> str:
        if self._version is None:
            self._version = self._read_version()
        return self._version

    def _read_version(self) -> str:
        if not self.tool.version:
            return f"{self.tool.name}, sha256 {hash_file(Path(self._programs['encode']))[:12]}"
        command = [part.format(**self._files) for part in self.tool.version]
        output = _run(command, self.tool, Path.cwd())
        lines = [line.strip() for line in output.splitlines() if line.strip()]
        return lines[0] if lines else self.tool.name

    def _identity(self) -> Any:
        return {"encode": self.tool.encode, "input": self.tool.input, "files": self._files_of("encode")}

    def _decoder_identity(self) -> Any:
        return {"decode": self.tool.decode, "output": self.tool.output, "files": self._files_of("decode")}

    def _files_of(self, side: str) -> list[str]:
        """Hashes of a command's program and of the files among its arguments: scripts, models, settings."""
        template = self.tool.encode if side == "encode" else self.tool.decode
        values = {**self._values, "input": "", "output": ""}
        paths = [Path(self.tool.here, part.format(**values)) for part in template[1:]]
        return [hash_file(path) for path in (Path(self._programs[side]), *paths) if path.is_file()]

    def _find_program(self, side: str) -> str:
        template = (self.tool.encode if side == "encode" else self.tool.decode)[0]
        program = template.format(**{**self._values, "input": "", "output": ""})
        found = shutil.which(program) or shutil.which(str(self.tool.here / program))
        if found is None:
            raise DependencyError(
                f"external tool {self.tool.name!r}: its {side} program {program!r} is neither on the PATH nor in "
                f"{self.tool.here}"
            )
        return str(Path(found).absolute())

    def encode(self, image: np.ndarray[Any, Any]) -> bytes:
        from PIL import Image

        with tempfile.TemporaryDirectory(prefix="rdp-") as folder:
            source, target = Path(folder, f"image.{self.tool.input}"), Path(folder, f"file{self.tool.suffix}")
            Image.fromarray(image).save(source)
            self._call("encode", source, target)
            data = target.read_bytes()
        if not data:
            raise CodecError(f"{self.point.name}: the encoder wrote an empty file")
        return data

    def decode(self, data: bytes) -> np.ndarray[Any, Any]:
        with tempfile.TemporaryDirectory(prefix="rdp-") as folder:
            source, target = Path(folder, f"file{self.tool.suffix}"), Path(folder, f"image.{self.tool.output}")
            source.write_bytes(data)
            self._call("decode", source, target)
            try:
                return read_image(target)
            except ImageError as error:
                # The advice in that message is for images of the user's own; what is wrong comes first in it.
                reason = str(error).replace(str(target), "its output").partition(":")[0]
                raise FormatError(f"{self.point.name}: the decoder's output cannot be used: {reason}") from error

    def _call(self, side: str, source: Path, target: Path) -> None:
        template = self.tool.encode if side == "encode" else self.tool.decode
        values = {**self._values, "input": str(source), "output": str(target)}
        command = [self._programs[side], *(part.format(**values) for part in template[1:])]
        message = _run(command, self.tool, source.parent)
        if not target.is_file():
            raise CodecError(f"{self.point.name}: {side} wrote no output file. {_tail(message)}".strip())


def _argument(value: Any) -> str:
    """A key's value as it stands in a command line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return format(value, "f") if not isinstance(value, (int, str)) else str(value)


def _find_file(tool: ExternalTool, file: ToolFile) -> str:
    """Where a file of a tool lies on this machine. Raises `DependencyError` if it does not."""
    named = os.environ.get(file.variable)
    if named:
        path = Path(named).expanduser()
        found = path if path.is_file() else shutil.which(named)
        if found is None:
            raise DependencyError(f"external tool {tool.name!r}: {file.variable} names {named}, which is no file")
        return str(Path(found).absolute())
    program = shutil.which(file.default)
    folders = [tool.here, *map(Path, os.environ.get("PATH", "").split(os.pathsep))]
    places = [Path(program)] if program else [folder / file.default for folder in folders]
    for place in places:
        if place.is_file():
            return str(place.absolute())
    what = f"{file.default} ({file.meaning})" if file.meaning else file.default
    raise DependencyError(
        f"external tool {tool.name!r} needs {what}, which is neither on the PATH nor in {tool.here}: name the file in "
        f"the environment variable {file.variable}"
    )


def _run(command: list[str], tool: ExternalTool, folder: Path) -> str:
    """Run a command in `folder`; its output as text. Over time, it and its children are killed."""
    name = Path(command[0]).name
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise CodecError(f"{tool.name}: cannot start {command[0]}: {error.strerror}") from error
    try:
        output, _ = process.communicate(timeout=tool.timeout_s)
    except subprocess.TimeoutExpired as error:
        raise CodecError(f"{tool.name}: {name} ran over its {tool.timeout_s:g} s and was killed") from error
    finally:
        _kill(process)
    text = output.decode(errors="replace")
    if process.returncode:
        raise CodecError(f"{tool.name}: {name} {_describe_exit(process.returncode)}. {_tail(text)}".strip())
    return text


def _describe_exit(code: int) -> str:
    if code >= 0:
        return f"failed with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Make sure that nothing of a command runs on, whatever way its call ended."""
    if process.poll() is None:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.communicate()


def _tail(text: str) -> str:
    """The end of a tool's output, for a message."""
    words = " ".join(text.split())
    if not words:
        return "It printed nothing."
    return f"It says: {words if len(words) <= _MESSAGE_LENGTH else '…' + words[-_MESSAGE_LENGTH:]}"
