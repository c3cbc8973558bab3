"""Distortions and the terms of the adversarial loss: their sizes against references, their gradients, bad input."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import piq
import pytest
import torch
from torch import Tensor

from rdp.errors import SpecError
from rdp.metrics import create_metrics
from rdp.training import LPIPS, LogSquaredError, MeanSquaredError, MultiScaleSSIM, RateControl, WeightedSum
from rdp.training.adversarial_losses import accuracy, discriminator_loss, generator_loss
from rdp.training.losses import target_rate_penalty
from rdp.training.perceptual import unit_length


def _eight_bit(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255


def _noisy(rng: np.random.Generator, image: np.ndarray, size: float) -> np.ndarray:
    return np.clip(image + rng.normal(0, size, image.shape), 0, 255).round().astype(np.uint8)


@pytest.fixture
def lpips(monkeypatch: pytest.MonkeyPatch, shared: Path) -> LPIPS:
    monkeypatch.setenv("RDP_WEIGHTS", str(shared / "weights"))
    return LPIPS("squeeze")


def _metric(name: str, x_hat: np.ndarray, x: np.ndarray, column: str) -> float:
    (metric,) = create_metrics([name])
    return metric.score(metric.prepare(x), [x_hat])[column][0]


def test_the_squared_error_is_that_of_numbers_from_0_to_255() -> None:
    x = torch.zeros(2, 3, 8, 8)
    x_hat = torch.stack([x[0] + 10 / 255, x[1] + 1])
    assert torch.allclose(MeanSquaredError()(x_hat, x), torch.tensor([100.0, 65025.0]))


def test_an_error_of_30_db_is_65() -> None:
    x = torch.rand(1, 3, 8, 8)
    value = MeanSquaredError()(x + 10 ** (-30 / 20), x)
    assert value.item() == pytest.approx(65.025, rel=1e-4)


def test_the_logarithm_of_the_squared_error_differs_from_psnr_by_a_constant() -> None:
    x = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    noise = torch.tensor([0.02, 0.1, 0.3]).reshape(3, 1, 1, 1)
    value = LogSquaredError()(x + noise, x)
    psnr = -20 * torch.log10(noise.flatten())
    assert torch.allclose(value, 20 * math.log10(255) - psnr, atol=0.2)
    assert float(value[0] - (48.1308 - psnr[0])) == pytest.approx(10 * math.log10(1 + 1 / (5.1**2)), abs=1e-3)
    assert LogSquaredError()(x, x).tolist() == [0.0, 0.0, 0.0]
    assert math.isclose(float(LogSquaredError()(x[:1] + 10 ** (-30 / 20), x[:1])), 18.2, abs_tol=0.1)


def test_144_of_images_from_minus_1_to_1_is_0_00886_of_numbers_from_0_to_255(rng, picture) -> None:
    x = picture(32, 40)
    x_hat = _noisy(rng, x, 10)
    pair = [2 * image.astype(np.float64) / 255 - 1 for image in (x_hat, x)]
    thesis = 144 * np.mean((pair[0] - pair[1]) ** 2)
    assert 0.00886 * MeanSquaredError()(_eight_bit(x_hat), _eight_bit(x)).item() == pytest.approx(thesis, rel=1e-3)


@pytest.mark.parametrize("target", [0.12, 0.5])
def test_one_image_does_not_pay_for_the_rate_of_another(target: float) -> None:
    bpp = torch.tensor([0.5 * target, 1.5 * target], requires_grad=True)
    penalty = target_rate_penalty(bpp, target)
    assert penalty.tolist() == pytest.approx([0.25, 0.25])
    assert target_rate_penalty(bpp.mean(), target).item() == pytest.approx(0, abs=1e-12)
    penalty.mean().backward()
    assert bpp.grad is not None
    assert bpp.grad.tolist() == pytest.approx([-0.5 / target, 0.5 / target])


@pytest.mark.parametrize(("height", "width"), [(192, 208), (161, 177)])
@pytest.mark.parametrize("size", [2.0, 25.0, 120.0])
def test_ms_ssim_is_that_of_the_metric(rng, picture, height: int, width: int, size: float) -> None:
    x = picture(height, width)
    x_hat = _noisy(rng, x, size)
    value = MultiScaleSSIM()(_eight_bit(x_hat), _eight_bit(x))
    assert value.shape == (1,)
    assert 1 - value.item() == pytest.approx(_metric("ms_ssim", x_hat, x, "ms_ssim"), abs=1e-5)


def test_ms_ssim_of_even_scales_is_that_of_piq(rng, picture) -> None:
    pairs = [(_noisy(rng, x, 30), x) for x in (picture(192, 256), picture(192, 256))]
    x_hat, x = (torch.cat([_eight_bit(pair[place]) for pair in pairs]) for place in (0, 1))
    expected = piq.multi_scale_ssim(x_hat, x, data_range=1.0, reduction="none")
    assert torch.allclose(1 - MultiScaleSSIM()(x_hat, x), expected, atol=1e-5)


def test_ms_ssim_of_equal_images_is_0_and_its_gradient_is_finite(picture) -> None:
    x = _eight_bit(picture(176, 176))
    x_hat = x.clone().requires_grad_()
    value = MultiScaleSSIM()(x_hat, x)
    value.sum().backward()
    assert value.item() == 0
    assert torch.isfinite(x_hat.grad).all()


def test_an_image_whose_contrast_is_reversed_has_a_loss_of_1_and_a_way_out(picture) -> None:
    x = picture(176, 176)
    value = MultiScaleSSIM()
    x_hat = (1 - _eight_bit(x)).requires_grad_()
    loss = value(x_hat, _eight_bit(x))
    loss.sum().backward()
    assert loss.item() == pytest.approx(1 - _metric("ms_ssim", 255 - x, x, "ms_ssim"), abs=1e-5) == 1
    assert torch.isfinite(x_hat.grad).all()
    assert (x_hat.grad * (_eight_bit(x) - x_hat.detach())).sum() < 0, "towards the image the loss must fall"


def test_the_gradient_of_ms_ssim_is_that_of_differences(rng, picture) -> None:
    x = picture(176, 176)
    clean, loss = _eight_bit(x), MultiScaleSSIM()
    x_hat = _eight_bit(_noisy(rng, x, 20)).requires_grad_()
    loss(x_hat, clean).sum().backward()
    direction = clean - x_hat.detach()
    ahead, behind = (loss(x_hat.detach() + step * direction, clean).item() for step in (0.02, -0.02))
    assert (x_hat.grad * direction).sum().item() == pytest.approx((ahead - behind) / 0.04, rel=0.01)


def test_ms_ssim_refuses_a_side_of_160() -> None:
    with pytest.raises(SpecError, match=r"161.*not 200x160"):
        MultiScaleSSIM()(torch.rand(1, 3, 160, 200), torch.rand(1, 3, 160, 200))


def test_lpips_is_that_of_the_metric(rng, picture, lpips: LPIPS) -> None:
    images = [picture(64, 80) for _ in range(2)]
    noisy = [_noisy(rng, images[0], 10), _noisy(rng, images[1], 60)]
    x_hat, x = (torch.cat([_eight_bit(image) for image in part]) for part in (noisy, images))
    expected = [_metric("lpips_squeeze", a, b, "lpips_squeeze") for a, b in zip(noisy, images, strict=True)]
    values = lpips(x_hat, x)
    assert values.tolist() == pytest.approx(expected, abs=1e-5)
    assert 0.001 < values[0] < values[1] < 2


def test_lpips_is_that_of_the_package(rng, picture, lpips: LPIPS) -> None:
    x = picture(64, 64)
    x_hat, x = _eight_bit(_noisy(rng, x, 40)), _eight_bit(x)
    expected = lpips.network(2 * x_hat - 1, 2 * x - 1)
    assert lpips(x_hat, x).item() == pytest.approx(expected.item(), abs=1e-5)


def test_the_gradient_of_lpips_reaches_the_reconstruction_and_not_the_network(rng, picture, lpips: LPIPS) -> None:
    x = picture(64, 64)
    x_hat = _eight_bit(_noisy(rng, x, 30)).requires_grad_()
    before = lpips(x_hat, _eight_bit(x))
    before.sum().backward()
    assert x_hat.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in lpips.network.parameters())
    nearer = x_hat.detach() - 0.1 * x_hat.grad / x_hat.grad.abs().max()
    assert lpips(nearer, _eight_bit(x)) < before


def test_the_network_of_lpips_is_in_no_state_dict_and_stays_in_evaluation_mode(lpips: LPIPS) -> None:
    lpips.train()
    assert not lpips.state_dict()
    assert not list(lpips.parameters())
    assert not any(module.training for module in lpips.network.modules())


def test_lpips_under_autocast_is_that_of_float32(rng, picture, lpips: LPIPS) -> None:
    x = picture(64, 64)
    x_hat, x = _eight_bit(_noisy(rng, x, 30)), _eight_bit(x)
    with torch.autocast("cpu", torch.bfloat16):
        value = lpips(x_hat, x)
    assert value.dtype == torch.float32
    assert torch.equal(value, lpips(x_hat, x))


@pytest.mark.gpu
def test_lpips_follows_its_input_to_the_gpu(rng, picture, lpips: LPIPS) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    x = picture(64, 64)
    x_hat, x = _eight_bit(_noisy(rng, x, 30)), _eight_bit(x)
    assert lpips(x_hat.cuda(), x.cuda()).item() == pytest.approx(lpips(x_hat, x).item(), abs=1e-3)


def test_feature_vectors_of_length_0_have_a_finite_gradient() -> None:
    features = torch.zeros(1, 4, 2, 2, requires_grad=True)
    unit_length(features).sum().backward()
    assert torch.isfinite(features.grad).all()
    assert torch.allclose(unit_length(3 * torch.ones(1, 4, 1, 1)), torch.full((1, 4, 1, 1), 0.5))


def test_lpips_refuses_unknown_backbones_and_small_images(lpips: LPIPS) -> None:
    with pytest.raises(SpecError, match="resnet"):
        LPIPS("resnet")  # type: ignore[arg-type]
    with pytest.raises(SpecError, match=r"not 16x8"):
        lpips(torch.rand(1, 3, 8, 16), torch.rand(1, 3, 8, 16))


@pytest.mark.slow
def test_importing_the_trainings_does_not_load_lpips() -> None:
    code = "import sys, rdp.training; sys.exit('lpips' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_weighted_sum_is_the_sum_of_its_parts_which_it_tells_by_name(picture, rng) -> None:
    x = picture(176, 176)
    x_hat, x = _eight_bit(_noisy(rng, x, 20)), _eight_bit(x)
    both = WeightedSum([MeanSquaredError(), MultiScaleSSIM()], [0.01, 3.0])
    measured = both.measured(x_hat, x)
    mse, ssim = MeanSquaredError()(x_hat, x), MultiScaleSSIM()(x_hat, x)
    assert torch.allclose(measured.total, 0.01 * mse + 3 * ssim)
    assert torch.equal(both(x_hat, x), measured.total)
    assert set(measured.parts) == {"distortion", "mse", "ms_ssim_loss"}
    assert torch.equal(measured.parts["mse"], mse)


@pytest.mark.parametrize(
    ("parts", "weights"),
    [([], []), ([MeanSquaredError()], [1.0, 2.0]), ([MeanSquaredError()], [-1.0]), ([MeanSquaredError()] * 2, [1, 1])],
)
def test_a_weighted_sum_refuses_what_it_cannot_add_or_name(parts: list, weights: list) -> None:
    with pytest.raises(SpecError, match="weights|name"):
        WeightedSum(parts, weights)


def test_an_undecided_discriminator_costs_the_network_log_2_and_itself_twice_that() -> None:
    logits = torch.zeros(2, 1, 4, 4)
    assert generator_loss(logits).item() == pytest.approx(math.log(2))
    assert discriminator_loss(logits, logits).item() == pytest.approx(2 * math.log(2))


def test_the_adversarial_terms_are_cross_entropies_of_probabilities() -> None:
    real, fake = torch.randn(2, 1, 4, 4), torch.randn(2, 1, 4, 4)
    a, b = real.sigmoid(), fake.sigmoid()
    assert generator_loss(fake).item() == pytest.approx(-b.log().mean().item(), rel=1e-5)
    expected = -a.log().mean() - (1 - b).log().mean()
    assert discriminator_loss(real, fake).item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_adversarial_terms_of_large_logits_are_finite_and_do_not_saturate() -> None:
    fake = torch.full((1, 1, 2, 2), -200.0, requires_grad=True)
    loss = generator_loss(fake)
    loss.backward()
    assert loss.item() == pytest.approx(200)
    assert torch.allclose(fake.grad.sum(), torch.tensor(-1.0))


def test_accuracy_counts_patches_of_both_kinds() -> None:
    shares = accuracy(torch.tensor([1.0, 2.0, -1.0, 3.0]), torch.tensor([-1.0, 1.0, 0.0, 2.0]))
    assert (shares.real.item(), shares.fake.item(), shares.both.item()) == (0.75, 0.25, 0.5)


@pytest.mark.parametrize(("rates", "expected"), [([0.1, 0.2], 2.0), ([0.1, 0.17], 1 / 16), ([0.14, 0.14], 1 / 16)])
def test_the_mean_rate_of_the_batch_decides_which_weight_the_rate_has(rates: list[float], expected: float) -> None:
    bpp = torch.tensor(rates, dtype=torch.float64, requires_grad=True)
    weight = RateControl(target=0.14, above=2.0, below=1 / 16).weight(bpp)
    assert weight.item() == expected
    assert not weight.requires_grad


def test_the_weights_of_the_rate_are_by_default_those_of_the_paper_at_its_lowest_rate() -> None:
    assert (RateControl().target, RateControl().above, RateControl().below) == (0.14, 2.0, 0.0625)


@pytest.mark.parametrize("bad", [{"target": 0.0}, {"above": 0.01}, {"below": -1.0}, {"target": math.nan}])
def test_rate_control_refuses_weights_the_wrong_way_round(bad: dict[str, float]) -> None:
    with pytest.raises(SpecError, match="target > 0 and above >= below >= 0"):
        RateControl(**bad)
