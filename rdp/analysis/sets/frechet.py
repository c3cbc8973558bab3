"""Frechet distance of two sets of features (FID): of the normal laws with their means and covariances.

Source: Heusel et al., "GANs trained by a two time-scale update rule", NeurIPS 2017; Dowson and Landau 1982:

    |mu_a - mu_b|^2 + Tr S_a + Tr S_b - 2 Tr (S_a^(1/2) S_b S_a^(1/2))^(1/2),

covariances with divisor n - 1, all in float64. The last trace is found in one of two ways:

- low-rank, where a set has at most as many patches as dimensions: Tr = nuclear norm of A B' / sqrt((n - 1)(m - 1)),
  A and B the centred features (n, D), (m, D). Exact to rounding also where covariances are singular, as these are.
- from moments otherwise: square roots of the eigenvalues of R S_b R', R' R = S_a, the rows of R in the order of
  variance: a matrix so graded keeps small eigenvalues exact too, where those of S_b fall alike. In a direction without
  variance an eigenvalue is noise of 1e-16 of the largest one, and its root 1e-8 of that one's: where a covariance is
  singular, `tolerance` says how much that can be.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rdp.analysis.sets.kernel import checked_sets, identical_warning
from rdp.errors import MetricError

Array = NDArray[Any]
Float64 = NDArray[np.float64]
Way = Literal["low-rank", "moments"]

ROWS = 4096
"""Patches that are turned into float64 at a time."""
BLOCK = 512
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class FrechetDistance:
    """`value` is `means` + `covariances`: |mu_a - mu_b|^2, and the traces; 0 or more.

    `tolerance`: what rounding may have moved the value by, at most about. `patches`: of both sets.
    """

    value: float
    means: float
    covariances: float
    way: Way
    patches: tuple[int, int]
    dimensions: int
    tolerance: float
    warnings: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Moments:
    """What is kept of a set of features: `count`, `mean` (D,), `scatter` (D, D), the sum of (f - mean)(f - mean)'."""

    count: int
    mean: Float64
    scatter: Float64

    @classmethod
    def of(cls, features: Array) -> Moments:
        """Of features (n, D), n 1 or more. Raises `MetricError` for other shapes and numbers that are not finite."""
        if features.ndim != 2 or not features.size or not np.isfinite(features).all():
            raise MetricError(f"moments are of finite features (patches, D), not of an array of shape {features.shape}")
        mean = features.mean(axis=0, dtype=np.float64)
        scatter = np.zeros((len(mean), len(mean)))
        for start in range(0, len(features), ROWS):
            part = features[start : start + ROWS] - mean
            scatter += part.T @ part
        return cls(len(features), mean, scatter)

    def merged(self, other: Moments) -> Moments:
        """Of both sets together (Chan, Golub and LeVeque 1979). Raises `MetricError` for other dimensions."""
        if self.mean.shape != other.mean.shape:
            raise MetricError(f"moments of {len(self.mean)} and {len(other.mean)} dimensions cannot be merged")
        count, apart = self.count + other.count, other.mean - self.mean
        return Moments(
            count,
            self.mean + apart * (other.count / count),
            self.scatter + other.scatter + np.outer(apart, apart) * (self.count * other.count / count),
        )

    @property
    def covariance(self) -> Float64:
        """With divisor count - 1, (D, D). Raises `MetricError` for a set of 1."""
        if self.count < 2:
            raise MetricError(f"a set of {self.count} patches has no covariance: 2 are needed at least")
        return self.scatter / (self.count - 1)


def frechet_distance(a: Array, b: Array) -> FrechetDistance:
    """Between features a (n, D) and b (m, D).

    Raises `MetricError` for sets of fewer than 2 patches or of different dimensions, and numbers that are not finite.
    """
    a, b = checked_sets(a, b)
    dimensions = a.shape[1]
    same = identical_warning(a, b)
    if min(len(a), len(b)) > dimensions:
        return _result(frechet_from_moments(Moments.of(a), Moments.of(b)), same)
    means = [part.mean(axis=0, dtype=np.float64) for part in (a, b)]
    first, second = (part - mean for part, mean in zip((a, b), means, strict=True))
    traces = [float(np.einsum("ij,ij->", part, part)) / (len(part) - 1) for part in (first, second)]
    root = nuclear_norm(first @ second.T) / np.sqrt((len(a) - 1.0) * (len(b) - 1.0))
    found = FrechetDistance(
        value=0.0,
        means=float(np.sum((means[0] - means[1]) ** 2)),
        covariances=float(sum(traces) - 2 * root),
        way="low-rank",
        patches=(len(a), len(b)),
        dimensions=dimensions,
        tolerance=_EPS * max(min(len(a), len(b)), 16) * sum(traces),
        warnings=too_few((len(a), len(b)), dimensions),
    )
    return _result(found, same)


