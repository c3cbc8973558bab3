"""Two selections over the same images: is the difference of an average more than chance?

Differences are taken image by image, so that what makes an image hard counts on both sides alike. Three things are said
of them: an interval for the mean difference (bootstrap over images, BCa and percentile), the sign-flip permutation test
(Fisher 1935: if neither selection were better, each image's difference could as well have the other sign), and beside
it the Wilcoxon signed-rank test (Wilcoxon 1945), which looks at ranks and is swayed less by a few large differences.

Each test is of one column alone. Two selections under different budgets differ in several columns at once, so look at
all of them (`compare`); and p-values of many columns are not corrected for their number. The choices of a selection
hang together through its budgets: the tests are about the choices as they are. How the answer would move if both were
solved again on other images is what `rdp.selection.sampling.bootstrap` says.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rdp.errors import SpecError, TableError, suggest
from rdp.selection.problem import FloatArray, IntArray, image_labels, weighted_mean
from rdp.selection.result import Selection
from rdp.selection.sampling.intervals import require_confidence, require_count
from rdp.selection.sampling.paired_result import Better, Comparison, Direction, PairedTest
from rdp.selection.sampling.paired_statistics import mean_interval, sign_flip, signed_rank
from rdp.selection.words import counted

SAME = 1e-12
"""Values that differ by no more than this part of the larger are equal."""
SHOWN = 5
"""Images that are named one by one."""


def paired_test(
    a: Selection,
    b: Selection,
    column: str | None = None,
    resamples: int = 10_000,
    seed: int = 0,
    confidence: float = 0.95,
    names: tuple[str, str] = ("a", "b"),
) -> PairedTest:
    """Test whether the average of a column differs between two selections over the same images.

    `column` is what both optimise, unless another is given. `resamples` are those of the interval and of the sign
    flips; with up to 16 images that differ all flips are tried, and otherwise the p-value counts the observed one among
    the drawn ones, (c + 1) / (resamples + 1), so that it is never 0 (Phipson and Smyth 2010). `names` are what messages
    call the selections.

    Raises `TableError` when the images are not the same ones (matched by dataset and name), and `SpecError` for a
    column that one does not have, that the two average differently, or that is not finite on an image.
    """
    _check_options(resamples, seed, confidence)
    order = _matched(a, b, names)
    pair = _paired(a, b, order, _common_objective(a, b, names) if column is None else column, names)
    if isinstance(pair, str):
        raise SpecError(pair)
    return _tested(pair, names, resamples, seed, confidence)


def compare(
    a: Selection,
    b: Selection,
    column: str | None = None,
    resamples: int = 10_000,
    seed: int = 0,
    confidence: float = 0.95,
    names: tuple[str, str] = ("a", "b"),
) -> Comparison:
    """`paired_test` of every column that both selections have; the sentences are about `column` or the objectives.

    A column that cannot be compared is left out with the reason, unless it is `column`: then, and for what
    `paired_test` refuses otherwise, this raises as that does.
    """
    _check_options(resamples, seed, confidence)
    order = _matched(a, b, names)
    shared = [name for name in a.problem.terms if name in b.problem.terms]
    tests: dict[str, PairedTest] = {}
    left_out: dict[str, str] = {}
    for name in shared if column is None else dict.fromkeys((column, *shared)):
        pair = _paired(a, b, order, name, names)
        if not isinstance(pair, str):
            tests[name] = _tested(pair, names, resamples, seed, confidence)
        elif name == column:
            raise SpecError(pair)
        else:
            left_out[name] = pair
    if not tests:
        reason = next(iter(left_out.values()), f"they have no column in common; {names[0]} has {', '.join(a.averages)}")
        raise SpecError(f"{names[0]} and {names[1]} cannot be compared: {reason}")
    optimised = dict.fromkeys((a.problem.objective.column, b.problem.objective.column))
    wanted = tuple(name for name in (optimised if column is None else (column,)) if name in tests)
    return Comparison(names, tests, wanted, left_out)


def _check_options(resamples: int, seed: int, confidence: float) -> None:
    require_count("resamples", resamples, 2)
    require_count("the seed", seed, 0)
    require_confidence(confidence)


@dataclass(frozen=True, eq=False)
class _Pair:
    """Values (N,) of a column at the choices of both selections, in the images' order of a, and their weights."""

    column: str
    a: FloatArray
    b: FloatArray
    weights: FloatArray
    direction: Direction | None


