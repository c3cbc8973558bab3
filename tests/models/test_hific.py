"""HiFiC: layout, counts, sizes, and that it trains."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rdp.errors import SpecError
from rdp.models.hific import HiFiC, SmallReflectionPad2d, scaled
from rdp.models.registry import create_model


def _small(**options: object) -> HiFiC:
    torch.manual_seed(4)
    return HiFiC(width=0.1, residual_blocks=2, **options)


def _count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _conv(ins: int, outs: int, kernel: int) -> int:
    return ins * outs * kernel * kernel + outs


def test_a_width_gives_multiples_of_4_and_at_least_8() -> None:
    assert [scaled(count, 0.1) for count in (60, 120, 240, 480, 960, 220, 320)] == [8, 12, 24, 48, 96, 24, 32]
    assert scaled(7, 1) == 7
    model = _small()
    assert (model.latent_channels, model.hyper_channels) == (24, 32)


@pytest.mark.parametrize("size", [(64, 64), (64, 192), (128, 64)])
@pytest.mark.parametrize("signed", [False, True])
def test_a_forward_pass_has_the_shapes_of_the_contract(size: tuple[int, int], signed: bool) -> None:
    model = _small(signed=signed).eval()
    height, width = size
    output = model(torch.rand(2, 3, height, width))
    assert output.x_hat.shape == (2, 3, height, width)
    assert output.y.shape == output.y_hat.shape == (2, 24, height // 16, width // 16)
    assert output.likelihoods["y"].shape == output.y.shape
    assert output.likelihoods["z"].shape == (2, 32, height // 64, width // 64)
    assert (output.bpp() > 0).all()


def test_name_and_config_build_the_same_network() -> None:
    model = _small(signed=True)
    twin = create_model("hific", **model.config)
    assert twin.config == model.config
    twin.load_state_dict(model.state_dict())


def test_the_number_of_parameters_at_full_width_is_the_published_one() -> None:
    """181 million as published, and part by part by the formula of every layer."""
    with torch.device("meta"):
        model = HiFiC()
    channels, latent, hyper = (60, 120, 240, 480, 960), 220, 320
    pairs = list(itertools.pairwise(channels))
    encoder = _conv(3, 60, 7) + sum(_conv(a, b, 3) for a, b in pairs) + 2 * sum(channels) + _conv(960, latent, 3)
    blocks = 9 * 2 * (_conv(960, 960, 3) + 2 * 960)
    generator = 2 * latent + _conv(latent, 960, 3) + 2 * 960 + blocks + _conv(60, 3, 7)
    generator += sum(_conv(b, a, 3) + 2 * a for a, b in pairs)
    hyper_analysis = _conv(latent, hyper, 3) + 2 * _conv(hyper, hyper, 5)
    hyper_synthesis = 2 * _conv(hyper, hyper, 5) + _conv(hyper, latent, 3)
    assert _count(model.analysis) == encoder == 7_423_420
    assert _count(model.synthesis) == generator == 156_774_683
    assert _count(model.hyper_analysis) == hyper_analysis == 5_754_560
    assert _count(model.hyper_synthesis_mean) == _count(model.hyper_synthesis_scale) == hyper_synthesis == 5_754_460
    assert round(_count(model) / 1e6) == 181


def test_images_are_taken_to_the_range_of_the_network_and_back() -> None:
    plain, signed = _small().eval(), _small(signed=True).eval()
    signed.load_state_dict(plain.state_dict())
    x = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(signed.analyse(x), plain.analysis(2 * x - 1))
    torch.testing.assert_close(plain.analyse(x), plain.analysis(x))
    y = torch.randn(1, 24, 4, 4)
    torch.testing.assert_close(signed.synthesise(y), (plain.synthesis(y).tanh() + 1) / 2)
    assert signed.synthesise(100 * y).min() >= 0


def test_in_evaluation_the_latent_is_rounded_about_its_mean() -> None:
    model = _small().eval()
    output = model(torch.rand(1, 3, 64, 64))
    z_hat = torch.round(model.hyper_analyse(output.y))  # a fresh density has its medians at 0
    symbols = output.y_hat - model.hyper_synthesis_mean(z_hat)
    torch.testing.assert_close(symbols, symbols.round(), atol=1e-5, rtol=0)
    assert ((output.y_hat - output.y).abs() <= 0.5001).all()


def test_gradients_reach_every_parameter_and_a_few_steps_lower_the_loss() -> None:
    model = _small().train()
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2)) * 0.1 + torch.linspace(0, 0.9, 64)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(12):
        output = model(x)
        loss = 0.1 * output.bpp().mean() + 20 * (output.x_hat - x).square().mean() + 1e-4 * model.auxiliary_loss()
        optimizer.zero_grad()
        loss.backward()
        assert not [name for name, parameter in model.named_parameters() if parameter.grad is None]
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])


@settings(max_examples=60, deadline=None)
@given(sides=st.tuples(st.integers(1, 7), st.integers(1, 7)), pads=st.tuples(*[st.integers(0, 6)] * 4))
def test_reflection_of_small_inputs_is_numpys(sides: tuple[int, int], pads: tuple[int, int, int, int]) -> None:
    x = torch.arange(2.0 * sides[0] * sides[1]).reshape(1, 2, *sides)
    left, right, top, bottom = pads
    expected = np.pad(x.numpy(), ((0, 0), (0, 0), (top, bottom), (left, right)), mode="reflect")
    padded: Tensor = SmallReflectionPad2d(pads)(x)
    np.testing.assert_array_equal(padded.numpy(), expected)


def test_a_width_that_is_none_is_refused() -> None:
    with pytest.raises(SpecError, match="width of hific must be above 0"):
        HiFiC(width=0)
