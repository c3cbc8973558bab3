"""Likelihoods are the masses of bins under their laws, to the last bin, with gradients that training can use."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from rdp.models.densities import LIKELIHOOD_BOUND, FactorizedDensity, gaussian_likelihood, laplace_likelihood

STEPS = [0.5, 2 / 3, 1.0, 1.5, 2.0]


def random_density(channels: int = 3, seed: int = 0) -> FactorizedDensity:
    """A density that is not at its initial values."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        density = FactorizedDensity(channels)
        for parameter in density.parameters():
            parameter += 0.5 * torch.randn_like(parameter)
    return density


def cumulative(density: FactorizedDensity, channel: int, x: float) -> float:
    """The distribution function of a channel, written out in Python's floats after the paper's appendix 6.1."""
    vector = [x]
    layers = len(density.matrices)
    for k in range(layers):
        matrix = density.matrices[k][channel].tolist()
        bias = density.biases[k][channel].tolist()
        vector = [
            sum(math.log1p(math.exp(w)) * v for w, v in zip(row, vector, strict=True)) + b[0]
            for row, b in zip(matrix, bias, strict=True)
        ]
        if k < layers - 1:
            factor = density.factors[k][channel].tolist()
            vector = [v + math.tanh(a[0]) * math.tanh(v) for v, a in zip(vector, factor, strict=True)]
    return 1 / (1 + math.exp(-vector[0]))


def test_the_parameters_have_the_shapes_that_checkpoints_have() -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in FactorizedDensity(7).state_dict().items()}
    layers = [(3, 1), (3, 3), (3, 3), (3, 3), (1, 3)]
    assert shapes == {
        **{f"matrices.{k}": (7, *layer) for k, layer in enumerate(layers)},
        **{f"biases.{k}": (7, layer[0], 1) for k, layer in enumerate(layers)},
        **{f"factors.{k}": (7, 3, 1) for k in range(4)},
        "quantiles": (7, 1, 3),
    }


@pytest.mark.parametrize("step", STEPS)
def test_a_factorized_likelihood_is_the_difference_of_the_distribution_function(step: float) -> None:
    density = random_density()
    values = torch.randn(2, 3, 2, 2, generator=torch.Generator().manual_seed(1)) * 4
    found = density.likelihood(values, step)
    for index in np.ndindex(*values.shape):
        x = values[index].item()
        expected = cumulative(density, index[1], x + step / 2) - cumulative(density, index[1], x - step / 2)
        assert found[index].item() == pytest.approx(expected, rel=1e-4, abs=1e-7)


def test_the_masses_of_all_bins_of_a_factorized_density_sum_to_one() -> None:
    values = torch.arange(-400.0, 401.0).expand(1, 3, 1, 801) + random_density().medians()[:, None, None]
    assert torch.allclose(random_density().likelihood(values).sum((0, 2, 3)), torch.ones(3), atol=1e-4)


def test_both_tails_of_a_factorized_density_keep_their_digits() -> None:
    """Far above the median the distribution function is 1 in float32, and the mass must not be 0 for that."""
    density = random_density()
    far = torch.tensor([-20.0, 20.0]).expand(1, 3, 1, 2)
    single, double = density.likelihood(far), density.double().likelihood(far.double())
    bounded = double == LIKELIHOOD_BOUND
    assert not bool(bounded.all())
    assert torch.allclose(single.double(), double, rtol=1e-3, atol=0)


def test_the_initial_density_covers_about_the_initial_scale() -> None:
    density = FactorizedDensity(5, init_scale=10.0)
    mass = density.likelihood(torch.zeros(1, 5, 1, 1), step=40.0)
    assert bool((mass > 0.5).all())
    assert torch.equal(density.medians(), torch.zeros(5))


def test_the_quantile_loss_trains_the_quantiles_to_median_and_tails_and_nothing_else() -> None:
    density = random_density(channels=2)
    before = {name: tensor.clone() for name, tensor in density.state_dict().items()}
    optimizer = torch.optim.Adam(density.parameters(), lr=0.2)
    start = density.quantile_loss().item()
    for step in range(1500):
        for group in optimizer.param_groups:
            group["lr"] = 0.2 * (1 - step / 1500)
        optimizer.zero_grad()
        density.quantile_loss().backward()
        optimizer.step()
    assert density.quantile_loss().item() < 0.02 * start
    after = density.state_dict()
    assert [name for name in after if not torch.equal(after[name], before[name])] == ["quantiles"]
    for channel in range(2):
        low, median, high = density.quantiles[channel, 0].tolist()
        assert cumulative(density, channel, median) == pytest.approx(0.5, abs=0.02)
        assert cumulative(density, channel, low) == pytest.approx(5e-10, rel=0.5)
        assert low < median < high


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("mean", [None, 0.3])
def test_a_gaussian_likelihood_is_that_of_scipy(step: float, mean: float | None) -> None:
    values = torch.linspace(-6, 6, 101)
    for scale in (0.11, 0.5, 1.0, 4.0):
        law = stats.norm(mean or 0, scale)
        # On the side below the mean, where the difference of the two is exact.
        distance = -np.abs(values.double().numpy() - (mean or 0)) + (mean or 0)
        expected = np.maximum(law.cdf(distance + step / 2) - law.cdf(distance - step / 2), LIKELIHOOD_BOUND)
        given_mean = None if mean is None else torch.tensor(mean)
        found = gaussian_likelihood(values, torch.tensor(scale), given_mean, step)
        assert np.allclose(found.numpy(), expected, rtol=2e-4, atol=1e-8)