def frechet_from_moments(a: Moments, b: Moments) -> FrechetDistance:
    """Between two sets of which the moments are kept. Raises `MetricError` for fewer than 2 patches, other dimensions.

    Prefer `frechet_distance` where patches are fewer than dimensions: covariances are singular there.
    """
    if a.mean.shape != b.mean.shape:
        raise MetricError(f"moments of {len(a.mean)} and {len(b.mean)} dimensions cannot be compared")
    dimensions, covariances = len(a.mean), (a.covariance, b.covariance)
    factor = RootFactor.of(covariances[0])
    values = np.linalg.eigvalsh(factor.product(covariances[1]), UPLO="U")
    total = float(np.trace(covariances[0]) + np.trace(covariances[1]))
    own = np.linalg.eigvalsh(covariances[1])
    ranks = (factor.rank, int(np.count_nonzero(own > rounding_floor(own))))
    tolerance = _EPS * dimensions * total
    tolerance += 2 * (dimensions - min(ranks)) * float(np.sqrt(rounding_floor(values)))
    warnings = too_few((a.count, b.count), dimensions)
    if not warnings:
        sides = zip(("first set", "second set"), ranks, strict=True)
        warnings = tuple(singular(name, rank, dimensions, tolerance) for name, rank in sides if rank < dimensions)
    found = FrechetDistance(
        value=0.0,
        means=float(np.sum((a.mean - b.mean) ** 2)),
        covariances=total - 2 * float(roots_of(values).sum()),
        way="moments",
        patches=(a.count, b.count),
        dimensions=dimensions,
        tolerance=tolerance,
        warnings=warnings,
    )
    identical = a.count == b.count and np.array_equal(a.mean, b.mean) and np.array_equal(a.scatter, b.scatter)
    return _result(
        found, (f"the two sets have identical moments ({a.count} patches): is a set compared with itself?",) * identical
    )


def nuclear_norm(matrix: Float64) -> float:
    """Sum of the singular values."""
    return float(np.linalg.svd(matrix, compute_uv=False).sum())


def too_few(patches: tuple[int, int], dimensions: int) -> tuple[str, ...]:
    """A warning for a set of at most as many patches as dimensions, whose covariance is singular, else none."""
    least = min(patches)
    if least > dimensions:
        return ()
    return (
        f"{least} patches of {dimensions} dimensions: the covariance has rank {least - 1} at most, and the value "
        "depends on the number of patches more than on the images; compare it with values of as many patches only",
    )


def singular(name: str, rank: int, dimensions: int, tolerance: float) -> str:
    """A warning about a covariance that is singular though there are patches enough."""
    return (
        f"the covariance of the {name} is singular to rounding (rank {rank} of {dimensions} dimensions); the value is "
        f"exact to {tolerance:.2g} only"
    )


@dataclass(frozen=True, eq=False)
class RootFactor:
    """`rows` R (r, D) with R' R = S, S a covariance of numerical rank r, the row of least variance first."""

    rows: Float64

    @classmethod
    def of(cls, covariance: Float64) -> RootFactor:
        """Directions of less variance than rounding leaves (sqrt(D) * 2e-16 of the largest) are left out."""
        values, vectors = np.linalg.eigh(covariance)
        kept = values > rounding_floor(values)
        return cls(np.sqrt(values[kept])[:, None] * vectors[:, kept].T)

    @property
    def rank(self) -> int:
        return len(self.rows)

    def product(self, other: Float64) -> Float64:
        """R S' R', (r, r), of another covariance S'; the upper triangle alone is right, for `UPLO="U"`.

        In that order and triangle the reduction begins with the largest, which leaves small eigenvalues exact.
        """
        left = self.rows @ other
        found = np.zeros((self.rank, self.rank))
        for top in range(0, self.rank, BLOCK):
            found[top : top + BLOCK, top:] = left[top : top + BLOCK] @ self.rows[top:].T
        return found


def roots_of(values: Array) -> Float64:
    """Roots of the eigenvalues (r,) of a positive semi-definite matrix, those below zero taken as 0."""
    return np.asarray(np.sqrt(np.maximum(values, 0)), np.float64)


def rounding_floor(values: Array) -> float:
    """Below it an eigenvalue is as good as none: sqrt(number) * 2.2e-16 of the largest; 0 where all are 0 or less."""
    return _EPS * float(np.sqrt(len(values)) * max(values.max(initial=0.0), 0.0))


def _result(found: FrechetDistance, more: tuple[str, ...]) -> FrechetDistance:
    """With the value made from its parts, which is 0 for sets that are identical and never below."""
    value = 0.0 if more else max(found.means + found.covariances, 0.0)
    return replace(found, value=value, warnings=found.warnings + more)
