"""KID against plain loops and against torch-fidelity, subset by subset."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from rdp.analysis.sets import kernel
from rdp.analysis.sets.kernel import kernel_distance
from rdp.errors import MetricError


def two_sets(seed: int, n: int, m: int, dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, dimensions)), 0.3 + 1.2 * rng.normal(size=(m, dimensions))


def by_loops(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Unbiased and biased estimate, pair by pair."""

    def k(x: np.ndarray, y: np.ndarray) -> float:
        return float((sum(s * t for s, t in zip(x, y, strict=True)) / len(x) + 1) ** 3)

    n, m = len(a), len(b)
    apart = [
        sum(k(x[i], x[j]) for i, j in itertools.permutations(range(len(x)), 2)) / (len(x) * (len(x) - 1))
        for x in (a, b)
    ]
    every = [sum(k(x, y) for x in part for y in part) / len(part) ** 2 for part in (a, b)]
    across = sum(k(x, y) for x in a for y in b) / (n * m)
    return sum(apart) - 2 * across, sum(every) - 2 * across


@pytest.mark.parametrize(("n", "m"), [(9, 9), (7, 12)])
def test_both_estimates_are_those_of_plain_loops(n: int, m: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "ROWS", 4)  # several blocks, the last one smaller
    a, b = two_sets(1, n, m, 5)
    found = kernel_distance(a, b)
    assert (found.value, found.biased) == pytest.approx(by_loops(a, b), rel=1e-11)
    assert found.subsets is None and found.seed is None and found.patches == (n, m) and found.dimensions == 5


def test_by_subsets_it_is_what_torch_fidelity_says() -> None:
    torch = pytest.importorskip("torch")
    fidelity = pytest.importorskip("torch_fidelity.metric_kid", reason="needs torch-fidelity")
    a, b = two_sets(2, 120, 90, 40)
    options = {"kid_subsets": 7, "kid_subset_size": 50, "rng_seed": 11, "verbose": False}
    theirs = fidelity.kid_features_to_metric(torch.from_numpy(a), torch.from_numpy(b), **options)
    ours = kernel_distance(a, b, subsets=7, subset_size=50, seed=11)
    assert ours.value == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-6)
    assert ours.deviation == pytest.approx(theirs["kernel_inception_distance_std"], rel=1e-6)
    other = kernel_distance(a, b, subsets=7, subset_size=50, seed=12)
    assert other.value != pytest.approx(ours.value, rel=1e-6)


def test_one_subset_of_everything_is_the_estimate_of_all_patches() -> None:
    a, b = two_sets(3, 30, 30, 8)
    whole, drawn = kernel_distance(a, b), kernel_distance(a, b, subsets=1, subset_size=30)
    assert drawn.value == pytest.approx(whole.value, rel=1e-11)
    assert drawn.biased == pytest.approx(whole.biased, rel=1e-11)


def test_identical_sets_have_biased_distance_zero_and_are_named() -> None:
    a, _ = two_sets(4, 25, 25, 6)
    found = kernel_distance(a, a)
    assert abs(found.biased) < 1e-12 and found.value < 0
    assert found.warnings == ("the two sets are identical (25 patches): is a set compared with itself?",)
    assert kernel_distance(a, a[::-1]).biased == pytest.approx(0, abs=1e-12)


def test_sets_that_have_no_distance_are_refused_with_the_number() -> None:
    a, b = two_sets(5, 8, 8, 4)
    for wrong, message in (
        ((a[:1], b), "the first set has 1 patches"),
        ((a, b[:0]), "the second set has 0 patches"),
        ((a, b[:, :3]), "features of 4 and 3 dimensions"),
        ((a, b * np.inf), "not finite"),
        ((a[0], b), "float64 of shape"),
    ):
        with pytest.raises(MetricError, match=message):
            kernel_distance(*wrong)
    with pytest.raises(MetricError, match="2 subsets of 9 patches cannot be drawn from sets of 8 and 8"):
        kernel_distance(a, b, subsets=2, subset_size=9)
    with pytest.raises(MetricError, match="not -1"):
        kernel_distance(a, b, subsets=2, subset_size=4, seed=-1)
