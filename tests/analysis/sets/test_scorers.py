"""What every scorer of sets promises: its values are those of the plain functions, its convex form is convex."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdp.analysis.sets.base import SetScorer
from rdp.analysis.sets.cells import FeatureCells, ProjectionCells
from rdp.analysis.sets.frechet import frechet_distance
from rdp.analysis.sets.frechet_scorer import FrechetScorer
from rdp.analysis.sets.kernel import kernel_distance
from rdp.analysis.sets.kernel_scorer import KernelScorer
from rdp.analysis.sets.shares import shares_of
from rdp.analysis.sets.sliced import SlicedScorer, sliced_distance
from rdp.errors import MetricError

MakeFeatures = Callable[..., FeatureCells]
MakeProjections = Callable[..., ProjectionCells]
Build = Callable[..., tuple[SetScorer, Callable[[np.ndarray], float], Callable[[np.ndarray], float]]]
"""Of a seed: a scorer, the plain function of a choice, and the plain function that its convex form is at a choice."""

KINDS = ("kid", "kid-unbiased", "kid-subsets", "fid-low-rank", "fid-not-kept", "fid-moments", "swd", "swd-not-kept")
SUBSETS = {"subsets": 4, "subset_size": 6, "seed": 5}


@pytest.fixture(scope="session")
def build(make_features: MakeFeatures, make_projections: MakeProjections) -> Build:
    def made(kind: str, seed: int, cells: FeatureCells | ProjectionCells | None = None) -> object:
        if kind.startswith("swd"):
            projections = cells or make_projections(seed)
            scorer = SlicedScorer(projections, memory=0 if kind.endswith("not-kept") else 1 << 20)

            def sliced(choice: np.ndarray) -> float:
                return sliced_distance(
                    projections.reference, [row[p] for row, p in zip(projections.cells, choice, strict=True)]
                ).value

            return scorer, sliced, sliced
        features = cells or make_features(seed, dimensions=8 if kind == "fid-moments" else 24)
        originals = features.originals()
        if kind.startswith("fid"):
            sums = features.dimensions * len(features.images) * len(features.points) * 8
            memory = sums if kind == "fid-not-kept" else 1 << 20

            def frechet(choice: np.ndarray) -> float:
                return frechet_distance(originals, features.mixture(choice)).value

            return FrechetScorer(features, memory=memory), frechet, frechet
        subsets = SUBSETS if kind == "kid-subsets" else {}

        def kernel(choice: np.ndarray) -> float:
            return kernel_distance(originals, features.mixture(choice), **subsets).value

        def biased(choice: np.ndarray) -> float:
            return kernel_distance(originals, features.mixture(choice), **subsets).biased

        if kind == "kid-unbiased":
            return KernelScorer(features, convex_form="unbiased"), kernel, kernel
        return KernelScorer(features, **subsets), kernel, biased

    return made


def random_choice(scorer: SetScorer, rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, scorer.points, scorer.images)


def random_shares(scorer: SetScorer, rng: np.random.Generator) -> np.ndarray:
    """Inside, on faces, or at corners."""
    shares = rng.dirichlet(np.full(scorer.points, rng.choice([0.1, 1.0, 10.0])), scorer.images)
    shares[shares < 0.05] = 0
    return shares / shares.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("kind", KINDS)
def test_score_and_convex_form_at_a_choice_are_the_plain_functions(build: Build, kind: str) -> None:
    scorer, plain, convex = build(kind, 1)
    rng = np.random.default_rng(1)
    choices = [np.full(scorer.images, point) for point in range(scorer.points)]
    for choice in [*choices, *(random_choice(scorer, rng) for _ in range(5))]:
        assert scorer.score(choice) == pytest.approx(plain(choice), rel=1e-9)
        found = scorer.relaxed(shares_of(choice, scorer.points))
        assert found.value == pytest.approx(convex(choice), rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_values_while_a_choice_is_changed_are_those_made_anew(build: Build, kind: str) -> None:
    scorer, _, convex = build(kind, 2)
    rng = np.random.default_rng(2)
    choice = random_choice(scorer, rng)
    exchange = scorer.exchange(choice)
    for _ in range(12):
        assert exchange.value == pytest.approx(convex(choice), rel=1e-9)
        assert exchange.value == pytest.approx(scorer.relaxed(shares_of(choice, scorer.points)).value, rel=1e-9)
        image = int(rng.integers(scorer.images))
        values = exchange.values(image)
        for point in range(scorer.points):
            other = choice.copy()
            other[image] = point
            assert values[point] == pytest.approx(convex(other), rel=1e-9)
        point = int(rng.integers(scorer.points))
        choice[image] = point
        exchange.set(image, point)
        np.testing.assert_array_equal(exchange.choice, choice)


def test_a_thousand_exchanges_leave_no_error_behind(build: Build) -> None:
    scorer, _, convex = build("kid", 3)
    rng = np.random.default_rng(3)
    exchange = scorer.exchange(np.zeros(scorer.images, int))
    for image, point in zip(rng.integers(0, scorer.images, 1500), rng.integers(0, scorer.points, 1500), strict=True):
        exchange.set(int(image), int(point))
    assert exchange.value == pytest.approx(convex(exchange.choice), rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_convex_form_is_convex_and_its_tangent_below_it(build: Build, kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scorer, _, convex = build(kind, seed % 5)
    first, second = random_shares(scorer, rng), random_shares(scorer, rng)
    at_first, at_second = scorer.relaxed(first), scorer.relaxed(second)
    size = 1e-9 * max(abs(at_first.value), abs(at_second.value), 1e-3)
    weight = rng.uniform()
    between = scorer.relaxed(weight * first + (1 - weight) * second).value
    assert between <= weight * at_first.value + (1 - weight) * at_second.value + size
    assert at_first.value + np.sum(at_first.gradient * (second - first)) <= at_second.value + size
    choice = random_choice(scorer, rng)
    bound = at_first.value + np.sum(at_first.gradient * (shares_of(choice, scorer.points) - first))
    assert bound <= convex(choice) + size


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [1, 4])
def test_the_gradient_is_that_of_finite_differences(build: Build, kind: str, seed: int) -> None:
    scorer, _, _ = build(kind, seed)
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(scorer.points, 5.0), scorer.images)
    found, step = scorer.relaxed(shares), 1e-5
    for _ in range(6):
        towards = rng.normal(size=shares.shape)
        towards -= towards.mean(axis=1, keepdims=True)
        towards *= min(1.0, shares.min() / (2 * step * np.abs(towards).max()))
        ends = [scorer.relaxed(shares + sign * step * towards).value for sign in (1, -1)]
        slope = (ends[0] - ends[1]) / (2 * step)
        assert np.sum(found.gradient * towards) == pytest.approx(slope, rel=2e-6, abs=1e-7 * abs(found.value))


@pytest.mark.parametrize("kind", KINDS)
def test_shares_off_by_rounding_give_a_bound_that_holds_as_they_were_given(build: Build, kind: str) -> None:
    scorer, _, _ = build(kind, 2)
    rng = np.random.default_rng(0)
    shares = random_shares(scorer, rng)
    off = shares + 4e-7 * rng.uniform(-1, 1, shares.shape) * (shares > 0)
    right, rough = scorer.relaxed(off / off.sum(axis=1, keepdims=True)), scorer.relaxed(off)
    other = random_shares(scorer, rng)
    np.testing.assert_allclose(
        rough.value + np.sum(rough.gradient * (other - off)),
        right.value + np.sum(right.gradient * (other - off / off.sum(axis=1, keepdims=True))),
        rtol=1e-12,
        atol=1e-12,
    )


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "kid-subsets"])
def test_the_order_of_images_and_points_does_not_matter(
    build: Build, kind: str, make_features: MakeFeatures, make_projections: MakeProjections
) -> None:
    made = make_projections(6) if kind.startswith("swd") else make_features(6)
    images, points = np.array([2, 0, 3, 1]), np.array([1, 2, 0])
    turned = replace(
        made,
        images=tuple(made.images[i] for i in images),
        points=tuple(made.points[p] for p in points),
        reference=tuple(made.reference[i] for i in images),
        cells=tuple(tuple(made.cells[i][p] for p in points) for i in images),
    )
    scorer, other = build(kind, 0, made)[0], build(kind, 0, turned)[0]
    rng = np.random.default_rng(6)
    choice, shares = random_choice(scorer, rng), random_shares(scorer, rng)
    turned_choice = np.argsort(points)[choice[images]]
    assert other.score(turned_choice) == pytest.approx(scorer.score(choice), rel=1e-9)
    a, b = scorer.relaxed(shares), other.relaxed(shares[np.ix_(images, points)])
    assert b.value == pytest.approx(a.value, rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_a_point_that_stands_twice_shares_its_share(
    build: Build, kind: str, make_features: MakeFeatures, make_projections: MakeProjections
) -> None:
    """The value depends on the sum of the shares of equal points alone; but for terms that only choices fix."""
    made = make_projections(7) if kind.startswith("swd") else make_features(7)
    doubled = replace(made, points=(*made.points, "again"), cells=tuple((*row, row[0]) for row in made.cells))
    scorer, other = build(kind, 0, made)[0], build(kind, 0, doubled)[0]
    rng = np.random.default_rng(7)
    choice = random_choice(scorer, rng)
    again = np.where(choice == 0, scorer.points, choice)
    assert other.score(again) == pytest.approx(scorer.score(choice), rel=1e-9)
    shares = random_shares(scorer, rng)
    split = np.concatenate([shares, shares[:, :1] * 0.4], axis=1)
    split[:, 0] *= 0.6
    one, two = scorer.relaxed(shares), other.relaxed(split)
    slack = scorer.facts().get("convex_shortfall", 0) + other.facts().get("convex_shortfall", 0)
    assert two.value == pytest.approx(one.value, rel=1e-9, abs=slack)


@pytest.mark.parametrize("kind", KINDS)
def test_the_originals_as_a_point_are_at_distance_zero(
    build: Build, kind: str, make_features: MakeFeatures, make_projections: MakeProjections
) -> None:
    made = make_projections(8) if kind.startswith("swd") else make_features(8)
    cells = tuple((*row[:-1], original) for row, original in zip(made.cells, made.reference, strict=True))
    scorer, plain, _ = build(kind, 0, replace(made, cells=cells))
    same = np.full(scorer.images, scorer.points - 1)
    value = scorer.relaxed(shares_of(same, scorer.points)).value
    assert scorer.score(same) == pytest.approx(plain(same), abs=1e-10)
    if kind in ("kid", "swd", "swd-not-kept") or kind.startswith("fid"):
        assert value == pytest.approx(0, abs=1e-10)
    if not kind.startswith("kid"):
        assert scorer.score(same) == pytest.approx(0, abs=1e-10) and scorer.score(same) >= 0


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_choice_and_no_cell_is_refused(build: Build, kind: str) -> None:
    scorer, _, _ = build(kind, 0)
    with pytest.raises(MetricError, match="image 1 has point 3: there are points 0 to 2"):
        scorer.score(np.array([0, 3, 0, 0]))
    with pytest.raises(MetricError, match="the shares of image 0 have sum 3"):
        scorer.relaxed(np.ones((4, 3)))
    exchange = scorer.exchange(np.zeros(4, int))
    for image, point in ((4, 0), (0, 3), (-1, 0)):
        with pytest.raises(MetricError, match="there is no cell"):
            exchange.set(image, point)
    with pytest.raises(MetricError, match="there is no cell"):
        exchange.values(4)
    facts = scorer.facts()
    assert isinstance(facts["warnings"], list) and facts["patches"] in (14, 24)
    assert scorer.name in ("kid", "fid", "swd")
