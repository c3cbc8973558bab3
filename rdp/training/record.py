"""`record.json`: what a training was made from and with, so that its weights can be told and made again."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import platform
import time
from collections.abc import Mapping
from typing import Any

import torch
from lightning import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only

from rdp.errors import RdpError
from rdp.storage import replace_file
from rdp.training.folder import TrainingFolder
from rdp.training.initial import described

PARTS = ("train", "validation")


class Record(Callback):
    """Keeps `record.json`: seed, versions, device, hashes of the images, command, start, steps and seconds.

    Seconds are those of all sessions of a training that was interrupted, each up to its last epoch or step, and the
    hashes those of the images of all. Command, versions and device are those of the first; `resumed` has the others'.
    `skipped`: training images that the last session left out, and why.
    """

    def __init__(self, folder: TrainingFolder, command: str, seed: int, task: dict[str, Any]) -> None:
        self.folder = folder
        self.fields: dict[str, Any] = {
            "command": command,
            "seed": seed,
            "task": task,
            "versions": versions(),
            "device": "",
            "started": _now(),
            "resumed": [],
            "steps": 0,
            "seconds": 0.0,
            "finished": False,
            "data": {},
            "skipped": [],
            "initial": None,
        }
        self._begun = time.monotonic()
        self._seconds_before = 0.0

    def notes(self) -> dict[str, Any]:
        """For the header of weights: the record, with each list of hashes as one hash and their number."""
        data = {
            part: {"images": len(hashes), "sha256": hashlib.sha256("".join(hashes).encode()).hexdigest()}
            for part, hashes in self.fields["data"].items()
        }
        left = {name: value for name, value in self.fields.items() if name not in ("finished", "command", "skipped")}
        initial = left["initial"] and {name: left["initial"][name] for name in ("weights", "identity")}
        return {**left, "data": data, "initial": initial}

    def trained_before(self, initial: str | None) -> list[str]:
        """Hashes of the images that earlier sessions of this training were trained on, and its initial weights.

        A training that goes on has both from its record: the file of those weights may be another one by now.
        """
        before = _read(self.folder)
        trained = list(before.get("data", {}).get("train", []))
        if initial is not None:
            self.fields["initial"] = before.get("initial") or described(initial)
            trained += self.fields["initial"]["trained_on"]
        return trained

    def on_fit_start(self, trainer: Trainer, module: LightningModule) -> None:
        data = trainer.datamodule  # type: ignore[attr-defined]
        self.fields["device"] = _device(module.device)
        self.fields["data"] = image_hashes(data)
        self.fields["skipped"] = [[str(path), reason] for path, reason in getattr(data, "skipped", [])]
        before = _read(self.folder) if trainer.ckpt_path else {}
        if before:
            self._seconds_before = float(before.get("seconds", 0))
            own = {name: self.fields[name] for name in ("command", "versions", "device")}
            again = {"at": _now(), "step": before.get("steps"), **own}
            kept: dict[str, Any] = {name: before[name] for name in ("started", *own) if name in before}
            both = union(before.get("data", {}), self.fields["data"])
            self.fields.update(kept, resumed=[*before.get("resumed", []), again], data=both)
        self._begun = time.monotonic()
        self._write(trainer)

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        self._write(trainer)

    def on_fit_end(self, trainer: Trainer, module: LightningModule) -> None:
        self.fields["finished"] = True
        self._write(trainer)

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        """Where the disk is full, what ended the training counts, and not that this cannot be written either."""
        with contextlib.suppress(OSError):
            self._write(trainer)

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        self._count(trainer)

    def _count(self, trainer: Trainer) -> None:
        self.fields["steps"] = trainer.global_step
        self.fields["seconds"] = round(self._seconds_before + time.monotonic() - self._begun, 3)

    @rank_zero_only
    def _write(self, trainer: Trainer) -> None:
        self._count(trainer)
        replace_file(self.folder.record, (json.dumps(self.fields, indent=1) + "\n").encode())


def _read(folder: TrainingFolder) -> dict[str, Any]:
    """The record that lies in a folder; empty if there is none."""
    try:
        known: dict[str, Any] = json.loads(folder.record.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise RdpError(f"{folder.record} is damaged: take it away, or train anew with --overwrite") from error
    return known


def versions() -> dict[str, str]:
    """Of what decides a training's numbers."""
    import lightning

    from rdp import __version__

    return {
        "rdp": __version__,
        "torch": str(torch.__version__),
        "lightning": str(lightning.__version__),
        "python": platform.python_version(),
    }


def image_hashes(data: LightningDataModule | None) -> dict[str, list[str]]:
    """Hashes of the pixels of training and validation images, for data that tells them (`hashes(part)`)."""
    if data is None or not hasattr(data, "hashes"):
        return {}
    has = getattr(data, "has", lambda part: True)
    return {part: list(data.hashes(part)) for part in PARTS if has(part)}


def union(before: Mapping[str, list[str]], now: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Lists of hashes part by part: those of before, then what is new, each once."""
    parts = dict.fromkeys([*before, *now])
    return {part: list(dict.fromkeys([*before.get(part, []), *now.get(part, [])])) for part in parts}


def _device(device: torch.device) -> str:
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return f"{device.type} ({platform.processor() or platform.machine()})"


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
