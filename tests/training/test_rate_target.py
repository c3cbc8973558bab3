"""The loop towards a target rate with a real network of eight channels: files, log, resume, refusals."""

from __future__ import annotations

import csv
import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from rdp.cli.rate_target import rate_target_command
from rdp.codecs import create_codec, parse_point
from rdp.errors import EXIT_INPUT, EXIT_INTERRUPTED, RdpError, SpecError
from rdp.execution.progress import Silent
from rdp.images import read_image, write_png
from rdp.models.base import CompressionModel
from rdp.models.checkpoint import load_model
from rdp.training.option_words import own_options
from rdp.training.rate_target import RateTargetOptions, fresh_network, train_to_rate
from rdp.training.rate_target_rule import RateTargetError
from rdp.training.rate_target_state import read_state
from rdp.training.steps import TrainingInterrupted


@pytest.fixture
def options(tmp_path: Path, picture) -> RateTargetOptions:  # type: ignore[no-untyped-def]
    for part, count in (("train", 3), ("validation", 2)):
        (tmp_path / part).mkdir()
        for number in range(count):
            write_png(tmp_path / part / f"{number}.png", picture(70, 90))
    return RateTargetOptions(
        1.0, tolerance=0.9, share=0.5, train=str(tmp_path / "train"), validation=str(tmp_path / "validation"),
        crop=64, batch_size=1, steps=2, final_steps=4, checkpoint_steps=1, rounds=2,
    )  # fmt: skip


def network() -> CompressionModel:
    return fresh_network("factorized", {"channels": 8, "latent_channels": 8}, 0)


class Killed(Exception):
    """The process is gone."""


class Killer(Silent):
    """Ends a training after so many steps of a stage."""

    def __init__(self, stage: str, steps: int) -> None:
        self.wanted, self.left, self.stage = stage, steps, ""

    def start(self, stage: str, total: int, unit: str) -> None:
        self.stage = stage

    def advance(self, count: int = 1) -> None:
        self.left -= self.stage == self.wanted
        if self.stage == self.wanted and not self.left:
            raise Killed


@pytest.mark.slow
def test_rates_of_the_log_are_those_of_real_files(options: RateTargetOptions, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = train_to_rate(options, out, network())
    assert [one.stage for one in result.rounds[-2:]] == ["round", "final"]
    assert result.reached
    codec = create_codec(parse_point(f"checkpoint:path={result.weights}"))
    images = [read_image(path) for path in sorted(Path(options.validation).iterdir())]
    assert result.chosen.rates == tuple(8 * len(codec.encode(image)) / (70 * 90) for image in images)
    rows = list(csv.DictReader((out / "rounds.csv").open()))
    assert [row["stage"] for row in rows] == [one.stage for one in result.rounds]
    assert float(rows[-1]["mean_bpp"]) == pytest.approx(result.chosen.mean_bpp, rel=1e-5)
    assert (out / "rounds.png").read_bytes().startswith(b"\x89PNG")
    assert read_state(out).rounds == result.rounds


@pytest.mark.slow
def test_the_final_training_ends_with_averages_and_the_rounds_with_their_own_weights(
    options: RateTargetOptions, tmp_path: Path
) -> None:
    last, averaged, half = (
        train_to_rate(replace(options, **more), tmp_path / name, network())
        for name, more in (("last", {"average": 0.0}), ("averaged", {}), ("half", {"half": True}))
    )
    final = len(last.rounds)
    for number in range(1, final):
        same = [one.folder / "rounds" / f"{number:02d}.safetensors" for one in (last, averaged, half)]
        assert len({path.read_bytes() for path in same}) == 1
    a, b, c = (dict(load_model(one.folder / "rounds" / f"{final:02d}.safetensors").named_parameters())
               for one in (last, averaged, half))  # fmt: skip
    assert any(not torch.equal(a[name], b[name]) for name in a)
    assert all(torch.allclose(b[name], c[name], rtol=2**-11, atol=2**-25) for name in b)
    assert half.weights.stat().st_size < 0.8 * averaged.weights.stat().st_size


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "steps"), [("round 1", 1), ("final training", 3), ("files", 1)])
def test_a_killed_training_that_goes_on_equals_one_that_was_not(
    options: RateTargetOptions, tmp_path: Path, stage: str, steps: int
) -> None:
    whole = train_to_rate(options, tmp_path / "whole", network())
    with pytest.raises(Killed):
        train_to_rate(options, tmp_path / "killed", network(), progress=Killer(stage, steps))
    resumed = train_to_rate(options, tmp_path / "killed", resume=True)
    assert resumed.rounds == whole.rounds
    assert resumed.weights.read_bytes() == whole.weights.read_bytes()


