"""Folders of images as Lightning takes its data."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor
from torch.utils.data import DataLoader

from rdp.errors import ImageError, RdpError
from rdp.images import list_images
from rdp.training.images import EpochSampler, RandomCrops, WholeImages, begin_worker, unchanged
from rdp.training.store import ImageStore, Skipped, machine_memory, read_store

PARTS = ("train", "validation", "test")
_NAMED = 5
"""So many examples a message gives."""


class ImageFolders(LightningDataModule):
    """Random crops of the images in folders to train on; whole images of other folders to validate and test on.

    Args:
        train: a folder of images with its subfolders, or several.
        validation: the same for the validation; without one a training runs without validation.
        test: the same for `test`.
        crop: side of the crops in pixels, a multiple of 64.
        batch_size: crops a step and device.
        steps_per_epoch: an epoch is so many batches on each device, after which the validation comes.
        flip: turn half of the crops left to right.
        workers: processes that cut crops; 0 cuts them in the process that trains, which is fastest on few cores.
        seed: with the number of a crop it decides the crop, whatever the workers and devices.
        scales: make the image of each crop smaller by a factor from this range, 0 < low <= high <= 1.
        memory_bytes: decoded images are kept while they fit into it, the others are decoded for every crop; by
            default a quarter of the machine's memory, divided among its devices.
        validation_limit: take so many validation images, the first by name; by default all.
        allow_overlap: take training images that are also validation or test images.

    Every image is read once at the start. Training images that are unreadable or smaller than the crop are left out
    with a warning, and listed in `skipped`. Raises `RdpError` for options that cannot be, and `ImageError` for a
    folder that does not exist or has no images, unreadable validation or test images, and (found by the hashes of
    the pixels) training images that are also validation or test images.
    """

    def __init__(
        self,
        train: list[str] | str = "",
        validation: list[str] | str = "",
        test: list[str] | str = "",
        crop: int = 256,
        batch_size: int = 8,
        steps_per_epoch: int = 500,
        flip: bool = True,
        workers: int = 0,
        seed: int = 0,
        scales: tuple[float, float] = (1.0, 1.0),
        memory_bytes: int | None = None,
        validation_limit: int | None = None,
        allow_overlap: bool = False,
    ) -> None:
        super().__init__()
        self.folders = {
            part: [folders] if isinstance(folders, str) else list(folders)
            for part, folders in zip(PARTS, (train, validation, test), strict=True)
        }
        self.crop = crop
        self.batch_size = batch_size
        self.steps_per_epoch = steps_per_epoch
        self.flip = flip
        self.workers = workers
        self.seed = seed
        self.scales = (float(scales[0]), float(scales[1]))
        self.memory_bytes = memory_bytes
        self.validation_limit = validation_limit
        self.allow_overlap = allow_overlap
        self.skipped: list[Skipped] = []
        self._stores: dict[str, ImageStore] = {}
        self._check_options()

    def _check_options(self) -> None:
        least = {
            "batch_size": 1,
            "steps_per_epoch": 1,
            "workers": 0,
            "seed": 0,
            "memory_bytes": 0,
            "validation_limit": 1,
        }
        for name, bound in least.items():
            value = getattr(self, name)
            if value is not None and value < bound:
                raise RdpError(f"--data.{name} is {value}: it must be {bound} or more")
        if self.crop < 64 or self.crop % 64:
            raise RdpError(f"--data.crop is {self.crop}: it must be a multiple of 64, such as 128 or 256")
        low, high = self.scales
        if not 0 < low <= high <= 1:
            raise RdpError(f"--data.scales is {low}, {high}: give two factors, 0 < low <= high <= 1")

    def has(self, part: str) -> bool:
        """Whether "train", "validation" or "test" names a folder."""
        return any(self.folders[part])

    def images(self, part: str) -> ImageStore:
        """The images of "train", "validation" or "test", uint8 (H, W, 3), read when they are first asked for."""
        if part not in self._stores:
            self._stores[part] = self._read_train() if part == "train" else self._read_whole(part)
        return self._stores[part]

    def hashes(self, part: str) -> list[str]:
        """Hashes of the pixels of a part's images, in order: what a training's record says of its data."""
        return self.images(part).hashes

    def setup(self, stage: str) -> None:
        """Lightning calls this before a stage: reads the images, and finds training images among the others."""
        if stage == "fit":
            self.check_overlap()
        elif stage == "validate":
            self.images("validation")
        elif stage == "test":
            self.images("test")

    def check_overlap(self) -> None:
        """Raises `ImageError` if training images are also validation or test images, unless that is allowed."""
        train = {entry.sha256: entry.path for entry in self.images("train").entries}
        for part in PARTS[1:]:
            if self.allow_overlap or not self.has(part):
                continue
            both = [
                f"{train[entry.sha256]} is {entry.path}" for entry in self.images(part).entries if entry.sha256 in train
            ]
            if both:
                raise ImageError(
                    f"{len(both)} images of --data.{part} are also training images ({_some(both)}): take them out of "
                    "--data.train, or set --data.allow_overlap=true"
                )

    def train_dataloader(self) -> DataLoader[Tensor]:
        self.check_overlap()
        crops = RandomCrops(self.images("train"), self.crop, self.seed, self.flip, self.scales)
        devices, device = (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)
        size = self.batch_size * self.steps_per_epoch * devices
        return CropLoader(
            crops,
            self.batch_size,
            sampler=EpochSampler(size, self._first_crop(size), devices, device),
            collate_fn=unchanged,  # type: ignore[arg-type]
            num_workers=self.workers,
            worker_init_fn=begin_worker,
            multiprocessing_context=_start_method() if self.workers else None,
            persistent_workers=self.workers > 0,
            pin_memory=self._on_cuda(),
        )

    def val_dataloader(self) -> DataLoader[Tensor] | list[Any]:
        """Whole images, one a batch; an empty list, which Lightning takes as no validation, if there is no folder."""
        if not self.has("validation"):
            return []
        return DataLoader(WholeImages(self.images("validation")), 1, pin_memory=self._on_cuda())

    def test_dataloader(self) -> DataLoader[Tensor]:
        """Whole images, one a batch."""
        return DataLoader(WholeImages(self.images("test")), 1, pin_memory=self._on_cuda())

    def _first_crop(self, size: int) -> int:
        """The number of the crop that comes next, by Lightning's counts of finished epochs and batches.

        A checkpoint that was made within an epoch holds how many of its batches were trained on. Lightning counts on
        from there, but leaves it to the data to begin there too.
        """
        if not self.trainer:
            return 0
        epochs: Any = self.trainer.fit_loop.epoch_progress.current
        batches: Any = self.trainer.fit_loop.epoch_loop.batch_progress
        if epochs.started == epochs.processed:  # the counts of batches are those of a finished epoch
            return int(epochs.processed) * size
        if batches.is_last_batch:
            return (int(epochs.processed) + 1) * size
        return int(epochs.processed) * size + int(batches.current.processed) * (size // self.steps_per_epoch)

    def _on_cuda(self) -> bool:
        return bool(self.trainer and self.trainer.strategy.root_device.type == "cuda")

    def _files(self, part: str) -> list[Path]:
        if not self.has(part):
            raise ImageError(f"--data.{part} is empty: name a folder of images")
        try:
            return [image.path for folder in self.folders[part] if folder for image in list_images(folder)]
        except ImageError as error:
            raise ImageError(f"--data.{part}: {error}") from error

    def _memory_left(self) -> int:
        limit = self.memory_bytes
        if limit is None:
            limit = machine_memory() // 4 // max(1, self.trainer.num_devices if self.trainer else 1)
        return max(0, limit - sum(store.nbytes for store in self._stores.values()))

    def _read_train(self) -> ImageStore:
        files = self._files("train")
        store, self.skipped = read_store(files, self.crop, self._memory_left(), shared=self.workers > 0)
        named = _some([f"{path} {reason}" for path, reason in self.skipped])
        if not len(store):
            raise ImageError(f"--data.train has no image to train on, all {len(files)} were left out: {named}")
        if self.skipped:
            rank_zero_warn(f"{len(self.skipped)} of {len(files)} images of --data.train are left out: {named}")
        kept = sum(entry.offset is not None for entry in store.entries)
        if kept < len(store):
            rank_zero_info(
                f"{kept} of {len(store)} training images fit into memory; the others are decoded for every crop. If "
                "there is more memory, raise --data.memory_bytes"
            )
        first: dict[str, Path] = {}
        twice = [
            f"{entry.path} is {first[entry.sha256]}"
            for entry in store.entries
            if first.setdefault(entry.sha256, entry.path) is not entry.path
        ]
        if twice:
            rank_zero_warn(
                f"{len(twice)} of {len(store)} images of --data.train have the pixels of another one and count twice: "
                f"{_some(twice)}"
            )
        return store

    def _read_whole(self, part: str) -> ImageStore:
        files = self._files(part)
        if part == "validation":
            files = files[: self.validation_limit]
        store, skipped = read_store(files, 1, self._memory_left())
        if skipped:
            named = _some([f"{path} {reason}" for path, reason in skipped])
            raise ImageError(f"--data.{part} must be read whole, and {len(skipped)} of its images cannot be: {named}")
        return store


class CropLoader(DataLoader[Tensor]):
    """A loader that Lightning takes as one that can resume within an epoch, which its sampler sees to.

    Its state in a checkpoint is what decides the crops; a training that resumes with another is warned.
    """

    dataset: RandomCrops

    def state_dict(self) -> dict[str, Any]:
        settings = self.dataset.settings()
        return {**settings, "batch_size": self.batch_size, "steps_per_epoch": len(self)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        now = self.state_dict()
        other = [name for name, value in now.items() if state.get(name, value) != value]
        if other:
            rank_zero_warn(
                f"this training resumes with another {', '.join(other)} than it had (--data): it goes on with other "
                "crops than it would have seen"
            )


def _start_method() -> str:
    """Workers are never forked: a fork after torch has started its threads hangs."""
    return "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


def _some(examples: Sequence[str]) -> str:
    """The first few examples, and how many more there are."""
    more = len(examples) - _NAMED
    return "; ".join(examples[:_NAMED]) + (f"; and {more} more" if more > 0 else "")
