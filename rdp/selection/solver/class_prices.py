"""Prices to begin with where there are many groups: near those of the relaxation, and found in a fraction of the time.

The shared rows get the prices that they have when all groups share one budget, the sum of theirs, and with these every
class has prices of its own. Any prices give a bound, and these a good one; a search from them on has less to do.
"""

from __future__ import annotations

import math
from time import perf_counter

import numpy as np

from rdp.selection.linear import LinearForm
from rdp.selection.solver.class_forms import Split
from rdp.selection.solver.dual import Dual, Relaxation, lagrangian_bound

NOTE = "the prices of the budgets are not known exactly: there are very many groups"


def prices_by_classes(form: LinearForm, split: Split, ends: float = math.inf) -> Relaxation:
    """Prices (K,) as `best`, and their bound; `prices` are left open. What the time is too short for stays at 0."""
    shared = split.shared
    together = np.zeros_like(form.cost)
    for part in split.classes:
        together[part.images] = part.form.coefficients.sum(axis=0)
    own = [k for part in split.classes for k in part.own]
    whole = LinearForm(
        cost=form.cost,
        offset=0.0,
        coefficients=np.concatenate([together[None], form.coefficients[shared]]),
        budgets=np.concatenate([[form.budgets[own].sum()], form.budgets[shared]]),
        allowed=form.allowed,
        rows=tuple(range(1 + len(shared))),
    )
    prices = np.zeros(len(form.budgets))
    nothing = lagrangian_bound(form, prices)
    first = Dual(whole).maximise(ends=ends)
    if first.best is not None:
        prices[shared] = first.best[1:]
        for part in split.classes:
            if perf_counter() > ends:
                break
            found = Dual(part.priced(prices[shared])).maximise(np.full(len(part.own), first.best[0]), ends=ends)
            if found.infeasible:
                return Relaxation(None, nothing, found.note, infeasible=True, best=np.zeros(len(prices)))
            if found.best is not None:
                prices[list(part.own)] = found.best
    return Relaxation(None, lagrangian_bound(form, prices), NOTE, best=prices)
