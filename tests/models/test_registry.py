"""Networks by name and configuration."""

from __future__ import annotations

import pytest
import torch

from rdp.errors import SpecError
from rdp.models.activations import activation_names
from rdp.models.registry import architecture_names, create_model

SMALL = {name: {"channels": 4, "latent_channels": 6} for name in architecture_names()}
SMALL["shrinkage"]["hyper_channels"] = 4
SMALL["hific"] = {"width": 0.05, "residual_blocks": 1}


@pytest.mark.parametrize("architecture", architecture_names())
def test_name_and_config_build_the_same_network_again(architecture: str) -> None:
    model = create_model(architecture, **SMALL[architecture])
    again = create_model(architecture, **model.config)
    assert again.config == model.config
    shapes = [{name: tensor.shape for name, tensor in one.state_dict().items()} for one in (model, again)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("activation", activation_names())
@pytest.mark.parametrize("architecture", architecture_names())
def test_every_activation_goes_into_every_transform(architecture: str, activation: str) -> None:
    torch.manual_seed(0)
    model = create_model(architecture, **SMALL[architecture], activation=activation).eval()
    with torch.inference_mode():
        output = model(torch.rand(1, 3, 64, 64))
    assert output.x_hat.shape == (1, 3, 64, 64)
    assert bool(torch.isfinite(output.bits()).all())


def test_the_normalisation_of_hific_is_a_name_too() -> None:
    model = create_model("hific", width=0.05, residual_blocks=1, normalisation="gdn", activation="identity")
    assert model(torch.rand(1, 3, 64, 64)).x_hat.shape == (1, 3, 64, 64)


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("hyperpriro", {}, "Did you mean 'hyperprior'"),
        ("hyperprior", {"chanels": 8}, "Did you mean 'channels'"),
        ("hyperprior", {"channels": 0}, "out of range"),
        ("hyperprior", {"channels": -3}, "out of range"),
        ("hyperprior", {"channels": 10**12}, "out of range"),
        ("hyperprior", {"channels": 3.5}, "type"),
        ("hyperprior", {"channels": "8"}, "type"),
        ("hyperprior", {"channels": True}, "type"),
        ("hyperprior", {"name": "x"}, "unknown"),
        ("hific", {"width": float("inf")}, "out of range"),
        ("hific", {"residual_blocks": -1}, "out of range"),
        ("hific", {"signed": 1}, "type"),
        ("factorized", {"activation": "gdm"}, "Did you mean 'gdn'"),
    ],
)
def test_what_is_no_network_is_refused(name: str, config: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        create_model(name, **config)


@pytest.mark.parametrize("architecture", architecture_names())
def test_sides_that_are_no_multiples_of_the_stride_are_refused(architecture: str) -> None:
    """Else the reconstruction would be larger than the image, or layers would not fit."""
    model = create_model(architecture, **SMALL[architecture])
    for height, width in ((63, 64), (64, 65), (72, 64)):
        with pytest.raises(ValueError, match=f"{width}x{height} pixels.*multiples of {model.stride}"):
            model(torch.rand(1, 3, height, width))