def _matched(a: Selection, b: Selection, names: tuple[str, str]) -> IntArray:
    """Where the images (N,) of a are among those of b; raises `TableError` when they are not the same ones."""
    for selection, name in zip((a, b), names, strict=True):
        if not selection.found:
            raise TableError(f"{name} holds no selection to compare: it is {selection.status}. {selection.explanation}")
    keys_a, keys_b = (list(zip(s.problem.datasets, s.problem.images, strict=True)) for s in (a, b))
    place = {key: k for k, key in enumerate(keys_b)}
    missing = [key for key in keys_a if key not in place]
    known = set(keys_a)
    extra = [key for key in keys_b if key not in known]
    if missing or extra:
        told = []
        for keys, name in ((missing, names[0]), (extra, names[1])):
            if keys:
                shown = ", ".join(repr(f"{dataset}/{image}" if dataset else image) for dataset, image in keys[:SHOWN])
                more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
                told.append(f"only {name} has {counted(len(keys), 'image')}: {shown}{more}")
        raise TableError(
            f"{names[0]} and {names[1]} are not over the same images, and are compared image by image: "
            f"{'; '.join(told)}"
        )
    return np.array([place[key] for key in keys_a], dtype=np.int64)


def _common_objective(a: Selection, b: Selection, names: tuple[str, str]) -> str:
    one, other = a.problem.objective.column, b.problem.objective.column
    if one != other:
        raise SpecError(f"{names[0]} optimises {one} and {names[1]} {other}: name the column to compare")
    return one


def _paired(a: Selection, b: Selection, order: IntArray, column: str, names: tuple[str, str]) -> _Pair | str:
    """The values of a column, or why they cannot be compared."""
    terms = a.problem.terms, b.problem.terms
    for known, name in zip(terms, names, strict=True):
        if column not in known:
            return f"{name} has no column {column!r}.{suggest(column, tuple(known))} It has {', '.join(known)}"
    one, other = terms[0][column], terms[1][column]
    if one.weighting != other.weighting:
        return (
            f"{column} is averaged over {one.weighting} in {names[0]} and over {other.weighting} in {names[1]}: "
            f"solve both with the same --weights {column}=images or {column}=pixels"
        )
    if not np.allclose(one.weights, other.weights[order], rtol=SAME, atol=0):
        return f"the weights of {column} are not the same in {names[0]} and {names[1]}: their images have other sizes"
    if np.isnan(one.values).all() or np.isnan(other.values).all():
        return f"no image has a value of {column}: it is of all images together, or a column without numbers"
    values = one.picked(a.required_choice), other.picked(b.required_choice)[order]
    for numbers, name in zip(values, names, strict=True):
        wrong = np.flatnonzero(~np.isfinite(numbers))
        if len(wrong):
            image = image_labels(a.problem.datasets, a.problem.images)[wrong[0]]
            return f"{column} of {image!r} is {numbers[wrong[0]]:g} at the point that {name} chooses"
    return _Pair(column, values[0], values[1], one.weights, _direction(a, b, column))


def _direction(a: Selection, b: Selection, column: str) -> Direction | None:
    """Which way is better: what a selection optimises says so, then what the column is."""
    for selection in (a, b):
        if selection.problem.objective.column == column:
            return "lower" if selection.problem.goal == "minimize" else "higher"
    return a.problem.describe(column).direction or b.problem.describe(column).direction


def _tested(pair: _Pair, names: tuple[str, str], resamples: int, seed: int, confidence: float) -> PairedTest:
    equal = np.abs(pair.a - pair.b) <= SAME * np.maximum(np.abs(pair.a), np.abs(pair.b))
    differences = np.where(equal, 0.0, pair.a - pair.b)
    difference = weighted_mean(differences, pair.weights)
    interval, kind = mean_interval(differences, pair.weights, resamples, seed, confidence)
    p_value, exact = sign_flip(differences, pair.weights, resamples, seed)
    better = differences > 0 if pair.direction == "higher" else differences < 0
    return PairedTest(
        column=pair.column,
        names=names,
        average_a=weighted_mean(pair.a, pair.weights),
        average_b=weighted_mean(pair.b, pair.weights),
        difference=difference,
        interval=interval,
        interval_kind=kind,
        p_value=p_value,
        exact=exact,
        wilcoxon=signed_rank(differences),
        direction=pair.direction,
        better=_better(difference, pair.direction),
        better_images=int((better & ~equal).sum()),
        worse_images=int((~better & ~equal).sum()),
        equal_images=int(equal.sum()),
        images=len(differences),
        resamples=resamples,
        seed=seed,
        confidence=confidence,
    )


def _better(difference: float, direction: Direction | None) -> Better:
    if difference == 0:
        return "neither"
    if direction is None:
        return "unknown"
    return "a" if (difference < 0) is (direction == "lower") else "b"
