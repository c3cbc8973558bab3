"""Checkpoints of the PyTorch port: random weights of its layout, computed by its formulas and by our network."""

from __future__ import annotations

import itertools
import pickle
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rdp.errors import WeightsError
from rdp.models.conversion.hific import convert_discriminator_torch, convert_hific_torch, load_hific_torch

State = dict[str, Tensor]
ENCODER = (60, 120, 240, 480, 960)


def port_layout(latent: int = 220, hyper: int = 320, blocks: int = 9) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a checkpoint of Justin-Tan/high-fidelity-generative-compression (channel norm, no DLMM)."""
    layout: dict[str, tuple[int, ...]] = {}

    def conv(name: str, ins: int, outs: int, kernel: int, transposed: bool = False) -> None:
        layout[f"{name}.weight"] = (ins, outs, kernel, kernel) if transposed else (outs, ins, kernel, kernel)
        layout[f"{name}.bias"] = (outs,)

    def norm(name: str, channels: int) -> None:
        layout[f"{name}.gamma"] = layout[f"{name}.beta"] = (1, channels, 1, 1)

    for block, (ins, outs) in enumerate(zip((3, *ENCODER), ENCODER, strict=False), start=1):
        conv(f"Encoder.conv_block{block}.1", ins, outs, 7 if block == 1 else 3)
        norm(f"Encoder.conv_block{block}.2", outs)
    conv("Encoder.conv_block_out.1", ENCODER[-1], latent, 3)
    norm("Generator.conv_block_init.0", latent)
    conv("Generator.conv_block_init.2", latent, 960, 3)
    norm("Generator.conv_block_init.3", 960)
    for block in range(blocks):
        for part in (1, 2):
            conv(f"Generator.resblock_{block}.conv{part}", 960, 960, 3)
            norm(f"Generator.resblock_{block}.norm{part}", 960)
    for block, (outs, ins) in enumerate(reversed(list(itertools.pairwise(ENCODER))), start=1):
        conv(f"Generator.upconv_block{block}.0", ins, outs, 3, transposed=True)
        norm(f"Generator.upconv_block{block}.1", outs)
    conv("Generator.conv_block_out.1", 60, 3, 7)
    conv("Hyperprior.analysis_net.conv1", latent, hyper, 3)
    conv("Hyperprior.analysis_net.conv2", hyper, hyper, 5)
    conv("Hyperprior.analysis_net.conv3", hyper, hyper, 5)
    for net in ("synthesis_mu", "synthesis_std"):
        conv(f"Hyperprior.{net}.conv1", hyper, hyper, 5, transposed=True)
        conv(f"Hyperprior.{net}.conv2", hyper, hyper, 5, transposed=True)
        conv(f"Hyperprior.{net}.conv3", hyper, latent, 3, transposed=True)
    for layer, (ins, outs) in enumerate(((1, 3), (3, 3), (3, 3), (3, 1))):
        layout[f"Hyperprior.hyperlatent_likelihood.H_{layer}"] = (hyper, outs, ins)
        layout[f"Hyperprior.hyperlatent_likelihood.a_{layer}"] = (hyper, outs, 1)
        layout[f"Hyperprior.hyperlatent_likelihood.b_{layer}"] = (hyper, outs, 1)
    return layout


def discriminator_layout(latent: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the port's discriminator (the former spectral norm of torch)."""
    layout: dict[str, tuple[int, ...]] = {
        "Discriminator.context_conv.weight": (12, latent, 3, 3),
        "Discriminator.context_conv.bias": (12,),
        "Discriminator.conv_out.weight": (1, 512, 1, 1),
        "Discriminator.conv_out.bias": (1,),
    }
    for layer, (ins, outs) in enumerate(((15, 64), (64, 128), (128, 256), (256, 512)), start=1):
        layout[f"Discriminator.conv{layer}.weight_orig"] = (outs, ins, 4, 4)
        layout[f"Discriminator.conv{layer}.bias"] = (outs,)
        layout[f"Discriminator.conv{layer}.weight_u"] = (outs,)
        layout[f"Discriminator.conv{layer}.weight_v"] = (ins * 16,)
    return layout


