"""Training images: random crops that a seed and a number decide, and the numbers that an epoch takes."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torch.utils.data.distributed import DistributedSampler

from rdp.training.store import ImageStore, Pixels

__all__ = ["EpochSampler", "Pixels", "RandomCrops", "WholeImages", "begin_worker", "scaled_crop", "unchanged"]

_LANCZOS_REACH = 3
"""Pixels of the smaller image that the filter reaches to each side."""


class RandomCrops(Dataset[Tensor]):
    """Crop number k of an endless sequence: image, scale, place and flip follow from the seed and k alone.

    `images`: uint8 (H, W, 3), none smaller than `side`. `scales`: each crop's image is made smaller by a factor drawn
    evenly from this range (0 < low <= high <= 1), but never smaller than the crop. A crop is uint8 (3, side, side).
    """

    def __init__(
        self,
        images: Sequence[Pixels],
        side: int,
        seed: int,
        flip: bool = True,
        scales: tuple[float, float] = (1.0, 1.0),
    ) -> None:
        self.images = images
        self.side = side
        self.seed = seed
        self.flip = flip
        self.scales = scales

    def __getitem__(self, number: int) -> Tensor:
        return self.__getitems__([number])[0]

    def __getitems__(self, numbers: Sequence[int]) -> Tensor:
        """A batch, uint8 (N, 3, side, side), channels last in memory: loaders call this, and have not to collate."""
        batch = torch.empty((len(numbers), self.side, self.side, 3), dtype=torch.uint8)
        for place, number in zip(batch, numbers, strict=True):
            self._fill(place, number)
        return batch.permute(0, 3, 1, 2)

    def _fill(self, place: Tensor, number: int) -> None:
        random = np.random.default_rng([self.seed, number])
        image = self.images[int(random.integers(len(self.images)))]
        height, width = image.shape[:2]
        factor = 1.0
        if self.scales != (1.0, 1.0):
            factor = min(1.0, max(random.uniform(*self.scales), self.side / min(height, width)))
        top, left = (int(random.integers(_scaled(n, factor, self.side) - self.side + 1)) for n in (height, width))
        place.numpy()[...] = scaled_crop(image, self.side, factor, top, left)
        if self.flip and random.random() < 0.5:
            place.copy_(place.flip(1))

    def settings(self) -> dict[str, Any]:
        """What decides the crops, to be compared when a training resumes."""
        known = isinstance(self.images, ImageStore)
        digest = hashlib.sha256("".join(self.images.hashes).encode()).hexdigest() if known else None  # type: ignore[attr-defined]
        return {
            "images": digest or len(self.images),
            "crop": self.side,
            "seed": self.seed,
            "flip": self.flip,
            "scales": list(self.scales),
        }


def scaled_crop(image: Pixels, side: int, factor: float, top: int, left: int) -> Pixels:
    """The crop (side, side, 3) at (top, left) of the image made smaller by `factor` <= 1, as a Lanczos filter does it.

    Only the part of the image that the crop needs is filtered. `top` and `left` count pixels of the smaller image.
    """
    if factor == 1:
        return image[top : top + side, left : left + side]
    margin = _LANCZOS_REACH / factor + 1
    (upper, y0, y1), (before, x0, x1) = (
        _needed(begin, side, factor, length, margin) for begin, length in zip((top, left), image.shape[:2], strict=True)
    )
    part = image[upper : math.ceil(upper + y1 + margin), before : math.ceil(before + x1 + margin)]
    box = (x0, y0, min(x1, part.shape[1]), min(y1, part.shape[0]))
    resized = Image.fromarray(part).resize((side, side), Image.Resampling.LANCZOS, box=box)
    return np.asarray(resized)


def _needed(begin: int, side: int, factor: float, length: int, margin: float) -> tuple[int, float, float]:
    """Along one axis: the first pixel of the part to filter, and begin and end of the crop's box within the part."""
    first = max(0, math.floor(begin / factor - margin))
    return first, begin / factor - first, min((begin + side) / factor, length) - first


def _scaled(length: int, factor: float, side: int) -> int:
    """Pixels of a length made smaller; `side` at least, which rounding could miss by one."""
    return max(side, math.floor(length * factor))


class EpochSampler(DistributedSampler[int]):
    """The numbers of an epoch's crops: `size` of them, going on where the epoch before ended.

    `start`: the crop that a resumed training goes on with; the epoch in which it lies gives only what is left of it.
    `replicas`, `rank`: of several devices each takes every `replicas`-th number, from its rank on, so that together
    they take in a step what one device with so many times the batch would; `size` must be a multiple of `replicas`.

    It is a `DistributedSampler` because Lightning leaves such a one as it is. Any other it would shuffle within the
    epoch when there are several devices, and a training that resumes within an epoch would see crops twice.
    """

    def __init__(self, size: int, start: int = 0, replicas: int = 1, rank: int = 0) -> None:
        super().__init__(range(size), num_replicas=replicas, rank=rank, shuffle=False)  # type: ignore[arg-type]
        self.size = size
        self.start = start
        # Workers fetch ahead as soon as there is an iterator, which is before Lightning says the epoch.
        self.epoch = start // size

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this at the beginning of an epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        begin = self.start if self.epoch == self.start // self.size else self.epoch * self.size
        return iter(range(begin + self.rank, (self.epoch + 1) * self.size, self.num_replicas))

    def __len__(self) -> int:
        """Of a whole epoch, also where less is left: Lightning counts the batches that it has seen itself."""
        return self.size // self.num_replicas


def unchanged(batch: Tensor) -> Tensor:
    """Collates what is a batch already."""
    return batch


def begin_worker(number: int) -> None:
    """Nothing is to be done: crops follow from their numbers. Without it Lightning would seed every worker, and for
    that be imported into it.
    """


class WholeImages(Dataset[Tensor]):
    """Images as they are, uint8 (3, H, W)."""

    def __init__(self, images: Sequence[Pixels]) -> None:
        self.images = images

    def __getitem__(self, place: int) -> Tensor:
        return torch.from_numpy(self.images[place]).permute(2, 0, 1)

    def __len__(self) -> int:
        return len(self.images)
