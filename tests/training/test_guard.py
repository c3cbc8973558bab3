"""`Guard` in real trainings of tiny networks: steps that are left out, and codecs that collapse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from rdp.errors import RdpError, SpecError
from rdp.models.registry import create_model
from rdp.training import RateDistortion, Trapezoid
from rdp.training.guard import Guard

IMAGES = (torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(3)) * 255).to(torch.uint8)


class Before(Callback):
    """Calls a function with the task before the steps of some numbers."""

    def __init__(self, act: Callable[[Any], None], *steps: int) -> None:
        self.act = act
        self.steps = steps

    def on_train_batch_start(self, trainer: Trainer, module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step in self.steps:
            self.act(module)


def spoil(module: Any) -> None:
    with torch.no_grad():
        module.network.analysis[0].bias[0] = torch.nan


def mend(module: Any) -> None:
    with torch.no_grad():
        module.network.analysis[0].bias[0] = 0


def without_parameter(module: Any) -> Any:
    return {n: v.detach().clone() for n, v in module.network.named_parameters() if n != "analysis.0.bias"}


def run(guard: Guard, steps: int, *callbacks: Callback, **options: Any) -> tuple[Any, Trainer]:
    """A training of `steps` steps, with a validation after every second one."""
    torch.manual_seed(2)
    network = create_model("factorized", channels=8, latent_channels=8)
    task = RateDistortion(network, schedule=Trapezoid(warmup=0), **options)
    return task, fitted(task, guard, steps, *callbacks)


def fitted(module: LightningModule, guard: Guard, steps: int, *callbacks: Callback) -> Trainer:
    trainer = Trainer(
        max_steps=steps, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False, num_sanity_val_steps=0, callbacks=[guard, *callbacks],
    )  # fmt: skip
    trainer.fit(module, DataLoader(IMAGES, 2), DataLoader(IMAGES[:1], 1))  # type: ignore[arg-type]
    return trainer


def test_a_training_that_is_well_is_left_alone() -> None:
    guard = Guard(skips=0, validations=1)
    assert run(guard, 4)[1].global_step == 4 and guard.skipped == 0


def test_steps_that_are_not_finite_change_nothing_and_are_counted() -> None:
    """Two steps with a parameter that is not a number, then it is mended: the others have not moved, and then do."""
    seen: list[Any] = []
    guard = Guard(skips=2)
    look = Before(lambda module: seen.append(without_parameter(module)), 1, 3, 4)
    task, trainer = run(guard, 4, look, Before(spoil, 1), Before(mend, 3))
    seen.append(without_parameter(task))
    before, after, *_, last = seen
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(torch.equal(after[name], last[name]) for name in after if name.endswith("weight"))
    assert guard.skipped == 2 and trainer.callback_metrics["train/steps_skipped"] == 2
    assert all(bool(torch.isfinite(value).all()) for value in task.parameters())


def test_too_many_of_them_in_a_row_end_the_training_and_say_what_is_not_finite() -> None:
    guard = Guard(skips=2)
    with pytest.raises(RdpError, match=r"stopped at step 4: not finite: .*loss.*, 3 steps in a row") as caught:
        run(guard, 9, Before(spoil, 1))
    assert "smaller learning rate" in str(caught.value) and guard.skipped == 3


def test_a_gradient_alone_that_is_not_finite_names_its_parameter() -> None:
    """As of a root at 0: the loss is a number, its derivative is none."""

    def hook(module: Any) -> None:
        module.network.synthesis[0].weight.register_hook(lambda gradient: gradient * torch.inf)

    with pytest.raises(RdpError, match=r"the gradient is not finite \(network\.synthesis\.0\.weight\), 2 steps"):
        run(Guard(skips=1), 9, Before(hook, 0))


def flat(module: Any) -> None:
    """A synthesis that makes one colour of everything."""
    with torch.no_grad():
        for value in module.network.synthesis.parameters():
            value.zero_()


def test_a_codec_that_makes_one_colour_of_everything_has_collapsed() -> None:
    guard = Guard(validations=2, patience=0)
    with pytest.raises(
        RdpError, match=r"collapsed, its PSNR of .* no better than the .* one colour each, 2 validations"
    ):
        run(guard, 9, Before(flat, *range(9)), optimizer=lambda params: torch.optim.SGD(params, lr=1e-9))


class Scripted(LightningModule):
    """Validations with numbers that are given: what `Guard` is told by any task."""

    def __init__(self, *numbers: dict[str, float]) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.numbers = list(numbers)

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        return self.weight * batch.float().mean()

    def validation_step(self, batch: Tensor, index: int) -> None:
        well = {"bpp": 0.3, "psnr": 30.0, "loss": 1.0}
        self.log_dict({f"val/{name}": value for name, value in {**well, **self.numbers.pop(0)}.items()})

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=1e-6)


def validated(guard: Guard, *numbers: dict[str, float]) -> int:
    """So many validations, each after two steps; the steps that were done."""
    return fitted(Scripted(*numbers), guard, 2 * len(numbers)).global_step


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"bpp": 1e-4}, r"it spends 0\.0001 bit/pixel"),
        ({"bpp": 25.0}, r"it spends 25 bit/pixel, more than raw pixels"),
        ({"psnr": 10.7}, r"its PSNR of 10\.70 dB is no better than the 10\.[78]\d dB of images of one colour each"),
        ({"loss": float("nan")}, r"its loss on validation images is not finite"),
    ],
)
def test_two_collapsed_validations_in_a_row_end_the_training(numbers: dict[str, float], message: str) -> None:
    """The images are noise, evenly from 0 to 255: a variance of 255^2 / 12, at 10.79 dB."""
    with pytest.raises(
        RdpError, match=f"stopped at step 6: the codec has collapsed, {message}, 2 validations in a row"
    ):
        validated(Guard(validations=2, patience=0), {}, numbers, numbers, {})


def test_one_good_validation_begins_the_count_anew() -> None:
    bad = {"bpp": 0.0}
    assert validated(Guard(validations=2, patience=0), bad, {}, bad, {}) == 8


def test_no_codec_counts_as_collapsed_before_its_patience_ends() -> None:
    bad = {"bpp": 0.0}
    assert validated(Guard(validations=1, patience=5), bad, bad) == 4


@pytest.mark.parametrize("options", [{"skips": -1}, {"validations": 0}, {"patience": -1}])
def test_counts_that_cannot_be_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(SpecError, match=f"--guard.{next(iter(options))} is"):
        Guard(**options)
