"""Folders of images as data of a training: what is read, what is left out and what is refused."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from lightning import LightningDataModule
from PIL import Image
from torch import Tensor

from rdp.errors import ImageError, RdpError
from rdp.images import hash_pixels, list_images, read_image, write_png
from rdp.training.data import ImageFolders
from rdp.training.store import machine_memory, read_store

Pixels = np.ndarray[Any, Any]


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Four images of noise that crops of 64 fit into, one in a subfolder."""
    folder = tmp_path / "train"
    (folder / "more").mkdir(parents=True)
    for name, size in {"a": (64, 90), "b": (80, 70), "c": (128, 64), "more/d": (66, 66)}.items():
        write_png(folder / f"{name}.png", noise(rng, *size))
    return folder


@pytest.fixture
def validation(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Three images, smaller than a crop too."""
    folder = tmp_path / "valid"
    folder.mkdir()
    for name, size in {"x": (40, 50), "y": (33, 20), "z": (70, 80)}.items():
        write_png(folder / f"{name}.png", noise(rng, *size))
    return folder


def noise(rng: np.random.Generator, height: int, width: int) -> Pixels:
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def data(train: Path | str | list[str] = "", **options: Any) -> ImageFolders:
    folders = train if isinstance(train, list) else str(train)
    return ImageFolders(folders, **{"crop": 64, "batch_size": 2, "steps_per_epoch": 4, **options})


def batches(module: ImageFolders) -> list[Tensor]:
    return list(module.train_dataloader())


# What is read.


def test_images_of_folders_and_subfolders_come_in_their_order(folder: Path, validation: Path) -> None:
    module = data([str(folder), str(validation)], memory_bytes=20_000)
    with pytest.warns(UserWarning, match="2 of 7 images"):
        module.setup("fit")
    read = module.images("train")
    files = [file.path for file in list_images(folder)] + [validation / "z.png"]
    assert [entry.path for entry in read.entries] == files
    for pixels, file in zip(read, files, strict=True):
        np.testing.assert_array_equal(pixels, read_image(file))
    assert module.hashes("train") == [hash_pixels(read_image(file)) for file in files]


@pytest.mark.parametrize("memory", [0, 20_000, 40_000, 1 << 30])
def test_memory_decides_where_images_are_kept_and_not_what_is_seen(folder: Path, memory: int) -> None:
    module, unbounded = data(folder, memory_bytes=memory), data(folder)
    assert all(torch.equal(a, b) for a, b in zip(batches(module), batches(unbounded), strict=True))
    kept = [entry.nbytes for entry in module.images("train").entries if entry.offset is not None]
    assert sum(kept) == module.images("train").nbytes <= memory
    assert (len(kept) == 4) == (memory == 1 << 30)


def test_images_share_one_memory_limit(folder: Path, validation: Path) -> None:
    module = data(folder, validation=str(validation), memory_bytes=100_000)
    module.setup("fit")
    held = [module.images(part).nbytes for part in ("train", "validation")]
    assert held[0] > 0
    assert sum(held) <= 100_000


def test_the_machine_has_memory() -> None:
    assert 1 << 26 < machine_memory() < 1 << 50


def test_validation_and_test_give_whole_images(folder: Path, validation: Path) -> None:
    module = data(folder, validation=str(validation), test=str(validation))
    module.setup("fit")
    for loader in (module.val_dataloader(), module.test_dataloader()):
        found = [batch[0].permute(1, 2, 0).numpy() for batch in loader]
        for pixels, name in zip(found, "xyz", strict=True):
            np.testing.assert_array_equal(pixels, read_image(validation / f"{name}.png"))


def test_a_limit_takes_the_first_validation_images_only(validation: Path) -> None:
    (validation / "z.png").write_bytes(b"never read")
    module = data(validation=str(validation), validation_limit=2)
    module.setup("validate")
    assert [batch.shape[-2:] for batch in module.val_dataloader()] == [(40, 50), (33, 20)]


@pytest.mark.slow
@pytest.mark.parametrize("memory", [20_000, 1 << 30])
def test_workers_see_what_one_process_sees(folder: Path, memory: int) -> None:
    module = data(folder, workers=2, memory_bytes=memory, scales=(0.8, 1.0))
    assert module.images("train").block.is_shared()
    loader = module.train_dataloader()
    here = data(folder, scales=(0.8, 1.0)).train_dataloader()
    for epoch in (0, 3, 1):
        for each in (loader, here):
            each.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        assert all(torch.equal(a, b) for a, b in zip(loader, here, strict=True))


# What is left out and refused.


def test_unusable_images_are_named_left_out_and_counted(folder: Path, rng: np.random.Generator) -> None:
    whole = (folder / "a.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "text.png").write_bytes(b"not an image")
    Image.fromarray(noise(rng, 70, 70)).convert("RGBA").save(folder / "alpha.png")
    Image.fromarray(rng.integers(0, 65535, (70, 70), dtype=np.uint16)).save(folder / "deep.png")
    write_png(folder / "small.png", noise(rng, 63, 90))
    module = data(folder)
    with pytest.warns(UserWarning, match=r"5 of 9 images of --data.train are left out: .*alpha.png has an alpha"):
        module.setup("fit")
    reasons = {path.name: reason for path, reason in module.skipped}
    assert list(reasons) == ["alpha.png", "cut.png", "deep.png", "small.png", "text.png"]
    assert "alpha" in reasons["alpha.png"]
    assert "damaged" in reasons["cut.png"]
    assert "8 bits" in reasons["deep.png"]
    assert reasons["small.png"] == "has 90x63 pixels, less than the crop of 64"
    assert "not an image" in reasons["text.png"]
    assert len(batches(module)) == 4


def test_a_folder_without_faults_warns_of_nothing(folder: Path, validation: Path) -> None:
    module = data(folder, validation=str(validation))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        module.setup("fit")
    assert module.skipped == []


def test_a_long_list_of_faults_is_cut_short(folder: Path, rng: np.random.Generator) -> None:
    for number in range(8):
        write_png(folder / f"small{number}.png", noise(rng, 20, 20))
    with pytest.warns(UserWarning, match=r"8 of 12 .*small4.png has 20x20 [^;]*; and 3 more"):
        data(folder).setup("fit")


def test_nothing_left_is_an_error(validation: Path) -> None:
    (validation / "z.png").unlink()
    with pytest.raises(ImageError, match=r"--data.train has no image to train on, all 2 .*x.png has 50x40 pixels"):
        data(validation).setup("fit")


def test_unreadable_validation_images_are_an_error(folder: Path, validation: Path) -> None:
    (validation / "y.png").write_bytes(b"gone")
    with pytest.raises(ImageError, match=r"--data.validation must be read whole, and 1 of .*y.png is not an image"):
        data(folder, validation=str(validation)).setup("fit")
    with pytest.raises(ImageError, match=r"--data.test must be read whole, and 1 of .*y.png"):
        data(test=str(validation)).setup("test")


@pytest.mark.parametrize(("stage", "part"), [("fit", "train"), ("validate", "validation"), ("test", "test")])
def test_a_missing_folder_is_named_with_its_option(stage: str, part: str, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=f"--data.{part} is empty: name a folder of images"):
        data().setup(stage)
    with pytest.raises(ImageError, match=rf"--data.{part}: .*nowhere does not exist"):
        data(**{part: str(tmp_path / "nowhere")}).setup(stage)
    (tmp_path / "bare").mkdir()
    with pytest.raises(ImageError, match=rf"--data.{part}: folder .*bare has no images"):
        data(**{part: str(tmp_path / "bare")}).setup(stage)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("crop", 100),
        ("crop", 0),
        ("crop", -64),
        ("batch_size", 0),
        ("steps_per_epoch", 0),
        ("workers", -1),
        ("seed", -1),
        ("memory_bytes", -1),
        ("validation_limit", 0),
        ("scales", (0.0, 1.0)),
        ("scales", (0.9, 0.5)),
        ("scales", (0.5, 1.5)),
        ("scales", (float("nan"), 1.0)),
    ],
)
def test_options_that_cannot_be_are_refused_by_name(option: str, value: Any) -> None:
    with pytest.raises(RdpError, match=rf"--data\.{option} is "):
        data(**{option: value})


def test_the_same_pixels_twice_are_counted(folder: Path) -> None:
    Image.open(folder / "a.png").save(folder / "again.bmp")
    with pytest.warns(UserWarning, match=r"1 of 5 images of --data.train have the pixels .*again.bmp is .*a.png"):
        data(folder).setup("fit")


@pytest.mark.parametrize("part", ["validation", "test"])
def test_a_training_image_must_not_be_one_to_measure_with(folder: Path, validation: Path, part: str) -> None:
    Image.open(folder / "b.png").save(validation / "other_name.bmp")
    with pytest.raises(ImageError, match=rf"1 images of --data.{part} are also training .*b.png is .*other_name.bmp"):
        data(folder, **{part: str(validation)}).setup("fit")
    with pytest.raises(ImageError, match="allow_overlap"):
        data(folder, **{part: str(validation)}).train_dataloader()
    data(folder, allow_overlap=True, **{part: str(validation)}).setup("fit")


def test_a_file_that_changes_during_the_training_is_named(folder: Path, rng: np.random.Generator) -> None:
    store, _ = read_store([folder / "a.png"], 64, memory_bytes=0)
    write_png(folder / "a.png", noise(rng, 90, 90))
    with pytest.raises(ImageError, match=r"a.png has changed since the training began"):
        store[0]


def test_a_configuration_names_the_data_with_its_options(folder: Path) -> None:
    parser = ArgumentParser()
    parser.add_subclass_arguments(LightningDataModule, "data")
    arguments = [
        "--data=rdp.training.data.ImageFolders",
        f"--data.train={folder}",
        "--data.crop=64",
        "--data.scales=[0.5,1]",
    ]
    module = parser.instantiate(parser.parse_args(arguments)).data
    assert len(module.images("train")) == 4
    assert module.scales == (0.5, 1.0)
    several = parser.parse_args([*arguments, f"--data.train=[{folder},{folder / 'more'}]"])
    with pytest.warns(UserWarning, match="count twice"):
        assert len(parser.instantiate(several).data.images("train")) == 5
    assert parser.instantiate(parser.parse_args(arguments[:1])).data.folders["train"] == [""]
