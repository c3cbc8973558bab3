"""FID against the matrix root of SciPy and against torch-fidelity, in both of its forms."""

from __future__ import annotations

import re

import numpy as np
import pytest
import scipy.linalg

from rdp.analysis.sets import frechet
from rdp.analysis.sets.frechet import Moments, RootFactor, frechet_distance, frechet_from_moments
from rdp.errors import MetricError


def two_sets(seed: int, n: int, m: int, dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(dimensions, dimensions)) / np.sqrt(dimensions)
    return rng.normal(size=(n, dimensions)) + 2, 0.1 + rng.normal(size=(m, dimensions)) @ mixing + 2


def by_root(a: np.ndarray, b: np.ndarray) -> float:
    """The formula as it is written, with the root of the first covariance."""
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(first)
    trace = np.trace(scipy.linalg.sqrtm(root @ second @ root)).real
    return float(np.sum((a.mean(axis=0) - b.mean(axis=0)) ** 2) + np.trace(first) + np.trace(second) - 2 * trace)


@pytest.mark.parametrize(("n", "m"), [(40, 40), (60, 31)])
def test_from_moments_it_is_the_formula(n: int, m: int) -> None:
    a, b = two_sets(1, n, m, 12)
    found = frechet_distance(a, b)
    assert found.way == "moments" and found.warnings == () and found.patches == (n, m)
    assert found.value == pytest.approx(by_root(a, b), rel=1e-9)
    assert found.value == pytest.approx(frechet_distance(b, a).value, rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(13, 13), (6, 12), (40, 7)])
def test_with_fewer_patches_than_dimensions_it_is_the_sum_over_the_roots_that_are_not_zero(n: int, m: int) -> None:
    """Eigenvalues of S_a S_b by SciPy; those beyond the rank are noise, which a matrix root would keep."""
    a, b = two_sets(2, n, m, 25)
    found = frechet_distance(a, b)
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    eigenvalues = np.sort(scipy.linalg.eigvals(first @ second).real)[-(min(n, m) - 1) :]
    traces = np.trace(first) + np.trace(second) - 2 * np.sqrt(eigenvalues).sum()
    assert found.way == "low-rank"
    assert found.covariances == pytest.approx(traces, rel=1e-9)
    assert found.value == pytest.approx(traces + np.sum((a.mean(axis=0) - b.mean(axis=0)) ** 2), rel=1e-9)
    assert f"{min(n, m)} patches of 25 dimensions" in found.warnings[0]
    assert f"rank {min(n, m) - 1} at most" in found.warnings[0]


@pytest.mark.parametrize(("n", "m", "dimensions", "tolerance"), [(300, 200, 30, 1e-6), (20, 20, 64, 1e-5)])
def test_it_is_what_torch_fidelity_says(n: int, m: int, dimensions: int, tolerance: float) -> None:
    """Where covariances are singular, theirs carries the roots of rounding errors: the looser tolerance is for that."""
    torch = pytest.importorskip("torch")
    fidelity = pytest.importorskip("torch_fidelity.metric_fid", reason="needs torch-fidelity")
    a, b = two_sets(3, n, m, dimensions)
    kept = [fidelity.fid_features_to_statistics(torch.from_numpy(part)) for part in (a, b)]
    theirs = fidelity.fid_statistics_to_metric(*kept, False)["frechet_inception_distance"]
    assert frechet_distance(a, b).value == pytest.approx(theirs, rel=tolerance)


