"""`run_training`: real trainings of tiny networks, from the arguments to the files that they leave."""

from __future__ import annotations

import csv
import json
import resource
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rdp.errors import RdpError, WeightsError
from rdp.images import write_png
from rdp.models.checkpoint import load_model, read_header, save_model
from rdp.models.provenance import trained_on, trained_on_note
from rdp.models.registry import create_model
from rdp.training.arguments import config_path, explain, shipped_configs
from rdp.training.cli import Trained, run_training
from rdp.training.folder import read_checkpoint
from rdp.training.steps import TrainingInterrupted

TINY = [
    "--data.crop", "64", "--data.batch_size", "2", "--data.steps_per_epoch", "3", "--trainer.accelerator", "cpu",
    "--model.network.channels", "8", "--model.network.latent_channels", "8",
    "--model.schedule.warmup", "0", "--model.schedule.decay", "0",
]  # fmt: skip
STEPS = 5
"""Of the training that most tests look at: an epoch, and most of another."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where images and the shared training lie."""
    folder = tmp_path_factory.mktemp("training")
    y, x = np.mgrid[0:64, 0:80]
    for part, count in {"train": 2, "valid": 1}.items():
        (folder / part).mkdir()
        for place in range(count):
            waves = [128 + 90 * np.sin((x + plane * y) / (4 + place + count)) for plane in range(3)]
            write_png(folder / part / f"{place}.png", np.stack(waves, -1).astype(np.uint8))
    return folder


@pytest.fixture(scope="module")
def data(folder: Path) -> list[str]:
    return ["--data.train", str(folder / "train"), "--data.validation", str(folder / "valid")]


@pytest.fixture(scope="module")
def trained(folder: Path, data: list[str]) -> Trained:
    """An uninterrupted training, into `folder`/whole, which no test may change."""
    return fit(folder / "whole", data, "--trainer.max_steps", str(STEPS))


@pytest.fixture
def copy(trained: Trained, folder: Path, tmp_path: Path) -> Path:
    """The folder of that training, for tests that go on with it."""
    return Path(shutil.copytree(folder / "whole", tmp_path / "copy"))


def fit(out: Path, data: list[str], *more: str, callbacks: Any = ()) -> Any:
    return run_training(["fit", *data, *TINY, "--out", str(out), *more], callbacks=callbacks)


def checkpoint_of(out: Path) -> dict[str, Any]:
    return read_checkpoint(out / "checkpoints" / "last.ckpt")


def test_a_training_leaves_all_its_files(trained: Trained, folder: Path) -> None:
    out = folder / "whole"
    assert trained.steps == STEPS and trained.images == 1 and trained.weights == out / "weights.safetensors"
    rows = list(csv.DictReader((out / "validation.csv").open()))
    assert [int(row["step"]) for row in rows] == [3, STEPS]
    assert min(float(row["loss"]) for row in rows) == pytest.approx(trained.numbers["loss"], rel=1e-5)
    assert (out / "validation.png").read_bytes().startswith(b"\x89PNG")
    record = json.loads((out / "record.json").read_text())
    assert record["finished"] and record["steps"] == STEPS and record["seed"] == 0
    assert len(record["data"]["train"]) == 2 and len(record["data"]["validation"]) == 1
    notes = read_header(out / "weights.safetensors").notes
    assert json.loads(notes["training"])["validation"]["bpp"] == pytest.approx(trained.numbers["bpp"])
    assert set(json.loads(notes["trained_on"])) == {digest[:16] for digest in record["data"]["train"]}
    assert "overwrite" not in (out / "config.yaml").read_text()


@pytest.mark.slow
def test_an_interrupted_and_resumed_training_is_an_uninterrupted_one(
    tmp_path: Path, data: list[str], trained: Trained, folder: Path, control_c: Any
) -> None:
    """Within an epoch, then at the end of one; bit by bit, averages and momenta included."""
    out = tmp_path / "parts"
    with pytest.raises(TrainingInterrupted, match="--resume"):
        fit(out, data, "--trainer.max_steps", str(STEPS), callbacks=[control_c(1)])
    assert checkpoint_of(out)["global_step"] == 2
    with pytest.raises(TrainingInterrupted, match="--resume"):
        run_training(["fit", "--out", str(out), "--resume"], callbacks=[control_c(2)])
    assert checkpoint_of(out)["global_step"] == 3
    run_training(["fit", "--out", str(out), "--resume"])
    whole, parts = checkpoint_of(folder / "whole"), checkpoint_of(out)
    for part in ("state_dict", "current_model_state"):
        assert all(torch.equal(value, parts[part][name]) for name, value in whole[part].items())
    for file in ("validation.csv", "logs/metrics.csv"):
        assert (folder / "whole" / file).read_text() == (out / file).read_text()
    assert len(json.loads((out / "record.json").read_text())["resumed"]) == 2


