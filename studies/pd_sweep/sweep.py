"""Which points the study has, their rows on a set of images, and whether points of one encoder share their files."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from shared import evaluated, mean_points, read_models, rows_of

import rdp
from rdp.codecs import Codec, Resources, create_codec, parse_point
from rdp.columns import describe
from rdp.errors import SpecError, TableError, WeightsError
from rdp.images import list_images, read_image
from rdp.metrics.registry import describe_metrics
from rdp.models.decoder_names import OWN, gamma_name

Kind = Literal["trained", "pictures", "weights"]
SIGNS: Mapping[Kind, str] = {"pictures": "+", "weights": "~"}
DISTORTIONS = ("psnr", "ssim", "ms_ssim")
JUDGES = ("haarpsi", "lpips_alex", "lpips_vgg", "lpips_squeeze")
"""Perceptual metrics of the tables; those without weights here, and the teacher, are no judges."""


@dataclass(frozen=True)
class SweepPoint:
    """A decoder of a base network. `kind` says whether it was trained or is mixed, `share` how much of the second."""

    rate: str
    decoder: str
    kind: Kind
    share: float
    spec: str

    @cached_property
    def name(self) -> str:
        """Of the operating point, as tables have it."""
        return parse_point(self.spec).name


@dataclass(frozen=True)
class Base:
    """A network and its decoders, its own one first."""

    rate: str
    points: tuple[SweepPoint, ...]

    @property
    def own(self) -> SweepPoint:
        return self.points[0]

    def of(self, *kinds: Kind) -> list[SweepPoint]:
        """The points of some kinds, in order."""
        return [point for point in self.points if point.kind in kinds]


@dataclass(frozen=True)
class Plan:
    """What a TOML file says: the metric in the decoders' loss, and the networks."""

    teacher: str
    bases: tuple[Base, ...]

    @property
    def points(self) -> list[SweepPoint]:
        return [point for base in self.bases for point in base.points]


def smallest_gamma(base: Base) -> SweepPoint:
    """The trained decoder with the least weight of the distortion; the network's own where there is no other."""
    tuned = [point for point in base.of("trained") if point.decoder != OWN]
    return min(tuned, key=lambda point: float(point.decoder.removeprefix("g")), default=base.own)


def read_plan(path: Path) -> Plan:
    """All points that the file lists, whether they are here or not. Raises `SpecError` where it says too little."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        teacher, gammas = str(document["teacher"]), [gamma_name(gamma) for gamma in document["gammas"]]
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise SpecError(f"{path}: it must be a TOML file with teacher, gammas and tables [[base]] ({error})") from error
    choices: list[tuple[str, Kind, float]] = [(OWN, "trained", 0.0), *((name, "trained", 1.0) for name in gammas)]
    dial = document.get("dial", {})
    for kind, sign in SIGNS.items():
        for share in dial.get(kind, []):
            choices.append((f"{OWN}{sign}{share}*{gamma_name(dial['gamma'])}", kind, float(share)))
    bases = [
        Base(str(model["rate"]), tuple(_point(str(model["rate"]), model.spec, *choice) for choice in choices))
        for model in read_models(path, "base")
    ]
    return Plan(teacher, tuple(bases))


def _point(rate: str, spec: str, decoder: str, kind: Kind, share: float) -> SweepPoint:
    return SweepPoint(rate, decoder, kind, share, f"{spec}{',' if ':' in spec else ':'}decoder={decoder}")


def present(plan: Plan) -> Plan:
    """What of a plan is on this machine; the rest is printed with the reason.

    Raises `TableError` where no network has a decoder beside its own.
    """
    bases = []
    for base in plan.bases:
        here = []
        for point in base.points:
            try:
                create_codec(parse_point(point.spec))
            except (SpecError, WeightsError) as error:
                print(f"left out: {point.spec}: {str(error).splitlines()[0]}")
            else:
                here.append(point)
        if len(here) > 1 and here[0].decoder == OWN:
            bases.append(replace(base, points=tuple(here)))
    if not bases:
        raise TableError("none of the networks is on this machine with a decoder beside its own (--models, --decoders)")
    return Plan(plan.teacher, tuple(bases))


def metrics_of(teacher: str) -> list[str]:
    """The metrics of the study that can be computed here, the teacher among them; the others are printed."""
    ready = {metric.name: metric.ready for metric in describe_metrics()}
    if teacher not in ready or describe(teacher).direction != "lower":
        raise SpecError(f"the teacher must be a metric that is better where it is lower, as lpips_vgg, not {teacher!r}")
    if not ready[teacher]:
        raise WeightsError(f"the weights of the teacher {teacher} are not on this machine: see rdp weights list")
    for name in JUDGES:
        if not ready[name]:
            print(f"left out: {name}: its weights are not on this machine")
    return [*DISTORTIONS, teacher, *(name for name in JUDGES if ready[name] and name != teacher)]


# ---- a set of images


@dataclass(frozen=True, eq=False)
class Swept:
    """The rows of a plan's points on one set of images; `metrics`: the distortions, the teacher, then the judges."""

    name: str
    images: Path
    plan: Plan
    metrics: tuple[str, ...]
    run: rdp.Run
    frame: pd.DataFrame
    options: argparse.Namespace

    @property
    def teacher(self) -> str:
        return self.plan.teacher

    @property
    def judges(self) -> list[str]:
        """Perceptual metrics that were in no loss."""
        return [name for name in self.metrics if name not in (*DISTORTIONS, self.teacher)]

    def rows(self, point: SweepPoint) -> pd.DataFrame:
        found: pd.DataFrame = rows_of(self.frame, point.name)
        return found

    def mean(self, point: SweepPoint, column: str) -> float:
        return float(self.rows(point)[column].mean())

    def codec(self, point: SweepPoint) -> Codec:
        return create_codec(parse_point(point.spec), Resources(self.options.device, self.options.dtype))

    @cached_property
    def paths(self) -> dict[str, Path]:
        """The files of the images by name."""
        return {image.name: image.path for image in list_images(self.images)}


