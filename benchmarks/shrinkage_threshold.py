"""Do learned thresholds help the shrinkage network? A small training comparison.

    python benchmarks/shrinkage_threshold.py [--steps 400] [--seeds 3] [--channels 24] [--start 0.01] [--images FOLDER]

Trains small shrinkage networks on random crops with the thesis's loss, 144 MSE + bits a pixel (images on [0, 1]), once
a seed and variant: thresholds that learn through the surrogate gradient; the same start, frozen; thresholds of 0, with
which the activation is the identity; and GDN. All variants of a seed see the same crops and noise.

Images: the photographs of scikit-image (those that it needs no download for), or a folder, such as
../shared/data/train. Every fourth image is kept out of training and scored, rounded, whole (cropped to multiples of
64, 256 at most). The table has mean and spread (standard deviation) over the seeds of the score on those, and over
all channels of all layers: how far theta moved from where it started, and the share of channels that are dead (give 0
everywhere on the scored images).
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from rdp.images import list_images, read_image
from rdp.models.activations import HardShrinkage
from rdp.models.shrinkage import ShrinkageHyperprior

LAMBDA = 144
CROP = 64
PHOTOGRAPHS = ("astronaut", "coffee", "chelsea", "rocket")


@dataclass(frozen=True)
class Outcome:
    """One training: the score on images kept out, and what became of the thresholds (empty without any)."""

    loss: float
    bpp: float
    psnr_db: float
    moved: list[float]
    dead: list[bool]


VARIANTS = ("surrogate", "frozen", "theta = 0", "gdn")


def network(variant: str, channels: int, start: float) -> ShrinkageHyperprior:
    """The network of a variant; only the activations differ."""
    activation = "gdn" if variant == "gdn" else "shrinkage"
    model = ShrinkageHyperprior(channels, channels, channels, activation=activation, tables="fixed")
    for shrinkage in thresholds(model):
        nn.init.constant_(shrinkage.theta, start_of(variant, start))
        shrinkage.theta.requires_grad_(variant == "surrogate")
    return model


def start_of(variant: str, start: float) -> float:
    """Where the thresholds of a variant start."""
    return 0.0 if variant == "theta = 0" else start


def thresholds(model: nn.Module) -> list[HardShrinkage]:
    """The activations with thresholds, in the order of the layers."""
    return [module for module in model.modules() if isinstance(module, HardShrinkage)]


def tensor(pixels: np.ndarray) -> Tensor:
    """uint8 (H, W, 3) to float (3, H, W) in [0, 1]."""
    return torch.tensor(pixels).permute(2, 0, 1).float() / 255


def photographs(folder: Path | None, most: int) -> list[Tensor]:
    """Images of at least one crop."""
    if folder is None:
        import skimage.data

        images = [tensor(getattr(skimage.data, name)()) for name in PHOTOGRAPHS]
    else:
        images = [tensor(read_image(file.path)) for file in list_images(folder)[:most]]
    return [image for image in images if min(image.shape[1:]) >= CROP]


def crops(images: list[Tensor], count: int, generator: torch.Generator) -> Tensor:
    """Random crops, (count, 3, 64, 64)."""

    def pick(below: int) -> int:
        return int(torch.randint(below, (), generator=generator))

    chosen = []
    for _ in range(count):
        image = images[pick(len(images))]
        top, left = pick(image.shape[1] - CROP + 1), pick(image.shape[2] - CROP + 1)
        chosen.append(image[:, top : top + CROP, left : left + CROP])
    return torch.stack(chosen)


def train(variant: str, seed: int, images: list[Tensor], arguments: argparse.Namespace) -> ShrinkageHyperprior:
    """A network after its steps."""
    torch.manual_seed(seed)
    model = network(variant, arguments.channels, arguments.start).train()
    torch.manual_seed(1000 + seed)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam((p for p in model.parameters() if p.requires_grad), lr=arguments.rate)
    for step in range(arguments.steps):
        if step == 3 * arguments.steps // 4:
            for group in optimizer.param_groups:
                group["lr"] /= 5
        x = crops(images, arguments.batch, generator)
        output = model(x)
        loss = output.bpp().mean() + LAMBDA * (output.x_hat - x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model.eval()


@torch.no_grad()
def score(model: ShrinkageHyperprior, images: list[Tensor], start: float) -> Outcome:
    """The loss, rounded, on whole images; and the state of the thresholds."""
    layers = thresholds(model)
    largest = [torch.zeros(layer.channels) for layer in layers]
    for place, layer in enumerate(layers):

        def note(module: nn.Module, inputs: tuple[Tensor, ...], result: Tensor, place: int = place) -> None:
            largest[place] = torch.maximum(largest[place], result.abs().amax((0, 2, 3)))

        layer.register_forward_hook(note)
    losses, rates, errors = [], [], []
    for image in images:
        height, width = (min(256, side // 64 * 64) for side in image.shape[1:])
        x = image[None, :, :height, :width]
        output = model(x)
        error = (output.x_hat.clamp(0, 1) - x).square().mean().item()
        rates.append(output.bpp().item())
        errors.append(error)
        losses.append(rates[-1] + LAMBDA * error)
    moved = [theta - start for layer in layers for theta in layer.theta.abs().tolist()]
    dead = [value == 0 for part in largest for value in part.tolist()]
    psnr = statistics.fmean(-10 * np.log10(error) for error in errors)
    return Outcome(statistics.fmean(losses), statistics.fmean(rates), psnr, moved, dead)


def row(variant: str, outcomes: list[Outcome]) -> str:
    """A line of the table."""
    losses = [outcome.loss for outcome in outcomes]
    spread = statistics.stdev(losses) if len(losses) > 1 else float("nan")
    bpp = statistics.fmean(outcome.bpp for outcome in outcomes)
    psnr = statistics.fmean(outcome.psnr_db for outcome in outcomes)
    text = f"{variant:<10}  {statistics.fmean(losses):7.4f} ± {spread:6.4f}  {bpp:6.3f}  {psnr:7.2f}"
    moved = [value for outcome in outcomes for value in outcome.moved]
    if moved:
        dead = statistics.fmean(value for outcome in outcomes for value in outcome.dead)
        text += f"  {statistics.fmean(moved):+8.4f} {min(moved):+8.4f} {max(moved):+8.4f}  {100 * dead:5.1f} %"
    return text


def main() -> None:
    """Train all variants and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--channels", type=int, default=24)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate; a fifth in the last quarter")
    parser.add_argument("--start", type=float, default=0.01, help="theta before training")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("--images", type=Path, help="a folder instead of scikit-image's photographs")
    parser.add_argument("--most", type=int, default=64, help="images read from the folder")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    images = photographs(arguments.images, arguments.most)
    held_out, training = images[::4], [image for place, image in enumerate(images) if place % 4]
    print(f"{len(training)} images to train on, {len(held_out)} to score; {arguments}")
    print(
        f"theta starts at {arguments.start}; moved: mean, least and most over the channels, then the share that is dead"
    )
    print(f"{'variant':<10}  {'RD loss':>16}  {'bpp':>6}  {'PSNR dB':>7}  {'moved':>8} {'least':>8} {'most':>8}  dead")
    for variant in arguments.variants:
        models = [train(variant, seed, training, arguments) for seed in range(arguments.seeds)]
        outcomes = [score(model, held_out, start_of(variant, arguments.start)) for model in models]
        print(row(variant, outcomes), flush=True)


if __name__ == "__main__":
    main()
