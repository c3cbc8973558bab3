"""What the studies of the shipped weights share: which networks there are, their rows, curves, intervals.

Averages are means over the images of a point's rows; a curve is those averages at several points. Interpolation is
PCHIP over the logarithm of the rate, Bjontegaard rates are those of `rdp.analysis`, and nothing is extrapolated.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from scipy.interpolate import PchipInterpolator

import rdp
from rdp.analysis import BjontegaardError, bd_rate
from rdp.cli.progress import Terminal
from rdp.codecs import Codec, Resources, create_codec, parse_point, parse_points
from rdp.errors import SpecError, TableError, WeightsError
from rdp.images import list_images

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
STEPS = ("1/2", "2/3", "1", "3/2", "2")
"""Quantisation steps of every learned codec."""
Floats = np.ndarray[Any, np.dtype[np.float64]]


# ---- options and networks


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """Options that all studies take."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, default=Path("../shared/data/kodak"))
    parser.add_argument("--run", type=Path, default=Path("out/pretrained/run"), help="run folder; what it has is kept")
    parser.add_argument("--out", type=Path, default=Path("out/pretrained/results"), help="folder of tables and figures")
    parser.add_argument("--weights", type=Path, default=Path("../shared/weights"), help="folder of LPIPS weights")
    parser.add_argument("--models", type=Path, default=HERE / "models.toml", help="which network plays which part")
    parser.add_argument("--jobs", type=int, help="worker processes; default: all cores")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    return parser


