"""Quadratic forms, tightened: the same at every choice, and higher where an image mixes its points.

At a choice every share is 0 or 1, so x^2 = x, and sum(d * (x - x^2)) is 0 there and above 0 at every mixture. Added to
a quadratic form it keeps that convex on mixtures as long as its second derivative H less 2 diag(d) has no negative
eigenvalue along them (Hammer and Rubin 1970; Billionnet and Elloumi 2007). The relaxation of the sum is then nearer to
the choices: much of what a V-statistic gains by mixing the points of one image is not to be had by any choice.
"""

from __future__ import annotations

import numpy as np

from rdp.analysis.sets.base import Relaxed
from rdp.selection.problem import BoolArray, FloatArray
from rdp.selection.setlevel.relaxation import Function
from rdp.selection.setlevel.terms import Guarded

MOST_CELLS = 1_500
"""Cells of the largest second derivative that is taken apart."""
MARGIN = 1e-9
"""Part of the largest eigenvalue that is left, for the rounding of gradients and eigenvalues."""


def is_quadratic(scorer: Guarded) -> bool:
    """Whether the scorer says of itself (`quadratic = True`) that its convex form is quadratic in the shares."""
    return bool(getattr(scorer.scorer, "quadratic", False))


def curvatures(scorer: Guarded) -> tuple[FloatArray, ...]:
    """Weights d (N, P), 0 or more, by which the form may be tightened; none where nothing is to be had.

    Two choices of d, of which neither is always the better: the same for all, and by how far a point of an image lies
    from the image's others. Takes one gradient a cell.
    """
    allowed = scorer.allowed
    count = int(allowed.sum())
    if count > MOST_CELLS:
        return ()
    second = _second_derivative(scorer)
    basis = _tangents(allowed)
    if basis.shape[1] == 0:
        return ()
    inside = basis.T @ second @ basis
    largest = float(np.linalg.eigvalsh(inside)[-1])
    found = []
    for weights in (np.ones(count), _spreads(second, allowed)):
        top = float(weights.max(initial=0.0))
        if top <= 0:
            continue
        weights = np.maximum(weights / top, 1e-3)
        factor = np.linalg.cholesky(basis.T @ (weights[:, None] * basis))
        scaled = np.linalg.solve(factor, np.linalg.solve(factor, inside).T)
        least = float(np.linalg.eigvalsh((scaled + scaled.T) / 2)[0])
        # A bound of the error of eigenvalues in units of the pencil: its weights are 1e-3 or more.
        safe = least - 1e3 * MARGIN * largest
        if safe > 0:
            out = np.zeros(allowed.shape)
            out[allowed] = 0.5 * safe * weights
            found.append(out)
    return tuple(found)


def forms(scorer: Guarded) -> tuple[Function, ...]:
    """The convex form, and tightened ones that agree with it at every choice."""
    if not is_quadratic(scorer):
        return (scorer.relaxed,)
    return (scorer.relaxed, *(lifted(scorer.relaxed, curvature) for curvature in curvatures(scorer)))


def lifted(function: Function, curvature: FloatArray) -> Function:
    """The function with the sum of d * (x - x^2) added."""

    def tightened(shares: FloatArray) -> Relaxed:
        plain = function(shares)
        more = float((curvature * shares * (1 - shares)).sum())
        return Relaxed(plain.value + more, plain.gradient + curvature * (1 - 2 * shares))

    return tightened


def _second_derivative(scorer: Guarded) -> FloatArray:
    """H (C, C) over allowed cells, along mixtures: from the gradients with each one image's point changed.

    Differences are from a choice; columns of its own cells are 0, which is no matter along mixtures, as these take from
    one cell what they give to another of the same image.
    """
    allowed = scorer.allowed
    base = allowed.argmax(axis=1)
    shares = np.zeros(allowed.shape)
    shares[np.arange(len(base)), base] = 1.0
    start = scorer.relaxed(shares).gradient[allowed]
    columns = []
    for image, point in zip(*np.nonzero(allowed), strict=True):
        if point == base[image]:
            columns.append(np.zeros_like(start))
            continue
        other = shares.copy()
        other[image, base[image]], other[image, point] = 0.0, 1.0
        columns.append(scorer.relaxed(other).gradient[allowed] - start)
    return np.stack(columns, axis=1)


def _tangents(allowed: BoolArray) -> FloatArray:
    """An orthonormal basis (C, C - N) of the ways along which shares can change: each image's sum to 0."""
    counts = allowed.sum(axis=1).tolist()
    basis = np.zeros((sum(counts), sum(counts) - len(counts)))
    row = column = 0
    for count in counts:
        for k in range(1, count):
            length = (k * (k + 1)) ** 0.5
            basis[row : row + k, column] = 1 / length
            basis[row + k, column] = -k / length
            column += 1
        row += count
    return basis


def _spreads(second: FloatArray, allowed: BoolArray) -> FloatArray:
    """For each cell (C,) the second derivative along moving its image from all others to it."""
    out = np.zeros(len(second))
    row = 0
    for count in allowed.sum(axis=1).tolist():
        block = second[row : row + count, row : row + count]
        centre = np.eye(count) - 1.0 / count
        out[row : row + count] = np.maximum(np.diagonal(centre @ block @ centre.T), 0.0)
        row += count
    return out
