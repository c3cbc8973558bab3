"""Rate and decoder chosen together, image by image, against choosing the rate alone.

At an average rate of at most R and an average LPIPS (the teacher's) of at most L, the mean PSNR is maximised among
- joint: all rates with all decoders; the bits that name the decoder are in the rate;
- rate only: all rates, each with the network's own decoder;
- fixed gamma: all rates with one decoder, the same for all images: of all decoders the one of the best mean PSNR, which
  is chosen with the numbers of these images and costs no bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from knees import resampling
from shared import Floats
from sweep import Kind, Swept

import rdp
from rdp.analysis.bootstrap import bootstrap_images
from rdp.errors import NoSelectionError
from rdp.models.decoder_names import OWN
from rdp.selection.frontiers.point import FrontierPoint
from rdp.selection.sampling.comparison import paired_test

GAP = 1e-5
"""Relative distance from the bound that is good enough for a selection: 0.0003 dB of 30 dB."""
TIME_LIMIT_S = 30.0
"""Of a selection; one that has no proof by then has the status feasible."""
POOLS: dict[str, tuple[Kind, ...]] = {"trained": ("trained",), "trained and mixed": ("trained", "pictures", "weights")}
JOINT, RATE_ONLY, FIXED = "joint", "rate only", "fixed gamma"


@dataclass(frozen=True, eq=False)
class Answers:
    """What the ways of choosing reach at one rate, for each LPIPS budget in order; `decoders` are those of `fixed`.

    `least` is the least LPIPS that the network's own decoders reach at this rate, None where the rate is out of reach.
    `problem` says why there are no budgets at all.
    """

    pool: str
    rate: float
    budgets: tuple[float, ...]
    joint: tuple[FrontierPoint, ...]
    rate_only: tuple[FrontierPoint, ...]
    fixed: tuple[FrontierPoint, ...]
    decoders: tuple[str, ...]
    least: float | None
    problem: str = ""

    def of(self, method: str) -> tuple[FrontierPoint, ...]:
        return {JOINT: self.joint, RATE_ONLY: self.rate_only, FIXED: self.fixed}[method]


def rates_of(swept: Swept) -> list[float]:
    """The average rates to look at: those of the options, or else those of the networks between the outermost ones.

    Of two networks the geometric mean of both rates; of one its own and 1 % more, as the decoders' names need room.
    """
    if swept.options.rates:
        return [float(rate) for rate in swept.options.rates]
    means = sorted(swept.mean(base.own, "bpp") for base in swept.plan.bases)
    if len(means) == 1:
        return [1.01 * means[0]]
    return means[1:-1] or [math.sqrt(means[0] * means[1])]


def solve_all(swept: Swept) -> list[Answers]:
    """All rates, with trained decoders only and, where there are any, with mixed ones."""
    kinds = {point.kind for point in swept.plan.points}
    pools = [pool for pool, wanted in POOLS.items() if pool == "trained" or kinds & set(wanted[1:])]
    return [_answers(swept, pool, rate) for pool in pools for rate in rates_of(swept)]


def _answers(swept: Swept, pool: str, rate: float) -> Answers:
    points = [point for base in swept.plan.bases for point in base.of(*POOLS[pool])]
    every = [point.name for point in points]
    own = [base.own.name for base in swept.plan.bases]
    lowest, highest = _least(swept, rate, every), _best_psnr(swept, rate, own)
    if lowest is None or highest is None:
        why = f"no selection keeps to {rate:.4f} bit/pixel" + (" with bits for the decoders" if highest else "")
        return Answers(pool, rate, (), (), (), (), (), None, why)
    budgets = _budgets(lowest, highest, swept.options.budgets)
    with_one: dict[str, list[str]] = {}
    for point in points:
        with_one.setdefault(point.decoder, []).append(point.name)
    # A decoder that some network lacks is none for all images at all rates.
    by_decoder = {
        name: _frontier(swept, rate, budgets, names) for name, names in with_one.items() if len(names) == len(own)
    }
    best = [_best({name: found[k] for name, found in by_decoder.items()}) for k in range(len(budgets))]
    return Answers(
        pool, rate, budgets, _frontier(swept, rate, budgets, every), by_decoder[OWN],
        tuple(point for _, point in best), tuple(name for name, _ in best), _least(swept, rate, own),
    )  # fmt: skip


def _budgets(lowest: float, highest: float, count: int) -> tuple[float, ...]:
    """From above the least LPIPS that is attainable to that of the best PSNR with the networks' own decoders."""
    if highest <= lowest * (1 + 1e-9):
        return (highest,)
    return tuple(np.linspace(lowest, highest, count + 1)[1:].tolist())


def _least(swept: Swept, rate: float, points: Sequence[str]) -> float | None:
    """The least average LPIPS at a rate; None where no selection keeps to it."""
    found = rdp.solve(
        swept.frame, minimize=swept.teacher, at_most={"bpp": rate}, points=points, gap=GAP, time_limit=TIME_LIMIT_S
    )
    return found.objective if found.found else None


def _best_psnr(swept: Swept, rate: float, points: Sequence[str]) -> float | None:
    """The average LPIPS where the mean PSNR is best at a rate."""
    found = rdp.solve(
        swept.frame, maximize="psnr", at_most={"bpp": rate}, points=points, gap=GAP, time_limit=TIME_LIMIT_S
    )
    return found.averages[swept.teacher] if found.found else None


def _frontier(swept: Swept, rate: float, budgets: Sequence[float], points: Sequence[str]) -> tuple[FrontierPoint, ...]:
    sweep = {swept.teacher: list(budgets)}
    return rdp.frontier(
        swept.frame,
        maximize="psnr",
        sweep=sweep,
        at_most={"bpp": rate},
        points=points,
        gap=GAP,
        time_limit=TIME_LIMIT_S,
    ).points


