"""What a training minimises and what its validations say, against computation by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from rdp.errors import SpecError
from rdp.models.base import ModelOutput
from rdp.models.registry import create_model
from rdp.training import HiFiC, MeanSquaredError, RateControl, RateDistortion, TargetRate, Trapezoid

WIDTHS = {"channels": 8, "latent_channels": 8}
BATCH = (torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(4)) * 255).to(torch.uint8)


def network(architecture: str = "hyperprior", **more: Any) -> Any:
    torch.manual_seed(5)
    return create_model(architecture, **WIDTHS, **more)


def validated(task: Any, images: list[Tensor], size: int = 1, **options: Any) -> dict[str, float]:
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False, **options)
    (found,) = trainer.validate(task, DataLoader(images, size), verbose=False)  # type: ignore[arg-type]
    return {name.removeprefix("val/"): value for name, value in found.items()}


def made_output() -> tuple[ModelOutput, Tensor]:
    """Two images of 2x2 pixels: 8 and 24 bits, errors of 0.1 and 0.2 everywhere."""
    x = torch.full((2, 3, 2, 2), 0.5)
    x_hat = x + torch.tensor([0.1, -0.2]).view(2, 1, 1, 1)
    y = torch.zeros(2, 1, 2, 2)
    likelihoods = {"y": torch.tensor([2.0**-1, 2.0**-4]).view(2, 1, 1, 1).expand(2, 1, 2, 2),
                   "z": torch.tensor([2.0**-4, 2.0**-8]).view(2, 1, 1, 1)}  # fmt: skip
    return ModelOutput(x_hat, likelihoods, y, y), x


def test_the_objective_of_rate_and_distortion_is_that_by_hand() -> None:
    """8 and 24 bits on 4 pixels are 2 and 6 bit/pixel; the mean squared error is 255^2 (0.01 + 0.04) / 2."""
    output, x = made_output()
    objective = RateDistortion(network(), lmbda=0.5).objective(output, x)
    mse = 255**2 * 0.025
    assert objective.parts["bpp"].item() == pytest.approx(4.0)
    assert objective.parts["mse"].item() == pytest.approx(mse, rel=1e-5)
    assert objective.loss.item() == pytest.approx(4 + 0.5 * mse, rel=1e-5) == objective.parts["loss"].item()


def test_the_objective_of_a_target_rate_is_that_by_hand() -> None:
    """Rates of 2 and 6 are half and one and a half times the target."""
    output, x = made_output()
    objective = TargetRate(network(), bpp=4.0, beta=100.0).objective(output, x)
    assert objective.loss.item() == pytest.approx(255**2 * 0.025 + 100 / 4, rel=1e-5)


@pytest.mark.parametrize(
    ("make", "weights"),
    [
        (lambda net: RateDistortion(net, lmbda=0.02), (1.0, 0.02)),
        (lambda net: HiFiC(net, RateControl(1e-3, 2.0, 0.5), 0.03, 0.0, 0.0, MeanSquaredError()), (1.25, 0.03)),
        (lambda net: HiFiC(net, RateControl(1e3, 2.0, 0.5), 0.03, 0.0, 0.0, MeanSquaredError()), (1.25, 0.03)),
    ],
    ids=["rate-distortion", "above", "below"],
)
def test_a_validation_is_of_the_pixels_of_its_images_alone(
    make: Callable[[Any], Any], weights: tuple[float, float], picture: Any
) -> None:
    """Images of 65x70 pixels, which the network sees with a margin: rate, 8-bit errors and loss, with numpy.

    HiFiC's rate has one weight there, wherever the rate lies.
    """
    net = network()
    images = [torch.from_numpy(picture(65, 70)).permute(2, 0, 1) for _ in range(2)]
    found = validated(make(net), images)
    expected: dict[str, list[float]] = {"bpp": [], "mse": [], "psnr": [], "loss": []}
    for image in images:
        margin = np.pad(image.numpy(), ((0, 0), (0, 63), (0, 58)), mode="edge")
        with torch.no_grad():
            output = net.eval()(torch.from_numpy(margin[None]).float() / 255)
        bits = sum(-np.log2(part.numpy().astype(np.float64)).sum() for part in output.likelihoods.values())
        decoded = np.clip(np.rint(output.x_hat[0, :, :65, :70].numpy() * 255.0), 0, 255)
        mse = np.square(decoded - image.numpy()).mean()
        values = (bits / (65 * 70), mse, 10 * math.log10(255**2 / mse))
        for name, value in zip(("bpp", "mse", "psnr"), values, strict=True):
            expected[name].append(value)
        expected["loss"].append(weights[0] * values[0] + weights[1] * mse)
    assert found == pytest.approx({name: np.mean(values) for name, values in expected.items()}, rel=1e-5)


def test_a_validation_has_float32_in_a_training_of_bfloat16() -> None:
    task = RateDistortion(network())
    whole = validated(task, [BATCH[0]])
    assert validated(task, [BATCH[0]], precision="bf16-mixed") == whole
    with torch.autocast("cpu", torch.bfloat16):
        coarse = task.objective(task.network.eval()(BATCH[:1] / 255), BATCH[:1] / 255)
    assert coarse.loss.item() != pytest.approx(whole["loss"], rel=1e-6), "else this test says nothing"


def test_the_gradient_of_the_second_law_takes_nothing_from_that_of_the_transforms() -> None:
    task = RateDistortion(network("shrinkage", hyper_channels=8), clip=0.5)
    for name, value in task.network.named_parameters():
        value.grad = torch.full_like(value, 100.0 if name.startswith("trained_law.") else 1e-5)
    assert task.clip_network().item() > 100
    lengths = {"law": 0.0, "others": 0.0}
    for name, value in task.network.named_parameters():
        if name.endswith(".quantiles"):
            continue
        law = name.startswith("trained_law.")
        lengths["law" if law else "others"] += float(value.grad.square().sum())
        assert law or torch.all(value.grad == 1e-5), name
    assert math.sqrt(lengths["law"]) == pytest.approx(0.5, rel=1e-4) and math.sqrt(lengths["others"]) < 0.5
    task.network.trained_law.biases[0].grad.fill_(math.nan)
    assert math.isnan(task.clip_network().item())


@pytest.mark.parametrize("architecture", ["hyperprior", "shrinkage"])
def test_a_side_loss_trains_only_the_parameters_that_are_its_own(architecture: str) -> None:
    """And those are trained by nothing else."""
    net = network(architecture).train()
    output = net(BATCH / 255)
    net.side_loss(output).backward()
    own = {name for name, value in net.named_parameters() if value.grad is not None and value.grad.abs().sum() > 0}
    mine = {name for name, _ in net.named_parameters() if name.startswith(net.side_parameters)}
    assert mine <= own and all(name in mine or name.endswith(".quantiles") for name in own)
    assert bool(mine) == (architecture == "shrinkage")
    net.zero_grad()
    output = net(BATCH / 255)
    RateDistortion(net).objective(output, BATCH / 255).loss.backward()
    assert all(value.grad is None for name, value in net.named_parameters() if name in mine)


def test_a_training_without_an_end_is_refused() -> None:
    trainer = Trainer(max_steps=-1, max_epochs=-1, accelerator="cpu", logger=False, enable_checkpointing=False,
                      enable_progress_bar=False, enable_model_summary=False)  # fmt: skip
    with pytest.raises(SpecError, match="needs an end: give the trainer max_steps"):
        trainer.fit(RateDistortion(network()), DataLoader(BATCH, 2))  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["hyperprior", "shrinkage"])
def test_compiled_steps_are_the_steps(architecture: str) -> None:
    """Of a quantiser without noise, which compiled code draws otherwise."""
    losses: dict[bool, list[float]] = {}
    for compiled in (False, True):
        task = RateDistortion(network(architecture, quantizer="ste"), schedule=Trapezoid(warmup=0))
        task.compiled = compiled
        torch.manual_seed(8)
        optimizer = torch.optim.Adam(task.network.parameters(), 1e-3)
        losses[compiled] = []
        for _ in range(3):
            output = task.run(BATCH / 255)
            loss = task.objective(output, BATCH / 255).loss + task.network.side_loss(output)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses[compiled].append(loss.item())
    assert losses[True] == pytest.approx(losses[False], rel=1e-3)
    assert losses[False][2] < losses[False][0]
