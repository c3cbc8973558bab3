"""Which images belong together: a form taken apart into classes that only a few rows hold together.

A row that concerns the images of one class alone (the budget of a group) is that class's own; a row that would tie
classes together (an average over all images) is shared. Images that no own row concerns are free: they are no class,
as each of them alone is as simple as it can be.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rdp.selection.linear import LinearForm
from rdp.selection.problem import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class ClassForm:
    """The images (n,) of one class as a form of their own, with its own rows only.

    `shared` (S, n, M) is what the cells spend of the shared rows; `own` are the numbers of its rows in the whole form.
    """

    images: IntArray
    own: tuple[int, ...]
    form: LinearForm
    shared: FloatArray

    def priced(self, prices: FloatArray, scale: float = 1.0) -> LinearForm:
        """The form with the costs scale * cost + prices * shared; `prices` (S,)."""
        cost = scale * self.form.cost + np.tensordot(prices, self.shared, axes=1)
        old = self.form
        return LinearForm(cost, 0.0, old.coefficients, old.budgets, old.allowed, old.rows)

    def spent(self, choices: IntArray) -> tuple[FloatArray, FloatArray]:
        """Costs (A,) and usages (S, A) of choices (A, n)."""
        rows = np.arange(len(self.images))[None, :]
        usages = [values[rows, choices].sum(axis=1) for values in self.shared]
        return self.form.cost[rows, choices].sum(axis=1), np.array(usages).reshape(len(self.shared), len(choices))


@dataclass(frozen=True, eq=False)
class Split:
    """A form taken apart: its classes, the numbers of the shared rows, and the free images."""

    classes: tuple[ClassForm, ...]
    shared: IntArray
    free: IntArray


def split_form(form: LinearForm) -> Split | None:
    """The classes of a form; None where no row is one class's own, or all is one class."""
    concerned = np.array([values.any(axis=1) for values in form.coefficients]).reshape(-1, form.images)
    own, labels = _components(concerned)
    shared = np.array([k for k in range(len(concerned)) if k not in own], dtype=np.int64)
    if not own or (labels.max() < 1 and not len(shared)):
        return None
    of_row = {k: int(labels[np.flatnonzero(concerned[k])[0]]) for k in own}
    classes = []
    for number in range(int(labels.max()) + 1):
        rows = tuple(k for k in sorted(own) if of_row[k] == number)
        classes.append(_class_form(form, np.flatnonzero(labels == number), rows, shared))
    return Split(tuple(classes), shared, np.flatnonzero(labels < 0))


def _components(concerned: np.ndarray) -> tuple[set[int], IntArray]:
    """The rows that are own, and the class of every image (N,), -1 for the free ones.

    Rows are taken from the smallest on; one that would tie several classes together, or that concerns every image
    that any row concerns, is shared. Rows that no cell spends anything of are shared as well: they tie nothing.
    """
    labels = np.full(concerned.shape[1], -1, dtype=np.int64)
    sizes = concerned.sum(axis=1)
    everything = int(concerned.any(axis=0).sum())
    own: set[int] = set()
    count = 0
    for k in np.argsort(sizes, kind="stable").tolist():
        if sizes[k] in (0, everything):
            continue
        met = np.unique(labels[concerned[k]])
        met = met[met >= 0]
        if len(met) > 1:
            continue
        if len(met) == 0:
            count += 1
        labels[concerned[k]] = met[0] if len(met) else count - 1
        own.add(k)
    return own, _in_order(labels)


def _in_order(labels: IntArray) -> IntArray:
    """The same classes, numbered by their first images."""
    found, first = np.unique(labels, return_index=True)
    order = [int(label) for label in found[np.argsort(first)] if label >= 0]
    numbers = {label: number for number, label in enumerate(order)} | {-1: -1}
    return np.array([numbers[label] for label in labels.tolist()], dtype=np.int64)


def _class_form(form: LinearForm, images: IntArray, own: tuple[int, ...], shared: IntArray) -> ClassForm:
    rows = np.array(own, dtype=np.int64)
    inner = LinearForm(
        cost=form.cost[images],
        offset=0.0,
        coefficients=form.coefficients[np.ix_(rows, images)],
        budgets=form.budgets[rows],
        allowed=form.allowed[images],
        rows=own,
    )
    return ClassForm(images, own, inner, form.coefficients[np.ix_(shared, images)])
