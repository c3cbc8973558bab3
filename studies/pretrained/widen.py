"""Begin the training of a wider mean-scale hyperprior with what a narrower one has learned.

    python studies/pretrained/widen.py out/q5/weights.safetensors out/q5-wide.safetensors --channels 128 \\
        --latent-channels 256 --image ../shared/data/valid/gb82_city-lossless.webp

The old kernels stand in the first channels of the new ones. Old channels hear nothing of new ones: their kernels there
are 0, as are new gamma in GDN; new channels start at random. The latents are different. A latent that is rounded to
its mean everywhere tells the synthesis nothing, gets no gradient from there and never wakes, and rate keeps it down.
So new latents start awake, somewhat smaller than a bin, with laws as wide, and with small kernels in the synthesis;
latents of the narrow network that carry no bits are begun anew in the same way. They cost bits until training finds a
use for them or lets them go. The squared error and the bits of both networks on the middle of an image are printed,
and nothing is written where the squared error is more than 20 % higher.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

from rdp.images import read_image
from rdp.models.activations import GAMMA_BOUND
from rdp.models.checkpoint import load_model, read_header, save_model
from rdp.models.hyperprior import MeanScaleHyperprior
from rdp.models.registry import create_model

AWAKE = 1.0
"""Standard deviation with which new latents start, in bins, and the scale of their laws."""

SYNTHESIS_SHARE = 0.3
"""How large the kernels are through which the synthesis hears of new latents, as a share of a fresh network's."""

NO_BITS = 1e-6
"""Bit/pixel of a latent channel below which it is asleep."""

SIDE = 256
MOST_LOSS = 1.2


def last_layer(transform: nn.Sequential) -> str:
    """The name in a transform of its last layer with a kernel."""
    return [name for name, part in transform.named_children() if hasattr(part, "weight")][-1]


def widened(
    narrow: MeanScaleHyperprior, channels: int, latent_channels: int, x: Tensor, seed: int
) -> MeanScaleHyperprior:
    """The wider network; `narrow` is not changed. `x`, (1, 3, H, W), tells which latents sleep, and how large is 1."""
    torch.manual_seed(seed)
    config = {**narrow.config, "channels": channels, "latent_channels": latent_channels}
    wide = create_model(narrow.architecture, **config)
    require_wider(narrow, wide)
    modules, state = dict(wide.named_modules()), wide.state_dict()
    fresh = {name: tensor.clone() for name, tensor in state.items()}
    laws = f"hyper_synthesis.{last_layer(narrow.hyper_synthesis)}"
    for name, old in narrow.state_dict().items():
        new = state[name]
        layer = name.rpartition(".")[0]
        if layer == laws:
            place_laws(new, old)
        elif old.ndim == 4:
            place_kernel(new, old, transposed=isinstance(modules[layer], nn.ConvTranspose2d))
        else:
            if name.endswith(".gamma"):
                new[: old.shape[0], old.shape[1] :] = GAMMA_BOUND
            new[tuple(slice(side) for side in old.shape)] = old
    asleep = torch.ones(latent_channels, dtype=torch.bool)
    asleep[: narrow.config["latent_channels"]] = bits_of_latents(narrow, x) < NO_BITS
    print(f"{int(asleep.sum())} of {latent_channels} latents begin anew")
    wake(state, fresh, asleep, f"analysis.{last_layer(narrow.analysis)}", laws)
    wide.load_state_dict(state)
    wide.eval()
    scale_latents(wide, asleep, x, f"analysis.{last_layer(narrow.analysis)}")
    return wide


def bits_of_latents(network: MeanScaleHyperprior, x: Tensor) -> Tensor:
    """Bit/pixel of each channel of the latent, (M,)."""
    with torch.no_grad():
        likelihood = network.code(x).likelihoods["y"]
    return -torch.log2(likelihood).sum((0, 2, 3)) / (x.shape[2] * x.shape[3])


