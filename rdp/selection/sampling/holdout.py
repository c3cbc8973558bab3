"""How well prices carry over: chosen on one half of the images, reported on the other, over many random splits.

See `rdp.selection.sampling.splits` for the rule and for why prices carry over and selections do not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rdp.errors import InfeasibleError, SpecError
from rdp.execution import Progress, Silent
from rdp.selection.document import number
from rdp.selection.explaining.explain import explain_images, images_without_point
from rdp.selection.problem import Constraint, IntArray, Problem
from rdp.selection.result import Selection
from rdp.selection.sampling.intervals import require_count
from rdp.selection.sampling.resampling import solve_part
from rdp.selection.sampling.splits import Outcome, Split, split_by
from rdp.selection.sampling.subset import take
from rdp.selection.setlevel.stating import refuse_sets
from rdp.selection.statement import Sense
from rdp.selection.words import counted


@dataclass(frozen=True)
class Moments:
    """Numbers of `count` splits: mean, standard deviation, least and largest; NaN where there are too few.

    Splits share images, so the deviation says how much a split matters; it is no standard error of the mean.
    """

    count: int
    mean: float
    deviation: float
    least: float
    largest: float

    @classmethod
    def of(cls, numbers: Iterable[float]) -> Moments:
        """Of those that are finite."""
        kept = np.array([value for value in numbers if math.isfinite(value)])
        if not len(kept):
            return cls(0, math.nan, math.nan, math.nan, math.nan)
        deviation = float(kept.std(ddof=1)) if len(kept) > 1 else math.nan
        return cls(len(kept), float(kept.mean()), deviation, float(kept.min()), float(kept.max()))

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "count": self.count,
            **number("mean", self.mean),
            **number("deviation", self.deviation),
            **number("least", self.least),
            **number("largest", self.largest),
        }


@dataclass(frozen=True)
class HeldAverage:
    """The average of one column on the images that did not choose.

    `priced`: by prices of the other images; `solved`: these images solved directly; `single`: the best single point of
    the other images. `there` is the same rule on the images that its prices are from.
    """

    priced: Moments
    solved: Moments
    single: Moments
    there: Moments

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {name: getattr(self, name).to_dict() for name in ("priced", "solved", "single", "there")}


@dataclass(frozen=True)
class HeldBudget:
    """One constraint on the images that did not choose.

    `price` over the splits. `excess` is by how much the priced choice passes the budget (negative: room left), in
    `violated` of the splits; `single_excess` and `single_violated` are those of the best single point.
    """

    name: str
    column: str
    sense: Sense
    budget: float
    price: Moments
    excess: Moments
    violated: int
    single_excess: Moments
    single_violated: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "column": self.column,
            "sense": self.sense,
            **number("budget", self.budget),
            "price": self.price.to_dict(),
            "excess": self.excess.to_dict(),
            "violated": self.violated,
            "single_excess": self.single_excess.to_dict(),
            "single_violated": self.single_violated,
        }


@dataclass(frozen=True, eq=False)
class Holdout:
    """What `holdout` returns. Moments are over the splits in which there is such a number; `notes` count the others.

    `regret` is by how much prices of other images are worse than solving these directly, in units of the objective,
    violations charged at the prices of the direct solution: the price of not knowing. `regret_part` is it as a part of
    the objective of the direct solution. `images` are (how many choose, how many are reported on).
    """

    objective_column: str
    averages: Mapping[str, HeldAverage]
    budgets: tuple[HeldBudget, ...]
    regret: Moments
    regret_part: Moments
    images: tuple[int, int]
    fraction: float
    seed: int
    repeats: int
    gap: float
    splits: tuple[Split, ...]
    notes: tuple[str, ...]

    @property
    def objective(self) -> HeldAverage:
        """Of the average that is optimised."""
        return self.averages[self.objective_column]

    def to_dict(self) -> dict[str, Any]:
        """As JSON, without NaN or Infinity literals, and without the single splits."""
        return {
            "objective": self.objective_column,
            "fraction": self.fraction,
            "images": list(self.images),
            "seed": self.seed,
            "repeats": self.repeats,
            "splits": len(self.splits),
            **number("gap", self.gap),
            "averages": {name: average.to_dict() for name, average in self.averages.items()},
            "budgets": [budget.to_dict() for budget in self.budgets],
            "regret": self.regret.to_dict(),
            "regret_part": self.regret_part.to_dict(),
            "notes": list(self.notes),
        }


def holdout(
    of: Problem | Selection,
    *,
    fraction: float = 0.5,
    seed: int = 0,
    repeats: int = 20,
    gap: float = 1e-6,
    progress: Progress | None = None,
) -> Holdout:
    """Choose prices on a `fraction` of the images and apply them to the others, over random splits in both directions.

    `of` is a problem, or a selection, whose problem it is then.

    Each repeat draws one order of the images; first those at its front choose, then those at its end (for one half:
    the two halves change places). Prices carry over to images that were not solved for, and selections do not: see
    `rdp.selection.sampling.splits`. Every part is solved to the relative `gap`.

    Raises `SpecError` for options out of range and for a single image, and `InfeasibleError` when an image has no
    point left to choose.
    """
    problem = of.problem if isinstance(of, Selection) else of
    if not isinstance(problem, Problem):
        raise SpecError(f"holdout needs a problem or a selection, not a {type(problem).__name__}")
    refuse_sets(problem, "a holdout")
    require_count("repeats", repeats, 1)
    require_count("the seed", seed, 0)
    if isinstance(fraction, bool) or not isinstance(fraction, (int, float)) or not 0 < fraction < 1:
        raise SpecError(f"the fraction of images must be a number between 0 and 1, such as 0.5, not {fraction!r}")
    count = len(problem.images)
    if count < 2:
        raise SpecError("one image cannot be split: prices are chosen on some images and reported on others")
    empty = images_without_point(problem)
    if empty:
        raise InfeasibleError(explain_images(problem, empty))
    size = min(max(math.floor(fraction * count), 1), count - 1)
    report = progress or Silent()
    report.start("holdout", 2 * repeats, "split")
    splits: list[Split] = []
    for repeat in range(repeats):
        order = np.random.default_rng([seed, repeat]).permutation(count).astype(np.int64)
        solve = _remembering(problem, gap)
        for chosen in (order[:size], order[count - size :]):
            others = np.setdiff1d(np.arange(count), chosen)
            splits.append(split_by(problem, np.sort(chosen), others, solve))
            report.advance()
    report.finish()
    return summarise(problem, tuple(splits), fraction=float(fraction), seed=seed, repeats=repeats, gap=gap)


def _remembering(problem: Problem, gap: float) -> Callable[[IntArray], Selection]:
    """Solves parts of a problem, the same part once: halves are asked for twice, as they change places."""
    known: dict[bytes, Selection] = {}

    def solve(images: IntArray) -> Selection:
        key = images.tobytes()
        if key not in known:
            known[key] = solve_part(take(problem, images), gap)
        return known[key]

    return solve


def summarise(
    problem: Problem, splits: tuple[Split, ...], *, fraction: float, seed: int, repeats: int, gap: float
) -> Holdout:
    """The means and spreads over splits of one problem."""
    column = problem.objective.column
    parts = [
        split.regret / abs(split.solved.averages[column])
        for split in splits
        if split.solved is not None and split.solved.averages[column] != 0
    ]
    return Holdout(
        objective_column=column,
        averages={name: _average(name, splits) for name in problem.terms},
        budgets=tuple(_budget(k, constraint, splits) for k, constraint in enumerate(problem.constraints)),
        regret=Moments.of(split.regret for split in splits),
        regret_part=Moments.of(parts),
        images=(len(splits[0].chosen_on), len(splits[0].reported_on)),
        fraction=fraction,
        seed=seed,
        repeats=repeats,
        gap=gap,
        splits=splits,
        notes=_notes(problem, splits),
    )


def _average(column: str, splits: tuple[Split, ...]) -> HeldAverage:
    def moments(outcomes: Iterable[Outcome | None]) -> Moments:
        return Moments.of(one.averages.get(column, math.nan) for one in outcomes if one is not None)

    return HeldAverage(
        priced=moments(split.priced for split in splits),
        solved=moments(split.solved for split in splits),
        single=moments(split.single for split in splits),
        there=moments(split.there for split in splits),
    )


def _budget(k: int, constraint: Constraint, splits: tuple[Split, ...]) -> HeldBudget:
    priced = [split.priced.excess[k] for split in splits if split.priced is not None]
    single = [split.single.excess[k] for split in splits if split.single is not None]
    return HeldBudget(
        name=constraint.name,
        column=constraint.term.column,
        sense=constraint.sense,
        budget=constraint.budget,
        price=Moments.of(split.prices[k] for split in splits if split.prices is not None),
        excess=Moments.of(priced),
        violated=sum(over > 0 for over in priced),
        single_excess=Moments.of(single),
        single_violated=sum(over > 0 for over in single),
    )


def _notes(problem: Problem, splits: tuple[Split, ...]) -> tuple[str, ...]:
    """What some splits do not have, in words."""
    whole = counted(len(splits), "split")
    reasons = [split.reason for split in splits if split.reason]
    notes = [f"{reasons.count(reason)} of {whole}: {reason}, so there is no rule" for reason in dict.fromkeys(reasons)]
    unsolved = sum(split.solved is None for split in splits)
    if unsolved:
        notes.append(f"{unsolved} of {whole}: the images reported on have no selection within the budgets")
    single = sum(split.single is None for split in splits)
    if single:
        notes.append(f"{single} of {whole}: no single point that the images that choose and the others may all take")
    unknown = sum(
        split.solved is not None and split.priced is not None and math.isnan(split.regret) for split in splits
    )
    if unknown:
        notes.append(f"{unknown} of {whole}: the prices of the direct solution are not known, so neither is the regret")
    if problem.max_points is not None:
        notes.append("the rule takes only points of the selection that its prices are from, as few as asked for")
    return tuple(notes)
