"""Small problems at random, tables of cells, and the exhaustive search that everything is held against."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from rdp.selection import Problem
from rdp.tables import CellTable

TOLERANCE = 1e-12


def _exhaustive(problem: Problem) -> tuple[float | None, list[tuple[int, ...]]]:
    """Best objective over all selections within the budgets, and every selection that reaches it; (None, []) if none.

    Written for plainness, with nothing shared with rdp: loops, `math.fsum`, and budgets met up to 1e-12 of them.
    """
    options = [np.flatnonzero(row).tolist() for row in problem.allowed]
    best: float | None = None
    winners: list[tuple[int, ...]] = []
    for choice in itertools.product(*options):
        if not all(_within(constraint, choice) for constraint in problem.constraints):
            continue
        value = _mean(problem.objective, choice)
        signed = value if problem.goal == "minimize" else -value
        if best is None or signed < best - TOLERANCE:
            best, winners = signed, [choice]
        elif signed <= best + TOLERANCE:
            winners.append(choice)
    if best is None:
        return None, []
    return (best if problem.goal == "minimize" else -best), winners


def _mean(term: Any, choice: Sequence[int]) -> float:
    total = math.fsum(float(w) for w in term.weights)
    return (
        math.fsum(
            float(w) * float(term.values[i, j]) for i, (w, j) in enumerate(zip(term.weights, choice, strict=True))
        )
        / total
    )


def _within(constraint: Any, choice: Sequence[int]) -> bool:
    term = constraint.term
    mean = _mean(term, choice)
    size = math.fsum(
        float(w) * abs(float(term.values[i, j])) for i, (w, j) in enumerate(zip(term.weights, choice, strict=True))
    )
    room = TOLERANCE * max(abs(constraint.budget), size / math.fsum(float(w) for w in term.weights))
    return mean <= constraint.budget + room if constraint.sense == "at_most" else mean >= constraint.budget - room


def _random_problem(seed: int) -> Problem:
    """A small problem: 1 to 6 images, 1 to 5 points, up to 3 budgets of either sense, some of them exactly attainable.

    Values are whole numbers (so that there are ties), reals, of either sign, or zero; tables may be ragged, weights by
    pixels, budgets out of reach.
    """
    rng = np.random.default_rng([2, seed])
    images, points = int(rng.integers(1, 7)), int(rng.integers(1, 6))
    names = ["cost", "a", "b", "c"][: 1 + int(rng.integers(1, 4))]
    columns = {name: _random_values(rng, images, points) for name in names}
    allowed = rng.random((images, points)) < rng.choice([1.0, 0.8])
    allowed[np.arange(images), rng.integers(0, points, images)] = True
    pixels = np.exp(rng.normal(0, 1.5, images)).round(3) + 0.001
    weights = {name: str(rng.choice(["images", "pixels"])) for name in names}
    at_most: dict[str, float] = {}
    at_least: dict[str, float] = {}
    for name in names[1:]:
        side = at_most if rng.random() < 0.6 else at_least
        side[name] = _random_budget(rng, columns[name], allowed, pixels if weights[name] == "pixels" else None)
    goal = "minimize" if rng.random() < 0.6 else "maximize"
    return Problem.from_arrays(
        columns, **{goal: "cost"}, at_most=at_most, at_least=at_least, weights=weights, pixels=pixels, allowed=allowed
    )


def _random_values(rng: np.random.Generator, images: int, points: int) -> np.ndarray:
    kind = rng.integers(0, 5)
    if kind == 0:
        return rng.integers(0, 4, (images, points)).astype(float)
    if kind == 1:
        return rng.integers(-3, 4, (images, points)).astype(float)
    if kind == 2:
        return np.zeros((images, points))
    return rng.normal(0, 1, (images, points)) if kind == 3 else np.exp(rng.normal(0, 1.5, (images, points)))


def _random_budget(
    rng: np.random.Generator, values: np.ndarray, allowed: np.ndarray, pixels: np.ndarray | None
) -> float:
    """The average of some allowed choice: exactly attainable alone, and half of the time a little off that."""
    weights = np.ones(len(values)) if pixels is None else pixels
    choice = [int(rng.choice(np.flatnonzero(row))) for row in allowed]
    mean = math.fsum(w * values[i, j] for i, (w, j) in enumerate(zip(weights, choice, strict=True))) / math.fsum(
        weights
    )
    return mean if rng.random() < 0.5 else mean + float(rng.normal(0, 0.3))


def _table_of(columns: Mapping[str, Any], images: Sequence[str], points: Sequence[str], **extra: Any) -> CellTable:
    """A full table from arrays (images, points); `extra` are flat columns of as many rows. None is a null."""
    rows = len(images) * len(points)
    data = {
        "dataset": ["photos"] * rows,
        "image": [image for image in images for _ in points],
        "point": list(points) * len(images),
        "status": ["ok"] * rows,
        "message": [""] * rows,
    }
    for name, values in columns.items():
        data[name] = np.asarray(values, dtype=object).ravel().tolist() if values is not None else None
    return CellTable(pa.table(data | extra), "study.csv")


@pytest.fixture(scope="session")
def exhaustive() -> Callable[[Problem], tuple[float | None, list[tuple[int, ...]]]]:
    """The exhaustive search."""
    return _exhaustive


@pytest.fixture(scope="session")
def random_problem() -> Callable[[int], Problem]:
    """The small problem of a seed."""
    return _random_problem


@pytest.fixture(scope="session")
def table_of() -> Callable[..., CellTable]:
    """Makes a full table from arrays."""
    return _table_of


@pytest.fixture
def table() -> CellTable:
    """Three images at three points of two codecs: rate up, distortion down, PSNR up."""
    return _table_of(
        {
            "bpp": [[0.1, 0.2, 0.4], [0.2, 0.4, 0.8], [0.1, 0.3, 0.6]],
            "mse": [[90.0, 40.0, 10.0], [120.0, 60.0, 20.0], [50.0, 20.0, 5.0]],
            "psnr": [[28.6, 32.1, 38.1], [27.3, 30.3, 35.1], [31.1, 35.1, 41.1]],
            "width": [[768] * 3, [512] * 3, [100] * 3],
            "height": [[512] * 3, [768] * 3, [100] * 3],
            "nbytes": [[4915, 9830, 19661], [9830, 19661, 39322], [125, 375, 750]],
        },
        ["a.png", "b.png", "c.png"],
        ["webp:quality=5", "webp:quality=10", "avif:quality=50"],
    )


# Two files of a learned codec, of four and of two decoders, and one standard codec. Images of 10 and of 40 pixels.
_POINTS = ("low:d=0", "low:d=1", "low:d=2", "low:d=3", "high:d=0", "high:d=1", "jpeg")
_ENCODERS = ("low", "low", "low", "low", "high", "high", "jpeg")
_NBYTES = (2.0, 2.0, 2.0, 2.0, 4.0, 4.0, 3.0)
_MSE = ((40.0, 44.0, 48.0, 52.0, 20.0, 24.0, 30.0), (50.0, 54.0, 58.0, 62.0, 25.0, 29.0, 35.0))
_LPIPS = ((0.8, 0.6, 0.4, 0.2, 0.5, 0.1, 0.7), (0.8, 0.7, 0.6, 0.5, 0.5, 0.3, 0.9))
_SIZES = ((5, 2), (5, 8))


def _frame_of(images: int = 2, **more: Sequence[Any]) -> pd.DataFrame:
    """The table; `more` are columns of a value a point."""
    rows = []
    for image in range(images):
        width, height = _SIZES[image % 2]
        for k, point in enumerate(_POINTS):
            row = {"dataset": "set", "image": f"{image}.png", "point": point, "width": width, "height": height}
            row |= {"nbytes": _NBYTES[k], "bpp": 8 * _NBYTES[k] / (width * height), "mse": _MSE[image % 2][k]}
            row |= {"lpips": _LPIPS[image % 2][k], "encoder_id": _ENCODERS[k], "decoder_id": f"d{k}"}
            rows.append(row | {name: values[k] for name, values in more.items()})
    return pd.DataFrame(rows)


@pytest.fixture(scope="session")
def frame_of() -> Callable[..., pd.DataFrame]:
    """Makes the table of points that share files: so many `images`, and columns of a value a point."""
    return _frame_of
