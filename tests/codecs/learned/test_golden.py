"""Files of another day: what was written once is read to the same symbols by every later rdp, on every machine.

The networks' weights follow from a formula, so that nothing but the files is stored (`tests/data/learned_files.json`).
A change that breaks these tests breaks everybody's files: it needs a new `rdp.models.checkpoint.CODING_VERSION`, and
new files here (`python tests/codecs/learned/test_golden.py` writes them).
"""

from __future__ import annotations

import base64
import hashlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from rdp.codecs import create_codec, parse_point
from rdp.codecs.learned.codec import LearnedCodec
from rdp.models.base import CompressionModel
from rdp.models.checkpoint import save_model
from rdp.models.registry import create_model

FILES = Path(__file__).parents[2] / "data" / "learned_files.json"

NETWORKS: dict[str, dict[str, object]] = {
    "factorized": {"channels": 4, "latent_channels": 6},
    "scale_hyperprior": {"channels": 4, "latent_channels": 6},
    "hyperprior": {"channels": 4, "latent_channels": 6},
    "checkerboard": {"channels": 4, "latent_channels": 6},
    "shrinkage": {"channels": 4, "latent_channels": 6, "hyper_channels": 4},
    "hific": {"width": 0.03, "residual_blocks": 1},
}
KEYS = {"factorized": ("", ",step=2/3"), "shrinkage": ("", ",tables=fixed", ",tables=flags")}


def formula_network(architecture: str) -> CompressionModel:
    """Weights from integers, the same wherever floats are IEEE's."""
    model = create_model(architecture, **NETWORKS[architecture]).eval()
    with torch.no_grad():
        for place, (name, parameter) in enumerate(sorted(model.named_parameters())):
            if name.endswith(("quantiles", "gamma", "beta", "theta")):
                continue
            wave = (torch.arange(parameter.numel()) * (37 + 2 * place) % 101 - 50).reshape(parameter.shape) / 64
            parameter.copy_(wave if parameter.ndim < 4 else wave / 4)
        if architecture not in ("shrinkage", "hific"):
            model.analysis[-1].weight.mul_(16)
    return model


def codec_of(folder: Path, architecture: str, keys: str) -> LearnedCodec:
    path = folder / f"{architecture}.safetensors"
    save_model(path, formula_network(architecture))
    codec = create_codec(parse_point(f'checkpoint:path="{path}"{keys}'))
    assert isinstance(codec, LearnedCodec)
    return codec


def digest(symbols: tuple[np.ndarray, ...]) -> str:
    return hashlib.sha256(b"".join(part.astype("<i4").tobytes() for part in symbols)).hexdigest()


def cases() -> list[tuple[str, str]]:
    return [(architecture, keys) for architecture in NETWORKS for keys in KEYS.get(architecture, ("",))]


def stored() -> Mapping[str, Mapping[str, str]]:
    document: Mapping[str, Mapping[str, str]] = json.loads(FILES.read_text())
    return document


def test_there_is_a_file_of_every_case() -> None:
    assert set(stored()) == {architecture + keys for architecture, keys in cases()}


@pytest.mark.parametrize(("architecture", "keys"), cases())
def test_files_of_another_day_are_read_to_the_same_symbols(tmp_path: Path, architecture: str, keys: str) -> None:
    case = stored()[architecture + keys]
    codec = codec_of(tmp_path, architecture, keys)
    data = base64.b85decode(case["file"])
    symbols = codec.symbols(data)
    assert digest(symbols) == case["symbols"]
    assert len({int(value) for part in symbols for value in part.reshape(-1)}) > 8, "there is something to tell apart"
    assert codec.decode(data).shape == (70, 90, 3)


def write() -> None:
    """Write the files anew."""
    y, x = np.mgrid[0:70, 0:90]
    image = np.stack([(x * x // 7 + 3 * y * (plane + 1)) % 256 for plane in range(3)], -1).astype(np.uint8)
    document = {}
    with tempfile.TemporaryDirectory() as folder:
        for architecture, keys in cases():
            codec = codec_of(Path(folder), architecture, keys)
            data = codec.encode(image)
            document[architecture + keys] = {
                "file": base64.b85encode(data).decode(),
                "symbols": digest(codec.symbols(data)),
            }
    FILES.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    write()
