"""The rule by which a training towards a target rate goes on: from what was measured so far to the next step.

Source: Guerin et al., "Training heuristics for rate-constrained learning-based image compression"
(002_5041f81c7ba61cea), section III-B and figure 2: where the mean rate is off, the target R_t of the loss is shifted;
where rates lie too far apart, beta grows. Nothing here knows of networks, and a step follows from the rounds alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, pstdev
from typing import Literal

from rdp.errors import RdpError, SpecError

Stage = Literal["round", "final", "correction"]

CENTRED = 0.4
"""A mean is centred when its distance from the target is at most so much of the tolerance."""
SPREAD_EXPONENT = 2.0
"""Beta grows with this power of how much too wide the spread is: in Table I of the paper ten times the beta narrows it
about 2.5 times."""
_DAMPING = 0.8
_DAMPING_BESIDE_BETA = 0.5
_FOLLOWS = 0.2
_NUDGE = 1.5
_SLACK = 2.0


class RateTargetError(RdpError):
    """A target rate that was not reached; `bound` is the option whose bound is hit."""

    def __init__(self, message: str, bound: str) -> None:
        super().__init__(message)
        self.bound = bound


@dataclass(frozen=True)
class RateGoal:
    """What is wanted, and how far the knobs may be turned.

    `bpp`: target rate of files (bit/pixel). `tolerance`: largest distance of an image's rate from it, as a share of it;
    `share`: of the images that must lie so near. `beta`: to begin with, afterwards within `beta_bounds`.
    `target_bounds`: of R_t, as factors of `bpp`. `largest_shift` and `largest_growth`: factors by which R_t and beta
    change at most from one round to the next. `rounds`: largest number of them; `corrections`: of short trainings after
    the final one, where that left the tolerance.
    """

    bpp: float
    tolerance: float = 0.15
    share: float = 0.9
    beta: float = 1e3
    beta_bounds: tuple[float, float] = (1.0, 1e6)
    target_bounds: tuple[float, float] = (0.25, 4.0)
    largest_shift: float = 2.0
    largest_growth: float = 10.0
    rounds: int = 10
    corrections: int = 2

    def __post_init__(self) -> None:
        """Raises `SpecError` for numbers out of range, by the names of the options."""
        _require(0 < self.bpp < math.inf, f"--bpp {self.bpp:g}: a target rate is above 0 bit/pixel")
        _require(0 < self.tolerance < 1, f"--tolerance {self.tolerance:g}: give a share of the target, as in 0.15")
        _require(0 < self.share <= 1, f"--share {self.share:g}: give a share of the images, above 0, at most 1")
        low, high = self.beta_bounds
        _require(0 < low < high < math.inf, f"the bounds of beta, {low:g} and {high:g}, must be above 0 and rise")
        _require(low <= self.beta <= high, f"--beta {self.beta:g} is not within its bounds, {low:g} to {high:g}")
        low, high = self.target_bounds
        _require(0 < low < 1 < high < math.inf, f"the bounds of R_t, {low:g} and {high:g}, must lie on both sides of 1")
        _require(1 < self.largest_shift < math.inf, f"the largest shift of R_t, {self.largest_shift:g}, is above 1")
        _require(1 < self.largest_growth < math.inf, f"the largest growth of beta, {self.largest_growth:g}, is above 1")
        _require(self.rounds >= 1, f"--rounds {self.rounds}: give 1 or more")
        _require(self.corrections >= 0, f"{self.corrections} corrections cannot be made: give 0 or more")

    @property
    def lowest_target(self) -> float:
        """Of R_t, bit/pixel."""
        return self.bpp * self.target_bounds[0]

    @property
    def highest_target(self) -> float:
        """Of R_t, bit/pixel."""
        return self.bpp * self.target_bounds[1]

    @property
    def widest_spread(self) -> float:
        """Standard deviation over the mean at which `share` of centred normal rates lie within the tolerance."""
        return self.tolerance / NormalDist().inv_cdf(0.5 + 0.5 * min(self.share, 0.999))

    def within(self, rates: Sequence[float]) -> float:
        """The share of rates (bit/pixel, not empty) that lie within the tolerance of the target."""
        return fmean(abs(rate - self.bpp) <= self.tolerance * self.bpp for rate in rates)


@dataclass(frozen=True)
class Round:
    """One training and what its files measured.

    `number`: 1, 2, ... in order. `target` and `beta`: of its loss (R_t in bit/pixel). `rates`: bit/pixel of every
    validation image's file. `within`: share of them within the tolerance. `psnr`: mean over images, dB, None where a
    reconstruction is exact. `weights`: file, relative to the folder of the training.
    """

    number: int
    stage: Stage
    target: float
    beta: float
    rates: tuple[float, ...]
    within: float
    psnr: float | None = None
    weights: str = ""

    @property
    def mean_bpp(self) -> float:
        """Mean over the images."""
        return fmean(self.rates)

    @property
    def std_bpp(self) -> float:
        """Standard deviation over the images (of these, not of a population that they are drawn from)."""
        return pstdev(self.rates)

    @property
    def lowest(self) -> float:
        """The smallest rate."""
        return min(self.rates)

    @property
    def highest(self) -> float:
        """The largest rate."""
        return max(self.rates)


@dataclass(frozen=True)
class Step:
    """What comes next: a training of a `stage` with R_t and beta."""

    stage: Stage
    target: float
    beta: float


def next_step(done: Sequence[Round], goal: RateGoal) -> Step | None:
    """What follows the rounds so far; None where nothing does.

    Rounds until enough images lie within the tolerance; then the final training with the same R_t and beta; then, where
    that one left the tolerance, corrections as long as there are any. Raises `RateTargetError` where a bound is hit.
    """
    if not done:
        return Step("round", goal.bpp, goal.beta)
    last = done[-1]
    reached = last.within >= goal.share
    if last.stage == "round" and reached:
        return Step("final", last.target, last.beta)
    if last.stage == "round":
        step = Step("round", *_turned(done, goal))
        if last.number >= goal.rounds:
            raise RateTargetError(_out_of_rounds(last, goal), "rounds")
        return step
    left = goal.corrections - sum(one.stage == "correction" for one in done)
    if reached or left < 1:
        return None
    try:
        return Step("correction", *_turned([last], goal))
    except RateTargetError:
        return None


def _turned(done: Sequence[Round], goal: RateGoal) -> tuple[float, float]:
    """R_t and beta after the last of `done`, which was not enough. Raises `RateTargetError` where neither can move."""
    last = done[-1]
    bias = goal.bpp / last.mean_bpp
    growth = _growth(last, goal)
    off = abs(last.mean_bpp / goal.bpp - 1) > goal.tolerance
    if off and (_at_bound(last, bias, goal) or _lags(done)):
        # R_t cannot pull the mean any further: beta says how strongly it pulls.
        growth = goal.largest_growth
    # More beta draws the mean towards R_t by itself, so that less of the way is left for the shift.
    damping = _DAMPING_BESIDE_BETA if growth > 1 else _DAMPING
    shift = min(max(math.exp(damping * math.log(bias)), 1 / goal.largest_shift), goal.largest_shift)
    target = min(max(_short(last.target * shift, 4), goal.lowest_target), goal.highest_target)
    beta = min(max(_short(last.beta * growth, 3), goal.beta_bounds[0]), goal.beta_bounds[1])
    stuck = math.isclose(target, last.target, rel_tol=1e-9)
    if growth > 1 and beta <= last.beta * (1 + 1e-9):
        if off and stuck:
            raise RateTargetError(*_unreachable(last, bias, goal))
        if off and _lags(done):
            raise RateTargetError(*_does_not_follow(done, goal))
        if not off:
            raise RateTargetError(*_too_wide(last, goal))
    return target, beta


def _short(value: float, digits: int) -> float:
    """With so many significant digits: what a log says is then what was trained with."""
    return float(f"{value:.{digits}g}")


def _growth(last: Round, goal: RateGoal) -> float:
    """The factor of beta that the spread asks for."""
    spread = last.std_bpp / last.mean_bpp / goal.widest_spread
    if spread > 1:
        return min(max(math.pow(spread, SPREAD_EXPONENT), _NUDGE), goal.largest_growth)
    if abs(last.mean_bpp / goal.bpp - 1) <= CENTRED * goal.tolerance:
        # Centred and narrow, and still too few: rates are not normal, and the tails must come nearer.
        return min(_NUDGE, goal.largest_growth)
    return 1 / _SLACK if spread * _SLACK < 1 else 1.0


def _at_bound(last: Round, bias: float, goal: RateGoal) -> bool:
    """Whether R_t is already as high, or as low, as it may be where the mean needs more of it."""
    at = goal.highest_target if bias > 1 else goal.lowest_target
    return math.isclose(last.target, at, rel_tol=1e-9)


def _lags(done: Sequence[Round]) -> bool:
    """Whether the mean took a small part only of the last step of R_t, or none, while beta stayed."""
    if len(done) < 2 or not math.isclose(done[-2].beta, done[-1].beta, rel_tol=1e-9):
        return False
    before, last = done[-2:]
    asked = math.log(last.target / before.target)
    got = math.log(last.mean_bpp / before.mean_bpp)
    return abs(asked) > math.log(1.05) and got * math.copysign(1, asked) < _FOLLOWS * abs(asked)


def _measured(last: Round, goal: RateGoal) -> str:
    return (
        f"round {last.number} (R_t {last.target:.4g}, beta {last.beta:.4g}) gave {last.mean_bpp:.4g} bit/pixel on "
        f"average, {last.lowest:.4g} to {last.highest:.4g}, and {last.within:.0%} of the images within "
        f"{goal.tolerance:.0%} of {goal.bpp:g} where {goal.share:.0%} are wanted"
    )


def _unreachable(last: Round, bias: float, goal: RateGoal) -> tuple[str, str]:
    if bias > 1:
        where, advice = "R_t is at its highest", "a network with more channels, weights trained at a higher rate"
    else:
        where, advice = "R_t is at its lowest", "a network whose hyper-latent costs less, weights of a lower rate"
    return (
        f"the target of {goal.bpp:g} bit/pixel cannot be reached with this network: {where} ({last.target:.4g} "
        f"bit/pixel) and beta at its largest ({last.beta:.4g}), and {_measured(last, goal)}. Use {advice} "
        "(--initial), more steps a round (--steps), or another --bpp"
    ), "target"


def _does_not_follow(done: Sequence[Round], goal: RateGoal) -> tuple[str, str]:
    before, last = done[-2:]
    return (
        f"the target of {goal.bpp:g} bit/pixel cannot be reached: R_t went from {before.target:.4g} to "
        f"{last.target:.4g} and the mean rate from {before.mean_bpp:.4g} to {last.mean_bpp:.4g}, with beta at its "
        f"largest; {_measured(last, goal)}. Use more steps a round (--steps), weights trained nearer to that rate "
        "(--initial), or another --bpp"
    ), "follow"


def _too_wide(last: Round, goal: RateGoal) -> tuple[str, str]:
    return (
        f"rates do not come near enough to {goal.bpp:g} bit/pixel: beta is at its largest ({last.beta:.4g}), and "
        f"{_measured(last, goal)}. Use more steps a round (--steps), a wider --tolerance or a smaller --share"
    ), "beta"


def _out_of_rounds(last: Round, goal: RateGoal) -> str:
    rounds = "1 round" if goal.rounds == 1 else f"{goal.rounds} rounds"
    edges = []
    if math.isclose(last.target, goal.highest_target):
        edges.append("R_t is at its highest")
    if math.isclose(last.target, goal.lowest_target):
        edges.append("R_t is at its lowest")
    if math.isclose(last.beta, goal.beta_bounds[1]):
        edges.append("beta is at its largest")
    beside = f" ({', '.join(edges)})" if edges else ""
    return (
        f"the target was not reached in --rounds {goal.rounds}: after {rounds}{beside}, "
        f"{_measured(last, goal)}. Go on with --resume and more --rounds, or begin with more steps a round (--steps)"
        " or weights trained nearer to that rate (--initial)"
    )


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise SpecError(message)
