"""The command line of trainings: shipped configurations by name, and messages of jsonargparse as ours."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from lightning.pytorch.cli import LightningArgumentParser

from rdp.errors import RdpError, SpecError, suggest
from rdp.models.registry import ARCHITECTURES

CONFIGS = Path(__file__).parent / "configs"
_CLASSES = "rdp.training"
_NOISE = r"(Parser key|Given value|Subtypes|Errors:|- Expected a <class 'NoneT|Does not vali)"
_HELP = "`rdp train fit --help-all` lists all options"


def load_components() -> None:
    """Import all classes that a configuration can name in short, for only those of loaded classes count."""
    own = importlib.import_module(_CLASSES)
    for name in own.__all__:
        getattr(own, name)
    for path in ARCHITECTURES.values():
        importlib.import_module(path.partition(":")[0])


def shipped_configs() -> list[str]:
    """Names of the configurations that come with rdp."""
    return sorted(path.name for path in CONFIGS.glob("*.yaml"))


def option_value(arguments: Sequence[str], *names: str) -> str | None:
    """The last value of an option in a command line, `--name value` or `--name=value`; None if it is not there."""
    found = None
    for place, word in enumerate(arguments):
        name, sign, value = word.partition("=")
        if name in names:
            found = value if sign else (arguments[place + 1] if place + 1 < len(arguments) else None)
    return found


def with_shipped_configs(arguments: Sequence[str]) -> list[str]:
    """The arguments with names of shipped configurations as their paths, where there is no such file.

    Raises `RdpError` for a configuration that is neither.
    """
    words = list(arguments)
    for place, word in enumerate(words):
        name, sign, value = word.partition("=")
        if name in ("--config", "-c") and sign:
            words[place] = f"--config={config_path(value)}"
        elif word in ("--config", "-c") and place + 1 < len(words):
            words[place + 1] = str(config_path(words[place + 1]))
    return words


def config_path(name: str) -> Path:
    """The file of a configuration: a path, or the name of a shipped one. Raises `RdpError` if there is none."""
    path = Path(name)
    if path.is_file():
        return path
    for shipped in (CONFIGS / name, CONFIGS / f"{name}.yaml"):
        if path.name == name and shipped.is_file():
            return shipped
    known = shipped_configs()
    raise RdpError(f"there is no configuration {name}.{suggest(name, known)} Shipped with rdp: {', '.join(known)}")


class TrainingParser(LightningArgumentParser):
    """Lightning's parser, whose errors are `RdpError`."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Instead of a usage of a hundred lines."""
        if not self.exit_on_error:  # The parser of a class within: the one around it says where.
            super().error(message, ex)
        raise own_error(ex) or RdpError(explain(message, known_options(self))) from ex


def own_error(error: BaseException | None) -> RdpError | None:
    """The `RdpError` for which jsonargparse raised another, if that is why: the constructor of a class knows best."""
    while error is not None and not isinstance(error, RdpError):
        error = error.__cause__
    return error


def check_widths(options: Mapping[str, Any]) -> None:
    """Raises `SpecError` for a network's arguments that no network has: torch says little of them."""
    for name, value in options.items():
        counts = isinstance(value, int) and not isinstance(value, bool)
        if counts and value < (0 if name == "residual_blocks" else 1):
            raise SpecError(f"--model.network.{name} is {value}: it must be above 0")


def check_length(trainer: Mapping[str, Any]) -> None:
    """Raises `RdpError` for a training without an end, or without a step."""
    steps, epochs = trainer["max_steps"], trainer["max_epochs"]
    if steps == 0 or (steps < 0 and (epochs is None or epochs < 0)):
        raise RdpError(
            f"--trainer.max_steps is {steps}: give a number of steps, 1 or more, for the learning rates follow a "
            "schedule over all of them"
        )


def known_options(parser: Any) -> list[str]:
    """All options of a parser and of those of its subcommands, as they are written."""
    known: set[str] = set()
    for action in parser._actions:
        known.update(word for word in action.option_strings if word.startswith("--"))
        for below in (getattr(action, "choices", None) or {}).values() if isinstance(action.choices, dict) else ():
            known.update(known_options(below))
    return sorted(known)


