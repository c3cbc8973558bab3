"""Moving averages and best weights, in real trainings of tiny networks."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from rdp.errors import RdpError, SpecError
from rdp.models.checkpoint import load_model, read_header
from rdp.models.registry import create_model
from rdp.training import Distortion, HiFiC, RateDistortion, Trapezoid
from rdp.training.average import MovingAverage
from rdp.training.callbacks import BestWeights, ValidationCurve, validation_numbers
from rdp.training.folder import TrainingFolder, WholeCheckpoints, read_checkpoint

IMAGES = (torch.rand(6, 3, 64, 64, generator=torch.Generator().manual_seed(3)) * 255).to(torch.uint8)
State = dict[str, Tensor]


class AbsoluteError(Distortion):
    """A distortion that keeps a network of its own, as LPIPS does, outside of its submodules."""

    name = "absolute"
    copies = 0

    def __init__(self) -> None:
        super().__init__()
        self.hidden = (torch.nn.Linear(2, 2),)

    def __deepcopy__(self, memo: Any) -> AbsoluteError:
        AbsoluteError.copies += 1
        return self

    def forward(self, x_hat: Tensor, x: Tensor) -> Tensor:
        return (x_hat - x).abs().flatten(1).mean(1)


class At(Callback):
    """Calls a function with trainer and task at a hook."""

    def __init__(self, hook: str, look: Callable[[Trainer, Any], Any]) -> None:
        setattr(self, hook, lambda trainer, module, *_: look(trainer, module))


def task(kind: Any = RateDistortion, **options: Any) -> Any:
    torch.manual_seed(2)
    return kind(create_model("hyperprior", channels=8, latent_channels=8), schedule=Trapezoid(warmup=0), **options)


def run(
    module: Any, steps: int, *callbacks: Callback, ckpt: Path | None = None, validate: bool = True, one: bool = False
) -> Trainer:
    """Epochs of three steps, each followed by a validation of one image; with `one` all batches are the same."""
    images = IMAGES[:2].repeat(3, 1, 1, 1) if one else IMAGES
    trainer = Trainer(
        max_steps=steps, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False, num_sanity_val_steps=0, callbacks=list(callbacks), plugins=[WholeCheckpoints()],
    )  # fmt: skip
    loaders: list[Any] = [DataLoader(images, 2), *([DataLoader(IMAGES[:1], 1)] if validate else [])]  # type: ignore[arg-type]
    trainer.fit(module, *loaders, ckpt_path=ckpt, weights_only=True if ckpt else None)
    return trainer


def parameters(module: Any) -> State:
    return {name: value.detach().clone() for name, value in module.network.named_parameters()}


def same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_averages_are_those_computed_by_hand_and_what_is_validated_and_left() -> None:
    """Of three steps: the decay of the second is 2/11 and that of the third 3/12, or less if `decay` is."""
    module, steps, seen = task(), [], []
    watch = At("on_train_batch_end", lambda _, module: steps.append(parameters(module)))
    validated = At("on_validation_end", lambda _, module: seen.append(parameters(module)))
    after = At("on_train_epoch_end", lambda _, module: seen.append(parameters(module)))
    run(module, 3, watch, validated, MovingAverage(0.2), after)
    first, second, third = steps
    for name, value in parameters(module).items():
        two = first[name].double() * 2 / 11 + second[name].double() * 9 / 11
        three = two * 0.2 + third[name].double() * 0.8
        torch.testing.assert_close(value.double(), three, rtol=1e-5, atol=1e-7)
    assert same(seen[0], parameters(module))
    assert same(seen[1], third) and not same(seen[0], third)


def test_without_averages_the_weights_of_the_training_are_validated() -> None:
    module, seen = task(), []
    run(module, 3, At("on_validation_end", lambda _, module: seen.append(parameters(module))))
    assert same(seen[0], parameters(module))


def test_a_discriminator_is_not_averaged_and_a_distortion_not_copied(tmp_path: Path) -> None:
    module = task(HiFiC, perceptual=AbsoluteError(), discriminator_width=0.1)
    seen: list[State] = []
    ends: list[State] = []

    def discriminator(module: Any) -> State:
        return {name: value.detach().clone() for name, value in module.discriminator.state_dict().items()}

    average = MovingAverage(0.5)
    before = AbsoluteError.copies
    run(
        module, 3, At("on_validation_end", lambda _, module: seen.append(discriminator(module))), average,
        At("on_train_epoch_end", lambda _, module: ends.append(discriminator(module))),
        At("on_train_epoch_end", lambda trainer, _: trainer.save_checkpoint(tmp_path / "a.ckpt")),
    )  # fmt: skip
    assert same(seen[0], ends[0]) and same(seen[0], discriminator(module))
    assert AbsoluteError.copies == before
    assert average.averages.keys() == parameters(module).keys()
    state = read_checkpoint(tmp_path / "a.ckpt")
    for name, value in state["state_dict"].items():
        other = state["current_model_state"][name]
        shared = value.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()
        assert shared == (name.removeprefix("network.") not in average.averages), name


def test_averages_go_on_from_a_checkpoint(tmp_path: Path) -> None:
    noise = [At("on_train_batch_start", lambda trainer, _: torch.manual_seed(trainer.global_step))]
    save = At(
        "on_train_epoch_end", lambda trainer, _: trainer.save_checkpoint(tmp_path / f"{trainer.global_step}.ckpt")
    )
    whole = task()
    run(whole, 6, *noise, MovingAverage(), save, validate=False, one=True)
    resumed = task()
    run(resumed, 6, *noise, MovingAverage(), validate=False, one=True, ckpt=tmp_path / "3.ckpt")
    assert same(parameters(whole), parameters(resumed))
    state = read_checkpoint(tmp_path / "6.ckpt")["state_dict"]
    assert same(parameters(whole), {name: state[f"network.{name}"] for name in parameters(whole)})


@pytest.mark.parametrize("decay", [-0.1, 1, 2])
def test_a_decay_that_cannot_be_is_refused(decay: float) -> None:
    with pytest.raises(SpecError, match=r"--ema\.decay is"):
        MovingAverage(decay)


class Second(BestWeights):
    """Lightning takes only one callback of a class."""


def best(root: Path, kind: type[BestWeights] = BestWeights, **options: Any) -> BestWeights:
    root.mkdir(exist_ok=True)
    callback = kind(**options)
    callback.attach(TrainingFolder(root), lambda: {"seed": 5}, {"trained_on": "[]"})
    return callback


class Losses(Callback):
    """Validations whose loss is told, and the weights at each."""

    def __init__(self, *losses: float) -> None:
        self.losses = list(losses)
        self.weights: list[State] = []

    def on_validation_epoch_end(self, trainer: Trainer, module: Any) -> None:
        self.weights.append(parameters(module))
        module.log("val/told", self.losses[len(self.weights) - 1])


@pytest.mark.parametrize(("choose", "kept"), [("best", 1), ("last", 2)])
def test_the_weights_of_the_best_or_of_the_last_validation_are_kept(tmp_path: Path, choose: Any, kept: int) -> None:
    told = Losses(3.0, 1.0, 2.0)
    run(task(), 9, told, best(tmp_path, monitor="val/told", choose=choose))
    assert same(dict(load_model(tmp_path / "weights.safetensors").named_parameters()), told.weights[kept])
    notes = read_header(tmp_path / "weights.safetensors").notes
    said = json.loads(notes["training"])
    assert said["validation"]["step"] == 3 * (kept + 1) and said["validation"]["told"] == told.losses[kept]
    assert said["seed"] == 5 and notes["trained_on"] == "[]"


def test_half_weights_are_half_as_large_and_nearly_the_same(tmp_path: Path) -> None:
    module = task()
    run(module, 3, best(tmp_path / "whole"), best(tmp_path / "half", Second, half=True))
    whole, half = (tmp_path / name / "weights.safetensors" for name in ("whole", "half"))
    own, rounded = (dict(load_model(path).named_parameters()) for path in (whole, half))
    assert same(own, parameters(module))
    for name, value in own.items():
        torch.testing.assert_close(rounded[name], value, rtol=2**-11, atol=2**-25)
    kernels = sum(value.numel() for value in own.values() if value.ndim == 4)
    assert whole.stat().st_size - half.stat().st_size == pytest.approx(2 * kernels, abs=1000)


def test_a_monitor_that_no_validation_logs_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(RdpError, match=r"--best\.monitor val/los is no number .* val/bpp, .*val/loss"):
        run(task(), 3, best(tmp_path, monitor="val/los"))


def test_weights_of_a_training_without_validation_are_rewritten_when_it_goes_on(tmp_path: Path) -> None:
    save = At("on_train_epoch_end", lambda trainer, _: trainer.save_checkpoint(tmp_path / "last.ckpt"))
    run(task(), 3, best(tmp_path), save, validate=False)
    first = dict(load_model(tmp_path / "weights.safetensors").named_parameters())
    module = task()
    run(module, 5, best(tmp_path), ckpt=tmp_path / "last.ckpt", validate=False)
    found = dict(load_model(tmp_path / "weights.safetensors").named_parameters())
    assert same(found, parameters(module)) and not same(found, first)
    said = json.loads(read_header(tmp_path / "weights.safetensors").notes["training"])
    assert said["validation"]["step"] == 5 and "no validation images" in said["chosen"]


def test_the_last_weights_whose_validation_had_numbers_are_kept(tmp_path: Path) -> None:
    told = Losses(3.0, float("nan"))
    run(task(), 6, told, best(tmp_path, monitor="val/told", choose="last"))
    assert same(dict(load_model(tmp_path / "weights.safetensors").named_parameters()), told.weights[0])


def test_a_curve_has_every_validation_and_goes_on_from_the_step_of_a_checkpoint(tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path)
    numbers: list[dict[str, float]] = []
    note = At("on_validation_end", lambda trainer, _: numbers.append(validation_numbers(trainer)))
    save = At(
        "on_train_epoch_end", lambda trainer, _: trainer.save_checkpoint(tmp_path / f"{trainer.global_step}.ckpt")
    )
    run(task(), 6, note, ValidationCurve(folder), save)
    rows = list(csv.DictReader(folder.curve.open()))
    assert [int(row["step"]) for row in rows] == [3, 6]
    for row, expected in zip(rows, numbers, strict=True):
        assert {name: float(row[name]) for name in expected} == pytest.approx(expected, rel=1e-6)
    run(task(), 4, ValidationCurve(folder), ckpt=tmp_path / "3.ckpt")
    assert [int(row["step"]) for row in csv.DictReader(folder.curve.open())][:1] == [3]
    assert folder.figure.read_bytes().startswith(b"\x89PNG")
