"""Widening a mean-scale hyperprior: what stays, what starts awake, and what is refused."""

from __future__ import annotations

import pytest
import torch

from rdp.models.checkpoint import load_model, save_model
from rdp.models.registry import create_model


@pytest.fixture
def narrow():
    torch.manual_seed(0)
    network = create_model("hyperprior", channels=8, latent_channels=12, quantizer="mixed").eval()
    with torch.no_grad():
        network.analysis[-1].weight.mul_(20)  # latents of a network without training are all rounded to 0
        network.analysis[-1].weight[5:7] = 0  # two that sleep
        network.analysis[-1].bias[5:7] = 0
        network.hyper_synthesis[-1].weight[5:7] = 0
        network.hyper_synthesis[-1].bias[5:7] = 0
        network.hyper_synthesis[-1].weight[17:19] = 0
        network.hyper_synthesis[-1].bias[17:19] = 0
    return network


@pytest.fixture
def photo(picture):
    return torch.from_numpy(picture(64, 64).copy()).permute(2, 0, 1)[None].float() / 255


def test_a_wider_network_gives_what_the_narrow_one_gives_while_new_latents_are_silent(script, narrow, photo) -> None:
    widen = script("widen")
    wide = widen.widened(narrow, 10, 20, photo, seed=1)
    assert (wide.config["channels"], wide.config["latent_channels"]) == (10, 20)
    y = narrow.analyse(photo)
    assert torch.allclose(wide.analyse(photo)[:, :5], y[:, :5], atol=1e-5)
    assert torch.allclose(wide.analyse(photo)[:, 7:12], y[:, 7:12], atol=1e-5)
    latent = torch.zeros(1, 20, 4, 4)
    latent[:, :5] = y[:, :5].round()
    old = latent[:, :12].clone()
    assert torch.allclose(wide.synthesis(latent), narrow.synthesis(old), atol=1e-5)


def test_new_latents_and_those_that_slept_start_awake(script, narrow, photo) -> None:
    widen = script("widen")
    bits = widen.bits_of_latents(narrow, photo)
    assert (bits < widen.NO_BITS).nonzero().flatten().tolist() == [5, 6]
    wide = widen.widened(narrow, 10, 20, photo, seed=1)
    spread = wide.analyse(photo).std((0, 2, 3)).detach()
    again = [5, 6, *range(12, 20)]
    assert torch.allclose(spread[again], torch.full((10,), widen.AWAKE), rtol=1e-3)
    assert bool((widen.bits_of_latents(wide, photo)[again] > 1e-3).all())
    assert bool((wide.synthesis[0].weight[again].abs().sum((1, 2, 3)) > 0).all()), "or no gradient would reach them"


def test_widths_that_are_smaller_are_refused(script, narrow, photo) -> None:
    with pytest.raises(SystemExit, match="give widths that are not smaller"):
        script("widen").widened(narrow, 8, 11, photo, seed=1)


def test_the_script_writes_a_file_that_trainings_begin_with(script, narrow, tmp_path, picture, monkeypatch) -> None:
    from PIL import Image

    Image.fromarray(picture(64, 64)).save(tmp_path / "a.png")
    save_model(tmp_path / "n.safetensors", narrow, {"trained_on": "[]", "training": "{}"})
    words = ["widen.py", str(tmp_path / "n.safetensors"), str(tmp_path / "w.safetensors"), "--channels", "8"]
    monkeypatch.setattr("sys.argv", [*words, "--latent-channels", "16", "--image", str(tmp_path / "a.png")])
    script("widen").main()
    assert load_model(tmp_path / "w.safetensors").config["latent_channels"] == 16
