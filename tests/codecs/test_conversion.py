"""Checkpoints of other projects become files of rdp: recognised without loading, converted, refused with reasons."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from rdp.cli.weights import weights_app
from rdp.codecs.conversion import COMPRESSAI, HIFIC, convert_weights, recognise
from rdp.errors import WeightsError
from rdp.models.checkpoint import load_model, read_header
from rdp.models.factorized import FactorizedPrior


def foreign_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A state dict of our factorised network under CompressAI's names."""
    names = {"analysis": "g_a", "synthesis": "g_s", "prior": "entropy_bottleneck"}
    singular = {"matrices.": "_matrix", "biases.": "_bias", "factors.": "_factor"}
    renamed = {}
    for key, tensor in state.items():
        module, _, rest = key.partition(".")
        for ours, theirs in singular.items():
            rest = rest.replace(ours, theirs)
        renamed[f"{names[module]}.{rest}"] = tensor
    return renamed


@pytest.fixture
def network() -> FactorizedPrior:
    torch.manual_seed(4)
    return FactorizedPrior(8, 12).eval()


@pytest.fixture(params=["zip", "legacy", "wrapped"])
def checkpoint(request: pytest.FixtureRequest, tmp_path: Path, network: FactorizedPrior) -> Path:
    path = tmp_path / "bmshj.pth.tar"
    state = foreign_names(network.state_dict())
    document = {"epoch": 3, "state_dict": state} if request.param == "wrapped" else state
    torch.save(document, path, _use_new_zipfile_serialization=request.param != "legacy")
    return path


def test_a_checkpoint_of_compressai_becomes_a_file_that_computes_the_same(
    checkpoint: Path, network: FactorizedPrior, tmp_path: Path
) -> None:
    out = tmp_path / "model.safetensors"
    assert recognise(checkpoint) == COMPRESSAI
    done = convert_weights(checkpoint, out)
    assert (done.kind, done.architecture, done.published_as) == (COMPRESSAI, "factorized", "")
    assert done.config["channels"] == 8 and done.config["latent_channels"] == 12
    assert done.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert done.nbytes == out.stat().st_size and done.point == f"checkpoint:path={out}"
    assert read_header(out).notes["source"] == "bmshj.pth.tar"
    image = torch.rand(1, 3, 32, 48)
    with torch.no_grad():
        assert torch.equal(load_model(out)(image).x_hat, network(image).x_hat)


def test_the_command_prints_what_it_recognised_and_the_point_to_use(tmp_path: Path, network: FactorizedPrior) -> None:
    path, out = tmp_path / "a.pth.tar", tmp_path / "a.safetensors"
    torch.save(foreign_names(network.state_dict()), path)
    result = CliRunner().invoke(weights_app, ["convert", str(path), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "a checkpoint of CompressAI" in result.stdout and "channels=8" in result.stdout
    assert f"checkpoint:path={out}" in result.stdout
    again = CliRunner().invoke(weights_app, ["convert", str(path), "--out", str(out)])
    assert isinstance(again.exception, WeightsError) and "--force overwrites it" in str(again.exception)
    forced = CliRunner().invoke(weights_app, ["convert", str(path), "--out", str(out), "--force", "--json"])
    document = json.loads(forced.stdout)
    assert document["architecture"] == "factorized" and document["parameters"] == 13627
    assert document["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()


def test_a_converted_checkpoint_is_a_codec(tmp_path: Path, network: FactorizedPrior, picture) -> None:
    from rdp.codecs import create_codec, parse_point

    torch.save(foreign_names(network.state_dict()), tmp_path / "a.pth.tar")
    done = convert_weights(tmp_path / "a.pth.tar", tmp_path / "a.safetensors")
    codec = create_codec(parse_point(done.point))
    image = picture(40, 50)
    assert codec.decode(codec.encode(image)).shape == image.shape


def test_keys_of_an_encoder_are_recognised_as_hific(tmp_path: Path) -> None:
    keys = (
        "Encoder.conv_block1.1.weight",
        "Generator.conv_block_init.1.weight",
        "Hyperprior.analysis_net.conv1.weight",
    )
    torch.save({"model_state_dict": {key: torch.zeros(1) for key in keys}}, tmp_path / "hific.pt")
    assert recognise(tmp_path / "hific.pt") == HIFIC


class Evil:
    """Something that runs a command when a pickle of it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_checkpoint_that_would_run_code_is_refused_and_runs_none(tmp_path: Path, legacy: bool) -> None:
    marker = tmp_path / "executed"
    path = tmp_path / "evil.pth.tar"
    document = {"g_a.0.weight": torch.zeros(1), "more": Evil(marker)}
    torch.save(document, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(WeightsError, match="evil.pth.tar"):
        convert_weights(path, tmp_path / "out.safetensors")
    path.write_bytes(pickle.dumps({"g_a.0.weight": Evil(marker)}))
    with pytest.raises(WeightsError, match="evil.pth.tar"):
        convert_weights(path, tmp_path / "out.safetensors")
    assert not marker.exists() and not (tmp_path / "out.safetensors").exists()


def test_what_is_no_known_checkpoint_is_refused_by_name(tmp_path: Path) -> None:
    torch.save({"layer.weight": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match=r"other\.pt is no checkpoint that can be converted: .*g_a\.0\.weight"):
        convert_weights(tmp_path / "other.pt", tmp_path / "o.safetensors")
    with pytest.raises(WeightsError, match=r"cannot read .*none\.pt"):
        convert_weights(tmp_path / "none.pt", tmp_path / "o.safetensors")
    for name, data in {"empty.pt": b"", "text.pt": b"hello", "cut.pt": b"\x80\x02]q\x01"}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(WeightsError, match=name):
            convert_weights(tmp_path / name, tmp_path / "o.safetensors")


def test_targets_that_cannot_be_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    source = tmp_path / "none.pt"
    for target, message in {
        tmp_path / "m.pt": "are .safetensors files",
        tmp_path / "no" / "m.safetensors": "there is no folder",
    }.items():
        with pytest.raises(WeightsError, match=message):
            convert_weights(source, target)
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(WeightsError, match="no ordinary file"):
        convert_weights(source, tmp_path / "folder.safetensors", force=True)
    (tmp_path / "same.safetensors").write_bytes(b"x")
    with pytest.raises(WeightsError, match="is the checkpoint itself"):
        convert_weights(tmp_path / "same.safetensors", tmp_path / "same.safetensors", force=True)


@pytest.mark.parametrize("position", range(0, 1200, 60))
def test_a_damaged_checkpoint_is_converted_or_refused_and_nothing_else(
    position: int, tmp_path: Path, network: FactorizedPrior
) -> None:
    path = tmp_path / "a.pth"
    torch.save(foreign_names(network.state_dict()), path, _use_new_zipfile_serialization=position % 120 == 0)
    data = bytearray(path.read_bytes())
    data[position] ^= 0x55
    path.write_bytes(data)
    try:
        convert_weights(path, tmp_path / "a.safetensors")
    except WeightsError as error:
        assert "a.pth" in str(error)
