"""Both stages of HiFiC by the shipped configurations, with the perceptual network, narrow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from rdp.errors import WeightsError
from rdp.images import write_png
from rdp.models.checkpoint import load_model, read_header
from rdp.training.cli import run_training
from rdp.training.folder import read_checkpoint
from rdp.training.perceptual import LPIPS
from rdp.training.steps import TrainingInterrupted

TINY = [
    "--data.crop", "64", "--data.batch_size", "2", "--data.steps_per_epoch", "3", "--trainer.accelerator", "cpu",
    "--model.network.width", "0.02", "--model.network.residual_blocks", "0", "--model.schedule.warmup", "0",
    "--model.perceptual", "rdp.training.LPIPS", "--model.perceptual.backbone", "squeeze",
]  # fmt: skip


def checkpoint_of(out: Path) -> dict[str, Any]:
    return read_checkpoint(out / "checkpoints" / "last.ckpt")


def all_tensors(state: Any) -> list[torch.Tensor]:
    """The tensors anywhere in a checkpoint, in order."""
    if isinstance(state, torch.Tensor):
        return [state]
    if isinstance(state, dict):
        return [tensor for key in sorted(state, key=str) for tensor in all_tensors(state[key])]
    return [tensor for item in state for tensor in all_tensors(item)] if isinstance(state, list | tuple) else []


@pytest.mark.slow
def test_the_second_stage_goes_on_from_the_first_and_resumes_bit_by_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: Path, picture: Any, control_c: Any
) -> None:
    monkeypatch.setenv("RDP_WEIGHTS", str(shared / "weights"))
    try:
        LPIPS("squeeze")
    except WeightsError as error:
        pytest.skip(f"needs the weights of LPIPS with SqueezeNet: {error}")
    (tmp_path / "images").mkdir()
    (tmp_path / "valid").mkdir()
    for place in range(2):
        write_png(tmp_path / "images" / f"{place}.png", picture(64, 80))
    write_png(tmp_path / "valid" / "a.png", picture(64, 64))
    data = ["--data.train", str(tmp_path / "images"), "--data.validation", str(tmp_path / "valid")]

    first = run_training(
        ["fit", "--config", "hific-1.yaml", *data, *TINY, "--trainer.max_steps", "1", "--out", str(tmp_path / "one")]
    )
    assert {"bpp", "psnr", "lpips"} <= first.numbers.keys() and first.weights is not None
    assert not any("discriminator" in name for name in checkpoint_of(tmp_path / "one")["state_dict"])

    def second(out: str, *more: str, callbacks: Any = ()) -> Any:
        words = [*data, *TINY, "--model.initial", str(first.weights), "--model.discriminator_width", "0.1"]
        words += ["--trainer.max_steps", "5", "--out", str(tmp_path / out), *more]
        return run_training(["fit", "--config", "hific-2.yaml", *words], callbacks=callbacks)

    done = second("whole")
    assert done.steps == 5 and done.numbers["step"] == 5
    with pytest.raises(TrainingInterrupted):
        second("parts", callbacks=[control_c(3)])
    run_training(["fit", "--out", str(tmp_path / "parts"), "--resume"])
    whole, parts = checkpoint_of(tmp_path / "whole"), checkpoint_of(tmp_path / "parts")
    assert any("discriminator" in name for name in whole["state_dict"])
    for part in ("state_dict", "current_model_state", "optimizer_states"):
        pairs = list(zip(all_tensors(whole[part]), all_tensors(parts[part]), strict=True))
        assert len(pairs) > 20 and all(torch.equal(one, other) for one, other in pairs)
    header = read_header(done.weights)
    assert json.loads(header.notes["training"])["chosen"] == "the last"
    assert json.loads(header.notes["training"])["initial"]["identity"] == read_header(first.weights).identity
    exported = load_model(done.weights).state_dict()
    assert all(torch.equal(value, whole["state_dict"][f"network.{name}"]) for name, value in exported.items())
