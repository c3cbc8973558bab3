"""Codecs that misbehave, in a module that worker processes can import."""

from __future__ import annotations

from pathlib import Path

import pytest

from rdp.codecs import registry

MODULE = """
import os, signal
import numpy as np
from rdp.codecs import Codec, Key
from rdp.images import hash_bytes

class Crashy(Codec):
    family = "crashy"
    summary = "PNG-like bytes, or a misfortune"
    keys = (
        Key("how", "choice", "misfortune", default="fine",
            choices=("fine", "raise", "kill", "exit", "shape", "decode", "random")),
        Key("level", "integer", "nothing", default=1, minimum=0, maximum=99),
        Key("decoder", "integer", "decoder of the same file", default=0, minimum=0, maximum=9, changes_file=False),
    )
    version = "crashy 1"
    def encode(self, image):
        folder = os.environ.get("CRASHY_LOG")
        if folder:
            with open(os.path.join(folder, "encodes"), "a") as log:
                log.write(self.point.name + "\\n")
        how = self.point.get("how")
        # Only on the picture with 33 rows, so that the run has cells that succeed too.
        if image.shape[0] == 33:
            if how == "raise":
                raise ZeroDivisionError("unlucky picture")
            if how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if how == "exit":
                os._exit(7)
        data = bytes([self.point.integer("level")]) + np.array(image.shape[:2], ">u4").tobytes() + image.tobytes()
        return os.urandom(4) + data if how == "random" else b"good" + data
    def decode(self, data):
        if self.point.get("how") == "decode":
            raise RuntimeError("cannot decode")
        height, width = np.frombuffer(data[5:13], ">u4")
        image = np.frombuffer(data[13:], np.uint8).reshape(height, width, 3)
        if self.point.get("how") == "shape":
            return image[1:]
        return np.minimum(image.astype(int) + self.point.integer("decoder"), 255).astype(np.uint8)
    def _identity(self):
        return os.environ.get("CRASHY_IDENTITY", "")
"""


@pytest.fixture
def crashy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Registers the family `crashy`; the fixture is the folder of its log of encodes."""
    folder = tmp_path / "module"
    folder.mkdir()
    (folder / "crashy_codec.py").write_text(MODULE)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("CRASHY_LOG", str(folder))
    monkeypatch.setitem(registry.FAMILIES, "crashy", "crashy_codec:Crashy")
    return folder
