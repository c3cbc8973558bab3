"""The folder of a training: what lies where, how a checkpoint is written and read, and how logs go on."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import math
import pickle
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from rdp.errors import RdpError
from rdp.storage import replace_file
from rdp.training.initial import listed, misfits

_SHOWN = 5


@dataclass(frozen=True)
class TrainingFolder:
    """Paths of everything that a training leaves in its folder."""

    root: Path

    @property
    def config(self) -> Path:
        """The resolved configuration: `rdp train fit --config` takes it."""
        return self.root / "config.yaml"

    @property
    def record(self) -> Path:
        return self.root / "record.json"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def checkpoint(self) -> Path:
        """The state after the last epoch, or where the training was interrupted."""
        return self.root / "checkpoints" / "last.ckpt"

    @property
    def weights(self) -> Path:
        """The best network so far: chosen on validation images, if there are any."""
        return self.root / "weights.safetensors"

    @property
    def curve(self) -> Path:
        return self.root / "validation.csv"

    @property
    def figure(self) -> Path:
        return self.root / "validation.png"

    def holds_training(self) -> bool:
        """Whether a training was begun here."""
        return any(path.exists() for path in (self.config, self.record, self.checkpoint, self.weights))

    def start_from(self, resume: bool, overwrite: bool) -> Path | None:
        """The checkpoint to go on from, None for a beginning; nothing is written.

        Raises `RdpError` where a training lies in the folder and neither is wanted, and where there is nothing to
        resume.
        """
        if resume and overwrite:
            raise RdpError("--resume goes on with a training and --overwrite begins anew: give one of them")
        if resume:
            if not self.checkpoint.is_file():
                begin = "--overwrite begins" if self.holds_training() else "leave --resume out to begin"
                raise RdpError(f"nothing to resume: there is no {self.checkpoint}; {begin} anew")
            return self.checkpoint
        if self.holds_training() and not overwrite:
            goes_on = "--resume goes on with it" if self.checkpoint.is_file() else "it has no checkpoint to go on from"
            raise RdpError(
                f"there is a training in {self.root}: {goes_on}, --overwrite begins anew, --out names another folder"
            )
        return None

    def begin(self) -> None:
        """An empty folder for a new training. Raises `RdpError` where it cannot be written."""
        self._clear()
        try:
            self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RdpError(f"cannot write into {self.root}: {error.strerror or error}; choose another --out") from error

    def _clear(self) -> None:
        """Remove what a training wrote, and nothing else that lies there."""
        try:
            for path in (self.config, self.record, self.checkpoint, self.weights, self.curve, self.figure):
                path.unlink(missing_ok=True)
            if self.logs.is_dir():
                shutil.rmtree(self.logs)
        except OSError as error:
            raise RdpError(f"cannot clear {self.root}: {error.strerror or error}") from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint of a training, on the CPU: tensors and simple types; nothing in it is executed.

    Raises `RdpError` for a file that is missing, damaged, or holds anything else.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # That one is torch's of a file that was cut.
            raise RdpError(f"cannot read {path}: {error.strerror or error}") from error
        raise RdpError(f"{path} is no checkpoint of a training, or a damaged one") from error
    if not isinstance(state, dict) or "state_dict" not in state:
        raise RdpError(f"{path} is no checkpoint of a training")
    return state


def require_fit(path: Path, state: Mapping[str, Tensor], module: torch.nn.Module) -> None:
    """Raise `RdpError` naming the tensors, if a state does not fit a module."""
    wrong = misfits(state, module.state_dict())
    if wrong:
        raise RdpError(
            f"{path} is of another architecture than the configuration says; {listed(wrong, _SHOWN)}. Give the "
            "network's class and widths as they were in that training"
        )


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints that are there completely or not at all, and of which only tensors and simple types are read."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Raises `RdpError` where the disk refuses; the checkpoint before is then still there."""
        stream = io.BytesIO()
        torch.save(checkpoint, stream)
        place = Path(path)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            replace_file(place, stream.getvalue())
        except OSError as error:
            kept = "the one before it is whole" if place.exists() else "there is none yet"
            raise RdpError(
                f"cannot write the checkpoint {place} ({stream.tell()} bytes): {error.strerror or error}; {kept}. Make "
                "room, then --resume"
            ) from error

    def load_checkpoint(
        self, path: Any, map_location: Callable[..., Any] | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Always with `weights_only`, whatever is asked for."""
        return read_checkpoint(Path(path))


class MetricsTable(Logger):
    """`logs/metrics.csv`: one row a logged step; a training that is resumed goes on in the same file."""

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self._path = Path(folder) / "metrics.csv"
        self._columns = ["step", "epoch"]
        self._rows: list[dict[str, float]] = []
        self._read = False

    @property
    def name(self) -> str:
        return "logs"

    @property
    def version(self) -> str:
        return ""

    @property
    def experiment(self) -> None:
        """There is no object behind it."""

    def go_on_from(self, step: int) -> None:
        """Keep the rows before a step, which the resumed training comes to again."""
        if self._path.is_file():
            with self._path.open(encoding="utf-8", newline="") as stream:
                rows = list(csv.DictReader(stream))
            self._columns = list(rows[0]) if rows else self._columns
            self._rows = [
                {key: float(value) for key, value in row.items() if value}
                for row in rows
                if float(row.get("step") or 0) < step
            ]
        self._read = True

    @rank_zero_only
    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """They are in config.yaml."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add a row; rows of one step become one."""
        numbers = {name: float(value) for name, value in metrics.items()}
        numbers["step"] = float(step or 0)
        self._columns += [name for name in numbers if name not in self._columns]
        if self._rows and self._rows[-1]["step"] == numbers["step"]:
            self._rows[-1].update(numbers)
        else:
            self._rows.append(numbers)

    @rank_zero_only
    def save(self) -> None:
        """Write the file: whole, and rarely, for it is small."""
        if not self._rows:
            return
        stream = io.StringIO()
        writer = csv.DictWriter(stream, self._columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _text(value) for name, value in row.items()} for row in self._rows)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(self._path, stream.getvalue().encode())

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """After a failure without an error of its own: what ended the training counts."""
        with contextlib.nullcontext() if status == "success" else contextlib.suppress(OSError):
            self.save()


def _text(value: float) -> str:
    whole = math.isfinite(value) and value == int(value) and abs(value) < 2**53
    return str(int(value)) if whole else f"{value:.7g}"
