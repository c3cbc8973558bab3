"""One point for all images: it is told once, and no image needs a number of its own.

With side information by the definition of `rdp.selection.index_cost` with a limit of one point: ceil(log2 M) bits,
spread over the images. The bits that name decoders (`rdp.selection.decoder_cost`) are none then: the decoder is that of
the point, and every image has it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from rdp.selection.decoder_cost import DecoderCost
from rdp.selection.index_cost import IndexCost, index_cost
from rdp.selection.naming import Naming
from rdp.selection.problem import Problem
from rdp.selection.terms import FloatArray, Term


def named_once(problem: Problem) -> Problem:
    """The problem with the bits of one point for all images in its rates; the problem itself where it has no bits.

    The columns, the budgets and the bounds on each image are those of the problem, at lower rates.
    """
    lowered = _lowered(problem.naming)
    if lowered is None:
        return problem
    once, columns, lower = lowered
    seen: dict[int, FloatArray] = {}

    def values_of(column: str, values: FloatArray) -> FloatArray:
        # The terms of all groups share one array, and so do they here.
        if column in columns and id(values) not in seen:
            seen[id(values)] = lower(column, values)
        return seen[id(values)] if column in columns else values

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
        naming=once,
    )


def _lowered(
    naming: Naming | None,
) -> tuple[Naming | None, tuple[str, ...], Callable[[str, FloatArray], FloatArray]] | None:
    """The bits of a point that is told once, the columns that change, and their values (N, M) from those with all bits.

    None where nothing changes.
    """
    if isinstance(naming, DecoderCost):
        plain = naming.plain
        return None, naming.columns, lambda column, _: plain[column]
    if not isinstance(naming, IndexCost) or naming.bits == 0:
        return None
    once = index_cost(naming.points, naming.images, 1, None)
    once = replace(once, added={name: values * (once.bits / naming.bits) for name, values in naming.added.items()})
    less = {name: values - once.added[name] for name, values in naming.added.items()}
    return once, naming.columns, lambda column, values: values - less[column][:, None]
