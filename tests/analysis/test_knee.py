"""Knees against curves whose knee is known, against kneed on raw axes, and what must not move a knee."""

from __future__ import annotations

import itertools
import math
import sys

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from kneed import KneeLocator

from rdp.analysis import (
    KneeError,
    ParetoError,
    chord_knee,
    end_point_sensitivity,
    knee_shares,
    kneedle,
    pareto_subset,
)
from rdp.analysis.bootstrap import resample
from rdp.columns import Direction
from rdp.errors import DependencyError, SpecError

# A perception-distortion curve as in thesis 4.1: PSNR, LPIPS of the decoders mse, 1e-2, 1e-3, 5e-4, 1e-4, 5e-5 and 0.
PSNR = [27.0, 26.95, 26.8, 26.6, 25.9, 25.4, 22.0]
LPIPS = [0.40, 0.36, 0.30, 0.28, 0.265, 0.262, 0.35]

WAYS: list[tuple[Direction, Direction]] = [("higher", "lower"), ("lower", "lower"), ("higher", "higher")]


def arc(angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A quarter of a circle around (1, 1), from (0, 1) to (1, 0): both lower is better, bent towards the origin."""
    return 1 - np.cos(angles), 1 - np.sin(angles)


@st.composite
def fronts(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """PSNR and LPIPS of three to nine points, each better in one and worse in the other than the one before."""
    count = draw(st.integers(3, 9))
    steps = st.lists(st.integers(1, 50), min_size=count, max_size=count)
    return 30 - np.cumsum(draw(steps)) / 64, 0.5 - np.cumsum(draw(steps)) / 1024


def clear(x: np.ndarray, y: np.ndarray) -> None:
    """Leave out curves on which rounding decides which point is farthest, or whether any is."""
    distances = sorted(chord_knee(x, y).distances)
    assume(distances[-1] - distances[-2] > 1e-6 and abs(distances[-1]) > 1e-6)


def test_the_knee_of_a_curve_is_the_one_found_by_hand() -> None:
    """Scaled between (27, 0.40) and (25.4, 0.262): u + v is 0.741, 0.400, 0.380 and 0.709 at the inner points."""
    found = chord_knee(PSNR, LPIPS)
    assert found.knee == 3 and found.tied == ()
    u, v = (27 - 26.6) / (27 - 25.4), (0.28 - 0.262) / (0.40 - 0.262)
    assert found.distance == pytest.approx((1 - u - v) / math.sqrt(2))
    assert found.distances[0] == found.distances[-1] == 0 and found.distances[3] == found.distance


def test_the_distance_is_that_of_a_point_to_a_line() -> None:
    """By the cross product, which knows nothing of costs and orientation."""
    found = chord_knee(PSNR, LPIPS)
    x, y = np.array(PSNR)[:6], np.array(LPIPS)[:6]
    points = np.stack([(x - x.min()) / (x.max() - x.min()), (y - y.min()) / (y.max() - y.min())], axis=1)
    along = points[-1] - points[0]
    away = points - points[0]
    distances = np.abs(along[0] * away[:, 1] - along[1] * away[:, 0]) / np.linalg.norm(along)
    assert found.distances == pytest.approx(distances)


def test_the_knee_of_a_circle_is_at_half_its_arc() -> None:
    x, y = arc(np.linspace(0, np.pi / 2, 9))
    found = chord_knee(x, y, "lower", "lower")
    assert found.knee == 4
    assert found.distance == pytest.approx(1 - 1 / math.sqrt(2))
    assert found.distances == pytest.approx(found.distances[::-1])


def test_of_two_equally_far_points_the_one_with_less_distortion_is_the_knee() -> None:
    x, y = arc(np.linspace(0, np.pi / 2, 8))
    found = chord_knee(x, y, "lower", "lower")
    assert (found.knee, found.tied) == (3, (4,))
    mirrored = chord_knee(y, x, "lower", "lower")
    assert (mirrored.knee, mirrored.tied) == (4, (3,))


def test_a_dominated_decoder_does_not_set_the_chord() -> None:
    """With gamma = 0 as the end of the chord, the knee would be another decoder."""
    found = chord_knee(PSNR, LPIPS)
    assert found.subset.front == (0, 1, 2, 3, 4, 5)
    assert found.subset.dominated_by[6] == (2, 3, 4, 5)
    assert chord_knee(PSNR[:6], LPIPS[:6]).knee == found.knee
    x, y = np.array(PSNR), np.array(LPIPS)
    with_zero = (x - x[6]) / (x[0] - x[6]) - (y - y[6]) / (y[0] - y[6])
    assert np.argmax(with_zero) == 4 != found.knee


@given(fronts(), st.data())
def test_dominated_points_never_change_the_knee(front: tuple[np.ndarray, np.ndarray], data: st.DataObject) -> None:
    x, y = front
    places = data.draw(st.lists(st.integers(0, len(x) - 1), max_size=5))
    worse = [data.draw(st.tuples(st.integers(0, 3), st.integers(1, 300))) for _ in places]
    more_x = [*x, *(x[k] - dx / 4 for k, (dx, _) in zip(places, worse, strict=True))]
    more_y = [*y, *(y[k] + dy / 512 for k, (_, dy) in zip(places, worse, strict=True))]
    alone, among = chord_knee(x, y), chord_knee(more_x, more_y)
    assert (alone.knee, alone.distances) == (among.knee, among.distances)
    assert kneedle(x, y) == kneedle(more_x, more_y)
    assert among.subset.dominated == len(places)


@given(fronts(), st.floats(-1e3, 1e3), st.floats(1e-3, 1e3), st.floats(-10, 10), st.floats(1e-3, 1e3))
def test_units_do_not_move_the_knee(
    front: tuple[np.ndarray, np.ndarray], shift_x: float, scale_x: float, shift_y: float, scale_y: float
) -> None:
    x, y = front
    clear(x, y)
    found = chord_knee(x * scale_x + shift_x, y * scale_y + shift_y)
    assert found.knee == chord_knee(x, y).knee
    assert found.distances == pytest.approx(chord_knee(x, y).distances, abs=1e-6)


@given(fronts(), st.sampled_from(WAYS))
def test_the_knee_is_the_same_whichever_way_is_better(
    front: tuple[np.ndarray, np.ndarray], way: tuple[Direction, Direction]
) -> None:
    x, y = front
    turned = (x if way[0] == "higher" else -x, y if way[1] == "lower" else -y)
    assert chord_knee(*turned, *way).knee == chord_knee(x, y).knee
    assert kneedle(*turned, *way, sensitivity=0.3) == kneedle(x, y, sensitivity=0.3)


@given(fronts(), st.randoms(use_true_random=False))
def test_the_order_of_the_points_does_not_move_the_knee(
    front: tuple[np.ndarray, np.ndarray], random: np.random.Generator
) -> None:
    x, y = front
    order = list(range(len(x)))
    random.shuffle(order)  # type: ignore[arg-type]
    whole, mixed = chord_knee(x, y), chord_knee(x[order], y[order])
    assert (None if mixed.knee is None else order[mixed.knee]) == whole.knee
    assert mixed.distances == whole.distances
    assert [order[k] for k in mixed.subset.front] == list(whole.subset.front)


@pytest.mark.parametrize("bend", [1.0, 0.5])
def test_a_straight_or_hollow_curve_has_no_knee(bend: float) -> None:
    x = np.linspace(0, 1, 6)
    y = 1 - x ** (1 / bend)
    found = chord_knee(x, y, "lower", "lower")
    assert found.knee is None and found.distance == 0
    assert max(found.distances) == pytest.approx(0, abs=1e-12)
    assert kneedle(x, y, "lower", "lower") is None


def test_the_pareto_subset_is_that_of_all_pairs_compared(rng: np.random.Generator) -> None:
    x, y = rng.integers(0, 6, 40), rng.integers(0, 6, 40)
    found = pareto_subset(x, y, "higher", "higher")
    for k in range(40):
        beaten = any(x[j] >= x[k] and y[j] >= y[k] and (x[j] > x[k] or y[j] > y[k]) for j in range(40))
        assert beaten == bool(found.dominated_by[k])
        assert (k in found.front) == (not beaten and found.same_as[k] is None)
        for j in found.dominated_by[k]:
            assert j in found.front and x[j] >= x[k] and y[j] >= y[k]
        same = found.same_as[k]
        if same is not None:
            assert (x[same], y[same]) == (x[k], y[k]) and same < k and same in found.front
    steps = itertools.pairwise(found.front)
    assert all(x[a] > x[b] and y[a] < y[b] for a, b in steps)


def test_a_point_that_is_equal_in_one_average_and_worse_in_the_other_is_dominated() -> None:
    found = pareto_subset([3, 3, 2], [5, 6, 1])
    assert found.front == (0, 2) and found.dominated_by == ((), (0,), ()) and found.same_as == (None, None, None)


def test_points_at_one_place_are_one_point_of_the_curve() -> None:
    x, y = [*PSNR, PSNR[2]], [*LPIPS, LPIPS[2]]
    found = chord_knee(x, y)
    assert found.subset.same_as[7] == 2 and found.subset.repeated == 1 and 7 not in found.subset.front
    assert found.distances == chord_knee(PSNR, LPIPS).distances


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        ([1.0], [2.0], "1 point, of which 1 on the Pareto front: a knee needs at least 3"),
        ([1.0] * 4, [2.0] * 4, "4 points, of which 1 on the Pareto front (3 at the place of another)"),
        ([1.0, 2.0, 3.0], [1.0, 2.0, 0.5], "3 points, of which 1 on the Pareto front (2 dominated)"),
        ([1.0, 2.0, 0.0, 2.0], [1.0, 2.0, 3.0, 2.0], "(1 dominated, 1 at the place of another)"),
        ([], [], "0 points, of which 0"),
    ],
)
def test_fewer_than_three_points_on_the_front_are_refused_with_the_numbers(
    x: list[float], y: list[float], words: str
) -> None:
    for find in (chord_knee, kneedle, end_point_sensitivity):
        with pytest.raises(KneeError) as caught:
            find(x, y)  # type: ignore[operator]
        assert words in str(caught.value)


def test_arrays_that_are_no_points_are_refused() -> None:
    for x, y, words in (
        ([1, 2, np.nan], [1, 2, 3], "x of point 2 is nan"),
        ([1, 2, 3], [1, np.inf, 3], "y of point 1 is inf"),
        ([1, 2, 3], [1, 2], "3 values of x and 2 of y"),
        ([[1, 2, 3]], [1, 2, 3], "shape (1, 3)"),
        (["a", "b", "c"], [1, 2, 3], "must be numbers"),
    ):
        with pytest.raises(ParetoError) as caught:
            chord_knee(x, y)  # type: ignore[arg-type]
        assert words in str(caught.value)
    with pytest.raises(ParetoError, match="'lower' or 'higher'"):
        chord_knee(PSNR, LPIPS, "up", "lower")  # type: ignore[arg-type]


def test_numbers_near_the_ends_of_float64_still_have_a_knee() -> None:
    x, y = arc(np.linspace(0, np.pi / 2, 5))
    assert chord_knee((2 * x - 1) * 1.7e308, (2 * y - 1) * 1.7e308, "lower", "lower").knee == 2
    assert chord_knee(x * 1e-320, y * 1e-320, "lower", "lower").knee == 2


def test_kneedle_agrees_with_the_chord_on_a_smooth_curve() -> None:
    x, y = arc(np.linspace(0, np.pi / 2, 31))
    assert kneedle(x, y, "lower", "lower") == chord_knee(x, y, "lower", "lower").knee == 15


def test_kneedle_is_kneed_on_the_axes_as_they_are() -> None:
    """PSNR against LPIPS rises and bends downwards; mirrored in one axis it falls."""
    t = np.linspace(0, 1, 25)
    psnr, lpips = 24 + 3 * (1 - t**2.5), 0.26 + 0.14 * (1 - t) ** 4
    place = kneedle(psnr, lpips)
    assert place is not None
    risen = KneeLocator(psnr[::-1], lpips[::-1], curve="convex", direction="increasing").knee
    fallen = KneeLocator(-psnr, lpips, curve="convex", direction="decreasing").knee
    assert psnr[place] == risen == -fallen
    assert place == chord_knee(psnr, lpips).knee


def test_kneedle_finds_less_with_a_larger_sensitivity() -> None:
    """Six points: the difference curve must fall by S / 5 below 0.62, its largest value, to the 0 at the end."""
    assert kneedle(PSNR, LPIPS) == 3
    assert kneedle(PSNR, LPIPS, sensitivity=3.0) == 3
    assert kneedle(PSNR, LPIPS, sensitivity=3.2) is None
    for wrong in (-1.0, math.nan, math.inf):
        with pytest.raises(SpecError, match="sensitivity"):
            kneedle(PSNR, LPIPS, sensitivity=wrong)


def test_kneedle_never_calls_an_end_of_the_curve_a_knee() -> None:
    """A curve that starts on the worse side of its chord: kneed alone names its first point."""
    x, y = np.array([0, 0.4, 0.45, 1.0]), np.array([1, 0.99, 0.1, 0])
    assert KneeLocator(x, y, curve="convex", direction="decreasing").knee == 0
    assert kneedle(x, y, "lower", "lower") == 2 == chord_knee(x, y, "lower", "lower").knee


def test_without_kneed_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kneed", None)
    with pytest.raises(DependencyError, match="pip install 'kneed"):
        kneedle(PSNR, LPIPS)
    assert chord_knee(PSNR, LPIPS).knee == 3


def test_end_points_are_left_out_one_by_one_while_three_remain() -> None:
    found = end_point_sensitivity(PSNR, LPIPS)
    left_out = [(trial.without_first, trial.without_last) for trial in found.trials]
    assert left_out == [(1, 0), (0, 1), (2, 0), (0, 2), (3, 0), (0, 3), (1, 1)]
    for trial in found.trials:
        part = slice(trial.without_first, 6 - trial.without_last)
        alone = chord_knee(PSNR[part], LPIPS[part]).knee
        assert trial.knee == (None if alone is None else alone + trial.without_first)
        assert trial.possible == (trial.without_first < 3 < 5 - trial.without_last)
    assert found.knee == 3 and found.agreeing == sum(trial.knee == 3 for trial in found.trials)
    assert found.share == found.agreeing / 7 and set(found.knees) >= {3, 2}
    assert [(t.without_first, t.without_last) for t in end_point_sensitivity(PSNR, LPIPS, most=1).trials] == [
        (1, 0),
        (0, 1),
        (1, 1),
    ]


def test_a_sharp_knee_does_not_depend_on_the_ends() -> None:
    x, y = [10, 9.8, 9.6, 9.4, 6, 3], [1.0, 0.7, 0.4, 0.05, 0.03, 0.01]
    for method in ("chord", "kneedle"):
        found = end_point_sensitivity(x, y, method=method, most=1)  # type: ignore[arg-type]
        assert found.knees == (3,) and found.share == 1 and found.possible == 3


def test_three_points_leave_no_end_out() -> None:
    found = end_point_sensitivity([3, 2, 0], [3, 1, 0])
    assert found.trials == () and math.isnan(found.share) and found.knees == (1,)
    for wrong in ({"method": "menger"}, {"most": 0}):
        with pytest.raises(SpecError):
            end_point_sensitivity(PSNR, LPIPS, **wrong)  # type: ignore[arg-type]


def test_shares_count_the_knees_of_resampled_images(rng: np.random.Generator) -> None:
    x = np.array(PSNR) + rng.normal(0, 0.3, (12, 7))
    y = np.array(LPIPS) + rng.normal(0, 0.02, (12, 7))
    found = knee_shares(x, y, resamples=60, seed=4)
    counts = [0] * 8
    for number in range(60):
        drawn = resample(4, number, 12)
        try:
            knee = chord_knee(x[drawn].mean(axis=0), y[drawn].mean(axis=0)).knee
        except KneeError:
            knee = None
        counts[7 if knee is None else knee] += 1
    assert found.shares == tuple(count / 60 for count in counts[:7]) and found.none == counts[7] / 60
    assert sum(count > 0 for count in counts) > 1
    assert knee_shares(x, y, resamples=60, seed=4) == found


def test_images_that_are_all_alike_have_the_same_knee_always() -> None:
    found = knee_shares(np.tile(PSNR, (5, 1)), np.tile(LPIPS, (5, 1)), resamples=10)
    assert found.shares[3] == 1 and found.none == 0
    nothing = knee_shares(np.ones((5, 4)), np.ones((5, 4)), resamples=10)
    assert nothing.none == 1 and set(nothing.shares) == {0.0}


def test_shares_of_no_images_or_resamples_are_refused() -> None:
    for x, words in ((np.ones((0, 3)), "images"), (np.ones(3), "shape")):
        with pytest.raises(SpecError, match=words):
            knee_shares(x, x)
    with pytest.raises(SpecError, match="resamples"):
        knee_shares(np.ones((3, 3)), np.ones((3, 3)), resamples=1)
