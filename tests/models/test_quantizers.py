"""Quantisers round to the grid about the mean outside training, and stand in for it differentiably in training."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rdp.errors import SpecError
from rdp.models.quantizers import QUANTIZERS, create_quantizer, round_straight_through

STEPS = [0.5, 2 / 3, 1.0, 1.5, 2.0]


def latent(seed: int = 0, spread: float = 10) -> Tensor:
    return torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(seed)) * spread


@pytest.mark.parametrize("name", list(QUANTIZERS))
@pytest.mark.parametrize("step", STEPS)
def test_outside_training_every_quantizer_rounds_to_the_nearest_point_of_the_grid_about_the_mean(
    name: str, step: float
) -> None:
    y, mean = latent(0), latent(1)
    quantized = create_quantizer(name)(y, mean, step, training=False)
    assert torch.equal(quantized.for_synthesis, quantized.for_likelihood)
    bins = (quantized.for_synthesis - mean) / step
    assert torch.allclose(bins, bins.round(), atol=1e-4)
    assert (quantized.for_synthesis - y).abs().max() <= step / 2 + 1e-5


@settings(deadline=None)
@given(k=st.integers(-1000, 1000), offset=st.floats(-0.49, 0.49), mean=st.floats(-100, 100))
def test_the_bin_of_a_value_is_the_one_it_was_made_in(k: int, offset: float, mean: float) -> None:
    y = torch.tensor([[[[mean + k + offset]]]], dtype=torch.float64)
    centre = torch.tensor(mean, dtype=torch.float64)
    quantized = create_quantizer("ste")(y, centre, training=False).for_synthesis
    assert quantized.item() == pytest.approx(mean + k, abs=1e-9)


@pytest.mark.parametrize("step", STEPS)
def test_noise_is_uniform_over_one_bin_and_the_same_for_synthesis_and_likelihood(step: float) -> None:
    y = latent().expand(500, 2, 3, 4, 5).reshape(1000, 3, 4, 5)
    quantized = create_quantizer("noise")(
        y, latent(1)[:1], step, training=True, generator=torch.Generator().manual_seed(0)
    )
    assert quantized.for_synthesis is quantized.for_likelihood
    noise = (quantized.for_synthesis - y) / step
    assert noise.abs().max() <= 0.5 + 1e-4
    assert noise.mean().abs() < 0.01
    assert noise.var().item() == pytest.approx(1 / 12, rel=0.02)


def test_noise_comes_from_the_generator_that_is_given() -> None:
    quantizer = create_quantizer("noise")
    first, second, third = (
        quantizer(latent(), training=True, generator=torch.Generator().manual_seed(seed)).for_synthesis
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


@pytest.mark.parametrize("name", ["ste", "mixed"])
def test_straight_through_rounding_gives_exactly_what_is_given_outside_training(name: str) -> None:
    quantizer = create_quantizer(name)
    for step in STEPS:
        trained = quantizer(latent(0), latent(1), step, training=True).for_synthesis
        assert torch.equal(trained, quantizer(latent(0), latent(1), step, training=False).for_synthesis)


def test_mixed_has_noise_in_the_likelihood_only() -> None:
    y = latent()
    quantized = create_quantizer("mixed")(y, training=True)
    assert torch.equal(quantized.for_synthesis, y.round())
    assert not torch.equal(quantized.for_likelihood, y.round())
    assert (quantized.for_likelihood - y).abs().max() <= 0.5 + 1e-5


@pytest.mark.parametrize("name", list(QUANTIZERS))
def test_in_training_the_gradient_of_the_latent_is_one(name: str) -> None:
    y, mean = latent().requires_grad_(), latent(1).requires_grad_()
    quantized = create_quantizer(name)(y, mean, 0.5, training=True)
    for part in (quantized.for_synthesis, quantized.for_likelihood):
        (gradient,) = torch.autograd.grad(part.sum(), y, retain_graph=True)
        assert torch.equal(gradient, torch.ones_like(y))


def test_rounding_takes_ties_to_the_even_integer() -> None:
    assert round_straight_through(torch.tensor([-1.5, -0.5, 0.5, 1.5, 2.5])).tolist() == [-2, 0, 0, 2, 2]


@pytest.mark.parametrize("training", [True, False])
def test_large_integers_survive_a_latent_of_half_precision(training: bool) -> None:
    """Between 256 and 512 bfloat16 has only even numbers, and the latent may lie anywhere after adding the mean."""
    y = torch.full((1, 1, 1, 1), 300.0, dtype=torch.bfloat16)
    mean = torch.full((1, 1, 1, 1), 1.0, dtype=torch.bfloat16) / 3
    quantized = create_quantizer("ste")(y, mean, training=training).for_synthesis
    assert quantized.dtype == torch.float32
    assert quantized.item() == pytest.approx(300 + mean.item())


def test_an_unknown_quantizer_is_refused_with_a_suggestion() -> None:
    with pytest.raises(SpecError, match="unknown quantizer 'nois'. Did you mean 'noise'"):
        create_quantizer("nois")
