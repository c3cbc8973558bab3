"""The adapter of MS-ILLM: points, errors that say what is missing, and, with the package, its strings and pictures.

The test with the package needs RDP_NEURALCOMPRESSION_PYTHON to name an interpreter that has it. Weights are random.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rdp.bitstream.container import unpack
from rdp.codecs import create_codec, parse_point, parse_points
from rdp.codecs.workers.codec import part_strings
from rdp.errors import DependencyError, SpecError, WeightsError

PYTHON = os.environ.get("RDP_NEURALCOMPRESSION_PYTHON", "")

# The package alone, with the calls of its own example of evaluation; writes its weights, strings and picture.
ALONE = """
import sys, numpy, torch
from neuralcompression.models import HiFiCAutoencoder
folder = sys.argv[1]
torch.set_num_threads(1)
torch.manual_seed(3)
net = HiFiCAutoencoder()
torch.save(net.state_dict(), f"{folder}/msillm_target_0.3bpp.ckpt")
net = net.eval()
net.update()
net.update_tensor_devices("compress")
x = torch.from_numpy(numpy.load(f"{folder}/image.npy")).permute(2, 0, 1)[None].float() / 255
with torch.no_grad():
    packed = net.compress(x, force_cpu=False)
    picture = net.decompress(packed, force_cpu=False).clamp(0.0, 1.0)
picture = (picture[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
strings = packed.latent_strings[0], packed.hyper_latent_strings[0]
numpy.savez(f"{folder}/alone.npz", picture, *[numpy.frombuffer(s, numpy.uint8) for s in strings])
"""


@pytest.mark.skipif(not PYTHON, reason="RDP_NEURALCOMPRESSION_PYTHON names no interpreter with neuralcompression")
@pytest.mark.slow
def test_files_hold_the_strings_and_give_the_picture_of_the_package_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, picture
) -> None:
    image = picture(70, 100)
    np.save(tmp_path / "image.npy", image)
    done = subprocess.run([PYTHON, "-c", ALONE, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    alone = list(np.load(tmp_path / "alone.npz").values())
    monkeypatch.setenv("RDP_WEIGHTS", str(tmp_path))
    codec = create_codec(parse_point("neuralcompression:quality=4"))
    data = codec.encode(image)
    lengths, body = part_strings(unpack(data).payload)
    assert lengths == [part.size for part in alone[1:]] and len(body) > 1000
    assert body == b"".join(part.tobytes() for part in alone[1:])
    decoded = codec.decode(data)
    assert decoded.shape == image.shape and decoded.std() > 1
    assert np.array_equal(decoded, alone[0])
    (tmp_path / "msillm_target_0.3bpp.ckpt").unlink()


def test_the_six_qualities_are_points() -> None:
    points = parse_points("neuralcompression:quality=1..6")
    assert [point.name for point in points] == [f"neuralcompression:model=msillm,quality={q}" for q in range(1, 7)]
    with pytest.raises(SpecError, match=r"it takes 1\.\.6"):
        parse_points("neuralcompression:quality=7")
    with pytest.raises(SpecError, match="it takes msillm"):
        parse_points("neuralcompression:model=noganms,quality=1")


@pytest.mark.skipif(importlib.util.find_spec("neuralcompression") is not None, reason="the package is here")
def test_without_the_package_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RDP_NEURALCOMPRESSION_PYTHON", raising=False)
    point = parse_point("neuralcompression:quality=1")
    with pytest.raises(DependencyError, match="pip install neuralcompression.*RDP_NEURALCOMPRESSION_PYTHON"):
        create_codec(point)
    monkeypatch.setenv("RDP_NEURALCOMPRESSION_PYTHON", sys.executable)
    with pytest.raises(DependencyError, match="has no such package .*neuralcompression"):
        create_codec(point)


def test_missing_weights_are_named_with_their_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter is this one, in front of whose packages lies the metadata of the library."""
    for name in ("neuralcompression", "torch"):
        folder = tmp_path / "site" / f"{name}-0.3.1.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.3.1\n")
    program = tmp_path / "python"
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{tmp_path}/site" exec "{sys.executable}" "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("RDP_NEURALCOMPRESSION_PYTHON", str(program))
    monkeypatch.setenv("RDP_HOME", str(tmp_path))
    monkeypatch.setenv("RDP_WEIGHTS", str(tmp_path / "here"))
    point = parse_point("neuralcompression:quality=3")
    with pytest.raises(WeightsError, match=r"download https://\S+/msillm_target_0\.14bpp\.ckpt, and name the folder"):
        create_codec(point)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "msillm_target_0.14bpp.ckpt").write_bytes(b"weights")
    codec = create_codec(point)
    assert codec.version == "neuralcompression 0.3.1, torch 0.3.1"
    first = codec.encoder_id
    (tmp_path / "here" / "msillm_target_0.14bpp.ckpt").write_bytes(b"others")
    assert create_codec(point).encoder_id != first