def _best(points: dict[str, FrontierPoint]) -> tuple[str, FrontierPoint]:
    """The decoder with the best mean PSNR, the first of equal ones; where none has a selection, the first one's."""
    found = {name: point for name, point in points.items() if point.found}
    if not found:
        return "none", next(iter(points.values()))
    name = max(found, key=lambda one: found[one].objective or -math.inf)
    return name, found[name]


# ---- tables


def selections_table(swept: Swept, answers: Sequence[Answers]) -> pd.DataFrame:
    """One line a rate, budget and way of choosing; without a selection the status says it, and averages are empty."""
    rows: list[dict[str, Any]] = []
    for one in answers:
        if one.problem:
            rows.append({"pool": one.pool, "rate_budget": one.rate, "method": JOINT, "status": one.problem})
        for method in (JOINT, RATE_ONLY, FIXED):
            for k, point in enumerate(one.of(method)):
                row = {"pool": one.pool, "rate_budget": one.rate, "lpips_budget": one.budgets[k], "method": method}
                row |= {"status": str(point.status), "decoder": _decoder(one, method, k)}
                rows.append(row | _averages(swept, point))
    return pd.DataFrame(rows)


def _decoder(one: Answers, method: str, k: int) -> str:
    return {JOINT: "by image", RATE_ONLY: OWN, FIXED: one.decoders[k]}[method]


def _averages(swept: Swept, point: FrontierPoint) -> dict[str, Any]:
    if not point.found:
        return {}
    labels = {one.name: one for one in swept.plan.points}
    used = {labels[name].decoder for name, count in point.counts.items() if count}
    names = ["bpp", *swept.metrics]
    averages = {name: point.averages[name] for name in names}
    of_files = point.averages_of_files.get("bpp", averages["bpp"])
    return {"bpp_of_files": of_files, **averages, "decoders_used": len(used), "points_used": len(point.counts)}


def gains_table(swept: Swept, answers: Sequence[Answers]) -> pd.DataFrame:
    """Mean PSNR of the joint selection less that of the others at the same budgets, with paired intervals."""
    rows: list[dict[str, Any]] = []
    for one in answers:
        for k, budget in enumerate(one.budgets):
            joint = one.joint[k]
            row: dict[str, Any] = {"pool": one.pool, "rate_budget": one.rate, "lpips_budget": budget}
            row |= {"joint": str(joint.status), "joint_psnr": math.nan if joint.objective is None else joint.objective}
            if joint.found:
                row |= {"naming_bits": naming_bits(joint)}
            for method, name in ((RATE_ONLY, "rate_only"), (FIXED, "fixed")):
                other = one.of(method)[k]
                row |= {f"{name}_decoder": one.decoders[k]} if method == FIXED else {}
                row |= {name: str(other.status), **_gain(swept, joint, other, name)}
                row |= {"rate_only_needs_bpp": least_rate(swept, budget)} if method == RATE_ONLY else {}
            rows.append(row)
    return pd.DataFrame(rows)


def naming_bits(point: FrontierPoint) -> float:
    """Bits an image that name the decoder, on the average; 0 where none are charged."""
    whole, files = point.averages["nbytes"], point.averages_of_files.get("nbytes")
    return 0.0 if files is None else 8 * (whole - files)


def _gain(swept: Swept, joint: FrontierPoint, other: FrontierPoint, name: str) -> dict[str, Any]:
    """The gain, its interval, the p-value of the sign-flip test, and the same at equal averages; NaN without either."""
    ends = ("gain_db", "low", "high", "p", "equal_db", "equal_low", "equal_high")
    if not (joint.found and other.found):
        return {f"{name}_{end}": math.nan for end in ends}
    if joint.selection is None or other.selection is None:
        raise NoSelectionError("the selections of the frontiers were not kept")
    test = paired_test(joint.selection, other.selection, "psnr", seed=swept.options.seed, names=(JOINT, name))
    equal = gain_at_prices(joint.selection, other.selection, ("bpp", swept.teacher))
    found = bootstrap_images(lambda drawn: float(equal[drawn].mean()), len(equal), **resampling(swept))
    values = (test.difference, test.interval.low, test.interval.high, test.p_value, found.value, found.low, found.high)
    return {f"{name}_{end}": value for end, value in zip(ends, values, strict=True)}


def gain_at_prices(joint: rdp.Selection, other: rdp.Selection, budgets: Sequence[str]) -> Floats:
    """Each image's difference in PSNR (N,), less what the joint selection spends more of the budgets, at its prices.

    Two selections of equal averages give images different rates, and the differences in PSNR are then mostly those of
    the rate; what an image gets more is another image's less, at the price of the budget. NaN where a price is unknown.
    """

    def values(column: str) -> Floats:
        one, two = (selection.problem.terms[column].picked(selection.required_choice) for selection in (joint, other))
        return np.asarray(one - two, np.float64)

    prices = {name: joint.prices[name] for name in budgets}
    spent = sum((math.nan if price is None else price) * values(name) for name, price in prices.items())
    return np.asarray(values("psnr") - spent, np.float64)


def least_rate(swept: Swept, budget: float) -> float:
    """The least average rate at which the networks' own decoders keep to an LPIPS budget; NaN where none does."""
    own = [base.own.name for base in swept.plan.bases]
    found = rdp.solve(
        swept.frame, minimize="bpp", at_most={swept.teacher: budget}, points=own, gap=1e-4, time_limit=TIME_LIMIT_S
    )
    return math.nan if found.objective is None else found.objective
