"""What refining latents at encoding time brings, and what it costs: a table by number of steps.

    python benchmarks/refinement.py --images ../shared/data/valid --codec checkpoint:path=weights.safetensors
    python benchmarks/refinement.py --images photos --codec hyperprior:quality=3 --steps 0 50 --count 4 --crop 256

Every image is encoded with the point as it is (0 steps) and with `refine=` each of the numbers of steps; files are
decoded again. Of the point are printed the means over the images of J = bit/pixel + lmbda * MSE (0..255), of bit/pixel
(the whole file) and of PSNR, and the seconds that encoding took for each image (the first image is encoded once more
before, so that loading takes no part in them). "saved" is the rate that the gain in J is worth at equal distortion,
to first order: the difference of the two J over the bit/pixel at 0 steps.

Choose settings on other images than those that you report.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from rdp.codecs import Resources, create_codec, parse_point
from rdp.codecs.learned.codec import LearnedCodec
from rdp.codecs.learned.refining import trained_lmbda
from rdp.images import list_images, read_image


@dataclass(frozen=True)
class Row:
    """Means over the images at a number of steps."""

    steps: int
    cost: float
    bpp: float
    psnr_db: float
    encode_s: float


def middle(image: np.ndarray, side: int | None) -> np.ndarray:
    """The middle of an image, at most `side` x `side`."""
    if side is None:
        return image
    top, left = (max(0, (length - side) // 2) for length in image.shape[:2])
    return np.ascontiguousarray(image[top : top + side, left : left + side])


def open_codec(spec: str, steps: int, lmbda: float | None, resources: Resources) -> LearnedCodec:
    """The codec of a point with a number of steps."""
    keys = ([f"refine={steps}"] + ([f"lmbda={lmbda:f}"] if lmbda is not None else [])) if steps else []
    codec = create_codec(parse_point(spec + "".join(f"{',' if ':' in spec else ':'}{key}" for key in keys)), resources)
    if not isinstance(codec, LearnedCodec):
        raise SystemExit(f"{spec} is no point of a learned codec")
    return codec


def measure(codec: LearnedCodec, steps: int, images: list[np.ndarray], lmbda: float) -> Row:
    """Encode and decode all images."""
    costs, rates, psnrs, seconds = [], [], [], []
    for image in images:
        start = time.perf_counter()
        data = codec.encode(image)
        seconds.append(time.perf_counter() - start)
        rates.append(8 * len(data) / (image.shape[0] * image.shape[1]))
        mse = float(np.square(codec.decode(data).astype(np.float64) - image).mean())
        psnrs.append(10 * np.log10(255**2 / max(mse, 1e-10)))
        costs.append(rates[-1] + lmbda * mse)
    return Row(steps, *map(statistics.fmean, (costs, rates, psnrs, seconds)))


def main() -> None:
    """Measure all numbers of steps and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="a folder")
    parser.add_argument("--codec", required=True, help="a point of a learned codec, without refine")
    parser.add_argument("--steps", type=int, nargs="+", default=[0, 25, 50, 100, 200])
    parser.add_argument("--lmbda", type=float, help="if not the one that the weights say")
    parser.add_argument("--count", type=int, help="take so many images, spread over the folder")
    parser.add_argument("--crop", type=int, help="take the middle of each image, so many pixels a side")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    files = list_images(options.images)
    if options.count:
        files = files[:: max(1, len(files) // options.count)][: options.count]
    images = [middle(read_image(file.path), options.crop) for file in files]
    resources = Resources(device=options.device)
    plain = open_codec(options.codec, 0, None, resources)
    lmbda = options.lmbda or trained_lmbda(plain.find_weights(plain.point))
    if lmbda is None:
        raise SystemExit("the weights do not say what they were trained for: give --lmbda")
    plain.encode(images[0])
    print(f"{plain.point.name}, lmbda {lmbda:g}, {len(images)} images, {options.device}, {options.threads} thread(s)")
    print(f"{'steps':>5}  {'J':>7}  {'bpp':>7}  {'PSNR dB':>7}  {'encode s':>8}  saved")
    base: Row | None = None
    for steps in options.steps:
        row = measure(open_codec(options.codec, steps, options.lmbda, resources), steps, images, lmbda)
        base = base or row
        saved = (base.cost - row.cost) / base.bpp
        print(
            f"{row.steps:>5}  {row.cost:7.4f}  {row.bpp:7.4f}  {row.psnr_db:7.3f}  {row.encode_s:8.2f}  {saved:6.1%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
