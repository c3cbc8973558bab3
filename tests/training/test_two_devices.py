"""Two processes: validations of all images on both, and a signal to one that ends both."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, Trainer

from rdp.images import write_png
from rdp.models.registry import create_model
from rdp.training import ImageFolders, RateDistortion, Trapezoid
from rdp.training.callbacks import validation_numbers
from rdp.training.folder import WholeCheckpoints
from rdp.training.guard import Guard
from rdp.training.steps import LastCheckpoint, Steps, TrainingInterrupted


class Seen(Callback):
    """What each process saw of its validation, and a signal to the second alone."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self.said: dict[str, Any] = {}

    def on_validation_end(self, trainer: Trainer, module: Any) -> None:
        self.said["numbers"] = validation_numbers(trainer)
        self.said["flat"] = self.guard.flat

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == 3 and trainer.global_rank == 1:
            os.kill(os.getpid(), signal.SIGINT)


def main() -> None:
    """One of the processes."""
    root = Path(sys.argv[1])
    torch.manual_seed(2)
    task = RateDistortion(create_model("factorized", channels=8, latent_channels=8), schedule=Trapezoid(warmup=0))
    guard = Guard(validations=99, patience=0)
    seen = Seen(guard)
    devices = int(sys.argv[2])
    trainer = Trainer(
        accelerator="cpu", devices=devices, strategy="ddp" if devices == 2 else "auto", max_steps=6, max_epochs=-1,
        logger=False, plugins=[WholeCheckpoints()], enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, default_root_dir=root,
        callbacks=[Steps(0), guard, seen, LastCheckpoint(root / sys.argv[2] / "last.ckpt", "this")],
    )  # fmt: skip
    data = ImageFolders(str(root / "train"), str(root / "valid"), crop=64, batch_size=2 // devices, steps_per_epoch=2)
    try:
        trainer.fit(task, data)
    except TrainingInterrupted:
        seen.said["stopped"] = trainer.global_step
    (root / f"said{devices}-{trainer.global_rank}.json").write_text(json.dumps(seen.said))


@pytest.mark.slow
def test_both_have_the_numbers_of_all_images_and_a_signal_to_one_ends_both(tmp_path: Path, picture: Any) -> None:
    for part, count in (("train", 2), ("valid", 2)):
        (tmp_path / part).mkdir()
        for place in range(count):
            write_png(tmp_path / part / f"{place}.png", picture(64 + 16 * place, 64))
    for devices in ("1", "2"):
        words = [sys.executable, __file__, str(tmp_path), devices]
        subprocess.run(words, check=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"})
    alone, first, second = (json.loads((tmp_path / f"said{name}.json").read_text()) for name in ("1-0", "2-0", "2-1"))
    assert first["stopped"] == second["stopped"] == 4 and "stopped" not in alone
    assert (tmp_path / "2" / "last.ckpt").is_file()
    assert first["numbers"] == second["numbers"] and set(first["numbers"]) == {"bpp", "mse", "psnr", "loss"}
    assert first["flat"] == second["flat"] == pytest.approx(alone["flat"])


if __name__ == "__main__":
    main()
