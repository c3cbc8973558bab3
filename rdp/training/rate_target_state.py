"""What a training towards a target rate leaves in its folder, and how it goes on from there.

rate_target.json     options, start, and every round with the rates of all images; written anew after each
rounds.csv           a line a round
rounds/NN.safetensors, rounds/NN.optimizer.pt   what round NN ended with; 00 is the start
final.ckpt           of the final training, while it runs
logs/NN/metrics.csv  losses over the steps of round NN
rounds.png, weights.safetensors
"""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rdp.errors import SpecError
from rdp.storage import replace_file
from rdp.training.loop_folder import disk, goes_on, log_of, require_same_options, write_log
from rdp.training.rate_target_rule import Round

FORMAT = "rdp-rate-target"
VERSION = 1
STATE = "rate_target.json"
WEIGHTS = "weights.safetensors"
TABLE = "rounds.csv"
FIGURE = "rounds.png"
CHECKPOINT = "final.ckpt"
OPTIMIZER = "optimizer.pt"
"""Ending of a round's file."""
_OWN = (STATE, WEIGHTS, TABLE, FIGURE, CHECKPOINT, "rounds", "logs")

COLUMNS = (
    "number", "stage", "target", "beta", "mean_bpp", "std_bpp", "lowest", "highest", "within", "psnr", "weights"
)  # fmt: skip
"""Of `rounds.csv`: R_t and rates in bit/pixel, `within` a share of the images, `psnr` a mean in dB."""

FREE = ("rounds", "corrections", "device", "workers", "compiled")
"""Options that a resumed training may be given anew: they change nothing in what is done already."""


@dataclass(frozen=True)
class State:
    """The log: `options` as JSON has them, names of the validation `images`, identity of the `start`, rounds so far."""

    options: Mapping[str, Any]
    images: tuple[str, ...]
    start: str
    rounds: tuple[Round, ...] = ()


def open_folder(out: Path, resume: bool, overwrite: bool) -> State | None:
    """The log in a folder to go on from; None where a new training begins. Raises what `goes_on` raises."""
    return read_state(out) if goes_on(out, STATE, resume, overwrite) else None


def clear_folder(out: Path) -> None:
    """Make the folder of a new training; of what lies there this kind of training's own files go, and nothing else."""
    with disk(out):
        for path in (out / name for name in _OWN):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        (out / "rounds").mkdir(parents=True, exist_ok=True)


def clear_done(out: Path, state: State) -> None:
    """Remove what only rounds needed that the log says are done: what the next training begins with is enough.

    After the log is written, never before: a training that is repeated for want of it needs them again.
    """
    with disk(out):
        for number in range(len(state.rounds)):
            round_file(out, number, OPTIMIZER).unlink(missing_ok=True)
        if any(one.stage == "final" for one in state.rounds):
            (out / CHECKPOINT).unlink(missing_ok=True)


def round_file(out: Path, number: int, ending: str) -> Path:
    """What a round ended with; number 0 is the start."""
    return out / "rounds" / f"{number:02d}.{ending}"


def read_state(out: Path) -> State:
    """The log in a folder. Raises `RdpError` for a file that is damaged, or of another version."""
    with log_of(out / STATE, FORMAT, VERSION) as document:
        rounds = tuple(Round(**{**one, "rates": tuple(one["rates"])}) for one in document["rounds"])
        return State(document["options"], tuple(document["images"]), document["start"], rounds)


def write_state(out: Path, state: State) -> None:
    """Replace the log and the table of rounds; a killed process leaves the old ones or the new ones."""
    content = {
        "options": dict(state.options),
        "images": list(state.images),
        "start": state.start,
        "rounds": [asdict(one) for one in state.rounds],
    }
    with disk(out):
        write_log(out / STATE, FORMAT, VERSION, content)
        replace_file(out / TABLE, table_of(state.rounds).encode())


def table_of(rounds: Sequence[Round]) -> str:
    """CSV with `COLUMNS`."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in rounds:
        values = (getattr(one, column) for column in COLUMNS)
        writer.writerow([f"{value:.6g}" if isinstance(value, float) else value for value in values])
    return stream.getvalue()


def require_same(state: State, options: Mapping[str, Any], images: Sequence[str], start: str | None) -> None:
    """Raise `SpecError` where a resumed training is given something else than it began with, by the option's name."""
    require_same_options(state.options, options, FREE)
    if tuple(images) != state.images:
        raise SpecError("--resume: the validation images are others than at the beginning: begin anew with --overwrite")
    if start is not None and start != state.start:
        raise SpecError(
            f"--resume: the training began with the network {state.start}, not with {start}: leave out --initial, or "
            "begin anew with --overwrite"
        )
