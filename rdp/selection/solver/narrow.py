"""What a box of prices leaves open: cells that no prices in it prefer fall, and images with one cell are settled.

For prices within `radius` of `centre`, cell j of an image is never less than cell j* when

    r_j - r_j*  >  sum_k radius_k |a^k_j - a^k_j*|

with the reduced costs r at the centre. In a small box nearly all images are settled, so that L, as long as the prices
stay in the box, is that of a few images plus a plane.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rdp.selection.linear import LinearForm
from rdp.selection.problem import BoolArray, FloatArray, IntArray

ROUNDING = 16 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class Narrowed:
    """The open images of a form as a form of their own.

    `images` (n,) are their numbers, `points` (n, m) the points of their cells. `base` (N,) is the choice of the settled
    images (and of the open ones at the centre). `form.offset` is the cost of the settled images without the offset of
    the whole, and what they spend is off `form.budgets`.
    """

    form: LinearForm
    images: IntArray
    points: IntArray
    base: IntArray

    def expanded(self, choice: IntArray) -> IntArray:
        """A choice (N,) of the whole from one (n,) of the open images."""
        out = self.base.copy()
        out[self.images] = self.points[np.arange(len(choice)), choice]
        return out


def contested(reduced: FloatArray, best: IntArray, coefficients: FloatArray, radius: FloatArray) -> BoolArray:
    """Cells (n, m) that prices within `radius` (K,) may prefer to the `best` (n,), and the best ones themselves.

    `reduced` (n, m) are the reduced costs at the centre, infinite where not allowed; `coefficients` (K, n, m).
    """
    rows = np.arange(len(best))
    least = reduced[rows, best][:, None]
    reach = np.zeros_like(reduced)
    for values, size in zip(coefficients, radius.tolist(), strict=True):
        if size:
            reach += size * np.abs(values - values[rows, best][:, None])
    return np.asarray(reduced - least <= reach + ROUNDING * (np.abs(least) + reach))


def narrowed(form: LinearForm, low: FloatArray, high: FloatArray) -> Narrowed:
    """The open images of the form for prices from `low` to `high` (K,)."""
    centre, radius = (low + high) / 2, (high - low) / 2 * (1 + 1e-12)
    reduced = np.where(form.allowed, form.cost + np.tensordot(centre, form.coefficients, axes=1), np.inf)
    base = reduced.argmin(axis=1)
    keep = contested(reduced, base, form.coefficients, radius)
    images = np.flatnonzero(keep.sum(axis=1) > 1)
    points, allowed = packed(keep[images])
    settled = np.ones(form.images, dtype=np.bool_)
    settled[images] = False
    rows = np.flatnonzero(settled)
    spent = np.array([values[rows, base[rows]].sum() for values in form.coefficients])
    where = (images[:, None], points)
    core = LinearForm(
        cost=np.where(allowed, form.cost[where], 0.0),
        offset=float(form.cost[rows, base[rows]].sum()),
        coefficients=np.where(allowed, form.coefficients[:, where[0], where[1]], 0.0),
        budgets=form.budgets - spent,
        allowed=allowed,
        rows=form.rows,
    )
    return Narrowed(core, images, points, base)


def packed(keep: BoolArray) -> tuple[IntArray, BoolArray]:
    """The kept cells moved to the left: their columns (n, m), m being the most of a row, and which of those count."""
    most = int(keep.sum(axis=1).max()) if len(keep) else 1
    points = np.argsort(~keep, axis=1, kind="stable")[:, :most]
    return points, np.take_along_axis(keep, points, axis=1)