def test_moments_merge_to_those_of_both_sets_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frechet, "ROWS", 7)
    a, b = two_sets(4, 33, 18, 5)
    both = np.concatenate([a, b])
    merged = Moments.of(a).merged(Moments.of(b))
    np.testing.assert_allclose(merged.mean, both.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(merged.covariance, np.cov(both, rowvar=False), rtol=1e-11, atol=1e-13)
    assert merged.count == 51
    one = Moments.of(a[:1])
    for row in a[1:]:
        one = one.merged(Moments.of(row[None]))
    np.testing.assert_allclose(one.covariance, np.cov(a, rowvar=False), rtol=1e-10, atol=1e-12)
    with pytest.raises(MetricError, match="a set of 1 patches has no covariance"):
        _ = Moments.of(a[:1]).covariance
    with pytest.raises(MetricError, match="5 and 4 dimensions"):
        merged.merged(Moments.of(a[:, :4]))


def test_shifted_and_scaled_normal_sets_have_the_distance_that_is_known() -> None:
    """With b = 3 a + 2 the traces are Tr (S + 9 S - 6 S) = 4 Tr S, and the means are 2 mu + 2 apart."""
    a = np.random.default_rng(5).normal(size=(50, 4))
    found = frechet_distance(a, 3 * a + 2)
    assert found.covariances == pytest.approx(4 * np.trace(np.cov(a, rowvar=False)), rel=1e-12)
    assert found.means == pytest.approx(np.sum((2 * a.mean(axis=0) + 2) ** 2), rel=1e-12)


def test_from_moments_it_is_exact_also_where_variances_span_eight_decades() -> None:
    """Against the singular values of the product of triangular factors, made without covariances."""
    rng = np.random.default_rng(10)
    scale, turn = np.logspace(0, -4, 40), np.linalg.qr(rng.normal(size=(40, 40)))[0]
    a = (rng.normal(size=(200, 40)) * scale) @ turn
    b = a + 0.1 * (rng.normal(size=(200, 40)) * scale) @ turn
    triangles = [np.linalg.qr(part - part.mean(axis=0), mode="r") for part in (a, b)]
    exact = sum(np.sum(part**2) for part in triangles) / 199
    exact -= 2 * scipy.linalg.svdvals(triangles[0] @ triangles[1].T).sum() / 199
    found = frechet_distance(a, b)
    assert found.way == "moments" and found.warnings == ()
    assert found.covariances == pytest.approx(exact, rel=1e-9)


def dependent(values: np.ndarray) -> np.ndarray:
    """With three dimensions that say what others say."""
    return np.concatenate([values, values[:, :3]], axis=1)


def test_singular_covariances_of_many_patches_are_named_and_exact_to_what_is_said() -> None:
    a, b = two_sets(6, 60, 60, 7)
    for first, second, message in (
        (dependent(a), dependent(b), "of the first set is singular to rounding .rank 7 of 10"),
        (np.concatenate([a, a[:, :3] ** 2], axis=1), dependent(b), "of the second set is singular .*rank 7"),
    ):
        found = frechet_distance(first, second)
        assert any(re.search(message, text) for text in found.warnings)
        # Exact by the nuclear norm, which does not go through the covariances.
        centred = [part - part.mean(axis=0) for part in (first, second)]
        exact = sum(np.sum(part**2) for part in centred) / 59
        exact -= 2 * scipy.linalg.svdvals(centred[0] @ centred[1].T).sum() / 59
        assert abs(found.covariances - exact) <= found.tolerance < 1e-4


@pytest.mark.parametrize("n", [5, 40])
def test_identical_sets_are_at_distance_zero_and_are_named(n: int) -> None:
    a, _ = two_sets(7, n, n, 10)
    found = frechet_distance(a, a)
    assert found.value == 0 and abs(found.covariances) < found.tolerance
    assert any(f"the two sets are identical ({n} patches)" in text for text in found.warnings)
    shuffled = frechet_distance(a, a[::-1])
    assert 0 <= shuffled.value <= shuffled.tolerance
    moments = Moments.of(a)
    assert frechet_from_moments(moments, moments).value == 0
    assert "identical moments" in frechet_from_moments(moments, moments).warnings[-1]


def test_constant_sets_differ_by_their_means_alone() -> None:
    ones, threes = np.ones((4, 3)), np.full((6, 3), 3.0)
    assert frechet_distance(ones, threes).value == pytest.approx(12)
    assert frechet_distance(ones[:3], threes[:3]).value == pytest.approx(12)


def test_sets_that_have_no_distance_are_refused_with_the_number() -> None:
    a, b = two_sets(8, 8, 8, 4)
    for wrong, message in (
        ((a[:1], b), "the first set has 1 patches"),
        ((a, b[:, :3]), "features of 4 and 3 dimensions"),
        ((a, b * np.nan), "the second set has features that are not finite"),
    ):
        with pytest.raises(MetricError, match=message):
            frechet_distance(*wrong)
    with pytest.raises(MetricError, match="a set of 1 patches has no covariance"):
        frechet_from_moments(Moments.of(a[:1]), Moments.of(b))


def test_the_product_with_a_factor_has_the_eigenvalues_of_the_product_of_covariances() -> None:
    a, b = (np.cov(part, rowvar=False) for part in two_sets(9, 50, 50, 6))
    wanted = np.sort(scipy.linalg.eigvals(a @ b).real)
    for covariance, rank in ((a, 6), (np.diag([1.0, 2, 3, 4, 5, 0]), 5)):
        factor = RootFactor.of(covariance)
        assert factor.rank == rank
        np.testing.assert_allclose(factor.rows.T @ factor.rows, covariance, atol=1e-12)
        if rank == 6:
            np.testing.assert_allclose(np.linalg.eigvalsh(factor.product(b), UPLO="U"), wanted, rtol=1e-9)