class FullDisk(Silent):
    """Nothing takes the place of the log once the final training is measured: a folder of that name is in the way."""

    def __init__(self, out: Path) -> None:
        self.log, self.aside, self.final = out / "rate_target.json", out.with_suffix(".json"), False

    def start(self, stage: str, total: int, unit: str) -> None:
        if stage == "files" and self.final:
            self.log.rename(self.aside)
            self.log.mkdir()
        self.final = stage == "final training"


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint_steps", [1, 4])
def test_a_final_training_that_the_log_could_not_take_is_the_same_when_repeated(
    options: RateTargetOptions, tmp_path: Path, checkpoint_steps: int
) -> None:
    options = replace(options, checkpoint_steps=checkpoint_steps)
    whole = train_to_rate(options, tmp_path / "whole", network())
    out = tmp_path / "full"
    full = FullDisk(out)
    with pytest.raises(RdpError, match="cannot write in"):
        train_to_rate(options, out, network(), progress=full)
    full.log.rmdir()
    full.aside.rename(full.log)
    assert [one.stage for one in read_state(out).rounds] == ["round"] * (len(whole.rounds) - 1)
    assert (out / "final.ckpt").is_file() == (checkpoint_steps == 1)
    resumed = train_to_rate(options, out, resume=True)
    assert resumed.rounds == whole.rounds
    assert resumed.weights.read_bytes() == whole.weights.read_bytes()
    last = f"{len(whole.rounds):02d}.optimizer.pt"
    assert [path.name for path in (out / "rounds").glob("*.optimizer.pt")] == [last]
    assert not (out / "final.ckpt").exists()


class CtrlC(Killer):
    """Ctrl-C at a step of a stage."""

    def advance(self, count: int = 1) -> None:
        try:
            super().advance(count)
        except Killed:
            raise KeyboardInterrupt from None


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["round 1", "files"])
def test_ctrl_c_says_how_it_goes_on_and_works_as_before_afterwards(
    options: RateTargetOptions, tmp_path: Path, stage: str
) -> None:
    out = tmp_path / "out"
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(TrainingInterrupted, match=r"rate-target --out \S*out --resume`.* goes on") as caught:
        train_to_rate(options, out, network(), progress=CtrlC(stage, 1))
    assert caught.value.exit_code == EXIT_INTERRUPTED
    assert signal.getsignal(signal.SIGINT) is before
    assert train_to_rate(options, out, resume=True).chosen.stage == "final"


class Notes(Killer):
    """What was said before the first training began."""

    def __init__(self) -> None:
        super().__init__("", 0)
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)

    def start(self, stage: str, total: int, unit: str) -> None:
        raise Killed


def test_images_that_are_left_out_are_told_once_by_the_commands_option(
    options: RateTargetOptions, tmp_path: Path, picture
) -> None:
    write_png(Path(options.train) / "small.png", picture(20, 90))
    notes = Notes()
    with pytest.raises(Killed):
        train_to_rate(options, tmp_path / "out", network(), progress=notes)
    (said,) = notes.notes
    assert said.startswith("1 of 4 images of --train are left out")
    assert "small.png" in said


