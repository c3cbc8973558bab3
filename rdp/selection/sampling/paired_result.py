"""What a comparison of two selections found: a test of each column, and in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rdp.columns import describe
from rdp.selection.baselines import gain
from rdp.selection.document import number
from rdp.selection.sampling.intervals import Interval
from rdp.selection.sampling.paired_statistics import IntervalKind
from rdp.selection.words import counted

Better = Literal["a", "b", "neither", "unknown"]
Direction = Literal["lower", "higher"]


@dataclass(frozen=True, eq=False)
class PairedTest:
    """What `paired_test` returns: of `column`, a minus b.

    `difference` is the mean of the images' differences with the column's weights, that is `average_a - average_b`.
    `interval` is its BCa interval where there is one (`interval_kind`), and else the percentile interval. `p_value` is
    that of the sign-flip test, two-sided; `exact` when all flips were tried. `wilcoxon` is the p-value of the
    signed-rank test, which knows no weights. `better` is the selection with the better average (`unknown` for a column
    without a direction), `better_images` and `worse_images` count the images on which a is better and worse (for a
    column without a direction: lower and higher), `equal_images` the others.
    """

    column: str
    names: tuple[str, str]
    average_a: float
    average_b: float
    difference: float
    interval: Interval
    interval_kind: IntervalKind
    p_value: float
    exact: bool
    wilcoxon: float
    direction: Direction | None
    better: Better
    better_images: int
    worse_images: int
    equal_images: int
    images: int
    resamples: int
    seed: int
    confidence: float

    @property
    def distinguishable(self) -> bool:
        """Whether the sign-flip test rejects that the difference is chance, at 1 - confidence."""
        return self.p_value <= 1 - self.confidence

    @property
    def sentence(self) -> str:
        """Which one is better, by how much, and whether that is more than chance."""
        return _sentence(self)

    def to_dict(self) -> dict[str, Any]:
        """As JSON, without NaN or Infinity literals."""
        return {
            "column": self.column,
            "a": self.names[0],
            "b": self.names[1],
            **number("average_a", self.average_a),
            **number("average_b", self.average_b),
            **number("difference", self.difference),
            "interval": [self.interval.low, self.interval.high],
            "interval_kind": self.interval_kind,
            **number("confidence", self.confidence),
            **number("p_value", self.p_value),
            "exact": self.exact,
            **number("wilcoxon", self.wilcoxon),
            "better": self.better,
            "distinguishable": self.distinguishable,
            "better_images": self.better_images,
            "worse_images": self.worse_images,
            "equal_images": self.equal_images,
            "images": self.images,
            "resamples": self.resamples,
            "seed": self.seed,
            "sentence": self.sentence,
        }


@dataclass(frozen=True, eq=False)
class Comparison:
    """What `compare` returns: a test of every column that both selections have, in the order of the first.

    `left_out` maps the columns that cannot be compared to the reason. `columns` are those that the two optimise, or
    the one that was asked for: the sentences are about them.
    """

    names: tuple[str, str]
    tests: Mapping[str, PairedTest]
    columns: tuple[str, ...]
    left_out: Mapping[str, str]

    @property
    def sentences(self) -> tuple[str, ...]:
        """In words, for each of `columns`."""
        return tuple(self.tests[column].sentence for column in self.columns)

    def to_dict(self) -> dict[str, Any]:
        """As JSON, without NaN or Infinity literals."""
        return {
            "kind": "comparison",
            "version": 1,
            "a": self.names[0],
            "b": self.names[1],
            "columns": list(self.columns),
            "tests": [test.to_dict() for test in self.tests.values()],
            "left_out": dict(self.left_out),
            "sentences": list(self.sentences),
        }


def _sentence(test: PairedTest) -> str:
    a, b = test.names
    where = f"over {counted(test.images, 'image')}"
    if test.equal_images == test.images:
        return f"{a} and {b} have the same {test.column} on every image, {test.average_a:.6g} on average {where}"
    how = f"{test.p_value:.2g} (sign flips{', all of them' if test.exact else ''})"
    about = (
        f"p = {how}, {100 * test.confidence:g} % interval of {a} minus {b}: "
        f"{test.interval.low:.4g} to {test.interval.high:.4g}"
    )
    if test.better == "neither":
        return f"{a} and {b} have the same average {test.column}, {test.average_a:.6g} {where}; {about}"
    verdict = "is distinguishable from chance" if test.distinguishable else "is not distinguishable from chance"
    return f"{_which(test)} {where}; the difference {verdict}: {about}"


def _which(test: PairedTest) -> str:
    """Which one has the better average, by how much, and on how many images."""
    a, b = test.names
    pair = (a, test.average_a, b, test.average_b)
    first_wins = test.better == "a" or (test.better == "unknown" and test.difference < 0)
    one, average, other, than = pair if first_wins else (*pair[2:], *pair[:2])
    counts = (
        (test.better_images, test.worse_images) if test.names[0] == one else (test.worse_images, test.better_images)
    )
    words = ("lower", "lower", "higher") if test.better == "unknown" else ("better", "better", "worse")
    by = gain(average, than, lower_is_better=test.direction != "higher", unit=describe(test.column).unit)
    part = "" if by.relative is None else f" ({100 * by.relative:.2g} %)"
    unit = describe(test.column).unit
    unit = f" {unit}" if unit and unit != "bit/pixel" else ""
    return (
        f"{one} has the {words[0]} average {test.column}, {average:.6g} against {than:.6g} of {other}, by "
        f"{by.absolute:.4g}{unit}{part}; it is {words[1]} on {counts[0]}, {words[2]} on {counts[1]} and equal on "
        f"{test.equal_images}"
    )
