"""The checkerboard context: what each colour may depend on, in training and in the two passes of a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from rdp.models.checkerboard import CheckerboardConv2d, CheckerboardHyperprior, anchor_mask
from rdp.models.densities import gaussian_likelihood
from rdp.models.quantizers import QUANTIZERS


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def lively(quantizer: str = "noise") -> CheckerboardHyperprior:
    """A random network in evaluation mode whose latents are several integers and whose context matters."""
    model = CheckerboardHyperprior(8, 12, quantizer=quantizer).eval()
    with torch.no_grad():
        model.analysis[6].weight *= 40
        model.hyper_analysis[4].weight *= 40
        model.hyper_synthesis[4].weight *= 10
        model.context.weight *= 5
        model.entropy_parameters[4].weight *= 5
    return model


def test_anchors_are_where_row_and_column_add_to_an_even_number() -> None:
    assert anchor_mask(2, 3).tolist() == [[True, False, True], [False, True, False]]
    assert anchor_mask(1, 1).tolist() == [[True]]
    assert anchor_mask(0, 4).shape == (0, 4)


@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_the_context_of_a_position_is_of_the_other_colour_within_the_kernel(kernel: int) -> None:
    """By the gradient: which inputs change the output in the middle."""
    layer = CheckerboardConv2d(1, 1, kernel)
    x = torch.randn(1, 1, 9, 9, requires_grad=True)
    layer(x)[0, 0, 4, 4].backward()
    assert x.grad is not None
    seen = {(row - 4, column - 4) for row, column in x.grad[0, 0].nonzero().tolist()}
    half = kernel // 2
    reach = range(-half, half + 1)
    assert seen == {(row, column) for row in reach for column in reach if (row + column) % 2}


def test_a_plain_convolution_with_the_effective_weight_is_the_context() -> None:
    context = lively().context
    y = torch.randn(2, 12, 6, 7)
    plain = functional.conv2d(y, context.effective_weight(), context.bias, padding=2)
    assert torch.equal(context(y), plain)
    assert (context.effective_weight() == 0).sum() == 13 / 25 * context.weight.numel()
    assert set(dict(context.named_parameters())) == set(context.state_dict()) == {"weight", "bias"}


def test_the_widths_of_the_entropy_parameters_are_those_of_the_paper() -> None:
    model = CheckerboardHyperprior(8, 192)
    convolutions = [layer for layer in model.entropy_parameters if isinstance(layer, torch.nn.Conv2d)]
    assert [(layer.in_channels, layer.out_channels) for layer in convolutions] == [(768, 640), (640, 512), (512, 384)]


def perturb(y: Tensor, positions: Tensor) -> Tensor:
    """Other values of y at those positions, (h, w)."""
    return torch.where(positions, y + 10 * torch.randn_like(y), y)


def test_what_tells_the_anchors_law_does_not_depend_on_the_latent_at_all() -> None:
    model = lively()
    hyper = torch.randn(1, 24, 6, 7)
    anchors = anchor_mask(6, 7)
    alone = model.anchor_outputs(hyper)
    for _ in range(3):
        beside = model.outputs_beside(hyper, 10 * torch.randn(1, 12, 6, 7))
        assert torch.allclose(beside[..., anchors], alone[..., anchors], atol=1e-5)


def test_what_tells_the_others_law_depends_on_anchors_and_on_no_other() -> None:
    model = lively()
    hyper, y_hat = torch.randn(1, 24, 6, 7), 3 * torch.randn(1, 12, 6, 7)
    anchors = anchor_mask(6, 7)
    outputs = model.outputs_beside(hyper, y_hat)
    assert torch.equal(model.outputs_beside(hyper, perturb(y_hat, ~anchors)), outputs)
    moved = (model.outputs_beside(hyper, perturb(y_hat, anchors)) - outputs).abs().amax((0, 1))
    assert moved[anchors].max() < 1e-5
    assert moved[~anchors].min() > 1e-3


def test_where_the_context_is_off_the_others_are_told_as_anchors_are() -> None:
    """A context without weights and bias is the zeros that anchors get."""
    model = lively()
    with torch.no_grad():
        model.context.weight.zero_()
        model.context.bias.zero_()
    hyper = torch.randn(1, 24, 4, 4)
    beside = model.outputs_beside(hyper, torch.randn(1, 12, 4, 4))
    assert torch.allclose(beside, model.anchor_outputs(hyper), atol=1e-5)


@pytest.mark.parametrize("quantizer", list(QUANTIZERS))
def test_in_evaluation_the_latent_is_what_a_decoder_makes_in_two_passes(quantizer: str) -> None:
    """From z_hat and the integers alone, with positions not yet decoded set to nonsense."""
    model = lively(quantizer)
    with torch.no_grad():
        output = model(torch.rand(1, 3, 64, 128))
        z_hat = model.hyper_analyse(output.y).round()
        hyper = model.hyper_synthesis(z_hat)
        anchors = anchor_mask(4, 8)

        first = model.gaussian_parameters(model.anchor_outputs(hyper))
        integers = (output.y_hat - first.mean).round()
        decoded = torch.where(anchors, integers + first.mean, 1e3)
        second = model.gaussian_parameters(model.outputs_beside(hyper, decoded))
        integers = (output.y_hat - second.mean).round()
        decoded = torch.where(anchors, decoded, integers + second.mean)
    assert torch.allclose(decoded, output.y_hat, atol=1e-4)
    assert integers[..., ~anchors].abs().max() >= 1
    scale = torch.where(anchors, first.scale, second.scale)
    mean = torch.where(anchors, first.mean, second.mean)
    assert torch.allclose(output.likelihoods["y"], gaussian_likelihood(output.y_hat, scale, mean), atol=1e-4)
    assert (output.y - output.y_hat).abs().max() <= 0.5 + 1e-4


@pytest.mark.parametrize("quantizer", list(QUANTIZERS))
def test_in_training_every_parameter_but_the_quantiles_has_a_gradient(quantizer: str) -> None:
    model = lively(quantizer).train()
    output = model(torch.rand(2, 3, 64, 64))
    (output.bpp().sum() + output.x_hat.square().sum()).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == ["prior.quantiles"]
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)


def test_one_pass_of_training_takes_the_law_from_the_noisy_anchors() -> None:
    model = lively().train()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        output = model(torch.rand(1, 3, 64, 64))
        # The same noise again: an image, then that of the hyper-latent.
        torch.manual_seed(1)
        torch.rand(1, 3, 64, 64)
        hyper = model.hyper_synthesis(model.quantizer(model.hyper_analyse(output.y), training=True).for_synthesis)
        law = model.gaussian_parameters(model.outputs_beside(hyper, output.y_hat))
    assert 0.3 < (output.y_hat - output.y).abs().max() <= 0.5 + 1e-5
    expected = gaussian_likelihood(output.y_hat, law.scale, law.mean)
    assert torch.allclose(output.likelihoods["y"], expected, atol=1e-6)


def test_autocast_to_bfloat16_trains_with_likelihoods_in_float32() -> None:
    model = lively().train()
    with torch.autocast("cpu", torch.bfloat16):
        output = model(torch.rand(2, 3, 64, 64))
    assert {part.dtype for part in output.likelihoods.values()} == {torch.float32}
    output.bpp().sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)
