"""Codecs of the tests, in modules that worker processes can import: one that misbehaves, one that wants batches."""

from __future__ import annotations

import sys
from collections.abc import Iterator
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


BLOCKS = """
import os, signal, time, zlib
import numpy as np
from rdp.codecs import Codec, Key

class Blocks(Codec):
    family = "blocks"
    summary = "means of blocks of 8 by 8 pixels, of the padded image, coded together: a small learned codec's manners"
    keys = (
        Key("step", "integer", "quantisation step", default=4, minimum=1, maximum=64),
        Key("how", "choice", "misfortune", default="fine",
            choices=("fine", "encode", "decode", "kill", "short", "unknown", "nan", "unmade", "slow")),
        Key("decoder", "integer", "decoder of the same file", default=0, minimum=0, maximum=99, changes_file=False),
    )
    version = "blocks 1"
    weights_nbytes = int(os.environ.get("BLOCKS_WEIGHTS", "0"))
    concurrent = True
    def __init__(self, point, resources):
        super().__init__(point, resources)
        self.log("make", 1)
        if point.get("how") == "unmade" and os.environ.get("BLOCKS_UNMADE"):
            raise RuntimeError("cannot be made")
    def log(self, what, count):
        with open(os.path.join(os.environ["BLOCKS_LOG"], "calls"), "a") as log:
            log.write(f"{what} {count} {self.point.name}\\n")
    def preferred_batch(self, height, width):
        return 4
    def batch_key(self, height, width):
        return -(-height // 8), -(-width // 8)
    def encode(self, image):
        return self.encode_batch([image])[0]
    def decode(self, data):
        return self.decode_batch([data])[0]
    def encode_batch(self, images):
        self.log("encode", len(images))
        how = self.point.get("how")
        if how == "slow":
            time.sleep(0.05)
        # The unlucky picture has 33 rows.
        unlucky = any(image.shape[0] == 33 for image in images)
        if unlucky and how == "encode":
            raise ZeroDivisionError("unlucky picture")
        if unlucky and how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        (rows, columns), = {self.batch_key(*image.shape[:2]) for image in images}
        batch = np.stack([
            np.pad(image, ((0, 8 * rows - image.shape[0]), (0, 8 * columns - image.shape[1]), (0, 0)), mode="edge")
            for image in images
        ])
        means = batch.reshape(len(images), rows, 8, columns, 8, 3).mean((2, 4))
        symbols = np.rint(means / self.point.integer("step")).astype(np.uint8)
        files = [
            np.array(image.shape[:2], ">u2").tobytes() + zlib.compress(own.tobytes())
            for image, own in zip(images, symbols)
        ]
        return files[:-1] if how == "short" and len(files) > 1 else files
    def decode_batch(self, files):
        self.log("decode", len(files))
        sizes = [tuple(int(v) for v in np.frombuffer(data[:4], ">u2")) for data in files]
        if self.point.get("how") == "decode" and any(height == 33 for height, _ in sizes):
            raise RuntimeError("cannot decode")
        (rows, columns), = {self.batch_key(*size) for size in sizes}
        symbols = np.stack([
            np.frombuffer(zlib.decompress(data[4:]), np.uint8).reshape(rows, columns, 3) for data in files
        ])
        values = np.minimum(symbols.astype(int) * self.point.integer("step") + self.point.integer("decoder"), 255)
        batch = values.astype(np.uint8).repeat(8, 1).repeat(8, 2)
        return [np.ascontiguousarray(own[:h, :w]) for own, (h, w) in zip(batch, sizes)]
    def estimates(self, data):
        how = self.point.get("how")
        if how == "unknown":
            return {"bpp_estimate": 1.0}
        if how == "nan":
            return {"bpp_estimated": float("nan")}
        return {"bpp_estimated": len(data) / 7, "bpp_fixed_law": 2.5}
"""


@pytest.fixture
def blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Registers the family `blocks`, which wants four images at once; the fixture is the folder of its log of calls."""
    folder = tmp_path / "blocks_module"
    folder.mkdir()
    (folder / "blocks_codec.py").write_text(BLOCKS)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("BLOCKS_LOG", str(folder))
    monkeypatch.setitem(registry.FAMILIES, "blocks", "blocks_codec:Blocks")
    yield folder
    sys.modules.pop("blocks_codec", None)
