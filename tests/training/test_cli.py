"""`run_training`: real trainings of tiny networks, from the arguments to the files that they leave."""

from __future__ import annotations

import csv
import json
import os
import resource
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback

from rdp.errors import RdpError
from rdp.images import write_png
from rdp.models.checkpoint import load_model, read_header
from rdp.training.arguments import config_path, explain, shipped_configs
from rdp.training.cli import run_training
from rdp.training.folder import read_checkpoint
from rdp.training.steps import TrainingInterrupted

TINY = [
    "--data.crop", "64", "--data.batch_size", "2", "--data.steps_per_epoch", "2", "--trainer.accelerator", "cpu",
    "--model.network.channels", "8", "--model.network.latent_channels", "8",
    "--model.schedule.warmup", "0", "--model.schedule.decay", "0",
]  # fmt: skip


@pytest.fixture
def data(tmp_path: Path, picture: Any) -> list[str]:
    for part, count in {"train": 2, "valid": 1}.items():
        (tmp_path / part).mkdir()
        for place in range(count):
            write_png(tmp_path / part / f"{place}.png", picture(64, 80))
    return ["--data.train", str(tmp_path / "train"), "--data.validation", str(tmp_path / "valid")]


class Signal(Callback):
    """What Ctrl-C does, before the step of a number."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGINT)


def fit(out: Path, data: list[str], *more: str, callbacks: Any = ()) -> Any:
    return run_training(["fit", *data, *TINY, "--out", str(out), *more], callbacks=callbacks)


def test_a_training_leaves_all_its_files(tmp_path: Path, data: list[str]) -> None:
    done = fit(tmp_path / "out", data, "--trainer.max_steps", "3")
    out = tmp_path / "out"
    assert done.steps == 3 and done.images == 1 and done.weights == out / "weights.safetensors"
    rows = list(csv.DictReader((out / "validation.csv").open()))
    assert [int(row["step"]) for row in rows] == [2, 3]
    assert min(float(row["loss"]) for row in rows) == pytest.approx(done.numbers["loss"], rel=1e-5)
    assert (out / "validation.png").read_bytes().startswith(b"\x89PNG")
    record = json.loads((out / "record.json").read_text())
    assert record["finished"] and record["steps"] == 3 and record["seed"] == 0
    assert len(record["data"]["train"]) == 2 and len(record["data"]["validation"]) == 1
    notes = read_header(out / "weights.safetensors").notes
    assert json.loads(notes["training"])["validation"]["bpp"] == pytest.approx(done.numbers["bpp"])
    assert set(json.loads(notes["trained_on"])) == {digest[:16] for digest in record["data"]["train"]}
    assert "overwrite" not in (out / "config.yaml").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("stop", [4, 3])
def test_an_interrupted_and_resumed_training_is_an_uninterrupted_one(
    tmp_path: Path, data: list[str], stop: int
) -> None:
    """At the end of an epoch and within one, bit by bit, averages and momenta included."""
    fit(tmp_path / "whole", data, "--trainer.max_steps", "8")
    with pytest.raises(TrainingInterrupted, match="--resume"):
        fit(tmp_path / "halves", data, "--trainer.max_steps", "8", callbacks=[Signal(stop - 1)])
    assert read_checkpoint(tmp_path / "halves" / "checkpoints" / "last.ckpt")["global_step"] == stop
    run_training(["fit", "--out", str(tmp_path / "halves"), "--resume"])
    whole, halves = (read_checkpoint(tmp_path / name / "checkpoints" / "last.ckpt") for name in ("whole", "halves"))
    for part in ("state_dict", "current_model_state"):
        assert all(torch.equal(value, halves[part][name]) for name, value in whole[part].items())
    assert (tmp_path / "whole" / "validation.csv").read_text() == (tmp_path / "halves" / "validation.csv").read_text()
    metrics = [(tmp_path / name / "logs" / "metrics.csv").read_text() for name in ("whole", "halves")]
    assert metrics[0] == metrics[1]
    assert len(json.loads((tmp_path / "halves" / "record.json").read_text())["resumed"]) == 1


@pytest.mark.slow
def test_an_existing_training_is_neither_overwritten_nor_resumed_unasked(tmp_path: Path, data: list[str]) -> None:
    out = tmp_path / "out"
    fit(out, data, "--trainer.max_steps", "2")
    with pytest.raises(RdpError, match="--resume goes on with it, --overwrite begins anew"):
        fit(out, data, "--trainer.max_steps", "2")
    with pytest.raises(RdpError, match="is done: 2 steps"):
        run_training(["fit", "--out", str(out), "--resume"])
    with pytest.raises(RdpError, match=r"another architecture.*analysis\.0\.weight is 8x3x5x5, not 10x3x5x5"):
        run_training(["fit", "--out", str(out), "--resume", "--model.network.channels", "10"])
    assert fit(out, data, "--trainer.max_steps", "1", "--overwrite").steps == 1


@pytest.mark.slow
def test_a_full_disk_leaves_the_last_good_checkpoint(tmp_path: Path, data: list[str]) -> None:
    out = tmp_path / "out"
    fit(out, data, "--trainer.max_steps", "2")
    before = (out / "checkpoints" / "last.ckpt").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 8, limits[1]))
    try:
        with pytest.raises(RdpError, match="cannot write"):
            run_training(["fit", "--out", str(out), "--resume", "--trainer.max_steps", "4"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (out / "checkpoints" / "last.ckpt").read_bytes() == before
    assert not list((out / "checkpoints").glob("*.tmp"))
    assert run_training(["fit", "--out", str(out), "--resume", "--trainer.max_steps", "3"]).steps == 3


@pytest.mark.slow
def test_weights_and_checkpoint_measure_as_the_training_said(tmp_path: Path, data: list[str]) -> None:
    """The exported network is the averaged one, and the same numbers come from both files."""
    out = tmp_path / "out"
    done = fit(out, data, "--trainer.max_steps", "2")
    for file in ("weights.safetensors", "checkpoints/last.ckpt"):
        measured = run_training(["validate", "--weights", str(out / file)])
        for name in ("bpp", "psnr", "loss"):
            assert measured.numbers[name] == pytest.approx(done.numbers[name], rel=1e-6)
    averaged = read_checkpoint(out / "checkpoints" / "last.ckpt")["state_dict"]
    exported = load_model(out / "weights.safetensors").state_dict()
    assert all(torch.equal(value, averaged[f"network.{name}"]) for name, value in exported.items())
    tested = run_training(
        ["test", "--weights", str(out / "weights.safetensors"), "--data.test", str(tmp_path / "valid")]
    )
    assert tested.numbers["bpp"] == pytest.approx(done.numbers["bpp"], rel=1e-6)


def test_without_validation_images_the_last_weights_are_kept(tmp_path: Path, data: list[str]) -> None:
    done = fit(tmp_path / "out", data[:2], "--trainer.max_steps", "1", "--ema.decay", "0")
    note = json.loads(read_header(tmp_path / "out" / "weights.safetensors").notes["training"])
    assert "no validation images" in note["chosen"] and done.images == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model.lmbd", "3"], r"unknown option --model\.lmbd\. Did you mean 'lmbda'"),
        (["--model.network.chanels", "3"], r"unknown option --model\.network\.chanels\. Did you mean 'channels'"),
        (["--model.lmbda", "abc"], r"--model\.lmbda is a number, not 'abc'"),
        (["--model", "RateDistorton"], "no class RateDistorton. Did you mean 'RateDistortion'"),
        (["--model.network", "nowhere.Net"], r"--model\.network: No module named 'nowhere'"),
        (["--trainer.max_stepss", "3"], r"unknown option --trainer\.max_stepss\. Did you mean '--trainer\.max_steps'"),
        (["--trainer.max_steps", "many"], r"--trainer\.max_steps is a whole number, not 'many'"),
        (["--config", "hyperprio.yaml"], "no configuration hyperprio.yaml. Did you mean 'hyperprior.yaml'"),
        (["--resume"], "--resume needs --out"),
        ([], r"--data\.train is empty"),
    ],
)
def test_errors_of_a_command_line_say_which_option(words: list[str], message: str, tmp_path: Path) -> None:
    out = [] if "--resume" in words else ["--out", str(tmp_path / "out")]
    with pytest.raises(RdpError, match=message) as caught:
        run_training(["fit", *words, *out])
    assert caught.value.exit_code == 2 and len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_every_shipped_configuration_is_accepted(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(shipped_configs()) >= 6
    for name in shipped_configs():
        with pytest.raises(SystemExit) as ended:
            run_training(["fit", "--config", name, "--print_config"])
        assert ended.value.code in (0, None), name
        assert "class_path" in capsys.readouterr().out


def test_a_file_in_the_working_folder_comes_before_a_shipped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert config_path("hyperprior.yaml").is_absolute()
    Path("hyperprior.yaml").write_text("{}")
    assert config_path("hyperprior.yaml") == Path("hyperprior.yaml")


def test_a_message_that_is_not_known_stays() -> None:
    assert "something else happened" in explain("something else happened")