def explain(message: str, options: Iterable[str] = ()) -> str:
    """What jsonargparse says of a command line or a configuration, in a line or two."""
    lines = [line.strip() for line in message.splitlines()]
    keys = re.findall(r'[Pp]arser key "([^"]+)"', message)
    where = ".".join(key for key in keys if key)
    classes = re.findall(r"Problem with given class_path '([^']+)'", message)
    if found := re.search(r"[Uu]nrecognized arguments: (.*)", message):
        unknown = found[1].split()[0].partition("=")[0]
        return f"unknown option {unknown}.{suggest(unknown, list(options))} {_HELP}"
    if found := re.search(r"Option '([^']+)' is not accepted", message) or re.search(
        r"(?:Key|Option) '([^']+)' is not (?:expected|accepted)", message
    ):
        place = f"{where}.{found[1]}" if where else found[1]
        takes = _arguments_of(classes[-1]) if classes else [option.lstrip("-") for option in options]
        listed = f" {classes[-1].rpartition('.')[2]} takes {', '.join(takes)}." if classes and takes else ""
        return f"unknown option --{place}.{suggest(found[1], takes)}{listed}"
    if found := re.search(r"Expected a dot import path string: (.*)", message):
        return f"--{where}: there is no class {found[1]}.{suggest(found[1], _class_names())} Give {_known(where)}"
    if choices := re.findall(r"Expected a typing\.Literal\[(.*?)\]", message):
        given = re.search(r"(?:Got|Given) value: (.*)", message)
        return f"--{where} is one of {', '.join(choices)}, not {given[1].strip() if given else 'this'!r}"
    if "No supported gpu backend" in message:
        return "--trainer.accelerator gpu: torch finds no GPU on this machine; leave the option out, or give cpu"
    for pattern in (r"(No module named '.*')", r"(module '.*' has no attribute '.*')", r"(cannot import name .*)"):
        if found := re.search(pattern, message):
            near = suggest(classes[-1], _class_names()) if classes else ""
            return f"--{where}: {found[1].strip()}.{near} Give {_known(where)}"
    if found := re.search(r"Expected a <class '([^']+)'>\. Got value: (.*)", message):
        kinds = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text"}
        return f"--{where} is {kinds.get(found[1], found[1])}, not {found[2].strip()!r}"
    if found := re.search(r"(?:does not correspond|is not a subclass|not a valid subclass).*", message):
        return f"--{where}: {classes[-1] if classes else 'this class'} cannot stand here ({found[0].strip()})"
    rest = [line for line in lines if line and not re.match(_NOISE, line)]
    said = (" ".join(rest) or " ".join(line for line in lines if line)).removeprefix("- ")
    return f"--{where}: {said}" if where and not said.startswith("--") else said


def _arguments_of(class_path: str) -> list[str]:
    module, _, name = class_path.rpartition(".")
    try:
        known = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    except (ImportError, AttributeError, ValueError, TypeError):
        return []
    return [key for key in known if key != "self"]


def _class_names() -> list[str]:
    names = list(importlib.import_module(_CLASSES).__all__)
    networks = [path.replace(":", ".") for path in ARCHITECTURES.values()]
    return [*names, *networks, *(path.rpartition(".")[2] for path in networks)]


def _known(where: str) -> str:
    """What can stand at a key."""
    last = where.rpartition(".")[2]
    networks = [path.rpartition(":")[2] for path in ARCHITECTURES.values()]
    own: Mapping[str, list[str]] = {
        "network": networks,
        "optimizer": ["Muon"],
        "discriminator_optimizer": ["Muon"],
        "distortion": ["MeanSquaredError", "LogSquaredError", "MultiScaleSSIM", "LPIPS", "WeightedSum"],
        "perceptual": ["LPIPS", "MultiScaleSSIM"],
        "model": ["RateDistortion", "TargetRate", "HiFiC"],
        "data": ["ImageFolders"],
    }
    example = " such as torch.optim.Adam" if "optimizer" in last else " of your own"
    return f"a class path{example}, or {' or '.join(own[last])}" if last in own else "a class path"
