"""The rule of the rate-target loop: on plants whose answer to R_t and beta is known, and where it must give up."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdp.errors import EXIT_INPUT, SpecError
from rdp.training.rate_target_rule import RateGoal, RateTargetError, Round, Step, next_step

NORMAL = [NormalDist().inv_cdf((k + 0.5) / 24) for k in range(24)]


@dataclass
class Plant:
    """Rates of 24 images as a training with R_t and beta would give them.

    Distortion pulls the rate above R_t by `pull` R_t^2 / beta (where the derivatives of both terms of the loss are
    equal); real files have `gain` times the rate of the loss, between `low` and `high`; the spread falls with a power
    of beta; a round goes the share `speed` of the way from where the one before ended.
    """

    gain: float = 0.85
    pull: float = 100.0
    spread: float = 0.4
    power: float = 0.4
    low: float = 0.0
    high: float = math.inf
    speed: float = 1.0
    now: float = 0.25

    def rates(self, target: float, beta: float) -> tuple[float, ...]:
        mean = min(max(self.gain * (target + self.pull * target**2 / beta), self.low), self.high)
        self.now = math.exp((1 - self.speed) * math.log(self.now) + self.speed * math.log(mean))
        spread = min(self.spread * (beta / 100) ** -self.power, 0.7)
        return tuple(self.now * math.exp(spread * z) for z in NORMAL)


def run(plant: Plant, goal: RateGoal) -> list[Round]:
    done: list[Round] = []
    while (step := next_step(done, goal)) is not None:
        rates = plant.rates(step.target, step.beta)
        done.append(Round(len(done) + 1, step.stage, step.target, step.beta, rates, goal.within(rates)))
    return done


@settings(max_examples=300, deadline=None)
@given(
    gain=st.floats(0.6, 1.3), pull=st.floats(0, 1500), spread=st.floats(0.1, 0.7), power=st.floats(0.25, 0.6),
    speed=st.floats(0.5, 1), now=st.floats(0.2, 0.4), beta=st.sampled_from([1.0, 1e2, 1e3, 1e4]),
)  # fmt: skip
def test_networks_of_many_kinds_reach_the_target_within_the_rounds(
    gain: float, pull: float, spread: float, power: float, speed: float, now: float, beta: float
) -> None:
    goal = RateGoal(0.25, beta=beta, rounds=16)
    done = run(Plant(gain, pull, spread, power, speed=speed, now=now), goal)
    before = [one for one in done if one.stage == "round"]
    assert before[-1].within >= goal.share
    assert all(one.within < goal.share for one in before[:-1])
    assert done[len(before)].stage == "final"


@given(
    st.lists(st.floats(0.001, 30), min_size=1, max_size=30), st.floats(0.0625, 1), st.floats(1, 1e6),
    st.sampled_from([0.1, 0.15, 0.5]),
)  # fmt: skip
def test_every_step_stays_within_its_bounds(rates: list[float], target: float, beta: float, tolerance: float) -> None:
    goal = RateGoal(0.25, tolerance=tolerance)
    last = Round(1, "round", target, beta, tuple(rates), goal.within(rates))
    try:
        step = next_step([last], goal)
    except RateTargetError as error:
        assert error.bound in ("target", "follow", "beta")
        return
    assert step is not None
    if step.stage == "final":
        assert last.within >= goal.share
        assert (step.target, step.beta) == (target, beta)
        return
    assert goal.lowest_target <= step.target <= goal.highest_target
    assert goal.beta_bounds[0] <= step.beta <= goal.beta_bounds[1]
    assert 1 / goal.largest_shift <= step.target / target * (1 + 1e-3) <= goal.largest_shift * (1 + 2e-3)
    assert step.beta <= beta * goal.largest_growth * 1.01
    if last.mean_bpp > goal.bpp:
        assert step.target <= target * (1 + 1e-3)
    else:
        assert step.target >= target * (1 - 1e-3)


def measured(goal: RateGoal, stage: str, rates: tuple[float, ...], **changes: float) -> Round:
    one = Round(1, stage, goal.bpp, goal.beta, rates, goal.within(rates))  # type: ignore[arg-type]
    return replace(one, **changes)  # type: ignore[arg-type]


def test_the_first_round_aims_at_the_target_itself() -> None:
    assert next_step([], RateGoal(0.5, beta=200)) == Step("round", 0.5, 200)


def test_too_low_a_mean_raises_the_target_of_the_loss() -> None:
    """The example of the paper: 0.2 where 0.25 is wanted."""
    goal = RateGoal(0.25)
    step = next_step([measured(goal, "round", (0.19, 0.2, 0.2, 0.21))], goal)
    assert step is not None
    assert 0.27 < step.target <= 0.3125
    assert step.beta <= goal.beta


def test_too_wide_a_spread_raises_beta_and_leaves_a_mean_that_is_right() -> None:
    goal = RateGoal(0.25)
    step = next_step([measured(goal, "round", (0.1, 0.15, 0.25, 0.35, 0.4))], goal)
    assert step is not None
    assert step.beta > goal.beta
    assert step.target == pytest.approx(0.25, rel=1e-3)


def test_a_spread_far_below_what_is_asked_lowers_beta() -> None:
    goal = RateGoal(0.25)
    step = next_step([measured(goal, "round", (0.199, 0.2, 0.2, 0.201))], goal)
    assert step is not None
    assert step.beta < goal.beta


@pytest.mark.parametrize(
    ("plant", "goal", "bound", "words"),
    [
        (Plant(high=3.0), RateGoal(20.0, rounds=30), "target", "R_t is at its highest"),
        (Plant(low=0.02), RateGoal(0.004, rounds=30), "target", "R_t is at its lowest"),
        (Plant(spread=0.7, power=0.02), RateGoal(0.25, rounds=30), "beta", "beta is at its largest"),
        (Plant(speed=0.05, now=4.0), RateGoal(0.25, rounds=3), "rounds", "--rounds 3"),
    ],
)
def test_what_cannot_be_reached_names_the_bound(plant: Plant, goal: RateGoal, bound: str, words: str) -> None:
    with pytest.raises(RateTargetError) as caught:
        run(plant, goal)
    assert caught.value.bound == bound
    assert caught.value.exit_code == EXIT_INPUT
    assert words in str(caught.value)
    assert "bit/pixel on average" in str(caught.value)


def test_a_rate_that_does_not_follow_is_told_apart() -> None:
    goal = RateGoal(0.25, beta=1e6, target_bounds=(0.01, 100))
    with pytest.raises(RateTargetError, match="R_t went from 0.25 to 0.4987") as caught:
        run(Plant(high=0.05, spread=30.0), goal)
    assert caught.value.bound == "follow"


def test_a_final_training_that_left_the_tolerance_is_corrected_so_often_and_no_more() -> None:
    goal = RateGoal(0.25, corrections=2)
    good = measured(goal, "round", (0.25,) * 4)
    off = measured(goal, "final", (0.2,) * 4)
    step = next_step([good, off], goal)
    assert step is not None
    assert step.stage == "correction"
    assert step.target > off.target
    again = replace(off, stage="correction")
    assert next_step([good, off, again], goal) is not None
    assert next_step([good, off, again, again], goal) is None
    assert next_step([good, replace(good, stage="final")], goal) is None


def test_more_rounds_go_on_where_fewer_ended() -> None:
    goal = RateGoal(0.25, rounds=1)
    done = [measured(goal, "round", (0.1,) * 4)]
    with pytest.raises(RateTargetError, match="--resume and more --rounds"):
        next_step(done, goal)
    assert next_step(done, replace(goal, rounds=2)) is not None


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"bpp": 0}, "--bpp"), ({"bpp": math.nan}, "--bpp"), ({"tolerance": 15}, "--tolerance"),
        ({"share": 0}, "--share"), ({"beta": 0}, "--beta"), ({"beta": 1e9}, "--beta"), ({"rounds": 0}, "--rounds"),
        ({"target_bounds": (1.5, 2)}, "R_t"), ({"largest_shift": 1}, "shift"), ({"corrections": -1}, "corrections"),
    ],
)  # fmt: skip
def test_options_out_of_range_are_named(changes: dict[str, float], word: str) -> None:
    with pytest.raises(SpecError, match=word):
        RateGoal(**{"bpp": 0.25, **changes})  # type: ignore[arg-type]
