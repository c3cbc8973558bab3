"""Small random networks of every architecture, as files of weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rdp.models.base import CompressionModel
from rdp.models.checkpoint import save_model
from rdp.models.registry import create_model

ARCHITECTURES = {
    "factorized": {"channels": 8, "latent_channels": 12},
    "scale_hyperprior": {"channels": 8, "latent_channels": 12},
    "hyperprior": {"channels": 8, "latent_channels": 12},
    "checkerboard": {"channels": 8, "latent_channels": 12},
    "shrinkage": {"channels": 8, "latent_channels": 12, "hyper_channels": 8},
    "hific": {"width": 0.05, "residual_blocks": 1},
}


def random_network(architecture: str, seed: int = 0) -> CompressionModel:
    """A network whose latents of a photograph spread over a few integers, as a trained one's do."""
    torch.manual_seed(seed)
    model = create_model(architecture, **ARCHITECTURES[architecture]).eval()
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
        last = [part for part in model.analysis if hasattr(part, "weight")][-1]
        last.weight.mul_(3 / model.analyse(x).std())
        last.bias.mul_(0)
        for name in ("hyper_synthesis", "hyper_synthesis_scale"):
            if hasattr(model, name):
                convolution = [part for part in getattr(model, name) if hasattr(part, "weight")][-1]
                convolution.bias[: len(convolution.bias) // (2 if name == "hyper_synthesis" else 1)] += 2
        if architecture == "shrinkage":
            convolution.bias[:4] += 200  # a third of the channels is then 0 everywhere, and flags say so
    return model


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The file of weights of a random network, made once."""
    folder = tmp_path_factory.mktemp("networks")

    def make(architecture: str, seed: int = 0) -> Path:
        path = folder / f"{architecture}-{seed}.safetensors"
        if not path.exists():
            save_model(path, random_network(architecture, seed))
        return path

    return make