def sweep(images: Path, plan: Plan, metrics: Sequence[str], options: argparse.Namespace) -> Swept:
    """Evaluate what the run folder lacks. Raises `TableError` where cells failed."""
    own = argparse.Namespace(**{**vars(options), "images": images})
    run, frame = evaluated(own, [point.spec for point in plan.points], metrics)
    labels = {point.name: point for point in plan.points}
    if len(labels) < len(plan.points):
        raise SpecError("two entries of the list of decoders are the same operating point: name each once")
    frame = frame.assign(
        rate=[labels[name].rate for name in frame.point], decoder=[labels[name].decoder for name in frame.point]
    )
    return Swept(images.resolve().name, images, plan, tuple(metrics), run, frame, own)


def identical_files(swept: Swept, base: Base) -> dict[str, str]:
    """By decoder, for how many images its file is that of the network's own decoder: `24 of 24`.

    By the hashes of the rows. `rdp.evaluate` encodes once for all points of an encoder, so this says that it took them
    for points of one encoder; `encoded_anew` asks each point's codec itself.
    """
    own = swept.rows(base.own).file_sha256
    return {point.decoder: _count(np.asarray(swept.rows(point).file_sha256 == own)) for point in base.points}


def encoded_anew(swept: Swept, base: Base) -> dict[str, str]:
    """The same of files that the codec of each trained decoder makes here, byte by byte."""
    pictures = [read_image(swept.paths[name]) for name in swept.rows(base.own).index]
    codec = swept.codec(base.own)
    own = [codec.encode(picture) for picture in pictures]
    found = {}
    for point in base.of("trained"):
        codec = swept.codec(point)
        found[point.decoder] = _count([codec.encode(a) == b for a, b in zip(pictures, own, strict=True)])
    return found


def _count(same: Any) -> str:
    return f"{int(np.sum(same))} of {len(same)}"


def points_table(swept: Swept, dominated: Mapping[str, str], distances: Mapping[str, float]) -> pd.DataFrame:
    """One line a point: means over the images. `dominated` and `distances` are by name of the point."""
    parts = []
    for base in swept.plan.bases:
        same = identical_files(swept, base)
        anew = encoded_anew(swept, base) if swept.options.encode_anew else {}
        means = mean_points(swept.frame, [point.name for point in base.points], ["bpp", *swept.metrics])
        names = [point.decoder for point in base.points]
        means.insert(0, "rate", base.rate)
        means.insert(1, "decoder", names)
        means.insert(2, "kind", [point.kind for point in base.points])
        means["files_identical"] = [same[name] for name in names]
        means["encoded_anew"] = [anew.get(name, "") for name in names]
        means["swd"] = [distances.get(point.name, np.nan) for point in base.points]
        means["dominated_by"] = [dominated.get(point.name, "") for point in base.points]
        parts.append(means)
    table: pd.DataFrame = pd.concat(parts, ignore_index=True)
    return table[[*table.columns.drop("point"), "point"]]
