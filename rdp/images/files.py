"""Listing: from the paths that a user names to images with the names that tables use."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rdp.errors import ImageError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".jp2", ".ppm", ".pnm", ".bmp", ".tif", ".tiff", ".gif")
"""Files with these suffixes (in any case) are taken from a folder; other files in it are left alone."""


@dataclass(frozen=True)
class ImageFile:
    """One image of a test set: where it lies, and what tables call it.

    `dataset` is the folder's name or what the user says; `name` the POSIX path relative to the folder, with suffix.
    """

    dataset: str
    name: str
    path: Path

    @property
    def key(self) -> tuple[str, str]:
        return self.dataset, self.name


PathLike = str | os.PathLike[str]


def list_images(source: PathLike | Sequence[PathLike], dataset: str | None = None) -> list[ImageFile]:
    """The images of a folder (with its subfolders), of several folders, or the files named, sorted by name.

    A file that is named itself is called by its file name, and its dataset is the folder that it lies in. Hidden
    files and folders are left out. Raises `ImageError` for a path that does not exist, a folder without images, a
    file named that has no image suffix, and two images that would have one name.
    """
    sources = [source] if isinstance(source, (str, os.PathLike)) else list(source)
    if not sources:
        raise ImageError("no images: name a folder or some image files")
    found: list[ImageFile] = []
    for item in sources:
        path = Path(item)
        if path.is_dir():
            found += _list_folder(path, dataset)
        elif path.exists():
            if path.suffix.lower() not in IMAGE_SUFFIXES:
                raise ImageError(f"{path} is not an image file; known suffixes: {', '.join(IMAGE_SUFFIXES)}")
            found.append(ImageFile(dataset or _folder_name(path.parent), path.name, path))
        else:
            raise ImageError(f"{path} does not exist: name a folder of images or image files")
    found.sort(key=lambda image: image.key)
    _refuse_equal_names(found)
    return found


def _folder_name(folder: Path) -> str:
    return folder.resolve().name or "images"


def _list_folder(folder: Path, dataset: str | None) -> list[ImageFile]:
    name = dataset or _folder_name(folder)
    files = [
        ImageFile(name, path.relative_to(folder).as_posix(), path)
        for path in _walk(folder)
        if path.suffix.lower() in IMAGE_SUFFIXES
    ]
    if not files:
        raise ImageError(
            f"folder {folder} has no images; files with these suffixes are taken: {', '.join(IMAGE_SUFFIXES)}"
        )
    return files


def _walk(folder: Path) -> Iterable[Path]:
    """Files below a folder that are not hidden; a folder that cannot be read is an error, not an empty one."""

    def refuse(error: OSError) -> None:
        raise ImageError(f"cannot read folder {error.filename}: {error.strerror}") from error

    for root, folders, files in os.walk(folder, onerror=refuse, followlinks=False):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for file in sorted(files):
            if not file.startswith("."):
                yield Path(root, file)


def _refuse_equal_names(images: Sequence[ImageFile]) -> None:
    """Two images of one name would share rows; names that differ only in Unicode normalisation count as one."""
    seen: dict[tuple[str, str], ImageFile] = {}
    for image in images:
        key = (image.dataset, unicodedata.normalize("NFC", image.name))
        if key in seen and seen[key].path.resolve() == image.path.resolve():
            raise ImageError(f"{image.path} is named twice: name each folder and file once")
        if key in seen:
            raise ImageError(
                f"two images would be called {image.name!r} in dataset {image.dataset!r}: {seen[key].path} and "
                f"{image.path}. Rename one, or evaluate the folders one by one with --dataset."
            )
        seen[key] = image
