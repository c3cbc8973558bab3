"""Which single points all images of a problem may be at, and why the others are left out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rdp.selection.mixture_shares import FewPoints
from rdp.selection.problem import BoolArray, IntArray, Problem


def eligible_points(problem: Problem, once: Problem | None = None) -> tuple[list[int], list[IntArray], dict[str, str]]:
    """Numbers and choices (N,) of the points that every image may take, and why the others may not be used.

    `once`, where given, is the problem by which a point is judged that all images are at.
    """
    rows, fixed = _fixed(problem)
    free = ~rows
    numbers, choices, left_out = [], [], {}
    for number, point in enumerate(problem.points):
        choice = np.where(rows, fixed, number).astype(np.int64)
        judged = problem if once is None or (choice != number).any() else once
        used = len(np.unique(choice))
        if not judged.allowed[free, number].all():
            left_out[point] = _why_not(judged, number, free)
        elif problem.max_points is not None and used > problem.max_points:
            left_out[point] = f"{used} points with those of the fixed images, and {problem.max_points} are allowed"
        else:
            numbers.append(number)
            choices.append(choice)
    if not problem.allowed.any(axis=1).all():
        return [], [], left_out
    return numbers, choices, left_out


def points_left(problem: Problem, numbers: list[int]) -> FewPoints | None:
    """How many of the eligible points may have a share: the limit, less the points of fixed images."""
    if problem.max_points is None:
        return None
    rows, fixed = _fixed(problem)
    taken = np.unique(fixed[rows])
    # Without an image that is free to choose, no share means anything.
    return FewPoints(problem.max_points - len(taken), np.isin(numbers, taken) | bool(rows.all()))


def _fixed(problem: Problem) -> tuple[BoolArray, IntArray]:
    """Images (N,) that the statement fixes, and their point's number (0 for the others)."""
    fix = problem.statement.fix
    rows = np.array([isinstance(fix, Mapping) and label in fix for label in problem.labels], dtype=np.bool_)
    return rows, np.where(rows, problem.allowed.argmax(axis=1), 0).astype(np.int64)


def _why_not(problem: Problem, number: int, free: BoolArray) -> str:
    present = problem.present[:, number]
    if not present.all():
        return f"{int(present.sum())} of {len(present)} images have it"
    out = np.zeros(len(present), dtype=np.bool_)
    for bound in problem.image_bounds:
        out |= ~bound.met()[:, number]
    if (out & free).any():
        return f"out of the bounds on each image in {int((out & free).sum())} of {len(present)} images"
    return f"forbidden for {int((~problem.allowed[:, number] & free).sum())} of {len(present)} images"