def random_state(layout: dict[str, tuple[int, ...]], seed: int = 7) -> State:
    """Weights that neither explode nor vanish."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in layout.items():
        values = torch.rand(shape, generator=generator) * 2 - 1
        if name.endswith((".weight", ".weight_orig")):
            fan = values[0].numel() if "upconv" not in name and "synthesis_" not in name else values[:, 0].numel()
            values *= (3 / fan) ** 0.5
            if name in ("Encoder.conv_block_out.1.weight", "Hyperprior.analysis_net.conv3.weight"):
                values *= 8  # latents that round to more than 0
        elif ".H_" in name:
            values -= 1.5  # densities wide enough for several symbols
        elif name.endswith("gamma"):
            values = 1 + 0.3 * values
        state[name] = values
    return state


def _norm(state: State, name: str, x: Tensor) -> Tensor:
    normed = (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True) + 1e-3).sqrt()
    return state[f"{name}.gamma"] * normed + state[f"{name}.beta"]


def _conv(state: State, name: str, x: Tensor, pad: tuple[int, int, int, int], stride: int = 1) -> Tensor:
    return F.conv2d(F.pad(x, pad, mode="reflect"), state[f"{name}.weight"], state[f"{name}.bias"], stride)


def _deconv(state: State, name: str, x: Tensor, stride: int = 2) -> Tensor:
    weight = state[f"{name}.weight"]
    return F.conv_transpose2d(x, weight, state[f"{name}.bias"], stride, weight.shape[-1] // 2, stride - 1)


def _encode(s: State, x: Tensor) -> Tensor:
    x = F.relu(_norm(s, "Encoder.conv_block1.2", _conv(s, "Encoder.conv_block1.1", x, (3, 3, 3, 3))))
    for block in range(2, 6):
        x = _conv(s, f"Encoder.conv_block{block}.1", x, (0, 1, 1, 0), stride=2)
        x = F.relu(_norm(s, f"Encoder.conv_block{block}.2", x))
    return _conv(s, "Encoder.conv_block_out.1", x, (1, 1, 1, 1))


def _generate(s: State, y: Tensor, blocks: int) -> Tensor:
    head = _conv(s, "Generator.conv_block_init.2", _norm(s, "Generator.conv_block_init.0", y), (1, 1, 1, 1))
    head = _norm(s, "Generator.conv_block_init.3", head)
    x = head
    for block in range(blocks):
        name = f"Generator.resblock_{block}"
        inner = F.relu(_norm(s, f"{name}.norm1", _conv(s, f"{name}.conv1", x, (1, 1, 1, 1))))
        x = x + _norm(s, f"{name}.norm2", _conv(s, f"{name}.conv2", inner, (1, 1, 1, 1)))
    x = x + head
    for block in range(1, 5):
        x = F.relu(_norm(s, f"Generator.upconv_block{block}.1", _deconv(s, f"Generator.upconv_block{block}.0", x)))
    return _conv(s, "Generator.conv_block_out.1", x, (3, 3, 3, 3))


def _hyper_synthesis(s: State, name: str, z: Tensor) -> Tensor:
    x = F.relu(_deconv(s, f"{name}.conv1", z))
    x = F.relu(_deconv(s, f"{name}.conv2", x))
    return _deconv(s, f"{name}.conv3", x, stride=1)


def _hyper_likelihood(s: State, z: Tensor) -> Tensor:
    def cumulative(values: Tensor) -> Tensor:
        logits = values.double()
        for layer in range(4):
            h, a, b = (s[f"Hyperprior.hyperlatent_likelihood.{kind}_{layer}"].double() for kind in "Hab")
            logits = F.softplus(h) @ logits + b
            logits = logits + a.tanh() * logits.tanh()
        return logits.sigmoid()

    rows = z.transpose(0, 1).flatten(1)[:, None]
    mass = (cumulative(rows + 0.5) - cumulative(rows - 0.5)).clamp_min(1e-9)
    return mass.reshape(z.transpose(0, 1).shape).transpose(0, 1).float()


def _port(s: State, x: Tensor, blocks: int) -> dict[str, Tensor]:
    """The port's evaluation pass by its formulas: integers for z, rounding about the mean for y, Gaussian bins."""
    y = _encode(s, x)
    z = F.relu(F.conv2d(y, s["Hyperprior.analysis_net.conv1.weight"], s["Hyperprior.analysis_net.conv1.bias"], 1, 1))
    z = F.relu(_conv(s, "Hyperprior.analysis_net.conv2", z, (2, 2, 2, 2), stride=2))
    z_hat = torch.floor(_conv(s, "Hyperprior.analysis_net.conv3", z, (2, 2, 2, 2), stride=2) + 0.5)
    mean = _hyper_synthesis(s, "Hyperprior.synthesis_mu", z_hat)
    scale = _hyper_synthesis(s, "Hyperprior.synthesis_std", z_hat).clamp_min(0.11)
    y_hat = torch.floor(y - mean + 0.5) + mean
    law = torch.distributions.Normal(0.0, 1.0)
    distance = (y_hat - mean).abs().double()
    likelihood = law.cdf((0.5 - distance) / scale) - law.cdf((-0.5 - distance) / scale)
    return {
        "y": y,
        "y_hat": y_hat,
        "x_hat": _generate(s, y_hat, blocks),
        "likelihood y": likelihood.clamp_min(1e-9).float(),
        "likelihood z": _hyper_likelihood(s, z_hat),
    }


