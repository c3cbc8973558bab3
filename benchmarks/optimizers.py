"""How fast optimisers train a compression network: Adam at three rates beside Muon with Adam (`rdp.training.Muon`).

    python benchmarks/optimizers.py --train ../shared/data/train --validation ../shared/data/valid
        [--steps 750] [--seeds 1] [--channels 64] [--latent-channels 96] [--lmbda 0.013] [--threads 2]

Every optimiser trains the same mean-scale hyperprior from the same start on the same crops (batches of eight, 128x128)
with the same schedule (`Trapezoid`), in bfloat16 autocast. The table has, a line an optimiser and seed: the
Lagrangian cost bpp + lmbda MSE, the rate and the PSNR on whole validation images (rounded latents, exponential averages
off), half way and at the end, and seconds a step.
"""

from __future__ import annotations

import argparse
import logging
import time
import warnings
from functools import partial

import torch
from lightning import Callback, LightningModule, Trainer, seed_everything

from rdp.models.hyperprior import MeanScaleHyperprior
from rdp.training import ImageFolders, Muon, RateDistortion
from rdp.training.callbacks import validation_numbers

OPTIMIZERS = {
    "Adam 1e-4": partial(torch.optim.Adam, lr=1e-4),
    "Adam 3e-4": partial(torch.optim.Adam, lr=3e-4),
    "Adam 1e-3": partial(torch.optim.Adam, lr=1e-3),
    "Muon 5e-4, Adam 3e-3": partial(Muon, lr=5e-4, adam_lr=3e-3),
    "Muon 1e-3, Adam 3e-3": partial(Muon, lr=1e-3, adam_lr=3e-3),
    "Muon 2e-3, Adam 3e-3": partial(Muon, lr=2e-3, adam_lr=3e-3),
}


class Validations(Callback):
    """The numbers of every validation."""

    def __init__(self) -> None:
        self.validations: list[dict[str, float]] = []

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        self.validations.append(validation_numbers(trainer))


def train(name: str, seed: int, data: ImageFolders, arguments: argparse.Namespace) -> str:
    """One line of the table."""
    seed_everything(seed)
    network = MeanScaleHyperprior(channels=arguments.channels, latent_channels=arguments.latent_channels)
    task = RateDistortion(network, lmbda=arguments.lmbda, optimizer=OPTIMIZERS[name])
    seen = Validations()
    trainer = Trainer(
        accelerator="cpu", precision="bf16-mixed", max_steps=arguments.steps, logger=False, num_sanity_val_steps=0,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, callbacks=[seen],
    )  # fmt: skip
    started = time.perf_counter()
    trainer.fit(task, data)
    each = (time.perf_counter() - started) / arguments.steps
    cells = [f"{line['loss']:.4f} | {line['bpp']:.3f} | {line['psnr']:.2f}" for line in seen.validations]
    return f"| {name} | {seed} | {' | '.join(cells)} | {each:.3f} |"


def main() -> None:
    """Read the options, train, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", required=True)
    parser.add_argument("--validation", required=True)
    parser.add_argument("--steps", type=int, default=750)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--latent-channels", type=int, default=96)
    parser.add_argument("--lmbda", type=float, default=0.013)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default="", help="optimisers whose name has this in it")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    half = arguments.steps // 2
    print(f"| optimiser | seed | cost at {half} | bpp | PSNR | cost at {2 * half} | bpp | PSNR | s/step |")
    print("|---|---|---|---|---|---|---|---|---|")
    for seed in range(arguments.seeds):
        data = ImageFolders(arguments.train, arguments.validation, crop=128, steps_per_epoch=half, seed=seed)
        for name in OPTIMIZERS:
            if arguments.only in name:
                print(train(name, seed, data, arguments), flush=True)


if __name__ == "__main__":
    main()