@pytest.mark.parametrize("scale", [-3.0, 0.0, 1e-5, 0.05])
def test_a_scale_below_the_bound_counts_as_the_bound(scale: float) -> None:
    values = torch.linspace(-1, 1, 9)
    assert torch.equal(
        gaussian_likelihood(values, torch.tensor(scale)), gaussian_likelihood(values, torch.tensor(0.11))
    )


@pytest.mark.parametrize("step", STEPS)
def test_a_laplacian_likelihood_is_that_of_scipy(step: float) -> None:
    values = torch.linspace(-8, 8, 201)
    law = stats.laplace(0, math.sqrt(0.5))
    assert law.var() == pytest.approx(1)
    distance = -np.abs(values.double().numpy())
    expected = np.maximum(law.cdf(distance + step / 2) - law.cdf(distance - step / 2), LIKELIHOOD_BOUND)
    assert np.allclose(laplace_likelihood(values, step).numpy(), expected, rtol=1e-5, atol=1e-8)


@settings(deadline=None)
@given(step=st.floats(0.25, 4), shift=st.floats(-0.5, 0.5))
def test_the_masses_of_all_bins_of_a_law_sum_to_one(step: float, shift: float) -> None:
    values = (torch.arange(-300, 301, dtype=torch.float64) + shift) * step
    for masses in (
        laplace_likelihood(values, step),
        gaussian_likelihood(values, torch.tensor(2.0).double(), step=step),
    ):
        assert masses.sum().item() == pytest.approx(1, abs=1e-6)


LAWS: dict[str, Callable[[Tensor], Tensor]] = {
    "gaussian": lambda values: gaussian_likelihood(values, torch.full_like(values, 0.7)),
    "laplace": laplace_likelihood,
    "factorized": lambda values: random_density(channels=1).to(values.dtype).likelihood(values),
}


@pytest.mark.parametrize("law", list(LAWS))
def test_gradients_are_those_of_finite_differences(law: str) -> None:
    values = torch.tensor([-2.3, -1.1, -0.4, 0.2, 0.6, 1.9], dtype=torch.float64).reshape(1, 1, 2, 3)
    assert torch.autograd.gradcheck(LAWS[law], values.requires_grad_())


def test_the_gradients_of_the_density_and_of_scale_and_mean_are_those_of_finite_differences() -> None:
    density = random_density(channels=2).double()
    values = torch.randn(1, 2, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    trained = [parameter for name, parameter in density.named_parameters() if name != "quantiles"]
    assert torch.autograd.gradcheck(lambda *_: density.likelihood(values), trained)
    scale = torch.tensor([0.2, 0.5, 1.0, 3.0], dtype=torch.float64).reshape(1, 1, 2, 2).expand(1, 2, 2, 2)
    assert torch.autograd.gradcheck(
        lambda scale, mean: gaussian_likelihood(values, scale, mean),
        (scale.clone().requires_grad_(), values.flip(3).clone().requires_grad_()),
    )


@pytest.mark.parametrize("law", list(LAWS))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bits_and_their_gradients_are_finite_however_far_a_value_is(law: str, dtype: torch.dtype) -> None:
    values = torch.tensor([-1e6, -3e4, -50.0, 0.0, 50.0, 3e4, 1e6, 1.0], dtype=dtype).reshape(1, 1, 2, 4)
    values.requires_grad_()
    mass = LAWS[law](values.float() if law == "factorized" else values)
    assert mass.dtype == torch.float32
    assert mass.min() >= 0.99 * LIKELIHOOD_BOUND
    (-mass.log2().sum()).backward()
    assert values.grad is not None
    assert bool(values.grad.isfinite().all())


@pytest.mark.parametrize("law", list(LAWS))
def test_autocast_to_bfloat16_changes_no_likelihood(law: str) -> None:
    values = torch.linspace(-9, 9, 64).reshape(1, 1, 8, 8)
    plain = LAWS[law](values)
    with torch.autocast("cpu", torch.bfloat16):
        cast = LAWS[law](values)
        loss = random_density().quantile_loss()
    assert torch.equal(plain, cast)
    assert torch.equal(loss, random_density().quantile_loss())


@pytest.mark.parametrize("steps", [torch.tensor([0.5, 2.0]).reshape(2, 1, 1, 1)])
def test_every_image_may_have_its_own_step(steps: Tensor) -> None:
    values = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    density = random_density()
    laws: list[Callable[[Tensor, Any], Tensor]] = [
        laplace_likelihood,
        lambda v, s: gaussian_likelihood(v, torch.tensor(1.0), step=s),
        density.likelihood,
    ]
    for law in laws:
        together = law(values, steps)
        alone = torch.cat([law(values[i : i + 1], steps[i].item()) for i in range(2)])
        assert torch.allclose(together, alone, rtol=1e-5, atol=1e-9)