def test_an_existing_training_is_neither_overwritten_nor_resumed_unasked(
    trained: Trained, folder: Path, data: list[str]
) -> None:
    out = folder / "whole"
    before = {path: path.stat().st_mtime_ns for path in sorted(out.rglob("*"))}
    with pytest.raises(RdpError, match="--resume goes on with it, --overwrite begins anew"):
        fit(out, data)
    with pytest.raises(RdpError, match=f"is done: {STEPS} steps"):
        run_training(["fit", "--out", str(out), "--resume"])
    with pytest.raises(RdpError, match=r"another architecture.*analysis\.0\.weight is 8x3x5x5, not 10x3x5x5"):
        run_training(["fit", "--out", str(out), "--resume", "--model.network.channels", "10"])
    with pytest.raises(RdpError, match=r"had moving averages: resume with the same --ema\.decay"):
        run_training(["fit", "--out", str(out), "--resume", "--ema.decay", "0"])
    assert before == {path: path.stat().st_mtime_ns for path in sorted(out.rglob("*"))}


def test_without_validation_images_the_last_weights_are_kept(copy: Path, data: list[str]) -> None:
    """Of a training that overwrites another, without averages. Signals do afterwards what they did before."""
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    done = fit(copy, data[:2], "--trainer.max_steps", "1", "--ema.decay", "0", "--overwrite")
    note = json.loads(read_header(copy / "weights.safetensors").notes["training"])
    assert "no validation images" in note["chosen"] and done.images == 0 and done.steps == 1
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert not (copy / "validation.csv").exists()
    state, network = checkpoint_of(copy)["state_dict"], load_model(copy / "weights.safetensors").state_dict()
    assert all(torch.equal(value, state[f"network.{name}"]) for name, value in network.items())


def test_a_training_that_goes_on_with_other_images_knows_those_of_all_its_sessions(
    copy: Path, tmp_path: Path, picture: Any
) -> None:
    (tmp_path / "more").mkdir()
    write_png(tmp_path / "more" / "a.png", picture(64, 64))
    write_png(tmp_path / "more" / "small.png", picture(20, 64))
    before = json.loads((copy / "record.json").read_text())
    before["versions"]["torch"] = "of then"
    (copy / "record.json").write_text(json.dumps(before))
    more = ["--data.train", str(tmp_path / "more"), "--trainer.max_steps", str(STEPS + 1)]
    run_training(["fit", "--out", str(copy), "--resume", *more])
    record = json.loads((copy / "record.json").read_text())
    assert record["data"]["train"][:2] == before["data"]["train"] and len(record["data"]["train"]) == 3
    assert record["data"]["validation"] == before["data"]["validation"]
    assert record["versions"]["torch"] == "of then" and record["command"] == before["command"]
    assert record["resumed"][-1]["versions"]["torch"] == torch.__version__
    assert [Path(path).name for path, _ in record["skipped"]] == ["small.png"]
    (copy / "weights.safetensors").unlink()
    run_training(
        ["fit", "--out", str(copy), "--resume", *more, "--best.choose", "last", "--trainer.max_steps", str(STEPS + 2)]
    )
    assert trained_on(read_header(copy / "weights.safetensors")) == {digest[:16] for digest in record["data"]["train"]}


