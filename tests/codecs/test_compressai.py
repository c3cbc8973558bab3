"""CompressAI's own models in its own interpreter: the same strings and pictures as the package gives when called alone.

Tests with the package need RDP_COMPRESSAI_PYTHON to name an interpreter that has it. Its weights are random here.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rdp.bitstream.container import Container, pack, unpack
from rdp.codecs import create_codec, parse_point, parse_points
from rdp.codecs.compressai import CompressAI
from rdp.codecs.workers.codec import part_strings
from rdp.errors import CodecError, DependencyError, FormatError, SpecError, WeightsError

PYTHON = os.environ.get("RDP_COMPRESSAI_PYTHON", "")
needs_package = pytest.mark.skipif(not PYTHON, reason="RDP_COMPRESSAI_PYTHON names no interpreter with compressai")

KINDS = {
    "bmshj2018-factorized": "FactorizedPrior",
    "bmshj2018-factorized-relu": "FactorizedPriorReLU",
    "bmshj2018-hyperprior": "ScaleHyperprior",
    "mbt2018-mean": "MeanScaleHyperprior",
    "mbt2018": "JointAutoregressiveHierarchicalPriors",
    "cheng2020-anchor": "Cheng2020Anchor",
    "cheng2020-attn": "Cheng2020Attention",
}

# The package alone: checkpoints of random weights; its own padding, its own compress and decompress, no adapter.
ALONE = """
import sys, json, numpy, torch, compressai.models as models
from compressai.ops import compute_padding
from torch.nn.functional import pad
torch.set_num_threads(1)
folder = sys.argv[1]
x = torch.from_numpy(numpy.load(f"{folder}/image.npy")).permute(2, 0, 1)[None].float() / 255
around, back = compute_padding(x.size(2), x.size(3), min_div=64)
convolutions = (torch.nn.Conv2d, torch.nn.ConvTranspose2d)
for name, kind in json.loads(sys.argv[2]).items():
    torch.manual_seed(len(name))
    net = getattr(models, kind)(*((8,) if "cheng" in name else (8, 12)))
    # Louder than at the start of training, and grey, so that symbols and pictures are not all zero.
    [layer for layer in net.g_a.modules() if isinstance(layer, convolutions)][-1].weight.data.mul_(100)
    [layer for layer in net.g_s.modules() if isinstance(layer, convolutions)][-1].bias.data.fill_(0.5)
    net.update()
    net.eval()
    torch.save({"state_dict": net.state_dict()}, f"{folder}/{name}.pth.tar")
    with torch.no_grad():
        out = net.compress(pad(x, around))
        x_hat = pad(net.decompress(**out)["x_hat"], back)
    picture = (x_hat[0].permute(1, 2, 0).clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    numpy.savez(f"{folder}/{name}.npz", picture, *[numpy.frombuffer(s[0], numpy.uint8) for s in out["strings"]])
"""


def run_package(*arguments: str) -> None:
    done = subprocess.run([PYTHON, "-c", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of checkpoints, an image, and what the package makes of it; a codec is held so that the worker stays."""
    folder = tmp_path_factory.mktemp("checkpoints")
    y, x = np.mgrid[0:50, 0:70]
    waves = np.stack([128 + 90 * np.sin(x / (3 + c)) * np.cos(y / (5 + c)) for c in range(3)], -1)
    np.save(folder / "image.npy", waves.astype(np.uint8))
    run_package(ALONE, str(folder), json.dumps(KINDS))
    held = codec_of("mbt2018-mean", folder)
    assert held.worker.pid is None
    yield folder
    held.worker.close()


def codec_of(model: str, folder: Path) -> CompressAI:
    codec = create_codec(parse_point(f'compressai:model={model},path="{folder / model}.pth.tar"'))
    assert isinstance(codec, CompressAI)
    return codec


@needs_package
@pytest.mark.slow
@pytest.mark.parametrize("model", KINDS)
def test_files_hold_the_strings_and_give_the_picture_of_the_package_alone(model: str, checkpoints: Path) -> None:
    image = np.load(checkpoints / "image.npy")
    alone = list(np.load(checkpoints / f"{model}.npz").values())
    codec = codec_of(model, checkpoints)
    data = codec.encode(image)
    lengths, body = part_strings(unpack(data).payload)
    assert lengths == [part.size for part in alone[1:]]
    assert body == b"".join(part.tobytes() for part in alone[1:])
    assert len(body) > 40, "the symbols are all zero, and the test shows nothing"
    # 17 bytes of container, a byte that says how many strings, and one or two a length.
    assert len(data) - len(body) <= 17 + 1 + 2
    decoded = codec.decode(data)
    assert decoded.dtype == np.uint8 and decoded.std() > 1
    assert np.array_equal(decoded, alone[0])


@needs_package
@pytest.mark.slow
def test_points_share_a_worker_and_refuse_the_files_of_each_other(checkpoints: Path, picture) -> None:
    mean, scale = codec_of("mbt2018-mean", checkpoints), codec_of("bmshj2018-hyperprior", checkpoints)
    image = picture(65, 1)
    data = mean.encode(image)
    assert mean.decode(data).shape == (65, 1, 3)
    assert mean.encoder_id != scale.encoder_id and mean.decoder_id != scale.decoder_id
    assert mean.version.startswith("compressai ") and ", torch " in mean.version
    with pytest.raises(FormatError, match="made by another model or other weights"):
        scale.decode(data)
    with pytest.raises(FormatError, match="checksum"):
        mean.decode(data[:-1] + bytes([data[-1] ^ 1]))
    found = unpack(data)
    short = pack(Container(found.identity, found.width, found.height, b"", b"\x02\x7f"))
    with pytest.raises(FormatError, match="do not fit"):
        mean.decode(short)
    scale.encode(image)
    assert mean.worker is scale.worker
    os.kill(mean.worker.pid, signal.SIGKILL)
    while mean.worker.pid is not None:
        time.sleep(0.01)
    assert mean.encode(image) == data


@needs_package
@pytest.mark.slow
def test_weights_of_another_model_are_told_in_the_words_of_the_package(
    checkpoints: Path, picture, tmp_path: Path
) -> None:
    wrong = create_codec(parse_point(f'compressai:model=mbt2018,path="{checkpoints}/mbt2018-mean.pth.tar"'))
    with pytest.raises(CodecError, match="compressai: RuntimeError: .*context_prediction"):
        wrong.encode(picture(8, 8))
    marker = tmp_path / "executed"
    evil = f"import torch, os\nclass E:\n  def __reduce__(self): return os.system, ('touch {marker}',)\n"
    run_package(evil + f"torch.save({{'state_dict': E()}}, '{tmp_path}/evil.pth.tar')")
    codec = create_codec(parse_point(f'compressai:model=mbt2018,path="{tmp_path}/evil.pth.tar"'))
    with pytest.raises(CodecError, match="evil.pth.tar is no checkpoint of tensors alone"):
        codec.encode(picture(8, 8))
    assert not marker.exists()


@needs_package
def test_published_weights_that_are_missing_or_wrong_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RDP_HOME", str(tmp_path))
    monkeypatch.setenv("RDP_WEIGHTS", str(tmp_path / "weights"))
    point = parse_point("compressai:model=mbt2018,quality=3")
    with pytest.raises(WeightsError, match="rdp weights fetch mbt2018-mse-3"):
        create_codec(point)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "mbt2018-3-22901978.pth.tar").write_bytes(b"something else")
    with pytest.raises(WeightsError, match="expected SHA-256 beginning 22901978"):
        create_codec(point)


