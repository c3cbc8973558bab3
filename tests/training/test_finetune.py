"""Decoders tuned with everything before them frozen: what changes, what may not, and how a killed tuning goes on."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from rdp.cli.app import app
from rdp.codecs import create_codec, parse_point
from rdp.errors import EXIT_INPUT, RdpError, SpecError, WeightsError
from rdp.execution.progress import Silent
from rdp.images import read_image, write_png
from rdp.models.base import CompressionModel
from rdp.models.checkpoint import identity_of, load_model, save_model
from rdp.models.decoders import read_decoder_header, save_decoder
from rdp.models.registry import create_model
from rdp.training import DecoderTuning, MeanSquaredError
from rdp.training.finetune import TuningOptions, tune_decoders
from rdp.training.finetune_state import read_tuning
from rdp.training.losses import Distortion

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "factorized": {"channels": 8, "latent_channels": 8},
    "hyperprior": {"channels": 8, "latent_channels": 8},
    "shrinkage": {"channels": 8, "latent_channels": 8},
    "hific": {"width": 0.05, "residual_blocks": 1},
}


class AbsoluteError(Distortion):
    """A perceptual loss that needs no weights."""

    name = "absolute"

    def forward(self, x_hat: Tensor, x: Tensor) -> Tensor:
        return (x_hat - x).abs().flatten(1).mean(1)


def network(architecture: str = "hyperprior") -> CompressionModel:
    torch.manual_seed(3)
    return create_model(architecture, **ARCHITECTURES[architecture])


@pytest.fixture
def no_lpips(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss's perceptual part without weights; the table has a metric without weights in its place."""
    monkeypatch.setattr("rdp.training.finetune.LPIPS", lambda backbone: AbsoluteError())
    monkeypatch.setattr("rdp.training.finetune.BACKBONES", {"ssim": "vgg"})


@pytest.fixture
def options(tmp_path: Path, picture: Any, no_lpips: None) -> TuningOptions:
    for part, count in (("train", 3), ("validation", 2)):
        (tmp_path / part).mkdir()
        for number in range(count):
            write_png(tmp_path / part / f"{number}.png", picture(70, 90))
    return TuningOptions(
        str(tmp_path / "train"), str(tmp_path / "validation"), ("1e-2", "1e-3"), "ssim", judges=("haarpsi",), crop=64,
        batch_size=1, steps=4, checkpoint_steps=1, optimizer="muon", lr=1e-2, decay=0.5,
    )  # fmt: skip


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    save_model(tmp_path / "network.safetensors", network())
    return tmp_path / "network.safetensors"


def point(path: Path, more: str = "") -> Any:
    return parse_point(f"checkpoint:path={path}{more}")


@pytest.mark.parametrize("architecture", list(ARCHITECTURES))
def test_the_decoder_gets_a_gradient_and_nothing_else(architecture: str) -> None:
    task = DecoderTuning(network(architecture), 1e-3, perceptual=AbsoluteError())
    task.on_train_start()
    x = torch.rand(2, 3, 64, 64)
    task.objective(task.run(x), x).loss.backward()
    for name, parameter in task.network.named_parameters():
        assert (parameter.grad is not None) == name.startswith("synthesis."), name


def test_the_loss_is_gamma_times_mse_on_255_plus_the_perceptual_one() -> None:
    task = DecoderTuning(network(), 0.02, perceptual=AbsoluteError())
    task.on_train_start()
    x = torch.rand(2, 3, 64, 64)
    output = task.run(x)
    own = task.network(x)
    assert torch.equal(output.x_hat, own.x_hat), "the latents of training are those of files"
    mse = (255 * (own.x_hat - x)).square().mean()
    expected = 0.02 * mse + (own.x_hat - x).abs().mean()
    assert task.objective(output, x).loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert task.cost(output.bpp(), output.x_hat, x).loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_latents_have_no_noise_though_the_network_came_in_training_mode() -> None:
    task = DecoderTuning(network().train(), perceptual=MeanSquaredError())
    task.on_train_start()
    x = torch.rand(1, 3, 64, 64)
    assert torch.equal(task.run(x).y_hat, task.run(x).y_hat)


def test_an_adversarial_term_reaches_the_decoder() -> None:
    task = DecoderTuning(network(), 1e-3, beta=0.1, perceptual=AbsoluteError(), discriminator_width=0.1)
    assert task.discriminator is not None
    task.on_train_start()
    output = task.run(torch.rand(1, 3, 64, 64))
    task.discriminator(output.x_hat, output.y_hat.detach()).sum().backward()
    assert any(parameter.grad is not None for parameter in task.network.synthesis.parameters())


