"""What a training sees of its data: with validation and without, resumed anywhere, and on two devices."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch import Tensor

from rdp.images import hash_pixels, write_png
from rdp.training.data import ImageFolders


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Three images of noise that crops of 64 fit into."""
    return write_noise(tmp_path / "train", rng, {"a": (64, 90), "b": (80, 70), "c": (128, 64)})


@pytest.fixture
def validation(tmp_path: Path, rng: np.random.Generator) -> Path:
    return write_noise(tmp_path / "valid", rng, {"x": (40, 50), "y": (33, 20), "z": (70, 80)})


def write_noise(folder: Path, rng: np.random.Generator, sizes: dict[str, tuple[int, int]]) -> Path:
    folder.mkdir()
    for name, size in sizes.items():
        write_png(folder / f"{name}.png", rng.integers(0, 256, (*size, 3), dtype=np.uint8))
    return folder


def data(train: Path, **options: Any) -> ImageFolders:
    return ImageFolders(str(train), **{"crop": 64, "batch_size": 2, "steps_per_epoch": 4, **options})


class Recorder(LightningModule):
    """One number to train; keeps what every batch was."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[tuple[int, str]] = []
        self.validated = 0

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        self.seen.append((index, hash_pixels(batch.numpy().transpose(0, 2, 3, 1).reshape(len(batch), -1, 3))))
        return self.weight * batch.float().mean()

    def validation_step(self, batch: Tensor, index: int) -> None:
        self.validated += 1

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 1e-6)


class Interrupted(Exception):
    pass


class StopAfter(Callback):
    """Ends the training as a crash would, after so many steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == self.steps:
            raise Interrupted


def fit(module: ImageFolders, *callbacks: Callback, checkpoint: Path | None = None, **options: Any) -> Recorder:
    recorder = Recorder()
    limits = {"max_epochs": 3} if "max_steps" not in options else {}
    trainer = Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=any(isinstance(c, ModelCheckpoint) for c in callbacks), callbacks=list(callbacks),
        num_sanity_val_steps=0, **{**limits, **options},
    )  # fmt: skip
    try:
        trainer.fit(recorder, datamodule=module, ckpt_path=checkpoint)
    except Interrupted:
        assert callbacks
    return recorder


def each_step(folder: Path) -> ModelCheckpoint:
    return ModelCheckpoint(folder, filename="{step}", every_n_train_steps=1, save_top_k=-1)


def test_a_training_without_validation_runs(folder: Path) -> None:
    recorder = fit(data(folder))
    assert [index for index, _ in recorder.seen] == [0, 1, 2, 3] * 3
    assert len(set(recorder.seen)) == 12
    assert recorder.validated == 0


def test_an_epoch_ends_with_the_validation(folder: Path, validation: Path) -> None:
    assert fit(data(folder, validation=str(validation))).validated == 9


RESUMED = {"limit": {"limit_train_batches": 3}, "steps": {"max_steps": 11}, "half": {"val_check_interval": 0.5}}


@pytest.mark.filterwarnings("error:.*resum.*")
@pytest.mark.parametrize("options", [{}, *RESUMED.values()], ids=["plain", *RESUMED])
@pytest.mark.parametrize("steps", [1, 3, 4, 6, 8, 9])
def test_a_training_resumed_within_an_epoch_sees_what_it_would_have_seen(
    folder: Path, validation: Path, tmp_path: Path, steps: int, options: dict[str, Any]
) -> None:
    def module() -> ImageFolders:
        return data(folder, validation=str(validation), validation_limit=1)

    uninterrupted = fit(module(), **options).seen
    if len(uninterrupted) <= steps:
        return
    first = fit(module(), StopAfter(steps), each_step(tmp_path / "kept"), **options).seen
    second = fit(module(), checkpoint=tmp_path / "kept" / f"step={steps}.ckpt", **options).seen
    assert first == uninterrupted[:steps]
    assert second == uninterrupted[steps:]


