"""Kernels packed in few bits: the size, the rounding, and what damaged files say."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from rdp.errors import SpecError, WeightsError
from rdp.models.checkpoint import identity_of, load_model, read_header, save_model
from rdp.models.decoders import load_decoder, save_decoder
from rdp.models.packed_kernels import pack_kernels, unpack_kernels
from rdp.models.registry import create_model

HERE = Path("w.safetensors")


def small(**config: object) -> torch.nn.Module:
    torch.manual_seed(3)
    return create_model("hyperprior", **{"channels": 8, "latent_channels": 12, **config}).eval()


@pytest.mark.parametrize("bits", [2, 3, 7, 8, 10, 13, 15])
def test_every_number_moves_by_at_most_half_a_scale_and_the_largest_stays(bits: int) -> None:
    kernel = torch.randn(5, 3, 3, 2, generator=torch.Generator().manual_seed(bits))
    kernel[2] *= 1e-6
    kernel[3] = 0
    stored, texts = pack_kernels(HERE, {"a": kernel, "b": torch.ones(3)}, ["a"], bits)
    assert stored["a.packed"].numel() == -(-kernel.numel() * bits // 8)
    loaded = unpack_kernels(HERE, stored, texts)
    assert set(loaded) == {"a", "b"}
    largest = kernel.abs().amax((1, 2, 3), keepdim=True)
    half = largest / (2 ** (bits - 1) - 1) / 2
    assert bool(((loaded["a"] - kernel).abs() <= half * (1 + 1e-5)).all())
    torch.testing.assert_close(loaded["a"].abs().amax((1, 2, 3), keepdim=True), largest, rtol=1e-6, atol=0)
    assert not bool(loaded["a"][3].any())


def test_bits_stand_in_the_file_highest_first() -> None:
    kernel = torch.tensor([3.0, -3.0, 1.0, 0.0]).reshape(1, 1, 2, 2)
    stored, _ = pack_kernels(HERE, {"a": kernel}, ["a"], 3)
    # Numbers 3, -3, 1, 0 of a limit of 3 are stored as 6, 0, 4, 3: 110 000 10|0 011 0000.
    assert stored["a.packed"].tolist() == [0b11000010, 0b00110000]
    assert stored["a.scales"].tolist() == [1.0]


def test_a_packed_network_is_the_one_whose_identity_the_file_says(tmp_path: Path) -> None:
    model = small()
    header = save_model(tmp_path / "p.safetensors", model, {"steps": "3"}, kernel_bits=10)
    loaded = load_model(tmp_path / "p.safetensors")
    assert header.identity == identity_of(loaded).hex() == read_header(tmp_path / "p.safetensors").identity
    assert header.identity != identity_of(model).hex()
    assert dict(read_header(tmp_path / "p.safetensors").notes) == {"steps": "3"}
    whole = save_model(tmp_path / "w.safetensors", loaded)
    assert whole.identity == header.identity, "the network loaded from a packed file can be saved whole"
    for name, tensor in model.state_dict().items():
        if tensor.ndim != 4:
            assert torch.equal(tensor, loaded.state_dict()[name]), name


def test_ten_bits_take_less_than_two_thirds_of_the_bytes_of_sixteen(tmp_path: Path) -> None:
    model = small(channels=48, latent_channels=64)
    sizes = []
    for bits in (10, 16):
        save_model(tmp_path / f"{bits}.safetensors", model, kernel_bits=bits)
        sizes.append((tmp_path / f"{bits}.safetensors").stat().st_size)
    assert 0.6 < sizes[0] / sizes[1] < 0.66


def test_a_packed_decoder_decodes_for_its_encoder(tmp_path: Path) -> None:
    model = small()
    encoder = identity_of(model).hex()
    save_decoder(tmp_path / "d.safetensors", model, "g0", encoder, kernel_bits=10)
    decoder = load_decoder(tmp_path / "d.safetensors", model, encoder)
    latents = torch.randn(1, 12, 4, 4, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = model.synthesis(latents)
        difference = float((decoder(latents) - expected).abs().max() / expected.abs().max())
    assert 0 < difference < 0.01


@pytest.mark.parametrize("bits", [0, 1, 17, 31, 64])
def test_bits_that_there_are_not_are_refused(tmp_path: Path, bits: int) -> None:
    with pytest.raises(SpecError, match=rf"32 bits, 16, or 2 to 15; not in {bits}"):
        save_model(tmp_path / "p.safetensors", small(), kernel_bits=bits)
    assert not list(tmp_path.iterdir())


def test_a_kernel_that_is_not_finite_is_refused_by_name(tmp_path: Path) -> None:
    model = small()
    with torch.no_grad():
        model.synthesis[2].weight[1, 0, 2, 0] = float("nan")
    with pytest.raises(WeightsError, match=r"p\.safetensors was not written: synthesis\.2\.weight holds numbers that"):
        save_model(tmp_path / "p.safetensors", model, kernel_bits=10)


def damage(path: Path, what: str) -> None:
    """Change a packed file in one place."""
    tensors = load_file(path)
    with safe_open(path, "pt") as file:
        texts = dict(file.metadata())
    packed = json.loads(texts["packed"])
    name = "synthesis.0.weight"
    if what == "short":
        tensors[name + ".packed"] = tensors[name + ".packed"][:-1].contiguous()
    elif what == "no scales":
        del tensors[name + ".scales"]
    elif what == "scales":
        tensors[name + ".scales"] = tensors[name + ".scales"][:-1].contiguous()
    elif what == "shape":
        packed["shapes"][name] = [10**9, 10**9, 5, 5]
    elif what == "bits":
        packed["bits"] = 77
    elif what == "type":
        packed["shapes"] = 7
    elif what == "nothing packed":
        texts.pop("packed")
    if "packed" in texts:
        texts["packed"] = json.dumps(packed)
    save_file(tensors, path, texts)


@pytest.mark.parametrize("what", ["short", "no scales", "scales", "shape", "bits", "type", "nothing packed"])
def test_a_damaged_packed_file_says_so(tmp_path: Path, what: str) -> None:
    path = tmp_path / "p.safetensors"
    save_model(path, small(), kernel_bits=10)
    damage(path, what)
    with pytest.raises(WeightsError, match=r"p\.safetensors (is damaged: its packed kernels|does not fit)"):
        load_model(path)


def test_numbers_changed_in_the_encoder_part_are_found(tmp_path: Path) -> None:
    path = tmp_path / "p.safetensors"
    save_model(path, small(), kernel_bits=10)
    tensors = load_file(path)
    with safe_open(path, "pt") as file:
        texts = dict(file.metadata())
    tensors["analysis.0.weight.packed"] = tensors["analysis.0.weight.packed"] ^ 1
    save_file(tensors, path, texts)
    with pytest.raises(WeightsError, match="it was changed after it was written"):
        load_model(path)


def test_packing_is_exact_for_multiples_of_a_scale() -> None:
    numbers = np.random.default_rng(5).integers(-511, 512, (4, 6, 3, 3))
    numbers[:, 0, 0, 0] = 511
    scales = np.array([0.5, 1.0, 2.0, 0.25]).reshape(4, 1, 1, 1)
    kernel = torch.from_numpy((numbers * scales).astype(np.float32))
    stored, texts = pack_kernels(HERE, {"a": kernel}, ["a"], 10)
    assert torch.equal(unpack_kernels(HERE, stored, texts)["a"], kernel)
