"""Decoders as files of their own: whose files they decode, what they are called, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rdp.errors import SpecError, WeightsError
from rdp.models.base import CompressionModel
from rdp.models.checkpoint import identity_of, read_header, save_model
from rdp.models.decoders import gamma_name, is_decoder, load_decoder, read_decoder_header, save_decoder
from rdp.models.registry import create_model

ARCHITECTURES = ("factorized", "hyperprior", "shrinkage", "hific")
SMALL = {"channels": 4, "latent_channels": 6}
HIFIC = {"width": 0.02, "latent_channels": 6, "hyper_channels": 6, "residual_blocks": 1}


def network(architecture: str = "hyperprior", seed: int = 0) -> CompressionModel:
    torch.manual_seed(seed)
    return create_model(architecture, **(HIFIC if architecture == "hific" else SMALL)).eval()


def tuned(model: CompressionModel) -> CompressionModel:
    """The network with another decoder."""
    torch.manual_seed(9)
    with torch.no_grad():
        for parameter in model.synthesis.parameters():
            parameter.add_(0.01 * torch.rand_like(parameter))
    return model


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_decoder_comes_back_as_it_went_and_fits_the_network_it_was_tuned_from(
    tmp_path: Path, architecture: str
) -> None:
    model = network(architecture)
    encoder = identity_of(model).hex()
    other = tuned(network(architecture))
    assert identity_of(other).hex() == encoder
    header = save_decoder(tmp_path / "d.safetensors", other, "g1e-4", encoder, {"gamma": "0.0001"})
    assert header == read_decoder_header(tmp_path / "d.safetensors")
    decoder = load_decoder(tmp_path / "d.safetensors", model, encoder)
    with torch.no_grad():
        y_hat = model.analyse(torch.rand(1, 3, 64, 64)).round()
        assert torch.equal(decoder(y_hat), other.synthesis(y_hat))
        assert not torch.equal(decoder(y_hat), model.synthesis(y_hat))


def test_half_the_size_rounds_kernels_and_changes_no_identity(tmp_path: Path) -> None:
    model = network()
    encoder = identity_of(model).hex()
    whole = save_decoder(tmp_path / "w.safetensors", model, "g0", encoder)
    half = save_decoder(tmp_path / "h.safetensors", model, "g0", encoder, kernel_bits=16)
    assert half.encoder == whole.encoder
    assert half.path.stat().st_size < 0.75 * whole.path.stat().st_size
    decoder = load_decoder(half.path, model, encoder)
    for name, parameter in model.synthesis.state_dict().items():
        assert torch.allclose(decoder.state_dict()[name], parameter, rtol=2**-11, atol=2**-24)


def test_the_decoder_of_another_encoder_is_refused_by_both_identities(tmp_path: Path) -> None:
    model, other = network(), network(seed=1)
    encoder, stranger = identity_of(model).hex(), identity_of(other).hex()
    save_decoder(tmp_path / "d.safetensors", model, "g0", encoder)
    with pytest.raises(WeightsError, match=f"{encoder}.*{stranger}"):
        load_decoder(tmp_path / "d.safetensors", other, stranger)


def test_a_decoder_of_other_widths_is_refused(tmp_path: Path) -> None:
    model = network()
    encoder = identity_of(model).hex()
    wider = create_model("hyperprior", channels=6, latent_channels=6)
    save_decoder(tmp_path / "d.safetensors", wider, "g0", encoder)
    with pytest.raises(WeightsError, match="does not fit"):
        load_decoder(tmp_path / "d.safetensors", model, encoder)


def test_networks_and_decoders_are_told_apart(tmp_path: Path) -> None:
    model = network()
    save_model(tmp_path / "n.safetensors", model)
    save_decoder(tmp_path / "d.safetensors", model, "g0", identity_of(model).hex())
    assert is_decoder(tmp_path / "d.safetensors")
    assert not is_decoder(tmp_path / "n.safetensors")
    with pytest.raises(WeightsError, match="no decoder"):
        read_decoder_header(tmp_path / "n.safetensors")
    with pytest.raises(WeightsError, match="decoder"):
        read_header(tmp_path / "d.safetensors")


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    model = network()
    with torch.no_grad():
        next(model.synthesis.parameters()).view(-1)[0] = float("nan")
    save_decoder(tmp_path / "d.safetensors", model, "g0", identity_of(model).hex())
    with pytest.raises(WeightsError, match="not finite"):
        load_decoder(tmp_path / "d.safetensors", model, identity_of(model).hex())


@pytest.mark.parametrize(
    ("gamma", "name"),
    [("1e-4", "g1e-4"), (0.0001, "g1e-4"), ("0.00050", "g5e-4"), (0, "g0"), ("2.5e-3", "g2.5e-3"), (3, "g3"),
     (20, "g2e1"), ("1e-02", "g1e-2")],
)  # fmt: skip
def test_equal_gammas_have_equal_names(gamma: object, name: str) -> None:
    assert gamma_name(gamma) == name  # type: ignore[arg-type]


@pytest.mark.parametrize("gamma", ["-1", "nan", "inf", "much"])
def test_what_is_no_gamma_is_refused(gamma: str) -> None:
    with pytest.raises(SpecError, match="gamma"):
        gamma_name(gamma)


@pytest.mark.parametrize("name", ["mse", "", "G1", "a..b", "a*b", "1e-4", "a,b", "mse+0.3"])
def test_names_that_a_point_could_not_hold_are_refused(tmp_path: Path, name: str) -> None:
    model = network()
    with pytest.raises(SpecError, match="name for a decoder"):
        save_decoder(tmp_path / "d.safetensors", model, name, identity_of(model).hex())
    assert not list(tmp_path.iterdir())


def test_a_disk_that_refuses_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    model = network()
    with pytest.raises(WeightsError, match="cannot write"):
        save_decoder(tmp_path / "missing" / "d.safetensors", model, "g0", identity_of(model).hex())