@pytest.mark.parametrize("options", [{}, {"val_check_interval": 0.5}], ids=["whole", "half"])
@pytest.mark.parametrize(("with_validation", "on_epoch"), [(True, True), (True, False), (False, True)])
def test_a_training_resumed_after_a_validation_or_an_epoch_sees_what_it_would_have_seen(
    folder: Path, validation: Path, tmp_path: Path, with_validation: bool, on_epoch: bool, options: dict[str, Any]
) -> None:
    def module() -> ImageFolders:
        return data(folder, validation=str(validation) if with_validation else "", validation_limit=1)

    uninterrupted = fit(module(), **options).seen
    saver = ModelCheckpoint(tmp_path / "kept", filename="{step}", save_top_k=-1, save_on_train_epoch_end=on_epoch)
    fit(module(), saver, **options)
    files = list((tmp_path / "kept").glob("step=*.ckpt"))
    assert len(files) == (6 if options and not on_epoch else 3)
    for file in files:
        steps = int(file.stem.partition("=")[2])
        assert fit(module(), checkpoint=file, **options).seen == uninterrupted[steps:], file.name


@pytest.mark.slow
@pytest.mark.parametrize("steps", [2, 4, 5])
def test_a_training_with_workers_resumes_at_the_right_crop(folder: Path, tmp_path: Path, steps: int) -> None:
    options = {"limit_train_batches": 2} if steps == 2 else {}
    uninterrupted = fit(data(folder), **options).seen
    fit(data(folder), StopAfter(steps), each_step(tmp_path / "kept"), **options)
    resumed = fit(data(folder, workers=1), checkpoint=tmp_path / "kept" / f"step={steps}.ckpt", **options)
    assert resumed.seen == uninterrupted[steps:]


def test_a_training_that_resumes_with_other_data_is_warned(folder: Path, tmp_path: Path) -> None:
    fit(data(folder), StopAfter(2), each_step(tmp_path / "kept"))
    (folder / "a.png").unlink()
    with pytest.warns(UserWarning, match=r"resumes with another images, seed than it had"):
        fit(data(folder, seed=1), checkpoint=tmp_path / "kept" / "step=2.ckpt")


DEVICES = """
import sys
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from rdp.training.data import ImageFolders
from rdp.images import hash_pixels

class Recorder(LightningModule):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = []
    def training_step(self, batch, index):
        self.seen.append(sorted(hash_pixels(x.permute(1, 2, 0).numpy()) for x in batch))
        return self.weight * batch.float().mean()
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 1e-6)

if __name__ == "__main__":
    images, kept, out, checkpoint, devices = sys.argv[1:]
    trainer = Trainer(
        accelerator="cpu", devices=int(devices), strategy="ddp" if devices == "2" else "auto", max_epochs=2,
        logger=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[ModelCheckpoint(kept, filename="{step}", every_n_train_steps=1, save_top_k=-1)],
    )
    recorder = Recorder()
    data = ImageFolders(images, crop=64, batch_size=4 // int(devices), steps_per_epoch=3)
    trainer.fit(recorder, datamodule=data, ckpt_path=checkpoint or None)
    torch.save(recorder.seen, f"{out}.{trainer.global_rank}")
"""


@pytest.mark.slow
def test_two_devices_see_together_what_one_sees_also_resumed_within_an_epoch(folder: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(DEVICES)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def run(out: str, devices: int, checkpoint: str = "") -> list[list[str]]:
        arguments = [folder, tmp_path / f"kept{devices}", tmp_path / out, checkpoint, devices]
        subprocess.run([sys.executable, script, *map(str, arguments)], check=True, env=environment, capture_output=True)
        seen = [torch.load(tmp_path / f"{out}.{rank}", weights_only=True) for rank in range(devices)]
        return [sorted(itertools.chain(*step)) for step in zip(*seen, strict=True)]

    alone = run("alone", 1)
    assert len(alone) == 6
    assert run("both", 2) == alone
    assert run("resumed", 2, str(tmp_path / "kept2" / "step=4.ckpt")) == alone[4:]
