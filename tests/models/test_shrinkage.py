"""The shrinkage network: its law, its steps, its counts, and that it trains."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from rdp.errors import SpecError
from rdp.models.activations import HardShrinkage
from rdp.models.densities import laplace_likelihood
from rdp.models.registry import create_model
from rdp.models.shrinkage import SIGMA_BOUND, STEPS, ShrinkageHyperprior, fixed_law_floor


def _small(**options: object) -> ShrinkageHyperprior:
    torch.manual_seed(3)
    return ShrinkageHyperprior(channels=12, latent_channels=16, hyper_channels=8, **options)


def _images(count: int = 2) -> Tensor:
    """Smooth pictures with an edge, (N, 3, 64, 64) in [0, 1]."""
    y, x = torch.meshgrid(torch.linspace(0, 1, 64), torch.linspace(0, 1, 64), indexing="ij")
    planes = [
        torch.stack([0.5 + 0.3 * torch.sin(6 * x + n + c) * torch.cos(9 * y) + 0.2 * (x > y) for c in range(3)])
        for n in range(count)
    ]
    return torch.stack(planes).clamp(0, 1)


@pytest.mark.parametrize("activation", ["shrinkage", "gdn"])
def test_a_forward_pass_has_the_shapes_of_the_contract(activation: str) -> None:
    model = _small(activation=activation).eval()
    output = model(_images())
    assert output.x_hat.shape == (2, 3, 64, 64)
    assert output.y.shape == output.y_hat.shape == output.y_norm.shape == (2, 16, 4, 4)
    assert output.likelihoods["y"].shape == (2, 16, 4, 4)
    assert output.likelihoods["z"].shape == (2, 8, 1, 1)
    assert output.bpp().shape == (2,)
    assert model.config == {
        "channels": 12,
        "latent_channels": 16,
        "hyper_channels": 8,
        "activation": activation,
        "quantizer": "noise",
        "tables": "trained",
    }
    assert isinstance(create_model("shrinkage", **model.config), ShrinkageHyperprior)


def test_the_transforms_of_the_two_networks_differ_in_their_activations_alone() -> None:
    """Shrinkage has one parameter a channel, GDN one a pair of channels and one a channel (section 3.2)."""
    counts = {
        name: sum(p.numel() for p in ShrinkageHyperprior(activation=name).parameters()) for name in ("shrinkage", "gdn")
    }
    assert counts["gdn"] - counts["shrinkage"] == 6 * (128 * 128 + 128) - 6 * 128


def test_the_number_of_parameters_is_the_sum_over_the_layers() -> None:
    n, m, h = 128, 192, 128
    analysis = (3 * n + 2 * n * n + n * m) * 25 + 3 * n + m
    synthesis = 4 * 25 * (m * n + 2 * n * n + n * 3) + 4 * (3 * n + 3)
    hyper_analysis = 9 * m * h + 2 * 25 * h * h + 3 * h
    hyper_synthesis = 2 * (4 * 25 * h * h + 4 * h) + 9 * h * 2 * m + 2 * m
    density = (3 + 9 + 9 + 9 + 3) + (3 + 3 + 3 + 3 + 1) + 4 * 3 + 3
    model = ShrinkageHyperprior()
    expected = analysis + synthesis + 6 * n + hyper_analysis + hyper_synthesis + density * (h + m)
    assert sum(p.numel() for p in model.parameters()) == expected == 11_999_756


def test_in_evaluation_the_normalised_latent_is_a_multiple_of_the_step() -> None:
    model = _small().eval()
    for step in STEPS:
        output = model(_images(), step=step)
        multiples = output.y_norm / step
        assert torch.allclose(multiples, multiples.round(), atol=1e-5)
        z = model.hyper_analyse(output.y)
        medians = model.prior.medians().reshape(1, -1, 1, 1)
        law = model.latent_law(model.hyper_synthesis(torch.round(z - medians) + medians))
        torch.testing.assert_close(output.y_hat, law.scale * output.y_norm + law.mean)
        assert ((output.y_hat - output.y).abs() <= law.scale * step / 2 * 1.001).all()


def test_the_network_sees_images_in_minus_1_to_1() -> None:
    model = _small().eval()
    seen: list[Tensor] = []
    model.analysis.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    model.analyse(torch.tensor([0.0, 0.5, 1.0]).reshape(1, 3, 1, 1).expand(1, 3, 64, 64))
    assert [plane.unique().tolist() for plane in seen[0][0]] == [[-1.0], [0.0], [1.0]]


def test_scales_come_before_means_and_are_bounded_magnitudes() -> None:
    model = _small()
    hyper = torch.randn(1, 32, 4, 4)
    hyper[0, 0] = 0
    law = model.latent_law(hyper)
    torch.testing.assert_close(law.scale, hyper[:, :16].abs().clamp_min(SIGMA_BOUND))
    assert torch.equal(law.mean, hyper[:, 16:])


@pytest.mark.parametrize("step", STEPS)
def test_the_bins_of_the_fixed_law_sum_to_1_and_have_its_variance(step: float) -> None:
    """Against the integral: the bins of a Laplacian of variance 1."""
    values = torch.arange(-40, 41, dtype=torch.float64) * step
    mass = laplace_likelihood(values, step)
    assert mass.sum().item() == pytest.approx(1, abs=1e-6)
    b = math.sqrt(0.5)
    assert mass[40].item() == pytest.approx(1 - math.exp(-step / 2 / b))
    assert mass[41].item() == pytest.approx(0.5 * (math.exp(-step / 2 / b) - math.exp(-1.5 * step / b)))


def test_the_floor_of_the_fixed_law_is_074_bit_a_pixel_with_192_channels() -> None:
    assert fixed_law_floor(192, 1.0) == pytest.approx(0.7351, abs=1e-4)
    zero = laplace_likelihood(torch.zeros(1, 192, 4, 4), 1.0)
    assert -zero.log2().sum().item() / 64**2 == pytest.approx(fixed_law_floor(192, 1.0), rel=1e-5)


def test_a_larger_step_costs_fewer_bits() -> None:
    model = _small().eval()
    bits = [model(_images(), step=step).bits().sum().item() for step in STEPS]
    assert bits == sorted(bits, reverse=True)
    assert len(set(bits)) == len(bits)


@pytest.mark.parametrize("step", [0.0, -1.0, math.nan, math.inf])
def test_a_step_that_is_none_is_refused(step: float) -> None:
    with pytest.raises(SpecError, match="must be above 0"):
        _small()(_images(), step=step)


def test_a_network_with_the_fixed_law_alone_has_no_trained_one() -> None:
    model = _small(tables="fixed")
    assert model.trained_law is None
    with pytest.raises(SpecError, match="no trained law"):
        model.trained_likelihood(torch.zeros(1, 16, 4, 4))
    with pytest.raises(SpecError, match="Did you mean 'fixed'"):
        _small(tables="fixd")


def test_gradients_reach_every_parameter() -> None:
    model = _small(quantizer="mixed").train()
    output = model(_images())
    loss = output.bits().mean() + 1000 * (output.x_hat - _images()).square().mean()
    (loss + model.trained_law_bits(output).mean() + model.auxiliary_loss()).backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert not without
    thetas = [module.theta.grad for module in model.modules() if isinstance(module, HardShrinkage)]
    assert len(thetas) == 6
    assert all(grad is not None and grad.abs().sum() > 0 for grad in thetas)


def test_the_loss_of_the_trained_law_leaves_the_transforms_alone() -> None:
    model = _small().train()
    model.trained_law_bits(model(_images())).sum().backward()
    trained = {name.split(".")[0] for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert trained == {"trained_law"}


@pytest.mark.parametrize("activation", ["shrinkage", "gdn"])
def test_a_few_steps_of_training_lower_the_loss_and_move_theta(activation: str) -> None:
    model = _small(activation=activation).train()
    thetas = [module.theta for module in model.modules() if isinstance(module, HardShrinkage)]
    before = [theta.detach().clone() for theta in thetas]
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(25):
        output = model(_images())
        loss = output.bpp().mean() + 144 * (output.x_hat - _images()).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])
    for old, theta in zip(before, thetas, strict=True):
        assert (theta.detach() - old).abs().max() > 1e-3


def test_the_trained_law_learns_that_a_latent_is_always_0() -> None:
    """What the fixed law can never say: under it each of these symbols costs 0.98 bit."""
    model = _small()
    law = model.trained_law
    assert law is not None
    optimizer = torch.optim.Adam(law.parameters(), lr=0.05)
    generator = torch.Generator().manual_seed(1)
    for _ in range(200):
        noise = torch.rand(2, 16, 4, 4, generator=generator) - 0.5
        loss = -model.trained_likelihood(noise).log2().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert -model.trained_likelihood(torch.zeros(1, 16, 4, 4)).log2().mean().item() < 0.3
