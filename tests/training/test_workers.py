"""What a process that cuts crops loads: each import there is memory and seconds times the number of workers."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import rdp.training
from rdp.images import write_png
from rdp.training import ImageFolders


def test_what_goes_to_a_worker_brings_no_lightning_with_it(tmp_path: Path, picture: Any) -> None:
    """The loader's parts, as a worker that is spawned gets them."""
    (tmp_path / "images").mkdir()
    write_png(tmp_path / "images" / "a.png", picture(64, 80))
    loader = ImageFolders(train=str(tmp_path / "images"), crop=64, memory_bytes=0, workers=1).train_dataloader()
    sent = pickle.dumps((loader.dataset, loader.collate_fn, loader.worker_init_fn))
    code = (
        "import pickle, sys; crops, collate, begin = pickle.load(sys.stdin.buffer); begin(0);"
        "batch = collate(crops.__getitems__([0, 1])); print(tuple(batch.shape), 'lightning' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True, check=True)
    assert done.stdout.decode().strip() == "(2, 3, 64, 64) False"


def test_every_name_of_the_package_is_what_it_says() -> None:
    for name in rdp.training.__all__:
        assert getattr(rdp.training, name).__name__ == name
    assert set(rdp.training.__all__) <= set(dir(rdp.training))
    with pytest.raises(AttributeError, match="no attribute 'RateDistorton'"):
        _ = rdp.training.RateDistorton