def _agrees(state: State, blocks: int, size: int = 128) -> None:
    model = convert_hific_torch({"model_state_dict": state})
    x = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(8)) * torch.linspace(0, 1, size)
    with torch.no_grad():
        expected = _port(state, x, blocks)
        output = model(x)
    ours = {
        "y": output.y,
        "y_hat": output.y_hat,
        "x_hat": output.x_hat,
        "likelihood y": output.likelihoods["y"],
        "likelihood z": output.likelihoods["z"],
    }
    for name, values in expected.items():
        torch.testing.assert_close(
            ours[name], values, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )
    z = model.hyper_analyse(output.y).round()
    assert z.unique().numel() > 3
    assert (z[..., 0, 0] != z[..., -1, -1]).any()
    assert output.likelihoods["z"].mean() > 0.001
    assert output.likelihoods["y"].min() < 0.1 * output.likelihoods["y"].max()


SMALL = {"latent": 8, "hyper": 8, "blocks": 1}


@pytest.fixture(scope="module")
def small_state() -> State:
    """Few latent channels and one residual block; the rest has its only width."""
    return random_state(port_layout(**SMALL))


def test_a_converted_checkpoint_computes_what_the_port_computes(small_state: State) -> None:
    _agrees(small_state, blocks=1)


@pytest.mark.slow
def test_a_checkpoint_of_full_width_computes_what_the_port_computes() -> None:
    _agrees(random_state(port_layout()), blocks=9)


def test_the_layout_with_the_discriminator_has_the_published_size_of_737_mb() -> None:
    """The size that the port's README gives: parameters as float32, without the vectors of the spectral norm."""
    layout = port_layout() | discriminator_layout(220)
    count = sum(torch.Size(shape).numel() for name, shape in layout.items() if not name.endswith(("_u", "_v")))
    assert round(4 * count / 1e6) == 737


def test_a_converted_density_rounds_to_integers_and_knows_its_tails(small_state: State) -> None:
    prior = convert_hific_torch(small_state).prior
    assert (prior.medians() == 0).all()
    with torch.no_grad():
        below, _, above = prior.cumulative_logits(prior.quantiles).sigmoid().unbind(2)
    torch.testing.assert_close(below, torch.full_like(below, 5e-10), rtol=0.01, atol=0)
    assert (1 - above < 1e-6).all()


def test_prefixes_tables_and_other_parts_of_a_checkpoint_do_not_matter(small_state: State) -> None:
    plain = convert_hific_torch(small_state).state_dict()
    extra = {
        "Hyperprior.hyperprior_entropy_model.CDF": torch.zeros(3, 4, dtype=torch.int32),
        "Hyperprior.hyperprior_entropy_model.distribution.H_0": torch.zeros(8, 3, 1),
        "Hyperprior.prior_entropy_model.CDF_length": torch.zeros(3, dtype=torch.int32),
        "Hyperprior.index_tables": torch.zeros(64),
        "perceptual_loss.net.lin0.weight": torch.zeros(1),
        **random_state(discriminator_layout(8)),
    }
    wrapped = {f"module.{key}": value for key, value in (small_state | extra).items()}
    other = convert_hific_torch({"model_state_dict": wrapped, "epoch": 3, "args": {}}).state_dict()
    assert plain.keys() == other.keys()
    assert all(torch.equal(plain[key], other[key]) for key in plain)


