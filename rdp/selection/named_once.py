"""Side information of one point for all images: it is named once, and no image needs a number of its own.

By the definition of `rdp.selection.index_cost` with a limit of one point: ceil(log2 M) bits, spread over the images.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rdp.selection.index_cost import index_cost
from rdp.selection.problem import Problem
from rdp.selection.terms import FloatArray, Term


def named_once(problem: Problem) -> Problem:
    """The problem with the bits of one point for all images in its rates; the problem itself where it has no bits.

    The columns, the budgets and the bounds on each image are those of the problem, at lower rates.
    """
    cost = problem.index_cost
    if cost is None or cost.bits == 0:
        return problem
    once = index_cost(cost.points, cost.images, 1, None)
    once = replace(once, added={name: values * (once.bits / cost.bits) for name, values in cost.added.items()})
    lower = {name: values - once.added[name] for name, values in cost.added.items()}
    seen: dict[int, FloatArray] = {}

    def values_of(column: str, values: FloatArray) -> FloatArray:
        # The terms of all groups share one array, and so do they here.
        if column in lower and id(values) not in seen:
            seen[id(values)] = values - lower[column][:, None]
        return seen[id(values)] if column in lower else values

    def term_of(term: Term) -> Term:
        return replace(term, values=values_of(term.column, term.values))

    bounds = tuple(replace(bound, values=values_of(bound.column, bound.values)) for bound in problem.image_bounds)
    allowed = problem.allowed
    if problem.choosable is not None:
        before, now = problem.choosable.copy(), problem.choosable.copy()
        for old, new in zip(problem.image_bounds, bounds, strict=True):
            before &= old.met()
            now &= new.met()
        allowed = np.asarray((allowed | ~before) & now)
    return replace(
        problem,
        objective=term_of(problem.objective),
        constraints=tuple(replace(c, term=term_of(c.term)) for c in problem.constraints),
        image_bounds=bounds,
        columns={name: term_of(term) for name, term in problem.columns.items()},
        allowed=allowed,
        index_cost=once,
    )
