"""Strided layers turn each other's sizes around, and the lower bound lets a value come back."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rdp.models.layers import conv, deconv, lower_bound, upsample


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2, 4])
def test_a_transposed_convolution_gives_the_size_back_that_the_convolution_took(kernel: int, stride: int) -> None:
    x = torch.zeros(2, 3, 16, 24)
    small = conv(3, 5, kernel, stride)(x)
    assert small.shape == (2, 5, 16 // stride, 24 // stride)
    assert deconv(5, 3, kernel, stride)(small).shape == x.shape


def test_upsampling_multiplies_the_sides_and_keeps_pixels_in_place() -> None:
    layer = upsample(1, 1, kernel=3, factor=2)
    convolution = layer[0]
    with torch.no_grad():
        convolution.weight.zero_()
        convolution.weight[:, 0, 1, 1] = torch.tensor([1.0, 2.0, 3.0, 4.0])
        convolution.bias.zero_()
    out = layer(torch.tensor([[[[1.0, 10.0]]]]))
    assert out.tolist() == [[[[1, 2, 10, 20], [3, 4, 30, 40]]]]


@settings(deadline=None)
@given(x=st.floats(-10, 10), bound=st.floats(-5, 5), gradient=st.floats(-3, 3))
def test_the_gradient_passes_the_bound_unless_it_would_push_a_value_further_below(
    x: float, bound: float, gradient: float
) -> None:
    value = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    bounded = lower_bound(value, bound)
    assert bounded.item() == max(x, bound)
    bounded.backward(torch.tensor(gradient, dtype=torch.float64))
    assert value.grad is not None
    # Descent moves against the gradient: up where it is negative.
    assert value.grad.item() == (gradient if x >= bound or gradient < 0 else 0)


def test_descent_lifts_a_value_from_below_the_bound_where_a_maximum_would_leave_it() -> None:
    bounded, clamped = (torch.tensor([-1.0], requires_grad=True) for _ in range(2))
    for _ in range(100):
        for value, floor in ((bounded, lambda v: lower_bound(v, 0.1)), (clamped, lambda v: v.clamp(min=0.1))):
            (gradient,) = torch.autograd.grad((floor(value) - 2).square().sum(), value)
            with torch.no_grad():
                value -= 0.1 * gradient
    assert bounded.item() == pytest.approx(2, abs=1e-3)
    assert clamped.item() == -1
