"""Random crops a second as a training gets them, beside decoding every image for every crop, and a memory copy.

    python benchmarks/training_data.py --images FOLDER [--crops 4000] [--crop 128] [--batch 8] [--workers 2]
        [--scales 0.5 1.0]

Each line: batches of `ImageFolders` with so many workers (0 cuts the crops in the process itself), and of a loader
of as many workers that decodes with Pillow and crops and flips with torchvision. The limit copies as many bytes
from random places of the decoded images into batches, in one thread. All in one run; starting workers does not count.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import transforms

from rdp.images import list_images
from rdp.training.data import ImageFolders
from rdp.training.store import ImageStore


class Decoding(Dataset[Tensor]):
    """The peer: a file is opened and decoded for every crop."""

    def __init__(self, paths: list[Path], crop: int) -> None:
        self.paths = paths
        self.change = transforms.Compose(
            [transforms.RandomCrop(crop), transforms.RandomHorizontalFlip(), transforms.PILToTensor()]
        )

    def __getitem__(self, place: int) -> Tensor:
        with Image.open(self.paths[place]) as image:
            return self.change(image.convert("RGB"))

    def __len__(self) -> int:
        return len(self.paths)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", required=True, help="folder, all of it decoded in memory")
    parser.add_argument("--crops", type=int, default=4000, help="crops of each measurement")
    parser.add_argument("--crop", type=int, default=128, help="side in pixels")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scales", type=float, nargs=2, default=(1.0, 1.0), help="ours only")
    options = parser.parse_args()
    store = folders(options, 0).images("train")
    paths = [entry.path for entry in store.entries]
    print(f"{len(store)} images of {len(list_images(options.images))}, {store.nbytes / 2**20:.0f} MiB decoded")
    print(f"crops of {options.crop}, batches of {options.batch}; crops a second")
    limit = copies_a_second(store, options)
    print(f"{'':12}{'ImageFolders':>14}{'decoding':>11}{'ratio':>8}{'part of the limit':>19}")
    for workers in sorted({0, options.workers}):
        own = crops_a_second(folders(options, workers).train_dataloader(), options.crops)
        peer = crops_a_second(decoding(paths, options, workers), options.crops)
        print(f"{workers} workers   {own:14.0f}{peer:11.0f}{own / peer:8.1f}{own / limit:19.2f}")
    print(f"memory copy {limit:14.0f}")


def folders(options: argparse.Namespace, workers: int) -> ImageFolders:
    """Ours, with an epoch of so many crops as are to be timed."""
    return ImageFolders(
        options.images,
        crop=options.crop,
        batch_size=options.batch,
        steps_per_epoch=max(1, options.crops // options.batch),
        workers=workers,
        scales=tuple(options.scales),
    )


def decoding(paths: list[Path], options: argparse.Namespace, workers: int) -> DataLoader[Tensor]:
    """The peer, as many crops an epoch."""
    crops = Decoding(paths, options.crop)
    number = max(1, options.crops // options.batch) * options.batch
    return DataLoader(
        crops,
        options.batch,
        sampler=RandomSampler(crops, replacement=True, num_samples=number),
        num_workers=workers,
        multiprocessing_context="forkserver" if workers else None,
        persistent_workers=workers > 0,
    )


def crops_a_second(loader: Iterable[Tensor], at_most: int) -> float:
    """Of a second epoch; the first one starts workers and fills caches."""
    count = 0
    for batch in loader:
        count += len(batch)
        if count >= min(at_most, 64):
            break
    count = 0
    begin = time.perf_counter()
    for batch in loader:
        count += len(batch)
    return count / (time.perf_counter() - begin)


def copies_a_second(store: ImageStore, options: argparse.Namespace) -> float:
    """Copies of a crop's bytes from random places of the decoded images into new batches."""
    size = 3 * options.crop**2
    steps = max(1, options.crops // options.batch)
    begins = np.random.default_rng(0).integers(0, store.nbytes - size + 1, (steps, options.batch))
    begin = time.perf_counter()
    for row in begins.tolist():
        batch = torch.empty((options.batch, size), dtype=torch.uint8)
        for place, first in zip(batch, row, strict=True):
            place.copy_(store.block[first : first + size])
    return begins.size / (time.perf_counter() - begin)


if __name__ == "__main__":
    main()