def options_of(parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options; the folder of weights is searched from now on, by worker processes too."""
    options = parser.parse_args(arguments)
    if options.weights.is_dir():
        os.environ.setdefault("RDP_WEIGHTS", str(options.weights.absolute()))
    return options


@dataclass(frozen=True)
class Model:
    """A network of a study: its labels, and the spec of its operating point without the step."""

    labels: Mapping[str, Any]
    spec: str

    def spec_at(self, step: str = "1") -> str:
        """The spec of its point at a quantisation step: what `rdp.evaluate` takes."""
        return f"{self.spec}{',' if ':' in self.spec else ':'}step={step}"

    def at(self, step: str = "1") -> str:
        """The name of that point in tables."""
        return parse_point(self.spec_at(step)).name

    def __getitem__(self, label: str) -> Any:
        return self.labels[label]


def read_models(path: Path, role: str) -> list[Model]:
    """All networks that the file lists for a study, whether they are here or not."""
    found = []
    for table in tomllib.loads(path.read_text(encoding="utf-8")).get(role, []):
        labels = {name: value for name, value in table.items() if name != "point"}
        listed = [value if isinstance(value, list) else [value] for value in labels.values()]
        for values in itertools.product(*listed):
            own = dict(zip(labels, values, strict=True))
            found.append(Model(own, table["point"].format(**own, folder=path.resolve().parent)))
    return found


def present_models(path: Path, role: str) -> list[Model]:
    """Those of a role whose weights are on this machine; the others are printed with the reason."""
    here = []
    for model in read_models(path, role):
        try:
            create_codec(parse_point(model.spec_at()))
        except (SpecError, WeightsError) as error:
            print(f"left out: {model.spec}: {str(error).splitlines()[0]}")
        else:
            here.append(model)
    return here


def evaluated(
    options: argparse.Namespace, specs: Sequence[str], metrics: Sequence[str]
) -> tuple[rdp.Run, pd.DataFrame]:
    """The run folder, and its rows of these specs and the images of the options; only what is missing is computed.

    Raises `TableError` when a cell failed, since an average over fewer images compares with nothing.
    """
    run = rdp.evaluate(
        options.images, specs, metrics, options.run, jobs=options.jobs, device=options.device, dtype=options.dtype,
        progress=Terminal(),
    )  # fmt: skip
    frame = run.to_pandas()
    wanted = {image.key for image in list_images(options.images)}
    mine = np.array([key in wanted for key in zip(frame.dataset, frame.image, strict=True)])
    frame = frame[mine & frame.point.isin([point.name for point in parse_points(specs)])]
    failed = frame[frame.status != "ok"]
    if len(failed):
        raise TableError(f"{len(failed)} cells failed in {options.run}; the first says: {failed.iloc[0].message}")
    return run, frame


# ---- averages and curves


def rows_of(frame: pd.DataFrame, point: str) -> pd.DataFrame:
    """The rows of a point in the order of the images. Raises `TableError` if there are none."""
    rows = frame[frame.point == point].sort_values(["dataset", "image"]).set_index("image")
    if not len(rows):
        raise TableError(f"there are no rows of {point}")
    return rows


def values_of(frame: pd.DataFrame, points: Sequence[str], column: str) -> Floats:
    """A column as (images, points). Raises `TableError` if points have rows of different images."""
    parts = [rows_of(frame, point)[column] for point in points]
    for point, part in zip(points, parts, strict=True):
        if not part.index.equals(parts[0].index):
            raise TableError(f"{point} and {points[0]} have rows of different images: evaluate both on the same")
    return np.stack([part.to_numpy(np.float64) for part in parts], axis=1)


def mean_points(frame: pd.DataFrame, points: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
    """One line a point, in order: number of images, and means of those columns that there are."""
    lines = []
    for point in points:
        rows = rows_of(frame, point)
        kept = [name for name in columns if name in rows and rows[name].notna().any()]
        lines.append({"point": point, "images": len(rows), **rows[kept].mean().to_dict()})
    return pd.DataFrame(lines)


@dataclass(frozen=True, eq=False)
class Curve:
    """Rates (n,), bit/pixel, and values (n,) of a metric at them, in the order of the rates."""

    rate: Floats
    value: Floats

    @classmethod
    def through(cls, rate: Sequence[float] | Floats, value: Sequence[float] | Floats) -> Curve:
        order = np.argsort(rate, kind="stable")
        return cls(np.asarray(rate, np.float64)[order], np.asarray(value, np.float64)[order])

    def at(self, rate: float) -> float:
        """The value at a rate, PCHIP over its logarithm; NaN outside of the curve, or of fewer than two points."""
        if len(self.rate) < 2 or not self.rate[0] <= rate <= self.rate[-1] or (np.diff(self.rate) <= 0).any():
            return math.nan
        return float(PchipInterpolator(np.log(self.rate), self.value)(math.log(rate)))


@dataclass(frozen=True)
class RateDifference:
    """A Bjontegaard delta of the rate, in percent of the anchor's, over the part of an interval that both cover."""

    percent: float
    low: float
    high: float
    anchor_points: int
    test_points: int


def rate_difference(anchor: Curve, test: Curve, low: float = -math.inf, high: float = math.inf) -> RateDifference:
    """Negative where `test` saves rate; the interval is of the metric. NaN where there is no such number.

    It is `rdp.analysis.bd_rate`, of which a table wants an empty cell where it refuses.
    """
    try:
        found = bd_rate(anchor.rate, anchor.value, test.rate, test.value, interval=(low, high))
    except BjontegaardError:
        return RateDifference(math.nan, math.nan, math.nan, len(anchor.rate), len(test.rate))
    return RateDifference(found.value, *found.interval, found.anchor_points, found.test_points)


def curve_of(means: pd.DataFrame, column: str = "psnr") -> Curve:
    """Of the lines of `mean_points`."""
    return Curve.through(means.bpp.to_numpy(), means[column].to_numpy())


# ---- differences inside the spread


@dataclass(frozen=True)
class Difference:
    """The mean of `b` less the mean of `a`, and its interval by Welch's t (1947): variances need not be equal.

    `undecided`: the interval holds 0, or there is none, for want of a second value on a side.
    """

    value: float
    low: float
    high: float

    @property
    def undecided(self) -> bool:
        return not (self.low > 0 or self.high < 0)


def welch(a: Sequence[float], b: Sequence[float], confidence: float = 0.95) -> Difference:
    """Of two independent samples, as of networks trained from different seeds."""
    value = float(np.mean(b) - np.mean(a))
    if min(len(a), len(b)) < 2:
        return Difference(value, math.nan, math.nan)
    parts = [float(np.var(side, ddof=1)) / len(side) for side in (a, b)]
    error = math.sqrt(sum(parts))
    if error == 0:
        return Difference(value, value, value)
    freedom = sum(parts) ** 2 / sum(part**2 / (len(side) - 1) for part, side in zip(parts, (a, b), strict=True))
    half = float(stats.t.ppf((1 + confidence) / 2, freedom)) * error
    return Difference(value, value - half, value + half)


# ---- pictures


def decoded(run: rdp.Run, row: pd.Series, codec: Codec) -> np.ndarray[Any, Any]:
    """The picture of a row, uint8 (H, W, 3), from its file in the run folder."""
    return codec.decode(file_of(run, row))


def file_of(run: rdp.Run, row: pd.Series) -> bytes:
    """The encoded file of a row. Raises `TableError` if the run did not keep it."""
    path = run.object_path(row.file_sha256)
    if not path.is_file():
        raise TableError(f"{path} is missing: evaluate into a new run folder, whose files are kept")
    return path.read_bytes()


def codec_of(model: Model, options: argparse.Namespace, step: str = "1") -> Codec:
    """The codec of one of a model's points, on the device of the options."""
    return create_codec(parse_point(model.spec_at(step)), Resources(options.device, options.dtype))
