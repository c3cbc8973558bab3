"""Fast transforms against the modules that they stand for."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

import rdp.models.fast as fast
from rdp.errors import SpecError
from rdp.models.activations import GDN, GSDN, ChannelNorm, HardShrinkage, OneDN
from rdp.models.factorized import analysis_transform, synthesis_transform
from rdp.models.fast import FastTransform, fast_transform
from rdp.models.hific import HiFiC, ResidualBlock
from rdp.models.layers import conv, deconv, upsample

TOLERANCE = 1e-5


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(3)


def shaken(module: nn.Module) -> nn.Module:
    """The module with all parameters moved off their start, so that no term is 0 by chance."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * parameter.abs().mean() * torch.rand_like(parameter) + 0.01)
    return module.eval()


def error(made: Tensor, wanted: Tensor) -> float:
    """Largest difference, relative to the largest value."""
    assert made.shape == wanted.shape
    return float((made - wanted).abs().max() / wanted.abs().max())


def check(module: nn.Module, x: Tensor, tolerance: float = TOLERANCE) -> FastTransform:
    shaken(module)
    transform = fast_transform(module)
    with torch.no_grad():
        assert error(transform(x), module(x)) < tolerance
    return transform


def small_blocks(monkeypatch: pytest.MonkeyPatch, nbytes: int = 1) -> None:
    """Blocks of as few rows as a layer can make."""
    monkeypatch.setattr(fast, "CPU_BLOCK_BYTES", nbytes)


