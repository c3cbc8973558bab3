"""Our own solver for a form of any kind: as a whole, or class by class where many budgets concern groups of images."""

from __future__ import annotations

import math
from collections.abc import Callable
from time import perf_counter

from rdp.selection.backends import RawAnswer
from rdp.selection.linear import LinearForm
from rdp.selection.problem import FloatArray
from rdp.selection.solver.certified import solve_form
from rdp.selection.solver.class_forms import split_form
from rdp.selection.solver.class_prices import prices_by_classes
from rdp.selection.solver.dual import Dual, Relaxation
from rdp.selection.solver.grouped import solve_grouped

MANY_ROWS = 300
"""With more budgets than this their prices are not found: a programme in so many takes longer than all the rest."""
ROUNDING_SHARE = 0.9
"""The part of the gap that is for the search; the rest is room for rounding."""


def solve_certified(
    form: LinearForm, gap: float, time_limit: float | None, dual: Dual | None = None, start: FloatArray | None = None
) -> tuple[Relaxation, RawAnswer]:
    """The relaxation and the best selection that was found, with its bound.

    `gap` is relative to the bound with the offset; a part of it is left for rounding. `dual` is what is known of the
    form already, and `start` are prices to begin with.
    """
    ends = math.inf if time_limit is None else perf_counter() + time_limit
    return certify(form, lambda relaxation: gap_of(form, relaxation, gap), ends, dual, start)


def certify(
    form: LinearForm,
    gap_abs: Callable[[Relaxation], float],
    ends: float,
    dual: Dual | None = None,
    start: FloatArray | None = None,
) -> tuple[Relaxation, RawAnswer]:
    """`solve_certified` for a gap in units of the cost, which may depend on the relaxation, until a time."""
    known = Dual(form) if dual is None else dual
    split = split_form(form)
    if split is None:
        relaxation = known.maximise(start, ends=ends)
        return relaxation, solve_form(form, relaxation, known, gap_abs(relaxation), ends)[0]
    if len(form.budgets) > MANY_ROWS:
        relaxation = prices_by_classes(form, split, ends)
    else:
        relaxation = known.maximise(start, ends=ends)
    return relaxation, solve_grouped(form, relaxation, gap_abs(relaxation), ends)


def gap_of(form: LinearForm, relaxation: Relaxation, gap: float) -> float:
    """The absolute distance from the bound that a relative gap stands for, with room for rounding."""
    return ROUNDING_SHARE * gap * abs(relaxation.bound + form.offset) if math.isfinite(relaxation.bound) else 0.0
