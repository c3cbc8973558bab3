"""Optimisers for compression networks.

Muon (Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024) makes the update of a weight
matrix orthogonal: every direction of the matrix moves by the same amount, however small its gradient. Convolutions are
matrices of (first side) x (the other sides); everything that is no matrix of a convolution (biases, normalisations,
densities) is left to Adam, as its authors say. `benchmarks/optimizers.py` has what it gains over Adam here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic iteration that brings all singular values near 1 (Jordan et al. 2024)."""
ITERATIONS = 5
ADAM_SIZE = 0.2
"""Root mean square of Adam's usual update in units of its rate: with it the same rates serve both (Liu et al. 2025)."""
_SMALLEST = 1e-7


class Muon(Optimizer):
    """Muon for convolutions, Adam for everything else, with a learning rate each.

    `params`: parameters or groups of them, as of any optimiser. `lr`: of the convolutions with a kernel of more than
    one pixel and at least `smallest_side` channels on both sides. Their update is as large as Adam's, 0.2 `lr` in the
    root mean square of its elements (Liu et al., "Muon is scalable for LLM training", 2025, section 2.2). `adam_lr`:
    of the others; a group with `muon: False` has none but those. `momentum`: of Muon (Nesterov's); `betas`: of Adam.
    A group's own `lr` is that of all its parameters, convolutions or not, in place of `lr` and `adam_lr`, and its own
    `momentum`, `betas` and `eps` count too. Both rates are a group's `lr`s, so that schedules reach both.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        adam_lr: float = 3e-3,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        smallest_side: int = 4,
    ) -> None:
        """Raises `ValueError` for rates that are not above 0."""
        groups: list[dict[str, Any]] = []
        listed = _groups(params)
        rates = [lr, adam_lr, *(given["lr"] for given in listed if "lr" in given)]
        if not all(rate > 0 for rate in rates):
            raise ValueError(f"learning rates must be above 0, not {', '.join(map(str, rates))}")
        for given in listed:
            rest = {key: value for key, value in given.items() if key not in ("params", "muon")}
            split: dict[bool, list[Tensor]] = {True: [], False: []}
            for parameter in given["params"]:
                split[given.get("muon", True) and is_matrix(parameter, smallest_side)].append(parameter)
            for muon, chosen in split.items():
                if chosen:
                    groups.append({"lr": lr if muon else adam_lr, **rest, "params": chosen, "muon": muon})
        super().__init__(groups, {"momentum": momentum, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update; returns what the closure does."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            update = self._muon if group["muon"] else self._adam
            for parameter in group["params"]:
                if parameter.grad is not None:
                    update(parameter, parameter.grad, group)
        return loss

    def _muon(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        average = state["momentum"].lerp_(gradient, 1 - group["momentum"])
        direction = gradient.lerp(average, group["momentum"])
        update = orthogonalised(direction.reshape(direction.shape[0], -1))
        scale = ADAM_SIZE * max(update.shape) ** 0.5
        parameter.add_(update.reshape(parameter.shape).to(parameter.dtype), alpha=-group["lr"] * scale)

    def _adam(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["steps"] = 0
            state["average"] = torch.zeros_like(parameter)
            state["square"] = torch.zeros_like(parameter)
        state["steps"] += 1
        first, second = group["betas"]
        average = state["average"].lerp_(gradient, 1 - first)
        square = state["square"].mul_(second).addcmul_(gradient, gradient, value=1 - second)
        root = (square / (1 - second ** state["steps"])).sqrt_().add_(group["eps"])
        parameter.addcdiv_(average, root, value=-group["lr"] / (1 - first ** state["steps"]))


def is_matrix(parameter: Tensor, smallest_side: int = 4) -> bool:
    """Whether a parameter is the kernel of a convolution that Muon takes."""
    return parameter.dim() == 4 and parameter.shape[-1] > 1 and min(parameter.shape[:2]) >= smallest_side


def orthogonalised(matrix: Tensor) -> Tensor:
    """The matrix with its singular values brought near 1 (between about 0.7 and 1.2), float32, of the same shape.

    Singular values of less than a few thousandths of the matrix's norm stay smaller.
    In bfloat16, whose errors are below what the iteration leaves.
    """
    a, b, c = COEFFICIENTS
    x = matrix.bfloat16()
    x = x / (x.norm() + _SMALLEST)
    turned = x.shape[0] > x.shape[1]
    if turned:
        x = x.mT
    for _ in range(ITERATIONS):
        product = x @ x.mT
        x = a * x + (b * product + c * product @ product) @ x
    result: Tensor = (x.mT if turned else x).float()
    return result


def _groups(params: Iterable[Any]) -> list[dict[str, Any]]:
    given = list(params)
    if given and not isinstance(given[0], dict):
        return [{"params": given}]
    return [{**group, "params": list(group["params"])} for group in given]
