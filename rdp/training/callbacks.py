"""What a training leaves of its validations: the best weights, and the curve of all of them."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only

from rdp.errors import RdpError, WeightsError
from rdp.models.base import CompressionModel
from rdp.models.checkpoint import save_model
from rdp.storage import replace_file
from rdp.training.folder import TrainingFolder

NOTE = "training"
"""The note in the header of weights that says how they were trained: JSON of the record, and validation numbers."""

_WIDTH_IN, _HEIGHT_IN, _DPI = 9.0, 3.6, 120
_WIDE = 5.0
"""Losses that lie further apart than this factor are drawn on a logarithmic axis."""


class BestWeights(Callback):
    """Writes `weights.safetensors` into the folder of a training whenever a validation is better than all before.

    `monitor`: the number that decides, the smaller the better (`val/psnr`: the larger). `choose`: "best", or "last"
    for objectives that no validation shows, such as the adversarial one; never those of a validation whose numbers are
    not finite. `half`: kernels in float16, in half the bytes. Without validation images the weights are those at the
    end, and the file says so. With moving averages on, they are the averaged weights.
    """

    def __init__(self, monitor: str = "val/loss", choose: Literal["best", "last"] = "best", half: bool = False) -> None:
        self.monitor = monitor
        self.choose = choose
        self.half = half
        self.best = math.inf
        self.numbers: dict[str, float] = {}
        self._validated = False
        self._folder: TrainingFolder | None = None
        self._notes: Callable[[], Mapping[str, Any]] = dict
        self._provenance: Mapping[str, str] = {}

    def attach(
        self, folder: TrainingFolder, notes: Callable[[], Mapping[str, Any]], provenance: Mapping[str, str]
    ) -> None:
        """Where to write, what the header says of the training, and other notes that it holds."""
        self._folder, self._notes, self._provenance = folder, notes, provenance

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Raises `RdpError` for a monitor that no validation logs."""
        if trainer.sanity_checking or self._folder is None or trainer.state.fn != "fit":
            return
        self._validated = True
        numbers = validation_numbers(trainer)
        monitored = self.monitor.removeprefix("val/")
        if monitored not in numbers:
            known = ", ".join(f"val/{name}" for name in numbers)
            raise RdpError(f"--best.monitor {self.monitor} is no number of a validation; there are: {known}")
        if not all(math.isfinite(numbers[name]) for name in {monitored, "loss", "bpp", "psnr"} & numbers.keys()):
            return
        value = -numbers[monitored] if "psnr" in self.monitor else numbers[monitored]
        if self.choose == "last" or value < self.best:
            self.best = value
            self._write(trainer, module, numbers, "on validation images" if self.choose == "best" else "the last")

    def on_fit_start(self, trainer: Trainer, module: LightningModule) -> None:
        self._validated = False

    def on_fit_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Also where a training that goes on left weights here before: those are of fewer steps."""
        if self._folder is not None and not self._validated and trainer.global_step:
            self._write(trainer, module, {}, "the last, for there were no validation images")

    @rank_zero_only
    def _write(self, trainer: Trainer, module: LightningModule, numbers: Mapping[str, float], chosen: str) -> None:
        network = module.network
        if self._folder is None or not isinstance(network, CompressionModel):
            return
        self.numbers = {"step": trainer.global_step, **numbers}
        told = {**self._notes(), "chosen": chosen, "validation": self.numbers}
        notes = {NOTE: json.dumps(told, sort_keys=True, allow_nan=False), **self._provenance}
        try:
            save_model(self._folder.weights, network, notes, kernel_bits=16 if self.half else 32)
        except WeightsError as error:
            if not isinstance(error.__cause__, OSError) or not self._folder.checkpoint.is_file():
                raise
            raise RdpError(f"{error}; the last checkpoint is whole. Make room, then --resume") from error

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "numbers": self.numbers}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]
        self.numbers = dict(state_dict["numbers"])


class ValidationCurve(Callback):
    """`validation.csv` and `validation.png`: every validation of a training, as a curve of rate and distortion."""

    def __init__(self, folder: TrainingFolder) -> None:
        self.folder = folder
        self.rows: list[dict[str, float]] = []

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Go on from what lies there, up to the step that the training goes on from."""
        if not self.rows and self.folder.curve.is_file():
            with self.folder.curve.open(encoding="utf-8", newline="") as stream:
                rows = [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(stream)]
            self.rows = [row for row in rows if row.get("step", 0) <= trainer.global_step]

    @rank_zero_only
    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        self.rows.append({"step": trainer.global_step, "epoch": trainer.current_epoch, **validation_numbers(trainer)})
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        stream = io.StringIO()
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: f"{value:.7g}" for name, value in row.items()} for row in self.rows)
        replace_file(self.folder.curve, stream.getvalue().encode())
        replace_file(self.folder.figure, curve_figure(self.rows))


def curve_figure(rows: list[dict[str, float]]) -> bytes:
    """A PNG: PSNR against bit/pixel, joined in order of steps, and the loss against steps."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH_IN, _HEIGHT_IN), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    steps, bpp, psnr, loss = ([row.get(name, math.nan) for row in rows] for name in ("step", "bpp", "psnr", "loss"))
    left.plot(bpp, psnr, color="0.7", linewidth=1, zorder=1)
    points = left.scatter(bpp, psnr, c=steps, s=18, zorder=2)
    figure.colorbar(points, ax=left, label="step")
    left.set(xlabel="bit/pixel (estimate)", ylabel="PSNR in dB", title="Validation images")
    right.plot(steps, loss, marker=".")
    right.set(xlabel="step", ylabel="loss", title="Validation images")
    if loss and max(loss) > _WIDE * min(loss) > 0:
        right.set_yscale("log")
    left.locator_params("x", nbins=5)
    for axes in (left, right):
        axes.grid(color="0.9")
    stream = io.BytesIO()
    figure.savefig(stream, dpi=_DPI, format="png")
    return stream.getvalue()


def validation_numbers(trainer: Trainer) -> dict[str, float]:
    """What the last validation logged, by name without its `val/`."""
    return {
        name.removeprefix("val/"): float(value)
        for name, value in trainer.callback_metrics.items()
        if name.startswith("val/")
    }
