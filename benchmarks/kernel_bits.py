"""What storing kernels in fewer bits costs: a table by bits for each file of weights.

    python benchmarks/kernel_bits.py out/q1/weights.safetensors --images ../shared/data/valid --bits 16 12 10 9 8 7

Each network is saved with its kernels in so many bits a number, loaded again, and run on the images (the middle 256 x
384 of each): J = bit/pixel + lmbda * MSE (0..255) with the lmbda that the file was trained for, the rate as the
entropy model states it (which `--bits 32` shows to be the file's own). Printed are the bytes of the file and J,
bit/pixel and MSE against the file as it is. Choose bits on other images than those that you report.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from rdp.codecs.learned.refining import trained_lmbda
from rdp.images import hash_file, list_images, read_image
from rdp.models.base import CompressionModel
from rdp.models.checkpoint import load_model, save_model
from rdp.weights.local import WeightsFile

HEIGHT, WIDTH = 256, 384


def crops(folder: Path, count: int) -> list[torch.Tensor]:
    """The middles of the first images of a folder: [1, 3, height, width] in [0, 1]."""
    taken = []
    for path in [file.path for file in list_images(folder)[:count]]:
        image = read_image(path)
        top, left = ((side - wanted) // 2 for side, wanted in zip(image.shape, (HEIGHT, WIDTH), strict=False))
        if top < 0 or left < 0:
            raise SystemExit(f"{path} is smaller than {HEIGHT} x {WIDTH}")
        part = np.ascontiguousarray(image[top : top + HEIGHT, left : left + WIDTH])
        taken.append(torch.from_numpy(part).permute(2, 0, 1)[None].float() / 255)
    return taken


def measure(network: CompressionModel, images: list[torch.Tensor], lmbda: float) -> np.ndarray:
    """J, bit/pixel and MSE, means over the images."""
    rows = []
    with torch.inference_mode():
        for image in images:
            output = network(image)
            bpp = float(output.bpp().mean())
            mse = float((output.x_hat.clamp(0, 1) - image).square().mean()) * 255**2
            rows.append((bpp + lmbda * mse, bpp, mse))
    return np.mean(rows, axis=0)


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", nargs="+", type=Path)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--bits", type=int, nargs="+", default=[16, 12, 10, 9, 8, 7])
    parser.add_argument("--count", type=int, default=25)
    parser.add_argument("--lmbda", type=float, help="instead of the one in the file")
    arguments = parser.parse_args()
    images = crops(arguments.images, arguments.count)
    print(f"{len(images)} images; changes in percent of the file as it is")
    print(f"{'file':32} bits      bytes        J      bpp      MSE")
    for path in arguments.weights:
        network = load_model(path)
        lmbda = (
            arguments.lmbda
            if arguments.lmbda is not None
            else trained_lmbda(WeightsFile(path.stem, path, hash_file(path)))
        )
        if lmbda is None:
            raise SystemExit(f"{path} does not say which lmbda it was trained for: give --lmbda")
        before = measure(network, images, lmbda)
        with tempfile.TemporaryDirectory() as folder:
            for bits in arguments.bits:
                small = Path(folder) / f"{bits}.safetensors"
                save_model(small, network, kernel_bits=bits)
                change = 100 * (measure(load_model(small), images, lmbda) / before - 1)
                numbers = " ".join(f"{value:+8.3f}" for value in change)
                print(
                    f"{path.parent.name + '/' + path.name:32} {bits:4} {small.stat().st_size:10} {numbers}", flush=True
                )


if __name__ == "__main__":
    main()