def test_a_full_disk_leaves_the_last_good_checkpoint(copy: Path) -> None:
    before = (copy / "checkpoints" / "last.ckpt").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 8, limits[1]))
    try:
        with pytest.raises(RdpError, match=r"cannot write .*(file too large|File too large)"):
            run_training(["fit", "--out", str(copy), "--resume", "--trainer.max_steps", str(STEPS + 1)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (copy / "checkpoints" / "last.ckpt").read_bytes() == before
    assert {path.name for path in (copy / "checkpoints").iterdir()} == {"last.ckpt"}
    assert (
        run_training(["fit", "--out", str(copy), "--resume", "--trainer.max_steps", str(STEPS + 1)]).steps == STEPS + 1
    )


def test_weights_and_checkpoint_measure_as_the_training_said(trained: Trained, folder: Path) -> None:
    """The exported network is the averaged one, and the same numbers come from both files."""
    out = folder / "whole"
    last = list(csv.DictReader((out / "validation.csv").open()))[-1]
    for file, said in {"weights.safetensors": trained.numbers, "checkpoints/last.ckpt": last}.items():
        measured = run_training(["validate", "--weights", str(out / file)])
        for name in ("bpp", "psnr", "loss"):
            assert measured.numbers[name] == pytest.approx(float(said[name]), rel=1e-6)
    tested = run_training(["test", "--weights", str(out / "weights.safetensors"), "--data.test", str(folder / "valid")])
    assert tested.numbers["bpp"] == pytest.approx(trained.numbers["bpp"], rel=1e-6)


def test_weights_know_what_their_initial_weights_were_trained_on(
    tmp_path: Path, trained: Trained, folder: Path, data: list[str], control_c: Any
) -> None:
    """Also in a training that went on after the file of those weights was gone."""
    hyperprior = create_model("hyperprior", channels=8, latent_channels=8)
    initial = tmp_path / "initial.safetensors"
    save_model(initial, hyperprior, trained_on_note(["ab" * 32]))
    out = tmp_path / "out"
    with pytest.raises(TrainingInterrupted):
        fit(out, data, "--trainer.max_steps", "2", "--model.initial", str(initial), callbacks=[control_c(0)])
    initial.unlink()
    run_training(["fit", "--out", str(out), "--resume"])
    assert run_training(["validate", "--weights", str(out / "weights.safetensors")]).images == 1
    header = read_header(out / "weights.safetensors")
    assert trained_on(header) == trained_on(read_header(folder / "whole" / "weights.safetensors")) | {"ab" * 8}
    record = json.loads((out / "record.json").read_text())
    assert record["initial"]["weights"] == str(initial) and str(initial) in (out / "config.yaml").read_text()
    assert json.loads(header.notes["training"])["initial"]["identity"] == record["initial"]["identity"]


@pytest.mark.parametrize(
    ("architecture", "config", "message"),
    [
        (
            "hyperprior",
            {"channels": 10, "latent_channels": 8},
            r"has channels=10, the network here channels=8; \d+ tensors do not fit: analysis\.0\.bias is 10, not 8;",
        ),
        (
            "factorized",
            {"channels": 8, "latent_channels": 8},
            r"architecture factorized \(channels=8, .*\), the network here the architecture hyperprior \(channels=8, ",
        ),
    ],
)
def test_initial_weights_of_another_network_are_refused(
    architecture: str, config: dict[str, int], message: str, tmp_path: Path, data: list[str]
) -> None:
    save_model(tmp_path / "other.safetensors", create_model(architecture, **config))
    with pytest.raises(WeightsError, match=message) as caught:
        fit(tmp_path / "out", data, "--model.initial", str(tmp_path / "other.safetensors"))
    assert caught.value.exit_code == 2 and "other.safetensors" in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model.lmbd", "3"], r"unknown option --model\.lmbd\. Did you mean 'lmbda'"),
        (["--model.network.chanels", "3"], r"unknown option --model\.network\.chanels\. Did you mean 'channels'"),
        (["--model.lmbda", "abc"], r"--model\.lmbda is a number, not 'abc'"),
        (["--model", "RateDistorton"], "no class RateDistorton. Did you mean 'RateDistortion'"),
        (["--model.network", "nowhere.Net"], r"--model\.network: No module named 'nowhere'"),
        (["--trainer.max_stepss", "3"], r"unknown option --trainer\.max_stepss\. Did you mean '--trainer\.max_steps'"),
        (["--trainer.max_steps", "-1"], r"--trainer\.max_steps is -1: give a number of steps"),
        (["--trainer.max_steps", "many"], r"--trainer\.max_steps is a whole number, not 'many'"),
        (["--config", "hyperprio.yaml"], "no configuration hyperprio.yaml. Did you mean 'hyperprior.yaml'"),
        (["--ema.decay", "2"], r"--ema\.decay is 2\.0: .* at least 0 and below 1"),
        (["--best.choose", "x"], r"--best\.choose is one of 'best', 'last', not 'x'"),
        (["--model.initial", "nowhere.safetensors"], r"cannot read nowhere\.safetensors: No such file"),
        (["--guard.skips", "-1"], r"--guard\.skips is -1"),
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
