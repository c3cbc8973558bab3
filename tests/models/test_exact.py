"""Hyper-networks in exact arithmetic."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from rdp.errors import WeightsError
from rdp.models.exact import ExactNetwork


def hyper_synthesis(seed: int = 0, channels: int = 8, latent: int = 12) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.ConvTranspose2d(channels, latent, 5, 2, 2, 1),
        nn.LeakyReLU(),
        nn.ConvTranspose2d(latent, latent * 3 // 2, 5, 2, 2, 1),
        nn.ReLU(),
        nn.Conv2d(latent * 3 // 2, latent * 2, 3, padding=1),
    )


def hyper_latents(seed: int, count: int = 1, channels: int = 8, side: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-9, 10, (count, channels, side, side + 1), generator=generator).double()


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal bit by bit, so that -0 and 0 differ."""
    return torch.equal(a.view(torch.int64), b.contiguous().view(torch.int64))


@pytest.mark.parametrize("seed", range(5))
def test_all_ways_of_forming_sums_give_the_same_bits(seed: int) -> None:
    """The way of other devices, products of matrices, runs on the CPU too."""
    network = ExactNetwork(hyper_synthesis(seed))
    z = hyper_latents(seed, count=2)
    expected = network.evaluate(z, "double")
    assert same(network.evaluate(z, "limbs"), expected)
    assert same(network.evaluate(z, "matrix"), expected)


@pytest.mark.parametrize(
    "part",
    [
        nn.Conv2d(3, 5, (3, 5), stride=(1, 2), padding=(0, 2)),
        nn.Conv2d(3, 5, 1, bias=False),
        nn.ConvTranspose2d(3, 5, 3, 2, 1, 1),
        nn.ConvTranspose2d(3, 5, 4, 2, 1),
        nn.ConvTranspose2d(3, 5, 5, 1, 2, bias=False),
    ],
)
def test_all_geometries_of_layers_are_formed_alike(part: nn.Module) -> None:
    network = ExactNetwork(nn.Sequential(part))
    z = hyper_latents(1, count=2, channels=3, side=7)
    expected = network.evaluate(z, "double")
    assert expected.shape == part(z.float()).shape
    assert same(network.evaluate(z, "limbs"), expected)
    assert same(network.evaluate(z, "matrix"), expected)


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 1e6, 1e30])
def test_extreme_activations_are_exact_in_both_ways(scale: float) -> None:
    """Weights all of one sign and inputs at their bounds make the largest sums that there can be."""
    module = nn.Sequential(nn.Conv2d(16, 4, 5, padding=2), nn.Conv2d(4, 4, 3, padding=1))
    with torch.no_grad():
        for part in module:
            part.weight.fill_(0.37)
            part.weight[:, 0] *= 1e-3
    network = ExactNetwork(module)
    x = torch.full((1, 16, 6, 6), scale, dtype=torch.float64)
    x[0, 3] *= 0.9999
    expected = network.evaluate(x, "double")
    assert same(network.evaluate(x, "limbs"), expected)
    assert same(network.evaluate(x, "matrix"), expected)


def test_every_single_precision_sum_is_an_integer_below_two_to_the_24() -> None:
    """The bound behind the fast way, checked on the weights themselves: 16 times their absolute sum."""
    for part in hyper_synthesis(3, channels=64, latent=48):
        if not isinstance(part, (nn.Conv2d, nn.ConvTranspose2d)):
            continue
        network = ExactNetwork(nn.Sequential(part))
        x = torch.zeros(1, part.in_channels, 9, 9, dtype=torch.float64)
        x[0, :, 4, 4] = 1.0
        weight = network.integer_weights()[0]
        assert torch.equal(weight, weight.round())
        by_output = weight.transpose(0, 1) if isinstance(part, nn.ConvTranspose2d) else weight
        assert 16 * by_output.abs().sum((1, 2, 3)).max() <= 2**24
        assert 16 * by_output.abs().sum((1, 2, 3)).max() > 2**23, "the weights use the room that there is"


def test_the_result_is_close_to_the_network_in_floating_point() -> None:
    module = hyper_synthesis(1, channels=32, latent=24).double()
    z = hyper_latents(4, channels=32, side=7)
    exact, floating = ExactNetwork(module)(z), module(z)
    assert (exact - floating).std() < 0.004 * floating.std()


def test_batch_size_does_not_change_a_bit() -> None:
    network = ExactNetwork(hyper_synthesis())
    z = hyper_latents(7, count=4)
    z[2] *= 50
    together = network(z)
    for i in range(4):
        assert same(network(z[i : i + 1]), together[i : i + 1])


def test_threads_onednn_and_memory_format_do_not_change_a_bit() -> None:
    network = ExactNetwork(hyper_synthesis())
    z = hyper_latents(8, side=9)
    expected = network(z)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            assert same(network(z), expected)
    finally:
        torch.set_num_threads(threads)
    with torch.backends.mkldnn.flags(enabled=False):
        assert same(network(z), expected)
        # So many images at once are NNPACK's, whose algorithm of Winograd forms other sums.
        many = z.repeat(17, 1, 1, 1)
        assert same(network(many), expected.repeat(17, 1, 1, 1))
    assert same(network(z.contiguous(memory_format=torch.channels_last)), expected)