def test_the_range_of_images_is_that_of_the_training(small_state: State) -> None:
    arguments = {"normalize_input_image": True, "latent_channels": 8}
    assert convert_hific_torch({"model_state_dict": small_state, "args": arguments}).signed
    assert not convert_hific_torch(small_state).signed
    assert convert_hific_torch(small_state, signed=True).signed


def test_a_converted_discriminator_computes_what_the_port_computes() -> None:
    state = random_state(discriminator_layout(8))
    model = convert_discriminator_torch({"model_state_dict": state})
    generator = torch.Generator().manual_seed(9)
    images, latents = torch.rand(2, 3, 64, 64, generator=generator), torch.randn(2, 8, 4, 4, generator=generator)
    context = F.leaky_relu(_conv(state, "Discriminator.context_conv", latents, (1, 1, 1, 1)), 0.2)
    x = torch.cat([images, F.interpolate(context, scale_factor=16, mode="nearest")], 1)
    for layer in range(1, 5):
        name = f"Discriminator.conv{layer}"
        weight = state[f"{name}.weight_orig"]
        sigma = state[f"{name}.weight_u"] @ weight.flatten(1) @ state[f"{name}.weight_v"]
        padded = F.pad(x, (1, 1, 1, 1), mode="reflect")
        x = F.leaky_relu(F.conv2d(padded, weight / sigma, state[f"{name}.bias"], 2), 0.2)
    expected = F.conv2d(x, state["Discriminator.conv_out.weight"], state["Discriminator.conv_out.bias"])
    with torch.no_grad():
        torch.testing.assert_close(model(images, latents), expected, rtol=1e-4, atol=1e-5)


def test_a_file_is_loaded_and_an_error_names_it(small_state: State, tmp_path: Path) -> None:
    path = tmp_path / "hific_low.pt"
    torch.save({"model_state_dict": small_state, "steps": 7, "args": {"name": "hific", "image_dims": (3, 8, 8)}}, path)
    assert load_hific_torch(path).config["residual_blocks"] == 1
    state = dict(small_state)
    del state["Generator.conv_block_out.1.bias"]
    torch.save(state, path)
    with pytest.raises(WeightsError, match=r"hific_low\.pt.*missing synthesis\.18\.bias"):
        load_hific_torch(path)


class _Harmful:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("pickle-was-run"),))


def test_a_pickle_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for save in (torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))):
        path = tmp_path / "model.pt"
        save({"model_state_dict": {}, "args": _Harmful()}, path)
        with pytest.raises(WeightsError, match=r"model\.pt"):
            load_hific_torch(path)
        assert not Path("pickle-was-run").exists()


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 not a zip", b"\x80\x02}q\x00."])
def test_other_files_are_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=r"model\.pt"):
        load_hific_torch(path)
    with pytest.raises(WeightsError, match=r"no\.pt cannot be read"):
        load_hific_torch(tmp_path / "no.pt")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Encoder.conv_block1.1.bias": None}, r"missing analysis\.1\.bias"),
        ({"Encoder.conv_block_out.1.weight": None}, "this is no HiFiC"),
        ({"Generator.latent_noise_map.weight": torch.zeros(1)}, "unknown Generator.latent_noise_map.weight"),
        ({"Encoder.conv_block1.1.bias": torch.zeros(61)}, r"analysis\.1\.bias is \(61,\) and not \(60,\)"),
        ({"Encoder.conv_block1.1.bias": torch.full((60,), torch.nan)}, "not finite"),
        ({"Encoder.conv_block1.1.bias": torch.zeros(60, dtype=torch.int64)}, "is torch.int64"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    change: dict[str, Tensor | None], message: str, small_state: State
) -> None:
    changed = {key: value for key, value in (small_state | change).items() if value is not None}
    with pytest.raises(WeightsError, match=message):
        convert_hific_torch(changed)
    with pytest.raises(WeightsError, match="no HiFiC discriminator"):
        convert_discriminator_torch(small_state)
