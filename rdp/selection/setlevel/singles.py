"""Every point for all images: what a selection must not be worse than."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rdp.selection.problem import IntArray, Problem


def single_points(problem: Problem) -> Iterator[IntArray]:
    """The choices (N,) of one point for all images, of the points that every image may take."""
    images, points = problem.shape
    for point in range(points):
        if problem.allowed[:, point].all():
            yield np.full(images, point, dtype=np.int64)
