"""Refinement of latents as keys of a point: `refine=STEPS`, and `lmbda=` where it is not the network's own.

A refined point's files are made with more work and are ordinary ones: any point of the same weights decodes them (see
`rdp.models.refinement`). What is minimised is bit/pixel + lmbda * MSE (0..255) of the network's own decoder, also where
the point names another one. lmbda is what the network was trained with, as far as its file or the index says it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from rdp.codecs.base import OperatingPoint
from rdp.codecs.keys import Key, Value
from rdp.errors import SpecError
from rdp.weights import WeightsFile, load_index

REFINE_KEY = Key(
    "refine",
    "integer",
    "steps by which the encoder refines each image's latents: slower, fewer bits; files decode as ever",
    implied=0,
    minimum=0,
    maximum=10_000,
)

LMBDA_KEY = Key(
    "lmbda",
    "decimal",
    "with refine: weight of the MSE (0..255) beside bit/pixel, if not the one that the network was trained with; a "
    "network serves the rates around its own, less is fewer bits",
    minimum=Decimal("0.000001"),
    maximum=Decimal(1000),
)

REFINE_KEYS = (REFINE_KEY, LMBDA_KEY)

PUBLISHED_LMBDAS = (0.0018, 0.0035, 0.0067, 0.0130, 0.0250, 0.0483, 0.0932, 0.1800)
"""By quality, of CompressAI's models that were trained for MSE (its documentation, "Training")."""

PUBLISHED_SETS = ("bmshj2018-factorized-mse", "bmshj2018-hyperprior-mse", "mbt2018-mean-mse")
"""Their sets in the index of weights, a file for each quality."""

_TASK = "rdp.training.RateDistortion"
_DISTORTION = "rdp.training.MeanSquaredError"


@dataclass(frozen=True)
class Refinement:
    """Steps of descent (1 or more) for each image, and the weight of the MSE on the scale 0..255."""

    steps: int
    lmbda: float


def check_refinement(values: Mapping[str, Value], where: str) -> None:
    """Raise `SpecError` for the keys of a point that do not go together."""
    refined = REFINE_KEY.name in values
    if LMBDA_KEY.name in values and not refined:
        raise SpecError(
            f"{where}: lmbda= says what latents are refined for, and nothing is refined: add refine=STEPS, such as "
            "refine=50, or leave lmbda out"
        )
    if refined and values.get("tables") == "flags":
        raise SpecError(
            f"{where}: latents cannot be refined for tables=flags, whose bits depend on whole channels: use "
            "tables=trained or tables=fixed, or leave refine out"
        )


def refinement_of(point: OperatingPoint, file: WeightsFile) -> Refinement | None:
    """What a point says of refinement; None for a point that is not refined.

    Raises `SpecError` if neither the point nor its weights say the weight of the MSE, and `WeightsError` for weights
    whose header cannot be read.
    """
    steps = point.get(REFINE_KEY.name)
    if steps is None:
        return None
    given = point.get(LMBDA_KEY.name)
    lmbda = trained_lmbda(file) if given is None else float(given)
    if lmbda is None:
        raise SpecError(
            f"{point.name}: {file.path} does not say that it was trained for bit/pixel + lmbda * MSE, and so not what "
            f"its latents are to be refined for: add lmbda= (the MSE is on the scale 0..255; "
            f"{PUBLISHED_LMBDAS[0]} is a low rate, {PUBLISHED_LMBDAS[-2]} a high one), or leave refine out"
        )
    return Refinement(int(steps), lmbda)


def trained_lmbda(file: WeightsFile) -> float | None:
    """The weight of the MSE (0..255) beside bit/pixel that a network was trained with; None where nothing says it.

    A file of rdp's own says it in its note on the training, of a published one the index knows the quality.
    """
    if file.path.suffix == ".safetensors":
        return _noted_lmbda(file.path)
    for entry in load_index().values():
        if entry.set in PUBLISHED_SETS and entry.matches(file.sha256):
            return PUBLISHED_LMBDAS[int(entry.name.removeprefix(f"{entry.set}-")) - 1]
    return None


def _noted_lmbda(path: Path) -> float | None:
    from rdp.models.checkpoint import read_header

    try:
        task = json.loads(read_header(path).notes["training"])["task"]
        arguments = task["init_args"]
        if (task["class_path"], arguments["distortion"]["class_path"]) != (_TASK, _DISTORTION):
            return None
        lmbda = float(arguments["lmbda"])
    except (KeyError, TypeError, ValueError, RecursionError):  # somebody else's note
        return None
    return lmbda if 0 < lmbda < float("inf") else None
