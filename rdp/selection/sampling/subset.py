"""The problem of some images: what resampling, splitting and reporting by halves are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from rdp.errors import SpecError
from rdp.selection.problem import BoolArray, FloatArray, IntArray, Problem, Term, image_labels


def take(problem: Problem, images: IntArray) -> Problem:
    """The problem of the images (n,) of these numbers, in this order.

    A number may repeat, as a bootstrap needs: every copy chooses for itself, and the second of `a.png` is called
    `a.png (2)`. Budgets stay what they are, as averages over the images that are taken; weights are those of the
    images. A constraint that none of the images has any weight in (an average of a group of which none is taken) is
    left out. Raises `SpecError` for numbers that are no images of the problem, and for none at all.
    """
    rows = _checked(images, len(problem.images))
    part = _Rows(rows)
    datasets = tuple(problem.datasets[k] for k in rows.tolist())
    names = _names(problem, rows)
    return replace(
        problem,
        datasets=datasets,
        images=names,
        present=part.mask(problem.present),
        allowed=part.mask(problem.allowed),
        objective=part.term(problem.objective),
        constraints=tuple(
            replace(c, term=part.term(c.term))
            for c in (problem.constraints[k] for k in kept_constraints(problem, rows))
        ),
        image_bounds=tuple(replace(b, values=part.array(b.values)) for b in problem.image_bounds),
        columns={name: part.term(term) for name, term in problem.columns.items()},
        statement=replace(problem.statement, fix=_fixed(problem, rows, image_labels(datasets, names))),
        choosable=None if problem.choosable is None else part.mask(problem.choosable),
        naming=None if problem.naming is None else problem.naming.of_images(len(rows), part.array),
    )


def kept_constraints(problem: Problem, images: IntArray) -> list[int]:
    """Numbers of the constraints in which some of the images (n,) have weight: those that `take` keeps, in order."""
    return [k for k, constraint in enumerate(problem.constraints) if constraint.term.weights[images].any()]


def _checked(images: IntArray, count: int) -> IntArray:
    rows = np.asarray(images)
    if rows.ndim != 1 or not len(rows) or not np.issubdtype(rows.dtype, np.integer):
        raise SpecError(f"images must be whole numbers (n,), at least one, not {rows.dtype} of shape {rows.shape}")
    if rows.min() < 0 or rows.max() >= count:
        raise SpecError(f"images must be numbers from 0 to {count - 1}, not {rows.min()} to {rows.max()}")
    return rows.astype(np.int64, copy=False)


class _Rows:
    """Rows of arrays, each array cut once: terms share values and weights, and the parts go on sharing them."""

    def __init__(self, rows: IntArray) -> None:
        self._rows = rows
        self._arrays: dict[int, FloatArray] = {}
        self._terms: dict[int, Term] = {}

    def array(self, values: FloatArray) -> FloatArray:
        """Rows of values (N, M) or weights (N,)."""
        if id(values) not in self._arrays:
            self._arrays[id(values)] = values[self._rows]
        return self._arrays[id(values)]

    def mask(self, cells: BoolArray) -> BoolArray:
        """Rows of cells (N, M)."""
        return np.asarray(cells[self._rows])

    def term(self, term: Term) -> Term:
        """The same column of fewer images."""
        if id(term) not in self._terms:
            self._terms[id(term)] = replace(term, values=self.array(term.values), weights=self.array(term.weights))
        return self._terms[id(term)]


def _names(problem: Problem, rows: IntArray) -> tuple[str, ...]:
    """Names (n,): those of the images, copies told apart by their number."""
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    copy = np.empty(len(rows), dtype=np.int64)
    copy[order] = np.arange(len(rows)) - np.repeat(starts, np.diff(np.append(starts, len(rows))))
    names = [problem.images[k] for k in rows.tolist()]
    repeats = np.flatnonzero(copy).tolist()
    if repeats:
        used = set(zip(problem.datasets, problem.images, strict=True))
        for place in repeats:
            dataset = problem.datasets[int(rows[place])]
            names[place] = _free(dataset, names[place], int(copy[place]) + 1, used)
    return tuple(names)


def _free(dataset: str, name: str, number: int, used: set[tuple[str, str]]) -> str:
    """`name (number)`, or with a higher number where an image is called that; `used` learns of it."""
    while (dataset, f"{name} ({number})") in used:
        number += 1
    used.add((dataset, f"{name} ({number})"))
    return f"{name} ({number})"


def _fixed(problem: Problem, rows: IntArray, labels: Sequence[str]) -> Mapping[str, str] | tuple[str, ...]:
    """The fixed points of the images that are taken, under their new labels."""
    fix = problem.statement.fix
    if not isinstance(fix, Mapping) or not fix:
        return fix
    old = problem.labels
    taken: Iterable[tuple[str, str]] = zip(labels, (old[k] for k in rows.tolist()), strict=True)
    return {label: fix[origin] for label, origin in taken if origin in fix}


def fixed_images(problem: Problem) -> BoolArray:
    """Images (N,) whose point the statement fixes."""
    fix = problem.statement.fix
    if not isinstance(fix, Mapping) or not fix:
        return np.zeros(len(problem.images), dtype=np.bool_)
    return np.array([label in fix for label in problem.labels], dtype=np.bool_)
