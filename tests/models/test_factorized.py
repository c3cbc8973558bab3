"""The factorised-prior autoencoder: its sizes, its rounding, and its estimate of the rate."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from rdp.errors import SpecError
from rdp.models.factorized import FactorizedPrior
from rdp.models.hyperprior import quality_config
from rdp.models.quantizers import QUANTIZERS
from rdp.models.registry import create_model


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("quality", range(1, 9))
def test_the_parameter_count_is_that_of_the_published_network(quality: int) -> None:
    """CompressAI 1.2.8, bmshj2018-factorized, all parameters."""
    with torch.device("meta"):
        model = FactorizedPrior(*quality_config("factorized", quality))
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count == (2_998_147 if quality < 6 else 7_030_531)


def test_latents_are_a_sixteenth_of_the_image_and_the_reconstruction_has_its_size() -> None:
    output = FactorizedPrior(8, 12)(torch.rand(2, 3, 32, 48))
    assert output.y.shape == output.y_hat.shape == output.likelihoods["y"].shape == (2, 12, 2, 3)
    assert output.x_hat.shape == (2, 3, 32, 48)
    assert output.bpp().shape == (2,)
    assert list(output.likelihoods) == ["y"]


@pytest.mark.parametrize("quantizer", list(QUANTIZERS))
def test_in_evaluation_the_latent_is_rounded_about_the_medians(quantizer: str) -> None:
    model = FactorizedPrior(8, 12, quantizer=quantizer).eval()
    with torch.no_grad():
        model.prior.quantiles += torch.randn_like(model.prior.quantiles)
        model.analysis[6].weight *= 30
        output = model(torch.rand(1, 3, 64, 64))
    medians = model.prior.medians()[:, None, None]
    bins = output.y_hat - medians
    assert torch.allclose(bins, bins.round(), atol=1e-5)
    assert bins.abs().max() > 0.5
    assert (output.y_hat - output.y).abs().max() <= 0.5 + 1e-5
    assert torch.equal(output.likelihoods["y"], model.prior.likelihood(output.y_hat))


@pytest.mark.parametrize("quantizer", list(QUANTIZERS))
def test_in_training_every_parameter_but_the_quantiles_has_a_gradient(quantizer: str) -> None:
    model = FactorizedPrior(8, 12, quantizer=quantizer)
    output = model(torch.rand(2, 3, 64, 64))
    (output.bpp().sum() + output.x_hat.square().sum()).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == ["prior.quantiles"]
    model.auxiliary_loss().backward()
    assert model.prior.quantiles.grad is not None
    assert model.prior.quantiles.grad.abs().sum() > 0


@pytest.mark.parametrize("activation", ["gdn", "1dn", "gsdn", "shrinkage", "relu", "leaky_relu", "channel_norm"])
def test_every_activation_makes_a_network_that_its_config_makes_again(activation: str) -> None:
    model = create_model("factorized", channels=8, latent_channels=12, activation=activation).eval()
    again = create_model(model.architecture, **model.config).eval()
    again.load_state_dict(model.state_dict())
    x = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(model(x).x_hat, again(x).x_hat)
    other = create_model("factorized", channels=8, latent_channels=12, activation="identity")
    assert [type(layer) for layer in other.synthesis] != [type(layer) for layer in model.synthesis]


@pytest.mark.parametrize("names", [{"activation": "gnd"}, {"quantizer": "sta"}])
def test_an_unknown_name_is_refused_with_a_suggestion(names: dict[str, str]) -> None:
    with pytest.raises(SpecError, match="Did you mean"):
        FactorizedPrior(8, 12, **names)


def test_autocast_to_bfloat16_trains_with_likelihoods_in_float32() -> None:
    model = FactorizedPrior(8, 12)
    with torch.autocast("cpu", torch.bfloat16):
        output = model(torch.rand(2, 3, 64, 64))
        loss = output.bpp().sum() + output.x_hat.float().square().mean()
    assert output.y.dtype == torch.bfloat16
    assert output.likelihoods["y"].dtype == output.y_hat.dtype == torch.float32
    loss.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)
