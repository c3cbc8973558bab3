"""Folders of trainings and their checkpoints: what is refused, and that nothing in a file is executed."""

from __future__ import annotations

import csv
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from rdp.errors import RdpError
from rdp.training.folder import MetricsTable, TrainingFolder, read_checkpoint


class Evil:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def whole(path: Path) -> bytes:
    torch.save({"state_dict": {"a": torch.arange(1000)}}, path)
    return path.read_bytes()


def test_a_checkpoint_that_executes_something_is_refused(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    torch.save({"state_dict": {}, "more": Evil(trace)}, tmp_path / "evil.ckpt")
    with pytest.raises(RdpError, match="evil.ckpt is no checkpoint of a training, or a damaged one"):
        read_checkpoint(tmp_path / "evil.ckpt")
    assert not trace.exists()
    pickle.loads(pickle.dumps(Evil(trace)))  # noqa: S301 - that it would have
    assert trace.exists()


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_a_checkpoint_that_was_cut_is_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "a.ckpt"
    data = whole(path)
    assert read_checkpoint(path)["state_dict"]["a"][999] == 999
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(RdpError, match=r"a\.ckpt is no checkpoint of a training"):
        read_checkpoint(path)


@pytest.mark.parametrize("content", [{"other": 1}, [1, 2]])
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(RdpError, match=r"a\.ckpt is no checkpoint of a training$"):
        read_checkpoint(tmp_path / "a.ckpt")


def test_a_training_that_left_no_checkpoint_can_only_begin_anew(tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path)
    assert folder.start_from(resume=False, overwrite=False) is None
    with pytest.raises(RdpError, match="leave --resume out"):
        folder.start_from(resume=True, overwrite=False)
    folder.config.write_text("{}")
    with pytest.raises(RdpError, match=r"nothing to resume: .*; --overwrite begins anew"):
        folder.start_from(resume=True, overwrite=False)
    with pytest.raises(RdpError, match="it has no checkpoint to go on from, --overwrite begins anew"):
        folder.start_from(resume=False, overwrite=False)
    assert folder.start_from(resume=False, overwrite=True) is None
    folder.checkpoint.parent.mkdir()
    folder.checkpoint.touch()
    assert folder.start_from(resume=True, overwrite=False) == folder.checkpoint
    with pytest.raises(RdpError, match="give one of them"):
        folder.start_from(resume=True, overwrite=True)


def test_a_new_training_removes_what_one_before_it_wrote_and_nothing_else(tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path)
    for path in (folder.config, folder.record, folder.weights, folder.curve, tmp_path / "notes.txt"):
        path.write_text("x")
    folder.logs.mkdir()
    folder.begin()
    assert {path.name for path in tmp_path.iterdir()} == {"notes.txt", "checkpoints"}


def test_a_table_that_cannot_be_written_hides_no_error_before(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    table = MetricsTable(tmp_path / "file")
    table.log_metrics({"loss": 1.0}, 0)
    table.finalize("failed")
    with pytest.raises(OSError, match="file"):
        table.finalize("success")


def test_a_table_of_metrics_goes_on_in_its_file(tmp_path: Path) -> None:
    first = MetricsTable(tmp_path)
    for step in range(4):
        first.log_metrics({"loss": 1 / (step + 1)}, step)
    first.log_metrics({"bpp": 2.0}, 3)
    first.finalize("success")
    again = MetricsTable(tmp_path)
    again.go_on_from(2)
    again.log_metrics({"loss": 7.0, "rate": 5.0}, 2)
    again.save()
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert [(row["step"], row["loss"], row["bpp"], row["rate"]) for row in rows] == [
        ("0", "1", "", ""), ("1", "0.5", "", ""), ("2", "7", "", "5")
    ]  # fmt: skip
