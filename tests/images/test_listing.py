"""Listing: what images are called, and which folders are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from rdp.errors import ImageError
from rdp.images import list_images


def test_names_are_paths_relative_to_the_folder(photos: Path) -> None:
    (photos / "notes.txt").write_text("not an image")
    (photos / ".hidden.png").write_bytes(b"x")
    listed = list_images(photos)
    assert [(image.dataset, image.name) for image in listed] == [
        ("photos", "a.png"),
        ("photos", "b.png"),
        ("photos", "more/c.png"),
    ]


def test_the_data_set_may_be_named(photos: Path) -> None:
    assert {image.dataset for image in list_images(photos, "holiday")} == {"holiday"}


def test_files_are_called_by_their_names(photos: Path) -> None:
    listed = list_images([photos / "more" / "c.png", photos / "a.png"])
    assert [image.key for image in listed] == [("more", "c.png"), ("photos", "a.png")]


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="has no images"):
        list_images(tmp_path)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="does not exist"):
        list_images(tmp_path / "nowhere")


def test_a_file_that_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ImageError, match="not an image file"):
        list_images(tmp_path / "a.txt")


def test_no_image_at_all_is_refused() -> None:
    with pytest.raises(ImageError, match="no images"):
        list_images([])


def test_two_images_of_one_name_are_refused(photos: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.png").write_bytes((photos / "a.png").read_bytes())
    with pytest.raises(ImageError, match=r"two images would be called 'a\.png'"):
        list_images([photos, other], dataset="both")
    assert len(list_images([photos, other])) == 4


def test_names_that_differ_only_in_unicode_form_are_refused(tmp_path: Path) -> None:
    (tmp_path / "caf\u00e9.png").write_bytes(b"x")
    (tmp_path / "cafe\u0301.png").write_bytes(b"x")
    if len(list(tmp_path.iterdir())) == 1:
        pytest.skip("this file system takes the two names for one")
    with pytest.raises(ImageError, match="two images"):
        list_images(tmp_path)