@pytest.mark.slow
def test_a_rate_out_of_reach_ends_with_a_message_and_what_was_done_stays(
    options: RateTargetOptions, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    far = replace(options, bpp=200.0, tolerance=0.01, rounds=1)
    with pytest.raises(RateTargetError, match="--rounds 1") as caught:
        train_to_rate(far, out, network())
    assert caught.value.exit_code == EXIT_INPUT
    assert len(read_state(out).rounds) == 1
    with pytest.raises(SpecError, match="is there already: --resume"):
        train_to_rate(far, out, network())
    with pytest.raises(SpecError, match="--resume: bpp was 200"):
        train_to_rate(replace(far, bpp=100.0), out, resume=True)
    with pytest.raises(SpecError, match="began with the network"):
        train_to_rate(far, out, fresh_network("factorized", {"channels": 8, "latent_channels": 8}, 1), resume=True)


def test_what_cannot_begin_is_refused_before_anything_is_written(options: RateTargetOptions, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(SpecError, match="--initial"):
        train_to_rate(options, out)
    with pytest.raises(SpecError, match="there is no rate_target.json"):
        train_to_rate(options, out, network(), resume=True)
    with pytest.raises(SpecError, match="give one of them"):
        train_to_rate(options, out, network(), resume=True, overwrite=True)
    with pytest.raises(RdpError, match="crop"):
        train_to_rate(replace(options, crop=72), out, network())
    assert not out.exists()


def test_a_damaged_log_is_named(tmp_path: Path) -> None:
    (tmp_path / "rate_target.json").write_text('{"format": "rdp-rate-target", "version": 1, "rounds": [{}]}')
    with pytest.raises(RdpError, match="rate_target.json is damaged"):
        read_state(tmp_path)


def app() -> typer.Typer:
    program = typer.Typer()
    program.command()(rate_target_command)
    return program


def arguments(options: RateTargetOptions, out: Path) -> list[str]:
    return [
        "--bpp", "1", "--tolerance", "0.9", "--share", "0.5", "--train", options.train, "--validation",
        options.validation, "--out", str(out), "--crop", "64", "--batch-size", "1", "--steps", "2",
        "--final-steps", "2", "--rounds", "2", "--network", "factorized", "--channels", "8", "--latent-channels", "8",
    ]  # fmt: skip


@pytest.mark.slow
def test_the_command_prints_a_document_and_the_figures_of_its_rounds(
    options: RateTargetOptions, tmp_path: Path
) -> None:
    done = CliRunner().invoke(app(), [*arguments(options, tmp_path / "out"), "--quiet", "--json"])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["reached"] is True
    assert document["rounds"][-1]["stage"] == "final"
    assert Path(document["weights"]).is_file()
    again = CliRunner().invoke(app(), [*arguments(options, tmp_path / "out"), "--quiet", "--resume"])
    assert "bit/pixel on average" in again.stdout
    assert again.stdout.count("\n") == len(document["rounds"]) + 3


def test_the_command_names_its_own_options_where_the_data_is_wrong(options: RateTargetOptions, tmp_path: Path) -> None:
    wrong = replace(options, validation=options.train)
    done = CliRunner().invoke(app(), arguments(wrong, tmp_path / "out"))
    assert isinstance(done.exception, RdpError)
    assert "--validation" in str(done.exception)
    assert "--data" not in str(done.exception)


def test_a_crop_that_the_data_refuses_is_named_by_the_commands_option(
    options: RateTargetOptions, tmp_path: Path
) -> None:
    done = CliRunner().invoke(app(), [*arguments(options, tmp_path / "out"), "--crop", "80"])
    assert isinstance(done.exception, RdpError)
    assert str(done.exception).startswith("--crop is 80: it must be a multiple of 64")
    assert not (tmp_path / "out").exists()


def test_words_of_a_configuration_are_those_of_the_command() -> None:
    said = "smaller --data.batch_size or --data.crop, --model.initial, or set --data.allow_overlap=true"
    assert own_options(said) == "smaller --batch-size or --crop, --initial"


@pytest.mark.parametrize(
    ("more", "word"),
    [
        (["--initial", "x.safetensors"], "leave out --network"),
        (["--threads", "0"], "--threads"),
        (["--ema", "1"], "--ema 1: the decay"),
        (["--bpp", "-1"], "--bpp"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    options: RateTargetOptions, tmp_path: Path, more: list[str], word: str
) -> None:
    done = CliRunner().invoke(app(), [*arguments(options, tmp_path / "out"), *more])
    assert isinstance(done.exception, SpecError)
    assert word in str(done.exception)