def test_every_decoder_has_its_file_and_its_line_and_the_files_of_images_stay_the_same_bytes(
    options: TuningOptions, weights: Path, tmp_path: Path
) -> None:
    result = tune_decoders([point(weights)], options, tmp_path / "out")
    (codec,) = result.codecs
    assert [one.name for one in codec.decoders] == ["mse", "g1e-2", "g1e-3"]
    assert codec.identity == identity_of(load_model(weights)).hex()
    images = [read_image(path) for path in sorted(Path(options.validation).iterdir())]
    own = create_codec(point(weights))
    for one in codec.decoders[1:]:
        file = tmp_path / "out" / str(one.weights)
        assert read_decoder_header(file).encoder == codec.identity
        tuned = create_codec(point(weights, f",decoder={file}"))
        files = [own.encode(image) for image in images]
        assert [tuned.encode(image) for image in images] == files
        assert (one.identical, one.files) == (2, 2)
        assert one.bpp == pytest.approx(sum(8 * len(data) / (70 * 90) for data in files) / 2)
        assert any((tuned.decode(data) != own.decode(data)).any() for data in files), "the decoder is another"
    rows = list(csv.DictReader((tmp_path / "out" / "decoders.csv").open()))
    assert [row["decoder"] for row in rows] == ["mse", "g1e-2", "g1e-3"]
    assert [row["files_identical"] for row in rows] == ["2", "2", "2"]
    assert float(rows[1]["psnr"]) == pytest.approx(codec.decoders[1].scores["psnr"], rel=1e-5)
    assert (tmp_path / "out" / "decoders.png").read_bytes().startswith(b"\x89PNG")
    assert not list((tmp_path / "out").glob("*.ckpt"))


def test_a_decoder_is_tuned_from_the_next_larger_gamma_and_the_first_from_the_networks_own(
    options: TuningOptions, weights: Path, tmp_path: Path
) -> None:
    options = replace(options, gammas=("1e-3", "1e-2"))
    out = tmp_path / "out"
    (codec,) = tune_decoders([point(weights)], options, out).codecs
    notes = [read_decoder_header(out / str(one.weights)).notes["trained"] for one in codec.decoders[1:]]
    assert [re.search("from (.*?),", note)[1] for note in notes] == ["the network's own decoder", "g1e-2"]  # type: ignore[index]
    alone = tune_decoders([point(weights)], replace(options, gammas=("1e-3",)), tmp_path / "alone").codecs[0]
    one, other = (
        (folder / str(found.decoders[-1].weights)).read_bytes()
        for folder, found in ((out, codec), (tmp_path / "alone", alone))
    )
    assert one != other


class Killed(Exception):
    """The process is gone."""


class Killer(Silent):
    """Ends a tuning after so many steps of a decoder, or images of a measurement after it."""

    def __init__(self, stage: str, count: int) -> None:
        self.wanted, self.left, self.stage = stage, count, ""

    def start(self, stage: str, total: int, unit: str) -> None:
        self.stage = stage

    def advance(self, count: int = 1) -> None:
        self.left -= self.stage.endswith(self.wanted)
        if self.stage.endswith(self.wanted) and self.left < 0:
            raise Killed


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "count"), [("g1e-2", 2), ("g1e-3", 1), ("step=1", 3)])
def test_a_killed_tuning_that_goes_on_equals_one_that_was_not(
    options: TuningOptions, weights: Path, tmp_path: Path, stage: str, count: int
) -> None:
    whole = tune_decoders([point(weights)], options, tmp_path / "whole")
    with pytest.raises(Killed):
        tune_decoders([point(weights)], options, tmp_path / "killed", progress=Killer(stage, count))
    resumed = tune_decoders([point(weights)], options, tmp_path / "killed", resume=True)
    assert resumed.codecs == whole.codecs
    for one in whole.codecs[0].decoders[1:]:
        name = str(one.weights)
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert (tmp_path / "killed" / "decoders.csv").read_text() == (tmp_path / "whole" / "decoders.csv").read_text()


