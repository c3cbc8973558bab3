"""One file, the same symbols everywhere: how many symbols differ between settings of the machine. It should say 0.

    python benchmarks/same_symbols.py --images ../shared/data/kodak
    python benchmarks/same_symbols.py --images photos --weights model.safetensors --count 8

Every image is encoded once with every network. Then the files are read again with 1 and 2 threads, in batches of 1 and
8, without oneDNN, under autocast, with reduced-precision products allowed (the slower exact way is then taken), with
transforms in bfloat16, and on CUDA where there is one. Without `--weights` the networks are random ones of every
architecture at the published widths, their latents scaled to a few integers: what has to be exact does not depend on
what the weights are worth.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from rdp.codecs import Resources, create_codec, parse_point
from rdp.codecs.learned.codec import LearnedCodec
from rdp.images import list_images, read_image
from rdp.models.checkpoint import save_model
from rdp.models.registry import create_model

NETWORKS = {
    "factorized": {},
    "scale_hyperprior": {},
    "hyperprior": {},
    "checkerboard": {"channels": 128, "latent_channels": 192},
    "shrinkage": {},
    "hific": {"width": 0.5},
}


def random_weights(folder: Path, architecture: str, image: np.ndarray) -> Path:
    """A random network whose latents of an image have a standard deviation of 2."""
    torch.manual_seed(0)
    model = create_model(architecture, **NETWORKS[architecture]).eval()
    x = torch.from_numpy(image[:256, :256]).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        last = [part for part in model.analysis if hasattr(part, "weight")][-1]
        last.weight.mul_(2 / model.analyse(x).std())
        for name in ("hyper_synthesis", "hyper_synthesis_scale"):
            if hasattr(model, name):
                biases = [part.bias for part in getattr(model, name) if hasattr(part, "bias")][-1]
                biases[: len(biases) // (2 if name == "hyper_synthesis" else 1)] += 2
    path = folder / f"{architecture}.safetensors"
    save_model(path, model)
    return path


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def reduced_precision() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


SETTINGS: dict[str, tuple[Callable[[], contextlib.AbstractContextManager[None]], int, Resources]] = {
    "1 thread": (lambda: threads(1), 1, Resources()),
    "2 threads": (lambda: threads(2), 1, Resources()),
    "batches of 8": (contextlib.nullcontext, 8, Resources()),
    "without oneDNN": (lambda: torch.backends.mkldnn.flags(enabled=False), 1, Resources()),
    "autocast": (lambda: torch.autocast("cpu", torch.bfloat16), 1, Resources()),
    "reduced precision": (reduced_precision, 1, Resources()),
    "bfloat16 transforms": (contextlib.nullcontext, 1, Resources(dtype="bfloat16")),
}
if torch.cuda.is_available():
    SETTINGS["CUDA"] = (contextlib.nullcontext, 1, Resources("cuda"))
    SETTINGS["CUDA, batches of 8"] = (contextlib.nullcontext, 8, Resources("cuda"))


def batches(files: list[tuple[tuple[int, int], bytes]], size: int) -> Iterator[list[bytes]]:
    """Files of one padded size, as many as a batch has."""
    for key in sorted({key for key, _ in files}):
        group = [data for other, data in files if other == key]
        for first in range(0, len(group), size):
            yield group[first : first + size]


def differing(codec: LearnedCodec, group: list[bytes], expected: dict[bytes, tuple[np.ndarray, ...]]) -> int:
    found = codec.symbols_of(group)
    return sum(
        int((part[place] != known).sum())
        for place, data in enumerate(group)
        for part, known in zip(found, expected[data], strict=True)
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="a folder of images")
    parser.add_argument("--count", type=int, default=None, help="only the first so many")
    parser.add_argument("--weights", type=Path, action="append", help="files of weights instead of random ones")
    arguments = parser.parse_args()
    images = [read_image(file.path) for file in list_images(arguments.images)][: arguments.count]
    total = 0
    with tempfile.TemporaryDirectory() as folder:
        paths = arguments.weights or [random_weights(Path(folder), name, images[0]) for name in NETWORKS]
        print(f"| network | images | bit/pixel | symbols | {' | '.join(SETTINGS)} |")
        print(f"|---|---|---|---|{'---|' * len(SETTINGS)}")
        for path in paths:
            point = parse_point(f'checkpoint:path="{path}"')
            codec = create_codec(point)
            if not isinstance(codec, LearnedCodec):
                raise SystemExit(f"{path} is not a learned codec")
            files = [(codec.batch_key(*image.shape[:2]), codec.encode(image)) for image in images]
            expected = {data: codec.symbols(data) for _, data in files}
            counts = []
            for around, size, resources in SETTINGS.values():
                other = create_codec(point, resources)
                with around():
                    counts.append(sum(differing(other, group, expected) for group in batches(files, size)))
            total += sum(counts)
            bpp = np.mean([8 * len(data) / image[..., 0].size for (_, data), image in zip(files, images, strict=True)])
            symbols = sum(part.size for parts in expected.values() for part in parts)
            print(
                f"| {path.stem} | {len(images)} | {bpp:.2f} | {symbols} | {' | '.join(map(str, counts))} |", flush=True
            )
    print(f"\n{total} differing symbols")
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
