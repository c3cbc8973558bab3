"""Images that weights were trained on are refused, unless the user insists."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import rdp
from rdp.cli.codecs import codecs_command
from rdp.codecs import parse_point
from rdp.errors import WeightsError
from rdp.images import hash_pixels, read_image
from rdp.models.checkpoint import save_model
from rdp.models.provenance import trained_on_note
from rdp.models.registry import create_model


class Notes:
    """What a call tells while it runs."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def start(self, stage: str, total: int, unit: str) -> None: ...
    def advance(self, count: int = 1) -> None: ...
    def finish(self) -> None: ...
    def note(self, message: str) -> None:
        self.notes.append(message)


def weights(path: Path, *images: Path, seed: int = 0) -> str:
    """The spec of a small network that says that it was trained on these images."""
    torch.manual_seed(seed)
    model = create_model("factorized", channels=8, latent_channels=8)
    hashes = [hash_pixels(read_image(image)) for image in images]
    save_model(path, model, trained_on_note([*hashes, "0" * 64]) if images else None, kernel_bits=16)
    return f'checkpoint:path="{path}"'


def test_a_point_is_refused_on_images_that_its_weights_have_seen(photos: Path, tmp_path: Path) -> None:
    spec = weights(tmp_path / "m.safetensors", photos / "a.png", photos / "more" / "c.png")
    out = tmp_path / "run"
    name = parse_point(spec).name
    with pytest.raises(WeightsError) as caught:
        rdp.evaluate(photos, [f"{spec},step=1|2", "png"], "mse", out, jobs=2)
    for part in (name, "1 other point were", "2 of the 3 images", str(photos / "a.png"), "--allow-training-images"):
        assert part in str(caught.value)
    assert "png" not in str(caught.value).split("trained on")[0]
    run = rdp.open_run(out)
    assert len(run.to_pandas()) == 0 and not run.sessions and not list(out.rglob("objects/*/*"))
    # The same folder serves for the points and images that are left.
    run = rdp.evaluate(photos, "png", "mse", out, jobs=1)
    assert len(run.to_pandas()) == 3


def test_other_images_and_weights_that_say_nothing_are_not_refused(photos: Path, tmp_path: Path) -> None:
    """Equal pixels count, under whatever name; other pictures of the same folder do not."""
    (tmp_path / "copy.png").write_bytes((photos / "b.png").read_bytes())
    spec = weights(tmp_path / "m.safetensors", tmp_path / "copy.png")
    with pytest.raises(WeightsError, match=r"1 of the 1 images, for example .*b\.png"):
        rdp.evaluate(photos / "b.png", spec, "mse", tmp_path / "run", jobs=1)
    silent = weights(tmp_path / "silent.safetensors", seed=1)
    run = rdp.evaluate([photos / "a.png"], [spec, silent], "mse", tmp_path / "run", jobs=1)
    assert list(run.to_pandas().status) == ["ok", "ok"]


def test_a_user_may_insist_and_the_run_records_it(photos: Path, tmp_path: Path) -> None:
    spec = weights(tmp_path / "m.safetensors", photos / "a.png")
    told = Notes()
    arguments = (photos / "a.png", spec, "mse", tmp_path / "run")
    run = rdp.evaluate(*arguments, jobs=1, allow_training_images=True, progress=told)
    assert list(run.to_pandas().status) == ["ok"]
    assert run.sessions[-1]["options"]["allow_training_images"] is True
    assert any("trained on 1 of the 1 images" in note for note in told.notes)
    with pytest.raises(WeightsError, match="--allow-training-images"):
        rdp.evaluate(*arguments, jobs=1)  # a resumed run asks again


def test_lists_that_differ_are_named_apart_and_not_without_end(photos: Path, tmp_path: Path) -> None:
    specs = [
        weights(tmp_path / f"{seed}.safetensors", *[photos / name for name in names], seed=seed)
        for seed, names in enumerate(
            [["a.png"], ["b.png"], ["a.png", "b.png"], ["more/c.png"], ["a.png", "more/c.png"]]
        )
    ]
    with pytest.raises(WeightsError) as caught:
        rdp.evaluate(photos, specs, "mse", tmp_path / "run", jobs=1)
    assert str(caught.value).count("for example") == 3
    assert "those of 2 more points on others" in str(caught.value)


def test_a_note_that_is_damaged_stops_the_run(photos: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_model(path, create_model("factorized", channels=8, latent_channels=8), {"trained_on": "many"})
    with pytest.raises(WeightsError, match=r"m\.safetensors is damaged: its note 'trained_on'"):
        rdp.evaluate(photos, f'checkpoint:path="{path}"', "mse", tmp_path / "run", jobs=1)


def test_the_command_line_refuses_says_so_and_can_be_forced(photos: Path, tmp_path: Path) -> None:
    from rdp.cli.app import app

    spec = weights(tmp_path / "m.safetensors", photos / "a.png")
    words = ["evaluate", str(photos / "a.png"), "-c", spec, "-m", "mse", "-o", str(tmp_path / "run"), "-j1", "--json"]
    refused = CliRunner().invoke(app, words)
    assert refused.exit_code == 2 and "--allow-training-images" in refused.stderr and not refused.stdout
    done = CliRunner().invoke(app, [*words, "--allow-training-images"])
    assert done.exit_code == 0 and json.loads(done.stdout)["encoded"] == 1


def test_expanding_a_spec_tells_on_how_many_images_its_weights_were_trained(photos: Path, tmp_path: Path) -> None:
    import typer

    app = typer.Typer()
    app.command()(codecs_command)
    spec = weights(tmp_path / "m.safetensors", photos / "a.png")
    done = CliRunner().invoke(app, [f"{spec},step=1|2", "png", "--json"])
    names = json.loads(done.stdout)
    assert len(names) == 3
    assert done.stderr.startswith(f"{names[0]} and 1 more: weights trained on 2 images")
    assert "png" not in done.stderr
    assert CliRunner().invoke(app, [weights(tmp_path / "silent.safetensors")]).stderr == ""