def test_every_published_combination_is_a_point_and_has_its_entry() -> None:
    from rdp.weights import entries_used_by

    specs = [
        "compressai:model=bmshj2018-factorized|bmshj2018-hyperprior|mbt2018-mean|mbt2018,quality=1..8,metric=mse|ms-ssim"
    ]
    specs.append("compressai:model=cheng2020-anchor|cheng2020-attn,quality=1..6,metric=mse|ms-ssim")
    names = {point.name for point in parse_points(specs)}
    offered = {
        "compressai:" + ",".join(f"{k}={v}" for k, v in keys.items()) for keys, _ in entries_used_by("compressai")
    }
    assert names == offered and len(names) == 88
    for keys, entry in entries_used_by("compressai"):
        assert entry.name == f"{keys['model']}-{keys['metric']}-{keys['quality']}"


def test_a_point_is_spelled_with_its_metric_or_with_the_hash_of_its_file(tmp_path: Path) -> None:
    assert parse_point("compressai:quality=2,model=mbt2018").name == "compressai:model=mbt2018,quality=2,metric=mse"
    (tmp_path / "x.pth").write_bytes(b"abc")
    # SHA-256 of "abc" (FIPS 180-2, appendix B.1).
    name = parse_point(f'compressai:model=mbt2018,path="{tmp_path}/x.pth"').name
    assert name == "compressai:model=mbt2018,sha=ba7816bf8f01"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("model=mbt2018", "give either quality="),
        ("model=mbt2018,quality=1,sha=0123", "give either quality="),
        ("model=mbt2018,quality=9", r"it takes 1\.\.8"),
        ("model=cheng2020-attn,quality=7", r"quality=7 is not allowed; cheng2020-attn takes 1\.\.6"),
        ("model=bmshj2018-factorized-relu,quality=1", "published no weights of bmshj2018-factorized-relu"),
        ("model=mbt2018,sha=0123,metric=mse", "metric= goes with quality="),
        ("model=mbt2018,path=/no/such/file", "there is no file /no/such/file"),
        ("model=mbt2018,path=x,sha=0", "give path or sha, not both"),
        ("model=mbt2019,quality=1", "Did you mean 'mbt2018'"),
        ("quality=1", "key 'model' is missing"),
    ],
)
def test_points_that_there_are_not_are_refused(keys: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse_point(f"compressai:{keys}")


POINT = "compressai:model=mbt2018,quality=1"


@pytest.mark.skipif(importlib.util.find_spec("compressai") is not None, reason="compressai is in this environment")
def test_without_the_package_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RDP_COMPRESSAI_PYTHON", raising=False)
    with pytest.raises(DependencyError, match="pip install compressai.*environment variable RDP_COMPRESSAI_PYTHON"):
        create_codec(parse_point(POINT))
    monkeypatch.setenv("RDP_COMPRESSAI_PYTHON", sys.executable)
    with pytest.raises(DependencyError, match="has no such package .*compressai.*pip install compressai"):
        create_codec(parse_point(POINT))
    monkeypatch.setenv("RDP_COMPRESSAI_PYTHON", "/no/such/python")
    with pytest.raises(DependencyError, match="RDP_COMPRESSAI_PYTHON names /no/such/python, which is no program"):
        create_codec(parse_point(POINT))
