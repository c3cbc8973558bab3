"""What a tuning of decoders leaves in its folder, and how it goes on from there.

finetune.json                    options, codecs, and every decoder that is done with what it measures; anew after each
decoders.csv                     a line a decoder, the networks' own first
<identity>-<name>.safetensors    the decoders; a folder of RDP_WEIGHTS that holds them serves `decoder=<name>`
<identity>-<name>.ckpt           of the training that runs
logs/<identity>-<name>/          losses over the steps
decoders.png                     perceptual distance against PSNR on the validation images
"""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rdp.errors import SpecError
from rdp.storage import replace_file
from rdp.training.loop_folder import disk, goes_on, log_of, require_same_options, write_log

FORMAT = "rdp-finetune"
VERSION = 1
STATE = "finetune.json"
TABLE = "decoders.csv"
FIGURE = "decoders.png"

FREE = ("device", "workers", "compiled", "gammas")
"""Options that a resumed tuning may be given anew: what is done stays right. Further gammas are further decoders."""


@dataclass(frozen=True)
class Tuned:
    """A decoder and what it measures on the validation images.

    `name` and `gamma` (None for the network's own), `steps` of its training; `weights`: its file in the folder.
    `bpp`: mean rate of the files in bit/pixel; `scores`: means by column. `files` validation images were encoded, and
    `identical` of them to the same bytes as with the network's own decoder.
    """

    name: str
    gamma: float | None
    steps: int
    weights: str | None
    bpp: float
    scores: Mapping[str, float]
    files: int
    identical: int


@dataclass(frozen=True)
class TunedCodec:
    """The decoders of one network, its own first: `point` as tables name it, `identity` of its encoder."""

    point: str
    identity: str
    decoders: tuple[Tuned, ...] = ()

    def find(self, name: str) -> Tuned | None:
        """The decoder of that name, if it is done."""
        return next((one for one in self.decoders if one.name == name), None)


@dataclass(frozen=True)
class TuningState:
    """The log: `options` as JSON has them, and the codecs so far."""

    options: Mapping[str, Any]
    codecs: tuple[TunedCodec, ...]

    def with_codec(self, codec: TunedCodec) -> TuningState:
        """The log with a codec's new state in the place of its old."""
        codecs = [codec if one.identity == codec.identity else one for one in self.codecs]
        return replace(self, codecs=tuple(codecs))


def open_tuning(out: Path, resume: bool, overwrite: bool) -> TuningState | None:
    """The log in a folder to go on from; None where a new tuning begins. Raises what `goes_on` raises."""
    return read_tuning(out) if goes_on(out, STATE, resume, overwrite) else None


def clear_tuning(out: Path) -> None:
    """Make the folder of a new tuning; of what lies there, files of an earlier tuning go, and nothing else."""
    with disk(out):
        out.mkdir(parents=True, exist_ok=True)
        if (out / STATE).is_file():
            for codec in read_tuning(out).codecs:
                for one in codec.decoders:
                    if one.weights is not None:
                        (out / one.weights).unlink(missing_ok=True)
                for checkpoint in out.glob(checkpoint_of(out, codec.identity, "*").name):
                    checkpoint.unlink()
        for name in (STATE, TABLE, FIGURE):
            (out / name).unlink(missing_ok=True)
        shutil.rmtree(out / "logs", ignore_errors=True)


def checkpoint_of(out: Path, identity: str, name: str) -> Path:
    """The checkpoint of the training of a decoder."""
    return out / f"{identity}-{name}.ckpt"


def read_tuning(out: Path) -> TuningState:
    """The log in a folder. Raises `RdpError` for a file that is damaged, or of another version."""
    with log_of(out / STATE, FORMAT, VERSION) as document:
        codecs = [
            TunedCodec(one["point"], one["identity"], tuple(Tuned(**decoder) for decoder in one["decoders"]))
            for one in document["codecs"]
        ]
        return TuningState(document["options"], tuple(codecs))


def write_tuning(out: Path, state: TuningState) -> None:
    """Replace the log and the table; a killed process leaves the old ones or the new ones."""
    content = {"options": dict(state.options), "codecs": [asdict(codec) for codec in state.codecs]}
    with disk(out):
        replace_file(out / TABLE, tuning_table(state).encode())
        write_log(out / STATE, FORMAT, VERSION, content)


def require_same_tuning(state: TuningState, options: Mapping[str, Any], identities: Mapping[str, str]) -> None:
    """Raise `SpecError` where a resumed tuning is given something else than it began with, by the option's name.

    `identities`: of the encoders, by the name of the point.
    """
    require_same_options(state.options, options, FREE)
    began = {codec.point: codec.identity for codec in state.codecs}
    if began != dict(identities):
        raise SpecError(
            f"--resume: the tuning began with {', '.join(began)}, and other codecs or weights are given now: give "
            "those, or begin anew with --overwrite"
        )


def tuning_table(state: TuningState) -> str:
    """CSV: a line a decoder."""
    scores = list(dict.fromkeys(name for codec in state.codecs for one in codec.decoders for name in one.scores))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["point", "decoder", "gamma", "steps", "bpp", *scores, "files", "files_identical", "weights"])
    for codec in state.codecs:
        for one in codec.decoders:
            gamma = "" if one.gamma is None else f"{one.gamma:g}"
            numbers = [f"{one.scores[name]:.6g}" if name in one.scores else "" for name in scores]
            row = [codec.point, one.name, gamma, one.steps, f"{one.bpp:.6g}", *numbers]
            writer.writerow([*row, one.files, one.identical, one.weights or ""])
    return stream.getvalue()
