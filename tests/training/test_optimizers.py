"""Muon against its definition in float64, its Adam part against torch's, rates of groups, and resuming."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rdp.training import Muon
from rdp.training.optimizers import is_matrix, orthogonalised

SHAPES = [(6, 40), (40, 6), (16, 48)]


def _quintic(matrix: np.ndarray) -> np.ndarray:
    """The five steps on the singular values themselves: x -> a x + b x^3 + c x^5 (Jordan et al. 2024)."""
    left, values, right = np.linalg.svd(matrix / np.linalg.norm(matrix), full_matrices=False)
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    return (left * values) @ right


def _reference(start: np.ndarray, gradients: list[np.ndarray], lr: float, momentum: float) -> np.ndarray:
    """Muon with Nesterov's momentum in float64, its update 0.2 sqrt(longer side) lr (Liu et al. 2025)."""
    weights, average = start.copy(), np.zeros_like(start)
    for gradient in gradients:
        average = momentum * average + (1 - momentum) * gradient
        direction = momentum * average + (1 - momentum) * gradient
        update = _quintic(direction.reshape(len(direction), -1))
        weights -= lr * 0.2 * max(update.shape) ** 0.5 * update.reshape(start.shape)
    return weights


class Small(nn.Module):
    """A convolution and a transposed one, their biases, and quantiles."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convolution = nn.Conv2d(5, 8, 3)
        self.transposed = nn.ConvTranspose2d(8, 6, 3)
        self.quantiles = nn.Parameter(torch.rand(8, 4, 3, 3))

    def groups(self, **own: Any) -> list[dict[str, Any]]:
        rest = [*self.convolution.parameters(), *self.transposed.parameters()]
        return [{"params": rest, **own}, {"params": [self.quantiles], "lr": 0.01, "muon": False}]


def _gradients(network: nn.Module, steps: int) -> list[dict[str, Tensor]]:
    torch.manual_seed(1)
    return [{name: torch.randn_like(one) for name, one in network.named_parameters()} for _ in range(steps)]


def _train(network: nn.Module, optimizer: torch.optim.Optimizer, gradients: list[dict[str, Tensor]]) -> None:
    for step in gradients:
        for name, parameter in network.named_parameters():
            parameter.grad = step[name].clone()
        optimizer.step()


def _is_adams(network: Small, gradients: list[dict[str, Tensor]], name: str, lr: float, betas: Any) -> bool:
    start = dict(Small().named_parameters())[name].detach().clone().requires_grad_()
    adam = torch.optim.Adam([start], lr=lr, betas=betas)
    for step in gradients:
        start.grad = step[name]
        adam.step()
    return torch.allclose(dict(network.named_parameters())[name], start, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_an_update_has_singular_values_near_1_and_the_directions_of_the_gradient(shape: tuple[int, int]) -> None:
    torch.manual_seed(3)
    matrix = torch.randn(shape) * torch.logspace(-0.5, 0.5, shape[1])
    update = orthogonalised(matrix)
    values = torch.linalg.svdvals(update)
    assert update.shape == shape
    assert 0.6 < values.min() <= values.max() < 1.3
    wanted = _quintic(matrix.double().numpy())
    assert np.linalg.norm(update.numpy() - wanted) < 0.05 * np.linalg.norm(wanted)


def test_a_gradient_of_zeros_has_an_update_of_zeros() -> None:
    assert not orthogonalised(torch.zeros(4, 9)).any()


@pytest.mark.parametrize("name", ["convolution.weight", "transposed.weight"])
def test_convolutions_go_where_the_definition_leads(name: str) -> None:
    network = Small()
    start = dict(network.named_parameters())[name].detach().double().numpy().copy()
    gradients = _gradients(network, 4)
    _train(network, Muon(network.groups(), lr=0.02, momentum=0.9), gradients)
    wanted = _reference(start, [step[name].double().numpy() for step in gradients], 0.02, 0.9)
    moved = dict(network.named_parameters())[name].detach().numpy() - start
    assert np.linalg.norm(moved - (wanted - start)) < 0.03 * np.linalg.norm(wanted - start)


def test_an_update_of_muon_is_as_large_as_a_fifth_of_its_rate() -> None:
    network = Small()
    before = network.convolution.weight.detach().clone()
    _train(network, Muon(network.groups(), lr=0.1), _gradients(network, 1))
    moved = network.convolution.weight.detach() - before
    assert moved.square().mean().sqrt().item() == pytest.approx(0.2 * 0.1, rel=0.3)


@pytest.mark.parametrize(("name", "lr"), [("convolution.bias", 0.003), ("transposed.bias", 0.003), ("quantiles", 0.01)])
def test_biases_and_groups_without_muon_go_where_torchs_adam_leads(name: str, lr: float) -> None:
    network = Small()
    gradients = _gradients(network, 5)
    _train(network, Muon(network.groups(), adam_lr=0.003, betas=(0.8, 0.95)), gradients)
    assert _is_adams(network, gradients, name, lr, (0.8, 0.95))
    assert not _is_adams(network, gradients, name, 1.1 * lr, (0.8, 0.95))


def test_kernels_of_one_pixel_or_of_few_channels_are_no_matrices() -> None:
    kinds = {"conv": (8, 4, 3, 3), "1x1": (8, 8, 1, 1), "rgb": (8, 3, 5, 5), "to rgb": (3, 8, 5, 5), "bias": (8,)}
    assert [name for name, shape in kinds.items() if is_matrix(torch.zeros(shape))] == ["conv"]


def test_a_groups_own_numbers_are_those_of_its_convolutions_and_of_the_others() -> None:
    own = {"lr": 0.004, "momentum": 0.5, "betas": (0.7, 0.9)}
    network, same = Small(), Small()
    gradients = _gradients(network, 3)
    optimizer = Muon(network.groups(**own), lr=1.0, adam_lr=2.0, momentum=0.99)
    assert [(group["muon"], group["lr"]) for group in optimizer.param_groups] == [
        (True, 0.004), (False, 0.004), (False, 0.01)
    ]  # fmt: skip
    _train(network, optimizer, gradients)
    _train(same, Muon(same.groups(), lr=0.004, adam_lr=0.004, momentum=0.5, betas=(0.7, 0.9)), gradients)
    assert torch.equal(network.convolution.weight, same.convolution.weight)
    assert torch.equal(network.transposed.bias, same.transposed.bias)


def test_a_training_from_a_saved_state_is_the_same_to_the_bit(tmp_path) -> None:
    whole, first = Small(), Small()
    gradients = _gradients(whole, 6)
    _train(whole, Muon(whole.groups()), gradients)
    optimizer = Muon(first.groups())
    _train(first, optimizer, gradients[:3])
    torch.save([first.state_dict(), optimizer.state_dict()], tmp_path / "state.pt")
    second = Small()
    weights, state = torch.load(tmp_path / "state.pt", weights_only=True)
    second.load_state_dict(weights)
    resumed = Muon(second.groups(), lr=0.5)
    resumed.load_state_dict(state)
    _train(second, resumed, gradients[3:])
    for name, parameter in whole.named_parameters():
        assert torch.equal(parameter, dict(second.named_parameters())[name]), name


def test_a_schedule_reaches_both_kinds() -> None:
    network = Small()
    optimizer = Muon(network.groups(), lr=0.02, adam_lr=0.04)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 if step < 1 else 0.0)
    gradients = _gradients(network, 2)
    _train(network, optimizer, gradients[:1])
    assert [group["lr"] for group in optimizer.param_groups] == [0.02, 0.04, 0.01]
    schedule.step()
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    _train(network, optimizer, gradients[1:])
    assert [group["lr"] for group in optimizer.param_groups] == [0, 0, 0]
    assert all(torch.equal(before[name], parameter) for name, parameter in network.named_parameters())


@pytest.mark.parametrize("rates", [{"lr": 0.0}, {"adam_lr": -1.0}, {"lr": float("nan")}])
def test_rates_that_are_none_are_refused(rates: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="above 0"):
        Muon(Small().parameters(), **rates)
    with pytest.raises(ValueError, match="above 0"):
        Muon(Small().groups(lr=0.0))


def test_a_closure_is_called_with_gradients_and_its_loss_returned() -> None:
    network = Small()
    optimizer = Muon(network.parameters())

    def loss() -> Tensor:
        value = network.convolution(torch.ones(1, 5, 4, 4)).square().sum()
        value.backward()
        return value

    before = loss().item()
    assert optimizer.step(loss).item() == pytest.approx(before)
    assert network.convolution(torch.ones(1, 5, 4, 4)).square().sum().item() < before
