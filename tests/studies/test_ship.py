"""Putting trained weights among those that ship: a set's own files are replaced, and no others."""

from __future__ import annotations

import pytest
import torch

from rdp.models.checkpoint import load_model, read_header, save_model
from rdp.models.registry import create_model


def weights_file(path, seed: int):
    torch.manual_seed(seed)
    save_model(path, create_model("factorized", channels=8, latent_channels=8), {"seed": str(seed)})
    return path


def test_shipping_a_set_replaces_its_files_and_no_others(script, tmp_path) -> None:
    folder = tmp_path / "pretrained"
    folder.mkdir()
    others = [
        "rdp-gdn-1-1-abcdef12.safetensors", "rdp-gdn2-1-abcdef12.safetensors", "rdp-gdn-1-ABCDEF12.safetensors",
        "index.toml",
    ]  # fmt: skip
    old = ["rdp-gdn-1-abcdef12.safetensors", "rdp-gdn-12-01234567.safetensors"]
    for name in [*others, *old]:
        (folder / name).write_bytes(b"old")
    first, second = (weights_file(tmp_path / f"{seed}.safetensors", seed) for seed in (0, 1))
    ship = script("ship").ship
    names = ship("rdp-gdn", [first, second], folder)
    assert [name[:10] for name in names] == ["rdp-gdn-1-", "rdp-gdn-2-"]
    assert {path.name for path in folder.iterdir()} == {*others, *names}
    for name, source in zip(names, (first, second), strict=True):
        assert (folder / name).stat().st_size < source.stat().st_size
        assert read_header(folder / name).notes == read_header(source).notes
        loaded, given = load_model(folder / name).state_dict(), load_model(source).state_dict()
        for key, tensor in given.items():
            assert torch.allclose(loaded[key], tensor, rtol=0, atol=float(tensor.abs().max()) / 1000), key
    assert ship("rdp-gdn", [first, second], folder) == names
    assert {path.name for path in folder.iterdir()} == {*others, *names}


def test_a_file_that_cannot_be_written_leaves_nothing_and_the_old_files_stay(script, tmp_path) -> None:
    ship = script("ship")
    folder = tmp_path / "pretrained"
    folder.mkdir()
    (folder / "rdp-gdn-1-abcdef12.safetensors").write_bytes(b"old")
    weights = weights_file(tmp_path / "0.safetensors", 0)
    name = ship.ship("other", [weights], tmp_path)[0].replace("other", "rdp-gdn")
    (folder / name).mkdir()  # what cannot be written over
    with pytest.raises(OSError, match="rdp-gdn-1"):
        ship.ship("rdp-gdn", [weights], folder)
    assert [path.name for path in folder.iterdir() if path.is_file()] == ["rdp-gdn-1-abcdef12.safetensors"]
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
