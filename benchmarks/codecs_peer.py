"""The side of `benchmarks/codecs.py` that runs in CompressAI's environment; `codecs.py` starts it.

    python benchmarks/codecs_peer.py train --data FOLDER --out weights.pth [--steps 800]
    python benchmarks/codecs_peer.py serve --weights weights.pth --threads 2

`train` makes weights of `mbt2018-mean`, quality 1 (N=128, M=192) with the library's own model: a short training on
crops of photographs, so that symbols have the statistics that entropy coding meets in practice. `serve` loads such a
file and answers every line of standard input, the path of an image, with a line of JSON: seconds of the parts, bytes.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

CROP = 128
BATCH = 4
LMBDA = 0.0018
SUFFIXES = (".png", ".webp", ".jpg", ".jpeg")


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("train", "serve"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(options.threads)
    if options.command == "train":
        train(options.data, options.out, options.steps, options.seed)
    else:
        serve(options.weights)


def train(folder: Path, out: Path, steps: int, seed: int) -> None:
    """Rate + lmbda 255^2 MSE, Adam, the learning rate falling to 0 along a cosine."""
    from compressai.zoo import mbt2018_mean

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    images = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    images = [image for image in images if min(image.shape[:2]) >= CROP]
    model = mbt2018_mean(1, pretrained=False).to(memory_format=torch.channels_last).train()
    quantiles = [p for name, p in model.named_parameters() if name.endswith("quantiles")]
    rest = [p for name, p in model.named_parameters() if not name.endswith("quantiles")]
    adam, auxiliary = torch.optim.Adam(rest, 1e-3), torch.optim.Adam(quantiles, 1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    for step in range(steps):
        x = crops(images, rng)
        output = model(x)
        bpp = sum(part.log2().sum() for part in output["likelihoods"].values()) / -(BATCH * CROP * CROP)
        mse = F.mse_loss(output["x_hat"], x)
        adam.zero_grad()
        (bpp + LMBDA * 255**2 * mse).backward()
        torch.nn.utils.clip_grad_norm_(rest, 1.0)
        adam.step()
        schedule.step()
        auxiliary.zero_grad()
        model.aux_loss().backward()
        auxiliary.step()
        if step % 50 == 0 or step == steps - 1:
            print(f"{step}: {bpp.item():.3f} bpp, {-10 * math.log10(mse.item()):.2f} dB", flush=True)
    torch.save(model.to(memory_format=torch.contiguous_format).state_dict(), out)


def crops(images: list[np.ndarray], rng: np.random.Generator) -> torch.Tensor:
    """(BATCH, 3, CROP, CROP) in [0, 1]."""
    chosen = []
    for index in rng.integers(len(images), size=BATCH):
        image = images[index]
        top, left = (rng.integers(side - CROP + 1) for side in image.shape[:2])
        chosen.append(image[top : top + CROP, left : left + CROP])
    return torch.from_numpy(np.stack(chosen)).permute(0, 3, 1, 2).float().div(255)


def serve(weights: Path) -> None:
    """Answer paths with times, in seconds: compress, decompress, and of these the two transforms alone."""
    from compressai.zoo import mbt2018_mean

    model = mbt2018_mean(1, pretrained=False).eval()
    model.load_state_dict(torch.load(weights, weights_only=True))
    model.update()
    for line in sys.stdin:
        with torch.inference_mode():
            print(json.dumps(measure(model, Path(line.strip()))), flush=True)


def measure(model: torch.nn.Module, path: Path) -> dict[str, float]:
    """One image, padded to a multiple of 64, through the codec and through its transforms."""
    image = torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)[None].float().div(255)
    height, width = image.shape[-2:]
    x = F.pad(image, (0, -width % 64, 0, -height % 64))
    start = time.perf_counter()
    file = model.compress(x)
    encoded = time.perf_counter()
    decoded = model.decompress(file["strings"], file["shape"])["x_hat"]
    done = time.perf_counter()
    y = model.g_a(x)
    analysed = time.perf_counter()
    model.g_s(y.round())
    synthesised = time.perf_counter()
    mse = F.mse_loss(decoded[..., :height, :width].clamp(0, 1), image).item()
    return {
        "encode_s": encoded - start,
        "decode_s": done - encoded,
        "analysis_s": analysed - done,
        "synthesis_s": synthesised - analysed,
        "nbytes": sum(len(string) for strings in file["strings"] for string in strings),
        "psnr_db": -10 * math.log10(mse),
        "pixels": height * width,
        "spread": y.std().item(),
    }


if __name__ == "__main__":
    main()
