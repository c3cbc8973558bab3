"""`rdp train` on Lightning's command line: one YAML for all stages, class paths for every component."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningDataModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from rdp.errors import RdpError, suggest
from rdp.execution.progress import Progress, Silent
from rdp.models.checkpoint import load_model
from rdp.models.provenance import trained_on_note
from rdp.storage import replace_file
from rdp.training.arguments import (
    TrainingParser,
    check_length,
    check_widths,
    load_components,
    option_value,
    with_shipped_configs,
)
from rdp.training.average import MovingAverage
from rdp.training.callbacks import BestWeights, ValidationCurve
from rdp.training.folder import MetricsTable, TrainingFolder, WholeCheckpoints, read_checkpoint, require_fit
from rdp.training.guard import Guard
from rdp.training.record import Record, image_hashes
from rdp.training.steps import LastCheckpoint, Steps
from rdp.training.surroundings import interruptible, is_first_process, quiet, tensorboard, translated
from rdp.training.tasks import CompressionTask
from rdp.training.telling import Telling

STAGES = ("fit", "validate", "test")
DEFAULTS: dict[str, Any] = {
    "model": {
        "class_path": "rdp.training.RateDistortion",
        "init_args": {"network": {"class_path": "rdp.models.hyperprior.MeanScaleHyperprior"}},
    },
    "data": {"class_path": "rdp.training.ImageFolders"},
    "trainer.max_steps": 50_000,
    "trainer.max_epochs": -1,
    "trainer.num_sanity_val_steps": 0,
    "trainer.enable_progress_bar": False,
    "trainer.enable_model_summary": False,
}
_OF_A_RUN = ("config", "out", "resume", "overwrite", "weights", "tensorboard")
"""Options that the saved configuration leaves out: they are no part of what a training is."""


@dataclass(frozen=True)
class Trained:
    """What a stage ended with: `numbers` by name (bpp, psnr, loss, ...), of a training those of its best weights."""

    stage: str
    numbers: Mapping[str, float]
    images: int
    weights: Path | None
    steps: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {**asdict(self), "weights": str(self.weights) if self.weights else None}


def run_training(
    arguments: Sequence[str],
    progress: Progress | None = None,
    *,
    live: bool = False,
    callbacks: Sequence[Callback] = (),
) -> Trained:
    """One stage, `fit`, `validate` or `test`, and its options as on the command line.

    `live`: the progress is a bar that wants every step. `callbacks`: further ones. Raises `RdpError` for what the user
    can mend, `TrainingInterrupted` after Ctrl-C, `SystemExit` for `--help` and `--print_config`.
    """
    words = list(arguments)
    if not words or (words[0] not in STAGES and not words[0].startswith("-")):
        said = f"{words[0]} is no stage of a training.{suggest(words[0], STAGES)} " if words else ""
        raise RdpError(f"{said}Give one of {', '.join(STAGES)}")
    progress = progress or Silent()
    load_components()
    with quiet(progress), translated():
        cli = TrainingCLI(with_shipped_configs(_with_own_config(words)), words, progress, live, callbacks)
    if cli.result is None:
        raise RdpError(f"give one of {', '.join(STAGES)}")
    return cli.result


def _with_own_config(words: list[str]) -> list[str]:
    """A training that goes on, or weights that are measured, have the configuration that lies beside them."""
    folders: list[Path] = []
    if words[0] == "fit" and "--resume" in words:
        out = option_value(words, "--out")
        if out is None:
            raise RdpError("--resume needs --out FOLDER, the folder of the training that goes on")
        folders = [Path(out)]
    elif words[0] != "fit" and option_value(words, "--config", "-c") is None:
        weights = option_value(words, "--weights")
        folders = [Path(weights).parent, Path(weights).parent.parent] if weights else []
    for folder in folders:
        if (own := TrainingFolder(folder).config).is_file():
            return [words[0], "--config", str(own), *words[1:]]
    return words


class TrainingCLI(LightningCLI):
    """Lightning's, with our defaults, folder and callbacks; the stage has run when the object is made."""

    def __init__(
        self, arguments: list[str], command: list[str], progress: Progress, live: bool, callbacks: Sequence[Callback]
    ) -> None:
        self.command = "rdp train " + shlex.join(command)
        self.progress = progress
        self.live = live
        self.further = list(callbacks)
        self.result: Trained | None = None
        super().__init__(
            CompressionTask,
            LightningDataModule,
            save_config_callback=None,
            seed_everything_default=0,
            parser_class=TrainingParser,
            parser_kwargs={
                "prog": "rdp train",
                "description": "Train compression networks, and measure their weights.",
            },
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            args=arguments,
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """The stages, without options of Lightning's that ours replace."""
        skipped = {"model", "ckpt_path", "weights_only", "datamodule", "verbose"}
        return {
            "fit": {*skipped - {"verbose"}, "train_dataloaders", "val_dataloaders"},
            "validate": {*skipped, "dataloaders"},
            "test": {*skipped, "dataloaders"},
        }

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.set_defaults(DEFAULTS)
        parser.add_argument("--out", type=str | None, default=None, help="Folder of the training (out/train/<task>).")
        parser.add_argument("--resume", action="store_true", help="Go on with the training in the folder.")
        parser.add_argument("--overwrite", action="store_true", help="Begin anew where a training lies.")
        parser.add_argument("--weights", type=str | None, default=None, help="What to validate or test.")
        parser.add_argument("--tensorboard", action="store_true", help="Logs for TensorBoard beside metrics.csv.")
        parser.add_argument(
            "--compile", action="store_true", help="Steps through torch.compile, faster after the first."
        )
        parser.add_argument("--ema.decay", type=float, default=0.999, help="Moving average of the weights; 0: none.")
        parser.add_class_arguments(BestWeights, "best")
        parser.add_class_arguments(Guard, "guard")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        self.config = parser.parse_args(args)

    @property
    def stage(self) -> str:
        return str(self.subcommand)

    def option(self, name: str) -> Any:
        """The value of an option of this stage."""
        return self._get(self.config, name)

    def before_instantiate_classes(self) -> None:
        if self.stage == "fit" and self.option("weights"):
            raise RdpError("--weights is for validate and test; a training starts from weights with --model.initial")
        task = str(self.option("model").class_path).rpartition(".")[2]
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", task).lower()
        self.folder = TrainingFolder(Path(self.option("out") or Path("out") / "train" / name))
        self.option("trainer")["default_root_dir"] = str(self.folder.root)
        arguments = self.option("model").get("init_args") or {}
        check_widths((arguments.get("network") or {}).get("init_args") or {})
        self.initial: str | None = arguments.get("initial")
        if self.initial and (self.option("resume") or self.stage != "fit"):
            arguments["initial"] = None  # Other files have the weights; this one may be gone by now.
        if self.stage == "fit":
            check_length(self.option("trainer"))

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> Trainer:
        given = config.get("callbacks") or []
        own = given if isinstance(given, list) else [given]
        logger = config.get("logger")
        if self.stage != "fit":
            return Trainer(**{**config, "logger": False, "callbacks": own, "enable_checkpointing": False})
        self.table = MetricsTable(self.folder.logs)
        if logger is None or logger is True:
            logger = [self.table, *([tensorboard(self.folder)] if self.option("tensorboard") else [])]
        plugins = config.get("plugins") or []
        plugins = [*(plugins if isinstance(plugins, list) else [plugins]), WholeCheckpoints()]
        everything = [*self._callbacks(), *own, *self.further]
        return Trainer(**{**config, "logger": logger, "callbacks": everything, "plugins": plugins})

    def _callbacks(self) -> list[Callback]:
        """In the order of their work: the moving average gives the module back only after the best weights are out."""
        seed = self.option("seed_everything")
        seed = torch.initial_seed() if isinstance(seed, bool) else int(seed)
        self.record = Record(self.folder, self.command, seed, _plain(self.option("model")))
        self.best: BestWeights = self._get(self.config_init, "best")
        guard: Guard = self._get(self.config_init, "guard")
        told = [Telling(self.progress, self.live)]
        averages = [MovingAverage(self.option("ema.decay"))] if self.option("ema.decay") else []
        last = LastCheckpoint(self.folder.checkpoint, f"rdp train fit --out {self.folder.root} --resume")
        return [Steps(seed), guard, self.record, self.best, ValidationCurve(self.folder), *told, *averages, last]

    def fit(self, model: CompressionTask, datamodule: LightningDataModule, **_: Any) -> None:
        resume, overwrite = self.option("resume"), self.option("overwrite")
        first = is_first_process()
        checkpoint = self.folder.checkpoint if resume else None
        if first:
            checkpoint = self.folder.start_from(resume, overwrite)
        if first and checkpoint is not None:
            self._go_on(checkpoint, model)
        datamodule.trainer = self.trainer
        datamodule.setup("fit")
        if first and checkpoint is None:
            self.folder.begin()
        if first:
            replace_file(self.folder.config, self._resolved().encode())
        hashes = [*image_hashes(datamodule).get("train", []), *self.record.trained_before(self.initial)]
        self.best.attach(self.folder, self.record.notes, trained_on_note(hashes) if hashes else {})
        model.compiled = bool(self.option("compile"))
        with interruptible(self.folder):
            self.trainer.fit(model, datamodule=datamodule, ckpt_path=checkpoint, weights_only=True)
        validated = len(image_hashes(datamodule).get("validation", []))
        self.result = Trained("fit", self.best.numbers, validated, self.folder.weights, self.trainer.global_step)

    def _go_on(self, checkpoint: Path, model: CompressionTask) -> None:
        """Raises `RdpError` for a checkpoint that does not fit, or whose training has had all its steps."""
        state = read_checkpoint(checkpoint)
        require_fit(checkpoint, state["state_dict"], model)
        if (MovingAverage.STATE in state) != bool(self.option("ema.decay")):
            had = "had" if MovingAverage.STATE in state else "had no"
            raise RdpError(
                f"the training in {self.folder.root} {had} moving averages: resume with the same --ema.decay"
            )
        if 0 <= self.trainer.max_steps <= int(state["global_step"]):
            raise RdpError(
                f"the training in {self.folder.root} is done: {state['global_step']} steps. For more, give a larger "
                "--trainer.max_steps"
            )
        self.table.go_on_from(int(state["global_step"]))

    def _resolved(self) -> str:
        config = self.config[self.stage].clone()
        for name in _OF_A_RUN:
            config.pop(name, None)
        if self.initial:
            config["model"]["init_args"]["initial"] = self.initial
        return str(self._parser(self.subcommand).dump(config, skip_validation=True))

    def validate(self, model: CompressionTask, datamodule: LightningDataModule, **_: Any) -> None:
        self._measure(model, datamodule, "validation", "val/")

    def test(self, model: CompressionTask, datamodule: LightningDataModule, **_: Any) -> None:
        self._measure(model, datamodule, "test", "test/")

    def _measure(self, model: CompressionTask, data: LightningDataModule, part: str, prefix: str) -> None:
        if not self.option("weights"):
            raise RdpError("--weights FILE is missing: a .safetensors file, or a checkpoint of a training")
        weights = Path(self.option("weights"))
        if weights.suffix == ".ckpt":
            state = read_checkpoint(weights)["state_dict"]
            require_fit(weights, state, model)
            model.load_state_dict(state)
        else:
            model.network = load_model(weights)
        run = self.trainer.validate if part == "validation" else self.trainer.test
        (numbers,) = run(model, datamodule=data, verbose=False)
        count = len(data.images(part)) if hasattr(data, "images") else 0
        numbers = {name.removeprefix(prefix): float(value) for name, value in numbers.items()}
        self.result = Trained(self.stage, numbers, count, weights, 0)


def _plain(config: Any) -> Any:
    """A part of the configuration as simple types."""
    return json.loads(json.dumps(config.as_dict(), default=str)) if hasattr(config, "as_dict") else config
