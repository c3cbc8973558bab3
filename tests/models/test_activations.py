"""The activations against loops over their formulas, and hard shrinkage against its definition."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from rdp.errors import SpecError
from rdp.models.activations import (
    GDN,
    GSDN,
    ChannelNorm,
    HardShrinkage,
    OneDN,
    activation_names,
    create_activation,
)

CHANNELS = 5


def _random(module: nn.Module, seed: int = 1) -> nn.Module:
    """The module with parameters that no symmetry hides behind, some of them below their bounds."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.rand(parameter.shape, generator=generator) * 1.2 - 0.2)
    return module


def _input(seed: int = 2, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(2, CHANNELS, 3, 4, generator=torch.Generator().manual_seed(seed)).to(dtype)


def _stored(parameter: Tensor, bound: float) -> list:
    """The value of a stored parameter: max(p, bound)^2 - 2^-36, in Python's own numbers."""
    return [
        [max(p, bound) ** 2 - 2.0**-36 for p in row] if isinstance(row, list) else max(row, bound) ** 2 - 2.0**-36
        for row in parameter.tolist()
    ]


def _normalised(module: GDN, x: Tensor) -> Tensor:
    """A divisive normalisation value by value."""
    beta, gamma = _stored(module.beta, math.sqrt(1e-6 + 2.0**-36)), _stored(module.gamma, 2.0**-18)
    result = torch.empty_like(x, dtype=torch.float64)
    for n in range(x.shape[0]):
        for row in range(x.shape[2]):
            for column in range(x.shape[3]):
                values = x[n, :, row, column].tolist()
                for i, value in enumerate(values):
                    power = 1 if isinstance(module, OneDN) else 2
                    norm = beta[i] + sum(gamma[i][j] * abs(other) ** power for j, other in enumerate(values))
                    norm = norm if power == 1 else math.sqrt(norm)
                    mean = 0.0
                    if isinstance(module, GSDN):
                        tau, nu = module.tau.tolist(), module.nu.tolist()
                        mean = nu[i] + sum(tau[i][j] * other for j, other in enumerate(values))
                    out = value * norm + mean if module.inverse else (value - mean) / norm
                    result[n, i, row, column] = out
    return result


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("kind", [GDN, OneDN, GSDN])
def test_a_divisive_normalisation_equals_a_loop_over_its_formula(kind: type[GDN], inverse: bool) -> None:
    module = _random(kind(CHANNELS, inverse))
    x = _input()
    expected = _normalised(module, x)
    torch.testing.assert_close(module(x).double(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(module(x.to(memory_format=torch.channels_last)).double(), expected, rtol=1e-5, atol=1e-6)


def test_gdn_begins_with_beta_1_and_gamma_a_tenth_on_the_diagonal() -> None:
    module = GDN(CHANNELS)
    torch.testing.assert_close(module.effective_beta(), torch.ones(CHANNELS))
    torch.testing.assert_close(module.effective_gamma(), 0.1 * torch.eye(CHANNELS))


def test_gdn_keeps_beta_positive_and_gamma_non_negative_whatever_is_stored() -> None:
    module = GDN(CHANNELS)
    with torch.no_grad():
        module.beta.fill_(-3)
        module.gamma.fill_(-3)
    assert (module.effective_beta() > 0.99e-6).all()
    assert (module.effective_gamma() >= 0).all()


@pytest.mark.parametrize("kind", [GDN, OneDN])
def test_the_inverse_undoes_the_normalisation_where_the_norm_is_constant(kind: type[GDN]) -> None:
    """With gamma = 0 both work with beta alone; in general the inverse is none, as the field's."""
    forward, back = kind(CHANNELS), kind(CHANNELS, inverse=True)
    with torch.no_grad():
        for module in (forward, back):
            module.gamma.zero_()
            module.beta.copy_(torch.linspace(0.5, 2, CHANNELS))
    torch.testing.assert_close(back(forward(_input())), _input())


def test_the_inverse_of_gsdn_adds_what_the_forward_one_subtracts() -> None:
    """With gamma = tau = 0 both are affine, and undo one another where the shift is on the other side of the scale."""
    forward, back = GSDN(CHANNELS), GSDN(CHANNELS, inverse=True)
    with torch.no_grad():
        for module in (forward, back):
            module.gamma.zero_()
            module.tau.zero_()
            module.nu.copy_(torch.linspace(-1, 1, CHANNELS))
            module.beta.copy_(torch.linspace(0.5, 2, CHANNELS))
    torch.testing.assert_close(back(forward(_input())), _input())
    assert not torch.allclose(forward(_input()), GDN(CHANNELS)(_input()))


def test_gsdn_without_a_shift_is_gdn() -> None:
    shifted, plain = GSDN(CHANNELS), GDN(CHANNELS)
    with torch.no_grad():
        shifted.tau.zero_()
    torch.testing.assert_close(shifted(_input()), plain(_input()))


@pytest.mark.parametrize("name", ["gdn", "1dn", "gsdn", "channel_norm"])
def test_normalisations_sum_in_float32_under_autocast(name: str) -> None:
    module = _random(create_activation(name, CHANNELS))
    x = _input(dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = module(x)
    assert low.dtype == torch.bfloat16
    assert torch.equal(low, module(x.float()).to(torch.bfloat16))


def test_channel_norm_equals_a_loop_over_its_formula() -> None:
    module = _random(ChannelNorm(CHANNELS))
    x = _input()
    result = module(x)
    for n in range(2):
        for row in range(3):
            for column in range(4):
                values = x[n, :, row, column].tolist()
                mean = sum(values) / CHANNELS
                variance = sum((value - mean) ** 2 for value in values) / (CHANNELS - 1)
                for i, value in enumerate(values):
                    expected = (value - mean) / math.sqrt(variance + 1e-3) * module.gamma[i].item()
                    assert result[n, i, row, column].item() == pytest.approx(
                        expected + module.beta[i].item(), rel=1e-4, abs=1e-5
                    )


def test_channel_norm_of_one_channel_is_refused() -> None:
    with pytest.raises(SpecError, match="two channels or more"):
        ChannelNorm(1)


def _shrinkage(theta: float, **options: object) -> HardShrinkage:
    module = HardShrinkage(1, **options)
    with torch.no_grad():
        module.theta.fill_(theta)
    return module


def _reals(largest: float) -> st.SearchStrategy[float]:
    return st.floats(-largest, largest, width=32, allow_subnormal=False)


@settings(max_examples=300, deadline=None)
@given(theta=_reals(2.0**20), values=st.lists(_reals(2.0**20), min_size=1, max_size=20))
def test_hard_shrinkage_is_its_definition(theta: float, values: list[float]) -> None:
    """The activation is theta * HT(x / theta) of eq. 3.1, with the boundary, in exact fractions."""
    from fractions import Fraction

    edges = [theta / 2, -theta / 2, math.nextafter(theta / 2, 0)]
    x = torch.tensor([*values, *edges])
    result = _shrinkage(theta)(x[None, None, None])[0, 0, 0]
    size = Fraction(abs(torch.tensor(theta).item()))
    for given_value, out in zip(x.tolist(), result.tolist(), strict=True):
        dead = size != 0 and abs(Fraction(given_value) / size) < Fraction(1, 2)
        assert out == (0 if dead else given_value)


def test_theta_0_is_the_identity() -> None:
    x = _input()[:, :1]
    assert torch.equal(_shrinkage(0.0)(x), x)


def test_the_gradient_to_the_input_is_the_true_one() -> None:
    x = torch.tensor([-0.6, -0.5, -0.4, 0.0, 0.4, 0.5, 0.6]).reshape(1, 1, 1, -1).requires_grad_()
    _shrinkage(1.0)(x).sum().backward()
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [1, 1, 0, 0, 0, 1, 1]


def test_the_surrogate_tells_how_the_loss_changes_with_the_threshold() -> None:
    """Against the finite difference of the loss over many values, where the true derivative is 0 at every one."""
    x = torch.linspace(-2, 2, 400_001, dtype=torch.float64).reshape(1, 1, 1, -1)
    weight = torch.cos(x)

    def loss(theta: float) -> Tensor:
        return (_shrinkage(theta)(x) * weight * x).mean()

    module = _shrinkage(1.0)
    (module(x) * weight * x).mean().backward()
    narrow = _shrinkage(1.0, width=0.05)
    (narrow(x) * weight * x).mean().backward()
    slope = (loss(1.01) - loss(0.99)).item() / 0.02
    assert narrow.theta.grad is not None and module.theta.grad is not None
    assert narrow.theta.grad.item() == pytest.approx(slope, rel=0.02)
    assert module.theta.grad.item() == pytest.approx(slope, rel=0.3)


def test_the_surrogate_is_finite_for_any_theta_and_input() -> None:
    x = torch.tensor([0.0, 1e-45, 1e-30, 1.0, 3e38, -3e38]).reshape(1, 1, 1, -1)
    for theta in (0.0, 1e-38, 1e-10, 1.0, 3e38):
        module = _shrinkage(theta)
        module(x).sum().backward()
        assert module.theta.grad is not None
        assert module.theta.grad.isfinite().all()


def _train(module: HardShrinkage, steps: int = 50) -> Tensor:
    """Thetas after fitting a target that is shrunk at 0.4, from thresholds that are a quarter of it."""
    generator = torch.Generator().manual_seed(5)
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=0.02) if parameters else None
    for _ in range(steps):
        x = torch.randn(4, module.channels, 16, 16, generator=generator).requires_grad_()
        error = (module(x) - torch.where(x.abs() < 0.4, 0.0, x)).square().mean()
        error.backward()
        if optimizer is not None:
            optimizer.step()
            optimizer.zero_grad()
    return module.theta.detach()


def test_theta_moves_to_where_the_loss_wants_it_with_the_surrogate() -> None:
    """Thetas start at 0.2; the target's is 0.8."""
    assert (_train(HardShrinkage(4, initial=0.2)) > 0.6).all()


def test_theta_stays_where_it_is_without_the_surrogate_or_frozen() -> None:
    assert (_train(HardShrinkage(4, initial=0.2, surrogate="none")) == 0.2).all()
    assert (_train(HardShrinkage(4, initial=0.2, frozen=True)) == 0.2).all()


@pytest.mark.parametrize("name", activation_names())
def test_every_name_makes_an_activation_that_keeps_shape_and_dtype_and_passes_gradients(name: str) -> None:
    module = create_activation(name, CHANNELS, inverse=True)
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        x = _input(dtype=dtype).requires_grad_()
        result = module(x)
        assert (result.shape, result.dtype) == (x.shape, dtype)
        result.sum().backward()
        assert x.grad is not None
        assert x.grad.isfinite().all()


@pytest.mark.parametrize("name", ["gdn", "1dn", "gsdn", "channel_norm"])
@pytest.mark.parametrize("inverse", [False, True])
def test_the_gradients_of_normalisations_are_those_of_finite_differences(name: str, inverse: bool) -> None:
    module = create_activation(name, CHANNELS, inverse).double()
    x = (_input(dtype=torch.float64)[:1, :, :2, :2] + 0.05).requires_grad_()
    assert torch.autograd.gradcheck(module, (x,))


def test_only_divisive_normalisations_have_another_inverse() -> None:
    assert isinstance(create_activation("gdn", 4, inverse=True), GDN)
    assert create_activation("gdn", 4, inverse=True).inverse
    assert not create_activation("gdn", 4).inverse
    assert isinstance(create_activation("leaky_relu", 4), nn.LeakyReLU)
    assert create_activation("leaky_relu", 4).negative_slope == 0.01


def test_an_unknown_name_is_refused_with_suggestions() -> None:
    with pytest.raises(SpecError, match="Did you mean 'shrinkage'"):
        create_activation("shrinkige", 4)
    with pytest.raises(SpecError, match="Did you mean 'triangle'"):
        HardShrinkage(4, surrogate="triangel")
    with pytest.raises(SpecError, match="starts at 0 or above"):
        HardShrinkage(4, initial=-1)