def wake(state: dict[str, Tensor], fresh: dict[str, Tensor], asleep: Tensor, analysis: str, laws: str) -> None:
    """Begin latents anew: random kernels in the analysis, small ones in the synthesis, laws of the scale `AWAKE`."""
    count = len(asleep)
    for part in ("weight", "bias"):
        state[f"{analysis}.{part}"][asleep] = fresh[f"{analysis}.{part}"][asleep]
    state["synthesis.0.weight"][asleep] = SYNTHESIS_SHARE * fresh["synthesis.0.weight"][asleep]
    for half, bias in ((slice(None, count), AWAKE), (slice(count, None), 0.0)):
        state[f"{laws}.weight"][half][asleep] *= 0.1
        state[f"{laws}.bias"][half][asleep] = bias


def scale_latents(network: MeanScaleHyperprior, asleep: Tensor, x: Tensor, analysis: str) -> None:
    """Scale the kernels of latents that begin anew, so that they vary by `AWAKE` on an image."""
    layer = network.get_submodule(analysis)
    with torch.no_grad():
        spread = network.analyse(x).std((0, 2, 3))
        factor = torch.where(asleep, AWAKE / spread.clamp(min=1e-6), torch.ones_like(spread))
        for parameter in (layer.weight, layer.bias):
            parameter.mul_(factor.reshape(-1, *[1] * (parameter.ndim - 1)))


def require_wider(narrow: nn.Module, wide: nn.Module) -> None:
    """Stop where a layer would become narrower."""
    shapes = wide.state_dict()
    for name, tensor in narrow.state_dict().items():
        if any(new < old for new, old in zip(shapes[name].shape, tensor.shape, strict=True)):
            raise SystemExit(f"{name} has the shape {list(tensor.shape)}: give widths that are not smaller")


def place_kernel(new: Tensor, old: Tensor, *, transposed: bool) -> None:
    """Old outputs of a convolution hear of old inputs alone. Kernels: (out, in, ...); transposed: (in, out, ...)."""
    if transposed:
        new[old.shape[0] :, : old.shape[1]] = 0
    else:
        new[: old.shape[0], old.shape[1] :] = 0
    new[: old.shape[0], : old.shape[1]] = old


def place_laws(new: Tensor, old: Tensor) -> None:
    """The layer that gives scales in its first half and means in its second; both grow. New ones have the bias 0."""
    wide, narrow = new.shape[0] // 2, old.shape[0] // 2
    if old.ndim == 1:
        new.zero_()
    else:
        new[:narrow, old.shape[1] :] = 0
        new[wide : wide + narrow, old.shape[1] :] = 0
    for start, part in ((0, old[:narrow]), (wide, old[narrow:])):
        if old.ndim == 1:
            new[start : start + narrow] = part
        else:
            new[start : start + narrow, : old.shape[1]] = part


def measure(network: MeanScaleHyperprior, x: Tensor) -> tuple[float, float]:
    """Bit/pixel and mean squared error (0..255) of an image (1, 3, H, W)."""
    with torch.inference_mode():
        output = network(x)
        return float(output.bpp().mean()), float((output.x_hat.clamp(0, 1) - x).square().mean()) * 255**2


def main() -> None:
    """Read the arguments, widen, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--channels", type=int, required=True)
    parser.add_argument("--latent-channels", type=int, required=True)
    parser.add_argument("--image", type=Path, required=True, help="a photograph to compare both networks on")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    narrow = load_model(arguments.weights)
    if not isinstance(narrow, MeanScaleHyperprior) or narrow.architecture != "hyperprior":
        raise SystemExit(f"{arguments.weights} is of {narrow.architecture!r}, not of a mean-scale hyperprior")
    pixels = read_image(arguments.image)
    top, left = (max(0, (side - SIDE) // 2) for side in pixels.shape[:2])
    image = torch.from_numpy(pixels[top : top + SIDE, left : left + SIDE].copy())
    x = image.permute(2, 0, 1)[None].float() / 255
    wide = widened(narrow, arguments.channels, arguments.latent_channels, x, arguments.seed)
    before, after = measure(narrow, x), measure(wide, x)
    for name, (bpp, mse) in (("narrow", before), ("wide", after)):
        print(f"{name:6} {bpp:.4f} bit/pixel, mean squared error {mse:.3f}")
    if after[1] > MOST_LOSS * before[1]:
        raise SystemExit("the wide network does not give what the narrow one gives: nothing is written")
    notes = {key: value for key, value in read_header(arguments.weights).notes.items() if key == "trained_on"}
    save_model(arguments.out, wide, notes)


if __name__ == "__main__":
    main()