def test_further_gammas_are_added_to_what_is_there(options: TuningOptions, weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = tune_decoders([point(weights)], replace(options, gammas=("1e-2",)), out)
    both = tune_decoders([point(weights)], options, out, resume=True)
    assert both.codecs[0].decoders[:2] == first.codecs[0].decoders
    assert both.codecs == read_tuning(out).codecs
    assert both.codecs[0] == tune_decoders([point(weights)], options, tmp_path / "whole").codecs[0]


def test_a_training_that_touched_the_encoder_is_refused(
    options: TuningOptions, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def thawed(self: DecoderTuning) -> None:
        self.network.eval()
        next(self.network.analysis.parameters()).data.add_(1e-6)

    monkeypatch.setattr(DecoderTuning, "on_train_start", thawed)
    with pytest.raises(RdpError, match="had to stay frozen"):
        tune_decoders([point(weights)], options, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*-g*.safetensors"))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("webp:quality=50,method=4", "no decoder to train"),
        ("checkpoint:path={weights},step=2", "leave out step"),
        ("checkpoint:path={weights},decoder={decoder}", "leave out decoder"),
    ],
)
def test_points_that_have_no_decoder_to_tune_are_refused(
    options: TuningOptions, weights: Path, tmp_path: Path, spec: str, message: str
) -> None:
    model = load_model(weights)
    save_decoder(tmp_path / "d.safetensors", model, "g1", identity_of(model).hex())
    with pytest.raises(SpecError, match=message):
        named = parse_point(spec.format(weights=weights, decoder=tmp_path / "d.safetensors"))
        tune_decoders([named], options, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_two_names_of_one_encoder_are_refused(options: TuningOptions, weights: Path, tmp_path: Path) -> None:
    model = load_model(weights)
    with torch.no_grad():
        next(model.synthesis.parameters()).add_(1.0)
    save_model(tmp_path / "twin.safetensors", model)
    with pytest.raises(SpecError, match="same encoder"):
        tune_decoders([point(weights), point(tmp_path / "twin.safetensors")], options, tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"crop": 65}, "--crop 65.*multiples of 64"),
        ({"gammas": ("-1",)}, "gamma"),
        ({"gammas": ()}, "--gammas"),
        ({"perceptual": "lpips_vg"}, "--perceptual"),
        ({"optimizer": "sgd"}, "--optimizer"),
        ({"precision": "fp8"}, "--precision 'fp8' is unknown"),
        ({"judges": ("psnrr",)}, "psnr"),
        ({"judges": ("ms_ssim",)}, "--judge"),
        ({"lr": 0.0}, "--lr"),
        ({"steps": 0}, "--steps"),
        ({"train": ""}, "--train"),
        ({"train": "/nowhere"}, "nowhere"),
    ],
)
def test_options_that_cannot_be_are_refused_before_anything_is_written(
    options: TuningOptions, weights: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(RdpError, match=message):
        tune_decoders([point(weights)], replace(options, **change), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_network_or_other_options_do_not_go_on_with_a_folder(
    options: TuningOptions, weights: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    tune_decoders([point(weights)], options, out)
    with pytest.raises(SpecError, match="--overwrite"):
        tune_decoders([point(weights)], options, out)
    with pytest.raises(SpecError, match="steps was 4 and is 5"):
        tune_decoders([point(weights)], replace(options, steps=5), out, resume=True)
    torch.manual_seed(8)
    save_model(tmp_path / "other.safetensors", create_model("hyperprior", channels=8, latent_channels=8))
    with pytest.raises(SpecError, match="other codecs or weights"):
        tune_decoders([point(tmp_path / "other.safetensors")], options, out, resume=True)
    (out / "mine.txt").write_text("kept")
    again = tune_decoders([point(weights)], replace(options, gammas=("1",)), out, overwrite=True)
    assert {path.name for path in out.iterdir()} == {
        "mine.txt", "finetune.json", "decoders.csv", "decoders.png", "logs", str(again.codecs[0].decoders[1].weights)
    }  # fmt: skip


@pytest.mark.slow
def test_the_command_prints_a_table_and_its_decoders_become_points(
    tmp_path: Path, weights: Path, picture: Any, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in ("train", "valid"):
        (tmp_path / part).mkdir()
        write_png(tmp_path / part / "a.png", picture(176, 176))
    monkeypatch.setenv("RDP_WEIGHTS", str(shared / "weights"))
    words = [
        "finetune", "--codec", f"checkpoint:path={weights}", "--gammas", "1e-3", "--perceptual", "lpips_squeeze",
        "--train", str(tmp_path / "train"), "--validation", str(tmp_path / "valid"), "--out", str(tmp_path / "out"),
        "--crop", "64", "--batch-size", "1", "--steps", "1", "--judge", "haarpsi",
    ]  # fmt: skip
    shown = CliRunner().invoke(app, [*words, "--quiet"])
    assert shown.exit_code == 0, shown.output
    assert re.search(r"g1e-3 .*1 of 1", shown.output)
    document = json.loads(CliRunner().invoke(app, [*words, "--quiet", "--json", "--resume"]).stdout)
    assert [one["name"] for one in document["codecs"][0]["decoders"]] == ["mse", "g1e-3"]
    monkeypatch.setenv("RDP_WEIGHTS", f"{shared / 'weights'}:{tmp_path / 'out'}")
    codec = create_codec(point(weights, ",decoder=mse+0.5*g1e-3"))
    assert codec.decode(codec.encode(read_image(tmp_path / "valid" / "a.png"))).shape == (176, 176, 3)
    refused = CliRunner().invoke(app, [*words[:-2], "--overwrite", "--gammas", "much"])
    assert refused.exit_code == EXIT_INPUT
    assert "gamma 'much' is not a number" in refused.output


def test_without_weights_of_the_perceptual_loss_it_says_how_to_get_them(
    tmp_path: Path, weights: Path, picture: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in ("train", "valid"):
        (tmp_path / part).mkdir()
        write_png(tmp_path / part / "a.png", picture(176, 176))
    monkeypatch.setenv("RDP_WEIGHTS", str(tmp_path / "empty"))
    options = TuningOptions(str(tmp_path / "train"), str(tmp_path / "valid"), ("1",), crop=64, batch_size=1, steps=1)
    with pytest.raises(WeightsError, match="vgg16"):
        tune_decoders([point(weights)], options, tmp_path / "out")
    assert not (tmp_path / "out").exists()
