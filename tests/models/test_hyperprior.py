"""The hyperprior networks: sizes, rounding, the law of each element; and all classic networks can be trained."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from rdp.errors import SpecError
from rdp.models.base import CompressionModel
from rdp.models.densities import gaussian_likelihood
from rdp.models.hyperprior import Hyperprior, MeanScaleHyperprior, ScaleHyperprior, quality_config
from rdp.models.quantizers import QUANTIZERS
from rdp.models.registry import create_model

BOTH = [ScaleHyperprior, MeanScaleHyperprior]


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def lively(architecture: type[Hyperprior], quantizer: str = "noise") -> Hyperprior:
    """A random network in evaluation mode whose latents are several integers."""
    model = architecture(8, 12, quantizer=quantizer).eval()
    with torch.no_grad():
        model.analysis[6].weight *= 40
        model.hyper_analysis[4].weight *= 40
        model.hyper_synthesis[4].weight *= 10
        model.prior.quantiles += torch.randn_like(model.prior.quantiles)
    return model


def smooth_patches(count: int, side: int) -> Tensor:
    """Random pictures without edges, (count, 3, side, side) in [0, 1]."""
    coarse = torch.rand(count, 3, 5, 5)
    return functional.interpolate(coarse, (side, side), mode="bicubic", align_corners=True).clamp(0, 1)


@pytest.mark.parametrize("quality", range(1, 9))
def test_the_parameter_counts_are_those_of_the_published_networks(quality: int) -> None:
    """CompressAI 1.2.8, bmshj2018-hyperprior and mbt2018-mean, all parameters."""
    with torch.device("meta"):
        scale = ScaleHyperprior(*quality_config("scale_hyperprior", quality))
        mean_scale = MeanScaleHyperprior(*quality_config("hyperprior", quality))
    counts = [sum(parameter.numel() for parameter in model.parameters()) for model in (scale, mean_scale)]
    assert counts == [
        5_075_843 if quality < 6 else 11_816_323,
        7_028_003 if quality < 5 else 17_561_699,
    ]


@pytest.mark.parametrize("architecture", ["factorized", "scale_hyperprior", "hyperprior", "checkerboard"])
def test_qualities_outside_of_one_to_eight_are_refused(architecture: str) -> None:
    assert quality_config(architecture, 1) == (128, 192)
    assert quality_config(architecture, 8) == (192, 320)
    for quality in (0, 9):
        with pytest.raises(SpecError, match="from 1 to 8"):
            quality_config(architecture, quality)


def test_an_architecture_without_qualities_is_refused() -> None:
    with pytest.raises(SpecError, match="'hyperpriors' has no qualities. Did you mean 'hyperprior'"):
        quality_config("hyperpriors", 1)


@pytest.mark.parametrize("architecture", BOTH)
def test_the_latents_are_a_sixteenth_and_a_sixty_fourth_of_the_image(architecture: type[Hyperprior]) -> None:
    output = architecture(8, 12)(torch.rand(2, 3, 64, 128))
    assert output.y.shape == output.y_hat.shape == output.likelihoods["y"].shape == (2, 12, 4, 8)
    assert output.likelihoods["z"].shape == (2, 8, 1, 2)
    assert output.x_hat.shape == (2, 3, 64, 128)


@pytest.mark.parametrize("quantizer", list(QUANTIZERS))
@pytest.mark.parametrize("architecture", BOTH)
def test_in_evaluation_the_latent_is_rounded_about_the_mean_that_the_rounded_hyper_latent_tells(
    architecture: type[Hyperprior], quantizer: str
) -> None:
    model = lively(architecture, quantizer)
    with torch.no_grad():
        output = model(torch.rand(1, 3, 64, 64))
        medians = model.prior.medians()[:, None, None]
        z_hat = (model.hyper_analyse(output.y) - medians).round() + medians
        law = model.gaussian_parameters(model.hyper_synthesis(z_hat))
    mean = torch.zeros_like(output.y) if law.mean is None else law.mean
    assert (law.mean is None) == (architecture is ScaleHyperprior)
    assert torch.allclose(output.y_hat, (output.y - mean).round() + mean, atol=1e-5)
    assert torch.allclose(output.likelihoods["y"], gaussian_likelihood(output.y_hat, law.scale, mean), atol=1e-5)
    assert torch.allclose(output.likelihoods["z"], model.prior.likelihood(z_hat), atol=1e-6)


def test_the_first_half_of_the_hyper_synthesis_is_the_scale_and_the_second_the_mean() -> None:
    model = lively(MeanScaleHyperprior)
    with torch.no_grad():
        model.hyper_synthesis[4].weight.zero_()
        model.hyper_synthesis[4].bias.copy_(torch.cat((torch.full((12,), 2.0), torch.full((12,), 0.25))))
        output = model(torch.rand(1, 3, 64, 64))
    bins = output.y_hat - 0.25
    assert torch.allclose(bins, bins.round(), atol=1e-6)
    expected = 0.5 * torch.erfc((bins.abs() - 0.5) / math.sqrt(8)) - 0.5 * torch.erfc((bins.abs() + 0.5) / math.sqrt(8))
    assert torch.allclose(output.likelihoods["y"], expected, atol=1e-6)


def test_the_scale_hyperprior_sees_magnitudes_alone() -> None:
    model = lively(ScaleHyperprior)
    y = torch.randn(1, 12, 4, 4)
    assert torch.equal(model.hyper_analyse(y), model.hyper_analyse(-y))
    assert not torch.equal(lively(MeanScaleHyperprior).hyper_analyse(y), lively(MeanScaleHyperprior).hyper_analyse(-y))


@pytest.mark.parametrize("quantizer", list(QUANTIZERS))
@pytest.mark.parametrize("architecture", BOTH)
def test_in_training_every_parameter_but_the_quantiles_has_a_gradient(
    architecture: type[Hyperprior], quantizer: str
) -> None:
    model = lively(architecture, quantizer).train()
    output = model(torch.rand(2, 3, 64, 64))
    (output.bpp().sum() + output.x_hat.square().sum()).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == ["prior.quantiles"]
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("architecture", BOTH)
def test_autocast_to_bfloat16_trains_with_likelihoods_in_float32(architecture: type[Hyperprior]) -> None:
    model = lively(architecture).train()
    with torch.autocast("cpu", torch.bfloat16):
        output = model(torch.rand(2, 3, 64, 64))
    assert {part.dtype for part in output.likelihoods.values()} == {torch.float32}
    output.bpp().sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Networks as small as these only wait for a second thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def loss_of(model: CompressionModel, x: Tensor) -> Tensor:
    """Bits per pixel and 0.01 times the squared error on the scale of 255, averaged over the batch."""
    output = model(x)
    return output.bpp().mean() + 0.01 * 255**2 * functional.mse_loss(output.x_hat, x)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    ("architecture", "quantizer"),
    [
        ("factorized", "noise"),
        ("scale_hyperprior", "noise"),
        ("hyperprior", "mixed"),
        ("checkerboard", "noise"),
        ("checkerboard", "mixed"),
    ],
)
def test_sixty_steps_of_training_make_rate_and_distortion_smaller(architecture: str, quantizer: str) -> None:
    model = create_model(architecture, channels=8, latent_channels=12, quantizer=quantizer)
    x = smooth_patches(2, 64)
    with torch.no_grad():
        before = loss_of(model.eval(), x).item()
    model.train()
    quantiles = [p for name, p in model.named_parameters() if name.endswith("quantiles")]
    others = [p for name, p in model.named_parameters() if not name.endswith("quantiles")]
    optimizer = torch.optim.Adam([{"params": others, "lr": 2e-3}, {"params": quantiles, "lr": 1e-2}])
    auxiliary = model.auxiliary_loss().item()
    for _ in range(60):
        optimizer.zero_grad()
        (loss_of(model, x) + model.auxiliary_loss()).backward()
        torch.nn.utils.clip_grad_norm_(others, 1.0)
        optimizer.step()
    with torch.no_grad():
        assert loss_of(model.eval(), x).item() < 0.5 * before
    assert model.auxiliary_loss().item() < auxiliary