def test_autocast_and_reduced_precision_settings_do_not_change_a_bit() -> None:
    """A user's global settings would make float32 products inexact; then the slower way is taken."""
    network = ExactNetwork(hyper_synthesis())
    z = hyper_latents(9)
    expected = network(z)
    with torch.autocast("cpu", torch.bfloat16):
        assert same(network(z), expected)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        assert same(network(z), expected)
    finally:
        torch.set_float32_matmul_precision(before)


SETTINGS = """
import sys, torch
from rdp.models.exact import ExactNetwork
from torch import nn

torch.manual_seed(0)
network = ExactNetwork(nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.ConvTranspose2d(8, 4, 5, 2, 2, 1)))
z = torch.randint(-9, 10, (1, 8, 12, 12), generator=torch.Generator().manual_seed(1)).double()
expected = network.evaluate(z, "double")
exec(sys.argv[1])
print(torch.equal(network(z), expected))
"""


@pytest.mark.parametrize(
    "setting",
    [
        "torch.backends.cuda.matmul.fp32_precision = 'tf32'",
        "torch.backends.mkldnn.matmul.fp32_precision = 'bf16'",
        "torch.backends.mkldnn.conv.fp32_precision = 'bf16'",
        "torch.backends.mkldnn.fp32_precision = 'bf16'",
        "torch.backends.fp32_precision = 'bf16'",
        "torch.use_deterministic_algorithms(True)",
        "torch.set_default_dtype(torch.float64)",
    ],
)
def test_what_a_user_sets_for_the_process_changes_nothing(setting: str) -> None:
    """In a process of its own: PyTorch's settings of precision contradict each other once they have been touched."""
    done = subprocess.run([sys.executable, "-c", SETTINGS, setting], capture_output=True, text=True, check=False)
    if "has no attribute" in done.stderr:
        pytest.skip("this PyTorch has no such setting")
    assert done.stdout.strip() == "True", done.stderr


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_gives_the_same_bits() -> None:
    module, z = hyper_synthesis(channels=32, latent=48), hyper_latents(10, count=3, channels=32)
    assert same(ExactNetwork(module, "cuda")(z).cpu(), ExactNetwork(module)(z))


def test_values_that_are_not_finite_count_as_zero() -> None:
    network = ExactNetwork(hyper_synthesis())
    z = hyper_latents(11)
    spoilt = z.clone()
    spoilt[0, 0, 0, 0] = float("nan")
    z[0, 0, 0, 0] = 0
    assert same(network(spoilt), network(z))


def test_zero_weights_and_zero_inputs_give_the_biases() -> None:
    module = hyper_synthesis()
    with torch.no_grad():
        module[4].weight.zero_()
    result = ExactNetwork(module)(torch.zeros(1, 8, 2, 2))
    expected = module[4].bias.detach().double()[None, :, None, None].expand_as(result)
    assert same(result, expected)


def test_the_digest_changes_with_every_weight_and_with_nothing_else() -> None:
    module = hyper_synthesis()
    first = ExactNetwork(module).digest
    assert ExactNetwork(module).digest == first
    with torch.no_grad():
        module[2].weight[1, 2, 3, 3] += 0.01
    assert ExactNetwork(module).digest != first


def test_the_same_weights_give_the_same_integers_on_every_machine() -> None:
    """Frozen from another run: a machine that rounds otherwise would notice here."""
    module = nn.Sequential(nn.ConvTranspose2d(2, 3, 3, 2, 1, 1), nn.LeakyReLU(), nn.Conv2d(3, 2, 3, padding=1))
    with torch.no_grad():
        for part in (module[0], module[2]):
            count = part.weight.numel()
            part.weight.copy_((torch.arange(count) * 37 % 101 - 50).reshape(part.weight.shape) / 64)
            part.bias.copy_(torch.arange(part.bias.numel()) / 8)
    network = ExactNetwork(module)
    z = (torch.arange(24) * 29 % 17 - 8).reshape(1, 2, 3, 4).double()
    assert network.digest.hex()[:16] == "6328873d35d08378"
    assert network(z)[0, 1, 2, :3].tolist() == [11.697910384983661, -2.327438385218982, -26.27254152013594]


def test_layers_without_an_exact_form_are_refused() -> None:
    for module in (nn.Sequential(nn.Tanh()), nn.Sequential(nn.Conv2d(4, 4, 3, groups=2))):
        with pytest.raises(WeightsError, match="no exact form"):
            ExactNetwork(module)


def test_weights_that_are_not_finite_are_refused() -> None:
    module = hyper_synthesis()
    with torch.no_grad():
        module[0].weight[0, 0, 0, 0] = float("inf")
    with pytest.raises(WeightsError, match="not finite"):
        ExactNetwork(module)
