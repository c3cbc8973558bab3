"""Adversarial training on tiny networks: who learns from what, steps, stages, resuming, and what is not finite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor
from torch.utils.data import DataLoader

from rdp.errors import SpecError
from rdp.models.checkpoint import load_model, save_model
from rdp.models.registry import create_model
from rdp.training import LPIPS, Distortion, HiFiC, MeanSquaredError, RateControl, RateDistortion, Trapezoid, WeightedSum
from rdp.training.adversarial import K_M

WIDTHS = {"channels": 8, "latent_channels": 8}


class AbsoluteError(Distortion):
    """The mean absolute error: a perceptual distance that costs nothing."""

    name = "absolute"

    def forward(self, x_hat: Tensor, x: Tensor) -> Tensor:
        return (x_hat - x).abs().flatten(1).mean(1)


class BrokenOnce(AbsoluteError):
    """Not a number at its second batch."""

    calls = 0

    def forward(self, x_hat: Tensor, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x_hat, x) * (float("nan") if self.calls == 2 else 1)


class SeedOfStep(Callback):
    """Noise that follows from the step alone, so that a resumed training draws what it would have drawn."""

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        torch.manual_seed(trainer.global_step)


class Watch(Callback):
    """Calls a function at the end of every batch."""

    def __init__(self, look: Any) -> None:
        self.look = look

    def on_train_batch_end(self, trainer: Trainer, module: Any, *_: Any) -> None:
        self.look(trainer, module)


def _adam(rate: float) -> Any:
    return lambda params: torch.optim.Adam(params, lr=rate)


def _task(**options: Any) -> HiFiC:
    torch.manual_seed(6)
    defaults: dict[str, Any] = {
        "network": create_model("hyperprior", **WIDTHS),
        "perceptual": AbsoluteError(),
        "discriminator_width": 0.1,
        "schedule": Trapezoid(warmup=2),
    }
    return HiFiC(**{**defaults, **options})


def _images(side: int) -> list[np.ndarray]:
    random = np.random.default_rng(1)
    y, x = np.mgrid[0:side, 0:side]
    waves = [
        np.stack([128 + 90 * np.sin((x + c * y) / (5 + c + k)) for c in range(3)], -1)
        + random.normal(0, 8, (side, side, 3))
        for k in range(3)
    ]
    return [np.clip(wave, 0, 255).astype(np.uint8) for wave in waves]


def _loader(one: bool = False) -> DataLoader[Tensor]:
    """Three batches an epoch, of two crops each; all the same with `one`."""
    images = [image[top : top + 64, top : top + 64] for image in _images(80) for top in (0, 16)]
    images = images[:1] * 6 if one else images
    return DataLoader([torch.from_numpy(image).permute(2, 0, 1) for image in images], 2)  # type: ignore[arg-type]


def _fit(
    task: Any,
    folder: Path,
    steps: int = 3,
    *callbacks: Callback,
    resume: Path | None = None,
    one: bool = False,
    **more: Any,
) -> Trainer:
    trainer = Trainer(
        max_steps=steps, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=any(isinstance(callback, ModelCheckpoint) for callback in callbacks),
        default_root_dir=folder, callbacks=[SeedOfStep(), *callbacks], **more,
    )  # fmt: skip
    trainer.fit(task, _loader(one), ckpt_path=resume, weights_only=True if resume else None)
    return trainer


def _weights(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def _same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(("target", "weight"), [(1e-3, 2.0), (1e3, 0.0625)])
def test_the_objective_is_the_weighted_sum_of_its_terms(target: float, weight: float) -> None:
    task = _task(rate=RateControl(target))
    x = torch.rand(2, 3, 64, 64)
    output = task.network(x)
    objective = task.objective(output, x)
    mse = 255**2 * (output.x_hat - x).square().mean()
    expected = weight * output.bpp().mean() + 0.075 / 32 * mse + (output.x_hat - x).abs().mean()
    assert objective.loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert objective.parts["lambda"].item() == weight
    assert set(objective.parts) == {"loss", "bpp", "lambda", "mse", "absolute"}


def test_at_30_db_the_squared_error_takes_15_hundredths() -> None:
    x = torch.rand(1, 3, 8, 8)
    assert K_M * MeanSquaredError()(x + 10 ** (-30 / 20), x).item() == pytest.approx(0.1524, rel=1e-3)


def test_every_term_and_the_accuracy_are_logged(tmp_path: Path) -> None:
    metrics = _fit(_task(), tmp_path, 1).callback_metrics
    names = "loss bpp lambda mse absolute adversarial d_loss d_real d_fake d_accuracy skipped"
    assert set(metrics) == {f"train/{name}" for name in names.split()}
    expected = (
        metrics["train/lambda"] * metrics["train/bpp"] + K_M * metrics["train/mse"] + metrics["train/absolute"]
        + 0.15 * metrics["train/adversarial"]
    )  # fmt: skip
    assert metrics["train/loss"].item() == pytest.approx(expected.item(), rel=1e-4)
    assert metrics["train/adversarial"].item() == pytest.approx(0.69, abs=0.3), "fresh discriminators know nothing"
    assert metrics["train/d_loss"].item() == pytest.approx(1.39, abs=0.6)


def test_neither_network_gets_a_gradient_of_the_step_of_the_other(tmp_path: Path) -> None:
    class Gradients(Callback):
        def __init__(self) -> None:
            self.seen: list[tuple[bool, list[Tensor | None], list[Tensor | None]]] = []

        def on_before_optimizer_step(self, trainer: Trainer, module: Any, optimizer: Any) -> None:
            kinds = (module.network, module.discriminator)
            copies = [[p.grad if p.grad is None else p.grad.clone() for p in kind.parameters()] for kind in kinds]
            self.seen.append((optimizer is trainer.optimizers[0], *copies))

    watched = Gradients()
    _fit(_task(), tmp_path, 2, watched)
    assert [network for network, _, _ in watched.seen] == [True, False, True, False]
    (_, network, discriminator), (_, network_after, discriminator_after), (_, _, at_next), _ = watched.seen
    assert all(gradient is None for gradient in discriminator)
    assert all(gradient is not None and gradient.abs().max() > 0 for gradient in discriminator_after)
    unchanged = zip(network + discriminator_after, network_after + at_next, strict=True)
    assert all(a is b is None or torch.equal(a, b) for a, b in unchanged)


def test_the_adversarial_term_reaches_the_decoder(tmp_path: Path) -> None:
    """With no other term, nothing else can move it."""
    task = _task(rate=RateControl(1.0, 0.0, 0.0), k_m=0.0, k_p=0.0, optimizer=_adam(1e-3))
    before = _weights(task.network.synthesis)
    _fit(task, tmp_path, 1)
    assert not _same(before, _weights(task.network.synthesis))


def test_the_discriminator_learns_to_tell_reconstructions_of_a_fresh_network(tmp_path: Path) -> None:
    told: list[float] = []
    task = _task(optimizer=_adam(1e-6), discriminator_optimizer=_adam(3e-3), discriminator_width=0.2)
    _fit(task, tmp_path, 24, Watch(lambda trainer, _: told.append(trainer.callback_metrics["train/d_accuracy"].item())))
    assert told[0] < 0.8
    assert min(told[-3:]) > 0.9


def test_a_network_learns_to_be_taken_for_real_by_a_fixed_discriminator(tmp_path: Path) -> None:
    costs: list[float] = []
    task = _task(rate=RateControl(1.0, 0.0, 0.0), k_m=0.0, k_p=0.0, optimizer=_adam(1e-2), beta=1.0,
                 discriminator_optimizer=_adam(1e-12))  # fmt: skip
    _fit(
        task, tmp_path, 12, Watch(lambda trainer, _: costs.append(trainer.callback_metrics["train/adversarial"].item()))
    )
    assert np.mean(costs[-3:]) < costs[0] - 0.05


def test_without_an_adversarial_weight_it_is_the_training_of_rate_and_distortion_step_for_step(tmp_path: Path) -> None:
    def sgd(params: Any) -> Any:
        return torch.optim.SGD(params, lr=1e-2)

    plain_rate = RateControl(1.0, 1.0, 1.0)
    first = _task(beta=0.0, rate=plain_rate, optimizer=sgd)
    assert first.discriminator is None
    torch.manual_seed(6)
    network = create_model("hyperprior", **WIDTHS)
    distortion = WeightedSum([MeanSquaredError(), AbsoluteError()], [K_M, 1.0])
    other = RateDistortion(network, 1.0, distortion, optimizer=sgd, schedule=Trapezoid(warmup=2))
    assert _same(_weights(first.network), _weights(other.network))
    begun = _weights(first.network)
    trails: list[list[dict[str, Tensor]]] = [[], []]
    for task, trail in zip((first, other), trails, strict=True):
        _fit(task, tmp_path, 4, Watch(lambda _, module, trail=trail: trail.append(_weights(module.network))))
    assert len(trails[0]) == len(trails[1]) == 4
    assert not _same(begun, trails[0][-1])
    for one, same in zip(*trails, strict=True):
        assert all(torch.allclose(one[name], same[name], atol=1e-6) for name in one)


def test_steps_are_those_of_the_network_alone(tmp_path: Path) -> None:
    factors: list[float] = []
    batches: list[int] = []

    def look(trainer: Trainer, module: Any) -> None:
        batches.append(trainer.global_step)
        factors.append(trainer.optimizers[1].param_groups[0]["lr"] / 1e-4)

    schedule = Trapezoid(warmup=1, decay=0.5, last=0.1)
    trainer = _fit(_task(schedule=schedule), tmp_path, 4, Watch(look))
    assert batches == [1, 2, 3, 4]
    assert factors[:3] == pytest.approx([schedule.factor(step, 4) for step in (1, 2, 3)])
    assert {float(state["step"]) for state in trainer.optimizers[1].state.values()} == {4.0}
    assert [each.scheduler.last_epoch for each in trainer.lr_scheduler_configs] == [4, 4]


@pytest.mark.parametrize("beta", [0.0, 0.15])
def test_a_resumed_training_ends_where_the_uninterrupted_one_does(tmp_path: Path, beta: float) -> None:
    """Weights, optimisers and schedules; which crops come is tested with the data, and here all batches are equal."""
    saved = ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1, every_n_epochs=1)
    whole = _task(beta=beta)
    trainer = _fit(whole, tmp_path, 6, saved, one=True)
    resumed = _task(beta=beta)
    torch.manual_seed(99)
    again = _fit(resumed, tmp_path, 6, resume=tmp_path / "epoch=0.ckpt", one=True)
    assert again.global_step == trainer.global_step == 6
    assert _same(_weights(whole), _weights(resumed))
    for one, other in zip(trainer.optimizers, again.optimizers, strict=True):
        pairs = zip(one.state_dict()["state"].values(), other.state_dict()["state"].values(), strict=True)
        for before, after in pairs:
            assert all(torch.equal(torch.as_tensor(before[key]), torch.as_tensor(after[key])) for key in before)
        assert one.param_groups[0]["lr"] == other.param_groups[0]["lr"]


def test_the_second_stage_begins_with_the_weights_of_the_first(tmp_path: Path) -> None:
    first = _task(beta=0.0)
    _fit(first, tmp_path, 2)
    save_model(tmp_path / "first.safetensors", first.network)
    second = _task(initial=str(tmp_path / "first.safetensors"))
    assert _same(_weights(first.network), _weights(second.network))
    _fit(second, tmp_path, 2)
    save_model(tmp_path / "second.safetensors", second.network)
    assert _same(_weights(load_model(tmp_path / "second.safetensors")), _weights(second.network))


def test_a_step_that_is_no_number_changes_no_weights_and_is_logged(tmp_path: Path) -> None:
    trail: list[tuple[dict[str, Tensor], float]] = []
    task = _task(perceptual=BrokenOnce())
    _fit(task, tmp_path, 3, Watch(
        lambda trainer, module: trail.append(
            (_weights(module.network), trainer.callback_metrics["train/skipped"].item())
        )
    ))  # fmt: skip
    assert [skipped for _, skipped in trail] == [0, 1, 0]
    assert _same(trail[0][0], trail[1][0])
    assert not _same(trail[1][0], trail[2][0])
    assert all(torch.isfinite(value).all() for value in task.state_dict().values())


def test_a_network_that_gives_no_numbers_leaves_the_discriminator_alone(tmp_path: Path) -> None:
    task = _task()
    with torch.no_grad():
        next(task.network.synthesis.parameters()).fill_(float("nan"))
    trainer = _fit(task, tmp_path, 2)
    assert trainer.callback_metrics["train/skipped"] == 2
    assert all(torch.isfinite(value).all() for value in task.discriminator.parameters())


@pytest.mark.parametrize("architecture", ["hific", "shrinkage", "factorized"])
def test_other_networks_of_stride_16_train_too(tmp_path: Path, architecture: str) -> None:
    config = {
        "hific": {"width": 0.05, "residual_blocks": 1, "signed": True},
        "shrinkage": {"channels": 16, "latent_channels": 8},
        "factorized": WIDTHS,
    }
    task = _task(network=create_model(architecture, **config[architecture]))
    assert task.discriminator.signed is (architecture == "hific")
    metrics = _fit(task, tmp_path, 1).callback_metrics
    assert torch.isfinite(metrics["train/loss"])
    assert metrics["train/skipped"] == 0


def test_bfloat16_trains_both_and_leaves_the_weights_in_float32(tmp_path: Path) -> None:
    task = _task()
    before = _weights(task)
    metrics = _fit(task, tmp_path, 2, precision="bf16-mixed").callback_metrics
    assert metrics["train/skipped"] == 0
    after = _weights(task)
    assert {value.dtype for value in after.values() if value.is_floating_point()} == {torch.float32}
    assert all(not torch.equal(before[f"{part}.weight"], after[f"{part}.weight"]) for part in ("network.analysis.0",))
    learned = [name for name, _ in task.discriminator.named_parameters()]
    assert all(not torch.equal(before[f"discriminator.{name}"], after[f"discriminator.{name}"]) for name in learned)


def test_with_lpips_the_validation_logs_it_and_the_checkpoint_does_not_hold_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: Path
) -> None:
    monkeypatch.setenv("RDP_WEIGHTS", str(shared / "weights"))
    task = _task(perceptual=LPIPS("squeeze"))
    trainer = _fit(task, tmp_path, 1)
    (found,) = trainer.validate(task, DataLoader([torch.from_numpy(_images(72)[0]).permute(2, 0, 1)], 1), verbose=False)
    assert set(found) == {"val/bpp", "val/mse", "val/psnr", "val/loss", "val/lpips"}
    assert 0.01 < found["val/lpips"] < 2
    trainer.save_checkpoint(tmp_path / "all.ckpt")
    state = torch.load(tmp_path / "all.ckpt", weights_only=True)["state_dict"]
    assert {name.partition(".")[0] for name in state} == {"network", "discriminator"}


def test_negative_weights_are_refused() -> None:
    with pytest.raises(SpecError, match="0 or more"):
        _task(beta=-1.0)


def test_a_latent_of_another_size_than_a_sixteenth_is_refused_unless_there_is_no_discriminator() -> None:
    network = create_model("factorized", **WIDTHS)
    network.analysis.append(torch.nn.AvgPool2d(2))
    network.stride = 32
    with pytest.raises(SpecError, match="1/32"):
        _task(network=network)
    assert _task(network=network, beta=0.0).discriminator is None


@pytest.mark.gpu
def test_half_precision_with_a_scaler_is_refused(tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    trainer = Trainer(max_steps=1, accelerator="gpu", devices=1, precision="16-mixed", logger=False,
                      enable_checkpointing=False, default_root_dir=tmp_path)  # fmt: skip
    with pytest.raises(SpecError, match="16-mixed"):
        trainer.fit(_task(), _loader())
