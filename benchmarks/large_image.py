"""Memory and time of one large picture through a learned codec, beside what the codec says beforehand.

    python benchmarks/large_image.py --side 8192 [--weights model.safetensors] [--dtype bfloat16]

Prints, for encoding and for decoding, the peak of the process's memory above what it had before (resident set), and
the seconds. Without `--weights` the network is a random one at the published width.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from rdp.codecs import Resources, create_codec, parse_point
from rdp.codecs.learned.codec import LearnedCodec
from rdp.models.checkpoint import save_model
from rdp.models.registry import create_model


def picture(side: int) -> np.ndarray:
    """A square picture with structure of several sizes, uint8, made row by row."""
    column = np.arange(side, dtype=np.float32)
    rows = np.empty((side, side, 3), np.uint8)
    for y in range(side):
        for plane in range(3):
            rows[y, :, plane] = 128 + 80 * np.sin(column / (17 + 5 * plane)) * np.cos(y / (23 + 3 * plane))
    return rows


def peak_gib() -> float:
    """The largest resident set that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=8192)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--architecture", default="hyperprior")
    parser.add_argument("--dtype", default="bfloat16")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.weights
        if path is None:
            torch.manual_seed(0)
            path = Path(folder) / "random.safetensors"
            save_model(path, create_model(arguments.architecture))
        codec = create_codec(parse_point(f'checkpoint:path="{path}"'), Resources(dtype=arguments.dtype))
        if not isinstance(codec, LearnedCodec):
            raise SystemExit("not a learned codec")
        codec.decode(codec.encode(picture(64)))
    image = picture(arguments.side)
    before = peak_gib()
    print(f"{arguments.side} x {arguments.side}; process {before:.2f} GiB before")
    begin = time.perf_counter()
    data = codec.encode(image)
    print(f"encode: {time.perf_counter() - begin:.1f} s, {peak_gib() - before:.2f} GiB more, {len(data)} bytes")
    begin = time.perf_counter()
    decoded = codec.decode(data)
    print(f"decode: {time.perf_counter() - begin:.1f} s, {peak_gib() - before:.2f} GiB more, {decoded.shape}")


if __name__ == "__main__":
    main()