LAYERS: dict[str, Any] = {
    "conv": lambda: conv(8, 12),
    "conv that keeps sides": lambda: conv(8, 12, kernel=3, stride=1),
    "1x1 conv": lambda: nn.Conv2d(8, 5, 1),
    "conv without padding": lambda: nn.Conv2d(8, 5, 4, stride=3),
    "dilated conv": lambda: nn.Conv2d(8, 5, (3, 5), padding=(4, 2), dilation=2),
    "grouped conv": lambda: nn.Conv2d(8, 6, 3, groups=2, bias=False),
    "conv with sides kept by name": lambda: nn.Conv2d(8, 6, 5, padding="same"),
    "conv with no sides by name": lambda: nn.Conv2d(8, 6, 5, padding="valid"),
    "conv with an even kernel and sides kept by name": lambda: nn.Conv2d(8, 6, 4, padding="same"),
    "conv that skips rows": lambda: nn.Conv2d(8, 6, 1, stride=3),
    "conv with reflected borders": lambda: nn.Conv2d(8, 6, 5, padding=2, padding_mode="reflect"),
    "deconv": lambda: deconv(8, 12),
    "deconv to an image": lambda: deconv(8, 3),
    "deconv of 3x3": lambda: deconv(8, 3, kernel=3),
    "deconv that keeps sides": lambda: deconv(8, 3, kernel=3, stride=1),
    "deconv of 4x4": lambda: nn.ConvTranspose2d(8, 2, 4, stride=2, padding=1),
    "deconv of odd sides": lambda: nn.ConvTranspose2d(8, 3, 5, stride=2, padding=2),
    "deconv without padding": lambda: nn.ConvTranspose2d(8, 20, 5, stride=2),
    "deconv of stride 3": lambda: nn.ConvTranspose2d(8, 20, 5, stride=3, padding=1, output_padding=2, bias=False),
    "deconv with gaps": lambda: nn.ConvTranspose2d(8, 20, 2, stride=3),
    "dilated deconv": lambda: nn.ConvTranspose2d(8, 20, 3, stride=2, padding=2, dilation=2, output_padding=1),
    "grouped deconv": lambda: nn.ConvTranspose2d(8, 4, 5, stride=2, padding=2, groups=4),
    "oblong deconv": lambda: nn.ConvTranspose2d(8, 2, (5, 3), stride=(2, 1), padding=(2, 1), output_padding=(1, 0)),
    "deconv that loses rows": lambda: nn.ConvTranspose2d(8, 2, 1, stride=2, padding=1),
    "pixel shuffle": lambda: nn.PixelShuffle(2),
    "upsample": lambda: upsample(8, 3, 5),
    "reflection": lambda: nn.ReflectionPad2d((3, 1, 2, 4)),
    "reflection above": lambda: nn.ReflectionPad2d((0, 1, 1, 0)),
    "no reflection": lambda: nn.ReflectionPad2d(0),
    "relu": lambda: nn.ReLU(inplace=True),
    "leaky relu": lambda: nn.LeakyReLU(0.2),
    "identity": nn.Identity,
    "gdn": lambda: GDN(8),
    "inverse gdn": lambda: GDN(8, inverse=True),
    "1dn": lambda: OneDN(8),
    "inverse 1dn": lambda: OneDN(8, inverse=True),
    "gsdn": lambda: GSDN(8),
    "inverse gsdn": lambda: GSDN(8, inverse=True),
    "shrinkage": lambda: HardShrinkage(8, initial=1.0),
    "channel norm": lambda: ChannelNorm(8),
    "residual block": lambda: ResidualBlock(8),
    "something unknown": lambda: nn.InstanceNorm2d(8, affine=True),
    "nothing": nn.Sequential,
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("block_bytes", [1, 4000, 1 << 30])
def test_every_layer_gives_what_the_module_gives_whatever_the_blocks(
    name: str, block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One row at a time, some, and all; between two 1x1 convolutions, so that borders inside a chain are met too."""
    small_blocks(monkeypatch, block_bytes)
    layer = LAYERS[name]()
    check(layer, torch.randn(2, 8, 19, 17))
    check(nn.Sequential(nn.Conv2d(3, 8, 1), nn.Sequential(layer, nn.ReLU())), torch.randn(1, 3, 13, 22))


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_convolutions_of_any_geometry_agree(data: st.DataObject) -> None:
    """Kernel, stride, padding, dilation, sides and the bytes of a block are drawn."""
    draw = data.draw
    kernel, stride, dilation = (draw(st.integers(1, most)) for most in (6, 4, 2))
    extent = dilation * (kernel - 1) + 1
    height, width = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    padding = draw(st.integers(0, extent + 1))
    outputs = draw(st.sampled_from([1, 3, 20]))
    if draw(st.booleans()):
        extra = draw(st.integers(0, max(stride, dilation) - 1))
        layer: nn.Module = nn.ConvTranspose2d(
            2, outputs, kernel, stride, padding, output_padding=extra, dilation=dilation
        )
        if min(height, width) * stride - stride - 2 * padding + extent + extra < 1:
            return
    else:
        layer = nn.Conv2d(2, outputs, kernel, stride, padding, dilation)
        if min(height, width) + 2 * padding < extent:
            return
    shaken(layer)
    x = torch.randn(1, 2, height, width)
    with pytest.MonkeyPatch.context() as monkeypatch, torch.no_grad():
        small_blocks(monkeypatch, draw(st.sampled_from([1, 300, 2000, 1 << 20])))
        assert torch.allclose(fast_transform(layer)(x), layer(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("activation", ["gdn", "1dn", "gsdn", "shrinkage", "relu", "leaky_relu", "channel_norm"])
def test_whole_transforms_give_what_the_modules_give(activation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    small_blocks(monkeypatch, 3000)
    check(analysis_transform(8, 12, activation), torch.rand(2, 3, 64, 96))
    check(synthesis_transform(8, 12, activation), torch.randn(2, 12, 5, 4))


def test_the_transforms_of_hific_stream_and_give_what_the_modules_give(monkeypatch: pytest.MonkeyPatch) -> None:
    small_blocks(monkeypatch)
    model = HiFiC(width=0.05, residual_blocks=2)
    # Norms over few channels amplify rounding.
    assert check(model.analysis, torch.rand(1, 3, 128, 64), 1e-4).streams
    assert check(model.synthesis, torch.randn(1, model.latent_channels, 8, 4), 1e-4).streams


def test_an_image_in_blocks_equals_the_image_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sides that are no multiples of anything; zeros stand beyond the true borders only."""
    for module, x in (
        (shaken(analysis_transform(8, 12, "gdn")), torch.rand(1, 3, 301, 77)),
        (shaken(synthesis_transform(8, 12, "gdn")), torch.randn(1, 12, 23, 7)),
    ):
        small_blocks(monkeypatch, 1 << 30)
        whole = fast_transform(module)(x)
        for nbytes in (1, 5000, 50000):
            small_blocks(monkeypatch, nbytes)
            assert error(fast_transform(module)(x), whole) < TOLERANCE


def test_the_result_of_an_image_does_not_depend_on_the_rest_of_its_batch() -> None:
    transform = fast_transform(shaken(analysis_transform(8, 12, "gdn")))
    x = torch.rand(8, 3, 64, 64)
    together = transform(x)
    for index in range(8):
        assert torch.equal(together[index], transform(x[index : index + 1])[0])
    assert torch.equal(together[2:5], transform(x[2:5]))


def test_the_module_and_the_input_stay_as_they_are_and_the_transform_too() -> None:
    module = shaken(nn.Sequential(nn.ReLU(inplace=True), conv(3, 8), GDN(8), nn.LeakyReLU(inplace=True)))
    before, x = copy.deepcopy(module.state_dict()), torch.randn(1, 3, 32, 32)
    given_x = x.clone()
    for dtype in fast.DTYPES:
        transform = fast_transform(module, dtype=dtype)
        result = transform(x)
        assert torch.equal(x, given_x)
        assert all(torch.equal(module.state_dict()[key], value) for key, value in before.items())
        assert not result.requires_grad
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.mul_(2)
        assert torch.equal(transform(x), result)
        module.load_state_dict(before)


def test_an_identity_gives_a_copy() -> None:
    x = torch.randn(1, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    result = fast_transform(nn.Identity())(x)
    assert torch.equal(result, x) and result.data_ptr() != x.data_ptr()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("activation", ["gdn", "1dn", "gsdn", "leaky_relu", "channel_norm"])
def test_half_precision_is_close_and_gives_float32(dtype: str, activation: str) -> None:
    """Relative to the spread of the output; bfloat16 has 8 bits of significand, float16 has 11."""
    bound = {"bfloat16": 0.02, "float16": 0.003}[dtype]
    for module, x in (
        (analysis_transform(16, 12, activation), torch.rand(1, 3, 64, 64)),
        (synthesis_transform(16, 12, activation), torch.randn(1, 12, 4, 4)),
    ):
        module.eval()
        with torch.no_grad():
            wanted = module(x)
        made = fast_transform(module, dtype=dtype)(x)
        assert made.dtype == torch.float32
        assert 0 < (made - wanted).square().mean().sqrt() < bound * wanted.std()


def test_squares_that_float16_cannot_hold_are_no_harm() -> None:
    module = GDN(8).eval()
    x = 1000 * torch.randn(1, 8, 8, 8)
    with torch.no_grad():
        assert error(fast_transform(module, dtype="float16")(x), module(x)) < 2e-3


def test_the_last_bias_is_added_in_float32() -> None:
    """0.7 plus the 300th part of 1 is not a number of bfloat16 near 0.7."""
    for layer in (nn.Conv2d(1, 1, 1), nn.ConvTranspose2d(1, 1, 2, 2)):
        nn.init.constant_(layer.weight, 1 / 256)
        assert layer.bias is not None
        nn.init.constant_(layer.bias, 0.7)
        result = fast_transform(layer, dtype="bfloat16")(torch.ones(1, 1, 2, 2))
        assert result.flatten()[0] == pytest.approx(0.7 + 1 / 256, abs=1e-7)
        assert layer.bias is not None


def test_an_unknown_dtype_is_refused_with_a_suggestion() -> None:
    with pytest.raises(SpecError, match="did you mean 'float16'|Did you mean .*'float16'"):
        fast_transform(nn.Identity(), dtype="float61")


def measured_peak(transform: FastTransform, x: Tensor) -> int:
    """The most bytes that the CPU's allocator had given out during a call, by what the profiler noted."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        transform(x)
    kineto = profiler.profiler.kineto_results
    notes = [event for event in kineto.events() if event.name() == "[memory]"]
    live = most = 0
    for note in sorted(notes, key=lambda event: event.start_ns()):
        live += note.nbytes()
        most = max(most, live)
    return most


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (512, 256), (1024, 128), (128, 1024)])
def test_the_memory_of_a_call_is_between_a_third_of_what_is_said_and_all_of_it(
    dtype: str, height: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_blocks(monkeypatch, 1 << 17)
    analysis = fast_transform(analysis_transform(16, 24, "gdn").eval(), dtype=dtype)
    synthesis = fast_transform(synthesis_transform(16, 24, "gdn").eval(), dtype=dtype)
    for transform, channels, divisor in ((analysis, 3, 1), (synthesis, 24, 16)):
        sides = height // divisor, width // divisor
        said = transform.peak_bytes(*sides, channels)
        assert (said - fast.LIBRARY_BYTES) / 3 < measured_peak(transform, torch.rand(1, channels, *sides)) <= said


def test_memory_of_large_images_is_that_of_their_output_and_some_rows() -> None:
    """Not of the activations of the first layer, which here are 64 times as large as what comes out."""
    transform = fast_transform(analysis_transform(128, 192, "gdn").eval())
    output = 512 * 512 * 192 * 4
    assert transform.streams
    assert output < transform.peak_bytes(8192, 8192) < 2 * output + (600 << 20)
    assert transform.peak_bytes(16384, 8192) - transform.peak_bytes(8192, 8192) < 1.1 * output


def test_modules_that_are_not_known_need_the_memory_of_the_whole_image() -> None:
    layers = [conv(3, 16), nn.InstanceNorm2d(16), nn.ReLU(), conv(16, 8)]
    transform = fast_transform(nn.Sequential(*layers))
    assert not transform.streams
    said = transform.peak_bytes(512, 512)
    assert said / 6 < measured_peak(transform, torch.rand(1, 3, 512, 512)) <= said


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("activation", ["gdn", "1dn", "gsdn", "leaky_relu", "channel_norm"])
def test_a_gpu_gives_what_the_cpu_gives(activation: str) -> None:
    for module, x in (
        (analysis_transform(16, 24, activation), torch.rand(4, 3, 128, 192)),
        (synthesis_transform(16, 24, activation), torch.randn(4, 24, 8, 12)),
    ):
        module.eval()
        with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            wanted = module(x)
            assert error(fast_transform(module, device="cuda")(x).cpu(), wanted) < 1e-4
            for dtype, bound in (("bfloat16", 0.02), ("float16", 0.003)):
                made = fast_transform(module, device="cuda", dtype=dtype)(x).cpu()
                assert (made - wanted).square().mean().sqrt() < bound * wanted.std()


@pytest.mark.parametrize("activation", ["gdn", "1dn", "gsdn"])
def test_half_precision_makes_pictures_neither_darker_nor_brighter(activation: str) -> None:
    """Roundings that fall to one side add up to a shift of all samples, which no random noise is."""
    from rdp.models.factorized import synthesis_transform

    torch.manual_seed(3)
    module = synthesis_transform(48, 64, activation).eval()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("gamma"):
                parameter.add_(torch.rand_like(parameter) * 0.1)
    y = torch.randint(-6, 7, (1, 64, 12, 12)).float()
    difference = fast_transform(module, dtype="bfloat16")(y) - fast_transform(module)(y)
    for plane in difference[0]:
        assert abs(float(plane.mean())) < 0.35 * float(plane.std())
